"""The simulator's command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulator import __main__ as program
from simulator.levels import Level
from simulator.luma import LumaError
from simulator.run import Plan


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    file = tmp_path / "api_token"
    file.write_text("x" * 43)
    return file


def test_what_stopped_a_run_is_told_in_its_own_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], token_file: Path
) -> None:
    async def run(_plan: Plan, _say: object) -> list[Level]:
        inner = ExceptionGroup("the inner tasks", [LumaError("GET /api/health was answered")])
        raise ExceptionGroup("the tasks", [inner, LumaError("Luma did not start")])

    monkeypatch.setattr(program, "run", run)
    code = program.main(["--url", "http://127.0.0.1:1", "--token-file", str(token_file)])
    told = capsys.readouterr().err
    assert code == program.WRONG
    assert "GET /api/health was answered\nLuma did not start\n" in told
    assert "the inner tasks" not in told
