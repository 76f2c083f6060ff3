"""/api/v1/recordings and the listenings that are opened there: hearing a recording.

Must not open a file: recorder.listening says what may be heard, once its row is written. Nothing here removes a row.
"""

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Final, Self
from uuid import UUID

import structlog
from fastapi import APIRouter, Depends, Request, Response
from pydantic import Field

from recorder.http.api import PREFIX, PROBLEMS, View, held
from recorder.http.door import Door
from recorder.http.problems import Code, NotDone, Problem
from recorder.http.rules import signed_in
from recorder.http.sound import Sound
from recorder.listening import Listen, Listening, SoundMissing
from recorder.listens import LONGEST_EXPLANATION, Explaining, Medium, Unheard
from recorder.model import RecordingId
from recorder.rights import EVERY_LINE, Right
from recorder.signing_in import Asker
from recorder.waveform import Region, RegionKind, Waveform

log = structlog.get_logger(__name__)

AT_MOST: Final = 200
REFUSED: Final[dict[Unheard, Code]] = {
    Unheard.NOT_PERMITTED: Code.NOT_PERMITTED,
    Unheard.SEALED: Code.SEALED,
    Unheard.NOT_SETTLED: Code.NOT_SETTLED,
    Unheard.ANOTHER_PURPOSE: Code.ANOTHER_PURPOSE,
    Unheard.UNEXPLAINED: Code.UNEXPLAINED,
    Unheard.TOO_LONG: Code.INVALID,
    Unheard.SENSITIVE: Code.SENSITIVE,
}


class AudibleView(View):
    """A recording that you may know of, and what it takes to hear it. `explaining` is for each of its purposes."""

    recording: UUID
    call: UUID
    line: str
    settled: bool
    sealed: bool
    purposes: list[str]
    explaining: dict[str, Explaining]
    shortest: dict[str, int]


class WishView(View):
    """Why, for what, and how somebody wants to hear it."""

    purpose: Annotated[str, Field(min_length=1, max_length=64)]
    explanation: Annotated[str, Field(max_length=LONGEST_EXPLANATION)] = ""
    medium: Medium = Medium.STREAM


class ListenView(View):
    """A listening that has its row: the sound is at `audio`, to be begun within a minute."""

    listen: UUID
    audio: str
    seconds: float

    @classmethod
    def of(cls, listen: Listen) -> Self:
        audio = f"{PREFIX}/listens/{listen.id}/audio"
        return cls(listen=listen.id, audio=audio, seconds=listen.duration_ms / 1000)


class RegionView(View):
    """A stretch of the recording that a player marks."""

    kind: RegionKind
    from_ms: int
    to_ms: int


class WaveformView(View):
    """How loud each leg is, 0 to 128, in steps of `window_ms` from the start; no steps where analysis drew none."""

    listen: UUID
    duration_ms: int
    window_ms: int
    caller: list[int]
    agent: list[int]
    regions: list[RegionView]

    @classmethod
    def of(cls, listen: Listen, waveform: Waveform | None, marked: Iterable[Region]) -> Self:
        return cls(
            listen=listen.id,
            duration_ms=listen.duration_ms,
            window_ms=0 if waveform is None else waveform.window_ms,
            caller=[] if waveform is None else list(waveform.caller),
            agent=[] if waveform is None else list(waveform.agent),
            regions=[RegionView(kind=each.kind, from_ms=each.from_ms, to_ms=each.to_ms) for each in marked],
        )


class PlayedView(View):
    """What the player has played, in milliseconds of the recording."""

    spans: Annotated[list[tuple[int, int]], Field(max_length=200)]


def hearing_routes(door: Door, listening: Listening) -> APIRouter:
    """Every route with which something is heard."""
    routes = APIRouter(prefix=PREFIX, responses=PROBLEMS)
    somebody = Depends(signed_in(door))

    @routes.get("/recordings/{recording}", summary="What it takes to hear a recording")
    async def recording_view(recording: UUID, asker: Asker = somebody) -> AudibleView:
        audible = await listening.audible(asker, RecordingId(recording))
        if audible is None:
            raise NotDone(Code.NOT_FOUND)
        rules = {purpose: listening.rule_for(asker, audible.line, purpose) for purpose in sorted(audible.purposes)}
        return AudibleView(
            recording=audible.recording,
            call=audible.call,
            line=audible.line,
            settled=audible.settled,
            sealed=audible.sealed,
            purposes=list(rules),
            explaining={purpose: rule.explaining for purpose, rule in rules.items()},
            shortest={purpose: rule.shortest for purpose, rule in rules.items()},
        )

    @routes.post(
        "/recordings/{recording}/listens",
        summary="Say why you listen; the row of the listening log is written before you can",
        status_code=201,
        responses={423: {"model": Problem, "content": {"application/problem+json": {}}}},
    )
    async def listen_to(request: Request, wish: WishView, recording: UUID, asker: Asker = somebody) -> ListenView:
        return ListenView.of(await opened(listening, request, asker, RecordingId(recording), wish))

    @routes.get("/listens/{listen}/audio", summary="The sound", response_class=Response)
    async def audio(listen: UUID, asker: Asker = somebody) -> Response:
        return await sound_of(listening, asker, listen)

    @routes.get("/listens/{listen}/waveform", summary="How loud it is where, and what is marked: for who may hear it")
    async def waveform(listen: UUID, asker: Asker = somebody) -> WaveformView:
        found = await still_open(listening, asker, listen)
        return WaveformView.of(found, *await listening.drawn(found))

    @routes.post("/listens/{listen}/played", summary="Which parts were played", status_code=204)
    async def played(played: PlayedView, listen: UUID, asker: Asker = somebody) -> None:
        found = listening.find(asker, listen)
        if found is None:
            raise NotDone(Code.NOT_FOUND)
        listening.played(found, played.spans)

    return routes


async def opened(
    listening: Listening, request: Request, asker: Asker, recording: RecordingId, wish: WishView
) -> Listen:
    """A listening with its row; NotDone where there is none."""
    if not listening.has_room(asker):
        raise NotDone(Code.TOO_MANY)
    try:
        found = await listening.open(asker, recording, wish.medium, wish.purpose, wish.explanation, address_of(request))
    except SoundMissing:
        raise NotDone(Code.NO_SOUND) from None
    if found is None:
        raise NotDone(Code.NOT_FOUND)
    if isinstance(found, Unheard):
        raise NotDone(REFUSED[found])
    return found


async def still_open(listening: Listening, asker: Asker, listen: UUID) -> Listen:
    """What was opened; NotDone where it is not open, or no longer theirs to hear."""
    found = listening.find(asker, listen)
    if found is None:
        raise NotDone(Code.NOT_FOUND)
    if not await listening.still_may(asker, found):
        raise NotDone(Code.NOT_PERMITTED)
    return found


async def sound_of(listening: Listening, asker: Asker, listen: UUID) -> Response:
    """What was opened, as bytes; NotDone where it is not open, no longer theirs to hear, or the file is not there."""
    found = await still_open(listening, asker, listen)
    try:
        size = await asyncio.to_thread(found.path.stat)
    except OSError as error:
        log.error("sound_not_there", recording=str(found.opened.recording), why=str(error))
        raise NotDone(Code.NO_SOUND) from None
    return Sound(listening, found, size)


def lines_of(asker: Asker, right: Right) -> frozenset[str] | None:
    """The lines on which somebody has a right; None for every line."""
    lines = frozenset(line for own, line in held(asker) if own is right)
    return None if EVERY_LINE in lines else lines


def may_still(asker: Asker | None, right: Right, lines: frozenset[str] | None) -> bool:
    """Whether somebody who was asked for again may have more of what they found on these lines."""
    if asker is None or asker.must_change:
        return False
    theirs = lines_of(asker, right)
    return theirs is None or (lines is not None and lines <= theirs)


def is_for(asker: Asker, rights: frozenset[Right]) -> bool:
    """Whether what is their own, whoever they are, is for them here too: a token may be for other things alone."""
    return asker.token is None or asker.token.rights is None or bool(asker.token.rights & rights)


def lines_of_token(asker: Asker) -> frozenset[str] | None:
    """The lines to which they are narrowed; None for every line."""
    return None if asker.token is None else asker.token.lines


def address_of(request: Request) -> str:
    return request.client.host[:64] if request.client is not None else ""


def aware(at: datetime | None) -> datetime | None:
    """In UTC, which a time without a zone is; NotDone at the edge of the calendar."""
    if at is None:
        return None
    try:
        return (at.replace(tzinfo=UTC) if at.tzinfo is None else at).astimezone(UTC)
    except (ValueError, OverflowError):
        raise NotDone(Code.INVALID) from None


def day_of(text: str) -> datetime | None:
    """The beginning of that day where the recorder stands; None for none. NotDone where it is no day."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC) if text else None
    except (ValueError, OverflowError):
        raise NotDone(Code.INVALID) from None


def cursor_of(at: datetime, row: UUID) -> str:
    """What a page goes on behind: fit to stand in an address as it is."""
    return f"{at.isoformat().replace('+00:00', 'Z')}_{row}"


def before_of(cursor: str | None) -> tuple[datetime, UUID] | None:
    """The row that a page goes on behind; NotDone where it is none of ours."""
    if cursor is None:
        return None
    at, _, row = cursor.partition("_")
    try:
        moment = datetime.fromisoformat(at)
        return moment.astimezone(UTC), UUID(row)
    except (ValueError, OverflowError):
        raise NotDone(Code.INVALID) from None
