"""What the parties are told, by their own ears: whether it is recorded, that it no longer is, and that it still is."""

from __future__ import annotations

import hashlib
import itertools
import sqlite3
from collections.abc import Mapping
from pathlib import Path

import pytest
import soundfile

from recorder.catalogue import CallRow
from recorder.model import Outcome
from tests.facts import override_for
from tests.live import ears
from tests.live.stage import Stage, stage
from tests.pbx import tones
from tests.pbx.admin import until
from tests.pbx.calls import Call
from tests.pbx.party import HangUp, Party, Press, Say, Script, Until, UntilBridged, UntilPrompt, Wait
from tests.stories import AGENT, CALLER, HEARD, LEFT, RIGHT

pytestmark = [pytest.mark.live, pytest.mark.asterisk16]

PROMPTS = Path(__file__).parents[2] / "dialplan" / "prompts"
LINES: Mapping[str, Mapping[str, object]] = {
    "support": {
        "consent": "opt_in",
        "languages": ["en", "fr"],
        "override": override_for("emergency"),
        "answer_seconds": 2,
        "retries": 1,
        "announce": True,
    },
    "sales": {"consent": "notice", "beep_seconds": 5},
}
TELLING: Mapping[str, Mapping[str, object]] = {
    "support": {**LINES["support"], "override": override_for("emergency", tells_caller=True)}
}
TO_LISTEN: Mapping[str, Mapping[str, object]] = {"capture": {"rivals": "report"}}
"""What listens in for the tests is a MixMonitor of its own."""
AGREES: Script = (Say(0), UntilPrompt(), Wait(HEARD), Press("1"))
REFUSES: Script = (Say(0), UntilPrompt(), Wait(HEARD), Press("2"))
TALKS: Script = (UntilBridged(), Say(CALLER), Wait(4), HangUp())


async def both_listen(on: Stage, call: Call) -> tuple[Path, Path]:
    """From before the agent's answer on: what the caller hears, and what the agent hears."""
    assert isinstance(call.placed, Party)
    caller = await ears.listen_in(on.calls, call.placed.phone, f"caller-{call.placed.leg}")
    rings = await on.calls.admin.until("LocalBridge", since=call.placed.since, timeout=60, Context="phones")
    return caller, await ears.listen_in(on.calls, rings["LocalTwoChannel"], f"agent-{call.placed.leg}")


async def ended(on: Stage, call: Call) -> CallRow:
    """The call's row, once every channel of it is gone and what the ears heard is closed."""
    await call.until_ended(timeout=120)

    async def quiet() -> bool:
        return not await on.calls.admin.channels()

    await until(quiet)
    (row,) = await on.closed(1, timeout=60)
    return row


async def placed(on: Stage, caller: Script, agent: Script, *, named: str, line: str = "support", **house: str) -> Call:
    return await on.calls.incoming(line, caller, agent, agent_name=named, own_queue=True, rings_for=2, variables=house)


@pytest.mark.parametrize(("language", "prompt"), [("en", "erased"), ("fr", "erased")])
async def test_who_withdraws_hears_so_in_their_own_language(release: str, language: str, prompt: str) -> None:
    async with stage(release, lines=LINES, changes=TO_LISTEN) as on:
        withdraws: Script = (*AGREES, UntilBridged(), Wait(2), Press("*9"), Wait(6), HangUp())
        call = await placed(on, withdraws, (Say(0),), named="told", HOUSE_LANGUAGE=language)
        caller, agent = await both_listen(on, call)
        row = await ended(on, call)
        other = {"en": "fr", "fr": "en"}[language]
        assert ears.hears(caller, PROMPTS / language / f"{prompt}.wav") > ears.CLEARLY
        assert ears.hears(caller, PROMPTS / other / f"{prompt}.wav") < ears.HARDLY
        assert ears.hears(agent, PROMPTS / language / f"{prompt}.wav") < ears.HARDLY
        assert row.outcome == "declined"


@pytest.mark.parametrize(
    ("answers", "told", "outcome"), [(AGREES, "recorded", "recorded"), (REFUSES, "unrecorded", "declined")]
)
async def test_the_agent_alone_hears_before_the_bridge_whether_the_call_is_captured(
    release: str, answers: Script, told: str, outcome: str
) -> None:
    async with stage(release, lines=LINES, changes=TO_LISTEN) as on:
        call = await placed(on, (*answers, *TALKS), (Say(0), UntilBridged(), Say(AGENT)), named="hears")
        caller, agent = await both_listen(on, call)
        row = await ended(on, call)
        assert row.outcome == outcome
        said = PROMPTS / "en" / f"{told}.wav"
        assert ears.hears(agent, said) > ears.CLEARLY
        assert ears.hears(caller, said) < ears.HARDLY
        for path in await on.settled_paths(row):
            sound = tones.read(path)
            assert max(ears.likeness(sound.samples[:, side] / 32768, ears.read(said)) for side in (LEFT, RIGHT)) < 0.5


async def test_an_agent_who_must_not_be_recorded_hears_in_the_end_that_the_call_is_not(release: str) -> None:
    lists = {"do_not_record": {"agents": ["Local/union@phones"]}}
    async with stage(release, lines=LINES, changes={**TO_LISTEN, **lists}) as on:
        call = await placed(on, (*AGREES, *TALKS), (Say(0),), named="union")
        _, agent = await both_listen(on, call)
        await ended(on, call)
        assert ears.hears(agent, PROMPTS / "en" / "unrecorded.wav") > ears.CLEARLY


async def test_an_override_is_answered_to_the_agent_alone_once_asterisk_captures(release: str) -> None:
    async with stage(release, lines=LINES) as on:
        agent: Script = (Say(AGENT), UntilBridged(), Wait(1), Press("*71"), Until("MixMonitorStart"))
        call = await placed(on, (*REFUSES, UntilBridged(), Wait(6), HangUp()), agent, named="overrides")
        rung = await call.until_rung(timeout=60)
        assert isinstance(rung, Party)
        began = await on.calls.admin.until("MixMonitorStart", since=call.placed.since, timeout=60)
        await call.until_ended()
        sent = on.calls.admin.seen("DTMFBegin", since=call.placed.since, Digit="A")
        assert sent, on.recorder.log_tail(20)
        assert on.calls.admin.events.index(sent[0]) > on.calls.admin.events.index(began)
        assert {event["Channel"].partition("-0")[0] for event in sent} == {"Local/overrides@phones"}
        (row,) = await on.closed(1)
        (path,) = await on.settled_paths(row)
        assert not tones.stretches(path, LEFT, 697)
        assert not tones.stretches(path, RIGHT, 697)


async def test_an_override_without_the_right_captures_nothing_and_with_it_from_the_key_on(release: str) -> None:
    async with stage(release, lines=LINES) as on:
        people = ["revoke anybody overrider --every-line", "add alice --telephone Local/entitled@phones"]
        for words in (*people, "grant alice overrider --line support"):
            on.recorder.command("user", *words.split())
        agent: Script = (Say(AGENT), UntilBridged(), Wait(1), Press("*71"))
        caller: Script = (*REFUSES, UntilBridged(), Wait(6), HangUp())
        for number, named in enumerate(("nobody", "entitled"), 1):
            call = await placed(on, caller, agent, named=named)
            await call.until_ended()
            await on.closed(number)
        recorded, declined = sorted(await on.closed(2), key=lambda row: row.started_at, reverse=True)
        assert (declined.outcome, recorded.outcome) == (Outcome.DECLINED, Outcome.RECORDED)
        (refused,) = (await on.recorder.whole(declined)).audit
        assert (refused.action, refused.actor) == ("override refused", "Local/nobody@phones/n")
        assert (refused.details["hindrance"], refused.details["denied"]) == ("without_right", "nobody_sits_there")
        (entry,) = (await on.recorder.whole(recorded)).audit
        assert (entry.action, entry.details["user"]) == ("override", "alice")
        (path,) = on.recorder.recordings.rglob("*.wav")
        assert await on.settled_paths(recorded) == [path]
        assert tones.stretches(path, RIGHT, AGENT)
        assert not list(on.pbx.captures.glob("*.wav"))


@pytest.mark.parametrize("language", ["en", "fr"])
async def test_a_caller_who_is_to_be_told_of_an_override_hears_of_it_once_asterisk_captures(
    release: str, language: str
) -> None:
    """OV-02: in the language of the caller, who alone hears it; the recording has it in the agent's place."""
    async with stage(release, lines=TELLING, changes=TO_LISTEN) as on:
        refuses: Script = (*REFUSES, UntilBridged(), Say(CALLER), Wait(9), HangUp())
        agent: Script = (Say(AGENT), UntilBridged(), Wait(1), Press("*71"), Say(AGENT))
        call = await placed(on, refuses, agent, named="tells", HOUSE_LANGUAGE=language)
        heard_by_caller, heard_by_agent = await both_listen(on, call)
        row = await ended(on, call)
        said, other = (PROMPTS / folder / "overridden.wav" for folder in (language, {"en": "fr", "fr": "en"}[language]))
        assert ears.hears(heard_by_caller, said) > ears.CLEARLY
        assert ears.hears(heard_by_caller, other) < ears.HARDLY
        assert ears.hears(heard_by_agent, said) < ears.HARDLY
        assert row.outcome == "recorded"
        whole = await on.recorder.whole(row)
        entry, told = (row for row in whole.audit if row.action.startswith("override"))
        assert (entry.action, entry.details["basis"]) == ("override", "the law on emergency")
        assert entry.details["tells_caller"] == "yes"
        assert (told.action, told.recording) == ("override told", entry.recording)
        assert (told.details["language"], told.details["status"]) == (language, "SUCCESS")
        assert told.details["sha256"] == hashlib.sha256(said.read_bytes()).hexdigest()
        assert abs(int(told.details["played_ms"]) - 1000 * soundfile.info(said).duration) < 500
        assert "CallerTold" in [step.name for step in whole.journal]
        assert [event.basis for event in whole.consents if event.reason] == ["the law on emergency"]
        (path,) = await on.settled_paths(row)
        assert tones.stretches(path, LEFT, CALLER)
        assert tones.stretches(path, RIGHT, AGENT)
        sound, words = tones.read(path).samples / 32768, ears.read(said)
        rest = words[len(words) // 2 :]  # the capture may begin in its first word
        assert ears.likeness(sound[:, RIGHT], rest) > ears.CLEARLY
        assert ears.likeness(sound[:, LEFT], rest) < ears.HARDLY


async def test_a_caller_whom_asterisk_cannot_tell_of_an_override_is_not_recorded(release: str) -> None:
    """OV-02: the file is not where the PBX looks for it. The line asks nobody, so that nothing else is played."""
    lines = {"support": {"consent": "never", "override": override_for("emergency", tells_caller=True)}}
    async with stage(release, lines=lines, changes={"prompts": {"path": "/nowhere/prompts"}}) as on:
        agent: Script = (Say(AGENT), UntilBridged(), Wait(1), Press("*71"), Say(AGENT))
        call = await placed(on, (Say(CALLER), UntilBridged(), Wait(6), HangUp()), agent, named="untold")
        row = await ended(on, call)
        began, stopped = (
            on.calls.admin.seen(name, since=call.placed.since) for name in ("MixMonitorStart", "MixMonitorStop")
        )
        assert (len(began), len(stopped)) == (1, 1)
        assert stopped[0].at - began[0].at < 1
        assert (row.outcome, row.reason) == ("lost", "prompt_failed")
        whole = await on.recorder.whole(row)
        assert [(entry.action, entry.details.get("status")) for entry in whole.audit] == [
            ("override", None),
            ("override not told", "FAILED"),
        ]
        assert [recording.status for recording in whole.recordings] == ["erased"]
        await on.recorder.until(lambda: not on.staged(), "the spool to be empty")
        assert list(on.recorder.recordings.rglob("*.wav")) == []
        verified = on.recorder.command("verify", check=False)
        assert verified.returncode == 0, verified.stdout


async def test_an_override_that_cannot_be_written_down_starts_no_capture_and_is_answered_by_silence(
    release: str,
) -> None:
    """OV-03: another program holds the catalogue's lock while the agent presses the key."""
    async with stage(release, lines=LINES) as on:
        agent: Script = (Say(AGENT), UntilBridged(), Wait(3), Press("*71"))
        call = await placed(on, (*REFUSES, UntilBridged(), Wait(9), HangUp()), agent, named="unwritten")
        await call.placed.until_bridged(timeout=60)
        holding = sqlite3.connect(on.recorder.home / "catalogue.db", isolation_level=None)
        holding.execute("BEGIN EXCLUSIVE")
        await call.until_ended(timeout=90)
        holding.execute("ROLLBACK")
        holding.close()
        assert on.calls.admin.seen("MixMonitorStart", since=call.placed.since) == []
        assert on.calls.admin.seen("DTMFBegin", since=call.placed.since, Digit="A") == []
        (row,) = await on.closed(1, timeout=60)
        assert row.outcome == "declined"
        assert (on.staged(), await on.settled_paths(row)) == ([], [])
        assert not any(entry.action == "override" for entry in (await on.recorder.whole(row)).audit)


async def test_a_line_that_beeps_is_heard_to_by_both_and_the_recording_has_no_beep(release: str) -> None:
    async with stage(release, lines=LINES, changes=TO_LISTEN) as on:
        call = await placed(
            on,
            (Say(0), UntilBridged(), Wait(17), HangUp()),
            (Say(0),),
            named="beeps",
            line="sales",
        )
        heard = await both_listen(on, call)
        row = await ended(on, call)
        for path in heard:
            beeps = [begun for begun, _ in sounds(path) if begun > 0]
            talk = beeps[-3:]
            gaps = [later - sooner for sooner, later in itertools.pairwise(talk)]
            assert len(talk) == 3, f"{path.name}: {beeps}"
            assert all(4 <= gap <= 6 for gap in gaps), f"{path.name}: {gaps}"
        (settled,) = await on.settled_paths(row)
        assert not any(tones.stretches(settled, side, 1400) for side in (LEFT, RIGHT))


def sounds(path: Path) -> list[tuple[float, float]]:
    """Where there is any sound, in seconds; what is nearer than a second is one."""
    samples = ears.read(path)
    frames = samples[: len(samples) // 160 * 160].reshape(-1, 160)
    loud = [number * 0.02 for number, frame in enumerate(frames) if float(abs(frame).max()) > 0.01]
    found: list[tuple[float, float]] = []
    for at in loud:
        if found and at - found[-1][1] < 1:
            found[-1] = (found[-1][0], at)
        else:
            found.append((at, at))
    return found
