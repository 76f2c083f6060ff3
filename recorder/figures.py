"""The metrics of what nobody looks at by day: disks, work that waits, sweeps, alarms. A read-only view.

Must not ask a disk or a table: it is given what the daemon last saw. Unknown is not 0: what could not be asked has no
value, and Prometheus sees that it is absent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from recorder.alarms import Alarm, AlarmKind, Standing
from recorder.catalogue import Counts
from recorder.couriers import Courier
from recorder.model import RecordingStatus
from recorder.status import Figure
from recorder.storage import Disk, FreeSpace


def disk_figures(free: Mapping[str, FreeSpace], disks: Iterable[Disk]) -> Mapping[str, Figure]:
    """By folder; two folders on one file system have the same values."""
    return {
        "recorder_disk_used_ratio": Figure(
            about="Share of the folder's file system that is used, 0 to 1, of room or of file names",
            values={name: found.used for name, found in free.items()},
            label="folder",
        ),
        "recorder_disk_free_bytes": Figure(
            about="Room on the folder's file system",
            values={name: found.bytes for name, found in free.items()},
            label="folder",
        ),
        "recorder_disk_level": Figure(
            about="0 has room, 1 is beyond warn_percent, 2 is beyond alarm_percent",
            values={name: int(disk.level) for disk in disks for name in disk.names},
            label="folder",
        ),
    }


def backlog_figures(counts: Counts | None, now: datetime) -> Mapping[str, Figure]:
    """What waits in the catalogue; no value where the catalogue cannot be read."""
    waiting, oldest = {}, {}
    if counts is not None:
        waiting = {"settle": counts.recordings.get(RecordingStatus.STOPPED, 0), "analyse": counts.to_analyse}
        since = counts.oldest_to_settle
        oldest = {"settle": max(0.0, (now - since).total_seconds()) if since else 0.0}
    return {
        "recorder_recordings_waiting": Figure(
            about="Recordings that wait for a sweep", values={k: float(n) for k, n in waiting.items()}, label="sweep"
        ),
        "recorder_recordings_waiting_oldest_seconds": Figure(
            about="How long the longest waiting one has waited", values=oldest, label="sweep"
        ),
    }


def sweep_figures(last_ok: Mapping[str, datetime | None], started_at: datetime, now: datetime) -> Mapping[str, Figure]:
    """How long ago each sweep came to its end; one that never did counts from the start."""
    ages = {name: max(0.0, (now - (at or started_at)).total_seconds()) for name, at in last_ok.items()}
    return {
        "recorder_sweep_age_seconds": Figure(
            about="Time since the sweep last came to its end", values=ages, label="sweep"
        )
    }


def alarm_figures(alarms: Mapping[AlarmKind, Alarm], couriers: Iterable[Courier]) -> Mapping[str, Figure]:
    carrying = {courier.route.name: courier for courier in couriers}
    return {
        "recorder_alarms_raised": Figure(
            about="1 while an alarm of this kind stands",
            values={str(kind): float(alarm.standing is Standing.RAISED) for kind, alarm in alarms.items()},
            label="kind",
        ),
        "recorder_notices_waiting": Figure(
            about="Notices that were not delivered yet, by route",
            values={name: courier.waiting for name, courier in carrying.items()},
            label="route",
        ),
        "recorder_notices_delivered": Figure(
            about="Notices delivered, by route",
            values={name: courier.delivered for name, courier in carrying.items()},
            label="route",
            counts=True,
        ),
        "recorder_notices_failed": Figure(
            about="Attempts to deliver a notice that failed, by route",
            values={name: courier.failed for name, courier in carrying.items()},
            label="route",
            counts=True,
        ),
    }
