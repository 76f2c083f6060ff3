"""One node's listening log: is a row missing, and is each what it was when it was written?

Pure: told everything, asks nothing. The invariant: whoever changes, removes or adds a row past the recorder is named
here (LL-05), unless they write the whole log anew from there on; that is what heads noted elsewhere are for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from recorder.books.mismatch import Code, Mismatch
from recorder.catalogue import Logged
from recorder.chain import Head, canonical, further_back, is_committed
from recorder.listens import body_of


def judge_logged(batch: Sequence[Logged], after: int) -> list[Mismatch]:
    """Everything about these successive rows that does not fit; `after` is the number of the row before them."""
    found: list[Mismatch] = []
    for logged in batch:
        if logged.seq != after + 1:
            found.append(_mismatch(logged, Code.LISTENING_REMOVED, _gone(after + 1, logged.seq - 1)))
        found += _row(logged, after)
        after = logged.seq
    return found


def _gone(first: int, last: int) -> str:
    if first == last:
        return f"row {first} of the listening log was removed"
    return f"rows {first} to {last} of the listening log were removed"


def judge_noted(head: Head, digest: str | None) -> Mismatch | None:
    """What is wrong with the log where a head of it was noted elsewhere."""
    if digest == head.digest:
        return None
    what = "there is no such row" if digest is None else f"that row's digest is {digest} now"
    return Mismatch(code=Code.HEAD_UNKNOWN, what=f"the head {head} was noted elsewhere, and {what}")


def _row(logged: Logged, after: int) -> Iterator[Mismatch]:
    if not is_committed(logged.salt, canonical(body_of(logged.act)), logged.commitment):
        what = f"row {logged.seq} of the listening log says otherwise than when it was written"
        yield _mismatch(logged, Code.LISTENING_CHANGED, what)
    if logged.previous is None and logged.seq > 1:
        if logged.seq == after + 1:  # the row before the first that was read: nobody else would tell of it
            yield _mismatch(logged, Code.LISTENING_REMOVED, _gone(logged.seq - 1, logged.seq - 1))
        return  # told as removed: nobody can say whether this one stood on what is gone
    if logged.further is None and further_back(logged.seq) > 0:
        return
    if logged.link.digest != logged.digest:
        what = f"row {logged.seq} of the listening log does not follow from those before it: it was changed, or they"
        yield _mismatch(logged, Code.LISTENING_CHANGED, what)


def _mismatch(logged: Logged, code: Code, what: str) -> Mismatch:
    act = logged.act
    return Mismatch(code=code, what=f"{what} (node {act.node})", call=act.call, recording=act.recording)
