"""The words of the guard: what is looked for, what follows, and a verdict that holds nothing of what was found.

Must not look at any text. The invariant: where a house says nothing, what the law forbids to keep is refused (SG-02).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

DETECTORS_VERSION: Final = 1
"""One more whenever a detector sees something else than before: then older texts are to be looked at again (SG-14)."""


class Detector(StrEnum):
    """What is looked for."""

    SECRET = "secret"  # private keys, tokens, passwords
    IBAN = "iban"
    CARD = "card_number"
    SIN = "sin"  # Canada; with ITN and TTN, which look the same
    SSN = "ssn"  # United States
    NIR = "nir"  # France
    NINO = "nino"  # United Kingdom
    EMAIL = "email"
    PHONE = "phone"
    TOPIC = "special_category"  # article 9, by a lexicon


class Topic(StrEnum):
    """What a word of the lexicon is about."""

    HEALTH = "health"
    BELIEF = "belief"
    ORIGIN = "origin"
    POLITICS = "politics"
    UNION = "union"
    SEX_LIFE = "sex_life"
    BODY = "body"  # biometric and genetic data


class Action(StrEnum):
    """What follows, the stronger the later."""

    OFF = "off"
    WARN = "warn"  # kept, and said
    REDACT = "redact"  # a mark is kept in its place
    REJECT = "reject"  # nothing of the text is kept

    @property
    def removes(self) -> bool:
        return self in (Action.REDACT, Action.REJECT)


_STRENGTHS: Final = {action: strength for strength, action in enumerate(Action)}


def strongest(actions: Iterable[Action]) -> Action:
    """The strongest of them; OFF where there is none."""
    return max(actions, key=_STRENGTHS.__getitem__, default=Action.OFF)


DEFAULTS: Final[Mapping[Detector, Action]] = {
    Detector.SECRET: Action.REJECT,
    Detector.IBAN: Action.REDACT,
    Detector.CARD: Action.REJECT,
    Detector.SIN: Action.REJECT,
    Detector.SSN: Action.REDACT,
    Detector.NIR: Action.REDACT,
    Detector.NINO: Action.REDACT,
    Detector.EMAIL: Action.WARN,
    Detector.PHONE: Action.WARN,
    Detector.TOPIC: Action.WARN,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardPolicy:
    """What follows from what: by field where it says so, else by detector, else DEFAULTS. ValueError for a mistake."""

    actions: Mapping[Detector, Action] = field(default_factory=dict)
    of_field: Mapping[str, Mapping[Detector, Action]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for said in (self.actions, *self.of_field.values()):
            if said.get(Detector.TOPIC, Action.OFF).removes:
                raise ValueError(f"{Detector.TOPIC}: words are found and not meanings, so it may only warn")

    def action(self, name: str, detector: Detector) -> Action:
        """What follows where `detector` sees something in the field `name`."""
        general = self.actions.get(detector, DEFAULTS[detector])
        return self.of_field.get(name, {}).get(detector, general)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """Where something was found, in characters of the text as it came. Digits that stand with it are part of it."""

    detector: Detector
    field: str
    offset: int
    length: int
    action: Action
    across: tuple[str, ...] = ()  # all fields over which it is split, this one among them
    topic: Topic | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What was found, field by field in their order, and by which version of the detectors."""

    hits: tuple[Hit, ...] = ()
    version: int = DETECTORS_VERSION

    @property
    def action(self) -> Action:
        """The strongest of all."""
        return strongest(hit.action for hit in self.hits)
