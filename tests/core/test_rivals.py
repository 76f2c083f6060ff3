"""What is done about a recorder that is not ours: the whole table, and the questions that lead to it."""

from __future__ import annotations

from itertools import product

import pytest

from recorder.call import CallAdmitted, CallEvent, CallState, advance, begin
from recorder.model import AuditEntry, RivalFate, RivalKind, RivalPolicy
from recorder.rivals import (
    FATES,
    STOPS,
    Act,
    Ours,
    Sighting,
    decide,
    is_beep,
    is_paused,
    kind_of_spy,
    mutes_by_id,
    ours_on,
    snooped_upon,
    without_numbers,
)
from tests.core.call_cast import (
    AGENT,
    CALLER,
    FAR,
    admitted,
    answered,
    armed,
    connected,
    consulted,
    entered,
    held,
    rival,
    sight_lost,
)
from tests.core.test_consulted import AWAY, TALKING


def after(first: CallAdmitted, *events: CallEvent) -> CallState:
    """The state that these lead to."""
    state = begin(first).state
    for event in events:
        state = advance(state, event).state
    return state


HITS_OURS = {Act.STOP_NEWEST, Act.STOP_EVERY}
EVERY_SIGHTING = [
    Sighting(kind=kind, ours=ours, policy=policy, paused=paused, mutes_by_id=by_id, by_a_party=party, is_over=over)
    for kind, ours, policy, paused, by_id, party, over in product(
        RivalKind, Ours, RivalPolicy, (False, True), (False, True), (False, True), (False, True)
    )
]


def test_the_table_answers_every_kind_wherever_ours_stands_and_every_act_has_its_fate() -> None:
    assert set(STOPS) == set(product(RivalKind, Ours))
    assert set(FATES) == set(Act)


@pytest.mark.parametrize("policy", [RivalPolicy.REPORT, RivalPolicy.PERMIT])
def test_without_the_policy_to_stop_nothing_is_touched_while_nobody_pauses(policy: RivalPolicy) -> None:
    assert {decide(row) for row in EVERY_SIGHTING if row.policy is policy and not row.paused} == {Act.LEAVE}


def test_a_capture_of_ours_that_speaks_is_never_in_danger() -> None:
    for row in EVERY_SIGHTING:
        if decide(row) in HITS_OURS and row.ours is not Ours.NONE and not row.paused:
            assert row.ours is Ours.OLDER, row
            assert not row.is_over, row


def test_while_paused_no_mixmonitor_is_left_to_write_speech() -> None:
    left = {Act.LEAVE, Act.CANNOT}
    for row in EVERY_SIGHTING:
        if row.paused and row.kind is RivalKind.MIXMONITOR and row.policy is not RivalPolicy.PERMIT:
            assert decide(row) not in left, row


def test_while_paused_what_cannot_be_singled_out_is_muted_and_before_18_18_stopped_with_ours() -> None:
    unsure = Sighting(kind=RivalKind.MIXMONITOR, ours=Ours.UNSURE, policy=RivalPolicy.REPORT, paused=True)
    assert decide(unsure) is Act.MUTE_EVERY
    older = Sighting(
        kind=RivalKind.MIXMONITOR, ours=Ours.UNSURE, policy=RivalPolicy.REPORT, paused=True, mutes_by_id=False
    )
    assert decide(older) is Act.STOP_EVERY


def test_a_rival_that_cannot_be_told_from_ours_is_left_alone() -> None:
    row = Sighting(kind=RivalKind.MIXMONITOR, ours=Ours.UNSURE, policy=RivalPolicy.STOP)
    assert decide(row) is Act.CANNOT


def test_who_is_in_a_call_of_ours_is_not_hung_up_for_listening() -> None:
    acts = {decide(row) for row in EVERY_SIGHTING if row.by_a_party}
    assert Act.HANG_UP_SPY not in acts
    assert Act.HANG_UP_SPY in {decide(row) for row in EVERY_SIGHTING if not row.by_a_party}


def test_a_snoop_is_a_recorder_and_is_hung_up_wherever_ours_stands_whoever_shares_its_bridge() -> None:
    """Nothing of ours is touched by it, and behind the channel is nobody who could be cut off."""
    for row in EVERY_SIGHTING:
        if row.kind is RivalKind.SNOOP and row.policy is RivalPolicy.STOP and not row.is_over:
            assert decide(row) is Act.HANG_UP_SNOOP, row
    assert FATES[Act.HANG_UP_SNOOP] is RivalFate.STOPPED


def test_while_paused_a_snoop_is_hung_up_although_the_policy_is_to_report() -> None:
    for row in EVERY_SIGHTING:
        if row.kind is RivalKind.SNOOP and row.policy is RivalPolicy.REPORT and row.paused and not row.is_over:
            assert decide(row) is Act.HANG_UP_SNOOP, row


# --------------------------------------------------------------------------- how ours stands


def talking() -> CallState:
    return after(admitted(), answered(), armed(), connected(), entered(AGENT, 1), entered(CALLER, 2))


@pytest.mark.parametrize(
    ("file", "others", "ours"),
    [
        ("/spool/rival.wav", 1, Ours.OLDER),
        ("/spool/rival.wav", 2, Ours.OLDER),
        ("/spool/rival.wav", 0, Ours.UNSURE),  # it has ended: the newest is ours
        ("", 1, Ours.UNSURE),  # the newest has no mixed file, as ours
        (None, 1, Ours.UNSURE),  # nobody could be asked
    ],
)
def test_ours_is_older_only_where_the_newest_start_named_a_file_and_somebody_elses_runs(
    file: str | None, others: int, ours: Ours
) -> None:
    assert ours_on(talking(), CALLER.uniqueid, file=file, others=others) is ours


def test_a_capture_that_is_being_armed_may_be_the_newest_whatever_is_named() -> None:
    arming = after(admitted(), answered())
    assert ours_on(arming, CALLER.uniqueid, file="/spool/rival.wav", others=1) is Ours.UNSURE


def test_what_is_prepared_on_a_consultations_leg_is_ours_there_beside_the_callers_own() -> None:
    asked = (*TALKING[1:], *AWAY, consulted())
    states = {
        "preparing": (after(admitted(), *asked), Ours.UNSURE),
        "prepared": (after(admitted(), *asked, armed(2)), Ours.OLDER),
        "forsaken": (after(admitted(), *asked, armed(2), sight_lost()), Ours.OLDER),
    }
    for word, (state, ours) in states.items():
        assert ours_on(state, FAR.uniqueid, file="/spool/rival.wav", others=1) is ours, word
        assert ours_on(state, FAR.uniqueid, file="", others=1) is Ours.UNSURE, word
        assert ours_on(state, CALLER.uniqueid, file="/spool/rival.wav", others=1) is Ours.OLDER, word
        assert ours_on(state, AGENT.uniqueid, file="/spool/rival.wav", others=1) is Ours.NONE, word


def test_on_another_leg_or_without_a_capture_nothing_of_ours_is_in_danger() -> None:
    assert ours_on(talking(), AGENT.uniqueid, file="/spool/rival.wav", others=1) is Ours.NONE
    assert ours_on(after(admitted()), CALLER.uniqueid, file="", others=1) is Ours.NONE


def test_a_call_is_paused_while_silence_is_written() -> None:
    assert not is_paused(talking())
    assert is_paused(advance(talking(), held()).state)


# --------------------------------------------------------------------------- reading what Asterisk says


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        ("PJSIP/alice,q", RivalKind.LISTENER),
        ("PJSIP/alice", RivalKind.LISTENER),
        ("PJSIP/alice,qwg(recorders)", RivalKind.LISTENER),
        ("PJSIP/alice,qr(name)", RivalKind.SPY),
        ("PJSIP/alice,r", RivalKind.SPY),
        ("2001@agents,wr", RivalKind.SPY),
        ("PJSIP/rrr", RivalKind.LISTENER),
        (",r", RivalKind.SPY),
    ],
)
def test_chanspy_records_with_option_r_alone(arguments: str, kind: RivalKind) -> None:
    assert kind_of_spy(arguments) is kind


@pytest.mark.parametrize(
    ("channel", "leg"),
    [
        ("Snoop/1795298000.1-00000000", "1795298000.1"),
        ("Snoop/pbx1-1795298000.1-0000001f", "pbx1-1795298000.1"),  # systemname in asterisk.conf
        ("Snoop/an-id-of-the-applications/own-00000002", "an-id-of-the-applications/own"),
        ("Snoop/1795298000.1", None),
        ("Snoop/1795298000.1-0000", None),
        ("Local/Snoop/1795298000.1-00000000", None),
        ("PJSIP/snoop-00000001", None),
    ],
)
def test_a_snoops_channel_is_named_for_whom_it_hears(channel: str, leg: str | None) -> None:
    assert snooped_upon(channel) == leg


def test_the_periodic_beep_is_nobody_who_listens() -> None:
    assert is_beep("Local/hook@__func_periodic_hook_context__-0000000e;2")
    assert not is_beep("Local/hook@supervisors-0000000e;2")


@pytest.mark.parametrize(
    ("version", "by_id"),
    [
        ("16.28.0~dfsg-0+deb11u4", False),
        ("18.17.1", False),
        ("18.18.0", True),
        ("19.8.1", False),
        ("20.2.1", False),
        ("20.3.0", True),
        ("21.0.0", True),
        ("22.10.1+dfsg+~cs6.17", True),
        ("GIT-master-abc", False),
        ("", False),
    ],
)
def test_the_release_says_whether_one_of_several_can_be_muted(version: str, by_id: bool) -> None:
    assert mutes_by_id(version) is by_id


@pytest.mark.parametrize(
    ("file", "kept"),
    [
        ("/var/spool/asterisk/monitor/2026/03/02/q-100-15550100-1795313046.27.wav", "/2026/03/02/q-#.wav"),
        ("/tmp/auto-1795313046-call-Local.wav", "/tmp/auto-#-call-Local.wav"),
        ("/tmp/+1 555-0100.wav", "/tmp/#.wav"),
        ("/srv/rec/agent7.wav", "/srv/rec/agent7.wav"),
    ],
)
def test_a_file_is_kept_without_what_could_be_a_number(file: str, kept: str) -> None:
    assert without_numbers(file).endswith(kept)


# --------------------------------------------------------------------------- what the call keeps of it


def test_a_rival_changes_nothing_of_ours_and_leaves_its_audit_row() -> None:
    step = advance(talking(), rival())
    assert step.state == talking()
    assert step.commands == ()
    (entry,) = step.facts
    assert isinstance(entry, AuditEntry)
    assert (entry.actor, entry.action, entry.recording) == ("recorder", "rival stopped", None)
    assert entry.details == {"kind": "mixmonitor", "leg": "caller", "file": "/spool/#.wav"}


@pytest.mark.parametrize("fate", list(RivalFate))
def test_the_audit_names_what_became_of_it_and_on_whose_leg(fate: RivalFate) -> None:
    (entry,) = advance(talking(), rival(fate, channel=AGENT)).facts
    assert isinstance(entry, AuditEntry)
    assert (entry.action, entry.details["leg"]) == (f"rival {fate}", "agent")
