"""One node's chain: does each link stand on those before it, and does the catalogue still say what was chained?

Pure: told everything, asks nothing. The invariant: whoever changes, removes or adds a consent event past the recorder
is named here, unless they write the whole chain anew; that is what heads noted elsewhere are for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from recorder.books.mismatch import Code, Mismatch
from recorder.catalogue import Chained, ChainRow, PolicyRow, Unchained
from recorder.chain import Body, Head, consent_said, differing, end_said, further_back, is_committed
from recorder.policy import LinePolicy


def judge_links(batch: Sequence[Chained], after: int) -> list[Mismatch]:
    """Everything about these successive links that does not fit; `after` is the number of the link before them."""
    found: list[Mismatch] = []
    for chained in batch:
        link = chained.link
        if link.seq != after + 1:
            found.append(_gap(link, after))
        found += _digests(link)
        found += _act(chained)
        after = link.seq
    return found


def judge_head(head: Head, link: ChainRow | None) -> Mismatch | None:
    """What is wrong with the chain where a head of it was noted elsewhere."""
    if link is not None and link.digest == head.digest:
        return None
    what = "there is no such link" if link is None else f"that link's digest is {link.digest} now"
    return Mismatch(code=Code.HEAD_UNKNOWN, what=f"the head {head} was noted elsewhere, and {what}")


def judge_unchained(act: Unchained) -> Mismatch:
    what = "the end of the call" if act.consent is None else f"consent event {act.consent}"
    return Mismatch(code=Code.ACT_UNCHAINED, what=f"{what} is in the catalogue and not in the chain", call=act.call)


def judge_policy(row: PolicyRow) -> Mismatch | None:
    """Whether kept settings are still those that consent events name; which ones ought to be there, nobody can tell.

    The digest in an event of the dialplan's own asking is that of the settings it was written from, and a recorder that
    is killed before the catalogue took its settings leaves events of them: so one that is not kept is no mismatch.
    """
    if LinePolicy(line=row.line, settings=row.settings).gives(row.digest):
        return None
    return Mismatch(
        code=Code.POLICY_CHANGED,
        what=f"the settings of line {row.line} that are kept as policy {row.digest} do not give this digest",
    )


def _gap(link: ChainRow, after: int) -> Mismatch:
    gone = link.seq - after - 1
    which = f"link {after + 1} is" if gone == 1 else f"links {after + 1} to {link.seq - 1} are"
    return Mismatch(code=Code.CHAIN_GAP, what=f"{which} missing from the chain of node {link.node}")


def _digests(link: ChainRow) -> Iterator[Mismatch]:
    if link.previous is None and link.seq > 1:
        return  # told as a gap: nobody can say whether this one stood on what is gone
    if link.further is None and further_back(link.seq) > 0:
        return
    if link.link.digest != link.digest:
        yield _broken(link, "does not follow from those before it: it was changed, or they were")


def _act(chained: Chained) -> Iterator[Mismatch]:
    link = chained.link
    if link.body is None or link.salt is None:
        what = f"what link {link.seq} commits to was erased; the chain is whole without it"
        yield Mismatch(code=Code.CHAINED_ACT_REMOVED, what=what, call=link.call)
        return
    if not is_committed(link.salt, link.body, link.commitment):
        yield _broken(link, "holds something else than it committed to")
        return
    body, said = _body(link.body), _said(chained)
    if (body.get("call"), body.get("id")) != (str(link.call), None if link.consent is None else str(link.consent)):
        yield _broken(link, "names another act than it committed to")
        return
    act = f"consent event {link.consent}" if link.consent is not None else "the end of the call"
    if said is None:
        what = f"{act} is in link {link.seq} of the chain and no longer in the catalogue"
        yield Mismatch(code=Code.CHAINED_ACT_REMOVED, what=what, call=link.call)
    elif names := differing(body, said):
        what = f"{act} says otherwise than link {link.seq} of the chain: {', '.join(names)}"
        yield Mismatch(code=Code.CHAINED_ACT_CHANGED, what=what, call=link.call)


def _body(text: str) -> Body:
    """What was committed to; empty where it is nothing of ours, which names no act."""
    try:
        read = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return read if isinstance(read, dict) else {}


def _broken(link: ChainRow, how: str) -> Mismatch:
    return Mismatch(code=Code.CHAIN_BROKEN, what=f"link {link.seq} of the chain {how}", call=link.call)


def _said(chained: Chained) -> Body | None:
    """What the catalogue's own rows say of the act; None where they are gone."""
    if chained.link.consent is None:
        call = chained.call
        return None if call is None or call.ended_at is None else end_said(asdict(call) | {"call": call.id})
    if chained.event is None:
        return None
    return consent_said(asdict(chained.event), asdict(chained.prompt) if chained.prompt else None)
