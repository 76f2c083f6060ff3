"""What in the house records by itself, or would at a key's press: judged from what Asterisk's command line printed.

Pure. Must not ask anybody. The invariant: what could record or end a capture on a line of ours is wrong; what may be
the house's own affair (voice mail, personal calls) is a note; what was not told is never taken for absent.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from recorder.doctor.findings import Finding, fine, note, unchecked, wrong

ABOUT: Final = "rivals"
ONE_TOUCH: Final = ("One Touch MixMonitor", "One Touch Monitor")
"""The names that `features show` has for featuremap automixmon and automon (the latter up to 20)."""
OF_ASTERISK: Final = "__func_periodic_hook_context__"
"""The context of Asterisk's own periodic beep, which spies and records nothing."""
WRITERS: Final = re.compile(r"\b(MixMonitor|Monitor|Record)\(")
SPIES: Final = re.compile(r"\b(?:ChanSpy|ExtenSpy)\((.*)\)")
OPTIONS_AT: Final = {"Queue": 1, "Dial": 2}
"""Which argument of each holds its options."""
ANSWERED: Final = "recorder-answered"
ENTRY: Final = re.compile(r"\bGosub\(recorder-(?:inbound|outbound|agent)\b")

Dialplan = Mapping[str, Mapping[str, tuple[str, ...]]]
"""Context -> extension -> its steps in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """What was found out. A value of None: could not be asked."""

    our_queues: Collection[str]
    our_contexts: Collection[str]
    dialplan: Dialplan
    keys: Mapping[str, str]  # `features show`
    monitor_formats: Mapping[str, str | None] = field(default_factory=dict)  # by queue
    conferences: Mapping[str, bool] = field(default_factory=dict)  # profiles, whether they record
    endpoints: Mapping[str, bool] = field(default_factory=dict)  # PJSIP, whether one_touch_recording is on
    applications: Collection[str] = ()  # users of ARI that may do more than read
    caches: str | None = ""  # asterisk.conf cache_record_files
    membergosubs: Mapping[str, str | None] | None = None  # by queue of ours; None: no agent is on a do-not-record list
    unasked: int = 0  # queues and phones beyond those that were asked about


def judge_house(house: House) -> list[Finding]:
    found = [
        *_of_queues(house),
        *_of_keys(house),
        *_of_dialplan(house),
        *_of_conferences(house),
        *_of_phones(house),
        *_of_applications(house),
        *_of_caches(house),
        *_of_listed_agents(house),
    ]
    if house.unasked:
        what = f"{house.unasked} more queues and phones were not asked about"
        found.append(note(ABOUT, what, "look for monitor-format and one_touch_recording in their files"))
    return found or [fine(ABOUT, "nothing in the house records by itself")]


def judge_secrets(modules: Collection[str]) -> list[Finding]:
    """AST_CONFIG() is no function that Asterisk calls dangerous: Getvar gives it to write = call (16 and 22)."""
    if "func_config" not in modules:
        return []
    what = "func_config runs: who has the recorder's secret can read every secret in Asterisk's files (AST_CONFIG)"
    return [note("ami account", what, "noload = func_config.so in modules.conf where no dialplan uses it")]


def _of_queues(house: House) -> Iterator[Finding]:
    unasked = [queue for queue, format_ in house.monitor_formats.items() if format_ is None]
    if unasked:
        mend = "look for monitor-format in queues.conf yourself"
        yield unchecked(ABOUT, f"whether {len(unasked)} queues record by themselves", mend)
    for queue, format_ in house.monitor_formats.items():
        if format_ and queue in house.our_queues:
            mend = f"take monitor-format out of [{queue}] in queues.conf; then `queue reload all`"
            yield wrong(ABOUT, f"the queue {queue} records every call by itself (monitor-format = {format_})", mend)
        elif format_:
            what = f"the queue {queue}, which is no line's, records by itself (monitor-format = {format_})"
            yield note(ABOUT, what, "leave it if it is meant")


def _of_listed_agents(house: House) -> Iterator[Finding]:
    """Without ANSWERED a capture ends when an agent who must not be recorded is joined, and not before."""
    for queue, gosub in (house.membergosubs or {}).items():
        given = any(ANSWERED in step and queue in {a[0] for a in _calls(step, "Queue")} for _, step in _steps(house))
        mend = f"membergosub = {ANSWERED} in [{queue}] of queues.conf; then `queue reload all`"
        if gosub is None and not given:
            yield unchecked(ABOUT, f"whether the queue {queue} lets a capture end before a do-not-record agent", mend)
        elif gosub != ANSWERED and not given:
            what = f"the queue {queue} joins do-not-record agents with the caller before the capture has ended"
            yield wrong(ABOUT, what, mend)


def _of_keys(house: House) -> Iterator[Finding]:
    keys = [f"{name} {digits}" for name in ONE_TOUCH if (digits := house.keys.get(name))]
    steps = [where for where, step in _steps(house) if _has_one_touch(step)]
    if keys and steps:
        mend = "take x, X, w and W from the options there, or automixmon and automon from features.conf"
        what = f"{', '.join(keys)} starts a recording, or ends ours, on calls of {_few(steps)}"
        yield wrong(ABOUT, what, mend)
    elif keys:
        what = f"{', '.join(keys)} is set, and nothing that is loaded lets anybody press it"
        yield note(ABOUT, what, "a channel variable could: take automixmon from features.conf if nobody needs it")
    elif steps:
        yield note(ABOUT, f"{_few(steps)} permits one-touch recording, and no key is set", "take x, X, w and W there")


def _of_dialplan(house: House) -> Iterator[Finding]:
    for context, extensions in house.dialplan.items():
        if context in house.our_contexts or context == OF_ASTERISK:
            continue
        for extension, steps in extensions.items():
            yield from _of_extension(house, f"{context},{extension}", steps)


def _of_extension(house: House, where: str, steps: tuple[str, ...]) -> Iterator[Finding]:
    for application in sorted({name for step in steps for name in WRITERS.findall(step)}):
        if application != "Record" and _is_on_a_line(house, steps):
            mend = f"take {application}() out of {where}: the recorder captures there, where callers agree"
            yield wrong(ABOUT, f"{where} runs {application}() on calls of a line", mend)
        else:
            what = f"{where} runs {application}()"
            yield note(ABOUT, what, "leave it if no call of a line comes there")
    spies = [found[1] for step in steps if (found := SPIES.search(step))]
    if any("r" in _letters(_arguments(spied)[1:2]) for spied in spies):
        yield note(ABOUT, f"{where} listens in and records (ChanSpy option r)", "take option r, or the spy is hung up")


def _is_on_a_line(house: House, steps: tuple[str, ...]) -> bool:
    queues = {arguments[0] for step in steps for arguments in _calls(step, "Queue")}
    return bool(queues & set(house.our_queues)) or any(ENTRY.search(step) for step in steps)


def _of_conferences(house: House) -> Iterator[Finding]:
    names = [name for name, records in house.conferences.items() if records]
    if names:
        what = f"conferences of the profile {', '.join(names)} record themselves, which the recorder cannot stop"
        yield note(ABOUT, what, "take record_conference from confbridge.conf, or keep calls of a line out of them")


def _of_phones(house: House) -> Iterator[Finding]:
    names = [name for name, on in house.endpoints.items() if on]
    if names:
        mend = "one_touch_recording = no in pjsip.conf; then `module reload res_pjsip.so`"
        yield wrong(ABOUT, f"a key of the phone records, or ends our capture, at {_few(names)}", mend)


def _of_applications(house: House) -> Iterator[Finding]:
    if house.applications:
        what = f"the ARI user {_few(sorted(house.applications))} can snoop on every channel, and record what it hears"
        mend = "read_only = yes in ari.conf if it need not: on a call of a line its snoop is met as a rival"
        yield note(ABOUT, what, mend)


def _of_caches(house: House) -> Iterator[Finding]:
    if house.caches is None:
        mend = "look for cache_record_files in asterisk.conf yourself"
        yield unchecked(ABOUT, "whether Asterisk writes recordings elsewhere first", mend)
    elif house.caches.lower() in ("yes", "true", "y", "t", "1", "on"):
        mend = "cache_record_files = no in asterisk.conf; then restart Asterisk"
        yield wrong(ABOUT, "Asterisk writes recordings to record_cache_dir and moves them when they are closed", mend)


# ---------------------------------------------------------------- reading a step


def _steps(house: House) -> Iterator[tuple[str, str]]:
    for context, extensions in house.dialplan.items():
        if context not in house.our_contexts:
            for extension, steps in extensions.items():
                yield from ((f"{context},{extension}", step) for step in steps)


def _has_one_touch(step: str) -> bool:
    return any(
        set("xXwW") & set(_letters(arguments[at : at + 1]))
        for application, at in OPTIONS_AT.items()
        for arguments in _calls(step, application)
    )


def _calls(step: str, application: str) -> Iterator[list[str]]:
    """The arguments of each call of the application in a step, ExecIf's included."""
    for found in re.finditer(rf"\b{application}\(", step):
        yield _arguments(step[found.end() :])


def _arguments(text: str) -> list[str]:
    """What stands up to the closing bracket, cut at the commas that are not inside another pair."""
    parts, depth = [""], 0
    for sign in text:
        if sign in ")]}" and depth == 0:
            break
        depth += (sign in "([{") - (sign in ")]}")
        if sign == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += sign
    return parts


def _letters(options: list[str]) -> str:
    """The option letters themselves: neither their arguments nor the names of variables."""
    text = "".join(options)
    while (bare := re.sub(r"\$?[({\[][^(){}\[\]]*[)}\]]", "", text)) != text:
        text = bare
    return text


def _few(names: list[str]) -> str:
    known = list(dict.fromkeys(names))
    return ", ".join(known[:3]) + (f" and {len(known) - 3} more" if len(known) > 3 else "")
