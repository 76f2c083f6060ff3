"""What was found as a file, CSV or JSON, written page by page while it goes out.

Must not ask for more than it is handed, nor hold more than a page. The invariant: an answer that ends whole is whole;
one that cannot be gone on with is broken off, so that nobody takes its beginning for all of it.
"""

from __future__ import annotations

import asyncio
import csv
import io
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, TypeVar
from uuid import UUID

import structlog
from fastapi.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from recorder.catalogue import CatalogueError
from recorder.http.api import View
from recorder.http.problems import Code, NotDone

log = structlog.get_logger(__name__)
T = TypeVar("T")
Place = tuple[datetime, UUID]

PAGE: Final = 200
"""Rows in one question to the catalogue: whoever exports lets the others in between."""
AT_ONCE: Final = 2
"""The daemon that writes them is the one that callers wait for."""
TAKEN_WITHIN: Final = 30.0  # seconds, a part of it: who takes nothing leaves the place to others
LONGEST: Final = 900.0  # seconds, the whole of it
BEGINS_CELL: Final = re.compile(r"^(?=[\t\r=+\-@])|([;|\t\r\n]\s*)(?=[=+\-@])")
"""Before what a spreadsheet calculates in place of showing it; many split a table at semicolons and tabs as well."""


class Format(StrEnum):
    CSV = "csv"
    JSON = "json"


MEDIA: Final = {Format.CSV: "text/csv; charset=utf-8", Format.JSON: "application/json"}


FILE: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {kind.partition(";")[0]: {} for kind in MEDIA.values()}}
}
"""For the document that describes the API."""


class Cut(Exception):
    """It cannot be gone on with: whoever asks for it may not have the rest."""


async def paged(
    ask: Callable[[Place | None], Awaitable[Sequence[T]]],
    place: Callable[[T], Place],
    shown: Callable[[T], View],
    may_go_on: Callable[[], Awaitable[bool]],
) -> AsyncIterator[list[View]]:
    """Page after page, each asked for behind the place of the last row before, while whoever asks still may."""
    before = None
    while True:
        rows = await ask(before)
        yield [shown(row) for row in rows]
        if len(rows) < PAGE:
            return
        before = place(rows[-1])
        if not await may_go_on():
            raise Cut("whoever asked for it may not have the rest")


class Exports:
    """Those in progress, few at once."""

    def __init__(self) -> None:
        self._running = 0

    async def begin(
        self, name: str, form: Format, view: type[View], pages: AsyncIterator[Sequence[View]]
    ) -> StreamingResponse:
        """The answer, once its first page is there: what goes wrong until then is said as anywhere else."""
        if self._running >= AT_ONCE:
            raise NotDone(Code.TOO_MANY)
        self._running += 1
        try:
            first = await anext(pages)
        except BaseException:
            self._end()
            raise
        rows = _all(first, pages)
        parts = _csv(tuple(view.model_fields), rows) if form is Format.CSV else _json(rows)
        return _Export(name, form, parts, self._end)

    def _end(self) -> None:
        self._running -= 1


class _Export(StreamingResponse):
    def __init__(self, name: str, form: Format, parts: AsyncIterator[str], end: Callable[[], None]) -> None:
        shown = {"content-disposition": f'attachment; filename="{name}.{form}"'}
        super().__init__(parts, media_type=MEDIA[form], headers=shown)
        self._end = end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sent(part: Message) -> None:
            try:
                async with asyncio.timeout(TAKEN_WITHIN):
                    await send(part)
            except TimeoutError:  # which is an OSError, and the server would take it for a broken connection
                raise Cut("whoever asked for it does not take it") from None

        try:
            async with asyncio.timeout(LONGEST):
                await super().__call__(scope, receive, sent)
        except TimeoutError:
            log.warning("export_not_finished", why="it has lasted too long")
        finally:
            self._end()

    async def stream_response(self, send: Send) -> None:
        """Without the last part where it is not whole: the server then breaks the connection off."""
        try:
            await super().stream_response(send)
        except (CatalogueError, Cut) as error:
            log.warning("export_not_finished", why=str(error))


async def _all(first: Sequence[View], pages: AsyncIterator[Sequence[View]]) -> AsyncIterator[list[dict[str, Any]]]:
    yield [row.model_dump(mode="json") for row in first]
    async for page in pages:
        yield [row.model_dump(mode="json") for row in page]


async def _csv(columns: Sequence[str], pages: AsyncIterator[list[dict[str, Any]]]) -> AsyncIterator[str]:
    yield ",".join(columns) + "\r\n"
    async for rows in pages:
        text = io.StringIO()
        csv.writer(text).writerows([cell(value) for value in row.values()] for row in rows)
        yield text.getvalue()


async def _json(pages: AsyncIterator[list[dict[str, Any]]]) -> AsyncIterator[str]:
    before = "[\n"
    async for rows in pages:
        said = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
        if said:
            yield before + said
            before = ",\n"
    yield "\n]\n" if before != "[\n" else "[]\n"


def cell(value: object) -> str:
    """A value as it stands in a table: nothing for none, a list in one cell, and no formula."""
    if value is None:
        return ""
    text = " ".join(map(str, value)) if isinstance(value, list) else str(value)
    return BEGINS_CELL.sub(lambda found: f"{found[1] or ''}'", text)
