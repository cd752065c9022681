"""Speak to a character over the event stream: send a recording as sound, print what was understood and the reply.

.venv/bin/python examples/talk_by_sound.py question.wav           mono 16-bit WAV of 8,000 to 96,000 Hz
"""

from __future__ import annotations

import argparse
import asyncio
import json
import wave
from pathlib import Path

from websockets.asyncio.client import connect

DATA = Path(__file__).resolve().parent.parent / "data"
TYPES = ["utterance.transcribed", "chat.sentence", "turn.finished"]


async def speak(data: Path, path: Path) -> None:
    """Say what is in the file and print the answer."""
    try:
        address = json.loads((data / "backend.json").read_text("utf-8"))["url"]
    except FileNotFoundError:
        raise SystemExit(f"No Luma is running with {data}: start it, or give --data-dir.") from None
    token = (data / "api_token").read_text("utf-8").strip()
    url = address.replace("http", "ws", 1) + "/ws"
    headers = {"Authorization": f"Bearer {token}"}
    async with connect(url, additional_headers=headers, proxy=None) as socket:
        await socket.send(json.dumps({"hello": {"types": TYPES, "batch": False}}))
        with wave.open(str(path)) as sound:
            rate_hz = sound.getframerate()
            # The whole recording is one message; without auto_end silence would end it.
            listen = {"do": "listen", "id": 1, "rate_hz": rate_hz, "auto_end": False}
            await socket.send(json.dumps(listen))
            while piece := sound.readframes(rate_hz // 20):
                await socket.send(piece)
                await asyncio.sleep(0.05)  # as somebody speaks; up to 30 s may come at once
        await socket.send(json.dumps({"do": "listen_end", "id": 2}))
        conversation = None
        async for frame in socket:
            found = json.loads(frame)
            conversation = found.get("conversation_id", conversation)
            if "failed" in found:
                raise SystemExit(found["message"])
            if found.get("done") == 2 and not found["turn_id"]:
                raise SystemExit(found["detail"])
            if "type" in found and found["data"]["conversation_id"] == conversation:
                print(found["message"], flush=True)
                if found["type"] == "turn.finished":
                    return


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Speak to a character with a recording.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--data-dir", type=Path, default=DATA, help="data folder of the backend")
    arguments = parser.parse_args()
    asyncio.run(speak(arguments.data_dir, arguments.file))
