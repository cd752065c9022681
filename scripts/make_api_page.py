"""Write docs/API.md from the API's own description; ``--check`` only says whether it is up to date."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from fastapi import FastAPI

from backend.api import ROUTERS
from backend.api.commands import AVATAR_ORDERS, COMMANDS, SOUND_ORDERS, TEXT_ORDERS

TARGET = ROOT / "docs" / "API.md"

HEAD = """\
# The API

<!-- Made by scripts/make_api_page.py; the words above the tables are written there, the tables come from the routes. -->

The window, the web pages and every script use the same doors: REST under `/api` and the event stream `GET /ws`. With Luma
running, `/docs` shows every route with all its fields, to read and to try (Help, API page in the
browser; or ask `POST /api/login-link` for a link).

## Getting in

Luma makes a token at its first start, in `data/api_token`, readable by you only; `data/backend.json` says where it listens.
Every request carries the token. Only `GET /api/health` answers without.

```bash
URL=http://127.0.0.1:8765
AUTH="Authorization: Bearer $(cat data/api_token)"
curl -H "$AUTH" $URL/api/status
```

`--json`, used below, needs curl 7.82 or newer.

| Form | For |
|---|---|
| `Authorization: Bearer <token>` | scripts, on REST and WebSocket |
| WebSocket subprotocol `bearer.<token>` | browsers that have the token (also offer `luma`, then that one is echoed) |
| session cookie, by a one-time link from `POST /api/login-link` | pages of this backend; a change also needs `Content-Type: application/json` and the header `X-Luma-Page` |
| `?token=<overlay token>` | overlay and captions in OBS: reads `playback.*`, `avatar.*`, `chat.sentence` and the stage's sounds; writes nothing |

The Host must be `127.0.0.1`, `localhost` or `[::1]` with our port, or be listed in `ALLOWED_HOSTS`. A web page of another
origin must be listed in `CORS_ORIGINS`, even with the right token; `null` and `file://` too.

## When something is wrong

Every failure is `{"code": "...", "message": "..."}`; the message says what happened, with which value, and what to do.

| Status | Means |
|---|---|
| 400 | not JSON, a malformed header |
| 401, 403 | no or a wrong token; not allowed, foreign Host or Origin |
| 404, 405, 409 | there is no such thing; another method; not in the present state |
| 413, 414, 431 | body, address or headers too large |
| 422 | a field is missing or wrong; the message names it |
| 429 | too many requests, or a full queue; `Retry-After` says when |
| 502, 503 | an engine or provider failed, or is not set up |
| 500 | a fault of ours; the log has it |

## Talking

```bash
curl -H "$AUTH" $URL/api/chat --json '{"message": "Hello!"}'
```

```json
{"turn_id": "6f…", "conversation_id": "0b…", "character_id": "hoshi", "reply": "Hello you. What brings you here?",
 "emotion": "joy", "outcome": "done", "error": "", "first_audio_ms": 84.2,
 "audio": [{"url": "/api/audio/6f…/1", "text": "Hello you.", "duration_s": 0.9}, …],
 "timings": {"wait": 0.1, "prompt": 0.4, "llm": 61.0, "tts": 40.7, "total": 102.2}}
```

With `"stream": true` the reply comes while it is written, as server-sent events: `start`, then `token`, `sentence` (what is
shown and spoken), `audio`, `retry` (another attempt, or the next engine), `error` (for the operator, never spoken), and at
the end `final`, the whole reply as above. Leave, and a turn that is not on stage is stopped.

```bash
curl -N -H "$AUTH" $URL/api/chat --json '{"message": "Tell me a story.", "stream": true}'
```

**Which conversation?** `"conversation_id": "stage"` is the one of the window: it is heard on the stage. With the header
`X-Client-UID: my-script` (or `client_uid`) the message belongs to that client's own conversation. With neither, a new one
begins. A stated conversation that does not exist is a 404. Each has its own active character.

## Speaking and hearing

```bash
curl -H "$AUTH" $URL/api/tts --json '{"text": "Good evening.", "voice": "en_GB-alba-medium"}'   # -> {"url": …}
curl -H "$AUTH" -o evening.wav $URL/api/audio/<id>/1                                             # Range works
curl -H "$AUTH" $URL/api/stt -F file=@question.mp3 -F language=en                                # -> {"text": …}
```

## Speaking

The microphone of Luma's computer belongs to the stage: `GET /api/listening` says how it is, `POST /api/audio/input` chooses device
and mode (`off`, `push_to_talk`, `open`), mutes and sets the gain, `POST /api/listening/talk` is the key of push-to-talk. What
becomes of speech comes as events `listening.*` and `utterance.*`. `ASR_FAKE_AUDIO` names a WAV file that plays the microphone
whenever it is opened: once, with silence after it (the guided recording of voice training repeats it).

Programs that hear for themselves send what they have read. Partial transcripts make the character quieter and stop her as
speech does; the final one becomes the message:

```bash
curl -H "$AUTH" $URL/api/ingest/asr --json '{"text": "what time", "is_final": false, "utterance_id": "7"}'
curl -H "$AUTH" $URL/api/ingest/asr --json '{"text": "What time is it?", "is_final": true, "utterance_id": "7"}'
curl -H "$AUTH" $URL/api/ingest/chat --json '{"message": "Hello from the chat!", "author": "Ada", "platform": "twitch"}'
```

Each answers `{"disposition", "turn_id", "conversation_id"}`: `partial` and `taken_back` made no turn, `queued` waits, `answering`
does not. A viewer's name stays beside the message; one that looks like the operator's gets the platform behind it.

## Viewers

What viewers write on stage goes through a queue with rules of yours ([chat queue](chat-queue.md)). The answer to
`POST /api/ingest/chat` names it (`message_id`) and says what became of it so far; then it is kept, whatever happens. The events
`audience.wrote`, `chat.disposition` and `queue.changed` tell the rest. The same `message_id` again is taken once.

```bash
curl -H "$AUTH" $URL/api/queue                                                   # who waits, and why there
curl -H "$AUTH" -X POST $URL/api/queue/<message_id>/now                          # or approve, or skip
curl -H "$AUTH" $URL/api/queue/delete --json '{"message_id": "…"}'               # as a moderator; cuts its answer
curl -H "$AUTH" "$URL/api/dispositions?author=ada&disposition=too-old"           # why was this not answered
curl -H "$AUTH" -o messages.csv $URL/api/dispositions/export
curl -H "$AUTH" $URL/api/commands --json '{"name": "hug", "action": "prompt", "value": "{user} hugs you."}'
```

## The event stream

`GET /ws`, JSON text frames. The client speaks first:

```json
{"hello": {"since": 1841, "epoch": "…", "types": ["chat.*", "turn.*"], "severity": "INFO", "batch": true}}
```

All fields are optional. The server answers `{"hello": {"seq": 1902, "epoch": "…", "version": "…"}}`, then sends every stored
event after `since`, then live ones: after a dropped connection nothing is missing and nothing comes twice. Keep the `seq` of
the last event and the `epoch`. On another epoch, or when `since` does not exist (any more), comes
`{"reset": {"seq": …, "epoch": …, "reason": "…"}}`: load what you show by REST and go on from there.
A page that plays the stage's sound itself (`AUDIO_SINK=overlay`) adds `"plays": true`: Luma then knows that somebody listens
([overlay](overlay.md)).

One frame holds one event, or a list of those that were waiting together; `"batch": false` sends single ones. Events and their
fields are in [EVENTS.md](EVENTS.md). Later messages of the client:

| Message | Answer |
|---|---|
| `{"subscribe": {"types": […], "severity": "…", "batch": …}}` | `{"subscribed": {…}}` |
| `{"ping": n}` | `{"pong": n}` |
| `{"do": "chat", "id": 7, "message": "Hi"}` | `{"done": 7, "turn_id": …}` or `{"failed": 7, "code": …, "message": …}` |

Sound goes the other way as binary frames: say `{"do": "listen", "rate_hz": 16000}`, then send PCM16, little-endian, mono, in
pieces of 20 to 100 ms. Silence ends what is said (`listen_end` does it at once, `"auto_end": false` leaves it to that), and it becomes a
message of the conversation that `listen` answered with: one of this socket's own, unless `conversation_id` names another one
(`stage` for the one that is heard). A socket that closes is not listened to any more. At most 30 s of sound may come at once, then
1.25 s a second; what is too much, or no PCM16, is left out and told once a second as `{"failed": null, "code": …, "message": …}`
(`listen.off`, `listen.malformed`, `listen.too_fast`). `examples/talk_by_sound.py` is a client in 60 lines.

| Close code | Means |
|---|---|
| 4008 | you read too slowly; connect again with the last `seq` you saw |
| 4400 | the first message was no hello that can be used |
| 4001 | the overlay token was replaced |
| 1008, 1009 | too many messages; a message too large |

A refused token, Host or Origin is an HTTP status before the socket opens.
"""


def page() -> str:
    """The text of docs/API.md."""
    lines = [
        HEAD,
        "## Commands of the event stream\n",
        "Each calls the same service as its route.\n",
    ]
    lines += ["| `do` | Fields | What |", "|---|---|---|"]
    orders = COMMANDS | AVATAR_ORDERS | SOUND_ORDERS | TEXT_ORDERS
    bodies = {name: order.body for name, order in orders.items()}
    for name, body in bodies.items():
        fields = ", ".join(
            f"`{field}`" + ("" if info.is_required() else "?")
            for field, info in body.model_fields.items()
        )
        what = (body.__doc__ or "").strip().split("\n")[0].replace(", over the event stream", "")
        lines.append(f"| `{name}` | {fields} | {what} |")
    lines += [
        "",
        "## Routes",
        "",
        "`?` marks what may be left out. `/docs` has types, ranges and examples.",
    ]
    document = description()
    tags: dict[str, list[str]] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            tags.setdefault(operation["tags"][0], []).append(
                _row(method, path, operation, document)
            )
    for tag, rows in tags.items():
        lines += [
            "",
            f"### {tag.capitalize()}",
            "",
            "| Route | Takes | What |",
            "|---|---|---|",
            *rows,
        ]
    return "\n".join(lines) + "\n"


def description() -> dict[str, Any]:
    """The OpenAPI document of all routes."""
    app = FastAPI()
    for router in ROUTERS:
        app.include_router(router)
    return app.openapi()


def _row(method: str, path: str, operation: dict[str, Any], document: dict[str, Any]) -> str:
    takes = [
        f"`{one['name']}`" + ("" if one.get("required") else "?")
        for one in operation.get("parameters", ())
        if one["in"] != "path"
    ]
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        names = [f"`{name}`" + mark for name, mark in _fields(content["schema"], document)]
        form = " (form)" if kind.startswith("multipart") else ""
        takes.append(", ".join(names) + form)
    what = " ".join(operation["description"].split("\n\n")[0].split())
    return f"| {method.upper()} `{path}` | {', '.join(takes)} | {what} |"


def _fields(schema: dict[str, Any], document: dict[str, Any]) -> list[tuple[str, str]]:
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    for option in schema.get("anyOf", ()):
        if "$ref" in option:
            return [(name, "?") for name, _ in _fields(option, document)]
    required = schema.get("required", ())
    return [(name, "" if name in required else "?") for name in schema.get("properties", ())]


def main(arguments: list[str]) -> int:
    """Write the page, or compare it; returns the exit code."""
    if "--check" in arguments:
        if TARGET.exists() and TARGET.read_text("utf-8") == page():
            return 0
        print("docs/API.md is not what the routes say: run python scripts/make_api_page.py")
        return 1
    TARGET.write_text(page(), encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
