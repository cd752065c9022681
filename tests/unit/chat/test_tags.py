"""Tags, stage directions and thoughts leave the reply and never reach the voice."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.chat.tags import HOLD_CHARS, TagReader
from backend.contracts.entities import Cue


def read(text: str, by: int = 1000) -> tuple[str, list[str]]:
    reader = TagReader()
    parts = []
    for start in range(0, len(text), by):
        parts += reader.feed(text[start : start + by])
    parts += reader.finish()
    shown = "".join(part for part in parts if isinstance(part, str))
    return shown, [f"{part.kind}:{part.name}" for part in parts if isinstance(part, Cue)]


CASES = [
    ("[joy] Hello!", "Hello!", ["expression:joy"]),
    ("Hi [Very Happy] there", "Hi there", ["expression:very happy"]),
    ("*waves* Hello!", "Hello!", ["motion:waves"]),
    ("Hello! *waves happily* How are you?", "Hello! How are you?", ["motion:waves happily"]),
    ("hello *waves* there", "hello there", ["motion:waves"]),
    ("I *really* mean it", "I really mean it", []),
    ("I **really** mean it", "I really mean it", []),
    ("<expression:smug> Sure.", "Sure.", ["expression:smug"]),
    ("<motion: nod>Yes", "Yes", ["motion:nod"]),
    ("<think>secret *plan* [joy]</think>Hello", "Hello", []),
    ("A<think>b</think>C", "AC", []),
    ("<thinking>never closed", "", []),
    ("See [1] and [link](http://x)", "See [1] and [link](http://x)", []),
    ("2 * 3 * 4 = 24", "2 * 3 * 4 = 24", []),
    ("1 < 2 and 3 > 2", "1 < 2 and 3 > 2", []),
    ("[unclosed", "[unclosed", []),
    ("a * b", "a * b", []),
    ("I <3 you", "I <3 you", []),
    ("[joy][wave] Hey", "Hey", ["expression:joy", "expression:wave"]),
]


@pytest.mark.parametrize(("text", "shown", "cues"), CASES)
@pytest.mark.parametrize("by", [1, 2, 5, 1000])
def test_what_is_shown_and_what_becomes_a_cue(
    text: str, shown: str, cues: list[str], by: int
) -> None:
    assert read(text, by) == (shown, cues)


@given(st.text(alphabet="ab *[]<>/think:\n!.", max_size=200), st.integers(1, 7))
def test_thoughts_stay_private_and_words_are_kept_however_they_arrive(text: str, by: int) -> None:
    shown, _ = read(f"<think>SECRET{text.replace('<', '')}</think>" + text, by)
    assert "SECRET" not in shown
    whole, cues = read(text)
    piecewise, cues_piecewise = read(text, by)
    assert piecewise.split() == whole.split()
    assert cues == cues_piecewise


def test_an_open_bracket_delays_speech_by_a_bounded_length() -> None:
    reader = TagReader()
    out = ""
    for char in "*" + "x" * (HOLD_CHARS + 10):
        out += "".join(part for part in reader.feed(char) if isinstance(part, str))
    assert "xxx" in out


def test_a_flood_of_marks_stays_linear() -> None:
    shown, _ = read("[" * 20_000 + "<" * 20_000 + "* " * 20_000, by=4096)
    assert shown.count("[") == 20_000
