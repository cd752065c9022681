"""Read and write the shipped lists of words in backend/chat/moderation/words.

    python scripts/moderation_words.py show slurs            the list, in plain words
    python scripts/moderation_words.py add slurs < words     adds one a line
    python scripts/moderation_words.py remove slurs < words  takes them out

The lists are kept as Base64, a word a line, so that nobody who reads or searches the repository comes upon them by chance.
It is no secret, and no hash: what could begin a blocked word can only be told by who knows the word.
"""

from __future__ import annotations

import base64
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "backend/chat/moderation/words"
HEAD = "# Offensive words, one a line in Base64; see scripts/moderation_words.py."


def read(path: Path) -> set[str]:
    """The words of a list."""
    if not path.exists():
        return set()
    lines = path.read_text(encoding="utf-8").splitlines()
    return {base64.b64decode(line).decode() for line in lines if line and not line.startswith("#")}


def write(path: Path, words: set[str]) -> None:
    """Write a list."""
    lines = [HEAD, *(base64.b64encode(word.encode()).decode() for word in sorted(words))]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main(arguments: list[str]) -> int:
    """Do what the command line says."""
    if len(arguments) != 2 or arguments[0] not in ("show", "add", "remove"):
        sys.stderr.write(__doc__ or "")
        return 2
    path = FOLDER / f"{Path(arguments[1]).name}.b64"
    words = read(path)
    if arguments[0] == "show":
        sys.stdout.write("".join(f"{word}\n" for word in sorted(words)))
        return 0
    given = {line.strip().casefold() for line in sys.stdin if line.strip()}
    write(path, words | given if arguments[0] == "add" else words - given)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
