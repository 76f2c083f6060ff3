"""Speaks prompts.toml into the WAVs that callers hear, and proves which WAV belongs to which text.

Owns `<language>/<id>.wav` and prompts.lock in this folder. With the same release of espeak-ng the same text gives the
same bytes. A WAV marked `voice = "own"` is never written, only measured and entered in the lock.

    python make.py                 speak every prompt that is not your own, and write the lock
    python make.py en/question     only this one
    python make.py --check         say what does not agree, change nothing; exit 1 if anything
"""

from __future__ import annotations

import argparse
import hashlib
import math
import subprocess
import sys
import tempfile
import tomllib
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float64]

RATE = 8000  # what format_wav of Asterisk plays without asking for another codec
PEAK_DBFS = -6.0
AUDIBLE_DB = -45.0  # below the peak: where a voice begins and ends
LEAD_MS, TAIL_MS = 50, 100
CUT_HZ = 3600.0  # a telephone line carries no more
HALF_WIDTH = 48  # of the resampling filter, in samples of its input


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    """espeak-ng's own terms: `pitch` 0 to 99."""

    name: str
    words_per_minute: int
    pitch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """One table of prompts.toml. `voice` is None where the WAV is the house's own."""

    id: str
    kind: str
    language: str
    version: str
    text: str
    heard: str
    min_played_ms: int
    keys: dict[str, str]
    voice: Voice | None
    elements: tuple[str, ...] = ()  # what the text says of what it must, and
    purposes: tuple[str, ...] = ()  # what for, by the names that lines use

    @property
    def name(self) -> str:
        return f"{self.language}/{self.id}"


def read_texts(folder: Path) -> list[Text]:
    """Return every prompt of `folder`/prompts.toml; KeyError or TypeError names what a table lacks or has too many."""
    document = tomllib.loads((folder / "prompts.toml").read_text(encoding="utf-8"))
    voices = {language: Voice(**fields) for language, fields in document.get("voice", {}).items()}
    return [_text_from_table(table, voices) for table in document["prompt"]]


def _text_from_table(table: dict[str, Any], voices: dict[str, Voice]) -> Text:
    own = table.pop("voice", None) == "own"
    return Text(**table, voice=None if own else voices[table["language"]])


# ---------------------------------------------------------------- sound


def speak(text: str, voice: Voice) -> tuple[Samples, int]:
    """Return espeak-ng's samples (full scale 1.0) and their rate."""
    with tempfile.TemporaryDirectory() as folder:
        wav = Path(folder) / "spoken.wav"
        options = ["-v", voice.name, "-s", str(voice.words_per_minute), "-p", str(voice.pitch), "-w", str(wav)]
        subprocess.run(["espeak-ng", *options, "--", text], check=True, stdin=subprocess.DEVNULL)
        return read_wav(wav)


def resample(samples: Samples, rate: int) -> Samples:
    """Return `samples` at RATE, without what lies above CUT_HZ.

    A windowed sinc for each of the few phases between the two rates, summed in a fixed order, so that every processor
    rounds to the same bytes.
    """
    common = math.gcd(RATE, rate)
    up, down = RATE // common, rate // common
    positions = np.arange(len(samples) * up // down) * down
    centres, phases = positions // up, positions % up
    padded = np.pad(samples, HALF_WIDTH)
    result = np.zeros(len(positions))
    for tap in range(-HALF_WIDTH + 1, HALF_WIDTH + 1):
        weights = np.array([_weight(tap - phase / up, 2 * CUT_HZ / rate) for phase in range(up)])
        result += padded[np.minimum(centres + tap + HALF_WIDTH, len(padded) - 1)] * weights[phases]
    return result


def _weight(distance: float, cut: float) -> float:
    window = 0.5 + 0.5 * math.cos(math.pi * max(-1.0, min(1.0, distance / HALF_WIDTH)))
    angle = math.pi * cut * distance
    return cut * window * (math.sin(angle) / angle if angle else 1.0)


def voiced(samples: Samples) -> tuple[int, int]:
    """Return where the voice begins and ends, as sample numbers; (0, 0) in silence."""
    audible = np.flatnonzero(np.abs(samples) > np.abs(samples).max(initial=0.0) * 10 ** (AUDIBLE_DB / 20))
    return (int(audible[0]), int(audible[-1]) + 1) if len(audible) else (0, 0)


def trim(samples: Samples) -> Samples:
    """Return the voice with LEAD_MS before it and TAIL_MS after it, as far as `samples` reaches."""
    begin, end = voiced(samples)
    return samples[max(0, begin - LEAD_MS * RATE // 1000) : end + TAIL_MS * RATE // 1000]


def normalise(samples: Samples) -> Samples:
    """Return `samples` with its highest peak at PEAK_DBFS; silence stays silence."""
    peak = float(np.abs(samples).max(initial=0.0))
    return samples * (10 ** (PEAK_DBFS / 20) / peak) if peak else samples


def read_wav(path: Path) -> tuple[Samples, int]:
    """Return the samples of a 16-bit mono WAV (full scale 1.0) and their rate; ValueError for any other."""
    with wave.open(str(path), "rb") as wav:
        if (wav.getsampwidth(), wav.getnchannels()) != (2, 1):
            raise ValueError(f"{path.name}: not 16-bit mono")
        return np.frombuffer(wav.readframes(wav.getnframes()), "<i2").astype(np.float64) / 32768, wav.getframerate()


def write_wav(path: Path, samples: Samples) -> None:
    """Write `samples` (full scale 1.0) as 16-bit mono at RATE."""
    path.parent.mkdir(exist_ok=True)
    with wave.open(str(path), "wb") as wav:
        wav.setnchannels(1)
        wav.setsampwidth(2)
        wav.setframerate(RATE)
        wav.writeframes(np.rint(samples * 32767).astype("<i2").tobytes())


# ---------------------------------------------------------------- the lock


def locks(folder: Path, texts: list[Text]) -> dict[str, dict[str, str]]:
    """Return for each prompt the digests that belong together now; a missing WAV has none."""
    return {text.name: {"text": _digest(text.text.encode()), "wav": _wav_digest(folder, text)} for text in texts}


def _wav_digest(folder: Path, text: Text) -> str:
    wav = folder / f"{text.name}.wav"
    return _digest(wav.read_bytes()) if wav.is_file() else ""


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def write_lock(folder: Path, texts: list[Text]) -> None:
    """Write prompts.lock: from now on these WAVs are what these texts say."""
    lines = ["# Written by make.py: SHA-256 of each text and of the WAV that says it.\n"]
    lines += [
        f'\n["{name}"]\ntext = "{pair["text"]}"\nwav = "{pair["wav"]}"\n' for name, pair in locks(folder, texts).items()
    ]
    (folder / "prompts.lock").write_text("".join(lines), encoding="utf-8")


def mistakes(folder: Path) -> list[str]:
    """Return a sentence for everything in `folder` that does not agree with prompts.toml; none when all is well."""
    texts = read_texts(folder)
    lock_file = folder / "prompts.lock"
    kept = tomllib.loads(lock_file.read_text(encoding="utf-8")) if lock_file.is_file() else {}
    found = [mistake for text in texts for mistake in _mistakes_of(folder, text)]
    for name, now in locks(folder, texts).items():
        was = kept.pop(name, {})
        if not was:
            found.append(f"{name}: not in prompts.lock")
            continue
        if now["text"] != was["text"]:
            found.append(f"{name}: the text has changed since its WAV was made")
        if now["wav"] != was["wav"]:
            found.append(f"{name}: the WAV is not the one that was made for this text")
    return found + [f"{name}: in prompts.lock, but in prompts.toml no more" for name in kept]


def _mistakes_of(folder: Path, text: Text) -> list[str]:
    if not text.text.startswith(text.heard):
        return [f"{text.name}: the text does not begin with what `heard` says"]
    try:
        samples, rate = read_wav(folder / f"{text.name}.wav")
    except (OSError, ValueError, EOFError, wave.Error) as error:
        return [f"{text.name}: {error}"]
    if rate != RATE:
        return [f"{text.name}: {rate} samples a second, not {RATE}"]
    if text.min_played_ms * RATE > len(samples) * 1000:
        return [f"{text.name}: min_played_ms is longer than the WAV"]
    return []


# ---------------------------------------------------------------- the commands


def make(folder: Path, text: Text, voice: Voice) -> None:
    """Speak one prompt; ValueError where a key would count before `heard` can have been heard."""
    if text.heard:
        least = math.ceil(len(trim(resample(*speak(text.heard, voice)))) * 1000 / RATE) - TAIL_MS
        if text.min_played_ms < least:
            raise ValueError(f"`heard` takes {least} ms, min_played_ms is {text.min_played_ms}")
    samples = normalise(trim(resample(*speak(text.text, voice))))
    write_wav(folder / f"{text.name}.wav", samples)
    print(f"{text.name}: {len(samples) / RATE:.1f} s")


def remake(folder: Path, names: list[str]) -> list[str]:
    """Speak the prompts of these names (none means all) and write the lock; return a sentence for each that failed."""
    texts, failed = read_texts(folder), []
    for text in texts:
        if text.voice and (not names or text.name in names):
            try:
                make(folder, text, text.voice)
            except (ValueError, OSError, subprocess.CalledProcessError) as error:
                failed.append(f"{text.name}: {error}")
    write_lock(folder, texts)
    return failed


def main(arguments: list[str] | None = None, folder: Path = Path(__file__).parent) -> int:
    parser = argparse.ArgumentParser(description="Speak the prompts of prompts.toml, or check them.")
    parser.add_argument("names", nargs="*", metavar="LANGUAGE/ID", help="only these")
    parser.add_argument("--check", action="store_true", help="say what does not agree, change nothing")
    options = parser.parse_args(arguments)
    found = [] if options.check else remake(folder, options.names)
    found += mistakes(folder)
    print("\n".join(found) or "texts and WAVs agree")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
