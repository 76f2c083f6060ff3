"""What the daemon does for a channel at the AGI door: opens its call, hands out the dialogue, takes the answer.

Must not decide whether to capture: it turns visits into events, and the machine decides. The invariant: whatever goes
wrong here, the visitor is let go within its time and the call has an event that says why.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import PurePosixPath
from typing import Protocol
from uuid import UUID, uuid4
from weakref import WeakKeyDictionary

import structlog

from recorder.ami import AmiError
from recorder.call import (
    AgentListed,
    CallAdmitted,
    CallerTold,
    CallState,
    CaptureState,
    ChannelOffered,
    ConsentAnswered,
    ConsultationPassed,
    DialogueBroke,
    KeyAnswer,
    KeyPressed,
    LineConsulted,
    LineReached,
    OverridePressed,
    Phase,
    PromptPlayed,
    beyond_of,
    capture_in_hand,
    is_agent,
    is_listed,
    overridable,
    prepared,
    standing_with,
    worth_on,
)
from recorder.capture import OpenChannel
from recorder.catalogue import CatalogueError
from recorder.consent import Answer, Dialogue, Prompts, dialogue, settled
from recorder.consent_ivr import Admission, Visit
from recorder.daemon.behind import NOBODY, Behind
from recorder.daemon.calls import CallBook
from recorder.daemon.readiness import Readiness
from recorder.daemon.runner import CallRunner
from recorder.do_not_record import interface_of, member_of
from recorder.live import Hand
from recorder.model import (
    CallId,
    Channel,
    ConsentEventId,
    ConsentMode,
    ConsentState,
    Direction,
    KeyAct,
    LostReason,
    OverrideReason,
    Prompt,
    PromptKind,
    RecordingId,
    TransferAttended,
    Uniqueid,
    Unrecorded,
    UserEventRaised,
)
from recorder.policy import PERMITTED_BY_MODE, LineRules, OverrideTerms, stricter
from recorder.queue_log import telling_from_text
from recorder.rights import Denied, Right, Seat, User, at_telephone, sits_at

log = structlog.get_logger(__name__)

ADMITTED_WITHIN = timedelta(seconds=1)
CONCLUDED_WITHIN = timedelta(seconds=2)
"""Below the leash of three seconds, catalogue and MixMonitor included."""
CLOSED_WITHIN = timedelta(seconds=1)
JOINED = "joined"
"""What recorder-key is called with by the daemon's own key (features_recorder.conf)."""
RIGHT_READ_WITHIN = timedelta(milliseconds=400)
HANDED_OVER_WITHIN = timedelta(milliseconds=500)
"""Of a key's two seconds, both: what is left of them is the second that the override may take to be written down."""


class Teller(Protocol):
    """Lets a party know. AmiError where it cannot."""

    async def tell(self, channel: Channel, **variables: str) -> None:
        """Set variables of a channel, in order."""

    async def beep(self, channel: Channel) -> None:
        """Have the party at the channel hear one short tone, and nobody else."""

    async def summon(self, channel: Channel) -> None:
        """Have our dialplan come to us with this channel of a caller's."""

    async def line_of(self, channel: Channel) -> str | None:
        """The line that our dialplan has named to an agent's leg."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fetch:
    """A caller's channel that is being brought, since when, and for whose key; `event` is what a page asked for."""

    visit: Visit
    at: float
    event: OverridePressed | None = None


class FrontDesk:
    """The daemon's side of recorder.consent_ivr.Reception."""

    def __init__(
        self,
        book: CallBook,
        readiness: Readiness,
        lines: Mapping[str, LineRules],
        prompts: Callable[[], Prompts],
        now: Callable[[], datetime],
        look_again: Callable[[CallId], None],
        teller: Teller,
        is_member: Callable[[Channel], Awaitable[bool]],
        behind: Callable[[Channel], Awaitable[Behind]],
        who_sat_at: Callable[[Collection[Seat], timedelta], Awaitable[tuple[User, ...]]],
        keep_number: Callable[[CallId, str], None] = lambda *_: None,
    ) -> None:
        self._behind = behind
        self._who_sat_at = who_sat_at
        self._fetching: WeakKeyDictionary[CallRunner, _Fetch] = WeakKeyDictionary()
        self._keep_number = keep_number
        self._is_member = is_member
        self._teller = teller
        self._look_again = look_again
        self._book = book
        self._readiness = readiness
        self._lines = lines
        self._prompts = prompts
        self._now = now

    # ---- incoming

    async def admit_incoming(self, visit: Visit) -> Admission | None:
        """Open the call, or take it on to another line; None where it must be passed on at once."""
        rules = self._rules(visit.line)
        moment = self._book.moment
        behind = await self._behind(visit.channel)
        second: LineRules | None = None
        if visit.consults or behind.consults or await self._is_member(visit.channel):
            log.info("internal_call", line=rules.name)
            second = self._second_line(visit, rules)
            rules = replace(rules, mode=ConsentMode.NEVER)  # an agent is nobody's caller: not asked, not captured
        runner = self._book.of_channel(visit.channel)
        talk: Dialogue | None = None
        if runner is None and self._book.is_past(visit.channel):
            return None
        if runner is not None and _is_beside(runner, visit.channel):
            runner.put(ConsultationPassed(at=self._now(), channel=visit.channel, consults=visit.consults or None))
            return None
        stood_still = self._book.is_blind if runner is None else bool(runner.noted)
        if stood_still and not await visit.waits():
            return None  # the dialplan has asked by itself since
        if runner is None:
            runner = self._book.open(
                self._admitted(
                    rules, Direction.INCOMING, caller=visit.channel, unrecorded=visit.unrecorded, behind=behind
                )
            )
            self._book.tell_since(runner, moment)
        else:
            try:
                rules = replace(rules, mode=stricter(runner.state.mode, rules.mode))
                talk = await self._another_line(runner, rules, visit, behind, moment)
            except TimeoutError:
                self._broke(runner, LostReason.CAPTURE_FAILED)
                return None
        runner.second_line = second  # also where an earlier line sends them on
        if not behind.known and rules.mode is not ConsentMode.NEVER:
            self._broke(runner, LostReason.PBX_AWAY)  # whom we would ask, and who would be captured, nobody can tell
            return None
        return self._admission(runner, rules, visit, talk)

    async def _another_line(
        self, runner: CallRunner, rules: LineRules, visit: Visit, behind: Behind, moment: int
    ) -> Dialogue | None:
        """The same call passes a second line: its answer goes along as far as it is worth anything there."""
        worth = (
            ConsentState.PROHIBITED
            if visit.unrecorded
            else worth_on(runner.state, rules.mode, frozenset(rules.purposes))
        )
        event = self._admitted(
            rules,
            Direction.INCOMING,
            caller=visit.channel,
            call=runner.state.call,
            unrecorded=visit.unrecorded,
            behind=behind,
        )
        self._book.watch(runner, event)
        async with asyncio.timeout((ADMITTED_WITHIN + CLOSED_WITHIN).total_seconds()):
            await runner.apply(event)
            self._book.tell_since(runner, moment)
            while capture_in_hand(runner.state) is not None:
                await asyncio.sleep(0.01)  # the first line's capture closes; never two on one channel
        return settled(Answer(consent=worth)) if worth is not None else None

    def _admission(self, runner: CallRunner, rules: LineRules, visit: Visit, talk: Dialogue | None) -> Admission | None:
        if visit.unrecorded is not None or runner.state.unrecorded is not None:
            return Admission(call=runner.state.call, dialogue=settled(Answer(consent=ConsentState.PROHIBITED)))
        if visit.number is not None and rules.mode is not ConsentMode.NEVER:
            self._keep_number(runner.state.call, visit.number)
        hindrance = self._readiness.hindrance
        if hindrance is not None and rules.mode is not ConsentMode.NEVER:
            self._broke(runner, hindrance)  # nobody is asked what cannot be done
            return None
        return Admission(call=runner.state.call, dialogue=talk or dialogue(rules, self._prompts(), visit.language))

    def _broke(self, runner: CallRunner, reason: LostReason) -> None:
        runner.put(DialogueBroke(at=self._now(), reason=reason))
        self._look_again(runner.state.call)  # its hang-up may have passed before we knew of it

    # ---- outgoing

    def dialling(self, event: UserEventRaised) -> None:
        """An agent dials out on a line: the call begins here, so that one nobody answers has its outcome too."""
        rules = self._rules(event.fields.get("Line", "").strip())
        known = self._book.of_channel(event.channel)
        listed = Unrecorded.AGENT if self._book.lists.names_agent(event.channel.name) else None
        if known is None:
            self._book.open(self._admitted(rules, Direction.OUTGOING, agent=event.channel, unrecorded=listed))
        elif known.state.direction is Direction.OUTGOING:  # the AGI visit was faster
            call = known.state.call
            known.put(self._admitted(rules, Direction.OUTGOING, agent=event.channel, call=call, unrecorded=listed))

    async def admit_outgoing(self, visit: Visit) -> Admission | None:
        """The callee has answered. The call was opened by its UserEvent; the AGI may be faster than AMI.

        Where nobody heard that event, the visit names the agent: else the talk would be a stranger's, and not captured.
        """
        rules = self._rules(visit.line)
        runner = self._book.of_channel(visit.channel)
        if runner is None and self._book.is_past(visit.channel):
            return None
        if runner is not None and runner.state.direction is Direction.INCOMING:
            return None  # a caller of ours is sent outside: nobody is asked for what will not be captured
        moment = self._book.moment
        behind = await self._behind(visit.channel)  # a callee whom the house dials through a Local channel
        runner = self._book.of_channel(visit.channel)  # its event may have come meanwhile
        if runner is None:
            runner = self._book.open(
                self._admitted(
                    rules,
                    Direction.OUTGOING,
                    caller=visit.channel,
                    agent=visit.dialler,
                    unrecorded=visit.unrecorded,
                    behind=behind,
                )
            )
        else:
            event = self._admitted(
                rules,
                Direction.OUTGOING,
                caller=visit.channel,
                agent=visit.dialler if not runner.state.agents else None,
                call=runner.state.call,
                unrecorded=visit.unrecorded,
                behind=behind,
            )
            self._book.watch(runner, event)
            try:
                await asyncio.wait_for(runner.apply(event), ADMITTED_WITHIN.total_seconds())
            except TimeoutError:
                self._broke(runner, LostReason.CATALOGUE_AWAY)
                return None
        self._book.tell_since(runner, moment)
        if not behind.known and rules.mode is not ConsentMode.NEVER:
            self._broke(runner, LostReason.PBX_AWAY)
            return None
        return self._admission(runner, rules, visit, None)

    # ---- the dialogue

    async def refuse_busy(self, visit: Visit) -> None:
        """More dialogues than we serve: the caller goes on at once."""
        rules = self._rules(visit.line)
        runner = self._book.of_channel(visit.channel) or self._book.open(
            self._admitted(rules, visit.direction, caller=visit.channel, unrecorded=visit.unrecorded)
        )
        self._broke(runner, LostReason.BUSY)

    def played(self, call: CallId, channel: Channel, prompt: Prompt, played_ms: int) -> None:
        """A prompt was played; the language menu asks nothing and is no consent event."""
        runner = self._book.find(call)
        if runner is not None and prompt.choose is None:
            runner.put(
                PromptPlayed(
                    at=self._now(),
                    consent=ConsentEventId(uuid4()),
                    channel=channel,
                    prompt=prompt,
                    played_ms=played_ms,
                )
            )

    def ended(self, call: CallId) -> None:
        """The dialogue was cut off. AMI tells whether the caller is gone, unless it told before we knew the call."""
        self._look_again(call)

    async def conclude(self, call: CallId, channel: Channel, answer: Answer, lent: OpenChannel) -> str:
        """Take the answer, and arm on the lent channel where it permits; returns what RECORDER_RESULT says."""
        runner = self._book.find(call)
        if runner is None:
            return LostReason.DIALOGUE_FAILED
        if answer.failed is not None:
            runner.put(DialogueBroke(at=self._now(), reason=answer.failed))
            return answer.failed
        event = ConsentAnswered(
            at=self._now(),
            consent=ConsentEventId(uuid4()),
            channel=channel,
            answer=answer.consent,
            recording=RecordingId(uuid4()),
            hindrance=self._readiness.hindrance,
            prompt=answer.prompt,
            played_ms=answer.played_ms,
            key=answer.key,
            language=answer.language,
            basis=self._rules(runner.state.line).basis,
        )
        try:
            async with asyncio.timeout(CONCLUDED_WITHIN.total_seconds()):
                if answer.consent in PERMITTED_BY_MODE[runner.state.mode]:
                    await runner.until_unhooked()
                state = await runner.apply(event, lent)
        except TimeoutError:
            log.error("answer_not_taken_in_time", call=str(call))
            return LostReason.CATALOGUE_AWAY
        return state.lost or state.consent

    def announcement(self, call: CallId) -> Mapping[str, str]:
        """What an agent's leg is given to hear before the bridge: whether this call is captured, and its correction.

        A path without a language: Asterisk takes the agent's own, in the folder of that name.
        """
        runner = self._book.find(call)
        rules = self._rules(runner.state.line) if runner is not None else None
        if runner is None or rules is None:
            return {}
        may_be = runner.second_line is not None  # it holds for the talk after the consultation, in which nothing is
        return self._announced(rules, captured=may_be or capture_in_hand(runner.state) is not None)

    def _announced(self, rules: LineRules, *, captured: bool) -> Mapping[str, str]:
        if not rules.announces:
            return {}
        recorded, unrecorded = (
            self._without_language(kind, rules) for kind in (PromptKind.RECORDED, PromptKind.UNRECORDED)
        )
        if not captured:
            return {"RECORDER_ANNOUNCE": unrecorded}
        return {"RECORDER_ANNOUNCE": recorded, "_RECORDER_CORRECTION": unrecorded}

    async def consulted(self, visit: Visit, lent: OpenChannel) -> Mapping[str, str]:
        """An agent of a call consults this line (CN-13): what the dialplan is to know of it.

        Its RECORDER_RESULT is `given` only once the capture is prepared and muted: on any other word, and on none, the
        dialplan stops whatever runs there.
        """
        runner = self._book.of_channel(visit.channel)
        if runner is None or not _is_beside(runner, visit.channel):
            return {}
        rules = self._rules(visit.line)
        captured = await self._prepare(runner, rules, visit, lent)
        told = dict(self._announced(rules, captured=captured))
        return told | {"RECORDER_RESULT": str(ConsentState.GIVEN)} if captured else told

    async def _prepare(self, runner: CallRunner, rules: LineRules, visit: Visit, lent: OpenChannel) -> bool:
        """Whether a capture is prepared by this visit, and muted, in time."""
        if not visit.stops:
            if runner.state.consent is ConsentState.GIVEN:
                why = "the extensions_recorder.conf that the PBX runs is older than this recorder"
                log.warning("consultation_not_prepared", call=str(runner.state.call), why=why)
            return False
        applying = replace(rules, mode=stricter(runner.state.mode, rules.mode))
        event = LineConsulted(
            at=self._now(),
            admitted=self._admitted(
                applying,
                Direction.INCOMING,
                caller=visit.channel,
                call=runner.state.call,
                unrecorded=visit.unrecorded,
            ),
            consent=ConsentEventId(uuid4()),
            recording=RecordingId(uuid4()),
            hindrance=self._readiness.hindrance,
            basis=rules.basis,
        )
        try:
            state = await asyncio.wait_for(runner.apply(event, lent), CONCLUDED_WITHIN.total_seconds())
        except TimeoutError:
            log.error("consultation_not_taken_in_time", call=str(runner.state.call))
            return False
        beside = prepared(state)
        is_ours = beside is not None and beside.id == event.recording  # not what an earlier visit prepared
        is_ready = beside is not None and beside.state is CaptureState.PREPARED
        return is_ours and is_ready and runner.has_muted(event.recording)

    def _without_language(self, kind: PromptKind, rules: LineRules) -> str:
        known = self._prompts()
        found = (known.get((kind, language)) for language in rules.languages)
        path = next((PurePosixPath(prompt.path) for prompt in found if prompt is not None), None)
        return str(path.parent.parent / path.name) if path is not None else ""

    # ---- a telephone's second line

    def _second_line(self, visit: Visit, rules: LineRules) -> LineRules | None:
        """The line, where an agent rings it who speaks with a caller whose yes covers it: they may join the two."""
        if visit.consults or visit.unrecorded is not None or self._readiness.hindrance is not None:
            return None
        phone = visit.channel.name.rpartition("-")[0]
        return rules if any(_covers(runner, phone, rules) for runner in self._book) else None

    def joined(self, event: TransferAttended) -> None:
        """An agent has joined their caller by telephone with the agent of another line, whom they had rung up."""
        link = event.link
        if link is None:
            return
        for mine, near, other, far in (
            (event.transferer, link.one, link.second, link.two),
            (link.second, link.two, event.transferer, link.one),
        ):
            talk, beside = self._book.of_channel(mine), self._book.of_caller(other.uniqueid)
            if talk is not None and beside is not None and talk is not beside and beside.second_line is not None:
                self._book.pass_on({*beside.state.agents, far.uniqueid}, beside, talk)
                beside.ask(partial(self._reached, talk, mine, (near.uniqueid, far.uniqueid), beside.second_line))

    async def _reached(
        self, talk: CallRunner, by: Channel, halves: tuple[Uniqueid, Uniqueid], rules: LineRules, beside: CallRunner
    ) -> None:
        """Tell the caller's call, once that of the second line has read who stands there."""
        near, far = halves
        state, caller = beside.state, talk.state.caller
        where = state.bridges.get(far)
        there = [leg for leg, bridge in state.bridges.items() if bridge == where and leg != far]
        if caller is None or where is None or len(there) != 1 or state.sizes.get(where) != len(there) + 1:
            return
        (leg,) = there
        is_theirs = is_agent(state, leg) and not is_listed(state, leg)
        if not is_theirs or state.unrecorded is not None or state.personal or state.objected:
            return
        name = next((name for name, known in reversed(beside.names.items()) if known == leg), "")
        agent = Channel(name=name, uniqueid=leg, linkedid=by.linkedid)
        try:
            line = await self._teller.line_of(agent)
        except AmiError:
            line = None
        if line != rules.name:  # its dialplan has sent them on to a queue of another line's, or of none
            return
        beyond = beyond_of(state, leg)
        self._book.pass_on({leg, far, *beyond.bridges}, beside, talk)
        applying = replace(rules, mode=stricter(talk.state.mode, rules.mode))
        talk.put(
            LineReached(
                at=self._now(),
                admitted=self._admitted(applying, Direction.INCOMING, caller=caller, call=talk.state.call),
                agent=agent,
                interface=state.interface,
                bridge=where,
                by=by,
                near=near,
                far=far,
                beyond=beyond,
                paused_at=state.paused.at if state.paused is not None else None,
                paused_by=state.paused.actor if state.paused is not None else None,
            )
        )

    async def _offer(self, runner: CallRunner, visit: Visit, lent: OpenChannel) -> None:
        """The dialplan lends the caller's channel, as the machine has asked for."""
        reached, caller = runner.state.reached, runner.state.caller
        is_theirs = caller is not None and visit.channel.uniqueid == caller.uniqueid
        if reached is None or not is_theirs:
            log.warning("key_not_expected", call=str(runner.state.call))
            return
        async with asyncio.timeout(CONCLUDED_WITHIN.total_seconds()):
            await runner.until_unhooked()
            await runner.apply(
                ChannelOffered(
                    at=self._now(),
                    consent=ConsentEventId(uuid4()),
                    recording=RecordingId(uuid4()),
                    hindrance=self._readiness.hindrance,
                    basis=self._rules(reached.line.line).basis,
                ),
                lent,
            )

    # ---- keys

    async def key(self, visit: Visit, lent: OpenChannel) -> None:
        """An override key. The line's list, the agent's own leg and that person's right are the authority."""
        runner = self._book.of_channel(visit.channel)
        if runner is not None and visit.reason == JOINED:
            fetched = self._fetched(runner, visit)
            if fetched is None:
                await self._offer(runner, visit, lent)
                return
            if fetched.event is not None:
                await self._take(runner, fetched.visit, fetched.event, lent)
                return
            visit = fetched.visit
        reason = next((known for known in OverrideReason if known == visit.reason), None)
        if runner is None or reason is None:
            log.warning("key_without_call", reason=visit.reason[:20])
            return
        if self._is_behind(runner, visit):
            await self._fetch(runner, visit)
            return
        if not self._is_agents_key(runner, visit):
            log.warning("key_not_of_the_agent", call=str(runner.state.call))
            return
        await self._take(runner, visit, self._override(runner, visit, reason), lent)

    async def _take(self, runner: CallRunner, visit: Visit, event: OverridePressed, lent: OpenChannel) -> None:
        """An override, by its key or by a page, with the caller's channel at hand: ask whether it may be, and do it."""
        async with asyncio.timeout(CONCLUDED_WITHIN.total_seconds()):
            if event.reason in runner.state.listed:
                event = await self._permitted(event, visit, runner.state)
                if event.hindrance is None and event.denied is None and event.tells_caller:
                    event = await self._hand_over(event, visit, runner.state)
                if not self._is_agents_key(runner, visit):  # who asked may have left meanwhile
                    log.warning("key_not_of_the_agent", call=str(runner.state.call))
                    if event.by is not None:
                        self._refuse(runner, event)
                    return
                event = replace(event, at=self._now(), hindrance=event.hindrance or self._readiness.hindrance)
            state = await runner.apply(event, lent)
        self._say_denied(event, state)

    def _say_denied(self, event: OverridePressed, state: CallState) -> None:
        if event.denied is not None and capture_in_hand(state) is None:
            told = {"line": state.line, "telephone": event.telephone, "why": event.denied}
            log.warning("override_denied", call=str(state.call), **told)

    async def _permitted(self, event: OverridePressed, visit: Visit, state: CallState) -> OverridePressed:
        """The key with whose it is, and whether that person may; where nobody can tell, they may not."""
        own = Seat(node=self._book.node, interface=interface_of(visit.agent))
        queued = state.interface or ""
        is_local = queued.startswith("Local/")  # else the member is the telephone, or another's
        member = Seat(node=self._book.node, interface=member_of(queued)) if is_local else None
        event = replace(event, telephone=own.interface)
        try:
            known = await self._who_sat_at([seat for seat in (own, member) if seat is not None], RIGHT_READ_WITHIN)
        except CatalogueError as error:
            log.warning("rights_not_read", call=str(state.call), why=str(error))
            return replace(event, denied=Denied.NOT_READ)
        who = at_telephone(known, Right.OVERRIDE, state.line, own, member)
        if event.by is None:
            return replace(event, user=who.user, denied=who.denied)
        is_there = event.user is not None and sits_at(known, event.user, own, member)
        return replace(event, denied=event.denied or who.denied or (None if is_there else Denied.UNKNOWN))

    def _is_behind(self, runner: CallRunner, visit: Visit) -> bool:
        """Whether the key acts on the half of a Local channel behind which the agent's telephone stands."""
        presser = runner.names.get(visit.agent)
        is_half = visit.channel.uniqueid in runner.state.twins.values()
        return is_half and presser is not None and standing_with(runner.state, presser)

    async def _fetch(self, runner: CallRunner, visit: Visit) -> None:
        """The key counts, and the channel that it came with is not the caller's: have that brought."""
        caller = runner.state.caller
        if caller is None:
            return
        pending = self._fetching.pop(runner, None)
        if pending is not None and pending.event is not None:
            self._refuse(runner, pending.event)  # what is brought serves one, and a key cannot wait
        self._fetching[runner] = _Fetch(visit=visit, at=asyncio.get_running_loop().time())
        try:
            await self._teller.summon(caller)
        except AmiError as error:
            log.warning("key_not_answered", call=str(runner.state.call), why=str(error))

    def _fetched(self, runner: CallRunner, visit: Visit) -> _Fetch | None:
        """The key for which this visit brings the caller's channel, where it does and is no older than one may be."""
        caller = runner.state.caller
        if caller is None or visit.channel.uniqueid != caller.uniqueid:
            return None
        fetch = self._fetching.pop(runner, None)
        if fetch is None:
            return None
        if asyncio.get_running_loop().time() - fetch.at > CONCLUDED_WITHIN.total_seconds():
            if fetch.event is not None:
                self._refuse(runner, fetch.event)
            return None
        return replace(fetch, visit=replace(visit, agent=fetch.visit.agent, reason=fetch.visit.reason))

    # ---- an override by a page

    def terms(self, line: str, reason: OverrideReason) -> OverrideTerms | None:
        """On what a line's reason rests, by the settings of now; None where they do not list it."""
        known = self._lines.get(line)
        return known.terms(reason) if known is not None else None

    async def override(
        self, runner: CallRunner, presser: Channel, reason: OverrideReason, hand: Hand, audit: UUID
    ) -> None:
        """What the key of this telephone would do, for whoever asks in its place. The call answers, by `audit`.

        Only what may be is asked of the PBX: a caller does not leave the bridge, however short, for what is refused.
        """
        caller = runner.state.caller
        if caller is None:
            return
        visit = Visit(channel=caller, agent=presser.name, reason=reason)
        event = replace(
            self._override(runner, visit, reason, presser),
            audit=audit,
            user=hand.user,
            by=hand.name,
            way="program" if hand.by_program else "page",
            denied=None if hand.may else Denied.NOT_GRANTED,
        )
        event = await self._permitted(event, visit, runner.state)
        self._say_denied(event, runner.state)
        is_busy = self._is_fetching(runner) or runner.state.reached is not None
        if event.denied is not None or event.unfounded or is_busy or reason not in overridable(runner.state):
            self._refuse(runner, event)
            return
        loop = asyncio.get_running_loop()
        self._fetching[runner] = fetch = _Fetch(visit=visit, at=loop.time(), event=event)
        loop.call_later(CONCLUDED_WITHIN.total_seconds(), self._give_up, runner, fetch)
        try:
            await self._teller.summon(caller)
        except AmiError as error:
            log.warning("key_not_answered", call=str(runner.state.call), why=str(error))
            self._give_up(runner, fetch)

    def _is_fetching(self, runner: CallRunner) -> bool:
        """Whether a channel is on its way for somebody else."""
        fetch = self._fetching.get(runner)
        now = asyncio.get_running_loop().time()
        return fetch is not None and now - fetch.at <= CONCLUDED_WITHIN.total_seconds()

    def _give_up(self, runner: CallRunner, fetch: _Fetch) -> None:
        """The caller's channel was not brought for a page in the time of a key."""
        if self._fetching.get(runner) is not fetch or fetch.event is None:
            return
        del self._fetching[runner]
        log.warning("override_not_brought", call=str(runner.state.call))
        self._refuse(runner, fetch.event)

    def _refuse(self, runner: CallRunner, event: OverridePressed) -> None:
        """No channel is at hand: the machine keeps that it was tried, and captures nothing by this."""
        runner.put(replace(event, at=self._now(), unbrought=True))

    # ---- what a key is

    def _override(
        self, runner: CallRunner, visit: Visit, reason: OverrideReason, presser: Channel | None = None
    ) -> OverridePressed:
        """The key with its terms, as the settings of now have them."""
        rules = self._rules(runner.state.line)
        terms = rules.terms(reason)
        # The settings have changed in mid-call: on what it rests nobody could say, so nothing is captured.
        is_unfounded = terms is None and reason in runner.state.listed
        if is_unfounded:
            log.warning("override_without_basis", call=str(runner.state.call), reason=str(reason))
        return OverridePressed(
            at=self._now(),
            reason=reason,
            far=visit.channel,
            agent=runner.state.interface or visit.agent.rpartition("-")[0] or visit.agent,
            consent=ConsentEventId(uuid4()),
            audit=uuid4(),
            recording=RecordingId(uuid4()),
            hindrance=self._readiness.hindrance,
            presser=presser
            or Channel(name=visit.agent, uniqueid=runner.names[visit.agent], linkedid=visit.channel.linkedid),
            basis=terms.basis if terms else None,
            retention=terms.retention if terms else None,
            tells_caller=terms.tells_caller if terms else None,
            policy=rules.digest or None,
            unfounded=is_unfounded or None,
        )

    async def _hand_over(self, event: OverridePressed, visit: Visit, state: CallState) -> OverridePressed:
        """Leave the dialplan what the caller hears once the capture has begun; who cannot be told is not captured."""
        prompt = self._in_their_language(PromptKind.OVERRIDDEN, state)
        if not visit.tells:
            why = "the extensions_recorder.conf that the PBX runs is older than this recorder"
            log.warning("caller_not_told", call=str(state.call), why=why)
        if prompt is None or not visit.tells:
            return replace(event, hindrance=LostReason.PROMPT_FAILED)
        try:
            async with asyncio.timeout(HANDED_OVER_WITHIN.total_seconds()):
                await self._teller.tell(visit.channel, RECORDER_TELL_OF=str(event.recording), RECORDER_TELL=prompt.path)
        except (AmiError, TimeoutError) as error:
            why = str(error) or "the PBX did not take what they are to hear in time"
            log.warning("caller_not_told", call=str(state.call), why=why)
            return replace(event, hindrance=LostReason.PBX_AWAY)
        return replace(event, telling=prompt)

    def told(self, event: UserEventRaised) -> None:
        """The dialplan says how telling a caller of an override went; whether they were told the machine says."""
        runner = self._book.of_caller(event.channel.uniqueid)
        told = telling_from_text(event.fields.get("Note", ""))
        if runner is None or told is None:
            log.warning("key_without_call", reason="told")
            return
        runner.put(
            CallerTold(
                at=event.at, recording=told.recording, audit=uuid4(), status=told.status, played_ms=told.played_ms
            )
        )

    def _is_agents_key(self, runner: CallRunner, visit: Visit) -> bool:
        presser, caller = runner.names.get(visit.agent), runner.state.caller
        is_far = caller is not None and caller.uniqueid == visit.channel.uniqueid  # not through a consultation's leg
        return is_far and presser is not None and standing_with(runner.state, presser)

    def listed(self, event: UserEventRaised) -> None:
        """An agent who must not be recorded takes a call, and waits until nothing captures it."""
        runner = self._book.of_channel(event.channel)
        if runner is None:
            log.warning("key_without_call", reason="listed")
            return
        runner.put(AgentListed(at=event.at, agent=event.channel, waits=True))

    def pressed(self, event: UserEventRaised) -> None:
        """A key that pauses, resumes or ends: who may press it is the machine's to say."""
        runner = self._book.of_channel(event.channel)
        act = next((known for known in KeyAct if known == event.fields.get("Act", "").strip()), None)
        if runner is None or act is None:
            log.warning("key_without_call", reason=event.fields.get("Act", "")[:20])
            return
        runner.press(
            KeyPressed(at=event.at, act=act, presser=event.channel, consent=ConsentEventId(uuid4()), audit=uuid4())
        )

    async def answer_key(self, state: CallState, presser: Channel, answer: KeyAnswer) -> None:
        """Tell the dialplan that waits on the presser's channel; a caller is told in words, in their language."""
        if answer is KeyAnswer.CAPTURED:  # the key ran on the other party's channel: no dialplan of the presser's waits
            await self._beep(state, presser)
            return
        told = {"RECORDER_DONE": str(answer)}
        if state.caller is not None and presser.uniqueid == state.caller.uniqueid:
            prompt = self._withdrawn(state, answer)
            if prompt is not None:
                told = {"RECORDER_SAY": prompt.path} | told
        try:
            await self._teller.tell(presser, **told)
        except AmiError as error:  # the tone that says so does not come, and the presser knows as much
            log.warning("key_not_answered", call=str(state.call), why=str(error))

    async def _beep(self, state: CallState, presser: Channel) -> None:
        try:
            await self._teller.beep(presser)
        except AmiError as error:
            log.warning("key_not_answered", call=str(state.call), why=str(error))

    def _withdrawn(self, state: CallState, answer: KeyAnswer) -> Prompt | None:
        kind = {KeyAnswer.STOPPED: PromptKind.STOPPED, KeyAnswer.ERASED: PromptKind.ERASED}.get(answer)
        return self._in_their_language(kind, state) if kind is not None else None

    def _in_their_language(self, kind: PromptKind, state: CallState) -> Prompt | None:
        """The language that the caller was asked in, else the first of the line's that has it."""
        languages = [state.language, *self._rules(state.line).languages]
        known = self._prompts()
        found = (known.get((kind, language)) for language in languages if language is not None)
        return next((prompt for prompt in found if prompt is not None), None)

    # ---- small change

    def _rules(self, line: str) -> LineRules:
        """The line's rules; a line that the settings do not know is never recorded."""
        known = self._lines.get(line)
        if known is None:
            name = re.sub(r"[^A-Za-z0-9_-]", "?", line)[:40] or "?"
            log.warning("line_unknown", line=name)
            return LineRules(name=name)
        return known

    def _admitted(
        self,
        rules: LineRules,
        direction: Direction,
        *,
        caller: Channel | None = None,
        agent: Channel | None = None,
        call: CallId | None = None,
        unrecorded: Unrecorded | None = None,
        behind: Behind = NOBODY,
    ) -> CallAdmitted:
        return CallAdmitted.under(
            rules,
            at=self._now(),
            call=call or CallId(uuid4()),
            node=self._book.node,
            direction=direction,
            caller=caller,
            agent=agent,
            unrecorded=unrecorded,
            behind=behind.legs,
        )


def _covers(runner: CallRunner, phone: str, rules: LineRules) -> bool:
    """Whether an agent speaks from this telephone with a caller who has agreed to what the line records.

    Only where a link of Asterisk's would stand in the caller's own bridge: not behind a Local channel.
    """
    state = runner.state
    if state.direction is not Direction.INCOMING or state.relay is not None:
        return False
    if state.phase not in (Phase.TALKING, Phase.APART) or state.caller is None:
        return False
    where = state.bridges.get(state.caller.uniqueid)
    legs = (leg for name, leg in runner.names.items() if name.rpartition("-")[0] == phone)
    if not any(where is not None and state.bridges.get(leg) == where and is_agent(state, leg) for leg in legs):
        return False
    # A yes is worth as much by the stricter mode of the two lines as by that line's own.
    return worth_on(state, rules.mode, frozenset(rules.purposes)) is ConsentState.GIVEN


def _is_beside(runner: CallRunner, channel: Channel) -> bool:
    """Whether a leg of the call that is not its caller comes to a line: a consultation, or a forwarded ring."""
    caller = runner.state.caller
    return caller is not None and caller.uniqueid != channel.uniqueid
