"""Asks everything that the daemon will need, and hands each answer to `judge`.

Must not change the PBX beyond two short calls into recorder-doctor, which leave nothing behind but a global variable
that is emptied again. The invariant: what could not be asked is a finding of its own, never silence.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

from recorder import shipped
from recorder.ami import AmiAddress
from recorder.catalogue import CatalogueError, open_catalogue
from recorder.cdr import columns_of
from recorder.doctor import judge
from recorder.doctor.access import ENTER, READ, WRITE, facts_of, judge_access, owner_of
from recorder.doctor.account import LOGIN_LIMIT, connected_ami, may_report, may_stop
from recorder.doctor.findings import Finding, fine, note, unchecked, wrong
from recorder.doctor.house import HouseLook
from recorder.doctor.recorders import judge_house, judge_secrets
from recorder.doctor.releases import judge_release
from recorder.doctor.visit import PortTaken, StandIn
from recorder.fallback import context_name
from recorder.fallback_file import written
from recorder.local_journal import JournalFile, file_of, folder_of
from recorder.pbx_cli import (
    Cli,
    CliFailed,
    ami_account,
    core_settings,
    dialplan_globals,
    dialplan_steps,
    evaluated,
    feature_keys,
    queue_names,
    running_modules,
    worded,
)
from recorder.policy import LineRules
from recorder.prompts import PromptsUnreadable
from recorder.prompts import load as load_prompts
from recorder.releases import Release, Standing, releases, standing_of
from recorder.rights import User, users
from recorder.settings import Settings, host_and_port
from recorder.storage import (
    Marker,
    ProblemKind,
    Spool,
    Storage,
    StorageError,
    file_system_kind,
    folder_problems,
    new_marker,
)

MEGABYTE = 1024 * 1024
JOURNAL_ROOM = 10 * MEGABYTE
APPEARS_WITHIN = 3.0
ASKED = "asked"
CONTEXT = "recorder-doctor"


class Examination:
    """One look at a PBX and at this machine. `said` is called with what is being looked at, for a person who waits."""

    def __init__(self, settings: Settings, said: Callable[[str], None] = lambda _: None) -> None:
        self.settings = settings
        self.lines: list[LineRules] = list(settings.rules().values())
        self.findings: list[Finding] = []
        self.cli = Cli(settings.pbx.cli)
        self.can_ask = False  # whether [pbx] cli answers
        self.pbx: dict[str, str] = {}  # `core show settings`
        self.modules: frozenset[str] = frozenset()
        self.said = said
        self.people: tuple[User, ...] = ()
        self.kept: frozenset[str] = frozenset()  # the lines that are kept unrecorded
        self.found: tuple[Release, ...] = ()
        self.unanswered: str | None = None  # why the catalogue did not tell these

    async def run(self) -> list[Finding]:
        """Everything, in the order in which a person would mend it."""
        self.can_ask = await self._asterisk()
        await self._ask_catalogue()
        for name, look in (
            ("AMI", self._ami),
            ("its account", self._account),
            ("modules", self._modules),
            ("dialplan", self._dialplan),
            ("keys", self._keys),
            ("queues", self._queues),
            ("rivals", self._rivals),
            ("prompts", self._prompts),
            ("folders", self._folders),
            ("spool", self._spool),
            ("catalogue", self._catalogue),
            ("queue log", self._queue_log),
            ("CDR", self._cdr),
            ("FastAGI", self._agi),
        ):
            self.said(name)
            try:
                await look()
            except CliFailed as error:
                self._add(unchecked(name.lower(), f"the PBX gave no answer: {error}", "look at [pbx] cli"))
        applying = [standing.rules for standing in self.standings]
        self._add(judge.judge_lines(applying), *judge.judge_kept(self.standings))
        self._add(judge.judge_number_key(self.settings.numbers.key_file))
        return self.findings

    async def rivals_alone(self) -> list[Finding]:
        """Only what would record by itself: as often as one likes, it calls nobody and changes nothing."""
        self.can_ask = await self._asterisk()
        try:
            if self.can_ask:
                self.modules = running_modules(await self.cli.ask("module show"))
            await self._rivals()
        except CliFailed as error:
            self._add(unchecked("rivals", f"the PBX gave no answer: {error}", "look at [pbx] cli"))
        return self.findings

    def _add(self, *findings: Finding) -> None:
        self.findings += findings

    def _needs_cli(self, about: str, what: str) -> bool:
        """Whether [pbx] cli can be asked; a finding where not."""
        if not self.can_ask:
            self._add(unchecked(about, f"{what}: the PBX's command line cannot be asked", "mend [pbx] cli first"))
        return self.can_ask

    # ---------------------------------------------------------------- Asterisk itself

    async def _asterisk(self) -> bool:
        self.said("Asterisk")
        try:
            version = await self.cli.ask("core show version")
            self.pbx = core_settings(await self.cli.ask("core show settings"))
        except CliFailed as error:
            mend = "let [pbx] cli be a program that this user may run, with a command of Asterisk's as its last word"
            self._add(wrong("pbx cli", f"{' '.join(self.cli.argv)}: {error}", f"{mend}; doctor may be run as root"))
            return False
        self._add(*judge_release(version, self.pbx.get("Channel storage backend", "")))
        return True

    # ---------------------------------------------------------------- AMI

    async def _ami(self) -> None:
        settings = self.settings.ami
        address = AmiAddress(
            host=settings.host,
            port=settings.port,
            username=settings.username,
            secret=settings.password(),
            tls=settings.tls,
        )
        shown = f"{settings.host}:{settings.port}"
        reasons: list[str] = []
        async with connected_ami(address, reasons) as ami:
            if ami is None:
                listens = core_settings(await self.cli.ask("manager show settings")) if self.can_ask else {}
                reason = reasons[0] if reasons else f"ami_down: no answer within {LOGIN_LIMIT:.0f} s"
                self._add(judge.judge_ami_failure(shown, settings.username, reason, listens))
                return
            self._add(fine("ami", f"{shown} lets {settings.username} in"))
            for name, may in (("call", may_stop), ("reporting", may_report)):
                if not await may(ami):
                    mend = f"manager.conf [{settings.username}]: write = call,reporting; then `manager reload`"
                    self._add(wrong("ami", f"{settings.username} was refused an action of write = {name}", mend))

    async def _account(self) -> None:
        name = self.settings.ami.username
        if self._needs_cli("ami account", "which classes it holds"):
            text = await self.cli.ask(f"manager show user {worded(name)}")
            self._add(*judge.judge_account(name, ami_account(text)))
            self._add(judge.judge_stamps(core_settings(await self.cli.ask("manager show settings"))))

    # ---------------------------------------------------------------- what must be loaded

    async def _modules(self) -> None:
        if self._needs_cli("modules", "whether those that we use run"):
            self.modules = running_modules(await self.cli.ask("module show"))
            self._add(*judge.judge_modules(self.modules), *judge_secrets(self.modules))

    async def _dialplan(self) -> None:
        if not self._needs_cli("dialplan", "whether our contexts are loaded"):
            return
        ours = shipped.contexts((shipped.dialplan() / shipped.EXTENSIONS).read_text(encoding="utf-8"))
        texts = await self.cli.ask_all([f"dialplan show {name}" for name in ours])
        loaded = {name: dialplan_steps(text) for name, text in zip(ours, texts, strict=True)}
        self._add(*judge.judge_contexts(ours, loaded))
        await self._fallback()

    async def _fallback(self) -> None:
        """Whether Asterisk runs what `recorder init` would write now for when the daemon is away."""
        made = written(self.settings, self.pbx.get("Version", ""), self.kept)
        names = {rules.name: context_name(rules.name) for rules in self.lines}
        texts = await self.cli.ask_all([f"dialplan show {name}" for name in names.values()])
        loaded = {line: dialplan_steps(text) for line, text in zip(names, texts, strict=True)}
        wanted = {line: shipped.contexts(text)[names[line]] for line, text in made.contexts.items()}
        self._add(*judge.judge_fallback(wanted, loaded, made.problems, self.modules))

    async def _keys(self) -> None:
        if self._needs_cli("keys", "whether our features are loaded"):
            ours = shipped.features((shipped.dialplan() / shipped.FEATURES).read_text(encoding="utf-8"))
            self._add(*judge.judge_features(ours, feature_keys(await self.cli.ask("features show"))))

    async def _queues(self) -> None:
        wanted = sorted({queue for line in self.lines for queue in line.queues})
        known: dict[str, bool | None] = dict.fromkeys(wanted)
        if self.can_ask:
            # one by one: a queue of a realtime database is only loaded, and shown, by its name
            texts = await self.cli.ask_all([f"queue show {worded(queue)}" for queue in wanted])
            known = {queue: queue in queue_names(text) for queue, text in zip(wanted, texts, strict=True)}
        self._add(*judge.judge_queues(self.lines, known))

    def _configuration(self) -> Path | None:
        """Asterisk's folder of settings, where it is this machine's own Asterisk that [pbx] cli asks."""
        folder = self.pbx.get("Configuration directory")
        return Path(folder) if folder and Path(self.cli.argv[0]).name == "asterisk" else None

    async def _rivals(self) -> None:
        if self._needs_cli("rivals", "whether anything else would record"):
            ours = sorted({queue for line in self.lines for queue in line.queues})
            house = await HouseLook(self.cli, self.modules, self._configuration()).look(
                ours,
                [context_name(rules.name) for rules in self.lines],
                listed_agents=bool(self.settings.do_not_record.agents),
            )
            self._add(*judge_house(house))

    async def _stat(self, flag: str, path: str) -> str | None:
        """STAT() as Asterisk's own user sees `path`; None where it cannot be evaluated."""
        return evaluated(await self.cli.ask(f"dialplan eval function STAT({flag},{worded(path)})"))

    # ---------------------------------------------------------------- prompts

    async def _prompts(self) -> None:
        folder = self.settings.prompts
        try:
            prompts = load_prompts(folder.here, folder.path)
        except PromptsUnreadable as error:
            mend = "let [prompts] path_here (or path) be the folder with prompts.toml; `recorder init` puts one there"
            self._add(wrong("prompts", str(error), mend))
            return
        self._add(*judge.judge_prompts(self.lines, prompts))
        if not self._needs_cli("prompts", "whether Asterisk sees them"):
            return
        here = {
            prompt.path: (folder.here / Path(prompt.path).relative_to(folder.path))
            for prompt in prompts.prompts.values()
        }
        sizes = {f"{path}.wav": file.with_suffix(".wav").stat().st_size for path, file in here.items()}
        answers = {}
        for path, size in sizes.items():
            answers[path] = (size, await self._stat("s", path))
            if answers[path][1] is None:
                break  # it would be the same for the others
        self._add(*judge.judge_prompts_at_pbx(answers))

    # ---------------------------------------------------------------- folders

    async def _folders(self) -> None:
        spool = Spool(self.settings.capture.here)
        storage = Storage(self.settings.storage.path, spool)
        for about, place, problems in (
            ("spool", spool.here, spool.problems(self.settings.capture.min_free_mb * MEGABYTE)),
            ("storage", storage.root, storage.problems(self.settings.storage.min_free_mb * MEGABYTE)),
        ):
            self._add(
                *(wrong(about, f"{problem.path} {problem.what}", problem.mend.rstrip(".")) for problem in problems)
            )
            if not problems:
                self._add(fine(about, f"{place} is writable, closed to strangers and has room"))
        self._add(*judge.judge_preroll(self.lines, spool.here, file_system_kind(spool.here)))
        self._journal()
        if os.geteuid() == 0:
            self._as_daemon()

    def _journal(self) -> None:
        file = JournalFile(file_of(self._journal_folder(), self.settings.node.name))
        folder = file.path.parent
        found = folder_problems(folder, JOURNAL_ROOM)
        problems = [problem for problem in found if problem.kind is not ProblemKind.OPEN_TO_STRANGERS]  # it is 0600
        self._add(*judge.judge_journal(folder, problems, file.aside(), file_system_kind(folder)))

    def _journal_folder(self) -> Path:
        settings = self.settings
        return folder_of(settings.journal.path, settings.catalogue.url, settings.storage.path)

    def _as_daemon(self) -> None:
        """For root, who may do everything: whether the daemon's user may, whom the storage folder belongs to."""
        person = owner_of(self.settings.storage.path)
        if person is None:
            return  # there is no such folder, which is a finding already
        here, url, pbx = self.settings.capture.here, self.settings.catalogue.url, self.settings.pbx
        wanted = [(here, ENTER | READ | WRITE), (self.settings.prompts.here, ENTER | READ)]
        wanted.append((self._journal_folder(), ENTER | READ | WRITE))
        if url.startswith("sqlite:////"):
            wanted.append((Path(url.removeprefix("sqlite:///")), READ | WRITE))
        wanted += [(path, READ) for path in (pbx.queue_log, pbx.cdr, self.settings.ami.secret_file) if path is not None]
        wanted += [(path, READ) for path in (self.settings.numbers.key_file,) if path is not None]
        self._add(*judge_access(person, wanted, facts_of(path for path, _ in wanted)))

    async def _spool(self) -> None:
        if not self._needs_cli("spool", "whether Asterisk writes where we read"):
            return
        folder = self.settings.capture
        if not await self._can_originate("spool", "whether Asterisk writes where we read"):
            return
        marker = new_marker(folder.here)
        try:
            path = worded(marker.at(folder.spool))
            call = f"channel originate Local/write@{CONTEXT}/n application MixMonitor {path},b"
            await self.cli.ask(call)
            appeared = await self._appears(marker)
            readable = appeared and marker.is_readable()
            seen = None if appeared else await self._shown_to_asterisk()
            trial = judge.SpoolTrial(
                path=str(folder.spool),
                appeared=appeared,
                readable=readable,
                writable=appeared and marker.is_writable(),
                seen=seen,
            )
            self._add(judge.judge_spool(trial))
            if appeared:
                marker.remove()
        except StorageError as error:
            self._add(
                unchecked("spool", f"whether Asterisk writes where we read: {error.what}", error.mend.rstrip("."))
            )

    async def _can_originate(self, about: str, what: str) -> bool:
        """Whether a call can be placed into our context; a finding where not."""
        if dialplan_steps(await self.cli.ask(f"dialplan show {CONTEXT}")) is None:
            self._add(unchecked(about, f"{what}: the context {CONTEXT} is missing", "mend the dialplan first"))
            return False
        if "res_clioriginate" not in self.modules:
            mend = "`module load res_clioriginate` for the time of the check"
            self._add(unchecked(about, f"{what}: Asterisk has no `channel originate`", mend))
            return False
        return True

    async def _appears(self, marker: Marker) -> bool:
        end = time.monotonic() + APPEARS_WITHIN
        while not marker.is_there():
            if time.monotonic() > end:
                return False
            await asyncio.sleep(0.05)
        return True

    async def _shown_to_asterisk(self) -> str | None:
        """What Asterisk's STAT says of a file that we make in the spool."""
        marker = new_marker(self.settings.capture.here)
        marker.make()
        try:
            return await self._stat("e", marker.at(self.settings.capture.spool))
        finally:
            marker.remove()

    # ---------------------------------------------------------------- books

    async def _ask_catalogue(self) -> None:
        """What several looks need of it; that it does not answer is found in its own place."""
        lines = list(self.settings.line)
        try:
            catalogue = await open_catalogue(self.settings.catalogue.url)
            try:
                self.people = tuple(users(await catalogue.user_acts()).values())
                self.kept = await catalogue.kept_unrecorded(lines)
                self.found = tuple(releases(await catalogue.release_acts(lines)).values())
            finally:
                await catalogue.close()
        except CatalogueError as error:
            self.unanswered = str(error)

    @property
    def standings(self) -> list[Standing]:
        """What is in force on each line, as far as the catalogue has told."""
        now = datetime.now(UTC)
        said = self.settings.said().items()
        return [standing_of(one, kept=line in self.kept, found=self.found, now=now) for line, one in said]

    async def _catalogue(self) -> None:
        if self.unanswered is not None:
            self._add(judge.judge_catalogue_failure(self.unanswered))
            return
        self._add(fine("catalogue", "it answers, at this version's revision"))
        self._add(*judge.judge_overriders(self.settings.rules().values(), self.people, self.settings.node.name))

    async def _queue_log(self) -> None:
        path = self.settings.pbx.queue_log
        if path is None:
            what = "[pbx] queue_log is not set: calls that pass while the daemon is away stay out of the books"
            self._add(note("queue log", what, "name it"))
            return
        try:
            with path.open("rb") as file:
                file.read(1)
        except OSError as error:
            mend = "let [pbx] queue_log be the file that Asterisk writes (logger.conf: queue_log = yes), and readable"
            self._add(wrong("queue log", f"{path} cannot be read: {error.strerror}", mend))
            return
        self._add(fine("queue log", f"{path} can be read"))

    async def _cdr(self) -> None:
        path, columns, trouble = self.settings.pbx.cdr, None, ""
        if path is not None:
            try:
                columns = columns_of(path)
            except FileNotFoundError:
                trouble = "" if path.parent.is_dir() else "there is no such folder"  # made with the first row
            except OSError as error:
                trouble = error.strerror or str(error)
        has_module = "cdr_csv" in self.modules if self.modules else None
        self._add(judge.judge_cdr(path, columns, trouble=trouble, has_module=has_module))

    # ---------------------------------------------------------------- FastAGI

    async def _agi(self) -> None:
        what = "whether the dialplan reaches the daemon"
        if not self._needs_cli("fastagi", what) or not await self._can_originate("fastagi", what):
            return
        host, port = host_and_port(self.settings.agi.bind)
        called = dialplan_globals(await self.cli.ask("dialplan show globals")).get("RECORDER_AGI") or judge.DEFAULT_AGI
        served = await self._served()
        try:
            async with StandIn(host, port) as stand_in:
                answer = await self._called_in()
                trial = judge.AgiTrial(
                    bind=self.settings.agi.bind,
                    called=called,
                    answer=answer,
                    expected=stand_in.word,
                    stood_in=True,
                    peer=stand_in.peer,
                    served=served,
                )
        except PortTaken:
            answer = await self._called_in()
            trial = judge.AgiTrial(
                bind=self.settings.agi.bind, called=called, answer=answer, expected="recorder", stood_in=False
            )
            await self._daemon()
        except OSError as error:
            mend = "let [agi] bind be an address of this machine"
            self._add(wrong("fastagi", f"{self.settings.agi.bind} cannot be listened on: {error.strerror}", mend))
            return
        self._add(*judge.judge_agi(trial))

    async def _called_in(self) -> str | None:
        """Have the dialplan call the daemon; return what it wrote down of the answer, None where it wrote nothing."""
        await self.cli.ask(f"dialplan set global RECORDER_DOCTOR {ASKED}")
        try:
            await self.cli.ask(f"channel originate Local/agi@{CONTEXT}/n application Wait 1")
            return await self._written()
        finally:
            await self.cli.ask('dialplan set global RECORDER_DOCTOR ""')

    async def _written(self) -> str | None:
        end = time.monotonic() + APPEARS_WITHIN
        while True:
            answer = dialplan_globals(await self.cli.ask("dialplan show globals")).get("RECORDER_DOCTOR", "")
            if answer not in ("", ASKED):
                return answer.strip()
            if time.monotonic() > end:
                return None
            await asyncio.sleep(0.1)

    async def _served(self) -> frozenset[str]:
        """The addresses from which the daemon lets itself be called: those of [ami] host."""
        try:
            found = await asyncio.get_running_loop().getaddrinfo(self.settings.ami.host, None, type=socket.SOCK_STREAM)
        except OSError:
            return frozenset()
        return frozenset(str(info[4][0]) for info in found)

    async def _daemon(self) -> None:
        host, port = host_and_port(self.settings.http.bind)
        local = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
        url = f"http://{f'[{local}]' if ':' in local else local}:{port}/healthz"
        if await asyncio.to_thread(_answers, url):
            self._add(fine("daemon", f"it runs, and {url} answers"))
        else:
            mend = "see what holds the port ([agi] bind), and `systemctl status recorder`"
            self._add(wrong("daemon", f"the FastAGI port is taken, but no daemon answers at {url}", mend))


def _answers(url: str) -> bool:
    try:
        with urlopen(Request(url, method="HEAD"), timeout=3) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError, ValueError):
        return False
