"""The judge of the faults: true facts pass, and each doctored one is found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from recorder.model import LostReason, Outcome
from tests.faults.judge import (
    TAIL,
    Booked,
    Cost,
    Facts,
    Kept,
    Sound,
    Span,
    Told,
    consented,
    is_to_be_booked,
    judge,
    shown,
)
from tests.faults.kinds import (
    AGENT,
    AGENT_BEFORE,
    BEFORE,
    CALLER,
    CARD,
    ELSEWHERE,
    LATER,
    QUEUES,
    WAYS,
    Kind,
    deal,
    lines,
)
from tests.faults.page import BEGINS, ENDS, PAGE, Line, cells, merged, read, replaced, table

FAULT = Span(100.0, 110.0)


def call(kind: Kind = Kind.AGREED, *, at: float = 95.0, leg: str = "1.1") -> Told:
    """One that talks from five seconds after its beginning until ten seconds later."""
    return Told(
        number=1,
        kind=kind,
        leg=leg,
        placed_at=at,
        entered=True,
        queued_at=at + 4.1,
        armed_at=at + 4,
        talks=(Span(at + 5, at + 15),),
        music=(),
        ended_at=at + 15,
    )


def sound(talked: float = 10.0, **others: float) -> Sound:
    """Both parties for so long; `others` are seconds of a tone on the agent's side, its name with a leading t."""
    tones = {(0, CALLER): talked, (1, AGENT): talked} | {(1, int(name[1:])): length for name, length in others.items()}
    return Sound(seconds=talked, tones=tones)


def recorded(settled: Sound | None = None, staged: Sound | None = None, *findings: str) -> Booked:
    kept = Kept(status="settled", findings=findings, settled=settled or sound(), staged=staged or settled or sound())
    return Booked(legs=frozenset({"1.1"}), outcome=Outcome.RECORDED, reason=None, kept=(kept,))


def without_file(outcome: Outcome, reason: LostReason | None = None) -> Booked:
    return Booked(legs=frozenset({"1.1"}), outcome=outcome, reason=reason)


def facts(told: Told | None = None, booked: Booked | None = None) -> Facts:
    return Facts(
        calls=(told or call(),),
        booked=(booked or recorded(),),
        unclaimed={},
        blind=(),
        fault=FAULT,
        ready_after=1.0,
        verify=(0, ""),
        at_once=20,
    )


def wrong(given: Facts, cost: Cost | None = None) -> str:
    return " / ".join(judge(given, cost or Cost()).wrong)


def test_a_whole_recording_of_a_talk_in_the_fault_is_right_and_counted() -> None:
    verdict = judge(facts(), Cost())
    assert verdict.wrong == ()
    row = verdict.row
    assert (row.calls, row.met, row.captured, row.owed, row.kept) == (1, 1, 1, 10.0, 10.0)
    assert (row.before, row.beyond, row.staged, row.without) == (0, 0, 0, 0)


def test_talk_that_was_written_and_is_not_kept_is_lost() -> None:
    assert "are not in the recording" in wrong(facts(booked=recorded(sound(9.0), sound(10.0))))


def test_talk_that_was_never_written_is_lost_too() -> None:
    assert "are missing" in wrong(facts(booked=recorded(sound(8.0))))


def test_a_captured_talk_without_a_file_is_lost_whatever_its_outcome_says() -> None:
    told = facts(booked=without_file(Outcome.LOST, LostReason.RECORDER_AWAY))
    assert "are missing" in wrong(told, Cost(lost=frozenset(LostReason)))


def test_one_silent_side_is_talk_lost() -> None:
    one_sided = Sound(seconds=10.0, tones={(0, CALLER): 10.0})
    assert "are missing" in wrong(facts(booked=recorded(one_sided)))


def test_asterisks_death_may_cost_its_last_buffer_where_a_finding_says_so() -> None:
    cut, cost = replace(call(), cut=True), Cost(tail=TAIL)
    assert wrong(facts(cut, recorded(sound(8.0), None, "header_repaired")), cost) == ""
    assert judge(facts(cut, recorded(sound(8.0), None, "header_repaired")), cost).row.tails == 1
    assert "no finding says so" in wrong(facts(cut, recorded(sound(8.0))), cost)
    assert "are missing" in wrong(facts(cut, recorded(sound(6.0), None, "header_repaired")), cost)
    assert "are missing" in wrong(facts(call(), recorded(sound(8.0), None, "header_repaired")), cost)


@pytest.mark.parametrize("where", ["settled", "staged"])
def test_one_frame_of_before_consent_is_too_much_wherever_it_lies(where: str) -> None:
    sounds: dict[str, Sound] = {"settled": sound(), "staged": sound()} | {where: sound(t1200=0.02)}
    verdict = judge(facts(booked=recorded(sounds["settled"], sounds["staged"])), Cost())
    assert verdict.row.before == 160
    assert any("said without consent" in sentence for sentence in verdict.wrong)


def test_what_was_said_without_consent_is_found_in_a_file_that_nobody_claims() -> None:
    given = replace(facts(), unclaimed={"quarantine/x": Sound(seconds=1.0, tones={(0, BEFORE): 0.5})})
    assert "belongs to no recording" in wrong(given)
    assert judge(given, Cost()).row.before == 4000


def test_the_agent_before_the_override_is_before_consent() -> None:
    told = replace(call(Kind.OVERRIDDEN), armed_at=102.0, acts={"override": 102.0})
    tones = {(0, BEFORE): 8.0, (1, AGENT): 8.0}
    fine = Sound(seconds=8.0, tones=tones)
    assert wrong(facts(told, recorded(fine))) == ""
    assert "said without consent" in wrong(facts(told, recorded(Sound(seconds=8.0, tones=tones | {(1, 700): 0.1}))))
    early = Sound(seconds=10.0, tones={(0, BEFORE): 10.0, (1, AGENT): 8.0})
    assert "after the override" in wrong(facts(told, recorded(early)))
    assert AGENT_BEFORE == 700


@pytest.mark.parametrize("hz", [LATER, ELSEWHERE, CARD])
def test_one_frame_of_after_the_talk_is_too_much_in_what_is_settled(hz: int) -> None:
    verdict = judge(facts(booked=recorded(sound(**{f"t{hz}": 0.02}), sound())), Cost())
    assert verdict.row.beyond == 160
    assert any("in a settled recording" in sentence for sentence in verdict.wrong)


def test_the_queues_last_frames_of_music_are_none_of_a_hold() -> None:
    assert wrong(facts(booked=recorded(sound(t2000=0.02)))) == ""


def test_a_hold_that_nobody_saw_is_counted_and_one_that_was_seen_is_silence() -> None:
    held = replace(call(Kind.HELD), talks=(Span(100.0, 103.0), Span(106.0, 110.0)), music=(Span(103.0, 106.0),))
    music = facts(held, recorded(sound(7.0, t2000=2.5)))
    assert "2.50 s of 2000 Hz in a settled recording" in wrong(music)
    unseen = judge(replace(music, blind=(Span(102.0, 107.0),)), Cost())
    assert (unseen.wrong, unseen.row.music) == ((), 2.5)


def test_the_waiting_caller_of_a_hold_that_nobody_saw_is_counted_and_of_one_that_was_seen_is_too_much() -> None:
    held = replace(call(Kind.HELD), talks=(Span(100.0, 104.0), Span(106.0, 110.0)))
    heard = Sound(seconds=10.0, tones={(0, CALLER): 10.0, (1, AGENT): 8.0})
    unseen = replace(facts(held, recorded(heard)), blind=(Span(103.0, 107.0),))
    assert judge(unseen, Cost()).wrong == ()
    assert judge(unseen, Cost()).row.music == pytest.approx(2.0)
    assert "10.00 s kept, and only 8.00 s were talked" in wrong(replace(unseen, blind=()))
    longer = replace(heard, tones={(0, CALLER): 11.0, (1, AGENT): 8.0})
    assert "11.00 s kept" in wrong(replace(unseen, booked=(recorded(longer),)))


def test_the_spool_may_hold_a_little_of_after_the_talk_while_the_daemon_lives_and_more_while_it_does_not() -> None:
    told = replace(call(Kind.TRANSFERRED), left_at=105.0, talks=(Span(100.0, 105.0),))
    assert wrong(facts(told, recorded(sound(5.0), sound(5.0, t1750=0.3)))) == ""
    late = facts(told, recorded(sound(5.0), sound(5.0, t1750=0.4)))
    assert "400 ms of after the talk in the spool" in wrong(late)
    unseen = replace(late, blind=(Span(104.0, 107.0),), booked=(recorded(sound(5.0), sound(5.0, t1750=3.0)),))
    assert wrong(unseen) == ""
    assert judge(unseen, Cost()).row.staged_blind == 3000


def test_a_call_without_an_outcome_is_found_in_the_books_and_out_of_them() -> None:
    assert "a call without an outcome" in wrong(facts(booked=replace(recorded(), outcome=None)))
    assert "is not in the books" in wrong(replace(facts(), booked=()))
    assert judge(replace(facts(), booked=()), Cost()).row.without == 1


def test_a_call_that_died_with_asterisk_before_any_ledger_had_it_cannot_be_booked() -> None:
    unheard = replace(call(), cut=True, queued_at=None, armed_at=None, talks=())
    assert wrong(replace(facts(unheard), booked=())) == ""


def test_an_outgoing_call_comes_to_no_queue_and_is_waited_for_all_the_same() -> None:
    assert is_to_be_booked(replace(call(Kind.OUTGOING), queued_at=None))
    assert not is_to_be_booked(replace(call(Kind.OUTGOING), entered=False, queued_at=None))


def test_a_personal_call_is_in_no_book() -> None:
    personal = replace(call(Kind.PERSONAL), entered=False, queued_at=None, armed_at=None)
    assert wrong(replace(facts(personal), booked=())) == ""
    assert "personal call is in the books" in wrong(facts(personal, without_file(Outcome.ABANDONED)))


def test_a_reason_is_lost_only_where_the_fault_may_cost_it_and_only_beside_the_fault() -> None:
    met = replace(call(at=101.0), armed_at=None, queued_at=102.0)
    lost = without_file(Outcome.LOST, LostReason.CATALOGUE_AWAY)
    assert wrong(facts(met, lost), Cost(lost=frozenset({LostReason.CATALOGUE_AWAY}))) == ""
    assert "which this fault may not cost" in wrong(facts(met, lost))
    later = replace(call(at=113.0), armed_at=None, queued_at=114.0)
    assert "away from the fault" in wrong(facts(later, lost), Cost(lost=frozenset({LostReason.CATALOGUE_AWAY})))


@pytest.mark.parametrize(
    ("kind", "outcome"),
    [(Kind.REFUSED, Outcome.DECLINED), (Kind.NEVER, Outcome.EXCLUDED), (Kind.SILENT, Outcome.DECLINED)],
)
def test_away_from_the_fault_every_kind_ends_as_it_should(kind: Kind, outcome: Outcome) -> None:
    told = replace(call(kind, at=120.0), armed_at=None)
    assert wrong(facts(told, without_file(outcome))) == ""
    assert "away from the fault, not" in wrong(facts(told, without_file(Outcome.ABANDONED)))
    assert "has a file" in wrong(facts(told, recorded()))


def test_a_withdrawn_talk_is_kept_nowhere() -> None:
    told = replace(call(Kind.WITHDRAWN), acts={"withdraw": 103.0})
    assert wrong(facts(told, without_file(Outcome.DECLINED))) == ""
    assert "was withdrawn and is kept" in wrong(facts(told, recorded()))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ready_after": None}, "did not come to be ready again"),
        ({"verify": (1, "a file too many")}, "recorder verify: exit 1: a file too many"),
        ({"unmet": ("the step was never met",)}, "the step was never met"),
    ],
)
def test_the_whole_house_is_judged_too(change: Mapping[str, object], said: str) -> None:
    assert said in wrong(replace(facts(), **change))  # type: ignore[arg-type]


def test_what_is_owed_leaves_out_holds_pauses_and_what_follows_a_transfer() -> None:
    assert sum(span.seconds for span in consented(call())) == 10.0
    held = replace(call(), music=(Span(104.0, 106.0),))
    assert sum(span.seconds for span in consented(held)) == pytest.approx(7.2)
    assert sum(span.seconds for span in consented(replace(call(), left_at=103.0))) == 3.0
    assert consented(replace(call(), acts={"pause": 101.0})) == ()
    assert consented(replace(call(), armed_at=None)) == ()


def test_an_unseen_change_of_hands_leaves_only_what_was_seen() -> None:
    sent = replace(call(Kind.TRANSFERRED), left_at=106.0)
    assert sum(span.seconds for span in shown(sent, (Span(103.0, 108.0),))) == 3.0
    assert sum(span.seconds for span in shown(sent, (Span(90.0, 95.0),))) == 6.0
    assert sum(span.seconds for span in shown(call(), (Span(103.0, 108.0),))) == 10.0


def test_a_pause_leaves_wider_edges_where_its_keys_were_pressed_unseen() -> None:
    paused = replace(call(Kind.PAUSED), acts={"pause": 103.0, "resume": 104.0})
    assert sum(span.seconds for span in shown(paused, ())) == pytest.approx(6.2)
    assert sum(span.seconds for span in shown(paused, (Span(102.5, 103.5),))) == pytest.approx(4.4)


def test_a_talk_that_changed_hands_unseen_is_shown_to_where_the_blindness_began_and_from_where_it_ended() -> None:
    held = replace(call(Kind.HELD), talks=(Span(100.0, 104.0), Span(106.0, 110.0)))
    assert shown(held, (Span(105.0, 107.0),)) == (Span(100.0, 104.0), Span(107.0, 110.0))
    assert shown(held, (Span(103.0, 105.0),)) == (Span(100.0, 103.0), Span(106.0, 110.0))
    assert shown(held, (Span(107.0, 108.0),)) == (Span(100.0, 104.0), Span(106.0, 110.0))


@pytest.mark.parametrize("kind", [Kind.AGREED, Kind.OUTGOING])
def test_a_talk_that_ended_unseen_is_shown_whole(kind: Kind) -> None:
    assert shown(call(kind), (Span(103.0, 112.0),)) == (Span(100.0, 110.0),)


# ---------------------------------------------------------------- the load and the page


def test_every_deck_holds_every_kind_in_its_share() -> None:
    size = sum(way.share for way in WAYS.values())
    dealt = deal(7)
    kinds = [next(dealt)[0] for _ in range(size)]
    assert {kind: kinds.count(kind) for kind in Kind} == {kind: way.share for kind, way in WAYS.items()}
    again = deal(7)
    assert [next(again)[0] for _ in range(size)] == kinds


def test_every_queue_belongs_to_one_line() -> None:
    numbers = [number for line in QUEUES.values() for number in line]
    assert sorted(numbers) == list(range(1, 61))
    assert set(lines()) == set(QUEUES)


def test_the_table_goes_between_its_marks_and_can_be_read_again() -> None:
    line = Line(what="the daemon, SIGKILL", row=judge(facts(), Cost()).row, on="2026-01-01")
    page = replaced(f"before\n{BEGINS}\nold\n{ENDS}\nafter\n", table([cells(line)]))
    assert page.startswith("before\n")
    assert page.endswith("after\n")
    assert read(page) == {"the daemon, SIGKILL": cells(line)}
    failed = replace(line, wrong=("something",), on="2026-01-02")
    other = replace(line, what="another")
    assert merged(page, [failed, other], ["another", "the daemon, SIGKILL"]) == [cells(other), cells(failed)]
    with pytest.raises(ValueError, match="not both there"):
        replaced("no marks", "")


def test_the_page_has_its_marks() -> None:
    read(PAGE.read_text(encoding="utf-8"))
    assert BEGINS in PAGE.read_text(encoding="utf-8")
