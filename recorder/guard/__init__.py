"""The guard of free text: what somebody typed is looked at before anything keeps it (decision 0047).

Pure, and the only room that knows what a card number, a social insurance number or a secret looks like. Must not keep,
log or send anything, and must not decide who may have an exemption. The invariant: no object that leaves this room
holds, hashes or prints what was found; only which detector, which field, where in it, how long, and what follows.

`examine` gives the verdict, `redacted` the texts with a fixed mark in place of what must not stay, `sentences` what a
person is told.
"""

from recorder.guard.examining import examine, redacted
from recorder.guard.verdict import (
    DEFAULTS,
    DETECTORS_VERSION,
    Action,
    Detector,
    GuardPolicy,
    Hit,
    Topic,
    Verdict,
)
from recorder.guard.words import mark, sentences

__all__ = [
    "DEFAULTS",
    "DETECTORS_VERSION",
    "Action",
    "Detector",
    "GuardPolicy",
    "Hit",
    "Topic",
    "Verdict",
    "examine",
    "mark",
    "redacted",
    "sentences",
]
