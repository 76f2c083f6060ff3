"""/api/v1: what programs are told and may do. The document that describes it is made from here.

Must not touch the PBX or a table: it asks watching, the door and recorder.live. The invariant: what somebody may not
see is not there for them, whatever they ask about it.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from typing import Annotated, Any, Final, Self
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel, ConfigDict

from recorder.call import KeyAnswer, Phase
from recorder.http.door import Door
from recorder.http.problems import Code, NotDone, Problem
from recorder.http.rules import Rule, signed_in
from recorder.http.watching import Shown, Told, Watching
from recorder.live import Hand, Heard, Live
from recorder.live import NotDone as NotPressed
from recorder.model import CallId, ConsentState, Direction, KeyAct, OverrideReason
from recorder.rights import EVERY_LINE, RIGHTS, Right
from recorder.signing_in import Asker

PREFIX: Final = "/api/v1"
PROBLEMS: Final[dict[int | str, dict[str, Any]]] = {
    status: {"model": Problem, "content": {"application/problem+json": {}}} for status in (401, 403, 404, 422, 429, 503)
}


class View(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RightView(View):
    right: Right
    line: str | None


class MeView(View):
    """Who asks, and what they may. `line` is null for every line."""

    name: str
    token: str | None
    rights: list[RightView]


class LiveView(View):
    """A call in progress. `heard` is whether the talk is captured; `acts` is what the asker may do with it.

    `reasons` are those for which the asker could capture it now without consent, at their own telephone.
    """

    call: UUID
    node: str
    line: str
    direction: Direction
    phase: Phase
    consent: ConsentState
    heard: Heard
    began_at: datetime
    paused_at: datetime | None
    paused_long: bool
    telephones: list[str]
    member: str | None
    yours: bool
    acts: list[KeyAct]
    reasons: list[OverrideReason]

    @classmethod
    def of(cls, shown: Shown) -> Self:
        call = shown.call
        return cls(
            call=call.call,
            node=call.node,
            line=call.line,
            direction=call.direction,
            phase=call.phase,
            consent=call.consent,
            heard=call.heard,
            began_at=call.began_at,
            paused_at=call.paused_at,
            paused_long=call.paused_long,
            telephones=sorted(call.telephones),
            member=call.member,
            yours=shown.yours,
            acts=list(shown.acts),
            reasons=list(shown.reasons),
        )


class PressedView(View):
    """What became of it, by Asterisk's own word."""

    call: UUID
    act: KeyAct
    answer: KeyAnswer
    heard: Heard  # after it, whatever it was before


class OverriddenView(View):
    """It is captured, by Asterisk's own word. Where the caller is to be told and is not, nothing of it is kept."""

    call: UUID
    reason: OverrideReason
    heard: Heard
    tells_caller: bool


DONE: Final[dict[KeyAct, frozenset[KeyAnswer]]] = {
    # A pause that Asterisk does not confirm ends the capture: whoever asked for silence has it.
    KeyAct.PAUSE: frozenset({KeyAnswer.PAUSED, KeyAnswer.STOPPED}),
    KeyAct.RESUME: frozenset({KeyAnswer.RESUMED}),
    KeyAct.STOP: frozenset({KeyAnswer.STOPPED, KeyAnswer.ERASED}),
    KeyAct.PERSONAL: frozenset({KeyAnswer.PERSONAL}),
}
"""What is an answer to what; anything else is a problem."""
TOLD: Final = {
    Told.NOTHING_NEW: ServerSentEvent(comment="still here"),
    Told.OVER: ServerSentEvent(event="over", raw_data="over"),
}
NOT_PRESSED: Final[dict[NotPressed, Code]] = {
    NotPressed.OVER: Code.CALL_OVER,
    NotPressed.NOBODY: Code.NO_AGENT,
    NotPressed.UNCONFIRMED: Code.UNCONFIRMED,
}


async def press(live: Live, watching: Watching, asker: Asker, call: CallId, act: KeyAct) -> tuple[KeyAnswer, Heard]:
    """Do this to a call in somebody's name; NotDone where it is not theirs to do, or was not done.

    Returns what Asterisk confirmed, and what becomes of the talk now.
    """
    shown = await watching.one(asker, call)
    if shown is None:
        raise NotDone(Code.CALL_OVER)
    if act not in shown.acts:
        raise NotDone(Code.NOT_PERMITTED)
    answer = await live.press(call, act, asker.name, shown.telephone)
    if isinstance(answer, NotPressed):
        raise NotDone(NOT_PRESSED[answer])
    if answer not in DONE[act]:
        raise NotDone(Code.STOPPED if answer is KeyAnswer.STOPPED else Code.REFUSED)
    after = live.find(call)
    return answer, Heard.NOT if after is None else after.heard


async def override(live: Live, watching: Watching, asker: Asker, call: CallId, reason: OverrideReason) -> Heard:
    """Capture a call of theirs without consent, in their name; NotDone where that is not theirs, or was not done.

    An attempt at their own telephone is kept by the call itself, also one that is refused.
    """
    shown = await watching.one(asker, call)
    if shown is None:
        raise NotDone(Code.CALL_OVER)
    if shown.telephone is None:
        raise NotDone(Code.NOT_PERMITTED)
    by_program = asker.session is None
    hand = Hand(user=asker.user.name, name=asker.name, may=shown.may_override, by_program=by_program)
    answer = await live.override(call, reason, hand, shown.telephone)
    if isinstance(answer, NotPressed):
        raise NotDone(NOT_PRESSED[answer])
    if answer is not KeyAnswer.CAPTURED:
        raise NotDone(Code.REFUSED if shown.may_override else Code.NOT_PERMITTED)
    after = live.find(call)
    return Heard.NOT if after is None else after.heard


def held(asker: Asker) -> frozenset[tuple[Right, str]]:
    """What somebody holds, and on which line, as it was granted; a token's limits are taken into account."""
    granted = {(right, grant.line) for grant in asker.user.grants for right in RIGHTS[grant.role]}
    lines = asker.token.lines if asker.token is not None else None
    named = {
        (right, own)
        for right, line in granted
        for own in (lines if line == EVERY_LINE and lines is not None else (line,))
    }
    return frozenset((right, line) for right, line in named if asker.may(right, line))


def one_more(watching: Watching, rule: Rule) -> Callable[..., Awaitable[Asker]]:
    """A dependency: `rule`, and then whether too many watch already; said before anything is sent."""

    async def let_in(asker: Asker = Depends(rule)) -> Asker:  # noqa: B008 FastAPI's own way
        if not watching.has_room(asker):
            raise NotDone(Code.TOO_MANY)
        return asker

    return let_in


def api_routes(door: Door, live: Live, watching: Watching) -> APIRouter:
    """Every route of the API."""
    routes = APIRouter(prefix=PREFIX, responses=PROBLEMS)
    rule = signed_in(door)
    somebody, watcher = Depends(rule), Depends(one_more(watching, rule))

    @routes.get("/me", summary="Who asks, and what they may")
    async def me(asker: Asker = somebody) -> MeView:
        rights = [
            RightView(right=right, line=None if line == EVERY_LINE else line) for right, line in sorted(held(asker))
        ]
        return MeView(name=asker.user.name, token=asker.token.label if asker.token else None, rights=rights)

    @routes.get("/live", summary="The calls in progress that you may see")
    async def calls(
        line: Annotated[str | None, Query(description="Only this line's.", max_length=64)] = None,
        telephone: Annotated[
            str | None, Query(description="Only those in which this one stands: PJSIP/alice.", max_length=255)
        ] = None,
        asker: Asker = somebody,
    ) -> list[LiveView]:
        shown = await watching.shown(asker)
        wanted = (one for one in shown if line in (None, one.call.line))
        return [LiveView.of(one) for one in wanted if telephone is None or telephone in one.call.telephones]

    @routes.get(
        "/live/changes",
        summary="The same, again whenever it changes",
        response_class=EventSourceResponse,
    )
    async def changes(request: Request, asker: Asker = watcher) -> AsyncIterator[ServerSentEvent]:
        async for told in watching.changes(asker, lambda: door.asker(request, sees=False)):
            if isinstance(told, Told):
                yield TOLD[told]
            else:
                shown = [LiveView.of(one).model_dump(mode="json") for one in told]
                yield ServerSentEvent(event="calls", data=shown)

    @routes.get("/live/{call}", summary="One of them")
    async def one_call(call: UUID, asker: Asker = somebody) -> LiveView:
        shown = await watching.one(asker, CallId(call))
        if shown is None:
            raise NotDone(Code.CALL_OVER)
        return LiveView.of(shown)

    @routes.post(
        "/live/{call}/{act}",
        summary="Pause, resume, stop, or take out as personal, as the agent's key does",
        responses={409: PROBLEMS[404], 504: PROBLEMS[404]},
    )
    async def press_it(call: UUID, act: KeyAct, asker: Asker = somebody) -> PressedView:
        answer, heard = await press(live, watching, asker, CallId(call), act)
        return PressedView(call=call, act=act, answer=answer, heard=heard)

    @routes.post(
        "/live/{call}/override/{reason}",
        summary="Capture it without consent, for a reason that its line lists, as the agent's key does",
        responses={409: PROBLEMS[404], 504: PROBLEMS[404]},
    )
    async def override_it(call: UUID, reason: OverrideReason, asker: Asker = somebody) -> OverriddenView:
        heard = await override(live, watching, asker, CallId(call), reason)
        terms = live.terms(CallId(call), reason)
        tells = terms is not None and terms.tells_caller
        return OverriddenView(call=call, reason=reason, heard=heard, tells_caller=tells)

    @routes.get("/openapi.json", summary="This document", include_in_schema=False)
    async def document(request: Request, _: Asker = somebody) -> dict[str, Any]:
        described: dict[str, Any] = request.app.openapi()
        return described

    return routes
