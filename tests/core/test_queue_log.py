"""The queue log: read whole lines only, however it grows, is cut or is rotated, and what its lines tell of a caller."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from recorder import rotated
from recorder.model import KeyAct, RecordingId, Uniqueid
from recorder.queue_log import (
    Entry,
    NotedKey,
    Passage,
    QueueLog,
    Telling,
    each_passage,
    keys_noted,
    of_calls,
    passages,
    telling_from_text,
    told_by,
    unseen_by,
    whole_ways,
)
from recorder.rotated import Place

START = 1_772_452_800
CALLER = Uniqueid("1772452800.1")
LINES = (
    b"1772452800|NONE|NONE|NONE|QUEUESTART|\n",
    b"1772452800|1772452800.1|support|NONE|ENTERQUEUE||15550100|1\n",
    b"1772452803|1772452800.1|support|PJSIP/alice|CONNECT|3|1772452801.2|2\n",
    b"1772452863|1772452800.1|support|PJSIP/alice|COMPLETECALLER|3|60|1\n",
)
"""As Asterisk 22 writes them."""


def entry(second: int, event: str, *data: str, caller: str = CALLER, agent: str = "NONE", offset: int = 0) -> Entry:
    return Entry(
        at=datetime.fromtimestamp(START + second, UTC),
        uniqueid=Uniqueid(caller),
        queue="support",
        agent=agent,
        event=event,
        data=data,
        offset=offset,
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue_log"


def beginning(path: Path) -> Place:
    return Place(inode=path.stat().st_ino, offset=0)


# --------------------------------------------------------------------------- reading


def test_a_line_is_read_with_its_place(path: Path) -> None:
    path.write_bytes(b"".join(LINES))
    entries, place = QueueLog(path).read(beginning(path))
    assert entries[2] == entry(
        3, "CONNECT", "3", "1772452801.2", "2", agent="PJSIP/alice", offset=len(LINES[0] + LINES[1])
    )
    assert place == QueueLog(path).end()


def test_there_may_be_no_log_yet(path: Path) -> None:
    log = QueueLog(path)
    assert log.end() is None
    assert log.read(Place(inode=1, offset=7)) == ([], Place(inode=1, offset=7))


def test_a_line_that_is_still_being_written_is_left_for_later(path: Path) -> None:
    path.write_bytes(LINES[1] + LINES[2][:20])
    log = QueueLog(path)
    entries, place = log.read(beginning(path))
    assert [entry.event for entry in entries] == ["ENTERQUEUE"]
    with path.open("ab") as file:
        file.write(LINES[2][20:])
    assert [entry.event for entry in log.read(place)[0]] == ["CONNECT"]


@pytest.mark.parametrize(
    "nonsense",
    [
        b"\n",
        b"|||\n",
        b"now|1.1|support|NONE|ENTERQUEUE\n",
        b"1e99|1.1|support|NONE|X\n",
        b"nan|1.1|support|NONE|X\n",
        b"inf|1.1|q|n|X\n",
        b"\xff\xfe\n",
    ],
)
def test_a_line_that_makes_no_sense_is_passed_over_and_counted(nonsense: bytes, path: Path) -> None:
    path.write_bytes(nonsense + LINES[1])
    log = QueueLog(path)
    entries, _ = log.read(beginning(path))
    assert [entry.event for entry in entries] == ["ENTERQUEUE"]
    assert log.senseless == 1


def test_a_rotated_log_is_read_from_its_beginning(path: Path) -> None:
    path.write_bytes(LINES[0] + LINES[1])
    log = QueueLog(path)
    _, place = log.read(beginning(path))
    path.rename(path.with_name("queue_log.1"))
    path.write_bytes(LINES[2] * 5)
    entries, after = log.read(place)
    assert [entry.event for entry in entries] == ["CONNECT"] * 5
    assert after == log.end()


def test_what_a_rotated_log_still_held_is_read_before_its_successor(path: Path) -> None:
    path.write_bytes(LINES[0])
    log = QueueLog(path)
    _, place = log.read(beginning(path))
    with path.open("ab") as written_on:
        written_on.write(LINES[1] + LINES[2])
    path.rename(path.with_name("queue_log.1"))
    assert [entry.event for entry in log.read(place)[0]] == [entry_of(LINES[1]), entry_of(LINES[2])]
    path.write_bytes(LINES[0])
    entries, after = log.read(place)
    assert [entry.event for entry in entries] == [entry_of(LINES[1]), entry_of(LINES[2]), entry_of(LINES[0])]
    assert after == log.end()
    assert len({entry.inode for entry in entries}) == 2


def entry_of(line: bytes) -> str:
    return line.decode().split("|")[4]


def test_a_log_that_was_emptied_in_place_is_read_from_its_beginning(path: Path) -> None:
    path.write_bytes(b"".join(LINES))
    log = QueueLog(path)
    _, place = log.read(beginning(path))
    os.truncate(path, 0)
    with path.open("ab") as file:
        file.write(LINES[3])
    assert [entry.event for entry in log.read(place)[0]] == ["COMPLETECALLER"]


def test_a_long_log_is_read_in_several_blocks_and_nothing_falls_between_them(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotated, "READ_AT_ONCE", 100)
    path.write_bytes(b"".join(LINES) * 3)
    log, place, found = QueueLog(path), beginning(path), []
    while place != log.end():
        entries, place = log.read(place)
        assert entries
        found += entries
    assert [entry.event for entry in found] == ["QUEUESTART", "ENTERQUEUE", "CONNECT", "COMPLETECALLER"] * 3


def test_a_line_longer_than_a_block_does_not_stop_the_reading(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotated, "READ_AT_ONCE", 100)
    path.write_bytes(b"x" * 250 + b"\n" + LINES[1])
    log, place, found = QueueLog(path), beginning(path), []
    for _ in range(10):
        entries, place = log.read(place)
        found += entries
    assert [entry.event for entry in found] == ["ENTERQUEUE"]
    assert place == log.end()


def test_a_long_rotated_log_is_read_block_by_block_to_its_end_before_its_successor(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotated, "READ_AT_ONCE", 100)
    path.write_bytes(b"".join(LINES) * 3 + b"x" * 250 + b"\n")
    log, place, found, blocks = QueueLog(path), beginning(path), [], []
    path.rename(path.with_name("queue_log.1"))
    path.write_bytes(LINES[1])
    while place != log.end():
        entries, place = log.read(place)
        found += entries
        blocks.append(len(entries))
    assert [entry.event for entry in found] == [entry_of(line) for line in (*LINES * 3, LINES[1])]
    assert max(blocks) <= 3
    assert log.senseless == 3  # two blocks without a line's end, and the rest of that line


def test_a_rotated_log_that_asterisk_still_writes_to_is_not_left_before_its_successor_is_there(path: Path) -> None:
    path.write_bytes(LINES[1])
    log, place = QueueLog(path), beginning(path)
    path.rename(path.with_name("queue_log.1"))
    _, place = log.read(place)
    with path.with_name("queue_log.1").open("ab") as written_on:
        written_on.write(LINES[2])
    path.write_bytes(LINES[0])
    assert [entry.event for entry in log.read(place)[0]] == [entry_of(LINES[2]), entry_of(LINES[0])]


TEXTS = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="|"), max_size=12)


@st.composite
def logs(draw: st.DrawFn) -> list[bytes]:
    """Whole lines, of which some make sense; what stands in a field is a caller's or a queue's own."""
    made = st.tuples(st.sampled_from(["1772452800", "x"]), TEXTS, TEXTS, TEXTS, TEXTS, TEXTS)
    lines = draw(st.lists(st.one_of(st.sampled_from(LINES), st.builds(lambda parts: "|".join(parts).encode(), made))))
    return [line.replace(b"\n", b"") + b"\n" for line in lines]


@given(logs(), st.data())
@hypothesis_settings(max_examples=60, deadline=None)
def test_a_log_read_while_it_grows_is_read_as_if_at_once(lines: list[bytes], data: st.DataObject) -> None:
    content = b"".join(lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(content)), max_size=8)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "queue_log")
        path.write_bytes(content)
        once, last = QueueLog(path).read(beginning(path))
        path.write_bytes(b"")
        log, place, found = QueueLog(path), beginning(path), []
        for begin, end in zip([0, *cuts], [*cuts, len(content)], strict=True):
            with path.open("ab") as file:
                file.write(content[begin:end])
            entries, place = log.read(place)
            found += entries
    assert found == once
    assert place.offset == last.offset == len(content)
    assert len(once) + log.senseless == len(lines)


def test_a_carriage_return_in_a_callers_name_begins_no_line(path: Path) -> None:
    path.write_bytes(b"1772452800|1.1|support|NONE|ENTERQUEUE||x\r1772452800|1.2|support|NONE|ABANDON|1|1|0\n")
    (only,), _ = QueueLog(path).read(beginning(path))
    assert (only.uniqueid, only.event) == ("1.1", "ENTERQUEUE")


# --------------------------------------------------------------------------- passages


def told(*entries: Entry) -> Passage:
    return passages(entries)[CALLER]


ENTERED = entry(0, "ENTERQUEUE", "", "15550100", "1")
CONNECTED = entry(3, "CONNECT", "3", "1772452801.2", "2", agent="PJSIP/alice")


def test_a_talk_is_told_from_its_connection_to_its_end() -> None:
    passage = told(ENTERED, CONNECTED, entry(63, "COMPLETECALLER", "3", "60", "1", agent="PJSIP/alice"))
    assert (passage.interface, passage.agent) == ("PJSIP/alice", Uniqueid("1772452801.2"))
    assert passage.connected_at == CONNECTED.at
    assert passage.talked_until == passage.ended_at == entry(63, "").at
    assert passage.is_over


@pytest.mark.parametrize("event", ["ABANDON", "EXITWITHTIMEOUT", "EXITWITHKEY", "EXITEMPTY"])
def test_who_leaves_unserved_has_talked_to_nobody(event: str) -> None:
    passage = told(ENTERED, entry(9, event))
    assert (passage.connected_at, passage.talked_until, passage.is_over) == (None, None, True)


@pytest.mark.parametrize("event", ["TRANSFER", "BLINDTRANSFER", "ATTENDEDTRANSFER"])
def test_a_talk_that_moved_on_is_not_proved_to_have_stayed_one(event: str) -> None:
    passage = told(ENTERED, CONNECTED, entry(9, event, agent="PJSIP/alice"))
    assert (passage.talked_until, passage.is_over) == (None, True)


def test_a_talk_in_progress_is_not_over() -> None:
    assert not told(ENTERED, CONNECTED).is_over
    assert not told(ENTERED, CONNECTED, entry(5, "RINGNOANSWER", "1000", agent="PJSIP/bob")).is_over


def test_the_last_passage_of_a_caller_counts() -> None:
    passage = told(ENTERED, entry(9, "EXITWITHTIMEOUT"), entry(10, "ENTERQUEUE"))
    assert (passage.entered_at, passage.is_over) == (entry(10, "").at, False)


def test_a_passage_goes_on_where_earlier_lines_left_it() -> None:
    known = passages([ENTERED])
    whole = passages([CONNECTED], known)[CALLER]
    assert (whole.entered_at, whole.interface) == (ENTERED.at, "PJSIP/alice")
    assert known[CALLER].interface is None


def test_lines_of_a_caller_whose_beginning_was_not_read_tell_nothing() -> None:
    assert passages([CONNECTED]) == {}


@given(
    st.lists(
        st.builds(
            entry,
            st.integers(0, 99),
            st.sampled_from(["ENTERQUEUE", "CONNECT", "ABANDON", "COMPLETEAGENT", "BLINDTRANSFER", "NOTICED", ""]),
            caller=st.sampled_from(["1.1", "1.2"]),
        ),
        max_size=12,
    ),
    st.integers(0, 12),
)
def test_lines_told_in_two_parts_tell_the_same(entries: list[Entry], cut: int) -> None:
    assert passages(entries[cut:], passages(entries[:cut])) == passages(entries)


WORDS = [
    ("ENTERQUEUE",),
    ("CONNECT", "3", "1.9"),
    ("COMPLETEAGENT",),
    ("BLINDTRANSFER",),
    ("RINGNOANSWER",),
    ("RECORDERLISTED", "1.9"),
    ("RECORDERKEY", "pause", "1.9"),
    ("RECORDERTOLD", "0b9f2b44-6d7c-4c53-9a55-3f1f6e2a9d01|SUCCESS|2130"),
    ("RECORDERTALK", "began", "1.9"),
    ("RECORDERTALK", "ended", "1.9"),
    ("RECORDERASKED", "1|support|opt_in|1772452800000|f|1.1"),
]
SAID = st.builds(
    lambda words, caller, queue: replace(entry(0, *words, caller=caller), queue=queue),
    st.sampled_from(WORDS),
    st.sampled_from(["1.1", "1.2", "NONE"]),
    st.sampled_from(["support", "canteen"]),
)


@given(st.lists(SAID, max_size=20), st.integers(0, 20))
def test_the_lines_of_calls_tell_all_that_every_line_tells(lines: list[Entry], cut: int) -> None:
    first = of_calls(lines[:cut], {"support"})
    kept = first + of_calls(lines[cut:], {"support"}, {line.uniqueid for line in first})
    assert kept == of_calls(lines, {"support"})
    every, told = told_by(lines, {"support"}), told_by(kept, {"support"})
    assert replace(told, legs=every.legs) == every
    assert unseen_by(kept, {"support"}) == unseen_by(lines, {"support"})


# --------------------------------------------------------------------------- passage by passage


def test_each_passage_is_told_once_as_soon_as_it_is_over() -> None:
    told = each_passage(
        [
            entry(0, "ENTERQUEUE"),
            entry(1, "ENTERQUEUE", caller="other"),
            entry(2, "CONNECT", "2", "agent.1", "1", agent="PJSIP/alice"),
            entry(9, "COMPLETECALLER", "2", "7", "1"),
            entry(12, "ABANDON", "1", "1", "11", caller="other"),
        ]
    )
    assert [(passage.uniqueid, passage.connected_at is not None) for passage in told] == [
        (CALLER, True),
        ("other", False),
    ]


def test_a_caller_who_enters_anew_has_two_passages_and_the_last_may_be_under_way() -> None:
    told = list(each_passage([entry(0, "ENTERQUEUE"), entry(5, "ENTERQUEUE")]))
    assert [(passage.entered_at, passage.is_over) for passage in told] == [
        (datetime.fromtimestamp(START, UTC), False),
        (datetime.fromtimestamp(START + 5, UTC), False),
    ]


def test_all_passages_of_a_caller_through_our_queues_are_one_way() -> None:
    first = [entry(0, "ENTERQUEUE", offset=7), entry(3, "CONNECT", "3", "1772452801.2", agent="PJSIP/alice")]
    moved = [entry(9, "BLINDTRANSFER", "support", "house"), entry(9, "ENTERQUEUE"), entry(20, "ABANDON")]
    elsewhere = [replace(told, queue="canteen") for told in (entry(30, "ENTERQUEUE"), entry(40, "ABANDON"))]
    other = [entry(30, "ENTERQUEUE", caller="1772452830.1")]
    way, under_way = whole_ways([*first, *moved, *elsewhere, *other], {"support"})
    assert (way.entered_at, way.offset, way.connected_at) == (first[0].at, 7, first[1].at)
    assert (way.agent, way.interface, way.talked_until) == ("1772452801.2", "PJSIP/alice", None)
    assert way.ended_at == moved[2].at
    assert (under_way.uniqueid, under_way.is_over) == ("1772452830.1", False)
    assert not whole_ways([*first, *moved[:2]], {"support"})[0].is_over


def test_the_keys_that_our_dialplan_noted_are_read_in_their_order_and_nothing_else_is() -> None:
    lines = (
        entry(0, "ENTERQUEUE"),
        entry(1, "RECORDERKEY", "pause", "1.2"),
        entry(2, "RECORDERKEY", "dance", "1.2"),
        entry(3, "RECORDERKEY", "pause"),
        entry(4, "RECORDERKEY", "resume", "1.2"),
    )
    first, second = keys_noted(lines)
    assert first == NotedKey(at=lines[1].at, act=KeyAct.PAUSE, presser=Uniqueid("1.2"), caller=Uniqueid(CALLER))
    assert second.act is KeyAct.RESUME


def test_a_key_changes_nothing_of_a_passage() -> None:
    assert told(entry(0, "ENTERQUEUE"), entry(1, "RECORDERKEY", "stop", "1.2")) == told(entry(0, "ENTERQUEUE"))


def test_an_agent_who_must_not_be_recorded_is_told_by_the_leg_that_took_the_call() -> None:
    entered = entry(0, "ENTERQUEUE", "", "15550100", "1")
    noted, cut = entry(3, "RECORDERLISTED", "1772452801.2"), entry(3, "RECORDERLISTED", "1772452801.9")
    connected = entry(4, "CONNECT", "3", "1772452801.2", "2", agent="Union")
    assert passages([entered, noted, connected])[CALLER].is_listed
    assert not passages([entered, noted])[CALLER].is_listed
    assert not passages([entered, cut, connected])[CALLER].is_listed, "who had answered first did not take it"


# --------------------------------------------------------------------------- outgoing talks

AGENT = Uniqueid("1772452790.7")


def talk(*told: tuple[int, str, str]) -> Passage | None:
    lines = [entry(second, "RECORDERTALK", word, leg) for second, word, leg in told]
    return passages(lines).get(CALLER)


def at(second: int) -> datetime:
    return datetime.fromtimestamp(START + second, UTC)


BEGAN = (3, "began", AGENT)


def test_an_outgoing_talk_begins_with_its_line() -> None:
    told = talk(BEGAN)
    assert told is not None
    assert (told.is_outgoing, told.queue, told.agent, told.connected_at) == (True, "support", AGENT, at(3))
    assert (told.is_over, told.talked_until) == (False, None)


@pytest.mark.parametrize("legs", [(CALLER, AGENT), (AGENT, CALLER)])
@pytest.mark.parametrize("later", [63, 64])
def test_an_outgoing_talk_is_proved_until_both_legs_hung_up_together(legs: tuple[str, str], later: int) -> None:
    told = talk(BEGAN, (63, "ended", legs[0]), (later, "ended", legs[1]))
    assert told is not None
    assert (told.is_over, told.talked_until) == (True, at(63))


@pytest.mark.parametrize(
    "told",
    [
        pytest.param(((63, "ended", CALLER),), id="the callee's end alone"),
        pytest.param(((63, "ended", AGENT),), id="the agent's end alone"),
        pytest.param(((63, "ended", AGENT), (65, "ended", CALLER)), id="the callee outlived the agent"),
        pytest.param(((63, "ended", CALLER), (65, "ended", AGENT)), id="the agent outlived the callee"),
        pytest.param(((63, "ended", AGENT), (63, "elsewhere", CALLER)), id="the callee was elsewhere"),
        pytest.param(((63, "moved", CALLER), (70, "elsewhere", CALLER)), id="moved, and the agent stays"),
        pytest.param(((63, "ended", "1.1"), (63, "ended", "2.2")), id="legs of nobody"),
    ],
)
def test_an_outgoing_talk_whose_end_is_in_doubt_is_not_proved(told: tuple[tuple[int, str, str], ...]) -> None:
    passage = talk(BEGAN, *told)
    assert passage is not None
    assert passage.talked_until is None


@pytest.mark.parametrize("first", ["agent", "callee"])
def test_a_callee_who_was_moved_talked_until_the_second_before(first: str) -> None:
    lines = [(63, "ended", AGENT), (63, "moved", CALLER)]
    told = talk(BEGAN, *(lines if first == "agent" else lines[::-1]), (90, "elsewhere", CALLER))
    assert told is not None
    assert (told.is_over, told.talked_until) == (True, at(62))


def test_lines_of_a_talk_that_make_no_sense_are_passed_over() -> None:
    assert passages([entry(3, "RECORDERTALK"), entry(3, "RECORDERTALK", "began", "")]) == {}
    assert talk((3, "ended", CALLER)) is None
    assert talk(BEGAN, (4, "slept", CALLER)) == talk(BEGAN)


def test_the_books_take_no_outgoing_talk_for_a_queues() -> None:
    lines = [entry(3, "RECORDERTALK", "began", AGENT), entry(9, "RECORDERTALK", "ended", CALLER)]
    assert list(each_passage(lines)) == []
    assert whole_ways(lines, {"support"}) == []


RECORDING = "0b9f2b44-6d7c-4c53-9a55-3f1f6e2a9d01"


@pytest.mark.parametrize(
    ("text", "status", "played_ms"),
    [
        (f"{RECORDING}|SUCCESS|2130", "SUCCESS", 2130),
        (f" {RECORDING}|FAILED|0 ", "FAILED", 0),
        (f"{RECORDING}|SUCCESS|-40", "SUCCESS", None),
        (f"{RECORDING}|SUCCESS|", "SUCCESS", None),
        (f"{RECORDING}|SUCCESS|1e3", "SUCCESS", None),
        (f"{RECORDING}|SUCCESS|{'9' * 10}", "SUCCESS", None),
        (f"{RECORDING}|{'x' * 99}|1", "x" * 20, 1),
        (f"{RECORDING}", "", None),
    ],
)
def test_what_the_dialplan_says_of_telling_a_caller_is_read(text: str, status: str, played_ms: int | None) -> None:
    said = Telling(recording=RecordingId(UUID(RECORDING)), status=status, played_ms=played_ms)
    assert telling_from_text(text) == said


@pytest.mark.parametrize("text", ["", "|SUCCESS|2130", "no id|SUCCESS|1", f"{RECORDING}|SUCCESS|1|more"])
def test_a_telling_that_names_no_recording_or_says_more_is_none(text: str) -> None:
    assert telling_from_text(text) is None
