"""Transcripts that came with recordings: LJSpeech's metadata.csv, tables with or without headings, subtitles, a text per file.

Files from strangers: names in them are compared with the names of the job's uploads and never opened.
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from voice_trainer.clips.cut import Cue
from voice_trainer.protocol import UploadSpec

LARGEST_BYTES = 32 << 20
LONGEST_TEXT = 1000
MOST_ENTRIES = 500_000
NAMED = 5  # unmatched names in a warning

SOUND_ENDINGS = frozenset(
    "wav wave flac ogg oga opus mp3 m4a mp4 webm aac aif aiff wma mka mkv mov".split()
)
DELIMITERS = ("|", "\t", ";", ",")
HEADINGS = {
    "file": "file filename file_name filepath path audio audio_file audio_path audio_filepath wav wav_file wavfile id clip name recording",
    "text": "text transcript transcription sentence normalized normalized_text normalized_transcript words prompt",
    "speaker": "speaker speaker_id speaker_name client_id voice",
    "emotion": "emotion style emotion_name mood",
}
COLUMN_OF = {name: column for column, names in HEADINGS.items() for name in names.split()}
BEST_TEXT_FIRST = ("normalized_text", "normalized_transcript", "normalized", "text")

JOIN_GAP_S, SHORT_CUE_S, JOIN_SHORT_GAP_S, LONGEST_JOINED_S = 0.3, 2.0, 0.6, 9.0
SENTENCE_END = re.compile(r"[.!?…。！？][\"'”’)]*$")
TIMES = re.compile(
    r"(?:(\d{1,3}):)?(\d{1,2}):(\d{1,2})[,.](\d{1,3})\s*-->\s*(?:(\d{1,3}):)?(\d{1,2}):(\d{1,2})[,.](\d{1,3})"
)
MARKUP = re.compile(r"<[^<>]{0,100}>|\{\\[^{}]{0,100}\}")
NOT_SPOKEN = re.compile(r"^(?:\[[^\]]*\]|\([^)]*\)|[♪♫#*\s-]|[♪♫].*)*$")


class TranscriptError(ValueError):
    """A list of transcripts cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What a list says of one file."""

    name: str
    text: str
    speaker: str = ""
    emotion: str = ""


@dataclass(slots=True)
class Book:
    """All lists of a job.

    Attributes:
        problems: Lists that cannot be used: upload id to why.
    """

    problems: dict[str, str] = field(default_factory=dict)
    _entries: dict[str, Entry] = field(default_factory=dict)
    _cues: dict[str, tuple[Cue, ...]] = field(default_factory=dict)
    _count: dict[str, int] = field(default_factory=dict)
    _names: dict[str, list[str]] = field(default_factory=dict)
    _sounds: set[str] = field(default_factory=set)
    _warnings: list[str] = field(default_factory=list)

    def of(self, upload: UploadSpec) -> Entry | None:
        """What is said of a sound file, by its name."""
        return self._entries.get(key_of(upload.filename))

    def cues_of(self, upload: UploadSpec) -> tuple[Cue, ...]:
        """The subtitles of a sound file."""
        return self._cues.get(key_of(upload.filename), ())

    def texts_of(self, upload: UploadSpec) -> int:
        """How many texts a list holds."""
        return self._count.get(upload.id, 0)

    def unmatched(self) -> list[str]:
        """In words: lines that name no file of this job."""
        out = list(self._warnings)
        for filename, names in self._names.items():
            missing = [name for name in names if key_of(name) not in self._sounds]
            if missing:
                listed = ", ".join(_short(name) for name in missing[:NAMED])
                more = f" and {len(missing) - NAMED:,} more" if len(missing) > NAMED else ""
                out.append(
                    f"{filename}: {len(missing):,} of {len(names):,} lines are about files that are not among the recordings: {listed}{more}."
                )
        return out


def read_all(uploads: Sequence[UploadSpec]) -> Book:
    """Read every list of a job; what cannot be read is told in `Book.problems`."""
    book = Book(_sounds={key_of(one.filename) for one in uploads if one.kind == "sound"})
    sounds = [one for one in uploads if one.kind == "sound"]
    for upload in uploads:
        if upload.kind != "transcripts":
            continue
        try:
            _read_into(book, upload, sounds)
        except TranscriptError as error:
            book.problems[upload.id] = str(error)
    return book


def key_of(name: str) -> str:
    """What two spellings of a file's name have in common: no folders, no ending of sound files, one case."""
    last = re.split(r"[/\\]", name.strip())[-1]
    stem, dot, ending = last.rpartition(".")
    if dot and ending.lower() in SOUND_ENDINGS:
        last = stem
    return unicodedata.normalize("NFC", last).casefold()


def read_table(text: str) -> list[Entry]:
    """Lines of LJSpeech (``id|text|normalized``), of ``file|speaker|text``, or of a table with headings.

    Raises:
        TranscriptError: There is no column of files or none of texts.
    """
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise TranscriptError("it is empty")
    delimiter = _delimiter(lines)
    if delimiter == "|":
        # LJSpeech quotes nothing: a lone quotation mark is part of the text.
        rows = [line.split("|") for line in lines]
    else:
        try:
            rows = list(csv.reader(io.StringIO("\n".join(lines)), delimiter=delimiter))
        except csv.Error as error:
            raise TranscriptError(f"it is no table ({error})") from error
    heading = [cell.strip().strip("\ufeff").lower().replace(" ", "_") for cell in rows[0]]
    columns: dict[str, int] = {}
    for name in sorted(heading, key=_rank):
        column = COLUMN_OF.get(name)
        if column:
            columns.setdefault(column, heading.index(name))
    if "file" in columns and "text" in columns:
        rows = rows[1:]
    else:
        columns = _columns_without_heading(rows)
    return [entry for row in rows[:MOST_ENTRIES] if (entry := _entry(row, columns))]


def read_cues(text: str) -> list[Cue]:
    """Cues of SRT or WebVTT in order, sentence by sentence where cues were cut for the screen.

    Raises:
        TranscriptError: There are none.
    """
    found: list[Cue] = []
    lines = text.splitlines()
    index = 0
    while index < len(lines):
        times = TIMES.search(lines[index])
        index += 1
        if not times:
            continue
        words: list[str] = []
        while index < len(lines) and lines[index].strip() and not TIMES.search(lines[index]):
            words.append(lines[index])
            index += 1
        if (
            index < len(lines)
            and TIMES.search(lines[index])
            and words
            and words[-1].strip().isdigit()
        ):
            words.pop()  # the next cue's number, where the blank line is missing
        spoken = clean(MARKUP.sub(" ", " ".join(words)))
        start_s, end_s = _seconds(times.groups()[:4]), _seconds(times.groups()[4:])
        if spoken and not NOT_SPOKEN.match(spoken) and end_s > start_s:
            found.append(Cue(start_s, end_s, spoken))
    if not found:
        raise TranscriptError("it holds no subtitles")
    return _joined(sorted(found, key=lambda cue: cue.start_s)[:MOST_ENTRIES])


def clean(text: str) -> str:
    """Text on one line, without control characters, of bounded length."""
    plain = "".join(" " if unicodedata.category(mark)[0] == "C" else mark for mark in text)
    return " ".join(plain.split())[:LONGEST_TEXT]


def decoded(data: bytes) -> str:
    """Text in whatever encoding tables are saved in.

    Raises:
        TranscriptError: It is no text.
    """
    for mark, encoding in (
        (b"\xef\xbb\xbf", "utf-8-sig"),
        (b"\xff\xfe", "utf-16"),
        (b"\xfe\xff", "utf-16"),
    ):
        if data.startswith(mark):
            return data.decode(encoding, "replace")
    if data[1:200:2].count(0) > 40:
        return data.decode("utf-16-le", "replace")  # a spreadsheet's, without its mark
    if b"\0" in data[:4096]:
        raise TranscriptError("it is no text")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def _read_into(book: Book, upload: UploadSpec, sounds: list[UploadSpec]) -> None:
    name = upload.filename or Path(upload.path).name
    path = Path(upload.path)
    try:
        if not path.is_file() or path.is_symlink():
            raise TranscriptError(f"{name} is not there any more, or is no plain file.")
        if path.stat().st_size > LARGEST_BYTES:
            raise TranscriptError(
                f"{name} has {path.stat().st_size / 1e6:,.0f} MB; lists of transcripts have up to {LARGEST_BYTES / 1e6:,.0f}."
            )
        text = decoded(path.read_bytes())
        ending = name.rpartition(".")[2].lower()
        if ending in ("srt", "vtt") or text.lstrip("\ufeff \r\n").startswith("WEBVTT"):
            _take_cues(book, upload, name, read_cues(text), sounds)
        elif ending == "txt" and not _is_table(text):
            _take_text(book, upload, name, clean(text))
        else:
            _take_table(book, upload, name, read_table(text))
    except TranscriptError as error:
        said = str(error)
        if not said.startswith(name):
            said = f"{name} cannot be used as a list of transcripts: {said}."
        raise TranscriptError(said) from error
    except OSError as error:
        raise TranscriptError(f"{name} cannot be read ({error.strerror}).") from error


def _take_table(book: Book, upload: UploadSpec, name: str, entries: Iterable[Entry]) -> None:
    names: list[str] = []
    twice: Counter[str] = Counter()
    for entry in entries:
        key = key_of(entry.name)
        if key in book._entries:
            twice[key] += book._entries[key].text != entry.text
        else:
            book._entries[key] = entry
        names.append(entry.name)
    if not names:
        raise TranscriptError("it holds no line with a file and a text")
    book._count[upload.id] = len(names)
    book._names[name] = names
    if others := sum(twice.values()):
        book._warnings.append(
            f"{name}: {others:,} lines give another text to a file that has one already; the first one counts."
        )


def _take_text(book: Book, upload: UploadSpec, name: str, text: str) -> None:
    if not text:
        raise TranscriptError("it is empty")
    stem = name.rpartition(".")[0]
    book._entries.setdefault(key_of(stem), Entry(stem, text))
    book._count[upload.id] = 1
    book._names[name] = [stem]


def _take_cues(
    book: Book, upload: UploadSpec, name: str, cues: list[Cue], sounds: list[UploadSpec]
) -> None:
    stem = name.rpartition(".")[0]
    # "film.en.srt" belongs to film.mp4, and the only subtitles to the only sound.
    keys = [key_of(stem), key_of(stem.rpartition(".")[0])]
    fitting = [one for one in sounds if key_of(one.filename) in keys]
    if not fitting and len(sounds) == 1:
        fitting = sounds
    book._count[upload.id] = len(cues)
    if fitting:
        book._cues[key_of(fitting[0].filename)] = tuple(cues)
    else:
        book._warnings.append(
            f"{name}: no recording has this name, so its {len(cues)} subtitles were not used."
        )


def _is_table(text: str) -> bool:
    """Whether every line of a .txt file has the columns of a list of files."""
    lines = [line for line in text.splitlines() if line.strip()][:50]
    for mark in ("|", "\t"):
        if lines and all(mark in line for line in lines):
            return True
    return False


def _delimiter(lines: list[str]) -> str:
    """The mark that cuts most lines into equally many columns."""
    sample = lines[:200]
    best, score = "|", 0.0
    for mark in DELIMITERS:
        counts = Counter(line.count(mark) for line in sample)
        usual, often = max(counts.items(), key=lambda one: (one[0] > 0, one[1]))
        # A comma stands in every sentence: the rarer marks win when they cut as evenly.
        if usual and often / len(sample) > score + 0.05:
            best, score = mark, often / len(sample)
    if not score:
        raise TranscriptError("its lines have no columns (file and text, parted by |, tab, ; or ,)")
    return best


def _columns_without_heading(rows: list[list[str]]) -> dict[str, int]:
    usual = Counter(len(row) for row in rows).most_common(1)[0][0]
    if usual < 2:
        raise TranscriptError("its lines have no columns (file and text, parted by |, tab, ; or ,)")
    if usual >= 3:
        second = [row[1].strip() for row in rows if len(row) > 2]
        are_words = sum(" " in cell for cell in second) > len(second) / 4
        if not are_words and len(set(second)) <= (len(second) + 1) // 2:
            return {"file": 0, "speaker": 1, "text": 2}
        return {"file": 0, "text": 2, "text_else": 1}
    return {"file": 0, "text": 1}


def _entry(row: list[str], columns: dict[str, int]) -> Entry | None:
    def cell(column: str) -> str:
        index = columns.get(column, -1)
        return clean(row[index]) if 0 <= index < len(row) else ""

    name, text = cell("file"), cell("text") or cell("text_else")
    if not name or not text:
        return None
    return Entry(name, text, cell("speaker")[:100], cell("emotion")[:50])


def _rank(heading: str) -> int:
    """Columns of texts read out in full come before those with digits and abbreviations."""
    return BEST_TEXT_FIRST.index(heading) if heading in BEST_TEXT_FIRST else len(BEST_TEXT_FIRST)


def _seconds(parts: Sequence[str | None]) -> float:
    hours, minutes, seconds, fraction = parts
    return (
        int(hours or 0) * 3600
        + int(minutes or 0) * 60
        + int(seconds or 0)
        + int((fraction or "0").ljust(3, "0")) / 1000
    )


def _joined(cues: list[Cue]) -> list[Cue]:
    """Cues that are parts of one sentence, and very short ones, become one; overlaps are cut off."""
    out: list[Cue] = []
    for cue in cues:
        if out and cue.start_s < out[-1].end_s:
            cue = Cue(out[-1].end_s, cue.end_s, cue.text)
            if cue.end_s - cue.start_s < 0.2:
                continue
        if out:
            last = out[-1]
            gap_s = cue.start_s - last.end_s
            is_open = gap_s < JOIN_GAP_S and not SENTENCE_END.search(last.text)
            is_short = gap_s < JOIN_SHORT_GAP_S and last.end_s - last.start_s < SHORT_CUE_S
            if (is_open or is_short) and cue.end_s - last.start_s <= LONGEST_JOINED_S:
                out[-1] = Cue(last.start_s, cue.end_s, f"{last.text} {cue.text}"[:LONGEST_TEXT])
                continue
        out.append(cue)
    return out


def _short(name: str) -> str:
    return name if len(name) <= 60 else f"{name[:57]}…"
