"""/api/v1/searches: the searches of calls that somebody has named for themselves.

Must not look for a call by itself: finding does, with the rights of whoever opens a search, now. The invariants: what
is kept is what was understood of a search, and no telephone number is in it or in its name; nobody's searches come to
anybody else.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, time
from typing import Annotated, Final, Self
from uuid import UUID, uuid4

import structlog
from fastapi import APIRouter, Depends, Query
from pydantic import Field, ValidationError

from recorder.catalogue import Catalogue, SavedSearch, Unsaved
from recorder.guard import Action, Detector, GuardPolicy, examine
from recorder.http.api import PREFIX, PROBLEMS, View
from recorder.http.door import ASKED_WITHIN, Door
from recorder.http.finding import CallsView, CallView, SearchView, sought_by
from recorder.http.hearing import AT_MOST, aware, cursor_of, is_for
from recorder.http.problems import Code, NotDone
from recorder.http.rules import signed_in
from recorder.rights import Right
from recorder.signing_in import Asker

log = structlog.get_logger(__name__)

LONGEST_NAME: Final = 60
NO_NUMBERS: Final = GuardPolicy(actions={Detector.PHONE: Action.REJECT})
"""Elsewhere a telephone number is warned of; of a search none is kept."""
DIGITS: Final = re.compile(r"\d{7}|(?:\d[ .\-()/]{0,2}){9}\d")
"""In a name: as many as a telephone number has, at a stretch or in groups. A day has eight, in groups."""
REFUSED: Final[dict[Unsaved, Code]] = {Unsaved.TOO_MANY: Code.NO_MORE, Unsaved.NAMED: Code.NAMED}


class SavingView(View):
    """A name, and what is looked for under it. There is no place for a telephone number."""

    name: Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)]
    search: SearchView = SearchView()


class SavedView(View):
    """A search of yours. `search` is null where this recorder cannot understand what was kept."""

    id: UUID
    name: str
    search: SearchView | None

    @classmethod
    def of(cls, saved: SavedSearch) -> Self:
        return cls(id=saved.id, name=saved.name, search=understood(saved.sought))


class SavedListView(View):
    """All of yours, by name."""

    searches: list[SavedView]


def understood(sought: Mapping[str, str | float | bool]) -> SearchView | None:
    try:
        return SearchView.model_validate(sought)
    except ValidationError:  # a word that another version of the recorder knew
        return None


def kept_of(search: SearchView) -> dict[str, str | float | bool]:
    """What is kept of a search: its words as they were understood, and its moments in UTC."""
    plain = search.model_copy(update={"since": aware(search.since), "until": aware(search.until)})
    kept: dict[str, str | float | bool] = plain.model_dump(mode="json", exclude_none=True)
    return kept


def fields_of_search(search: SearchView) -> dict[str, str]:
    """The fields of the calls page that say the same."""
    said = search.model_dump(exclude_none=True)
    return {name: _field(value) for name, value in said.items()}


def _field(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}" if value == float(f"{value:g}") else repr(value)
    if isinstance(value, datetime):
        here = (value if value.tzinfo is not None else value.replace(tzinfo=UTC)).astimezone()
        return f"{here:%Y-%m-%d}" if here.time() == time() else here.isoformat()
    return str(value)


def _examined(text: str) -> None:
    """NotDone where a text may not be kept with a search (SG-08): what is cut out of it would be found by nobody."""
    seen = {hit.detector for hit in examine({"text": text}, NO_NUMBERS).hits if hit.action.removes}
    if seen - {Detector.PHONE}:
        raise NotDone(Code.SENSITIVE)
    if seen:
        raise NotDone(Code.NUMBER_IN_IT)


async def saved_of(catalogue: Catalogue, asker: Asker) -> tuple[SavedSearch, ...]:
    """Theirs; none where a program may not find calls in their name."""
    if not is_for(asker, frozenset({Right.SEARCH})):
        raise NotDone(Code.NO_RIGHT)
    return await catalogue.saved_searches(asker.user.name, ASKED_WITHIN)


async def save(catalogue: Catalogue, asker: Asker, name: str, search: SearchView) -> SavedSearch:
    """Keep it for them alone; NotDone where it cannot be kept."""
    if not is_for(asker, frozenset({Right.SEARCH})):
        raise NotDone(Code.NO_RIGHT)
    name = name.strip()
    if not 0 < len(name) <= LONGEST_NAME:
        raise NotDone(Code.INVALID)
    for text in (name, search.agent, search.line):
        _examined(text or "")
    if DIGITS.search(name):
        raise NotDone(Code.NUMBER_IN_IT)
    saved = SavedSearch(id=uuid4(), user=asker.user.name, name=name, sought=kept_of(search))
    why_not = await catalogue.save_search(saved, ASKED_WITHIN)
    if why_not is not None:
        raise NotDone(REFUSED[why_not])
    log.info("search_saved", search=str(saved.id))
    return saved


async def saved_one(catalogue: Catalogue, asker: Asker, search: UUID) -> SearchView:
    """What is looked for in one of theirs; NotDone where there is none, or nobody understands it any more."""
    found = next((one for one in await saved_of(catalogue, asker) if one.id == search), None)
    if found is None:
        raise NotDone(Code.NOT_FOUND)
    view = understood(found.sought)
    if view is None:
        raise NotDone(Code.INVALID)
    return view


async def removed(catalogue: Catalogue, asker: Asker, search: UUID) -> None:
    """Remove one of theirs for good; NotDone where there is none."""
    if not is_for(asker, frozenset({Right.SEARCH})):
        raise NotDone(Code.NO_RIGHT)
    if not await catalogue.remove_search(asker.user.name, search, ASKED_WITHIN):
        raise NotDone(Code.NOT_FOUND)
    log.info("search_removed", search=str(search))


def saved_routes(door: Door, catalogue: Catalogue) -> APIRouter:
    routes = APIRouter(prefix=f"{PREFIX}/searches", responses=PROBLEMS)
    somebody = Depends(signed_in(door))

    @routes.get("", summary="The searches that you have saved")
    async def searches(asker: Asker = somebody) -> SavedListView:
        return SavedListView(searches=[SavedView.of(one) for one in await saved_of(catalogue, asker)])

    @routes.post("", summary="Save a search under a name", status_code=201, responses={409: PROBLEMS[404]})
    async def save_it(saving: SavingView, asker: Asker = somebody) -> SavedView:
        return SavedView.of(await save(catalogue, asker, saving.name, saving.search))

    @routes.delete("/{search}", summary="Remove one of yours, for good", status_code=204)
    async def remove_it(search: UUID, asker: Asker = somebody) -> None:
        await removed(catalogue, asker, search)

    @routes.get("/{search}/calls", summary="The calls that it finds now, on the lines that you may search now")
    async def calls(
        search: UUID,
        before: Annotated[str | None, Query(max_length=100, description="`next` of the page before.")] = None,
        limit: Annotated[int, Query(ge=1, le=AT_MOST)] = 50,
        asker: Asker = somebody,
    ) -> CallsView:
        sought = sought_by(asker, await saved_one(catalogue, asker, search), before=before)
        rows = await catalogue.search_calls(sought, limit, ASKED_WITHIN)
        more = cursor_of(rows[-1].started_at, rows[-1].id) if len(rows) == limit else None
        return CallsView(calls=[CallView.of(row) for row in rows], next=more)

    return routes
