"""The way back from a revision waits for calls in progress whose journal an older recorder could not read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from recorder import catalogue
from recorder.call import CallEvent, ChannelOffered, ClockSet, RivalMet
from recorder.catalogue import CatalogueSchema, open_catalogue
from recorder.model import (
    ConsentEventId,
    ConsentState,
    KeyAct,
    Link,
    LocalOptimised,
    RecordingId,
    RivalFate,
    RivalKind,
    TransferAttended,
    Uniqueid,
)
from recorder.rights import Denied
from recorder.signing_in import SignInAct, SignInAction
from tests.books import BRIDGE, Story
from tests.core.call_cast import LINK_FAR, LINK_NEAR, key, line_reached, pressed, resynchronised
from tests.facts import NOON, agent, caller, later, user_act


def talking(event: CallEvent | Callable[[Story], CallEvent]) -> Story:
    story = Story().admitted().answered(ConsentState.REFUSED).talking()
    story.events.append(event(story) if callable(event) else event)
    return story


def rival(kind: RivalKind) -> RivalMet:
    return RivalMet(at=later(11), audit=uuid4(), kind=kind, fate=RivalFate.STOPPED, channel=LINK_FAR)


def transfer(link: Link | None) -> TransferAttended:
    return TransferAttended(at=later(11), channel=LINK_NEAR, transferer=LINK_FAR, joined=False, link=link)


def compared(twins: dict[Uniqueid, Uniqueid] | None) -> Callable[[Story], CallEvent]:
    """Both stand as they stood."""

    def told(story: Story) -> CallEvent:
        there = [(who(story.call), BRIDGE) for who in (caller, agent)]
        return replace(resynchronised(*there), at=later(11), blind_from=later(11), twins=twins)

    return told


UNREADABLE: dict[str, CallEvent | Callable[[Story], CallEvent]] = {
    "a Local channel is taken out": LocalOptimised(at=later(11), one=LINK_NEAR, two=LINK_FAR),
    "another line is reached": replace(line_reached(), at=later(11)),
    "the channel is brought": ChannelOffered(
        at=later(11), consent=ConsentEventId(uuid4()), recording=RecordingId(uuid4())
    ),
    "two queues are linked": transfer(Link(second=LINK_FAR, one=LINK_NEAR, two=LINK_FAR)),
    "halves by their names": compared({LINK_NEAR.uniqueid: LINK_FAR.uniqueid}),
    "the clock was set": ClockSet(at=later(11), by=timedelta(seconds=3)),
    "a snoop": rival(RivalKind.SNOOP),
}
READABLE: dict[str, CallEvent | Callable[[Story], CallEvent]] = {
    "another transfer": transfer(None),
    "compared": compared(None),
    "another rival": rival(RivalKind.MIXMONITOR),
}


async def stood(url: str, story: Story) -> None:
    store = await open_catalogue(url)
    await story.write(store)
    await store.close()


@pytest.mark.parametrize("event", UNREADABLE.values(), ids=UNREADABLE)
async def test_it_waits_for_a_call_in_progress_of_which_an_older_recorder_cannot_read_who_stands_in_it(
    catalogue_url: str, event: CallEvent | Callable[[Story], CallEvent]
) -> None:
    story = talking(event)
    await stood(catalogue_url, story)
    with pytest.raises(CatalogueSchema, match=rf"who stands in it: {story.call}\. Start this recorder again"):
        catalogue.downgrade(catalogue_url, "0006")
    assert catalogue.current(catalogue_url) == catalogue.newest()


@pytest.mark.parametrize("event", READABLE.values(), ids=READABLE)
async def test_it_is_open_to_a_call_that_an_older_recorder_can_read(
    catalogue_url: str, event: CallEvent | Callable[[Story], CallEvent]
) -> None:
    await stood(catalogue_url, talking(event))
    assert catalogue.downgrade(catalogue_url, "0006") == "0006"
    assert catalogue.upgrade(catalogue_url) == catalogue.newest()


async def test_it_is_open_to_one_that_is_over(catalogue_url: str) -> None:
    story = talking(UNREADABLE["a Local channel is taken out"]).hung_up()
    await stood(catalogue_url, story)
    assert catalogue.downgrade(catalogue_url, "0006") == "0006"


@pytest.mark.parametrize(
    "said",
    [{"user": "alice"}, {"denied": Denied.UNKNOWN}, {"telephone": "PJSIP/1"}],
    ids=["whose", "whose not", "where"],
)
async def test_it_waits_for_an_override_that_tells_whose_it_was(catalogue_url: str, said: dict[str, Any]) -> None:
    story = talking(replace(pressed(recording=9), **said))
    await stood(catalogue_url, story)
    with pytest.raises(CatalogueSchema, match=rf"whose that was: {story.call}\. Start this recorder again"):
        catalogue.downgrade(catalogue_url, "0007")
    assert catalogue.current(catalogue_url) == catalogue.newest()


@pytest.mark.parametrize(("user", "is_over"), [(None, False), ("alice", True)], ids=["names nobody", "is over"])
async def test_it_is_open_to_an_override_that_names_nobody_and_to_one_that_is_over(
    catalogue_url: str, user: str | None, is_over: bool
) -> None:
    story = talking(replace(pressed(recording=9), user=user))
    await stood(catalogue_url, story.hung_up() if is_over else story)
    assert catalogue.downgrade(catalogue_url, "0007") == "0007"


@pytest.mark.parametrize("by", ["alice", None], ids=["on a page", "at a telephone"])
@pytest.mark.parametrize("is_over", [True, False], ids=["over", "in progress"])
async def test_it_waits_for_an_override_that_a_page_asked_for(
    catalogue_url: str, by: str | None, is_over: bool
) -> None:
    story = talking(replace(pressed(recording=9), by=by))
    await stood(catalogue_url, story.hung_up() if is_over else story)
    if by is None or is_over:
        assert catalogue.downgrade(catalogue_url, "0014") == "0014"
        return
    with pytest.raises(CatalogueSchema, match=rf"who asked for it: {story.call}\. Start this recorder again"):
        catalogue.downgrade(catalogue_url, "0014")
    assert catalogue.current(catalogue_url) == catalogue.newest()


async def test_who_may_do_what_stays_on_the_way_back_and_is_there_again(catalogue_url: str) -> None:
    store = await open_catalogue(catalogue_url)
    await store.write_user_acts([user_act()])
    await store.close()
    assert catalogue.downgrade(catalogue_url, "0007") == "0007"
    assert catalogue.upgrade(catalogue_url) == catalogue.newest()
    store = await open_catalogue(catalogue_url)
    assert [act.user for act in await store.user_acts()] == ["alice"]
    await store.close()


@pytest.mark.parametrize("by", ["alice", None], ids=["on a page", "at a telephone"])
@pytest.mark.parametrize("is_over", [True, False], ids=["over", "in progress"])
async def test_it_waits_for_what_was_asked_on_a_page_of_a_call_in_progress(
    catalogue_url: str, by: str | None, is_over: bool
) -> None:
    story = talking(replace(key(KeyAct.PAUSE), by=by))
    await stood(catalogue_url, story.hung_up() if is_over else story)
    if by is None or is_over:
        assert catalogue.downgrade(catalogue_url, "0008") == "0008"
        return
    with pytest.raises(CatalogueSchema, match=rf"cannot read by whom: {story.call}\. Start this recorder again"):
        catalogue.downgrade(catalogue_url, "0008")
    assert catalogue.current(catalogue_url) == catalogue.newest()


async def test_who_came_in_stays_on_the_way_back_and_is_there_again(catalogue_url: str) -> None:
    store = await open_catalogue(catalogue_url)
    await store.write_sign_in(SignInAct(id=uuid4(), at=NOON, user="alice", action=SignInAction.REFUSED, actor=None))
    await store.close()
    assert catalogue.downgrade(catalogue_url, "0008") == "0008"
    assert catalogue.upgrade(catalogue_url) == catalogue.newest()
    store = await open_catalogue(catalogue_url)
    assert [act.user for act in await store.sign_ins_of("alice")] == ["alice"]
    await store.close()
