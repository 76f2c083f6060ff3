"""Where the figures are kept: what a bench printed, in the page that states it. Pure.

Owns the markers, `<!-- bench NAME -->` and `<!-- end -->`; must not touch anything outside them.
"""

from __future__ import annotations

import re

BEGIN, END = "<!-- bench {} -->", "<!-- end -->"


def kept(page: str, name: str, printed: str, on: str) -> str:
    """The page with what bench `name` printed on the day `on` between its markers; ValueError where it has none."""
    begin = BEGIN.format(name)
    pattern = re.compile(re.escape(begin) + r"\n.*?" + re.escape(END), re.DOTALL)
    if len(pattern.findall(page)) != 1:
        raise ValueError(f"the page has no one place for {name}: {begin} ... {END}")
    block = f"{begin}\n```\n{on}: {printed.strip()}\n```\n{END}"
    return pattern.sub(lambda _: block, page)


def has(page: str, name: str) -> bool:
    """Whether this page keeps that bench's figures."""
    return BEGIN.format(name) in page
