"""Calls of language models that the Inngest server makes for a step (wire.md A9, A10).

An `Adapter` says where a provider is and how it wants to be called; the functions of this module
make one per provider. Bodies and answers are the provider's own JSON. Knows no transport.

The server makes the call, so it must have the key: `auth_key` travels in the op, is put into the
request as the `format` says (wire.md Q6: "anthropic" as `x-api-key`, "gemini" as `?key=`,
"bedrock" as Authorization unchanged, "openai-chat" as `Authorization: Bearer`), and stays with the
run. Who does not want that calls the provider from `step.run`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias
from urllib.parse import quote

from inngest_sdk.config import Secret
from inngest_sdk.errors import FunctionConfigInvalidError, NonRetriableError
from inngest_sdk.fetching import absolute_url, check_size, checked_headers
from inngest_sdk.realtime import Topic
from inngest_sdk.steps import Op

Format: TypeAlias = Literal["openai-chat", "anthropic", "gemini", "bedrock"]
Key: TypeAlias = "str | Secret"


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """How to call a provider, checked by the functions below. One that this module lacks may speak
    OpenAI's chat completions: `openai(base_url=...)`.

    `format` decides how the server hands over `auth_key`. `model` is put into the body; it is None
    where the URL names it.
    """

    url: str
    format: Format
    auth_key: Secret
    model: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


def openai(
    *,
    auth_key: Key,
    model: str,
    base_url: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Adapter:
    """OpenAI's chat completions, and every provider that speaks them: give its `base_url`.

    Source: OpenAI's API reference, "Create chat completion".
    """
    return _chat("openai", base_url or "https://api.openai.com/v1", auth_key, model, headers)


def openai_responses(
    *,
    auth_key: Key,
    model: str,
    base_url: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Adapter:
    """OpenAI's responses. Its body has `input` where chat has `messages`.

    The format is chat's: it means no more than a bearer key. Source: OpenAI's API reference,
    "Create a model response".
    """
    base = base_url or "https://api.openai.com/v1"
    return _adapter("openai_responses", base, "/responses", "openai-chat", auth_key, model, headers)


def grok(
    *,
    auth_key: Key,
    model: str,
    base_url: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Adapter:
    """xAI's Grok, by chat completions. Source: xAI's API reference, "Chat completions"."""
    return _chat("grok", base_url or "https://api.x.ai/v1", auth_key, model, headers)


def deepseek(
    *,
    auth_key: Key,
    model: str,
    base_url: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Adapter:
    """DeepSeek, by chat completions. Source: DeepSeek's API docs, "Your First API Call"."""
    return _chat("deepseek", base_url or "https://api.deepseek.com", auth_key, model, headers)


def azure_openai(
    *,
    auth_key: Key,
    model: str,
    endpoint: str,
    headers: Mapping[str, str] | None = None,
) -> Adapter:
    """Azure OpenAI's chat completions. `model` is the name of your deployment, `endpoint` that of
    your resource: "https://NAME.openai.azure.com".

    By the v1 API, which takes the resource's key as a bearer key; the older one with an
    `api-version` does not, and that is how the server hands it over. Source: Microsoft's "Azure
    OpenAI v1 API".
    """
    base = f"{str(endpoint).rstrip('/').removesuffix('/openai/v1')}/openai/v1"
    return _chat("azure_openai", base, auth_key, model, headers)


def anthropic(
    *,
    auth_key: Key,
    model: str,
    base_url: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Adapter:
    """Anthropic's messages; their body must have `max_tokens`.

    `headers` are added to `anthropic-version: 2023-06-01`, or replace it. Source: Anthropic's API
    reference, "Create a Message" and "Versions".
    """
    base = base_url or "https://api.anthropic.com/v1"
    version = {"anthropic-version": "2023-06-01"}
    sent = _over(version, checked_headers("ai.anthropic", headers))
    return _adapter("anthropic", base, "/messages", "anthropic", auth_key, model, sent)


def gemini(
    *,
    auth_key: Key,
    model: str,
    base_url: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Adapter:
    """Google's Gemini. The URL names the model; its body has `contents`.

    The key is not in the URL: the server puts it there when it calls. Source: Google's Gemini API
    reference, "generateContent".
    """
    base = base_url or "https://generativelanguage.googleapis.com/v1beta"
    path = f"/models/{_in_path('gemini', model)}:generateContent"
    return _adapter("gemini", base, path, "gemini", auth_key, None, headers)


def bedrock(
    *,
    auth_key: Key,
    model: str,
    region: str,
    base_url: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Adapter:
    """Amazon Bedrock's Converse, which is one shape for all its models. The URL names the model, or
    the ARN of an inference profile.

    `auth_key` is an Amazon Bedrock API key. A signature made of AWS credentials (SigV4) cannot
    work: it covers the bytes of a request that the server writes, and lasts minutes; with
    credentials, call Bedrock by boto3 in `step.run`. Source: Amazon Bedrock's API reference,
    "Converse", and its user guide, "Use an Amazon Bedrock API key".
    """
    base = (
        base_url or f"https://bedrock-runtime.{_in_path('bedrock', region, 'region')}.amazonaws.com"
    )
    path = f"/model/{_in_path('bedrock', model)}/converse"
    # The server hands this key over as it is, so it has to be the header's whole value.
    key = Secret(f"Bearer {_key('bedrock', auth_key).reveal()}")
    return Adapter(
        url=_url("bedrock", base, path),
        format="bedrock",
        auth_key=key,
        headers=checked_headers("ai.bedrock", headers),
    )


def ai_op(
    step_id: str, adapter: Adapter, body: Mapping[str, Any], publish: Topic[Any] | None = None
) -> Op:
    """A call of a model that the server makes. The body's own `model` beats the adapter's.

    With `publish`, the server also publishes the answer there.

    Raises FunctionConfigInvalidError for a body that is no JSON object, asks for a stream, or has
    more than 4 MB.
    """
    what = f"step {step_id!r}"
    if not isinstance(adapter, Adapter):
        raise FunctionConfigInvalidError(
            f"{what}: the adapter is {adapter!r}; it takes one of inngest_serverless.ai, such as "
            "ai.openai(auth_key=..., model=...)"
        )
    opts: dict[str, Any] = {
        "type": "step.ai.infer",
        "url": adapter.url,
        "headers": dict(adapter.headers),
        "auth_key": adapter.auth_key.reveal(),
        "format": adapter.format,
        "body": _inference(what, adapter, body),
        "auto_tool_call": False,
    }
    if publish is not None:
        opts["publish"] = {"channel": publish.channel, "topic": publish.name}
    check_size(what, opts)
    return Op("AIGateway", step_id, opts)


def inference_from(step_id: str, memo: object) -> dict[str, Any]:
    """Read the provider's answer. Raises NonRetriableError for the memo of another step."""
    if isinstance(memo, dict):
        return memo
    raise NonRetriableError(
        f"step {step_id!r} asks a model, but what it came to ({type(memo).__name__}) is no answer. "
        "Was it another kind of step when this run began? Give the new one another id."
    )


def text_of(answer: Mapping[str, Any]) -> str:
    """Pick the model's text out of an answer of any provider here; empty where it has none, such as
    when the model calls a tool.

    Raises ValueError for JSON of another shape.
    """
    match answer:
        case {"choices": [{"message": {"content": str(text)}}, *_]}:  # chat completions
            return text
        case {"choices": [*_]}:
            return ""
        case {"output": [*items]}:  # responses
            messages = [item for item in items if item.get("type") == "message"]
            parts = [part for message in messages for part in message["content"]]
        case {"content": [*parts]}:  # Anthropic's messages
            pass
        case {"candidates": [{"content": {"parts": [*parts]}}, *_]}:  # Gemini
            # What the model thought on its way is marked so.
            parts = [part for part in parts if not part.get("thought")]
        case {"candidates": [*_]} | {"promptFeedback": _}:
            return ""
        case {"output": {"message": {"content": [*parts]}}}:  # Bedrock's Converse
            pass
        case _:
            raise ValueError(
                f"an answer with the keys {sorted(answer)} is of no provider known here; take the "
                "text out of it yourself"
            )
    return "".join(part["text"] for part in parts if isinstance(part.get("text"), str))


def _chat(
    name: str, base: str, auth_key: Key, model: str, headers: Mapping[str, str] | None
) -> Adapter:
    return _adapter(name, base, "/chat/completions", "openai-chat", auth_key, model, headers)


def _adapter(
    name: str,
    base: str,
    path: str,
    format: Format,
    auth_key: Key,
    model: str | None,
    headers: Mapping[str, str] | None,
) -> Adapter:
    return Adapter(
        url=_url(name, base, path),
        format=format,
        auth_key=_key(name, auth_key),
        model=None if model is None else _text(name, "model", model),
        headers=checked_headers(f"ai.{name}", headers),
    )


def _url(name: str, base: str, path: str) -> str:
    return absolute_url(f"ai.{name}", "base_url", base).rstrip("/") + path


def _key(name: str, auth_key: object) -> Secret:
    given = auth_key.reveal() if isinstance(auth_key, Secret) else auth_key
    # A newline at the end is what many secret stores leave behind.
    text = given.strip() if isinstance(given, str) else ""
    if not text or not text.isprintable():
        raise FunctionConfigInvalidError(
            f"ai.{name}: auth_key is empty, or not one line of text (not shown here); is the "
            "variable set that you read it from?"
        )
    if text.lower().startswith("bearer "):
        raise FunctionConfigInvalidError(
            f"ai.{name}: auth_key begins with 'Bearer'; give the key alone"
        )
    return Secret(text)


def _text(name: str, option: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise FunctionConfigInvalidError(
            f"ai.{name}: {option} is {value!r}; it takes a text that is not blank"
        )
    return value


def _in_path(name: str, value: str, option: str = "model") -> str:
    return quote(_text(name, option, value), safe=":")


def _over(headers: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """`headers`, in lower case, and those given, which replace them in any case of letters."""
    named = {name.lower() for name in given}
    return {**{name: value for name, value in headers.items() if name not in named}, **given}


def _inference(what: str, adapter: Adapter, body: object) -> dict[str, Any]:
    if not isinstance(body, Mapping):
        raise FunctionConfigInvalidError(
            f"{what}: body is {type(body).__name__}; it takes a dict, as the provider documents it"
        )
    if body.get("stream"):
        raise FunctionConfigInvalidError(
            f"{what}: body asks for a stream; a step gets the answer whole: leave 'stream' out"
        )
    model = {} if adapter.model is None else {"model": adapter.model}
    return {**model, **body}
