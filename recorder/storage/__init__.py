"""The only module that opens, renames or unlinks recordings.

Owns the staged files once Asterisk has closed them, the settled files, their names and their folders. Must not decide
what may be kept: it is told. Invariant: a settled path holds a whole, closed, synced WAV or nothing, and no staged file
is removed by the step that settled it. Every call blocks; callers bring the thread.
"""

from recorder.storage.errors import (
    RecordingTooLong,
    SettledFileDamaged,
    SettledFileDiffers,
    SettledFileMissing,
    StagedFileDamaged,
    StagedFileMissing,
    StagedFilesEmpty,
    StorageError,
    StorageFull,
    StorageRefused,
    StorageUnavailable,
)
from recorder.storage.folders import FreeSpace, Problem, ProblemKind, file_system_kind, folder_problems, free_space
from recorder.storage.fullness import Disk, DiskLevel, Marks, disks
from recorder.storage.header import HeaderRepair, is_closed, repair_header
from recorder.storage.join import Edges, Span
from recorder.storage.markers import Marker, new_marker
from recorder.storage.settled import Found, FoundKind, Settled, Storage
from recorder.storage.spool import Leftover, LegFile, Spool, Staged, StagedFile
from recorder.storage.strays import Strays
from recorder.storage.zeros import Zeros

__all__ = [
    "Disk",
    "DiskLevel",
    "Edges",
    "Found",
    "FoundKind",
    "FreeSpace",
    "HeaderRepair",
    "Leftover",
    "LegFile",
    "Marker",
    "Marks",
    "Problem",
    "ProblemKind",
    "RecordingTooLong",
    "Settled",
    "SettledFileDamaged",
    "SettledFileDiffers",
    "SettledFileMissing",
    "Span",
    "Spool",
    "Staged",
    "StagedFile",
    "StagedFileDamaged",
    "StagedFileMissing",
    "StagedFilesEmpty",
    "Storage",
    "StorageError",
    "StorageFull",
    "StorageRefused",
    "StorageUnavailable",
    "Strays",
    "Zeros",
    "disks",
    "file_system_kind",
    "folder_problems",
    "free_space",
    "is_closed",
    "new_marker",
    "repair_header",
]
