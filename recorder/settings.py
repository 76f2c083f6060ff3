"""TOML and environment -> frozen settings, or the complete list of mistakes.

Owns the names of settings (docs/operating.md lists them) and reads nothing but the text and mapping it is given,
and the secret files that they name. Unset is None; an unknown key is a mistake, not a comment.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from recorder.alarms import AlarmKind
from recorder.chain import canonical
from recorder.do_not_record import DoNotRecord, checked_interface, is_region, written_number
from recorder.listens import LONGEST_EXPLANATION, PRIVATE, Explaining, ExplanationRule
from recorder.model import ConsentMode, OverrideReason, RecorderError, RivalPolicy
from recorder.numbers import SHORTEST_KEY, NumberKey
from recorder.policy import KEPT_UNRECORDED, LinePolicy, LineRules, OverrideTerms
from recorder.releases import Said
from recorder.rights import Role

ENVIRONMENT_PREFIX = "RECORDER_"
LINE_NAME = re.compile(r"[A-Za-z0-9_-]{1,40}")


class SettingsMistaken(RecorderError):
    """Every mistake at once; the command line exits 78 on it."""

    code = "settings_mistaken"

    def __init__(self, mistakes: tuple[str, ...]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True, validate_default=True)


Port = Annotated[int, Field(ge=1, le=65535)]
Key = Annotated[str, Field(pattern=r"^[0-9*#]$")]
Language = Annotated[str, Field(pattern=r"^[a-z]{2,3}(_[A-Z]{2})?$")]


def host_and_port(address: str) -> tuple[str, int]:
    """`127.0.0.1:4573` or `[::1]:4573` -> host without brackets, port."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def _address(text: str) -> str:
    if not re.fullmatch(r".+:\d{1,5}", text) or not 1 <= host_and_port(text)[1] <= 65535:
        raise ValueError("HOST:PORT, the port from 1 to 65535")
    return text


Address = Annotated[str, AfterValidator(_address)]


class Node(Section):
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,40}$")] = "pbx1"


class Ami(Section):
    host: str = "127.0.0.1"
    port: Port = 5038
    username: str
    secret: SecretStr | None = None
    secret_file: Path | None = None
    tls: bool = False

    @field_validator("secret_file")
    @classmethod
    def _one_secret(cls, path: Path | None, known: ValidationInfo) -> Path | None:
        # Checked here, not on the finished model, so that it is listed beside the section's other mistakes.
        if (known.data.get("secret") is None) == (path is None):
            raise ValueError("give exactly one of secret and secret_file")
        if path is not None:
            _read_secret(path)
        return path

    def password(self) -> str:
        """The secret in the clear, for the login alone."""
        if self.secret is not None:
            return self.secret.get_secret_value()
        assert self.secret_file is not None
        return _read_secret(self.secret_file)


class Pbx(Section):
    cli: tuple[str, ...] = ("asterisk", "-rx")
    queue_log: Path | None = Path("/var/log/asterisk/queue_log")
    cdr: Path | None = None  # cdr-csv/Master.csv, as we see it
    rivals_note: Path | None = None  # what `recorder doctor --rivals` found

    @field_validator("queue_log", "cdr", "rivals_note", mode="before")
    @classmethod
    def _none(cls, path: object) -> object:
        return None if path == "" else path  # TOML has no other word for it


class Agi(Section):
    bind: Address = "127.0.0.1:4573"
    dialogues: Annotated[int, Field(ge=1, le=5000)] = 500


def _plain(path: Path) -> Path:
    """It becomes part of an argument to Asterisk, in which these characters separate or expand."""
    if not path.is_absolute() or re.search(r"[,()|&^$\\\"'\s]", str(path)):
        raise ValueError("an absolute path without spaces, quotes and any of , ( ) | & ^ $ \\")
    return path


PlainPath = Annotated[Path, AfterValidator(_plain)]


class PromptFolder(Section):
    path: PlainPath = Path("/usr/share/recorder/prompts")
    path_here: Path | None = None

    @property
    def here(self) -> Path:
        return self.path_here or self.path


Percent = Annotated[float, Field(gt=0, le=100)]


def _not_below_warning(alarm: float, known: ValidationInfo) -> float:
    if alarm < known.data.get("warn_percent", 0):
        raise ValueError("is below warn_percent")
    return alarm


AlarmPercent = Annotated[Percent, AfterValidator(_not_below_warning)]
"""Stands behind a warn_percent of its section."""


class CaptureFolder(Section):
    spool: PlainPath = Path("/var/spool/recorder")
    spool_here: Path | None = None
    min_free_mb: Annotated[int, Field(ge=1)] = 500
    rivals: Literal[RivalPolicy.STOP, RivalPolicy.REPORT] = RivalPolicy.STOP
    listeners: RivalPolicy = RivalPolicy.REPORT
    warn_percent: Percent = 80
    alarm_percent: AlarmPercent = 90

    @property
    def here(self) -> Path:
        return self.spool_here or self.spool


class CatalogueAt(Section):
    url: str = "sqlite:////var/lib/recorder/catalogue.db"

    @field_validator("url")
    @classmethod
    def _engine(cls, url: str) -> str:
        if not url.startswith(("sqlite:///", "postgresql://", "postgresql+psycopg://")):
            raise ValueError("sqlite:////absolute/path.db or postgresql://user@host/database")
        return url


class JournalAt(Section):
    path: Path | None = None  # a folder; unset: beside SQLite's file, else above storage.path


class StorageAt(Section):
    path: Path = Path("/var/lib/recorder/recordings")
    min_free_mb: Annotated[int, Field(ge=1)] = 500
    warn_percent: Percent = 80
    alarm_percent: AlarmPercent = 90


class Http(Section):
    bind: Address = "127.0.0.1:8089"
    token_file: Path | None = None

    @field_validator("token_file")
    @classmethod
    def _readable(cls, path: Path | None) -> Path | None:
        if path is not None:
            _read_secret(path)
        return path

    def token(self) -> str | None:
        return _read_secret(self.token_file) if self.token_file is not None else None


class Explained(Section):
    """Whether somebody says why they listen. What is named narrows it to a role, a line or a purpose (LL-03)."""

    explanation: Explaining
    shortest: Annotated[int, Field(ge=1, le=LONGEST_EXPLANATION)] = PRIVATE.shortest
    role: Role | None = None
    line: str | None = None
    purpose: str | None = None

    def rule(self) -> ExplanationRule:
        return ExplanationRule(
            explaining=self.explanation, shortest=self.shortest, role=self.role, line=self.line, purpose=self.purpose
        )


class Listened(Section):
    """Hearing recordings. `rule.NAME` is any number of exceptions; which one counts `recorder.listens` says."""

    explanation: Explaining = PRIVATE.explaining
    shortest: Annotated[int, Field(ge=1, le=LONGEST_EXPLANATION)] = PRIVATE.shortest
    alarm_above: Annotated[int, Field(ge=1, le=100_000)] = 60
    rule: dict[str, Explained] = Field(default_factory=dict)

    def rules(self) -> tuple[ExplanationRule, ...]:
        whole = ExplanationRule(explaining=self.explanation, shortest=self.shortest)
        return (whole, *(explained.rule() for explained in self.rule.values()))


class Override(Section):
    """On what one of the reasons rests for which an agent may capture without consent (OV-02).

    `retention` is required although RT-01's rules are not here yet: what was captured without consent is never kept
    under no rule's name, and the audit row cannot be given one afterwards.
    """

    legal_basis: str
    retention: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,40}$")]
    tells_caller: bool = False

    @field_validator("legal_basis")
    @classmethod
    def _said(cls, basis: str) -> str:
        if not basis:
            raise ValueError("says nothing: name the law, or the ground, on which this reason rests")
        return basis


class Line(Section):
    numbers: tuple[str, ...] = ()
    queues: tuple[str, ...] | None = None
    consent: ConsentMode = ConsentMode.NEVER
    purposes: tuple[str, ...] = ("training", "service_standard")
    languages: tuple[Language, ...] = ("en",)
    accept: Key = "1"
    refuse: Key = "2"
    answer_seconds: Annotated[float, Field(ge=1, le=60)] = 5
    retries: Annotated[int, Field(ge=0, le=10)] = 2
    override: dict[OverrideReason, Override] = Field(default_factory=dict)
    legal_basis: str | None = None
    preroll_seconds: Annotated[float, Field(ge=0, le=30)] = 0
    pause_longest_seconds: Annotated[float, Field(ge=10, le=3600)] = 300
    withdrawal: Literal["erase", "keep"] = "erase"
    announce: bool = False
    beep_seconds: Annotated[int, Field(ge=5, le=120)] | None = None
    fallback: Literal["skip", "dialplan"] = "skip"

    @property
    def keeps_unrecorded(self) -> bool:
        """Whether `never` is said in so many words (MS-01)."""
        return self.consent is ConsentMode.NEVER and "consent" in self.model_fields_set

    @field_validator("languages")
    @classmethod
    def _once(cls, languages: tuple[str, ...]) -> tuple[str, ...]:
        if not languages:  # here and not as a bound of the field, which would count a mistyped one twice
            raise ValueError("lists none")
        if len(set(languages)) != len(languages):
            raise ValueError("a language is listed twice")
        return languages

    @field_validator("refuse")
    @classmethod
    def _another_key(cls, refuse: str, known: ValidationInfo) -> str:
        if refuse == known.data.get("accept"):
            raise ValueError("is the same key as accept")
        return refuse

    @field_validator("override", mode="before")
    @classmethod
    def _each_with_its_basis(cls, told: object) -> object:
        """Older settings have a list of reasons here: nothing of on what they rest, nor of how long it is kept."""
        if not isinstance(told, list | tuple):
            return told
        if not told:
            return {}
        reasons = [reason for reason in OverrideReason if reason in told] or list(OverrideReason)[:1]
        instead = "; ".join(f'override.{reason} = {{ legal_basis = "...", retention = "..." }}' for reason in reasons)
        raise ValueError(
            "is no list any more: each reason says its legal basis and the retention rule under which such a recording"
            f" falls. Write instead, a line each: {instead}"
        )

    @field_validator("legal_basis")
    @classmethod
    def _where_needed(cls, basis: str | None, known: ValidationInfo) -> str | None:
        if "consent" in known.data and (known.data["consent"] is ConsentMode.NOT_REQUIRED) != bool(basis):
            raise ValueError('consent = "not_required" needs it, and no other may have it')
        return basis


def _region(text: str) -> str:
    if not is_region(text):
        raise ValueError("two letters of a country, as CA")
    return text


class NotRecorded(Section):
    """Who is never recorded, above every other setting and every key (SC-07)."""

    region: Annotated[str, AfterValidator(_region)] | None = None
    agents: tuple[str, ...] = ()
    dialled: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()

    @field_validator("agents")
    @classmethod
    def _recognised(cls, agents: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(checked_interface(agent) for agent in agents)

    @field_validator("dialled", "numbers")
    @classmethod
    def _understood(cls, numbers: tuple[str, ...], known: ValidationInfo) -> tuple[str, ...]:
        for number in numbers if "region" in known.data else ():
            written_number(number, known.data["region"])
        return numbers

    def lists(self) -> DoNotRecord:
        return DoNotRecord(
            agents=frozenset(self.agents),
            dialled=tuple(written_number(number, self.region) for number in self.dialled),
            numbers=tuple(written_number(number, self.region) for number in self.numbers),
            region=self.region,
        )


class Numbers(Section):
    """How the other side's number is kept: as a keyed digest, or not at all (CE-04)."""

    region: Annotated[str, AfterValidator(_region)] | None = None
    key_file: Path | None = None

    @field_validator("key_file")
    @classmethod
    def _closed(cls, path: Path | None) -> Path | None:
        if path is not None:
            _read_key(path)
        return path

    def key(self) -> NumberKey | None:
        return None if self.key_file is None else NumberKey(secret=_read_key(self.key_file), region=self.region)


class Log(Section):
    format: Literal["text", "json"] = "text"


def _webhook_address(address: str) -> str:
    """What is signed may still be read on the way, so in the clear it goes to this machine alone."""
    parts = urlsplit(address)
    if parts.username is not None or parts.password is not None:
        raise ValueError("a URL without a user or a password: the signature is what the receiver checks")
    if not parts.hostname or parts.scheme not in ("http", "https"):
        raise ValueError("https://HOST/PATH")
    if parts.scheme == "http" and parts.hostname not in ("127.0.0.1", "::1", "localhost"):
        raise ValueError("https://HOST/PATH; http:// goes to 127.0.0.1 alone")
    return address


class Alarming(Section):
    """Who is told of alarms. Nobody, until one of hook and webhook is given."""

    kinds: tuple[AlarmKind, ...] = tuple(AlarmKind)
    unready_seconds: Annotated[float, Field(ge=0, le=3600)] = 60
    digest_minutes: Annotated[float, Field(gt=0, le=1440)] = 15
    over_minutes: Annotated[float, Field(gt=0, le=1440)] = 15
    hook: tuple[str, ...] | None = None
    hook_seconds: Annotated[float, Field(gt=0, le=300)] = 10
    webhook: Annotated[str, AfterValidator(_webhook_address)] | None = None
    secret: SecretStr | None = None
    secret_file: Path | None = None

    @field_validator("hook")
    @classmethod
    def _a_program(cls, hook: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if hook is not None and not (hook and Path(hook[0]).is_absolute()):
            raise ValueError("the program by its whole path first, then its arguments")
        return hook

    @field_validator("secret_file")
    @classmethod
    def _signed(cls, path: Path | None, known: ValidationInfo) -> Path | None:
        given = (known.data.get("secret") is not None) + (path is not None)
        if "webhook" in known.data and given != (known.data["webhook"] is not None):
            raise ValueError("with a webhook give exactly one of secret and secret_file; without one, neither")
        if path is not None:
            _read_secret(path)
        return path

    def key(self) -> bytes:
        """What the webhook is signed with; empty without a webhook."""
        if self.secret is not None:
            return self.secret.get_secret_value().encode()
        return _read_secret(self.secret_file).encode() if self.secret_file is not None else b""


class Settings(Section):
    """Everything that is settled before the daemon starts."""

    node: Node = Node()
    ami: Ami
    pbx: Pbx = Pbx()
    agi: Agi = Agi()
    prompts: PromptFolder = PromptFolder()
    capture: CaptureFolder = CaptureFolder()
    catalogue: CatalogueAt = CatalogueAt()
    journal: JournalAt = JournalAt()
    storage: StorageAt = StorageAt()
    http: Http = Http()
    listening: Listened = Listened()
    do_not_record: NotRecorded = NotRecorded()
    numbers: Numbers = Numbers()
    line: dict[str, Line] = Field(default_factory=dict)
    log: Log = Log()
    alarm: Alarming = Alarming()
    _origins: Mapping[tuple[str, ...], str] = PrivateAttr(default_factory=dict)  # by place, the variable
    _source: str = PrivateAttr(default="")

    @property
    def source(self) -> str:
        """The file that they were read from."""
        return self._source

    @field_validator("line")
    @classmethod
    def _lines(cls, lines: dict[str, Line], known: ValidationInfo) -> dict[str, Line]:
        pbx = known.data.get("pbx")
        if pbx is not None and pbx.queue_log is None and any(line.fallback == "dialplan" for line in lines.values()):
            raise ValueError('fallback = "dialplan" needs pbx.queue_log, where the answers are written down')
        listening = known.data.get("listening")
        for rule in listening.rule.values() if listening is not None else ():
            if rule.line is not None and rule.line not in lines:
                raise ValueError(f"listening.rule names line {rule.line}, and there is no such line")
        for name in lines:
            if not LINE_NAME.fullmatch(name):
                raise ValueError(f"line name {name!r}: letters, digits, _ and - only, at most 40")
        owners: dict[str, str] = {}
        for name, line in lines.items():
            for number in line.numbers:
                if owners.setdefault(number, name) != name:
                    raise ValueError(f"number {number} belongs to both {owners[number]} and {name}")
        return lines

    def rules(self) -> dict[str, LineRules]:
        """The lines as `policy` and `consent` read them, by name."""
        return {name: _rules(name, line) for name, line in self.line.items()}

    def said(self) -> dict[str, Said]:
        """The same with their text, as it is kept: what is in force on a line takes more (recorder.releases)."""
        return {name: Said(rules=_rules(name, line), policy=_policy(name, line)) for name, line in self.line.items()}


def _policy(name: str, line: Line) -> LinePolicy:
    settings = line.model_dump(mode="json")
    if line.keeps_unrecorded:
        settings[KEPT_UNRECORDED] = True  # in their text alone, so that no other line has another digest for it
    return LinePolicy(line=name, settings=canonical(settings))


def _rules(name: str, line: Line) -> LineRules:
    return LineRules(
        name=name,
        mode=line.consent,
        queues=line.queues if line.queues is not None else (name,),
        numbers=line.numbers,
        purposes=line.purposes,
        languages=line.languages,
        accept=line.accept,
        refuse=line.refuse,
        answer=timedelta(seconds=line.answer_seconds),
        retries=line.retries,
        override=tuple(
            OverrideTerms(
                reason=reason, basis=given.legal_basis, retention=given.retention, tells_caller=given.tells_caller
            )
            for reason, given in line.override.items()
        ),
        basis=line.legal_basis,
        preroll=timedelta(seconds=line.preroll_seconds),
        pause_longest=timedelta(seconds=line.pause_longest_seconds),
        withdrawal_erases=line.withdrawal == "erase",
        announces=line.announce,
        beep=line.beep_seconds,
        asked_without_us=line.fallback == "dialplan",
        digest=_policy(name, line).digest,
    )


def settings_from(text: str, environment: Mapping[str, str], *, source: str) -> Settings:
    """Settings of a TOML text with the environment laid over it; raises SettingsMistaken with every mistake."""
    tree = _tree(text, source)
    return _validated(tree, source, _lay_over(tree, environment))


COPIED = ("node", "line", "do_not_record")


def settings_of_copy(text: str, places: Mapping[str, Mapping[str, str | None]], *, source: str) -> Settings:
    """Settings for looking at copied books: the lines and the node of a TOML text, everything else at `places`.

    No secret is needed and none is read. Raises SettingsMistaken as settings_from does.
    """
    kept = {name: section for name, section in _tree(text, source).items() if name in COPIED}
    nobody = {"username": "nobody", "secret": "none"}
    return _validated({**kept, "ami": nobody, **places}, source, {})


def _tree(text: str, source: str) -> dict[str, object]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsMistaken((f"{source}: not TOML: {error}",)) from error


def _validated(tree: Mapping[str, object], source: str, origins: Mapping[tuple[str, ...], str]) -> Settings:
    try:
        settings = Settings.model_validate(tree)
    except ValidationError as error:
        raise SettingsMistaken(_in_words(error, source, origins)) from None
    settings._origins, settings._source = dict(origins), source
    return settings


def load(path: Path, environment: Mapping[str, str]) -> Settings:
    """Settings of the file at `path`; one that cannot be read is a mistake like any other."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise SettingsMistaken((f"{path}: cannot be read: {reason}. `recorder init` writes one.",)) from error
    return settings_from(text, environment, source=str(path))


def _lay_over(tree: dict[str, object], environment: Mapping[str, str]) -> dict[tuple[str, ...], str]:
    """Put RECORDER_SECTION__KEY over the file's keys; return which place came from which variable."""
    origins: dict[tuple[str, ...], str] = {}
    for variable in sorted(environment):
        if not variable.startswith(ENVIRONMENT_PREFIX) or "__" not in variable:
            continue  # RECORDER_CONFIG and the like: no section, so no setting
        place = tuple(variable.removeprefix(ENVIRONMENT_PREFIX).lower().split("__"))
        branch = tree
        for part in place[:-1]:
            inner = branch.setdefault(part, {})
            if not isinstance(inner, dict):
                break
            branch = inner
        else:
            branch[place[-1]] = _value(environment[variable])
            origins[place] = variable
    return origins


def _variable_of(place: tuple[str, ...], origins: Mapping[tuple[str, ...], str]) -> str | None:
    """The variable that says what stands there, or in a table around it."""
    return next((origins[place[:n]] for n in range(len(place), 0, -1) if place[:n] in origins), None)


def _value(text: str) -> object:
    """A list or table is written as in TOML; anything else is taken as it stands."""
    if text.startswith(("[", "{")):
        try:
            return tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            return text
    return text


WORDS = {
    "extra_forbidden": "no such setting",
    "missing": "is missing",
}


def _in_words(error: ValidationError, source: str, origins: Mapping[tuple[str, ...], str]) -> tuple[str, ...]:
    """One line a mistake: where it stands, what is wrong. Never the value, which may be a secret."""
    lines = []
    for mistake in error.errors(include_input=False, include_url=False):
        place = tuple(str(part) for part in mistake["loc"])
        variable = _variable_of(place, origins)
        where = variable or f"{source}: {'.'.join(place) or 'the file'}"
        words = WORDS.get(mistake["type"], mistake["msg"].removeprefix("Value error, "))
        lines.append(f"{where}: {words}")
    return tuple(lines)


def _read_key(path: Path) -> bytes:
    """The key of the number's digests; ValueError where it is open to others, or too short to be one."""
    key = _read_secret(path).encode()
    if path.stat().st_mode & 0o077:
        raise ValueError(f"{path} is open to others than its owner: chmod 600 it")
    if len(key) < SHORTEST_KEY:
        raise ValueError(f"{path} is too short for a key: {SHORTEST_KEY} characters at least")
    return key


def _read_secret(path: Path) -> str:
    try:
        secret = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read: {getattr(error, 'strerror', None) or 'not UTF-8'}") from error
    if not secret:
        raise ValueError(f"{path} is empty")
    return secret


# --------------------------------------------------------------------------- what they are, for people


class Origin(StrEnum):
    """Where a setting's value comes from."""

    DEFAULT = "default"
    FILE = "file"
    VARIABLE = "variable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A setting as it may be shown. `value` is None where it is unset, or `withheld`: set, and not to be shown."""

    name: str
    value: str | None
    withheld: bool
    origin: Origin
    variable: str | None = None

    @property
    def section(self) -> str:
        """The table in which it stands: each line has its own."""
        parts = self.name.split(".")
        return ".".join(parts[: 2 if parts[0] == "line" else 1])


OF_PEOPLE = frozenset({"do_not_record.numbers", "do_not_record.dialled"})
"""Telephone numbers of people outside the house."""
ELIDED = "\u2026"


def told(settings: Settings) -> tuple[Told, ...]:
    """Every setting in its order, with its value and whose word that is; no secret, and no number of a caller's."""
    return tuple(_told(place, value, given, settings._origins) for place, value, given in _leaves(settings, ()))


def _leaves(section: Section, place: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], object, bool]]:
    """Where each value stands, what it is, and whether it was given."""
    for name in type(section).model_fields:
        value, here = getattr(section, name), (*place, name)
        if isinstance(value, Section):
            yield from _leaves(value, here)
        elif isinstance(value, dict):
            for key, inner in value.items():
                yield from _leaves(inner, (*here, str(key)))
        else:
            yield here, value, name in section.model_fields_set


def _told(place: tuple[str, ...], value: object, given: bool, origins: Mapping[tuple[str, ...], str]) -> Told:
    name = ".".join(place)
    variable = _variable_of(place, origins) if given else None
    is_withheld = isinstance(value, SecretStr) or (name in OF_PEOPLE and bool(value))
    origin = Origin.DEFAULT if not given else Origin.FILE if variable is None else Origin.VARIABLE
    shown = None if is_withheld or value is None else _shown(name, value)
    return Told(name=name, value=shown, withheld=is_withheld, origin=origin, variable=variable)


def _shown(name: str, value: object) -> str:
    """As it would stand in the file; of what may hold a secret within it, the rest."""
    if isinstance(value, tuple):
        words = [str(one) for one in value]
        return json.dumps(_first(words) if name == "alarm.hook" else words, ensure_ascii=False)
    if isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, float):
        return f"{value:g}"
    return _without_secrets(str(value)) if name in ("catalogue.url", "alarm.webhook") else str(value)


def _first(words: list[str]) -> list[str]:
    """The program, without what it is given."""
    return words if len(words) < 2 else [words[0], ELIDED]


def _without_secrets(address: str) -> str:
    """An address without a password, and without what may say as much as one: a web address' path, any query.

    Up to the last @ all may be a password, whatever stands in it; where that cannot be told apart the scheme is left.
    """
    scheme, of_a_place, rest = address.partition("://")
    if not of_a_place or scheme == "sqlite":
        return address  # a file's
    user, at, place = rest.rpartition("@")
    name, colon, _ = user.partition(":")
    if set("/?#") & set(name) or set("?#") & set(user):
        return f"{scheme}://{ELIDED}"
    host, query, _ = place.partition("?")
    host = host.partition("#")[0]
    if scheme in ("http", "https"):
        host, slash, path = host.partition("/")
        host += f"/{ELIDED}" if path else slash
    return f"{scheme}://{name}{f':{ELIDED}' if colon else ''}{at}{host}{f'?{ELIDED}' if query else ''}"
