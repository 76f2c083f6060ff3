"""When a line that is kept unrecorded may be recorded after all: releases, and what they put in force (MS-01).

Pure. Must not know where acts are kept, and asks no clock. The invariants: a line of which settings have once said
`never` in so many words is never recorded without a release that one person asked for, another approved, and that is
not over; whatever is not known to release it does not.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

from recorder.chain import canonical
from recorder.model import ConsentMode
from recorder.policy import LinePolicy, LineRules
from recorder.rights import ANYBODY, Right, User, permits

LONGEST: Final = timedelta(days=366)
"""A duty that lasts longer is looked at anew, by two persons, once a year."""
REFERENCE_LENGTH: Final = range(3, 201)


class ReleaseAction(StrEnum):
    """What is done to a release."""

    ASKED = "asked"
    APPROVED = "approved"
    REFUSED = "refused"
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseAct:
    """One thing done to a release. `reference` and `until` go with `asked`, whose id is the release's."""

    id: UUID
    at: datetime
    actor: str
    release: UUID
    line: str
    asker: str  # in every act, so that the catalogue itself can refuse who approves what they have asked for
    action: ReleaseAction
    reference: str | None = None  # of the legal obligation that it rests on
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A release as what was done to it has left it; `action` was the last."""

    id: UUID
    line: str
    reference: str
    until: datetime
    asker: str
    asked_at: datetime
    action: ReleaseAction = ReleaseAction.ASKED
    approver: str | None = None

    def opens(self, now: datetime) -> bool:
        return self.action is ReleaseAction.APPROVED and now < self.until


def releases(acts: Iterable[ReleaseAct]) -> dict[UUID, Release]:
    """Every release there is, by its id, after these acts in their order. An act that fits nothing says nothing."""
    found: dict[UUID, Release] = {}
    for act in acts:
        known = found.get(act.release)
        if known is not None:
            found[act.release] = _after(known, act)
        elif act.action is ReleaseAction.ASKED and act.reference is not None and act.until is not None:
            found[act.release] = Release(
                id=act.release,
                line=act.line,
                reference=act.reference,
                until=act.until,
                asker=act.actor,
                asked_at=act.at,
            )
    return found


def _after(release: Release, act: ReleaseAct) -> Release:
    if _out_of_turn(release, act) is not None or (act.action is ReleaseAction.APPROVED and act.actor == release.asker):
        return release
    approver = act.actor if act.action is ReleaseAction.APPROVED else release.approver
    return replace(release, action=act.action, approver=approver)


def _out_of_turn(release: Release, act: ReleaseAct) -> str | None:
    """Why this cannot come after what was done to the release before."""
    ends_what_stands = act.action is ReleaseAction.ENDED and release.action is ReleaseAction.APPROVED
    if act.action is ReleaseAction.ASKED or not (release.action is ReleaseAction.ASKED or ends_what_stands):
        return f"that release is {release.action} already"
    return None


def refusal(
    known: Mapping[str, User], found: Mapping[UUID, Release], kept: Collection[str], act: ReleaseAct
) -> str | None:
    """Why an act makes no sense after what was done before, as a sentence; None where it does."""
    who = known.get(act.actor)
    if who is None or who.name == ANYBODY:
        return f"nobody is entered as {act.actor}: `recorder user add` enters somebody"
    if not who.enabled:
        return f"{who.name} is disabled"
    if act.action is ReleaseAction.ASKED:
        return _not_to_be_asked(who, kept, act)
    release = found.get(act.release)
    if release is None:
        return f"there is no release {act.release}"
    return _out_of_turn(release, act) or _not_theirs(who, release, act)


def _not_to_be_asked(who: User, kept: Collection[str], act: ReleaseAct) -> str | None:
    if not permits(who, Right.ASK_RELEASE, act.line):
        return f"{who.name} may not ask for a release of line {act.line}: that takes an administrator of it"
    if act.line not in kept:
        return f"line {act.line} is not kept unrecorded: its settings alone say how callers are asked"
    if not _is_reference(act.reference or ""):
        least, most = REFERENCE_LENGTH[0], REFERENCE_LENGTH[-1]
        return f"the reference is one line of {least} to {most} characters, which names the legal obligation"
    return _wrong_time(act.until, act.at)


def _is_reference(text: str) -> bool:
    return len(text) in REFERENCE_LENGTH and text.isprintable() and text == text.strip()


def _wrong_time(until: datetime | None, now: datetime) -> str | None:
    if until is None or until <= now:
        return "a release ends after now: that time has passed"
    if until > now + LONGEST:
        return f"a release lasts {LONGEST.days} days at the most"
    return None


def _not_theirs(who: User, release: Release, act: ReleaseAct) -> str | None:
    may_approve = permits(who, Right.APPROVE_RELEASE, release.line)
    if act.action is ReleaseAction.ENDED:
        either = may_approve or permits(who, Right.ASK_RELEASE, release.line)
        return None if either else f"{who.name} is neither administrator nor privacy officer of line {release.line}"
    if not may_approve:
        return f"{who.name} may not decide on a release of line {release.line}: that takes a privacy officer of it"
    if act.action is ReleaseAction.APPROVED and who.name == release.asker:
        return f"{who.name} asked for it: somebody else must approve"
    return _wrong_time(release.until, act.at) if act.action is ReleaseAction.APPROVED else None


# --------------------------------------------------------------------------- what is in force


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What the settings say of a line, as rules and as their text."""

    rules: LineRules
    policy: LinePolicy


class Ground(StrEnum):
    """On what it stands how a line's callers are asked."""

    SETTINGS = "settings"  # what they say
    KEPT = "kept"  # the same: never, and so it stays
    HELD = "held"  # they say another mode, and no release puts it in force
    RELEASED = "released"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What is in force on a line, with the text of which its rules' digest is taken."""

    ground: Ground
    settings: ConsentMode  # what they say
    rules: LineRules
    policy: LinePolicy
    release: Release | None = None


def standing_of(said: Said, *, kept: bool, found: Iterable[Release], now: datetime) -> Standing:
    """What is in force on a line: what its settings say, unless it is kept unrecorded and nothing releases it now.

    `kept`: settings of some time, on any node, have said `never` of it in so many words.
    """
    mode = said.rules.mode
    if mode is ConsentMode.NEVER or not kept:
        ground = Ground.KEPT if kept or said.policy.keeps_unrecorded else Ground.SETTINGS
        return Standing(ground=ground, settings=mode, rules=said.rules, policy=said.policy)
    opening = [release for release in found if release.line == said.rules.name and release.opens(now)]
    return _of_kept(said, max(opening, key=lambda release: (release.until, release.id), default=None))


@lru_cache(maxsize=1024)  # asked for every row of Asterisk's ledgers
def _of_kept(said: Said, release: Release | None) -> Standing:
    mode = ConsentMode.NEVER if release is None else said.rules.mode
    told: dict[str, Any] = {"consent": mode, "why": "kept unrecorded, and not released"}
    if release is not None:
        told["why"] = "kept unrecorded, and released"
        told["release"] = {
            "id": str(release.id),
            "reference": release.reference,
            "until": release.until.isoformat(),
            "asked_by": release.asker,
            "approved_by": release.approver,
        }
    settings = canonical(json.loads(said.policy.settings) | {"applies": told})
    policy = LinePolicy(line=said.policy.line, settings=settings)
    return Standing(
        ground=Ground.HELD if release is None else Ground.RELEASED,
        settings=said.rules.mode,
        rules=replace(said.rules, mode=mode, digest=policy.digest),
        policy=policy,
        release=release,
    )
