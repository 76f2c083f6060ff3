"""What a bench or the fault judge calls staged is what Asterisk wrote, whatever the recorder has overwritten since."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.centre import THREADS
from tests.as_written import told
from tests.faults.scene import SHIM

SETTLES = """
import math
from pathlib import Path
from uuid import UUID
from recorder.model import RecordingId
from recorder.storage import Spool

spool = Spool(Path({spool!r}))
recording = RecordingId(UUID("0b9f2b44-6d7c-4c53-9a55-3f1f6e2a9d01"))
names = [path.name for path in spool.paths(recording)]
for path in spool.paths(recording):
    path.write_bytes(b"as Asterisk wrote it")
spool.overwrite(recording, ((0.0, math.inf),))
assert all(not any(path.read_bytes()) for path in spool.paths(recording))
spool.discard(recording)
print(*names)
"""


@pytest.mark.parametrize("shim", [THREADS, SHIM])
def test_the_staged_files_are_copied_before_the_recorder_overwrites_them(shim: Path, tmp_path: Path) -> None:
    spool, raw = tmp_path / "spool", tmp_path / "raw"
    for folder in (spool, raw):
        folder.mkdir(mode=0o700)
    done = subprocess.run(
        [sys.executable, "-c", SETTLES.format(spool=str(spool))],
        env={**os.environ, **told(shim, raw)},
        capture_output=True,
        text=True,
        check=True,
    )
    copies = {path.name.split(".")[0] + ".wav": path.read_bytes() for path in raw.iterdir()}
    assert copies == dict.fromkeys(done.stdout.split(), b"as Asterisk wrote it")
    assert len(copies) == 2
