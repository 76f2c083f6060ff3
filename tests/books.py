"""Calls with true books, for tests: events taken through the machine, written step by step, with real WAVs in place."""

from __future__ import annotations

import wave
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from uuid import uuid4

from recorder.call import (
    CallAdmitted,
    CallEvent,
    CallState,
    CaptureArmed,
    CaptureLost,
    ConsentAnswered,
    OverridePressed,
    PromptPlayed,
    RecordingEmptied,
    RecordingMade,
    fields_from_event,
    replay,
)
from recorder.catalogue import Catalogue, JournalRow
from recorder.model import (
    AgentConnected,
    BridgeEntered,
    BridgeId,
    CallId,
    ChannelHungUp,
    ConsentEventId,
    ConsentMode,
    ConsentState,
    Direction,
    LostReason,
    OverrideReason,
    RecordingId,
)
from recorder.storage import Spool, Storage
from tests.facts import NODE, QUESTION, agent, caller, later, new_call

SECONDS = 2
PATIENT = timedelta(seconds=20)
BRIDGE = BridgeId("b1")


@dataclass
class Story:
    """One call in the making; every method adds what happens next."""

    mode: ConsentMode = ConsentMode.OPT_IN
    call: CallId = field(default_factory=new_call)
    recording: RecordingId = field(default_factory=lambda: RecordingId(uuid4()))
    events: list[CallEvent] = field(default_factory=list)

    def admitted(self) -> Story:
        self.events.append(
            CallAdmitted(
                at=later(0),
                call=self.call,
                node=NODE,
                line="support",
                mode=self.mode,
                direction=Direction.INCOMING,
                linkedid=caller(self.call).linkedid,
                policy="f" * 16,
                listed=frozenset(OverrideReason),
                caller=caller(self.call),
            )
        )
        return self

    def answered(self, answer: ConsentState = ConsentState.GIVEN) -> Story:
        channel = caller(self.call)
        asked = PromptPlayed(
            at=later(4), consent=ConsentEventId(uuid4()), channel=channel, prompt=QUESTION, played_ms=4000
        )
        self.events.append(asked)
        self.events.append(
            ConsentAnswered(
                at=later(5),
                consent=ConsentEventId(uuid4()),
                channel=channel,
                answer=answer,
                recording=self.recording,
                prompt=QUESTION,
                played_ms=4000,
                key="1",
                language="en",
            )
        )
        return self

    def armed(self) -> Story:
        self.events.append(CaptureArmed(at=later(6), recording=self.recording, mixmonitor="0x1"))
        return self

    def lost(self) -> Story:
        self.events.append(CaptureLost(at=later(7), recording=self.recording, reason=LostReason.CAPTURE_FAILED))
        return self

    def talking(self) -> Story:
        outside, alice = caller(self.call), agent(self.call)
        self.events.append(
            AgentConnected(at=later(9), channel=outside, agent=alice, queue="support", interface="PJSIP/alice")
        )
        for number, channel in enumerate((alice, outside), start=1):
            self.events.append(
                BridgeEntered(at=later(10), channel=channel, bridge=BRIDGE, bridge_type="basic", channels=number)
            )
        return self

    def overridden(self, basis: str | None = None) -> Story:
        """Without a basis: as an older recorder wrote it."""
        self.events.append(
            OverridePressed(
                at=later(11),
                reason=OverrideReason.EMERGENCY,
                far=caller(self.call),
                agent="PJSIP/alice",
                consent=ConsentEventId(uuid4()),
                audit=uuid4(),
                recording=self.recording,
                basis=basis,
                tells_caller=None if basis is None else False,
            )
        )
        return self

    def hung_up(self) -> Story:
        self.events.append(ChannelHungUp(at=later(12), channel=caller(self.call)))
        return self

    def gone_at_once(self) -> Story:
        """The caller hangs up in the moment of the bridge, and Asterisk wrote nothing."""
        self.events.append(ChannelHungUp(at=later(10.04), channel=caller(self.call)))
        self.events.append(RecordingEmptied(at=later(11), recording=self.recording))
        return self

    def settled(self, storage: Storage) -> Story:
        """Stage two directions of SECONDS each and settle them."""
        for path in storage.spool.paths(self.recording):
            write_wav(path)
        made = storage.settle(self.recording, self.authorised_at)
        storage.spool.discard(self.recording)
        self.events.append(
            RecordingMade(
                at=later(13),
                recording=self.recording,
                samples=made.samples,
                rate=made.rate,
                sha256=made.sha256,
                size=made.size,
            )
        )
        return self

    @property
    def authorised_at(self) -> datetime:
        """When policy permitted the capture, which is what the settled file's day comes from."""
        return later(11) if any(isinstance(event, OverridePressed) for event in self.events) else later(5)

    async def write(self, store: Catalogue) -> CallState:
        """Write every step as the daemon does; the state at the end."""
        steps = list(replay(self.events))
        phase = steps[0].state.phase
        for seq, (event, step) in enumerate(zip(self.events, steps, strict=True), start=1):
            name, flat = fields_from_event(event)
            row = JournalRow(seq=seq, at=event.at, name=name, old_phase=phase, new_phase=step.state.phase, fields=flat)
            await store.write_step(self.call, step.facts, row, step.state.phase, step.state.consent, PATIENT)
            phase = step.state.phase
        return steps[-1].state


def agreed(storage: Storage) -> Story:
    """The caller said yes, talked, and there is a settled WAV."""
    return Story().admitted().answered().armed().talking().hung_up().settled(storage)


def by_override(storage: Storage) -> Story:
    """The caller said no; the agent pressed the key for an emergency."""
    refused = Story().admitted().answered(ConsentState.REFUSED).talking().overridden()
    return refused.armed().hung_up().settled(storage)


def refused() -> Story:
    return Story().admitted().answered(ConsentState.REFUSED).talking().hung_up()


def excluded() -> Story:
    return Story(mode=ConsentMode.NEVER).admitted().answered(ConsentState.PROHIBITED).talking().hung_up()


def failed() -> Story:
    """The caller said yes, Asterisk wrote nothing."""
    return Story().admitted().answered().lost().talking().hung_up()


def folders(home: Path) -> Storage:
    """An empty store and spool below `home`."""
    for name in ("recordings", "spool"):
        (home / name).mkdir(mode=0o700)
    return Storage(home / "recordings", Spool(home / "spool"))


def write_wav(path: Path) -> None:
    """One direction as Asterisk closes it: mono, 8 kHz, 16 bit."""
    with wave.open(str(path), "wb") as audio:
        audio.setnchannels(1)
        audio.setsampwidth(2)
        audio.setframerate(8000)
        audio.writeframes(b"\x10\x20" * 8000 * SECONDS)
