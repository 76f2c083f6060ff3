"""Tones: making the files that the parties speak with, and finding them again in what was recorded.

Reads WAVs with the standard library and numpy only, so that what the product wrote is judged by another reader.
"""

from __future__ import annotations

import time
import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

RATE = 8000
AMPLITUDE = 8000
CLOSED_WITHIN = 10.0  # seconds
Samples = npt.NDArray[np.int16]

Stretch = tuple[float, float]
BIAS, CLIP = 0x84, 32635  # of G.711 µ-law


@dataclass(frozen=True, slots=True, kw_only=True)
class Sound:
    """A WAV's samples as (frames, channels)."""

    rate: int
    samples: Samples

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.rate

    @property
    def channels(self) -> int:
        return int(self.samples.shape[1])


def read(path: Path) -> Sound:
    """Read a 16-bit PCM WAV; wave.Error or ValueError where it is none.

    Asterisk closes a file some time after the hang-up, with no event: until then both sizes in its header are 0.
    """
    deadline = time.monotonic() + CLOSED_WITHIN
    while path.read_bytes()[4:8] == b"\0\0\0\0" and time.monotonic() < deadline:
        time.sleep(0.02)
    with wave.open(str(path), "rb") as file:
        if file.getsampwidth() != 2:
            raise ValueError(f"{path}: {8 * file.getsampwidth()} bits a sample, 16 expected")
        data = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
        return Sound(rate=file.getframerate(), samples=data.reshape(-1, file.getnchannels()).astype(np.int16))


def stretches(
    path: Path, channel: int, hz: float, *, window: float = 0.02, level: float = 500, gap: float = 0.04
) -> list[Stretch]:
    """When a tone is present in one channel: [(from, to), ...] in seconds of the file.

    A window holds the tone when its amplitude at `hz` (Goertzel) is at least `level` of 32767 and the tone is most of
    what is there; stretches that lie `gap` seconds or less apart are one (a lost frame is no end).
    """
    sound = read(path)
    return _joined(_present(sound.samples[:, channel], sound.rate, hz, window, level), window, gap)


def seconds_with(samples: Samples, rate: int, hz: float, *, window: float = 0.02, level: float = 500) -> float:
    """Sum of the windows of one channel that hold the tone, as `stretches` sees them."""
    return float(np.count_nonzero(_present(samples, rate, hz, window, level)) * window)


def silence(path: Path, channel: int, *, window: float = 0.02, level: int = 40) -> list[Stretch]:
    """When one channel holds nothing louder than `level` of 32767: [(from, to), ...] in seconds."""
    sound = read(path)
    quiet = np.abs(_windows(sound.samples[:, channel], sound.rate, window)).max(axis=1, initial=0) <= level
    return _joined(quiet, window, 0)


def seconds_of(found: list[Stretch]) -> float:
    """Sum of the stretches' lengths."""
    return sum(end - start for start, end in found)


def _windows(samples: Samples, rate: int, window: float) -> npt.NDArray[np.float64]:
    size = round(rate * window)
    whole = len(samples) // size
    return samples[: whole * size].astype(np.float64).reshape(whole, size)


def _present(samples: Samples, rate: int, hz: float, window: float, level: float) -> npt.NDArray[np.bool_]:
    frames = _windows(samples, rate, window)
    size = frames.shape[1]
    probe = np.exp(-2j * np.pi * hz * np.arange(size) / rate)
    amplitude = 2 * np.abs(frames @ probe) / size
    rms = np.sqrt(np.mean(frames**2, axis=1))
    present: npt.NDArray[np.bool_] = (amplitude >= level) & (amplitude / np.sqrt(2) >= 0.6 * rms)
    return present


def _joined(present: npt.NDArray[np.bool_], window: float, gap: float) -> list[Stretch]:
    edges = np.flatnonzero(np.diff(np.concatenate(([False], present, [False])).astype(np.int8)))
    found: list[Stretch] = []
    for start, end in edges.reshape(-1, 2) * window:
        if found and start - found[-1][1] <= gap + 1e-9:
            found[-1] = (found[-1][0], float(end))
        else:
            found.append((float(start), float(end)))
    return found


# ---------------------------------------------------------------- making them


def tone(hz: float, seconds: float, *, amplitude: int = AMPLITUDE) -> Samples:
    """A sine at 8 kHz; 0 Hz is digital silence."""
    times: npt.NDArray[np.float64] = np.arange(round(RATE * seconds)) / RATE
    return np.round(amplitude * np.sin(2 * np.pi * hz * times)).astype(np.int16)


def write_sln(path: Path, hz: float, seconds: float = 60) -> None:
    """For Playback(): headerless 16-bit little-endian, whole periods so that it can be played round."""
    path.write_bytes(tone(hz, seconds).astype("<i2").tobytes())


def write_ulaw(path: Path, hz: float, seconds: float = 10) -> None:
    """For SIPp's rtp_stream: headerless G.711 µ-law."""
    path.write_bytes(ulaw(tone(hz, seconds)))


def write_wav(path: Path, channels: list[Samples], *, rate: int = RATE) -> None:
    """A 16-bit WAV of equally long channels."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(len(channels))
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.stack(channels, axis=1).astype("<i2").tobytes())


def ulaw(samples: Samples) -> bytes:
    """G.711 µ-law of 16-bit samples (ITU-T G.711, table 2a)."""
    wide = samples.astype(np.int32)
    sign = np.where(wide < 0, 0x80, 0)
    level = np.minimum(np.abs(wide), CLIP) + BIAS
    exponent = np.floor(np.log2(level)).astype(np.int32) - 7
    mantissa = (level >> (exponent + 3)) & 0x0F
    coded: npt.NDArray[np.uint8] = (~(sign | (exponent << 4) | mantissa) & 0xFF).astype(np.uint8)
    return coded.tobytes()
