"""The two forms of the log, as a process writes them: ours, a library's, and an error with its traceback."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

SAYS = """
import logging, sys, structlog
from pathlib import Path
from recorder import logs
logs.configure(form=sys.argv[1])
log = structlog.get_logger("recorder")
log.info("call_lost", call="1f", where=Path("/spool"), words="two words", on=True)
log.debug("nothing")
try:
    raise ValueError("so it is")
except ValueError:
    log.exception("sweep_broke", sweep="settle")
logging.getLogger("a.library").warning("it %s", "creaks")
logging.getLogger("a.library").info("nothing")
"""


def said(form: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", SAYS, form], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == ""
    return done.stderr.splitlines()


def test_as_json_every_line_is_an_object_the_libraries_and_the_tracebacks_too() -> None:
    ours, broke, library = map(json.loads, said("json"))
    assert list(ours)[:3] == ["timestamp", "level", "event"]
    assert {key: ours[key] for key in ("level", "event", "call", "where", "words", "on")} == {
        "level": "info",
        "event": "call_lost",
        "call": "1f",
        "where": "/spool",
        "words": "two words",
        "on": True,
    }
    assert "ValueError: so it is" in broke["exception"]
    assert (library["level"], library["event"], library["logger"]) == ("warning", "it creaks", "a.library")
    assert all(line["timestamp"].endswith("Z") for line in (ours, broke, library))


def test_as_text_a_line_is_words_that_a_person_and_grep_can_read() -> None:
    ours, broke, library = (line for line in said("text") if line.startswith("timestamp="))
    assert " level=info event=call_lost call=1f" in ours
    assert 'words="two words" on=true' in ours
    assert "event=sweep_broke" in broke
    assert 'level=warning event="it creaks" logger=a.library' in library


@pytest.mark.parametrize("form", ["text", "json"])
def test_an_event_is_one_line_even_with_a_traceback(form: str) -> None:
    assert len(said(form)) == 3
