"""The proof of one call's consent, which stands by itself: what is in it, and everything that can be wrong with one.

Pure: makes and reads the document, asks no catalogue and no settings. docs/proof.md has the same check without us, so
whatever changes here changes there. The invariant: nothing in a proof is taken on its own word but the head.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from recorder.chain import Body, Head, Link, canonical, is_committed, sha256, way_back
from recorder.policy import LinePolicy

KIND: Final = "recorder consent proof"
VERSION: Final = 3
"""Since 2 a proof holds the settings under which was asked, as far as they were kept; since 3 it names the others."""
NOT_KEPT: Final = "not_kept"
CHANGED: Final = "changed"
WHY_MISSING: Final = {
    NOT_KEPT: "were not kept",
    CHANGED: "are kept in a text that does not give this digest",
}
"""Why the settings of a policy are not in a proof: its maker's word for it."""
MOST_NAMED: Final = 1000
"""Of missing consent events: a number is what the file says."""
_FIRST: Final = ("proof", "version", "call", "head", "links", "acts", "prompts")
_PARTS: Final = {1: _FIRST, 2: (*_FIRST, "policies"), VERSION: (*_FIRST, "policies", "policies_missing")}
_STRINGS: Final[tuple[type, ...]] = (str,)
_SHAPES: Final[dict[str, dict[str, tuple[type, ...]]]] = {
    "head": {"node": _STRINGS, "seq": (int,), "digest": _STRINGS},
    "link": {"node": _STRINGS, "seq": (int,)} | dict.fromkeys(("at", "commitment", "previous", "further"), _STRINGS),
    "act": {"seq": (int,), "salt": _STRINGS, "body": (dict,)},
    "prompt": {"sha256": _STRINGS, "wav": _STRINGS},
    "policy": dict.fromkeys(("digest", "line", "settings"), _STRINGS),
    "missing policy": dict.fromkeys(("digest", "why"), _STRINGS),
}


_SHAPE_OF: Final = {
    "links": "link",
    "acts": "act",
    "prompts": "prompt",
    "policies": "policy",
    "policies_missing": "missing policy",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """What link `seq` commits to: a consent event of the call, or its end."""

    seq: int
    salt: str
    body: Body

    @property
    def name(self) -> str:
        """For a person: `consent event 2 (asked -> given)`."""
        if self.body.get("kind") == "consent":
            steps = f"{self.body.get('before')} -> {self.body.get('after')}"
            return f"consent event {self.body.get('number')} ({steps}) in link {self.seq}"
        return f"the call's end in link {self.seq}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """A document that was read; its parts have the right shapes, and nothing else is known of them yet."""

    call: str
    head: Head
    links: tuple[Link, ...]  # the oldest first
    acts: tuple[Act, ...]
    prompts: Mapping[str, bytes]  # by the digest that stands beside them
    policies: tuple[tuple[str, LinePolicy], ...] = ()  # each with the digest that stands beside it
    policies_missing: tuple[tuple[str, str], ...] | None = None  # digest and why; None in one that does not tell

    @property
    def consents(self) -> tuple[Act, ...]:
        return tuple(act for act in self.acts if act.body.get("kind") == "consent")

    @property
    def end(self) -> Act | None:
        """How the call ended; None where it had not, or where the proof was made up to an earlier link."""
        return next((act for act in self.acts if act.body.get("kind") == "end"), None)


@dataclass(slots=True, kw_only=True)
class Checked:
    """What a check found. `proof` is None where the document could not be read as one."""

    proof: Proof | None = None
    wrong: list[str] = field(default_factory=list)
    unheard: int = 0  # how many of these say only that a prompt's sound is not in the file
    heads_met: int = 0  # of those that were noted elsewhere
    later_acts: list[str] = field(default_factory=list)  # behind all of these: the heads say nothing of them


# --------------------------------------------------------------------------- making one


def links_to_show(head: int, acts: Iterable[int]) -> list[int]:
    """The numbers of the links that show that `head` stands on each of `acts`, the oldest first."""
    shown, newest = [head], head
    for seq in sorted(acts, reverse=True):
        shown += way_back(newest, seq)
        newest = seq
    return sorted(set(shown))


def document(
    call: str,
    links: Sequence[Link],
    acts: Sequence[Act],
    prompts: Mapping[str, bytes],
    policies: Mapping[str, LinePolicy] | None = None,
    changed: Iterable[str] = (),
) -> dict[str, Any]:
    """The proof as JSON has it: one file. `policies` by the digest that events name; `changed` have a wrong text."""
    newest = links[-1]
    policies, changed = policies or {}, frozenset(changed)
    missing = sorted(_policies_of(acts) - policies.keys())
    return {
        "proof": KIND,
        "version": VERSION,
        "call": call,
        "head": {"node": newest.node, "seq": newest.seq, "digest": newest.digest},
        "acts": [asdict(act) for act in acts],
        "links": [asdict(link) for link in links],
        "prompts": [
            {"sha256": digest, "wav": base64.b64encode(wav).decode()} for digest, wav in sorted(prompts.items())
        ],
        "policies": [
            {"digest": digest, "line": policy.line, "settings": policy.settings}
            for digest, policy in sorted(policies.items())
        ],
        "policies_missing": [
            {"digest": digest, "why": CHANGED if digest in changed else NOT_KEPT} for digest in missing
        ],
    }


# --------------------------------------------------------------------------- checking one


def check(text: str, noted: Iterable[Head] = ()) -> Checked:
    """Everything that is wrong with a proof, in words; nothing, where it is whole. `noted` heads are compared."""
    checked = Checked()
    try:
        read = json.loads(text, object_pairs_hook=_once)
        canonical(read).encode()  # half a character has no bytes to digest
    except (ValueError, RecursionError) as error:
        checked.wrong.append(f"the file is not JSON: {error}")
        return checked
    checked.wrong += _misshapen(read)
    if checked.wrong:
        return checked
    proof, prompts_wrong = _read(read)
    checked.proof = proof
    checked.wrong += [
        *_links(proof),
        *_acts(proof),
        *_order(proof),
        *_whole(proof),
        *prompts_wrong,
        *_prompts(proof),
        *_policies(proof),
    ]
    unheard = list(_unheard(proof))
    checked.unheard = len(unheard)
    checked.wrong += unheard
    _compare_heads(checked, proof, noted)
    return checked


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object in which a name stands twice says two things at once."""
    read = dict(pairs)
    if len(read) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return read


def _misshapen(read: Any) -> Iterator[str]:
    if not isinstance(read, dict) or read.get("proof") != KIND:
        yield f'the file is no proof: "proof" is not "{KIND}"'
        return
    version = read.get("version")
    if type(version) is not int or version not in _PARTS:
        yield f"the proof is of version {version}, and this program knows {' and '.join(map(str, _PARTS))}"
        return
    yield from _names(read, _PARTS[version], "the proof")
    if not isinstance(read.get("call"), str):
        yield "the proof does not name its call"
    for part, shape in _SHAPE_OF.items():
        found = read.get(part, [] if part not in _PARTS[version] else None)
        if not isinstance(found, list):
            yield f"{part} is not a list"
        else:
            for number, entry in enumerate(found, start=1):
                yield from _entry(entry, _SHAPES[shape], f"{shape} {number} of the file")
    yield from _entry(read.get("head"), _SHAPES["head"], "the head")
    if not read.get("links"):
        yield "there is no link in the proof"


def _entry(entry: Any, shape: Mapping[str, tuple[type, ...]], what: str) -> Iterator[str]:
    if not isinstance(entry, dict):
        yield f"{what} is not an object"
        return
    yield from _names(entry, shape, what)
    for name, kinds in shape.items():
        if name in entry and type(entry[name]) not in kinds:
            yield f"{what}: {name} is of the wrong kind"


def _names(entry: Mapping[str, Any], known: Iterable[str], what: str) -> Iterator[str]:
    known = set(known)
    for name in sorted(known - entry.keys()):
        yield f"{what} lacks {name}"
    for name in sorted(entry.keys() - known):
        yield f"{what} holds {name}, which no proof does"


def _read(read: Mapping[str, Any]) -> tuple[Proof, list[str]]:
    prompts, wrong = {}, []
    for entry in read["prompts"]:
        if entry["sha256"] in prompts:
            wrong.append(f"the prompt {entry['sha256'][:8]}... stands in the file twice")
        wav = _bytes(entry["wav"])
        if wav is None:
            wrong.append(f"the sound of the prompt {entry['sha256'][:8]}... is not base64")
        prompts[entry["sha256"]] = wav or b""
    proof = Proof(
        call=read["call"],
        head=Head(**read["head"]),
        links=tuple(Link(**entry) for entry in read["links"]),
        acts=tuple(Act(**entry) for entry in read["acts"]),
        prompts=prompts,
        policies=tuple(
            (entry["digest"], LinePolicy(line=entry["line"], settings=entry["settings"]))
            for entry in read.get("policies", ())
        ),
        policies_missing=tuple((entry["digest"], entry["why"]) for entry in read["policies_missing"])
        if "policies_missing" in read
        else None,
    )
    return proof, wrong


def _bytes(written: str) -> bytes | None:
    """The bytes, where this is the one way to write them."""
    try:
        read = base64.b64decode(written, validate=True)
    except ValueError:
        return None
    return read if base64.b64encode(read).decode() == written else None


def _links(proof: Proof) -> Iterator[str]:
    """Whether every link stands on the one shown before it, up to the head."""
    for older, newer in zip(proof.links, proof.links[1:], strict=False):
        if not newer.follows(older):
            yield (
                f"the chain is cut between link {older.seq} and link {newer.seq}: the later one does not stand on the"
                " earlier, so one of them was changed, or one between them is missing"
            )
    newest = proof.links[-1]
    if (newest.node, newest.seq) != (proof.head.node, proof.head.seq):
        yield f"the last link is {newest.node}:{newest.seq}, and the head is {proof.head.node}:{proof.head.seq}"
    elif newest.digest != proof.head.digest:
        yield f"the head's digest is not that of the last link, {newest.seq}: one of them was changed"


def _acts(proof: Proof) -> Iterator[str]:
    links = {link.seq: link for link in proof.links}
    for act in proof.acts:
        link = links.get(act.seq)
        if act.body.get("kind") not in ("consent", "end"):
            yield f"link {act.seq} tells of something that is neither a consent event nor the call's end"
        if act.body.get("call") != proof.call:
            yield f"{act.name} belongs to call {act.body.get('call')}, and the proof is of {proof.call}"
        if link is None:
            yield f"{act.name}: this link is not in the proof, so nothing shows that it was ever chained"
        elif not is_committed(act.salt, canonical(act.body), link.commitment):
            yield f"{act.name} is not what was chained: something in it, or its salt, was changed"
        elif act.body.get("node") != link.node:
            yield f"{act.name} is of node {act.body.get('node')}, and its link of {link.node}"


def _order(proof: Proof) -> Iterator[str]:
    for earlier, later in zip(proof.acts, proof.acts[1:], strict=False):
        if later.seq <= earlier.seq:
            yield f"{later.name} stands behind {earlier.name}: they are not in the order in which they were chained"


def _whole(proof: Proof) -> Iterator[str]:
    """Whether all the consent events of the call are there: they are counted, and the end says how many there were."""
    numbers = [act.body.get("number") for act in proof.consents]
    end = proof.end
    counted = end.body.get("consents") if end is not None else len(numbers)
    known = [number for number in numbers if type(number) is int]
    told = [number for number in (*known, counted) if type(number) is int]
    missing = [number for number in range(1, min(max(told, default=1), MOST_NAMED) + 1) if number not in known]
    for number in missing:
        yield f"consent event {number} of the call is missing from the proof"
    if len(set(known)) != len(known):
        yield "a consent event stands in the proof twice"
    elif not missing and known != list(range(1, len(numbers) + 1)):
        yield "the consent events are not numbered in the order in which they were chained"
    if not missing and counted != len(numbers):
        yield f"the call had {counted} consent events when it ended, and the proof has {len(numbers)}"
    if end is not None and proof.acts[-1] is not end:
        yield "something stands behind the call's end"


def _prompts(proof: Proof) -> Iterator[str]:
    wanted = _prompts_named(proof)
    for digest, wav in proof.prompts.items():
        if digest not in wanted:
            yield f"a prompt with the digest {digest[:8]}... is in the file, and no consent event names it"
        if sha256(wav) != digest:
            name = wanted.get(digest, f"the prompt {digest[:8]}...")
            yield f"the sound of {name} is not what was heard: its SHA-256 is another one"


def _policies(proof: Proof) -> Iterator[str]:
    """Whether the settings give the digest that the events name, and each that is not in the file is named as such."""
    named = policies_named(proof)
    digests = [digest for digest, _ in proof.policies]
    missing = [digest for digest, _ in proof.policies_missing or ()]
    for digest, why in proof.policies_missing or ():
        if digest not in named:
            yield f"the settings of policy {digest} are named as missing, and no consent event names them"
        if digest in digests:
            yield f"the settings of policy {digest} are named as missing, and they are in the file"
        if why not in WHY_MISSING:
            yield f"why the settings of policy {digest} are missing is {why!r}, and no proof says so"
    if proof.policies_missing is not None:
        for digest in sorted(named.difference(digests, missing)):
            yield f"the settings of policy {digest} are not in the file, which does not name them as missing"
    for digest, policy in proof.policies:
        if digest not in named:
            yield f"settings with the digest {digest} are in the file, and no consent event names them"
        if not policy.gives(digest):
            yield f"the settings of line {policy.line} in the file are not those of policy {digest}"
    there = [*digests, *missing]
    for digest in sorted({digest for digest in there if digests.count(digest) > 1 or missing.count(digest) > 1}):
        yield f"the settings of policy {digest} stand in the file twice"


def policies_named(proof: Proof) -> frozenset[str]:
    """The digests of settings that the consent events name."""
    return _policies_of(proof.acts)


def _policies_of(acts: Iterable[Act]) -> frozenset[str]:
    bodies = (act.body for act in acts if act.body.get("kind") == "consent")
    return frozenset(str(body["policy"]) for body in bodies if body.get("policy"))


def _unheard(proof: Proof) -> Iterator[str]:
    for digest, name in _prompts_named(proof).items():
        if digest not in proof.prompts:
            yield f"what was heard of {name} is not in the file"


def _prompts_named(proof: Proof) -> dict[str, str]:
    """The prompts that the consent events name, by their digest."""
    return {
        str(prompt.get("sha256")): f"prompt {prompt.get('id')} {prompt.get('language')} version {prompt.get('version')}"
        for act in proof.consents
        if isinstance(prompt := act.body.get("prompt"), dict)
    }


def _compare_heads(checked: Checked, proof: Proof, noted: Iterable[Head]) -> None:
    links = {(link.node, link.seq): link for link in proof.links}
    newest = 0
    for head in noted:
        link = links.get((head.node, head.seq))
        if link is None:
            continue
        if link.digest == head.digest:
            checked.heads_met += 1
            newest = max(newest, head.seq)
        else:
            checked.wrong.append(
                f"the head that was noted as {head.node}:{head.seq} has another digest than this link: since it was"
                " noted the chain was written anew"
            )
    if checked.heads_met:
        checked.later_acts = [act.name for act in proof.acts if act.seq > newest]
