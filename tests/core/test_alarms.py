"""When somebody is told, and when not again: the table of alarms, played as nights would go."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from recorder.alarms import (
    TRANSITIONS,
    AlarmKind,
    Alarms,
    Notice,
    Occasion,
    Seen,
    Sign,
    Standing,
    fields,
    rules,
    sentence,
    trial_notice,
)
from tests.facts import NOON

MINUTE = timedelta(minutes=1)
RULES = rules(unready=MINUTE, digest=15 * MINUTE, over=15 * MINUTE)
LOST, UNREADY, DISK, RIVAL, PAUSE, LISTENING = AlarmKind


class Night:
    """A clock, and what was told."""

    def __init__(self) -> None:
        self.alarms = Alarms("pbx1", RULES)
        self.at = NOON
        self.told: list[Notice] = []

    def looks(self, minutes: float = 0, **seen: Seen) -> list[tuple[str, str]]:
        """Wait, look once, and return what was told just then."""
        self.at += minutes * MINUTE
        notices = self.alarms.look({AlarmKind(kind): what for kind, what in seen.items()}, self.at)
        self.told += notices
        return [(str(notice.kind), str(notice.occasion)) for notice in notices]


@pytest.fixture
def night() -> Night:
    return Night()


def lost(times: int = 1, reason: str = "pbx_away") -> Seen:
    return Seen(happened={reason: times})


AWAY = Seen(stands=("Asterisk is not connected",))


# --------------------------------------------------------------------------- lost calls


def test_the_first_lost_call_is_told_at_once(night: Night) -> None:
    assert night.looks(lost=lost()) == [("lost", "raised")]


def test_a_hundred_lost_calls_of_one_outage_are_one_alarm_with_digests_and_one_end(night: Night) -> None:
    for _ in range(100):  # a lost call every half minute
        night.looks(0.5, lost=lost())
    for _ in range(40):
        night.looks(0.5)
    assert [notice.occasion for notice in night.told] == ["raised", *["again"] * 4, "over"]
    assert [dict(notice.counts) for notice in night.told][-1] == {"pbx_away": 100}
    assert len({notice.alarm for notice in night.told}) == 1


def test_a_digest_counts_everything_since_the_alarm_was_raised(night: Night) -> None:
    night.looks(lost=lost(2))
    night.looks(1, lost=lost(3, "spool_unready"))
    night.looks(15)
    assert dict(night.told[-1].counts) == {"pbx_away": 2, "spool_unready": 3}


def test_what_was_told_is_not_told_again_where_nothing_more_was_lost(night: Night) -> None:
    night.looks(lost=lost())
    assert [night.looks(1) for _ in range(14)] == [[]] * 14


def test_lost_calls_are_not_over_while_nothing_can_be_captured(night: Night) -> None:
    """Nobody calls for an hour of the same outage: its next caller is no news."""
    night.looks(lost=lost(), unready=AWAY)
    for _ in range(60):
        night.looks(1, unready=AWAY)
    assert [(notice.kind, notice.occasion) for notice in night.told if notice.kind is LOST] == [(LOST, Occasion.RAISED)]
    assert ("lost", "again") in night.looks(1, unready=AWAY, lost=lost())


def test_not_being_ready_raises_no_alarm_of_lost_calls(night: Night) -> None:
    for _ in range(10):
        night.looks(1, unready=AWAY)
    assert {notice.kind for notice in night.told} == {UNREADY}


def test_a_new_outage_is_a_new_alarm(night: Night) -> None:
    night.looks(lost=lost())
    night.looks(15)
    night.looks(1, lost=lost())
    assert [notice.occasion for notice in night.told] == ["raised", "over", "raised"]
    assert night.told[2].alarm != night.told[0].alarm
    assert dict(night.told[2].counts) == {"pbx_away": 1}


# --------------------------------------------------------------------------- not ready


def test_a_moment_of_not_being_ready_wakes_nobody(night: Night) -> None:
    night.looks(unready=AWAY)
    night.looks(0.9, unready=AWAY)
    night.looks(0.05)
    assert night.looks(0.1, unready=AWAY) == []
    assert night.told == []


def test_not_being_ready_for_a_minute_is_told_with_its_reasons_and_its_end(night: Night) -> None:
    night.looks(unready=AWAY)
    assert night.looks(1, unready=AWAY) == [("unready", "raised")]
    assert night.told[0].reasons == AWAY.stands
    assert night.told[0].since == NOON
    assert night.looks(0.5) == []
    assert night.looks(0.6) == [("unready", "over")]
    assert night.told[1].reasons == AWAY.stands


def test_one_that_comes_and_goes_within_the_minute_is_one_alarm(night: Night) -> None:
    night.looks(unready=AWAY)
    for so in (AWAY, Seen()) * 30:
        night.looks(0.6, unready=so)
    assert [notice.occasion for notice in night.told] in (["raised"], [])


def test_it_is_said_again_every_hour_while_it_stands(night: Night) -> None:
    for _ in range(130):
        night.looks(1, unready=AWAY)
    assert [notice.occasion for notice in night.told] == ["raised", "again", "again"]


# --------------------------------------------------------------------------- disks


def disk(percent: int, *, urgent: bool) -> Seen:
    return Seen(stands=(f"the disk is {percent} % used",), urgent=urgent)


def test_a_disk_at_80_is_told_and_at_90_told_again_at_once_as_urgent(night: Night) -> None:
    night.looks(disk=disk(81, urgent=False))
    assert night.looks(1, disk=disk(81, urgent=False)) == [("disk", "raised")]
    assert not night.told[-1].urgent
    assert night.looks(1, disk=disk(91, urgent=True)) == [("disk", "worse")]
    assert night.told[-1].urgent
    assert night.told[-1].reasons == ("the disk is 91 % used",)


def test_a_disk_that_wavers_about_90_calls_nobody_up_twice(night: Night) -> None:
    for urgent in (True, False) * 20:
        night.looks(1, disk=disk(90, urgent=urgent))
    assert [notice.occasion for notice in night.told] in (["raised"], ["raised", "worse"])


def test_a_full_disk_is_over_when_it_was_below_for_a_while(night: Night) -> None:
    night.looks(disk=disk(81, urgent=False))
    night.looks(1, disk=disk(81, urgent=False))
    assert [night.looks(1) for _ in range(14)] == [[]] * 14
    assert night.looks(1) == [("disk", "over")]


# --------------------------------------------------------------------------- pauses


def paused(now: int, begun: int = 0) -> Seen:
    return Seen(happened={"paused": begun}, stands=(f"{now} now",) if now else (), urgent=False)


def test_a_long_pause_is_told_once_at_once_and_its_end_at_once_and_nobody_is_woken(night: Night) -> None:
    assert night.looks(pause=paused(1, begun=1)) == [("pause", "raised")]
    assert [night.looks(1, pause=paused(1)) for _ in range(120)] == [[]] * 120
    assert night.looks(0.1) == [("pause", "over")]
    assert not any(notice.urgent for notice in night.told)


def test_long_pauses_of_several_calls_are_one_alarm_that_counts_them_and_ends_with_the_last(night: Night) -> None:
    night.looks(pause=paused(1, begun=1))
    night.looks(1, pause=paused(2, begun=1))
    night.looks(1, pause=paused(3, begun=1))
    assert night.looks(13, pause=paused(1)) == [("pause", "again")]
    assert dict(night.told[-1].counts) == {"paused": 3}
    assert night.told[-1].reasons == ("1 now",)
    assert night.looks(1) == [("pause", "over")]
    assert len({notice.alarm for notice in night.told}) == 1


def test_the_next_long_pause_is_an_alarm_of_its_own(night: Night) -> None:
    night.looks(pause=paused(1, begun=1))
    night.looks(1)
    assert night.looks(0.1, pause=paused(1, begun=1)) == [("pause", "raised")]
    assert dict(night.told[-1].counts) == {"paused": 1}


# --------------------------------------------------------------------------- listening


def test_listenings_that_stand_out_are_one_alarm_told_at_once_with_digests_and_nobody_is_woken(night: Night) -> None:
    one = Seen(happened={"own_call": 1}, urgent=False)
    assert night.looks(listening=one) == [("listening", "raised")]
    assert [night.looks(1, listening=one) for _ in range(14)] == [[]] * 14
    assert night.looks(1, listening=one) == [("listening", "again")]
    assert [night.looks(1) for _ in range(14)] == [[]] * 14
    assert night.looks(1) == [("listening", "over")]
    assert not any(notice.urgent for notice in night.told)
    assert dict(night.told[-1].counts) == {"own_call": 16}
    assert "or to a call of their own" in sentence(night.told[-1])


# --------------------------------------------------------------------------- the table


def test_the_table_has_an_answer_to_every_sign_that_a_look_can_give() -> None:
    before = {Sign.NOTHING, Sign.SO, Sign.LONG}
    assert {standing: set(signs) for standing, signs in TRANSITIONS.items()} == {
        Standing.QUIET: before,
        Standing.WAITING: before,
        Standing.RAISED: {Sign.NOTHING, Sign.SO, Sign.URGENT, Sign.NEWS, Sign.PAST},
    }


KINDS = list(AlarmKind)
WHATS = [
    Seen(),
    Seen(),
    Seen(stands=("so",)),
    Seen(stands=("so",), urgent=False),
    Seen(happened={"a": 1}),
    Seen(happened={"b": 2}, urgent=False),
    Seen(happened={"a": 0}),
]


NOTHING, SO = Seen(), Seen(stands=("so",))


@example([(0, [NOTHING, NOTHING, NOTHING, NOTHING, last, NOTHING]) for last in (SO, NOTHING, SO)])  # all in one moment
@given(
    st.lists(
        st.tuples(
            st.sampled_from([0, 0.1, 1, 14, 16, 61, 1500]),
            st.lists(st.sampled_from(WHATS), min_size=len(KINDS), max_size=len(KINDS)),
        )
    )
)
def test_whatever_happens_who_hears_of_an_alarm_hears_its_beginning_first_and_its_end_once(
    looks: list[tuple[float, list[Seen]]],
) -> None:
    night = Night()
    for minutes, seen in looks:
        night.looks(minutes, **dict(zip(KINDS, seen, strict=True)))
    night.looks(10_000)
    for alarm in {notice.alarm for notice in night.told}:
        occasions = [notice.occasion for notice in night.told if notice.alarm == alarm]
        assert occasions[0] is Occasion.RAISED
        assert occasions[-1] is Occasion.OVER
        assert occasions.count(Occasion.RAISED) == occasions.count(Occasion.OVER) == 1
        assert set(occasions[1:-1]) <= {Occasion.WORSE, Occasion.AGAIN}
        assert occasions.count(Occasion.WORSE) <= 1
    for kind in KINDS:
        ids = [notice.alarm for notice in night.told if notice.kind is kind]
        assert len({*ids}) == sum(a != b for a, b in pairwise(ids)) + bool(ids), "two alarms of a kind at once"


@given(st.lists(st.integers(0, 3), max_size=40))
def test_no_lost_call_is_left_out_of_what_is_told(losses: list[int]) -> None:
    night = Night()
    for times in losses:
        night.looks(1, lost=lost(times))
    night.looks(10_000)
    told: dict[object, int] = {notice.alarm: sum(notice.counts.values()) for notice in night.told}
    assert sum(told.values()) == sum(losses)


# --------------------------------------------------------------------------- what is told


def notice(**changes: object) -> Notice:
    told: Mapping[str, object] = {
        "alarm": trial_notice("pbx1", NOON).alarm,
        "kind": LOST,
        "occasion": Occasion.AGAIN,
        "urgent": True,
        "node": "pbx1",
        "since": NOON,
        "at": NOON + MINUTE,
        "counts": {"pbx_away": 3},
        "reasons": (),
        **changes,
    }
    return Notice(**told)  # type: ignore[arg-type]


def test_a_notice_in_one_line_says_where_what_since_when_and_how_often() -> None:
    line = sentence(notice())
    for words in ("pbx1", "still", "calls were lost", f"{NOON:%H:%M} UTC", "3 pbx_away"):
        assert words in line
    assert "\n" not in line


def test_what_is_sent_is_json_and_names_its_kind_its_occasion_and_its_version() -> None:
    told = json.loads(json.dumps(fields(notice())))
    assert (told["version"], told["kind"], told["occasion"], told["urgent"]) == (1, "lost", "again", True)
    assert told["counts"] == {"pbx_away": 3}
    assert (told["since"], told["at"]) == (NOON.isoformat(), (NOON + MINUTE).isoformat())


def test_a_trial_says_that_nothing_is_wrong() -> None:
    told = fields(trial_notice("pbx1", NOON))
    assert (told["kind"], told["occasion"], told["urgent"]) == ("test", "test", False)
    assert "nothing is wrong" in str(told["text"])
