"""May this call be captured? The one module that answers, as an ordered table with a printable trace.

Pure: no I/O, no clock, only the standard library and the vocabulary. Anything not known to be permitted is not.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from recorder.model import ConsentMode, ConsentState, OverrideReason, Unrecorded

PERMITTED_BY_MODE: dict[ConsentMode, frozenset[ConsentState]] = {
    ConsentMode.OPT_IN: frozenset({ConsentState.GIVEN}),
    ConsentMode.OPT_OUT: frozenset({ConsentState.GIVEN, ConsentState.UNANSWERED}),
    ConsentMode.NOTICE: frozenset({ConsentState.GIVEN, ConsentState.NOTICED}),
    ConsentMode.NOT_REQUIRED: frozenset({ConsentState.GIVEN, ConsentState.NOT_REQUIRED}),
    ConsentMode.NEVER: frozenset(),
}
"""Which answers permit under which mode. An answer carried from an earlier line of the same call counts too."""

DUTIES = frozenset({OverrideReason.EMERGENCY, OverrideReason.LEGAL})
"""Reasons that outrank `never`: a life, or a law (OV-07). Business does not."""

OBJECTIONS = frozenset({ConsentState.REFUSED, ConsentState.WITHDRAWN})


@dataclass(frozen=True, slots=True, kw_only=True)
class OverrideTerms:
    """On what one reason to capture without consent rests, and what follows from it (OV-02)."""

    reason: OverrideReason
    basis: str
    retention: str | None = None  # the name of the retention rule that such a recording falls under
    tells_caller: bool = False  # whether the caller hears that it is captured, once it is


@dataclass(frozen=True, slots=True, kw_only=True)
class LineRules:
    """What the settings say of one ACD line. `digest` names exactly these settings in every consent event."""

    name: str
    mode: ConsentMode = ConsentMode.NEVER
    queues: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    purposes: tuple[str, ...] = ()
    languages: tuple[str, ...] = ("en",)
    accept: str = "1"
    refuse: str = "2"
    answer: timedelta = timedelta(seconds=5)
    retries: int = 2
    override: tuple[OverrideTerms, ...] = ()
    basis: str | None = None
    preroll: timedelta = timedelta()
    pause_longest: timedelta = timedelta(minutes=5)
    withdrawal_erases: bool = True
    announces: bool = False  # whether the agent is told, before the bridge, if the call is captured
    beep: int | None = None  # seconds between two beeps that the far party hears (CN-12)
    asked_without_us: bool = False  # while the daemon is away the dialplan asks (fallback = "dialplan")
    digest: str = ""

    @property
    def listed(self) -> frozenset[OverrideReason]:
        """The reasons for which an agent may override on this line."""
        return frozenset(terms.reason for terms in self.override)

    def terms(self, reason: OverrideReason) -> OverrideTerms | None:
        return next((terms for terms in self.override if terms.reason is reason), None)


KEPT_UNRECORDED = "kept_unrecorded"
KEPT_IN_TEXT = f'"{KEPT_UNRECORDED}":true'
"""How canonical JSON says it. Nothing that a setting holds can read so: its quotes would have a stroke before them."""
OLDER_DIGITS = 16
"""Of the digest, as older recorders wrote it. What is found with another text behind it in a lifetime proves little."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinePolicy:
    """A line's settings at some time, `settings` as the JSON text of which their digest is taken."""

    line: str
    settings: str

    @property
    def digest(self) -> str:
        """What names them in every consent event: the SHA-256, in hex, of name, blank and text."""
        return hashlib.sha256(f"{self.line} {self.settings}".encode()).hexdigest()

    @property
    def keeps_unrecorded(self) -> bool:
        """Whether these settings say `never` in so many words: left out it is what an installation begins with."""
        return KEPT_IN_TEXT in self.settings

    def gives(self, digest: str) -> bool:
        """Whether `digest` was taken of this text. Older recorders' has its first 16 digits; no other part is one."""
        return digest in (self.digest, self.digest[:OLDER_DIGITS])

    @property
    def purposes(self) -> frozenset[str]:
        """For what the line announces that it records; nothing where the text does not say it."""
        try:
            read = json.loads(self.settings)
        except ValueError:
            return frozenset()
        named = read.get("purposes") if isinstance(read, dict) else None
        return frozenset(str(name) for name in named) if isinstance(named, list) else frozenset()

    def told(self) -> dict[str, str]:
        """Each setting's name and its value, as TOML would have them on one line; ValueError where it is no JSON."""
        read = json.loads(self.settings)
        if not isinstance(read, dict):
            raise ValueError("no object of settings")
        return dict(_told(read))


def _told(settings: dict[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    for name, value in settings.items():
        if isinstance(value, dict):  # an empty one tells nothing
            yield from _told(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", "not set" if value is None else json.dumps(value, ensure_ascii=False)


def changes(older: LinePolicy, newer: LinePolicy) -> tuple[tuple[str, str, str], ...]:
    """What differs between two versions of settings: name, then as it was and as it is; one not there is "not set"."""
    was, now = older.told(), newer.told()
    names = dict.fromkeys((*was, *now))
    told = ((name, was.get(name, "not set"), now.get(name, "not set")) for name in sorted(names))
    return tuple(change for change in told if change[1] != change[2])


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """All that the decision may depend on. `mode` is None for a call that entered no ACD line."""

    mode: ConsentMode | None
    consent: ConsentState = ConsentState.NONE
    override: OverrideReason | None = None
    listed: frozenset[OverrideReason] = frozenset()  # overrides the line allows
    barred: str = ""  # what else forbids this override, as the end of a sentence
    unrecorded: Unrecorded | None = None  # the do-not-record list that names a party


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """`rule` is the row that decided; `trace` has a line for each row that was looked at, in order."""

    permitted: bool
    rule: str
    trace: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    name: str
    applies: Callable[[Circumstances], bool]
    permits: Callable[[Circumstances], bool]


def _has_override(among: frozenset[OverrideReason]) -> Callable[[Circumstances], bool]:
    return lambda now: now.override in among and now.override in now.listed and not now.barred


def _line_permits(now: Circumstances) -> bool:
    return now.mode is not None and now.consent in PERMITTED_BY_MODE[now.mode]


PRECEDENCE: tuple[Rule, ...] = (
    Rule(name="not an ACD call", applies=lambda now: now.mode is None, permits=lambda _: False),
    Rule(name="do not record", applies=lambda now: now.unrecorded is not None, permits=lambda _: False),
    Rule(name="override for a duty", applies=_has_override(DUTIES), permits=lambda _: True),
    Rule(name="line never recorded", applies=lambda now: now.mode is ConsentMode.NEVER, permits=lambda _: False),
    Rule(
        name="override for business",
        applies=_has_override(frozenset({OverrideReason.BUSINESS})),
        permits=lambda _: True,
    ),
    Rule(name="caller objected", applies=lambda now: now.consent in OBJECTIONS, permits=lambda _: False),
    Rule(name="line's policy", applies=lambda _: True, permits=_line_permits),
)
"""First row that applies decides. Rows of later features are added in the order that DESIGN fixes."""


def decide(now: Circumstances) -> Verdict:
    """Return whether capture is permitted, and why."""
    trace: list[str] = []
    for rule in PRECEDENCE:
        if not rule.applies(now):
            trace.append(f"{rule.name}: does not apply")
            continue
        permitted = rule.permits(now)
        trace.append(f"{rule.name}: {'capture' if permitted else 'no capture'} ({_describe(now)})")
        return Verdict(permitted=permitted, rule=rule.name, trace=tuple(trace))
    raise AssertionError("the last rule always applies")


def _describe(now: Circumstances) -> str:
    parts = [f"mode {now.mode or 'none'}", f"consent {now.consent}"]
    if now.override:
        barred = now.barred if now.override in now.listed else "which the line does not list"
        parts.append(f"override {now.override}{f', {barred}' if barred else ''}")
    if now.unrecorded:
        parts.append(f"the {now.unrecorded} is on a list")
    return ", ".join(parts)


def may_override(
    mode: ConsentMode | None,
    reason: OverrideReason,
    listed: frozenset[OverrideReason],
    unrecorded: Unrecorded | None = None,
) -> bool:
    """Whether an agent's key with this reason would permit capture on such a line, whatever the caller answered."""
    now = Circumstances(mode=mode, consent=ConsentState.REFUSED, override=reason, listed=listed, unrecorded=unrecorded)
    return decide(now).permitted


STRICTNESS = (
    ConsentMode.NOT_REQUIRED,
    ConsentMode.NOTICE,
    ConsentMode.OPT_OUT,
    ConsentMode.OPT_IN,
    ConsentMode.NEVER,
)
"""From the mode that asks least of us to the one that permits nothing."""


def stricter(origin: ConsentMode, destination: ConsentMode) -> ConsentMode:
    """How a call is asked on the line `destination` that came there from the line `origin` (CN-09).

    By whichever line is the stricter. From a line that is never recorded nothing goes along but this: what it kept
    unrecorded needs the caller's own yes anywhere else.
    """
    if origin is ConsentMode.NEVER and destination is not ConsentMode.NEVER:
        return ConsentMode.OPT_IN
    return max(origin, destination, key=STRICTNESS.index)


def carried(consent: ConsentState, mode: ConsentMode, *, covers: bool = True) -> ConsentState | None:
    """What an answer given on an earlier line of the same call is worth where `mode` applies; None means: ask.

    An objection stands on every line (CN-09). A yes is not asked for twice, unless the line has purposes for which
    nobody asked yet (not `covers`); anything weaker is asked anew.
    """
    if mode is ConsentMode.NEVER:
        return ConsentState.PROHIBITED
    if consent in OBJECTIONS:
        return ConsentState.REFUSED
    return ConsentState.GIVEN if consent is ConsentState.GIVEN and covers else None
