"""The API against its own document: whatever is sent, no answer is the server's fault, and each is as it is written."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, replace
from typing import Any, Final
from uuid import UUID

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import APIOperation, Case
from schemathesis.checks import CheckFunction, not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from recorder.rights import Role
from tests.edge.centre import Centre
from tests.edge.test_listening import WHY
from tests.edge.test_matrix import Places, places
from tests.edge.visitors import enters, token_of

pytestmark = pytest.mark.usefixtures("no_task_left")
ENDLESS = "/api/v1/live/changes"
EACH = 30
"""Requests to a route. CI has them in seconds; by hand any number."""
REPEATABLE: Final = settings(deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
HELD_TO: list[CheckFunction] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@pytest.fixture
def centre(sqlite_centre: Centre) -> Centre:
    return sqlite_centre


def send(operation: APIOperation[Any, Any, Any, Any], there: Places, secret: str) -> None:
    """Many requests, right ones and wrong ones, of which half are about what is there."""
    call = there.live if "/live/" in operation.path else there.over
    known = {"call": str(call), "recording": str(there.recording), "listen": str(there.anothers)}
    known["contest"], known["comment"] = str(there.contest), str(there.comment)

    @settings(REPEATABLE, max_examples=EACH)
    @given(case=operation.as_strategy(), is_there=st.booleans())
    def sent(case: Case[Any], is_there: bool) -> None:
        if is_there:
            asked = case.path_parameters or {}
            case.path_parameters = asked | {name: known[name] for name in asked if name in known}
            if isinstance(case.body, dict) and "purpose" in case.body:
                case.body["purpose"] = WHY["purpose"]
        case.call_and_validate(headers={"Authorization": f"Bearer {secret}"}, checks=HELD_TO)

    sent()


async def test_whatever_is_sent_is_answered_as_the_document_says(centre: Centre) -> None:
    there = await places(centre)
    everything = (Role.SUPERVISOR, Role.DOWNLOADER, Role.AUDITOR, Role.PAYMENT, Role.PRIVACY_OFFICER)
    await enters(centre, "fuzz", *everything)
    _, secret = await token_of(centre, "fuzz")
    at = f"http://127.0.0.1:{centre.assembly.http.port}"
    async with httpx2.AsyncClient(base_url=at, headers={"Authorization": f"Bearer {secret}"}) as client:
        document = (await client.get("/api/v1/openapi.json")).json()
        opened = await client.post(f"/api/v1/recordings/{there.recording}/listens", json=WHY)
    there = replace(there, anothers=UUID(opened.json()["listen"]))
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=at)
    seen = set()
    for found in schema.get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()
        seen.add(operation.path)
        if operation.path != ENDLESS:
            await asyncio.to_thread(send, operation, there, secret)
    assert {ENDLESS, "/api/v1/calls", "/api/v1/listens/{listen}/audio"} <= seen, asdict(there)
