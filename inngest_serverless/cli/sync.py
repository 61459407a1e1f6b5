"""`inngest-serverless sync`: tell a deployed app to register itself."""

from __future__ import annotations

import click
import httpx

from inngest_serverless.cli.api import http_url
from inngest_serverless.cli.problems import Problem, Unreachable, WrongUse
from inngest_serverless.cli.show import print_json

MAX_REDIRECTS = 10
LOOPBACK = ("localhost", "127.0.0.1", "::1")
"""Hosts that no proxy reaches."""


@click.command("sync")
@click.argument("url")
@click.option("--json", "as_json", is_flag=True, help="Print the app's answer as JSON.")
def sync_command(url: str, as_json: bool) -> None:
    """Have the app at URL register its functions.

    The app itself talks to the Inngest server that its environment names, with its own key, so
    this needs neither: it works for a laptop and for a signed app on Lambda alike.
    """
    answer = put(http_url(url))
    body = _body(answer)
    if as_json:
        print_json({"status": answer.status_code, "answer": body})
    refuse_unless_registered(url, answer, body)
    if not as_json:
        change = "changed" if body.get("modified") else "as it was"
        click.echo(f"registered {url} ({change})")


def put(url: str) -> httpx.Response:
    """Ask the app to register, wherever it redirects to: always with PUT, as the engine does."""
    place = url
    for _ in range(MAX_REDIRECTS + 1):
        answer = _put_once(place, {"url": url})
        if not answer.has_redirect_location:
            return answer
        place = _target(answer)
    raise Problem(f"{url} redirects more than {MAX_REDIRECTS} times, at last to {place}")


def _put_once(place: str, body: dict[str, str]) -> httpx.Response:
    proxies = httpx.URL(place).host not in LOOPBACK
    verify = httpx.create_ssl_context()  # with SSL_CERT_FILE, whatever trust_env is
    try:  # the first call may have to wait for a cold start
        return httpx.put(place, json=body, timeout=60, trust_env=proxies, verify=verify)
    except httpx.TransportError as error:
        raise Unreachable(f"nobody answers at {place} ({error or type(error).__name__})") from None
    except (ImportError, ValueError) as error:  # httpx on the proxies that the environment names
        raise Problem(
            f"no way to {place}: {error}",
            "Correct HTTP_PROXY, HTTPS_PROXY and ALL_PROXY, or name the host in NO_PROXY.",
        ) from None


def _target(answer: httpx.Response) -> str:
    location = answer.headers["location"]
    try:
        return http_url(str(answer.url.join(location)))
    except (WrongUse, httpx.InvalidURL):
        raise Problem(f"{answer.url} redirects to {location!r}, which is no URL to call") from None


def refuse_unless_registered(url: str, answer: httpx.Response, body: dict[str, object]) -> None:
    """Raise a Problem that says why the app is not registered."""
    if answer.is_success and "x-inngest-sdk" in answer.headers:
        return
    reason = body.get("message") or body.get("error") or body.get("Message")
    if answer.status_code == 404 and not reason:
        raise Problem(f"there is nothing at {url} (404)", "Check the path of the URL.")
    if answer.is_success:
        raise Problem(f"{url} answers, but is not an Inngest app", "Check the path of the URL.")
    raise Problem(f"the app refused ({answer.status_code}): {reason or answer.text[:300]}")


def _body(answer: httpx.Response) -> dict[str, object]:
    try:
        body = answer.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
