"""Write .env.example from config.py; ``--check`` only says whether it is up to date."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import config
from config import Settings

TARGET = ROOT / ".env.example"
HEAD = """\
# Every setting of Luma. Copy this file to .env and take the # away where you want another value.
#
# What decides, strongest first: command line, environment variable, .env, a key typed in the window,
# <data-dir>/settings.yaml (what the window saves), default. An empty value counts as not set.
# Lists are written a, b, c or ["a", "b", "c"]; [] is the empty list. Relative paths start at this folder.
#
# Two more variables say where to read: LUMA_CONFIG names another settings.yaml, LUMA_ENV_FILE another .env.
"""


def page() -> str:
    """The text of .env.example."""
    lines = [HEAD.rstrip("\n")]
    group = ""
    for name, info in Settings.model_fields.items():
        if config.group_of(name) != group:
            group = config.group_of(name)
            lines += ["", f"# --- {group} ---"]
        when = "" if config.is_live(name) else " Takes effect at the next start."
        lines += [
            "",
            f"# {info.description}{when}",
            f"# Allowed: {config.allowed_in_words(name)}.",
            f"#{name.upper()}={_written(info.default)}",
        ]
    return "\n".join(lines) + "\n"


def _written(value: object) -> str:
    """A default as it is written in .env."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return ", ".join(str(word) for word in value) or "[]"
    if isinstance(value, Path):
        return value.relative_to(ROOT).as_posix()
    return str(value)


def main(arguments: list[str]) -> int:
    """Write the file, or compare it; returns the exit code."""
    if "--check" in arguments:
        if TARGET.exists() and TARGET.read_text("utf-8") == page():
            return 0
        print(f"{TARGET.name} is not what config.py says: run python scripts/make_env_example.py")
        return 1
    TARGET.write_text(page(), encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
