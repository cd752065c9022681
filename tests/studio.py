"""From recordings to a training over HTTP, as the window does it: for tests and benchmarks with the real trainer."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import httpx

from tests.speech_data import metadata, recordings

ENDED = ("done", "failed", "cancelled", "interrupted")


class Desk:
    """A client of a running Luma that trains voices."""

    def __init__(self, http: httpx.Client) -> None:
        self.http = http

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """One request that must succeed."""
        answer = self.http.request(method, path, json=body)
        assert answer.is_success, f"{method} {path}: {answer.text}"
        return answer.json() if answer.content else None

    def clips(self, folder: Path, count: int = 12, name: str = "Robo") -> str:
        """Make recordings, bring them in, cut them and accept the clips; the speaker's id."""
        made = recordings(folder, count)
        body = {"name": name, "language": "en-us", "synthetic": True}
        speaker: str = self.ask("POST", "/api/voice/speakers", body)["id"]
        files = [("files", (path.name, path.read_bytes(), "audio/wav")) for path, _ in made]
        files.append(("files", ("metadata.csv", metadata(made), "text/csv")))
        answer = self.http.post("/api/voice/upload", files=files, data={"speaker": speaker})
        assert answer.is_success, answer.text
        ids = answer.json()["upload_ids"]
        body = {"upload_ids": ids, "speaker": speaker}
        job = self.ended(self.ask("POST", "/api/voice/process", body)["job_id"])
        assert job["state"] == "done", job["message"]
        found = self.ask("GET", f"/api/voice/clips?speaker={speaker}&limit=200")["clips"]
        ids = [clip["id"] for clip in found]
        self.ask("PATCH", "/api/voice/clips", {"ids": ids, "status": "accepted"})
        return speaker

    def train(self, name: str, speaker: str, **wanted: object) -> str:
        """Queue a training; the job's id."""
        body = {"name": name, "speaker": speaker, **wanted}
        job_id: str = self.ask("POST", "/api/voice/train", body)["job_id"]
        return job_id

    def job(self, job_id: str) -> dict[str, Any]:
        """How the job is."""
        found: dict[str, Any] = self.ask("GET", f"/api/voice/jobs/{job_id}")
        return found

    def ended(self, job_id: str, patience_s: float = 600.0) -> dict[str, Any]:
        """Wait for the job's end."""
        return self.until(job_id, *ENDED, patience_s=patience_s)

    def until(
        self, job_id: str, *states: str, least: int = 0, patience_s: float = 600.0
    ) -> dict[str, Any]:
        """Wait until the job is in one of these states and has made so many steps."""
        deadline = time.monotonic() + patience_s
        while True:
            found = self.job(job_id)
            if found["state"] in states and found["step"] >= least:
                return found
            assert found["state"] not in ENDED, f"{found['state']}: {found['message']}"
            assert time.monotonic() < deadline, f"{found['state']}: {found['message']}"
            time.sleep(0.1)
