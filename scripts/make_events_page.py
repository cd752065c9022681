"""Write docs/EVENTS.md from backend/contracts/events.py; ``--check`` only says whether it is up to date."""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from datetime import datetime
from itertools import groupby, pairwise
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from backend.contracts.events import ENVELOPE, EVENT_TYPES, Event

TARGET = ROOT / "docs" / "EVENTS.md"
HEAD = """\
# Events

<!-- Made by scripts/make_events_page.py from backend/contracts/events.py; edit that file. -->

What happens in Luma is published as events. The window, the web pages, the database, the overlay and any script on
`GET /ws` read the same ones. On the wire, and in the `events` table, an event is an envelope:

| Field | Means |
|---|---|
| `seq` | position in the stored stream; null for live events |
| `id` | unique id |
| `type` | its name, as below |
| `at` | when it happened, UTC, ISO 8601 with milliseconds |
| `severity` | `DEBUG`, `INFO`, `WARNING` or `ERROR` |
| `source` | the part of the program that says so |
| `turn_id`, `job_id` | the turn or job it belongs to, or null |
| `message` | the event in one readable sentence |
| `data` | the event's own fields, listed below |

**Stored** events get a `seq`, are kept in the database and can be resumed: say `{"hello": {"since": seq}}` and nothing is
missing and nothing comes twice. **Live** events are sent only, and are the first to be dropped for a slow reader.
"""


def page() -> str:
    """The text of docs/EVENTS.md."""
    parts = [HEAD]
    listed = sorted(EVENT_TYPES, key=_order)
    for group, events in groupby(listed, key=_group):
        parts.append(f"## {group}\n")
        parts += [_section(event) for event in events]
    parts.append("## Values inside events\n")
    parts += [_value(model) for model in _values()]
    return "\n".join(parts)


def _group(event: type[Event]) -> str:
    return str(event.model_fields["type"].default).partition(".")[0]


def _order(event: type[Event]) -> int:
    """Groups in the order of their first event in the file, events in the file's order."""
    first = next(i for i, other in enumerate(EVENT_TYPES) if _group(other) == _group(event))
    return first * 1000 + EVENT_TYPES.index(event)


def _section(event: type[Event]) -> str:
    name = event.model_fields["type"].default
    kind = "stored" if event.durable else "live"
    meaning = inspect.cleandoc(event.__doc__ or "").replace("``", "`")
    lines = [f"### `{name}` ({kind})", "", meaning, ""]
    own = {n: f for n, f in event.model_fields.items() if n not in ENVELOPE}
    return "\n".join(lines + (_table(event, own) if own else []))


def _value(model: type[BaseModel]) -> str:
    first = inspect.cleandoc(model.__doc__ or "").partition("\n\n")[0].replace("``", "`")
    return "\n".join(
        [f"### {model.__name__}", "", first, "", *_table(model, dict(model.model_fields))]
    )


def _table(model: type[BaseModel], fields: dict[str, FieldInfo]) -> list[str]:
    notes = _notes(model)
    lines = ["| Field | Type | Default | Means |", "|---|---|---|---|"]
    for name, info in fields.items():
        default = info.get_default(call_default_factory=False)
        shown = "" if default is PydanticUndefined else f"`{_written(default)}`"
        lines.append(f"| `{name}` | {_type(info.annotation)} | {shown} | {notes.get(name, '')} |")
    return [*lines, ""]


def _notes(model: type[BaseModel]) -> dict[str, str]:
    """What the source says below each field, or in the class's list of attributes."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(model))).body[0]
    assert isinstance(tree, ast.ClassDef)
    notes = {}
    for line in inspect.cleandoc(model.__doc__ or "").partition("Attributes:")[2].splitlines():
        name, colon, meaning = line.strip().partition(": ")
        if colon and name in model.model_fields:
            notes[name] = meaning
    for field, below in pairwise(tree.body):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
        ):
            notes[field.target.id] = " ".join(str(below.value.value).split()).replace("``", "`")
    return {name: note.replace("|", "\\|") for name, note in notes.items()}


def _values() -> list[type[BaseModel]]:
    """Models that occur as fields, also inside one another."""
    found: dict[str, type[BaseModel]] = {}

    def look(annotation: Any) -> None:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            if annotation.__name__ not in found:
                found[annotation.__name__] = annotation
                for info in annotation.model_fields.values():
                    look(info.annotation)
        for inner in get_args(annotation):
            look(inner)

    for event in EVENT_TYPES:
        for info in event.model_fields.values():
            look(info.annotation)
    return [found[name] for name in sorted(found)]


def _written(value: Any) -> str:
    return "null" if value is None else str(value).replace("()", "[]") or '""'


def _type(annotation: Any) -> str:
    """A type in words that a reader of JSON knows."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(inner[0])
    if origin in (Union, UnionType):
        return " or ".join("null" if part is NoneType else _type(part) for part in inner)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in inner)
    if origin in (tuple, list):
        return f"list of {_type(inner[0])}"
    if origin is dict:
        return f"object of {_type(inner[1])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"[{annotation.__name__}](#{annotation.__name__.lower()})"
    words = {
        str: "text",
        int: "integer",
        float: "number",
        bool: "true or false",
        Any: "anything",
        object: "anything",
        datetime: "time",
    }
    return words.get(annotation, f"`{getattr(annotation, '__name__', annotation)}`")


def main(arguments: list[str]) -> int:
    """Write the page, or compare it; returns the exit code."""
    if "--check" in arguments:
        if TARGET.exists() and TARGET.read_text("utf-8") == page():
            return 0
        print("docs/EVENTS.md is not what events.py says: run python scripts/make_events_page.py")
        return 1
    TARGET.write_text(page(), encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
