"""What a browser finds: a daemon that runs, with people, past calls that can be heard, calls in progress, contests.

Owns one story for the tests and the screenshots, at times of its own, so that pictures of it hardly change. Must not
look at a page.
"""

from __future__ import annotations

import wave
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import numpy as np
import numpy.typing as npt

from recorder import catalogue
from recorder.alarms import AlarmKind
from recorder.call import (
    CallAdmitted,
    CallEvent,
    CaptureArmed,
    ConsentAnswered,
    KeyPressed,
    PromptPlayed,
    RecordingMade,
)
from recorder.contests import ContestAction
from recorder.http.door import COOKIE
from recorder.listens import ListenKind, Unheard
from recorder.model import (
    AgentConnected,
    BridgeEntered,
    CallId,
    Channel,
    ChannelHungUp,
    ConsentEventId,
    ConsentMode,
    ConsentState,
    KeyAct,
    MixMonitorMuted,
    Prompt,
    PromptKind,
    RecordingId,
)
from recorder.rights import EVERY_LINE, Right, Role
from recorder.signing_in import SignInAct, SignInAction, Token, digest_of
from recorder.storage import Storage
from tests.books import Story
from tests.core.test_listens import ACT
from tests.edge.centre import NUMBER_KEY, Centre, Talk, until
from tests.edge.visitors import browser, enters, signs_in
from tests.facts import NOON, agent, caller, contest_act, later
from tests.fakes.pbx import FakePbx

TODAY: Final = datetime(2026, 3, 5, 14, 30, tzinfo=UTC)
ALICE, BOB = "PJSIP/alice", "PJSIP/bob"
RATE: Final = 8000
KEYS: Final = {ConsentState.GIVEN: "1", ConsentState.REFUSED: "2"}
TALK_AT: Final = 10.0
"""Seconds from a story's beginning to its talk."""
PEOPLE: Final[dict[str, tuple[Role, ...]]] = {
    "sam": (Role.SUPERVISOR, Role.QUALITY),
    "paul": (Role.PRIVACY_OFFICER, Role.AUDITOR),
    "ada": (Role.ADMINISTRATOR,),
    "alice": (Role.AGENT, Role.OVERRIDER),
    "bob": (Role.AGENT,),
    "carla": (Role.SUPERVISOR,),
}
"""Everybody on every line. Who opens a page is the first of them who may."""
SEATS: Final = {"alice": ALICE, "bob": BOB}
CALLER_SPEAKS: Final = ((0.4, 4.5), (9.0, 10.4), (16.0, 19.0), (26.5, 29.5), (33.0, 35.5))
AGENT_SPEAKS: Final = ((4.6, 9.4), (14.5, 16.4), (19.2, 20.5), (28.5, 33.2))
PAUSED: Final = (20.8, 26.0)
SILENT_MS: Final = (10_400, 14_500)
"""Where nobody speaks in the recording that is heard: its only silence that is no pause."""
LENGTH: Final = 36.0


@dataclass
class Past(Story):
    """A call of some days ago, on this line, with this agent, as long as it is said."""

    began: datetime = NOON
    line: str = "support"
    telephone: str = ALICE
    talked: float = LENGTH
    policy: str = ""
    prompts: dict[str, Prompt] = field(default_factory=dict)
    language: str = "en"

    def paused(self) -> Past:
        for which, (act, seconds) in enumerate(zip((KeyAct.PAUSE, KeyAct.RESUME), PAUSED, strict=True)):
            at, ids = later(TALK_AT + seconds), 10 * self.call.int + which
            audit = UUID(int=0xA00000 + ids)
            consent = ConsentEventId(UUID(int=0xC00000 + ids))
            self.events.append(KeyPressed(at=at, act=act, presser=agent(self.call), consent=consent, audit=audit))
            muted = act is KeyAct.PAUSE
            self.events.append(MixMonitorMuted(at=at, channel=caller(self.call), direction="both", muted=muted))
        return self

    def refused(self) -> Story:
        return self.answered(ConsentState.REFUSED)

    def silent(self) -> Story:
        return self.answered(ConsentState.UNANSWERED)

    def passed_by(self) -> Story:
        return self.answered(ConsentState.PROHIBITED)

    def hung_up(self) -> Past:
        self.events.append(ChannelHungUp(at=later(TALK_AT + self.talked), channel=caller(self.call)))
        return self

    def settled(self, storage: Storage) -> Past:
        legs = zip(storage.spool.paths(self.recording), (CALLER_SPEAKS, AGENT_SPEAKS), (180, 240), strict=True)
        for path, turns, pitch in legs:
            write_speech(path, turns, pitch, self.kept, PAUSED if self.is_paused else (0, 0))
        made = storage.settle(self.recording, self.authorised_at)
        storage.spool.discard(self.recording)
        self.events.append(
            RecordingMade(
                at=later(TALK_AT + self.talked + 1),
                recording=self.recording,
                samples=made.samples,
                rate=made.rate,
                sha256=made.sha256,
                size=made.size,
            )
        )
        return self

    @property
    def is_paused(self) -> bool:
        return any(isinstance(event, KeyPressed) for event in self.events)

    @property
    def kept(self) -> float:
        """Seconds of the talk that its recording has."""
        return self.talked - max(0.0, (super().authorised_at - later(TALK_AT)).total_seconds())

    @property
    def authorised_at(self) -> datetime:
        return super().authorised_at + (self.began - NOON)

    async def write(self, store: catalogue.Catalogue) -> Any:
        self.events = [self._told(event) for event in self.events]
        return await super().write(store)

    def _told(self, event: CallEvent) -> CallEvent:
        """As it was on this day, line and telephone."""
        event = replace(event, at=event.at + (self.began - NOON))
        match event:
            case CallAdmitted():
                return replace(event, line=self.line, policy=self.policy)
            case PromptPlayed():
                return replace(event, prompt=self.prompts[self.language])
            case ConsentAnswered(prompt=Prompt()):
                key = KEYS.get(event.answer)
                return replace(event, prompt=self.prompts[self.language], language=self.language, key=key)
            case CaptureArmed():
                return replace(event, at=max(event.at, self.authorised_at))
            case AgentConnected():
                named = self._channel(event.agent)
                return replace(event, agent=named, queue=self.line, interface=self.telephone)
            case BridgeEntered():
                return replace(event, channel=self._channel(event.channel))
            case KeyPressed():
                return replace(event, presser=self._channel(event.presser))
        return event

    def _channel(self, channel: Channel) -> Channel:
        return replace(channel, name=channel.name.replace(ALICE, self.telephone))


def write_speech(
    path: Path, turns: Sequence[tuple[float, float]], pitch: float, seconds: float, paused: tuple[float, float]
) -> None:
    """One direction, mono: a voice that rises and falls in these turns, a faint hum, and exact silence while paused."""
    at = np.arange(round(seconds * RATE)) / RATE
    loud: npt.NDArray[np.float64] = np.zeros_like(at)
    for began, ended in turns:
        inside = (at >= began) & (at < ended)
        loud[inside] = 0.35 + 0.3 * np.abs(np.sin(7.3 * at[inside])) * (1 + np.sin(1.9 * at[inside] + pitch))
    voice = np.sin(2 * np.pi * pitch * at) + 0.4 * np.sin(4 * np.pi * pitch * at)
    heard = 9000 * loud * voice + 4 * np.sin(2 * np.pi * 60 * at)
    heard[(at >= paused[0]) & (at < paused[1])] = 0
    with wave.open(str(path), "wb") as sound:
        sound.setparams((1, 2, RATE, 0, "NONE", ""))
        sound.writeframes(heard.astype("<i2").tobytes())


@dataclass
class Scene:
    """The centre, who is there, and what there is to open."""

    centre: Centre
    cookies: dict[str, str] = field(default_factory=dict)
    calls: dict[str, CallId] = field(default_factory=dict)
    recordings: dict[str, RecordingId] = field(default_factory=dict)
    talks: list[Talk] = field(default_factory=list)

    @property
    def at(self) -> str:
        return f"http://127.0.0.1:{self.centre.assembly.http.port}"

    @property
    def places(self) -> dict[str, object]:
        """What fills the places of a route's path."""
        heard = self.recordings["heard"]
        return {"call": self.calls["heard"], "recording": heard, "contest": UUID(int=101), "name": "alice"}

    async def signed_in(self, name: str) -> str:
        """A session of theirs, which is kept for the next who asks."""
        if name not in self.cookies:
            async with browser(self.centre) as client:
                answer = await signs_in(client, name)
                assert answer.status_code == 303, answer.text
                self.cookies[name] = client.cookies[COOKIE]
        return self.cookies[name]

    async def talks_on(self, line: str = "support", keys: str = "1", telephone: str = ALICE) -> Talk:
        """A call begins, and its agent takes it."""
        talk = self.centre.new_talk()
        talk.agent.name = talk.agent.name.replace(ALICE, telephone)
        await self.centre.asks(line=line, keys=keys, talk=talk)
        self.centre.connects(talk, queue=line, interface=telephone)
        self.talks.append(talk)
        await self.centre.until_talking(len(self.talks))
        return talk

    def hangs_up(self, talk: Talk) -> None:
        self.talks.remove(talk)
        self.centre.hangs_up(talk)


Happens = Callable[[Past], object]
AGREED: Final[tuple[Happens, ...]] = (Past.admitted, Past.answered, Past.armed, Past.talking)
REFUSED: Final[tuple[Happens, ...]] = (Past.admitted, Past.refused, Past.talking)


def told(number: int, began: str, *happens: Happens, **said: Any) -> Past:
    """A call of this day and time, with ids that are its own for good."""
    recording = RecordingId(UUID(int=(0x5EED << 112) | number))
    at = datetime.fromisoformat(f"2026-03-{began}+00:00")
    past = Past(began=at, call=CallId(UUID(int=number)), recording=recording, **said)
    for one in happens:
        one(past)
    return past


def past_calls() -> dict[str, Past]:
    """By what they are for, the oldest first."""
    never, fr = {"line": "private", "mode": ConsentMode.NEVER}, {"language": "fr"}
    return {
        "first": told(1, "03 09:12:41", *AGREED, talked=21.0),
        "given up": told(2, "03 16:40:02", Past.admitted, Past.refused),
        "private": told(3, "04 10:20:15", Past.admitted, Past.passed_by, Past.talking, **never, telephone=BOB),
        "lost": told(4, "04 15:05:33", Past.admitted, Past.answered, Past.lost, Past.talking, telephone=BOB),
        "silent": told(5, "05 09:42:07", Past.admitted, Past.silent, Past.talking, **fr),
        "overridden": told(6, "05 11:10:50", *REFUSED, Past.overridden, Past.armed, talked=25.0),
        "sales": told(7, "05 12:31:18", *AGREED, line="sales", telephone=BOB, talked=24.0),
        "refused": told(8, "05 12:55:29", *REFUSED, **fr),
        "heard": told(9, "05 13:20:04", *AGREED, Past.paused),
    }


async def write_past(scene: Scene) -> None:
    assembly = scene.centre.assembly
    rules = assembly.settings.rules()
    prompts = {of: prompt for (kind, of), prompt in assembly.prompts.prompts.items() if kind is PromptKind.QUESTION}
    for name, past in past_calls().items():
        past.prompts, past.policy = prompts, rules[past.line].digest
        past.hung_up()
        if name in ("first", "overridden", "sales", "heard"):
            past.settled(assembly.storage)
        await past.write(scene.centre.catalogue)
        scene.calls[name], scene.recordings[name] = past.call, past.recording
    settled = "SELECT count(*) FROM waveforms"
    await until(lambda: scene.centre.rows(settled)[0][0] == 4, "the analysis", seconds=60)


async def write_people(scene: Scene) -> None:
    for name, roles in PEOPLE.items():
        await enters(scene.centre, name, *roles, at=SEATS.get(name), line=EVERY_LINE)
    token = Token(
        id=UUID(int=501),
        digest=digest_of("wall board"),
        user="ada",
        label="wall board",
        issued_at=TODAY,
        issued_by="root",
        until=TODAY + timedelta(days=30),
        rights=frozenset({Right.VIEW_SYSTEM}),
        lines=None,
    )
    issued = SignInAction.TOKEN_ISSUED
    act = SignInAct(id=UUID(int=502), at=TODAY, user="ada", action=issued, actor="root", token=token.id)
    await scene.centre.catalogue.issue_token(token, act)


async def write_listens(scene: Scene) -> None:
    """Sam has heard a part of it, and was refused what is sealed."""
    act = replace(ACT, token=None)
    heard = replace(act, call=scene.calls["heard"], recording=scene.recordings["heard"], listen=UUID(int=201))
    began = datetime(2026, 3, 5, 13, 58, 10, tzinfo=UTC)
    steps: tuple[tuple[ListenKind, int | None], ...] = (
        (ListenKind.OPENED, None),
        (ListenKind.SENT, 36_000),
        (ListenKind.PLAYED, 18_500),
        (ListenKind.CLOSED, None),
    )
    acts = [
        replace(
            heard,
            id=UUID(int=300 + which),
            at=began + timedelta(seconds=11 * which),
            kind=kind,
            began_ms=None if ended is None else 0,
            ended_ms=ended,
        )
        for which, (kind, ended) in enumerate(steps)
    ]
    tried = replace(
        act,
        id=UUID(int=310),
        listen=UUID(int=210),
        at=began - timedelta(minutes=9),
        kind=ListenKind.REFUSED,
        call=scene.calls["overridden"],
        recording=scene.recordings["overridden"],
        why=Unheard.SEALED,
    )
    await scene.centre.catalogue.write_listens([tried, *acts])


async def write_contests(scene: Scene) -> None:
    """One waits for its answer, one has it."""
    about = {101: ("heard", UUID(int=201), 14.1), 102: ("refused", None, 13.5)}
    for number, (name, listen, hour) in about.items():
        at = datetime(2026, 3, 5, tzinfo=UTC) + timedelta(hours=hour)
        said = contest_act(key=UUID(int=number), call=scene.calls[name], at=at, listen=listen)
        words = "That part was about my own leave." if listen else "The caller had hung up by then."
        told_of = replace(said, listener=None if listen is None else "sam", said=words)
        await scene.centre.catalogue.write_contest(told_of)
    answer = contest_act(
        ContestAction.ANSWERED,
        key=UUID(int=102),
        call=scene.calls["refused"],
        by="paul",
        at=TODAY - timedelta(minutes=20),
    )
    await scene.centre.catalogue.write_contest(
        replace(answer, id=UUID(int=402), said="The times in the call’s own story say so too.")
    )


@asynccontextmanager
async def scene_at(home: Path) -> AsyncIterator[Scene]:
    """A centre below `home`, on SQLite, with all of the above."""
    file, key_file = home / "catalogue.db", home / "number.key"
    catalogue.upgrade(f"sqlite:///{file}")
    key_file.write_bytes(NUMBER_KEY.secret)
    key_file.chmod(0o600)
    numbers = {"key_file": key_file, "region": NUMBER_KEY.region}
    async with AsyncExitStack() as closing:
        pbx = await closing.enter_async_context(FakePbx())
        centre = Centre(pbx, home, f"sqlite:///{file}", numbers=numbers)
        centre.clock_set_by = TODAY - datetime.now(UTC)
        closing.push_async_callback(centre.kill)
        await centre.start()
        scene = Scene(centre)
        await write_people(scene)
        await write_past(scene)
        await write_listens(scene)
        await write_contests(scene)
        centre.assembly.daemon.parts.alarms.happened(AlarmKind.RIVAL, "mixmonitor")
        await scene.talks_on()
        await scene.talks_on(line="sales", keys="2", telephone=BOB)
        yield scene
