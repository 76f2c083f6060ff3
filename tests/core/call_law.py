"""What must hold after every step of a call, written without looking at how the machine does it."""

from __future__ import annotations

from datetime import timedelta

from recorder.call import (
    Acknowledge,
    Arm,
    CallAdmitted,
    CallEvent,
    CallResynchronised,
    CallState,
    Capture,
    CaptureLost,
    CaptureState,
    ChannelOffered,
    Erase,
    KeyAnswer,
    LineConsulted,
    LineReached,
    OverridePressed,
    Phase,
    Quiet,
    RecordingUnmade,
    Seek,
    Settle,
    Standing,
    Step,
    Stop,
    Summon,
    outcome,
    standing,
    unrecorded,
)
from recorder.call.tables import BESIDE, FINISHED, UNCLOSED
from recorder.model import (
    AuditEntry,
    CallEnded,
    Channel,
    ChannelHungUp,
    ConsentMode,
    ConsentRecorded,
    ConsentState,
    Outcome,
    OverrideReason,
    RecordingAuthorised,
    RecordingChanged,
    RecordingStatus,
    TransferAttended,
)

NO = frozenset({ConsentState.REFUSED, ConsentState.WITHDRAWN, ConsentState.PROHIBITED})
SILENCE_PERMITS = frozenset({ConsentMode.OPT_OUT})
WRITES = frozenset({CaptureState.ARMED, CaptureState.RUNNING, CaptureState.QUIET, CaptureState.PAUSED})
SILENT = frozenset({CaptureState.QUIET, CaptureState.PAUSED})
STATUSES = {
    CaptureState.ARMING: {RecordingStatus.AUTHORISED},
    CaptureState.ARMED: {RecordingStatus.ARMED},
    CaptureState.RUNNING: {RecordingStatus.ARMED},
    CaptureState.QUIET: {RecordingStatus.ARMED},
    CaptureState.PAUSED: {RecordingStatus.ARMED},
    CaptureState.STOPPING: {RecordingStatus.AUTHORISED, RecordingStatus.ARMED},
    CaptureState.PREPARING: {RecordingStatus.AUTHORISED},
    CaptureState.PREPARED: {RecordingStatus.ARMED},
    CaptureState.FORSAKEN: {RecordingStatus.AUTHORISED, RecordingStatus.ARMED},
    CaptureState.STOPPED: {RecordingStatus.STOPPED},
    CaptureState.SETTLED: {RecordingStatus.SETTLED},
    CaptureState.EMPTY: {RecordingStatus.EMPTY},
    CaptureState.FAILED: {RecordingStatus.FAILED},
    CaptureState.ERASING: {RecordingStatus.ERASING},
    CaptureState.ERASED: {RecordingStatus.ERASED},
}
"""What the catalogue can hold of a capture in each state."""


def check(before: CallState, event: CallEvent, step: Step) -> None:
    """Raise AssertionError where this step breaks a law."""
    check_state(step.state)
    _authority(before, event, step)
    _handing_over(before, event, step)
    _joining(before, event, step)
    _end(before, step)
    _commands(before, event, step)
    _statuses(before, step)


def check_state(state: CallState) -> None:
    now = standing(state)
    unclosed = [capture for capture in state.captures if capture.state in UNCLOSED]
    writing = {capture.state for capture in state.captures} & WRITES
    assert len(unclosed) <= 1, "two captures at once"
    beside = [capture for capture in state.captures if capture.state in BESIDE]
    assert len(beside) <= 1, "two prepared at once"
    assert all(capture.bridged_at is None for capture in beside), "counts before the caller is there"
    assert len({capture.id for capture in state.captures}) == len(state.captures), "one id, two captures"
    if CaptureState.RUNNING in writing:
        assert now is Standing.TOGETHER, f"captures while {now}"
        assert state.caller is not None
        bridge = state.bridges[state.caller.uniqueid]
        assert state.sizes.get(bridge, 0) <= sum(where == bridge for where in state.bridges.values()), "who else?"
        (running,) = (capture for capture in state.captures if capture.state is CaptureState.RUNNING)
        assert state.relay is not None or running.channel.uniqueid == state.caller.uniqueid
        if state.relay is not None:
            here, beyond = bridge, state.bridges[state.relay.far]
            with_caller = {leg for leg, where in state.bridges.items() if where == here}
            assert with_caller == {state.caller.uniqueid, state.relay.near}, "somebody else speaks into it"
            there = sum(where == beyond for where in state.bridges.values())
            assert state.sizes.get(beyond, 0) <= there, "who else is there?"
            assert state.consent is ConsentState.GIVEN
        _who_speaks(state)
    if unrecorded(state) is not None:
        assert CaptureState.RUNNING not in writing, "captures who must not be recorded"
    if now is Standing.FOREIGN:
        assert not writing, "captures beside somebody who cannot be placed"
    if now is Standing.NOWHERE:
        begun = {capture.state for capture in state.captures if capture.bridged_at is not None}
        assert not writing & begun & {CaptureState.RUNNING, CaptureState.QUIET}, "captures beyond the bridge"
    if state.phase in (Phase.OVER, Phase.CLOSED):
        assert not unclosed, "captures beyond the call"
    if state.phase is Phase.CLOSED:
        assert all(capture.state in FINISHED for capture in state.captures), "closed before its captures"
    elif state.phase is not Phase.OVER:
        assert (state.phase is Phase.TALKING) == (now is Standing.TOGETHER), f"{state.phase} while {now}"
    assert state.talked or state.phase is not Phase.TALKING
    assert not state.supplanted or state.consent is not ConsentState.GIVEN, "the yes of somebody else"
    if state.personal:
        assert not any(capture.state is CaptureState.RUNNING for capture in state.captures), "captures what is personal"
    for capture in state.captures:
        assert capture.to_tell is None or capture.state is not CaptureState.SETTLED, "kept, and its caller not told"
        assert capture.to_tell is None or capture.authority is ConsentState.OVERRIDDEN
        assert not (capture.disowned and capture.state is CaptureState.STOPPED), "waits to be settled, and may not be"
        assert state.caller is not None
        if capture.channel.uniqueid != state.caller.uniqueid and capture.state in WRITES:
            assert state.relay is not None, "captures somebody else"
            assert capture.channel.uniqueid == state.relay.far, "captures somebody else"
        if capture.state is CaptureState.ARMING:
            assert capture.channel.uniqueid == state.caller.uniqueid, "begins on somebody else"
        if capture.state is CaptureState.STOPPING and capture.channel.uniqueid in state.bridges:
            assert capture.unproved, "counts what it writes beside whomever, until the stop is confirmed"
    if state.reached is not None:
        assert state.relay is not None, "joined through nothing"
        assert all(capture.state is CaptureState.FORSAKEN for capture in beside), "handed over twice"
    _relay(state)


def _who_speaks(state: CallState) -> None:
    """Behind no half in a bridge with whoever is captured stands anybody whom it did not ring before the talk."""
    open_halves = {two for one, two in state.twins.items() if state.bridges.get(one) is not None}
    for two in open_halves & state.answered:
        one = next(one for one, twin in state.twins.items() if twin == two)
        assert state.caller is not None
        heard_in = {state.bridges.get(state.caller.uniqueid)}
        if state.relay is not None:
            heard_in = {state.bridges.get(state.relay.far)}
        if state.bridges.get(one) not in heard_in:
            continue
        where = state.bridges.get(two)
        assert where is not None, "sent on, and captured"
        there = {leg for leg, bridge in state.bridges.items() if bridge == where} - {two}
        assert there, "with nobody behind it, and captured"
        assert state.sizes.get(where, 0) <= len(there) + 1, "who else is behind it?"
        for leg in there:
            at, seen = leg, {leg}
            while at in state.parents and state.parents[at] not in seen:
                at = state.parents[at]
                seen.add(at)
            assert two in seen, "somebody in the telephone's place is captured"
        assert not state.held & (there | {two}), "speaks while the telephone holds"


def _relay(state: CallState) -> None:
    """Who was handed over is captured where they speak now, by that line's agents, on a yes, or not at all."""
    if state.relay is None or state.caller is None:
        return
    assert state.relay.near != state.relay.far
    assert state.caller.uniqueid not in (state.relay.near, state.relay.far), "speaks through themselves"
    for capture in state.captures:
        if capture.state in WRITES:
            theirs = state.relay.far if state.reached is None else state.caller.uniqueid
            assert capture.channel.uniqueid == theirs, "the first line's capture goes on"
            assert state.reached is None or state.reached.offered, "the first line's capture goes on"
            assert capture.authority is ConsentState.GIVEN, "nobody was asked"
            assert not state.supplanted, "somebody else was asked"
        if capture.state is CaptureState.RUNNING:
            beyond = state.bridges[state.relay.far]
            there = {leg for leg, bridge in state.bridges.items() if bridge == beyond} - {state.relay.far}
            assert there, "with nobody"
            assert not there & {state.caller.uniqueid, state.relay.near}, "one bridge, and not two"
            assert not state.held & (there | {state.caller.uniqueid, state.relay.far}), "speaks while somebody holds"
        if capture.state is CaptureState.RUNNING:
            assert capture.bridged_at is not None


def permits(mode: ConsentMode, fact: ConsentRecorded) -> bool:
    """Whether this very event may be somebody's authority to capture on a line of this mode."""
    match fact.after:
        case ConsentState.OVERRIDDEN:
            return fact.reason is not None and (
                mode is not ConsentMode.NEVER or fact.reason in (OverrideReason.EMERGENCY, OverrideReason.LEGAL)
            )
        case ConsentState.GIVEN:
            return mode is not ConsentMode.NEVER
        case ConsentState.NOTICED:
            return mode is ConsentMode.NOTICE
        case ConsentState.NOT_REQUIRED:
            return mode is ConsentMode.NOT_REQUIRED
        case ConsentState.UNANSWERED:
            return mode in SILENCE_PERMITS
    return False


def _authority(before: CallState, event: CallEvent, step: Step) -> None:
    """Nothing is armed but by a fact of this step, which rests on a consent event of this step, which permits."""
    arms = [command.recording for command in step.commands if isinstance(command, Arm)]
    facts = [fact for fact in step.facts if isinstance(fact, RecordingAuthorised)]
    new = [capture.id for capture in step.state.captures if capture.id not in {old.id for old in before.captures}]
    assert arms == [fact.id for fact in facts] == new
    assert not facts or unrecorded(step.state) is None, "authorised though a do-not-record list names the call"
    for fact in facts:
        (consent,) = [row for row in step.facts if isinstance(row, ConsentRecorded)]
        assert (fact.authorised_by, fact.state) == (consent.id, consent.after)
        assert (fact.line, fact.mode) == (consent.line, consent.mode)
        assert permits(fact.mode, consent), f"{consent.after} permits nothing on a line of {fact.mode}"
        if not isinstance(event, LineConsulted):
            assert (fact.line, fact.mode) == (step.state.line, step.state.mode)
        overridden = consent.after is ConsentState.OVERRIDDEN
        assert fact.sealed == overridden
        assert overridden or before.consent not in NO, f"captures after {before.consent}"
        if overridden:
            assert isinstance(event, OverridePressed)
            assert consent.reason in before.listed, "an override that the line does not list"
            assert [row.id for row in step.facts if isinstance(row, AuditEntry)] == [fact.audit]
            assert before.phase is Phase.TALKING


def _handing_over(before: CallState, event: CallEvent, step: Step) -> None:
    """Only Asterisk's own word makes the two halves the caller's, and only an admission unmakes them."""
    now, was = step.state.relay, before.relay
    if was is None and now is not None:
        assert before.caller is not None
        if isinstance(event, TransferAttended):
            assert event.joined
            assert event.channel.uniqueid == before.caller.uniqueid, "somebody else was"
        else:
            assert isinstance(event, LineReached), "nobody was handed over"
            assert (now.near, now.far) == (event.near, event.far)
    if step.state.phase is Phase.ASKING:
        assert now is None, "asked on a channel through which somebody else may speak"
    if was is not None and now != was:
        assert isinstance(event, CallAdmitted)
        assert now is None, "handed over twice"
    joined = {capture.id for capture in before.captures if capture.state is CaptureState.PREPARED}
    for capture in step.state.captures:
        if capture.id in joined and capture.state in WRITES:
            assert now is not None, "captured before the caller is there"
            assert capture.silent, "Asterisk has not said that it was muted"
            assert not step.state.personal


def _joining(before: CallState, event: CallEvent, step: Step) -> None:
    """Where a caller was joined by telephone, one capture at most begins there, by their yes, and not before it may."""
    now, was = step.state.reached, before.reached
    if now is not None and (was is None or now.line != was.line):
        assert isinstance(event, LineReached)
        assert before.caller is not None
        assert event.admitted.caller is not None
        assert event.admitted.caller.uniqueid == before.caller.uniqueid, "somebody else was joined"
        assert before.consent is ConsentState.GIVEN, "nobody agreed"
        assert step.state.mode is not ConsentMode.NEVER
        assert event.by.uniqueid in before.agents, "by somebody who is no agent of this call"
    summons = [command for command in step.commands if isinstance(command, Summon)]
    for summon in summons:
        assert len(summons) == 1
        assert now is not None
        assert (was is None or not was.summoned) or now.line != was.line, "summoned twice"
        assert step.state.caller is not None
        assert summon.channel.uniqueid == step.state.caller.uniqueid
        assert not [capture for capture in step.state.captures if capture.state in UNCLOSED | BESIDE], "two at once"
        assert step.state.phase is Phase.TALKING
        assert step.state.consent is ConsentState.GIVEN
    if isinstance(event, ChannelOffered):
        begun = [fact for fact in step.facts if isinstance(fact, RecordingAuthorised)]
        assert not begun or (was is not None and was.summoned and not was.offered), "nobody asked for it"
        assert not begun or before.phase is Phase.TALKING


def _end(before: CallState, step: Step) -> None:
    """One end, one outcome, and nothing after it."""
    ends = [fact for fact in step.facts if isinstance(fact, CallEnded)]
    if before.phase is Phase.CLOSED:
        assert (step.state, step.facts, step.commands) == (before, (), ())
        return
    assert len(ends) == (step.state.phase is Phase.CLOSED)
    for end in ends:
        assert (end.outcome, end.reason) == outcome(step.state)
        check_outcome(step.state)


def check_outcome(state: CallState) -> None:
    """The outcome says what became of the call, and the reason stands exactly where it is lost."""
    verdict, reason = outcome(state)
    settled = any(capture.state is CaptureState.SETTLED for capture in state.captures)
    assert (reason is not None) == (verdict is Outcome.LOST)
    match verdict:
        case Outcome.RECORDED:
            assert settled
        case Outcome.DECLINED:
            assert state.consent in NO | {ConsentState.UNANSWERED}
            assert not settled
        case Outcome.EXCLUDED:
            assert (
                state.mode is ConsentMode.NEVER
                or state.personal
                or state.excluded
                or state.unrecorded
                or state.supplanted
            )
        case Outcome.ABANDONED:
            assert not state.talked or _was_too_brief(state)
        case Outcome.LOST:
            assert state.talked
            assert not settled


def _was_too_brief(state: CallState) -> bool:
    """One capture by consent that came to nothing, and hardly a moment from its talk's beginning to the call's end."""
    assert state.lost is None
    (capture,) = state.captures
    assert (capture.state, capture.unproved) == (CaptureState.EMPTY, False)
    assert capture.authority is not ConsentState.OVERRIDDEN
    assert capture.bridged_at is not None
    assert state.ended_at is not None
    return state.ended_at - capture.bridged_at < timedelta(milliseconds=500)


def _commands(before: CallState, event: CallEvent, step: Step) -> None:
    """Every change of a capture carries its commands, and no command comes without one."""
    wanted: list[object] = []
    for capture in step.state.captures:
        old = next((old for old in before.captures if old.id == capture.id), None)
        if old is not None and old.state is not capture.state:
            wanted += _wanted(old, capture, was_lost=isinstance(event, CaptureLost | RecordingUnmade))
        waits = BESIDE | {CaptureState.ARMING, CaptureState.ARMED}
        unmet = old is not None and old.bridged_at is None and old.state in waits
        if unmet and isinstance(event, ChannelHungUp) and event.channel.uniqueid == capture.channel.uniqueid:
            wanted.append((Seek, capture.id))  # it may go on under another's name
    told_apart = Arm | Quiet | Acknowledge | Summon
    found = [(type(command), command.recording) for command in step.commands if not isinstance(command, told_apart)]
    if isinstance(event, CallResynchronised):  # a stop that was sent before may be sent again
        again = (CaptureState.STOPPING, CaptureState.FORSAKEN)
        stopping = {capture.id for capture in before.captures if capture.state in again}
        found = [entry for entry in found if entry[1] not in stopping or entry[0] is not Stop]
        wanted = [
            entry
            for entry in wanted
            if not isinstance(entry, tuple) or (entry[1] not in stopping or entry[0] is not Stop)
        ]
    assert sorted(map(str, found)) == sorted(map(str, wanted))
    _silence(before, step)
    _answers(step)


def _wanted(old: Capture, now: Capture, *, was_lost: bool) -> list[object]:
    was_open = old.state in UNCLOSED | BESIDE
    if now.state is CaptureState.ERASING and was_lost and was_open:
        return [(Stop, now.id), (Erase, now.id)]
    stops = (CaptureState.STOPPING, CaptureState.FORSAKEN)
    if now.state in stops or (now.state is CaptureState.FAILED and was_open):
        return [(Stop, now.id)]
    if now.state is CaptureState.ERASING:
        return [(Erase, now.id)]
    if was_open and now.state is CaptureState.STOPPED:
        return [(Settle, now.id)]
    return []


def _silence(before: CallState, step: Step) -> None:
    """The last word on silence agrees with the state."""
    for capture in step.state.captures:
        was = next((old.state for old in before.captures if old.id == capture.id), None)
        said = [command.quiet for command in step.commands if isinstance(command, Quiet)]
        if capture.state in SILENT and was not in SILENT:
            assert said[-1:] == [True]
        if capture.state is CaptureState.PAUSED and was is not CaptureState.PAUSED:
            assert said[-1:] == [True], "a pause is asked for, also where there is silence already"
        if capture.state is CaptureState.RUNNING and was in SILENT | {CaptureState.PREPARED}:
            assert said[-1:] == [False]
        if capture.state is CaptureState.PREPARED and was is not CaptureState.PREPARED:
            assert said[-1:] == [True], "runs unmuted beside the caller"
        if capture.state in BESIDE:
            spoken = [one for one in step.commands if isinstance(one, Quiet) and not one.quiet]
            assert capture.id not in {one.recording for one in spoken}, "unmuted beside the caller"
        if step.state.paused is not None:
            assert capture.state not in (CaptureState.RUNNING, CaptureState.ARMED), "writes while the call is paused"


def _answers(step: Step) -> None:
    """Nobody is told what is not so, and nobody waits for what is so."""
    hand = next((capture for capture in step.state.captures if capture.state in UNCLOSED), None)
    beside = next((capture for capture in step.state.captures if capture.state in BESIDE), None)
    for command in step.commands:
        if isinstance(command, Acknowledge) and command.answer is KeyAnswer.EXCLUDED:
            assert beside is None, "told that nothing runs while something does"
        if not isinstance(command, Acknowledge) or hand is None:
            continue
        match command.answer:
            case KeyAnswer.PAUSED:
                assert (hand.state, hand.silent) == (CaptureState.PAUSED, True)
            case KeyAnswer.RESUMED:
                assert hand.state is not CaptureState.PAUSED
            case KeyAnswer.CAPTURED:
                assert hand.state is CaptureState.RUNNING
            case KeyAnswer.STOPPED | KeyAnswer.ERASED | KeyAnswer.PERSONAL:
                raise AssertionError("told that it has stopped while it runs")
            case KeyAnswer.EXCLUDED:
                assert _comes_to_who_consults(step.state, command.presser), "let in to who is being captured"
    waits = [key for key in step.state.owed if beside is None or key.answer is not KeyAnswer.EXCLUDED]
    assert hand is not None or not waits, "somebody waits for what is so"


def _comes_to_who_consults(state: CallState, presser: Channel) -> bool:
    """Whether it was seen to be rung for a consultation, through which nobody was handed over, and stands elsewhere."""
    legs = dict(state.consultations)
    if state.consulted is not None:
        legs[state.consulted.leg] = state.consulted.rung
    through = {far for far, rung in state.consultations.items() if presser.uniqueid in rung}
    through |= {far for far, rung in legs.items() if presser.uniqueid in rung}
    relayed = set() if state.relay is None else {state.relay.far}
    ends = {state.caller.uniqueid} if state.caller is not None else set()
    bridges = {state.bridges.get(leg) for leg in ends | relayed} - {None}
    near = [state.halves.get(far) for far in through - relayed]
    consulting = {None if leg is None else state.bridges.get(leg) for leg in near}
    apart = bool(consulting) and not consulting & (bridges | {None})
    return apart and state.bridges.get(presser.uniqueid) not in bridges


def _statuses(before: CallState, step: Step) -> None:
    """The catalogue, which compares before it sets, accepts every change in order."""
    known = {capture.id: STATUSES[capture.state] for capture in before.captures}
    for fact in step.facts:
        if isinstance(fact, RecordingAuthorised):
            known[fact.id] = {RecordingStatus.AUTHORISED}
        if isinstance(fact, RecordingChanged):
            assert known[fact.id] <= fact.expected, f"{fact.status} from {known[fact.id]}"
            known[fact.id] = {fact.status}
