"""How fast AMI's bytes become typed events: ours beside panoramisk as shipped and other Python clients, in one run.

    python bench/ami.py [--calls 1000] [--runs 3]

One server process writes the same stream to each client in turn; each client is a process of its own, and its CPU time
counts from the first byte asked for to the last event heard, so a busy machine disturbs the figures little. The runs go
round robin and the median stands. "ours" is the whole path of the product: typed events, in order, in a queue for each
call. The others hand over their own event objects and sort nothing. "raw socket" only counts blank lines: the floor.

Other clients are installed into .cache/bench-clients (their packages would collide with ours); without a package index
they are left out, and the reason is printed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
OTHERS = ROOT / ".cache" / "bench-clients"
PACKAGES = ["asterisk-ami==0.1.7", "basicami==0.1.0"]
TOGETHER = 20  # calls in progress at once: their events alternate
END = b"\r\n\r\n"

# ---------------------------------------------------------------------------------------------- the stream

BRIDGE = (
    "BridgeUniqueid: {bridge}\r\nBridgeType: basic\r\nBridgeTechnology: simple_bridge\r\nBridgeCreator: <unknown>\r\n"
    "BridgeName: <unknown>\r\nBridgeNumChannels: {count}\r\nBridgeVideoSourceMode: none\r\n"
)
MEMBER = (
    "Queue: support\r\nMemberName: Agent One\r\nInterface: Local/agent1@agents/n\r\nStateInterface: PJSIP/agent1\r\n"
    "Membership: static\r\nPenalty: 0\r\nCallsTaken: 12\r\nLastCall: 1795298000\r\nLastPause: 0\r\n"
    "LoginTime: 1795290000\r\n"
    "InCall: 1\r\nStatus: 2\r\nPaused: 0\r\nPausedReason: \r\nRinginuse: 0\r\nWrapuptime: 0\r\n"
)


def snapshot(number: int, leg: int, prefix: str = "") -> str:
    name = ("PJSIP/caller", "Local/agent1@agents", "Local/agent1@agents", "PJSIP/agent1")[leg]
    headers = (
        ("Channel", f"{name}-{number:08x}" + ("", ";1", ";2", "")[leg]),
        ("ChannelState", 6),
        ("ChannelStateDesc", "Up"),
        ("CallerIDNum", f"1800555{number % 10000:04d}"),
        ("CallerIDName", "Caller Name"),
        ("ConnectedLineNum", "<unknown>"),
        ("ConnectedLineName", "<unknown>"),
        ("Language", "en"),
        ("AccountCode", ""),
        ("Context", "from-outside"),
        ("Exten", "support"),
        ("Priority", 7),
        ("Uniqueid", f"1795298000.{number * 4 + leg}"),
        ("Linkedid", f"1795298000.{number * 4}"),
    )
    return "".join(f"{prefix}{key}: {value}\r\n" for key, value in headers)


def one_call(number: int) -> list[bytes]:
    """A queued call with a Local member, a hold and a capture, as an account with read=call,agent,user sees it."""
    bridge = f"7d0c9a52-0000-4000-8000-{number:012d}"
    leg = [snapshot(number, index) for index in range(4)]
    queued = "Queue: support\r\nPosition: 1\r\nCount: 1\r\n"
    agent = (
        snapshot(number, 1, "Dest") + "Queue: support\r\nMemberName: Agent One\r\nInterface: Local/agent1@agents/n\r\n"
    )
    halves = snapshot(number, 1, "LocalOne") + snapshot(number, 2, "LocalTwo")
    mute = leg[0] + "Direction: both\r\nState: 1\r\n"
    script: list[tuple[str, str]] = [
        ("Newchannel", leg[0]),
        ("Newstate", leg[0]),
        ("Newstate", leg[0]),
        ("UserEvent", leg[0] + "UserEvent: RecorderAnswer\r\nAnswer: given\r\nLine: support\r\n"),
        ("MixMonitorStart", leg[0]),
        ("QueueCallerJoin", leg[0] + queued),
        ("MusicOnHoldStart", leg[0] + "Class: default\r\n"),
        ("Newchannel", leg[1]),
        ("Newchannel", leg[2]),
        ("LocalBridge", halves + "Context: agents\r\nExten: agent1\r\nLocalOptimization: No\r\n"),
        ("NewConnectedLine", leg[1]),
        ("NewConnectedLine", leg[2]),
        ("AgentCalled", leg[0] + agent),
        ("DialBegin", leg[0] + snapshot(number, 1, "Dest") + "DialString: Local/agent1@agents/n\r\n"),
        ("Newchannel", leg[3]),
        ("DialBegin", leg[2] + snapshot(number, 3, "Dest") + "DialString: agent1\r\n"),
        ("NewConnectedLine", leg[3]),
        ("Newstate", leg[3]),
        ("DialState", leg[2] + snapshot(number, 3, "Dest") + "DialStatus: RINGING\r\n"),
        ("QueueMemberStatus", MEMBER),
        ("DialState", leg[0] + snapshot(number, 1, "Dest") + "DialStatus: RINGING\r\n"),
        ("Newstate", leg[3]),
        ("DialEnd", leg[2] + snapshot(number, 3, "Dest") + "DialStatus: ANSWER\r\n"),
        ("BridgeCreate", BRIDGE.format(bridge=bridge + "b", count=0)),
        ("BridgeEnter", BRIDGE.format(bridge=bridge + "b", count=1) + leg[3]),
        ("BridgeEnter", BRIDGE.format(bridge=bridge + "b", count=2) + leg[2]),
        ("NewConnectedLine", leg[3]),
        ("AgentRingNoAnswer", leg[0] + agent + "RingTime: 15000\r\n"),
        ("DialEnd", leg[0] + snapshot(number, 1, "Dest") + "DialStatus: ANSWER\r\n"),
        ("MusicOnHoldStop", leg[0]),
        ("QueueCallerLeave", leg[0] + queued),
        ("AgentConnect", leg[0] + agent + "RingTime: 2\r\nHoldTime: 3\r\n"),
        ("QueueMemberStatus", MEMBER),
        ("BridgeCreate", BRIDGE.format(bridge=bridge, count=0)),
        ("BridgeEnter", BRIDGE.format(bridge=bridge, count=1) + leg[1]),
        ("BridgeEnter", BRIDGE.format(bridge=bridge, count=2) + leg[0]),
        ("NewConnectedLine", leg[0]),
        ("Hold", leg[3] + "MusicClass: default\r\n"),
        ("MusicOnHoldStart", leg[2] + "Class: default\r\n"),
        ("MixMonitorMute", mute),
        ("Unhold", leg[3]),
        ("MusicOnHoldStop", leg[2]),
        ("MixMonitorMute", mute),
        ("HangupRequest", leg[3] + "Cause: 16\r\n"),
        ("BridgeLeave", BRIDGE.format(bridge=bridge + "b", count=1) + leg[3]),
        ("BridgeLeave", BRIDGE.format(bridge=bridge + "b", count=0) + leg[2]),
        ("BridgeDestroy", BRIDGE.format(bridge=bridge + "b", count=0)),
        ("Hangup", leg[3] + "Cause: 16\r\nCause-txt: Normal Clearing\r\n"),
        ("SoftHangupRequest", leg[1] + "Cause: 16\r\n"),
        ("BridgeLeave", BRIDGE.format(bridge=bridge, count=1) + leg[1]),
        ("Hangup", leg[2] + "Cause: 16\r\nCause-txt: Normal Clearing\r\n"),
        ("Hangup", leg[1] + "Cause: 16\r\nCause-txt: Normal Clearing\r\n"),
        ("AgentComplete", leg[0] + agent + "HoldTime: 3\r\nTalkTime: 180\r\nReason: agent\r\n"),
        ("QueueMemberStatus", MEMBER),
        ("DeviceStateChange", "Device: PJSIP/agent1\r\nState: NOT_INUSE\r\n"),
        ("BridgeLeave", BRIDGE.format(bridge=bridge, count=0) + leg[0]),
        ("BridgeDestroy", BRIDGE.format(bridge=bridge, count=0)),
        ("MixMonitorStop", leg[0]),
        ("SoftHangupRequest", leg[0] + "Cause: 16\r\n"),
        ("Hangup", leg[0] + "Cause: 16\r\nCause-txt: Normal Clearing\r\n"),
    ]
    return [f"Event: {name}\r\nPrivilege: call,all\r\n{body}\r\n".encode() for name, body in script]


def stream(calls: int) -> list[bytes]:
    """`calls` calls, TOGETHER of them at a time, their events taking turns."""
    frames: list[bytes] = []
    for start in range(0, calls, TOGETHER):
        together = [one_call(number) for number in range(start, min(start + TOGETHER, calls))]
        frames += [said for turn in zip(*together, strict=True) for said in turn]
    return frames


# ---------------------------------------------------------------------------------------------- the server


def serve(calls: int) -> None:
    """One client after the other: answer its login, then write the whole stream when it asks on the control socket."""
    data = b"".join(stream(calls))
    with listening() as ami, listening() as control:
        print(ami.getsockname()[1], control.getsockname()[1], flush=True)
        while True:
            client, _ = ami.accept()
            writing = threading.Lock()
            threading.Thread(target=answer, args=(client, writing), daemon=True).start()
            asked, _ = control.accept()
            with asked, writing:
                asked.recv(2)
                with contextlib.suppress(ConnectionError):
                    client.sendall(data)


def listening() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


def answer(client: socket.socket, writing: threading.Lock) -> None:
    client.sendall(b"Asterisk Call Manager/11.0.0\r\n")
    held = b""
    with contextlib.suppress(ConnectionError):
        while read := client.recv(65536):
            *actions, held = (held + read).split(END)
            for action in actions:
                headers = dict(line.split(": ", 1) for line in action.decode().split("\r\n") if ": " in line)
                more = "Challenge: 1\r\nCoreStartupDate: d\r\nCoreStartupTime: t\r\nAsteriskVersion: 22.10.1\r\n"
                reply = f"Response: Success\r\nActionID: {headers.get('ActionID', '')}\r\nMessage: ok\r\n{more}\r\n"
                with writing:
                    client.sendall(reply.encode())


# ---------------------------------------------------------------------------------------------- the clients

Report = dict[str, float]


class Stopwatch:
    """From the moment the stream is asked for to the moment the last event was heard."""

    def __init__(self, control: int) -> None:
        self._control = control
        self.result: Report = {}

    def start(self) -> None:
        with socket.create_connection(("127.0.0.1", self._control)) as control:
            control.sendall(b"go")
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def stop(self) -> None:
        self.result = {"wall": time.perf_counter() - self._wall, "cpu": time.process_time() - self._cpu}


def raw_socket(port: int, total: int, watch: Stopwatch) -> None:
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.sendall(b"Action: Login" + END)
        sock.recv(65536)
        watch.start()
        seen, tail = 0, b""
        while seen < total:
            read = tail + sock.recv(262144)
            seen += read.count(END)
            tail = b"" if read.endswith(END) else read[-3:]
        watch.stop()


def panoramisk_as_shipped(port: int, total: int, watch: Stopwatch) -> None:
    from panoramisk import Manager

    async def run() -> None:
        done = asyncio.Event()
        seen = 0

        def hear(_manager: Any, _event: Any) -> None:
            nonlocal seen
            seen += 1
            if seen == total:
                watch.stop()
                done.set()

        manager = Manager(loop=asyncio.get_running_loop(), port=port, username="u", secret="s", ping_delay=3600)
        manager.register_event("*", hear)
        await manager.connect()
        await asyncio.sleep(0)  # let its own callback adopt the connection
        await manager.authenticated_future
        watch.start()
        await done.wait()
        manager.close()

    asyncio.run(run())


def ours(port: int, total: int, watch: Stopwatch) -> None:
    sys.path.insert(0, str(ROOT))
    import logging

    import structlog

    from recorder.ami import Ami, AmiAddress
    from recorder.ami.events import EVENTS
    from recorder.model import ChannelHungUp, DialBegan, LocalBridged, PbxEvent

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    names = [said.split(b"\r\n", 1)[0].removeprefix(b"Event: ") for said in one_call(0)]
    needed = sum(name in EVENTS for name in names)
    calls: defaultdict[str, deque[PbxEvent]] = defaultdict(deque)
    expected = needed * total // len(names)
    seen = 0

    async def run() -> None:
        done = asyncio.Event()
        up = asyncio.Event()

        def deliver(event: PbxEvent) -> None:
            nonlocal seen
            kind = type(event)
            if kind is LocalBridged:
                channel = event.one  # type: ignore[attr-defined]
            elif kind is DialBegan:
                channel = event.dialled  # type: ignore[attr-defined]
            else:
                channel = event.channel  # type: ignore[attr-defined]
            calls[channel.linkedid].append(event)
            seen += 1
            if seen == expected:
                watch.stop()
                done.set()

        address = AmiAddress(host="127.0.0.1", port=port, username="u", secret="s")
        async with Ami(address, deliver, connected=lambda _: up.set()) as ami:
            await up.wait()
            watch.start()
            await done.wait()
            assert ami.counters.ignored == total - expected, ami.counters
            assert ami.counters.malformed == ami.counters.callback_errors == 0, ami.counters

    asyncio.run(run())
    assert all(len(events) == needed and isinstance(events[-1], ChannelHungUp) for events in calls.values())


def asterisk_ami(port: int, total: int, watch: Stopwatch) -> None:
    from asterisk.ami import AMIClient

    done = threading.Event()
    seen = 0

    def hear(**_: Any) -> None:
        nonlocal seen
        seen += 1
        if seen == total:
            watch.stop()
            done.set()

    client = AMIClient(port=port)
    client.add_event_listener(hear)
    client.login("u", "s").get_response()
    watch.start()
    done.wait()
    client.disconnect()


def basicami(port: int, total: int, watch: Stopwatch) -> None:
    from basicami import BasicAMI  # type: ignore[import-not-found,unused-ignore]

    async def run() -> None:
        client = await BasicAMI.connect("127.0.0.1", port, "u", "s")
        watch.start()
        seen = 0
        while seen < total:
            seen += len(await client.get_events(timeout=0.05))
        watch.stop()
        await client.close()

    asyncio.run(run())


CLIENTS: dict[str, tuple[str, Callable[[int, int, Stopwatch], None], bool]] = {
    "raw": ("raw socket, counting only", raw_socket, False),
    "ours": ("ours, typed and in order per call", ours, False),
    "panoramisk": ("panoramisk 1.4 as shipped, sync callback", panoramisk_as_shipped, False),
    "asterisk-ami": ("asterisk-ami 0.1.7", asterisk_ami, True),
    "basicami": ("basicami 0.1.0", basicami, True),
}


# ---------------------------------------------------------------------------------------------- the run


@dataclass(frozen=True)
class Figures:
    wall: float
    cpu: float


def others_python() -> str | None:
    """The interpreter that has the other clients; None, with the reason printed, where they cannot be had."""
    python = OTHERS / "bin" / "python"
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        subprocess.run([python, "-c", "import asterisk.ami, basicami"], check=True, capture_output=True)
        return str(python)
    for step in ([sys.executable, "-m", "venv", str(OTHERS)], [str(python), "-m", "pip", "install", "-q", *PACKAGES]):
        made = subprocess.run(step, capture_output=True, text=True, check=False)
        if made.returncode:
            reason = (made.stderr or made.stdout).strip().splitlines()[-1:]
            print(f"left out: {', '.join(PACKAGES)}: {' '.join(reason)}")
            return None
    return str(python)


@contextlib.contextmanager
def server(calls: int) -> Iterator[tuple[str, str]]:
    command = [sys.executable, __file__, "--serve", "--calls", str(calls)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            ami, control = process.stdout.readline().split()
            yield ami, control
        finally:
            process.terminate()


def measure(name: str, python: str, calls: int, ports: tuple[str, str]) -> Figures:
    command = [python, __file__, "--client", name, "--calls", str(calls), "--ports", *ports]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr}")
    return Figures(**json.loads(done.stdout))


def be_client(name: str, calls: int, ports: list[int]) -> None:
    watch = Stopwatch(ports[1])
    CLIENTS[name][1](ports[0], calls * len(one_call(0)), watch)
    print(json.dumps(watch.result), flush=True)
    os._exit(0)  # some clients leave threads behind


def run(calls: int, runs: int) -> bool:
    """Measure, print, and say whether both aims were met."""
    frames = stream(calls)
    size, headers = sum(map(len, frames)) / len(frames), sum(said.count(b"\r\n") - 1 for said in frames) / len(frames)
    print(
        f"{platform.python_implementation()} {platform.python_version()}, {os.cpu_count()} cores, {platform.machine()}"
    )
    print(f"{len(frames)} events of {calls} calls, mean {size:.0f} bytes, {headers:.1f} headers; median of {runs} runs")
    pythons = {True: others_python(), False: sys.executable}
    taking_part = [(name, python) for name, (_, _, other) in CLIENTS.items() if (python := pythons[other])]
    taken: dict[str, list[Figures]] = {name: [] for name, _ in taking_part}
    with server(calls) as ports:
        for _ in range(runs):
            for name, python in taking_part:
                taken[name].append(measure(name, python, calls, ports))
    cpu = {name: statistics.median(one.cpu for one in figures) for name, figures in taken.items()}
    print(f"\n{'':42}{'events/s':>10}{'us CPU/event':>14}{'panoramisk = 1':>16}")
    for name, figures in sorted(taken.items(), key=lambda item: cpu[item[0]]):
        rate = len(frames) / statistics.median(one.wall for one in figures)
        micros = cpu[name] / len(frames) * 1e6
        print(f"{CLIENTS[name][0]:42}{rate:>10,.0f}{micros:>14.2f}{cpu['panoramisk'] / cpu[name]:>16.2f}")
    fastest = min(value for name, value in cpu.items() if name not in ("raw", "ours"))
    twice, ahead = cpu["panoramisk"] / cpu["ours"], fastest / cpu["ours"]
    print(
        f"\nours: {twice:.2f} times panoramisk as shipped (aim 2), {ahead:.2f} times the fastest other client (aim 1)"
    )
    return twice >= 2 and ahead >= 1


def main() -> None:
    parser = argparse.ArgumentParser(description="AMI: bytes to typed events, beside other clients.")
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--client", help=argparse.SUPPRESS)
    parser.add_argument("--ports", type=int, nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.serve:
        serve(asked.calls)
    elif asked.client:
        be_client(asked.client, asked.calls, asked.ports)
    else:
        raise SystemExit(0 if run(asked.calls, asked.runs) else 1)


if __name__ == "__main__":
    main()
