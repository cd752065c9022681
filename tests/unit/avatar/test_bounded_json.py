"""JSON of strangers: read when it is quick to read, refused before it is parsed when it is not."""

from __future__ import annotations

import pytest

from backend.avatar import bounded_json
from backend.avatar.bounded_json import MOST_CONTAINERS, MOST_VALUES
from backend.contracts.errors import InvalidInputError


def test_what_a_model_holds_is_read() -> None:
    curves = b",".join(b'{"Id": "A", "Segments": [0, 1, 0, 2]}' for _ in range(10_000))
    found = bounded_json.loads(b'{"Curves": [' + curves + b"]}", "a.motion3.json")
    assert isinstance(found, dict)
    assert len(found["Curves"]) == 10_000


@pytest.mark.parametrize(
    ("unit", "count"),
    [(b"[],", MOST_CONTAINERS), (b'{"a":[]},', MOST_CONTAINERS), (b"1,", MOST_VALUES)],
)
def test_what_would_take_long_is_refused_before_it_is_parsed(
    unit: bytes, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def parse(_: bytes) -> object:
        raise AssertionError("it was parsed")

    monkeypatch.setattr("orjson.loads", parse)
    with pytest.raises(InvalidInputError, match=r"mio\.vrm describes too much"):
        bounded_json.loads(b"[" + unit * (count + 1) + b"0]", "mio.vrm")


@pytest.mark.parametrize("text", [b"", b"{", b"[" * 5000, b"\xff", b"NaN"])
def test_what_is_none_is_said(text: bytes) -> None:
    with pytest.raises(InvalidInputError, match=r"rig\.json is broken, it is no JSON"):
        bounded_json.loads(text, "rig.json")
