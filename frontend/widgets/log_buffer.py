"""The rows of the Logs tab, without a window: a ring of them, a filtered view, a search, an export.

Everything over all rows is done in slices of a few milliseconds (`work(budget_s)`), so that 100,000 rows never hold up
a redraw. Rows have ids that only grow at the new end and shrink at the old one, so a selected row stays the same row
while others come and go.
"""

from __future__ import annotations

import csv
import json
import sys
from array import array
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from io import StringIO
from time import perf_counter
from typing import Any, Literal

from backend.contracts.events import Event, Severity

LEVELS: tuple[Severity, ...] = ("DEBUG", "INFO", "WARNING", "ERROR")
CAPACITY = 120_000
TEXT_LIMIT = 2_000
"""Longest line that is kept for drawing and searching; the details pane shows the whole."""
DETAIL_LIMIT = 64_000
"""Longest JSON of one row that is kept; a longer one is replaced by its beginning."""
PATTERN_LIMIT = 300
ROW_TIMEOUT_S = 0.004
"""Longest one row may hold a regular expression; `(a+)+$` on 2,000 letters would run for years."""
SLOW_ROWS = 3
"""After so many rows that took too long the search gives up and says why."""

_CONTROL = {code: " " for code in (*range(32), 127, *range(0x80, 0xA0), 0x2028, 0x2029)} | {
    # Marks that reorder or hide what follows: a line of a log must read as it is.
    code: ""
    for code in (0x200B, 0x200E, 0x200F, 0xFEFF, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
}


def one_line(text: str, limit: int = TEXT_LIMIT) -> str:
    """A text from outside as one line that is safe to draw."""
    cut = text if len(text) <= limit else text[: limit - 3] + "..."
    return cut if cut.isprintable() else cut.translate(_CONTROL)


@dataclass(frozen=True, slots=True)
class LogRow:
    """One line of the log.

    Attributes:
        at_ms: When, in milliseconds since 1970 UTC.
        level: Index into `LEVELS`.
        source: The part that said it.
        type: Event type.
        text: The sentence, one line, bounded.
        turn_id: The turn it belongs to, or "".
        seq: Place in the stored stream; None for what is only sent.
        raw: The whole event as JSON, bounded.
    """

    at_ms: int
    level: int
    source: str
    type: str
    text: str
    turn_id: str = ""
    seq: int | None = None
    raw: str = "{}"

    @classmethod
    def of_event(cls, event: Event) -> LogRow:
        """The row of an event that came over the socket."""
        if type(event).own_data is Event.own_data:
            raw = event.model_dump_json()
        else:
            raw = json.dumps(event.envelope(), ensure_ascii=False, default=str)
        return cls(
            at_ms=int(event.at.timestamp() * 1000),
            level=LEVELS.index(event.severity),
            source=sys.intern(one_line(event.source, 60)),
            type=sys.intern(event.type),
            text=one_line(event.sentence()),
            turn_id=sys.intern(event.turn_id or ""),
            seq=event.seq,
            raw=raw if len(raw) <= DETAIL_LIMIT else _shortened(event.envelope()),
        )

    @classmethod
    def of_envelope(cls, envelope: dict[str, Any]) -> LogRow:
        """The row of a stored event as GET /api/events gives it; strange values become empty ones."""
        severity = envelope.get("severity")
        seq = envelope.get("seq")
        raw = json.dumps(envelope, ensure_ascii=False, default=str)
        return cls(
            at_ms=_milliseconds(envelope.get("at")),
            level=LEVELS.index(severity) if severity in LEVELS else 1,
            source=sys.intern(one_line(str(envelope.get("source") or ""), 60)),
            type=sys.intern(one_line(str(envelope.get("type") or ""), 80)),
            text=one_line(str(envelope.get("message") or "")),
            turn_id=sys.intern(str(envelope.get("turn_id") or "")),
            seq=seq if isinstance(seq, int) else None,
            raw=raw if len(raw) <= DETAIL_LIMIT else _shortened(envelope),
        )

    def envelope(self) -> dict[str, Any]:
        """The event as a dictionary, its type, sentence and own fields in reading order."""
        found: dict[str, Any] = json.loads(self.raw)
        head = ("type", "severity", "source", "at", "message", "turn_id", "job_id", "seq", "id")
        ordered = {name: found[name] for name in head if found.get(name) is not None}
        if "data" in found:
            return {**ordered, "data": found["data"]}
        own = {name: value for name, value in found.items() if name not in head}
        return {**ordered, "message": self.text, "data": own}

    def clock(self) -> str:
        """Local time of day with milliseconds."""
        moment = datetime.fromtimestamp(self.at_ms / 1000)  # noqa: DTZ006 - people read local time
        return f"{moment:%H:%M:%S}.{self.at_ms % 1000:03d}"

    def day(self) -> str:
        """Local date."""
        return f"{datetime.fromtimestamp(self.at_ms / 1000):%Y-%m-%d}"  # noqa: DTZ006


def _shortened(envelope: dict[str, Any]) -> str:
    data = json.dumps(envelope.get("data"), ensure_ascii=False, default=str)
    head = {name: value for name, value in envelope.items() if name != "data"}
    head["message"] = one_line(str(head.get("message") or ""))
    cut = {"shortened": f"{len(data):,} characters, the first are", "begins": data[:8_000]}
    return json.dumps({**head, "data": cut}, ensure_ascii=False, default=str)


def _milliseconds(at: object) -> int:
    try:
        moment = datetime.fromisoformat(str(at))
    except ValueError:
        return 0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp() * 1000)


class LogBuffer:
    """The newest rows, up to `capacity`; the oldest leave when new ones come.

    Attributes:
        first: Id of the oldest row held.
        end: One past the id of the newest row.
        levels: Rows held of each level, in the order of `LEVELS`.
        sources, types: Rows held of each source and type.
        seconds, minutes: Second (or minute) since 1970 to [rows, warnings, errors].
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.capacity = capacity
        self.clear()

    def clear(self) -> None:
        """Forget every row; ids start again at 0."""
        self._rows: list[LogRow | None] = [None] * self.capacity
        self.first = 0
        self.end = 0
        self.levels = [0] * len(LEVELS)
        self.sources: Counter[str] = Counter()
        self.types: Counter[str] = Counter()
        self.seconds: dict[int, list[int]] = {}
        self.minutes: dict[int, list[int]] = {}
        self.oldest_seq: int | None = None
        self.newest_seq: int | None = None

    def __len__(self) -> int:
        return self.end - self.first

    def __getitem__(self, row_id: int) -> LogRow:
        if not self.first <= row_id < self.end:
            raise IndexError(f"row {row_id} is not held, {self.first} to {self.end - 1} are")
        row = self._rows[row_id % self.capacity]
        assert row is not None
        return row

    def append(self, row: LogRow) -> int | None:
        """Add the newest row.

        Returns:
            Its id, or None when a stored event with this sequence number is held already.
        """
        if row.seq is not None:
            if self.newest_seq is not None and row.seq <= self.newest_seq:
                return None
            self.newest_seq = row.seq
            if self.oldest_seq is None:
                self.oldest_seq = row.seq
        if len(self) == self.capacity:
            self._count(self[self.first], -1)
            self.first += 1
        row_id = self.end
        self._rows[row_id % self.capacity] = row
        self.end += 1
        self._count(row, 1)
        return row_id

    def prepend(self, rows: Sequence[LogRow]) -> int:
        """Put older stored rows before the oldest, as far as there is room.

        Args:
            rows: Oldest first.

        Returns:
            How many were added; those held already, and those that find no room, are left out.
        """
        added = 0
        for row in reversed(rows):
            if len(self) == self.capacity:
                break
            if row.seq is None or (self.oldest_seq is not None and row.seq >= self.oldest_seq):
                continue
            self.oldest_seq = row.seq
            if self.newest_seq is None:
                self.newest_seq = row.seq
            self.first -= 1
            self._rows[self.first % self.capacity] = row
            self._count(row, 1)
            added += 1
        return added

    def histogram(self, columns: int, span_s: int, end_ms: int) -> list[tuple[int, int, int]]:
        """Rows, warnings and errors in equal pieces of the last `span_s` seconds before `end_ms`."""
        counted = [[0, 0, 0] for _ in range(columns)]
        unit, table = (1, self.seconds) if span_s <= 3600 else (60, self.minutes)
        stop = -(-end_ms // 1000)
        start = stop - span_s
        for moment in range(start // unit, stop // unit + 1):
            bucket = table.get(moment)
            if bucket is None:
                continue
            column = (moment * unit - start) * columns // span_s
            if 0 <= column < columns:
                into = counted[column]
                into[0] += bucket[0]
                into[1] += bucket[1]
                into[2] += bucket[2]
        return [(row[0], row[1], row[2]) for row in counted]

    def _count(self, row: LogRow, by: int) -> None:
        self.levels[row.level] += by
        for names, name in ((self.sources, row.source), (self.types, row.type)):
            names[name] += by
            if not names[name]:
                del names[name]
        second = row.at_ms // 1000
        for table, key in ((self.seconds, second), (self.minutes, second // 60)):
            bucket = table.setdefault(key, [0, 0, 0])
            bucket[0] += by
            if row.level >= 2:
                bucket[row.level - 1] += by
            if not bucket[0]:
                del table[key]


@dataclass(frozen=True, slots=True)
class LogFilter:
    """Which rows are shown. Empty means all, except for levels.

    Attributes:
        levels: Indexes into `LEVELS` that are on.
        source: Only this source, or its parts ("tts" shows "tts/piper" too).
        type: Only this type, or a group ("turn.*").
        turn_id: Only this turn.
    """

    levels: frozenset[int] = frozenset(range(len(LEVELS)))
    source: str = ""
    type: str = ""
    turn_id: str = ""

    def test(self) -> Callable[[LogRow], bool]:
        """The filter as one quick function."""
        levels, source, turn_id = self.levels, self.source, self.turn_id
        group = self.type[:-1] if self.type.endswith(".*") else ""
        kind = "" if group else self.type

        def shown(row: LogRow) -> bool:
            return (
                row.level in levels
                and (not source or row.source == source or row.source.startswith(source + "/"))
                and (not kind or row.type == kind)
                and (not group or row.type.startswith(group))
                and (not turn_id or row.turn_id == turn_id)
            )

        return shown


class PatternError(ValueError):
    """A search text that is no pattern, with the reason in words."""


class Search:
    """What is searched: words as they stand, or a regular expression; capitals do not matter.

    Raises:
        PatternError: If it is no pattern, or too long a one.
    """

    def __init__(self, text: str, *, is_regex: bool = False) -> None:
        self.text = text
        self.is_regex = is_regex
        self.slow_rows = 0
        self._words = text.lower()
        self._pattern: Any = None
        if not is_regex:
            return
        if len(text) > PATTERN_LIMIT:
            raise PatternError(
                f"The pattern has {len(text)} characters, {PATTERN_LIMIT} are allowed."
            )
        import regex  # 30 ms, needed by few

        try:
            self._pattern = regex.compile(text, regex.IGNORECASE | regex.VERSION0)
        except (regex.error, OverflowError, ValueError, RecursionError) as error:
            raise PatternError(_why(error, text)) from error

    def hits(self, row: LogRow) -> bool:
        """Whether the row's line, source or type contains it."""
        if self._pattern is None:
            words = self._words
            return words in row.text.lower() or words in row.type or words in row.source
        try:
            return any(
                self._pattern.search(line, timeout=ROW_TIMEOUT_S) is not None
                for line in (row.text, row.type, row.source)
            )
        except TimeoutError:
            self.slow_rows += 1
            return False

    def places(self, text: str, most: int = 20) -> list[tuple[int, int]]:
        """Where in a line it is found, as (start, end); at most `most`, empty matches left out."""
        found: list[tuple[int, int]] = []
        if self._pattern is None:
            lowered = text.lower()
            if len(lowered) != len(text) or not self._words:
                return []  # a letter that changes its length in small print would shift every mark
            at = lowered.find(self._words)
            while at >= 0 and len(found) < most:
                found.append((at, at + len(self._words)))
                at = lowered.find(self._words, at + len(self._words))
            return found
        try:
            for match in self._pattern.finditer(text, timeout=ROW_TIMEOUT_S):
                start, end = match.span()
                if end > start:
                    found.append((start, end))
                if len(found) == most:
                    break
        except TimeoutError:
            pass  # the row is shown without its marks
        return found

    @property
    def is_too_slow(self) -> bool:
        """Whether the pattern took too long on so many rows that going on makes no sense."""
        return self.slow_rows >= SLOW_ROWS


def _why(error: Exception, text: str) -> str:
    words = str(getattr(error, "msg", "") or error)
    at = getattr(error, "pos", None)
    place = f" at character {at + 1}" if isinstance(at, int) and at < len(text) else ""
    return f"Not a pattern: {words}{place}."


class LogView:
    """The rows of a buffer that pass a filter, and the places where a search finds something.

    Call `work` now and then: it goes on with what a new filter or search has still to look at. Until a new filter is
    through, the old rows stay visible.

    Attributes:
        problem: Why the search cannot be used, in words; "" when it can.
    """

    def __init__(self, buffer: LogBuffer) -> None:
        self.buffer = buffer
        self.filter = LogFilter()
        self.search: Search | None = None
        self.only_matches = False
        self.problem = ""
        self._shown = array("q")
        self._matches = array("q")
        self._test = self.filter.test()
        self._refilter: Iterator[None] | None = None
        self._researching: Iterator[None] | None = None

    # -- rows, oldest first

    def __len__(self) -> int:
        self._forget_evicted()
        return len(self._rows())

    def row_id(self, index: int) -> int:
        """The id of the row at a place of the view."""
        return self._rows()[index]

    def index_of(self, row_id: int) -> int:
        """The place of a row; of the first row after it when the filter hides it."""
        self._forget_evicted()
        return bisect_left(self._rows(), row_id)

    def index_at(self, at_ms: int) -> int:
        """The place of the first row at or after a moment."""
        rows = self._rows()
        low, high = 0, len(rows)
        while low < high:
            middle = (low + high) // 2
            if self.buffer[rows[middle]].at_ms < at_ms:
                low = middle + 1
            else:
                high = middle
        return low

    def shown_ids(self) -> list[int]:
        """The ids of all rows of the view, a snapshot."""
        self._forget_evicted()
        return list(self._rows())

    # -- matches

    @property
    def matches(self) -> int:
        """How many rows the search found, so far."""
        self._forget_evicted()
        return len(self._matches)

    def match_number(self, row_id: int) -> int:
        """Which match a row is, from 1; 0 if it is none."""
        place = bisect_left(self._matches, row_id)
        is_one = place < len(self._matches) and self._matches[place] == row_id
        return place + 1 if is_one else 0

    def is_match(self, row_id: int) -> bool:
        """Whether the search found this row."""
        return self.match_number(row_id) > 0

    def next_match(self, after: int, *, forward: bool = True) -> int | None:
        """The id of the next match after (or before) a row, going round at the ends."""
        self._forget_evicted()
        found = self._matches
        if not found:
            return None
        if forward:
            place = bisect_right(found, after)
            return found[place % len(found)]
        place = bisect_left(found, after) - 1
        return found[place]

    # -- changing what is shown

    def set_filter(self, wanted: LogFilter) -> None:
        """Show other rows, as soon as `work` has looked at all."""
        self.filter = wanted
        self._test = wanted.test()
        self._refilter = self._filtering()
        self._researching = None

    def set_search(self, search: Search | None, problem: str = "") -> None:
        """Search for something else among the rows shown, or for nothing."""
        self.search = search
        self.problem = problem
        self._matches = array("q")
        self._researching = self._searching() if search else None

    def appended(self, row_id: int) -> None:
        """A row was added at the new end."""
        row = self.buffer[row_id]
        if not self._test(row):
            return
        if self._refilter is None:
            self._shown.append(row_id)
            if self._researching is None and self._finds(row):
                self._matches.append(row_id)

    def prepended(self, count: int) -> None:
        """Rows were added at the old end."""
        first = self.buffer.first
        if self._refilter is not None or self._researching is not None:
            self.set_filter(self.filter)  # simplest while another pass runs: begin again
            return
        new = [n for n in range(first, first + count) if self._test(self.buffer[n])]
        self._shown = array("q", new) + self._shown
        found = [n for n in new if self._finds(self.buffer[n])]
        self._matches = array("q", found) + self._matches

    def cleared(self) -> None:
        """The buffer was emptied."""
        self._shown = array("q")
        self._matches = array("q")
        self._refilter = self._researching = None

    @property
    def is_working(self) -> bool:
        """Whether a filter or search has still rows to look at."""
        return self._refilter is not None or self._researching is not None

    def work(self, budget_s: float = 0.004) -> bool:
        """Go on with a new filter or search for about `budget_s`.

        Returns:
            True if what is shown may have changed.
        """
        if not self.is_working:
            return False
        stop = perf_counter() + budget_s
        while self.is_working:
            if self._refilter is not None:
                if next(self._refilter, self) is self:
                    self._refilter = None
                    self.set_search(self.search, self.problem)
            elif self._researching is not None and next(self._researching, self) is self:
                self._researching = None
            if perf_counter() >= stop:
                break
        return True

    # -- inside

    def _rows(self) -> array[int]:
        return self._matches if self.only_matches and self.search else self._shown

    def _forget_evicted(self) -> None:
        first = self.buffer.first
        for rows in (self._shown, self._matches):
            if rows and rows[0] < first:
                del rows[: bisect_left(rows, first)]

    def _finds(self, row: LogRow) -> bool:
        search = self.search
        if search is None or search.is_too_slow:
            return False
        found = search.hits(row)
        if search.is_too_slow:
            self._give_up()
        return found

    def _give_up(self) -> None:
        self.problem = (
            "This pattern takes too long on some lines and was stopped. "
            "A repeat inside a repeat, as in (a+)+, is the usual reason."
        )

    def _filtering(self) -> Iterator[None]:
        buffer, test = self.buffer, self._test
        found = array("q")
        row_id = buffer.first
        while row_id < buffer.end:
            row_id = max(row_id, buffer.first)
            stop = min(row_id + 500, buffer.end)
            found.extend([n for n in range(row_id, stop) if test(buffer[n])])
            row_id = stop
            if row_id < buffer.end:
                yield
        self._shown = found

    def _searching(self) -> Iterator[None]:
        """Look from the newest row back, so that what is in sight is found first."""
        search, buffer, rows = self.search, self.buffer, self._shown
        assert search is not None
        newest = rows[-1] if rows else -1
        found: list[int] = []
        place = len(rows) - 1
        checked = 0
        while place >= 0 and rows[place] >= buffer.first and not search.is_too_slow:
            row_id = rows[place]
            slow = search.slow_rows
            if search.hits(buffer[row_id]):
                found.append(row_id)
            checked += 1
            if checked % 5_000 == 0:
                self._matches = array("q", reversed(found))
            if checked % 50 == 0 or search.slow_rows > slow:
                yield
                place = bisect_left(rows, row_id)  # rows may have left at the old end meanwhile
            place -= 1
        if search.is_too_slow:
            self._give_up()
        later = rows[bisect_right(rows, newest) :]
        self._matches = array("q", reversed(found))
        self._matches.extend([row_id for row_id in later if self._finds(buffer[row_id])])


# --- export ---------------------------------------------------------------------------------------


def as_line(row: LogRow) -> str:
    """A row as a line of text, for the clipboard."""
    level = LEVELS[row.level]
    return f"{row.day()} {row.clock()}  {level:<7}  {row.source}  {row.type}  {row.text}"


def as_jsonl(row: LogRow) -> str:
    """A row as a line of JSON."""
    return json.dumps(row.envelope(), ensure_ascii=False, default=str) + "\n"


CSV_HEAD = "time,severity,source,type,turn_id,seq,message,data\r\n"


def as_csv(row: LogRow) -> str:
    """A row as a line of CSV that no spreadsheet runs as a formula."""
    moment = datetime.fromtimestamp(row.at_ms / 1000, UTC).isoformat(timespec="milliseconds")
    data = json.dumps(row.envelope().get("data"), ensure_ascii=False, default=str)
    line = StringIO()
    cells = (moment, LEVELS[row.level], row.source, row.type, row.turn_id)
    csv.writer(line).writerow(
        [*map(_cell, cells), "" if row.seq is None else row.seq, _cell(row.text), _cell(data)]
    )
    return line.getvalue()


def _cell(text: str) -> str:
    # A cell that begins so is a formula to a spreadsheet; the quote in front makes it text.
    return "'" + text if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def export_lines(rows: Iterable[LogRow], form: Literal["jsonl", "csv"]) -> Iterator[str]:
    """The rows as lines of a file, the head of a CSV file first."""
    if form == "csv":
        yield CSV_HEAD
    write = as_csv if form == "csv" else as_jsonl
    for row in rows:
        yield write(row)
