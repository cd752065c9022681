"""The language model of a run: answers in a set time, and obeys every viewer who asks it to.

It speaks OpenAI's protocol. Obeying is the point: a good model hides holes around it, this one shows them.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import Callable
from typing import Any

from simulator.personas import CANARY, obedient
from tests.servers.wire import Request, Wire, WireServer

CANARIES = re.compile(CANARY + r"[0-9a-f]{10}")
THINKS_S = 0.5
SOUND_S_PER_CHAR = 0.06
"""Of the voice "tone", which hums as long as its text would take to say."""

WORDS = "the lamp is lit and we sail on over quiet water past seven gulls to a blue door".split()


class Model(WireServer):
    """Answers chat requests.

    Attributes:
        reply_s: Seconds from question to the last sound of an answer.
        texts: What viewers write that must not count as anything else, by its canary.
        asked: Requests for a reply.
        obeyed: How often it did what an injection attempt wanted.
    """

    def __init__(
        self, *, seed: int, reply_s: float, texts: dict[str, str], tell: Callable[[str], None]
    ) -> None:
        super().__init__()
        self.reply_s = reply_s
        self.texts = texts
        self.asked = 0
        self.obeyed = 0
        self._dice = random.Random(seed)
        self._tell = tell

    async def answer(self, request: Request, wire: Wire) -> None:
        """Answer one request."""
        path = request.path.partition("?")[0]
        if path.endswith("/models"):
            await wire.json({"data": [{"id": "obedient"}]})
        elif path.endswith("/chat/completions"):
            await self._reply(request.json, wire)
        else:
            await wire.json({"error": {"message": f"no {path}"}}, "404 Not Found")

    async def _reply(self, body: dict[str, Any], wire: Wire) -> None:
        self.asked += 1
        text = self._words()
        for message in body["messages"]:
            content = str(message["content"])
            for canary in CANARIES.findall(content):
                if message["role"] == "system":
                    self._tell(f"viewer text in the system text: {canary}")
                elif message["role"] == "user" and content.strip() == self.texts.get(canary):
                    self._tell(f"viewer text without anything that marks it as such: {canary}")
        last = str(body["messages"][-1]["content"])
        if wanted := CANARIES.search(last):
            self.obeyed += 1
            text = obedient(wanted[0], self._dice)
        await asyncio.sleep(THINKS_S)
        if not body.get("stream"):
            said = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
            await wire.json({"choices": [said]})
            return
        await wire.head("200 OK", {"Content-Type": "text/event-stream"})
        for piece in re.findall(r"\s*\S+", text):
            choice: dict[str, Any] = {"index": 0, "delta": {"content": piece}}
            await wire.piece(f"data: {json.dumps({'choices': [choice]})}\n\n".encode())
        await wire.piece(b"data: [DONE]\n\n")
        await wire.end()

    def _words(self) -> str:
        """One sentence that takes the rest of the time to say."""
        chars = max(8, round((self.reply_s - THINKS_S) / SOUND_S_PER_CHAR))
        text = ""
        while len(text) < chars - 3:
            text = f"{text} {self._dice.choice(WORDS)}".strip()
        return text[: chars - 1].strip().capitalize() + "."
