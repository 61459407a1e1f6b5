"""The page behind the links of approvals.

Opening it decides nothing: mail programs and scanners open links. Only its form does, by POST, and
then an event is sent under the approval's id. The page is plain HTML without scripts; what people
wrote is escaped. A link that is not ours is told so, and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
from datetime import datetime, timezone
from typing import TypeAlias
from urllib.parse import parse_qs

from inngest_sdk.approval import EVENT
from inngest_sdk.approval_link import CHOICE, Ticket, ticket_of
from inngest_sdk.client import Inngest
from inngest_sdk.effects import Flow
from inngest_sdk.errors import (
    BodyInvalidError,
    BodyTooLargeError,
    ConfigError,
    Error,
    MethodNotAllowedError,
    ProtocolError,
    SecretUnavailableError,
    SendEventsError,
)
from inngest_sdk.events import Event
from inngest_sdk.http import Request, Response
from inngest_sdk.sending import send_flow

MAX_NAME = 100  # characters, as browsers count them
MAX_COMMENT = 2_000
MAX_FORM = 32_768  # bytes: room for both, as browsers encode them
MAX_FIELDS = 10

Form: TypeAlias = "dict[str, str]"

_STYLE = (
    "body{font:1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:3rem auto;padding:0 1rem;"
    "color:#222;background:#fff}"
    "h1{font-size:1.4rem}p.text{white-space:pre-line}label{display:block;margin:1rem 0}"
    "input,textarea{display:block;box-sizing:border-box;width:100%;padding:.5rem;font:inherit}"
    "button{padding:.6rem 1.4rem;margin-right:1rem;font:inherit;cursor:pointer}"
    "small{color:#555}"
)
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    "content-type": "text/html; charset=utf-8",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "x-robots-tag": "noindex",
}

_VERDICTS = {"approve": True, "reject": False}


def answer(client: Inngest, request: Request, now: float) -> Flow[Response]:
    """Answer a request that comes from a link; `now` is Unix seconds."""
    try:
        ticket = yield from ticket_of(client, request, now)
        if request.method in ("GET", "HEAD"):
            return _page(200, ticket.title, _question(ticket, request.query.get(CHOICE)))
        if request.method != "POST":
            raise MethodNotAllowedError("This page is opened, or its form is sent.")
        event = _decision(ticket, request)
        yield from send_flow(client.config, [event], _seed(ticket, now))
    except SecretUnavailableError as error:
        return _not_now(client, error)
    except (ConfigError, SendEventsError) as error:
        return _not_recorded(client, error)
    except ProtocolError as error:
        return _page(error.status, error.message, "")
    return _page(200, ticket.title, _recorded(event))


def _not_now(client: Inngest, error: Error) -> Response:
    client.logger.error("inngest: a link could not be checked: %s", error.message, exc_info=error)
    return _page(503, "This link cannot be checked now.", "<p>Please try again in a moment.</p>")


def _not_recorded(client: Inngest, error: Error) -> Response:
    client.logger.error("inngest: a decision could not be recorded: %s", error.message)
    hint = "<p>Please go back and send it again in a moment.</p>"
    return _page(502, "Your decision could not be recorded.", hint)


def _decision(ticket: Ticket, request: Request) -> Event:
    form = _form(request)
    approved = _VERDICTS.get(form.get("decision", ""))
    if approved is None:
        raise BodyInvalidError("The form says neither yes nor no.")
    data = {
        "id": ticket.id,
        "approved": approved,
        "by": _field(form, "by", MAX_NAME),
        "comment": _field(form, "comment", MAX_COMMENT),
    }
    return Event(name=EVENT, data=data, id=ticket.id)


def _form(request: Request) -> Form:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise BodyInvalidError("This is no form that the page sends.")
    if len(request.body) > MAX_FORM:
        raise BodyTooLargeError("The form holds too much text.")
    try:
        text = request.body.decode("ascii")
        fields = parse_qs(text, max_num_fields=MAX_FIELDS, errors="strict")
    except ValueError:
        raise BodyInvalidError("This is no form that the page sends.") from None
    return {name: values[0] for name, values in fields.items()}


def _field(form: Form, name: str, most: int) -> str | None:
    # Browsers send line ends as two characters, and count them as one.
    value = form.get(name, "").replace("\r\n", "\n").strip()
    if len(value) > most:
        raise BodyTooLargeError("The form holds too much text.")
    return value or None


def _seed(ticket: Ticket, now: float) -> str:
    """See `sending`. Not by chance: the core has none, and a ticket is decided once."""
    digest = hashlib.sha256(ticket.id.encode()).digest()
    return f"{int(now * 1000)},{base64.b64encode(digest[:10]).decode()}"


def _question(ticket: Ticket, choice: str | None) -> str:
    buttons = {
        "approve": '<button name="decision" value="approve">Approve</button>',
        "reject": '<button name="decision" value="reject">Reject</button>',
    }
    order = ["reject", "approve"] if choice == "reject" else ["approve", "reject"]
    until = datetime.fromtimestamp(ticket.expires, timezone.utc)
    return (
        f'<p class="text">{_escaped(ticket.text)}</p>'
        # Without an action, the form goes to the page's own address, whatever proxies made of it.
        '<form method="post">'
        f'<label>Your name <input name="by" maxlength="{MAX_NAME}" autocomplete="name"></label>'
        f'<label>Comment <textarea name="comment" maxlength="{MAX_COMMENT}" rows="4"></textarea>'
        f"</label><p>{''.join(buttons[each] for each in order)}</p></form>"
        f"<p><small>This link is valid until {until:%Y-%m-%d %H:%M} UTC. The first decision "
        "counts.</small></p>"
    )


def _recorded(event: Event) -> str:
    decided = "approved" if event.data["approved"] else "rejected"
    comment = event.data["comment"]
    said = "" if comment is None else f'<p class="text">{_escaped(comment)}</p>'
    return (
        f"<p>Recorded: <strong>{decided}</strong>.</p>{said}"
        "<p><small>If somebody decided before you, that decision counts.</small></p>"
    )


def _page(status: int, title: str, content: str) -> Response:
    heading = _escaped(title)
    body = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{heading}</title><style>{_STYLE}</style></head>"
        f"<body><main><h1>{heading}</h1>{content}</main></body></html>"
    )
    # Lone surrogates, which no JSON of ours holds, would be the only thing to replace.
    return Response(status, HEADERS, body.encode("utf-8", "replace"))


def _escaped(text: str) -> str:
    import html  # only pages need its tables

    return html.escape(text)
