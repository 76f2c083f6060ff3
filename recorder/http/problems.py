"""What a program is answered when something is not done: RFC 9457, with a code that does not change.

Owns the codes. Must not hold what was asked for: no value that somebody sent is part of an answer.
"""

from __future__ import annotations

from enum import StrEnum
from http import HTTPStatus
from typing import Final

from fastapi.responses import JSONResponse
from pydantic import BaseModel

MEDIA_TYPE: Final = "application/problem+json"


class Code(StrEnum):
    """Each with its status and what it means for a person."""

    NOT_SIGNED_IN = "not_signed_in"
    MUST_CHANGE = "password_to_be_changed"
    FORGED = "not_from_a_page_of_ours"
    NOT_ENCRYPTED = "not_encrypted"
    NOT_PERMITTED = "not_permitted"
    NO_RIGHT = "no_right"
    NOT_FOUND = "not_found"
    CALL_OVER = "call_is_over"
    NO_AGENT = "no_agent_in_the_call"
    REFUSED = "refused"
    STOPPED = "capture_stopped"
    UNCONFIRMED = "not_confirmed_in_time"
    SEALED = "sealed"
    NOT_SETTLED = "not_settled"
    ANOTHER_PURPOSE = "another_purpose"
    UNEXPLAINED = "unexplained"
    SENSITIVE = "sensitive"
    NO_SOUND = "sound_not_there"
    NOT_PROVABLE = "not_provable"
    INVALID = "not_understood"
    TOO_MANY = "too_many"
    TOO_MANY_OPEN = "too_many_open"
    ANSWERED = "answered_already"
    NOT_BY_YOU = "not_by_you"
    ON_ONESELF = "on_oneself"
    OTHER_HALF = "other_half"
    TELEPHONE_TAKEN = "telephone_taken"
    ALREADY_SO = "already_so"
    KEY_REUSED = "key_reused"
    IN_WORK = "in_work"
    ANSWER_NOT_KEPT = "answer_not_kept"
    NUMBERS_NOT_KEPT = "numbers_not_kept"
    NO_NUMBER = "no_telephone_number"
    UNHEARD = "not_heard"
    NO_MOMENT = "no_such_moment"
    NO_MORE = "no_more_of_these"
    NAMED = "named_already"
    NUMBER_IN_IT = "number_in_it"
    NOT_ALLOWED = "method_not_allowed"
    CATALOGUE_AWAY = "catalogue_away"


MEANINGS: Final[dict[Code, tuple[HTTPStatus, str]]] = {
    Code.NOT_SIGNED_IN: (HTTPStatus.UNAUTHORIZED, "Show who you are: a token, as `Authorization: Bearer rec_...`."),
    Code.MUST_CHANGE: (HTTPStatus.FORBIDDEN, "Sign in on the page and change your password first."),
    Code.FORGED: (HTTPStatus.FORBIDDEN, "It came from a browser, and from no page of ours: open the page again."),
    Code.NOT_ENCRYPTED: (HTTPStatus.FORBIDDEN, "Others on the way can read this token: use https, and issue another."),
    Code.NOT_PERMITTED: (HTTPStatus.FORBIDDEN, "You may see it, and may not do this: the right is not yours there."),
    Code.NO_RIGHT: (HTTPStatus.FORBIDDEN, "The right to see this is not yours: an administrator can grant it."),
    Code.NOT_FOUND: (HTTPStatus.NOT_FOUND, "There is no such thing that you may see."),
    Code.CALL_OVER: (HTTPStatus.NOT_FOUND, "There is no such call in progress that you may see."),
    Code.NO_AGENT: (HTTPStatus.CONFLICT, "No agent stands in the call now, in whose name this could be done."),
    Code.REFUSED: (HTTPStatus.CONFLICT, "The call stands so that this cannot be: nothing was changed."),
    Code.STOPPED: (HTTPStatus.CONFLICT, "Asterisk did not confirm it: the capture was ended instead."),
    Code.UNCONFIRMED: (HTTPStatus.GATEWAY_TIMEOUT, "It was asked for, and not confirmed in time: look at the call."),
    Code.SEALED: (HTTPStatus.LOCKED, "Captured by override: sealed until a second person has decided on it."),
    Code.NOT_SETTLED: (HTTPStatus.CONFLICT, "There is nothing of it to hear: not yet, or no longer."),
    Code.ANOTHER_PURPOSE: (HTTPStatus.FORBIDDEN, "It was not announced for that purpose, and is not heard for it."),
    Code.SENSITIVE: (
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "What was typed holds a card number, a social insurance number or a secret: nothing of it was kept. Say it"
        " without; where a duty wants it, ask the privacy officer for an exemption.",
    ),
    Code.UNEXPLAINED: (HTTPStatus.UNPROCESSABLE_ENTITY, "Say why you listen, in as many characters as it takes."),
    Code.NO_SOUND: (HTTPStatus.GONE, "Its file is not there; `recorder verify` names it to an administrator."),
    Code.NOT_PROVABLE: (
        HTTPStatus.CONFLICT,
        "The books do not bear it out: `recorder verify` says where. Nothing is given.",
    ),
    Code.INVALID: (HTTPStatus.UNPROCESSABLE_ENTITY, "The request is not as the document describes it."),
    Code.TOO_MANY: (HTTPStatus.TOO_MANY_REQUESTS, "Too many at once: try again in a while."),
    Code.TOO_MANY_OPEN: (
        HTTPStatus.TOO_MANY_REQUESTS,
        "Much of what you contested waits for an answer: wait for some.",
    ),
    Code.ANSWERED: (HTTPStatus.CONFLICT, "It has its answer, and no other can be given."),
    Code.NOT_BY_YOU: (
        HTTPStatus.FORBIDDEN,
        "You have contested it, or it is about your own listening: somebody else must answer.",
    ),
    Code.ON_ONESELF: (HTTPStatus.FORBIDDEN, "Nobody changes what they themselves may: somebody else can."),
    Code.OTHER_HALF: (
        HTTPStatus.FORBIDDEN,
        "You may do one half of what takes two people, and would appoint who does the other: somebody else must.",
    ),
    Code.TELEPHONE_TAKEN: (HTTPStatus.CONFLICT, "That telephone is somebody else's: take it from them first."),
    Code.ALREADY_SO: (HTTPStatus.CONFLICT, "It is so already, or was changed meanwhile: nothing was changed."),
    Code.KEY_REUSED: (
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "This Idempotency-Key came with another body before: each asking has a key of its own.",
    ),
    Code.IN_WORK: (
        HTTPStatus.CONFLICT,
        "It was begun with this Idempotency-Key, and its end is not known: look what became of it.",
    ),
    Code.ANSWER_NOT_KEPT: (
        HTTPStatus.CONFLICT,
        "It was done with this Idempotency-Key, and its answer holds what is not kept: nothing was done again.",
    ),
    Code.NUMBERS_NOT_KEPT: (
        HTTPStatus.CONFLICT,
        "No call can be found by a number: the settings name no key (numbers.key_file), and of a number nothing is kept"
        " without one.",
    ),
    Code.NO_NUMBER: (HTTPStatus.UNPROCESSABLE_ENTITY, "That is no telephone number."),
    Code.UNHEARD: (HTTPStatus.CONFLICT, "You have never opened this recording: say why you listen to it first."),
    Code.NO_MOMENT: (HTTPStatus.UNPROCESSABLE_ENTITY, "The recording has no such moment."),
    Code.NO_MORE: (HTTPStatus.CONFLICT, "As many are kept already as may be, and nothing more was kept."),
    Code.NAMED: (HTTPStatus.CONFLICT, "Another search of yours has this name: remove it, or choose another name."),
    Code.NUMBER_IN_IT: (
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "No telephone number is kept with a search: nothing of it was kept.",
    ),
    Code.NOT_ALLOWED: (HTTPStatus.METHOD_NOT_ALLOWED, "This cannot be done here."),
    Code.CATALOGUE_AWAY: (HTTPStatus.SERVICE_UNAVAILABLE, "The catalogue cannot be asked now, and nothing is shown."),
}


class Problem(BaseModel):
    """The body."""

    type: str
    title: str
    status: int
    code: Code
    detail: str


class NotDone(Exception):
    """Raised by a route; app.py answers with the problem."""

    def __init__(self, code: Code) -> None:
        super().__init__(code)
        self.code = code


def answered(code: Code) -> JSONResponse:
    status, meaning = MEANINGS[code]
    problem = Problem(
        type=f"urn:recorder:problem:{code}", title=status.phrase, status=status, code=code, detail=meaning
    )
    headers = {"WWW-Authenticate": "Bearer"} if status is HTTPStatus.UNAUTHORIZED else None
    return JSONResponse(problem.model_dump(mode="json"), status, headers, MEDIA_TYPE)
