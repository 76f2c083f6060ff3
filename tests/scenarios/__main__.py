"""`python -m tests.scenarios cut catalogue.db CALL`: a scenario of a call in a catalogue, on standard output."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from uuid import UUID

from recorder.model import CallId
from tests import scenarios


def main(arguments: Sequence[str]) -> int:
    match arguments:
        case ["cut", database, call]:
            print(asyncio.run(scenarios.cut(database, CallId(UUID(call)))), end="")
            return 0
    print(scenarios.__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
