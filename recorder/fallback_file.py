"""The file that `recorder init` writes and `recorder doctor` compares: every line's dialogue for when we are away.

Reads the prompts and puts the pieces together; words nothing itself. The invariant: the same settings, prompts and
Asterisk give the same text, so that another text is a stale one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Final

from recorder.capture import mixmonitor_arguments, needs_sync
from recorder.fallback import FallbackUnwritable, Means, context_name, context_text, digest_of_written, fallback_text
from recorder.model import ConsentMode
from recorder.policy import LineRules
from recorder.prompts import PromptSet, PromptsUnreadable, load
from recorder.settings import Settings

FILE: Final = "extensions_recorder_fallback.conf"


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What shall stand in the file, and in it by line. `problems` name the lines that cannot be written.

    `left_out` are those that would stand there, were they not kept unrecorded.
    """

    text: str = fallback_text({}, Means(prompts={}, sizes={}, spool="/"))
    contexts: Mapping[str, str] = field(default_factory=dict)  # by line
    problems: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    def digests(self) -> dict[str, tuple[str, str]]:
        """By line the context, and the extension in it that says which text it is."""
        return {line: (context_name(line), f"digest-{digest_of_written(text)}") for line, text in self.contexts.items()}


def written(settings: Settings, version: str, kept: Collection[str] = ()) -> Written:
    """What the settings and the prompts come to on this release of Asterisk; "" is one that nobody could ask.

    Lines that are `kept` unrecorded are left out, those that are released too: the dialplan would ask beyond its end.
    """
    rules_of_all = settings.rules().values()
    wanted = [rules for rules in rules_of_all if rules.asked_without_us and rules.mode is not ConsentMode.NEVER]
    asking = [rules for rules in wanted if rules.name not in kept]
    left_out = tuple(rules.name for rules in wanted if rules.name in kept)
    if not asking:
        return Written(left_out=left_out)
    try:
        prompts = load(settings.prompts.here, settings.prompts.path)
    except PromptsUnreadable as error:
        return Written(problems=(str(error),), left_out=left_out)
    made = put_together(asking, prompts, spool=PurePosixPath(settings.capture.spool), version=version)
    return replace(made, left_out=left_out)


def put_together(lines: list[LineRules], prompts: PromptSet, *, spool: PurePosixPath, version: str) -> Written:
    """The same from the pieces, of lines that are to be asked without us."""
    means = Means(prompts=prompts.prompts, sizes=prompts.sizes, spool=str(spool))
    problems: list[str] = []
    kept: dict[str, tuple[LineRules, str]] = {}
    for rules in lines:
        arguments = mixmonitor_arguments("${name}", spool, needs_sync=needs_sync(version), beep=rules.beep)
        try:
            context_text(rules, arguments, means)
        except FallbackUnwritable as error:
            problems.append(str(error))
        else:
            kept[rules.name] = (rules, arguments)
    contexts = {line: context_text(rules, arguments, means) for line, (rules, arguments) in kept.items()}
    return Written(text=fallback_text(kept, means), contexts=contexts, problems=tuple(problems))
