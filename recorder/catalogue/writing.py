"""Every change of a row, each on a connection whose transaction its caller owns.

Owns the INSERTs and UPDATEs; must not commit, and must not decide what may happen: it applies facts. The invariant:
every change is idempotent (a fact that is in already changes nothing), and compare-and-set where a row moves on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from functools import cache, singledispatch
from typing import Any

from sqlalchemy import Connection, Insert, Row, Select, Table, Update, bindparam, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from recorder.catalogue import chaining, waveforms
from recorder.catalogue.errors import CatalogueRefused
from recorder.catalogue.rows import FileAct, JournalRow
from recorder.catalogue.tables import (
    audit,
    bookmarks,
    call_events,
    calls,
    consent_events,
    file_acts,
    legs,
    numbers,
    policies,
    prompts,
    recordings,
    sweeps,
)
from recorder.model import (
    AuditEntry,
    CallEnded,
    CallId,
    CallOpened,
    ConsentRecorded,
    ConsentState,
    Fact,
    LegSeen,
    Prompt,
    RecordingAuthorised,
    RecordingChanged,
    RecordingId,
    RecordingSettled,
    RecordingStatus,
    utc,
)
from recorder.policy import LinePolicy
from recorder.waveform import Waveform

Values = dict[str, Any]
Steps = Sequence[tuple[Sequence[Fact], JournalRow]]
"""Each step's facts and its journal row, oldest first."""

# What a fact refers to is written before it, whatever order the step names them in.
_ORDER: tuple[type, ...] = (
    CallOpened,
    LegSeen,
    ConsentRecorded,
    AuditEntry,
    RecordingAuthorised,
    RecordingChanged,
    RecordingSettled,
    CallEnded,
)
# Statements are built once, here and in the cached functions below: building one costs more than running it.
_FIND_STEPS = select(call_events).where(
    call_events.c.call == bindparam("of_call"), call_events.c.seq.between(bindparam("first"), bindparam("last"))
)
_ADD_STEPS = call_events.insert()
_MOVE_CALL = (
    update(calls)
    .where(calls.c.id == bindparam("of_call"))
    .values(phase=bindparam("to_phase"), consent=bindparam("to_consent"))
)
_END_CALL = (
    update(calls)
    .where(calls.c.id == bindparam("of_call"), calls.c.outcome.is_(None))
    .values({name: bindparam(f"to_{name}") for name in ("ended_at", "outcome", "reason")})
)
_MOMENTS = {
    RecordingStatus.ARMED: "armed_at",
    RecordingStatus.STOPPED: "stopped_at",
    RecordingStatus.EMPTY: "stopped_at",
    RecordingStatus.FAILED: "stopped_at",
    RecordingStatus.ERASED: "erased_at",
}


def write_step(
    connection: Connection,
    call: CallId,
    facts: Sequence[Fact],
    event: JournalRow | None,
    phase: str,
    consent: ConsentState,
) -> bool:
    """Write a step whole; returns False, with nothing changed, where its journal row is in already."""
    if event is not None:
        return write_steps(connection, call, [(facts, event)], phase, consent) == 1
    write_facts(connection, facts)
    _move_call(connection, call, phase, consent)
    return True


def write_steps(connection: Connection, call: CallId, steps: Steps, phase: str, consent: ConsentState) -> int:
    """Write steps of one call, each whole, with the phase and consent after the last; how many were not in already."""
    new = _not_journalled(connection, call, steps)
    if not new:
        return 0
    for facts, _ in new:
        write_facts(connection, facts)
    _move_call(connection, call, phase, consent)
    connection.execute(_ADD_STEPS, [{"call": call} | _journal_values(event) for _, event in new])
    return len(new)


def _move_call(connection: Connection, call: CallId, phase: str, consent: ConsentState) -> None:
    moved = connection.execute(_MOVE_CALL, {"of_call": call, "to_phase": phase, "to_consent": consent})
    if moved.rowcount == 0:
        raise CatalogueRefused(f"call {call} is not in the catalogue")


def write_facts(connection: Connection, facts: Iterable[Fact]) -> None:
    """Apply facts in the order that their references need."""
    for fact in sorted(facts, key=lambda fact: _ORDER.index(type(fact))):
        _apply(fact, connection)


def _not_journalled(connection: Connection, call: CallId, steps: Steps) -> Steps:
    """Those steps whose journal rows are not in; one that is in with another content is refused."""
    span = {"of_call": call, "first": steps[0][1].seq, "last": steps[-1][1].seq}
    found = {row.seq: row for row in connection.execute(_FIND_STEPS, span)}
    for _, event in steps:
        if event.seq in found:
            _require_same(found[event.seq], _journal_values(event), f"step {event.seq} of call {call}")
    return [step for step in steps if step[1].seq not in found]


def _journal_values(event: JournalRow) -> Values:
    return {
        "seq": event.seq,
        "at": event.at,
        "name": event.name,
        "old_phase": event.old_phase,
        "new_phase": event.new_phase,
        "fields": clean_texts(event.fields),
    }


@singledispatch
def _apply(fact: object, connection: Connection) -> None:  # noqa: ARG001
    raise TypeError(f"{type(fact).__name__} is no fact of the catalogue")


@_apply.register
def _(fact: CallOpened, connection: Connection) -> None:
    values: Values = {
        "id": fact.call,
        "node": fact.node,
        "line": fact.line,
        "direction": fact.direction,
        "mode": fact.mode,
        "linkedid": fact.linkedid,
        "started_at": fact.started_at,
    }
    _insert_once(connection, calls, values, {"phase": "", "consent": ConsentState.NONE}, id=fact.call)


@_apply.register
def _(fact: LegSeen, connection: Connection) -> None:
    """Seen again, a leg keeps its first moment and takes what is newer: its name, its part, its interface."""
    channel = fact.channel
    now: Values = {"linkedid": channel.linkedid, "channel": clean_text(channel.name), "kind": fact.kind}
    if fact.interface is not None:
        now["interface"] = clean_text(fact.interface)
    key: Values = {"call": fact.call, "uniqueid": channel.uniqueid}
    if _change(connection, legs, key, now) == 0:
        connection.execute(_adding(legs), key | now | {"seen_at": fact.at})


@_apply.register
def _(fact: ConsentRecorded, connection: Connection) -> None:
    values: Values = {
        "id": fact.id,
        "call": fact.call,
        "at": fact.at,
        "before": fact.before,
        "after": fact.after,
        "channel": fact.channel,
        "policy": fact.policy,
        "prompt": None if fact.prompt is None else _prompt_number(connection, fact.prompt),
        "played_ms": fact.played_ms,
        "key": fact.key,
        "language": fact.language,
        "actor": _clean(fact.actor),
        "reason": fact.reason,
        "basis": fact.basis,
    }
    if _insert_once(connection, consent_events, values, id=fact.id):
        chaining.chain_consent(connection, fact, values)


def _prompt_number(connection: Connection, prompt: Prompt) -> int:
    """Return the row of this version of a prompt, written when it is first played; a text that changed is refused."""
    version: Values = {
        "sha256": prompt.sha256,
        "id": prompt.id,
        "language": prompt.language,
        "version": prompt.version,
        "min_played_ms": prompt.min_played_ms,
    }
    said: Values = {"kind": prompt.kind, "text": prompt.text}
    found = _row(connection, prompts, **version)
    if found is None:
        # Another node may write the same version at this moment.
        connection.execute(_insert_new(connection, prompts, version | said | {"seconds": prompt.seconds}))
        found = _row(connection, prompts, **version)
    if found is None:
        raise CatalogueRefused(f"prompt {prompt.id} could not be written")
    _require_same(found, said, f"prompt {prompt.id} {prompt.language} {prompt.version}")
    return int(found.number)


@_apply.register
def _(fact: AuditEntry, connection: Connection) -> None:
    values: Values = {
        "id": fact.id,
        "at": fact.at,
        "actor": clean_text(fact.actor),
        "action": fact.action,
        "call": fact.call,
        "recording": fact.recording,
        "details": clean_texts(fact.details),
    }
    _insert_once(connection, audit, values, id=fact.id)


@_apply.register
def _(fact: RecordingAuthorised, connection: Connection) -> None:
    values: Values = {
        "id": fact.id,
        "call": fact.call,
        "line": fact.line,
        "mode": fact.mode,
        "authorised_by": fact.authorised_by,
        "authorising_state": fact.state,
        "channel": clean_text(fact.channel.name),
        "uniqueid": fact.channel.uniqueid,
        "sealed": fact.sealed,
        "audit": fact.audit,
        "authorised_at": fact.at,
    }
    start: Values = {
        "status": RecordingStatus.AUTHORISED,
        "changed_at": fact.at,
        "findings": (),
        "measures": {},
        "silences": (),
    }
    _insert_once(connection, recordings, values, start, id=fact.id)


@_apply.register
def _(fact: RecordingChanged, connection: Connection) -> None:
    now: Values = {"status": fact.status, "changed_at": fact.at}
    for name in ("mixmonitor", "bridged_at", "bridged_seconds", "keep_seconds", "reason"):
        if (value := getattr(fact, name)) is not None:
            now[name] = value
    if fact.silences:
        now["silences"] = tuple(replace(silence, actor=_clean(silence.actor)) for silence in fact.silences)
    _move(connection, fact.id, fact.call, fact.expected, now, moment=_MOMENTS.get(fact.status))
    if fact.status is RecordingStatus.ERASED:
        waveforms.empty(connection, fact.id)


@_apply.register
def _(fact: RecordingSettled, connection: Connection) -> None:
    now: Values = {
        "status": RecordingStatus.SETTLED,
        "changed_at": fact.at,
        "settled_at": fact.at,
        "samples": fact.samples,
        "rate": fact.rate,
        "sha256": fact.sha256,
        "size": fact.size,
        "findings": fact.findings,
    }
    _move(connection, fact.id, fact.call, frozenset({RecordingStatus.STOPPED}), now)


@_apply.register
def _(fact: CallEnded, connection: Connection) -> None:
    end: Values = {"ended_at": fact.ended_at, "outcome": fact.outcome, "reason": fact.reason}
    ending = {"of_call": fact.call} | _prefixed("to_", end)
    if connection.execute(_END_CALL, ending).rowcount == 1:
        chaining.chain_end(connection, end | {"call": fact.call})
        return
    found = _row(connection, calls, id=fact.call)
    if found is None:
        raise CatalogueRefused(f"call {fact.call} is not in the catalogue")
    _require_same(found, end, f"the end of call {fact.call}")


def _move(
    connection: Connection,
    recording: RecordingId,
    call: CallId,
    expected: frozenset[RecordingStatus],
    now: Values,
    moment: str | None = None,
) -> None:
    """Compare and set; a move that is in already (same status, same moment) is done. `moment` is kept once set."""
    given = {"of_recording": recording, "of_call": call, "expected": sorted(expected)} | _prefixed("to_", now)
    moved = connection.execute(_moving(tuple(sorted(now)), moment), given)
    if moved.rowcount == 1:
        return
    found = _row(connection, recordings, id=recording, call=call)
    if found is None:
        raise CatalogueRefused(f"recording {recording} of call {call} is not in the catalogue")
    if (found.status, found.changed_at) != (now["status"], utc(now["changed_at"])):
        raise CatalogueRefused(f"recording {recording} is {found.status.value}: it cannot become {now['status'].value}")


def write_analysis(
    connection: Connection,
    recording: RecordingId,
    at: datetime,
    measures: Mapping[str, float],
    findings: Sequence[str],
    waveform: Waveform | None = None,
) -> None:
    """Add to a settled recording what its sound says; said again, the measures are replaced and no finding doubles."""
    settled = (recordings.c.id == recording) & (recordings.c.status == RecordingStatus.SETTLED)
    found = connection.execute(select(recordings.c.findings).where(settled)).one_or_none()
    if found is None:
        raise CatalogueRefused(f"recording {recording} is not settled")
    together = tuple(dict.fromkeys((*found.findings, *findings)))
    now = {"analysed_at": at, "measures": dict(measures), "findings": together}
    connection.execute(update(recordings).where(settled).values(now))
    if waveform is not None:
        waveforms.put(connection, recording, at, waveform)


def write_file_act(connection: Connection, act: FileAct) -> None:
    """Add what a person does, or did, with a file that no recording claims."""
    values = asdict(act)
    values |= {name: clean_text(values[name]) for name in ("actor", "path", "reason")}
    _insert_once(connection, file_acts, values, id=act.id)


def write_numbers(connection: Connection, digests: Iterable[tuple[CallId, str]]) -> None:
    """Keep the keyed digest of each call's number; what is kept already stays."""
    for call, digest in digests:
        connection.execute(_insert_new(connection, numbers, {"call": call, "digest": digest}))


def write_policies(connection: Connection, node: str, at: datetime, version: str, lines: Iterable[LinePolicy]) -> None:
    """Keep the settings that came into force on the node at `at`; what was in force there before stays as it is."""
    for line in lines:
        key: Values = {"digest": line.digest, "node": node}
        said: Values = {"line": line.line, "settings": line.settings}
        if _row(connection, policies, **key) is None:
            # Another daemon of the node, which is still ending, may write the same at this moment.
            connection.execute(_insert_new(connection, policies, key | said | {"version": version, "first_at": at}))
        found = _row(connection, policies, **key)
        if found is None:
            raise CatalogueRefused(f"policy {line.digest} could not be written")
        _require_same(found, said, f"policy {line.digest}")


def write_bookmark(connection: Connection, node: str, name: str, value: Mapping[str, str | int]) -> None:
    """Remember `value` under `name`, in place of what was there."""
    _put(connection, bookmarks, {"node": node, "name": name}, {"value": dict(value)})


def write_sweep(connection: Connection, node: str, name: str, at: datetime) -> None:
    """Remember that a sweep came to its end without an error."""
    _put(connection, sweeps, {"node": node, "name": name}, {"last_ok_at": at})


def _put(connection: Connection, table: Table, key: Values, now: Values) -> None:
    insert = _insert(connection)(table).values(key | now)
    connection.execute(insert.on_conflict_do_update(index_elements=list(key), set_=now))


def _insert(connection: Connection) -> Callable[[Table], Any]:
    return postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert


def _insert_new(connection: Connection, table: Table, values: Values) -> Any:
    return _insert(connection)(table).values(values).on_conflict_do_nothing()


def _insert_once(connection: Connection, table: Table, values: Values, start: Values | None = None, **key: Any) -> bool:
    """Insert a row that is written once, or False: one that is in must say the same. `start` is what may move on."""
    found = _row(connection, table, **key)
    if found is None:
        connection.execute(_adding(table), values | (start or {}))
        return True
    _require_same(found, values, f"{table.name} {' '.join(str(part) for part in key.values())}")
    return False


def _change(connection: Connection, table: Table, key: Values, now: Values) -> int:
    """Set what is new of the row with this key; how many there were."""
    given = _prefixed("of_", key) | _prefixed("to_", now)
    return connection.execute(_changing(table, tuple(key), tuple(now)), given).rowcount


def _row(connection: Connection, table: Table, **key: Any) -> Row[Any] | None:
    return connection.execute(_finding(table, *key), key).one_or_none()


def _prefixed(prefix: str, values: Values) -> Values:
    """The names of a statement's parameters, which may not be those of its columns."""
    return {prefix + name: value for name, value in values.items()}


@cache
def _finding(table: Table, *key: str) -> Select[Any]:
    return select(table).where(*(table.c[name] == bindparam(name) for name in key))


@cache
def _adding(table: Table) -> Insert:
    return table.insert()


@cache
def _changing(table: Table, key: tuple[str, ...], now: tuple[str, ...]) -> Update:
    this = (table.c[name] == bindparam(f"of_{name}") for name in key)
    return update(table).where(*this).values({name: bindparam(f"to_{name}") for name in now})


@cache
def _moving(now: tuple[str, ...], moment: str | None) -> Update:
    this = (recordings.c.id == bindparam("of_recording"), recordings.c.call == bindparam("of_call"))
    expected = recordings.c.status.in_(bindparam("expected", expanding=True))
    values: Values = {name: bindparam(f"to_{name}") for name in now}
    if moment is not None:
        values[moment] = func.coalesce(recordings.c[moment], bindparam("to_changed_at"))
    return update(recordings).where(*this, expected).values(values)


def _require_same(found: Row[Any], values: Values, what: str) -> None:
    """Refuse a second, different account of what is written already; the values stay out of the error."""
    said = found._asdict()
    other = sorted(name for name, value in values.items() if said[name] != value)
    if other:
        raise CatalogueRefused(f"{what} is in the catalogue already, with another {', '.join(other)}")


def clean_texts(texts: Mapping[str, str]) -> dict[str, str]:
    """Return `texts` as both engines can keep them."""
    return {clean_text(name): clean_text(value) for name, value in texts.items()}


def _clean(text: str | None) -> str | None:
    return None if text is None else clean_text(text)


def clean_text(text: str) -> str:
    """Return `text` with what PostgreSQL cannot keep (NUL, lone surrogates from undecodable bytes) replaced by "?".

    Names come from the network: one odd byte in a caller's name must not cost the step that it is in.
    """
    return text.replace("\x00", "?").encode("utf-8", "replace").decode("utf-8")
