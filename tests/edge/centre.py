"""A contact centre in small: the real daemon, put together as `recorder run` does it, beside a fake PBX.

Real are the sockets, the catalogue, the spool, the storage, the dialogue and every part of the daemon; the PBX's bytes
and what Asterisk would write are played. `Centre` owns the daemon and can end it in order or as SIGKILL would.
"""

from __future__ import annotations

import asyncio
import re
import sqlite3
import struct
import wave
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from sqlalchemy import Connection

from recorder.assembly import Assembly
from recorder.catalogue import CallRow, Catalogue, CatalogueError, RecordingRow, WholeCall
from recorder.catalogue.engine import Rooms, url_of
from recorder.clock import Clock
from recorder.daemon import CallRunner, Parts
from recorder.numbers import NumberKey
from recorder.rights import ANYBODY, EVERY_LINE, Role, UserAct, UserAction
from recorder.settings import Settings
from tests.facts import override_for
from tests.fakes.agi import OK, Answer, FakeAgi, environment
from tests.fakes.pbx import Action, FakeChannel, FakePbx, event, response, snapshot

PROMPTS = Path(__file__).parents[2] / "dialplan" / "prompts"
ARGUMENTS = re.compile(r",b(S?)r\((?P<caller>[^)]+)\)t\((?P<agent>[^)]+)\)i\(RECORDER_ID\)")
RATE = 8000
LINES: Mapping[str, Mapping[str, Any]] = {
    "support": {
        "consent": "opt_in",
        "override": override_for("emergency", "legal", "business"),
        "answer_seconds": 1,
        "retries": 0,
    },
    "sales": {"consent": "opt_in", "answer_seconds": 1, "retries": 0},
    "private": {"consent": "never"},
}


ANYBODY_OVERRIDES = UserAct(
    id=UUID(int=8),
    at=datetime(2026, 3, 2, tzinfo=UTC),
    actor="root",
    user=ANYBODY,
    action=UserAction.GRANTED,
    role=Role.OVERRIDER,
    line=EVERY_LINE,
)
NUMBER_KEY = NumberKey(secret=b"s" * 43, region="US")
"""Of the centres that know numbers."""
UNHURRIED = timedelta(seconds=5)
"""What a catalogue may take here, where nobody holds it (`away`): a machine that plays three suites at once may stand
still for longer than a caller may wait, and then the daemon rightly captures nothing."""

_held: set[str] = set()  # the catalogues that `away` holds


async def ask_unhurried(
    rooms: Rooms, work: Callable[[Connection], Any], within: timedelta, *, writes: bool, ask: Any = Rooms.ask
) -> Any:
    """In place of `Rooms.ask`."""
    url = rooms._engines[writes].url.render_as_string(hide_password=False)
    is_held = any(url_of(held).render_as_string(hide_password=False) == url for held in _held)
    return await ask(rooms, work, within if is_held else max(within, UNHURRIED), writes=writes)


async def until(true: Callable[[], object], what: str = "it", *, seconds: float = 10) -> None:
    """Wait until `true` says so; TimeoutError after `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            while not true():
                await asyncio.sleep(0.01)
    except TimeoutError as error:
        raise TimeoutError(f"waited {seconds:g} s for {what}") from error


@dataclass(slots=True, kw_only=True)
class Mix:
    """A MixMonitor of Asterisk's: two files that it holds open, and what it has written."""

    id: str
    channel: FakeChannel
    caller: Path
    agent: Path
    seconds: float = 1.0  # of audio when it ends
    muted: bool = False
    open: bool = True
    file: str = ""  # the mixed file, which ours has not

    def begin(self) -> None:
        """The headers of a file in progress: both sizes are 0 until it is closed."""
        head = struct.pack(
            "<4sI4s4sIHHIIHH4sI", b"RIFF", 0, b"WAVE", b"fmt ", 16, 1, 1, RATE, 2 * RATE, 2, 16, b"data", 0
        )
        for path in (self.caller, self.agent):
            path.write_bytes(head)

    def end(self) -> None:
        """Asterisk closes the files; one that nobody listens to any more it loses."""
        self.open = False
        for path, level in ((self.caller, 1000), (self.agent, 2000)):
            if path.exists():
                with wave.open(str(path), "wb") as sound:
                    sound.setparams((1, 2, RATE, 0, "NONE", ""))
                    sound.writeframes(struct.pack("<h", level) * round(self.seconds * RATE))


@dataclass(slots=True, kw_only=True)
class Talk:
    """One call as the PBX has it."""

    caller: FakeChannel
    agent: FakeChannel
    bridge: str
    visit: FakeAgi | None = None


class Centre:
    """See above. `mixes` is every MixMonitor ever started; `at_mixmonitor` is called when one is about to be."""

    def __init__(self, pbx: FakePbx, folder: Path, url: str, **sections: Mapping[str, Any]) -> None:
        self.pbx = pbx
        self.spool, self.recordings = folder / "spool", folder / "recordings"
        self.queue_log = folder / "queue_log"
        self.url = url
        self.mixes: list[Mix] = []
        self.writes_files = True
        self.clock_set_by = timedelta()  # the daemon's wall clock alone
        self.at_mixmonitor: Callable[[], Answer] = lambda: OK
        self.before_it_runs: Callable[[Parts], None] = lambda _: None
        self.inbound_says: tuple[str, ...] = ("stops",)  # the dialplan of itself, with each call
        self.dialplan_says: tuple[str, ...] = ("tells",)  # of itself, with an override key
        self.playback: str | None = "SUCCESS"  # of what a caller is to hear of an override; None: no word of it comes
        self.played_ms: int | str = 2500
        self.said: list[str] = []  # what was played so
        self.assembly: Assembly
        self._sections = sections
        self._stop = asyncio.Event()
        self._closing = AsyncExitStack()
        self._running: asyncio.Task[None] | None = None
        self._http: asyncio.Task[None] | None = None
        self._calls = 0
        for path in (self.spool, self.recordings):
            path.mkdir(mode=0o700)
        self.tells_of_mutes = True
        pbx.answers |= {"StopMixMonitor": self._stop_mixmonitor, "MixMonitorMute": self._mute_mixmonitor}

    # ------------------------------------------------------------------ the daemon

    def change(self, section: str, **keys: Any) -> None:
        """Other settings from the next start on."""
        self._sections = {**self._sections, section: {**self._sections.get(section, {}), **keys}}

    async def start(self, *, ready: bool = True) -> None:
        """Build the daemon and run it; with `ready`, until it can capture."""
        self.assembly = Assembly(self._settings(), Clock(lambda: datetime.now(UTC) + self.clock_set_by))
        self._stop = asyncio.Event()
        self._closing = AsyncExitStack()
        await self.assembly.build(self._closing)
        with suppress(CatalogueError):
            await self.catalogue.write_user_acts([ANYBODY_OVERRIDES])
        self.before_it_runs(self.assembly.daemon.parts)
        self._http = asyncio.create_task(self.assembly.http.run(), name="http")
        begun = asyncio.Event()
        self._running = asyncio.create_task(self.assembly.daemon.run(self._stop, begun.set), name="daemon")
        waiting = asyncio.ensure_future(begun.wait())
        await asyncio.wait({waiting, self._running}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if self._running.done():
            self._running.result()
        if ready:
            await self.until_ready()

    async def until_ready(self) -> None:
        await until(lambda: not self.reasons, "the daemon to be ready")

    async def stop(self) -> None:
        """As SIGTERM does."""
        self._stop.set()
        await self._end()

    def die(self) -> None:
        """As SIGKILL does: nothing more is written, sent or closed in order. `kill` waits for it."""
        if self._running is not None:
            self._running.cancel()

    async def kill(self) -> None:
        self.die()
        await self._end()

    async def _end(self) -> None:
        if self._running is None or self._http is None:
            return
        with suppress(asyncio.CancelledError):
            await self._running
        self.assembly.http.stop()
        await self._http
        await self._closing.aclose()
        self._running = None

    def _settings(self) -> Settings:
        sections: dict[str, dict[str, Any]] = {
            "ami": {"host": self.pbx.host, "port": self.pbx.port, "username": "recorder", "secret": self.pbx.secret},
            "pbx": {"queue_log": self.queue_log},
            "agi": {"bind": "127.0.0.1:1"},
            "prompts": {"path": PROMPTS},
            "capture": {"spool": self.spool, "min_free_mb": 1},
            "catalogue": {"url": self.url},
            "storage": {"path": self.recordings, "min_free_mb": 1},
            "http": {"bind": "127.0.0.1:1"},
            "line": {name: dict(line) for name, line in LINES.items()},
        }
        for name, keys in self._sections.items():
            sections[name] = sections.get(name, {}) | dict(keys)
        made = Settings.model_validate(sections)
        # Any free port: what a settings file may not ask for, since nobody could find the daemon there.
        anywhere = {"bind": "127.0.0.1:0"}
        return made.model_copy(
            update={"agi": made.agi.model_copy(update=anywhere), "http": made.http.model_copy(update=anywhere)}
        )

    @property
    def reasons(self) -> tuple[str, ...]:
        return self.assembly.daemon.parts.readiness.reasons

    @property
    def agi_port(self) -> int:
        return self.assembly.daemon.parts.ivr.port

    @property
    def counters(self) -> Any:
        return self.assembly.daemon.parts.book.counters

    @property
    def catalogue(self) -> Catalogue:
        return self.assembly.catalogue

    @property
    def runners(self) -> list[CallRunner]:
        return list(self.assembly.daemon.parts.book)

    @property
    def runner(self) -> CallRunner:
        (only,) = self.runners
        return only

    # ------------------------------------------------------------------ what the books say

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """Look into the database from outside, in this very moment."""
        return look(self.url, statement)

    async def call(self) -> CallRow:
        (only,) = await self.catalogue.list_calls(10)
        return only

    async def whole(self) -> WholeCall:
        found = await self.catalogue.one_call((await self.call()).id)
        assert found is not None
        return found

    async def recording(self) -> RecordingRow:
        (only,) = await self.catalogue.list_recordings(10)
        return only

    async def until_closed(self, calls: int = 1, *, seconds: float = 10) -> tuple[CallRow, ...]:
        """The calls once they all have an outcome, oldest first."""
        rows: tuple[CallRow, ...] = ()

        async def closed() -> None:
            nonlocal rows
            while len(rows) < calls or not all(row.outcome for row in rows):
                await asyncio.sleep(0.02)
                rows = await self.catalogue.list_calls(1000)

        try:
            await asyncio.wait_for(closed(), seconds)
        except TimeoutError as error:
            raise TimeoutError(f"waited for {calls} closed calls, have {rows}") from error
        return tuple(reversed(rows))

    async def outcome(self) -> tuple[str, str | None]:
        (row,) = await self.until_closed()
        return str(row.outcome), row.reason

    def settled(self) -> list[Path]:
        return sorted(self.recordings.rglob("*.wav"))

    def staged(self) -> list[Path]:
        return sorted(self.spool.glob("*.wav"))

    # ------------------------------------------------------------------ what happens on the PBX

    def new_talk(self) -> Talk:
        """A caller on the PBX, and the agent who may come to answer."""
        self._calls += 1
        number = self._calls
        caller = FakeChannel(name=f"PJSIP/trunk-{number:08x}", uniqueid=f"1795298000.{number}0", linkedid="")
        caller.linkedid = caller.uniqueid
        agent = FakeChannel(
            name=f"PJSIP/alice-{number:08x}", uniqueid=f"1795298000.{number}1", linkedid=caller.uniqueid
        )
        self.pbx.channels += [caller, agent]
        return Talk(caller=caller, agent=agent, bridge=f"bridge-{number}")

    async def asks(self, *, line: str = "support", keys: str = "1", talk: Talk | None = None) -> Talk:
        """A caller passes recorder-inbound to its end."""
        talk = talk or self.new_talk()
        async with self.visit(talk, line=line, keys=keys) as visit:
            talk.visit = visit
            await visit.until_over()
        return talk

    def visit(self, talk: Talk, *, line: str = "support", keys: str = "1", consults: bool = False) -> FakeAgi:
        caller = talk.caller
        arguments = (line, caller.linkedid, "", "yes" if consults else "no", *self.inbound_says)
        opening = environment(channel=caller.name, uniqueid=caller.uniqueid, arguments=arguments)
        visit = FakeAgi(self.agi_port, opening, keys=keys)
        visit.variables = caller.variables
        visit.answers["EXEC MixMonitor"] = lambda line: self._exec_mixmonitor(caller, line)
        return visit

    async def answers_call(self, talk: Talk, *, keys: str = "1") -> None:
        """The callee of an outgoing call answers and passes recorder-callee to its end."""
        far = talk.caller
        arguments = (far.name, "support", far.uniqueid, far.linkedid, "", talk.agent.name, talk.agent.uniqueid)
        await self._local_leg(far, "outbound", arguments, talk, keys=keys)

    async def presses(self, talk: Talk, reason: str = "emergency", *, who: FakeChannel | None = None) -> None:
        """The agent's override key, all the way through recorder-key, and recorder-tell where there is something to."""
        far = talk.caller
        for left in ("RECORDER_TELL", "RECORDER_TELL_OF", "RECORDER_UNTOLD"):
            far.variables.pop(left, None)
        arguments = (far.name, (who or talk.agent).name, reason, far.uniqueid, far.linkedid, *self.dialplan_says)
        if await self._local_leg(far, "key", arguments, talk) and far.variables.get("RECORDER_TELL"):
            self._tells(far)

    def _tells(self, far: FakeChannel) -> None:
        """What recorder-tell does once Asterisk has played what it was given, or could not."""
        if self.playback is None:
            return
        self.said.append(far.variables["RECORDER_TELL"])
        note = f"{far.variables['RECORDER_TELL_OF']}|{self.playback}|{self.played_ms}"
        self.say("UserEvent", far, ("UserEvent", "RecorderTold"), ("Note", note))
        if self.playback != "SUCCESS":
            for mix in self._open_on(far.name, far.variables["RECORDER_ID"]):
                self.ends(mix)
                far.variables |= {"RECORDER_ID": "", "RECORDER_UNTOLD": mix.id}

    async def _local_leg(
        self, far: FakeChannel, script: str, arguments: tuple[str, ...], talk: Talk, *, keys: str = "1"
    ) -> bool:
        """Whether a capture was left to the dialplan and began."""
        leg = environment(script=script, channel="Local/s@leg-1;2", uniqueid="1795298000.99", arguments=arguments)
        async with FakeAgi(self.agi_port, leg, keys=keys) as visit:
            talk.visit = visit
            await visit.until_over()
        handed = visit.variables.get(f"SHARED(RECORDER_ARM,{far.name})")
        begins = handed is not None and self.at_mixmonitor() is not None
        if handed is not None and begins:
            self._start_mixmonitor(far, handed)
        return begins

    def connects(self, talk: Talk, *, queue: str = "support", interface: str = "PJSIP/alice") -> None:
        """The queue joins its agent to the caller."""
        self.say("AgentConnect", talk.caller, ("Queue", queue), ("Interface", interface), dest=talk.agent)
        self.bridges(talk)

    def bridges(self, talk: Talk) -> None:
        for count, channel in enumerate((talk.caller, talk.agent), 1):
            self.enters(channel, talk.bridge, count)

    def enters(
        self, channel: FakeChannel, bridge: str, count: int, kind: str = "basic", *, at: datetime | None = None
    ) -> None:
        channel.bridge = bridge
        self.say("BridgeEnter", channel, *_bridge(bridge, count, kind), at=at)

    def leaves(self, channel: FakeChannel, count: int) -> None:
        bridge, channel.bridge = channel.bridge, ""
        self.say("BridgeLeave", channel, *_bridge(bridge, count, "basic"))

    def hangs_up(self, talk: Talk) -> None:
        """Both parties; Asterisk closes the files by itself and says nothing of it."""
        for count, channel in ((1, talk.caller), (0, talk.agent)):
            if channel.bridge:
                self.leaves(channel, count)
        for channel in (talk.caller, talk.agent):
            if channel in self.pbx.channels:
                self.pbx.channels.remove(channel)
            for mix in self._open_on(channel.name):
                mix.end()
            self.say("Hangup", channel, ("Cause", 16))

    def say(
        self,
        name: str,
        channel: FakeChannel,
        *headers: tuple[str, object],
        dest: FakeChannel | None = None,
        at: datetime | None = None,
    ) -> None:
        """`at` stamps it with when it happened; without, this PBX stamps nothing."""
        stamp = [("Timestamp", f"{at.timestamp():.6f}")] if at is not None else []
        other = snapshot(dest.name, dest.uniqueid, dest.linkedid, "Dest") if dest is not None else []
        self.pbx.say(event(name, *stamp, *channel.headers(), *other, *headers))

    def mutes(self, channel: FakeChannel, *, muted: bool) -> None:
        """Asterisk's own word that silence is written, or no longer."""
        self.say("MixMonitorMute", channel, ("Direction", "both"), ("State", int(muted)))

    def marks(self, talk: Talk, act: str, *, who: FakeChannel | None = None) -> None:
        """A key of recorder-mark, as the dialplan tells of it."""
        self.say("UserEvent", who or talk.agent, ("UserEvent", "RecorderKey"), ("Act", act))

    def dials_out(self, talk: Talk, *, line: str = "support") -> None:
        """recorder-outbound on the agent's own channel; the call is the agent's, so is its linkedid."""
        self.say("UserEvent", talk.agent, ("UserEvent", "RecorderOutbound"), ("Line", line))

    def new_outgoing(self) -> Talk:
        talk = self.new_talk()
        talk.caller.linkedid = talk.agent.linkedid = talk.agent.uniqueid
        return talk

    async def until_talking(self, calls: int = 1) -> None:
        await until(lambda: sum(row.state.phase == "talking" for row in self.runners) == calls, "the talk")

    async def until_capture(self, state: str) -> None:
        await until(
            lambda: any(capture.state == state for row in self.runners for capture in row.state.captures),
            f"a capture that is {state}",
        )

    # ------------------------------------------------------------------ MixMonitor

    def _exec_mixmonitor(self, channel: FakeChannel, line: str) -> Answer:
        said = self.at_mixmonitor()
        if said == OK:
            self._start_mixmonitor(channel, line.removeprefix("EXEC MixMonitor ").strip('"'))
        return said

    def _start_mixmonitor(self, channel: FakeChannel, arguments: str) -> None:
        found = ARGUMENTS.fullmatch(arguments)
        assert found is not None, arguments
        mix = Mix(
            id=f"0x{len(self.mixes) + 1:x}", channel=channel, caller=Path(found["caller"]), agent=Path(found["agent"])
        )
        self.mixes.append(mix)
        channel.variables |= {"RECORDER_ID": mix.id, "MIXMONITOR_FILENAME": ""}
        if self.writes_files:
            mix.begin()
        self.say("MixMonitorStart", channel)

    def rival(self, channel: FakeChannel, *, file: str = "rival.wav", told: bool = True) -> Mix:
        """Somebody else's MixMonitor begins; `file` "" is one without a mixed file; `told`: by an event."""
        legs = [self.spool.parent / f"rival-{len(self.mixes)}-{leg}.wav" for leg in ("caller", "agent")]
        mix = Mix(id=f"0x{len(self.mixes) + 1:x}", channel=channel, caller=legs[0], agent=legs[1], file=file)
        self.mixes.append(mix)
        channel.variables["MIXMONITOR_FILENAME"] = file
        if told:
            self.say("MixMonitorStart", channel)
        return mix

    def ends(self, mix: Mix) -> None:
        """It is stopped by somebody else."""
        mix.end()
        self.say("MixMonitorStop", mix.channel)

    def _open_on(self, channel: str, id_: str | None = None) -> list[Mix]:
        """The newest first, as Asterisk looks through them."""
        found = [mix for mix in self.mixes if mix.open and mix.channel.name == channel and id_ in (None, mix.id)]
        return found[::-1]

    def _stop_mixmonitor(self, action: Action) -> bytes:
        for mix in self._open_on(action["Channel"], action.get("MixMonitorID")):
            self.ends(mix)
            return response(action, "Success")
        return response(action, "Error", "Could not stop monitoring channel")

    def _mute_mixmonitor(self, action: Action) -> bytes:
        found = self._open_on(action["Channel"], action.get("MixMonitorID"))
        for mix in found:
            mix.muted = action["State"] == "1"
            if self.tells_of_mutes:
                self.mutes(mix.channel, muted=mix.muted)
        return response(action, "Success") if found else response(action, "Error", "Cannot set mute flag")


def _bridge(bridge: str, count: int, kind: str) -> tuple[tuple[str, object], ...]:
    return ("BridgeUniqueid", bridge), ("BridgeType", kind), ("BridgeNumChannels", count)


# --------------------------------------------------------------------------- the database, from outside


def look(url: str, statement: str) -> list[tuple[Any, ...]]:
    """Rows of a statement on a connection of its own; a change is committed."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection, connection:
            return connection.execute(statement).fetchall()
    with psycopg.connect(url) as server:
        answer = server.execute(statement.encode())
        return answer.fetchall() if answer.description else []


@contextmanager
def away(url: str) -> Iterator[None]:
    """Nobody can write the catalogue meanwhile, and the daemon waits no longer than it does at work."""
    _held.add(url)
    try:
        with _locked(url):
            yield
    finally:
        _held.discard(url)


@contextmanager
def _locked(url: str) -> Iterator[None]:
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as holder:
            holder.execute("BEGIN IMMEDIATE")
            yield
            holder.execute("ROLLBACK")
        return
    with psycopg.connect(url) as server:
        server.execute("LOCK TABLE calls, bookmarks, recordings IN SHARE MODE")
        yield
        server.rollback()


def forbid(url: str, table: str, condition: str) -> None:
    """From now on a rule of the catalogue refuses new rows of this kind."""
    if url.startswith("sqlite"):
        rule = f"CREATE TRIGGER forbidden BEFORE INSERT ON {table} WHEN {condition}"
        look(url, f"{rule} BEGIN SELECT RAISE(ABORT, 'forbidden by the test'); END")
        return
    look(url, f"ALTER TABLE {table} ADD CONSTRAINT forbidden CHECK (NOT ({condition.replace('NEW.', '')})) NOT VALID")
