"""Words about what article 9 of the GDPR protects, in English and French (SG-10). A word is no fact: it only warns.

Owns the lexicon. Must not weigh a sentence; what that costs in precision is counted in tests/core/test_guard.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Final

from recorder.guard.plain import Span
from recorder.guard.verdict import Topic

_WORD: Final = re.compile(r"[a-z]+")

LEXICON: Final[Mapping[Topic, str]] = {  # in lower case and without accents; a plural in s goes without saying
    Topic.HEALTH: """
        cancer|cancereux|cancereuse|leukaemia|leukemia|leucemie|tumour|tumor|tumeur|chemotherapy|chemo|chimiotherapie
        |radiotherapy|radiotherapie|diabetes|diabetic|diabete|diabetique|insulin|insuline|hiv|vih|sida|seropositif
        |seropositive|hepatitis|hepatite|epilepsy|epileptic|epilepsie|epileptique|asthma|asthme|asthmatic|asthmatique
        |dementia|demence|alzheimer|parkinson|autism|autistic|autisme|autiste|schizophrenia|schizophrenic|schizophrenie
        |schizophrene|bipolar|bipolaire|psychiatrist|psychiatric|psychiatre|psychiatrique|mental health|mental illness
        |sante mentale|maladie mentale|trouble mental|antidepressant|antidepresseur|clinical depression
        |depression nerveuse|burnout|suicidal|suicide|suicidaire|pregnant|pregnancy|enceinte|grossesse
        |miscarriage|fausse couche|abortion
        |avortement|ivg|fertility treatment|disability|disabled|wheelchair|invalide|invalidite|handicape|handicapee
        |fauteuil roulant|medical condition|medical record|medical history|medical leave|sick leave|etat de sante
        |dossier medical|antecedent medical|antecedents medicaux|conge de maladie|conge maladie|arret maladie
        |arret de travail|heart attack|crise cardiaque|infarctus|dialysis|dialyse|alcoholic|alcoholism|alcoolique
        |alcoolisme|drug addict|drug addiction|toxicomane|toxicomanie|chronic illness|chronic pain|maladie chronique
        |hospitalised|hospitalized|hospitalise|hospitalisee|sclerose en plaques|multiple sclerosis|diagnosed with
    """,
    Topic.BELIEF: """
        muslim|musulman|musulmane|islam|jewish|judaism|juif|juive|judaisme|catholic|catholicism|catholique|catholicisme
        |protestantism|protestantisme|hindu|hinduism|hindou|hindoue|hindouisme|sikh|buddhist|buddhism|bouddhiste
        |bouddhisme|atheist|athee|atheisme|mosque|mosquee|synagogue|ramadan|religious belief|religious faith
        |croyance religieuse|conviction religieuse|confession religieuse|pratiquant|pratiquante|jehovah|evangelical
        |evangelique|scientologist|scientologue
    """,
    Topic.ORIGIN: """
        ethnic origin|ethnicity|ethnic background|racial origin|origine ethnique|origine raciale|ethnie|skin colour
        |skin color|couleur de peau|first nations|premieres nations|indigenous|autochtone|metis|inuit|gypsy|tzigane
        |gens du voyage|maghrebin|maghrebine|african american|afro americain|afro americaine
    """,
    Topic.POLITICS: """
        political opinion|political party|political affiliation|opinion politique|parti politique|affiliation politique
        |communist|communiste|anarchist|anarchiste|voted for|vote pour|vote conservative|vote liberal|militant politique
        |militante politique|political activist
    """,
    Topic.UNION: """
        trade union|labour union|labor union|union member|union membership|union dues|union rep|union representative
        |shop steward|syndicat|syndicaliste|syndique|syndiquee|delegue syndical|deleguee syndicale|cotisation syndicale
        |appartenance syndicale
    """,
    Topic.SEX_LIFE: """
        homosexual|homosexuality|homosexuel|homosexuelle|homosexualite|gay|lesbian|lesbienne|bisexual|bisexuel|bisexuelle
        |transgender|transsexual|transgenre|transsexuel|transsexuelle|sexual orientation|orientation sexuelle|sex life
        |vie sexuelle
    """,
    Topic.BODY: """
        dna test|dna profile|test adn|profil genetique|genetic test|genetic testing|test genetique|fingerprints
        |empreinte digitale|facial recognition|reconnaissance faciale|voiceprint|empreinte vocale|iris scan
    """,
}


def _by_first_word() -> dict[str, list[tuple[tuple[str, ...], Topic]]]:
    """For each word that an entry begins with the rest of it, the longest first."""
    found: dict[str, list[tuple[tuple[str, ...], Topic]]] = {}
    for topic, entries in LEXICON.items():
        for entry in entries.split("|"):
            first, *rest = entry.split()
            found.setdefault(first, []).append((tuple(rest), topic))
    return {first: sorted(entries, key=lambda entry: -len(entry[0])) for first, entries in found.items()}


_ENTRIES: Final = _by_first_word()


def found_topics(text: str) -> Iterator[tuple[Topic, Span]]:
    words = list(_WORD.finditer(text))
    for index, word in enumerate(words):
        entries = _ENTRIES.get(word[0]) or _ENTRIES.get(word[0].removesuffix("s")) or []
        for rest, topic in entries:
            following = words[index : index + 1 + len(rest)]
            if len(following) == 1 + len(rest) and _is_entry(text, following, rest):
                yield topic, Span(word.start(), following[-1].end())
                break


def _is_entry(text: str, words: Sequence[re.Match[str]], rest: Sequence[str]) -> bool:
    """Whether the words behind the first are those of the entry, with no full stop and no other field between."""
    between = (text[one.end() : other.start()] for one, other in pairwise(words))
    same = (word[0] in (entry, f"{entry}s") for word, entry in zip(words[1:], rest, strict=True))
    return all(same) and all(gap in (" ", "-") for gap in between)
