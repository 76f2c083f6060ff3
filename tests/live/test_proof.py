"""The consent of real calls is proved to somebody elsewhere, with the very prompt that Asterisk played."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from recorder.chain import heads_noted, sha256
from recorder.proof import check
from tests.live.stage import stage
from tests.pbx.party import Say
from tests.proofs import said_by_the_lines
from tests.stories import AGENT, agrees, refuses

pytestmark = [pytest.mark.live, pytest.mark.asterisk16]

PROMPTS = Path(__file__).resolve().parents[2] / "dialplan" / "prompts"


async def test_the_consent_of_live_calls_is_proved(release: str) -> None:
    async with stage(release) as on:
        first = await on.calls.incoming("sales", agrees(), (Say(AGENT),))
        second = await on.calls.incoming("sales", refuses(), (Say(AGENT),), agent_name="agent2")
        for call in (first, second):
            await call.until_ended(timeout=120)
        rows = await on.closed(2, timeout=60)
        heads = heads_noted(on.recorder.command("consents", "head").stdout)
        texts = {str(row.outcome): on.recorder.command("consents", "proof", str(row.id)).stdout for row in rows}
        verified = on.recorder.command("verify", check=False)

    played = {sha256(path.read_bytes()) for path in PROMPTS.glob("en/question.wav")}
    assert len(played) == 1
    for outcome, states in (("recorded", ["asked", "given"]), ("declined", ["asked", "refused"])):
        checked = check(texts[outcome], heads)
        assert (checked.wrong, checked.heads_met) == ([], 1)
        assert said_by_the_lines(json.loads(texts[outcome])) == (0, [])
        assert checked.proof is not None
        assert [act.body["after"] for act in checked.proof.consents] == states
        assert [act.body["line"] for act in checked.proof.consents] == ["sales"] * 2
        assert checked.proof.end is not None
        assert (checked.proof.end.body["outcome"], set(checked.proof.prompts)) == (outcome, played)
    assert verified.returncode == 0, verified.stdout
