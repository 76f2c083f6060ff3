"""The settings that a command looks by: the configured ones, or those of a folder that holds a copy of the books.

Owns the names that a copy's parts have. The invariant: nothing in the copy changes; SQLite, which writes beside the
file that it reads, is given a copy of its own.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import typer

from recorder.commands.asking import mistaken, settings_of, wrong
from recorder.settings import Settings, SettingsMistaken, settings_of_copy

CATALOGUE: Final = "catalogue.db"
SETTINGS: Final = "recorder.toml"
RECORDINGS: Final = "recordings"
SPOOL: Final = "spool"
QUEUE_LOGS: Final = ("queue_log", "log/queue_log")
CDRS: Final = ("Master.csv", "cdr-csv/Master.csv", "log/cdr-csv/Master.csv")


@contextmanager
def settings_at(context: typer.Context, copy: Path | None) -> Iterator[Settings]:
    """The configured settings, or with `copy` those for the books in that folder, while a command looks at them."""
    if copy is None:
        yield settings_of(context)
        return
    with tempfile.TemporaryDirectory(prefix="recorder-verify-") as room:
        yield _settings(copy.absolute(), Path(room), Path(context.obj))


def _settings(copy: Path, room: Path, config: Path) -> Settings:
    if not (copy / CATALOGUE).is_file():
        wrong(f"{copy} holds no {CATALOGUE}: `sqlite3 CATALOGUE \".backup '{copy / CATALOGUE}'\"` makes one")
    for part in copy.glob(f"{CATALOGUE}*"):
        shutil.copy(part, room)
    (room / SPOOL).mkdir()
    spool = copy / SPOOL if (copy / SPOOL).is_dir() else room / SPOOL
    pbx = {"queue_log": _first(copy, QUEUE_LOGS), "cdr": _first(copy, CDRS)}
    source = copy / SETTINGS if (copy / SETTINGS).is_file() else config
    try:
        return settings_of_copy(
            source.read_text(encoding="utf-8"),
            {
                "catalogue": {"url": f"sqlite:///{room / CATALOGUE}"},
                "storage": {"path": str(copy / RECORDINGS)},
                "capture": {"spool_here": str(spool)},
                "pbx": pbx,
            },
            source=str(source),
        )
    except (OSError, UnicodeDecodeError) as error:
        wrong(f"{source} cannot be read, and without it nobody knows the node and the lines: {error}")
    except SettingsMistaken as error:
        mistaken(error)


def _first(copy: Path, names: tuple[str, ...]) -> str | None:
    """The ledger of that name; a rotated part alone will do."""
    return next((str(copy / name) for name in names if list(copy.glob(f"{name}*"))), None)
