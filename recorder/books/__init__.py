"""The books: whether calls, consent events, recordings, files and digests balance, and what does not fit by name.

`walk` reads, `balance` and `files` judge (pure), `mismatch` holds the codes. Nothing here changes anything.
"""

from recorder.books.balance import balance
from recorder.books.mismatch import MENDS, Code, Mismatch
from recorder.books.walk import Books, Progress, verify

__all__ = ["MENDS", "Books", "Code", "Mismatch", "Progress", "balance", "verify"]
