"""Alone builds and judges every MixMonitor command, and turns staged files into recordings.

Must not decide whether a call may be captured: it is told by the machine's commands. The invariants: one bridged-only
capture with a file per direction and never a mixed one; Asterisk's Success proves nothing, only files that exist and
grow do; the files are taken from the spool only when nobody writes them any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import PurePosixPath
from typing import Protocol

import structlog

from recorder.ami import Ami, AmiError, AmiRefused, ChannelSnapshot
from recorder.call import AUDIBLE, CallEvent, RecordingEmptied, RecordingErased, RecordingMade, RecordingUnmade
from recorder.model import Channel, LostReason, RecorderError, RecordingId, Silenced
from recorder.quality import BRIDGE_TOLERANCE_SECONDS, Finding, Measures, assess, file_findings, waveform_of
from recorder.silences import spans_silenced, spans_to_keep
from recorder.storage import (
    Edges,
    LegFile,
    Problem,
    RecordingTooLong,
    Settled,
    SettledFileDiffers,
    Spool,
    StagedFileDamaged,
    StagedFileMissing,
    StagedFilesEmpty,
    Storage,
    StorageError,
)
from recorder.waveform import Waveform

log = structlog.get_logger(__name__)

MIXMONITOR_VARIABLE = "RECORDER_ID"
UNTOLD_VARIABLE = "RECORDER_UNTOLD"
CALLER_VARIABLE = "RECORDER_CALLER_ID"
REMIND_KEY = "D"
"""Of features_recorder.conf (recorder-remind)."""
LINE_VARIABLE = "RECORDER_LINE"
JOINED_KEY = "C"
"""Of features_recorder.conf (recorder-joined)."""
OPENED_WITHIN = timedelta(seconds=2)
"""Asterisk opens the files in the MixMonitor's own thread, after it has answered Success."""
CLOSED_WITHIN = timedelta(seconds=3)
"""After a hang-up Asterisk closes the files by itself, with no event; after this the header is ours to repair."""
FIRST_BYTES_WITHIN = timedelta(seconds=10)
"""Asterisk writes in steps of 32 KiB (2.05 s of 8 kHz): a bridge this long with nothing on disk writes nothing."""
LOOK_EVERY = timedelta(milliseconds=20)
OPENING = 0.06
"""Seconds at the start of the agent's direction that may still hold what the caller heard before: queue music."""
FRAME = 0.02
BESIDE_AT_MOST = timedelta(seconds=1)
"""A stop confirmed later than this after the talk's end says nothing of where in the file that end is."""


class CaptureRefused(RecorderError):
    """Asterisk did not start the MixMonitor."""

    code = "capture_refused"


class OpenChannel(Protocol):
    """A channel on which a MixMonitor can be run now."""

    async def mixmonitor(self, arguments: str) -> str | None:
        """Run it; the MixMonitor's id where it is known at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Staging:
    """What is known of a stopped capture when it is to be settled."""

    recording: RecordingId
    authorised_at: datetime
    bridged_at: datetime | None
    bridged_seconds: float | None
    keep_seconds: float | None = None  # what lies behind is not proved to be permitted, and becomes silence
    armed: bool = True  # Asterisk said that it began
    stopped_at: datetime | None = None  # Asterisk wrote no more
    silences: tuple[Silenced, ...] = ()  # holds and pauses, which become exact silence


def _kept_seconds(staging: Staging) -> float | None:
    """Up to which the recording is kept: a frame less than is proved. None: all of it."""
    return None if staging.keep_seconds is None else max(0.0, staging.keep_seconds - FRAME)


def mixmonitor_arguments(
    recording: RecordingId | str, spool: PurePosixPath, *, needs_sync: bool, beep: int | None = None
) -> str:
    """The whole argument of MixMonitor(): no mixed file, bridged-only, one file a direction, the id in a variable.

    r() is what comes from the captured channel (the caller), t() what goes to it. `needs_sync` is Asterisk 16, which
    keeps both directions on one time line only when told (S); later ones always do, and log a notice when told. A beep
    each `beep` seconds (B) is heard by both parties and is in neither file. For the dialplan that starts a capture
    while the daemon is away, `recording` is the variable that holds the id.
    """
    caller, agent = (spool / f"{recording}-{leg}.wav" for leg in (LegFile.CALLER, LegFile.AGENT))
    extras = ("" if beep is None else f"B({beep})") + ("S" if needs_sync else "")
    return f",b{extras}r({caller})t({agent})i({MIXMONITOR_VARIABLE})"


def needs_sync(banner_or_version: str) -> bool:
    """Whether this Asterisk needs option S: releases before 18 do."""
    release = next((part for part in banner_or_version.replace("-", " ").split() if part[:1].isdigit()), "0")
    return int(release.split(".")[0]) < 18


def edges_of(staging: Staging) -> Edges:
    """What is silenced at the ends of a recording whatever else is: see OPENING, and who came before the stop."""
    if staging.keep_seconds is None or staging.bridged_at is None or staging.stopped_at is None:
        return Edges(opening=OPENING)
    proved = staging.bridged_at + timedelta(seconds=staging.keep_seconds)
    beside = staging.stopped_at - proved
    if not timedelta() < beside <= BESIDE_AT_MOST:
        return Edges(opening=OPENING)
    return Edges(opening=OPENING, ending=beside.total_seconds() + FRAME)


class CaptureDesk:
    """Starts, stops, silences and settles captures."""

    def __init__(
        self,
        ami: Ami,
        storage: Storage,
        spool: Spool,
        *,
        spool_at_pbx: PurePosixPath,
        min_free: tuple[int, int],
        disk: Executor,
        audio: Executor,
        clock: Callable[[], datetime],
    ) -> None:
        self._sought: list[tuple[RecordingId, Channel, str | None]] = []
        self._seeking = asyncio.Lock()
        self._ami = ami
        self._storage = storage
        self._spool = spool
        self._spool_at_pbx = spool_at_pbx
        self._min_free = min_free
        self._disk = disk  # short looks at files
        self._audio = audio  # joining and measuring, one at a time
        self._clock = clock
        self._told_unwritable = False  # said once: it is so of every staged file, or of none

    # ---- before and during the call

    async def arm(self, recording: RecordingId, lent: OpenChannel, *, beep: int | None = None) -> str | None:
        """Run the MixMonitor on the lent channel; its id where known. Raises CaptureRefused."""
        facts = self._ami.state.facts
        version = facts.core.version if facts and facts.core else ""
        arguments = mixmonitor_arguments(recording, self._spool_at_pbx, needs_sync=needs_sync(version), beep=beep)
        try:
            return await lent.mixmonitor(arguments)
        except Exception as error:  # a lender's own errors are its own; for us each means: not started
            raise CaptureRefused(f"MixMonitor was not started: {error}") from error

    async def opened(self, recording: RecordingId) -> bool:
        """Whether both staged files came to exist in time: the only proof that Asterisk captures."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + OPENED_WITHIN.total_seconds()
        while True:
            try:
                staged = await loop.run_in_executor(self._disk, self._spool.staged, recording)
            except StorageError as error:  # what cannot be looked at is not proved
                log.error("staged_not_seen", recording=str(recording), why=str(error))
                staged = None
            if staged is not None and staged.is_whole:
                return True
            if loop.time() > deadline:
                return False
            await asyncio.sleep(LOOK_EVERY.total_seconds())

    async def sizes(self, recordings: Iterable[RecordingId]) -> dict[RecordingId, int]:
        """Bytes staged of each in both directions, 0 where nothing is. One look in a thread for all of them."""
        return await asyncio.get_running_loop().run_in_executor(self._disk, self._sizes, tuple(recordings))

    def _sizes(self, recordings: tuple[RecordingId, ...]) -> dict[RecordingId, int]:
        found = {recording: self._spool.staged(recording) for recording in recordings}
        return {recording: sum(staged.sizes) if staged else 0 for recording, staged in found.items()}

    async def is_closed(self, recording: RecordingId) -> bool:
        """Whether Asterisk writes the staged files no more; True too where they cannot be looked at."""
        look = asyncio.get_running_loop().run_in_executor(self._disk, self._spool.staged, recording)
        try:
            staged = await look
        except StorageError as error:
            log.error("staged_not_seen", recording=str(recording), why=str(error))
            return True
        return staged is None or staged.is_closed

    async def mixmonitor_id(self, channel: Channel) -> str | None:
        """The id that MixMonitor left on the channel; None where it left none or the PBX cannot be asked."""
        try:
            return await self._ami.getvar(channel.name, MIXMONITOR_VARIABLE)
        except AmiError:
            return None

    async def untold_id(self, channel: Channel) -> str | None:
        """The id that the dialplan left of a MixMonitor that it ended itself: its caller could not be told of it."""
        try:
            return await self._ami.getvar(channel.name, UNTOLD_VARIABLE)
        except AmiError:
            return None

    async def running(self, channel: Channel, mixmonitor: str | None, *, quiet: bool) -> str | None:
        """The id of this MixMonitor where Asterisk still runs it; asserts `quiet` on the way. AmiError: not asked.

        `mixmonitor` None is one that a daemon started and did not live to hear of: its id stands on the channel. Muting
        refuses where nothing runs: the only answer that an account without `system` gets. MIXMONITOR(id,filename) is
        empty for a capture without a mixed file, alive or not.
        """
        try:
            known = mixmonitor or await self._ami.getvar(channel.name, MIXMONITOR_VARIABLE)
            if known is not None:
                await self._ami.mute_mixmonitor(channel.name, known, muted=quiet)
        except AmiRefused:
            return None
        return known

    async def stop(self, recording: RecordingId, channel: Channel, mixmonitor: str | None) -> bool:
        """Stop the MixMonitor; True once nobody writes. A channel or MixMonitor that is gone writes nothing."""
        if not channel.name:
            return True  # gone before we could know its name
        try:
            known = mixmonitor or await self._ami.getvar(channel.name, MIXMONITOR_VARIABLE)
            if known is not None:
                await self._ami.stop_mixmonitor(channel.name, known)
                # Asterisk gives the same id out again, and recorder-done would stop whoever has it by then.
                await self._ami.setvar(channel.name, MIXMONITOR_VARIABLE, "")
            return True
        except AmiRefused:
            return True
        except AmiError as error:
            log.warning("stop_not_confirmed", recording=str(recording), why=str(error))
            return False

    async def seek(self, recording: RecordingId, gone: Channel, mixmonitor: str | None) -> None:
        """Stop this MixMonitor where it runs on though its channel is gone: on whoever has taken that channel's place.

        Asterisk then leaves the MixMonitor and the variables with the one who comes, under the name of the one who
        comes (main/channel.c, channel_do_masquerade). Both variables must be ours: an id alone is given out again. All
        who are gone while Asterisk lists its channels are sought in its next list: a list is long, and in a house whose
        callers all hang up at once they are many.
        """
        self._sought.append((recording, gone, mixmonitor))
        async with self._seeking:
            sought, self._sought = self._sought, []
            if sought:
                await self._seek(sought)

    async def _seek(self, sought: Sequence[tuple[RecordingId, Channel, str | None]]) -> None:
        try:
            rows = await self._ami.channels((MIXMONITOR_VARIABLE, CALLER_VARIABLE))
        except AmiError as error:
            log.warning("capture_not_sought", recordings=[str(recording) for recording, _, _ in sought], why=str(error))
            return
        places: dict[str, list[ChannelSnapshot]] = {}
        for row in rows:
            places.setdefault(row.variables.get(CALLER_VARIABLE, ""), []).append(row)
        for recording, gone, mixmonitor in sought:
            for row in places.get(gone.uniqueid, ()):
                known = row.variables.get(MIXMONITOR_VARIABLE)
                if known is None or (mixmonitor is not None and known != mixmonitor):
                    continue
                if row.channel.uniqueid != gone.uniqueid:
                    log.warning("capture_taken_over", recording=str(recording))
                    await self.stop(recording, row.channel, known)

    async def quiet(self, channel: Channel, mixmonitor: str | None, *, quiet: bool, within: timedelta) -> bool:
        """Have silence written, or speech again; False where Asterisk did not take it in time."""
        if mixmonitor is None:
            return False
        try:
            async with asyncio.timeout(within.total_seconds()):
                await self._ami.mute_mixmonitor(channel.name, mixmonitor, muted=quiet)
        except (AmiError, TimeoutError):
            return False
        return True

    async def beep(self, channel: Channel) -> None:
        """One short tone, the key that no telephone has and no feature is on. AmiError passes."""
        await self._ami.play_key(channel.name, "A")

    async def tell(self, channel: Channel, **variables: str) -> None:
        """Set variables of a channel, in order, that our dialplan waits for there. AmiError passes."""
        for name, value in variables.items():
            await self._ami.setvar(channel.name, name, value)

    async def remind(self, channel: Channel) -> None:
        """Let our dialplan say on this channel that a pause lasts long. AmiError passes."""
        await self._ami.press(channel.name, REMIND_KEY)

    async def summon(self, channel: Channel) -> None:
        """Have our dialplan come to us with this channel of a caller's. AmiError passes."""
        await self._ami.press(channel.name, JOINED_KEY)

    async def line_of(self, channel: Channel) -> str | None:
        """The line that our dialplan has named to an agent's leg. AmiError passes."""
        return await self._ami.getvar(channel.name, LINE_VARIABLE)

    # ---- readiness

    def problems(self) -> list[Problem]:
        """What stands against capturing now, on disk. Blocks: ask in a thread."""
        spool_free, storage_free = self._min_free
        return [*self._spool.problems(spool_free), *self._storage.problems(storage_free)]

    # ---- after the call

    async def settle(self, staging: Staging) -> CallEvent:
        """Make the recording of a stopped capture, or say why there is none. StorageError where the disk refuses."""
        loop = asyncio.get_running_loop()
        recording = staging.recording
        if staging.bridged_at is None:
            await loop.run_in_executor(self._disk, self._spool.discard, recording)
            return RecordingEmptied(at=self._clock(), recording=recording)
        await self._wait_until_closed(recording)
        try:
            made = await loop.run_in_executor(self._audio, self._join, staging)
        except StagedFilesEmpty:
            made = None
        except (StagedFileMissing, StagedFileDamaged, SettledFileDiffers, RecordingTooLong) as error:
            log.error("settle_failed", recording=str(recording), why=str(error))
            never_began = isinstance(error, StagedFileMissing) and not staging.armed
            reason = LostReason.CAPTURE_FAILED if never_began else LostReason.SETTLE_FAILED
            return RecordingUnmade(at=self._clock(), recording=recording, reason=reason)
        if made is None:
            return await self._nothing_there(staging)
        return RecordingMade(
            at=self._clock(),
            recording=recording,
            samples=made.samples,
            rate=made.rate,
            sha256=made.sha256,
            size=made.size,
            findings=tuple(str(finding) for finding in file_findings(made.file_state)),
        )

    def _join(self, staging: Staging) -> Settled:
        spans = spans_to_keep(staging.silences, _kept_seconds(staging))
        # The catalogue holds no digest of a stopped recording: a file from before a crash may be replaced.
        return self._storage.settle(
            staging.recording, staging.authorised_at, spans=spans, edges=edges_of(staging), replace=True
        )

    async def _nothing_there(self, staging: Staging) -> CallEvent:
        if (staging.bridged_seconds or 0) < AUDIBLE.total_seconds():
            await self.discard_staged(staging)
            return RecordingEmptied(at=self._clock(), recording=staging.recording)
        return RecordingUnmade(at=self._clock(), recording=staging.recording, reason=LostReason.CAPTURE_FAILED)

    async def discard_staged(self, staging: Staging) -> None:
        """Remove the staged files, what was silenced overwritten; only after the catalogue holds the recording."""
        # Not on the thread that looks whether captures have begun: overwriting waits for the disk.
        await asyncio.get_running_loop().run_in_executor(self._audio, self._discard, staging)

    def _discard(self, staging: Staging) -> None:
        try:
            self._spool.overwrite(staging.recording, spans_silenced(staging.silences, _kept_seconds(staging)))
        except StorageError as error:  # it is removed all the same
            if not self._told_unwritable:
                log.warning("silences_not_overwritten", recording=str(staging.recording), why=str(error))
            self._told_unwritable = True
        self._spool.discard(staging.recording)

    async def erase(self, staging: Staging) -> CallEvent:
        """Remove what may not be kept, wherever it lies. StorageError where the disk refuses."""
        erase = partial(self._storage.erase, staging.recording, staging.authorised_at)
        removed = await asyncio.get_running_loop().run_in_executor(self._audio, erase)
        log.info("recording_erased", recording=str(staging.recording), files=removed)
        return RecordingErased(at=self._clock(), recording=staging.recording)

    async def analyse(self, staging: Staging) -> tuple[Measures, Waveform, tuple[Finding, ...]]:
        """Measure a settled recording, draw it, and say what is wrong with it."""
        return await asyncio.get_running_loop().run_in_executor(self._audio, self._analyse, staging)

    def _analyse(self, staging: Staging) -> tuple[Measures, Waveform, tuple[Finding, ...]]:
        measures = self._storage.measure(staging.recording, staging.authorised_at)
        # Where the end was not seen, it is known to a second.
        tolerance = BRIDGE_TOLERANCE_SECONDS + (1.0 if staging.keep_seconds is not None else 0.0)
        found = assess(measures, bridged_seconds=staging.bridged_seconds or 0.0, tolerance_seconds=tolerance)
        return measures, waveform_of(measures), found

    async def _wait_until_closed(self, recording: RecordingId) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + CLOSED_WITHIN.total_seconds()
        while loop.time() < deadline:
            staged = await loop.run_in_executor(self._disk, self._spool.staged, recording)
            if staged is None or staged.is_closed:
                return
            await asyncio.sleep(LOOK_EVERY.total_seconds())
        log.warning("staged_never_closed", recording=str(recording))
