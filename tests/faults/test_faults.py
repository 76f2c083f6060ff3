"""Five of the faults in CI, with fewer calls and seconds; `./dev faults` plays them all."""

from __future__ import annotations

import pytest

from tests.faults.faults import FAULTS
from tests.faults.scene import CI, Fault, play

pytestmark = [pytest.mark.live, pytest.mark.fault, pytest.mark.slow]


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault.in_ci], ids=lambda fault: fault.name)
async def test_a_fault_costs_no_more_than_it_may(fault: Fault) -> None:
    played = await play(fault, CI)
    assert played.verdict.wrong == (), played.log[-20000:]
    assert played.verdict.row.captured > 0
    assert played.verdict.row.met > 0
