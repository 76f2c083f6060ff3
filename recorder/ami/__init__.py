"""The Asterisk Manager Interface: typed events in, typed actions out, and the only door to it.

`session` keeps the session, `actions` asks, `wire` speaks the bytes (on panoramisk), `events` translates, `stamps` says
when. Nobody else imports these five by name; they import nothing else of ours but recorder.model.
"""

from recorder.ami.actions import Actions, ChannelSnapshot, CoreStatus, QueuedCaller, QueueMember, QueueStatus
from recorder.ami.session import Ami, AmiAddress, AmiLimits, AmiLoginRefused, AmiState, PbxFacts
from recorder.ami.stamps import LATEST
from recorder.ami.wire import AmiCounters, AmiDown, AmiError, AmiRefused, AmiTimeout, AmiUnsendable

__all__ = [
    "LATEST",
    "Actions",
    "Ami",
    "AmiAddress",
    "AmiCounters",
    "AmiDown",
    "AmiError",
    "AmiLimits",
    "AmiLoginRefused",
    "AmiRefused",
    "AmiState",
    "AmiTimeout",
    "AmiUnsendable",
    "ChannelSnapshot",
    "CoreStatus",
    "PbxFacts",
    "QueueMember",
    "QueueStatus",
    "QueuedCaller",
]
