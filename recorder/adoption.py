"""Brings in the files that no recording claims, or takes them away, as books.adoption decides and a person says.

Must not decide what may become a recording. The order is that of the house: the intention in the catalogue, the act on
the disk, the result in the catalogue; cut anywhere, it can be said again. The invariant: no file moves or goes without
a row that says who, when, why, and which bytes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final
from uuid import NAMESPACE_OID, UUID, uuid4, uuid5

from recorder.books import stray_files
from recorder.books.adoption import ERASABLE, QUARANTINABLE, Fate, Orphan, Verdict, judge
from recorder.capture import FRAME, OPENING
from recorder.catalogue import Catalogue, FileAct, FileAction, RecordingRow
from recorder.model import (
    AuditEntry,
    RecorderError,
    RecordingChanged,
    RecordingId,
    RecordingSettled,
    RecordingStatus,
)
from recorder.quality import file_findings
from recorder.silences import spans_to_keep
from recorder.storage import Edges, LegFile, Storage, Strays

ADOPT: Final = "adopt"


class NotAdopted(RecorderError):
    """What was asked for may not be done; the sentence says why and what may."""

    code = "not_adopted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One orphan: its files, what is decided of it, and its recording's row, where there is one."""

    paths: tuple[Path, ...]
    recording: RecordingId | None
    verdict: Verdict
    row: RecordingRow | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """What a person calls it by."""
        return str(self.recording or self.paths[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """Whose word it is, and why."""

    actor: str
    reason: str


class Orphanage:
    """The orphans of one node, and what may be done with each."""

    def __init__(self, catalogue: Catalogue, storage: Storage, *, node: str, now: Callable[[], datetime]) -> None:
        self._catalogue = catalogue
        self._storage = storage
        self._strays = Strays(storage)
        self._node = node
        self._now = now

    async def found(self) -> list[Found]:
        """Every orphan, those in quarantine left out."""
        strays = await stray_files(self._catalogue, self._storage, node=self._node, now=self._now())
        paths = sorted(item.path for item in strays if item.path is not None)
        by_recording: dict[RecordingId, list[Path]] = {}
        found = []
        named = {item.path: item.recording for item in strays}
        for path in paths:
            recording = named[path]
            if recording is None:
                why = "no recording's file is named so: nothing authorises it"
                verdict = Verdict(fate=Fate.UNAUTHORISED, why=why)
                found.append(Found(paths=(path,), recording=None, verdict=verdict))
            else:
                by_recording.setdefault(recording, []).append(path)
        rows = await self._catalogue.recordings_named(by_recording)
        found += [await self._judged(key, tuple(files), rows.get(key)) for key, files in by_recording.items()]
        return found

    async def _judged(self, recording: RecordingId, paths: tuple[Path, ...], row: RecordingRow | None) -> Found:
        whole = await self._catalogue.one_call(row.call) if row is not None else None
        orphan = await asyncio.to_thread(self._looked_at, recording, paths, row)
        return Found(paths=paths, recording=recording, verdict=judge(orphan, row, whole), row=row)

    def _looked_at(self, recording: RecordingId, paths: tuple[Path, ...], row: RecordingRow | None) -> Orphan:
        spool = self._storage.spool
        in_store = [path for path in paths if path.is_relative_to(self._storage.root)]
        same = row is not None and any(self._strays.fingerprint(path)[1] == row.sha256 for path in in_store)
        place = self._storage.path(row.id, row.authorised_at) if row is not None else None
        return Orphan(
            has_caller=spool.path(recording, LegFile.CALLER).exists(),
            has_agent=spool.path(recording, LegFile.AGENT).exists(),
            in_store=bool(in_store),
            is_the_settled_one=same,
            place_is_empty=place is None or not place.exists(),
        )

    # ------------------------------------------------------------------ what may be done

    async def adopt(self, orphan: Found, word: Word) -> None:
        """Make it the recording that it is, or put its file back; NotAdopted where that may not be."""
        match orphan.verdict.fate, orphan.row:
            case Fate.SETTLE, RecordingRow() as row:
                await self._settle(orphan, row, word)
            case Fate.RESTORE, RecordingRow() as row:
                await self._restore(orphan, row, word)
            case _:
                raise NotAdopted(f"{orphan.name} becomes no recording: {orphan.verdict.why}")

    async def _settle(self, orphan: Found, row: RecordingRow, word: Word) -> None:
        keep = orphan.verdict.keep_seconds
        details = {"reason": word.reason, "keep_seconds": f"{keep}", "failed_for": str(row.reason or "")}
        # The same word of the same person about the same failure is one entry, however often it is said.
        key = uuid5(NAMESPACE_OID, f"adopt {row.id} {row.changed_at.isoformat()} {word.actor} {word.reason}")
        await self._audit_once(key, row, word, details)
        spans = spans_to_keep(row.silences, None if keep is None else max(0.0, keep - FRAME))
        settle = partial(self._storage.settle, spans=spans, edges=Edges(opening=OPENING), replace=True)
        made = await asyncio.to_thread(settle, row.id, row.authorised_at)
        at = self._now()
        failed = frozenset({RecordingStatus.FAILED})
        findings = tuple(sorted(str(finding) for finding in file_findings(made.file_state)))
        await self._catalogue.write_facts(
            [
                RecordingChanged(id=row.id, call=row.call, at=at, expected=failed, status=RecordingStatus.STOPPED),
                RecordingSettled(
                    id=row.id,
                    call=row.call,
                    at=at,
                    samples=made.samples,
                    rate=made.rate,
                    sha256=made.sha256,
                    size=made.size,
                    findings=findings,
                ),
            ]
        )
        await asyncio.to_thread(self._storage.spool.discard, row.id)

    async def _audit_once(self, key: UUID, row: RecordingRow, word: Word, details: dict[str, str]) -> None:
        whole = await self._catalogue.one_call(row.call)
        if whole is not None and any(act.id == key for act in whole.audit):
            return
        entry = AuditEntry(
            id=key, at=self._now(), actor=word.actor, action=ADOPT, call=row.call, recording=row.id, details=details
        )
        await self._catalogue.write_facts([entry])

    async def _restore(self, orphan: Found, row: RecordingRow, word: Word) -> None:
        for path in orphan.paths:
            if path.is_relative_to(self._storage.root) and self._strays.fingerprint(path)[1] == row.sha256:
                act = await self._intend(path, orphan, word, FileAction.RESTORING)
                await asyncio.to_thread(self._strays.restore, path, row.id, row.authorised_at)
                await self._done(act, FileAction.RESTORED)
                return
        raise NotAdopted(f"{orphan.name} has changed meanwhile: look again")

    async def quarantine(self, orphan: Found, word: Word) -> list[Path]:
        """Move its files into quarantine, where nothing serves them; returns where they are."""
        self._require(orphan, QUARANTINABLE, "put into quarantine")
        places = []
        for path in orphan.paths:
            act = await self._intend(path, orphan, word, FileAction.QUARANTINING)
            places.append(await asyncio.to_thread(self._strays.quarantine, path, act.of_file))
            await self._done(act, FileAction.QUARANTINED)
        return places

    async def erase(self, orphan: Found, word: Word) -> None:
        """Erase its files. What an event authorised is never erased here."""
        self._require(orphan, ERASABLE, "erased")
        for path in orphan.paths:
            act = await self._intend(path, orphan, word, FileAction.ERASING)
            await asyncio.to_thread(self._strays.erase, path)
            await self._done(act, FileAction.ERASED)

    def _require(self, orphan: Found, fates: frozenset[Fate], done: str) -> None:
        if orphan.verdict.fate not in fates:
            raise NotAdopted(f"{orphan.name} may not be {done} ({orphan.verdict.fate}): {orphan.verdict.why}")

    async def _intend(self, path: Path, orphan: Found, word: Word, action: FileAction) -> FileAct:
        size, sha256 = await asyncio.to_thread(self._strays.fingerprint, path)
        act = FileAct(
            id=uuid4(),
            of_file=uuid4(),
            at=self._now(),
            node=self._node,
            actor=word.actor,
            action=action,
            path=str(path),
            size=size,
            sha256=sha256,
            recording=orphan.recording,
            reason=word.reason,
        )
        await self._catalogue.write_file_act(act)
        return act

    async def _done(self, act: FileAct, action: FileAction) -> None:
        done = replace(act, id=uuid4(), at=self._now(), action=action)
        await self._catalogue.write_file_act(done)
