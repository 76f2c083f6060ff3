"""WAV headers: what one says, what the file really holds, and the bytes between the two.

Owns reading, judging, repairing and building headers of 16-bit PCM. Must not read or change a sample. Invariant: a file
whose header is right is never written to, and a repair changes the two sizes and, at most, an unfinished last sample.

Asterisk writes both sizes as 0 when it opens the file and puts the real ones in when it closes it (format_wav.c,
write_header and wav_close), so a writer that was killed leaves zeros, and every capture under way looks the same.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedRandom, BufferedReader
from pathlib import Path
from typing import Literal

from recorder.storage.errors import StagedFileDamaged, StagedFileMissing, translated

WavFile = BufferedReader | BufferedRandom

HEADER_BYTES = 44
MAX_BYTES = 0xFFFFFFFF
SAMPLE_BYTES = 2
MAX_CHUNKS = 64
"""No writer makes so many; a walk over zeros or noise ends here instead of reading gigabytes eight bytes at a time."""
_PCM = 1
_UNKNOWN_SIZES = frozenset({0, 0x7FFFFFFF, 0xFFFFFFFF})
"""What writers put where the size is not known yet; any other size beyond the end is a promise that was not kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderRepair:
    """How a header was wrong. `original` is the two sizes as they stood (RIFF, data; 8 bytes, little-endian)."""

    name: str
    original: bytes
    lost_bytes: int  # promised by the header and not there, or the odd byte of an unfinished sample


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where the audio of an open WAV lies, by what is on disk. `repair` is None where the header says the same."""

    rate: int
    channels: int
    size: int
    data_at: int
    data_bytes: int  # whole samples of all channels
    repair: HeaderRepair | None

    @property
    def samples(self) -> int:
        """Samples a channel."""
        return self.data_bytes // (SAMPLE_BYTES * self.channels)


def build_header(*, rate: int, channels: int, samples: int) -> bytes:
    """Return the 44 bytes before `samples` samples a channel of 16-bit PCM; ValueError beyond what a WAV can hold."""
    block = SAMPLE_BYTES * channels
    data = samples * block
    if HEADER_BYTES - 8 + data > MAX_BYTES:
        raise ValueError(f"{data} bytes of audio do not fit into a WAV")
    riff = struct.pack("<4sI4s", b"RIFF", HEADER_BYTES - 8 + data, b"WAVE")
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, _PCM, channels, rate, rate * block, block, 8 * SAMPLE_BYTES)
    return riff + form + struct.pack("<4sI", b"data", data)


@contextmanager
def opened(path: Path, mode: Literal["rb", "r+b"] = "rb") -> Iterator[WavFile]:
    """Open an existing regular file; a link, a pipe or a folder under our name is refused as damaged."""
    flags = (os.O_RDWR if mode == "r+b" else os.O_RDONLY) | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            raise StagedFileDamaged(path, "it is not a regular file")
        descriptor = os.open(path, flags)
    except FileNotFoundError as error:
        raise StagedFileMissing(path, "there is no such file") from error
    with os.fdopen(descriptor, "r+b") if mode == "r+b" else os.fdopen(descriptor, "rb") as file:
        yield file


def is_closed(path: Path) -> bool:
    """Return whether the header of the WAV at `path` agrees with its size; StagedFileDamaged where it has none."""
    with translated(path, "reading the header"), opened(path) as file:
        return read_layout(file, path).repair is None


def repair_header(path: Path) -> HeaderRepair | None:
    """Make the header of a 16-bit PCM WAV say what the file holds, in place and synced; None where it was right.

    Only for a file that nobody writes to any more. Raises StagedFileDamaged where there is no audio to be found.
    """
    with translated(path, "repairing the header"), opened(path, "r+b") as file:
        layout = read_layout(file, path)
        if layout.repair is not None:
            end = layout.data_at + layout.data_bytes
            os.ftruncate(file.fileno(), end)
            os.pwrite(file.fileno(), struct.pack("<I", layout.data_bytes), layout.data_at - 4)
            os.pwrite(file.fileno(), struct.pack("<I", end - 8), 4)
            os.fsync(file.fileno())
        return layout.repair


def read_layout(file: WavFile, path: Path) -> Layout:
    """Walk the chunks of an open WAV up to its audio. Raises StagedFileDamaged, saying what and at which byte."""
    size = os.fstat(file.fileno()).st_size
    head = _read_at(file, 0, 12)
    if len(head) < 12 or head[:4] != b"RIFF" or head[8:] != b"WAVE":
        raise StagedFileDamaged(path, f"no RIFF/WAVE header at byte 0 of {size}")
    form: tuple[int, int] | None = None
    for at, name, length in _chunks(file, 12):
        if name == b"fmt ":
            form = _format(_read_at(file, at + 8, 16), path, at)
        if name == b"data":
            if form is None:
                raise StagedFileDamaged(path, f"the data chunk at byte {at} has no fmt chunk before it")
            return _layout(file, path, form, size=size, data_at=at + 8, sizes=head[4:8] + struct.pack("<I", length))
    raise StagedFileDamaged(path, f"no data chunk in {size} bytes")


def _layout(file: WavFile, path: Path, form: tuple[int, int], *, size: int, data_at: int, sizes: bytes) -> Layout:
    rate, channels = form
    riff, data = struct.unpack("<II", sizes)
    block = SAMPLE_BYTES * channels
    held = size - data_at
    whole = held // block * block
    repair = None
    if riff == size - 8 and data % block == 0 and _ends_with_chunks(file, data_at + data, size):
        whole = data
    else:
        promised = data if data not in _UNKNOWN_SIZES else held
        lost = max(promised - whole, held - whole)
        repair = HeaderRepair(name=path.name, original=sizes, lost_bytes=lost)
    return Layout(rate=rate, channels=channels, size=size, data_at=data_at, data_bytes=whole, repair=repair)


def _format(body: bytes, path: Path, at: int) -> tuple[int, int]:
    """Return rate and channels; anything but 16-bit PCM of one or two channels is damage."""
    if len(body) < 16:
        raise StagedFileDamaged(path, f"the fmt chunk at byte {at} is cut")
    kind, channels, rate, _, _, bits = struct.unpack("<HHIIHH", body)
    if kind != _PCM or bits != 8 * SAMPLE_BYTES or channels not in (1, 2) or not 0 < rate <= 192_000:
        raise StagedFileDamaged(
            path, f"not 16-bit PCM at byte {at}: format {kind}, {bits} bits, {channels} channels, {rate} Hz"
        )
    return rate, channels


def _chunks(file: WavFile, at: int) -> Iterator[tuple[int, bytes, int]]:
    """Yield (position, name, length) of each chunk header from `at` on, as far as headers are whole."""
    for _ in range(MAX_CHUNKS):
        header = _read_at(file, at, 8)
        if len(header) < 8:
            return
        name, length = struct.unpack("<4sI", header)
        yield at, name, length
        at += 8 + length + length % 2


def _ends_with_chunks(file: WavFile, at: int, size: int) -> bool:
    """Return whether the file ends at `at`, or named chunks lead from there to its very end."""
    for position, name, length in _chunks(file, at):
        # Silence walks like chunks of length 0: only printable names are chunks.
        if not name.isascii() or not name.decode("ascii").isprintable():
            return False
        at = position + 8 + length + length % 2
    return at == size


def _read_at(file: WavFile, at: int, count: int) -> bytes:
    return os.pread(file.fileno(), count, at)
