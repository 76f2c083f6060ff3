"""AMI's bytes, without a socket: frames, events, actions and answers, each hazard of panoramisk's parser by name."""

from __future__ import annotations

import asyncio
import copy
import pickle
import random
import socket
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from recorder.ami import AmiCounters, AmiDown, AmiUnsendable
from recorder.ami.events import headers_from_frame
from recorder.ami.wire import FRAME_LIMIT, PbxAction, Wire
from recorder.model import ChannelHungUp, PbxEvent, UserEventRaised
from tests.edge.ami_cast import (
    AGENT,
    BANNER,
    CALL,
    CALLER,
    EVERY_EVENT,
    NOT_OURS,
    NOW,
    TRANSFER,
    bridged,
    hangup,
    numbers,
    shown,
)
from tests.fakes.pbx import event, frame, response


class Line(asyncio.Transport):
    """A transport that only remembers what was done to it."""

    def __init__(self, sock: socket.socket | None = None) -> None:
        super().__init__({"socket": sock})
        self.written: list[bytes] = []
        self.aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True


def hear(*pieces: bytes, deliver: Callable[[PbxEvent], None] | None = None) -> tuple[list[PbxEvent], AmiCounters]:
    """What a connection makes of these reads."""
    events: list[PbxEvent] = []
    counters = AmiCounters()

    async def listen() -> None:
        wire = Wire(deliver or events.append, counters, lambda: NOW)
        wire.connection_made(Line())
        for piece in pieces:
            wire.data_received(piece)

    asyncio.run(listen())
    return events, counters


@pytest.mark.parametrize(("said", "meant"), EVERY_EVENT, ids=[type(meant).__name__ for _, meant in EVERY_EVENT])
def test_each_event_is_translated_with_every_field(said: bytes, meant: PbxEvent) -> None:
    assert hear(BANNER + said) == ([meant], AmiCounters(events=1, last_event_at=NOW, stamped=False))


@pytest.mark.parametrize("scenario", [CALL, TRANSFER], ids=["call", "transfer"])
def test_a_scenario_cut_at_any_byte_reads_the_same(scenario: list[bytes]) -> None:
    stream = BANNER + b"".join(scenario)
    whole, _ = hear(stream)
    assert len(whole) == len(scenario)
    for cut in range(1, len(stream)):
        assert hear(stream[:cut], stream[cut:])[0] == whole, f"cut at {cut}"
    assert hear(*(stream[at : at + 1] for at in range(len(stream))))[0] == whole


def test_a_character_torn_by_two_reads_stays_whole() -> None:
    said = event("UserEvent", *shown(CALLER), ("UserEvent", "RecorderKey"), ("Key", "Ёлка"))
    cut = said.index("Ё".encode()) + 1
    (heard,), _ = hear(said[:cut], said[cut:])
    assert isinstance(heard, UserEventRaised)
    assert heard.fields == {"Key": "Ёлка"}


def test_bytes_that_are_no_text_are_replaced_and_harm_nothing() -> None:
    events, _ = hear(hangup(1).replace(b"PJSIP/x", b"PJSIP/\xff\xc3"), hangup(2))
    assert numbers(events) == [1, 2]


def test_events_of_one_read_leave_in_their_order() -> None:
    events, _ = hear(b"".join(hangup(number) for number in range(200)))
    assert numbers(events) == list(range(200))


def test_an_event_that_nobody_needs_is_counted_and_dropped() -> None:
    assert hear(
        NOT_OURS, event("UserEvent", *shown(CALLER), ("UserEvent", "Theirs"), ("UserEvent", "RecorderKey"))
    ) == (
        [],
        AmiCounters(ignored=2, last_event_at=NOW),
    )


@pytest.mark.parametrize("missing", ["Uniqueid", "Linkedid", "BridgeNumChannels", "BridgeUniqueid"])
def test_an_event_that_lacks_a_header_it_needs_is_malformed_and_not_half_true(missing: str) -> None:
    said = bridged("BridgeEnter", CALLER, 2).replace(f"\r\n{missing}:".encode(), f"\r\nNo{missing}:".encode())
    events, counters = hear(said, hangup(2))
    assert numbers(events) == [2]
    assert (len(events), counters.malformed) == (1, 1)


def test_a_number_that_is_none_is_malformed() -> None:
    events, counters = hear(bridged("BridgeEnter", CALLER, 2).replace(b"NumChannels: 2", b"NumChannels: two"))
    assert (events, counters.malformed) == ([], 1)


def test_the_first_of_a_repeated_header_counts() -> None:
    said = event("Hangup", *shown(CALLER), ("Event", "Hold"), ("Uniqueid", "forged"))
    assert hear(said)[0] == [ChannelHungUp(at=NOW, channel=CALLER)]


def test_headers_keep_empty_values_and_every_repetition_whatever_their_case() -> None:
    said = b"Response: Success\r\nAccountCode: \r\nVar: 1\r\nVar: 2\r\nvar: 3\r\nTight:x: y\r\nno colon"
    assert headers_from_frame(said) == {
        "response": ["Success"],
        "accountcode": [""],
        "var": ["1", "2", "3"],
        "tight": ["x: y"],
    }


def test_a_users_fields_hold_neither_asterisks_own_headers_nor_channel_variables() -> None:
    said = event(
        "UserEvent",
        *shown(CALLER),
        ("UserEvent", "RecorderKey"),
        ("Uniqueid", "own"),
        ("ChanVariable", "A=b"),
        ("K", "v"),
    )
    (heard,), _ = hear(said)
    assert isinstance(heard, UserEventRaised)
    assert heard.channel == CALLER
    assert heard.fields == {"Uniqueid": "own", "K": "v"}


def test_what_is_delivered_can_be_compared_copied_and_stored() -> None:
    for said, meant in EVERY_EVENT:
        (heard,), _ = hear(said)
        assert copy.deepcopy(heard) == pickle.loads(pickle.dumps(heard)) == meant


@pytest.mark.parametrize(
    "noise",
    [b"", b"\r\n", b"\r\n\r\n", b"garbage\r\n\r\n", b"\xff\x00\xfe\r\n\r\n", b": \r\n\r\n", b"Event: \r\n\r\n"],
    ids=repr,
)
def test_noise_between_frames_costs_no_frame(noise: bytes) -> None:
    events, _ = hear(BANNER, hangup(1) + noise + hangup(2))
    assert numbers(events) == [1, 2]


@pytest.mark.parametrize("banner", [b"", BANNER, b"Asterisk Call Manager/5.0.4\r\n", BANNER + b"\r\n"], ids=repr)
def test_any_banner_or_none_is_followed_by_the_first_event(banner: bytes) -> None:
    assert numbers(hear(banner + hangup(1))[0]) == [1]


def test_lines_that_end_like_unix_wait_for_the_real_end() -> None:
    events, counters = hear(hangup(1).replace(b"\r\n", b"\n"))
    assert (events, counters) == ([], AmiCounters())


@settings(max_examples=200, deadline=None)
@given(
    noises=st.lists(
        st.one_of(
            st.binary(max_size=200),
            st.sampled_from(
                [b"Event: Hangup", b"Event: BridgeEnter\r\nChannel: x", b"Response: Success\r\nActionID: 1"]
            ),
            st.text("EventRspo: \r\n", max_size=60).map(str.encode),
        ),
        min_size=1,
        max_size=6,
    ),
    seed=st.integers(0, 2**32),
)
def test_whatever_comes_between_frames_never_raises_and_every_good_frame_arrives(
    noises: list[bytes], seed: int
) -> None:
    stream = BANNER + hangup(0)
    for number, noise in enumerate(noises, 1):
        stream += noise + b"\r\n\r\n" + hangup(number)
    cuts = sorted(random.Random(seed).sample(range(len(stream)), 5))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    events, _ = hear(*pieces)
    assert numbers(events) == list(range(len(noises) + 1))


def test_an_exception_in_the_callback_costs_that_event_and_a_count() -> None:
    taken: list[PbxEvent] = []

    def refuse_the_second(heard: PbxEvent) -> None:
        if numbers([heard]) == [2]:
            raise asyncio.QueueFull
        taken.append(heard)

    with capture_logs() as lines:
        _, counters = hear(hangup(1) + hangup(2) + hangup(3), deliver=refuse_the_second)
    assert numbers(taken) == [1, 3]
    assert (counters.events, counters.callback_errors) == (2, 1)
    assert [line["event"] for line in lines] == ["ami_callback_failed"]


async def test_a_frame_without_end_is_cut_off_at_the_limit() -> None:
    counters, line = AmiCounters(), Line()
    wire = Wire(lambda _: None, counters, lambda: NOW)
    wire.connection_made(line)
    wire.data_received(b"x" * FRAME_LIMIT)
    assert not line.aborted
    wire.data_received(b"x")
    assert line.aborted
    assert (await wire.lost, counters.malformed) == ("oversized frame", 1)


async def test_an_action_on_a_closing_connection_is_refused_and_not_dropped_silently() -> None:
    line = Line()
    wire = Wire(lambda _: None, AmiCounters(), lambda: NOW)
    wire.connection_made(line)
    line.abort()
    with pytest.raises(AmiDown):
        wire.send(PbxAction("Ping", {}))
    assert line.written == []


async def test_the_kernel_watches_the_connection_too() -> None:
    with socket.socket() as sock:
        Wire(lambda _: None, AmiCounters(), lambda: NOW).connection_made(Line(sock))
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 5_000


async def test_an_event_under_an_awaited_id_is_an_event_until_the_response_came() -> None:
    events: list[PbxEvent] = []
    wire = Wire(events.append, AmiCounters(), lambda: NOW)
    wire.connection_made(Line())
    action = PbxAction("Status", {}, listing=True)
    answer = wire.send(action)
    token = ("ActionID", action.id)
    early = event("Hangup", *shown(CALLER), token)
    item = frame(("Event", "Status"), *shown(AGENT), token)
    wire.data_received(early + response(dict([token]), "Success", None, ("EventList", "start")) + item)
    assert numbers(events) == [1]
    assert not answer.done()
    wire.data_received(frame(("Event", "StatusComplete"), token, ("EventList", "Complete")))
    assert [reply["event"] for reply in (await answer)[1:]] == [["Status"], ["StatusComplete"]]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("Value", "a\r\nAction: Originate"),
        ("Value", "a\rb"),
        ("Value", "a\nb"),
        ("Value", "a\0b"),
        ("Value", "\ud800"),
        ("Value", "x" * 1024),
        ("Va:lue", "x"),
        ("Va\r\nlue", "x"),
    ],
)
async def test_what_would_break_out_of_its_header_cannot_become_an_action(key: str, value: str) -> None:
    with pytest.raises(AmiUnsendable):
        PbxAction("Setvar", {key: value})


async def test_an_action_does_not_show_what_it_carries() -> None:
    action = PbxAction("Login", {"Secret": "correct horse"})
    assert repr(action) == f"<Login {action.id}>"


async def test_an_action_leaves_the_callers_mapping_as_it_was() -> None:
    fields = {"Channel": "x"}
    wire = Wire(lambda _: None, AmiCounters(), lambda: NOW)
    wire.connection_made(Line())
    answer = wire.send(PbxAction("Getvar", fields))
    assert fields == {"Channel": "x"}
    assert not answer.done()
