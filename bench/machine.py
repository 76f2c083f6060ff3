"""What the benches measure with: CPU time and memory of processes as the kernel counts them, tables, aims.

CPU time and not the clock: on a machine that does other things as well it is the only figure that means something.
"""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

UNIT = Path(__file__).parents[1] / "deploy" / "recorder.service"
CGROUPS = Path("/sys/fs/cgroup")
TICK_MS = 1000 / os.sysconf("SC_CLK_TCK")


def cpu_ms(pid: int) -> float:
    """CPU time of a process since it began, all its threads, dead ones too."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(after_name[11]) + int(after_name[12])) * TICK_MS


def cpu_ms_by_thread(pid: int) -> Counter[str]:
    """CPU time of the living threads, together where they share a name but for its number ("disk_0", "disk_1")."""
    taken: Counter[str] = Counter()
    for task in Path(f"/proc/{pid}/task").iterdir():
        name = (task / "comm").read_text().strip()
        if int(task.name) == pid:
            name = "MainThread"
        nanoseconds = int((task / "schedstat").read_text().split()[0])  # finer than stat's ticks: threads are many
        taken[name.rstrip("0123456789").rstrip("_")] += nanoseconds / 1e6  # type: ignore[assignment]
    return taken


@contextmanager
def weighted(pid: int) -> Iterator[None]:
    """Give the daemon the processor's weight that its unit gives it; what it begins meanwhile has it too.

    Says so, and where the kernel lets nobody give it: as one program among the others it waits longer.
    """
    weight = next(int(line.partition("=")[2]) for line in UNIT.read_text().splitlines() if line.startswith("CPUWeight"))
    older = (CGROUPS / "cpu").is_dir()  # version 1, where 1024 is what version 2 calls 100
    root = CGROUPS / "cpu" if older else CGROUPS
    group, before = root / f"recorder-bench-{pid}", root
    try:
        before = root / _group_of(pid, "cpu" if older else "").lstrip("/")
        if not older:
            (CGROUPS / "cgroup.subtree_control").write_text("+cpu")
        group.mkdir()
        (group / ("cpu.shares" if older else "cpu.weight")).write_text(str(weight * 1024 // 100 if older else weight))
        (group / "cgroup.procs").write_text(str(pid))
    except OSError as error:
        print(f"the daemon without its CPUWeight={weight}: {error}")
        with suppress(OSError):
            group.rmdir()
        yield
        return
    print(f"the daemon at CPUWeight={weight}, as its unit has it; Asterisk at 100")
    try:
        yield
    finally:
        with suppress(OSError):  # it may have ended
            (before / "cgroup.procs").write_text(str(pid))
        with suppress(OSError):
            group.rmdir()


def _group_of(pid: int, controller: str) -> str:
    """The control group of a process; `controller` is empty for version 2."""
    lines = (line.split(":", 2) for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines())
    return next(path for _, controllers, path in lines if controller in controllers.split(","))


def resident_kb(pid: int) -> int:
    """Resident memory in kB (1024 bytes)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


def proportional_kb(pid: int) -> int:
    """Memory in kB, what is shared with others counted by its part (PSS)."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def open_files(pid: int) -> list[str]:
    """What each open file of a process is."""
    found = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):  # closed meanwhile
            found.append(str(link.readlink()))
    return found


def threads(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def idle_and_all_ms() -> tuple[float, float]:
    """What the machine's processors have spent idle (or waiting for a disk), and in all, since it started."""
    spent = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return (spent[3] + spent[4]) * TICK_MS, sum(spent) * TICK_MS


def machine() -> str:
    """The machine in one line, with how busy it is."""
    cpus = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in cpus if line.startswith("model name")), platform.machine())
    memory = int(Path("/proc/meminfo").read_text().split()[1]) / 1024**2
    return (
        f"{os.cpu_count()} cores of {model}, {memory:.0f} GB, Linux {platform.release()}, "
        f"Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """A figure and the most it may be."""

    what: str
    found: float
    most: float
    unit: str

    @property
    def met(self) -> bool:
        return self.found <= self.most

    def __str__(self) -> str:
        verdict = "aim met" if self.met else "AIM MISSED"
        return f"{self.what}: {self.found:.1f} {self.unit} (at most {self.most:g} {self.unit}): {verdict}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """Many measurements of one thing, and the bound of their p99 (or, `of` max, of the longest)."""

    what: str
    values: Sequence[float]
    most: float | None = None  # None: shown and not judged
    least: int = 1000  # as many measurements the bound asks for
    of: str = "p99"
    unit: str = "ms"

    @property
    def judged_by(self) -> float:
        return max(self.values) if self.of == "max" else percentile(self.values, 0.99)

    @property
    def verdict(self) -> str:
        """A bound is not met by too few measurements."""
        if self.most is None:
            return ""
        if not self.values or self.judged_by > self.most:
            return "NOT MET"
        return "met" if len(self.values) >= self.least else f"TOO FEW, {self.least} asked for"

    def __str__(self) -> str:
        shown = (percentile(self.values, 0.5), percentile(self.values, 0.99), max(self.values)) if self.values else ()
        numbers = "".join(f"{value:>9.1f}" for value in shown) or f"{'-':>9}" * 3
        bound = "" if self.most is None else f"{self.of} {self.most:g} {self.unit}"
        return f"{self.what:44}{len(self.values):>7}{numbers}  {bound:14}{self.verdict}".rstrip()


def tabled(title: str, figures: Sequence[Figure]) -> bool:
    """Print the table of figures and say whether every bound is met."""
    print(f"\n{title:44}{'n':>7}{'p50':>9}{'p99':>9}{'max':>9}  bound")
    for figure in figures:
        print(figure)
    return all(figure.verdict in ("", "met") for figure in figures)


def judged(aims: Sequence[Aim]) -> bool:
    """Print every aim and say whether all are met."""
    print()
    for aim in aims:
        print(aim)
    return all(aim.met for aim in aims)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of all do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-int(len(ordered) * share * 1000) // 1000) - 1)]
