"""The catalogue keeps what it is told, once, and refuses what its rules forbid: on SQLite and PostgreSQL alike."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Connection, text

from recorder.catalogue import Catalogue, CatalogueRefused, JournalRow, tables
from recorder.model import (
    CallEnded,
    CallId,
    ConsentMode,
    ConsentRecorded,
    ConsentState,
    Fact,
    LostReason,
    Outcome,
    OverrideReason,
    PartyKind,
    RecordingAuthorised,
    RecordingId,
    RecordingStatus,
    Uniqueid,
)
from recorder.policy import LinePolicy
from recorder.releases import ReleaseAction
from recorder.signing_in import SignInAct, SignInAction
from tests import facts
from tests.core.test_listens import ACT
from tests.facts import NODE, NOON, later

RecordingPath = tuple[ConsentRecorded, RecordingAuthorised]


async def write(
    store: Catalogue,
    call: CallId,
    *told: Fact,
    event: JournalRow | None = None,
    phase: str = "waiting",
    consent: ConsentState = ConsentState.NONE,
) -> bool:
    return await store.write_step(call, told, event, phase, consent)


async def opened_call(store: Catalogue, mode: ConsentMode = ConsentMode.OPT_IN, line: str = "support") -> CallId:
    call = facts.new_call()
    await write(store, call, facts.opened(call, mode, line=line), facts.leg(call), event=facts.step(1))
    return call


async def authorised_recording(store: Catalogue, call: CallId) -> RecordingAuthorised:
    event = facts.answered(call)
    recording = facts.authorised(event)
    await write(store, call, event, recording)
    return recording


async def settled_recording(store: Catalogue, call: CallId) -> RecordingAuthorised:
    recording = await authorised_recording(store, call)
    await store.write_facts([facts.changed(recording, RecordingStatus.AUTHORISED, RecordingStatus.STOPPED)])
    await store.write_facts([facts.settled(recording)])
    return recording


async def ended_call(store: Catalogue, outcome: Outcome, reason: LostReason | None = None, at: float = 90) -> CallId:
    call = await opened_call(store)
    await write(store, call, CallEnded(call=call, ended_at=later(at), outcome=outcome, reason=reason))
    return call


# --------------------------------------------------------------------------- steps


async def test_a_step_keeps_its_facts_its_journal_row_and_the_calls_phase_together(store: Catalogue) -> None:
    call = facts.new_call()
    event = facts.answered(call)
    recording = facts.authorised(event)
    told = (facts.opened(call), facts.leg(call), event, recording)

    assert await write(store, call, *told, event=facts.step(1, key="1"), phase="armed", consent=ConsentState.GIVEN)

    whole = await store.one_call(call)
    assert whole is not None
    assert (whole.call.phase, whole.call.consent, whole.call.started_at) == ("armed", ConsentState.GIVEN, NOON)
    assert whole.call.started_at.utcoffset() == timedelta(0)
    assert [(row.uniqueid, row.kind) for row in whole.legs] == [(facts.caller(call).uniqueid, PartyKind.CALLER)]
    assert [(row.id, row.after, row.played_ms) for row in whole.consents] == [(event.id, ConsentState.GIVEN, 4000)]
    assert [row.text for row in whole.prompts] == [facts.QUESTION.text]
    assert [(row.id, row.status, row.line) for row in whole.recordings] == [
        (recording.id, RecordingStatus.AUTHORISED, "support")
    ]
    assert whole.journal == (facts.step(1, key="1"),)


async def test_facts_are_written_in_the_order_that_their_references_need(store: Catalogue) -> None:
    call = facts.new_call()
    event = facts.answered(call)
    ended = CallEnded(call=call, ended_at=later(9), outcome=Outcome.RECORDED)

    await write(store, call, ended, facts.authorised(event), event, facts.leg(call), facts.opened(call))

    assert await store.open_calls(NODE) == ()


async def test_one_refused_fact_leaves_nothing_of_its_step(store: Catalogue) -> None:
    call = await opened_call(store)
    event = facts.answered(call, ConsentState.REFUSED)

    with pytest.raises(CatalogueRefused):
        await write(store, call, event, facts.authorised(event), event=facts.step(2), phase="armed")

    whole = await store.one_call(call)
    assert whole is not None
    assert (whole.consents, whole.recordings, whole.call.phase) == ((), (), "waiting")
    assert [row.seq for row in whole.journal] == [1]


async def test_a_step_said_twice_is_written_once(store: Catalogue) -> None:
    call = facts.new_call()
    event = facts.answered(call)
    told = (facts.opened(call), facts.leg(call), event, facts.authorised(event))

    first = await write(store, call, *told, event=facts.step(1))
    before = await store.one_call(call)
    second = await write(store, call, *told, event=facts.step(1), phase="another")

    assert (first, second) == (True, False)
    assert await store.one_call(call) == before


async def test_successive_steps_are_written_together_with_what_stands_after_the_last(store: Catalogue) -> None:
    call = facts.new_call()
    event = facts.answered(call)
    steps: list[tuple[Sequence[Fact], JournalRow]] = [
        ((facts.opened(call), facts.leg(call)), facts.step(1)),
        ((event, facts.authorised(event)), facts.step(2, "ConsentAnswered")),
        ((), facts.step(3, "DialBegan")),
    ]

    assert await store.write_steps(call, steps, "talking", ConsentState.GIVEN) == 3

    whole = await store.one_call(call)
    assert whole is not None
    assert (whole.call.phase, whole.call.consent) == ("talking", ConsentState.GIVEN)
    assert [row.seq for row in whole.journal] == [1, 2, 3]
    assert len(whole.recordings) == 1


async def test_of_successive_steps_those_that_are_in_already_are_not_applied_again(store: Catalogue) -> None:
    call = await opened_call(store)
    event = facts.answered(call)
    steps = [((event,), facts.step(2)), ((), facts.step(3))]
    await store.write_steps(call, steps[:1], "waiting", ConsentState.GIVEN)

    assert await store.write_steps(call, steps, "talking", ConsentState.GIVEN) == 1
    assert await store.write_steps(call, steps, "another", ConsentState.NONE) == 0

    whole = await store.one_call(call)
    assert whole is not None
    assert (whole.call.phase, len(whole.consents)) == ("talking", 1)
    assert [row.seq for row in whole.journal] == [1, 2, 3]


async def test_of_successive_steps_one_that_is_refused_takes_the_others_with_it(store: Catalogue) -> None:
    call = await opened_call(store)
    refused = facts.answered(call, ConsentState.REFUSED)
    steps = [((), facts.step(2)), ((refused, facts.authorised(refused)), facts.step(3))]

    with pytest.raises(CatalogueRefused):
        await store.write_steps(call, steps, "armed", ConsentState.REFUSED)

    whole = await store.one_call(call)
    assert whole is not None
    assert ([row.seq for row in whole.journal], whole.consents) == ([1], ())


async def test_a_step_said_again_with_another_content_is_refused(store: Catalogue) -> None:
    call = await opened_call(store)

    with pytest.raises(CatalogueRefused, match="another name"):
        await write(store, call, event=facts.step(1, "BridgeEntered"))


async def test_facts_without_a_journal_row_are_applied_once_when_repeated(store: Catalogue) -> None:
    call = facts.new_call()
    event = facts.answered(call)
    recording = facts.authorised(event)
    told: Sequence[Fact] = (
        facts.opened(call),
        facts.leg(call),
        event,
        facts.override_audit(recording),
        recording,
        facts.changed(recording, RecordingStatus.AUTHORISED, RecordingStatus.STOPPED),
        CallEnded(call=call, ended_at=later(90), outcome=Outcome.RECORDED),
    )
    await write(store, call, *told)
    before = await store.one_call(call)

    await write(store, call, *told)

    assert await store.one_call(call) == before


async def test_a_step_of_an_unknown_call_is_refused(store: Catalogue) -> None:
    with pytest.raises(CatalogueRefused, match="not in the catalogue"):
        await write(store, facts.new_call(), event=facts.step(1))


async def test_a_naive_time_is_a_bug_and_is_not_written(store: Catalogue) -> None:
    call = facts.new_call()
    naive = replace(facts.opened(call), started_at=datetime(2026, 3, 2, 12, 0))  # noqa: DTZ001

    with pytest.raises(Exception, match="naive datetime"):
        await write(store, call, naive)

    assert await store.one_call(call) is None


async def test_a_time_of_another_zone_is_kept_as_its_moment_in_utc(store: Catalogue) -> None:
    call = facts.new_call()
    elsewhere = datetime.fromisoformat("2026-03-02T07:00:00-05:00")

    await write(store, call, replace(facts.opened(call), started_at=elsewhere))

    whole = await store.one_call(call)
    assert whole is not None
    assert whole.call.started_at.isoformat() == "2026-03-02T12:00:00+00:00"


@pytest.mark.parametrize("hostile", ["a\x00b", "\udcff\udc80", "';DROP TABLE calls;--", "x" * 10_000, "☎ é"])
async def test_hostile_text_in_a_journal_row_costs_nothing(store: Catalogue, hostile: str) -> None:
    call = await opened_call(store)

    await write(store, call, event=facts.step(2, name_shown=hostile))
    again = await write(store, call, event=facts.step(2, name_shown=hostile))

    assert again is False


async def test_a_leg_seen_again_keeps_its_first_moment_and_takes_its_newer_name(store: Catalogue) -> None:
    call = await opened_call(store)
    renamed = replace(facts.caller(call), name="PJSIP/trunk-0000000f")
    again = replace(facts.leg(call), channel=renamed, at=later(30), interface="PJSIP/alice")

    await write(store, call, again)
    await write(store, call, replace(again, interface=None))

    whole = await store.one_call(call)
    assert whole is not None
    assert [(row.channel, row.seen_at, row.interface) for row in whole.legs] == [
        ("PJSIP/trunk-0000000f", NOON, "PJSIP/alice")
    ]


# --------------------------------------------------------------------------- prompts


async def test_a_prompt_version_is_kept_once_however_often_it_is_played(store: Catalogue) -> None:
    call = await opened_call(store)
    asked = facts.answered(call, ConsentState.ASKED, ConsentState.NONE)

    await write(store, call, asked, facts.answered(call))

    whole = await store.one_call(call)
    assert whole is not None
    assert len(whole.consents) == 2
    assert len(whole.prompts) == 1


async def test_another_version_of_a_prompt_is_kept_beside_the_first(store: Catalogue) -> None:
    call = await opened_call(store)
    newer = replace(facts.QUESTION, version="2", sha256="c" * 64, text="Another sentence.")

    await write(store, call, facts.answered(call), facts.answered(call, prompt=newer))

    whole = await store.one_call(call)
    assert whole is not None
    assert [row.version for row in whole.prompts] == ["1", "2"]


async def test_a_prompt_whose_text_changed_under_the_same_version_is_refused(store: Catalogue) -> None:
    call = await opened_call(store)
    await write(store, call, facts.answered(call))

    with pytest.raises(CatalogueRefused, match="another text"):
        await write(store, call, facts.answered(call, prompt=replace(facts.QUESTION, text="Something else.")))


# --------------------------------------------------------------------------- consent is a gate (CE-02)


@pytest.mark.parametrize("state", sorted(set(ConsentState) - set(tables.AUTHORISING)))
async def test_a_state_that_does_not_permit_authorises_no_recording(store: Catalogue, state: ConsentState) -> None:
    call = await opened_call(store, ConsentMode.OPT_OUT)
    event = facts.answered(call, state)

    with pytest.raises(CatalogueRefused):
        await write(store, call, event, facts.authorised(event))


@pytest.mark.parametrize("state", [ConsentState.GIVEN, ConsentState.NOTICED, ConsentState.NOT_REQUIRED])
async def test_a_state_that_permits_authorises_a_recording(store: Catalogue, state: ConsentState) -> None:
    call = await opened_call(store)
    event = facts.answered(call, state)

    await write(store, call, event, facts.authorised(event))

    assert [row.authorising_state for row in await store.list_recordings(9)] == [state]


async def test_no_recording_exists_without_a_consent_event(store: Catalogue) -> None:
    call = await opened_call(store)

    with pytest.raises(CatalogueRefused):
        await write(store, call, facts.authorised(facts.answered(call)))


async def test_another_calls_consent_authorises_nothing(store: Catalogue) -> None:
    one, other = await opened_call(store), await opened_call(store)
    event = facts.answered(one)

    with pytest.raises(CatalogueRefused):
        await write(store, other, event, replace(facts.authorised(event), call=other))


async def test_a_recording_cannot_claim_a_better_answer_than_was_given(store: Catalogue) -> None:
    call = await opened_call(store)
    event = facts.answered(call, ConsentState.REFUSED)

    with pytest.raises(CatalogueRefused):
        await write(store, call, event, replace(facts.authorised(event), state=ConsentState.GIVEN))


@pytest.mark.parametrize("mode", sorted(set(ConsentMode) - {ConsentMode.OPT_OUT}))
async def test_silence_permits_nothing_outside_opt_out(store: Catalogue, mode: ConsentMode) -> None:
    call = await opened_call(store, mode)
    event = facts.answered(call, ConsentState.UNANSWERED)

    with pytest.raises(CatalogueRefused):
        await write(store, call, event, facts.authorised(event, mode=mode))


async def test_silence_permits_under_opt_out(store: Catalogue) -> None:
    call = await opened_call(store, ConsentMode.OPT_OUT)
    event = facts.answered(call, ConsentState.UNANSWERED)

    await write(store, call, event, facts.authorised(event, mode=ConsentMode.OPT_OUT))

    assert len(await store.list_recordings(9)) == 1


def overridden(call: CallId) -> RecordingPath:
    event = facts.answered(call, ConsentState.OVERRIDDEN, ConsentState.REFUSED)
    return event, facts.authorised(event, sealed=True)


async def test_an_override_is_kept_with_its_audit_row_and_sealed(store: Catalogue) -> None:
    call = await opened_call(store)
    event, recording = overridden(call)
    act = facts.override_audit(recording)

    await write(store, call, event, replace(recording, audit=act.id), act)

    whole = await store.one_call(call)
    assert whole is not None
    assert [(row.sealed, row.audit) for row in whole.recordings] == [(True, act.id)]
    assert [(row.id, row.recording, row.details) for row in whole.audit] == [(act.id, recording.id, act.details)]
    assert [(row.before, row.reason) for row in whole.consents] == [(ConsentState.REFUSED, OverrideReason.EMERGENCY)]


async def test_an_override_without_an_audit_row_is_refused(store: Catalogue) -> None:
    call = await opened_call(store)
    event, recording = overridden(call)

    with pytest.raises(CatalogueRefused):
        await write(store, call, event, recording)
    with pytest.raises(CatalogueRefused):
        await write(store, call, event, replace(recording, audit=uuid4()))


async def test_an_override_that_is_not_sealed_is_refused(store: Catalogue) -> None:
    call = await opened_call(store)
    event, recording = overridden(call)
    act = facts.override_audit(recording)

    with pytest.raises(CatalogueRefused):
        await write(store, call, event, act, replace(recording, audit=act.id, sealed=False))


async def test_an_audit_row_of_another_recording_does_not_authorise_an_override(store: Catalogue) -> None:
    call = await opened_call(store)
    event, recording = overridden(call)
    act = replace(facts.override_audit(recording), recording=RecordingId(uuid4()))

    with pytest.raises(CatalogueRefused):
        await write(store, call, event, act, replace(recording, audit=act.id))


@pytest.mark.parametrize(
    "bad",
    [
        {"after": ConsentState.OVERRIDDEN},
        {"after": ConsentState.OVERRIDDEN, "reason": OverrideReason.LEGAL},
        {"after": ConsentState.GIVEN, "reason": OverrideReason.LEGAL},
        {"after": ConsentState.NOT_REQUIRED},
        {"key": "12"},
        {"key": ""},
    ],
    ids=[
        "override without reason",
        "override without actor",
        "reason without override",
        "no basis",
        "two keys",
        "no key",
    ],
)
async def test_a_consent_event_that_makes_no_sense_is_refused(store: Catalogue, bad: dict[str, Any]) -> None:
    call = await opened_call(store)

    with pytest.raises(CatalogueRefused):
        await write(store, call, replace(facts.answered(call), **bad))


# --------------------------------------------------------------------------- the schema's own rules, in SQL


REFUSED_SIGN_IN = SignInAct(id=uuid4(), at=NOON, user=None, action=SignInAction.REFUSED, actor=None)


async def say(store: Catalogue, statement: str) -> None:
    def work(connection: Connection) -> None:
        connection.execute(text(statement))

    await store.write(work)


async def released(store: Catalogue) -> None:
    """A release that was asked for and approved, past the rules of who may."""
    acts = [asdict(facts.release_act(action)) for action in (ReleaseAction.ASKED, ReleaseAction.APPROVED)]

    def work(connection: Connection) -> None:
        connection.execute(tables.release_acts.insert(), acts)

    await store.write(work)


@pytest.mark.parametrize("table", [table.name for table in tables.APPEND_ONLY])
async def test_what_is_append_only_cannot_be_changed_or_removed(store: Catalogue, table: str) -> None:
    call = await opened_call(store)
    event, recording = overridden(call)
    await write(store, call, event, facts.answered(call), facts.override_audit(recording))
    await store.write_file_act(facts.file_act())
    await store.write_policies(NODE, NOON, "1.0", [LinePolicy(line="support", settings="{}")])
    await store.write_user_acts([facts.user_act()])
    await released(store)
    await store.write_sign_in(REFUSED_SIGN_IN)
    await store.write_listens([ACT])
    await store.write_contest(facts.contest_act())
    await store.write_comment(facts.comment_act())
    columns = {"prompts": "text", "audit": "actor", "consent_events": "policy", "call_events": "name"}
    columns |= {
        "file_acts": "reason",
        "chain": "body",
        "policies": "settings",
        "user_acts": "actor",
        "sign_ins": "actor",
        "release_acts": "actor",
    }
    columns |= {"listens": "explanation", "contests": "said", "comments": "said"}
    column = columns[table]

    for statement in (f"UPDATE {table} SET {column} = 'x'", f"DELETE FROM {table}"):
        with pytest.raises(CatalogueRefused, match="append-only"):
            await say(store, statement)


@pytest.mark.postgres
@pytest.mark.parametrize("table", [table.name for table in tables.APPEND_ONLY])
@pytest.mark.parametrize("engine_name", ["postgres"])
async def test_what_is_append_only_cannot_be_truncated(store: Catalogue, table: str) -> None:
    with pytest.raises(CatalogueRefused, match="append-only"):
        await say(store, f"TRUNCATE {table} CASCADE")


@pytest.mark.parametrize("engine_name", ["sqlite"])
async def test_what_is_append_only_cannot_be_replaced(store: Catalogue) -> None:
    await write(store, call := await opened_call(store), facts.answered(call))

    with pytest.raises(CatalogueRefused, match="append-only"):
        await say(
            store,
            "REPLACE INTO consent_events (seq, id, call, at, before, after, channel, policy)"
            " SELECT seq, 'another', call, at, before, 'refused', channel, policy FROM consent_events",
        )
    with pytest.raises(CatalogueRefused, match="append-only"):
        await say(
            store, "REPLACE INTO call_events SELECT call, seq, at, 'x', old_phase, new_phase, fields FROM call_events"
        )
    columns = "call, consent, salt, body, commitment, 'x' FROM chain"
    for which in (f"node, seq, at, {columns}", f"node, seq + 1, at, {columns}"):
        with pytest.raises(CatalogueRefused, match="append-only"):
            await say(store, f"REPLACE INTO chain SELECT {which}")
    await store.write_policies(NODE, NOON, "1.0", [LinePolicy(line="support", settings="{}")])
    with pytest.raises(CatalogueRefused, match="append-only"):
        await say(store, "REPLACE INTO policies SELECT digest, node, line, 'other', version, first_at FROM policies")
    await store.write_user_acts([facts.user_act()])
    kept = "at, actor, of_user, action, node, interface, role, line FROM user_acts"
    for which in (f"seq + 1, id, {kept}", f"seq, '{'0' * 32}', {kept}"):
        with pytest.raises(CatalogueRefused, match="append-only"):
            await say(store, f"REPLACE INTO user_acts (seq, id, {kept.partition(' FROM')[0]}) SELECT {which}")
    await store.write_sign_in(REFUSED_SIGN_IN)
    for which in ("seq + 1, id", f"seq, '{'0' * 32}'"):
        with pytest.raises(CatalogueRefused, match="append-only"):
            await say(store, f"REPLACE INTO sign_ins (seq, id, at, action) SELECT {which}, at, action FROM sign_ins")
    await store.write_listens([ACT])
    names = (
        "kind, listener, recording, call, line, roles, agents, medium, purpose, chained_at, salt, commitment, digest"
    )
    for which in (f"node, seq + 1, id, listen, at, {names}", f"node, seq, '{'0' * 32}', listen, at, {names}"):
        with pytest.raises(CatalogueRefused, match="append-only"):
            await say(store, f"REPLACE INTO listens (node, seq, id, listen, at, {names}) SELECT {which} FROM listens")
    await store.write_contest(facts.contest_act())
    names = "at, actor, action, node, call, line, agent, said"
    other = f"'{'0' * 32}'"
    for which in ("seq + 1, id, of_contest", f"seq, {other}, {other}", f"seq + 1, {other}, of_contest"):
        with pytest.raises(CatalogueRefused, match="append-only"):
            await say(
                store, f"REPLACE INTO contests (seq, id, of_contest, {names}) SELECT {which}, {names} FROM contests"
            )
    await store.write_comment(facts.comment_act())
    names = "at, actor, action, recording, call, line, moment_ms, said"
    for which in ("seq + 1, id, of_comment", f"seq, {other}, {other}", f"seq + 1, {other}, of_comment"):
        with pytest.raises(CatalogueRefused, match="append-only"):
            await say(
                store, f"REPLACE INTO comments (seq, id, of_comment, {names}) SELECT {which}, {names} FROM comments"
            )


@pytest.mark.parametrize(
    "change",
    [
        "outcome = 'recorded'",
        "ended_at = started_at",
        "ended_at = started_at, outcome = 'lost'",
        "ended_at = started_at, outcome = 'recorded', reason = 'busy'",
        "reason = 'busy'",
        "ended_at = started_at, outcome = 'kept'",
        "consent = 'maybe'",
        "mode = 'always'",
        "direction = 'sideways'",
    ],
)
async def test_a_call_row_that_makes_no_sense_is_refused(store: Catalogue, change: str) -> None:
    await opened_call(store)

    with pytest.raises(CatalogueRefused):
        await say(store, f"UPDATE calls SET {change}")


@pytest.mark.parametrize(
    "change",
    [
        "status = 'settled'",
        "status = 'failed'",
        "status = 'kept'",
        "authorising_state = 'refused'",
        "authorising_state = 'unanswered'",
        "authorising_state = 'noticed'",
        "analysed_at = authorised_at",
        "authorised_by = NULL",
    ],
)
async def test_a_recording_row_that_makes_no_sense_is_refused(store: Catalogue, change: str) -> None:
    await authorised_recording(store, await opened_call(store))

    with pytest.raises(CatalogueRefused):
        await say(store, f"UPDATE recordings SET {change}")


async def test_a_call_with_a_recording_cannot_be_removed(store: Catalogue) -> None:
    await authorised_recording(store, await opened_call(store))

    with pytest.raises(CatalogueRefused):
        await say(store, "DELETE FROM calls")


# --------------------------------------------------------------------------- recordings move on by compare-and-set


async def test_a_recording_moves_from_authorised_to_settled_with_its_moments(store: Catalogue) -> None:
    call = await opened_call(store)
    recording = await authorised_recording(store, call)
    armed = replace(facts.changed(recording, RecordingStatus.AUTHORISED, RecordingStatus.ARMED, 6), mixmonitor="0x7f01")
    stopped = replace(
        facts.changed(recording, RecordingStatus.ARMED, RecordingStatus.STOPPED, 59),
        bridged_at=later(9),
        bridged_seconds=50.0,
    )

    await store.write_facts([armed, stopped, facts.settled(recording)])

    row = (await store.recordings_named([recording.id]))[recording.id]
    moments = (row.authorised_at, row.armed_at, row.bridged_at, row.stopped_at, row.settled_at, row.changed_at)
    assert moments == (later(5), later(6), later(9), later(59), later(60), later(60))
    assert (row.status, row.samples, row.rate, row.size) == (RecordingStatus.SETTLED, 400_000, 8000, 1_600_044)
    assert (row.mixmonitor, row.bridged_seconds, row.findings) == ("0x7f01", 50.0, ("header_repaired",))


async def test_a_recording_does_not_move_from_a_status_that_was_not_expected(store: Catalogue) -> None:
    recording = await authorised_recording(store, await opened_call(store))
    late = facts.changed(recording, RecordingStatus.ARMED, RecordingStatus.STOPPED)

    with pytest.raises(CatalogueRefused, match=re.escape(f"{recording.id} is authorised")):
        await store.write_facts([late])


async def test_a_recording_is_not_settled_before_it_stopped(store: Catalogue) -> None:
    recording = await authorised_recording(store, await opened_call(store))

    with pytest.raises(CatalogueRefused, match="is authorised: it cannot become settled"):
        await store.write_facts([facts.settled(recording)])


async def test_a_recording_that_nobody_authorised_cannot_move(store: Catalogue) -> None:
    call = await opened_call(store)
    unknown = facts.authorised(facts.answered(call))

    with pytest.raises(CatalogueRefused, match="not in the catalogue"):
        await store.write_facts([facts.changed(unknown, RecordingStatus.AUTHORISED, RecordingStatus.ARMED)])


async def test_a_failed_recording_says_why(store: Catalogue) -> None:
    recording = await authorised_recording(store, await opened_call(store))
    failed = facts.changed(recording, RecordingStatus.AUTHORISED, RecordingStatus.FAILED)

    with pytest.raises(CatalogueRefused):
        await store.write_facts([failed])
    await store.write_facts([replace(failed, reason=LostReason.CAPTURE_FAILED)])

    assert [row.reason for row in await store.list_recordings(9)] == [LostReason.CAPTURE_FAILED]


async def test_an_analysis_adds_measures_and_findings_and_can_be_said_again(store: Catalogue) -> None:
    recording = await settled_recording(store, await opened_call(store))

    for _ in range(2):
        await store.write_analysis(recording.id, later(70), {"silence_share": 0.25}, ["silence"])

    row = (await store.recordings_named([recording.id]))[recording.id]
    assert (row.measures, row.findings) == ({"silence_share": 0.25}, ("header_repaired", "silence"))
    assert row.analysed_at == later(70)


async def test_an_analysis_of_what_is_not_settled_is_refused(store: Catalogue) -> None:
    recording = await authorised_recording(store, await opened_call(store))

    with pytest.raises(CatalogueRefused, match="not settled"):
        await store.write_analysis(recording.id, later(70), {}, [])


# --------------------------------------------------------------------------- one outcome


async def test_a_call_ends_once(store: Catalogue) -> None:
    call = await ended_call(store, Outcome.DECLINED)

    with pytest.raises(CatalogueRefused, match="another outcome"):
        await write(store, call, CallEnded(call=call, ended_at=later(90), outcome=Outcome.RECORDED))


# --------------------------------------------------------------------------- questions


async def test_open_calls_are_the_nodes_own_without_an_outcome_oldest_first(store: Catalogue) -> None:
    await ended_call(store, Outcome.ABANDONED)
    elsewhere = facts.new_call()
    await write(store, elsewhere, facts.opened(elsewhere, node="pbx2"))
    younger, older = facts.new_call(), facts.new_call()
    await write(store, younger, replace(facts.opened(younger), started_at=later(10)), event=facts.step(1))
    await write(store, older, facts.opened(older), event=facts.step(1))
    await write(store, older, event=facts.step(2, "BridgeEntered", bridge="b1"))

    found = await store.open_calls(NODE)

    assert [whole.call.id for whole in found] == [older, younger]
    assert found[0].journal == (facts.step(1), facts.step(2, "BridgeEntered", bridge="b1"))


async def test_recordings_due_are_the_nodes_own_of_one_status_longest_unchanged_first(store: Catalogue) -> None:
    recordings = [await authorised_recording(store, await opened_call(store)) for _ in range(4)]
    for seconds, recording in zip((30, 10, 20), recordings, strict=False):
        stopped = facts.changed(recording, RecordingStatus.AUTHORISED, RecordingStatus.STOPPED, seconds)
        await store.write_facts([stopped])

    due = await store.recordings_due(NODE, RecordingStatus.STOPPED, 2)
    rest = await store.recordings_due(NODE, RecordingStatus.STOPPED, 9, excluding={row.id for row in due})

    assert [row.id for row in due] == [recordings[1].id, recordings[2].id]
    assert [row.id for row in rest] == [recordings[0].id]
    assert await store.recordings_due("pbx2", RecordingStatus.STOPPED, 9) == ()


async def test_a_settled_recording_is_due_for_analysis_until_it_was_analysed(store: Catalogue) -> None:
    recording = await settled_recording(store, await opened_call(store))

    due = await store.recordings_due(NODE, RecordingStatus.SETTLED, 9, analysed=False)
    await store.write_analysis(recording.id, later(70), {}, [])

    assert [row.id for row in due] == [recording.id]
    assert await store.recordings_due(NODE, RecordingStatus.SETTLED, 9, analysed=False) == ()


async def test_lists_show_the_newest_first_and_only_what_was_asked_for(store: Catalogue) -> None:
    sales = await opened_call(store, line="sales")
    lost = facts.new_call()
    await write(store, lost, replace(facts.opened(lost), started_at=later(10)))
    await write(store, lost, CallEnded(call=lost, ended_at=later(20), outcome=Outcome.LOST, reason=LostReason.BUSY))
    await write(store, sales, facts.answered(sales, ConsentState.REFUSED))

    assert [row.id for row in await store.list_calls(9)] == [lost, sales]
    assert [row.id for row in await store.list_calls(1)] == [lost]
    assert [row.id for row in await store.list_calls(9, line="sales")] == [sales]
    assert [row.id for row in await store.list_calls(9, outcome=Outcome.LOST)] == [lost]
    assert [row.id for row in await store.list_calls(9, since=NOON, until=later(10))] == [sales]
    assert await store.list_calls(9, node="pbx2") == ()
    assert [row.call for row in await store.list_consents(9, line="sales")] == [sales]
    assert await store.list_consents(9, after=ConsentState.GIVEN) == ()
    assert await store.list_recordings(9, node=NODE, line="sales") == ()


async def test_counts_name_every_reason_and_status(store: Catalogue) -> None:
    await ended_call(store, Outcome.LOST, LostReason.BUSY, at=90)
    await ended_call(store, Outcome.LOST, LostReason.BUSY, at=10)
    await settled_recording(store, await opened_call(store))

    found = await store.counts(since=later(50))

    assert {reason for reason, count in found.lost.items() if count} == {LostReason.BUSY}
    assert (found.lost[LostReason.BUSY], set(found.lost)) == (1, set(LostReason))
    assert (found.recordings[RecordingStatus.SETTLED], set(found.recordings)) == (1, set(RecordingStatus))
    assert (found.to_analyse, found.open_calls) == (1, 1)
    assert (await store.counts(since=later(50), node="pbx2")).lost[LostReason.BUSY] == 0


async def test_a_list_of_any_length_tells_which_uniqueids_are_legs_of_the_node(store: Catalogue) -> None:
    call = await opened_call(store)
    mine = facts.caller(call).uniqueid
    asked = [Uniqueid(f"other.{number}") for number in range(1200)] + [mine]

    assert await store.known_uniqueids(NODE, asked) == {mine}
    assert await store.known_uniqueids("pbx2", asked) == frozenset()
    assert await store.known_uniqueids(NODE, []) == frozenset()


async def test_a_call_is_found_by_a_linkedid_that_it_or_a_leg_carries(store: Catalogue) -> None:
    call = await opened_call(store)
    merged = replace(facts.agent(call), linkedid=facts.caller(facts.new_call()).linkedid)
    await write(store, call, replace(facts.leg(call), channel=merged, kind=PartyKind.AGENT))

    for linkedid in (facts.caller(call).linkedid, merged.linkedid):
        assert [row.id for row in await store.calls_of_linkedid(NODE, linkedid)] == [call]


async def test_a_walk_in_batches_meets_every_call_once(store: Catalogue) -> None:
    made = {await opened_call(store) for _ in range(5)}
    met: list[CallId] = []

    while batch := await store.calls_after(met[-1] if met else None, 2):
        met += [whole.call.id for whole in batch]

    assert (len(met), set(met)) == (5, made)


async def test_bookmarks_and_sweep_marks_are_kept_for_each_node(store: Catalogue) -> None:
    await store.write_bookmark(NODE, "queue_log", {"offset": 10, "line": "a"})
    await store.write_bookmark(NODE, "queue_log", {"offset": 20, "line": "b"})
    await store.write_sweep(NODE, "settle", NOON)
    await store.write_sweep(NODE, "settle", later(5))

    assert await store.bookmark(NODE, "queue_log") == {"offset": 20, "line": "b"}
    assert await store.bookmark("pbx2", "queue_log") is None
    assert await store.sweep_marks(NODE) == {"settle": later(5)}
    assert await store.sweep_marks("pbx2") == {}
