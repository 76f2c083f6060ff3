"""How the recorder stands, on a page and over the API: all of it for the whole house, of lines only one's own."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest

from recorder.alarms import Alarm, AlarmKind, Standing
from recorder.model import ConsentMode, RivalKind
from recorder.releases import Ground
from recorder.rights import EVERY_LINE, Role
from recorder.status import (
    AlarmView,
    CallView,
    LineView,
    Mend,
    RivalsView,
    State,
    SystemView,
    alarm_views,
    mend_of,
    seen_on,
)
from tests.edge.centre import Centre, until
from tests.edge.test_http import report
from tests.edge.visitors import browser, enters, opens, program, signed_in, signs_in, token_of
from tests.facts import NOON, later

pytestmark = pytest.mark.usefixtures("no_task_left")
OURS, THEIRS = UUID(int=1), UUID(int=2)


@pytest.fixture
def centre(sqlite_centre: Centre) -> Centre:
    return sqlite_centre


def line(name: str) -> LineView:
    return LineView(line=name, asks=ConsentMode.OPT_IN, ground=Ground.SETTINGS, until=None, ready=True, calls=1)


def whole(*reasons: str) -> SystemView:
    """Of the lines support and sales, a call on each, and an alarm for the same reasons."""
    calls = [
        CallView(call=call, line=of, state="talking", since=NOON) for call, of in ((OURS, "support"), (THEIRS, "sales"))
    ]
    found = dict(report(State.DEGRADED, reasons)) | {"calls": calls}
    alarm = AlarmView(kind=AlarmKind.UNREADY, since=NOON, urgent=True, counts={}, reasons=list(reasons))
    return SystemView(
        **found,
        node="pbx1",
        lines=[line("support"), line("sales")],
        alarms=[alarm],
        rivals=RivalsView(at_large=0, met=dict.fromkeys(RivalKind, 0)),
    )


# --------------------------------------------------------------------------- what of it is whose


@pytest.mark.parametrize(
    "reason",
    [
        "Asterisk is not connected: Connection refused",
        "the disk of spool is 91% used, and 90% is the mark",
        "line support stays never recorded: `recorder line release` asks for a release",
        f"call {OURS} is paused since 12:00:00 UTC: was it forgotten?",
        "nothing is said of salesmen",
    ],
)
def test_who_sees_one_line_is_told_what_concerns_it_or_everybody(reason: str) -> None:
    seen = seen_on(whole(reason), {"support"})
    assert (seen.reasons, seen.alarms[0].reasons, seen.untold) == ([reason], [reason], 0)


@pytest.mark.parametrize(
    "reason",
    [
        "line sales stays never recorded: its settings say opt_in",
        "on line archive somebody overrides much more than the others",  # of settings of before
        "the prompts of support and sales are not there",
        f"call {THEIRS} is paused since 12:00:00 UTC: was it forgotten?",
        f"the capture of recording {UUID(int=3)} has stopped growing",
    ],
)
def test_who_sees_one_line_is_told_of_no_other_and_of_no_call_there_but_how_many_reasons_there_are(reason: str) -> None:
    seen = seen_on(whole("Asterisk is not connected", reason), {"support"})
    assert (seen.reasons, seen.untold) == (["Asterisk is not connected"], 1)
    assert "sales" not in seen.model_dump_json()
    assert str(THEIRS) not in seen.model_dump_json()
    assert (seen.state, [one.line for one in seen.lines], [one.call for one in seen.calls]) == (
        State.DEGRADED,
        ["support"],
        [OURS],
    )


@pytest.mark.parametrize(
    ("reason", "mend"),
    [
        ("Asterisk is not connected: refused", Mend.PBX),
        ("not connected to Asterisk yet", Mend.STARTING),
        ("the catalogue was not reached yet", Mend.CATALOGUE),
        ("/var/spool/recorder: is full", Mend.FOLDER),
        ("a prompt is missing", None),
        ("Asterisk does not say when its events happened: `module reload manager`", None),  # says it itself
    ],
)
def test_a_reason_has_its_mend_by_its_first_words(reason: str, mend: Mend | None) -> None:
    assert mend_of(reason) is mend


def test_alarms_that_stand_are_told_the_longest_first_and_one_that_waits_is_none() -> None:
    raised = Alarm(standing=Standing.RAISED, since=later(60), urgent=True)
    found = alarm_views(
        {
            AlarmKind.LOST: Alarm(),
            AlarmKind.RIVAL: raised,
            AlarmKind.DISK: replace(raised, since=NOON),
            AlarmKind.UNREADY: replace(raised, standing=Standing.WAITING),
        }
    )
    assert [(one.kind, one.since) for one in found] == [(AlarmKind.DISK, NOON), (AlarmKind.RIVAL, later(60))]


# --------------------------------------------------------------------------- on the page, over the API


async def test_an_administrator_sees_the_state_every_line_the_parts_and_an_alarm_since_when_it_stands(
    centre: Centre,
) -> None:
    parts = centre.assembly.daemon.parts
    parts.alarms.happened(AlarmKind.LOST, "recorder_away", 2)
    await parts.alarms.look()
    await enters(centre, "root", Role.ADMINISTRATOR, line=EVERY_LINE)
    async with signed_in(centre, "root") as client:
        page = await opens(client, "/system")
        since = parts.alarms.alarms.now[AlarmKind.LOST].since
        assert since is not None
        for words in ("Calls can be captured", "support", "sales", "private", "is not recorded", "Python", "settle"):
            assert words.casefold() in page.text.casefold(), words
        assert "Calls were lost that should have been recorded" in page.text
        assert since.isoformat() in page.text
        assert "2 <code>recorder_away</code>" in page.text
    async with program(centre, (await token_of(centre, "root"))[1]) as client:
        told = SystemView.model_validate((await client.get("/api/v1/status")).json())
    assert [(one.line, one.ready) for one in told.lines] == [("support", True), ("sales", True), ("private", False)]
    assert [(one.kind, one.since, one.counts["recorder_away"]) for one in told.alarms] == [(AlarmKind.LOST, since, 2)]


async def test_a_supervisor_of_one_line_sees_the_state_and_that_line_alone(centre: Centre) -> None:
    await enters(centre, "sam", Role.SUPERVISOR)
    await enters(centre, "olga", Role.SUPERVISOR, line="sales")
    centre.connects(await centre.asks())
    await centre.until_talking()
    async with signed_in(centre, "sam") as client:
        page = await opens(client, "/system")
        assert (page.status, "support" in page.text, "sales" in page.text) == (200, True, False)
        assert "private" not in page.text
    async with program(centre, (await token_of(centre, "sam"))[1]) as client:
        mine = (await client.get("/api/v1/status")).json()
    async with program(centre, (await token_of(centre, "olga"))[1]) as client:
        others = (await client.get("/api/v1/status")).json()
    assert ([one["calls"] for one in mine["lines"]], len(mine["calls"])) == ([1], 1)
    assert ([one["calls"] for one in others["lines"]], others["calls"]) == ([0], [])
    # Neither a person nor a telephone is in what the two of them are shown.
    for said in (str(mine), str(others), page.text.replace("Signed in as sam", "")):
        assert not [word for word in ("PJSIP", "alice", "sam", "olga") if word in said]


@pytest.mark.parametrize("role", [Role.AGENT, Role.AUDITOR, Role.QUALITY, Role.PAYMENT])
async def test_who_has_no_right_to_it_is_told_so_and_has_no_link_to_it(centre: Centre, role: Role) -> None:
    await enters(centre, "alice", role, line=EVERY_LINE)
    async with signed_in(centre, "alice") as client:
        page = await opens(client, "/system")
        assert (page.status, "This page is not open to you" in page.text) == (403, True)
        assert 'href="/system"' not in page.text
        assert "sales" not in page.text
    async with program(centre, (await token_of(centre, "alice"))[1]) as client:
        answer = await client.get("/api/v1/status")
    assert (answer.status_code, answer.json()["code"]) == (403, "no_right")


async def test_what_is_wrong_stands_on_the_page_with_its_mend_in_both_languages(centre: Centre) -> None:
    await enters(centre, "root", Role.ADMINISTRATOR, line=EVERY_LINE)
    centre.pbx.freeze()
    centre.pbx.cut()
    await until(lambda: "Asterisk is not connected" in str(centre.reasons), "the daemon to see it")
    async with browser(centre) as client:
        await signs_in(client, "root")
        english = await opens(client, "/system")
        client.headers["Accept-Language"] = "fr-CA"
        french = await opens(client, "/system")
    for words in ("Nothing new can be captured", "Asterisk is not connected", "Is Asterisk running"):
        assert words in english.text
    for words in ("Rien de nouveau ne peut être capté", '<span lang="en">Asterisk is not connected', "s’accordent-ils"):
        assert words in french.text
