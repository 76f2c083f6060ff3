"""The books: whether calls, consent events, recordings, files and digests balance, and what does not fit by name.

`walk` and `asterisk` read, `balance`, `files` and `join` judge (pure), `mismatch` holds the codes. Nothing here changes
anything.
"""

from recorder.books.asterisk import Ledgers
from recorder.books.balance import balance
from recorder.books.join import Reach
from recorder.books.mismatch import MENDS, REMARKS, Code, Mismatch, Remark, RemarkCode
from recorder.books.walk import Books, Progress, stray_files, verify

__all__ = [
    "MENDS",
    "REMARKS",
    "Books",
    "Code",
    "Ledgers",
    "Mismatch",
    "Progress",
    "Reach",
    "Remark",
    "RemarkCode",
    "balance",
    "stray_files",
    "verify",
]
