"""What doctor finds in the house that records by itself, on what Asterisk 16.28 and 22.10 really printed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from recorder.doctor import Finding, Mark
from recorder.doctor.house import HouseLook
from recorder.doctor.recorders import House, judge_house, judge_secrets
from recorder.pbx_cli import (
    Cli,
    ari_users,
    conference_profiles,
    configured,
    core_settings,
    dialplan_steps,
    evaluated,
    feature_keys,
    sip_endpoints,
    sip_parameters,
    whole_dialplan,
)

TEXTS = Path(__file__).parent / "pbx_texts"
QUIET = House(
    our_queues=("support",),
    our_contexts=("recorder-arm",),
    dialplan={
        "line": {"_X.": ("Gosub(recorder-inbound,s,1(support))", "Queue(support,tb(recorder-agent^s^1(support)))")},
        "recorder-arm": {"s": ("MixMonitor(${capture})",)},
        "__func_periodic_hook_context__": {"hook": ("ChanSpy(${ChannelToSpy},qEBr)",)},
    },
    keys={"Attended Transfer": "*2", "One Touch MixMonitor": ""},
    monitor_formats={"support": "", "sales": ""},
    conferences={"default_bridge": False},
    endpoints={"agent": False},
    caches="no",
)


@pytest.fixture(params=["16", "22"])
def printed(request: pytest.FixtureRequest) -> Path:
    return TEXTS / str(request.param)


def read(folder: Path, name: str) -> str:
    return (folder / f"{name}.txt").read_text(encoding="utf-8")


def only(house: House) -> Finding:
    (finding,) = judge_house(house)
    return finding


def dialled(*steps: str, context: str = "house") -> House:
    return replace(QUIET, dialplan={context: {"s": steps}})


# ---------------------------------------------------------------- reading


def test_a_whole_dialplan_is_read_context_by_context(printed: Path) -> None:
    plan = whole_dialplan(read(printed, "dialplan_show"))
    assert {"line", "personal", "recorder-inbound", "house-records", "__func_periodic_hook_context__"} <= set(plan)
    assert plan["house-records"]["2001"] == ("Dial(PJSIP/agent,60,tX)",)
    assert plan["house-voicemail"] == {
        "coach": ("ChanSpy(PJSIP/agent,qr(coaching))",),
        "s": ("Record(/tmp/said.wav,3,60,k)",),
    }
    shown_alone = dialplan_steps(read(printed, "dialplan_show_recorder-transfer"))
    assert plan["recorder-transfer"] == shown_alone


def test_conferences_and_phones_are_read_with_what_they_record(printed: Path) -> None:
    assert set(conference_profiles(read(printed, "confbridge_show_profile_bridges"))) == {"recorded", "default_bridge"}
    said = {
        name: core_settings(read(printed, f"confbridge_show_profile_bridge_{name}"))["Record Conference"]
        for name in ("recorded", "default_bridge")
    }
    assert said == {"recorded": "yes", "default_bridge": "no"}
    assert sip_endpoints(read(printed, "pjsip_show_endpoints")) == ("agent", "outside")
    touched = {
        name: sip_parameters(read(printed, f"pjsip_show_endpoint_{name}"))["one_touch_recording"]
        for name in ("agent", "outside")
    }
    assert touched == {"agent": "true", "outside": "false"}


def test_who_may_use_ari_is_read_with_whether_it_may_only_read(printed: Path) -> None:
    assert ari_users(read(printed, "ari_show_users")) == {"house": False, "wallboard": True}
    assert core_settings(read(printed, "ari_show_status"))["Enabled"] == "Yes"


def test_a_key_of_a_configuration_file_is_read_and_one_that_is_not_there_is_told(printed: Path) -> None:
    assert evaluated(read(printed, "evaluated_configured")) == "wav"
    assert evaluated(read(printed, "evaluated_not_configured")) is None


QUEUES_CONF = """
[general]
[line](!)
monitor-format = wav ; every call
[support](line)
[sales]
strategy => ringall
;monitor-format = gsm
[nights](line)
monitor-format =
"""


def test_a_configuration_file_is_read_with_its_templates_and_without_its_comments() -> None:
    formats = {name: keys.get("monitor-format") for name, keys in configured(QUEUES_CONF).items()}
    assert formats == {"general": None, "line": "wav", "support": "wav", "sales": None, "nights": ""}
    assert configured(QUEUES_CONF)["sales"] == {"strategy": "ringall"}


@pytest.mark.parametrize(
    ("text", "said"), [(QUEUES_CONF, "wav"), (QUEUES_CONF + '#include "more.conf"', None), (None, None)]
)
async def test_a_file_that_cannot_be_read_whole_says_nothing(
    tmp_path: Path, text: str | None, said: str | None
) -> None:
    """The command line that is given answers every listing with nothing, and no func_config runs."""
    if text is not None:
        (tmp_path / "queues.conf").write_text(text)
    house = await HouseLook(Cli(["true"]), frozenset(), tmp_path).look(["support"])
    assert house.monitor_formats == {"support": said}


# ---------------------------------------------------------------- judging


def test_that_the_accounts_secret_opens_every_other_is_said_where_it_does() -> None:
    assert judge_secrets({"app_queue"}) == []
    (finding,) = judge_secrets({"app_queue", "func_config"})
    assert (finding.mark, "every secret" in finding.what) == (Mark.NOTE, True)


def test_a_house_that_records_nothing_by_itself_is_fine() -> None:
    assert only(QUIET).mark is Mark.FINE


def test_everything_that_records_in_a_real_house_is_found(printed: Path) -> None:
    house = replace(
        QUIET,
        our_contexts=("recorder-arm", "recorder-inbound"),
        dialplan=whole_dialplan(read(printed, "dialplan_show")),
        keys=feature_keys(read(printed, "rivals_features_show")),
    )
    found = {(finding.mark, finding.what) for finding in judge_house(house)}
    assert found == {
        (
            Mark.WRONG,
            "One Touch MixMonitor *3 starts a recording, or ends ours, on calls of house-records,2001,"
            " house-records,_X!",
        ),
        (Mark.WRONG, "house-records,_X! runs MixMonitor() on calls of a line"),
        (Mark.NOTE, "house-voicemail,s runs Record()"),
        (Mark.NOTE, "house-voicemail,coach listens in and records (ChanSpy option r)"),
    }


@pytest.mark.parametrize(
    ("queue", "mark"), [("support", Mark.WRONG), ("sales", Mark.NOTE)], ids=["of a line", "of no line"]
)
def test_a_queue_that_records_is_wrong_where_it_serves_a_line(queue: str, mark: Mark) -> None:
    finding = only(replace(QUIET, monitor_formats={queue: "wav49"}))
    assert (finding.mark, "wav49" in finding.what) == (mark, True)


def test_what_nobody_could_say_is_not_taken_for_absent() -> None:
    house = replace(QUIET, monitor_formats={"support": None, "sales": None}, caches=None)
    assert [finding.mark for finding in judge_house(house)] == [Mark.UNCHECKED, Mark.UNCHECKED]


@pytest.mark.parametrize(
    ("step", "permits"),
    [
        ("Queue(support,tx)", True),
        ("Queue(support,tX,,,60)", True),
        ("Queue(support,W)", True),
        ("Queue(support,tb(recorder-agent^s^1(xX)))", False),
        ("Queue(support,t${xX}b(x^s^1))", False),
        ("Queue(xX)", False),
        ("Queue(support,t,,,60,xX.agi)", False),
        ("Dial(PJSIP/xX,60,t)", False),
        ("Dial(PJSIP/alice&PJSIP/bob,60,tx)", True),
        ("Dial(PJSIP/${IF($[1,1]?a:b)},60,gU(recorder-callee^x))", False),
        ('ExecIf($["${A}" = ""]?Dial(PJSIP/alice,60,X))', True),
    ],
)
def test_one_touch_recording_is_an_option_letter_and_nothing_else(step: str, permits: bool) -> None:
    house = replace(dialled(step), keys={"One Touch MixMonitor": "*3"})
    assert only(house).mark is (Mark.WRONG if permits else Mark.NOTE)


def test_options_without_a_key_and_a_key_without_options_are_worth_a_note() -> None:
    assert only(dialled("Queue(sales,x)")).mark is Mark.NOTE
    assert only(replace(QUIET, keys={"One Touch Monitor": "*1"})).mark is Mark.NOTE


@pytest.mark.parametrize(
    ("steps", "mark"),
    [
        (("MixMonitor(a.wav)", "Dial(PJSIP/alice)"), Mark.NOTE),
        (("Monitor(wav,a)", "Gosub(recorder-inbound,s,1(support))"), Mark.WRONG),
        (("MixMonitor(a.wav)", "Queue(support)"), Mark.WRONG),
        (("MixMonitor(a.wav)", "Queue(nights)"), Mark.NOTE),
        (("Gosub(recorder-outbound,s,1(support))", "MixMonitor(a.wav)"), Mark.WRONG),
        (("Record(name.wav)", "Queue(support)"), Mark.NOTE),
        (("StopMixMonitor()", "Set(A=${MIXMONITOR_FILENAME})"), Mark.FINE),
        (("ChanSpy(PJSIP/alice,qw)",), Mark.FINE),
    ],
)
def test_a_recorder_in_the_dialplan_is_wrong_where_calls_of_a_line_pass_it(steps: tuple[str, ...], mark: Mark) -> None:
    assert only(dialled(*steps)).mark is mark


def test_phones_conferences_and_the_cache_are_named_with_their_mend() -> None:
    house = replace(QUIET, endpoints={"alice": True, "bob": False}, conferences={"all-hands": True}, caches="yes")
    found = judge_house(house)
    assert [finding.mark for finding in found] == [Mark.NOTE, Mark.WRONG, Mark.WRONG]
    assert "all-hands" in found[0].what
    assert "alice" in found[1].what
    assert "bob" not in found[1].what
    assert all(finding.mend for finding in found)


def test_an_ari_user_that_may_snoop_is_worth_a_note() -> None:
    finding = only(replace(QUIET, applications=("house",)))
    assert (finding.mark, "the ARI user house can snoop" in finding.what, bool(finding.mend)) == (Mark.NOTE, True, True)


def test_what_was_not_asked_about_is_said() -> None:
    assert "12 more" in only(replace(QUIET, unasked=12)).what


def test_a_queue_that_joins_a_do_not_record_agent_too_early_is_wrong() -> None:
    finding = only(replace(QUIET, membergosubs={"support": ""}))
    assert (finding.mark, "membergosub = recorder-answered" in finding.mend) == (Mark.WRONG, True)
    assert only(replace(QUIET, membergosubs={"support": None})).mark is Mark.UNCHECKED
    assert only(replace(QUIET, membergosubs={"support": "recorder-answered"})).mark is Mark.FINE
    by_argument = {"line": {"s": ("Queue(support,t,,,300,,recorder-answered)",)}}
    assert only(replace(QUIET, dialplan=by_argument, membergosubs={"support": ""})).mark is Mark.FINE
