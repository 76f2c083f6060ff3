"""What a person reads: the mark in place of what was taken out, and a sentence for each hit, in English and French.

Must not repeat anything of a text. The invariant: a mark, looked at again, is nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from recorder.guard.verdict import Action, Detector, Hit, Topic, Verdict

_EN, _FR = "en", "fr"

_NAMES: Final[Mapping[str, Mapping[Detector, str]]] = {
    _EN: {
        Detector.SECRET: "secret",
        Detector.IBAN: "bank account number",
        Detector.CARD: "card number",
        Detector.SIN: "social insurance number",
        Detector.SSN: "social security number",
        Detector.NIR: "French social security number",
        Detector.NINO: "national insurance number",
        Detector.EMAIL: "e-mail address",
        Detector.PHONE: "telephone number",
        Detector.TOPIC: "special category",
    },
    _FR: {
        Detector.SECRET: "secret",
        Detector.IBAN: "numéro de compte bancaire",
        Detector.CARD: "numéro de carte",
        Detector.SIN: "numéro d’assurance sociale",
        Detector.SSN: "numéro de sécurité sociale américain",
        Detector.NIR: "numéro de sécurité sociale",
        Detector.NINO: "numéro d’assurance nationale",
        Detector.EMAIL: "adresse de courriel",
        Detector.PHONE: "numéro de téléphone",
        Detector.TOPIC: "catégorie particulière",
    },
}
_TOPICS: Final[Mapping[str, Mapping[Topic, str]]] = {
    _EN: {
        Topic.HEALTH: "health",
        Topic.BELIEF: "religion or belief",
        Topic.ORIGIN: "ethnic origin",
        Topic.POLITICS: "political opinions",
        Topic.UNION: "trade union membership",
        Topic.SEX_LIFE: "sex life or sexual orientation",
        Topic.BODY: "biometric or genetic data",
    },
    _FR: {
        Topic.HEALTH: "la santé",
        Topic.BELIEF: "la religion ou les convictions",
        Topic.ORIGIN: "l’origine ethnique",
        Topic.POLITICS: "les opinions politiques",
        Topic.UNION: "l’appartenance syndicale",
        Topic.SEX_LIFE: "la vie ou l’orientation sexuelle",
        Topic.BODY: "des données biométriques ou génétiques",
    },
}
_REMOVED: Final = {_EN: "[{} removed]", _FR: "[{} retiré]"}
_FEMININE: Final = (Detector.EMAIL, Detector.TOPIC)

_FOUND: Final = {
    _EN: "The field {field} seems to hold {what}{across}.",
    _FR: "Le champ {field} semble contenir {what}{across}.",
}
_WORDS_ABOUT: Final = {_EN: "words about {}", _FR: "des mots sur {}"}
_ACROSS: Final = {_EN: ", split over {}", _FR: ", réparti sur {}"}
_THEN: Final[Mapping[str, Mapping[Action, str]]] = {
    _EN: {
        Action.WARN: "It was kept; take it out unless it is needed.",
        Action.REDACT: "It was replaced by a mark; nothing of it is kept, and there is nothing to do.",
        Action.REJECT: "Nothing was kept. Take it out and try again.",
    },
    _FR: {
        Action.WARN: "Le texte est conservé ; retirez-en cela, sauf si c’est nécessaire.",
        Action.REDACT: "Une marque le remplace ; rien n’en est conservé, et il n’y a rien à faire.",
        Action.REJECT: "Rien n’a été conservé. Retirez cela et recommencez.",
    },
}
_APPEAL: Final = {
    _EN: "If this is a mistake, or the law obliges you to keep it, ask the privacy officer for an exemption.",
    _FR: "Si c’est une erreur, ou si la loi oblige à le conserver, demandez une exemption au responsable de la vie"
    " privée.",
}


def spoken(language: str) -> str:
    """English, where a language is asked for that is neither: `fr_CA` is French."""
    return _FR if language[:2].lower() == _FR else _EN


def mark(detector: Detector, language: str = _EN) -> str:
    """What stands in place of what was taken out."""
    tongue = spoken(language)
    said = _REMOVED[tongue].format(_NAMES[tongue][detector])
    return said.replace("retiré", "retirée") if tongue == _FR and detector in _FEMININE else said


MARKS: Final = tuple(mark(detector, language) for detector in Detector for language in (_EN, _FR))


def sentence(hit: Hit, language: str = _EN) -> str:
    """What was found, in which field, what became of it, what to do, and whom to ask."""
    tongue = spoken(language)
    across = _ACROSS[tongue].format(", ".join(hit.across)) if hit.across else ""
    found = _FOUND[tongue].format(field=hit.field, what=_what(hit, tongue), across=across)
    return f"{found} {_THEN[tongue][hit.action]} {_APPEAL[tongue]}"


def _what(hit: Hit, tongue: str) -> str:
    if hit.topic is not None:
        return _WORDS_ABOUT[tongue].format(_TOPICS[tongue][hit.topic])
    name = _NAMES[tongue][hit.detector]
    if tongue == _FR:
        return f"{'une' if hit.detector in _FEMININE else 'un'} {name}"
    return f"{'an' if name[0] == 'e' else 'a'} {name}"


def sentences(verdict: Verdict, language: str = _EN) -> tuple[str, ...]:
    """A sentence for each hit; what would be said twice, once."""
    return tuple(dict.fromkeys(sentence(hit, language) for hit in verdict.hits))
