"""Puts the detectors in their order and the policy to what they find; takes out what must not stay.

Must not know what any of it looks like. The invariants: a text that was redacted, looked at again, holds nothing that
would be taken out; the time for both is in proportion to the text (SG-12).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from operator import itemgetter
from typing import Final

from recorder.guard.contacts import found_emails, found_phones
from recorder.guard.credentials import found_secrets
from recorder.guard.identifiers import without_identifiers
from recorder.guard.lettered import found_ibans, found_ninos, found_nirs
from recorder.guard.numbers import found_in_runs, found_split
from recorder.guard.plain import HIDDEN, Found, Place, Plain, Span, hide, in_plain, plain_from
from recorder.guard.topics import found_topics
from recorder.guard.verdict import Action, Detector, GuardPolicy, Hit, Topic, Verdict, strongest
from recorder.guard.words import MARKS, mark

Finds = Callable[[str], Iterable[Found]]

ORDER: Final[tuple[Finds, ...]] = (
    found_ibans,  # before the digits in them
    found_split,
    found_in_runs,
    found_nirs,
    found_ninos,
    found_emails,
    found_phones,
)
ROUNDS: Final = 4
"""What was taken out may have stood in the way of something else; that happens once or twice, and not without end."""
_MARK: Final = re.compile("|".join(re.escape(in_plain(said)) for said in MARKS))


def examine(fields: Mapping[str, str], policy: GuardPolicy | None = None) -> Verdict:
    """What stands in the texts that should not, field by field. Adjacent fields are read together, in their order.

    The names of fields are the caller's own words: they are said in the verdict.
    """
    return _Examination(plain_from(fields), policy or GuardPolicy()).verdict()


class _Examination:
    """One examination. `found` keeps what each detector saw where, once, with the hits that came of it."""

    def __init__(self, plain: Plain, policy: GuardPolicy) -> None:
        self._plain = plain
        self._policy = policy
        self._found: dict[tuple[Span, Detector, Topic | None], tuple[Hit, ...]] = {}

    def verdict(self) -> Verdict:
        text = _MARK.sub(lambda said: HIDDEN * len(said[0]), self._plain.text)
        for _ in range(ROUNDS):
            before, text = text, hide(text, self._taken((found_secrets,), text))
            text = hide(text, self._taken(ORDER, without_identifiers(text)))
            if text == before:
                break
        for topic, span in found_topics(text):
            self._noted(span, Detector.TOPIC, topic)
        return Verdict(hits=tuple(hit for key in sorted(self._found, key=itemgetter(0)) for hit in self._found[key]))

    def _taken(self, order: Iterable[Finds], text: str) -> list[Span]:
        """Each detector once, on what the others left. The spans that are not to stay."""
        all_of_it: list[Span] = []
        for finds in order:
            taken: list[Span] = []
            for detector, span in finds(text):
                if taken and span.start < taken[-1].end:
                    continue  # the same digits are something else already
                if any(hit.action.removes for hit in self._noted(span, detector)):
                    taken.append(span)
            text = hide(text, taken) if taken else text
            all_of_it += taken
        return all_of_it

    def _noted(self, span: Span, detector: Detector, topic: Topic | None = None) -> tuple[Hit, ...]:
        """The hits of it, one for each field that it lies in; none where it is not looked for."""
        key = (span, detector, topic)
        if (known := self._found.get(key)) is not None:
            return known
        hits = tuple(self._hits(list(self._plain.places(span)), detector, topic))
        if hits:
            self._found[key] = hits
        return hits

    def _hits(self, places: list[Place], detector: Detector, topic: Topic | None) -> Iterator[Hit]:
        across = tuple(place.field for place in places) if len(places) > 1 else ()
        action = strongest(self._policy.action(place.field, detector) for place in places)
        if action is Action.OFF:
            return
        for name, offset, length in places:
            yield Hit(
                detector=detector, field=name, offset=offset, length=length, action=action, across=across, topic=topic
            )


def redacted(fields: Mapping[str, str], verdict: Verdict, language: str = "en") -> dict[str, str]:
    """The texts that the verdict is about, with a mark in place of all that it redacts or rejects.

    Of what is rejected nothing should be kept at all; the marks then show the person where it was.
    """
    return {
        name: _without(text, [hit for hit in verdict.hits if hit.field == name], language)
        for name, text in fields.items()
    }


def _without(text: str, hits: list[Hit], language: str) -> str:
    pieces, at = [], 0
    for hit in sorted((hit for hit in hits if hit.action.removes), key=lambda hit: hit.offset):
        if hit.offset >= at:
            pieces += [text[at : hit.offset], mark(hit.detector, language)]
        at = max(at, hit.offset + hit.length)
    return "".join([*pieces, text[at:]])
