"""Talk to a character from the command line; Luma must be running (python3 launch.py backend will do).

.venv/bin/python examples/talk_from_a_script.py                            a conversation; an empty line ends it
.venv/bin/python examples/talk_from_a_script.py --text "Good evening!" --character hoshi --no-tts
"""

from __future__ import annotations

import argparse
import contextlib
import json
from pathlib import Path

import httpx

DATA = Path(__file__).resolve().parent.parent / "data"


def connect(data: Path) -> httpx.Client:
    """A client for the backend that uses this data folder: it writes down where it listens, and its token."""
    try:
        address = json.loads((data / "backend.json").read_text("utf-8"))["url"]
    except FileNotFoundError:
        raise SystemExit(f"No Luma is running with {data}: start it, or give --data-dir.") from None
    token = (data / "api_token").read_text("utf-8").strip()
    headers = {"Authorization": f"Bearer {token}", "X-Client-UID": "talk-from-a-script"}
    return httpx.Client(base_url=address, headers=headers, timeout=120, trust_env=False)


def say(client: httpx.Client, text: str, character: str | None, speak: bool) -> None:
    """Send one message and print the reply while it is written."""
    body = {"message": text, "character_id": character, "speak": speak, "stream": True}
    with client.stream("POST", "/api/chat", json=body) as answer:
        if answer.is_error:
            raise SystemExit(json.loads(answer.read())["message"])
        event = ""
        for line in answer.iter_lines():
            if line.startswith("event: "):
                event = line.removeprefix("event: ")
            elif line.startswith("data: "):
                data = json.loads(line.removeprefix("data: "))
                if event == "sentence":
                    print(data["text"], end=" ", flush=True)
                elif event == "error":
                    print(f"\n[{data['message']}]")
                elif event == "final":
                    print(f"\n  ({data['timings']['total']:.0f} ms, {len(data['audio'])} sounds)")


def main() -> None:
    """Say one thing, or hold a conversation."""
    parser = argparse.ArgumentParser(description="Talk to a character.")
    parser.add_argument("--text", help="say this and end")
    parser.add_argument("--character", help="id of the character; GET /api/characters lists them")
    parser.add_argument("--no-tts", action="store_true", help="text only")
    parser.add_argument("--data-dir", type=Path, default=DATA, help="data folder of the backend")
    arguments = parser.parse_args()
    with connect(arguments.data_dir) as client:
        if arguments.text:
            say(client, arguments.text, arguments.character, not arguments.no_tts)
            return
        with contextlib.suppress(EOFError, KeyboardInterrupt):  # Ctrl-D and Ctrl-C end it too
            while text := input("> ").strip():
                say(client, text, arguments.character, not arguments.no_tts)


if __name__ == "__main__":
    main()
