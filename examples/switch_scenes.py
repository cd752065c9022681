"""Switch scenes in OBS when Luma calls for one: a viewer's command with the action "scene", or a trigger of autonomy.

In OBS: Tools, WebSocket Server Settings, enable it; the password is shown there. Only the scenes that are named are switched
to; without names, whatever Luma calls for.

    OBS_PASSWORD=... .venv/bin/python examples/switch_scenes.py Kitchen "Just chatting"
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
from pathlib import Path

from websockets.sync.client import ClientConnection, connect

DATA = Path(__file__).resolve().parent.parent / "data"
OBS = "ws://127.0.0.1:4455"


def open_obs(address: str, password: str) -> ClientConnection:
    """A connection on which OBS has let us in (obs-websocket 5)."""
    socket = connect(address, proxy=None)
    asked = json.loads(socket.recv())["d"].get("authentication")
    told: dict[str, object] = {"rpcVersion": 1, "eventSubscriptions": 0}
    if asked is not None:
        told["authentication"] = _hashed(_hashed(password + asked["salt"]) + asked["challenge"])
    socket.send(json.dumps({"op": 1, "d": told}))
    socket.recv()  # OBS closes the connection where the password is wrong
    return socket


def switch(obs: ClientConnection, scene: str) -> str:
    """Show a scene; what came of it, in words."""
    wanted = {"requestType": "SetCurrentProgramScene", "requestId": scene}
    obs.send(json.dumps({"op": 6, "d": {**wanted, "requestData": {"sceneName": scene}}}))
    status = json.loads(obs.recv())["d"]["requestStatus"]
    return "shown" if status["result"] else f"not shown: {status.get('comment', status['code'])}"


def _hashed(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def main() -> None:
    """Switch until interrupted."""
    parser = argparse.ArgumentParser(description="Switch scenes in OBS when Luma calls for one.")
    parser.add_argument("scenes", nargs="*", help="scenes that may be shown; none = all")
    parser.add_argument("--obs", default=OBS, help=f"address of OBS ({OBS})")
    parser.add_argument("--data-dir", type=Path, default=DATA, help="data folder of the backend")
    arguments = parser.parse_args()
    scenes, data = arguments.scenes, arguments.data_dir
    password = os.environ.get("OBS_PASSWORD", "")  # noqa: TID251 - no setting of Luma's, and arguments can be read by others
    try:
        luma = json.loads((data / "backend.json").read_text("utf-8"))["url"]
    except FileNotFoundError:
        raise SystemExit(f"No Luma is running with {data}: start it, or give --data-dir.") from None
    headers = {"Authorization": f"Bearer {(data / 'api_token').read_text('utf-8').strip()}"}
    try:
        obs = open_obs(arguments.obs, password)
        with connect(f"ws{luma[4:]}/ws", additional_headers=headers, proxy=None) as socket:
            socket.send(json.dumps({"hello": {"types": ["scene.called"], "batch": False}}))
            for event in map(json.loads, socket):
                if event.get("type") == "scene.called":
                    scene, by = event["data"]["scene"], event["data"]["by"]
                    known = not scenes or scene in scenes
                    done = switch(obs, scene) if known else "not one of those that were named"
                    print(f"{scene}, called by {by}: {done}", flush=True)
    except KeyboardInterrupt:
        pass
    except OSError as error:
        raise SystemExit(f"OBS does not answer at {arguments.obs}: {error}") from None


if __name__ == "__main__":
    main()
