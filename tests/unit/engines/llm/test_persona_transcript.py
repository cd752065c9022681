"""The transcript in the docs is what the characters really say."""

from __future__ import annotations

import importlib.util
from pathlib import Path

ROOT = Path(__file__).resolve().parents[4]


def test_the_transcript_in_the_docs_is_up_to_date() -> None:
    spec = importlib.util.spec_from_file_location(
        "make_persona_transcript", ROOT / "scripts" / "make_persona_transcript.py"
    )
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    written = (ROOT / "docs" / "persona-transcript.md").read_text("utf-8")
    assert written == script.transcript(), "run python scripts/make_persona_transcript.py"
