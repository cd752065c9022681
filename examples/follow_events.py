"""Follow what happens in a running Luma, and never miss anything: a reconnect goes on where the line broke.

.venv/bin/python examples/follow_events.py                        everything that is stored
.venv/bin/python examples/follow_events.py "chat.*" "turn.*"      two groups; Ctrl-C ends it
"""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path
from typing import Any

from websockets.asyncio.client import connect

DATA = Path(__file__).resolve().parent.parent / "data"


async def follow(data: Path, types: list[str]) -> None:
    """Print events until interrupted."""
    try:
        address = json.loads((data / "backend.json").read_text("utf-8"))["url"]
    except FileNotFoundError:
        raise SystemExit(f"No Luma is running with {data}: start it, or give --data-dir.") from None
    token = (data / "api_token").read_text("utf-8").strip()
    since: int | None = None
    epoch: str | None = None
    async for socket in connect(
        address.replace("http", "ws", 1) + "/ws",
        additional_headers={"Authorization": f"Bearer {token}"},
        proxy=None,
    ):
        async with socket:
            hello: dict[str, Any] = {"since": since, "severity": "INFO", "types": types or ["*"]}
            await socket.send(json.dumps({"hello": {**hello, "epoch": epoch}}))
            async for frame in socket:
                found = json.loads(frame)
                for item in found if isinstance(found, list) else [found]:
                    if "type" in item:
                        print(
                            f"{item['at'][11:23]}  {item['type']:22} {item['message']}", flush=True
                        )
                        since = item["seq"] or since  # live events have no number
                    elif "hello" in item:
                        epoch = item["hello"]["epoch"]
                        since = item["hello"]["seq"] if since is None else since
                    elif "reset" in item:  # another database: begin anew
                        since, epoch = item["reset"]["seq"], item["reset"]["epoch"]


def main() -> None:
    """Read the arguments and follow."""
    parser = argparse.ArgumentParser(description="Follow what happens in a running Luma.")
    parser.add_argument("types", nargs="*", help='"chat.message", or a group like "chat.*"')
    parser.add_argument("--data-dir", type=Path, default=DATA, help="data folder of the backend")
    arguments = parser.parse_args()
    try:
        asyncio.run(follow(arguments.data_dir, arguments.types))
    except KeyboardInterrupt:
        print("\nbye")


if __name__ == "__main__":
    main()
