"""An HTTP trigger's request as the core wants it, and the answer as Azure does. Knows no app.

Of the headers that tell of a public address only `host` is believed: Azure's front end has made it
what the client asked for. What gateways before that add (x-forwarded-host, x-original-url,
disguised-host) can be sent by anybody; INNGEST_SERVE_ORIGIN says what they would.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import azure.functions as func

from inngest_sdk.http import Request, Response, header_map
from inngest_sdk.public_url import is_host, join

# Scheme, path and query; the host between them is what the host header says, or wrong.
_URL = re.compile(r"(?:([A-Za-z]+)://[^/?#]*)?([^?#]*)(?:\?([^#]*))?.*", re.DOTALL)

# Reserved never to exist (RFC 2606): calls are served all the same, and whoever registers under
# this name sees why it cannot be reached.
UNKNOWN_HOST = "host-header-missing.invalid"


def request_from(request: func.HttpRequest, hostname: str) -> Request:
    """Translate a request; `hostname` is the app's own (WEBSITE_HOSTNAME), where it has one.

    Azure gives a query decoded as `params`, one value a name; the URL has it as it came.
    """
    headers = header_map(request.headers.items())
    url = public_url(request.url, headers, hostname)
    return Request(request.method.upper(), url, headers, request.get_body())


def response_from(response: Response) -> func.HttpResponse:
    """Translate a response."""
    return func.HttpResponse(
        response.body, status_code=response.status, headers=dict(response.headers)
    )


def public_url(url: str, headers: Mapping[str, str], hostname: str) -> str:
    """The URL that the client called: path and query of `url`, under a host to be believed.

    The scheme in `url` is the one between Azure's front end and the app: often http
    (https://github.com/Azure/azure-functions-host/issues/6602), never what a client may use.
    """
    match = _URL.fullmatch(url)
    scheme, path, query = match.groups() if match else (None, url, None)
    host = _host(headers.get("host"), hostname)
    spoken = "http" if is_local(host) and (scheme or "").lower() != "https" else "https"
    return join(spoken, host, path, query or "")


def _host(named: str | None, hostname: str) -> str:
    # A request that streams is passed to a server inside the worker, at an address of this machine.
    spelled = [host for host in (named, hostname) if host is not None and is_host(host)]
    return next((host for host in spelled if not is_local(host)), (*spelled, UNKNOWN_HOST)[0])


def is_local(host: str) -> bool:
    """Whether only this machine knows the host by that name: the Core Tools, an emulator."""
    name = re.sub(r":\d+$", "", host).strip("[]").lower()
    return name in ("localhost", "::1") or name.startswith("127.")
