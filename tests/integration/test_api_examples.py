"""The examples do what they say, against a real backend."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest
from websockets.sync.server import ServerConnection, serve

from tests.integration.conftest import Served

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture
def data_dir(served: Served, tmp_path: Path) -> Path:
    """A data folder as a running backend leaves it."""
    (tmp_path / "backend.json").write_text(json.dumps({"url": served.url}))
    (tmp_path / "api_token").write_text(served.token + "\n")
    return tmp_path


def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_a_script_talks_to_a_character_without_sound(api: httpx.Client, data_dir: Path) -> None:
    who = api.get("/api/characters").json()[1]["id"]
    ended = run(
        "talk_from_a_script.py",
        "--text",
        "Good evening. Nice to see you.",
        "--character",
        who,
        "--no-tts",
        "--data-dir",
        str(data_dir),
    )
    assert ended.returncode == 0, ended.stderr
    assert "Good evening. Nice to see you." in ended.stdout
    assert "0 sounds" in ended.stdout
    assert api.get("/api/turns", params={"limit": 1}).json()[0]["character_id"] == who


def test_a_script_says_why_it_cannot_talk(api: httpx.Client, data_dir: Path) -> None:
    ended = run(
        "talk_from_a_script.py",
        "--text",
        "Hi",
        "--character",
        "nobody",
        "--data-dir",
        str(data_dir),
    )
    assert ended.returncode == 1
    assert "nobody" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("name", ["talk_from_a_script.py", "follow_events.py", "switch_scenes.py"])
def test_an_example_says_that_no_luma_is_running(name: str, tmp_path: Path) -> None:
    ended = run(name, "--data-dir", str(tmp_path))
    assert ended.returncode == 1
    assert ended.stderr == f"No Luma is running with {tmp_path}: start it, or give --data-dir.\n"


def test_a_conversation_ends_with_its_input(api: httpx.Client, data_dir: Path) -> None:
    ended = run("talk_from_a_script.py", "--data-dir", str(data_dir))
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_script_follows_the_events(api: httpx.Client, data_dir: Path) -> None:
    follower = subprocess.Popen(
        [
            sys.executable,
            "-u",
            str(EXAMPLES / "follow_events.py"),
            "chat.message",
            "--data-dir",
            str(data_dir),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    lines: list[str] = []
    seen = threading.Event()

    def read() -> None:
        assert follower.stdout is not None
        lines.append(follower.stdout.readline())
        seen.set()

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        for _ in range(150):  # said again until the follower is there to see it
            api.post("/api/chat", json={"message": "is anybody watching?", "speak": False})
            if seen.wait(0.1):
                break
    finally:
        follower.terminate()
        follower.wait(10)
        reader.join(10)
        assert follower.stdout is not None
        follower.stdout.close()
    assert "chat.message" in lines[0]
    assert "is anybody watching?" in lines[0]


def test_a_script_switches_scenes_in_obs(api: httpx.Client, data_dir: Path) -> None:
    shown: list[str] = []

    def obs(socket: ServerConnection) -> None:
        """OBS as its websocket speaks, with the password "luma"."""
        told = {"rpcVersion": 1, "authentication": {"challenge": "c4", "salt": "s7"}}
        socket.send(json.dumps({"op": 0, "d": told}))
        answer = json.loads(socket.recv())["d"]["authentication"]
        secret = base64.b64encode(hashlib.sha256(b"lumas7").digest())
        right = base64.b64encode(hashlib.sha256(secret + b"c4").digest()).decode()
        if answer != right:
            socket.close(4009, "Authentication failed.")
            return
        socket.send(json.dumps({"op": 2, "d": {"negotiatedRpcVersion": 1}}))
        for frame in socket:
            asked = json.loads(frame)["d"]
            shown.append(asked["requestData"]["sceneName"])
            done = {"requestStatus": {"result": True, "code": 100}}
            socket.send(json.dumps({"op": 7, "d": done}))

    scene = {"name": "kitchen", "action": "scene", "value": "Kitchen", "cooldown_s": 0}
    other = {"name": "bedroom", "action": "scene", "value": "Bedroom", "cooldown_s": 0}
    for body in (scene, other):
        api.post("/api/commands", json=body)
    with serve(obs, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        where = f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
        follower = subprocess.Popen(
            [
                *(sys.executable, "-u", str(EXAMPLES / "switch_scenes.py"), "Kitchen"),
                *("--obs", where, "--data-dir", str(data_dir)),
            ],
            env={**os.environ, "OBS_PASSWORD": "luma"},
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            for _ in range(150):  # called again until the follower is there to hear it
                for word in ("!bedroom", "!kitchen"):
                    said = {"message": word, "author": "mo", "role": "moderator", "platform": "x"}
                    api.post("/api/ingest/chat", json=said)
                if len(shown) > 1:  # then one for the bedroom was between them
                    break
                time.sleep(0.1)
        finally:
            follower.terminate()
            output, _ = follower.communicate(timeout=10)
            server.shutdown()
    thread.join(10)
    assert set(shown) == {"Kitchen"}
    assert "Bedroom, called by !bedroom: not one of those that were named" in output
    for body in (scene, other):
        api.delete(f"/api/commands/{body['name']}")
