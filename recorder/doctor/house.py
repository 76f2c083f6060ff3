"""Asks Asterisk's command line for everything in the house that could record by itself.

Must not judge: recorders.py does. Asks nothing that changes anything. The invariant: what nobody could say is None.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from recorder import shipped
from recorder.doctor.recorders import House
from recorder.pbx_cli import (
    Cli,
    ari_users,
    conference_profiles,
    configured,
    core_settings,
    evaluated,
    feature_keys,
    queue_names,
    sip_endpoints,
    sip_parameters,
    whole_dialplan,
    worded,
)

MOST_ASKED: Final = 100
"""Queues, phones or conferences that are asked about one by one."""


class HouseLook:
    """One look. `modules` are those that run: what is not there is not asked about."""

    def __init__(self, cli: Cli, modules: frozenset[str], folder: Path | None) -> None:
        """`folder` is Asterisk's configuration as we see it, None where it is on another machine or in a container."""
        self._cli = cli
        self._modules = modules
        self._folder = folder

    async def look(self, ours: Sequence[str], written: Sequence[str] = (), *, listed_agents: bool = False) -> House:
        """`ours` are the queues of lines, which are asked about first; `written` the contexts that init writes.

        `listed_agents`: there are agents who must not be recorded, so the queues are asked about that too.
        CliFailed where there is no answer.
        """
        known = shipped.contexts((shipped.dialplan() / shipped.EXTENSIONS).read_text(encoding="utf-8"))
        queues = list(dict.fromkeys([*ours, *queue_names(await self._cli.ask("queue show"))]))
        phones = await self._phones()
        return House(
            our_queues=ours,
            our_contexts=(*known, *written),
            dialplan=whole_dialplan(await self._cli.ask("dialplan show")),
            keys=feature_keys(await self._cli.ask("features show")),
            monitor_formats=await self._configured("queues.conf", queues[:MOST_ASKED], "monitor-format"),
            conferences=await self._conferences(),
            endpoints=await self._one_touch(phones[:MOST_ASKED]),
            applications=await self._applications(),
            caches=(await self._configured("asterisk.conf", ["options"], "cache_record_files"))["options"],
            membergosubs=await self._configured("queues.conf", ours, "membergosub") if listed_agents else None,
            unasked=max(0, len(queues) - MOST_ASKED) + max(0, len(phones) - MOST_ASKED),
        )

    async def _configured(self, file: str, sections: Sequence[str], key: str) -> dict[str, str | None]:
        """A key of several sections of a file of Asterisk's, "" where it is unset; None where nobody can say.

        The file itself where we may read it and it includes no other; else AST_CONFIG(), where func_config runs.
        """
        text = self._text(file)
        if text is not None and not re.search(r"(?m)^#(include|tryinclude|exec)", text):
            found = configured(text)
            return {section: found.get(section, {}).get(key, "") for section in sections}
        if "func_config" not in self._modules:
            return dict.fromkeys(sections)
        asked = [f"dialplan eval function AST_CONFIG({file},{worded(section)},{key})" for section in sections]
        texts = await self._cli.ask_all(asked)  # a key that is not there fails, as a function that is not does
        return {section: evaluated(text) or "" for section, text in zip(sections, texts, strict=True)}

    def _text(self, file: str) -> str | None:
        if self._folder is None:
            return None
        try:
            return (self._folder / file).read_text("utf-8", "replace")
        except OSError:
            return None

    async def _conferences(self) -> dict[str, bool]:
        if "app_confbridge" not in self._modules:
            return {}
        names = conference_profiles(await self._cli.ask("confbridge show profile bridges"))[:MOST_ASKED]
        texts = await self._cli.ask_all([f"confbridge show profile bridge {worded(name)}" for name in names])
        records = [core_settings(text).get("Record Conference") == "yes" for text in texts]
        return dict(zip(names, records, strict=True))

    async def _applications(self) -> tuple[str, ...]:
        if "res_ari" not in self._modules:
            return ()
        if core_settings(await self._cli.ask("ari show status")).get("Enabled") == "No":
            return ()
        users = ari_users(await self._cli.ask("ari show users"))
        return tuple(name for name, only_reads in users.items() if not only_reads)

    async def _phones(self) -> tuple[str, ...]:
        return sip_endpoints(await self._cli.ask("pjsip show endpoints")) if "chan_pjsip" in self._modules else ()

    async def _one_touch(self, names: Sequence[str]) -> dict[str, bool]:
        texts = await self._cli.ask_all([f"pjsip show endpoint {worded(name)}" for name in names])
        on = [sip_parameters(text).get("one_touch_recording") == "true" for text in texts]
        return dict(zip(names, on, strict=True))
