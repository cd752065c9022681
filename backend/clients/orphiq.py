"""A connection to a server that speaks the Open-LLM-VTuber protocol: one line for each conversation.

Its messages carry no ids. What belongs to which turn follows from their order: a turn begins with the first
``conversation-chain-start`` after our text, and what is left of an older one is let run out before, behind a heartbeat
that the server answers in its turn. Nothing here waits without an end, and nothing of the server's is believed.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from random import SystemRandom
from typing import Any, Literal
from urllib.parse import urlsplit, urlunsplit

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from backend.audio.errors import AudioError
from backend.audio.wav import read_linear_wav
from backend.contracts.entities import Audio
from backend.contracts.errors import EngineUnavailableError, ProviderError, ProviderFailure
from backend.core.addresses import origin_of
from backend.core.background import Background
from backend.core.clock import monotonic_s
from backend.core.http import USER_AGENT, Provider, redact, stalled, unreachable
from backend.core.network import (
    AddressRefusedError,
    ConnectError,
    Resolve,
    checked_addresses,
    reason_of,
    ssl_context,
)
from backend.core.workers import run_in_thread

logger = logging.getLogger(__name__)

SETTING = "ORPHIQ_WEBSOCKET_URL"
PATH = "/client-ws"

MOST_FRAME_BYTES = 16 << 20
"""A minute of speech as base64 of a 48 kHz WAV file has 8 MB."""
LONG_FRAME = 128 << 10
"""Longer frames are read on a thread: here they would hold up the loop for more than a few ms."""
MOST_HELD_BYTES = 32 << 20
"""Sound of a turn that may wait for whoever plays it; then the server waits."""
MOST_HELD = 256
MOST_TEXT = 20_000
MOST_SOUND_S = 180.0
MOST_NONSENSE = 200
"""Frames that say nothing until a server is left."""
BREATHE_EVERY = 32
"""Frames after which others in the loop go first, however many wait."""

BACKOFF_S = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
DEAD_AFTER = 2
"""Heartbeats that go unanswered until a connection counts as dead."""

SILENT_S = 3.0
"""Longest wait for the first piece of a text from a server that seems not to know such requests."""

ASK_AGAIN_S = 300.0
"""How long a server that did not answer a request is taken for one that does not know it."""

STATUS_LINES = ("thinking...", "connection established", "ai wants to speak something...")
"""What `full-text` says without being a reply."""
SPOKEN_ERRORS = ("error calling the chat endpoint", "error: 'usage'")
"""How a reply begins that is none: such servers have the character say what their provider answered."""

_dice = SystemRandom()


@dataclass(frozen=True, slots=True)
class Waits:
    """Longest waits, in seconds.

    Attributes:
        connect_s: For the connection, and again for the server's first words.
        first_s: From our text to the first part of the reply.
        between_s: Between two parts.
        total_s: For a whole reply, counting only the waiting.
        answer_s: For the answer to a small request.
        beat_s: Between two signs of life on a line on which nobody talks.
    """

    connect_s: float = 5.0
    first_s: float = 20.0
    between_s: float = 20.0
    total_s: float = 300.0
    answer_s: float = 3.0
    beat_s: float = 20.0


@dataclass(frozen=True, slots=True)
class Place:
    """A server, as the operator names it.

    Attributes:
        url: ws:// or wss:// (http and https are taken too); without a path it is /client-ws.
        token: Sent as a bearer token; for servers that want one, as another Luma does. None of our own keys is ever sent.
        waits: How patient we are.
        resolve: Name lookup; None uses the system's.
        backoff_s: Pauses between attempts to connect again; the last one repeats.
        idle_s: How long a line on which nobody talks stays connected; later it is connected again on demand.
    """

    url: str
    token: str = field(default="", repr=False)
    waits: Waits = Waits()
    resolve: Resolve | None = None
    backoff_s: tuple[float, ...] = BACKOFF_S
    idle_s: float = 600.0

    @property
    def provider(self) -> Provider:
        """Whom failures name."""
        return Provider(
            "orphiq",
            "The Open-LLM-VTuber server",
            key_setting="ORPHIQ_TOKEN",
            url_setting=SETTING,
            secrets=(self.token,) if self.token else (),
        )


@dataclass(frozen=True, slots=True)
class Configuration:
    """Who the server says its character is.

    Attributes:
        name: Of the character or configuration.
        uid: Of the configuration.
        client_uid: Which client we are there.
        faces: Names of its expressions by number.
    """

    name: str = ""
    uid: str = ""
    client_uid: str = ""
    faces: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Piece:
    """One sentence of a reply, as the server spoke it.

    Attributes:
        text: As it is shown there; tags may be in it.
        sound: None where it sent none, or none that can be read.
        faces: Expressions that begin with it; numbers are turned into names where the server's model has them.
        speaker: Name it is shown under.
    """

    text: str
    sound: Audio | None = None
    faces: tuple[str, ...] = ()
    speaker: str = ""

    @property
    def size(self) -> int:
        """Bytes it holds."""
        return len(self.text) + (len(self.sound.pcm) if self.sound is not None else 0)


def address_of(url: str) -> str:
    """The WebSocket address that ``url`` means.

    Raises:
        EngineUnavailableError: It is none, with what to do.
    """
    text = url.strip()
    parts = urlsplit(text)
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    try:
        if scheme not in ("ws", "wss"):
            raise ValueError("it must start with ws:// or wss:// and name a host")
        origin_of(urlunsplit(parts._replace(scheme="https" if scheme == "wss" else "http")))
    except ValueError as error:
        shown = redact(text.partition("?")[0].rpartition("@")[2], limit=120)
        why = str(error).replace("http:// or https://", "ws:// or wss://")
        raise EngineUnavailableError(
            f"{SETTING} is {shown!r}, which cannot be used: {why}. An example: ws://127.0.0.1:12393/client-ws"
        ) from error
    path = PATH if parts.path in ("", "/") else parts.path
    return urlunsplit((scheme, parts.netloc, path, parts.query, ""))


class Line:
    """One connection over which one conversation is held: kept alive while it is used, and made again when it breaks.

    Args:
        place: The server.
        keeps_history: Whether the server shall begin a history for it, and take it up again after a break; off for a
            line on which nothing is remembered.
    """

    def __init__(self, place: Place, *, keeps_history: bool = True) -> None:
        self.place = place
        self.configuration = Configuration()
        self.used_s = monotonic_s()
        self._address = address_of(place.url)
        self._waits = place.waits
        self._provider = place.provider
        self._keeps_history = keeps_history
        self._history = ""
        self._socket: ClientConnection | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._attempt: asyncio.Future[None] | None = None
        self._hurry = asyncio.Event()
        self._chain: _Chain | None = None
        self._writing: _Writing | None = None
        self._owes_end = False
        """A chain was cut whose end has not come: the next end may be that one's."""
        self._asked: deque[_Asked] = deque()
        self._unknown: dict[str, float] = {}
        """Requests that this server did not answer, and until when they are not sent again."""
        self._extended: bool | None = None
        self._talking = asyncio.Lock()
        self._tasks = Background(logger)
        self._nonsense = 0
        self._has_told_of_sound = False
        self._is_ready = False
        self._is_closed = False

    @property
    def is_up(self) -> bool:
        """Whether it is connected right now."""
        return self._is_ready

    @property
    def is_busy(self) -> bool:
        """Whether a reply or a text comes over it."""
        return self._talking.locked()

    # --- talking ---

    async def turn(self, text: str) -> AsyncGenerator[Piece, None]:
        """Say something, and yield the reply sentence by sentence; ends when the server has sent all of it.

        The server waits then until it is told that all was heard (`played`), or what was (`interrupted`). Leave early
        only inside ``aclosing``.

        Raises:
            ProviderError: unreachable, stalled, server (it said an error, or left), malformed.
        """
        self.used_s = monotonic_s()
        async with self._talking:
            await self._connected()
            await self._settle()
            chain = self._chain = _Chain()
            try:
                await self._send("text-input", text=text, images=[])
                left_s, waited_s = self._waits.first_s, 0.0
                while True:
                    began_s = monotonic_s()
                    allowed_s = max(0.0, min(left_s, self._waits.total_s - waited_s))
                    try:
                        async with asyncio.timeout(allowed_s):
                            piece = await chain.next()
                    except TimeoutError:
                        what = (
                            "no part of the reply came" if not chain.has_spoken else "no more came"
                        )
                        raise stalled(self._provider, f"{what} for {allowed_s:.3g} s") from None
                    if piece is None:
                        return
                    waited_s += monotonic_s() - began_s
                    left_s = self._waits.between_s
                    yield piece
            finally:
                self.used_s = monotonic_s()
                if not chain.is_whole:
                    chain.drop()
                    self._tasks.spawn(self._abandon(chain), "leaving an orphiq reply")

    async def played(self) -> None:
        """Tell that all of the last reply was heard; whatever comes of it is no error."""
        chain = self._chain
        if chain is not None:
            await self._acknowledge(chain)

    async def interrupted(self, heard: str) -> None:
        """Tell that the last reply was cut short, and what of it was heard; whatever comes of it is no error."""
        chain = self._chain
        if chain is None or chain.is_over or chain.is_cut:
            return
        chain.drop()
        if not chain.is_open:
            self._hang_up("a turn was taken back before it began")
            return
        chain.is_cut = True
        self._owes_end = True
        with suppress(ProviderError):
            await self._send("interrupt-signal", text=heard[:MOST_TEXT])

    async def generate(
        self, prompt: str, context: Mapping[str, object], options: Mapping[str, object]
    ) -> AsyncGenerator[str, None]:
        """Text on demand, piece by piece, where the server knows that.

        Raises:
            EngineUnavailableError: It does not.
            ProviderError: As for `turn`.
        """
        kind = "text-generation-request"
        self.used_s = monotonic_s()
        async with self._talking:
            await self._connected()
            if self._does_not_know(kind):
                raise self._no_text()
            # The server of that project is silent about what it does not know: its silence is not waited for as long.
            is_extended = await self._is_extended()
            first_s = self._waits.first_s if is_extended else min(SILENT_S, self._waits.first_s)
            writing = self._writing = _Writing()
            try:
                await self._send(kind, prompt=prompt, context=context, options=options)
                while True:
                    wait_s = self._waits.between_s if writing.has_begun else first_s
                    try:
                        async with asyncio.timeout(wait_s):
                            text = await writing.next()
                    except TimeoutError:
                        if not writing.has_begun:
                            self._learn_unknown(kind)
                            raise self._no_text() from None
                        raise stalled(
                            self._provider, f"no more of the text came for {wait_s:.3g} s"
                        ) from None
                    if text is None:
                        return
                    yield text
            finally:
                self._writing = None
                if not writing.is_whole:
                    # Nothing in the protocol takes a request back: what still comes must not be taken for the next text.
                    self._hang_up("a text was taken back")

    async def command(
        self, kind: Literal["expression-command", "motion-command"], **fields: object
    ) -> bool:
        """Move the server's character; False when it does not know such commands.

        Raises:
            ProviderError: It refused, with its words; or there is no connection.
        """
        await self._connected()
        if self._does_not_know(kind):
            return False
        answer = await self._ask(kind, kind.replace("command", "ack"), **fields)
        if answer is None:
            self._learn_unknown(kind)
        return answer is not None

    async def probe(self) -> str:
        """Ask for a sign of life; says in one line who answered and how fast.

        Raises:
            ProviderError, EngineUnavailableError: It is not there, or is no such server.
        """
        await self._connected()
        began_s = monotonic_s()
        if await self._ask("heartbeat", "heartbeat-ack") is None:
            raise stalled(
                self._provider, f"no answer to a heartbeat within {self._waits.answer_s:.3g} s"
            )
        name = self.configuration.name or "a character without a name"
        return f"{name} at {self._shown} answers in {(monotonic_s() - began_s) * 1000:.0f} ms"

    async def forget(self) -> None:
        """Begin a new history at the server: what was said before is not remembered there any more."""
        self._history = ""
        if self._is_ready:
            async with self._talking:
                with suppress(ProviderError):
                    await self._begin_history()

    async def close(self) -> None:
        """Leave for good."""
        self._is_closed = True
        await self._tasks.close()

    # --- the chain of a turn ---

    async def _settle(self) -> None:
        """Let run out what is left of the turn before, so that nothing of it is taken for the next one.

        Raises:
            ProviderError: There is no connection any more.
        """
        chain, self._chain = self._chain, None
        if chain is None or chain.is_over:
            return
        if chain.is_whole and not chain.is_cut:
            self._chain = chain
            await self._acknowledge(chain)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._waits.answer_s):
                    await chain.over.wait()
            self._chain = None
            if chain.is_over:
                return
        if not chain.is_cut:
            self._chain = chain
            await self.interrupted("")
            self._chain = None
        if self._is_ready and chain.is_open:
            if await self._ask("heartbeat", "heartbeat-ack") is not None:
                return
            self._hang_up("it did not answer after an interrupted turn")
        # It is not known what the server still does: on another connection nothing of it arrives.
        await self._connected()

    async def _acknowledge(self, chain: _Chain) -> None:
        if chain.is_acknowledged or not chain.is_whole or chain.is_over:
            return
        chain.is_acknowledged = True
        with suppress(ProviderError):
            await self._send("frontend-playback-complete")

    async def _abandon(self, chain: _Chain) -> None:
        """A reply that nobody takes any more: stop it, unless who takes it says in a moment what was heard."""
        await asyncio.sleep(self._waits.answer_s)
        if self._chain is chain:
            await self.interrupted("")

    # --- the connection ---

    @property
    def _shown(self) -> str:
        return redact(self._address.partition("?")[0], self._provider.secrets, 200)

    async def _connected(self) -> None:
        """Wait for the connection; the next attempt to make one begins now.

        Raises:
            ProviderError, EngineUnavailableError: It could not be made.
        """
        if self._is_closed:
            raise self._closed()
        if self._is_ready:
            return
        if self._keeper is None or self._keeper.done():
            self._attempt = asyncio.get_running_loop().create_future()
            self._keeper = self._tasks.spawn(self._keep(), "orphiq line")
        self._hurry.set()
        attempt = self._attempt
        assert attempt is not None
        longest_s = 2 * self._waits.connect_s + 2 * self._waits.answer_s + 1.0
        try:
            async with asyncio.timeout(longest_s):
                await asyncio.shield(attempt)
        except TimeoutError:
            raise stalled(self._provider, f"no connection within {longest_s:.3g} s") from None

    async def _keep(self) -> None:
        """Be connected, and again after every break, with growing pauses."""
        failures = 0
        loop = asyncio.get_running_loop()
        while True:
            attempt = self._attempt
            assert attempt is not None
            self._hurry.clear()
            failure: ProviderError | EngineUnavailableError = self._closed()
            was_ready = False
            try:
                await self._once(attempt)
            except (ProviderError, EngineUnavailableError) as error:
                failure = error
                was_ready = attempt.done()
                logger.debug("line to %s: %s", self._shown, error.message)
            except Exception as error:
                # A bug of ours costs this connection; whoever waits for it must not wait for ever.
                logger.exception("the line to %s broke", self._shown)
                failure = self._left(None)
                failure.__cause__ = error
            finally:
                self._lost(failure)
                if not attempt.done():
                    attempt.set_exception(failure)
                    attempt.exception()  # nobody may be waiting
                if self._attempt is attempt:
                    self._attempt = loop.create_future()
            if self._is_idle:
                self._keeper = None
                return
            failures = 1 if was_ready else failures + 1
            pause_s = self.place.backoff_s[min(failures, len(self.place.backoff_s)) - 1]
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s * _dice.uniform(0.8, 1.2)):
                    await self._hurry.wait()

    async def _once(self, attempt: asyncio.Future[None]) -> None:
        """One connection from its beginning to its end."""
        socket = await self._open()
        reading: asyncio.Task[None] | None = None
        try:
            await self._greet(socket)
            self._socket = socket
            reading = asyncio.create_task(self._read(socket), name="orphiq reading")
            if self._keeps_history:
                await self._begin_history()
            if reading.done():
                reading.result()
            self._is_ready = True
            attempt.set_result(None)
            await self._live(reading)
        except ProviderError:
            socket.transport.abort()  # whoever waits for what comes must not wait for a polite end
            raise
        finally:
            if reading is not None:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)
            with suppress(WebSocketException, OSError, TimeoutError):
                async with asyncio.timeout(1):
                    await socket.close()

    async def _open(self) -> ClientConnection:
        parts = urlsplit(self._address)
        is_secure = parts.scheme == "wss"
        host, port = parts.hostname or "", parts.port or (443 if is_secure else 80)
        more: dict[str, Any] = {}
        if is_secure:
            more = {"ssl": await run_in_thread(ssl_context), "server_hostname": host}
        headers = {"Authorization": f"Bearer {self.place.token}"} if self.place.token else {}
        failure: Exception = ConnectError(f"the name {host!r} has no address")
        try:
            addresses = await checked_addresses(
                host,
                port,
                may_be_private=True,  # the operator has named it
                connect_s=self._waits.connect_s,
                resolve=self.place.resolve,
            )
        except (AddressRefusedError, ConnectError) as error:
            raise unreachable(self._provider, self._shown, str(error)) from error
        for address in addresses:
            try:
                return await _Connect(
                    self._address,
                    host=address,
                    port=port,
                    additional_headers=headers,
                    user_agent_header=USER_AGENT,
                    proxy=None,
                    compression=None,
                    open_timeout=self._waits.connect_s,
                    ping_interval=None,  # while a reply waits to be played nothing is read, pongs neither
                    close_timeout=0.5,
                    max_size=MOST_FRAME_BYTES,
                    max_queue=8,
                    **more,
                )
            except InvalidStatus as error:
                raise self._refused(error.response.status_code) from error
            except TimeoutError:
                failure = ConnectError(
                    f"{address} did not answer within {self._waits.connect_s:.3g} s"
                )
            except OSError as error:
                failure = ConnectError(reason_of(error))
            except (WebSocketException, ValueError) as error:
                failure = ConnectError(f"it speaks no WebSocket there: {error}")
        raise unreachable(self._provider, self._shown, str(failure)) from failure

    def _refused(self, status: int) -> ProviderError:
        what = {
            401: "it wants a token: set ORPHIQ_TOKEN",
            403: "it lets nobody in from here: set ORPHIQ_TOKEN, or its setting for clients of this kind",
            404: "there is no such path; most servers listen at /client-ws",
        }.get(status, "it does not open a WebSocket there")
        kind: ProviderFailure = "key" if status in (401, 403) else "request"
        return ProviderError(
            f"The Open-LLM-VTuber server at {self._shown} answered {status}: {what}. Check {SETTING}.",
            kind=kind,
            provider=self._provider.name,
        )

    async def _greet(self, socket: ClientConnection) -> None:
        """Wait for the server's first words; who says other things is no such server."""
        try:
            async with asyncio.timeout(self._waits.connect_s):
                for _ in range(MOST_NONSENSE):
                    message = await _message(await socket.recv())
                    if message.get("type") == "set-model-and-conf":
                        self._configure(message)
                        return
        except TimeoutError:
            pass
        except ConnectionClosed as error:
            raise self._left(error) from error
        raise ProviderError(
            f"What answers at {self._shown} did not greet as an Open-LLM-VTuber server does. Check {SETTING}.",
            kind="malformed",
            provider=self._provider.name,
        )

    async def _begin_history(self) -> None:
        """Take up the history of this line, or begin one; servers that keep none just do not answer."""
        if self._history:
            known = await self._ask(
                "fetch-and-set-history", "history-data", history_uid=self._history
            )
            if known is not None and "messages" in known:
                return
        made = await self._ask("create-new-history", "new-history-created")
        uid = made.get("history_uid") if made is not None else None
        self._history = uid[:200] if isinstance(uid, str) else ""

    async def _live(self, reading: asyncio.Task[None]) -> None:
        """Give signs of life until the connection ends."""
        unanswered = 0
        while True:
            done, _ = await asyncio.wait({reading}, timeout=self._waits.beat_s)
            if done:
                reading.result()
                return
            if self._is_idle:
                return
            if self._talking.locked():
                continue  # a reply is awaited, with deadlines of its own
            unanswered = (
                0 if await self._ask("heartbeat", "heartbeat-ack") is not None else unanswered + 1
            )
            if unanswered >= DEAD_AFTER:
                raise stalled(self._provider, "it answers no heartbeat")

    async def _read(self, socket: ClientConnection) -> None:
        count = 0
        try:
            async for frame in socket:
                count += 1
                if count % BREATHE_EVERY == 0:
                    await asyncio.sleep(0)
                message = await _message(frame)
                if not message:
                    self._nonsense += 1
                    if self._nonsense > MOST_NONSENSE:
                        raise ProviderError(
                            f"What answers at {self._shown} sends no messages that can be read. Check {SETTING}.",
                            kind="malformed",
                            provider=self._provider.name,
                        )
                    continue
                self._nonsense = 0
                await self._take(message)
        except ConnectionClosed as error:
            raise self._left(error) from error
        raise self._left(None)

    def _left(self, error: ConnectionClosed | None) -> ProviderError:
        sent = error.sent if error is not None else None
        if sent is not None and sent.code == 1009:
            return ProviderError(
                f"The Open-LLM-VTuber server sent more than {MOST_FRAME_BYTES >> 20} MB in one message.",
                kind="malformed",
                provider=self._provider.name,
            )
        if sent is not None and sent.code in (1002, 1007):
            return ProviderError(
                "The Open-LLM-VTuber server broke the rules of WebSocket.",
                kind="malformed",
                provider=self._provider.name,
            )
        got = error.rcvd if error is not None else None
        why = redact(got.reason, self._provider.secrets, 100) if got is not None else ""
        return ProviderError(
            f"The Open-LLM-VTuber server closed the connection{f' (“{why}”)' if why else ''}.",
            kind="server",
            provider=self._provider.name,
        )

    def _lost(self, why: ProviderError | EngineUnavailableError) -> None:
        """Nothing more comes over this connection."""
        self._socket = None
        self._is_ready = False
        self._owes_end = False
        self._nonsense = 0
        self._extended = None
        gone = why
        if isinstance(why, ProviderError) and why.kind == "server":
            gone = ProviderError(
                "The Open-LLM-VTuber server closed the connection in the middle of its answer.",
                kind="server",
                provider=self._provider.name,
            )
        while self._asked:
            self._asked.popleft().give(None)
        chain, self._chain = self._chain, None
        if chain is not None:
            chain.end(None if chain.is_whole else gone)
        if self._writing is not None:
            self._writing.end(gone)

    def _hang_up(self, why: str) -> None:
        """End this connection; another one is made."""
        logger.debug("line to %s is made anew: %s", self._shown, why)
        socket, self._socket = self._socket, None
        self._is_ready = False
        if socket is not None:
            if self._attempt is None or self._attempt.done():
                self._attempt = asyncio.get_running_loop().create_future()
            self._hurry.set()
            socket.transport.abort()

    async def _send(self, kind: str, **fields: object) -> None:
        socket = self._socket
        if socket is None:
            raise self._left(None)
        text = orjson.dumps({"type": kind, **fields}).decode()
        try:
            async with asyncio.timeout(self._waits.connect_s):
                await socket.send(text)
        except ConnectionClosed as error:
            raise self._left(error) from error
        except TimeoutError:
            self._hang_up("it does not read")
            raise stalled(self._provider, "it does not read what is sent") from None

    async def _ask(self, kind: str, answer: str, **fields: object) -> Mapping[str, Any] | None:
        """Send a small request; None when nothing answers it.

        Raises:
            ProviderError: It answered with an error; or there is no connection.
        """
        found = await self._request(kind, answer, **fields)
        if found is not None and found.get("type") == "error":
            if kind in ("expression-command", "motion-command") and not _is_unknown(found):
                raise self._said(found)
            return None
        return found

    async def _request(self, kind: str, answer: str, **fields: object) -> Mapping[str, Any] | None:
        """Send a small request; its answer or an error in place of it, None when nothing comes."""
        asked = _Asked(answer, asyncio.get_running_loop().create_future())
        self._asked.append(asked)
        try:
            await self._send(kind, **fields)
            async with asyncio.timeout(self._waits.answer_s):
                return await asked.answer
        except TimeoutError:
            return None
        finally:
            if asked in self._asked:
                self._asked.remove(asked)

    @property
    def _is_idle(self) -> bool:
        return not self._talking.locked() and monotonic_s() - self.used_s > self.place.idle_s

    async def _is_extended(self) -> bool:
        """Whether the server answers messages that the project's own does not know, if only with an error."""
        if self._extended is None:
            told = await self._request("get-backend-mode", "backend-mode")
            self._extended = told is not None
        return self._extended

    def _does_not_know(self, kind: str) -> bool:
        return self._unknown.get(kind, 0.0) > monotonic_s()

    def _learn_unknown(self, kind: str) -> None:
        self._unknown[kind] = monotonic_s() + ASK_AGAIN_S

    def _closed(self) -> EngineUnavailableError:
        return EngineUnavailableError("The line to the Open-LLM-VTuber server is closed.")

    # --- what comes ---

    async def _take(self, message: Mapping[str, Any]) -> None:
        kind = message["type"]
        chain = self._chain
        for asked in self._asked:
            if asked.kind == kind:
                self._asked.remove(asked)
                asked.give(message)
                break
        match kind:
            case "set-model-and-conf":
                self._configure(message)
            case "control":
                self._obey(_text(message.get("text"))[:100], chain)
            case "audio":
                if chain is not None and chain.is_open and message.get("forwarded") is not True:
                    await self._hear(message, chain)
            case "full-text":
                if chain is not None and chain.is_open:
                    chain.note(_text(message.get("text")))
            case "backend-synth-complete":
                # Some servers say it twice, and wait twice; and nobody listens to what was not asked for.
                is_ours = chain is not None and chain.is_open
                if chain.is_acknowledged if chain is not None and is_ours else not self._owes_end:
                    await self._send("frontend-playback-complete")
                if chain is not None and is_ours:
                    chain.complete()
            case "error":
                self._be_told(message, chain)
            case "text-generation-chunk" | "text-generation-response":
                if self._writing is not None:
                    self._writing.take(
                        _text(message.get("text")), is_last=kind.endswith("response")
                    )

    def _configure(self, message: Mapping[str, Any]) -> None:
        model = message.get("model_info")
        faces: dict[int, str] = {}
        known = model.get("emotionMap") if isinstance(model, dict) else None
        if isinstance(known, dict):
            for name, number in islice(known.items(), 500):
                if isinstance(number, int) and not isinstance(number, bool):
                    faces.setdefault(number, str(name)[:64])
        self.configuration = Configuration(
            name=_text(message.get("conf_name"))[:100],
            uid=_text(message.get("conf_uid"))[:200],
            client_uid=_text(message.get("client_uid"))[:200] or self.configuration.client_uid,
            faces=faces,
        )

    def _obey(self, order: str, chain: _Chain | None) -> None:
        if chain is None:
            if order == "conversation-chain-end":
                self._owes_end = False
            return
        if order == "conversation-chain-start" and not chain.is_cut:
            chain.is_open = True
        elif order == "conversation-chain-end":
            if not chain.is_open:
                self._owes_end = False
                return  # of the turn before
            if self._owes_end and not chain.is_cut and not chain.has_spoken and not chain.is_whole:
                self._owes_end = False
                return
            self._owes_end = False
            chain.end(None)
        elif order == "interrupt" and chain.is_open:
            # Somebody has stopped it there: what was sent is what there is.
            chain.complete()

    async def _hear(self, message: Mapping[str, Any], chain: _Chain) -> None:
        if chain.is_dropped:
            return
        shown = message.get("display_text")
        shown = shown if isinstance(shown, dict) else {}
        text = _text(shown.get("text"))
        if not chain.has_spoken and text.casefold().lstrip("[]( ").startswith(SPOKEN_ERRORS):
            chain.end(self._said({"message": text}))
            return
        actions = message.get("actions")
        wanted = actions.get("expressions") if isinstance(actions, dict) else None
        sound, why = await _sound(message.get("audio"))
        if why:
            # Once: a server whose sound cannot be read sends it with every sentence.
            level = logging.DEBUG if self._has_told_of_sound else logging.WARNING
            logger.log(level, "%s sends sound that cannot be used: %s", self._shown, why)
            self._has_told_of_sound = True
        piece = Piece(
            text=text,
            sound=sound,
            faces=tuple(self._faces(wanted)),
            speaker=_text(shown.get("name"))[:100],
        )
        if piece.text.strip() or piece.sound is not None or piece.faces:
            await chain.put(piece)

    def _faces(self, wanted: object) -> list[str]:
        found = []
        for face in wanted[:8] if isinstance(wanted, list) else ():
            if isinstance(face, str) and face.strip():
                found.append(face.strip()[:64])
            elif isinstance(face, int) and not isinstance(face, bool):
                found.append(self.configuration.faces.get(face, str(face)))
        return found

    def _be_told(self, message: Mapping[str, Any], chain: _Chain | None) -> None:
        """An error: of the request that waits for its answer, else of the turn."""
        for asked in self._asked:
            if asked.kind != "heartbeat-ack":
                self._asked.remove(asked)
                asked.give(message)
                return
        if self._writing is not None:
            if _is_unknown(message):
                self._learn_unknown("text-generation-request")
                self._writing.end(self._no_text())
            else:
                self._writing.end(self._said(message))
        elif chain is not None and not chain.is_whole:
            chain.end(self._said(message))
        else:
            logger.debug("%s says: %s", self._shown, _text(message.get("message"))[:300])

    def _said(self, message: Mapping[str, Any]) -> ProviderError:
        words = redact(_text(message.get("message")).strip(), self._provider.secrets)
        return ProviderError(
            f"The Open-LLM-VTuber server could not answer{f' (“{words}”)' if words else ''}. Its own log says more.",
            kind="server",
            provider=self._provider.name,
        )

    def _no_text(self) -> EngineUnavailableError:
        return EngineUnavailableError(
            f"The server at {self._shown} writes no text on demand (text-generation-request). Use another mode for that."
        )


class _Connect(connect):
    """Connects where it was told to, and nowhere else: a redirect is a refusal."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


@dataclass(eq=False, slots=True)
class _Asked:
    """A request whose answer is awaited; ``kind`` is the answer's type."""

    kind: str
    answer: asyncio.Future[Mapping[str, Any] | None]

    def give(self, message: Mapping[str, Any] | None) -> None:
        if not self.answer.done():
            self.answer.set_result(message)


class _Chain:
    """One turn as it comes in.

    Attributes:
        is_open: The server has begun it.
        is_whole: All of it was sent.
        is_over: The server has ended it, or the connection has.
        is_cut: We have told the server to stop it.
        is_dropped: Nobody takes it any more.
        has_spoken: Something of it came.
    """

    def __init__(self) -> None:
        self.is_open = False
        self.is_whole = False
        self.is_cut = False
        self.is_dropped = False
        self.is_acknowledged = False
        self.has_spoken = False
        self.over = asyncio.Event()
        self._pieces: deque[Piece] = deque()
        self._held = 0
        self._failure: ProviderError | EngineUnavailableError | None = None
        self._filled = asyncio.Event()
        self._drained = asyncio.Event()
        self._noted: list[str] = []

    @property
    def is_over(self) -> bool:
        return self.over.is_set()

    async def put(self, piece: Piece) -> None:
        """Hand over a sentence; waits while much waits."""
        while not self.is_dropped and (
            self._held > MOST_HELD_BYTES or len(self._pieces) >= MOST_HELD
        ):
            self._drained.clear()
            await self._drained.wait()
        if self.is_dropped or self.is_whole or self._failure is not None:
            return
        self.has_spoken = True
        self._pieces.append(piece)
        self._held += piece.size
        self._filled.set()

    def note(self, text: str) -> None:
        """A line that is shown and not spoken: the reply of servers that send nothing else."""
        if text.strip().casefold() not in STATUS_LINES and len(self._noted) < MOST_HELD:
            self._noted.append(text)

    async def next(self) -> Piece | None:
        """The next sentence; None when all of it came."""
        while not self._pieces:
            if self._failure is not None:
                raise self._failure
            if self.is_whole:
                return None
            self._filled.clear()
            await self._filled.wait()
        piece = self._pieces.popleft()
        self._held -= piece.size
        self._drained.set()
        return piece

    def complete(self) -> None:
        """No more will come."""
        if not self.has_spoken and not self.is_whole and not self.is_dropped:
            text = " ".join(self._noted).strip()
            if text:
                self.has_spoken = True
                self._pieces.append(Piece(text[:MOST_TEXT]))
        if self._failure is None:
            self.is_whole = True
        self._filled.set()

    def end(self, failure: ProviderError | EngineUnavailableError | None) -> None:
        """The server has ended it, or says why it cannot; who refuses before the beginning has ended it too."""
        if failure is None:
            self.complete()
        elif not self.is_whole and self._failure is None:
            self._failure = failure
        if failure is None or not self.is_open:
            self.over.set()
        self._filled.set()
        self._drained.set()

    def drop(self) -> None:
        """Nobody takes it any more."""
        self.is_dropped = True
        self._pieces.clear()
        self._held = 0
        self._drained.set()
        self._filled.set()


class _Writing:
    """A text on demand as it comes in."""

    def __init__(self) -> None:
        self.has_begun = False
        self.is_whole = False
        self._texts: deque[str] = deque()
        self._written = ""
        self._failure: ProviderError | EngineUnavailableError | None = None
        self._filled = asyncio.Event()

    def take(self, text: str, *, is_last: bool) -> None:
        """A piece; the last one holds the whole text, of which what is new counts."""
        self.has_begun = True
        if is_last:
            text = text.removeprefix(self._written) if text.startswith(self._written) else ""
        if text and len(self._written) < MOST_TEXT:
            self._written += text
            self._texts.append(text)
        if is_last:
            self.is_whole = True
        self._filled.set()

    async def next(self) -> str | None:
        while not self._texts:
            if self._failure is not None:
                raise self._failure
            if self.is_whole:
                return None
            self._filled.clear()
            await self._filled.wait()
        return self._texts.popleft()

    def end(self, failure: ProviderError | EngineUnavailableError) -> None:
        if not self.is_whole:
            self._failure = failure
            self.is_whole = True
        self._filled.set()


async def _message(frame: str | bytes) -> dict[str, Any]:
    """A frame as a message with a type; empty when it is none."""
    if isinstance(frame, bytes):
        return {}
    try:
        if len(frame) > LONG_FRAME:
            found = await run_in_thread(orjson.loads, frame)
        else:
            found = orjson.loads(frame)
    except (orjson.JSONDecodeError, UnicodeEncodeError):
        return {}
    is_message = isinstance(found, dict) and isinstance(found.get("type"), str)
    return found if is_message else {}


def _text(value: object) -> str:
    """Text as it may be shown: bounded, without control characters."""
    if not isinstance(value, str):
        return ""
    return "".join(
        char if char.isprintable() or char in "\u200d\ufe0f" else " " for char in value[:MOST_TEXT]
    )


async def _sound(value: object) -> tuple[Audio | None, str]:
    """The sound of a base64 WAV file; None, and why, when it is none that can be read: its text still counts."""
    if not isinstance(value, str) or not value:
        return None, ""
    try:
        pcm, rate_hz = await run_in_thread(_unpacked, value)
    except (AudioError, binascii.Error, ValueError) as error:
        return None, str(error)
    audio = Audio(pcm, rate_hz)
    if audio.duration_s > MOST_SOUND_S:
        return None, f"a sentence with {audio.duration_s:.0f} s of sound"
    return audio, ""


def _unpacked(value: str) -> tuple[bytes, int]:
    return read_linear_wav(base64.b64decode(value, validate=True))


def _is_unknown(message: Mapping[str, Any]) -> bool:
    """Whether an error says that the server has no such message, or none for us, rather than what is wrong with it."""
    words = _text(message.get("message")).casefold()
    return any(
        sign in words
        for sign in ("no message", "unknown message", "not there yet", "needs the api token")
    )
