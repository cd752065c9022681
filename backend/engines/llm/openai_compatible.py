"""Language models behind OpenAI's chat protocol: OpenAI, OpenRouter, Ollama, llama.cpp, LM Studio, any server.

Accepts what such servers really send: streams with and without [DONE] and usage, empty and role-only pieces, keep-alive
comments, errors inside the stream, a whole JSON answer to a stream request. Thoughts are waited for and never yielded.
"""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import orjson

from backend.contracts.entities import Usage
from backend.contracts.errors import EngineUnavailableError, ProviderError, ProviderFailure
from backend.core import clock
from backend.core.http import (
    Answer,
    Provider,
    cut,
    failed,
    kind_of,
    message_in,
    refusal,
    retry_after_s,
)
from backend.core.patience import Patience, nothing_said, overlong
from backend.core.sse import SseEvent, SseOverflowError, sse_batches
from backend.engines.llm.base import Delta, Message, Prompt
from backend.engines.llm.options import RemoteOptions

logger = logging.getLogger(__name__)

MAX_JSON_BYTES = 4 << 20
TRAILER_S = 1.0
"""Longest wait for usage or [DONE] after the reply said that it is finished."""
DRAIN_S = 0.1
"""The same for the end of the body after [DONE]: only a body read to its end leaves the connection usable."""


class OpenAICompatible:
    """One server with OpenAI's protocol, under the name it has in the settings."""

    def __init__(self, options: RemoteOptions) -> None:
        self.name = options.provider.name
        self.model = options.model
        self._options = options
        self._dialect = _Dialect()

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Delta, None]:
        """Yield the reply's pieces, thoughts left out.

        Raises:
            ProviderError: By kind; malformed also for an empty reply and for one without end.
            EngineUnavailableError: Without a key or a model.
        """
        options, provider = self._options, self._options.provider
        limits = options.limits
        self._require_key()
        model = await self._model()
        patience = Patience(
            provider,
            first_s=limits.first_token_s,
            between_s=limits.between_s,
            total_s=limits.total_s,
        )
        for _ in range(_Dialect.STEPS):
            began_s = clock.monotonic_s()
            async with options.http.open(
                provider,
                "POST",
                f"{options.base_url}/chat/completions",
                headers=self._headers(),
                json=self._dialect.body(prompt, model),
                timeouts=limits.timeouts,
            ) as answer:
                patience.spent(clock.monotonic_s() - began_s)
                if answer.status == 200:
                    reply = _Reply(provider, limits.most_chars(prompt.max_tokens))
                    async with aclosing(_read(answer, reply, patience)) as deltas:
                        async for delta in deltas:
                            yield delta
                    return
                excerpt = await answer.excerpt()
                error = refusal(provider, answer.status, answer.headers, excerpt)
            if not (answer.status in (400, 422, 500) and self._dialect.adapt(excerpt)):
                raise error
            logger.info("%s: asking again in its dialect: %s", self.name, self._dialect)
        raise error

    async def check(self) -> str:
        """Ask for the list of models, and at OpenRouter whether the key is good."""
        self._require_key()
        if (
            self.name == "openrouter"
        ):  # its list of models is public, so it says nothing about the key
            await self._get("/key")
        models = await self._models()
        wanted = self._options.model
        if not wanted:
            if not models:
                raise EngineUnavailableError(_no_model(self))
            return f"{len(models)} models, {models[0]} answers"
        if wanted in models or f"{wanted}:latest" in models or wanted == "openrouter/auto":
            return f"{len(models)} models, {wanted} is there"
        if not models:
            return f"it answers; whether it has {wanted} it does not say"
        raise ProviderError(
            f"{self._options.provider.title} has no model {wanted!r}, but"
            f" {', '.join(models[:5])}{' …' if len(models) > 5 else ''}."
            f" Set {self._options.provider.model_setting}.",
            kind="request",
            provider=self.name,
        )

    async def close(self) -> None:
        """The connections belong to the shared client."""

    def _require_key(self) -> None:
        if self._options.needs_key and not self._options.key:
            provider = self._options.provider
            raise EngineUnavailableError(
                f"{provider.title} needs a key: set {provider.key_setting} in .env or in Settings."
            )

    def _headers(self) -> dict[str, str]:
        headers = dict(self._options.headers)
        headers["accept"] = "text/event-stream, application/json"
        if self._options.key:
            headers["authorization"] = f"Bearer {self._options.key}"
        return headers

    async def _model(self) -> str:
        if not self.model:
            models = await self._models()
            if not models:
                raise EngineUnavailableError(_no_model(self))
            self.model = models[0]
        return self.model

    async def _models(self) -> list[str]:
        found = await self._get("/models")
        rows = found.get("data") if isinstance(found, dict) else found
        if not isinstance(rows, list):
            raise failed(self._options.provider, "malformed", "the list of models is no list")
        return [
            row["id"] for row in rows if isinstance(row, dict) and isinstance(row.get("id"), str)
        ]

    async def _get(self, path: str) -> Any:  # JSON of any shape
        answer = await self._options.http.fetch(
            self._options.provider,
            "GET",
            self._options.base_url + path,
            headers=self._headers(),
            timeouts=self._options.limits.timeouts,
        )
        try:
            return orjson.loads(answer.body)
        except orjson.JSONDecodeError:
            raise failed(self._options.provider, "malformed", f"{path} is not JSON") from None


def _no_model(engine: OpenAICompatible) -> str:
    title = engine._options.provider.title
    how = " (ollama pull llama3.2, for example)" if engine.name == "ollama" else ""
    return f"{title} has no model yet: load one there{how}."


# --- request ------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Dialect:
    """What this server wants differently; learnt from its refusals, once."""

    STEPS = 5

    max_tokens: str = "max_tokens"
    left_out: set[str] = field(default_factory=set)
    fold_system: bool = False

    def body(self, prompt: Prompt, model: str) -> dict[str, object]:
        body: dict[str, object] = {
            "model": model,
            "messages": [
                {"role": line.role, "content": line.text}
                for line in merged(prompt.messages, fold_system=self.fold_system)
            ],
            "stream": True,
            "stream_options": {"include_usage": True},
            "temperature": prompt.temperature,
            self.max_tokens: prompt.max_tokens,
        }
        if prompt.stop:
            body["stop"] = list(prompt.stop[:4])
        return {name: value for name, value in body.items() if name not in self.left_out}

    def adapt(self, refused: bytes) -> bool:
        """Change what the server complained about; False when it is nothing that can be changed."""
        text = refused.decode("utf-8", "replace")
        if self.max_tokens == "max_tokens" and "max_completion_tokens" in text:
            self.max_tokens = "max_completion_tokens"
            return True
        for name in ("stream_options", "temperature", "stop"):
            if name not in self.left_out and re.search(rf"['\"`.\[]{name}\b|\b{name}['\"`]", text):
                self.left_out.add(name)
                return True
        if not self.fold_system and re.search(
            r"roles? must alternate|system role not supported|only user.{0,20}assistant roles",
            text,
            re.IGNORECASE,
        ):
            self.fold_system = True
            return True
        return False


def merged(messages: tuple[Message, ...], *, fold_system: bool = False) -> list[Message]:
    """Neighbours of the same role as one, for templates that want roles to alternate.

    Args:
        messages: The prompt's lines.
        fold_system: Say system text as part of the user's next line, for models that know no system role.
    """
    lines: list[Message] = []
    for line in messages:
        if fold_system and line.role == "system":
            line = Message("user", line.text)
        if lines and lines[-1].role == line.role:
            line = Message(line.role, f"{lines.pop().text}\n\n{line.text}")
        lines.append(line)
    return lines


# --- answer -------------------------------------------------------------------------------------------------------


async def _read(answer: Answer, reply: _Reply, patience: Patience) -> AsyncGenerator[Delta, None]:
    """The answer's deltas, whatever shape it comes in."""
    provider = answer.provider
    async with aclosing(answer.pieces()) as pieces:
        head = b""
        while not head.strip():
            piece = await patience.next(pieces)
            if piece is None:
                raise nothing_said(provider, thought=reply.thought)
            head = (head + piece)[-65_536:]
        first = head.lstrip()[:1]
        if first == b"<":
            raise failed(provider, "malformed", "a web page instead of a reply")
        if first in (b"{", b"["):
            for delta in reply.whole(await _rest(provider, head, pieces, patience)):
                yield delta
            return
        async with aclosing(sse_batches(_joined(head, pieces))) as batches:
            while not reply.done:
                batch = await _next_batch(provider, batches, patience, reply)
                if batch is None:
                    break
                for event in batch:
                    for delta in reply.event(event, answer):
                        yield delta
                    if reply.progressed:
                        patience.progress()
                    if reply.done:
                        break
                if reply.finish:
                    patience.hurry(TRAILER_S)
            for delta in reply.end():
                yield delta
            if reply.done:
                await _drain(batches, patience)


async def _next_batch(
    provider: Provider, batches: AsyncIterator[list[SseEvent]], patience: Patience, reply: _Reply
) -> list[SseEvent] | None:
    try:
        return await patience.next(batches)
    except SseOverflowError as error:
        raise failed(provider, "malformed", str(error)) from error
    except ProviderError:
        if reply.finish:  # the reply is whole; what is missing is only the good-bye
            return None
        raise


async def _drain(batches: AsyncIterator[list[SseEvent]], patience: Patience) -> None:
    patience.hurry(DRAIN_S)
    try:
        while await patience.next(batches) is not None:
            pass
    except (ProviderError, SseOverflowError):
        logger.debug("the connection stays open after the reply; it is closed")


async def _joined(head: bytes, pieces: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    yield head
    async for piece in pieces:
        yield piece


async def _rest(
    provider: Provider, head: bytes, pieces: AsyncIterator[bytes], patience: Patience
) -> bytes:
    body = bytearray(head)
    while (piece := await patience.next(pieces)) is not None:
        body += piece
        if len(body) > MAX_JSON_BYTES:
            raise failed(provider, "malformed", f"an answer of more than {MAX_JSON_BYTES:,} bytes")
    return bytes(body)


class _Reply:
    """One reply while it is being read: what has come, and whether that is all of it."""

    def __init__(self, provider: Provider, most_chars: int) -> None:
        self.provider = provider
        self.done = False
        self.finish = ""
        self.progressed = False
        self.thought = False
        self._usage: Usage | None = None
        self._chars = 0
        self._most_chars = most_chars
        self._thoughts = ThoughtFilter()

    def whole(self, body: bytes) -> list[Delta]:
        """The deltas of a JSON answer that was not streamed."""
        chunk = self._chunk(body)
        deltas = self._text(chunk, "message")
        self.finish = self.finish or "stop"
        return deltas + self.end()

    def event(self, event: SseEvent, answer: Answer) -> list[Delta]:
        """The deltas of one event; sets what the reader looks at."""
        self.progressed = False
        data = event.data.strip()
        if not data:
            return []
        if data == b"[DONE]":
            self.done = True
            return []
        if not event.complete:
            # The connection ended inside this event; when it happens to be whole, it still counts.
            try:
                orjson.loads(data)
            except orjson.JSONDecodeError:
                return []
        if event.event == "error" and not data.startswith(b"{"):
            raise failed(self.provider, "server", data.decode("utf-8", "replace"))
        return self._text(self._chunk(data, answer), "delta")

    def end(self) -> list[Delta]:
        """The last deltas, once nothing more comes.

        Raises:
            ProviderError: If that was not the end of the reply, or the reply is empty.
        """
        rest = self._thoughts.finish()
        deltas = [Delta(rest)] if rest else []
        self._chars += len(rest)
        if not self.finish and not self.done:
            if not self._chars and not self.thought:
                raise nothing_said(self.provider, thought=self.thought)
            raise cut(self.provider)
        if not self._chars:
            if self.finish == "content_filter":
                raise failed(self.provider, "request", "its content filter refused to reply")
            raise nothing_said(self.provider, thought=self.thought)
        deltas.append(Delta(usage=self._usage, finish=self.finish or "stop"))
        return deltas

    def _chunk(self, data: bytes, answer: Answer | None = None) -> dict[str, Any]:
        try:
            chunk = orjson.loads(data)
        except orjson.JSONDecodeError:
            said = data[:80].decode("utf-8", "replace")
            raise failed(self.provider, "malformed", f"not JSON: {said}") from None
        if not isinstance(chunk, dict):
            raise failed(self.provider, "malformed", "JSON of another shape")
        if chunk.get("error"):
            wait_s = retry_after_s(answer.headers) if answer is not None else None
            raise error_inside(self.provider, chunk["error"], wait_s)
        return chunk

    def _text(self, chunk: dict[str, Any], part: str) -> list[Delta]:
        usage = chunk.get("usage")
        if isinstance(usage, dict):
            self._usage = Usage(_count(usage, "prompt_tokens"), _count(usage, "completion_tokens"))
        choices = chunk.get("choices")
        if part == "message" and not choices:
            raise failed(self.provider, "malformed", "JSON without a reply")
        if not isinstance(choices, list) or not choices:
            return []
        choice = choices[0]
        if not isinstance(choice, dict):
            raise failed(self.provider, "malformed", "a choice that is no object")
        piece = choice.get(part) or choice.get("delta") or choice.get("message") or {}
        if not isinstance(piece, dict):
            raise failed(self.provider, "malformed", f"a {part} that is no object")
        if isinstance(choice.get("finish_reason"), str):
            self.finish = choice["finish_reason"]
            if self.finish == "error":
                raise failed(self.provider, "server", "the model failed while it wrote")
        if any(piece.get(name) for name in ("reasoning_content", "reasoning", "reasoning_details")):
            self.thought = self.progressed = True
        raw = _content(piece.get("content"))
        if not raw and isinstance(piece.get("refusal"), str):
            raise failed(self.provider, "request", piece["refusal"])
        if not raw:
            return []
        self.progressed = True
        text = self._thoughts.feed(raw)
        self.thought = self.thought or self._thoughts.found
        self._chars += len(text)
        if self._chars > self._most_chars:
            raise overlong(self.provider, self._most_chars)
        return [Delta(text)] if text else []


def error_inside(provider: Provider, error: object, wait_s: float | None = None) -> ProviderError:
    """The failure for an error object that came inside an answer with status 200."""
    said = message_in(error)
    code = error.get("code") if isinstance(error, dict) else None
    label = " ".join(
        str(error[name])
        for name in ("code", "type", "status")
        if isinstance(error, dict) and error.get(name)
    )
    if isinstance(code, str) and code.isdecimal():
        code = int(code[:3])
    kind: ProviderFailure
    if isinstance(code, int) and 400 <= code < 600:
        kind = kind_of(code, f"{said} {label}")
    else:
        words = f"{label} {said}".lower()
        kind = next(
            (found for found, shape in _KINDS_IN_WORDS if re.search(shape, words)),
            "server",
        )
    return failed(provider, kind, said, label[:60], wait_s if kind == "rate" else None)


_KINDS_IN_WORDS: tuple[tuple[ProviderFailure, str], ...] = (
    ("quota", r"insufficient|quota|credit|billing"),
    ("rate", r"rate.?limit|too many requests"),
    ("key", r"authenticat|permission|api.?key|unauthorized|forbidden"),
    ("request", r"invalid.?request|not.?found|context.?length|too.?large"),
)


def _count(usage: dict[str, Any], name: str) -> int:
    value = usage.get(name)
    return value if isinstance(value, int) else 0


def _content(content: object) -> str:
    """The text of a content field: a string, or a list of parts of which only text is said."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(
            part["text"]
            for part in content
            if isinstance(part, dict)
            and part.get("type") == "text"
            and isinstance(part.get("text"), str)
        )
    return ""


class ThoughtFilter:
    """Takes ``<think>…</think>`` out of a text that comes in pieces, and the space before its first visible word."""

    OPEN = re.compile(r"<(think|thinking|thought|reasoning)>")

    def __init__(self) -> None:
        self.found = False
        self._closing = ""
        self._held = ""
        self._begun = False

    def feed(self, text: str) -> str:
        """What of ``text``, and of what was held back before it, may be said."""
        text = self._held + text
        self._held = ""
        said: list[str] = []
        while text:
            if self._closing:
                _, closed, after = text.partition(self._closing)
                if not closed:
                    self._held = text[-(len(self._closing) - 1) :]
                    break
                self._closing, text = "", after
            elif match := self.OPEN.search(text):
                said.append(text[: match.start()])
                self._closing, text = f"</{match[1]}>", text[match.end() :]
                self.found = True
            else:
                start = self._half_tag(text)
                said.append(text[:start])
                self._held = text[start:]
                break
        return self._trimmed("".join(said))

    def finish(self) -> str:
        """What was held back and turned out to be no tag."""
        held, self._held = self._held, ""
        return "" if self._closing else self._trimmed(held)

    @staticmethod
    def _half_tag(text: str) -> int:
        """Where the beginning of a tag starts that the next piece may complete."""
        start = text.rfind("<", max(0, len(text) - len("<reasoning>")))
        if start >= 0 and any(
            f"<{name}>".startswith(text[start:])
            for name in ("think", "thinking", "thought", "reasoning")
        ):
            return start
        return len(text)

    def _trimmed(self, text: str) -> str:
        if not self._begun:
            text = text.lstrip()
            self._begun = bool(text)
        return text
