"""Train a voice from a folder of recordings; Luma must be running (python3 launch.py backend will do).

.venv/bin/python examples/train_a_voice.py FOLDER --name mika-v1 --speaker Mika --agreed "I am Mika and I agree."
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import httpx

DATA = Path(__file__).resolve().parent.parent / "data"


def connect(data: Path) -> httpx.Client:
    """A client for the backend that uses this data folder: it writes down where it listens, and its token."""
    try:
        address = json.loads((data / "backend.json").read_text("utf-8"))["url"]
    except FileNotFoundError:
        raise SystemExit(f"No Luma is running with {data}: start it, or give --data-dir.") from None
    headers = {"Authorization": f"Bearer {(data / 'api_token').read_text('utf-8').strip()}"}
    return httpx.Client(
        base_url=address + "/api/voice/", headers=headers, timeout=600, trust_env=False
    )


def ask(client: httpx.Client, path: str, **what: Any) -> Any:
    """POST, and end with the backend's own words when it refuses."""
    answer = client.post(path, **what)
    if answer.is_error:
        raise SystemExit(answer.json()["message"])
    return answer.json()


def follow(client: httpx.Client, job_id: str) -> None:
    """Print how a job goes until it ends."""
    job = {"state": "queued"}
    while job["state"] not in ("done", "failed", "cancelled", "interrupted"):
        time.sleep(0.5)
        job = client.get(f"jobs/{job_id}").json()
        print(f"\r{job['state']:10} step {job['step']} {job['verdict']}", end=" " * 8)
    print(f"\n{job['message']}")


def main() -> None:
    """Upload, cut into clips, examine, train."""
    parser = argparse.ArgumentParser(description="Train a voice.")
    parser.add_argument("folder", type=Path, help="recordings, with metadata.csv if you have one")
    parser.add_argument("--name", required=True, help="what the voice is called")
    parser.add_argument("--speaker", required=True, help="whose voice it is")
    parser.add_argument("--agreed", required=True, help="the speaker's consent, in her own words")
    parser.add_argument("--seconds", type=float, default=300, help="how long to train")
    parser.add_argument("--data-dir", type=Path, default=DATA, help="data folder of the backend")
    given = parser.parse_args()
    with connect(given.data_dir) as client:
        speaker = ask(client, "speakers", json={"name": given.speaker})["id"]
        ask(client, f"speakers/{speaker}/consent", json={"statement": given.agreed})
        paths = [path for path in sorted(given.folder.iterdir()) if path.is_file()]
        files = [("files", (path.name, path.read_bytes())) for path in paths]
        ids = ask(client, "upload", files=files, data={"speaker": speaker})["upload_ids"]
        follow(client, ask(client, "process", json={"upload_ids": ids})["job_id"])
        follow(client, ask(client, "doctor", json={"speaker": speaker})["job_id"])
        wish = {"name": given.name, "speaker": speaker, "budget": {"seconds": given.seconds}}
        follow(client, ask(client, "train", json=wish)["job_id"])


if __name__ == "__main__":
    main()
