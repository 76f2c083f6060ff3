"""The local journal's records: whatever is cut off or changed, nothing is read that was not written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.catalogue import JournalRow
from recorder.daemon.keeping import kept, record_of_sight, record_of_step
from recorder.local_journal import Reading, framed, read
from recorder.local_journal.codec import HEADER_BYTES, LONGEST, MAGIC
from recorder.model import CallId

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
CALL = CallId(UUID(int=7))
RECORDS = st.lists(st.one_of(st.binary(max_size=40), st.binary(max_size=8).map(lambda junk: MAGIC + junk)), max_size=6)
"""Some look like the beginning of a record of ours."""


def whole(records: list[bytes]) -> bytes:
    return b"".join(map(framed, records))


@given(records=RECORDS)
def test_what_was_framed_is_read_back_in_its_order(records: list[bytes]) -> None:
    data = whole(records)
    assert read(data) == Reading(records=tuple(records), good_bytes=len(data))


@given(records=RECORDS.filter(bool))
def test_cut_at_every_byte_the_whole_records_are_read_and_the_rest_is_torn(records: list[bytes]) -> None:
    data = whole(records)
    for length in range(len(data)):
        found = read(data[:length])
        assert found.records == tuple(records[: len(found.records)])
        assert found.torn is (found.good_bytes < length)
        assert not found.damaged
        assert len(whole(list(found.records))) == found.good_bytes


@given(records=RECORDS.filter(bool), data=st.data())
def test_a_flipped_bit_is_damage_and_everything_before_it_is_read(records: list[bytes], data: st.DataObject) -> None:
    written = bytearray(whole(records))
    bit = data.draw(st.integers(0, 8 * len(written) - 1))
    written[bit // 8] ^= 1 << bit % 8
    found = read(bytes(written))
    before = [index for index in range(len(records)) if len(whole(records[: index + 1])) * 8 <= bit]
    assert found.records == tuple(records[: len(before)])
    assert found.damaged
    assert not found.torn


@given(records=RECORDS, junk=st.binary(min_size=1, max_size=60).filter(lambda junk: junk.strip(b"\0")))
def test_strange_bytes_in_the_middle_are_damage_and_what_is_whole_behind_them_is_found(
    records: list[bytes], junk: bytes
) -> None:
    behind = [b"behind", b"and one more"]
    found = read(whole(records) + b"?" + junk + whole(behind))
    assert found.records == tuple(records)
    assert found.damaged
    assert found.later[-2:] == tuple(behind)


def test_zeros_behind_the_end_are_what_a_file_system_leaves_of_a_cut_write() -> None:
    assert read(framed(b"one") + bytes(40)) == Reading(records=(b"one",), good_bytes=HEADER_BYTES + 3, torn=True)


@given(st.binary(max_size=300))
def test_any_bytes_are_read_without_an_error_and_without_a_record_that_nobody_wrote(junk: bytes) -> None:
    assert read(junk).records == ()


def test_a_record_that_is_too_long_is_refused_when_it_is_written() -> None:
    with pytest.raises(ValueError, match="at most"):
        framed(bytes(LONGEST + 1))


# --------------------------------------------------------------------------- what the records say


def row(seq: int, **fields: str) -> JournalRow:
    return JournalRow(
        seq=seq,
        at=NOON + timedelta(seconds=seq),
        name="HoldBegan",
        old_phase="talking",
        new_phase="apart",
        fields={"at": '"then"'} | fields,
    )


@given(st.lists(st.text(), max_size=3))
def test_a_step_is_read_back_as_it_was_whatever_its_fields_hold(texts: list[str]) -> None:
    rows = [row(seq, **{f"f{seq}": text}) for seq, text in enumerate(texts, 1)]
    records = tuple(record_of_step(CALL, step) for step in rows)
    assert kept(Reading(records=records)).steps == ({CALL: rows} if rows else {})


def test_a_lone_surrogate_of_an_undecodable_name_is_kept() -> None:
    odd = row(1, name="\udcff")
    assert kept(Reading(records=(record_of_step(CALL, odd),))).steps == {CALL: [odd]}


def test_the_last_sight_counts_and_the_time_of_the_last_record_is_known() -> None:
    found = kept(Reading(records=(record_of_sight(NOON), record_of_step(CALL, row(9)), record_of_sight(NOON))))
    assert (found.seen_at, found.known_at, found.damaged) == (NOON, NOON + timedelta(seconds=9), False)


def test_a_whole_record_that_says_nothing_we_know_is_damage_and_ends_what_is_believed() -> None:
    records = (record_of_step(CALL, row(1)), b'{"of": "another version"}', record_of_step(CALL, row(2)))
    found = kept(Reading(records=records))
    assert found.damaged
    assert found.steps == {CALL: [row(1)]}


def test_steps_behind_the_damage_are_told_apart() -> None:
    later = (b"junk that is framed well", record_of_step(CALL, row(3)))
    found = kept(Reading(records=(record_of_step(CALL, row(1)),), damaged=True, later=later))
    assert (found.steps, found.later) == ({CALL: [row(1)]}, {CALL: [row(3)]})
