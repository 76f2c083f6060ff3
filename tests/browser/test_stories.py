"""What people do on the pages, by keyboard alone, in Chromium: from signing in to what listening leaves in the log."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

import pytest
from playwright.async_api import Browser, Locator, Page, Route, expect

from recorder.catalogue import LogSought
from recorder.http.words import LANGUAGES, Words
from recorder.listens import ListenKind
from recorder.model import CallId
from recorder.rights import EVERY_LINE, Role
from tests.browser.scene import ALICE, SILENT_MS, Scene
from tests.browser.visits import DESK, TELEPHONE, Complaints, mistakes_on, press, reach, visit, write
from tests.edge.centre import until
from tests.edge.test_listening import passes
from tests.edge.visitors import SECRET, enters

pytestmark = pytest.mark.asyncio(loop_scope="session")

AT_ONCE: Final = 1000
"""Milliseconds in which a page shows what has happened."""
SOON: Final = 4000
"""Before the player tells by itself what was played, every ten seconds."""
WHY: Final = "coaching of the week"
EN: Final = Words("en")


def button(page: Page, name: str) -> Locator:
    return page.get_by_role("button", name=name, exact=True)


async def signs_in(page: Page, name: str, password: str = SECRET) -> None:
    await page.goto("/")
    await expect(page.get_by_label(EN("sign_in.name"))).to_be_focused()
    await write(page, page.get_by_label(EN("sign_in.name")), name)
    await write(page, page.get_by_label(EN("sign_in.password")), password)
    await page.keyboard.press("Enter")


async def goes(page: Page, to: str) -> None:
    """By the pages' own navigation."""
    await press(page, page.get_by_role("navigation").get_by_role("link", name=to, exact=True))
    await expect(page.get_by_role("heading", level=1)).to_have_text(to)


# --------------------------------------------------------------------------- in and out


async def test_who_types_a_wrong_password_is_told_and_gets_in_by_the_right_one_and_out_again(
    scene: Scene, started: Browser
) -> None:
    await enters(scene.centre, "wanda", Role.SUPERVISOR)
    async with visit(started, scene) as page:
        seen = Complaints(page)
        await signs_in(page, "wanda", "not that one at all")
        await expect(page.get_by_role("alert")).to_have_text(EN("sign_in.wrong"))
        assert await mistakes_on(page, "en") == []
        seen.forgive("401")
        await signs_in(page, "wanda")
        await expect(page).to_have_url(re.compile("/live$"))
        await press(page, button(page, EN("sign_in.leave")))
        await expect(page).to_have_url(re.compile("/sign-in$"))
        await page.goto("/calls")
        await expect(page).to_have_url(re.compile("/sign-in$"))
        assert seen.said == []


async def test_who_has_a_password_of_anothers_choice_changes_it_before_anything_else(
    scene: Scene, started: Browser
) -> None:
    await enters(scene.centre, "norma", Role.SUPERVISOR, must_change=True)
    mine = "seven green bottles hanging"
    async with visit(started, scene) as page:
        seen = Complaints(page)
        await signs_in(page, "norma")
        await expect(page).to_have_url(re.compile("/password$"))
        await page.goto("/calls")
        await expect(page).to_have_url(re.compile("/password$"))
        for label, text in (("password.old", SECRET), ("password.new", mine), ("password.again", mine)):
            await write(page, page.get_by_label(EN(label), exact=True), text)
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("status")).to_have_text(EN("password.saved"))
        await goes(page, EN("calls.title"))
        assert seen.said == []


async def test_every_way_of_the_navigation_is_gone_by_keyboard(scene: Scene, started: Browser) -> None:
    walked: set[str] = set()
    for name in ("alice", "sam", "ada"):
        async with visit(started, scene, name) as page:
            seen = Complaints(page)
            await page.goto("/live")
            links = page.get_by_role("navigation").get_by_role("link")
            ways = [text.strip() for text in await links.all_inner_texts()]
            for way in ways:
                await goes(page, way)
            walked |= set(ways)
            assert seen.said == []
    for of in ("live", "calls", "own", "contests", "log", "figures", "system", "users", "settings", "password"):
        assert EN(f"{of}.title") in walked


async def test_the_language_is_changed_by_keyboard_and_stays_and_the_content_is_one_key_away(
    scene: Scene, started: Browser
) -> None:
    async with visit(started, scene, "sam") as page:
        seen = Complaints(page)
        await page.goto("/figures")
        await press(page, page.get_by_role("link", name="Français"))
        await expect(page.locator("html")).to_have_attribute("lang", "fr")
        await expect(page).to_have_url(re.compile("/figures$"))
        await goes(page, Words("fr")("system.title"))
        await page.reload()
        await page.keyboard.press("Tab")
        await expect(page.get_by_role("link", name=Words("fr")("skip"))).to_be_focused()
        await page.keyboard.press("Enter")
        await expect(page.locator("#content")).to_be_focused()
        assert seen.said == []


# --------------------------------------------------------------------------- a recording is found and heard


async def finds_and_opens(page: Page, scene: Scene, why: str = WHY) -> None:
    """The calls are searched, one is opened, and its recording with purpose and explanation."""
    await page.goto("/live")
    await goes(page, EN("calls.title"))
    search = page.locator("form[action='/calls'][method=get]").filter(has=page.locator("select[name=outcome]"))
    await reach(page, search.locator("select[name=outcome]"))
    await page.keyboard.type("rec")
    await press(page, search.get_by_role("button", name=EN("calls.find"), exact=True))
    await expect(page).to_have_url(re.compile("outcome=recorded"))
    call = page.locator(f"a[href='/calls/{scene.calls['heard']}']")
    await expect(call).to_have_count(1)
    await expect(page.locator(f"a[href='/calls/{scene.calls['refused']}']")).to_have_count(0)
    await press(page, call)
    form = page.locator(f"form[action='/recordings/{scene.recordings['heard']}/listen']")
    await reach(page, form.locator("select[name=purpose]"))
    await page.keyboard.type(EN("purpose.training")[:3])
    await write(page, form.locator("textarea[name=explanation]"), why)
    await press(page, form.get_by_role("button", name=EN("call.hear"), exact=True))


async def hears(page: Page, scene: Scene) -> None:
    await finds_and_opens(page, scene)
    await expect(page.locator("#waveform path.caller")).to_be_attached()


@pytest.mark.parametrize("language", LANGUAGES)
async def test_the_player_shuts_nobody_out_at_a_desk_or_on_a_telephone(
    scene: Scene, started: Browser, language: str
) -> None:
    async with visit(started, scene, "sam", language) as page:
        seen = Complaints(page)
        await page.goto(f"/calls/{scene.calls['heard']}")
        form = page.locator(f"form[action='/recordings/{scene.recordings['heard']}/listen']")
        await write(page, form.locator("textarea[name=explanation]"), WHY)
        await press(page, form.locator("button"))
        await expect(page.locator("#waveform path.caller")).to_be_attached()
        for screen in (DESK, TELEPHONE):
            await page.set_viewport_size(screen)
            assert await mistakes_on(page, language) == [], screen
        assert seen.said == []


async def at(page: Page) -> float:
    """Seconds into the sound."""
    seconds: float = await page.evaluate("document.querySelector('audio').currentTime")
    return seconds


async def sound_of(page: Page, wish: str) -> None:
    """Something of the sound comes true."""
    await page.wait_for_function(f"() => {{ const sound = document.querySelector('audio'); return {wish}; }}")


async def noted(scene: Scene) -> list[tuple[int | None, int | None]]:
    """What the log says was played, once what is owed is written; the newest first."""
    passes(scene.centre, timedelta(seconds=6))
    await scene.centre.assembly.daemon.parts.listening.look()
    rows = await scene.centre.catalogue.listens(LogSought(listener="carla"), 100)
    return [(row.began_ms, row.ended_ms) for row in rows if row.kind is ListenKind.PLAYED]


async def test_a_recording_is_found_explained_and_heard_and_what_was_played_stands_in_the_log(
    scene: Scene, started: Browser
) -> None:
    async with visit(started, scene, "carla") as page:
        seen = Complaints(page)
        await finds_and_opens(page, scene, why="no")
        await expect(page.get_by_role("alert")).to_have_text(EN("problem.unexplained"))
        seen.forgive("answer: 4", "console: Failed to load")
        await hears(page, scene)
        assert await mistakes_on(page, "en") == []
        slider = page.get_by_role("slider", name=EN("player.place"))
        await press(page, slider, " ")
        await sound_of(page, "sound.currentTime > 1")
        async with page.expect_request(re.compile("/played$"), timeout=SOON) as told:
            await page.keyboard.press(" ")
        answer = await (await told.value).response()
        assert answer is not None
        assert answer.status == 204
        stopped = await at(page)
        assert await page.evaluate("document.querySelector('audio').paused")
        ((began, ended),) = await noted(scene)
        assert began == 0
        assert ended is not None
        assert abs(ended - 1000 * stopped) < 300
        await goes(page, EN("log.title"))
        row = page.get_by_role("row").filter(has_text=EN("listen.played"))
        await expect(row).to_contain_text(f"0:00 – 0:{round(ended / 1000):02}")
        await expect(page.get_by_role("main")).to_contain_text(WHY)
        assert seen.said == []


async def test_what_could_not_be_told_of_a_playing_is_told_again(scene: Scene, started: Browser) -> None:
    async with visit(started, scene, "sam") as page:
        await hears(page, scene)
        tried: list[str] = []

        async def once_away(route: Route) -> None:
            tried.append(route.request.post_data or "")
            await (route.abort("connectionrefused") if len(tried) == 1 else route.continue_())

        await page.route("**/played", once_away)
        await press(page, page.locator("#waveform"), " ")
        await sound_of(page, "sound.currentTime > 0.3")
        await page.keyboard.press(" ")
        await sound_of(page, "sound.paused")
        await until(lambda: len(tried) == 1)
        async with page.expect_response(re.compile("/played$"), timeout=SOON) as told:
            await page.keyboard.press("End")
        assert (await told.value).status == 204
        assert tried[0][:-2] in tried[1]


async def test_the_keys_of_the_player_move_its_place_and_its_speed(scene: Scene, started: Browser) -> None:
    async with visit(started, scene, "sam") as page:
        seen = Complaints(page)
        await hears(page, scene)
        slider = page.get_by_role("slider", name=EN("player.place"))
        await reach(page, slider)
        for key, seconds in (("ArrowRight", 5), ("PageUp", 35), ("ArrowLeft", 30), ("Home", 0), ("End", 36)):
            await page.keyboard.press(key)
            assert await at(page) == pytest.approx(seconds, abs=0.1), key
            await expect(slider).to_have_attribute("aria-valuenow", str(seconds))
        await expect(slider).to_have_attribute("aria-valuetext", "0:36 of 0:36")
        twice = button(page, "2×")
        await press(page, twice, " ")
        await expect(twice).to_have_attribute("aria-pressed", "true")
        await expect(button(page, "1×")).to_have_attribute("aria-pressed", "false")
        assert await page.evaluate("document.querySelector('audio').playbackRate") == 2
        assert seen.said == []


async def test_what_is_marked_is_listed_in_words_and_each_leads_to_its_place(scene: Scene, started: Browser) -> None:
    async with visit(started, scene, "sam") as page:
        await hears(page, scene)
        marks = page.locator("#regions button")
        told = await marks.all_inner_texts()
        for kind in ("pause", "silence", "talk_over"):
            assert any(EN(f"region.{kind}") in one for one in told), told
        paused = marks.filter(has_text=EN("region.pause"))
        await press(page, paused)
        assert await at(page) == pytest.approx(20.8, abs=0.15)


WATCH: Final = """() => {
  const sound = document.querySelector("audio");
  let last = sound.currentTime;
  const jumps = (window.jumps = []);
  const look = () => {
    if (window.jumps !== jumps) return;
    const now = sound.currentTime;
    if (now < last || now > last + 0.5) jumps.push([last, now]);
    last = now;
    requestAnimationFrame(look);
  };
  look();
}"""
"""Keeps each jump of the sound: the last place before it that was seen, and the first after."""
A_WORD: Final = 0.08
"""Seconds: what is heard beyond a stretch's end is less than a word. A browser's own tellings are 0.25 s apart."""


def middle(values: list[float]) -> float:
    """A machine that stands still for a moment delays one look, and not every second one."""
    return sorted(values)[len(values) // 2]


async def jumps_of(page: Page, most: int) -> list[tuple[float, float]]:
    await page.wait_for_function(f"() => jumps.length >= {most}", timeout=30_000)
    found: list[tuple[float, float]] = await page.evaluate("jumps")
    return found


async def test_a_stretch_is_repeated_from_its_beginning_to_its_end_and_hardly_beyond(
    scene: Scene, started: Browser
) -> None:
    async with visit(started, scene, "sam") as page:
        seen = Complaints(page)
        await hears(page, scene)
        loop = page.locator("#loop")
        await reach(page, page.locator("#waveform"))
        await page.keyboard.press("ArrowRight")
        await press(page, loop)
        await expect(loop).to_have_text(EN("player.loop_to"))
        await page.evaluate("document.querySelector('audio').currentTime = 5.55")
        await press(page, loop)
        await expect(loop).to_have_text(EN("player.loop_over"))
        await expect(page.locator("#player-said")).to_contain_text(f"{EN('player.looped')} 0:05–0:05")
        await page.evaluate(WATCH)
        await page.evaluate("document.querySelector('audio').play()")
        jumps = await jumps_of(page, 7)
        assert middle([abs(before - 5.55) for before, _ in jumps]) < A_WORD, jumps
        assert middle([abs(after - 5.0) for _, after in jumps]) < A_WORD, jumps
        await press(page, loop)
        await sound_of(page, "sound.currentTime > 6")
        assert seen.said == []


async def test_silence_is_skipped_as_soon_as_it_begins_and_up_to_the_next_word(scene: Scene, started: Browser) -> None:
    """Both the silence that was heard and the pause that the ledger tells; again and again, to know how late."""
    late: list[float] = []
    began, ended = (ms / 1000 for ms in SILENT_MS)
    async with visit(started, scene, "sam") as page:
        seen = Complaints(page)
        await hears(page, scene)
        await press(page, page.locator("#skip"), " ")
        await expect(page.locator("#skip")).to_have_attribute("aria-pressed", "true")
        for sooner in (0.3, 0.32, 0.55, 0.57, 0.8):  # so that none of a browser's own four a second falls on it
            await page.evaluate(f"document.querySelector('audio').currentTime = {began - sooner}")
            await page.evaluate(WATCH)
            await page.evaluate("document.querySelector('audio').play()")
            (before, after), *_ = await jumps_of(page, 1)
            await page.evaluate("document.querySelector('audio').pause()")
            assert after == pytest.approx(ended, abs=0.2)
            late.append(before - began)
        assert middle(late) < A_WORD, late
        await page.evaluate("document.querySelector('audio').currentTime = 22")
        await page.evaluate("document.querySelector('audio').play()")
        await sound_of(page, "sound.currentTime >= 25.9")
        assert seen.said == []


async def test_with_nothing_of_the_player_to_be_had_the_sound_plays_and_the_page_says_so(
    scene: Scene, started: Browser
) -> None:
    async with visit(started, scene, "sam") as page:
        await page.route("**/waveform", lambda route: route.abort())
        await finds_and_opens(page, scene)
        await expect(page.locator("#player-said")).to_have_text(EN("player.failed"))
        await press(page, page.locator("#waveform"), " ")
        await sound_of(page, "sound.currentTime > 0.2")


# --------------------------------------------------------------------------- one's own calls, and what is said of them


async def test_an_agent_contests_a_listening_and_somebody_else_answers(scene: Scene, started: Browser) -> None:
    said, reply = "I was on a personal errand in that part", "It was taken out of the review"
    async with visit(started, scene, "alice") as page, visit(started, scene, "carla") as other:
        seen, also = Complaints(page), Complaints(other)
        await page.goto("/live")
        await goes(page, EN("own.title"))
        await press(page, page.locator(f"a[href='/own/{scene.calls['first']}']"))
        form = page.locator("form[action$='/contest']")
        await write(page, form.locator("textarea"), said)
        await press(page, form.get_by_role("button", name=EN("contests.send")))
        await expect(page.get_by_text(said)).to_be_visible()
        await expect(page.get_by_text(EN("contests.open"), exact=True)).to_be_visible()
        await other.goto("/live")
        await goes(other, EN("contests.title"))
        section = other.locator("section.recording").filter(has_text=said)
        await write(other, section.locator("textarea"), reply)
        await press(other, section.get_by_role("button", name=EN("contests.send")))
        await expect(other.get_by_text(reply)).to_be_visible()
        await page.reload()
        await expect(page.get_by_text(reply)).to_be_visible()
        assert await mistakes_on(page, "en") == []
        assert (seen.said, also.said) == ([], [])


# --------------------------------------------------------------------------- the calls in progress


@asynccontextmanager
async def captured(scene: Scene) -> AsyncIterator[CallId]:
    """A call of alice's that begins now. The scene's own may be blind: between two tests its daemon stands still."""
    known = {runner.state.call for runner in scene.centre.runners}
    talk = await scene.talks_on()
    (begun,) = (runner for runner in scene.centre.runners if runner.state.call not in known)
    await until(lambda: any(capture.state == "running" for capture in begun.state.captures))
    yield begun.state.call
    scene.hangs_up(talk)


async def test_a_call_that_begins_is_on_the_board_at_once_and_goes_when_it_ends(scene: Scene, started: Browser) -> None:
    async with visit(started, scene, "sam") as page:
        seen = Complaints(page)
        await page.goto("/live")
        await expect(page.locator("#link")).to_have_text(EN("live.connecting"))
        rows = page.locator("#calls tbody tr")
        before = await rows.count()
        talk = await scene.talks_on(line="sales", telephone="PJSIP/zora")
        await expect(rows).to_have_count(before + 1, timeout=AT_ONCE)
        new = rows.filter(has_text="PJSIP/zora")
        await expect(new).to_contain_text("sales")
        await expect(new).to_contain_text(EN("phase.talking"), timeout=AT_ONCE)
        assert await mistakes_on(page, "en") == []
        scene.hangs_up(talk)
        await expect(new).to_have_count(0, timeout=AT_ONCE)
        assert seen.said == []


async def test_an_agent_pauses_and_resumes_by_keyboard_and_stays_on_the_buttons_of_the_call(
    scene: Scene, started: Browser
) -> None:
    async with visit(started, scene, "alice") as page, captured(scene) as call:
        seen = Complaints(page)
        await page.goto("/live")
        await expect(page.locator("#link")).to_have_text(EN("live.connecting"))
        mine = page.locator(f"tr#call-{call}.yours")
        await press(page, mine.locator(f"#pause-{call}"))
        await expect(page.locator("#said")).to_have_text(EN("answer.paused"))
        await expect(mine).to_contain_text(EN("heard.paused"), timeout=AT_ONCE)
        assert await mine.evaluate("(row) => row.contains(document.activeElement)")
        assert await mistakes_on(page, "en") == []
        await press(page, mine.locator(f"#resume-{call}"))
        await expect(page.locator("#said")).to_have_text(EN("answer.resumed"))
        await expect(mine).to_contain_text(EN("heard.captured"), timeout=AT_ONCE)
        await expect(page).to_have_url(re.compile("/live$"))
        assert seen.said == []


async def test_without_a_script_the_buttons_work_all_the_same(scene: Scene, started: Browser) -> None:
    async with visit(started, scene, "alice", java_script_enabled=False) as page, captured(scene) as call:
        await page.goto("/live")
        for act, said in (("pause", "paused"), ("resume", "resumed")):
            await page.locator(f"#{act}-{call}").press("Enter")
            await expect(page).to_have_url(re.compile(f"said=answer.{said}"))
            await expect(page.locator("#said")).to_have_text(EN(f"answer.{said}"))


async def test_a_board_that_lost_the_recorder_says_so_and_comes_back_by_itself(scene: Scene, started: Browser) -> None:
    """First the stream breaks off, then something else than a stream answers."""
    asked: list[str] = []

    async def answer(route: Route) -> None:
        asked.append(route.request.url)
        if len(asked) == 1:
            stream = "retry: 100\nevent: calls\ndata: <p>what was</p>\n\n"
            await route.fulfill(status=200, content_type="text/event-stream", body=stream)
        elif len(asked) == 2:
            await route.fulfill(status=503)
        else:
            await route.continue_()

    async with visit(started, scene, "sam") as page:
        await page.route("**/live/changes", answer)
        await page.goto("/live")
        link = page.locator("#link")
        await expect(link).to_have_text(EN("live.lost"))
        await expect(page.locator("#calls.old")).to_have_text("what was")
        await expect(link).to_have_text(EN("live.connecting"), timeout=15_000)
        await expect(page.locator("#calls:not(.old) table")).to_be_visible()
        assert len(asked) == 3


async def test_a_board_whose_person_has_left_says_so_and_shows_no_more(scene: Scene, started: Browser) -> None:
    await enters(scene.centre, "lea", Role.SUPERVISOR, line=EVERY_LINE)
    async with visit(started, scene) as page:
        await signs_in(page, "lea")
        await expect(page.locator("#link")).to_have_text(EN("live.connecting"))
        other = await page.context.new_page()
        await other.goto("/live")
        await press(other, button(other, EN("sign_in.leave")))
        await expect(page.locator("#link")).to_have_text(EN("live.over"), timeout=15_000)
        await expect(page.locator("#calls.old")).to_be_attached()


async def test_who_looks_after_the_recorder_reads_how_it_stands_and_who_may_what(
    scene: Scene, started: Browser
) -> None:
    async with visit(started, scene, "ada") as page:
        seen = Complaints(page)
        await page.goto("/live")
        await goes(page, EN("system.title"))
        await expect(page.get_by_text(EN("system.alarms_caption"))).to_be_visible()
        await goes(page, EN("users.title"))
        await expect(page.get_by_role("row").filter(has_text=ALICE).first).to_contain_text(EN("role.agent"))
        await goes(page, EN("settings.title"))
        await expect(page.get_by_text("[line.support]")).to_be_visible()
        assert seen.said == []
