"""Lambda's HTTP events to Request, and Response to what each front door wants back. Pure.

Five services put HTTP in front of a function, in four shapes, and who may invoke the function can
do without them:

    v2       Function URL, API Gateway HTTP API        version "2.0" and requestContext.http
    ALB      Application Load Balancer target group    requestContext.elb
    v1       API Gateway REST API, and HTTP API with   httpMethod
             payload format 1.0
    Lattice  VPC Lattice target group, version 2       requestContext.serviceArn and a method
    direct   `aws lambda invoke`                       {"inngest": {"method": ..., "url": ...}}

An event is whatever JSON someone invokes the function with, so every field may be missing, null
or of another type: such a field counts as missing.

The public URL, which registering the app depends on, is rebuilt from what AWS itself fills in
(`requestContext.domainName`). Behind an ALB or VPC Lattice only the client's own `host` header
tells it, and behind CloudFront or a mapped custom domain nothing does: set INNGEST_SERVE_ORIGIN
there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlencode

from inngest_sdk.errors import BodyInvalidError
from inngest_sdk.http import Request, Response, header_map
from inngest_sdk.public_url import forwarded_scheme, is_host, join

# The error that Lambda gives for a larger answer names this number.
LAMBDA_ANSWER_BYTES = 6_291_556
# "The maximum size of the response JSON that the Lambda function can send is 1 MB": taken decimal.
# https://docs.aws.amazon.com/elasticloadbalancing/latest/application/lambda-functions.html
ALB_ANSWER_BYTES = 1_000_000


@dataclass(frozen=True)
class FrontDoor:
    """One way for HTTP into a function: its event shape, and how large an answer it carries.

    `limit_name` says who sets that limit.
    """

    shape: Literal["v2", "v1", "alb", "lattice", "direct"]
    multi_value: bool
    max_answer_bytes: int
    limit_name: str


V2 = FrontDoor("v2", False, LAMBDA_ANSWER_BYTES, "AWS Lambda")
V1 = FrontDoor("v1", True, LAMBDA_ANSWER_BYTES, "AWS Lambda")
ALB = FrontDoor("alb", False, ALB_ANSWER_BYTES, "the load balancer")
# The target group attribute lambda.multi_value_headers.enabled, seen from inside.
ALB_MULTI = FrontDoor("alb", True, ALB_ANSWER_BYTES, "the load balancer")
# "The maximum size of the response JSON that the Lambda function can send is 6 MB": Lambda's own.
# https://docs.aws.amazon.com/vpc-lattice/latest/ug/lambda-functions.html
LATTICE = FrontDoor("lattice", False, LAMBDA_ANSWER_BYTES, "AWS Lambda")
DIRECT = FrontDoor("direct", False, LAMBDA_ANSWER_BYTES, "AWS Lambda")

ABSOLUTE_URL = re.compile(r"(https?)://([^/?#]*)(.*)", re.DOTALL)

# Where tenant isolation is on, the request that the app sees names the tenant in this header.
TENANT_HEADER = "x-amz-tenant-id"


@dataclass(frozen=True)
class NotHttp:
    """An event that no front door for HTTP makes. `what` describes it in a few words."""

    what: str


def front_door(event: object) -> FrontDoor | NotHttp:
    """Tell from its event which front door a request came through."""
    if not isinstance(event, dict):
        return NotHttp(f"a direct invocation with a {type(event).__name__}")
    if "RequestType" in event and "ResponseURL" in event:
        return NotHttp("a CloudFormation custom resource")
    context = _table(event.get("requestContext"))
    # `http` is asked for too: VPC Lattice and WebSocket APIs have other 2.0 events.
    if event.get("version") == "2.0" and isinstance(context.get("http"), dict):
        return V2
    if "elb" in context:
        return ALB_MULTI if isinstance(event.get("multiValueHeaders"), dict) else ALB
    if isinstance(event.get("httpMethod"), str):
        return V1
    if "serviceArn" in context and isinstance(event.get("method"), str):
        return LATTICE
    if isinstance(_table(event.get("inngest")).get("method"), str):
        return DIRECT
    # Escaped, since it goes into a log and an answer.
    return NotHttp(ascii(_description(event, context))[1:-1])


def request_from(
    event: Mapping[str, Any], door: FrontDoor, tenant_id: str | None = None
) -> Request:
    """Translate an event; raises BodyInvalidError if its body cannot be read.

    `tenant_id` is the tenant that Lambda made this process for (tenant isolation); the app finds it
    in TENANT_HEADER, where nobody else may put one.
    """
    if door is DIRECT:
        event = event["inngest"]
    headers = headers_of(event)
    method, url = READERS[door.shape](event, headers)
    headers.pop(TENANT_HEADER, None)
    if tenant_id is not None:
        headers[TENANT_HEADER] = tenant_id
    return Request(method.upper(), url, headers, body_of(event))


def can_pass_chunks(event: Mapping[str, Any], door: FrontDoor) -> bool:
    """Whether this front door is of a kind that can be set to pass an answer on as it comes.

    These are Function URLs (invoke mode RESPONSE_STREAM) and REST APIs (response transfer mode
    STREAM). Whether it has been set so, an event does not tell.
    """
    if door is V1:
        return event.get("version") != "1.0"  # that would be an HTTP API
    host = _text(_table(event.get("requestContext")).get("domainName"))
    # CloudFront and custom domains call a Function URL by its own name, too.
    return door is V2 and (_is_local(host) or ".lambda-url." in host)


def path_may_be_mapped(event: Mapping[str, Any], door: FrontDoor) -> bool:
    """Whether the public path may differ from the event's: in format 2.0 the mapping of a custom
    domain is kept from the function.
    """
    host = _text(_table(event.get("requestContext")).get("domainName"))
    return door is V2 and not _is_local(host) and not host.endswith(AWS_DOMAINS)


def _is_local(domain_name: str) -> bool:
    # Real domain names come without a port; those of a local stand-in for Lambda have one.
    return ":" in domain_name


def event_from(response: Response, door: FrontDoor) -> dict[str, Any]:
    """Translate a response into what the front door sends on."""
    headers = dict(response.headers)
    body, is_base64 = _text_of(response.body)
    answer: dict[str, Any] = {"statusCode": response.status}
    # A load balancer takes one of the two only, the one that the request came with.
    if door.shape != "alb" or not door.multi_value:
        answer["headers"] = headers
    if door.multi_value:
        answer["multiValueHeaders"] = {name: [value] for name, value in headers.items()}
    if door.shape == "alb":
        answer["statusDescription"] = _status_line(response.status)
    if door.shape == "v2":
        # Without `statusCode` and its companions a dict would itself be sent as a JSON body.
        answer["cookies"] = []
    answer["body"] = body
    answer["isBase64Encoded"] = is_base64
    return answer


def prelude_from(status: int, headers: Mapping[str, str], door: FrontDoor) -> dict[str, Any]:
    """What goes before the body where an answer leaves in chunks: all but the body."""
    prelude: dict[str, Any] = {"statusCode": status, "headers": dict(headers)}
    return {**prelude, "cookies": []} if door is V2 else prelude


def headers_of(event: Mapping[str, Any]) -> dict[str, str]:
    """The headers with lower-case names; v1 events hold them twice, the fuller form counts."""
    return header_map(_pairs(event.get("multiValueHeaders")) or _pairs(event.get("headers")))


def body_of(event: Mapping[str, Any]) -> bytes:
    """The body's raw bytes, which the signature is computed over."""
    body = event.get("body")
    if body is None:
        return b""
    if not isinstance(body, str):
        raise BodyInvalidError(f"the event's body is a {type(body).__name__}, not a string")
    if event.get("isBase64Encoded") is not True:
        return body.encode("utf-8", "surrogatepass")
    import base64  # JSON from an Inngest server comes as text

    try:
        return base64.b64decode(body, validate=True)
    except ValueError as error:
        raise BodyInvalidError(f"the event's body is not base64: {error}") from None


def _v2(event: Mapping[str, Any], headers: Mapping[str, str]) -> tuple[str, str]:
    context = _table(event.get("requestContext"))
    http = _table(context.get("http"))
    host = _host(context.get("domainName"), headers.get("host"))
    path = _text(event.get("rawPath")) or _text(http.get("path"))
    query = event.get("rawQueryString")
    if not isinstance(query, str):  # written by hand; the service always sends it
        query = urlencode(_pairs(event.get("queryStringParameters")), errors="replace")
    return _text(http.get("method")), join(_scheme(host, headers), host, path, query)


def _v1(event: Mapping[str, Any], headers: Mapping[str, str]) -> tuple[str, str]:
    context = _table(event.get("requestContext"))
    host = _host(context.get("domainName"), headers.get("host"))
    # A REST API's public path, with stage or base path, is in the context. In payload format 1.0
    # the event's own path is the one that has the mapping of a custom domain.
    # https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
    paths = [_text(context.get("path")), _text(event.get("path"))]
    if event.get("version") == "1.0":
        paths.reverse()
    # Values come decoded, so they are encoded again.
    query = urlencode(_query_pairs(event), errors="replace")
    return _text(event.get("httpMethod")), join(
        _scheme(host, headers), host, paths[0] or paths[1], query
    )


def _alb(event: Mapping[str, Any], headers: Mapping[str, str]) -> tuple[str, str]:
    host = _host(headers.get("host"))
    # A load balancer does not decode the query: names and values are joined as they are.
    query = "&".join(f"{name}={value}" for name, value in _query_pairs(event))
    path = _text(event.get("path"))
    scheme = forwarded_scheme(headers) or "https"
    return _text(event.get("httpMethod")), join(scheme, host, path, query)


def _lattice(event: Mapping[str, Any], headers: Mapping[str, str]) -> tuple[str, str]:
    host = _host(headers.get("host"))
    path, _, query = _text(event.get("path")).partition("?")
    query = query or "&".join(f"{name}={value}" for name, value in _query_pairs(event))
    scheme = forwarded_scheme(headers) or "https"
    return _text(event.get("method")), join(scheme, host, path, query)


def _direct(event: Mapping[str, Any], headers: Mapping[str, str]) -> tuple[str, str]:
    url = _text(event.get("url"))
    absolute = ABSOLUTE_URL.fullmatch(url)
    scheme, authority, target = absolute.groups() if absolute else ("https", "", url)
    path, _, query = target.partition("?")
    host = _host(authority, headers.get("host"))
    return _text(event.get("method")), join(scheme, host, path, query)


READERS = {"v2": _v2, "v1": _v1, "alb": _alb, "lattice": _lattice, "direct": _direct}


# Reserved never to exist (RFC 2606): calls are served all the same, and whoever registers under
# this name sees why it cannot be reached.
UNKNOWN_HOST = "host-header-missing.invalid"


def _host(*values: object) -> str:
    return next((str(value) for value in values if is_host(value)), UNKNOWN_HOST)


AWS_DOMAINS = (".amazonaws.com", ".amazonaws.com.cn", ".amazonaws.eu", ".on.aws", ".api.aws")


def _scheme(host: str, headers: Mapping[str, str]) -> str:
    # AWS's own domains speak TLS only. Any other host is a custom domain, where the gateway sets
    # the header, or a local stand-in for Lambda.
    if host.partition(":")[0].endswith(AWS_DOMAINS):
        return "https"
    return forwarded_scheme(headers) or "https"


def _query_pairs(event: Mapping[str, Any]) -> list[tuple[str, str]]:
    multi = _pairs(event.get("multiValueQueryStringParameters"))
    return multi or _pairs(event.get("queryStringParameters"))


def _pairs(table: object) -> list[tuple[str, str]]:
    """The string pairs of a table whose values are strings or lists of strings."""
    return [
        (name, value)
        for name, values in _table(table).items()
        if isinstance(name, str)
        for value in _items(values)
        if isinstance(value, str)
    ]


def _items(values: object) -> Iterable[object]:
    return values if isinstance(values, list) else [values]


def _table(value: object) -> dict[Any, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _text_of(body: bytes) -> tuple[str, bool]:
    try:
        return body.decode("utf-8"), False
    except UnicodeDecodeError:
        import base64  # what the SDK answers is UTF-8

        return base64.b64encode(body).decode("ascii"), True


def _status_line(status: int) -> str:
    from http import HTTPStatus  # load balancers only

    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"{status} Unknown"


def _description(event: Mapping[str, Any], context: Mapping[str, Any]) -> str:
    records = event.get("Records")
    first = _table(records[0]) if isinstance(records, list) and records else {}
    # SNS alone writes a capital E.
    source = _text(first.get("eventSource")) or _text(first.get("EventSource"))
    if source:
        return f"records from {source}"
    if "detail-type" in event and "source" in event:
        return f"an EventBridge event {_text(event['detail-type'])!r}"
    if "raw_path" in event and "query_string_parameters" in event:
        return "a VPC Lattice request of version 1 (set its target group's event version to V2)"
    if "connectionId" in context:
        return "a WebSocket message"
    keys = ", ".join(sorted(map(str, event)))
    return f"a direct invocation with the keys {keys[:200]}" if keys else "an empty event"
