"""The container files as texts: who runs as whom, what is shared, and that every setting in them is one.

`./dev container` builds them, runs them and places calls; this is what can be seen without.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from recorder.settings import settings_from
from tests.containers.images import BASES, POSTGRES, TARGETS

ROOT = Path(__file__).parents[2]
CONTAINERFILE = (ROOT / "deploy" / "Containerfile").read_text("utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
USERS = {"postgres": "999:999", "asterisk": "5060:4573", "recorder": "4573:4573"}


def mounts(service: str) -> dict[str, tuple[str, str]]:
    """Where in the container -> (what, rw or ro)."""
    parts = [volume.split(":") for volume in SERVICES[service]["volumes"]]
    return {part[1]: (part[0], part[2] if len(part) > 2 else "rw") for part in parts}


def test_nobody_is_root_writes_its_image_or_gains_a_privilege() -> None:
    assert {name: service["user"] for name, service in SERVICES.items()} == USERS
    for service in SERVICES.values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert not {"privileged", "cap_add", "devices", "pid", "ipc"} & set(service)


def test_the_images_run_as_the_uids_that_the_compose_file_counts_on() -> None:
    stages = dict(re.findall(r"(?ms)^FROM \S+ AS (\w+)$(.*?)(?=^FROM |\Z)", CONTAINERFILE))
    for name in ("asterisk", "recorder"):
        assert re.findall(r"(?m)^USER (\S+)$", stages[name]) == [USERS[name]]
        assert re.search(r"install -d -o 5060 -g (4573|recorder) -m 2770 /var/spool/recorder", stages[name])
    assert "umask 0007" in stages["asterisk"]
    assert {name: SERVICES[name]["image"] for name in TARGETS} == TARGETS
    assert {SERVICES[name]["build"]["target"] for name in TARGETS} <= set(stages)


def test_the_spool_is_shared_by_those_two_alone_and_the_recorder_only_reads_asterisks_log() -> None:
    sharing = {name for name in SERVICES if any(what == "spool" for what, _ in mounts(name).values())}
    assert sharing == {"asterisk", "recorder"}
    settings = recorder_settings()
    assert mounts("recorder")[str(settings.capture.spool)] == ("spool", "rw")
    assert mounts("asterisk")[str(settings.capture.spool)] == ("spool", "rw")
    assert mounts("recorder")["/var/log/asterisk"] == ("asterisk-log", "ro")
    assert mounts("asterisk")["/etc/asterisk"][1] == "ro"


def test_every_volume_is_used_and_every_used_one_is_there() -> None:
    used = {what for name in SERVICES for what, _ in mounts(name).values() if not what.startswith(".")}
    assert used == set(COMPOSE["volumes"])


def recorder_settings() -> Any:
    """The service's environment as the recorder reads it; a variable that is no setting is a mistake."""
    told = {name: str(value) for name, value in SERVICES["recorder"]["environment"].items()}
    secret = told.pop("RECORDER_AMI__SECRET_FILE")
    assert secret == "/run/secrets/ami"
    return settings_from("", {**told, "RECORDER_AMI__SECRET": "s"}, source="compose.yaml")


def test_every_variable_of_the_recorder_is_a_setting() -> None:
    settings = recorder_settings()
    assert settings.catalogue.url == "postgresql://recorder@/recorder?host=/run/postgresql"
    assert mounts("recorder")["/run/postgresql"][0] == mounts("postgres")["/run/postgresql"][0]
    assert settings.storage.path.is_relative_to("/var/lib/recorder")
    assert mounts("recorder")["/var/lib/recorder"] == ("recordings", "rw")
    assert mounts("recorder")[str(settings.pbx.queue_log.parent)][0] == "asterisk-log"


def test_what_must_not_be_reached_from_elsewhere_is_on_loopback_and_postgresql_has_no_network() -> None:
    settings = recorder_settings()
    for address in (settings.agi.bind, settings.http.bind, settings.ami.host):
        assert address.startswith("127.0.0.1")
    assert SERVICES["postgres"]["network_mode"] == "none"
    assert not any("ports" in service for service in SERVICES.values())


def test_secrets_are_files_and_none_is_in_the_texts() -> None:
    for name, service in SERVICES.items():
        for variable, value in service.get("environment", {}).items():
            if re.search(r"SECRET|PASS|TOKEN", variable):
                assert str(value).startswith("/run/secrets/"), (name, variable)
                assert str(value).rpartition("/")[2] in service["secrets"]
    assert set(COMPOSE["secrets"]) == {secret for service in SERVICES.values() for secret in service.get("secrets", ())}
    assert not re.search(r"(?i)(password|secret|token)\s*=\s*\w", CONTAINERFILE)


def test_the_recorder_and_postgresql_are_asked_whether_they_live() -> None:
    assert "/healthz" in str(SERVICES["recorder"]["healthcheck"]["test"])
    assert "pg_isready" in str(SERVICES["postgres"]["healthcheck"]["test"])


def test_a_package_index_given_to_the_build_is_not_in_the_image() -> None:
    """Arguments belong to the stage that is thrown away; ENV would stay."""
    stages = re.split(r"(?m)^FROM ", CONTAINERFILE)
    assert [stage.split("\n", 1)[0] for stage in stages if re.search(r"(?m)^(ARG|ENV)\b.*\bPIP_", stage)] == [
        "python AS build"
    ]
    assert not re.search(r"(?m)^ENV .*PIP_", CONTAINERFILE)


@pytest.mark.parametrize("name", [*BASES, POSTGRES])
def test_the_bases_that_the_trial_makes_are_those_of_the_texts(name: str) -> None:
    assert name in CONTAINERFILE + str(SERVICES["postgres"]["image"])


def test_what_is_copied_into_the_images_is_there() -> None:
    copied = re.findall(r"(?m)^COPY (?!--from)(.+) \S+$", CONTAINERFILE)
    assert copied
    assert [path for paths in copied for path in paths.split() if not (ROOT / path).exists()] == []
