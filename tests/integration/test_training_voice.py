"""The whole way with nothing made up: recordings are uploaded, cut, trained on by the real trainer, and a character of the
running Luma says its next sentence with the voice that came of it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import httpx
import pytest

from tests.integration.program import Program
from tests.studio import Desk

STEPS = 200


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(sys.platform == "win32", reason="starts the program as on Linux")
def test_from_recordings_to_a_character_that_speaks_with_the_voice(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    environment = {
        "LLM_PROVIDER": "echo",
        "TTS_CHAIN": "piper,embedded",
        "STT_CHAIN": "sphinx",
        "MODELS_DIR": str(tmp_path / "models"),
        "LUMA_ENV_FILE": os.devnull,
        "API_PORT": "0",
    }
    with Program(data, "--headless", environment=environment) as program:
        url = program.ready()
        bearer = {"Authorization": f"Bearer {(data / 'api_token').read_text().strip()}"}
        with httpx.Client(base_url=url, headers=bearer, timeout=60, trust_env=False) as http:
            desk = Desk(http)
            speaker = desk.clips(tmp_path / "recordings")
            first = desk.ask("GET", "/api/characters")[0]["id"]
            character = desk.ask("POST", f"/api/characters/{first}/duplicate")["id"]
            before = desk.ask("POST", "/api/tts", {"text": "Who am I?", "character_id": character})
            assert before["engine"] == "embedded"
            job = desk.ended(
                desk.train(
                    "robo",
                    speaker,
                    base="none",
                    rate_hz=16000,
                    budget={"steps": STEPS},
                    character_id=character,
                    # A small network learns this little in a minute; in CI others work beside it.
                    options={"channels": 64, "priority": "normal"},
                )
            )
            assert job["state"] == "done", job["message"]
            assert job["result"]["voice"] == "robo"

            body = {"text": "It is me, with another voice.", "character_id": character}
            after = desk.ask("POST", "/api/tts", body)
            assert (after["engine"], after["voice"]) == ("piper", "robo")
            assert after["duration_s"] > 0.5
            body = {"message": "Say something.", "character_id": character}
            turn = desk.ask("POST", "/api/chat", body)
            told = desk.ask("GET", f"/api/turns/{turn['turn_id']}")
            assert [one["voice"] for one in told["sentences"]] == ["robo"]

            card = desk.ask("GET", "/api/voice/cards/robo")
            assert card["clips"] == 12
            assert card["steps"] <= STEPS
            assert card["scores"]["similarity"] is not None
            points = desk.ask("GET", f"/api/voice/jobs/{job['id']}/losses")["points"]
            assert points[-1]["train"] < points[0]["train"]
            last, *_ = desk.ask("GET", f"/api/voice/checkpoints?job_id={job['id']}")
            assert http.get(last["sample_url"]).content[:4] == b"RIFF"
            said = desk.ask(
                "POST", f"/api/voice/checkpoints/{last['id']}/sample", {"text": "Any other words."}
            )
            assert said["duration_s"] > 0.3

            more = {"budget": {"steps": card["steps"] + 5}}
            restored = desk.ask("POST", f"/api/voice/checkpoints/{last['id']}/restore", more)
            again = desk.ended(restored["id"])
            assert again["state"] == "done", again["message"]
            assert again["result"]["voice"] == "robo-2"
