"""What `recorder init` writes, as text: the settings, the AMI account, the includes. Pure.

The invariant: what it proposes records nothing until a person says on which line, and how, callers are asked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from recorder.settings import LINE_NAME

SECRET_SHOWN = "*" * 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What was learnt of this PBX, and what the administrator chose. `lines` are line names with their queues."""

    cli: tuple[str, ...]
    host: str = "127.0.0.1"
    port: int = 5038
    username: str = "recorder"
    secret_file: Path
    number_key: Path
    queue_log: Path | None = None
    cdr: Path | None = None
    prompts: Path
    lines: Mapping[str, tuple[str, ...]]
    version: str = ""


def lines_from_queues(queues: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """A line for each queue, of the same name where that can be one."""
    lines: dict[str, tuple[str, ...]] = {}
    for queue in queues:
        name = queue if LINE_NAME.fullmatch(queue) else re.sub(r"[^A-Za-z0-9_-]", "-", queue)[:40]
        lines[name] = (*lines.get(name, ()), queue)
    return lines


def settings_text(proposal: Proposal) -> str:
    """recorder.toml with every section; what is commented out is the default."""
    queue_log = f"queue_log = {_quoted(proposal.queue_log)}" if proposal.queue_log else "# queue_log ="
    cdr = f"cdr = {_quoted(proposal.cdr)}" if proposal.cdr else "# cdr ="
    found = f" for Asterisk {proposal.version}" if proposal.version else ""
    return f"""\
# Settings of the call recorder, as `recorder init` proposed them{found}.
# `recorder doctor` tries them against the PBX. Every key may also be given as RECORDER_SECTION__KEY.
# What is commented out is the default.

[node]
# name = "pbx1"                      # of this recorder and its PBX, in the catalogue

[ami]                                # read = call,agent,user; write = call,reporting; nothing else
host = {_quoted(proposal.host)}
port = {proposal.port}
username = {_quoted(proposal.username)}
secret_file = {_quoted(proposal.secret_file)}
# tls = false

[pbx]
# asked by `init` and `doctor` alone, never by the daemon
cli = {json.dumps(list(proposal.cli))}
# read for calls that passed while the daemon was away
{queue_log}
# read for calls that no queue has, and to count those that pass no line; cdr_csv writes it
{cdr}
# what else records in this house, once recorder-rivals.timer of deploy/ runs: it looks, the daemon tells
# rivals_note = "/run/recorder-rivals/note.json"

[agi]
# bind = "127.0.0.1:4573"            # where the dialplan asks; another address also goes into the global RECORDER_AGI

[prompts]
path = {_quoted(proposal.prompts)}    # as Asterisk sees the folder
# path_here =                        # as the recorder sees it, where that differs

[capture]
# spool = "/var/spool/recorder"      # where Asterisk writes, closed to everybody else
# spool_here =
# min_free_mb = 500                  # with less room nothing is captured
# warn_percent = 80                  # fuller than this is worth a word, and
# alarm_percent = 90                 # than this urgent

[catalogue]
# url = "sqlite:////var/lib/recorder/catalogue.db"    # or postgresql://recorder@host/recorder

[storage]
# path = "/var/lib/recorder/recordings"
# min_free_mb = 500

[http]
# bind = "127.0.0.1:8089"            # /healthz, /readyz, /status, /metrics
# token_file =                       # for who asks from elsewhere

[log]
# format = "text"                    # or "json"

[alarm]                              # try it with `recorder alarm test`
# hook = ["/usr/local/bin/notify", "recorder"]    # gets the alarm as JSON on standard input
# webhook = "https://alarms.example/recorder"     # gets it as a POST, signed with the secret
# secret_file = "/etc/recorder/alarm_secret"

[do_not_record]                      # above every other setting and every key; see docs/dialplan.md for agents
# agents = ["PJSIP/agent7"]          # as the queue names its member
# dialled = ["18005550177"]          # numbers of yours
# numbers = ["+14165550123"]         # numbers of the other side
# region = "CA"                      # the country of numbers that are written without one

[numbers]                            # of the other side: kept as a keyed digest, by which calls are found
# Without the key nobody is found again. Keep a copy where no backup of the catalogue lies.
key_file = {_quoted(proposal.number_key)}
# region = "CA"

# An ACD line each. A line without `consent` never asks and is never recorded: choose one where it is lawful.
#   "opt_in"        record after the caller pressed `accept`
#   "opt_out"       announce it, record unless the caller presses `refuse`
#   "notice"        announce it, record
#   "not_required"  record without a word; needs legal_basis = "..."
#   "never"         the default
{"".join(_lines_text(proposal.lines)) or EXAMPLE}"""


EXAMPLE = """
# [line.support]
# consent = "opt_in"
"""


def _lines_text(lines: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    """A section for each line; only the first shows all that may stand there."""
    for number, (name, queues) in enumerate(lines.items()):
        chosen = "" if queues == (name,) else f"queues = {json.dumps(list(queues))}\n"
        yield f'\n[line.{name}]\n{chosen}# consent = "opt_in"\n{"" if number else FURTHER_KEYS}'


FURTHER_KEYS = """\
# numbers = ["18005550100"]          # what callers dial
# purposes = ["training", "service_standard"]
# languages = ["en", "fr"]
# accept = "1"
# refuse = "2"
# answer_seconds = 5
# retries = 2
# fallback = "skip"                  # or "dialplan": ask while the recorder is away; then run `recorder init` again
# An agent may record without consent for the reasons that stand here (emergency, legal, business), each with its legal
# basis and `retention`, the rule that such a recording falls under; `tells_caller` has the caller hear of it.
# Nobody may until `recorder user grant` lets them.
# override.emergency = { legal_basis = "...", retention = "...", tells_caller = false }
"""


def account_text(username: str, secret: str, permit: str = "127.0.0.1/255.255.255.255") -> str:
    """The AMI account, for a file that manager.conf includes."""
    return f"""\
; The call recorder's account. It needs no other class: `system` alone would be a shell for whoever steals the secret.
[{username}]
secret = {secret}
deny = 0.0.0.0/0.0.0.0
permit = {permit}
read = call,agent,user
write = call,reporting
"""


def includes(text: str, name: str) -> bool:
    """Whether an Asterisk configuration includes the file `name` (or a pattern that it matches), outside comments."""
    for included in re.findall(r"^\s*#(?:try)?include\s+[\"<]?([^\s\">;]+)", text, re.MULTILINE):
        pattern = re.escape(included.removeprefix("./")).replace(r"\*", "[^/]*")
        if re.fullmatch(pattern, name) or re.fullmatch(rf".*/{re.escape(name)}", included):
            return True
    return False


def with_include(text: str, name: str, why: str) -> str:
    """`text` with an include of `name` at its end; unchanged where it has one."""
    if includes(text, name):
        return text
    gap = "" if not text or text.endswith("\n\n") else "\n" if text.endswith("\n") else "\n\n"
    return f"{text}{gap}; {why}\n#include {name}\n"


def with_digits_kept(shipped: str, house: str) -> str:
    """Our features file with the digits that the house has changed in its copy."""
    kept = dict(re.findall(r"^([\w-]+) => ([0-9*#]+),", house, re.MULTILINE))
    return re.sub(
        r"^([\w-]+) => ([0-9*#]+),",
        lambda entry: f"{entry[1]} => {kept.get(entry[1], entry[2])},",
        shipped,
        flags=re.MULTILINE,
    )


def dialplan_lines(name: str, queues: tuple[str, ...]) -> str:
    """What the house puts around Queue() in a context of its own."""
    return "\n".join(
        line
        for queue in queues
        for line in (
            f" same => n,Gosub(recorder-inbound,s,1({name}))",
            f" same => n,Queue({queue},b(recorder-agent^s^1({name})))   ; your own options beside b(...)",
            " same => n,Gosub(recorder-done,s,1)",
        )
    )


def _quoted(value: object) -> str:
    return json.dumps(str(value), ensure_ascii=False)
