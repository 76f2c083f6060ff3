"""What is done about a recorder that we did not authorise: a table, and the few questions that it is asked with.

Owns the rule and nothing else: no I/O, no clock. The invariants: what could end a capture of ours is never done while
it may speak; while a call is paused nothing is left running that can be stopped or silenced; nothing is done that would
end a call of ours.

Asterisk names no MixMonitor in its events, and StopMixMonitor without an id ends the one that was started last
(docs/decisions/0014): that is the rival's exactly where ours is older.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from recorder.call import CallState, CaptureState, capture_in_hand, running_on
from recorder.model import (
    ConferenceRecorded,
    ConferenceUnrecorded,
    MonitorStarted,
    MonitorStopped,
    RivalFate,
    RivalKind,
    RivalPolicy,
    SpyBegan,
    SpyEnded,
    Uniqueid,
)

BEEP: Final = "Local/hook@__func_periodic_hook_context__-"
"""Who spies for Asterisk's own periodic beep (func_periodic_hook.c): it says something and hears nothing."""
SNOOP: Final = re.compile(r"Snoop/(.+)-[0-9a-f]{8}")
"""The channel with which an ARI application hears another, whose uniqueid stands in its name (res_stasis_snoop.c)."""
NUMBER: Final = re.compile(r"\+?\d(?:[-. ]?\d){4,}")


BEGINNINGS: Final = (MonitorStarted, SpyBegan, ConferenceRecorded)
"""What Asterisk says of a rival that is never ours; a MixMonitorStarted may be either's."""
ENDINGS: Final = (MonitorStopped, SpyEnded, ConferenceUnrecorded)


class Ours(StrEnum):
    """How a capture of ours stands on the channel on which the rival was met."""

    NONE = "none"  # there is none that Asterisk may be writing
    OLDER = "older"  # there is one, and the newest MixMonitor of the channel is the rival's
    UNSURE = "unsure"  # there is one, or is about to be, and nobody can say which is the newest


class Act(StrEnum):
    """What is done about it."""

    LEAVE = "leave"
    NOTHING = "nothing"
    STOP_NEWEST = "stop the newest MixMonitor"
    STOP_EVERY = "stop every MixMonitor, ours too"
    MUTE_EVERY = "mute every MixMonitor"
    STOP_MONITOR = "stop Monitor()"
    HANG_UP_SPY = "hang up who listens"
    HANG_UP_SNOOP = "hang up the snoop's channel, behind which is nobody"
    CANNOT = "cannot"


_K, _O = RivalKind, Ours

STOPS: Final[dict[tuple[RivalKind, Ours], Act]] = {
    (_K.MIXMONITOR, _O.NONE): Act.STOP_NEWEST,
    (_K.MIXMONITOR, _O.OLDER): Act.STOP_NEWEST,
    (_K.MIXMONITOR, _O.UNSURE): Act.CANNOT,
    **{(_K.MONITOR, ours): Act.STOP_MONITOR for ours in Ours},
    **{(_K.SPY, ours): Act.HANG_UP_SPY for ours in Ours},
    **{(_K.LISTENER, ours): Act.HANG_UP_SPY for ours in Ours},
    **{(_K.SNOOP, ours): Act.HANG_UP_SNOOP for ours in Ours},
    **{(_K.CONFERENCE, ours): Act.CANNOT for ours in Ours},
}
"""How each kind is stopped, if it is to be."""

FATES: Final[dict[Act, RivalFate]] = {
    Act.LEAVE: RivalFate.LEFT,
    Act.NOTHING: RivalFate.OVER,
    Act.STOP_NEWEST: RivalFate.STOPPED,
    Act.STOP_EVERY: RivalFate.STOPPED,
    Act.MUTE_EVERY: RivalFate.MUTED,
    Act.STOP_MONITOR: RivalFate.STOPPED,
    Act.HANG_UP_SPY: RivalFate.STOPPED,
    Act.HANG_UP_SNOOP: RivalFate.STOPPED,
    Act.CANNOT: RivalFate.RUNS_ON,
}
"""What has become of the rival where Asterisk confirmed the act."""

AT_LARGE: Final = frozenset({RivalFate.LEFT, RivalFate.RUNS_ON})
"""It goes on, and a person is to be told as long as it does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """A rival as it is met. `mutes_by_id`: this Asterisk mutes one of several MixMonitors, 18.18 and 20.3 on."""

    kind: RivalKind
    ours: Ours
    policy: RivalPolicy
    paused: bool = False
    mutes_by_id: bool = True
    by_a_party: bool = False  # who listens is in a call of ours
    is_over: bool = False  # as many MixMonitors have stopped on the channel as others had started


def decide(sighting: Sighting) -> Act:
    """What to do now. While a call is paused the policy counts only where it permits."""
    permitted = sighting.policy is RivalPolicy.PERMIT
    if permitted or (sighting.policy is RivalPolicy.REPORT and not sighting.paused):
        return Act.LEAVE
    if sighting.is_over and sighting.ours is not Ours.NONE:
        return Act.NOTHING  # a stop could only hit ours
    act = STOPS[sighting.kind, sighting.ours]
    if act is Act.HANG_UP_SPY and sighting.by_a_party:
        return Act.CANNOT
    if act is Act.CANNOT and sighting.kind is RivalKind.MIXMONITOR and sighting.paused:
        return Act.MUTE_EVERY if sighting.mutes_by_id else Act.STOP_EVERY
    return act


def ours_on(state: CallState, channel: Uniqueid, *, file: str | None, others: int) -> Ours:
    """How our capture stands there. `file` is MIXMONITOR_FILENAME, `others` how many of others' are thought to run.

    Every start sets that variable: a rival's to its file, ours to nothing, for it has no mixed file. One of a rival
    without a mixed file looks like ours.
    """
    capture = running_on(state, channel)
    if capture is None:
        return Ours.NONE
    has_begun = capture.state not in (CaptureState.ARMING, CaptureState.PREPARING)
    is_newest = bool(file) and others > 0 and has_begun
    return Ours.OLDER if is_newest else Ours.UNSURE


def is_paused(state: CallState) -> bool:
    """Whether silence is being written in place of speech, or would be: whoever records now may hear a card number."""
    capture = capture_in_hand(state)
    is_quiet = capture is not None and capture.state in (CaptureState.QUIET, CaptureState.PAUSED)
    return state.paused is not None or is_quiet


def kind_of_spy(arguments: str) -> RivalKind:
    """What ChanSpy's or ExtenSpy's arguments say it does: option r writes a file (app_chanspy.c)."""
    options = re.sub(r"\([^)]*\)", "", arguments.partition(",")[2])
    return RivalKind.SPY if "r" in options else RivalKind.LISTENER


def snooped_upon(channel: str) -> Uniqueid | None:
    """Whose uniqueid a snoop's channel is named for; None where this is no snoop's channel."""
    found = SNOOP.fullmatch(channel)
    return Uniqueid(found[1]) if found else None


def is_beep(spy: str) -> bool:
    """Whether this channel is Asterisk's periodic beep and nobody who listens."""
    return spy.startswith(BEEP)


def mutes_by_id(version: str) -> bool:
    """Whether MixMonitorMute heeds an id: 18.18 and 20.3 on, not in 19; a version that cannot be read does not."""
    found = re.search(r"(\d+)\.(\d+)", version)
    major, minor = (int(found[1]), int(found[2])) if found else (0, 0)
    return major > 20 or (major, minor) >= (20, 3) or (major == 18 and minor >= 18)


def without_numbers(path: str) -> str:
    """A rival's file as it may be kept and shown: houses put phone numbers into such names."""
    return NUMBER.sub("#", path)
