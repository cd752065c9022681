"""What may come in and what may go out: the one door to moderation.

`check_in` says what becomes of a viewer's message. A `Release` stands before everything public of one reply: a sentence
leaves it only after a look at all that left before plus the sentence, and an end that could begin a blocked phrase waits
for what follows. What a rule did is told as an event, without the text.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from backend.chat.moderation.judge import Judge, JudgeOptions
from backend.chat.moderation.normal import condensed, fold, seen
from backend.chat.moderation.profile import Listed, Profile, Profiles
from backend.chat.moderation.rules import STRENGTH, Compiled, Direction, Hit
from backend.contracts.audience import Emote, Verdict, Viewer
from backend.contracts.entities import Audio, Cue
from backend.contracts.errors import AppError
from backend.contracts.events import ModerationActed
from backend.core.bus import EventBus
from backend.core.clock import monotonic_s
from backend.playback.player import join

logger = logging.getLogger(__name__)

DEFAULT = "standard"

MOST_VIEWERS = 2_000
MOST_TEXTS = 2_000
KEPT_OF_ONE = 100
"""Of the messages of one viewer, and of the viewers of one text; the rule's own limits are not above it by much."""

CONTEXT_CHARS = 240
"""How much of what left already is looked at again with the next sentence."""

SAME_BREATH_S = 20.0
"""So long after a reply the next one is looked at together with its end: a phrase in two halves is heard as one."""

MOST_CONVERSATIONS = 200

HELD_RAW_CHARS = 1_000
HELD_CHARS = 200
HELD_OFFERS = 64
"""An end waits no longer than this, marks and noise left out of the second figure, and only while it still could go on to a blocked phrase: letters that are spelled, each as
a sentence of its own, are not let out one by one."""

PIECE_CHARS = 1_000
"""A longer sentence is looked at in pieces of this length."""

WHOLE_CHARS = 160
"""A sentence up to here waits as a whole: cut off before its last word it would sound broken. Of a longer one only the end waits."""

MOST_COVERS = 3
"""So often a text is looked at again after something in it was covered: what stood on both sides may be a phrase now."""

_SMALL = re.compile(r"(?<![^\W_])\d{1,3}(?![^\W_])")
"""A number that means something: "vote 2" is another message than "vote 1". What is longer, or hangs on a word, is noise."""

LONGEST_NAME = 100
NOT_SHOWN = "viewer"
"""What a viewer is called whose name may not be shown."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A sentence that may leave.

    Attributes:
        sound: That it came with; None when it came without, or its words were changed.
        cues: What the avatar does with it; they leave with it, and go with it when it is left out.
        is_end: It is only the end of one: what is before it has left.
    """

    text: str
    sound: Audio | None = None
    cues: tuple[Cue, ...] = ()
    is_end: bool = False


@dataclass(frozen=True, slots=True)
class Released:
    """What may leave now.

    Attributes:
        held_tail: What waits for the next sentence.
        verdict: What the rules said of what was looked at.
    """

    pieces: tuple[Piece, ...] = ()
    held_tail: str = ""
    verdict: Verdict = field(default_factory=Verdict)

    @property
    def text(self) -> str:
        """All of it."""
        return join(piece.text for piece in self.pieces if piece.text)


@dataclass(frozen=True, slots=True)
class Found:
    """One thing a rule found in a text that was tried."""

    hit: Hit
    pieces: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Tried:
    """What moderation would make of a text."""

    verdict: Verdict
    found: tuple[Found, ...]
    reads_as: str
    held_tail: str


class Moderator:
    """Rules in force, and what is remembered of who wrote what; for the backend's loop.

    Args:
        bus: Where `moderation.acted` goes; None = nobody is told.
        folder: The streamer's own profiles.
        now_s: Monotonic clock.
        judge: A language model that is asked too.
    """

    def __init__(
        self,
        folder: Path,
        bus: EventBus | None = None,
        *,
        judge: Judge | None = None,
        now_s: Callable[[], float] = monotonic_s,
    ) -> None:
        self.files = Profiles(folder)
        self.judge = judge
        self._bus = bus
        self._now_s = now_s
        self._said: OrderedDict[tuple[str, str], deque[tuple[float, bytes]]] = OrderedDict()
        self._texts: OrderedDict[bytes, OrderedDict[tuple[str, str], float]] = OrderedDict()
        self._names: OrderedDict[str, bool] = OrderedDict()
        self._safe_lines = 0
        self._left: OrderedDict[str, tuple[float, str]] = OrderedDict()
        self.problem = ""
        """Why the profile that is set is not the one in force; empty = it is."""
        self._compiled = Compiled(Profile(name="off"))
        self._is_set = False

    # --- which rules ---

    @property
    def profile(self) -> Profile:
        """The rules in force."""
        return self._compiled.profile

    @property
    def is_family(self) -> bool:
        """Whether the family-friendly switch is on."""
        return self._compiled.is_family

    @property
    def is_on(self) -> bool:
        """Whether any rule looks at anything."""
        judged = self.judge is not None and self.judge.options.asked != "off"
        return judged or self._compiled.looks("in") or self._compiled.looks("out")

    async def use(self, name: str, *, is_family: bool = False) -> str:
        """Put a profile in force from the next text on; gives why it cannot be used, empty when it can.

        Then the rules stay as they are, and where there are none the shipped default stands in: a typing error in a file
        must not end moderation.
        """
        try:
            await self.change(name, is_family=is_family)
        except AppError as error:
            logger.warning("moderation: %s", error.message)
            if not self._is_set:
                await self.change(DEFAULT, is_family=is_family)
            self.problem = error.message
        return self.problem

    def judge_as(self, options: JudgeOptions) -> None:
        """Have the language model asked as it is set."""
        if self.judge is not None:
            self.judge.options = options

    def compiled(self, name: str, *, is_family: bool = False) -> Compiled:
        """A profile, read and ready; may be called in any thread.

        Raises:
            NotFoundError, InvalidInputError: There is none, or it cannot be used.
        """
        return Compiled(self.files.load(name), is_family=is_family)

    async def change(self, name: str, *, is_family: bool = False) -> None:
        """As `use`, without holding the loop up; raises what `compiled` raises, and then nothing has changed."""
        self.put(await asyncio.to_thread(self.compiled, name, is_family=is_family))

    def put(self, compiled: Compiled) -> None:
        """Put rules in force that are ready."""
        self._compiled = compiled
        self._is_set = True
        self._names.clear()
        self.problem = ""

    def profiles(self) -> list[Listed]:
        """All profiles that can be chosen; reads files."""
        return self.files.list()

    # --- what comes in ---

    def check_in(
        self,
        text: str,
        viewer: Viewer | None = None,
        *,
        profile: Compiled | None = None,
        message_id: str = "",
        emotes: Sequence[Emote] = (),
        is_new: bool = True,
    ) -> Verdict:
        """What becomes of a message; never fails, whatever it is.

        Args:
            text: As it came.
            viewer: Who wrote it; None = nobody in particular.
            profile: Other rules than those in force; `compiled` makes them.
            message_id: Publish what a rule did to the message of this id; empty = whoever asks tells.
            emotes: Pictures in it.
            is_new: Whether it counts as said, for the rule about repetition; False = it is only looked at.
        """
        compiled = profile or self._compiled
        role = viewer.role if viewer is not None else None
        hits = compiled.hits(text, "in", role=role, emotes=emotes)
        rule = compiled.repetition()
        if rule is not None and viewer is not None and not compiled.is_exempt(rule, role):
            times, viewers = self._repeated(text, viewer, rule.seconds, is_new=is_new)
            reason = ""
            if times > rule.most:
                reason = f"the same message {times} times within {rule.seconds:g} s"
            elif len(text) >= rule.copy_chars and viewers >= rule.copies:
                reason = f"the same text from {viewers} viewers within {rule.seconds:g} s"
            if reason:
                hits.append(Hit(rule.name, rule.incoming, reason))
        verdict = compiled.verdict(text, hits, self.safe_line(compiled))
        for _ in range(MOST_COVERS):
            more = compiled.word_hits(verdict.text, "in", role=role)
            if verdict.action not in ("mask", "hold") or not more:
                break
            again = compiled.verdict(verdict.text, more, self.safe_line(compiled))
            if STRENGTH[again.action] < STRENGTH[verdict.action]:
                again = again.model_copy(update={"action": verdict.action, "rule": verdict.rule})
            both = f"{verdict.reason}; {again.reason}"[:500]
            verdict = again.model_copy(update={"reason": both})
        if message_id:
            self.tell("in", verdict, message_id=message_id)
        return verdict

    async def consider(
        self,
        text: str,
        viewer: Viewer | None = None,
        *,
        message_id: str = "",
        emotes: Sequence[Emote] = (),
    ) -> Verdict:
        """As `check_in`, and then what the language model says of what would pass, where the settings ask for it."""
        verdict = self.check_in(text, viewer, message_id=message_id, emotes=emotes)
        if verdict.action not in ("allow", "mask"):
            return verdict
        if viewer is not None and viewer.role in self.profile.exempt:
            return verdict
        why = await self.refusal(verdict.text, "in")
        if not why:
            return verdict
        refused = Verdict(action="hold", rule="llm", text=verdict.text, reason=why)
        if message_id:
            self.tell("in", refused, message_id=message_id)
        return refused

    async def refusal(self, text: str, direction: Direction) -> str:
        """Why the language model keeps a text from the stream; empty when it does not, or is not asked."""
        judge = self.judge
        if judge is None or not text.strip() or not judge.is_asked(direction):
            return ""
        may_pass, why = await judge.may_pass(text)
        return "" if may_pass else why

    def shown_name(self, viewer: Viewer) -> str:
        """A viewer's name as it may be said and shown."""
        name = " ".join(viewer.name.split())[:LONGEST_NAME]
        is_fine = self._names.get(name)
        if is_fine is None:
            hits = self._compiled.hits(name, "in", role=None)
            is_fine = self._names[name] = all(hit.action == "allow" for hit in hits)
            if len(self._names) > MOST_VIEWERS:
                self._names.popitem(last=False)
        return name if is_fine and name else NOT_SHOWN

    def try_out(self, text: str, direction: Direction, other: Compiled | None = None) -> Tried:
        """What would become of a text, and why; nothing is counted and nobody is told.

        Args:
            text: The text.
            direction: As what it is looked at.
            other: Other rules than those in force.
        """
        compiled = other or self._compiled
        hits = compiled.hits(text, direction)
        if direction == "out":
            hits = [replace(h, action="ignore") if h.action == "hold" else h for h in hits]
        verdict = compiled.verdict(text, hits, compiled.profile.safe_lines[0])
        held = ""
        if direction == "out" and verdict.action in ("allow", "mask"):
            held = verdict.text[compiled.open_from(verdict.text) :]
        found = tuple(
            Found(hit, tuple(text[start:end] for start, end in hit.ranges)) for hit in hits
        )
        return Tried(verdict, found, fold(text[:500]).text, held)

    # --- what goes out ---

    def release(self, *, turn_id: str = "", conversation_id: str = "") -> Release:
        """The door for one reply, with the rules of now."""
        return Release(self, self._compiled, turn_id, conversation_id)

    def left_lately(self, conversation_id: str) -> str:
        """The end of what left just now in a conversation; empty when that was long ago."""
        at_s, text = self._left.get(conversation_id, (0.0, ""))
        return text if text and self._now_s() - at_s <= SAME_BREATH_S else ""

    def note_left(self, conversation_id: str, text: str) -> None:
        """Remember the end of what leaves in a conversation."""
        self._left[conversation_id] = (self._now_s(), text)
        self._left.move_to_end(conversation_id)
        if len(self._left) > MOST_CONVERSATIONS:
            self._left.popitem(last=False)

    def leaves_first(self, sentence: str) -> str:
        """What of the first sentence of a reply would leave at once; nobody is told, and nothing counts."""
        release = Release(self, self._compiled, "", "", is_told=False)
        released = release.offer(sentence)
        return sentence if not release.has_acted and not released.held_tail else ""

    def check_out(self, text: str) -> Verdict:
        """What becomes of a text that goes out as a whole (a command's answer), with what may go out."""
        release = self.release()
        first, last = release.offer(text), release.finish()
        worst = max((first.verdict, last.verdict), key=lambda one: STRENGTH[one.action])
        told = join(part for part in (first.text, last.text) if part)
        action = worst.action if told or worst.action == "allow" else "ignore"
        return worst.model_copy(update={"text": told, "action": action})

    # --- inside ---

    def _repeated(
        self, text: str, viewer: Viewer, seconds: float, *, is_new: bool
    ) -> tuple[int, int]:
        """How often the viewer has said it lately, this time included, and how many viewers have."""
        now_s = self._now_s()
        # What differs by case, marks, digits or spaces alone is the same message of one viewer; of several, the same with
        # another number is another one: they vote.
        folded = fold(text[:2_000]).text
        plain = "".join(char for char in folded if char.isalpha()) or text[:2_000]
        mark = _mark(plain)
        shared = _mark(" ".join((plain, *_SMALL.findall(folded))))
        who = (viewer.platform, viewer.id)
        own = self._said.get(who) or deque(maxlen=KEPT_OF_ONE)
        times = 1 + sum(1 for at_s, other in own if other == mark and now_s - at_s <= seconds)
        others = self._texts.get(shared) or OrderedDict()
        viewers = len({name for name, at_s in others.items() if now_s - at_s <= seconds} | {who})
        if is_new:
            own.append((now_s, mark))
            self._said[who] = own
            self._said.move_to_end(who)
            others[who] = now_s
            others.move_to_end(who)
            if len(others) > KEPT_OF_ONE:
                others.popitem(last=False)
            self._texts[shared] = others
            self._texts.move_to_end(shared)
            while len(self._said) > MOST_VIEWERS:
                self._said.popitem(last=False)
            while len(self._texts) > MOST_TEXTS:
                self._texts.popitem(last=False)
        return times, viewers

    def safe_line(self, compiled: Compiled) -> str:
        """What is said in place of something else; the next one each time."""
        lines = compiled.profile.safe_lines
        self._safe_lines += 1
        return lines[self._safe_lines % len(lines)]

    def tell(
        self,
        direction: Direction,
        verdict: Verdict,
        *,
        message_id: str = "",
        conversation_id: str = "",
    ) -> None:
        """Publish what a rule did, without the text."""
        if self._bus is not None and verdict.action != "allow":
            self._bus.publish(
                ModerationActed(
                    direction=direction,
                    verdict=verdict.model_copy(update={"text": ""}),
                    message_id=message_id,
                    conversation_id=conversation_id,
                    turn_id=(message_id or None) if direction == "out" else None,
                )
            )


def _mark(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=12).digest()


class Incoming:
    """What the desk for viewers asks: the rules, then the language model where the settings ask for it.

    Args:
        moderator: Whose.
    """

    def __init__(self, moderator: Moderator) -> None:
        self._moderator = moderator

    def check_in(
        self, text: str, viewer: Viewer, emotes: Sequence[Emote] = ()
    ) -> Verdict | Awaitable[Verdict]:
        """What becomes of what a viewer wrote."""
        judge = self._moderator.judge
        if judge is not None and judge.is_asked("in"):
            return self._moderator.consider(text, viewer, emotes=emotes)
        return self._moderator.check_in(text, viewer, emotes=emotes)


class Release:
    """Stands before everything public of one reply.

    Args:
        moderator: Whose safe lines, language model and events it uses.
        compiled: The rules; they stay the same for the whole reply.
        turn_id, conversation_id: Named in events.
        is_told: Whether there are any.
    """

    def __init__(
        self,
        moderator: Moderator,
        compiled: Compiled,
        turn_id: str,
        conversation_id: str,
        *,
        is_told: bool = True,
    ) -> None:
        self._moderator = moderator
        self._compiled = compiled
        self._turn_id = turn_id
        self._conversation_id = conversation_id
        self._is_told = is_told
        self._sent = moderator.left_lately(conversation_id) if conversation_id else ""
        self._held: list[Piece] = []
        self._offers = 0
        self.has_acted = False
        """Whether anything was covered, replaced or left out."""

    def offer(
        self, sentence: str, sound: Audio | None = None, cues: tuple[Cue, ...] = ()
    ) -> Released:
        """What may leave now that the reply goes on with this sentence."""
        if not self._compiled.looks("out"):
            return Released((Piece(sentence, sound, cues),))
        sentence = seen(sentence)
        if len(sentence) <= PIECE_CHARS:
            return self._take([Piece(sentence, sound, cues)], is_end=False)
        return _joined([self._take([piece], is_end=False) for piece in _parts(sentence, cues)])

    def finish(self) -> Released:
        """What is left when the reply has ended."""
        return self._take([], is_end=True)

    async def take(
        self, sentence: str, sound: Audio | None = None, cues: tuple[Cue, ...] = ()
    ) -> Released:
        """As `offer`, and then what the language model says, where the settings ask for it.

        Others have their turn between the pieces of a sentence that has many.
        """
        if len(sentence) <= PIECE_CHARS or not self._compiled.looks("out"):
            return await self._judged(self.offer(sentence, sound, cues))
        found: list[Released] = []
        for piece in _parts(seen(sentence), cues):
            found.append(self._take([piece], is_end=False))
            await asyncio.sleep(0)
        return await self._judged(_joined(found))

    async def end(self) -> Released:
        """As `finish`, and then what the language model says."""
        return await self._judged(self.finish())

    async def _judged(self, released: Released) -> Released:
        why = await self._moderator.refusal(released.text, "out")
        if not why:
            return released
        line = self._moderator.safe_line(self._compiled)
        verdict = Verdict(action="replace", rule="llm", text=line, reason=why)
        self._acted(verdict)
        return Released((Piece(line),), released.held_tail, verdict)

    def _take(self, new: list[Piece], *, is_end: bool) -> Released:
        pieces = [*self._held, *new]
        if not pieces:
            return Released()
        if not self._held:
            self._offers = 0
        pieces, verdict = self._ruled(pieces)
        if verdict.action != "allow":
            self._acted(verdict)
        leaving, held = pieces, list[Piece]()
        if not is_end:
            waited = [piece.text for piece in self._held]
            self._offers += 1
            if (
                self._offers <= HELD_OFFERS
                and sum(map(len, waited)) <= HELD_RAW_CHARS
                and sum(len(condensed(text)) for text in waited) <= HELD_CHARS
            ):
                leaving, held = self._parted(pieces)
        self._held = held
        if not held:
            self._offers = 0
        out = _together(leaving)
        left = join((self._sent, *(p.text for p in out if p.text)))
        self._sent = condensed(left)[-CONTEXT_CHARS:]
        if out and self._conversation_id:
            self._moderator.note_left(self._conversation_id, self._sent)
        return Released(
            tuple(out),
            join(piece.text for piece in held),
            verdict.model_copy(update={"text": join(piece.text for piece in out)}),
        )

    def _ruled(self, pieces: list[Piece]) -> tuple[list[Piece], Verdict]:
        """The pieces as the rules leave them, and what the rules said."""
        pieces, verdict = self._covered(pieces, self._compiled.hits)
        if verdict.action == "allow":
            return pieces, verdict
        for _ in range(MOST_COVERS):
            pieces, more = self._covered(pieces, self._compiled.word_hits)
            if more.action == "allow":
                return pieces, verdict
            verdict = max((verdict, more), key=lambda one: STRENGTH[one.action])
        return [], verdict.model_copy(update={"action": "ignore"})

    def _covered(
        self, pieces: list[Piece], look: Callable[[str, Direction], list[Hit]]
    ) -> tuple[list[Piece], Verdict]:
        """The pieces without what is found in them, and with what left before."""
        if not pieces:
            return pieces, Verdict()
        whole, starts = _laid_out(self._sent, pieces)
        base = starts[0]
        hits = [
            # Nobody can be asked while she speaks: what would wait for approval is left out.
            replace(hit, action="ignore") if hit.action == "hold" else hit
            for hit in look(whole, "out")
            if not hit.ranges or any(end > base for _, end in hit.ranges)
        ]
        if not hits:
            return pieces, Verdict()
        line = ""
        told: list[Piece] = []
        for piece, start in zip(pieces, starts, strict=True):
            end = start + len(piece.text)
            mine = [hit for hit in hits if _touches(hit, start, end)]
            worst = max(mine, key=lambda hit: STRENGTH[hit.action], default=None)
            if worst is None:
                told.append(piece)
            elif worst.action == "mask":
                here = [replace(hit, ranges=_moved(hit, start, end)) for hit in mine]
                told.append(Piece(self._compiled.covered(piece.text, here), cues=piece.cues))
            elif worst.action == "replace" and not line:
                line = self._moderator.safe_line(self._compiled)
                told.append(Piece(line))
            # Left out, or said once already.
        return told, self._compiled.verdict(whole[base:], hits, line)

    def _parted(self, pieces: list[Piece]) -> tuple[list[Piece], list[Piece]]:
        """What may leave, and what could begin a blocked phrase."""
        if not pieces:
            return [], []
        whole, starts = _laid_out(self._sent, pieces)
        open_at = self._compiled.open_from(whole)
        leaving: list[Piece] = []
        for n, (piece, start) in enumerate(zip(pieces, starts, strict=True)):
            if open_at >= start + len(piece.text):
                leaving.append(piece)
                continue
            cut = open_at - start
            head = piece.text[:cut].rstrip() if cut > 0 else ""
            # A sound cannot be cut where its words are.
            if piece.sound is not None or not head or len(piece.text) <= WHOLE_CHARS:
                return leaving, pieces[n:]
            end = Piece(piece.text[cut:], is_end=True)
            return [*leaving, Piece(head, cues=piece.cues)], [end, *pieces[n + 1 :]]
        return leaving, []

    def _acted(self, verdict: Verdict) -> None:
        self.has_acted = True
        if self._is_told:
            self._moderator.tell(
                "out", verdict, message_id=self._turn_id, conversation_id=self._conversation_id
            )


def _laid_out(sent: str, pieces: Sequence[Piece]) -> tuple[str, list[int]]:
    """What left before and the pieces as one text, and where each piece begins in it."""
    text = sent
    starts = []
    for piece in pieces:
        text += " " if text else ""
        starts.append(len(text))
        text += piece.text
    return text, starts


def _touches(hit: Hit, start: int, end: int) -> bool:
    return not hit.ranges or any(first < end and last > start for first, last in hit.ranges)


def _moved(hit: Hit, start: int, end: int) -> tuple[tuple[int, int], ...]:
    """The ranges of a hit as they lie in a piece."""
    return tuple(
        (max(first, start) - start, min(last, end) - start)
        for first, last in hit.ranges
        if first < end and last > start
    )


def _together(pieces: Sequence[Piece]) -> list[Piece]:
    """An end that was cut off is no sentence of its own: it leaves together with what follows."""
    found: list[Piece] = []
    for piece in pieces:
        if found and found[-1].is_end and piece.sound is None:
            text = join(text for text in (found[-1].text, piece.text) if text)
            found[-1] = Piece(text, cues=(*found[-1].cues, *piece.cues))
        else:
            found.append(piece)
    return found


def _parts(sentence: str, cues: tuple[Cue, ...]) -> list[Piece]:
    """A long sentence in pieces; a sound cannot be cut where its words are."""
    return [
        Piece(text, cues=() if n else cues)
        for n, text in enumerate(_in_pieces(sentence, PIECE_CHARS))
    ]


def _joined(found: Sequence[Released]) -> Released:
    """What may leave of all pieces of a sentence."""
    pieces = tuple(piece for part in found for piece in part.pieces)
    verdict = max((part.verdict for part in found), key=lambda one: STRENGTH[one.action])
    return Released(pieces, found[-1].held_tail, verdict)


def _in_pieces(text: str, size: int) -> list[str]:
    """A text cut at spaces where there are some."""
    found: list[str] = []
    while len(text) > size:
        cut = text.rfind(" ", size // 2, size)
        cut = cut if cut > 0 else size
        found.append(text[:cut])
        text = text[cut:].lstrip(" ")
    return [*found, text] if text else found
