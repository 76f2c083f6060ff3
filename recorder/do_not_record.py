"""Who must never be recorded (SC-07): reads the lists of the settings, and says whether a party is on one of them.

The only one that knows what a written number or a queue member's interface means. Must not keep or log what it is
asked about: numbers come in, and only which list named one goes out (decision 0013). In doubt a party is on the list.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property

from phonenumbers import (
    SUPPORTED_REGIONS,
    NumberParseException,
    PhoneNumber,
    PhoneNumberFormat,
    format_number,
    is_possible_number,
    national_significant_number,
    parse,
)

INTERFACE = re.compile(r"(?:PJSIP|SIP|Local)/[A-Za-z0-9_.@+-]+")
TELEPHONE = re.compile(r"(?:PJSIP|SIP)/[A-Za-z0-9_.+-]+|Local/[A-Za-z0-9_.+-]+@[A-Za-z0-9_.-]+")
CHANNEL_ENDING = re.compile(r"-[0-9a-f]{8}(;[12])?$")
"""What Asterisk puts behind an interface to name a channel. The dialplan (recorder-listed) takes off the same."""
SHORTEST_PUBLIC = 7
"""Digits of a number's national part from which on it is known by its ending, whatever prefix a house dials."""


def interface_of(party: str) -> str:
    """`PJSIP/agent7` of `PJSIP/agent7-0000002a` or `PJSIP/agent7/sip:x@y`; `Local/7@agents` of `Local/7@agents/n`."""
    technology, _, rest = CHANNEL_ENDING.sub("", party).partition("/")
    return f"{technology}/{rest.partition('/')[0]}"


def member_of(interface: str) -> str:
    """`Local/7@agents` of the queue member `Local/7@agents/n`; no ending is taken off, which may be a member's own."""
    technology, _, rest = interface.partition("/")
    return f"{technology}/{rest.partition('/')[0]}"


def checked_telephone(written: str) -> str:
    """A telephone's own interface, or a Local member as `member_of` has it; ValueError for what could be several.

    Whoever is dialled through a trunk (`PJSIP/NUMBER@TRUNK`, `SIP/TRUNK/NUMBER`) has a leg that names the trunk alone.
    """
    found = member_of(written) if written.startswith("Local/") else written
    if not TELEPHONE.fullmatch(found):
        raise ValueError(
            f"{written}: a telephone's own interface (PJSIP/NAME or SIP/NAME), or a Local member"
            " (Local/EXTENSION@CONTEXT); whoever is dialled through a trunk has none"
        )
    return found


def checked_interface(written: str) -> str:
    """The interface as the lists keep it; ValueError where no channel could ever be recognised by it."""
    found = interface_of(written)
    if not INTERFACE.fullmatch(found) or CHANNEL_ENDING.search(written):
        raise ValueError(f"{written}: PJSIP/NAME, SIP/NAME or Local/EXTENSION@CONTEXT, as the queue names its member")
    return found


@dataclass(frozen=True, slots=True)
class WrittenNumber:
    """A number of a list: its digits, and where it is a public one, the part that every way of dialling it ends in."""

    digits: str
    number: PhoneNumber | None

    def is_same(self, candidate: str, region: str | None) -> bool:
        digits = re.sub(r"\D", "", candidate)
        if not digits or self.number is None:
            return digits == self.digits != ""
        national = national_significant_number(self.number)
        if digits == self.digits or (len(national) >= SHORTEST_PUBLIC and digits.endswith(national)):
            return True
        return parsed(candidate, region) == self.number


def written_number(text: str, region: str | None) -> WrittenNumber:
    """A number as somebody wrote it; ValueError where nobody can say which one it is."""
    digits = re.sub(r"\D", "", text)
    if not digits or not re.fullmatch(r"[0-9+().\-/\s]+", text):
        raise ValueError(f"{text}: no telephone number")
    if len(digits) < SHORTEST_PUBLIC:
        return WrittenNumber(digits, None)  # an extension, or a short code
    number = parsed(text, region)
    if number is None:
        raise ValueError(f"{text}: write it with + and the country's code, or name the country as `region`")
    return WrittenNumber(digits, number)


def parsed(text: str, region: str | None) -> PhoneNumber | None:
    try:
        number = parse(text, region)
    except NumberParseException:
        return None
    return number if is_possible_number(number) else None


def international(text: str, region: str | None, *, without_country: bool = False) -> str | None:
    """`+14165550123`, or `4165550123` without its country; None where nobody can say which number it is."""
    number = parsed(text, region)
    if number is None:
        return None
    return national_significant_number(number) if without_country else format_number(number, PhoneNumberFormat.E164)


def is_region(text: str) -> bool:
    return text in SUPPORTED_REGIONS


@dataclass(frozen=True)
class DoNotRecord:
    """The lists. `agents` are interfaces; `dialled` are the house's own numbers, `numbers` those of the far party."""

    agents: frozenset[str] = frozenset()
    dialled: tuple[WrittenNumber, ...] = ()
    numbers: tuple[WrittenNumber, ...] = ()
    region: str | None = None

    @cached_property
    def version(self) -> str:
        """Names exactly these agents; empty where there are none."""
        return hashlib.sha256("\n".join(sorted(self.agents)).encode()).hexdigest()[:8] if self.agents else ""

    def names_agent(self, party: str) -> bool:
        """`party` is a channel's name or a queue member's interface."""
        return bool(self.agents) and interface_of(party) in self.agents

    def names_dialled(self, number: str) -> bool:
        return any(entry.is_same(number, self.region) for entry in self.dialled)

    def names_number(self, number: str) -> bool:
        return any(entry.is_same(number, self.region) for entry in self.numbers)


NOBODY = DoNotRecord()
