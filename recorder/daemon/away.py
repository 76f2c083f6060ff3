"""Takes in the calls whom the dialplan asked while nobody of ours was there, and the captures that it started.

Must not decide what they may become: the machine does, told by history.py. The invariant: the note of the answer is a
consent event in the call's books before anything is made of the files; a note is taken in once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import timedelta
from typing import Final
from uuid import NAMESPACE_OID, uuid4, uuid5

import structlog

from recorder.adoption import Found, Orphanage, Word
from recorder.ami import LATEST, Ami, ChannelSnapshot
from recorder.books.adoption import Fate, Verdict
from recorder.call import CallAdmitted, CallEvent, KeyPressed, Phase, capture_in_hand
from recorder.capture import CaptureDesk
from recorder.catalogue import Catalogue
from recorder.daemon.calls import CallBook
from recorder.daemon.history import Scene, answered, history, notes_of, permits_capture, rules_of, since_news
from recorder.daemon.line_watch import LineWatch
from recorder.daemon.runner import CallRunner
from recorder.fallback import NotedAnswer, note_from_text
from recorder.model import CallId, Channel, ConsentMode, ConsentState, Linkedid, Uniqueid, UserEventRaised
from recorder.queue_log import Entry, Unseen, answer_noted, question_noted
from recorder.storage import Spool

log = structlog.get_logger(__name__)

NOT_PERMITTED: Final = "asked by the dialplan: a line never recorded, an objection before, or a stricter line before"
TAKEN_WITHIN: Final = timedelta(seconds=30)


class AwayDesk:
    """The daemon's side of the dialplan's own dialogue."""

    def __init__(
        self,
        book: CallBook,
        ami: Ami,
        capture: CaptureDesk,
        catalogue: Catalogue,
        lines: LineWatch,
        orphanage: Orphanage,
        spool: Spool,
        spawn: Callable[[Coroutine[object, object, None], str], None],
    ) -> None:
        self._book = book
        self._ami = ami
        self._capture = capture
        self._catalogue = catalogue
        self._watch = lines
        self._lines = lines.without_us
        self._orphanage = orphanage
        self._spool = spool
        self._spawn = spawn
        self._left: set[Uniqueid] = set()  # whose answer is left for the queue log to tell

    # ---- told at once: the daemon was there again by the time of the answer

    def answered(self, event: UserEventRaised, *, slept: bool) -> bool:
        """The dialplan has an answer and starts the capture itself, in a moment. Whatever follows, AMI tells.

        Not so of what lay in the socket while we `slept`: of that nobody knows any more when it was, but the queue log.
        Nor before it is known by which rules it is to be judged. False where the log must be read for it, once more.
        """
        note = note_from_text(event.fields.get("Note", ""))
        if note is None:
            log.warning("note_unreadable")
            return True
        runner = self._book.of_channel(event.channel)
        if not self._watch.is_read or (slept and event.at - note.at > LATEST):
            self._left.add(event.channel.uniqueid)
            if runner is not None and permits_capture(note):
                runner.expect_start(event.channel)
            return False
        if runner is None and self._book.is_past(event.channel):
            return True
        if runner is not None and note.recording in runner.noted:
            return True
        self._say(note, seen=True)
        call = runner.state.call if runner is not None else CallId(uuid4())
        rules = rules_of(note, self._lines, _before(runner))
        events = answered(note, event.channel, node=self._book.node, call=call, rules=rules)
        runner = self._begin(runner, events)
        runner.noted.add(note.recording)
        for later in events[1:]:
            runner.put(later)
        if permits_capture(note):
            self._check(runner, note, event.channel, seen=True)
        return True

    def _begin(self, runner: CallRunner | None, events: Sequence[CallEvent], *, begun: bool = False) -> CallRunner:
        first = events[0]
        assert isinstance(first, CallAdmitted)
        if runner is None:
            return self._book.open(first, begun=begun)
        runner.put(first, ahead=runner.held)
        return runner

    # ---- read later: nobody was there

    async def take_in(self, unseen: Unseen) -> bool:
        """Everything that the queue log tells and nobody has taken in; whether there was any.

        AmiError, CatalogueError, TimeoutError pass.
        """
        left = frozenset(self._left)
        news = await self._news(unseen.asked)
        if not news:
            return False
        self._watch.require_read()
        snapshot = await self._ami.channels()
        for caller, entries in news.items():
            async with asyncio.timeout(TAKEN_WITHIN.total_seconds()):
                await self._take(caller, entries, snapshot, heard=caller in left)
        self._left -= left
        return True

    async def _news(self, asked: Mapping[Uniqueid, Sequence[Entry]]) -> dict[Uniqueid, Sequence[Entry]]:
        strange = [caller for caller in asked if self._book.of_caller(caller) is None]
        known = await self._catalogue.known_uniqueids(self._book.node, strange) if strange else frozenset()
        news = {}
        for caller, entries in asked.items():
            runner = self._book.of_caller(caller)
            if caller in known or (runner is not None and runner.state.phase in (Phase.OVER, Phase.CLOSED)):
                continue
            # Of a call that is open only an answer is news.
            if later := entries if runner is None else since_news(entries, frozenset(runner.noted)):
                news[caller] = later
        return news

    async def _take(
        self, uniqueid: Uniqueid, entries: Sequence[Entry], snapshot: Sequence[ChannelSnapshot], *, heard: bool
    ) -> None:
        """`heard`: Asterisk's word that the capture began was, too, before there was a call that it could be of."""
        row = next((row for row in snapshot if row.channel.uniqueid == uniqueid), None)
        mixmonitor = await self._capture.mixmonitor_id(row.channel) if row is not None else None
        runner = self._book.of_caller(uniqueid)
        if runner is not None:  # its answer may have been told at once meanwhile
            entries = since_news(entries, frozenset(runner.noted)) or ()
        if not entries:
            return
        notes = notes_of(entries)
        caller = row.channel if row is not None else self._gone(runner, uniqueid, entries[0])
        call = runner.state.call if runner is not None else self._call_of(uniqueid)
        scene = Scene(
            node=self._book.node,
            call=call,
            caller=caller,
            lines=self._lines,
            standing={row.channel.uniqueid: row.bridge for row in snapshot},
            names={row.channel.uniqueid: row.channel.name for row in snapshot},
            mixmonitor=mixmonitor,
            before=_before(runner),
            lists=self._book.lists,
        )
        events = history(entries, scene)
        runner = self._begin(runner, events, begun=heard and any(permits_capture(note) for note in notes))
        for note in notes:
            self._say(note, seen=False)
            runner.noted.add(note.recording)
            if permits_capture(note):
                runner.begun(note.recording)
        for event in events[1:-1]:
            if isinstance(event, KeyPressed):
                runner.press(event, ahead=runner.held)
            else:
                runner.put(event, ahead=runner.held)
        if len(events) > 1 and runner.held:  # its turn comes when it has been compared, and that waits for us
            runner.put(events[-1], ahead=True)
        elif len(events) > 1:
            await runner.apply(events[-1])
        for note in notes:
            if permits_capture(note):
                self._check(runner, note, caller, seen=False)

    def _check(self, runner: CallRunner, note: NotedAnswer, caller: Channel, *, seen: bool) -> None:
        """Once the call has read the note: whether it may be captured on it."""

        async def check(_: CallRunner) -> None:
            self._spawn(self._unless_permitted(runner, note, caller, seen=seen), f"stop {note.recording}")

        runner.ask(check)

    async def _unless_permitted(self, runner: CallRunner, note: NotedAnswer, caller: Channel, *, seen: bool) -> None:
        """End and erase what the dialplan captured on an answer that is worth nothing: an earlier one forbids it."""
        recording = note.recording
        if seen:
            await self._capture.opened(recording)  # by then the answer's turn has come, and the files are there
        if any(capture.id == recording for capture in runner.state.captures):
            return
        if capture_in_hand(runner.state) is None:  # its id would be another's
            await self._capture.stop(recording, caller, None)
        paths = await asyncio.to_thread(lambda: tuple(path for path in self._spool.paths(recording) if path.exists()))
        log.warning("fallback_not_permitted", call=str(runner.state.call), recording=str(recording), files=len(paths))
        if paths:
            why = Verdict(fate=Fate.UNAUTHORISED, why=NOT_PERMITTED)
            found = Found(paths=paths, recording=recording, verdict=why)
            await self._orphanage.erase(found, Word(actor="recorder", reason=NOT_PERMITTED))

    def _gone(self, runner: CallRunner | None, uniqueid: Uniqueid, first: Entry) -> Channel:
        if runner is not None and runner.state.caller is not None:
            return runner.state.caller
        note = answer_noted(first) or question_noted(first)
        return Channel(name="", uniqueid=uniqueid, linkedid=Linkedid((note.linkedid if note else "") or uniqueid))

    def _call_of(self, uniqueid: Uniqueid) -> CallId:
        """As the sweeps name a call that nobody saw: writing it twice is once."""
        return CallId(uuid5(NAMESPACE_OID, f"{self._book.node} {uniqueid}"))

    def _say(self, note: NotedAnswer, *, seen: bool) -> None:
        log.info("asked_without_us", line=note.line, answer=str(note.answer or note.failed), seen=seen)
        known = self._lines.get(note.line)
        if known is None or known.digest != note.policy:
            log.warning("fallback_stale", line=note.line)


def _before(runner: CallRunner | None) -> tuple[ConsentMode, ConsentState] | None:
    return (runner.state.mode, runner.state.consent) if runner is not None else None
