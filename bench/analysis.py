"""How fast an hour of stereo is settled and fully analysed, beside `sox stat` and ffmpeg's astats on the same file.

    python bench/analysis.py [--minutes 60]

One run, warm page cache, best of three each, taken in turns so that a busy moment hits all alike. Ours is what the
daemon does (`Storage.measure`, which also maps silence and draws the waveform), in a process that is already running;
the others are timed with the start of theirs. Exits 1 where a target is missed or could not be measured.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import wave
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import numpy as np
import soundfile

from recorder.model import RecordingId
from recorder.storage import Spool, Storage

RATE = 8000
ROUNDS = 3
RECORDING = RecordingId(UUID(int=1))
AT = datetime(2026, 1, 1, tzinfo=UTC)
TARGETS = {"sox stat": 1.3, "ffmpeg astats": 8.0}


def commands(path: Path) -> dict[str, list[str]]:
    """Return the yardsticks, each as one command that reads the whole file."""
    return {
        "sox stat": ["sox", str(path), "-n", "stat"],
        "ffmpeg astats": ["ffmpeg", "-nostdin", "-v", "error", "-i", str(path), "-af", "astats", "-f", "null", "-"],
    }


def put_leg(path: Path, minutes: int, seed: int) -> None:
    """Write one direction: ten-second turns of noise and of faint line noise, the two legs taking turns."""
    random = np.random.default_rng(seed)
    talk = random.normal(0, 3000, 10 * RATE).clip(-32124, 32124).astype("<i2").tobytes()
    pause = random.normal(0, 20, 10 * RATE).astype("<i2").tobytes()
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE)
        for turn in range(minutes * 6):
            out.writeframes(talk if turn % 2 == seed % 2 else pause)


def timed(act: Callable[[], object]) -> float:
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


def run(command: list[str]) -> None:
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True, timeout=600)


def measured(storage: Storage) -> dict[str, float]:
    """Return the best seconds of each act by name; settling is the join, the digest, and two syncs."""
    acts: dict[str, Callable[[], object]] = {
        "settle": lambda: storage.settle(RECORDING, AT, replace=True),
        "recorder": lambda: storage.measure(RECORDING, AT),
    }
    for name, command in commands(storage.path(RECORDING, AT)).items():
        if shutil.which(command[0]):
            acts[name] = lambda command=command: run(command)  # type: ignore[misc]
    best = dict.fromkeys(acts, float("inf"))
    for _ in range(ROUNDS):
        for name, act in acts.items():
            best[name] = min(best[name], timed(act))
    return best


def report(best: dict[str, float], minutes: int) -> bool:
    """Print the figures and return whether every target was measured and met."""
    for name, seconds in best.items():
        print(f"{name:<16}{seconds * 1000:>9.0f} ms{minutes * 60 / seconds:>12,.0f} x real time")
    good = True
    for name, target in TARGETS.items():
        if name not in best:
            print(f"not measured: {name}; apt-get install {name.split()[0]}")
            good = False
            continue
        ratio = best[name] / best["recorder"]
        good = good and ratio >= target
        print(
            f"recorder / {name}: {ratio:.2f} times as fast (target {target}): {'met' if ratio >= target else 'missed'}"
        )
    print(f"peak resident memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")
    return good


def describe_machine() -> str:
    return (
        f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, "
        f"Python {platform.python_version()}, numpy {np.__version__}, libsndfile {soundfile.__libsndfile_version__}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=int, default=60, help="length of the recording (60)")
    minutes = parser.parse_args().minutes
    with tempfile.TemporaryDirectory(prefix="recorder-bench-") as name:
        spool, root = Path(name, "spool"), Path(name, "recordings")
        spool.mkdir()
        root.mkdir()
        storage = Storage(root, Spool(spool))
        for seed, path in enumerate(storage.spool.paths(RECORDING)):
            put_leg(path, minutes, seed)
        print(f"{minutes} minutes of stereo, {RATE} Hz, 16 bit, on {describe_machine()}")
        return 0 if report(measured(storage), minutes) else 1


if __name__ == "__main__":
    sys.exit(main())
