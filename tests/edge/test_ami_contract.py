"""The AMI contract, held against the fake PBX (the live tier holds it against Asterisk)."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.edge.ami_contract import *  # noqa: F403
from tests.fakes.pbx import FakePbx


@pytest.fixture
async def pbx() -> AsyncIterator[FakePbx]:
    async with FakePbx() as fake:
        yield fake
