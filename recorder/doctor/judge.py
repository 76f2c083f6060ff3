"""From what was read to findings: every judgement about the PBX and the settings, pure.

Must not ask anybody anything. The invariant: None, where an answer could be expected, is never taken for a good one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from recorder.cdr import Columns
from recorder.doctor.findings import Finding, fine, note, unchecked, wrong
from recorder.model import ConsentMode, PromptKind
from recorder.pbx_cli import Account
from recorder.policy import LineRules
from recorder.prompts import PromptSet
from recorder.releases import Ground, Standing
from recorder.rights import ANYBODY, Right, User
from recorder.settings import host_and_port
from recorder.storage import Problem

READ_NEEDED = frozenset({"call", "agent", "user"})
WRITE_NEEDED = frozenset({"call", "reporting"})
POWERS = {
    "all": "everything",
    "system": "a shell for whoever steals the secret",
    "command": "Asterisk's whole command line",
    "config": "every configuration file, secrets included",
    "originate": "calls at your cost, and System()",
    "dialplan": "the dialplan changed",
    "dtmf": "the keys that callers press",
    "agi": "any application on any channel",
}
"""What the classes that the recorder does not need are good for, where it is worth a word."""

MODULES = {
    "pbx_config": "extensions.conf",
    "app_stack": "Gosub and Return",
    "app_dial": "Dial, for outgoing calls and the keys",
    "app_queue": "Queue, and QueueLog, which notes a key that no daemon hears",
    "app_playback": "Playback, which tells a caller that the recording has stopped",
    "app_playtones": "Playtones, which answer an agent's key",
    "app_mixmonitor": "MixMonitor, which writes the recording",
    "func_periodic_hook": "app_mixmonitor is loaded only with it",
    "app_exec": "ExecIf, for what need not be loaded",
    "app_userevent": "UserEvent, by which outgoing calls and keys are announced",
    "app_verbose": "Log",
    "res_agi": "AGI, by which the daemon is asked",
    "func_channel": "CHANNEL()",
    "func_dialplan": "DIALPLAN_EXISTS()",
    "func_global": "SHARED()",
    "func_logic": "IF() and IMPORT()",
    "func_strings": "REGEX(), FILTER(), STRFTIME() and LEN()",
    "func_timeout": "TIMEOUT(), the leash that keeps a dead daemon from holding a caller",
    "bridge_builtin_features": "the agents' keys",
    "format_wav": "prompts and recordings",
}
"""What the dialplan and the daemon use, and what for. A test compares it with the dialplan."""

FALLBACK_MODULES = {
    "func_env": "STAT(), by which the dialplan looks at prompts and spool while the daemon is away",
    "func_sha1": "SHA1(), by which it names the files of a recording then",
}
"""What a line with fallback = "dialplan" uses beyond the others."""

# ---------------------------------------------------------------- AMI


def judge_account(name: str, account: Account | None) -> list[Finding]:
    """What `manager show user NAME` says of the daemon's account."""
    about, entry = "ami account", f"manager.conf [{name}]"
    if account is None:
        return [wrong(about, f"Asterisk knows no AMI account {name}", "`recorder init` writes one")]
    wanted = (("read", READ_NEEDED, account.read), ("write", WRITE_NEEDED, account.write))
    found = []
    for way, needed, held in wanted:
        mend = f"{entry}: {way} = {_classes(needed)}; then `manager reload`"
        if missing := needed - held - (needed if "all" in held else frozenset()):
            found.append(wrong(about, f"{name} lacks {way} = {_classes(missing)}", mend))
        if spare := held - needed:
            found.append(wrong(about, f"{name} holds {way} = {_powers(spare)}, which it does not need", mend))
    return found or [fine(about, f"{name} holds what it needs and nothing else")]


def _classes(names: Iterable[str]) -> str:
    order = ("call", "agent", "user", "reporting")
    return ",".join(sorted(names, key=lambda name: (order.index(name) if name in order else len(order), name)))


def _powers(spare: frozenset[str]) -> str:
    shown = sorted(spare, key=lambda name: (list(POWERS).index(name) if name in POWERS else len(POWERS), name))
    if "all" in spare:
        return f"all ({POWERS['all']})"
    return ", ".join(f"{name} ({POWERS[name]})" if name in POWERS else name for name in shown)


def judge_stamps(ami: Mapping[str, str]) -> Finding:
    """`manager show settings`: whether Asterisk says of its events when they happened."""
    about, stamped = "ami", ami.get("Timestamp events", "").lower()
    mend = "manager.conf [general]: timestampevents = yes; then `module reload manager`"
    if not stamped:
        return unchecked(about, "whether events are stamped with Asterisk's own time", mend)
    if stamped != "yes":
        what = "events are not stamped: on a busy machine a recording ends as late as we read that it should"
        return wrong(about, what, mend)
    return fine(about, "events are stamped with Asterisk's own time")


AMI_MENDS = {
    "ami_login_refused": "compare [ami] username and secret with manager.conf, and its deny and permit with this"
    " machine's address; then `manager reload`",
    "ami_down": "is Asterisk running, is manager.conf enabled = yes, do its bindaddr and port agree with [ami]?",
}


def judge_ami_failure(address: str, username: str, reason: str, listens: Mapping[str, str]) -> Finding:
    """`reason` as the session gives it, "code: words"; `listens` is `manager show settings`, empty where unknown."""
    code, _, words = reason.partition(": ")
    if code == "ami_login_refused":
        return wrong("ami", f"{address} refuses {username}: {words}", AMI_MENDS[code])
    what, mend = f"{address} cannot be reached: {words or code}", AMI_MENDS["ami_down"]
    if listens.get("Manager (AMI)") == "No":
        mend = "manager.conf [general] enabled = yes; then `module reload manager`"
    elif bound := listens.get("TCP Bindaddress"):
        mend = f"Asterisk listens for AMI at {bound}: let [ami] host and port agree with it, and no firewall be between"
    return wrong("ami", what, mend)


# ---------------------------------------------------------------- what must be loaded


def judge_modules(running: frozenset[str]) -> list[Finding]:
    if not running:
        return [unchecked("modules", "`module show` named none that runs", "ask it yourself")]
    missing = [
        wrong("modules", f"{name} does not run ({use})", f"`module load {name}`, and load = {name}.so in modules.conf")
        for name, use in MODULES.items()
        if name not in running
    ]
    return missing or [fine("modules", f"all {len(MODULES)} that the recorder uses run")]


CDR_MEND = "in cdr.conf: enable = yes in [general], loguniqueid = yes and newcdrcolumns = yes in [csv]; load cdr_csv.so"
CDR_RELOAD = f"{CDR_MEND}; then `module reload cdr_csv`"


def judge_cdr(path: Path | None, columns: Columns | None, *, trouble: str, has_module: bool | None) -> Finding:
    """Whether calls that only the CDR tells of can be accounted for. `trouble`: why it is not read, "" where it is.

    `columns` None: nothing is written there yet. `has_module` None: Asterisk was not asked.
    """
    if path is None:
        what = "[pbx] cdr is not set: personal calls are not counted, nor outgoing calls known that pass unseen"
        return note("cdr", what, "name cdr-csv/Master.csv" if has_module else CDR_MEND)
    if has_module is False:
        return wrong("cdr", "cdr_csv does not run: Asterisk writes no row", CDR_MEND)
    if trouble:
        return wrong("cdr", f"{path} cannot be read: {trouble}", "let [pbx] cdr be what cdr_csv writes, readable")
    if columns is None:
        return note("cdr", f"{path} has no row yet: whether it will have all columns shows after a call", CDR_MEND)
    missing = [name for name in ("uniqueid", "linkedid") if not getattr(columns, name)]
    if missing:
        return wrong("cdr", f"the rows of {path} have no {' and no '.join(missing)}", CDR_RELOAD)
    return fine("cdr", f"{path} can be read and has the columns that the books need")


Steps = Mapping[str, tuple[str, ...]]


def judge_contexts(shipped: Mapping[str, Steps], loaded: Mapping[str, Steps | None]) -> list[Finding]:
    """Our contexts as this version ships them against those that Asterisk runs."""
    absent = [name for name in shipped if loaded.get(name) is None]
    if len(absent) == len(shipped):
        mend = "#include extensions_recorder.conf in extensions.conf (`recorder init` does it); then `dialplan reload`"
        return [wrong("dialplan", "none of the recorder's contexts is loaded", mend)]
    mend = "copy this version's extensions_recorder.conf (`recorder init` does it); then `dialplan reload`"
    found = [wrong("dialplan", f"the context {name} is missing", mend) for name in absent]
    found += [
        wrong("dialplan", f"the context {name} is not as this version ships it", mend)
        for name, steps in shipped.items()
        if name not in absent and loaded[name] != steps
    ]
    return found or [fine("dialplan", f"all {len(shipped)} contexts are loaded, as this version ships them")]


def judge_fallback(
    wanted: Mapping[str, Steps],
    loaded: Mapping[str, Steps | None],
    problems: Iterable[str],
    running: frozenset[str],
) -> list[Finding]:
    """By line: how the dialplan is to ask while the daemon is away, against what Asterisk runs."""
    about, mend = "fallback", "`recorder init --apply` writes it anew; then `dialplan reload`"
    found = [wrong(about, f"nobody is asked while the recorder is away: {why}", mend) for why in problems]
    for line, steps in wanted.items():
        if loaded.get(line) is None:
            found.append(wrong(about, f"line {line} is not asked while the recorder is away", mend))
        elif loaded[line] != steps:
            found.append(wrong(about, f"line {line} is asked by older settings or prompts while we are away", mend))
    unwanted = [line for line, steps in loaded.items() if steps is not None and line not in wanted]
    found += [
        wrong(about, f"line {line} is asked while the recorder is away, against its settings", mend)
        for line in unwanted
    ]
    found += [
        wrong(about, f"{name} does not run ({use})", f"`module load {name}`, and load = {name}.so in modules.conf")
        for name, use in FALLBACK_MODULES.items()
        if wanted and running and name not in running
    ]
    if found or not wanted:
        return found
    return [fine(about, f"{', '.join(wanted)}: asked by the dialplan while the recorder is away, by today's settings")]


def judge_features(shipped: Mapping[str, str], keys: Mapping[str, str]) -> list[Finding]:
    """Our entries of the application map, whose digits a house may change, against `features show`."""
    include = (
        "#include features_recorder.conf in features.conf (`recorder init` does it); then `module reload features`"
    )
    missing = [name for name in shipped if not keys.get(name)]
    found = [wrong("keys", f"not in the application map: {', '.join(missing)}", include)] if missing else []
    for name in shipped:
        rivals = [other for other, digits in keys.items() if digits and digits == keys.get(name) and other != name]
        if rivals and (rivals[0] not in shipped or name < rivals[0]):
            what = f"{name} and {' and '.join(rivals)} share the digits {keys[name]}"
            found.append(
                wrong("keys", what, "change the digits in features_recorder.conf; then `module reload features`")
            )
    return found or [fine("keys", ", ".join(f"{name} {keys[name]}" for name in shipped))]


def judge_queues(lines: Iterable[LineRules], known: Mapping[str, bool | None]) -> list[Finding]:
    """`known`: whether Asterisk has the queue, by name; None where it could not be asked."""
    found = []
    for line in lines:
        for queue in line.queues:
            if known.get(queue) is None:
                found.append(unchecked("queues", f"{line.name}: whether there is a queue {queue}", "mend [pbx] cli"))
            elif not known[queue]:
                mend = f"set [line.{line.name}] queues to its names in queues.conf, or add it there"
                found.append(wrong("queues", f"line {line.name}: Asterisk has no queue {queue}", mend))
    return found or [fine("queues", "every line's queues exist")]


def judge_lines(lines: Iterable[LineRules]) -> Finding:
    """Whether anything can be recorded at all. That nothing is, is no fault: it is how an installation begins."""
    modes = {line.name: line.mode for line in lines}
    if not modes:
        return note("lines", "no line is configured: nothing will be recorded", "add a [line.NAME] for each queue")
    asking = {name: mode for name, mode in modes.items() if mode is not ConsentMode.NEVER}
    if not asking:
        return note(
            "lines", "consent is never on every line: nothing will be recorded", "set consent where it is lawful"
        )
    return fine("lines", ", ".join(f"{name} {mode}" for name, mode in modes.items()))


def judge_kept(standings: Iterable[Standing]) -> list[Finding]:
    """Lines that are kept unrecorded though their settings say otherwise, and until when others are released."""
    found = []
    for standing in standings:
        line = standing.rules.name
        if standing.ground is Ground.HELD:
            what = f"line {line} stays never recorded: its settings say {standing.settings}, and it is kept unrecorded"
            mend = f"`recorder line release {line}` asks for a release, which another person must approve;"
            found.append(note("lines", what, f'{mend} or let its settings say consent = "never"'))
        elif standing.release is not None:
            found.append(fine("lines", f"line {line} is released until {standing.release.until:%Y-%m-%d %H:%M} UTC"))
    return found


def judge_number_key(path: Path | None) -> Finding:
    """Whether calls can be found by number; a key that is open or too short was a mistake of the settings already."""
    if path is None:
        mend = "where calls must be found by number: [numbers] key_file; docs/operating.md says how"
        return note("number key", "none: no digest of a number is kept, and nobody is found by theirs", mend)
    return fine("number key", f"{path} is closed: calls are found by a keyed digest of the number")


def judge_catalogue_failure(reason: str) -> Finding:
    """`reason`: why the catalogue could not be opened."""
    what, _, command = reason.partition("; `createdb")
    if command:
        mend = f"`createdb{command}; then `recorder db upgrade`, which fills it"
    elif "recorder db upgrade" in reason:
        mend = "`recorder db upgrade`"
    elif "permission denied" in reason:
        mend = "run grants.sql as the database's owner, as after each upgrade: its head says how"
    else:
        mend = "see that [catalogue] url is right and its database up"
    return wrong("catalogue", what, mend)


def judge_overriders(lines: Iterable[LineRules], known: Iterable[User], node: str) -> list[Finding]:
    """Whether somebody at a telephone of this node may press the keys of each line that lists reasons to override."""
    seated = [user for user in known if user.name == ANYBODY or any(seat.node == node for seat in user.seats)]
    granted = [grant for user in seated if user.enabled for grant in user.grants]
    bare = [
        line.name
        for line in lines
        if line.override and not any(grant.permits(Right.OVERRIDE, line.name) for grant in granted)
    ]
    if not bare:
        return []
    named = " ".join(f"--line {name}" for name in bare)
    what = f"{', '.join(bare)}: reasons are listed, and nobody at a telephone has the right: the keys do nothing"
    mend = f"`recorder user add NAME --telephone INTERFACE`, then `recorder user grant NAME overrider {named}`"
    return [note("overrides", what, f"{mend}; NAME may be `{ANYBODY}`, who need not be added")]


MEMORY = frozenset({"tmpfs", "ramfs"})


def judge_preroll(lines: Iterable[LineRules], spool: Path, kind: str | None) -> list[Finding]:
    """Whether what a pre-roll will silence lies on a disk until then. `kind` is the spool's file system."""
    scrubbed = [line.name for line in lines if line.preroll and line.mode is not ConsentMode.NEVER]
    if not scrubbed or kind in MEMORY:
        return []
    what = f"{spool} is on {kind or 'a file system of unknown kind'}, and {', '.join(scrubbed)} has preroll_seconds:"
    what += " what was said before a pause lies there in the clear until its recording is settled"
    mend = "let the spool be memory (tmpfs, 32 kB a second for each call; what is in it ends with the machine), or"
    return [note("spool", what, f"{mend} let its disk and the swap be encrypted")]


def judge_journal(folder: Path, problems: Sequence[Problem], aside: Sequence[Path], kind: str | None) -> list[Finding]:
    """The local journal's folder, what was set aside there, and whether it outlives the machine's restart."""
    about = "journal"
    found = [wrong(about, f"{problem.path} {problem.what}", problem.mend.rstrip(".")) for problem in problems]
    found += [
        wrong(about, f"{path} was set aside: a part of it could not be read", "look at the disk; then take it away")
        for path in aside
    ]
    if kind in MEMORY:
        mend = "let [journal] path be a folder on a local disk"
        found.append(note(about, f"{folder} is memory: what calls owe the catalogue ends with the machine", mend))
    return found or [fine(about, f"{folder} takes the local journal and has room")]


# ---------------------------------------------------------------- prompts

ASKED_BY = {
    ConsentMode.OPT_IN: PromptKind.QUESTION,
    ConsentMode.OPT_OUT: PromptKind.OBJECTION,
    ConsentMode.NOTICE: PromptKind.NOTICE,
}


def prompts_needed(line: LineRules) -> list[tuple[PromptKind, str]]:
    """What a line plays, by kind and language; nothing where it asks nothing."""
    if line.mode not in ASKED_BY:
        return []
    menu = [PromptKind.LANGUAGE] if len(line.languages) > 1 else []
    return [(kind, language) for kind in (*menu, ASKED_BY[line.mode]) for language in line.languages]


def judge_prompts(lines: Iterable[LineRules], prompts: PromptSet) -> list[Finding]:
    """The prompts here: each there, whole, and naming the keys that its line takes."""
    found = [wrong("prompts", problem, "put it right in prompts.toml or beside it") for problem in prompts.problems]
    needed = 0
    for line in lines:
        mend = "say it in the prompt, and declare it in prompts.toml; the daemon does not start without"
        found += [wrong("prompts", what, mend) for what in prompts.unsaid(line)]
        for kind, language in prompts_needed(line):
            needed += 1
            if (kind, language) not in prompts.prompts:
                found.append(_absent_prompt(line, kind, language))
            else:
                found += _strange_keys(line, kind, language, prompts.keys[kind, language])
    return found or [fine("prompts", f"{len(prompts.prompts)} here, and the {needed} that the lines play among them")]


def _absent_prompt(line: LineRules, kind: PromptKind, language: str) -> Finding:
    what = f"line {line.name} has no {kind} in {language}"
    if kind is PromptKind.LANGUAGE:
        return note("prompts", f"{what}: callers hear every language in turn", "add it, and they can choose one")
    return wrong(
        "prompts", f"{what}: it can ask nobody", f"add the {kind} in {language}, or take {language} from the line"
    )


def _strange_keys(line: LineRules, kind: PromptKind, language: str, named: Mapping[str, str]) -> list[Finding]:
    taken = {"accept": line.accept, "refuse": line.refuse}
    return [
        wrong(
            "prompts",
            f"line {line.name}: the {kind} in {language} says {key} to {word}, and the line takes {taken[word]}",
            f"set {word} = {key!r} in [line.{line.name}], or record the prompt anew",
        )
        for word, key in named.items()
        if word in taken and key != taken[word]
    ]


def judge_prompts_at_pbx(sizes: Mapping[str, tuple[int, str | None]]) -> list[Finding]:
    """By path as Asterisk knows it: the size here in bytes, and what Asterisk says it is (None: it could not say)."""
    unread = [path for path, (_, there) in sizes.items() if there is None]
    if unread:
        mend = (
            "`module load func_env`, or, where Asterisk has no `dialplan eval function`, play one on a call of your own"
        )
        return [unchecked("prompts", f"whether Asterisk sees {unread[0]} and {len(unread) - 1} more", mend)]
    found = []
    for path, (here, there) in sizes.items():
        if there in ("", "0", "-1"):
            mend = "let [prompts] path be the folder as Asterisk sees it, which its user may enter and read"
            found.append(wrong("prompts", f"Asterisk does not see {path}", mend))
        elif there != str(here):
            mend = "copy the prompts to Asterisk again: what callers hear must be what the catalogue says they heard"
            found.append(wrong("prompts", f"{path} has {here} bytes here and {there} for Asterisk", mend))
    return found or [fine("prompts", f"Asterisk sees the same {len(sizes)} files")]


# ---------------------------------------------------------------- the spool, as Asterisk has it


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolTrial:
    """What came of letting Asterisk open a recording in the spool, and of showing it a file of ours.

    `appeared`: its file is seen here. `readable`, `writable`: and may be read, and written, by us. `seen`: what STAT
    says of ours, None unknown.
    """

    path: str
    appeared: bool
    readable: bool = False
    writable: bool = False
    seen: str | None = None


def judge_spool(trial: SpoolTrial) -> Finding:
    about, place = "spool", trial.path
    if trial.appeared and trial.readable and trial.writable:
        return fine(about, f"Asterisk writes to {place} and we read it")
    if trial.appeared and trial.readable:
        what = f"we read what Asterisk writes to {place} and may not overwrite it: what a recording is silent of"
        mend = "let Asterisk create files that the spool's group may write (umask 0007), where the spool is a disk"
        return note(about, f"{what} stays on the disk, unlinked, until its blocks are needed", mend)
    if trial.appeared:
        mend = "let Asterisk create files that the spool's group may read (umask 0007, or 0027 at most)"
        return wrong(about, f"what Asterisk writes to {place} cannot be read here", mend)
    if trial.seen == "1":
        return wrong(
            about,
            f"Asterisk sees {place} but cannot write there",
            f"give Asterisk's user the right to write to {place}",
        )
    if trial.seen in ("0", ""):
        mend = "let [capture] spool (as Asterisk sees it) and spool_here be one folder, which Asterisk's user may enter"
        return wrong(about, f"{place} is not the same folder for Asterisk, or closed to it", mend)
    mend = f"look in Asterisk's log, and whether its user may write to {place}"
    return wrong(about, f"Asterisk wrote nothing to {place} that is seen here", mend)


# ---------------------------------------------------------------- FastAGI

DEFAULT_AGI = "127.0.0.1:4573"
"""Where recorder-address sends a call when the global variable RECORDER_AGI is unset."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgiTrial:
    """The dialplan called the daemon's port. `answer` is what it wrote down: AGISTATUS, and what the daemon said.

    `bind` is [agi] bind, `called` the dialplan's address; `expected` is what the daemon or our stand-in for it says;
    `stood_in`: the daemon is not running and doctor listened itself; `peer` is who then called, None nobody.
    """

    bind: str
    called: str
    answer: str | None
    expected: str
    stood_in: bool
    peer: str | None = None
    served: frozenset[str] = frozenset()  # addresses that the daemon serves


def judge_agi(trial: AgiTrial) -> list[Finding]:
    about = "fastagi"
    status, _, said = (trial.answer or "").partition(" ")
    if trial.peer is not None and trial.peer not in trial.served:
        mend = "let [ami] host be the address that Asterisk calls from: the daemon serves nobody else"
        return [wrong(about, f"Asterisk calls from {trial.peer}, which is not [ami] host", mend)]
    if said == trial.expected:
        found = [fine(about, f"the dialplan reaches {trial.called}")]
        if trial.stood_in:
            found.append(note("daemon", "it is not running: doctor listened in its place for a moment"))
        return found
    mend = (
        f"one address in [agi] bind (now {trial.bind}) and in the dialplan's global RECORDER_AGI (now {trial.called})"
    )
    if trial.answer is None:
        return [unchecked(about, "the dialplan wrote no answer down", "is the context recorder-doctor loaded?")]
    if status == "FAILURE":
        more = "" if _same_port(trial) else "; they differ"
        return [wrong(about, f"the dialplan does not reach {trial.called}{more}", mend)]
    what = f"something else than this daemon answers the dialplan at {trial.called}, or it refuses Asterisk's address"
    return [wrong(about, what, f"{mend}; [ami] host must be where Asterisk calls from")]


def _same_port(trial: AgiTrial) -> bool:
    return (
        re.search(r":\d+$", trial.called) is not None and host_and_port(trial.called)[1] == host_and_port(trial.bind)[1]
    )
