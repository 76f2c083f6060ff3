"""Proofs to be tampered with, made without a catalogue, and the auditor's own check: the lines of docs/proof.md."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import asdict
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID, uuid4

from recorder.chain import NOTHING, Body, Link, canonical, commitment, consent_body, end_body, further_back, moment
from recorder.chain import sha256 as digest
from recorder.model import CallId, ConsentState, Outcome, Prompt
from recorder.policy import LinePolicy
from recorder.proof import Act, document, links_to_show
from tests.facts import NODE, QUESTION, answered, later

PAGE = Path(__file__).resolve().parents[1] / "docs" / "proof.md"
WAV = b"RIFF....WAVE of a question"
HEARD = {digest(WAV): WAV}
POLICY = LinePolicy(line="support", settings='{"consent":"opt_in","retries":2}')
UNKEPT = "e" * 64
"""The digest of settings that nobody kept."""


def chained(bodies: Sequence[Body], node: str = NODE) -> tuple[list[Link], list[Act]]:
    """A chain of these bodies."""
    links: dict[int, Link] = {}
    acts = []
    for seq, body in enumerate(bodies, start=1):
        salt = f"{seq:064x}"
        digests = {past: links[past].digest for past in (seq - 1, further_back(seq)) if past in links}
        links[seq] = Link(
            node=node,
            seq=seq,
            at=moment(later(seq)),
            commitment=commitment(salt, canonical(body)),
            previous=digests.get(seq - 1, NOTHING),
            further=digests.get(further_back(seq), NOTHING),
        )
        acts.append(Act(seq=seq, salt=salt, body=body))
    return list(links.values()), acts


def consent(call: UUID, number: int, after: ConsentState, before: ConsentState, policy: str = POLICY.digest) -> Body:
    fact = answered(CallId(call), after, before)
    values = asdict(fact) | {"id": UUID(int=number), "policy": policy}
    prompt = asdict(QUESTION) | {"sha256": digest(WAV)}
    return consent_body(values, prompt, node=NODE, line="support", mode="opt_in", number=number)


def ended(call: UUID, consents: int) -> Body:
    said = {"call": call, "ended_at": later(60), "outcome": Outcome.RECORDED, "reason": None}
    return end_body(said, node=NODE, consents=consents)


def bodies_of(call: UUID) -> list[Body]:
    """Asked, refused, agreed all the same, and hung up."""
    return [
        consent(call, 1, ConsentState.ASKED, ConsentState.NONE),
        consent(call, 2, ConsentState.REFUSED, ConsentState.ASKED),
        consent(call, 3, ConsentState.GIVEN, ConsentState.REFUSED, UNKEPT),
        ended(call, 3),
    ]


def a_proof(call: UUID | None = None) -> dict[str, Any]:
    """One call's, among others' links before it, between its acts and behind them."""
    call = call or UUID(int=7)
    mine = bodies_of(call)
    theirs = [ended(uuid4(), 0) for _ in range(20)]
    bodies = [*theirs[:5], *mine[:2], *theirs[5:8], *mine[2:], *theirs[8:]]
    links, acts = chained(bodies)
    wanted = [act for act in acts if act.body["call"] == str(call)]
    shown = links_to_show(len(links), [act.seq for act in wanted])
    return document(str(call), [links[seq - 1] for seq in shown], wanted, HEARD, {POLICY.digest: POLICY})


def auditors_lines() -> str:
    """The check that needs nothing of ours, as the page shows it."""
    (code,) = re.findall(r"(?s)```python\n(.*?)```", PAGE.read_text(encoding="utf-8"))
    return str(code)


def said_by_the_lines(proof: object) -> tuple[int, list[str]]:
    """The exit code of these lines for this proof, and what they say is wrong."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "proof.json"
        file.write_text(json.dumps(proof), encoding="utf-8")
        before, said = sys.argv, StringIO()
        sys.argv = ["check.py", str(file)]
        try:
            with redirect_stdout(said):
                exec(compile(auditors_lines(), "docs/proof.md", "exec"), {})
        except SystemExit as done:
            printed = said.getvalue().splitlines()
            head = next(place for place, line in enumerate(printed) if line.startswith("head "))
            return int(done.code or 0), [line for line in printed[head + 1 :] if line != "nothing is wrong"]
        finally:
            sys.argv = before
    raise AssertionError("the lines did not come to an end")


def leaves(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Where every single value of a JSON document stands."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if inner is None:
        yield path
        return
    for name, part in inner:
        yield from leaves(part, (*path, name))


def at(document: Any, path: Sequence[str | int]) -> Any:
    for name in path:
        document = document[name]
    return document


def another(value: Any) -> Any:
    """A value of the same kind that differs as little as it can."""
    match value:
        case int():
            return value + 1
        case str() if value:
            return value[:-1] + ("a" if value[-1] != "a" else "b")
    return "a"


def prompt_of(wav: bytes) -> Prompt:
    return Prompt(**(asdict(QUESTION) | {"sha256": digest(wav)}))
