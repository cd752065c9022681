"""Everything CI checks besides the tests, in CI's order, on any system; ``--fix`` puts right what tools can."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = ("config.py", "config_secrets.py", "config_store.py", "main.py", "launch.py")

PACKAGES = ("backend", "frontend", "voice_trainer", "simulator")


def steps(*, fix: bool) -> list[tuple[str, list[str]]]:
    """What is run, with the name it is reported under."""
    python = sys.executable
    pages = sorted(path.name for path in (ROOT / "scripts").glob("make_*_page.py"))
    generated = ["make_env_example.py", *pages]
    check = [] if fix else ["--check"]
    return [
        ("format", [python, "-m", "ruff", "format", *check, "."]),
        ("lint", [python, "-m", "ruff", "check", *(["--fix"] if fix else []), "."]),
        ("types", [python, "-m", "mypy", *(word for name in PACKAGES for word in ("-p", name))]),
        (
            "types of programs",  # explicit bases: a script may import another as scripts.name
            [python, "-m", "mypy", "--explicit-package-bases", *PROGRAMS, *_scripts()],
        ),
        ("import rules", [str(Path(python).with_name("lint-imports")), "--no-cache"]),
        *((name, [python, str(ROOT / "scripts" / name), *check]) for name in generated),
    ]


def _scripts() -> list[str]:
    return sorted(str(path.relative_to(ROOT)) for path in (ROOT / "scripts").glob("*.py"))


def main(arguments: list[str]) -> int:
    """Run all steps, also after one has failed; returns 1 when any did."""
    failed = []
    for name, command in steps(fix="--fix" in arguments):
        begun = time.monotonic()
        result = subprocess.run(command, cwd=ROOT, check=False)
        verdict = "ok" if result.returncode == 0 else "FAILED"
        print(f"{name}: {verdict} ({time.monotonic() - begun:.1f} s)", flush=True)
        if result.returncode != 0:
            failed.append(name)
    print(
        f"{len(failed)} failed: {', '.join(failed)}" if failed else "all checks passed", flush=True
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
