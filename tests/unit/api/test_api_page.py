"""docs/API.md says what the routes say."""

from __future__ import annotations

import importlib.util
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_the_api_page_is_up_to_date() -> None:
    spec = importlib.util.spec_from_file_location(
        "make_api_page", ROOT / "scripts" / "make_api_page.py"
    )
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    assert (ROOT / "docs" / "API.md").read_text("utf-8") == made.page()
