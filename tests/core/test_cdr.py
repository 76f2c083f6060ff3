"""The CDR: what a row shows of a line, whichever columns the house has chosen, and when its channel was made."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from recorder.cdr import Cdr, CdrRow, Columns, Sign, SignKind, columns_of, sign_of
from recorder.model import Linkedid, Uniqueid
from recorder.rotated import Place

patient = hypothesis_settings(deadline=None)  # the machine may be busy
MADE = 1_772_452_800


def written(
    *,
    uniqueid: str | None = f"{MADE}.7",
    linkedid: str | None = f"{MADE}.6",
    userfield: str | None = None,
    context: str = "line",
    application: str = "Queue",
    data: str = "support,tb(recorder-agent^s^1(support)),,,300",
    clid: str = '"" <15550100>',
    start: str = "2026-03-02 14:00:00",
    reached: str = "PJSIP/a-2",
) -> bytes:
    """A row as cdr_csv of Asterisk 16 and 22 writes it."""
    columns = ["", "15550100", "support", context, clid, "PJSIP/trunk-1", reached, application, data]
    columns += [start, start, start, "65", "60", "ANSWERED", "DOCUMENTATION"]
    columns += [column for column in (uniqueid, userfield) if column is not None]
    columns += ["", linkedid, "3"] if linkedid is not None else []
    line = io.StringIO()
    csv.writer(line, quoting=csv.QUOTE_ALL, lineterminator="\n").writerow(columns)
    return line.getvalue().encode()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "Master.csv"


def rows(path: Path, *lines: bytes) -> list[CdrRow]:
    path.write_bytes(b"".join(lines))
    return list(Cdr(path).every())


def test_a_row_is_read_with_its_ids_and_its_sign(path: Path) -> None:
    (row,) = rows(path, written())
    assert row == CdrRow(
        uniqueid=Uniqueid(f"{MADE}.7"),
        linkedid=Linkedid(f"{MADE}.6"),
        made_at=datetime.fromtimestamp(MADE, UTC),
        lasted=timedelta(seconds=65),
        talked=timedelta(seconds=60),
        reached=True,
        sign=Sign(kind=SignKind.QUEUE, name="support"),
    )


@pytest.mark.parametrize("userfield", [None, "", "free text, with a comma"])
def test_the_userfield_may_be_there_or_not(path: Path, userfield: str | None) -> None:
    (row,) = rows(path, written(userfield=userfield))
    assert row.linkedid == f"{MADE}.6"
    assert columns_of(path) == Columns(uniqueid=True, linkedid=True)


def test_without_the_newer_columns_there_is_no_linkedid(path: Path) -> None:
    (row,) = rows(path, written(linkedid=None))
    assert (row.uniqueid, row.linkedid) == (f"{MADE}.7", None)
    assert columns_of(path) == Columns(uniqueid=True, linkedid=False)


def test_a_row_without_uniqueid_is_passed_over_and_counted(path: Path) -> None:
    path.write_bytes(written(uniqueid=None, linkedid=None))
    cdr = Cdr(path)
    assert list(cdr.every()) == []
    assert (cdr.senseless, cdr.without_uniqueid) == (1, 1)
    assert columns_of(path) == Columns(uniqueid=False, linkedid=False)


def test_the_time_is_the_uniqueids_whatever_zone_the_pbx_writes_in(path: Path) -> None:
    early, late = rows(path, written(start="2026-03-02 02:00:00"), written(start="2026-03-03 01:00:00"))
    assert early.made_at == late.made_at == datetime.fromtimestamp(MADE, UTC)


def test_a_system_name_before_the_uniqueid_hides_no_time(path: Path) -> None:
    (row,) = rows(path, written(uniqueid=f"pbx-1-{MADE}.7"))
    assert row.made_at == datetime.fromtimestamp(MADE, UTC)


def test_a_uniqueid_that_somebody_chose_takes_the_rows_own_time(path: Path) -> None:
    (row,) = rows(path, written(uniqueid="their-own-id"))
    assert row.made_at == datetime(2026, 3, 2, 14, tzinfo=UTC)


def test_whether_anybody_was_dialled_is_told(path: Path) -> None:
    assert [row.reached for row in rows(path, written(), written(reached=""))] == [True, False]


def test_quotes_and_commas_in_a_callers_name_move_no_column(path: Path) -> None:
    (row,) = rows(path, written(clid='"a ""b"", c" <1>, "Queue","support"'))
    assert row.sign == Sign(kind=SignKind.QUEUE, name="support")


@patient
@given(st.binary(max_size=300))
def test_whatever_stands_in_the_file_it_is_read_to_its_end(
    tmp_path_factory: pytest.TempPathFactory, mess: bytes
) -> None:
    path = tmp_path_factory.mktemp("mess") / "Master.csv"
    found = rows(path, mess.replace(b"\n", b" ") + b"\n", written())
    assert found[-1].uniqueid == f"{MADE}.7"


@pytest.mark.parametrize(
    ("context", "application", "data", "expected"),
    [
        ("line", "Queue", "support,t,,,300", Sign(kind=SignKind.QUEUE, name="support")),
        ("line", "AGI", "agi://127.0.0.1:4573/inbound,support,1.2", Sign(kind=SignKind.DIALOGUE, name="support")),
        ("line", "AGI", "agi://127.0.0.1:4573/other,support", None),
        ("line", "AGI", "/usr/share/house.agi,inbound,support", None),
        (
            "out",
            "Dial",
            "PJSIP/1@trunk,60,gU(recorder-callee^support)",
            Sign(kind=SignKind.DIALLED, name="support"),
        ),
        ("out", "Dial", "PJSIP/1@trunk,60,gU(recorder-callee^supp", None),  # cut by Asterisk: its line is not known
        ("personal", "Dial", "PJSIP/2001,60", None),
        ("recorder-outbound-leg", "Hangup", "", Sign(kind=SignKind.ASKED)),
        ("recorder-key-leg", "AGI", "agi://127.0.0.1:4573/key,x", Sign(kind=SignKind.OWN)),
        ("recorder-doctor", "Wait", "1", Sign(kind=SignKind.OWN)),
    ],
)
def test_what_a_row_shows_of_a_line(context: str, application: str, data: str, expected: Sign | None) -> None:
    assert sign_of(context=context, application=application, data=data) == expected


def test_new_rows_are_read_on_from_a_place(path: Path) -> None:
    path.write_bytes(written())
    cdr = Cdr(path)
    place = cdr.end()
    assert place is not None
    with path.open("ab") as file:
        file.write(written(uniqueid=f"{MADE}.9") + b'"half a row')
    (row,), onwards = cdr.read(place)
    assert row.uniqueid == f"{MADE}.9"
    assert cdr.read(onwards) == ([], onwards)


def test_no_file_yet_is_no_row(path: Path) -> None:
    nowhere = Place(inode=0, offset=0)
    assert Cdr(path).read(nowhere) == ([], nowhere)
    assert Cdr(path).end() is None
    path.touch()
    assert columns_of(path) is None


def test_a_caller_who_left_while_the_dialplan_asked_by_itself_is_one_of_the_line() -> None:
    asked = sign_of(context="recorder-fallback-support", application="BackGround", data="/prompts/en/question,n")
    assert asked == Sign(kind=SignKind.DIALOGUE, name="support")
