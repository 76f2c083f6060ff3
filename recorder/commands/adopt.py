"""`recorder adopt`: the files that no recording claims, and a person's word on each. Without a word it only tells."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from recorder.adoption import Found, NotAdopted, Orphanage, Word
from recorder.books.adoption import Fate
from recorder.catalogue import Catalogue
from recorder.commands.asking import SOMETHING_WRONG, By, Json, ask, guarded, said_by, settings_of, storage_of
from recorder.commands.display import print_json, print_line, screen, text

HANDLED_BY: Final[dict[Fate, str]] = {
    Fate.SETTLE: "recorder adopt {name} --reason WHY",
    Fate.RESTORE: "recorder adopt {name} --reason WHY",
    Fate.WAIT: "nothing: the running recorder does it",
    Fate.BROKEN: "recorder adopt {name} --quarantine --reason WHY, or leave it",
    Fate.COPY: "recorder adopt {name} --quarantine (or --erase) --reason WHY",
    Fate.UNAUTHORISED: "recorder adopt {name} --quarantine (or --erase) --reason WHY",
}

Named = Annotated[
    list[str] | None, typer.Argument(metavar="[ORPHAN]...", help="Recording ids or paths, as the list has them.")
]
Reason = Annotated[str | None, typer.Option("--reason", help="Why; kept with the act.")]
Quarantine = Annotated[
    bool, typer.Option("--quarantine", help="Move what nothing authorises into the store's closed folder quarantine.")
]
Erase = Annotated[bool, typer.Option("--erase", help="Erase what nothing authorises, for good.")]
All = Annotated[bool, typer.Option("--all", help="Every orphan that may be settled or put back.")]


def adopt(
    context: typer.Context,
    orphans: Named = None,
    reason: Reason = None,
    by: By = None,
    every: All = False,
    quarantine: Quarantine = False,
    erase: Erase = False,
    as_json: Json = False,
) -> None:
    """List the files that no recording claims; with ORPHAN and --reason, settle, quarantine or erase them.

    Only what a consent event authorised, in a permitted bridge, becomes a recording. Nothing is done without a word.
    """
    settings = settings_of(context)
    word = _word(orphans or [], reason, by, every=every, quarantine=quarantine, erase=erase)
    storage = storage_of(settings)

    async def act(catalogue: Catalogue) -> tuple[list[Found], list[dict[str, Any]]]:
        orphanage = Orphanage(catalogue, storage, node=settings.node.name, now=lambda: datetime.now(UTC))
        found = await orphanage.found()
        if word is None:
            return found, []
        chosen = _adoptable(found) if every else _chosen(found, orphans or [])
        return found, [await _done(one, _deed(orphanage, word, quarantine=quarantine, erase=erase)) for one in chosen]

    found, done = ask(settings, act)
    if word is None:
        _list(found, as_json=as_json)
    else:
        _report(done, as_json=as_json)


def _word(
    orphans: list[str], reason: str | None, by: str | None, *, every: bool, quarantine: bool, erase: bool
) -> Word | None:
    """The person's word, None where only the list is asked for; exit 2 for half a word."""
    if not orphans and not every:
        if reason or quarantine or erase:
            raise typer.BadParameter("name the orphans, as `recorder adopt` lists them")
        return None
    if orphans and every:
        raise typer.BadParameter("either ORPHAN or --all")
    if (quarantine and erase) or (every and (quarantine or erase)):
        raise typer.BadParameter("one of settling, --quarantine and --erase, and these two only for what is named")
    if not (reason or "").strip():
        raise typer.BadParameter("--reason is missing: it is kept with the act")
    assert reason is not None
    return Word(actor=said_by(by), reason=guarded("--reason", reason.strip()))


def _adoptable(found: list[Found]) -> list[Found]:
    return [one for one in found if one.verdict.fate in (Fate.SETTLE, Fate.RESTORE)]


def _chosen(found: list[Found], names: list[str]) -> list[Found]:
    by_name = {one.name: one for one in found}
    by_name |= {str(path): one for one in found for path in one.paths}
    unknown = [name for name in names if name not in by_name and str(Path(name).absolute()) not in by_name]
    if unknown:
        raise NotAdopted(f"no orphan is called {', '.join(unknown)}: nothing was done. `recorder adopt` lists them")
    chosen = {one.name: one for name in names for one in [by_name.get(name) or by_name[str(Path(name).absolute())]]}
    return list(chosen.values())


def _deed(orphanage: Orphanage, word: Word, *, quarantine: bool, erase: bool) -> Callable[[Found], Awaitable[str]]:
    async def deed(one: Found) -> str:
        if quarantine:
            return "in quarantine: " + ", ".join(str(path) for path in await orphanage.quarantine(one, word))
        if erase:
            await orphanage.erase(one, word)
            return "erased"
        await orphanage.adopt(one, word)
        return "settled" if one.verdict.fate is Fate.SETTLE else "put back"

    return deed


async def _done(one: Found, deed: Callable[[Found], Awaitable[str]]) -> dict[str, Any]:
    try:
        return {**_shown(one), "done": await deed(one), "refused": None}
    except NotAdopted as error:
        return {**_shown(one), "done": None, "refused": str(error)}


def _shown(one: Found) -> dict[str, Any]:
    verdict = one.verdict
    return {
        "orphan": one.name,
        "recording": one.recording,
        "call": one.row.call if one.row else None,
        "paths": list(one.paths),
        "fate": verdict.fate,
        "why": verdict.why,
        "mend": HANDLED_BY[verdict.fate].format(name=one.name),
    }


def _list(found: list[Found], *, as_json: bool) -> None:
    if as_json:
        print_json([_shown(one) for one in found])
    else:
        _print(found)
    if any(one.verdict.fate is not Fate.WAIT for one in found):
        raise typer.Exit(SOMETHING_WRONG)


def _print(found: list[Found]) -> None:
    console = screen()
    for one in found:
        shown = _shown(one)
        print_line(console, f"{shown['fate']}: {shown['why']}", style="bold")
        for path in one.paths:
            console.print(text(f"  file       {path}"), soft_wrap=True)
        console.print(text(f"  mend       {shown['mend']}"), soft_wrap=True)
        console.print()
    print_line(console, "No file waits for a hand." if not found else f"{len(found)} in all.")


def _report(done: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print_json(done)
    else:
        for one in done:
            screen().print(text(f"{one['orphan']}  {one['done'] or one['refused']}"), soft_wrap=True)
        if not done:
            print_line(screen(), "There was nothing to adopt.")
    if any(one["refused"] for one in done):
        raise typer.Exit(SOMETHING_WRONG)
