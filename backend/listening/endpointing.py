"""Where an utterance begins and ends: rules over frames of speech probability, counted in samples, never in time that passes.

Speech begins with the second of three frames that sound like it, and ends with enough silence: less after a sentence that reads as
finished, more after one that hangs in the air. What was read so far only moves that limit; nobody waits for it. A held key
(push-to-talk) begins and ends an utterance whatever the frames say.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import islice
from math import log10
from typing import Literal

RATE_HZ = 16_000
PER_MS = RATE_HZ // 1000

ONSET_OF = 3
ONSET = 2
"""A single frame above the threshold is a click."""
RELEASE = 0.15
"""A frame so far below the threshold still belongs to speech that goes on: voices sink at the ends of words."""
DRAFT_MS = 200
"""Silence after which reading in advance is worth it; also what is left on behind the last word."""
KEY_TAIL_MS = 120
"""Sound that still comes after a key was let go: what a device holds back, and people let go on the last syllable."""
CUT_WITHIN = 1 / 3
"""The last part of a too long utterance, in which its quietest place is looked for."""
SILENCE_DBFS = -120.0
SILENCE_DB = 30.0
"""Choosing that place, sound that is no speech is worth so many dB of quiet."""

FINISHED, HANGING, BROKEN_OFF = 0.6, 1.6, 2.0
"""What becomes of ASR_SILENCE_MS after a finished sentence, one with more to come, and one that cannot end so."""

Ending = Literal["finished", "open", "hanging", "broken off"]
EndedBy = Literal["silence", "length", "key", "client"]

PATIENCE: dict[Ending, float] = {
    "finished": FINISHED,
    "open": 1.0,
    "hanging": HANGING,
    "broken off": BROKEN_OFF,
}


@dataclass(frozen=True, slots=True)
class Rules:
    """What decides; see the settings ASR_….

    Attributes:
        threshold: Probability from which a frame counts as speech.
        preroll_ms: Sound taken from before speech was noticed.
        min_speech_ms: Less speech is none.
        silence_ms: Silence that ends an utterance.
        longest_s: Longest utterance.
        frame_samples: Samples of a frame at 16 kHz.
    """

    threshold: float = 0.5
    preroll_ms: int = 400
    min_speech_ms: int = 200
    silence_ms: int = 600
    longest_s: float = 30.0
    frame_samples: int = 512


@dataclass(frozen=True, slots=True)
class Began:
    """Somebody speaks.

    Attributes:
        n: Number of the utterance.
        start: Its first sample, pre-roll included, counted from the beginning of the stream.
    """

    n: int
    start: int


@dataclass(frozen=True, slots=True)
class Paused:
    """A silence long enough to read what was said so far: samples ``start`` to ``end``."""

    n: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Resumed:
    """It was only a pause."""

    n: int


@dataclass(frozen=True, slots=True)
class Ended:
    """The utterance is over.

    Attributes:
        n: Its number.
        start, end: Its samples, with pre-roll and what is left on behind it.
        speech_end: Where the last speech in it ends.
        speech_ms: How much of it is speech.
        level_dbfs: How loud the speech in it is.
        silence_ms: How much silence was waited for.
        by: What ended it.
        is_too_short: There is not enough speech in it.
        patience: What ASR_SILENCE_MS was multiplied with.
    """

    n: int
    start: int
    end: int
    speech_end: int
    speech_ms: float
    level_dbfs: float
    silence_ms: float
    by: EndedBy
    is_too_short: bool
    patience: float


Signal = Began | Paused | Resumed | Ended


class Endpointer:
    """Follows one stream of sound, frame by frame.

    Args:
        rules: What decides; may be exchanged at any time.
        is_open: Whether speech begins an utterance by itself; else only a held key does.
    """

    def __init__(self, rules: Rules, *, is_open: bool = True) -> None:
        self.rules = rules
        self.is_open = is_open
        self.position = 0
        """Samples followed so far."""
        self.reach = 0
        """Samples before the frame that is fed next that belong to an utterance which begins with it, besides the pre-roll."""
        self._free_from = 0
        self._recent: deque[bool] = deque(maxlen=ONSET_OF)
        self._n = 0
        self._is_on = False
        self._start = 0
        self._first_frame = 0
        self._frames: list[tuple[float, float, bool]] = []
        self._voiced = 0
        self._speech_end = 0
        self._is_paused = False
        self._patience = 1.0
        self._is_held = False
        self._release_at: int | None = None

    @property
    def is_on(self) -> bool:
        """Whether an utterance is going on."""
        return self._is_on

    @property
    def is_held(self) -> bool:
        """Whether a key holds it open."""
        return self._is_held

    @property
    def start(self) -> int:
        """First sample of the utterance that goes on, or from where the next one could begin."""
        return self._start if self._is_on else self._from()

    @property
    def speech_end(self) -> int:
        """Where the last speech in the utterance that goes on ends."""
        return self._speech_end

    @property
    def speech_ms(self) -> float:
        """Speech in the utterance that goes on."""
        return self._voiced * self.rules.frame_samples / PER_MS if self._is_on else 0.0

    @property
    def level_dbfs(self) -> float:
        """How loud the speech in it is: mean power of its frames."""
        powers = [10 ** (level / 10) for _, level, voiced in self._frames if voiced]
        return 10 * log10(sum(powers) / len(powers)) if powers else SILENCE_DBFS

    @property
    def silence_needed_ms(self) -> float:
        """Silence that would end it now."""
        return self.rules.silence_ms * self._patience

    def feed(self, probability: float, level_dbfs: float = 0.0) -> list[Signal]:
        """Follow the next frame.

        Args:
            probability: Of speech in it, 0-1.
            level_dbfs: How loud it is; finds the quietest place to cut what is too long.
        """
        size = self.rules.frame_samples
        self.position += size
        is_speech = probability >= self.rules.threshold
        self._recent.append(is_speech)
        if not self._is_on:
            if not (self.is_open and is_speech and sum(self._recent) >= ONSET):
                return []
            return [self._begin(self.position - len(self._recent) * size, level_dbfs, probability)]
        signals: list[Signal] = []
        was_in_speech = self._speech_end == self.position - size
        goes_on = was_in_speech and probability >= max(self.rules.threshold - RELEASE, 0.01)
        is_voiced = is_speech or goes_on
        self._frames.append((probability, level_dbfs, is_voiced))
        if is_voiced:
            self._voiced += 1
            self._speech_end = self.position
            if self._is_paused:
                self._is_paused = False
                self._patience = 1.0
                signals.append(Resumed(self._n))
        signals += self._judge()
        return signals

    def hold(self) -> list[Signal]:
        """A key is held down: an utterance begins here, or the one that goes on is held open."""
        self._is_held, self._release_at = True, None
        return [] if self._is_on else [self._begin(self.position)]

    def release(self) -> None:
        """The key was let go: the utterance ends a little later, with what is still on its way."""
        if self._is_held and self._is_on and self._release_at is None:
            self._release_at = self.position + KEY_TAIL_MS * PER_MS
        elif not self._is_on:
            self._is_held = False

    def end(self, by: EndedBy = "client") -> list[Signal]:
        """End the utterance that goes on here and now."""
        return [self._end(by, self.position)] if self._is_on else []

    def cancel(self) -> int | None:
        """Forget the utterance that goes on; return its number."""
        self._recent.clear()
        self._is_held, self._release_at = False, None
        self._free_from = self.position
        if not self._is_on:
            return None
        self._is_on = False
        return self._n

    def read(self, n: int, text: str, language: str = "") -> None:
        """What utterance ``n`` says so far: moves the silence that ends it."""
        if self._is_on and n == self._n:
            self._patience = PATIENCE[ending(text, language)]

    def _from(self) -> int:
        return max(self._free_from, self.position - self.rules.preroll_ms * PER_MS, 0)

    def _begin(self, at: int, level_dbfs: float = 0.0, probability: float = 0.0) -> Began:
        self._n += 1
        self._is_on = True
        self._is_paused = False
        self._patience = 1.0
        self._start = max(self._free_from, at - self.reach - self.rules.preroll_ms * PER_MS, 0)
        self._voiced = sum(self._recent) if probability else 0
        self._first_frame = self.position - self.rules.frame_samples * (1 if probability else 0)
        self._frames = [(probability, level_dbfs, True)] if probability else []
        self._speech_end = self.position
        return Began(self._n, self._start)

    def _judge(self) -> list[Signal]:
        silence = self.position - self._speech_end
        if self._release_at is not None:
            return [self._end("key", self.position)] if self.position >= self._release_at else []
        if not self._is_held and silence >= self.silence_needed_ms * PER_MS:
            return [self._end("silence", self._speech_end + min(silence, DRAFT_MS * PER_MS))]
        if self.position - self._start >= self.rules.longest_s * RATE_HZ:
            return self._cut()
        if not self._is_paused and silence >= DRAFT_MS * PER_MS and self._voiced:
            self._is_paused = True
            return [Paused(self._n, self._start, self._speech_end + DRAFT_MS * PER_MS)]
        return []

    def _end(self, by: EndedBy, end: int) -> Ended:
        size = self.rules.frame_samples
        silence_ms = (self.position - self._speech_end) / PER_MS
        if by == "silence" or not self._is_held:
            is_too_short = self.speech_ms < self.rules.min_speech_ms
        else:
            # Who holds a key means it; only the touch of a key, and silence, are nothing.
            held_ms = (self.position - self._first_frame) / PER_MS
            is_too_short = not self._voiced or held_ms < self.rules.min_speech_ms
        ended = Ended(
            n=self._n,
            start=self._start,
            end=end,
            speech_end=self._speech_end if self._voiced else max(self.position - size, 0),
            speech_ms=self.speech_ms,
            level_dbfs=self.level_dbfs,
            silence_ms=silence_ms,
            by=by,
            is_too_short=is_too_short,
            patience=self._patience,
        )
        self._is_on = self._is_held = False
        self._release_at = None
        self._recent.clear()
        # The next one may begin where the speech of this one ended, unless it was nothing: then nothing is used up.
        if not is_too_short:
            self._free_from = end
        return ended

    def _cut(self) -> list[Signal]:
        """End at the quietest place of the last third; the rest goes on as a new utterance."""
        size = self.rules.frame_samples
        frames = self._frames
        first = int(len(frames) * (1 - CUT_WITHIN))
        quietest = min(range(first, len(frames)), key=lambda n: (_loudness(frames, n), -n))
        rest = frames[quietest + 1 :]
        at = self._first_frame + (quietest + 1) * size
        before = frames[: quietest + 1]
        voiced_rest = sum(voiced for _, _, voiced in rest)
        whole_end, is_held, position = self._speech_end, self._is_held, self.position
        self._voiced -= voiced_rest
        last = max((n for n, (_, _, voiced) in enumerate(before) if voiced), default=-1)
        self._speech_end = self._first_frame + (last + 1) * size
        self.position, self._frames = at, before
        signals: list[Signal] = [self._end("length", at)]
        self.position, self._free_from = position, at
        if not voiced_rest and not is_held:
            return signals
        self._n += 1
        self._is_on, self._is_held, self._is_paused = True, is_held, False
        self._patience = 1.0
        self._start = self._first_frame = at
        self._frames, self._voiced = rest, voiced_rest
        self._speech_end = whole_end if voiced_rest else at
        signals.append(Began(self._n, at))
        return signals


def _loudness(frames: list[tuple[float, float, bool]], n: int) -> float:
    around = list(islice(frames, max(0, n - 1), n + 2))
    return sum(level + SILENCE_DB * probability for probability, level, _ in around) / len(around)


# --- what a text's end says -----------------------------------------------------------------------------------------

_CANNOT_END = {
    "en": "and or but because if when while the a an my your its their although unless until than whether i'm you're"
    " we're they're he's she's it's i'll you'll i've i'd there's that's let's um uh er erm hmm plus every",
    "de": "und oder aber weil wenn dass ob als während damit obwohl sondern ein eine einen einem einer eines mein meine"
    " meinen dein deine unser unsere kein sehr ziemlich äh ähm",
    "fr": "et ou mais parce que car si quand lorsque puisque comme donc le la les un une des du de mon ma mes ton ta tes"
    " son sa ses notre votre leurs ce cet cette ces très euh je",
    "es": "y e o u pero porque que si cuando mientras aunque el la los las un unos unas mi mis tu tus su sus muy eh",
    "it": "e o ma perché che se quando mentre il lo la i gli le un una mio mia tuo tua suo sua molto ehm",
    "pt": "e ou mas porque que se quando enquanto embora o a os as um uma meu minha teu tua seu sua muito é",
    "nl": "en of maar omdat want als wanneer terwijl hoewel de het een mijn jouw zijn onze heel eh",
    "pl": "i oraz lub albo ale bo ponieważ że jeśli kiedy gdy mój moja twój bardzo yyy",
    "ru": "и или но а потому что если когда хотя чтобы мой моя твой очень ну",  # noqa: RUF001 - this is Russian
}
_HANGS = {
    "en": "of to in on at for with from by about into onto over under between through without against like during"
    " before after not just then also even only is are was were am be been will would could should can may might must"
    " that this these those his her our so as though which who whose where very really quite well some any",
    "de": "von zu in im an am auf für mit aus bei nach über unter zwischen durch ohne gegen vor nicht auch nur noch dann"
    " der die das den dem des denn sein seine ihr ihre keine also ich du er sie wir bin ist sind war hat habe haben",
    "fr": "à au aux en dans sur sous pour avec sans par chez entre vers pas plus aussi puis leur tu il elle nous vous ils"
    " elles est sont",
    "es": "de a al en con por para sin sobre entre hasta desde no también luego como una este esta ese esa pues es son"
    " está nuestro nuestra",
    "it": "di a da in con su per tra fra del della dei delle al alla nel nella non anche poi uno nostro questo questa"
    " allora è sono",
    "pt": "de do da em no na com por para sem sobre entre até não também depois como nosso este esta são então",
    "nl": "van naar in op aan voor met uit bij over onder tussen door zonder tegen niet ook dan dat haar ons deze die ik"
    " jij hij wij is was",
    "pl": "w we na z ze do od za po przez dla bez nie też jego jej",
    "ru": "в во на с со к ко от до за по для без из у о об не тоже его её это",  # noqa: RUF001 - this is Russian
}
_NO_SPACES_HANG = ("は", "が", "を", "に", "で", "と", "も", "の", "けど", "から", "ので", "たら", "えっと", "あの", "って",
                   "和", "但是", "因为", "所以", "如果", "的", "跟", "还有", "那个")  # fmt: skip
_END_MARKS = ".!?。！？"
_OPEN_MARKS = ",;:-–—、，；：…"

_UNENDING = {language: frozenset(words.split()) for language, words in _CANNOT_END.items()}
_UNSURE = {language: frozenset(words.split()) for language, words in _HANGS.items()}


def ending(text: str, language: str = "") -> Ending:
    """How the end of a text reads: as that of a sentence, or as if more were to come.

    Args:
        text: What was read so far.
        language: ISO 639-1 code; unknown = English.
    """
    text = text.strip().rstrip("\"'”’»)]")
    if not text:
        return "open"
    if text.endswith(("...", "…")) or text[-1] in _OPEN_MARKS:
        return "hanging"
    is_marked = text[-1] in _END_MARKS
    bare = text.rstrip(_END_MARKS + " ")
    if not is_marked and bare.endswith(_NO_SPACES_HANG):
        return "hanging"
    words = bare.casefold().split()
    code = language.casefold().partition("-")[0]
    code = code if code in _UNENDING else "en"
    last = words[-1].replace("’", "'") if words else ""
    # One word alone is an answer ("That.", "So?"), and a question may end with anything ("Who is it for?").
    is_asked = text[-1] in "?？" or (is_marked and len(words) == 1)
    if last in _UNENDING[code] and not is_asked:
        # Recognisers put a full stop behind everything; they do not put one behind "because" for a reason.
        return "hanging" if is_marked else "broken off"
    if is_marked:
        return "finished"
    return "hanging" if last in _UNSURE[code] else "open"
