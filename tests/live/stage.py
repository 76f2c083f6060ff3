"""A PBX, the daemon beside it, and calls placed side by side; what the tests then look at.

`perform` plays a cast of stories at once and keeps what the books and the disk say afterwards, so that many tests can
ask their one question of the same calls. `Stage` is for tests that interfere while calls are in progress.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from recorder.catalogue import CallRow, RecordingRow, WholeCall
from tests.pbx.admin import Admin
from tests.pbx.calls import Call, Calls
from tests.pbx.server import Mount, PbxServer
from tests.recorder_process import LINES, Recorder
from tests.stories import Placed, Story, judge, play

AT_ONCE = 8
"""Calls side by side: our parties press keys by the clock, and on two busy cores a hundred of them would press late."""


@dataclass(slots=True)
class Stage:
    """What stands while a test runs."""

    pbx: PbxServer
    recorder: Recorder
    calls: Calls

    async def row_of(self, placed: Placed) -> CallRow | None:
        assert placed.call is not None
        return next((row for row in await self.recorder.calls() if row.linkedid == placed.call.linkedid), None)

    async def closed(self, calls: int, *, timeout: float = 25) -> tuple[CallRow, ...]:
        return await self.recorder.until_closed(calls, timeout=timeout)

    def staged(self) -> list[str]:
        """What lies in the spool."""
        return sorted(path.name for path in self.pbx.captures.iterdir())

    async def settled_paths(self, call: CallRow) -> list[Path]:
        rows = [row for row in await self.recorder.settled() if row.call == call.id and row.status == "settled"]
        return [self.recorder.path_of(row) for row in rows]


@asynccontextmanager
async def stage(
    release: str,
    *,
    lines: Mapping[str, Mapping[str, object]] = LINES,
    mounts: Sequence[Mount] = (),
    recorder: Recorder | None = None,
    changes: Mapping[str, Mapping[str, object]] | None = None,
    additions: Mapping[str, str] | None = None,
) -> AsyncIterator[Stage]:
    """Everything up and ready; everything removed at the end. `additions` go to the house's own configuration."""
    with tempfile.TemporaryDirectory(prefix="recorder-stage-") as home:
        daemon = recorder or Recorder(Path(home), lines=lines)
        server = PbxServer(release=release, agi=daemon.agi, mounts=tuple(mounts), additions=additions or {})
        async with server as pbx, daemon:
            daemon.configure(pbx, **(changes or {}))
            await daemon.start()
            async with Calls(pbx) as calls:
                yield Stage(pbx, daemon, calls)


@dataclass(slots=True, kw_only=True)
class Ended:
    """One story as it is seen when all is over."""

    placed: Placed
    call: CallRow | None
    whole: WholeCall | None
    recordings: tuple[RecordingRow, ...]
    wrong: list[str]

    @property
    def states(self) -> list[str]:
        """Every state that consent passed through."""
        return [str(row.after) for row in self.whole.consents] if self.whole else []


@dataclass(slots=True)
class Performance:
    """Every story of a cast by its name, and what was left over."""

    by_name: dict[str, Ended]
    calls: int  # in the catalogue
    staged: list[str]
    settled_files: int
    log: str
    verify: tuple[int, str]
    commands: list[str]  # every MixMonitor that Asterisk was told to run, as it logged it

    def __getitem__(self, story: Story) -> Ended:
        return self.by_name[story.name]

    def said(self, story: Story) -> str:
        """For whoever reads a failure: all that is wrong, and the daemon's log."""
        return "\n".join([*self[story].wrong, self.log])


def perform(
    release: str,
    cast: Sequence[Story],
    *,
    lines: Mapping[str, Mapping[str, object]] = LINES,
    at_once: int = AT_ONCE,
    changes: Mapping[str, Mapping[str, object]] | None = None,
) -> Performance:
    """Play the cast at once and judge every story; the files are listened to before they are removed."""
    return asyncio.run(_perform(release, cast, lines, at_once, changes))


async def _perform(
    release: str,
    cast: Sequence[Story],
    lines: Mapping[str, Mapping[str, object]],
    at_once: int,
    changes: Mapping[str, Mapping[str, object]] | None,
) -> Performance:
    async with stage(release, lines=lines, changes=changes) as on:
        placed = [Placed(story) for story in cast]
        room = asyncio.Semaphore(at_once)

        async def in_turn(one: Placed) -> None:
            async with room:
                await play(one, on.calls)

        await asyncio.gather(*(in_turn(one) for one in placed))
        with suppress(TimeoutError):  # each story is judged by itself, and the log stands with it
            await on.closed(sum(story.outcome is not None for story in cast), timeout=60)
            await on.recorder.until(lambda: not on.staged(), "the spool to be empty", timeout=60)
        recordings = await on.recorder.settled()
        seen = {one.story.name: await ended(on, one, recordings) for one in placed}
        verified = on.recorder.command("verify", check=False)
        return Performance(
            by_name=seen,
            calls=len(await on.recorder.calls()),
            staged=on.staged(),
            settled_files=len(list(on.recorder.recordings.rglob("*.wav"))),
            log=on.recorder.log_tail(200),
            verify=(verified.returncode, verified.stdout + verified.stderr),
            commands=[event["AppData"] for event in on.calls.admin.seen("Newexten", Application="MixMonitor")]
            + [event["Command"] for event in on.calls.admin.seen("AGIExecStart") if "MixMonitor" in event["Command"]],
        )


def keys_of(admin: Admin, call: Call) -> list[str]:
    """What Asterisk told of keys in a call, seconds since it was placed: each as it ended, and what it set off."""
    ours, events = call.linkedids(admin), admin.events
    began = events[call.placed.since].at
    return [
        f"{event.at - began:.2f} {event.get('Digit') or event.name}"
        for event in events[call.placed.since :]
        if event.get("Linkedid") in ours and event.name in ("DTMFEnd", "RecorderKey", "AGIExecStart", "BridgeEnter")
    ]


async def ended(on: Stage, placed: Placed, recordings: tuple[RecordingRow, ...]) -> Ended:
    call = await on.row_of(placed) if placed.call else None
    mine = tuple(row for row in recordings if call is not None and row.call == call.id)
    settled = sorted((row for row in mine if row.status == "settled"), key=lambda row: row.authorised_at)
    wrong = [placed.error] if placed.error else []
    wrong += judge(
        placed.story,
        str(call.outcome) if call else None,
        [on.recorder.path_of(row) for row in settled],
        sealed=any(row.sealed for row in settled),
    )
    if placed.call is not None and not wrong:
        wrong += placed.story.also(placed.call, [on.recorder.path_of(row) for row in settled])
    if wrong and placed.call is not None:
        wrong.append(f"keys: {' '.join(keys_of(on.calls.admin, placed.call))}")
    whole = await on.recorder.whole(call) if call else None
    return Ended(placed=placed, call=call, whole=whole, recordings=mine, wrong=wrong)
