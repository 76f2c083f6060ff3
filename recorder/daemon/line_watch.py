"""What is in force on each line at this moment: a mapping of rules that every part asks, in place of the settings' own.

Owns when the catalogue is read for it; must not decide: recorder.releases does. The invariants: a release ends with its
time, however long ago anything was read; nobody waits for a reading; before the first one nothing is captured on a line
that is asked, since it may be kept unrecorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Final

import structlog

from recorder.catalogue import CALLER_WAITS, READER_WAITS, Catalogue, CatalogueAway, CatalogueError
from recorder.daemon.readiness import LINES_NOT_READ, Readiness
from recorder.model import ConsentMode
from recorder.policy import LinePolicy, LineRules
from recorder.releases import Ground, Release, Said, Standing, releases, standing_of

log = structlog.get_logger(__name__)

MEND: Final = "`recorder line release` asks for a release, which another person must approve"


class LineWatch(Mapping[str, LineRules]):
    """The rules in force by line, as of each lookup. `begin` reads before anybody is asked, `look` again and again."""

    def __init__(
        self, catalogue: Catalogue, said: Mapping[str, Said], readiness: Readiness, now: Callable[[], datetime]
    ) -> None:
        self._catalogue = catalogue
        self._said = said
        self._asking = frozenset(line for line, one in said.items() if one.rules.mode is not ConsentMode.NEVER)
        self._kept = frozenset(line for line, one in said.items() if one.policy.keeps_unrecorded)
        self._releases: tuple[Release, ...] = ()
        self._readiness = readiness
        self._now = now
        self._told: dict[str, Ground] = {}
        self.is_read = False
        self.without_us: Mapping[str, LineRules] = WithoutUs(self)

    # ---- the mapping

    def __getitem__(self, line: str) -> LineRules:
        return self.standing(line).rules

    def __iter__(self) -> Iterator[str]:
        return iter(self._said)

    def __len__(self) -> int:
        return len(self._said)

    def standing(self, line: str) -> Standing:
        """What is in force on the line now, and on what that stands; KeyError where the settings have no such line."""
        return standing_of(self._said[line], kept=line in self._kept, found=self._releases, now=self._now())

    def held(self, line: str) -> Standing:
        """The same, had nobody released it."""
        return standing_of(self._said[line], kept=line in self._kept, found=(), now=self._now())

    @property
    def kept(self) -> frozenset[str]:
        """The lines of the settings that are kept unrecorded, released or not, as far as is known."""
        return self._kept

    @property
    def policies(self) -> tuple[LinePolicy, ...]:
        """The texts of what is in force; of lines of which that is known."""
        return tuple(self.standing(line).policy for line in self if self.is_read or line not in self._asking)

    @property
    def warnings(self) -> list[str]:
        """Sentences for /status."""
        held = (standing for line in self if (standing := self.standing(line)).ground is Ground.HELD)
        return [
            f"line {standing.rules.name} stays never recorded: its settings say {standing.settings}, and it is kept"
            f" unrecorded: {MEND}"
            for standing in held
        ]

    # ---- what is read

    async def begin(self) -> None:
        """Read before the door opens. Where that cannot be, it is said, and nothing is captured until it was."""
        try:
            await self.look(CALLER_WAITS)
        except CatalogueError as error:
            log.warning("lines_not_read", why=str(error))

    async def look(self, within: timedelta = READER_WAITS) -> bool:
        """Read what keeps lines and what releases them. CatalogueError passes, and what was read before stands."""
        unknown = self._asking - self._kept
        kept = await self._catalogue.kept_unrecorded(unknown, within) if unknown else frozenset()
        in_doubt = self._asking & (self._kept | kept)
        acts = await self._catalogue.release_acts(in_doubt, within) if in_doubt else ()
        self._kept, self._releases = self._kept | kept, tuple(releases(acts).values())
        self.is_read = True
        self._readiness.lines(None)
        self._tell()
        return False

    def require_read(self) -> None:
        """CatalogueAway before the first reading: what is to be judged by the rules in force must wait for it."""
        if not self.is_read:
            raise CatalogueAway(LINES_NOT_READ)

    def _tell(self) -> None:
        """Each change once, without a person's name."""
        grounds = {line: self.standing(line) for line in self._asking}
        for line, standing in sorted(grounds.items()):
            if standing.ground is self._told.get(line):
                continue
            if standing.ground is Ground.HELD:
                log.warning("line_held", line=line, settings=str(standing.settings))
            elif standing.release is not None:
                until = standing.release.until.isoformat()
                log.info("line_released", line=line, release=str(standing.release.id), until=until)
        self._told = {line: standing.ground for line, standing in grounds.items()}


class WithoutUs(Mapping[str, LineRules]):
    """The rules by which what the dialplan asked while we were away is judged: there is no release in them.

    The dialplan knows of no expiry, so a line that is kept unrecorded is left out of what is written for it. Where it
    asked on one all the same, it was by an older text.
    """

    def __init__(self, lines: LineWatch) -> None:
        self._lines = lines

    def __getitem__(self, line: str) -> LineRules:
        return self._lines.held(line).rules

    def __iter__(self) -> Iterator[str]:
        return iter(self._lines)

    def __len__(self) -> int:
        return len(self._lines)
