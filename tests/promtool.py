"""Prometheus' own tool, to check our alert rules and to play figures through them.

Taken from the PATH, else out of Debian's package into the cache, without installing it: that would start a server.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

RULES = Path(__file__).parents[1] / "deploy" / "prometheus" / "recorder.rules.yml"
MINUTES = 30
"""So long the figures are as they were while all was well, and then so long as the fault made them."""

Figures = Mapping[str, float]
"""Samples by their name and labels, as Prometheus would store them."""


def find() -> Path | None:
    """The program; None where it can neither be found nor fetched."""
    if found := shutil.which("promtool"):
        return Path(found)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "recorder-test-promtool"
    kept = cache / "promtool"
    if not kept.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            if not _fetch(Path(folder)):
                return None
            Path(folder, "root/usr/bin/promtool").rename(kept)
    return kept


def _fetch(folder: Path) -> bool:
    """Debian's package, unpacked into `folder`/root."""
    folder.chmod(0o755)  # apt reads and writes as a user of its own
    if shutil.which("apt-get") is None or _quiet("apt-get", "download", "prometheus", cwd=folder) != 0:
        return False
    return all(_quiet("dpkg-deb", "-x", str(deb), str(folder / "root")) == 0 for deb in folder.glob("*.deb"))


def _quiet(*command: str, cwd: Path | None = None) -> int:
    return subprocess.run(command, cwd=cwd, capture_output=True, check=False).returncode


def run(*words: str) -> tuple[int, str]:
    tool = find()
    assert tool is not None
    done = subprocess.run([tool, *words], capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stdout + done.stderr


def figures_of(metrics: str) -> dict[str, float]:
    """What a scrape of /metrics stores."""
    found = {}
    for family in text_string_to_metric_families(metrics):
        for sample in family.samples:
            labels = {"job": "recorder", "instance": "pbx1:8089", **sample.labels}
            found[f"{sample.name}{{{', '.join(f'{k}={json.dumps(v)}' for k, v in labels.items())}}}"] = sample.value
    return found


def play(before: Figures, after: Figures, fire: Sequence[str], *, grow: Sequence[str] = (), at: int = MINUTES) -> None:
    """Assert that nothing fires on what `before` shows, and exactly `fire` when `after` has stood for `at` minutes.

    The series whose name and labels begin with one of `grow` go on growing by a minute a minute: ages.
    """
    series = [
        {"series": name, "values": f"{_flat(before.get(name))} {_then(name, after.get(name), grow)}"}
        for name in sorted({*before, *after})
    ]
    firing = 'ALERTS{alertstate="firing"%s}'
    expected = [_asked(f"{MINUTES - 1}m", f"count({firing % ''})", none=True)]
    end = f"{MINUTES + at - 1}m"
    expected += [_asked(end, "min(" + firing % f',alertname="{name}"' + ")", none=False) for name in fire]
    rest = "|".join(fire) or "nothing"
    expected.append(_asked(end, "count by (alertname) (" + firing % f',alertname!~"{rest}"' + ")", none=True))
    assert_tested({"interval": "1m", "input_series": series, "promql_expr_test": expected})


def _flat(value: float | None) -> str:
    return f"_x{MINUTES}" if value is None else f"{value}+0x{MINUTES - 1}"


def _then(name: str, value: float | None, grow: Sequence[str]) -> str:
    slope = 60 if value is not None and name.startswith(tuple(grow)) and grow else 0
    return f"_x{MINUTES}" if value is None else f"{value}+{slope}x{MINUTES - 1}"


def _asked(at: str, expression: str, *, none: bool) -> dict[str, object]:
    samples = [] if none else [{"labels": "{}", "value": 1}]
    return {"expr": expression, "eval_time": at, "exp_samples": samples}


def assert_tested(test: Mapping[str, object]) -> None:
    """Run one of promtool's unit tests over our rules."""
    plan = {"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": [test]}
    with tempfile.NamedTemporaryFile("w", suffix=".yml", encoding="utf-8") as file:
        json.dump(plan, file)  # which is YAML as well
        file.flush()
        code, said = run("test", "rules", file.name)
    assert code == 0, said
