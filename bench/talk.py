"""What is lost of the talk after the bridge, proved by what the other party heard.

    python -m bench talk [--calls 20] [--sip 3]

Both parties speak from before the bridge, over Local channels: noise in which every moment is recognised. Each phone
records what it hears. The settled WAV and the phone are then looked up in the noise: what the other party heard of a
speaker and the WAV does not hold is lost. Over SIP (RTP) the parties say tones, and the first frame of each is looked
for; there the phones keep nothing, so that the figure is only how far into the WAV the tone begins.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.centre import Centre, centre
from bench.machine import Aim, judged, machine, percentile
from recorder.catalogue import RecordingRow
from tests.pbx import tones
from tests.pbx.calls import Calls
from tests.stories import AGREED_OVER_SIP

VOICE_SECONDS = 40
TALK_SECONDS = 9.0
FRAME = 160  # samples: 20 ms at 8 kHz
GRAIN = 16  # samples: 2 ms
ALIKE = 0.85
"""Correlation of a frame with the noise it is; of 20 ms with any other noise it is below 0.5."""
SPEAKERS = {"caller": 0, "agent": 1}
HEARD_BY = {"caller": "agent", "agent": "caller"}

Samples = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """Of one speaker in one call, in milliseconds."""

    speaker: str
    begins: float  # from the start of the WAV to the first frame of the speaker
    lost: float | None  # of what the other party heard, from its first frame on; None where nobody kept it


def voice(speaker: str) -> Samples:
    """Noise of its own for each speaker."""
    random = np.random.default_rng(SPEAKERS[speaker])
    return random.normal(0, 3000, VOICE_SECONDS * tones.RATE).clip(-12000, 12000)


def first_heard(sound: Samples, said: Samples) -> tuple[int, int]:
    """The first sample of `sound` that is of `said`: where in the sound, where in the voice. ValueError for none."""
    spectrum = np.fft.rfft(said, 1 << len(said).bit_length())
    for start in range(0, len(sound) - FRAME, FRAME):
        place = _place(sound[start : start + FRAME], said, spectrum)
        if place is not None:
            return _to_the_edge(sound, said, start, place)
    raise ValueError("the speaker is not there")


def _place(frame: Samples, said: Samples, spectrum: npt.NDArray[np.complex128]) -> int | None:
    """Where in the voice this frame is, None where it is not of this voice."""
    size = 2 * (len(spectrum) - 1)
    product = np.fft.irfft(spectrum * np.conj(np.fft.rfft(frame, size)), size)[: len(said) - FRAME]
    best = int(np.argmax(product))
    return best if _alike(frame, said[best : best + FRAME]) else None


def _to_the_edge(sound: Samples, said: Samples, start: int, place: int) -> tuple[int, int]:
    """The voice may begin inside the frame before."""
    while min(start, place) >= GRAIN and _alike(sound[start - GRAIN : start], said[place - GRAIN : place]):
        start, place = start - GRAIN, place - GRAIN
    return start, place


def _alike(one: Samples, other: Samples) -> bool:
    size = float(np.linalg.norm(one) * np.linalg.norm(other))
    return size > 0 and float(one @ other) / size > ALIKE


async def over_local(on: Centre, calls: int) -> list[Loss]:
    """Agreed calls, two a second; each phone's recording lies in `heard` under the caller's number."""
    heard = on.pbx.base / "heard"
    heard.mkdir()
    for speaker in SPEAKERS:
        (on.pbx.base / "sounds" / f"voice-{speaker}.sln").write_bytes(voice(speaker).astype("<i2").tobytes())
    await on.every(0.5, calls, TALK_SECONDS, speaks="voice-caller", witnessed=True)
    await on.until_quiet(timeout=60)
    return [loss for row in await on.recorder.settled() for loss in _losses(on, heard, row)]


def _losses(on: Centre, heard: Path, row: RecordingRow) -> Iterator[Loss]:
    wav = tones.read(on.recorder.path_of(row)).samples.astype(np.float64)
    for speaker, channel in SPEAKERS.items():
        said = voice(speaker)
        witness = tones.read(heard / f"{row.uniqueid}-{HEARD_BY[speaker]}.wav").samples[:, 0].astype(np.float64)
        begins, in_wav = first_heard(wav[:, channel], said)
        _, by_other = first_heard(witness, said)
        yield Loss(speaker=speaker, begins=_ms(begins), lost=_ms(max(0, in_wav - by_other)))


async def over_sip(on: Centre, calls: int) -> list[Loss]:
    """The story that the demo tells, one call after the other: a test PBX has one SIP phone a side."""
    losses = []
    async with Calls(on.pbx) as placing:
        for number in range(calls):
            call = await AGREED_OVER_SIP.place(placing)  # type: ignore[misc]  # a coroutine of Call
            await call.until_ended(timeout=60)
            rows = await on.recorder.until_closed(on.placed + number + 1, timeout=60)
            recording = next(row for row in await on.recorder.settled() if row.call == rows[0].id)
            path = on.recorder.path_of(recording)
            for speaker, hz in (("caller", 440), ("agent", 800)):
                begins = tones.stretches(path, SPEAKERS[speaker], hz)[0][0]
                losses.append(Loss(speaker=speaker, begins=1000 * begins, lost=None))
    return losses


def _ms(samples: int) -> float:
    return samples * 1000 / tones.RATE


async def measure(calls: int, sip: int) -> dict[str, list[Loss]]:
    async with centre() as on:
        return {"Local": await over_local(on, calls), "SIP": await over_sip(on, sip)}


def report(found: dict[str, list[Loss]], calls: int) -> bool:
    print(f"\n{'':20}{'n':>5}{'lost of what the other heard, ms':>40}{'first frame in the WAV at, ms':>36}")
    print(f"{'':25}{'p50':>20}{'p90':>10}{'max':>10}{'p50':>16}{'p90':>10}{'max':>10}")
    for legs, losses in found.items():
        for speaker in SPEAKERS:
            mine = [loss for loss in losses if loss.speaker == speaker]
            lost = [loss.lost for loss in mine if loss.lost is not None]
            print(f"{legs + ', ' + speaker:20}{len(mine):>5}{_row(lost)}{'':>6}{_row([loss.begins for loss in mine])}")
    worst = max(loss.lost for loss in found["Local"] if loss.lost is not None)
    whole = len(found["Local"]) == 2 * calls
    if not whole:
        print(f"{calls} calls, and {len(found['Local']) // 2} recordings")
    return judged([Aim(what="talk lost after the bridge, longest", found=worst, most=20, unit="ms")]) and whole


def _row(values: list[float]) -> str:
    if not values:
        return f"{'':>10}{'-':>10}{'-':>10}{'-':>10}"
    shown = (percentile(values, 0.5), percentile(values, 0.9), max(values))
    return f"{'':>10}" + "".join(f"{value:>10.1f}" for value in shown)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=20, help="over Local channels (20)")
    parser.add_argument("--sip", type=int, default=3, help="over SIP, one after the other (3)")
    asked = parser.parse_args()
    print(f"{asked.calls} calls over Local channels, {asked.sip} over SIP; {machine()}")
    return 0 if report(asyncio.run(measure(asked.calls, asked.sip)), asked.calls) else 1


if __name__ == "__main__":
    sys.exit(main())
