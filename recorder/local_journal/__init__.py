"""The local journal: what calls owe the catalogue, on this machine's disk, until the catalogue has it.

codec.py frames bytes as records and reads them back, pure; file.py owns the file; journal.py is the door. This room
knows records by a key and bytes: what is in them is its callers' affair. Must not decide what a record means. The
invariants: a record that was read back is whole; what cannot be read is said, and kept for a person to look at.
"""

from recorder.local_journal.codec import Reading, framed, read
from recorder.local_journal.file import JournalFile, JournalUnusable, file_of, folder_of
from recorder.local_journal.journal import Journal

__all__ = ["Journal", "JournalFile", "JournalUnusable", "Reading", "file_of", "folder_of", "framed", "read"]
