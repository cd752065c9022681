"""An LLM server with OpenAI's and Anthropic's protocols that answers well in many ways, or fails in thirteen.

By hand: ``python -m tests.servers.llm --port 9001 --fault stall --seed 5``, then OPENAI_COMPATIBLE_URL=http://127.0.0.1:9001/v1.
What varies inside a way of answering (where the line is cut, the words of an error, sizes, pauses) comes from the seed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any

from tests.servers.wire import Request, Wire, WireServer

SENTENCES = (
    "The harbour lights are on tonight.",
    "I counted seven gulls on the roof!",
    "Do you want to hear about the lighthouse?",
    "It rained for three days, then it stopped.",
    "My favourite colour is the grey before a storm.",
    "Nobody expected the ferry to be on time.",
)
COMPLAINTS = (
    "upstream worker {n} fell over",
    "Anfrage {n} konnte nicht verarbeitet werden",
    "リクエスト {n} を処理できません",
    "la requête {n} a échoué, désolé",
    "недостаточно ресурсов, код {n}",
)
PAUSE_FOR_EVER_S = 3600.0


@dataclass(frozen=True, slots=True)
class Style:
    """How a good answer looks on the wire."""

    done: bool = True
    usage: bool = True
    newline: str = "\n"
    comments: bool = False
    role_first: bool = True
    empty_pieces: bool = False
    thoughts: str = ""
    """"", "field" (reasoning_content) or "tags" (<think>)."""
    split: bool = False
    """Cut the bytes anywhere, also inside a letter."""
    as_json: bool = False
    null_choices: bool = False

    @classmethod
    def any(cls, dice: random.Random) -> Style:
        """One of all the ways."""

        def yes() -> bool:
            return dice.random() < 0.5

        return cls(
            done=yes(),
            usage=yes(),
            newline=dice.choice(("\n", "\r\n")),
            comments=yes(),
            role_first=yes(),
            empty_pieces=yes(),
            thoughts=dice.choice(("", "", "field", "tags")),
            split=yes(),
            as_json=dice.random() < 0.1,
            null_choices=yes(),
        )


class LlmServer(WireServer):
    """Answers chat requests.

    Attributes:
        fault: Name of the way to fail, empty for none; one of `FAULTS`. "refused" also needs `set_fault`.
        reply: What it says; empty = some sentences chosen by the dice.
        style: How good answers look; None = chosen by the dice each time.
        canary: Words that stand in every error and every half-sent garbage, to be found where they must not be.
        token_s: Pause between tokens.
    """

    def __init__(self, *, seed: int = 0, fault: str = "", reply: str = "", port: int = 0) -> None:
        super().__init__(port)
        self.dice = random.Random(seed)
        self.fault = fault
        self.reply = reply
        self.style: Style | None = Style()
        self.canary = f"kraken{self.dice.randrange(10**6, 10**7)}"
        self.token_s = 0.0
        self.models = ["small-1", "large-2"]
        self.key = ""
        """When set, requests need it."""
        self.replies: list[str] = []
        self.writing = 0
        """Replies that are being written right now; a client that leaves ends its own."""
        self.refusals: list[tuple[str, dict[str, Any]]] = []
        """Answers (status, JSON) given once each, before anything else."""

    async def set_fault(self, name: str) -> None:
        """Fail in this way from now on; empty = answer well."""
        assert not name or name in FAULTS, name
        self.fault = name
        if name == "refused":
            await self.refuse()
        else:
            await self.listen()

    async def answer(self, request: Request, wire: Wire) -> None:
        path = request.path.partition("?")[0]
        if request.method == "HEAD":
            await wire.head("404 Not Found", {"Content-Length": "0"}, chunked=False)
        elif self.key and not _has_key(request, self.key):
            await wire.json({"error": {"message": "no such key"}}, "401 Unauthorized")
        elif path.endswith("/models"):
            await wire.json({"data": [{"id": name} for name in self.models]})
        elif path.endswith("/key"):
            await wire.json({"data": {"label": "test"}})
        elif path.endswith(("/chat/completions", "/messages")):
            await self._reply(request, wire)
        else:
            await wire.json({"error": {"message": f"no {path}"}}, "404 Not Found")

    async def _reply(self, request: Request, wire: Wire) -> None:
        if self.refusals:
            status, body = self.refusals.pop(0)
            await wire.json(body, status)
            return
        count = self.dice.randint(2, 4)
        text = self.reply or " ".join(self.dice.sample(SENTENCES, count))
        claude = request.path.startswith("/v1/messages")
        talk = Talk(self, request, wire, text, claude)
        self.writing += 1
        try:
            if self.fault:
                await FAULTS[self.fault](talk)
            else:
                self.replies.append(text)
                await talk.good()
        finally:
            self.writing -= 1


class Talk:
    """One request and the means to answer it."""

    def __init__(
        self, server: LlmServer, request: Request, wire: Wire, text: str, claude: bool
    ) -> None:
        self.server = server
        self.request = request
        self.wire = wire
        self.text = text
        self.claude = claude
        self.dice = server.dice
        self.tokens: list[str] = re.findall(r"\s*\S+", text)

    def complaint(self) -> str:
        """The words of an error: some language, the canary, and the key the client sent, as careless servers do."""
        key = self.request.headers.get("authorization") or self.request.headers.get("x-api-key", "")
        words = self.dice.choice(COMPLAINTS).format(n=self.dice.randrange(1000))
        return f"{words} {self.server.canary} key={key}" + " pad" * self.dice.randrange(200)

    async def error(self, status: str, headers: dict[str, str] | None = None) -> None:
        """An error answer in one of the shapes servers use."""
        said = self.complaint()
        shape = self.dice.randrange(4)
        if shape == 0:
            body, kind = f"<html><title>{said}</title><body>{said}</body></html>", "text/html"
        elif shape == 1:
            body, kind = said, "text/plain; charset=utf-8"
        elif shape == 2:
            body, kind = json.dumps({"error": said}), "application/json"
        else:
            body, kind = json.dumps({"error": {"message": said, "code": None}}), "application/json"
        await self.wire.whole(status, body.encode(), kind, headers)

    async def start(self, content_type: str = "text/event-stream") -> None:
        """The head of a stream."""
        await self.wire.head("200 OK", {"Content-Type": content_type})

    def event(self, token: str) -> str:
        """The data of an event with this much text."""
        if self.claude:
            delta = {"type": "text_delta", "text": token}
            return json.dumps({"type": "content_block_delta", "index": 0, "delta": delta})
        return json.dumps({"choices": [{"index": 0, "delta": {"content": token}}]})

    async def say(self, tokens: list[str]) -> None:
        """Some tokens as well-formed events."""
        for token in tokens:
            await self.wire.piece(f"data: {self.event(token)}\n\n".encode())

    def cut_at(self) -> int:
        """A place between two tokens, after the first and before the last."""
        return self.dice.randrange(1, len(self.tokens))

    async def good(self) -> None:
        """The whole reply, as the server's style wants it."""
        style = self.server.style or Style.any(self.dice)
        if self.claude:
            await self._good_claude(style)
            return
        if style.as_json:
            choice = {
                "message": {"role": "assistant", "content": self.text},
                "finish_reason": "stop",
            }
            usage = {"prompt_tokens": 7, "completion_tokens": len(self.tokens)}
            await self.wire.json({"choices": [choice], "usage": usage})
            return
        await self.start()
        pending = b""
        async for piece in self._events(style):
            data = pending + piece.replace("\n", style.newline).encode()
            pending = b""
            if style.split and len(data) > 3:
                middle = self.dice.randrange(1, len(data))
                data, pending = data[:middle], data[middle:]
            await self.wire.piece(data)
            if self.server.token_s:
                await asyncio.sleep(self.server.token_s)
        await self.wire.piece(pending)
        await self.wire.end()

    async def _events(self, style: Style) -> AsyncIterator[str]:
        def chunk(delta: dict[str, object], finish: str | None = None) -> str:
            choice = {"index": 0, "delta": delta, "finish_reason": finish}
            return f"data: {json.dumps({'id': 'x', 'choices': [choice]}, ensure_ascii=False)}\n\n"

        if style.comments:
            yield ": OPENROUTER PROCESSING\n\n"
        if style.role_first:
            yield chunk({"role": "assistant", "content": "" if style.empty_pieces else None})
        if style.thoughts == "field":
            for thought in ("They ask ", self.server.canary):
                yield chunk({"content": None, "reasoning_content": thought})
        tokens = list(self.tokens)
        if style.thoughts == "tags":
            tokens[:0] = ["<th", "ink>", "secret ", self.server.canary, " </thi", "nk>\n\n"]
        for token in tokens:
            if style.empty_pieces and self.dice.random() < 0.3:
                yield chunk({"content": ""})
            if style.comments and self.dice.random() < 0.3:
                yield ": keep-alive\n\n"
            yield chunk({"content": token})
        yield chunk({}, "stop")
        if style.usage:
            usage = {"prompt_tokens": 7, "completion_tokens": len(self.tokens)}
            yield f"data: {json.dumps({'choices': [], 'usage': usage})}\n\n"
        if style.done:
            yield "data: [DONE]\n\n"

    async def _good_claude(self, style: Style) -> None:
        await self.start()

        async def send(name: str, **fields: object) -> None:
            text = f"event: {name}\ndata: {json.dumps({'type': name, **fields})}\n\n"
            await self.wire.piece(text.replace("\n", style.newline).encode())

        await send("message_start", message={"usage": {"input_tokens": 7, "output_tokens": 1}})
        await send("content_block_start", index=0, content_block={"type": "text", "text": ""})
        await send("ping")
        if style.thoughts:
            delta = {"type": "thinking_delta", "thinking": self.server.canary}
            await send("content_block_delta", index=0, delta=delta)
        for token in self.tokens:
            delta = {"type": "text_delta", "text": token}
            await send("content_block_delta", index=0, delta=delta)
        await send("content_block_stop", index=0)
        counted = {"output_tokens": len(self.tokens)}
        await send("message_delta", delta={"stop_reason": "end_turn"}, usage=counted)
        await send("message_stop")
        await self.wire.end()


def _has_key(request: Request, key: str) -> bool:
    return key in (
        request.headers.get("authorization", "").removeprefix("Bearer "),
        request.headers.get("x-api-key"),
    )


# --- the thirteen ways to fail ------------------------------------------------------------------------------------


async def too_many(talk: Talk) -> None:
    """429, with Retry-After as seconds, as a date, or without."""
    wait = talk.dice.choice((None, str(talk.dice.randint(20, 90)), formatdate(4e9, usegmt=True)))
    await talk.error(f"429 {_status_text(talk.dice)}", {"Retry-After": wait} if wait else None)


async def wrong_key(talk: Talk) -> None:
    """401 or 403."""
    await talk.error(f"{talk.dice.choice((401, 403))} {_status_text(talk.dice)}")


async def broken_inside(talk: Talk) -> None:
    """5xx."""
    await talk.error(f"{talk.dice.choice((500, 502, 503, 504, 529))} {_status_text(talk.dice)}")


async def refused(talk: Talk) -> None:
    """No connection: `LlmServer.set_fault` has closed the door; one that slipped in is dropped."""
    talk.wire.abort()


async def hang(talk: Talk) -> None:
    """Not a byte of an answer, or a head and then nothing."""
    if talk.dice.random() < 0.5:
        await talk.start()
        if talk.dice.random() < 0.5:
            while True:
                await talk.wire.piece(b": still here\n\n")
                await asyncio.sleep(0.05)
    await asyncio.sleep(PAUSE_FOR_EVER_S)


async def stall(talk: Talk) -> None:
    """Some tokens, then nothing, the connection open; or only signs of life without a token."""
    await talk.start()
    await talk.say(talk.tokens[: talk.cut_at()])
    busy = talk.dice.random() < 0.5
    while busy:
        await talk.wire.piece(talk.dice.choice((b": ping\n\n", b'data: {"choices": []}\n\n')))
        await asyncio.sleep(0.05)
    await asyncio.sleep(PAUSE_FOR_EVER_S)


async def cut_short(talk: Talk) -> None:
    """The connection ends in the middle: reset, closed, or closed politely though the reply is not finished."""
    await talk.start()
    await talk.say(talk.tokens[: talk.cut_at()])
    rest = f"data: {talk.event(talk.server.canary)}"
    await talk.wire.piece(rest[: talk.dice.randrange(len(rest))].encode())
    # The client shall have read it before the reset arrives, which would throw away what is still in flight.
    await asyncio.sleep(0.05)
    if talk.dice.random() < 0.5:
        talk.wire.abort()
    else:
        await talk.wire.end()


async def malformed(talk: Talk) -> None:
    """Events that are no JSON, or JSON of another shape."""
    canary = talk.server.canary
    await talk.start()
    if talk.dice.random() < 0.5:
        await talk.say(talk.tokens[: talk.cut_at()])
    garbage = talk.dice.choice(
        (
            f'data: {{"choices": [{{"delta": {{"content": "{canary}\n\n',
            f"data: {canary} }}{{\n\n",
            f'data: ["{canary}"]\n\n',
            f'data: {{"choices": ["{canary}"]}}\n\n' if not talk.claude else f"data: {canary}\n\n",
            f'data: {{"error": "{canary}"}}\n\n'
            if not talk.claude
            else f'event: error\ndata: {{"type": "error", "error": {{"message": "{canary}"}}}}\n\n',
        )
    )
    await talk.wire.piece(garbage.encode())
    await talk.wire.end()


async def web_page(talk: Talk) -> None:
    """A page with status 200, as proxies and wrong addresses give."""
    page = f"<!DOCTYPE html><html><head><title>{talk.server.canary}</title></head><body>Log in</body></html>"
    kind = talk.dice.choice(("text/html", "text/html; charset=utf-8", "text/plain"))
    await talk.wire.whole("200 OK", b"\n" * talk.dice.randrange(3) + page.encode(), kind)


async def nothing(talk: Talk) -> None:
    """A whole answer without a word in it."""
    shape = talk.dice.randrange(3)
    if shape == 0:
        await talk.wire.whole("200 OK", b"", "text/event-stream")
        return
    await talk.start()
    if shape == 1 and not talk.claude:
        choice = {
            "index": 0,
            "delta": {"role": "assistant", "content": ""},
            "finish_reason": "stop",
        }
        await talk.wire.piece(f"data: {json.dumps({'choices': [choice]})}\n\n".encode())
    await talk.wire.piece(b"data: [DONE]\n\n" if not talk.claude else b"")
    await talk.wire.end()


async def huge_token(talk: Talk) -> None:
    """One token of 5 MB, with or without a good beginning."""
    await talk.start()
    if talk.dice.random() < 0.5:
        await talk.say(talk.tokens[: talk.cut_at()])
    size = talk.dice.randint(4_500_000, 5_500_000)
    event = f"data: {talk.event((talk.server.canary * (size // 13))[:size])}\n\n".encode()
    step = talk.dice.choice((1 << 14, 1 << 16, 1 << 20))
    for start in range(0, len(event), step):
        await talk.wire.piece(event[start : start + step])
    await talk.wire.end()


async def slow_loris(talk: Talk) -> None:
    """An answer letter by letter, so slowly that it never gets anywhere."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
    body = f": {'x' * 1000}\r\n\r\n"
    if talk.dice.random() < 0.5:
        await talk.wire.raw(head + b"Transfer-Encoding: chunked\r\n\r\n")
        talk.wire.chunked = True
        for letter in body:
            await talk.wire.piece(letter.encode())
            await asyncio.sleep(0.05)
    for letter in (head + b"X-Filler: " + b"y" * 1000).decode():
        await talk.wire.raw(letter.encode())
        await asyncio.sleep(0.05)
    await asyncio.sleep(PAUSE_FOR_EVER_S)


async def endless(talk: Talk) -> None:
    """A reply that never ends: the same words again and again."""
    await talk.start()
    while True:
        await talk.say(talk.tokens)
        await asyncio.sleep(0)


Fault = Callable[[Talk], Awaitable[None]]

FAULTS: dict[str, Fault] = {
    "429": too_many,
    "401": wrong_key,
    "500": broken_inside,
    "refused": refused,
    "hang": hang,
    "stall": stall,
    "cut": cut_short,
    "malformed": malformed,
    "html": web_page,
    "empty": nothing,
    "5mb-token": huge_token,
    "slow-loris": slow_loris,
    "no-end": endless,
}


def _status_text(dice: random.Random) -> str:
    return dice.choice(("Error", "Oh no", "Too Bad", "NOPE", "-"))


async def _run(port: int, fault: str, seed: int, reply: str, token_s: float) -> None:
    server = LlmServer(seed=seed, fault="" if fault == "refused" else fault, reply=reply, port=port)
    server.style = None
    server.token_s = token_s
    async with server:
        print(f"{server.url}/v1  fault: {fault or 'none'}  seed: {seed}", flush=True)  # noqa: T201 - its output
        if fault == "refused":
            await server.set_fault(fault)
        await asyncio.Event().wait()


def main() -> None:
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--fault", default="", choices=["", *FAULTS])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--reply", default="")
    parser.add_argument("--token-s", type=float, default=0.0)
    given = parser.parse_args()
    try:
        asyncio.run(_run(given.port, given.fault, given.seed, given.reply, given.token_s))
    except KeyboardInterrupt:
        return


if __name__ == "__main__":
    main()
