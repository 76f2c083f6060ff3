"""What breaks while calls are in progress, on a real Asterisk: calls go on, and what was captured is kept or erased."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.fakes.wire import Wire
from tests.live.stage import Stage, stage
from tests.pbx import tones
from tests.pbx.admin import until
from tests.pbx.calls import Call
from tests.pbx.party import HangUp, Press, Say, Script, UntilBridged, UntilPrompt, Wait
from tests.pbx.server import Mount
from tests.recorder_process import Recorder
from tests.stories import AGENT, CALLER, HEARD, LEFT, RIGHT, agrees, both_from_the_bridge_on, overrides, refuses

pytestmark = [pytest.mark.live, pytest.mark.fault]

WAITS: Script = (Say(CALLER), UntilBridged(), Wait(3), HangUp())


BUFFER = 32 * 1024
"""Bytes: the steps in which Asterisk writes a direction, 2.05 s each; it may have begun a second before the bridge."""


def smallest(folder: Path) -> int:
    return min((path.stat().st_size for path in folder.glob("*.wav")), default=0)


async def until_talking(on: Stage, call: Call, consent: str) -> None:
    """Until the books say that this call talks with this consent."""

    async def talks() -> bool:
        return any(
            row.linkedid == call.linkedid and row.phase == "talking" and row.consent == consent
            for row in await on.recorder.calls()
        )

    async with asyncio.timeout(30):
        while not await talks():
            await asyncio.sleep(0.1)


async def the_recording(on: Stage, outcome: str = "recorded") -> Path:
    """The one call's one settled file, after its outcome."""
    (row,) = await on.closed(1)
    assert (row.outcome, row.reason) == (outcome, None), on.recorder.log_tail()
    (path,) = await on.settled_paths(row)
    await on.recorder.until(lambda: not on.staged(), "the spool to be empty")
    return path


@contextmanager
def small_file_system(folder: Path, options: str) -> Iterator[None]:
    """The folder as a file system of its own; what it held stays beneath."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"{options},mode=0700", "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


async def test_a_daemon_killed_in_mid_call_takes_the_capture_over_when_it_is_back(release: str) -> None:
    async with stage(release) as on:
        call = await on.calls.incoming("support", agrees(then=12), (Say(AGENT),))
        await until_talking(on, call, "given")
        on.recorder.send(signal.SIGKILL)
        on.recorder.launch()
        await call.until_ended()
        path = await the_recording(on)
        assert both_from_the_bridge_on(path) == []
        assert tones.read(path).seconds > 11.5


async def test_a_call_that_ended_while_the_daemon_was_dead_is_settled_whole_on_the_queue_logs_word(
    release: str,
) -> None:
    async with stage(release) as on:
        call = await on.calls.incoming("support", agrees(then=5), (Say(AGENT),))
        await until_talking(on, call, "given")
        on.recorder.send(signal.SIGKILL)
        await call.until_ended()
        on.recorder.launch()
        path = await the_recording(on)
        assert both_from_the_bridge_on(path) == []
        assert tones.read(path).seconds > 4.5


@pytest.mark.asterisk16
@pytest.mark.parametrize("who", ["callee", "agent"])
async def test_an_outgoing_call_that_ended_while_the_daemon_was_dead_is_settled_whole(release: str, who: str) -> None:
    callee = agrees(then=5) if who == "callee" else agrees(then=60)
    agent: Script = (Say(AGENT),) if who == "callee" else (Say(AGENT), UntilBridged(), Wait(5), HangUp())
    async with stage(release) as on:
        call = await on.calls.outgoing(agent, callee)
        await until_talking(on, call, "given")
        on.recorder.send(signal.SIGKILL)
        await call.until_ended()
        on.recorder.launch()
        path = await the_recording(on)
        assert both_from_the_bridge_on(path) == []
        assert tones.read(path).seconds > 4.5


@pytest.mark.asterisk16
async def test_an_agent_connected_while_the_daemon_was_dead_is_known_from_the_queue_log(release: str) -> None:
    """And when: the queue log has the second, the agent's leg the moment (RECORDER_JOINED)."""
    async with stage(release) as on:
        waiting: Script = (Say(CALLER), UntilPrompt(), Wait(HEARD), Press("1"), UntilBridged())
        call = await on.calls.incoming("support", waiting, None)
        await on.recorder.until(on.staged, "the capture to be armed")
        on.recorder.send(signal.SIGKILL)
        await on.calls.sit("support", "Local/late@phones/n")
        on.calls.answer(call, (Say(AGENT),), rings="late")
        await call.placed.until_bridged()
        await on.recorder.start()
        await asyncio.sleep(3)
        await on.calls.hang_up(call)
        path = await the_recording(on)
        assert both_from_the_bridge_on(path) == []
        joined = await on.calls.admin.until("BridgeEnter", since=call.placed.since, Uniqueid=call.placed.leg)
        (row,) = await on.recorder.settled()
        assert row.bridged_at is not None
        late = row.bridged_at.timestamp() - float(joined["Timestamp"])
        assert abs(late) < 0.1, on.recorder.log_tail()


async def test_a_call_that_passed_wholly_while_we_were_away_is_lost_for_that_reason(release: str) -> None:
    async with stage(release) as on:
        await on.recorder.stop()
        call = await on.calls.incoming("support", WAITS, (Say(AGENT),))
        placed, _ = await call.until_ended()
        assert placed.was_bridged
        on.recorder.launch()
        (row,) = await on.closed(1)
        assert (row.outcome, row.reason) == ("lost", "recorder_away")


async def test_a_frozen_daemon_holds_a_caller_three_seconds_and_no_longer(release: str) -> None:
    async with stage(release) as on:
        on.recorder.send(signal.SIGSTOP)
        call = await on.calls.incoming("support", WAITS, (Say(AGENT),))
        placed, _ = await call.until_ended()
        on.recorder.send(signal.SIGCONT)
        assert placed.answered_at is not None
        waited = placed.bridged[0][0] - placed.answered_at
        assert 2.9 < waited < 4.5
        assert placed.bridged_seconds > 2.5
        (row,) = await on.closed(1)
        assert row.outcome == "lost"
        assert on.staged() == []


async def test_a_frozen_daemon_holds_a_callee_three_seconds_and_no_longer(release: str) -> None:
    async with stage(release) as on:
        on.recorder.send(signal.SIGSTOP)
        call = await on.calls.outgoing((Say(AGENT),), WAITS)
        _, callee = await call.until_ended()
        on.recorder.send(signal.SIGCONT)
        assert callee is not None
        assert callee.answered_at is not None
        assert callee.bridged[0][0] - callee.answered_at < 4.5
        assert callee.bridged_seconds > 2.5
        (row,) = await on.closed(1)
        assert row.outcome == "lost"


async def test_a_frozen_daemon_at_an_override_key_costs_two_seconds_of_silence_and_no_call(release: str) -> None:
    async with stage(release) as on:
        call = await on.calls.incoming("support", refuses(then=8), overrides("*71", after=2))
        await until_talking(on, call, "refused")
        on.recorder.send(signal.SIGSTOP)
        placed, agent = await call.until_ended()
        on.recorder.send(signal.SIGCONT)
        assert agent is not None
        assert placed.bridged_seconds > 7.5
        (row,) = await on.closed(1)
        assert row.outcome == "declined"
        assert on.staged() == []


async def test_a_transfer_that_a_frozen_daemon_slept_through_leaves_nothing_of_the_new_party(release: str) -> None:
    async with stage(release) as on:
        call = await on.calls.incoming("support", agrees(then=12), (Say(AGENT),))
        await until_talking(on, call, "given")
        await asyncio.sleep(2)  # what is said before the transfer
        on.recorder.send(signal.SIGSTOP)
        agents = [name for name in await on.calls.admin.channels() if name.startswith("Local/agent1@phones")]
        (leg,) = [name for name in agents if name.endswith(";1")]
        await on.calls.admin.action("BlindTransfer", {"Channel": leg, "Exten": "2999", "Context": "from-agents"})
        await asyncio.sleep(4)  # with the voice mail, unseen
        on.recorder.send(signal.SIGCONT)
        await call.until_ended()
        path = await the_recording(on)
        assert tones.seconds_of(tones.stretches(path, RIGHT, AGENT)) > 1.0
        for side in (LEFT, RIGHT):
            assert tones.stretches(path, side, 2600) == []


async def test_a_talk_that_ended_while_a_frozen_daemon_slept_is_settled_whole_on_the_queue_logs_word(
    release: str,
) -> None:
    async with stage(release) as on:
        call = await on.calls.incoming("support", agrees(then=6), (Say(AGENT),))
        await until_talking(on, call, "given")
        on.recorder.send(signal.SIGSTOP)
        await call.until_ended()
        await asyncio.sleep(3)  # the hang-up lies in the socket, and nobody knows any more when it was
        on.recorder.send(signal.SIGCONT)
        path = await the_recording(on)
        assert both_from_the_bridge_on(path) == []
        assert tones.read(path).seconds > 5.5


async def test_an_ami_connection_cut_in_mid_call_loses_nothing(release: str, tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "recorder")
    async with stage(release, recorder=recorder) as on, Wire("127.0.0.1", on.pbx.ports.ami) as wire:
        await recorder.stop()
        recorder.configure(on.pbx, ami={"port": wire.port})
        await recorder.start()
        call = await on.calls.incoming("support", agrees(then=8), (Say(AGENT),))
        await until_talking(on, call, "given")
        wire.cut()
        await recorder.until(lambda: recorder.get("/readyz")[0] == 503, "the daemon to say that it cannot capture")
        assert "Asterisk is not connected" in str(recorder.get("/readyz")[1]["reasons"])
        wire.mend()
        await recorder.until(lambda: recorder.get("/readyz")[0] == 200, "the daemon to be ready again")
        await call.until_ended()
        path = await the_recording(on)
        assert both_from_the_bridge_on(path) == []
        assert tones.read(path).seconds > 7.5


async def test_asterisk_killed_in_mid_call_leaves_a_repaired_recording_of_what_was_written(release: str) -> None:
    async with stage(release) as on:
        call = await on.calls.incoming("support", agrees(then=60), (Say(AGENT),))
        await until_talking(on, call, "given")
        await until(lambda: smallest(on.pbx.captures) > 3 * BUFFER, timeout=20)
        await on.pbx.kill()
        await on.pbx.restart()  # a dead AMI connection alone does not say that the calls have ended
        (row,) = await on.closed(1)
        assert row.outcome == "recorded", on.recorder.log_tail()
        (recording,) = await on.recorder.settled()
        assert "header_repaired" in recording.findings
        path = on.recorder.path_of(recording)
        assert 4.0 < tones.read(path).seconds < 6.5
        assert tones.seconds_of(tones.stretches(path, LEFT, CALLER)) > 3.8
        assert tones.seconds_of(tones.stretches(path, RIGHT, AGENT)) > 3.8
        await on.recorder.until(lambda: on.recorder.get("/readyz")[0] == 200, "the daemon to be ready again")


async def test_an_unwritable_spool_stops_captures_and_no_call(release: str) -> None:
    async with stage(release) as on:
        with small_file_system(on.pbx.captures, "ro,size=1m"):
            await on.recorder.until(lambda: on.recorder.get("/readyz")[0] == 503, "the daemon to see the spool")
            assert str(on.pbx.captures) in str(on.recorder.get("/readyz")[1]["reasons"])
            call = await on.calls.incoming("support", WAITS, (Say(AGENT),))
            placed, _ = await call.until_ended()
            assert placed.was_bridged
            (row,) = await on.closed(1)
            assert (row.outcome, row.reason) == ("lost", "spool_unready")
        await on.recorder.until(lambda: on.recorder.get("/readyz")[0] == 200, "the daemon to be ready again")
        assert await on.recorder.settled() == ()


async def test_a_capture_that_stops_growing_is_found_out_while_the_talk_goes_on(release: str, tmp_path: Path) -> None:
    inside = {"spool": "/srv/captures", "spool_here": str(tmp_path)}
    mount = Mount(here=tmp_path, inside="/srv/captures")
    with small_file_system(tmp_path, "size=8m"):
        async with stage(release, mounts=(mount,), changes={"capture": inside}) as on:
            waiting: Script = (Say(CALLER), UntilPrompt(), Wait(HEARD), Press("1"), UntilBridged(), Wait(26), HangUp())
            call = await on.calls.incoming("support", waiting, None)
            await on.recorder.until(lambda: list(tmp_path.glob("*-agent.wav")), "the capture to be armed")
            fill(tmp_path)
            await on.calls.sit("support", "Local/late@phones/n")
            on.calls.answer(call, (Say(AGENT),), rings="late")
            await on.recorder.until(
                lambda: "stopped growing" in str(on.recorder.get("/status")[1]["reasons"]),
                "the stalled capture",
                timeout=30,
            )
            placed, _ = await call.until_ended()
            assert placed.bridged_seconds > 25
            (row,) = await on.closed(1)
            assert row.outcome == "recorded"
            await on.recorder.until(lambda: "shorter_than_bridge" in on.recorder.log_tail(), "the analysis")
            (recording,) = await on.recorder.settled()
            assert "shorter_than_bridge" in recording.findings


def fill(folder: Path) -> None:
    """To the last block."""
    with (folder / "filler").open("wb", buffering=0) as filler, contextlib.suppress(OSError):
        while filler.write(bytes(4096)):
            pass


async def test_a_locked_catalogue_stops_captures_and_no_call_and_is_caught_up_with(release: str) -> None:
    async with stage(release) as on:
        database = on.recorder.catalogue.removeprefix("sqlite:///")
        holder = await asyncio.create_subprocess_exec(
            "python3",
            "-c",
            f"import sqlite3,sys; c=sqlite3.connect({database!r}, isolation_level=None); c.execute('BEGIN EXCLUSIVE');"
            "print('held', flush=True); sys.stdin.readline()",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert holder.stdout is not None
        assert holder.stdin is not None
        assert await holder.stdout.readline() == b"held\n"
        await on.recorder.until(lambda: on.recorder.get("/readyz")[0] == 503, "the daemon to see the catalogue")
        call = await on.calls.incoming("support", WAITS, (Say(AGENT),))
        placed, _ = await call.until_ended()
        assert placed.was_bridged
        assert placed.answered_at is not None
        assert placed.bridged[0][0] - placed.answered_at < 2
        holder.stdin.close()
        await holder.wait()
        (row,) = await on.closed(1)
        assert (row.outcome, row.reason) == ("lost", "catalogue_away")
        await on.recorder.until(lambda: on.recorder.get("/readyz")[0] == 200, "the daemon to be ready again")


async def test_a_prompt_that_asterisk_cannot_play_means_no_capture(release: str) -> None:
    async with stage(release, changes={"prompts": {"path": "/nowhere/prompts"}}) as on:
        call = await on.calls.incoming("support", WAITS, (Say(AGENT),))
        placed, _ = await call.until_ended()
        assert placed.was_bridged
        (row,) = await on.closed(1)
        assert (row.outcome, row.reason) == ("lost", "prompt_failed")
        assert on.staged() == []
