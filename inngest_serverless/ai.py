"""Adapters for `ctx.step.ai.infer`, one per provider; see docs/ai.md."""

from inngest_sdk.ai import (
    Adapter,
    anthropic,
    azure_openai,
    bedrock,
    deepseek,
    gemini,
    grok,
    openai,
    openai_responses,
    text_of,
)

__all__ = [
    "Adapter",
    "anthropic",
    "azure_openai",
    "bedrock",
    "deepseek",
    "gemini",
    "grok",
    "openai",
    "openai_responses",
    "text_of",
]
