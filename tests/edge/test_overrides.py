"""Overrides counted by line, agent and reason, from the catalogue to who asks (OV-08)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from typer.testing import CliRunner, Result

from recorder.__main__ import app
from recorder.catalogue import Catalogue
from recorder.daemon import OverrideWatch
from recorder.model import ConsentState, Fact, LegSeen, OverrideReason, PartyKind
from tests import facts
from tests.edge.centre import Centre, until
from tests.facts import NODE, NOON
from tests.fakes.pbx import FakePbx

pytestmark = pytest.mark.usefixtures("no_task_left")


async def took(
    store: Catalogue,
    agent: str,
    calls: int,
    *,
    overriding: int = 0,
    line: str = "support",
    node: str = NODE,
    at: datetime = NOON,
    reason: OverrideReason = OverrideReason.EMERGENCY,
    by_queue: bool = True,
) -> None:
    """So many calls of an agent's, the first of them with an override."""
    for number in range(calls):
        call = facts.new_call()
        channel = replace(facts.agent(call), name=f"{agent}-{number:08x}")
        interface = agent if by_queue else None
        told: list[Fact] = [
            replace(facts.opened(call, node=node, line=line), started_at=at),
            LegSeen(call=call, channel=channel, kind=PartyKind.AGENT, at=at, interface=interface),
        ]
        if number < overriding:
            pressed = facts.answered(call, ConsentState.OVERRIDDEN, ConsentState.REFUSED, node=node)
            told.append(replace(pressed, actor=agent, reason=reason))
        await store.write_step(call, told, None, "closed", ConsentState.REFUSED)


async def test_overrides_are_counted_by_line_agent_and_reason_beside_the_calls_taken(store: Catalogue) -> None:
    await took(store, "PJSIP/alice", 4, overriding=2)
    await took(store, "PJSIP/alice", 3, overriding=1, reason=OverrideReason.LEGAL)
    await took(store, "PJSIP/alice", 2, overriding=1, line="sales")
    await took(store, "PJSIP/bob", 5, by_queue=False)
    await took(store, "PJSIP/bob", 7, at=NOON - timedelta(days=1))
    rows = {(row.line, row.agent, row.reason): row for row in await store.overrides(NOON)}
    assert {key: (row.count, row.calls, row.others_calls) for key, row in rows.items()} == {
        ("support", "PJSIP/alice", OverrideReason.EMERGENCY): (2, 7, 5),
        ("support", "PJSIP/alice", OverrideReason.LEGAL): (1, 7, 5),
        ("sales", "PJSIP/alice", OverrideReason.EMERGENCY): (1, 2, 0),
    }
    assert [row.line for row in await store.overrides(NOON, line="sales")] == ["sales"]
    assert await store.overrides(NOON, node="pbx2") == ()


async def test_the_watch_names_the_line_and_nobody_until_it_is_so_no_more(store: Catalogue) -> None:
    now = NOON
    watch = OverrideWatch(store, node=NODE, now=lambda: now)
    await took(store, "PJSIP/alice", 10, overriding=5)
    await took(store, "PJSIP/bob", 40)
    with capture_logs() as said:
        await watch.look()
        await watch.look()
    assert [(line["event"], line["lines"]) for line in said] == [("overrides_stand_out", ["support"])]
    (sentence,) = watch.warnings
    assert "support" in sentence
    assert "alice" not in sentence
    assert watch.standing_out == 1
    now += timedelta(days=8)
    await watch.look()
    assert (watch.warnings, watch.standing_out) == ([], 0)


@pytest.fixture
async def centre(catalogue_url: str, tmp_path: Path) -> AsyncIterator[Centre]:
    async with AsyncExitStack() as closing:
        made = Centre(await closing.enter_async_context(FakePbx()), tmp_path, catalogue_url)
        closing.push_async_callback(made.kill)
        await made.start()
        yield made


async def test_who_stands_out_is_in_the_status_and_named_by_the_command(centre: Centre, tmp_path: Path) -> None:
    at = centre.assembly.now() - timedelta(hours=1)
    await took(centre.catalogue, "PJSIP/alice", 10, overriding=5, at=at)
    await took(centre.catalogue, "PJSIP/bob", 40, at=at)
    centre.assembly.daemon.sweeps["overrides"].bell.set()
    await until(lambda: centre.assembly.daemon.parts.overrides.standing_out)
    assert any("recorder consents overrides" in reason for reason in (await centre.assembly.status()).reasons)
    file = tmp_path / "asked.toml"
    file.write_text(f'[ami]\nusername = "recorder"\nsecret = "s"\n[catalogue]\nurl = "{centre.url}"\n')
    told = await asked(file)
    (row,) = (line.split() for line in told.stdout.splitlines()[1:])
    assert row[:5] == ["support", "PJSIP/alice", "emergency", "5", "10"]
    assert "stands out" in told.stdout
    (shown,) = json.loads((await asked(file, "--json")).stdout)
    assert (shown["agent"], shown["count"], shown["stands_out"]) == ("PJSIP/alice", 5, True)
    nobody = await asked(file, "--line", "sales")
    assert nobody.exit_code == 0
    assert "Nobody" in nobody.stderr


async def asked(file: Path, *words: str) -> Result:
    """What the command prints, of the last day."""
    line = ["--config", str(file), "consents", "overrides", "--since", "1d", *words]
    return await asyncio.to_thread(CliRunner().invoke, app, line)
