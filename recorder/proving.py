"""Gathers the proof of one call's consent from the catalogue and the kept prompts, and looks at it before it goes out.

Must not say what is in a proof (recorder.proof does). The invariant: what the catalogue does not bear out is not given.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta

from recorder.catalogue import READER_WAITS, Catalogue, ChainRow, PolicyRow
from recorder.chain import Link
from recorder.model import CallId, RecorderError
from recorder.policy import LinePolicy
from recorder.proof import Act, Checked, check, document, links_to_show
from recorder.storage import KeptPrompts


class NotProvable(RecorderError):
    """There is no proof of this call; in words, for who asked for it."""


class NothingToProve(NotProvable):
    """The call has no consent event in the chain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proved:
    """The document, and what a check of it found: what is not to be heard of it, and settings that were changed."""

    text: str
    checked: Checked
    changed: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Gathered:
    links: tuple[Link, ...]
    acts: tuple[Act, ...]
    policies: Mapping[str, LinePolicy]
    changed: frozenset[str]  # there are texts of these policies, and none of them gives the digest


class Proofs:
    """Makes them for people, one at a time: each is a megabyte of sound that is digested beside callers' dialogues."""

    def __init__(self, catalogue: Catalogue, kept: KeptPrompts) -> None:
        self._catalogue, self._kept = catalogue, kept
        self._turn = asyncio.Lock()

    async def of(self, call: CallId, within: timedelta) -> Proved:
        """As `prove` does, up to the newest link."""
        async with self._turn:
            return await prove(self._catalogue, self._kept, call, within=within)


async def prove(
    catalogue: Catalogue,
    kept: KeptPrompts,
    call: CallId,
    until: int | None = None,
    within: timedelta = READER_WAITS,
) -> Proved:
    """The proof up to link `until`, or to the newest of the call's node.

    NotProvable where the catalogue has none that holds; CatalogueError and StorageError pass.
    """
    gathered = await _gather(catalogue, call, until, within)
    return await asyncio.to_thread(_made, str(call), gathered, kept)


def _made(call: str, gathered: _Gathered, kept: KeptPrompts) -> Proved:
    sounds = dict(_sounds(kept, gathered.acts))
    proof = document(call, gathered.links, gathered.acts, sounds, gathered.policies, gathered.changed)
    text = json.dumps(proof, indent=1, ensure_ascii=False)
    checked = check(text)
    if len(checked.wrong) > checked.unheard:
        said = [*checked.wrong, "The catalogue does not bear this out: see `recorder verify`. Nothing written."]
        raise NotProvable("\n".join(said))
    return Proved(text=text + "\n", checked=checked, changed=gathered.changed)


async def _gather(catalogue: Catalogue, call: CallId, until: int | None, within: timedelta) -> _Gathered:
    rows = await catalogue.links_of_call(call, within)
    if not rows:
        raise NothingToProve(f"Call {call} has no consent event in the chain: there is nothing to prove.")
    node = rows[0].node
    newest = next(iter(await catalogue.heads(node, within))).seq
    if until is not None and not rows[0].seq <= until <= newest:
        raise NotProvable(
            f"--until {until}: the call's first link is {rows[0].seq}, and the newest of its node is {newest}."
        )
    top = until or newest
    rows = tuple(row for row in rows if row.seq <= top)
    shown = links_to_show(top, [row.seq for row in rows])
    links = await catalogue.links_named(node, shown, within)
    missing = [seq for seq in shown if seq not in links] + [row.seq for row in rows if row.body is None]
    if missing:
        lost = ", ".join(str(seq) for seq in missing)
        raise NotProvable(
            f"The chain lacks what this proof needs (link {lost}): see `recorder verify`. Nothing was written."
        )
    acts = tuple(_act(row) for row in rows)
    named = {str(act.body["policy"]) for act in acts if act.body.get("policy")}
    policies, changed = _settings_of(await catalogue.policies_named(named, within), node)
    return _Gathered(links=tuple(links[seq].link for seq in shown), acts=acts, policies=policies, changed=changed)


def _act(row: ChainRow) -> Act:
    return Act(seq=row.seq, salt=row.salt or "", body=json.loads(row.body or "{}"))


def _settings_of(rows: Iterable[PolicyRow], node: str) -> tuple[dict[str, LinePolicy], frozenset[str]]:
    """By its digest a text that gives it, the node's own before another's; and the digests that no text gives.

    One row that was changed past the recorder must not take every proof with it that it could stand in.
    """
    kept: dict[str, LinePolicy] = {}
    there = set()
    for row in sorted(rows, key=lambda row: row.node != node):
        there.add(row.digest)
        text = LinePolicy(line=row.line, settings=row.settings)
        if text.gives(row.digest):
            kept.setdefault(row.digest, text)
    return kept, frozenset(there - kept.keys())


def _sounds(kept: KeptPrompts, acts: Iterable[Act]) -> Iterator[tuple[str, bytes]]:
    """The bytes of each prompt that was heard, where the store has them."""
    for digest in sorted({act.body["prompt"]["sha256"] for act in acts if act.body.get("prompt")}):
        if (sound := kept.read(digest)) is not None:
            yield digest, sound
