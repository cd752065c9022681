"""A server with the Open-LLM-VTuber protocol that answers as the recorded one did, or misbehaves in the ways of `FAULTS`.

By hand: ``python -m tests.servers.orphiq --port 12393 --fault slow``, then ORPHIQ_WEBSOCKET_URL=ws://127.0.0.1:12393/client-ws.
Orders and fields are read from the recorded session; only its sound is made here, as it was left out of the recording.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import io
import json
import math
import random
import ssl
import wave
from collections.abc import Awaitable, Callable
from copy import deepcopy
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from tests.servers.listening import Listening

SESSION = Path(__file__).parent.parent / "fixtures" / "open_llm_vtuber_session.jsonl"
RATE_HZ = 24_000
SECRET = "kraken-4711"
"""Words inside every error that is spoken or told."""

Message = dict[str, Any]
Sentence = tuple[str, list[int | str]]
"""What is shown, and the faces that begin with it."""


def recorded() -> list[tuple[Message, list[Message]]]:
    """What the recorded client sent, each with what the server answered before the next."""
    steps: list[tuple[Message, list[Message]]] = [({}, [])]
    for line in SESSION.read_text("utf-8").splitlines():
        entry = json.loads(line)
        if entry["dir"] == "S>C":
            steps[-1][1].append(entry["msg"])
        elif entry["msg"]["type"] != "frontend-playback-complete":
            steps.append((entry["msg"], []))
    return steps


def sound(
    seconds: float = 0.05, *, rate_hz: int = RATE_HZ, width: int = 2, channels: int = 1
) -> str:
    """Base64 of a WAV file with a 220 Hz tone."""
    full = (1 << (8 * width - 1)) - 1
    frames = bytearray()
    for n in range(round(seconds * rate_hz)):
        value = round(0.3 * full * math.sin(2 * math.pi * 220 * n / rate_hz))
        one = (value + 128 if width == 1 else value).to_bytes(width, "little", signed=width > 1)
        frames += one * channels
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(width)
        out.setframerate(rate_hz)
        out.writeframes(bytes(frames))
    return base64.b64encode(file.getvalue()).decode()


@dataclass(eq=False)
class Peer:
    """One connected client."""

    socket: ServerConnection
    uid: str
    history: str = ""
    turn: asyncio.Task[None] | None = None
    played: asyncio.Event = field(default_factory=asyncio.Event)
    acknowledgements: int = 0
    lines: list[str] = field(default_factory=list)
    """What was said to it and by it: the memory of this connection."""


class OrphiqServer(Listening):
    """Greets, lists, answers and is interrupted as the recorded server was.

    Attributes:
        fault: Name of the way to misbehave, empty for none; one of `FAULTS`.
        reply: Its sentences; the recorded ones by default.
        heard: Everything that came, in order, with the uid of who sent it.
        knows: Requests of the extended protocol that it answers.
        hush_s: Pause before each sentence.
    """

    def __init__(
        self,
        *,
        fault: str = "",
        port: int = 0,
        knows: frozenset[str] = frozenset(),
        token: str = "",
        tls: ssl.SSLContext | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.dice = random.Random(seed)
        self.tls = tls
        self.fault = fault
        self.port = port
        self.knows = knows
        self.token = token
        self.hush_s = 0.0
        self.waits_for_player = True
        self.closes_what_it_cuts = False
        """The recorded server sends nothing more of an interrupted turn; others send its end."""
        self.heard: list[tuple[str, Message]] = []
        self.headers: list[dict[str, str]] = []
        self.connections = 0
        self.peers: dict[str, Peer] = {}
        self.histories: dict[str, list[str]] = {}
        self.errors: list[Exception] = []
        self.steps = recorded()
        self.reply: list[Sentence] = [
            (answer["display_text"]["text"], answer["actions"].get("expressions", []))
            for answer in self._answers("text-input")
            if answer["type"] == "audio"
        ]
        self.sound: Callable[[], str | None] = sound
        self._server: Server | None = None

    # --- from beginning to end ---

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"{'wss' if self.tls else 'ws'}://127.0.0.1:{self.port}/client-ws"

    async def listen(self) -> None:
        """Begin to accept connections, on the same port as before."""
        if self._server is None:
            self._server = await serve(
                self._serve,
                "127.0.0.1",
                self.port,
                process_request=self._let_in,
                ssl=self.tls,
                compression=None,
                max_size=None,
                ping_interval=None,
                close_timeout=0.2,
            )
            self.port = next(iter(self._server.sockets)).getsockname()[1]

    async def refuse(self) -> None:
        """Accept no connection any more, and drop those that are open."""
        if self._server is not None:
            for peer in list(self.peers.values()):
                peer.socket.transport.abort()
            self._server.close()
            await self._server.wait_closed()
            self._server = None

    def said(self, kind: str) -> list[Message]:
        """Everything of one type that came."""
        return [message for _, message in self.heard if message["type"] == kind]

    def _let_in(self, socket: ServerConnection, request: Request) -> Response | None:
        self.headers.append({name.lower(): value for name, value in request.headers.raw_items()})
        if self.fault == "redirect":
            response = socket.respond(HTTPStatus.FOUND, "over there\n")
            response.headers["Location"] = "/elsewhere"
            return response
        if request.path.partition("?")[0] != "/client-ws":
            return socket.respond(HTTPStatus.NOT_FOUND, "not here\n")
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            return socket.respond(HTTPStatus.UNAUTHORIZED, "who are you?\n")
        return None

    async def _serve(self, socket: ServerConnection) -> None:
        self.connections += 1
        peer = Peer(socket, f"client-{self.connections}")
        self.peers[peer.uid] = peer
        try:
            if self.fault == "no greeting":
                await socket.wait_closed()
                return
            for message in self.steps[0][1]:
                await self._tell(peer, message)
            async for frame in socket:
                message = json.loads(frame)
                self.heard.append((peer.uid, message))
                self._changed.set()
                await self._obey(peer, message)
        except ConnectionClosed:
            pass
        except Exception as error:
            self.errors.append(error)  # a mistake of this server, not a behaviour
            raise
        finally:
            self.peers.pop(peer.uid, None)
            if peer.turn is not None:
                peer.turn.cancel()
                await asyncio.gather(peer.turn, return_exceptions=True)
            self._changed.set()

    async def _tell(self, peer: Peer, message: Message, **changes: object) -> None:
        told = {**deepcopy(message), **changes}
        if "client_uid" in told:
            told["client_uid"] = peer.uid
        await peer.socket.send(json.dumps(told))

    async def _control(self, peer: Peer, text: str) -> None:
        await self._tell(peer, {"type": "control", "text": text})

    def _answers(self, kind: str) -> list[Message]:
        return next((answers for sent, answers in self.steps if sent.get("type") == kind), [])

    # --- what it does ---

    async def _obey(self, peer: Peer, message: Message) -> None:
        match message["type"]:
            case "text-input":
                text = str(message["text"])
                peer.lines.append(text)
                await self._stop(peer)
                peer.turn = asyncio.create_task(self._turn(peer, text))
            case "interrupt-signal":
                had = peer.turn is not None and not peer.turn.done()
                await self._stop(peer)
                if self.fault == "late" and had:
                    await self._sentence(peer, ("This is late.", []))
                    await self._control(peer, "conversation-chain-end")
                elif self.closes_what_it_cuts and had:
                    await self._control(peer, "conversation-chain-end")
            case "frontend-playback-complete":
                peer.acknowledgements += 1
                peer.played.set()
            case "create-new-history":
                if self.fault == "no history":
                    return
                peer.history = f"history-{peer.uid}"
                peer.lines = self.histories[peer.history] = []
                await self._tell(
                    peer, self._answers("create-new-history")[0], history_uid=peer.history
                )
            case "fetch-and-set-history":
                known = self.histories.get(str(message["history_uid"]))
                if known is None:
                    await self._tell(peer, {"type": "error", "message": "no such history"})
                else:
                    peer.history, peer.lines = str(message["history_uid"]), known
                    await self._tell(peer, {"type": "history-data", "messages": []})
            case "heartbeat" if self.fault == "deaf":
                return
            case "expression-command" | "motion-command" as kind if kind in self.knows:
                await self._command(peer, kind, message)
            case "text-generation-request" as kind if kind in self.knows:
                await self._write(peer, message)
            case "get-backend-mode" if self.knows:
                await self._tell(peer, {"type": "backend-mode", "mode": "autonomous"})
            case "expression-command" | "motion-command" | "text-generation-request":
                return  # the recorded server is silent about what it does not know
            case kind:
                for answer in self._answers(kind):
                    await self._tell(peer, answer)

    async def _stop(self, peer: Peer) -> None:
        if peer.turn is not None:
            peer.turn.cancel()
            await asyncio.gather(peer.turn, return_exceptions=True)
            peer.turn = None

    async def _turn(self, peer: Peer, text: str) -> None:
        if self.fault == "silent":
            return
        peer.played.clear()
        await self._control(peer, "conversation-chain-start")
        await self._tell(peer, {"type": "full-text", "text": "Thinking..."})
        if self.fault in FAULTS and FAULTS[self.fault] is not None:
            if await FAULTS[self.fault](self, peer):  # type: ignore[misc]  # None was looked at
                return
        for sentence in self.reply:
            await self._sentence(peer, sentence)
        peer.lines.append(" ".join(shown for shown, _ in self.reply))
        await self._end(peer)

    async def _sentence(self, peer: Peer, sentence: Sentence, **changes: object) -> None:
        if self.hush_s:
            await asyncio.sleep(self.hush_s)
        shown, faces = sentence
        model = next(a for a in self._answers("text-input") if a["type"] == "audio")
        made = {
            "audio": self.sound(),
            "volumes": [0.5],
            "display_text": {**model["display_text"], "text": shown},
            "actions": {"expressions": faces} if faces else {},
            **changes,
        }
        await self._tell(peer, model, **made)

    async def _end(self, peer: Peer) -> None:
        """As recorded: said twice, then it waits for the player, for ever."""
        for _ in range(2):
            await self._tell(peer, {"type": "backend-synth-complete"})
        if self.waits_for_player:
            await peer.played.wait()
        await self._tell(peer, {"type": "force-new-message"})
        await self._control(peer, "conversation-chain-end")

    async def _command(self, peer: Peer, kind: str, message: Message) -> None:
        if message.get("expression_id") == "nope":
            await self._tell(
                peer, {"type": "error", "message": "There is no face 'nope'; there is joy."}
            )
            return
        answer = {**message, "type": kind.replace("command", "ack"), "result": {}}
        await self._tell(peer, answer)

    async def _write(self, peer: Peer, message: Message) -> None:
        texts = ["Written ", "about ", str(message["prompt"])[:40]]
        for text in texts:
            await self._tell(
                peer, {"type": "text-generation-chunk", "text": text, "is_complete": False}
            )
        if self.fault == "stalled text":
            return
        await self._tell(
            peer,
            {"type": "text-generation-response", "text": "".join(texts), "is_complete": True},
        )


# --- misbehaviour: each does it inside a turn that has begun, and says whether the turn is over ---


async def _never_ends(server: OrphiqServer, peer: Peer) -> bool:
    await server._sentence(peer, server.reply[0])
    return True


async def _says_error(server: OrphiqServer, peer: Peer) -> bool:
    await server._tell(peer, {"type": "error", "message": f"the provider failed: {SECRET}"})
    return True


async def _speaks_error(server: OrphiqServer, peer: Peer) -> bool:
    words = f"Error calling the chat endpoint: Connection error. {SECRET}"
    await server._sentence(peer, (words, []))
    await server._end(peer)
    return True


async def _breaks_off(server: OrphiqServer, peer: Peer) -> bool:
    await server._sentence(peer, server.reply[0])
    peer.socket.transport.close()
    return True


async def _huge(server: OrphiqServer, peer: Peer) -> bool:
    await server._sentence(peer, ("Too much.", []), audio="A" * (17 << 20))
    return True


async def _nonsense(server: OrphiqServer, peer: Peer) -> bool:
    for frame in ("{", "[]", "null", '{"type": 5}', "{}", '{"type": "audio"}', "[" * 5000, b"\0"):
        await peer.socket.send(frame)
    wrongs: tuple[Message, ...] = (
        {"audio": 5},
        {"display_text": []},
        {"actions": 7},
        {"audio": {"a": 1}},
    )
    for wrong in wrongs:
        await server._sentence(peer, ("", []), **wrong)
    return False


KINDS = (
    "control audio full-text error backend-synth-complete force-new-message set-model-and-conf group-update heartbeat-ack"
    " user-input-transcription new-history-created history-data expression-ack motion-ack text-generation-chunk"
    " text-generation-response config-switched background-files tool_call_status interrupt-signal"
).split()
FIELDS = (
    "text audio display_text actions forwarded message model_info conf_name client_uid history_uid expressions name"
    " emotionMap members volumes slice_length is_complete"
).split()


def _any(dice: random.Random, depth: int = 0) -> object:
    """Any value JSON can hold."""
    kind = dice.randrange(8 if depth < 3 else 6)
    if kind < 2:
        return dice.choice(("", "Thinking...", "\0\u202e", "[joy]", "x" * 500, "UklGRg=="))
    if kind == 2:
        return dice.choice((0, -1, 3, 1e308, 2**70, True, None, 0.5))
    if kind < 5:
        return None
    if kind == 5:
        return dice.choice(FIELDS)
    if kind == 6:
        return [_any(dice, depth + 1) for _ in range(dice.randrange(4))]
    return {dice.choice(FIELDS): _any(dice, depth + 1) for _ in range(dice.randrange(5))}


async def _noise(server: OrphiqServer, peer: Peer) -> bool:
    """Messages of every kind with wrong fields; none of those that end a turn by being what they are."""
    dice = server.dice
    for _ in range(150):
        message = {dice.choice(FIELDS): _any(dice) for _ in range(dice.randrange(5))}
        kind = dice.choice(KINDS)
        is_an_end = kind in ("backend-synth-complete", "error") or (
            kind == "control" and str(message.get("text")).startswith(("interrupt", "conv"))
        )
        if kind == "audio":
            message["display_text"] = dice.choice((None, 5, [], {"text": 7}, {}))
            message["audio"] = dice.choice((None, 5, [], {}, "AAAA", "\0"))
            message["actions"] = dice.choice(
                (None, 5, [], {"expressions": 5}, {"expressions": [[]]})
            )
        await server._tell(peer, {**message, "type": "full-text" if is_an_end else kind})
    return False


async def _endless_nonsense(server: OrphiqServer, peer: Peer) -> bool:
    with contextlib.suppress(ConnectionClosed):
        while True:
            await peer.socket.send("no json")
            await asyncio.sleep(0)
    return True


async def _bad_sound(server: OrphiqServer, peer: Peer) -> bool:
    sounds = (
        "AAAA",
        "not base64!",
        base64.b64encode(b"RIFF\0\0\0\0WAVE").decode(),
        7,
        sound()[:60],
    )
    for n, bad in enumerate(sounds):
        await server._sentence(peer, (f"Sentence {n}.", []), audio=bad)
    await server._end(peer)
    return True


async def _no_sound(server: OrphiqServer, peer: Peer) -> bool:
    for sentence in server.reply:
        await server._sentence(peer, sentence, audio=None, volumes=[])
    await server._end(peer)
    return True


async def _only_text(server: OrphiqServer, peer: Peer) -> bool:
    await server._tell(peer, {"type": "full-text", "text": "I have no voice at all."})
    await server._control(peer, "conversation-chain-end")
    return True


async def _nothing(server: OrphiqServer, peer: Peer) -> bool:
    await server._control(peer, "conversation-chain-end")
    return True


async def _forwards(server: OrphiqServer, peer: Peer) -> bool:
    await server._sentence(peer, ("Somebody else's.", []), forwarded=True)
    return False


async def _slow(server: OrphiqServer, peer: Peer) -> bool:
    await asyncio.sleep(3600)
    return True


Fault = Callable[[OrphiqServer, Peer], Awaitable[bool]]

FAULTS: dict[str, Fault | None] = {
    "never ends": _never_ends,
    "error": _says_error,
    "spoken error": _speaks_error,
    "breaks off": _breaks_off,
    "huge": _huge,
    "nonsense": _nonsense,
    "noise": _noise,
    "endless nonsense": _endless_nonsense,
    "bad sound": _bad_sound,
    "no sound": _no_sound,
    "only text": _only_text,
    "nothing": _nothing,
    "forwards": _forwards,
    "slow": _slow,
    "late": None,
    "silent": None,
    "deaf": None,
    "no greeting": None,
    "no history": None,
    "redirect": None,
    "stalled text": None,
}
"""What it does wrong, by name; None: elsewhere than inside a turn."""


async def _by_hand(arguments: argparse.Namespace) -> None:
    knows = frozenset({"expression-command", "motion-command", "text-generation-request"})
    server = OrphiqServer(fault=arguments.fault, port=arguments.port, knows=knows)
    server.hush_s = arguments.pause
    server.sound = lambda: sound(0.8)
    async with server:
        print(f"ORPHIQ_WEBSOCKET_URL={server.url}", flush=True)  # noqa: T201 - for whoever started it by hand
        await asyncio.Event().wait()


def main() -> None:
    """Serve until Ctrl+C."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=12393)
    parser.add_argument("--fault", default="", choices=["", *FAULTS])
    parser.add_argument("--pause", type=float, default=0.3, help="seconds before each sentence")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_by_hand(parser.parse_args()))


if __name__ == "__main__":
    main()
