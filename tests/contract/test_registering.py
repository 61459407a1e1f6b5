"""What a PUT registers, and where (wire.md A2, A3)."""

from __future__ import annotations

import json
from urllib.parse import parse_qs, urlsplit

import pytest

from inngest_sdk import signing
from tests.contract.doors import BRANCH, KEY, Door, verifies
from tests.contract.inngest_server import Asked


def registered(door: Door, query: str = "") -> Asked:
    """The registration that comes of a PUT."""
    reply = door.ask("PUT", query)
    assert (reply.status, reply.json()["modified"]) == (200, True)
    assert reply.headers["x-inngest-sync-kind"] == "out_of_band"
    (asked,) = door.server.asked_at("/fn/register")
    return asked


def test_a_put_registers_the_app_at_the_url_that_is_called(door: Door) -> None:
    said = registered(door).json()
    assert (said["url"], said["appName"]) == (door.url, "contract")
    assert (said["framework"], said["sdk"]) == (
        door.front.framework,
        "inngest-serverless:v0.1.0",
    )


def test_every_function_is_registered_at_that_url(door: Door) -> None:
    functions = registered(door).json()["functions"]
    urls = {each["id"]: each["steps"]["step"]["runtime"]["url"] for each in functions}
    assert "contract-value-sync" in urls
    for fn_id, url in urls.items():
        address, _, query = url.partition("?")
        assert (address, parse_qs(query)["fnId"]) == (door.url, [fn_id])


def test_a_function_is_called_at_the_url_that_was_registered(door: Door) -> None:
    functions = registered(door, "code=a%2520b").json()["functions"]
    (url,) = (
        each["steps"]["step"]["runtime"]["url"]
        for each in functions
        if each["id"] == "contract-value"
    )
    body = json.dumps({"event": {"name": "a", "data": {"value": 7}}, "ctx": {"run_id": "01J"}})
    reply = door.ask("POST", urlsplit(url).query, body.encode())
    assert (reply.status, reply.json()) == (200, 7)


def test_the_deployment_is_named_to_the_server_and_not_kept(door: Door) -> None:
    asked = registered(door, "deployId=a%2Fb")
    assert asked.target == "/fn/register?deployId=a%2Fb"
    assert asked.json()["url"] == door.url


def test_a_query_that_is_escaped_twice_is_registered_so(door: Door) -> None:
    assert registered(door, "code=a%2520b%3D").json()["url"] == f"{door.url}?code=a%2520b%3D"


def test_the_registered_url_has_the_query_byte_for_byte(door: Door) -> None:
    query = "code=sesame%3d%20a+b~c&b=%7E"
    assert registered(door, query).json()["url"] == f"{door.url}?{query}"


def test_the_kind_of_server_that_asked_is_told_to_the_server(door: Door) -> None:
    door.ask("PUT", headers={"x-inngest-server-kind": "dev"})
    (asked,) = door.server.asked_at("/fn/register")
    assert asked.headers["x-inngest-expected-server-kind"] == "dev"


@pytest.mark.parametrize("status", [400, 401, 500])
def test_a_registration_that_the_server_refuses_is_refused_with_its_status(
    door: Door, status: int
) -> None:
    door.server.registration = (status, {"message": "größer als erlaubt"})
    reply = door.ask("PUT")
    assert reply.status == status
    assert "größer als erlaubt" in reply.json()["message"]
    assert reply.headers["x-inngest-sdk"]


def test_a_server_of_another_kind_is_refused(door: Door) -> None:
    reply = door.ask("PUT", headers={"x-inngest-server-kind": "cloud"})
    assert "INNGEST_DEV" in reply.json()["message"]
    assert reply.status >= 400
    assert door.server.asked == []


def test_a_registration_in_cloud_mode_has_key_and_environment(door: Door) -> None:
    assert door.cloud.ask("PUT").status == 200
    (asked,) = door.server.asked_at("/fn/register")
    assert asked.headers["authorization"] == f"Bearer {signing.hashed(KEY)}"
    assert asked.headers["x-inngest-env"] == BRANCH


def test_a_signed_in_band_registration_is_the_answer_itself(door: Door) -> None:
    url = "https://shop.example/api/inngest?code=1"
    body = json.dumps({"url": url}).encode()
    reply = door.cloud.ask_signed("PUT", body=body, headers={"x-inngest-sync-kind": "in_band"})
    assert (reply.status, reply.headers["x-inngest-sync-kind"]) == (200, "in_band")
    assert (reply.json()["url"], reply.json()["app_id"]) == (url, "contract")
    assert verifies(reply)
    assert door.server.asked == []
