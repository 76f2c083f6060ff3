"""The books: whether calls, consent events, recordings, files and digests balance, and what does not fit by name.

`walk` and `asterisk` read, `balance`, `files` and `join` judge (pure), `mismatch` holds the codes; `apart` does it in a
program of its own. Nothing here changes anything.
"""

from recorder.books.apart import Balanced, NotBalanced, Whose, balance_apart
from recorder.books.asterisk import Ledgers
from recorder.books.balance import balance
from recorder.books.join import Reach
from recorder.books.mismatch import MENDS, REMARKS, Code, Mismatch, Remark, RemarkCode
from recorder.books.walk import Books, Progress, stray_files, verify

__all__ = [
    "MENDS",
    "REMARKS",
    "Balanced",
    "Books",
    "Code",
    "Ledgers",
    "Mismatch",
    "NotBalanced",
    "Progress",
    "Reach",
    "Remark",
    "RemarkCode",
    "Whose",
    "balance",
    "balance_apart",
    "stray_files",
    "verify",
]
