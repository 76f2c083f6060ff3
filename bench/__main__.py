"""`python -m bench [NAME ... [OPTIONS]]`: run these benches one after the other; without a name, list them.

Each runs in a process of its own and ends with 1 where it missed an aim; so does this. OPTIONS go to the last one, but
for --keep: what each printed replaces what the documentation holds of it, met or not.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from bench.pages import has, kept

HERE = Path(__file__).parent
NAMES = (
    "consent",
    "saturation",
    "keys",
    "leaving",
    "rivals",
    "resync",
    "bursts",
    "load",
    "soak",
    "talk",
    "ami",
    "analysis",
)
KEPT = ("docs/performance.md", "docs/soak.md")
KEEP = "--keep"


def about(name: str) -> str:
    """The first line of its docstring."""
    text = ast.get_docstring(ast.parse((HERE / f"{name}.py").read_text())) or ""
    return text.partition("\n")[0]


def main(words: list[str]) -> int:
    keeps = KEEP in words
    words = [word for word in words if word != KEEP]
    names = [word for word in words if word in NAMES]
    if not names or words[0] not in names:
        for name in NAMES:
            print(f"  {name:12}{about(name)}")
        return 2 if words else 0
    options = words[len(names) :]
    missed = []
    for name in names:
        print(f"\n== {name}: {about(name)}", flush=True)
        code, printed = run(name, options if name == names[-1] else [])
        if code:
            missed.append(name)
        if keeps:
            keep(name, printed)
    if missed:
        print(f"\nmissed: {', '.join(missed)}", file=sys.stderr)
    return 1 if missed else 0


def run(name: str, options: list[str]) -> tuple[int, str]:
    """Run it, pass on what it prints as it comes, and return that with its exit code."""
    command = [sys.executable, "-u", "-m", f"bench.{name}", *options]
    lines = []
    with subprocess.Popen(command, cwd=HERE.parent, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line)
    return process.returncode, "".join(lines)


def keep(name: str, printed: str) -> None:
    """Put what was printed into the page that has a place for it."""
    for page in (HERE.parent / page for page in KEPT):
        text = page.read_text("utf-8")
        if has(text, name):
            page.write_text(kept(text, name, printed, f"{datetime.now(UTC):%Y-%m-%d}"), "utf-8")
            print(f"kept in {page.relative_to(HERE.parent)}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
