"""The first of the README's two commands."""

from __future__ import annotations

import asyncio
import sys

import pytest

from tests.recorder_process import REPOSITORY

pytestmark = pytest.mark.live


async def test_the_demo_ends_by_itself_and_well(release: str) -> None:
    words = [sys.executable, "-m", "tests.demo", "--once", "--asterisk", release]
    demo = await asyncio.create_subprocess_exec(
        *words, cwd=REPOSITORY, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await asyncio.wait_for(demo.communicate(), 150)
    text = said.decode()
    assert demo.returncode == 0, text
    for words_of in ("capturing", "The books of node pbx1 balance.", "6 calls ended as they should", "/recordings/"):
        assert words_of in text
