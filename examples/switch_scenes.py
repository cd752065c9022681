"""Switch scenes in OBS when Luma calls for one: a viewer's command with the action "scene", or a trigger of autonomy.

In OBS: Tools, WebSocket Server Settings, enable it; the password is shown there.

    OBS_PASSWORD=... .venv/bin/python examples/switch_scenes.py Kitchen "Just chatting"

Only the scenes that are named are switched to; without names, whatever Luma calls for.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

DATA = Path(__file__).resolve().parent.parent / "data"
OBS = "ws://127.0.0.1:4455"


async def open_obs(address: str, password: str) -> ClientConnection:
    """A connection on which OBS has let us in (obs-websocket 5)."""
    socket = await connect(address, proxy=None)
    asked = json.loads(await socket.recv())["d"].get("authentication")
    told: dict[str, Any] = {"rpcVersion": 1, "eventSubscriptions": 0}
    if asked is not None:
        secret = _hashed(password + asked["salt"])
        told["authentication"] = _hashed(secret + asked["challenge"])
    await socket.send(json.dumps({"op": 1, "d": told}))
    await socket.recv()  # OBS closes the connection where the password is wrong
    return socket


async def switch(obs: ClientConnection, scene: str) -> str:
    """Show a scene; what came of it, in words."""
    wanted = {"requestType": "SetCurrentProgramScene", "requestId": scene}
    await obs.send(json.dumps({"op": 6, "d": {**wanted, "requestData": {"sceneName": scene}}}))
    status = json.loads(await obs.recv())["d"]["requestStatus"]
    return "shown" if status["result"] else f"not shown: {status.get('comment', status['code'])}"


async def follow(data: Path, address: str, password: str, scenes: list[str]) -> None:
    """Switch until interrupted."""
    try:
        luma = json.loads((data / "backend.json").read_text("utf-8"))["url"]
    except FileNotFoundError:
        raise SystemExit(f"No Luma is running with {data}: start it, or give --data-dir.") from None
    token = (data / "api_token").read_text("utf-8").strip()
    obs = await open_obs(address, password)
    async with connect(
        luma.replace("http", "ws", 1) + "/ws",
        additional_headers={"Authorization": f"Bearer {token}"},
        proxy=None,
    ) as socket:
        await socket.send(json.dumps({"hello": {"types": ["scene.called"], "batch": False}}))
        async for frame in socket:
            event = json.loads(frame)
            if event.get("type") == "scene.called":
                scene = event["data"]["scene"]
                known = not scenes or scene in scenes
                done = await switch(obs, scene) if known else "not one of those that were named"
                print(f"{scene}, called by {event['data']['by']}: {done}", flush=True)


def _hashed(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def main() -> None:
    """Read the arguments and follow."""
    parser = argparse.ArgumentParser(description="Switch scenes in OBS when Luma calls for one.")
    parser.add_argument("scenes", nargs="*", help="scenes that may be shown; none = all")
    parser.add_argument("--obs", default=OBS, help=f"address of OBS ({OBS})")
    parser.add_argument("--data-dir", type=Path, default=DATA, help="data folder of the backend")
    arguments = parser.parse_args()
    password = os.environ.get("OBS_PASSWORD", "")  # noqa: TID251 - no setting of Luma's, and arguments can be read by others
    try:
        asyncio.run(follow(arguments.data_dir, arguments.obs, password, arguments.scenes))
    except KeyboardInterrupt:
        pass
    except OSError as error:
        raise SystemExit(f"OBS does not answer at {arguments.obs}: {error}") from None


if __name__ == "__main__":
    main()
