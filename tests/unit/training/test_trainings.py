"""Small decisions of a training: what is said, in which language it is heard, and where an export may lie."""

from __future__ import annotations

from pathlib import Path

import pytest

from backend.contracts.errors import InvalidInputError
from backend.training import trainings
from backend.training.jobs import JobEndsError
from backend.training.scores import words


@pytest.mark.parametrize(
    ("language", "code"),
    [("en-us", "en"), ("de", "de"), ("cmn", "zh"), ("nb", "no"), ("pt-br", "pt"), ("EN_gb", "en")],
)
def test_recognisers_are_told_the_language_by_its_short_code(language: str, code: str) -> None:
    assert trainings.language_code(language) == code


def test_every_test_sentence_has_words_enough_to_be_scored() -> None:
    for language, sentence in trainings.TEST_SENTENCES.items():
        assert len(words(sentence)) >= 10, language
    assert trainings.test_sentence("en-gb") == trainings.TEST_SENTENCES["en"]
    assert trainings.test_sentence("tlh") == ""


@pytest.mark.parametrize("told", [None, 7, "", "../voice.onnx", "/etc/passwd", "export", "no.onnx"])
def test_an_export_is_only_believed_where_exports_lie(tmp_path: Path, told: object) -> None:
    (tmp_path / "export").mkdir()
    (tmp_path / "voice.onnx").write_bytes(b"")
    (tmp_path / "voice.onnx.json").write_bytes(b"")
    with pytest.raises(JobEndsError, match="no voice in its folder"):
        trainings._exported(tmp_path, {"model": told})


def test_an_export_without_its_settings_is_none(tmp_path: Path) -> None:
    (tmp_path / "export").mkdir()
    model = tmp_path / "export" / "voice.onnx"
    model.write_bytes(b"")
    with pytest.raises(JobEndsError):
        trainings._exported(tmp_path, {"model": "export/voice.onnx"})
    Path(f"{model}.json").write_text("{}")
    assert trainings._exported(tmp_path, {"model": "export/voice.onnx"}) == model.resolve()


@pytest.mark.parametrize("name", ["job", "checkpoint", "verify", "Path", "a-b", "__class__", ""])
def test_options_that_say_where_to_read_or_what_to_skip_cannot_be_set(name: str) -> None:
    with pytest.raises(InvalidInputError, match="cannot be set"):
        trainings._checked_options({name: "x"})


def test_plain_options_pass_as_they_are() -> None:
    given = {"channels": 64, "precision": "auto", "denoise": False, "rate": 0.5, "none": None}
    assert trainings._checked_options(given) == given
    with pytest.raises(InvalidInputError, match="must be a number"):
        trainings._checked_options({"channels": [64]})
