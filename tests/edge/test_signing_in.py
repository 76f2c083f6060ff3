"""Signing in and out, passwords, sessions and tokens: over HTTP, by the command line, and in the catalogue."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from argon2 import PasswordHasher
from structlog.testing import capture_logs
from typer.testing import CliRunner, Result

from recorder import passwords
from recorder.__main__ import app
from recorder.catalogue import Catalogue, CatalogueRefused
from recorder.http.door import COOKIE, Door
from recorder.http.rules import FORM_LONGEST
from recorder.rights import ANYBODY, Right, Role, UserAction
from recorder.signing_in import (
    FAILURES_MOST,
    Password,
    Session,
    SignInAct,
    SignInAction,
    Token,
    digest_of,
)
from tests.edge.centre import Centre, look
from tests.edge.visitors import (
    SECRET,
    browser,
    enters,
    opens,
    program,
    sets_password,
    signed_in,
    signs_in,
    token_of,
)
from tests.facts import NOON, later, user_act

pytestmark = pytest.mark.usefixtures("no_task_left")
ANOTHER = "a quite other sentence"


@pytest.fixture
def centre(sqlite_centre: Centre) -> Centre:
    return sqlite_centre


async def acts(centre: Centre, name: str = "alice") -> list[tuple[SignInAction, str | None]]:
    return [(act.action, act.actor) for act in await centre.catalogue.sign_ins_of(name)]


# --------------------------------------------------------------------------- in and out


async def test_who_knows_the_password_is_let_in_and_out_and_both_leave_a_row(centre: Centre) -> None:
    await enters(centre, "alice", Role.AGENT)
    async with browser(centre) as client:
        assert (await client.get("/")).headers["location"] == "/live"
        assert (await client.get("/live")).headers["location"] == "/sign-in"
        entered = await signs_in(client, "alice")
        assert (entered.status_code, entered.headers["location"]) == (303, "/live")
        cookie = entered.headers["set-cookie"].casefold()
        assert all(part in cookie for part in ("httponly", "samesite=lax", "path=/"))
        page = await opens(client, "/live")
        assert (page.status, "Signed in as alice" in page.text) == (200, True)
        secret = client.cookies[COOKIE]
        left = await client.post("/sign-out", data={"stamp": page.stamp})
        assert left.headers["location"] == "/sign-in"
        client.cookies.set(COOKIE, secret)  # somebody has kept it
        assert (await client.get("/live")).headers["location"] == "/sign-in"
    assert (await acts(centre))[1:] == [(SignInAction.SIGNED_IN, "alice"), (SignInAction.SIGNED_OUT, "alice")]


@pytest.mark.parametrize(
    ("name", "password"),
    [("alice", "not the password"), ("bob", SECRET), ("", ""), ("alice", ""), (ANYBODY, SECRET), ("Alice", SECRET)],
)
async def test_who_does_not_is_told_nothing_that_helps(centre: Centre, name: str, password: str) -> None:
    await enters(centre, "alice", Role.AGENT)
    async with browser(centre) as client:
        answer = await signs_in(client, name, password)
        assert (answer.status_code, COOKIE in client.cookies) == (401, False)
        assert "The name or the password is wrong." in answer.text
        assert "alice" not in answer.text


async def test_a_name_that_nobody_has_is_kept_nowhere(centre: Centre) -> None:
    await enters(centre, "alice")
    typed = "tr0ub4dor-and-three"  # a password in the wrong field, and a name by its letters
    async with browser(centre) as client:
        with capture_logs() as said:
            await signs_in(client, typed, "whatever this is")
    assert look(centre.url, "SELECT of_user, action, actor FROM sign_ins ORDER BY seq DESC LIMIT 1") == [
        (None, "refused", None)
    ]
    assert [line["event"] for line in said if line["log_level"] == "warning"] == ["sign_in_refused"]
    everything = [*Path(centre.url.removeprefix("sqlite:///")).parent.glob("catalogue.db*")]
    assert typed not in repr(said)
    assert not [file for file in everything if typed.encode() in file.read_bytes()]
    assert not passwords.is_right(None, SECRET)


async def test_too_many_wrong_passwords_lock_the_name_for_the_right_one_too(centre: Centre) -> None:
    await enters(centre, "alice", Role.AGENT)
    async with browser(centre) as client:
        answers = [await signs_in(client, "alice", "not the password") for _ in range(FAILURES_MOST)]
        assert {answer.status_code for answer in answers} == {401}
        locked = await signs_in(client, "alice")
        assert (locked.status_code, "Too many attempts" in locked.text) == (429, True)
        refused = [action for action, _ in await acts(centre) if action is SignInAction.REFUSED]
        assert len(refused) == FAILURES_MOST  # what comes while it is locked leaves no row
        await sets_password(centre, "alice", ANOTHER)
        assert (await signs_in(client, "alice", ANOTHER)).status_code == 303


async def test_tries_at_once_count_one_after_the_other(centre: Centre) -> None:
    await enters(centre, "alice")
    async with browser(centre) as client:
        answers = await asyncio.gather(*(signs_in(client, "alice", "not the password") for _ in range(10)))
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [401] * FAILURES_MOST + [429] * (10 - FAILURES_MOST)


async def test_one_address_cannot_try_every_name(centre: Centre, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recorder.http.door.TRIES_MOST", 3)
    await enters(centre, "alice")
    async with browser(centre) as client:
        answers = [(await signs_in(client, f"name{number}", "whatever this is")).status_code for number in range(5)]
        assert answers == [401, 401, 401, 429, 429]
        assert (await signs_in(client, "alice")).status_code == 429
    assert look(centre.url, "SELECT count(*) FROM sign_ins WHERE action = 'refused'") == [(3,)]


async def test_who_is_disabled_or_has_no_password_does_not_come_in(centre: Centre) -> None:
    await enters(centre, "alice")
    await centre.catalogue.write_user_acts([user_act(UserAction.DISABLED), user_act(user="bob")])
    async with browser(centre) as client:
        assert [(await signs_in(client, name)).status_code for name in ("alice", "bob")] == [401, 401]


async def test_more_at_once_than_can_be_looked_at_are_asked_to_come_again(
    centre: Centre, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recorder.http.door.WAIT_AT_MOST", 0)
    await enters(centre, "alice")
    async with browser(centre) as client:
        answer = await signs_in(client, "alice")
    assert (answer.status_code, "at once" in answer.text) == (503, True)


async def test_a_password_does_not_cross_a_line_that_others_read(centre: Centre) -> None:
    """uvicorn believes a proxy on this machine: what comes from elsewhere in the clear is seen as such."""
    await enters(centre, "alice")
    elsewhere = {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "http"}
    async with browser(centre, **elsewhere) as client:
        assert "encrypted connection only" in (await opens(client, "/sign-in")).text
        assert (await signs_in(client, "alice")).status_code == 403
    encrypted = {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https"}
    async with browser(centre, **encrypted) as client:
        answer = await signs_in(client, "alice")
    assert (answer.status_code, "; secure" in answer.headers["set-cookie"].casefold()) == (303, True)
    assert "max-age=" in answer.headers["strict-transport-security"]
    assert (await centre.catalogue.sign_ins_of("alice"))[-1].address == "192.0.2.7"


# --------------------------------------------------------------------------- what a page of another's sends


async def test_only_a_page_of_ours_changes_anything_in_somebodys_name(centre: Centre) -> None:
    await enters(centre, "alice", Role.AGENT)
    async with signed_in(centre, "alice") as client:
        stamp = (await opens(client, "/live")).stamp
        for sent in (
            client.post("/sign-out"),
            client.post("/sign-out", data={"stamp": "0" * 64}),
            client.post("/sign-out", json={"stamp": stamp}),
            client.post("/sign-out", data={"stamp": stamp}, headers={"Origin": "https://elsewhere.example"}),
            client.post("/sign-out", data={"stamp": stamp}, headers={"Sec-Fetch-Site": "cross-site"}),
            client.post("/sign-out", data={"stamp": stamp, "more": "x" * FORM_LONGEST}),
            client.post(f"/api/v1/live/{uuid4()}/pause"),
        ):
            answer = await sent
            assert answer.status_code == 403, answer.request
        assert (await client.get("/live")).status_code == 200
        answer = await client.post(f"/api/v1/live/{uuid4()}/pause", headers={"X-Recorder-Stamp": stamp})
        assert answer.json()["code"] == "call_is_over"


async def test_nobody_is_signed_in_by_another_page(centre: Centre) -> None:
    await enters(centre, "alice")
    async with browser(centre, **{"Sec-Fetch-Site": "cross-site"}) as client:
        assert (await signs_in(client, "alice")).status_code == 403


async def test_every_answer_bears_what_keeps_a_browser_from_mischief(centre: Centre) -> None:
    async with browser(centre) as client:
        for path in ("/sign-in", "/healthz", "/nothing", "/static/live.js", "/api/v1/me"):
            headers = (await client.get(path)).headers
            assert "default-src 'none'" in headers["content-security-policy"]
            assert (headers["x-content-type-options"], headers["x-frame-options"]) == ("nosniff", "DENY")
        assert (await client.get("/sign-in")).headers["cache-control"] == "no-store"
        assert "strict-transport-security" not in (await client.get("/sign-in")).headers


@pytest.mark.parametrize(
    ("back", "to"),
    [
        ("/live", "/live"),
        ("//elsewhere.example", "/"),
        ("/\\elsewhere.example", "/"),
        ("https://elsewhere.example", "/"),
    ],
)
async def test_another_language_leads_back_to_a_page_of_ours(centre: Centre, back: str, to: str) -> None:
    async with browser(centre) as client:
        answer = await client.get("/language/fr", params={"back": back})
        assert answer.headers["location"] == to
        assert "Connexion" in (await opens(client, "/sign-in")).text


# --------------------------------------------------------------------------- the password


async def test_a_password_from_somebody_else_opens_nothing_but_its_own_change(centre: Centre) -> None:
    await enters(centre, "alice", Role.SUPERVISOR, must_change=True)
    async with browser(centre) as client:
        assert (await signs_in(client, "alice")).headers["location"] == "/password"
        assert (await client.get("/live")).headers["location"] == "/password"
        me = await client.get("/api/v1/me")
        assert (me.status_code, me.json()["code"]) == (403, "password_to_be_changed")
        stamp = (await opens(client, "/password")).stamp
        form = {"stamp": stamp, "old": SECRET, "new": ANOTHER, "again": ANOTHER}
        changed = await client.post("/password", data=form)
        assert (changed.status_code, changed.headers["location"]) == (303, "/password?saved=true")
        assert "is changed" in (await opens(client, "/password?saved=true")).text
        assert (await client.get("/live")).status_code == 200
        assert (await signs_in(client, "alice")).status_code == 401


@pytest.mark.parametrize(
    ("old", "new", "again", "words"),
    [
        ("not the password", ANOTHER, ANOTHER, "The password you have is another one."),
        (SECRET, ANOTHER, ANOTHER + "s", "are not the same"),
        (SECRET, "tiny one", "tiny one", "at least 12 characters"),
        (SECRET, "x" * 300, "x" * 300, "at most 256 characters"),
        (SECRET, "aaaaaaaaaaaa", "aaaaaaaaaaaa", "too few different"),
        (SECRET, "alice was here", "alice was here", "holds your name"),
        (SECRET, SECRET, SECRET, "is the old one"),
    ],
)
async def test_a_password_that_cannot_be_is_refused_with_why(
    centre: Centre, old: str, new: str, again: str, words: str
) -> None:
    await enters(centre, "alice")
    async with signed_in(centre, "alice") as client:
        stamp = (await opens(client, "/password")).stamp
        answer = await client.post("/password", data={"stamp": stamp, "old": old, "new": new, "again": again})
        assert (answer.status_code, words in answer.text) == (422, True)
        assert new not in answer.text
    async with signed_in(centre, "alice"):
        pass  # as before


async def test_a_new_password_ends_every_other_session(centre: Centre) -> None:
    await enters(centre, "alice")
    async with signed_in(centre, "alice") as mine, signed_in(centre, "alice") as elsewhere:
        stamp = (await opens(mine, "/password")).stamp
        await mine.post("/password", data={"stamp": stamp, "old": SECRET, "new": ANOTHER, "again": ANOTHER})
        assert (await mine.get("/live")).status_code == 200
        assert (await elsewhere.get("/live")).headers["location"] == "/sign-in"


async def test_a_session_ends_by_itself_and_its_use_is_noted_once_a_minute(centre: Centre) -> None:
    await enters(centre, "alice")
    async with signed_in(centre, "alice") as client:
        seen = look(centre.url, "SELECT seen_at FROM sessions")
        assert (await client.get("/live")).status_code == 200
        assert look(centre.url, "SELECT seen_at FROM sessions") == seen
        centre.clock_set_by = timedelta(minutes=29)
        assert (await client.get("/live")).status_code == 200
        assert look(centre.url, "SELECT seen_at FROM sessions") > seen
        centre.clock_set_by = timedelta(minutes=60)
        assert (await client.get("/live")).headers["location"] == "/sign-in"


async def test_a_hash_of_older_parameters_is_made_anew(centre: Centre) -> None:
    await enters(centre, "alice")
    weaker = PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash(SECRET)
    now = centre.assembly.now()
    act = SignInAct(id=uuid4(), at=now, user="alice", action=SignInAction.PASSWORD_SET, actor="root")
    await centre.catalogue.set_password(Password(user="alice", kept=weaker, set_at=now, must_change=False), act)
    async with signed_in(centre, "alice"):
        pass
    ((kept_now,),) = look(centre.url, "SELECT kept FROM passwords")
    assert kept_now != weaker
    assert not passwords.is_outdated(kept_now)
    assert passwords.is_right(kept_now, SECRET)


async def test_while_the_catalogue_cannot_be_asked_nobody_is_let_in_and_a_page_says_so(
    centre: Centre,
) -> None:
    await enters(centre, "alice", Role.AGENT)
    async with signed_in(centre, "alice") as client:
        look(centre.url, "ALTER TABLE sessions RENAME TO taken_away")
        answer = await client.get("/live")
        assert (answer.status_code, "cannot reach its catalogue" in answer.text) == (503, True)
        api = await client.get("/api/v1/live")
        assert (api.status_code, api.json()["code"]) == (503, "catalogue_away")


# --------------------------------------------------------------------------- tokens


async def test_a_token_says_whose_it_is_and_counts_until_it_is_withdrawn(centre: Centre) -> None:
    await enters(centre, "payments", Role.PAYMENT)
    token, secret = await token_of(centre, "payments", lines=frozenset({"support"}))
    async with program(centre, secret) as client:
        me = (await client.get("/api/v1/me")).json()
        assert me == {
            "name": "payments",
            "token": "payment page",
            "rights": [{"right": "call.control", "line": "support"}],
        }
        act = SignInAct(id=uuid4(), at=NOON, user="payments", action=SignInAction.TOKEN_WITHDRAWN, actor="root")
        await centre.catalogue.withdraw_token(token.id, act)
        assert (await client.get("/api/v1/me")).status_code == 401
        with pytest.raises(CatalogueRefused):
            await centre.catalogue.withdraw_token(token.id, act)


async def test_a_token_opens_no_page_of_a_person_that_changes_them(centre: Centre) -> None:
    await enters(centre, "payments", Role.PAYMENT)
    _, secret = await token_of(centre, "payments")
    async with program(centre, secret) as client:
        form = {"old": SECRET, "new": ANOTHER, "again": ANOTHER}
        for answer in (
            await client.post("/password", data=form),
            await client.get("/password"),
            await client.get("/live"),
        ):
            assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")


# --------------------------------------------------------------------------- the command line


@pytest.fixture
def cli(centre: Centre, tmp_path: Path) -> Cli:
    config = tmp_path / "recorder.toml"
    config.write_text(
        f'[node]\nname = "pbx1"\n[ami]\nusername = "recorder"\nsecret = "x"\n[catalogue]\nurl = "{centre.url}"\n'
        "[line.support]\n[line.sales]\n"
    )
    return Cli(config)


class Cli:
    def __init__(self, config: Path) -> None:
        self._config = config

    async def __call__(self, *words: str, given: str = "") -> Result:
        arguments = ["--config", str(self._config), "user", *words]
        return await asyncio.to_thread(lambda: CliRunner().invoke(app, arguments, input=given))


async def test_the_first_password_is_made_printed_once_and_changed(centre: Centre, cli: Cli) -> None:
    assert (await cli("add", "alice")).exit_code == 0
    made = await cli("password", "alice", "--by", "root")
    assert made.exit_code == 0
    password = made.stdout.strip()
    assert len(password) == 20
    async with browser(centre) as client:
        assert (await signs_in(client, "alice", password)).headers["location"] == "/password"
    assert (await acts(centre))[0] == (SignInAction.PASSWORD_SET, "root")
    everything = Path(centre.url.removeprefix("sqlite:///")).parent.glob("catalogue.db*")
    assert not [file for file in everything if password.encode() in file.read_bytes()]


async def test_a_password_can_be_handed_in_and_a_weak_one_or_nobodys_changes_nothing(centre: Centre, cli: Cli) -> None:
    await cli("add", "alice")
    assert (await cli("password", "alice", "--stdin", given=f"{ANOTHER}\n")).exit_code == 0
    weak = await cli("password", "alice", "--stdin", given="short\n")
    assert (weak.exit_code, "at least 12" in weak.stderr) == (1, True)
    nobody = await cli("password", "zoe")
    assert (nobody.exit_code, nobody.stdout, "nobody is entered as zoe" in nobody.stderr) == (1, "", True)
    assert (await cli("password", ANYBODY)).exit_code == 1
    async with browser(centre) as client:
        assert (await signs_in(client, "alice", ANOTHER)).status_code == 303


async def test_a_token_is_issued_listed_and_withdrawn_by_a_command(centre: Centre, cli: Cli) -> None:
    await cli("add", "payments")
    await cli("grant", "payments", "payment", "--line", "support")
    issued = await cli("token", "issue", "payments", "--label", "payment page", "--right", "call.control")
    secret = issued.stdout.strip()
    assert (issued.exit_code, secret.startswith("rec_")) == (0, True)
    async with program(centre, secret) as client:
        assert (await client.get("/api/v1/me")).status_code == 200
        (token,) = json.loads((await cli("token", "list", "--json")).stdout)
        assert (token["label"], token["rights"], token["lines"]) == ("payment page", ["call.control"], None)
        assert "digest" not in token
        table = (await cli("token", "list", "payments")).stdout
        assert "call.control" in table
        assert secret not in table
        assert (await cli("token", "withdraw", token["token"][:8])).exit_code == 0
        assert (await client.get("/api/v1/me")).status_code == 401
    assert "withdrawn" in (await cli("token", "list")).stdout
    again = await cli("token", "withdraw", token["token"][:8])
    assert again.exit_code == 1


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        (("issue", "payments", "--label", "x"), 1, "no label"),
        (("issue", "zoe", "--label", "a page"), 1, "nobody is entered"),
        (("issue", "payments", "--label", "a page", "--right", "call.watch"), 1, "no right call.watch"),
        (("issue", "payments", "--label", "a page", "--line", "nowhere"), 2, "there is no line nowhere"),
        (("issue", "payments", "--label", "a page", "--days", "400"), 2, "days"),
        (("withdraw", "0000"), 1, "no token begins with 0000"),
    ],
)
async def test_a_token_that_cannot_be_is_refused_and_why(cli: Cli, words: tuple[str, ...], code: int, why: str) -> None:
    await cli("add", "payments")
    await cli("grant", "payments", "payment", "--line", "support")
    done = await cli("token", *words)
    assert (done.exit_code, why in done.stderr) == (code, True), done.stderr


# --------------------------------------------------------------------------- the catalogue, on both engines


async def test_what_is_kept_of_the_ways_in_comes_back_as_it_was(store: Catalogue) -> None:
    await store.write_user_acts([user_act(), user_act(UserAction.GRANTED, line="support", role=Role.PAYMENT)])
    password = Password(user="alice", kept="$argon2id$v=19$x", set_at=NOON, must_change=True)
    set_act = SignInAct(id=uuid4(), at=NOON, user="alice", action=SignInAction.PASSWORD_SET, actor="root")
    await store.set_password(password, set_act)
    await store.set_password(password, set_act)  # once more changes nothing
    session = Session(digest="a" * 64, user="alice", began_at=later(1), seen_at=later(1), address="::1")
    began = SignInAct(
        id=uuid4(), at=later(1), user="alice", action=SignInAction.SIGNED_IN, actor="alice", address="::1"
    )
    await store.begin_session(session, password.kept, began)
    found = await store.session_of("a" * 64)
    assert found is not None
    assert (found[0], found[1].password) == (session, password)
    assert found[1].user is not None
    await store.see_session("a" * 64, later(9))
    await store.see_session("a" * 64, later(5))
    found = await store.session_of("a" * 64)
    assert found is not None
    assert found[0].seen_at == later(9)
    left = SignInAct(id=uuid4(), at=later(10), user="alice", action=SignInAction.SIGNED_OUT, actor="alice")
    await store.end_session("a" * 64, left)
    await store.end_session("a" * 64, replace(left, id=uuid4()))
    kept_acts = await store.sign_ins_of("alice")
    assert kept_acts == (set_act, began, left)
    assert [type(act.action) for act in kept_acts] == [SignInAction] * 3
    assert (await store.who_signs_in("alice", later(20))).acts == (set_act, began, left)
    assert await store.session_of("b" * 64) is None

    token = Token(
        id=uuid4(),
        digest="c" * 64,
        user="alice",
        label="board",
        issued_at=NOON,
        issued_by="root",
        until=later(60),
        rights=frozenset({Right.CONTROL}),
        lines=frozenset({"support", "sales"}),
    )
    issued = SignInAct(
        id=uuid4(), at=NOON, user="alice", action=SignInAction.TOKEN_ISSUED, actor="root", token=token.id
    )
    await store.issue_token(token, issued)
    found_token = await store.token_of("c" * 64)
    assert found_token is not None
    assert found_token[0] == token
    assert await store.tokens_of("alice") == (token,)
    assert await store.tokens_of("bob") == ()


async def test_nobody_gets_a_password_who_is_not_entered(store: Catalogue) -> None:
    password = Password(user="zoe", kept="x", set_at=NOON, must_change=False)
    act = SignInAct(id=uuid4(), at=NOON, user="zoe", action=SignInAction.PASSWORD_SET, actor="root")
    with pytest.raises(CatalogueRefused, match="nobody is entered as zoe"):
        await store.set_password(password, act)
    assert await store.sign_ins_of("zoe") == ()


@pytest.mark.parametrize("ended_by", ["another password", "being disabled"])
async def test_what_ends_a_persons_sessions_ends_them_for_good(store: Catalogue, ended_by: str) -> None:
    await store.write_user_acts([user_act()])
    password = Password(user="alice", kept="first", set_at=NOON, must_change=False)
    set_act = SignInAct(id=uuid4(), at=NOON, user="alice", action=SignInAction.PASSWORD_SET, actor="root")
    await store.set_password(password, set_act)
    session = Session(digest=digest_of("given"), user="alice", began_at=later(1), seen_at=later(1), address="")
    began = SignInAct(id=uuid4(), at=later(1), user="alice", action=SignInAction.SIGNED_IN, actor="alice")
    await store.begin_session(session, "first", began)
    door = Door(store, lambda: later(2))
    try:
        assert await door.by_secret("given") is not None
        if ended_by == "being disabled":
            await store.write_user_acts([user_act(UserAction.DISABLED), user_act(UserAction.ENABLED)])
        else:
            await store.set_password(replace(password, set_at=later(-60)), replace(set_act, id=uuid4()))
        assert await door.by_secret("given") is None
        assert await door.by_secret("never given") is None
    finally:
        door.close()


async def test_a_password_that_was_changed_meanwhile_is_not_written_over_and_begins_no_session(
    store: Catalogue,
) -> None:
    await store.write_user_acts([user_act()])
    password = Password(user="alice", kept="first", set_at=NOON, must_change=False)
    act = SignInAct(id=uuid4(), at=NOON, user="alice", action=SignInAction.PASSWORD_SET, actor="root")
    await store.set_password(password, act)
    await store.set_password(replace(password, kept="second"), replace(act, id=uuid4()))
    with pytest.raises(CatalogueRefused, match="changed meanwhile"):
        await store.set_password(replace(password, kept="thief"), replace(act, id=uuid4()), was="first")
    session = Session(digest="a" * 64, user="alice", began_at=NOON, seen_at=NOON, address="")
    with pytest.raises(CatalogueRefused, match="changed meanwhile"):
        await store.begin_session(session, "first", replace(act, id=uuid4(), action=SignInAction.SIGNED_IN))
    assert await store.session_of("a" * 64) is None
    assert (await store.who_signs_in("alice", NOON)).password == replace(password, kept="second")


async def test_a_name_that_nobody_has_is_locked_as_one_that_somebody_has(centre: Centre) -> None:
    await enters(centre, "alice")
    async with browser(centre) as client:
        answers = [
            [(await signs_in(client, name, "not the password")).status_code for _ in range(7)]
            for name in ("alice", "nobody-at-all")
        ]
    assert answers[0] == answers[1] == [401] * FAILURES_MOST + [429] * 2


async def test_that_a_use_cannot_be_noted_keeps_nobody_from_it(centre: Centre) -> None:
    await enters(centre, "alice", Role.AGENT)
    async with signed_in(centre, "alice") as client:
        look(centre.url, "CREATE TRIGGER full BEFORE UPDATE ON sessions BEGIN SELECT RAISE(ABORT, 'disk full'); END")
        centre.clock_set_by = timedelta(minutes=5)
        assert (await client.get("/live")).status_code == 200


async def test_a_token_that_others_can_read_on_the_way_is_refused(centre: Centre) -> None:
    await enters(centre, "payments", Role.PAYMENT)
    _, secret = await token_of(centre, "payments")
    for headers, status in (
        ({"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "http"}, 403),
        ({"Forwarded": "for=192.0.2.7"}, 403),
        ({"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https"}, 200),
    ):
        async with browser(centre, Authorization=f"Bearer {secret}", **headers) as client:
            assert (await client.get("/api/v1/me")).status_code == status


async def test_the_pages_script_is_answered_in_words(centre: Centre) -> None:
    async with browser(centre, **{"X-Recorder-Script": "1"}) as client:
        answer = await client.post(f"/live/{uuid4()}/pause")
        assert (answer.status_code, answer.text) == (401, "You are not signed in any more. Open the page again.")


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/nowhere", 404), ("PUT", "/live", 405), ("HEAD", "/sign-in", 200)]
)
async def test_what_is_not_there_is_said_on_a_page(centre: Centre, method: str, path: str, status: int) -> None:
    async with browser(centre) as client:
        answer = await client.request(method, path)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "text/html; charset=utf-8")
