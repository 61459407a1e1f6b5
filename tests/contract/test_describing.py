"""What a GET tells (wire.md A4)."""

from __future__ import annotations

from tests.contract.doors import KEY, Door, verifies


def test_a_get_describes_the_app_to_anybody_in_dev_mode(door: Door) -> None:
    reply = door.ask("GET")
    described = reply.json()
    assert (reply.status, described["mode"], described["authentication_succeeded"]) == (
        *(200, "dev"),
        None,
    )
    assert described["function_count"] > 0
    assert "app_id" not in described
    assert reply.headers["x-inngest-sdk"]


def test_a_get_tells_the_url_that_the_app_believes_to_be_called_at(door: Door) -> None:
    assert door.ask("GET", "a=b").json()["extra"] == {"request_url": door.url}


def test_an_unsigned_get_is_refused_in_cloud_mode_and_learns_nothing(door: Door) -> None:
    reply = door.cloud.ask("GET")
    assert (reply.status, reply.json()) == (401, {"message": "Unauthorized"})
    assert reply.headers["x-inngest-sdk-handled"] == "true"
    assert "x-inngest-sdk" not in reply.headers


def test_a_signed_get_is_told_more_and_no_key(door: Door) -> None:
    reply = door.cloud.ask_signed("GET")
    described = reply.json()
    assert (reply.status, described["mode"], described["app_id"]) == (200, "cloud", "contract")
    assert described["authentication_succeeded"] is True
    assert described["framework"] == door.front.framework
    assert KEY.rpartition("-")[2] not in reply.body.decode()
    assert verifies(reply)
