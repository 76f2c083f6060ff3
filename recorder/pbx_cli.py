"""The only one that asks Asterisk's command line, as an administrator would: `[pbx] cli` and one command.

Owns the asking and the reading of what comes back; judges nothing, and the daemon never comes here. The invariants: no
shell of ours, a time limit on every command, and nothing goes into a command but our own words and what `worded` lets
through. Asterisk exits 0 for most refusals, so a reader looks at the words and says None where they are not the answer.
Read on Asterisk 16.28 and 22.10.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from recorder.model import RecorderError

LIMIT = 10.0
"""Seconds for one command; `podman exec` or `ssh` in front of it included."""
ASKED_AT_ONCE = 4

Release = tuple[int, ...]


class CliFailed(RecorderError):
    """The command line could not be asked, or did not answer in time."""

    code = "cli_failed"


def worded(text: str) -> str:
    """Return `text`, which becomes a word of a command; CliFailed where a shell or Asterisk could read more into it."""
    if not re.fullmatch(r"[A-Za-z0-9_./@:+=-]{1,200}", text):
        raise CliFailed(f"{text!r} holds characters that no command is given")
    return text


class Cli:
    """`argv` is what a command is appended to as one word: `asterisk -rx`."""

    def __init__(self, argv: Sequence[str], limit: float = LIMIT) -> None:
        self.argv = tuple(argv)
        self.limit = limit

    async def ask(self, command: str) -> str:
        """Return what Asterisk prints; CliFailed where the program fails, is not there, or takes too long."""
        try:
            process = await asyncio.create_subprocess_exec(
                *self.argv,
                command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        except (OSError, ValueError) as error:
            raise CliFailed(f"{' '.join(self.argv)}: {getattr(error, 'strerror', None) or error}") from error
        try:
            out, err = await asyncio.wait_for(process.communicate(), self.limit)
        except TimeoutError:
            raise CliFailed(f"no answer to `{command}` within {self.limit:.0f} s") from None
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        text = out.decode("utf-8", "replace")
        if process.returncode != 0 or "Unable to connect to remote asterisk" in text:
            raise CliFailed(_first_line(err.decode("utf-8", "replace")) or _first_line(text) or "it failed silently")
        return text

    async def ask_all(self, commands: Sequence[str]) -> list[str]:
        """What Asterisk prints for each, a few asked at once."""
        places = asyncio.Semaphore(ASKED_AT_ONCE)

        async def ask(command: str) -> str:
            async with places:
                return await self.ask(command)

        return await asyncio.gather(*(ask(command) for command in commands))


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


# --------------------------------------------------------------------------- reading


def release(text: str) -> Release | None:
    """`core show version` -> (22, 10, 1); None for a build from git or a certified one, whose numbers say less."""
    match = re.match(r"Asterisk (\d+(?:\.\d+)+)", text)
    return tuple(int(part) for part in match[1].split(".")) if match else None


def core_settings(text: str) -> dict[str, str]:
    """`core show settings` -> what stands after each colon, by the words before it."""
    pairs = (line.strip().partition(":") for line in text.splitlines() if ":" in line)
    return {name.strip(): value.strip(": ") for name, _, value in pairs}


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What an AMI account may do."""

    read: frozenset[str]
    write: frozenset[str]


def ami_account(text: str) -> Account | None:
    """`manager show user NAME`; None where there is no such account."""
    classes = dict(re.findall(r"^\s*(read|write) perm: *(\S*)", text, re.MULTILINE))
    if set(classes) != {"read", "write"}:
        return None
    read, write = (frozenset(classes[way].split(",")) - {"", "<none>"} for way in ("read", "write"))
    return Account(read=read, write=write)


def running_modules(text: str) -> frozenset[str]:
    """`module show` -> names without .so of those that run."""
    return frozenset(re.findall(r"^(\S+?)(?:\.so)?\s.*\s\d+\s+Running\b", text, re.MULTILINE))


STEP = re.compile(r"\s*(?:'([^']+)'(?: \(CID match '[^']*'\))? =>|\[[^\]]+\])?\s+\d+\. (.*?)\s+\[[^\]]*\]$")
"""A line of `dialplan show`: the extension where it is the first of one, and the application."""


def dialplan_steps(text: str) -> dict[str, tuple[str, ...]] | None:
    """`dialplan show CONTEXT` -> each extension's applications in order; None where there is no such context."""
    if not re.search(r"^\[ Context '", text, re.MULTILINE):
        return None
    steps: dict[str, list[str]] = {}
    extension = ""
    for line in text.splitlines():
        match = re.match(
            r"\s*(?:'([^']+)'(?: \(CID match '[^']*'\))? =>|\[[^\]]+\])?\s+\d+\. (.*?)\s+\[[^\]]*\]$", line
        )
        if match is not None:
            extension = match[1] or extension
            steps.setdefault(extension, []).append(match[2])
    return {name: tuple(lines) for name, lines in steps.items()}


def whole_dialplan(text: str) -> dict[str, dict[str, tuple[str, ...]]]:
    """`dialplan show` -> every context's extensions; what a switch or a realtime database holds is not in it."""
    parts = re.split(r"^\[ Context '([^']+)' created by '[^']*' \]", text, flags=re.MULTILINE)[1:]
    return {
        name: dialplan_steps(f"[ Context '{name}' ]{body}") or {}
        for name, body in zip(parts[::2], parts[1::2], strict=True)
    }


def dialplan_globals(text: str) -> dict[str, str]:
    """`dialplan show globals`."""
    return dict(re.findall(r"^   ([^=\s]+)=(.*)$", text, re.MULTILINE))


def feature_keys(text: str) -> Mapping[str, str]:
    """`features show` -> current digits by feature, the built-in ones and the application map's; "" where unset."""
    keys: dict[str, str] = {}
    for line in text.partition("Feature Groups:")[0].splitlines():
        # columns of 25, 7 and 7; only a long name breaks them
        columns = re.match(r"(.{25}) .{7} (\S*) *$", line) or re.match(r"(\S{26,}) +no def +(\S*) *$", line)
        if columns is not None and not line.startswith(("---", "Builtin Feature", "Dynamic Feature")):
            keys[columns[1].strip()] = columns[2]
    return keys


def evaluated(text: str) -> str | None:
    """`dialplan eval function F(...)` -> its value; None where the function or the command is not there."""
    if not re.search(r"^Return Value: Success", text, re.MULTILINE):
        return None
    match = re.search(r"^Result: ?(.*)$", text, re.MULTILINE)
    return match[1].strip() if match else ""


def queue_names(text: str) -> tuple[str, ...]:
    """`queue show` -> the queues that are configured, in Asterisk's order."""
    return tuple(re.findall(r"^(\S+)\s+has \d+ calls \(max ", text, re.MULTILINE))


def conference_profiles(text: str) -> tuple[str, ...]:
    """`confbridge show profile bridges` -> their names."""
    return tuple(line.strip() for line in text.splitlines() if re.fullmatch(r"[\w-]+\s*", line) and "--" not in line)


def sip_endpoints(text: str) -> tuple[str, ...]:
    """`pjsip show endpoints` -> their names."""
    return tuple(re.findall(r"^ Endpoint:  ([^\s<>/]+)", text, re.MULTILINE))


def sip_parameters(text: str) -> dict[str, str]:
    """`pjsip show endpoint NAME` -> its parameters."""
    return dict(re.findall(r"^ (\w+) +: (.*?) *$", text, re.MULTILINE))


def ari_users(text: str) -> dict[str, bool]:
    """`ari show users` -> their names, whether each may only read."""
    return {name: may == "Yes" for may, name in re.findall(r"^(Yes|No)(?: +(?:Yes|No))? +(\S+) *$", text, re.MULTILINE)}


def configured(text: str) -> dict[str, dict[str, str]]:
    """A configuration file of Asterisk's -> its sections, templates applied; what it includes is not followed."""
    sections: dict[str, dict[str, str]] = {}
    here: dict[str, str] = {}
    for raw in text.splitlines():
        line = re.sub(r"(?<!\\);.*$", "", raw).strip()
        head = re.match(r"\[([^\]]+)\](?:\(([^)]*)\))?", line)
        if head is not None:
            here = sections.setdefault(head[1], {})
            for parent in re.findall(r"[^,\s!+]+", head[2] or ""):
                here |= sections.get(parent, {})
        elif "=" in line:
            key, _, value = line.partition("=")
            here[key.strip()] = value.removeprefix(">").strip()
    return sections
