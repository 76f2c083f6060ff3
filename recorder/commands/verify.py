"""`recorder verify`: do the books balance, and what does not fit, by name, with its mend. Here, or of a copy."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from recorder.books import Books, Ledgers, Mismatch, Reach, Remark, verify
from recorder.catalogue import LISTENING_LOG
from recorder.commands.asking import SOMETHING_WRONG, Json, Since, ask, moment, storage_of
from recorder.commands.consents import Heads, noted
from recorder.commands.copied import settings_at
from recorder.commands.display import amount, number, print_json, print_line, screen, text
from recorder.model import Outcome, RecordingStatus
from recorder.priority import step_back
from recorder.settings import Settings

SHOWN_AT_MOST: Final = 50


Copy = Annotated[
    Path | None,
    typer.Option(
        "--copy",
        exists=True,
        file_okay=False,
        help="Read the copied books in this folder (catalogue.db, recordings, spool, queue_log, Master.csv,"
        " recorder.toml) and nothing else; it stays as it is.",
    ),
]


def verify_books(
    context: typer.Context, since: Since = None, copy: Copy = None, heads: Heads = None, as_json: Json = False
) -> None:
    """Balance calls, consent events, recordings, files, digests, queue log and CDR; exit 1 where anything does not fit.

    Changes nothing, and may run at any time, with the recorder or without it. Calls in progress are open, not wrong.
    """
    now = datetime.now(UTC)
    known = noted(heads)
    step_back()  # every settled file is read: the daemon's own disk work goes first
    with _Bar(screen(error=True)) as bar, settings_at(context, copy) as settings:
        own = (settings.node.name, f"{settings.node.name}{LISTENING_LOG}")
        if known and not any(one.node in own for one in known):
            nodes = ", ".join(sorted({one.node for one in known}))
            raise typer.BadParameter(
                f"they are of {nodes}, and this node is {settings.node.name}", param_hint="--heads"
            )
        storage = storage_of(settings)
        begin = moment(since, now)
        books = ask(
            settings,
            lambda catalogue: verify(
                catalogue,
                storage,
                node=settings.node.name,
                now=now,
                ledgers=ledgers_of(settings),
                since=begin,
                heads=known,
                progress=bar.show,
            ),
        )
    if as_json:
        told = {
            "mismatches": [shown(item) for item in books.mismatches],
            "remarks": [shown(item) for item in books.remarks],
        }
        print_json({"ok": books.ok, "counts": counts(books)} | told)
    else:
        print_books(screen(), books)
    if not books.ok:
        raise typer.Exit(SOMETHING_WRONG)


def ledgers_of(settings: Settings) -> Ledgers:
    """Where Asterisk's ledgers are, and which queues' calls are ours."""
    queues = frozenset(queue for rules in settings.rules().values() for queue in rules.queues)
    return Ledgers(queue_log=settings.pbx.queue_log, cdr=settings.pbx.cdr, queues=queues)


def counts(books: Books) -> dict[str, Any]:
    """What was read; every outcome and status is there, be it 0."""
    return {
        "node": books.node,
        "calls": books.calls,
        "open_calls": books.open_calls,
        "outcomes": {outcome: books.outcomes[outcome] for outcome in Outcome},
        "consent_events": books.consent_events,
        "links": books.links,
        "head": str(books.head) if books.head else None,
        "listening_rows": books.listening_rows,
        "listening_head": str(books.listening_head) if books.listening_head else None,
        "heads_compared": books.heads_compared,
        "recordings": {status: books.recordings[status] for status in RecordingStatus},
        "settled_bytes": books.settled_bytes,
        "files": books.files,
        "staged_files": books.staged_files,
        "quarantined_files": books.quarantined_files,
        "files_of_excluded": books.files_of[Outcome.EXCLUDED],
        "files_of_declined": books.files_of[Outcome.DECLINED],
        "personal_calls": books.personal_calls,
        "files_of_personal": books.files_of_personal,
        "queue_log": _ledger(books, "queue_log"),
        "cdr": _ledger(books, "cdr"),
        "queues_of_no_line": dict(books.told.unlisted) if books.told else {},
        "since": books.since,
    }


def _ledger(books: Books, name: str) -> dict[str, Any] | None:
    """How far a ledger of Asterisk's tells; None where it was not read."""
    told = books.told
    reach: Reach | None = getattr(told, name, None)
    if told is None or reach is None:
        return None
    told_of = told.passages if name == "queue_log" else told.rows
    return {
        "passages" if name == "queue_log" else "rows": told_of,
        "first_at": reach.first if told_of else None,
        "last_at": reach.last if told_of else None,
    }


def shown(item: Mismatch | Remark) -> dict[str, Any]:
    return {
        "code": item.code,
        "call": item.call,
        "recording": item.recording,
        "path": item.path,
        "what": item.what,
        "mend": item.mend,
    }


class _Bar:
    """A progress bar on a terminal, nothing elsewhere."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("reading", total=None)

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, what: str, done: int, total: int | None) -> None:
        self._progress.update(self._task, description=what, completed=done, total=total)


# --------------------------------------------------------------------------- for people


def print_books(console: Console, books: Books) -> None:
    _print_items(console, books.mismatches, style="bold red")
    _print_items(console, books.remarks, style="bold cyan")
    for name, words in _facts(books):
        print_line(console, f"{name:<16}{words}", hang=16)
    console.print()
    if books.ok:
        remarks = f" There is {number(len(books.remarks), 'remark')}." if books.remarks else ""
        print_line(console, f"The books of node {books.node} balance.{remarks}", style="bold green")
    else:
        what = number(len(books.mismatches), "item does not fit", "items do not fit")
        print_line(console, f"The books of node {books.node} do not balance: {what}.", style="bold red")


def _print_items(console: Console, items: Sequence[Mismatch | Remark], style: str) -> None:
    for item in items[:SHOWN_AT_MOST]:
        _print_item(console, item, style)
    if len(items) > SHOWN_AT_MOST:
        print_line(console, f"... and {len(items) - SHOWN_AT_MOST} more; --json has them all.")
        console.print()


def _print_item(console: Console, item: Mismatch | Remark, style: str) -> None:
    print_line(console, item.code, style=style)
    print_line(console, f"  {item.what}", hang=0)
    for name, value in (("call", item.call), ("recording", item.recording), ("file", item.path)):
        if value is not None:
            console.print(text(f"  {name:<11}{value}"), soft_wrap=True)  # whole, to be copied
    print_line(console, f"  {'look' if isinstance(item, Remark) else 'mend':<11}{item.mend}", hang=11)
    console.print()


def _facts(books: Books) -> list[tuple[str, str]]:
    kept = {name: books.files_of[name] for name in (Outcome.EXCLUDED, Outcome.DECLINED)}
    settled = books.recordings[RecordingStatus.SETTLED]
    statuses = ", ".join(f"{count} {status}" for status, count in books.recordings.items())
    return [
        ("Calls", f"{books.calls}, of which {books.open_calls} in progress"),
        *((f"  {outcome}", _outcome(books.outcomes[outcome], kept.get(outcome))) for outcome in Outcome),
        ("Consent events", str(books.consent_events)),
        ("Chain", _chain(books)),
        ("Listening log", number(books.listening_rows, "row")),
        ("Recordings", f"{sum(books.recordings.values())}{f': {statuses}' if statuses else ''}"),
        ("Digests", f"{number(settled, 'settled file')} read, {amount(books.settled_bytes)}"),
        ("Files", f"{books.files} in the store, {books.staged_files} staged, {books.quarantined_files} in quarantine"),
        ("Queue log", _reach(books, "queue_log", "passage")),
        ("CDR", _reach(books, "cdr", "row")),
        ("Personal", _personal(books)),
        *(
            (f"  queue {name}", f"{number(rows, 'call')}, and no line names it")
            for name, rows in (books.told.unlisted.most_common(5) if books.told else ())
        ),
    ]


def _chain(books: Books) -> str:
    links = number(books.links, "link")
    compared = (
        f"; {books.heads_compared} of {number(books.heads_noted, 'noted head')} compared" if books.heads_noted else ""
    )
    if books.head is None:
        return links + compared
    return f"{links} read, the newest {books.head.seq}, digest {books.head.digest[:8]}...{compared}"


def _reach(books: Books, name: str, unit: str) -> str:
    told = _ledger(books, name)
    if told is None:
        return "not read"
    count = number(told[f"{unit}s"], unit)
    return (
        f"{count}, {told['first_at']:%Y-%m-%d %H:%M} to {told['last_at']:%Y-%m-%d %H:%M} UTC"
        if told["first_at"]
        else count
    )


def _personal(books: Books) -> str:
    """The negative report: how many calls passed no line, and that there is nothing of them."""
    if books.personal_calls is None:
        return f"not counted (that takes the CDR with linkedids), with {number(books.files_of_personal, 'file')}"
    return f"{number(books.personal_calls, 'call')} through no line, with {number(books.files_of_personal, 'file')}"


def _outcome(count: int, files: int | None) -> str:
    return str(count) if files is None else f"{count}, with {number(files, 'file')}"
