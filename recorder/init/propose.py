"""From a PBX to a list of changes: asks Asterisk, reads its folder, and lays out what would have to be written.

Writes nothing itself and never reloads the PBX. The invariant: what is in place already is no change, so that a second
run proposes nothing; and a file that the house may have made its own (settings, prompts, digits) is kept.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from recorder import shipped
from recorder.catalogue import CatalogueError, CatalogueSchema, open_catalogue
from recorder.fallback_file import FILE as FALLBACK
from recorder.fallback_file import Written, written
from recorder.init.changes import CLOSED, OWN, Change, change_to
from recorder.init.texts import (
    Proposal,
    account_text,
    dialplan_lines,
    includes,
    lines_from_queues,
    settings_text,
    with_digits_kept,
    with_include,
)
from recorder.model import ConsentMode, RecorderError
from recorder.pbx_cli import Cli, CliFailed, ami_account, core_settings, queue_names, running_modules, worded
from recorder.settings import Settings, host_and_port, load

WHY = "the call recorder"
GROUP = USER = "recorder"
NUMBER_KEY = "number.key"
CDR_FILE = "cdr-csv/Master.csv"
CDR_COLUMNS = ("loguniqueid", "newcdrcolumns")
ACCOUNT_FILE = "manager_recorder.conf"
CUSTOM = {
    "extensions.conf": "extensions_custom.conf",
    "features.conf": "features_applicationmap_custom.conf",
    "manager.conf": "manager_custom.conf",
}
"""Where a distribution writes the file itself, and includes another one for the house."""


class InitRefused(RecorderError):
    """What init needs is not there, or it would have to overwrite what is not ours."""

    code = "init_refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What the administrator said. `etc` is Asterisk's configuration as this machine sees it, None: ask Asterisk."""

    config: Path
    cli: tuple[str, ...]
    etc: Path | None = None
    lines: tuple[str, ...] = ()
    prompts: Path = Path("/usr/share/recorder/prompts")
    username: str = "recorder"


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What Asterisk said of itself; empty where it could not be asked."""

    pbx: Mapping[str, str] = field(default_factory=dict)  # `core show settings`
    ami: Mapping[str, str] = field(default_factory=dict)  # `manager show settings`
    queues: tuple[str, ...] = ()
    has_account: bool = False
    has_cdr_csv: bool = False
    silent: str = ""  # why it could not be asked


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The changes that are needed, and what a person is told: what to know, and the dialplan lines of each line."""

    changes: tuple[Change, ...]
    remarks: tuple[str, ...]
    dialplan: Mapping[str, str]


async def ask(cli: Cli, username: str) -> Known:
    """Ask Asterisk for what a proposal needs; one that cannot be asked is no error here."""
    try:
        return Known(
            pbx=core_settings(await cli.ask("core show settings")),
            ami=core_settings(await cli.ask("manager show settings")),
            queues=queue_names(await cli.ask("queue show")),
            has_cdr_csv="cdr_csv" in running_modules(await cli.ask("module show")),
            has_account=ami_account(await cli.ask(f"manager show user {worded(username)}")) is not None,
        )
    except CliFailed as error:
        return Known(silent=str(error))


def plan(choices: Choices, known: Known, environment: Mapping[str, str] | None = None) -> Plan:
    """Lay out every change. InitRefused where it cannot be done, SettingsMistaken where those there are wrong."""
    etc = _asterisk_folder(choices, known)
    settings = load(choices.config, environment or {}) if choices.config.exists() else None
    lines = _lines(choices, known, settings)
    secret_file, secret = _secret(choices, settings)
    username = settings.ami.username if settings else choices.username
    prompts = settings.prompts.here if settings else choices.prompts
    changes: list[Change] = []
    if settings is None:
        text = settings_text(_proposal(choices, known, secret_file, lines))
        changes.append(change_to(choices.config, text, mode=CLOSED, group=GROUP))
        changes.append(_number_key(choices.config.with_name(NUMBER_KEY)))
    if secret_file is not None:
        changes.append(change_to(secret_file, f"{secret}\n", mode=CLOSED, group=GROUP, hidden=secret))
    kept, unknown = _kept_unrecorded(settings)
    asked = written(settings, known.pbx.get("Version", ""), kept) if settings else Written()
    changes += _dialplan(etc, asked, stays=unknown != "")
    changes += _account(etc, username, secret, known, has_settings=settings is not None)
    changes += _prompts(prompts)
    return Plan(
        changes=tuple(change for change in changes if change.is_needed),
        remarks=(*_remarks(choices, known, settings, etc), *_fallback_remarks(asked, unknown)),
        dialplan={name: dialplan_lines(name, queues) for name, queues in lines.items()},
    )


def _asterisk_folder(choices: Choices, known: Known) -> Path:
    named = known.pbx.get("Configuration directory")
    if choices.etc is None and named is None:
        raise InitRefused(
            f"Asterisk cannot be asked where its configuration is ({known.silent}): give --asterisk-etc, or --cli"
        )
    etc = choices.etc or Path(named or "")
    if not (etc / "extensions.conf").is_file():
        raise InitRefused(
            f"{etc} holds no extensions.conf: give --asterisk-etc, Asterisk's folder as this machine sees it"
        )
    return etc


def _lines(choices: Choices, known: Known, settings: Settings | None) -> dict[str, tuple[str, ...]]:
    if settings is not None:
        return {name: rules.queues for name, rules in settings.rules().items()}
    return lines_from_queues(choices.lines or known.queues)


def _secret(choices: Choices, settings: Settings | None) -> tuple[Path | None, str]:
    """The file of the AMI secret and the secret, a new one where there is none; no file where the settings hold it."""
    if settings is not None:
        return settings.ami.secret_file, settings.ami.password()
    file = choices.config.with_name("ami.secret")
    there = file.read_text(encoding="utf-8").strip() if file.exists() else ""
    return file, there or secrets.token_urlsafe(32)


def _number_key(file: Path) -> Change:
    """A key of its own for the digests of numbers. One that is there stays: with another nobody is found again."""
    there = file.read_text(encoding="utf-8").strip() if file.exists() else ""
    key = there or secrets.token_urlsafe(32)
    return change_to(file, f"{key}\n", mode=OWN, user=USER, hidden=key)


def _proposal(
    choices: Choices, known: Known, secret_file: Path | None, lines: Mapping[str, tuple[str, ...]]
) -> Proposal:
    assert secret_file is not None
    host, port = host_and_port(known.ami.get("TCP Bindaddress") or "127.0.0.1:5038")
    logs = Path(known.pbx.get("Log directory", "/var/log/asterisk"))
    return Proposal(
        cli=choices.cli,
        host="127.0.0.1" if host in ("0.0.0.0", "", "::") else host,
        port=port,
        username=choices.username,
        secret_file=secret_file,
        number_key=choices.config.with_name(NUMBER_KEY),
        queue_log=logs / "queue_log",
        cdr=logs / CDR_FILE if known.has_cdr_csv else None,
        prompts=choices.prompts,
        lines=lines,
        version=known.pbx.get("Version", ""),
    )


def _house_file(etc: Path, name: str) -> Path:
    """The file that the house itself edits: `name`, or the one that a distribution includes there for the house."""
    path, custom = etc / name, etc / CUSTOM[name]
    if custom.is_file() and path.is_file() and includes(_text(path), custom.name):
        return custom
    return path


def _text(path: Path) -> str:
    """Bytes as they are: a comment in an old encoding is not ours to change."""
    return path.read_bytes().decode("utf-8", "surrogateescape") if path.exists() else ""


def _including(etc: Path, name: str, *included: str) -> Change:
    path = _house_file(etc, name)
    text = _text(path)
    for file in included:
        text = with_include(text, file, WHY)
    return change_to(path, text.encode("utf-8", "surrogateescape"), like=etc / "extensions.conf")


def _dialplan(etc: Path, asked: Written, *, stays: bool) -> list[Change]:
    """`stays`: what asks while the recorder is away is left as it is."""
    source, like = shipped.dialplan(), etc / "extensions.conf"
    # A file that an earlier run wrote is emptied and not removed: extensions.conf includes it.
    is_wanted = asked.contexts or (etc / FALLBACK).exists()
    fallback = [change_to(etc / FALLBACK, asked.text, like=like)] if is_wanted and not stays else []
    features = with_digits_kept(_text(source / shipped.FEATURES), _text(etc / shipped.FEATURES))
    return [
        change_to(etc / shipped.EXTENSIONS, _text(source / shipped.EXTENSIONS), like=like, shipped=True),
        change_to(etc / shipped.FEATURES, features, like=like, shipped=True),
        *fallback,
        _including(etc, "extensions.conf", shipped.EXTENSIONS, *([FALLBACK] if fallback else [])),
        _including(etc, "features.conf", shipped.FEATURES),
    ]


def _kept_unrecorded(settings: Settings | None) -> tuple[frozenset[str], str]:
    """The lines that are kept unrecorded, and so are not asked without us; and why that could not be told.

    Only the catalogue knows. One that is not there yet, or older than what keeps lines so, keeps none.
    """
    rules = settings.rules().values() if settings is not None else ()
    if settings is None or not any(one.asked_without_us and one.mode is not ConsentMode.NEVER for one in rules):
        return frozenset(), ""
    try:
        return asyncio.run(_ask_catalogue(settings)), ""
    except CatalogueSchema:
        return frozenset(), ""
    except CatalogueError as error:
        return frozenset(), str(error)


async def _ask_catalogue(settings: Settings) -> frozenset[str]:
    catalogue = await open_catalogue(settings.catalogue.url)
    try:
        return await catalogue.kept_unrecorded(list(settings.line))
    finally:
        await catalogue.close()


def _fallback_remarks(asked: Written, unknown: str) -> list[str]:
    if unknown:
        return [
            f"{FALLBACK} stays as it is: only the catalogue tells which lines are kept unrecorded, and it does not"
            f" answer ({unknown}). Run this again where it does."
        ]
    left_out = [
        f"Line {line} is not asked while the recorder is away: it is kept unrecorded (`recorder line list`)."
        for line in asked.left_out
    ]
    return [*left_out, *(f"While the recorder is away nobody is asked: {problem}." for problem in asked.problems)]


def _account(etc: Path, username: str, secret: str, known: Known, *, has_settings: bool) -> list[Change]:
    """An account in a file of its own; nothing where the house keeps one of that name itself."""
    general = etc / "manager.conf"
    if not general.is_file():
        raise InitRefused(f"{general} is missing: Asterisk has no AMI without it")
    in_folder = includes(_text(general), "manager.d/recorder.conf")
    name = "manager.d/recorder.conf" if in_folder else ACCOUNT_FILE
    path = etc / name
    if not path.exists() and (known.has_account or f"[{username}]" in _text(general)):
        if has_settings:
            return []  # an account of the house's own making, whose secret the settings know
        raise InitRefused(f"Asterisk already has an AMI account {username}: give another name with --ami-user")
    change = change_to(path, account_text(username, secret), mode=CLOSED, like=general, hidden=secret)
    return [change] if in_folder else [change, _including(etc, "manager.conf", name)]


def _prompts(folder: Path) -> list[Change]:
    """The prompts that are not there yet. What is there may be the house's own voice: it is kept."""
    source = shipped.dialplan() / shipped.PROMPTS
    if (folder / "prompts.toml").exists() or folder.resolve() == source.resolve():
        return []
    files = [*sorted(source.glob("*/*.wav")), source / "prompts.toml"]  # the list last: it says that all are there
    return [change_to(folder / file.relative_to(source), file.read_bytes(), shipped=True) for file in files]


def _cdr_remarks(etc: Path, known: Known) -> list[str]:
    """What cdr.conf lacks. Never changed here: who reads the house's CDR by its columns would be surprised."""
    if known.silent:
        return []
    text = _text(etc / "cdr.conf")
    lacks = [name for name in CDR_COLUMNS if not re.search(rf"^\s*{name}\s*=>?\s*yes\b", text, re.MULTILINE)]
    remarks = [] if known.has_cdr_csv else ["cdr_csv does not run: load it, and the recorder can count personal calls."]
    if lacks:
        columns = " and ".join(f"{name} = yes" for name in lacks)
        remarks.append(f"cdr.conf, section [csv]: set {columns}; the rows that cdr_csv writes then have more columns.")
    return remarks


def _remarks(choices: Choices, known: Known, settings: Settings | None, etc: Path) -> list[str]:
    remarks = _cdr_remarks(etc, known)
    if known.silent:
        remarks.append(f"Asterisk could not be asked ({known.silent}): queues and addresses are guesses.")
    if known.ami.get("Manager (AMI)") == "No":
        remarks.append("AMI is off: set enabled = yes and bindaddr = 127.0.0.1 in manager.conf [general].")
    if known.ami.get("Timestamp events") == "No":
        remarks.append(
            "manager.conf, section [general]: set timestampevents = yes, then `module reload manager`;"
            " every AMI client's events then have one header more."
        )
    if settings is not None:
        remarks.append(f"{choices.config} is there and stays as it is.")
        served = {queue for rules in settings.rules().values() for queue in rules.queues}
        remarks += [f"The queue {queue} belongs to no line." for queue in known.queues if queue not in served]
    return remarks
