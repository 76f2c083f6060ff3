"""What all tiers share: the choice of Asterisk."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--asterisk", choices=["16", "22"], help="place live calls on this release only")
