"""Would Asterisk ask without us what the settings say? The one look that tells before it matters.

Changes nothing at the PBX. The invariant: what could not be asked is not called stale.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from recorder.ami import Ami, AmiError
from recorder.fallback import context_name
from recorder.fallback_file import Written

log = structlog.get_logger(__name__)

MEND: Final = "`recorder init --apply`, then `dialplan reload`"


class FallbackWatch:
    """`warnings` are sentences for /status."""

    def __init__(self, ami: Ami, written: Callable[[str], Written]) -> None:
        """`written` says, for a version of Asterisk, what should stand there; it reads the prompts, so it may block."""
        self._ami = ami
        self._written = written
        self.warnings: tuple[str, ...] = ()

    async def look(self) -> bool:
        """Ask about every line that is to be asked without us, or would be were it not kept unrecorded."""
        facts = self._ami.state.facts
        if not self._ami.state.connected or facts is None or facts.core is None:
            return False
        made = await asyncio.to_thread(self._written, facts.core.version)
        found = [f"nobody is asked while the recorder is away: {problem}" for problem in made.problems]
        try:
            for line, (context, digest) in made.digests().items():
                if not await self._has(context, "s"):
                    found.append(f"line {line} is not asked while the recorder is away: {MEND}")
                elif not await self._has(context, digest):
                    found.append(f"line {line} is asked by older settings or prompts while we are away: {MEND}")
            for line in made.left_out:
                if await self._has(context_name(line), "s"):
                    found.append(f"line {line} is kept unrecorded, and asked while the recorder is away: {MEND}")
        except AmiError as error:
            log.info("fallback_not_compared", why=str(error))
            return False
        for warning in found:
            if warning not in self.warnings:
                log.warning("fallback_not_in_place", why=warning)
        self.warnings = tuple(found)
        return False

    async def _has(self, context: str, extension: str) -> bool:
        return await self._ami.evaluate(f"DIALPLAN_EXISTS({context},{extension},1)") == "1"
