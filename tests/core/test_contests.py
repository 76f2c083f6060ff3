"""What agents say against their calls, and who answers (TA-04): pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from uuid import UUID

import pytest

from recorder.contests import Answer, Contest, ContestAction, Unanswerable, contests, may_see, unanswerable
from recorder.rights import Grant, Role, User
from recorder.signing_in import Asker
from tests.facts import CONTEST, NOON, contest_act, later

CONTESTED, ANSWERED = ContestAction
LISTEN = UUID(int=12)
NOT_PERMITTED, TWICE, INVOLVED = Unanswerable


def asker(name: str = "bob", role: Role = Role.SUPERVISOR, line: str = "support") -> Asker:
    return Asker(user=User(name=name, grants=frozenset({Grant(role=role, line=line)})))


def contest(listen: UUID | None = None, *, answered: bool = False) -> Contest:
    acts = [contest_act(listen=listen), *([contest_act(ANSWERED, listen=listen)] if answered else [])]
    return contests(acts)[CONTEST]


WHO: dict[str, tuple[Asker, Contest, datetime | None, Unanswerable | None]] = {
    "a supervisor of the line": (asker(), contest(), None, None),
    "a privacy officer": (asker(role=Role.PRIVACY_OFFICER), contest(), None, None),
    "a supervisor of another line": (asker(line="sales"), contest(), None, NOT_PERMITTED),
    "somebody who hears the line's recordings": (asker(role=Role.QUALITY), contest(), None, NOT_PERMITTED),
    "another agent": (asker(role=Role.AGENT), contest(), None, NOT_PERMITTED),
    "who contested, a supervisor too": (asker("alice"), contest(), None, INVOLVED),
    "who listened": (asker("lena"), contest(LISTEN), None, INVOLVED),
    "who listened, of the whole call": (asker("lena"), contest(), later(-1), INVOLVED),
    "who listened in that moment": (asker("lena"), contest(), NOON, INVOLVED),
    "who listened afterwards, to answer": (asker("lena"), contest(), later(1), None),
    "who has listened too, another time": (asker(), contest(LISTEN), later(-1), None),
    "once it is answered": (asker(), contest(answered=True), None, TWICE),
}


@pytest.mark.parametrize(("who", "what", "heard", "why_not"), WHO.values(), ids=WHO)
def test_a_contest_is_answered_once_by_somebody_with_the_right_who_is_not_part_of_it(
    who: Asker, what: Contest, heard: datetime | None, why_not: Unanswerable | None
) -> None:
    assert unanswerable(who, what, heard) is why_not


@pytest.mark.parametrize(
    ("who", "sees"),
    [
        (asker("alice", Role.OVERRIDER, "sales"), True),
        (asker(), True),
        (asker("lena"), True),
        (asker(line="sales"), False),
        (asker("zoe", Role.AGENT), False),
    ],
    ids=["who contested", "who may answer", "who listened and may answer", "of another line", "another agent"],
)
def test_who_contested_and_who_may_answer_on_the_line_see_it(who: Asker, sees: bool) -> None:
    assert may_see(who, contest(LISTEN)) is sees


def test_a_contest_is_what_was_done_to_it() -> None:
    first, answer = contest_act(listen=LISTEN), contest_act(ANSWERED, at=later(9), listen=LISTEN)
    found = contests([first, answer])[CONTEST]
    assert (found.at, found.agent, found.listener, found.said) == (NOON, "alice", "lena", "it was personal")
    assert found.answer == Answer(at=later(9), by="bob", said="it was: it is taken out")
    assert contests([first, answer, replace(answer, actor="eve", said="no")])[CONTEST] == found
    assert contests([first, answer, replace(first, said="no")])[CONTEST] == found
    assert contests([answer]) == {}
