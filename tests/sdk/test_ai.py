"""Adapters for providers of language models, and the calls that the server makes by them."""

from __future__ import annotations

import importlib
import warnings
from typing import Any

import pytest

from inngest_sdk import ai
from inngest_sdk.config import Secret
from inngest_sdk.errors import FunctionConfigInvalidError, NonRetriableError
from inngest_sdk.execution import Fail, Replay, Report, decide
from inngest_sdk.realtime import Topic
from inngest_sdk.steps import StepIds, op_json

KEY = "s3cret"
GPT = ai.openai(auth_key=KEY, model="gpt")

ADAPTERS = {
    "openai": GPT,
    "openai_responses": ai.openai_responses(auth_key=KEY, model="gpt"),
    "anthropic": ai.anthropic(auth_key=KEY, model="claude"),
    "gemini": ai.gemini(auth_key=KEY, model="gemini/2 flash"),
    "grok": ai.grok(auth_key=KEY, model="grok"),
    "deepseek": ai.deepseek(auth_key=KEY, model="chat"),
    "azure_openai": ai.azure_openai(
        auth_key=KEY, model="my-gpt", endpoint="https://me.openai.azure.com/"
    ),
    "bedrock": ai.bedrock(auth_key=KEY, model="us.amazon.nova-v1:0", region="eu-west-1"),
}


@pytest.mark.parametrize(
    ("provider", "url", "model"),
    [
        ("openai", "https://api.openai.com/v1/chat/completions", "gpt"),
        ("openai_responses", "https://api.openai.com/v1/responses", "gpt"),
        ("anthropic", "https://api.anthropic.com/v1/messages", "claude"),
        (
            "gemini",
            "https://generativelanguage.googleapis.com/v1beta/models/"
            "gemini%2F2%20flash:generateContent",
            None,
        ),
        ("grok", "https://api.x.ai/v1/chat/completions", "grok"),
        ("deepseek", "https://api.deepseek.com/chat/completions", "chat"),
        ("azure_openai", "https://me.openai.azure.com/openai/v1/chat/completions", "my-gpt"),
        (
            "bedrock",
            "https://bedrock-runtime.eu-west-1.amazonaws.com/model/us.amazon.nova-v1:0/converse",
            None,
        ),
    ],
)
def test_each_provider_is_called_at_its_address_with_its_model(
    provider: str, url: str, model: str | None
) -> None:
    opts = ai.ai_op("s", ADAPTERS[provider], {"x": 1}).opts

    assert opts["url"] == url
    assert opts["body"] == ({"x": 1} if model is None else {"model": model, "x": 1})


@pytest.mark.parametrize(
    ("provider", "format", "auth_key", "headers"),
    [
        ("openai", "openai-chat", KEY, {}),
        ("openai_responses", "openai-chat", KEY, {}),
        ("anthropic", "anthropic", KEY, {"anthropic-version": "2023-06-01"}),
        ("gemini", "gemini", KEY, {}),
        ("grok", "openai-chat", KEY, {}),
        ("deepseek", "openai-chat", KEY, {}),
        ("azure_openai", "openai-chat", KEY, {}),
        ("bedrock", "bedrock", f"Bearer {KEY}", {}),
    ],
)
def test_each_provider_gets_the_key_in_its_way(
    provider: str, format: str, auth_key: str, headers: dict[str, str]
) -> None:
    opts = ai.ai_op("s", ADAPTERS[provider], {}).opts

    assert (opts["format"], opts["auth_key"], opts["headers"]) == (format, auth_key, headers)
    assert KEY not in opts["url"]


@pytest.mark.parametrize("provider", ADAPTERS)
def test_no_adapter_and_no_op_shows_its_key(provider: str) -> None:
    adapter = ADAPTERS[provider]

    assert KEY not in repr(adapter)
    assert KEY not in repr(ai.ai_op("s", adapter, {}))


def test_a_call_travels_as_the_official_sdk_writes_it() -> None:
    step = StepIds().next("ask")
    op = ai.ai_op("ask", GPT, {"messages": []}, Topic("chat:1", "answer", dict))

    assert op_json(step, op, op.kind) == {
        "op": "AIGateway",
        "id": step.hashed,
        "name": "ask",
        "displayName": "ask",
        "userland": {"id": "ask"},
        "opts": {
            "type": "step.ai.infer",
            "url": "https://api.openai.com/v1/chat/completions",
            "headers": {},
            "auth_key": KEY,
            "format": "openai-chat",
            "body": {"model": "gpt", "messages": []},
            "auto_tool_call": False,
            "publish": {"channel": "chat:1", "topic": "answer"},
        },
        "data": None,
    }


@pytest.mark.parametrize("provider", ["openai", "anthropic", "gemini", "grok", "deepseek"])
@pytest.mark.parametrize("base_url", [None, "https://proxy.example/v9/"])
def test_an_adapter_comes_to_what_the_official_one_does(
    provider: str, base_url: str | None
) -> None:
    # The official SDK configures one of its models in a way that pydantic deprecates.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        official = importlib.import_module(f"inngest.experimental.ai.{provider}")
    theirs = official.Adapter(auth_key=KEY, model="m", base_url=base_url)
    ours = getattr(ai, provider)(auth_key=KEY, model="m", base_url=base_url)

    # The official one for Gemini has the key in the URL already, and DeepSeek's a `v1` in the path
    # that its documentation has dropped.
    url = theirs.url_infer().partition("?")[0].replace("deepseek.com/v1/", "deepseek.com/")
    assert (ours.url, ours.format) == (url, theirs.format())
    assert (ours.headers, ours.auth_key.reveal()) == (theirs.headers(), theirs.auth_key())


def test_the_model_of_the_body_beats_the_adapters() -> None:
    assert ai.ai_op("s", GPT, {"model": "other"}).opts["body"] == {"model": "other"}


def test_headers_are_added_and_replace_those_of_the_same_name() -> None:
    added = ai.anthropic(auth_key=KEY, model="m", headers={"anthropic-beta": "b"})
    replaced = ai.anthropic(auth_key=KEY, model="m", headers={"Anthropic-Version": "x"})

    assert added.headers == {"anthropic-version": "2023-06-01", "anthropic-beta": "b"}
    assert replaced.headers == {"Anthropic-Version": "x"}


@pytest.mark.parametrize("auth_key", [KEY, Secret(KEY), f"{KEY}\n"])
def test_a_key_may_be_a_secret_and_keeps_no_newline_of_its_store(auth_key: ai.Key) -> None:
    assert ai.openai(auth_key=auth_key, model="m").auth_key == Secret(KEY)


@pytest.mark.parametrize("endpoint", ["https://me.openai.azure.com/openai/v1/", "https://h"])
def test_an_endpoint_of_azure_may_have_its_path(endpoint: str) -> None:
    adapter = ai.azure_openai(auth_key=KEY, model="m", endpoint=endpoint)

    assert adapter.url.count("/openai/v1/chat/completions") == 1


@pytest.mark.parametrize("auth_key", ["", "  ", None, 5, "s3cret\nx", Secret("")])
def test_a_key_that_is_none_is_refused_and_not_shown(auth_key: Any) -> None:
    with pytest.raises(FunctionConfigInvalidError, match=r"^ai\.grok: auth_key is empty") as caught:
        ai.grok(auth_key=auth_key, model="m")

    assert KEY not in caught.value.message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"auth_key": "Bearer s3cret"}, "auth_key begins with 'Bearer'; give the key alone"),
        ({"model": ""}, "model is ''; it takes a text that is not blank"),
        ({"model": None}, "model is None"),
        ({"region": " "}, "region is ' '"),
        ({"base_url": "me.example"}, "base_url is 'me.example'; it takes an absolute URL"),
        ({"headers": {"a": 1}}, "header 'a' is int"),
    ],
)
def test_an_adapter_that_makes_no_sense_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(FunctionConfigInvalidError) as caught:
        ai.bedrock(**{"auth_key": KEY, "model": "m", "region": "r", **options})

    assert caught.value.message.startswith(f"ai.bedrock: {message}")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ([], "step 's': body is list; it takes a dict"),
        ({"stream": True}, "step 's': body asks for a stream"),
        ({"a": {1}}, "step 's': the request is not JSON: Object of type set"),
        ({"a": "x" * 4_194_304}, "step 's': the request has 4,194,"),
    ],
)
def test_a_call_that_makes_no_sense_is_refused(body: Any, message: str) -> None:
    with pytest.raises(FunctionConfigInvalidError) as caught:
        ai.ai_op("s", GPT, body)

    assert caught.value.message.startswith(message)


def test_the_answer_is_the_providers_json() -> None:
    step = StepIds().next("ask")
    op = ai.ai_op("ask", GPT, {})
    # An answer may have keys that mean something else in a memo.
    answer: dict[str, Any] = {"data": 1, "error": None, "input": []}

    first = decide(op, step.hashed, {}, target=None, planning=False)
    replay = decide(op, step.hashed, {step.hashed: {"data": answer}}, target=None, planning=False)

    assert first == Report()
    assert isinstance(replay, Replay)
    assert ai.inference_from("ask", replay.value) == answer


def test_a_call_that_the_provider_refused_fails_the_step() -> None:
    step = StepIds().next("ask")
    memo = {"error": {"name": "AIGatewayError", "message": "401", "data": {"error": "no key"}}}

    op = ai.ai_op("ask", GPT, {})
    verdict = decide(op, step.hashed, {step.hashed: memo}, target=None, planning=False)

    assert isinstance(verdict, Fail)
    assert verdict.error.name == "AIGatewayError"
    assert verdict.error.message == "401 (the answer: {'error': 'no key'})"
    assert verdict.error.data == {"error": "no key"}


@pytest.mark.parametrize("memo", [None, 5, "text", []])
def test_the_memo_of_another_step_is_no_answer(memo: object) -> None:
    with pytest.raises(NonRetriableError, match=r"step 'ask' asks a model, .* is no answer"):
        ai.inference_from("ask", memo)


def message(*content: dict[str, Any]) -> dict[str, Any]:
    return {"type": "message", "role": "assistant", "content": list(content)}


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ({"choices": [{"message": {"role": "assistant", "content": "Hi"}}]}, "Hi"),
        ({"choices": [{"message": {"content": None, "tool_calls": [{}]}}]}, ""),
        (
            {
                "output": [
                    {"type": "reasoning", "summary": [{"text": "hm"}]},
                    message({"type": "output_text", "text": "Hi"}),
                    message({"type": "output_text", "text": "!"}),
                ]
            },
            "Hi!",
        ),
        (message({"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "Hi"}), "Hi"),
        (message({"type": "tool_use", "name": "f", "input": {}}), ""),
        (
            {"candidates": [{"content": {"parts": [{"text": "hm", "thought": True}]}}]},
            "",
        ),
        ({"candidates": [{"content": {"parts": [{"text": "H"}, {"text": "i"}]}}]}, "Hi"),
        ({"candidates": [{"finishReason": "SAFETY"}]}, ""),
        ({"promptFeedback": {"blockReason": "SAFETY"}}, ""),
        ({"output": {"message": {"role": "assistant", "content": [{"text": "Hi"}]}}}, "Hi"),
    ],
)
def test_the_text_of_an_answer_is_found_whoever_gave_it(answer: dict[str, Any], text: str) -> None:
    assert ai.text_of(answer) == text


def test_an_answer_of_a_shape_unknown_is_told() -> None:
    with pytest.raises(ValueError, match=r"the keys \['generation', 'stop'\] is of no provider"):
        ai.text_of({"stop": 1, "generation": "Hi"})
