"""What a share of a file system in use means, and that one file system is one disk."""

from __future__ import annotations

import pytest

from recorder.storage import DiskLevel, FreeSpace, Marks, disks

SPOOL, STORAGE = Marks(name="spool", warn=0.8, alarm=0.9), Marks(name="storage", warn=0.7, alarm=0.95)


def free(used: float, file_system: int = 1) -> FreeSpace:
    return FreeSpace(bytes=1, share=1 - used, used=used, file_system=file_system)


@pytest.mark.parametrize(
    ("used", "level", "mark"),
    [
        (0.0, DiskLevel.ROOM, 0.8),
        (0.799, DiskLevel.ROOM, 0.8),
        (0.8, DiskLevel.WARN, 0.8),
        (0.899, DiskLevel.WARN, 0.8),
        (0.9, DiskLevel.ALARM, 0.9),
        (1.0, DiskLevel.ALARM, 0.9),
    ],
)
def test_a_disk_is_judged_by_the_share_that_is_used(used: float, level: DiskLevel, mark: float) -> None:
    (disk,) = disks([(SPOOL, free(used))])
    assert (disk.level, disk.mark) == (level, mark)


def test_folders_on_two_file_systems_are_two_disks_each_with_its_own_marks() -> None:
    one, other = disks([(SPOOL, free(0.75, 1)), (STORAGE, free(0.75, 2))])
    assert (one.names, one.level, other.names, other.level) == (
        ("spool",),
        DiskLevel.ROOM,
        ("storage",),
        DiskLevel.WARN,
    )


def test_folders_on_one_file_system_are_one_disk_with_the_stricter_marks() -> None:
    (disk,) = disks([(SPOOL, free(0.75)), (STORAGE, free(0.75))])
    assert (disk.names, disk.level, disk.mark) == (("spool", "storage"), DiskLevel.WARN, 0.7)
    (disk,) = disks([(STORAGE, free(0.9)), (SPOOL, free(0.9))])
    assert (disk.level, disk.mark) == (DiskLevel.ALARM, 0.9)


def test_the_words_name_the_folders_how_full_and_the_mark() -> None:
    (disk,) = disks([(SPOOL, free(0.834)), (STORAGE, free(0.834))])
    assert disk.words == "the disk of spool and storage is 83% used, and 70% is the mark"
