"""`python -m bench [NAME ... [OPTIONS]]`: run these benches one after the other; without a name, list them.

Each runs in a process of its own and ends with 1 where it missed an aim; so does this. OPTIONS go to the last one.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
NAMES = ("consent", "talk", "load", "keys", "leaving", "rivals", "resync", "ami", "analysis")


def about(name: str) -> str:
    """The first line of its docstring."""
    text = ast.get_docstring(ast.parse((HERE / f"{name}.py").read_text())) or ""
    return text.partition("\n")[0]


def main(words: list[str]) -> int:
    names = [word for word in words if word in NAMES]
    if not names or words[0] not in names:
        for name in NAMES:
            print(f"  {name:10}{about(name)}")
        return 2 if words else 0
    options = words[len(names) :]
    missed = []
    for name in names:
        print(f"\n== {name}: {about(name)}", flush=True)
        given = options if name == names[-1] else []
        if subprocess.run([sys.executable, "-m", f"bench.{name}", *given], cwd=HERE.parent, check=False).returncode:
            missed.append(name)
    if missed:
        print(f"\nmissed: {', '.join(missed)}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
