"""`inngest-serverless sync`: tell a deployed app to register itself."""

from __future__ import annotations

import click
import httpx

from inngest_serverless.cli.problems import Problem, Unreachable, WrongUse
from inngest_serverless.cli.show import print_json


@click.command("sync")
@click.argument("url")
@click.option("--json", "as_json", is_flag=True, help="Print the app's answer as JSON.")
def sync_command(url: str, as_json: bool) -> None:
    """Have the app at URL register its functions.

    The app itself talks to the Inngest server that its environment names, with its own key, so
    this needs neither: it works for a laptop and for a signed app on Lambda alike.
    """
    if not url.startswith(("http://", "https://")):
        raise WrongUse(f"{url!r} is not a URL: it has to start with http:// or https://")
    answer = put(url)
    body = _body(answer)
    if as_json:
        print_json({"status": answer.status_code, "answer": body})
    refuse_unless_registered(url, answer, body)
    if not as_json:
        change = "changed" if body.get("modified") else "as it was"
        click.echo(f"registered {url} ({change})")


def put(url: str) -> httpx.Response:
    """Ask the app to register. The first call may have to wait for a cold start."""
    try:
        return httpx.put(url, json={"url": url}, timeout=60)
    except httpx.InvalidURL as error:
        raise WrongUse(f"{url!r} is not a URL: {error}") from None
    except httpx.TransportError as error:
        raise Unreachable(f"nobody answers at {url} ({error or type(error).__name__})") from None


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
