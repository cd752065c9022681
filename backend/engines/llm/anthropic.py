"""Anthropic's models, over its Messages protocol (https://docs.anthropic.com/en/api/messages-streaming)."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import orjson

from backend.contracts.entities import Usage
from backend.contracts.errors import EngineUnavailableError, ProviderError, ProviderFailure
from backend.core import clock
from backend.core.http import Answer, cut, failed, message_in, refusal
from backend.core.patience import Patience, nothing_said, overlong
from backend.core.sse import SseOverflowError, sse_events
from backend.engines.llm.base import Delta, Prompt
from backend.engines.llm.options import RemoteOptions

TRAILER_S = 1.0
"""Longest wait for the end of the body after the reply is whole."""

_FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "refusal": "content_filter",
}
_KINDS: dict[str, ProviderFailure] = {
    "authentication_error": "key",
    "permission_error": "key",
    "billing_error": "quota",
    "rate_limit_error": "rate",
    "invalid_request_error": "request",
    "not_found_error": "request",
    "request_too_large": "request",
    "timeout_error": "stalled",
    "api_error": "server",
    "overloaded_error": "server",
}


class Anthropic:
    """Claude, by API key."""

    name = "anthropic"

    def __init__(self, options: RemoteOptions) -> None:
        self.model = options.model
        self._options = options
        self._without_temperature = False

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Delta, None]:
        """Yield the reply's pieces, thoughts left out.

        Raises:
            ProviderError: By kind; malformed also for an empty reply and for one without end.
            EngineUnavailableError: Without a key.
        """
        options, limits = self._options, self._options.limits
        patience = Patience(
            options.provider,
            first_s=limits.first_token_s,
            between_s=limits.between_s,
            total_s=limits.total_s,
        )
        while True:
            began_s = clock.monotonic_s()
            async with options.http.open(
                options.provider,
                "POST",
                f"{options.base_url}/messages",
                headers=self._headers(),
                json=self._body(prompt),
                timeouts=limits.timeouts,
            ) as answer:
                patience.spent(clock.monotonic_s() - began_s)
                if answer.status == 200:
                    most_chars = limits.most_chars(prompt.max_tokens)
                    async with aclosing(_read(answer, patience, most_chars)) as deltas:
                        async for delta in deltas:
                            yield delta
                    return
                excerpt = await answer.excerpt()
            if answer.status == 400 and b"temperature" in excerpt and not self._without_temperature:
                self._without_temperature = True  # some models accept no such wish
                continue
            raise refusal(options.provider, answer.status, answer.headers, excerpt)

    async def check(self) -> str:
        """Ask for the list of models, which also tries the key."""
        answer = await self._options.http.fetch(
            self._options.provider,
            "GET",
            f"{self._options.base_url}/models?limit=1000",
            headers=self._headers(),
            timeouts=self._options.limits.timeouts,
        )
        models = re.findall(r'"id"\s*:\s*"([^"]+)"', answer.body.decode("utf-8", "replace"))
        if not models:
            raise failed(self._options.provider, "malformed", "a list of models without models")
        if self.model in models or self.model.endswith("-latest"):
            return f"{len(models)} models, {self.model} is there"
        raise ProviderError(
            f"Anthropic has no model {self.model!r}, but {', '.join(models[:5])}."
            f" Set {self._options.provider.model_setting}.",
            kind="request",
            provider=self.name,
        )

    async def close(self) -> None:
        """The connections belong to the shared client."""

    def _headers(self) -> dict[str, str]:
        if not self._options.key:
            raise EngineUnavailableError(
                f"Anthropic needs a key: set {self._options.provider.key_setting} in .env or in"
                " Settings."
            )
        return {**dict(self._options.headers), "x-api-key": self._options.key}

    def _body(self, prompt: Prompt) -> dict[str, object]:
        system: list[str] = []
        lines: list[dict[str, str]] = []
        for line in prompt.messages:
            if line.role == "system" and not lines:
                system.append(line.text)
                continue
            # System text after the history keeps its place by being said in the user's line.
            role = "assistant" if line.role == "assistant" else "user"
            if not line.text.strip():
                continue
            if lines and lines[-1]["role"] == role:
                lines[-1]["content"] += f"\n\n{line.text}"
            else:
                lines.append({"role": role, "content": line.text})
        if lines and lines[0]["role"] == "assistant":
            lines.insert(0, {"role": "user", "content": "…"})  # a conversation begins with the user
        if lines and lines[-1]["role"] == "assistant":
            lines[-1]["content"] = lines[-1]["content"].rstrip()  # trailing space is refused
        body: dict[str, object] = {
            "model": self.model,
            "max_tokens": prompt.max_tokens,
            "messages": lines,
            "stream": True,
        }
        if system:
            body["system"] = "\n\n".join(system)
        if not self._without_temperature:
            body["temperature"] = min(prompt.temperature, 1.0)
        if stops := [stop for stop in prompt.stop if stop.strip()]:
            body["stop_sequences"] = stops
        return body


async def _read(answer: Answer, patience: Patience, most_chars: int) -> AsyncGenerator[Delta, None]:
    """The deltas of a streamed reply."""
    provider = answer.provider
    if not answer.headers.get("content-type", "").startswith("text/event-stream"):
        raise failed(provider, "malformed", "no event stream")
    usage = Usage()
    finish = ""
    chars = 0
    whole = thought = False
    async with aclosing(answer.pieces()) as pieces, aclosing(sse_events(pieces)) as events:
        while True:
            try:
                event = await patience.next(events)
            except SseOverflowError as error:
                raise failed(provider, "malformed", str(error)) from error
            except ProviderError:
                if whole:
                    break
                raise
            if event is None:
                break
            if whole or not event.data:
                continue
            if not event.complete and event.event != "message_stop":
                break
            message = _parsed(answer, event.data)
            match message:
                case {"type": "message_start", "message": {"usage": dict(counted)}}:
                    usage.prompt_tokens = _count(counted, "input_tokens")
                case {
                    "type": "content_block_delta",
                    "delta": {"type": "text_delta", "text": str(text)},
                }:
                    patience.progress()
                    chars += len(text)
                    if chars > most_chars:
                        raise overlong(provider, most_chars)
                    if text:
                        yield Delta(text)
                case {"type": "content_block_delta", "delta": {"type": "thinking_delta"}}:
                    thought = True
                    patience.progress()
                case {"type": "message_delta", "delta": dict(delta)}:
                    finish = _FINISH.get(
                        str(delta.get("stop_reason")), str(delta.get("stop_reason"))
                    )
                    usage.completion_tokens = _count(message.get("usage"), "output_tokens")
                case {"type": "error", "error": dict(inside)}:
                    kind = _KINDS.get(str(inside.get("type")), "server")
                    raise failed(provider, kind, message_in(inside), "in its answer")
                case {"type": "message_stop"}:
                    whole = True
                    if not chars:
                        break
                    yield Delta(usage=usage, finish=finish or "stop")
                    patience.hurry(TRAILER_S)
                case _:
                    pass  # ping, block borders, and whatever they add: the protocol says to ignore it
    if chars and not whole:
        raise cut(provider)
    if not chars and finish == "content_filter":
        raise failed(provider, "request", "the model refused to reply")
    if not chars:
        raise nothing_said(provider, thought=thought)


def _parsed(answer: Answer, data: bytes) -> dict[str, Any]:
    try:
        message = orjson.loads(data)
    except orjson.JSONDecodeError:
        said = data[:80].decode("utf-8", "replace")
        raise failed(answer.provider, "malformed", f"not JSON: {said}") from None
    if not isinstance(message, dict):
        raise failed(answer.provider, "malformed", "JSON of another shape")
    return message


def _count(usage: object, name: str) -> int:
    value = usage.get(name) if isinstance(usage, dict) else 0
    return value if isinstance(value, int) else 0
