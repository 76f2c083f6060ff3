"""The catalogue as the rest of the program sees it: one asynchronous method a question or change.

Owns where a transaction begins and ends, and the time limits; the SQL is in writing.py and reading.py. The invariants:
every method ends within its `within`, with its answer or with one of errors.py; a change is whole, or not there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TypeVar
from uuid import UUID

from sqlalchemy import Connection

from recorder.catalogue import (
    answers,
    commenting,
    contesting,
    counting,
    finding,
    listening,
    own,
    reading,
    releases,
    saving,
    schema,
    signing_in,
    users,
    waveforms,
    writing,
)
from recorder.catalogue.answers import Asking, KeptAnswer
from recorder.catalogue.engine import CALLER_WAITS, READERS, Rooms, url_of
from recorder.catalogue.errors import CatalogueAway
from recorder.catalogue.rows import (
    BookedCall,
    CallRow,
    Chained,
    ChainRow,
    ConsentRow,
    Counts,
    FileAct,
    JournalRow,
    PolicyRow,
    RecordingRow,
    Unchained,
    WholeCall,
)
from recorder.chain import Head
from recorder.comments import Comment, CommentAct
from recorder.contests import Contest, ContestAct
from recorder.listens import Audible, ListenAct
from recorder.model import (
    CallId,
    ConsentState,
    Fact,
    Linkedid,
    Outcome,
    RecordingId,
    RecordingStatus,
    Uniqueid,
)
from recorder.overrides import Overrides, told
from recorder.policy import LinePolicy
from recorder.releases import ReleaseAct
from recorder.rights import Seat, User, UserAct
from recorder.signing_in import Password, Session, SignInAct, Token
from recorder.waveform import Waveform

T = TypeVar("T")
READER_WAITS = timedelta(seconds=10)  # where nobody is on the line: start-up, sweeps, the command line
READY_MARK = "ready"
PEOPLE_AT_ONCE = READERS - 1


class Catalogue:
    """Every method raises CatalogueAway when it cannot be done within `within`, CatalogueRefused where a rule forbids.

    Writes go through one thread in the order of asking. A write whose time is up before its commit began is rolled back
    (`CatalogueAway.may_land` is False); one whose commit was under way may land later (True). Saying it again is always
    right: it queues behind the first and is applied once.
    """

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms

    @property
    def waiting(self) -> int:
        """How many writes are asked for and not done; beyond engine.WAITING_MOST they are CatalogueAway at once."""
        return self._rooms.waiting

    async def close(self, within: timedelta = timedelta(seconds=5)) -> None:
        """Finish what was asked for, at most for `within`, and close every connection."""
        await self._rooms.close(within)

    async def write(self, work: Callable[[Connection], T], within: timedelta = CALLER_WAITS) -> T:
        """Run `work` on the writing thread in one transaction. Only for changes that are applied once when repeated."""
        return await self._rooms.ask(work, within, writes=True)

    async def read(self, work: Callable[[Connection], T], within: timedelta = READER_WAITS) -> T:
        return await self._rooms.ask(work, within, writes=False)

    def for_people(self) -> Catalogue:
        """The same for pages and programs, whose questions leave a reading thread to who has a caller on the line."""
        return _ForPeople(self._rooms)

    # ------------------------------------------------------------------ changes

    async def write_step(
        self,
        call: CallId,
        facts: Sequence[Fact],
        event: JournalRow | None,
        phase: str,
        consent: ConsentState,
        within: timedelta = CALLER_WAITS,
    ) -> bool:
        """Write a step of a call's machine: facts, journal row, the call's phase and consent, in one transaction.

        Returns False where the journal row was in already, with everything that came with it; the same `seq` with
        another content is refused. Without `event` the facts are applied once, and phase and consent are set again.
        """
        return await self.write(
            lambda connection: writing.write_step(connection, call, facts, event, phase, consent), within
        )

    async def write_steps(
        self,
        call: CallId,
        steps: writing.Steps,
        phase: str,
        consent: ConsentState,
        within: timedelta = CALLER_WAITS,
    ) -> int:
        """Write successive steps of a call as write_step would, in one transaction, with what stands after the last.

        Returns how many were not in already. One that is refused takes the others with it.
        """
        return await self.write(lambda connection: writing.write_steps(connection, call, steps, phase, consent), within)

    async def write_facts(self, facts: Iterable[Fact], within: timedelta = READER_WAITS) -> None:
        """Apply facts that are no step of a call's machine (what a sweep settled), in one transaction."""
        together = tuple(facts)
        await self.write(lambda connection: writing.write_facts(connection, together), within)

    async def write_analysis(
        self,
        recording: RecordingId,
        at: datetime,
        measures: Mapping[str, float],
        findings: Sequence[str],
        waveform: Waveform | None = None,
        within: timedelta = READER_WAITS,
    ) -> None:
        """Add what the sound of a settled recording says; CatalogueRefused where it is not settled."""
        await self.write(
            lambda connection: writing.write_analysis(connection, recording, at, measures, findings, waveform), within
        )

    async def write_file_act(self, act: FileAct, within: timedelta = READER_WAITS) -> None:
        """Add what a person does, or did, with a file that no recording claims."""
        await self.write(lambda connection: writing.write_file_act(connection, act), within)

    async def write_numbers(self, digests: Iterable[tuple[CallId, str]], within: timedelta = READER_WAITS) -> None:
        """Keep the keyed digest of each call's number (recorder.numbers), never the number."""
        together = tuple(digests)
        await self.write(lambda connection: writing.write_numbers(connection, together), within)

    async def write_policies(
        self, node: str, at: datetime, version: str, lines: Iterable[LinePolicy], within: timedelta = READER_WAITS
    ) -> None:
        """Keep the lines' settings that are in force on the node since `at`; those that are kept already stay."""
        together = tuple(lines)
        await self.write(lambda connection: writing.write_policies(connection, node, at, version, together), within)

    async def write_user_acts(
        self, acts: Iterable[UserAct], within: timedelta = READER_WAITS, *, by: str | None = None
    ) -> None:
        """Do these things to users, all or none; CatalogueRefused, with why, where one makes no sense.

        `by` is who is signed in and asks: CatalogueUnfit where it is not for them.
        """
        together = tuple(acts)
        await self.write(lambda connection: users.add(connection, together, by), within)

    async def set_password(
        self,
        password: Password,
        act: SignInAct,
        within: timedelta = READER_WAITS,
        *,
        was: str | None = None,
        by: str | None = None,
    ) -> None:
        """Give somebody this password, and end their sessions.

        CatalogueRefused where there is nobody of that name, or not in place of what it `was`; `by` is as above.
        """
        await self.write(lambda connection: signing_in.set_password(connection, password, act, was, by), within)

    async def end_sessions_of(self, act: SignInAct, by: str, within: timedelta = READER_WAITS) -> None:
        """End every session of the act's person; CatalogueRefused where there is none, CatalogueUnfit as above."""
        await self.write(lambda connection: signing_in.end_sessions_of(connection, act, by), within)

    async def keep_hash(self, user: str, was: str, kept: str, within: timedelta = READER_WAITS) -> None:
        """Keep the same password as another hash of it, unless it was changed meanwhile."""
        await self.write(lambda connection: signing_in.keep_hash(connection, user, was, kept), within)

    async def begin_session(
        self, session: Session, kept: str, act: SignInAct, within: timedelta = READER_WAITS
    ) -> None:
        """Begin a session by the password that is kept so; CatalogueRefused where it is another by now."""
        await self.write(lambda connection: signing_in.begin_session(connection, session, kept, act), within)

    async def see_session(self, digest: str, at: datetime, within: timedelta = READER_WAITS) -> None:
        """Note that a session was used."""
        await self.write(lambda connection: signing_in.see_session(connection, digest, at), within)

    async def end_session(self, digest: str, act: SignInAct, within: timedelta = READER_WAITS) -> None:
        await self.write(lambda connection: signing_in.end_session(connection, digest, act), within)

    async def write_sign_in(self, act: SignInAct, within: timedelta = READER_WAITS) -> None:
        """Note what happened to somebody's ways in where nothing else changes by it."""
        await self.write(lambda connection: signing_in.add_act(connection, act), within)

    async def issue_token(self, token: Token, act: SignInAct, within: timedelta = READER_WAITS) -> None:
        """Keep a token; CatalogueRefused, with why, where it makes no sense."""
        await self.write(lambda connection: signing_in.issue_token(connection, token, act), within)

    async def withdraw_token(
        self, token: UUID, act: SignInAct, within: timedelta = READER_WAITS, *, by: str | None = None
    ) -> None:
        """Let a token count no more; CatalogueRefused where the act's person has none that does. `by` as above."""
        await self.write(lambda connection: signing_in.withdraw_token(connection, token, act, by), within)

    async def write_listens(self, acts: Iterable[ListenAct], within: timedelta = READER_WAITS) -> None:
        """Add these rows to the listening log, in one transaction; what is in already changes nothing."""
        together = tuple(acts)
        await self.write(lambda connection: listening.add(connection, together), within)

    async def write_release_act(self, act: ReleaseAct, within: timedelta = READER_WAITS) -> None:
        """Do this to a release; CatalogueRefused, with why, where it makes no sense or is not theirs to do."""
        await self.write(lambda connection: releases.add(connection, act), within)

    async def write_contest(self, act: ContestAct, within: timedelta = READER_WAITS) -> None:
        """Keep what was said against a call, or answered; CatalogueRefused for a second answer, or where a rule is."""
        await self.write(lambda connection: contesting.add(connection, act), within)

    async def begin_asking(self, asking: Asking, within: timedelta = READER_WAITS) -> KeptAnswer | None:
        """Begin what may be asked again: None. What was begun with the same key before it: how that stands."""
        return await self.write(lambda connection: answers.begin(connection, asking), within)

    async def finish_asking(
        self, digest: str, status: int, answer: str | None, within: timedelta = READER_WAITS
    ) -> None:
        """Keep what an asking was answered, for a day."""
        await self.write(lambda connection: answers.finish(connection, digest, status, answer), within)

    async def forget_asking(self, digest: str, within: timedelta = READER_WAITS) -> None:
        """Let it be begun anew: nothing was done by it."""
        await self.write(lambda connection: answers.forget(connection, digest), within)

    async def write_comment(self, act: CommentAct, within: timedelta = READER_WAITS) -> None:
        """Keep a comment or its withdrawal; CatalogueRefused where there are too many, or a rule is against it."""
        await self.write(lambda connection: commenting.add(connection, act), within)

    async def save_search(self, search: saving.SavedSearch, within: timedelta = READER_WAITS) -> saving.Unsaved | None:
        """Keep a search under its name, or say why not."""
        return await self.write(lambda connection: saving.add(connection, search), within)

    async def remove_search(self, user: str, search: UUID, within: timedelta = READER_WAITS) -> bool:
        """Remove a saved search for good; returns whether there was one of theirs."""
        return await self.write(lambda connection: saving.remove(connection, user, search), within)

    async def write_bookmark(
        self, node: str, name: str, value: Mapping[str, str | int], within: timedelta = READER_WAITS
    ) -> None:
        await self.write(lambda connection: writing.write_bookmark(connection, node, name, value), within)

    async def write_sweep(self, node: str, name: str, at: datetime, within: timedelta = READER_WAITS) -> None:
        """Note that a sweep came to its end without an error."""
        await self.write(lambda connection: writing.write_sweep(connection, node, name, at), within)

    async def ping(self, node: str, at: datetime, within: timedelta = CALLER_WAITS) -> None:
        """Write a bookmark and commit it: the catalogue can keep an intention now, or CatalogueAway says why not."""
        await self.write(
            lambda connection: writing.write_bookmark(connection, node, READY_MARK, {"at": at.isoformat()}), within
        )

    # ------------------------------------------------------------------ questions

    async def open_calls(self, node: str, within: timedelta = READER_WAITS) -> tuple[WholeCall, ...]:
        """Return the node's calls without an outcome, oldest first, with their journals to be replayed."""
        return await self.read(lambda connection: reading.open_calls(connection, node), within)

    async def one_call(self, call: CallId, within: timedelta = READER_WAITS) -> WholeCall | None:
        return await self.read(lambda connection: reading.one_call(connection, call), within)

    async def calls_of_linkedid(
        self, node: str, linkedid: Linkedid, within: timedelta = READER_WAITS
    ) -> tuple[CallRow, ...]:
        """Return the node's calls that carry this linkedid, themselves or by a leg; oldest first."""
        return await self.read(lambda connection: reading.calls_of_linkedid(connection, node, linkedid), within)

    async def calls_after(
        self,
        after: CallId | None,
        limit: int,
        node: str | None = None,
        *,
        since: datetime | None = None,
        within: timedelta = READER_WAITS,
    ) -> tuple[WholeCall, ...]:
        """Return the next `limit` whole calls by id (None: from the first); an empty answer ends the walk."""
        return await self.read(lambda connection: reading.calls_after(connection, after, limit, node, since), within)

    async def calls_of_uniqueids(
        self, node: str, uniqueids: Iterable[Uniqueid], within: timedelta = READER_WAITS
    ) -> dict[Uniqueid, tuple[BookedCall, ...]]:
        """Return the node's calls that each of `uniqueids` is a leg of; one that is in none is not there."""
        wanted = tuple(uniqueids)
        return await self.read(lambda connection: reading.calls_of_uniqueids(connection, node, wanted), within)

    async def calls_of_linkedids(
        self, node: str, linkedids: Iterable[Linkedid], within: timedelta = READER_WAITS
    ) -> dict[Linkedid, tuple[BookedCall, ...]]:
        """Return the node's calls that carry these linkedids. Reads every leg for each: for exceptions."""
        wanted = tuple(linkedids)
        return await self.read(lambda connection: reading.calls_of_linkedids(connection, node, wanted), within)

    async def first_call_at(self, node: str, within: timedelta = READER_WAITS) -> datetime | None:
        """Return when the node's first call started; None where it has none."""
        return await self.read(lambda connection: reading.first_call_at(connection, node), within)

    async def recordings_due(
        self,
        node: str,
        status: RecordingStatus,
        limit: int,
        *,
        analysed: bool | None = None,
        excluding: Collection[RecordingId] = (),
        within: timedelta = READER_WAITS,
    ) -> tuple[RecordingRow, ...]:
        """Return the node's recordings of this status, longest unchanged first, without those a sweep postponed."""
        return await self.read(
            lambda connection: reading.recordings_due(connection, node, status, limit, analysed, excluding), within
        )

    async def recordings_named(
        self, ids: Iterable[RecordingId], within: timedelta = READER_WAITS
    ) -> dict[RecordingId, RecordingRow]:
        """Return those of `ids` that the catalogue knows; a file whose id is not among them has no row."""
        wanted = tuple(ids)
        return await self.read(lambda connection: reading.recordings_named(connection, wanted), within)

    async def known_uniqueids(
        self, node: str, uniqueids: Iterable[Uniqueid], within: timedelta = READER_WAITS
    ) -> frozenset[Uniqueid]:
        """Return those of `uniqueids` that are legs of the node's calls."""
        wanted = tuple(uniqueids)
        return await self.read(lambda connection: reading.known_uniqueids(connection, node, wanted), within)

    async def list_calls(
        self,
        limit: int,
        *,
        node: str | None = None,
        line: str | None = None,
        outcome: Outcome | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        numbers: Collection[str] | None = None,
        within: timedelta = READER_WAITS,
    ) -> tuple[CallRow, ...]:
        """Return the newest calls that match; `until` is exclusive, `numbers` are keyed digests of which one is its."""
        return await self.read(
            lambda connection: reading.list_calls(connection, limit, node, line, outcome, since, until, numbers), within
        )

    async def search_calls(
        self, sought: finding.Sought, limit: int, within: timedelta = READER_WAITS
    ) -> tuple[CallRow, ...]:
        """Return the newest calls that match, a page of them."""
        return await self.read(lambda connection: finding.search(connection, sought, limit), within)

    async def found_call(self, call: CallId, within: timedelta = READER_WAITS) -> finding.FoundCall | None:
        """Return one call as it is shown to people; None where there is none."""
        return await self.read(lambda connection: finding.found(connection, call), within)

    async def own_calls(self, sought: own.OwnSought, limit: int, within: timedelta = READER_WAITS) -> own.Candidates:
        """Return the newest calls that may be somebody's own, and what it takes to tell whether they are."""
        return await self.read(lambda connection: own.candidates(connection, sought, limit), within)

    async def told_call(self, call: CallId, within: timedelta = READER_WAITS) -> own.ToldCall | None:
        """Return one call with all that its agent may be told, and what it takes to tell who that is."""
        return await self.read(lambda connection: own.told(connection, call), within)

    async def whose_call(self, call: CallId, within: timedelta = READER_WAITS) -> own.Whose | None:
        """Return what it takes to tell whose a call was; None where there is none."""
        return await self.read(lambda connection: own.whose(connection, call), within)

    async def counted(self, span: counting.Span, within: timedelta = READER_WAITS) -> counting.Counted:
        """Return how the calls of a span ended and what was answered in them, counted."""
        return await self.read(lambda connection: counting.counted(connection, span), within)

    async def list_recordings(
        self,
        limit: int,
        *,
        node: str | None = None,
        line: str | None = None,
        status: RecordingStatus | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        within: timedelta = READER_WAITS,
    ) -> tuple[RecordingRow, ...]:
        """Return the newest recordings that match; `until` is exclusive."""
        return await self.read(
            lambda connection: reading.list_recordings(connection, limit, node, line, status, since, until), within
        )

    async def list_consents(
        self,
        limit: int,
        *,
        call: CallId | None = None,
        line: str | None = None,
        after: ConsentState | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        within: timedelta = READER_WAITS,
    ) -> tuple[ConsentRow, ...]:
        """Return the newest consent events that match; `until` is exclusive."""
        return await self.read(
            lambda connection: reading.list_consents(connection, limit, call, line, after, since, until), within
        )

    async def overrides(
        self, since: datetime, *, node: str | None = None, line: str | None = None, within: timedelta = READER_WAITS
    ) -> tuple[Overrides, ...]:
        """Return the overrides in calls started since then, by line, agent and reason; who stands out first."""
        return told(*await self.read(lambda connection: reading.overrides(connection, since, node, line), within))

    async def counts(self, since: datetime, node: str | None = None, within: timedelta = CALLER_WAITS) -> Counts:
        """Count for /status; `node` None counts every node's."""
        return await self.read(lambda connection: reading.counts(connection, node, since), within)

    async def file_acts_of(self, files: Iterable[UUID], within: timedelta = READER_WAITS) -> tuple[FileAct, ...]:
        """Return what was done with these files, oldest first."""
        wanted = tuple(files)
        return await self.read(lambda connection: reading.file_acts_of(connection, wanted), within)

    async def policies(self, line: str | None = None, within: timedelta = READER_WAITS) -> tuple[PolicyRow, ...]:
        """Return every line's settings as they were, or one line's; as they first came into force."""
        return await self.read(lambda connection: reading.policies_of(connection, line), within)

    async def policies_named(self, digests: Iterable[str], within: timedelta = READER_WAITS) -> tuple[PolicyRow, ...]:
        """Return those of these settings that were kept; one that several nodes had is there for each."""
        wanted = tuple(digests)
        return await self.read(lambda connection: reading.policies_named(connection, wanted), within)

    async def user_acts(self, user: str | None = None, within: timedelta = READER_WAITS) -> tuple[UserAct, ...]:
        """Return what was done to everybody, or to one, oldest first."""
        return await self.read(lambda connection: users.acts(connection, user), within)

    async def who_sat_at(self, seats: Collection[Seat], within: timedelta = CALLER_WAITS) -> tuple[User, ...]:
        """Return those whose telephone was ever one of `seats`, and ANYBODY, as they are now."""
        wanted = tuple(seats)
        return await self.read(lambda connection: users.who_sat_at(connection, wanted), within)

    async def who_signs_in(self, name: str, now: datetime, within: timedelta = READER_WAITS) -> signing_in.Known:
        """Return what there is of somebody who wants to sign in; nothing for a name that nobody has."""
        return await self.read(lambda connection: signing_in.known(connection, name, now), within)

    async def session_of(
        self, digest: str, within: timedelta = READER_WAITS
    ) -> tuple[Session, signing_in.Known] | None:
        """Return the session of this secret, whether it stands or not, with whose it is."""
        return await self.read(lambda connection: signing_in.session_of(connection, digest), within)

    async def token_of(self, digest: str, within: timedelta = READER_WAITS) -> tuple[Token, User | None] | None:
        """Return the token of this secret, whether it counts or not, with whose it is."""
        return await self.read(lambda connection: signing_in.token_of(connection, digest), within)

    async def tokens_of(self, user: str | None = None, within: timedelta = READER_WAITS) -> tuple[Token, ...]:
        """Return everybody's tokens, or one person's, the oldest first."""
        return await self.read(lambda connection: signing_in.tokens_of(connection, user), within)

    async def last_signed_in(self, within: timedelta = READER_WAITS) -> dict[str, datetime]:
        """Return when each of those who ever signed in did so last, by name."""
        return await self.read(signing_in.last_signed_in, within)

    async def sign_ins_of(self, user: str, within: timedelta = READER_WAITS) -> tuple[SignInAct, ...]:
        """Return what happened to somebody's ways in, the oldest first."""
        return await self.read(lambda connection: signing_in.acts_of(connection, user), within)

    async def listens(
        self, sought: listening.LogSought, limit: int, within: timedelta = READER_WAITS
    ) -> tuple[ListenAct, ...]:
        """Return the newest rows of the listening log that match, a page of them."""
        return await self.read(lambda connection: listening.acts(connection, sought, limit), within)

    async def contests(
        self,
        limit: int,
        *,
        agent: str | None = None,
        lines: Collection[str] | None = (),
        call: CallId | None = None,
        before: tuple[datetime, UUID] | None = None,
        within: timedelta = READER_WAITS,
    ) -> tuple[Contest, ...]:
        """Return the newest contests of this agent, or on these lines (None: every one), with their answers."""
        return await self.read(
            lambda connection: contesting.found(connection, limit, agent=agent, lines=lines, call=call, before=before),
            within,
        )

    async def contest(self, contest: UUID, within: timedelta = READER_WAITS) -> Contest | None:
        return await self.read(lambda connection: contesting.one(connection, contest), within)

    async def contests_open(
        self, *, node: str | None = None, agent: str | None = None, within: timedelta = READER_WAITS
    ) -> int:
        """Return how many contests nobody has answered, of a node's calls or of an agent's."""
        return await self.read(lambda connection: contesting.count_open(connection, node=node, agent=agent), within)

    async def comments(self, recording: RecordingId, within: timedelta = READER_WAITS) -> tuple[Comment, ...]:
        """Return what was said of a recording, in the order of its moment."""
        return await self.read(lambda connection: commenting.of(connection, recording), within)

    async def comment(self, comment: UUID, within: timedelta = READER_WAITS) -> Comment | None:
        return await self.read(lambda connection: commenting.one(connection, comment), within)

    async def has_opened(self, listener: str, recording: RecordingId, within: timedelta = READER_WAITS) -> bool:
        """Return whether somebody has ever opened this recording."""
        return await self.read(lambda connection: commenting.has_opened(connection, listener, recording), within)

    async def saved_searches(self, user: str, within: timedelta = READER_WAITS) -> tuple[saving.SavedSearch, ...]:
        """Return the searches that somebody has saved, by name."""
        return await self.read(lambda connection: saving.of(connection, user), within)

    async def first_heard(
        self, listener: str, calls: Collection[CallId], within: timedelta = READER_WAITS
    ) -> dict[CallId, datetime]:
        """Return when somebody first opened a recording of each of these calls, where they have."""
        wanted = tuple(calls)
        return await self.read(lambda connection: contesting.first_heard(connection, listener, wanted), within)

    async def recordings_opened(
        self, listener: str, after: datetime, until: datetime, within: timedelta = READER_WAITS
    ) -> int:
        """Return how many recordings somebody has opened later than `after`, and not later than `until`."""
        return await self.read(
            lambda connection: listening.recordings_opened(connection, listener, after, until), within
        )

    async def audible(
        self, recording: RecordingId, within: timedelta = READER_WAITS
    ) -> tuple[Audible, RecordingRow] | None:
        """Return what is known of a recording that somebody would hear, with its row; None where there is none."""
        return await self.read(lambda connection: listening.audible(connection, recording), within)

    async def waveform(self, recording: RecordingId, within: timedelta = READER_WAITS) -> Waveform | None:
        """Return what analysis drew of a recording; None where it drew nothing, or it is erased."""
        return await self.read(lambda connection: waveforms.of(connection, recording), within)

    async def logged_after(
        self, node: str, after: int, limit: int, within: timedelta = READER_WAITS
    ) -> tuple[listening.Logged, ...]:
        """Return the node's next rows of the listening log behind row `after`, with their links."""
        return await self.read(lambda connection: listening.logged_after(connection, node, after, limit), within)

    async def logged_before(self, node: str, since: datetime, within: timedelta = READER_WAITS) -> int:
        """Return how many rows the node's listening log had at `since`."""
        return await self.read(lambda connection: listening.logged_before(connection, node, since), within)

    async def listening_heads(self, node: str | None = None, within: timedelta = READER_WAITS) -> tuple[Head, ...]:
        """Return the newest row of each node's listening log, as a head that can be noted elsewhere."""
        return await self.read(lambda connection: listening.heads(connection, node), within)

    async def listening_digest(self, node: str, seq: int, within: timedelta = READER_WAITS) -> str | None:
        """Return the digest of one row of a node's listening log; None where there is none."""
        return await self.read(lambda connection: listening.digest_at(connection, node, seq), within)

    async def kept_unrecorded(self, among: Collection[str], within: timedelta = READER_WAITS) -> frozenset[str]:
        """Return those of these lines of which settings have said `never` in so many words, at any time, anywhere."""
        lines = tuple(among)
        return await self.read(lambda connection: releases.kept_unrecorded(connection, lines), within)

    async def release_acts(
        self, lines: Collection[str] | None = None, within: timedelta = READER_WAITS
    ) -> tuple[ReleaseAct, ...]:
        """Return what was done to every release, or to those of some lines, oldest first."""
        wanted = None if lines is None else tuple(lines)
        return await self.read(lambda connection: releases.acts(connection, wanted), within)

    async def chain_after(
        self, node: str, after: int, limit: int, within: timedelta = READER_WAITS
    ) -> tuple[Chained, ...]:
        """Return the node's next links behind link `after`, with their acts; an empty answer ends the walk."""
        return await self.read(lambda connection: reading.chain_after(connection, node, after, limit), within)

    async def links_before(self, node: str, since: datetime, within: timedelta = READER_WAITS) -> int:
        """Return how many links the node's chain had at `since`."""
        return await self.read(lambda connection: reading.links_before(connection, node, since), within)

    async def links_named(
        self, node: str, seqs: Iterable[int], within: timedelta = READER_WAITS
    ) -> dict[int, ChainRow]:
        """Return those of the node's links that there are."""
        wanted = tuple(seqs)
        return await self.read(lambda connection: reading.links_named(connection, node, wanted), within)

    async def links_of_call(self, call: CallId, within: timedelta = READER_WAITS) -> tuple[ChainRow, ...]:
        """Return the links of a call's consent events and of its end, in their order."""
        return await self.read(lambda connection: reading.links_of_call(connection, call), within)

    async def heads(self, node: str | None = None, within: timedelta = READER_WAITS) -> tuple[Head, ...]:
        """Return the newest link of each node's chain, or of one node's."""
        return await self.read(lambda connection: reading.heads(connection, node), within)

    async def unchained(
        self, node: str, limit: int, *, since: datetime | None = None, within: timedelta = READER_WAITS
    ) -> tuple[Unchained, ...]:
        """Return acts of the node's calls, started since `since`, that no link commits to: there should be none."""
        return await self.read(lambda connection: reading.unchained(connection, node, since, limit), within)

    async def bookmark(self, node: str, name: str, within: timedelta = READER_WAITS) -> dict[str, str | int] | None:
        return await self.read(lambda connection: reading.bookmark(connection, node, name), within)

    async def sweep_marks(self, node: str, within: timedelta = READER_WAITS) -> dict[str, datetime]:
        return await self.read(lambda connection: reading.sweep_marks(connection, node), within)


class _ForPeople(Catalogue):
    """So many read at once; the others wait for their turn, as long as they would wait for the answer."""

    def __init__(self, rooms: Rooms) -> None:
        super().__init__(rooms)
        self._turns = asyncio.Semaphore(PEOPLE_AT_ONCE)

    async def read(self, work: Callable[[Connection], T], within: timedelta = READER_WAITS) -> T:
        loop = asyncio.get_running_loop()
        until = loop.time() + within.total_seconds()
        try:
            async with asyncio.timeout_at(until):
                await self._turns.acquire()
        except TimeoutError:
            raise CatalogueAway("others who look something up did not come to an end") from None
        try:
            return await super().read(work, timedelta(seconds=max(0.0, until - loop.time())))
        finally:
            self._turns.release()


async def open_catalogue(address: str, within: timedelta = READER_WAITS) -> Catalogue:
    """Open the catalogue at `address`; CatalogueSchema where there is none or its revision is not ours.

    Never creates one: that is `schema.upgrade`'s, by `recorder db upgrade`. CatalogueAway where it does not answer.
    """
    url = url_of(address)
    schema.require_file(url)
    opened = Catalogue(Rooms(url, may_write=schema.writes_only_at(schema.newest())))
    try:
        schema.require_newest(await opened.read(schema.revision_of, within), url)
    except BaseException:
        await opened.close(within=timedelta())
        raise
    return opened
