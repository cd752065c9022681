"""What one client is told of its turns: chain after chain, each closed, nothing of an old one after a new one began.

The client plays the sentences itself. What it heard is what it says with `interrupt-signal`; where it says nothing, what
its marks (`audio-play-start`) and the lengths of the sounds allow.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from backend.api.client_ws import messages
from backend.api.client_ws.outbox import Outbox
from backend.api.client_ws.sound import packed
from backend.chat.turn import Request
from backend.core.clock import monotonic_s
from backend.playback.player import Performance, SpokenPiece, heard_words, join

ORIGIN = "client-ws"
BY_ITSELF = "client-ws-idle"
"""Origin of messages that nobody wrote: they ask the character to speak by itself."""

ACKNOWLEDGE_S = 5.0
"""How much longer than the sound lasts its acknowledgement is waited for."""

LONGEST_HEARD = 50_000
"""Characters; a reply is shorter, whatever a client says."""

HOLD_S = 0.3
"""Clients drop sound that comes within 0.2 s of the beginning of the turn after an interrupted one."""


@dataclass(slots=True)
class _Sent:
    """One sentence as it went out."""

    text: str
    shown: dict[str, str]
    duration_s: float
    sent_s: float
    started_s: float | None = None


class Turns:
    """The turns of one client, one at a time, as `backend.chat.turn.Audience`.

    Args:
        outbox: Where to.
        now_s: Monotonic time.
    """

    def __init__(
        self,
        outbox: Outbox,
        now_s: Callable[[], float] = monotonic_s,
    ) -> None:
        self.outbox = outbox
        self.now_s = now_s
        self.face: Callable[[str], int | str | None] = _by_name
        """How the client's model calls an expression; None = it has none."""
        self.show: Show | None = None
        self.typed: set[str] = set()
        """Ids of turns whose message the client wrote: it knows what it says."""
        self.is_open = False
        self.opened_s = 0.0
        self._hold_until_s = 0.0
        self._was_interrupted = False
        self.is_asked_to_stop = False
        """The client itself interrupts: it has fallen silent and need not be told to."""

    def performer(self, request: Request) -> Show | None:
        """A show for what came from this client; whoever asked over REST fetches the sounds."""
        return Show(self, request) if request.origin in (ORIGIN, BY_ITSELF) else None

    @property
    def is_showing(self) -> bool:
        """Whether a reply is being shown, or was and is still being played."""
        return self.show is not None and not self.show.is_over

    def open(self) -> None:
        """Say that it is being thought, unless that was said; nothing while a reply is shown."""
        if self.show is not None and self.show.is_over:
            self.close()
        if self.is_open:
            return
        self.is_open = True
        self.opened_s = self.now_s()
        self._hold_until_s = self.opened_s + (HOLD_S if self._was_interrupted else 0.0)
        self._was_interrupted = False
        self.outbox.put(messages.control("conversation-chain-start"))
        self.outbox.put(messages.full_text(messages.THINKING))

    def stored(self, turn_id: str, *, is_reading: bool = False) -> None:
        """A turn has ended and is in the history: its chain ends too, whether anything was shown in it or not.

        Args:
            turn_id: Which turn.
            is_reading: What is said right now is being read; a chain without a reply was begun for that.
        """
        if self.show is not None and self.show.request.turn_id != turn_id:
            return
        if self.show is not None or not is_reading:
            self.close()

    def close(self) -> None:
        """End the chain."""
        if not self.is_open:
            return
        self.is_open = False
        show, self.show = self.show, None
        if show is not None:
            self.outbox.put({"type": "force-new-message"})
        self.outbox.put(messages.control("conversation-chain-end"))

    def give_up(self, why: str) -> None:
        """Nothing came of what was begun: say why."""
        self.outbox.put(messages.error(why))
        self.not_understood()

    def not_understood(self) -> None:
        """Nothing came of what was begun: end the chain when no reply is shown in it."""
        if self.show is not None and self.show.is_over:
            self.close()
        if self.show is None:
            # The client thinks already, whether it was told to or not.
            self.is_open = True
            self.close()

    async def held(self) -> None:
        """Wait until the client takes sound again."""
        if (wait_s := self._hold_until_s - self.now_s()) > 0:
            await asyncio.sleep(wait_s)

    def cut(self) -> None:
        """The turn that is shown was interrupted: nothing more of it leaves."""
        self.outbox.drop_sound()
        self._was_interrupted = True
        if not self.is_asked_to_stop:
            self.outbox.put(messages.control("interrupt"))

    def started(self, text: str) -> dict[str, str] | None:
        """A sentence begins to sound at the client; what is shown of it, None when it is none of ours."""
        return self.show.started(text) if self.show is not None else None

    def acknowledged(self) -> None:
        """The client has played everything."""
        if self.show is not None:
            self.show.acknowledged()

    def spelled(self, heard: str) -> str | None:
        """What the client says was heard, in our spelling; None when it is nothing that was sent."""
        return self.show.spelled(heard) if self.show is not None else None


@dataclass(eq=False)
class Show:
    """One reply at a client: a `backend.chat.turn.Performer` for one turn."""

    turns: Turns
    request: Request
    where: str = ORIGIN
    is_over: bool = False
    """Everything was sent and played, or it was stopped; the chain ends as soon as the turn is stored."""
    _sent: list[_Sent] = field(default_factory=list)
    _performance: Performance | None = None
    _acknowledged: asyncio.Event = field(default_factory=asyncio.Event)
    _is_complete: bool = False

    def begin(self, turn_id: str, conversation_id: str) -> Performance:
        """Show that it is being thought, and what was said."""
        turns, request = self.turns, self.request
        turns.open()
        turns.show = self
        if turn_id in turns.typed:
            turns.typed.discard(turn_id)
        elif request.origin == ORIGIN:
            turns.outbox.put({"type": "user-input-transcription", "text": request.text})
        self._performance = Performance(turn_id, conversation_id)
        return self._performance

    async def enqueue(self, performance: Performance, piece: SpokenPiece) -> None:
        """Send a sentence."""
        turns = self.turns
        sound, volumes = (None, []) if piece.audio is None else await packed(piece.audio)
        if not self._sent:
            await turns.held()
        await turns.outbox.room()
        shown = messages.display_text(piece.text, self.request.character)
        turns.outbox.put(
            messages.audio(
                sound,
                volumes,
                shown,
                expressions=[
                    face
                    for cue in piece.cues
                    if cue.kind == "expression" and (face := turns.face(cue.name)) is not None
                ],
            )
        )
        duration_s = piece.audio.duration_s if piece.audio is not None else 0.0
        self._sent.append(_Sent(piece.text, shown, duration_s, turns.now_s()))

    async def finish(self, performance: Performance) -> None:
        """Wait until the client says that it has played everything, or must have."""
        self.turns.outbox.put({"type": "backend-synth-complete"})
        self._is_complete = True
        if self._sent:
            length_s = sum(sent.duration_s for sent in self._sent)
            try:
                async with asyncio.timeout(length_s + ACKNOWLEDGE_S):
                    await self._acknowledged.wait()
            except TimeoutError:
                pass  # such a client has played it, or never will
        performance.heard[:] = [sent.text for sent in self._sent if sent.text]
        self.is_over = True

    async def stop(self, performance: Performance) -> None:
        """End it where it is."""
        performance.heard[:] = self._heard()
        self.is_over = True
        self.turns.cut()

    def acknowledged(self) -> None:
        """The client has played everything; what comes before it has everything belongs to an older turn."""
        if self._is_complete:
            self._acknowledged.set()

    def started(self, text: str) -> dict[str, str] | None:
        """The next sentence of that text begins to sound."""
        for sent in self._sent:
            if sent.started_s is None and sent.shown["text"].strip() == text.strip():
                sent.started_s = self.turns.now_s()
                if self._performance is not None and self._performance.first_sound_s is None:
                    self._performance.first_sound_s = sent.started_s
                return sent.shown
        return None

    def spelled(self, heard: str) -> str | None:
        """As `Turns.spelled`."""
        return spelled(heard, [sent.text for sent in self._sent if sent.text])

    def _heard(self) -> list[str]:
        """What can have been heard by now."""
        now_s = self.turns.now_s()
        has_marks = any(sent.started_s is not None for sent in self._sent)
        heard = []
        end_s = 0.0
        for sent in self._sent:
            begin_s = sent.started_s
            if begin_s is None:
                if has_marks and sent.duration_s:
                    continue
                begin_s = max(sent.sent_s, end_s)
            end_s = begin_s + sent.duration_s
            said = (
                sent.text
                if now_s >= end_s
                else heard_words(sent.text, now_s - begin_s, sent.duration_s)
            )
            if said:
                heard.append(said)
        return heard


def _by_name(name: str) -> str:
    return name


def spelled(heard: str, sent: Sequence[str]) -> str | None:
    """The beginning of the sentences that ``heard`` covers, spaces left aside; None when it is none of it.

    A client joins what it shows as it likes; what it adds of its own never becomes something the character said.
    """
    whole = join(sent)
    wanted = [char for char in heard[:LONGEST_HEARD] if not char.isspace()]
    if not wanted:
        return ""
    matched = 0
    for n, char in enumerate(whole):
        if char.isspace():
            continue
        if matched == len(wanted) or char != wanted[matched]:
            return whole[:n].rstrip() if matched else None
        matched += 1
    return whole if matched else None
