#!/usr/bin/env python3
"""Start Luma on a machine that has nothing but a Python: python3 launch.py [app | backend | test | check] [options].

Standard library only, and no syntax newer than Python 3.6, so that an old Python gets far enough to find a fitting one.
Makes ``.venv`` beside this file, installs what is required there (again only when that changed), then runs the word.
"""

import contextlib
import ctypes
import glob
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple

ROOT = Path(os.path.abspath(__file__)).parent
VENV = ROOT / ".venv"
STAMP = VENV / "luma-installed.json"
FITTING = ((3, 13), (3, 12), (3, 11))
"""Python versions that every requirement has wheels for, best first."""

TORCH = "torch==2.13.0"
TORCH_CPU_BUILDS = "https://download.pytorch.org/whl/cpu"
WORDS = {
    "app": "the window with its backend (this is what runs without a word)",
    "backend": "the backend alone, without a window",
    "test": "the tests; further words go to pytest",
    "check": "everything else CI runs: style, types, import rules, generated pages",
}
FAILED = 1
WRONG_USE = 2
INTERRUPTED = 130

APT = {
    "tkinter": "python3-tk",
    "venv": "python3-venv",
    "portaudio": "libportaudio2",
    "xvfb": "xvfb",
    "fonts": "fonts-dejavu-core fonts-noto-cjk fonts-noto-color-emoji",
    "sound": "pulseaudio pulseaudio-utils libasound2-plugins",
}
DNF = {
    "tkinter": "python3-tkinter",
    "venv": "python3",
    "portaudio": "portaudio",
    "xvfb": "xorg-x11-server-Xvfb",
    "fonts": "dejavu-sans-fonts google-noto-sans-cjk-fonts google-noto-color-emoji-fonts",
    "sound": "pulseaudio pulseaudio-utils alsa-plugins-pulseaudio",
}
PACMAN = {
    "tkinter": "tk",
    "venv": "python",
    "portaudio": "portaudio",
    "xvfb": "xorg-server-xvfb",
    "fonts": "ttf-dejavu noto-fonts-cjk noto-fonts-emoji",
    "sound": "pulseaudio pulseaudio-alsa",
}


class Problem(Exception):
    """Luma cannot be started; says why and what to do."""


class Python(NamedTuple):
    """An interpreter: how to call it, and what it can do."""

    command: List[str]
    version: Tuple[int, int, int]
    has_tkinter: bool
    has_venv: bool
    prefix: str

    @property
    def fits(self) -> bool:
        """Whether the requirements can be installed for it."""
        return self.version[:2] in FITTING


def main(arguments: List[str]) -> int:
    """Do what the words say; returns the exit code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a C locale must not end the launcher
    word, rest = _split(arguments)
    if word == "help":
        _say(_usage())
        return 0
    if word not in WORDS:
        _say("There is no {!r}.\n{}".format(word, _usage()))
        return WRONG_USE
    try:
        needs_window = word == "test" or (word == "app" and "--headless" not in rest)
        developing = word in ("test", "check")
        python = prepare("requirements-dev.txt" if developing else "requirements.txt", needs_window)
        if word in ("app", "backend"):
            check_system([])
        if word == "test":
            return _test(python, rest)
        if word == "check":
            return _replace([python, str(ROOT / "scripts" / "check.py")] + rest)
        headless = ["--headless"] if word == "backend" else []
        return _replace([python, str(ROOT / "main.py")] + headless + rest)
    except Problem as problem:
        _say(str(problem))
        return FAILED
    except KeyboardInterrupt:
        _say("Interrupted; the next start goes on from here.")
        return INTERRUPTED


def prepare(requirements: str, needs_window: bool) -> str:
    """Path of the interpreter in ``.venv``, with everything in the requirements file installed.

    Raises:
        Problem: If there is no fitting Python, or the installation fails.
    """
    wanted = fingerprint(requirements)
    stamp = read_stamp()
    inside = venv_python()
    if stamp.get(requirements) == wanted and inside.exists() and Path(stamp["base"]).exists():
        return str(inside)
    _make_venv(needs_window)
    torch_wanted = "gpu" if has_nvidia() else "cpu"
    _say("Installing what {} lists (a few minutes the first time) ...".format(requirements))
    _install_torch(torch_wanted)
    if _pip("install", "-r", str(ROOT / requirements)) != 0:
        raise Problem(
            "The installation failed; pip's lines above say why. Start again when that is solved:"
            " what is already there is kept."
        )
    found = probe([str(inside)])
    done = {requirements: wanted, "base": found.prefix if found else ""}
    if requirements == "requirements-dev.txt":
        done["requirements.txt"] = fingerprint("requirements.txt")  # it includes that one
    write_stamp(done)
    return str(inside)


def fingerprint(requirements: str) -> str:
    """Changes when another installation is needed: other requirements, or another build of torch."""
    digest = hashlib.sha256()
    names = ["requirements.txt"] + ([requirements] if requirements != "requirements.txt" else [])
    for name in names:
        text = (ROOT / name).read_text(encoding="utf-8")
        lines = [line.split("#")[0].strip() for line in text.splitlines()]
        digest.update("\n".join(line for line in lines if line).encode("utf-8"))
    digest.update(b"gpu" if has_nvidia() else b"cpu")
    return digest.hexdigest()


def read_stamp() -> Dict[str, Any]:
    """What was installed to the end; empty when nothing was, or the folder was moved."""
    try:
        found = json.loads(STAMP.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    # The scripts inside a venv hold its absolute path: after a move it has to be made anew.
    if not isinstance(found, dict) or found.get("root") != str(ROOT):
        return {}
    return found


def write_stamp(done: Dict[str, str]) -> None:
    """Note what is installed; written last, so that an interrupted installation is repeated."""
    done["root"] = str(ROOT)
    new = STAMP.with_suffix(".new")
    new.write_text(json.dumps(done, indent=2), encoding="utf-8")
    os.replace(str(new), str(STAMP))


def venv_python() -> Path:
    """The interpreter inside ``.venv``."""
    if os.name == "nt":
        return VENV / "Scripts" / "python.exe"
    return VENV / "bin" / "python"


def find_python(needs_window: bool) -> Python:
    """The best interpreter on this machine: this one when it fits, else the newest fitting one, with tkinter first.

    Raises:
        Problem: If none fits; says which is needed and where this one is too old.
    """
    without: Optional[Python] = None
    for command in _candidates():
        found = probe(command)
        if found is None or not found.fits:
            continue
        if found.has_venv and (found.has_tkinter or not needs_window):
            return found
        without = without or found
    if without is not None:
        return without
    raise Problem(
        "Luma needs Python 3.11, 3.12 or 3.13; this is {}.{}.{} and no other one was found."
        " Install one (python.org, or: sudo apt install python3 python3-venv python3-tk),"
        " or name it in the environment variable LUMA_PYTHON.".format(*sys.version_info[:3])
    )


def probe(command: List[str]) -> Optional[Python]:
    """What an interpreter can do; None when it does not run."""
    question = (
        "import sys, json\n"
        "from importlib.util import find_spec as has\n"
        "try:\n    import tkinter; tk = True\nexcept Exception:\n    tk = False\n"
        "venv = has('venv') is not None and has('ensurepip') is not None\n"
        "print(json.dumps([list(sys.version_info[:3]), tk, venv, sys.base_prefix]))\n"
    )
    try:
        answer = subprocess.run(
            command + ["-c", question],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=20,
            check=True,
        ).stdout
        version, has_tkinter, has_venv, prefix = json.loads(answer.decode("utf-8"))
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return Python(command, tuple(version), has_tkinter, has_venv, prefix)


def _candidates() -> Iterator[List[str]]:
    seen = set()
    for command in _all_candidates():
        if tuple(command) not in seen:
            seen.add(tuple(command))
            yield command


def _all_candidates() -> Iterator[List[str]]:
    named = os.environ.get("LUMA_PYTHON")
    if named:
        yield [named]
        return
    if sys.version_info[:2] in FITTING:
        yield [sys.executable]
    names = ["python{}.{}".format(*version) for version in FITTING] + ["python3", "python"]
    for name in names:
        path = shutil.which(name)
        if path:
            yield [path]
    if os.name == "nt":
        for version in FITTING:
            yield ["py", "-{}.{}".format(*version)]
        return
    pyenv = os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")
    uv = os.path.expanduser("~/.local/share/uv/python")
    for version in FITTING:
        number = "{}.{}".format(*version)
        patterns = [
            os.path.join(glob.escape(pyenv), "versions", number + ".*", "bin", "python"),
            os.path.join("/usr/bin", "python" + number),
            os.path.join("/usr/local/bin", "python" + number),
            os.path.join("/opt/homebrew/bin", "python" + number),
            os.path.join(glob.escape(uv), "cpython-" + number + ".*", "bin", "python3"),
        ]
        for pattern in patterns:
            for path in sorted(glob.glob(pattern), reverse=True):
                yield [path]


def _make_venv(needs_window: bool) -> None:
    inside = venv_python()
    is_ours = read_stamp() or not STAMP.exists()
    if inside.exists() and is_ours:
        found = probe([str(inside)])
        works = found is not None and found.fits and (found.has_tkinter or not needs_window)
        if works and _quietly([str(inside), "-m", "pip", "--version"]):
            return
    python = find_python(needs_window)
    missing = [] if python.has_venv else ["venv"]
    if needs_window and not python.has_tkinter:
        missing.append("tkinter")
    if missing and _is_system_python(python):
        install_system(missing)
        python = probe(python.command) or python
    if not python.has_venv:
        raise Problem(
            "{} cannot make environments (its venv module is missing).".format(python.command[0])
        )
    _say("Making .venv with Python {}.{}.{} ...".format(*python.version))
    if VENV.exists():
        shutil.rmtree(str(VENV), ignore_errors=True)
    if subprocess.call(python.command + ["-m", "venv", str(VENV)]) != 0:
        raise Problem("{} could not be made; the lines above say why.".format(VENV))


def _is_system_python(python: Python) -> bool:
    return sys.platform.startswith("linux") and python.prefix == "/usr"


def _install_torch(build: str) -> None:
    """The build of torch that fits this machine; requirements.txt then finds it satisfied."""
    index = os.environ.get("LUMA_TORCH_INDEX")
    installed = _installed_torch()
    if installed and installed.endswith("+cpu") == (build == "cpu") and not index:
        return
    if installed and build == "gpu" and installed.endswith("+cpu"):
        _pip("uninstall", "-y", "torch")  # "2.13.0+cpu" would satisfy "==2.13.0"
    if index:
        if _pip("install", TORCH, "--index-url", index) == 0:
            return
        raise Problem("torch could not be installed from LUMA_TORCH_INDEX={}.".format(index))
    if build == "cpu" and sys.platform.startswith("linux"):
        if _pip("install", TORCH + "+cpu", quiet=True) == 0:
            return
        # PyPI has only the CUDA build for Linux (2.7 GB); PyTorch's own index has the small one.
        if _pip("install", TORCH, "--index-url", TORCH_CPU_BUILDS) == 0:
            return
        _say(
            "No CPU build of torch can be reached; taking the general one, which may be large."
            " LUMA_TORCH_INDEX can name another index (docs/deployment.md)."
        )
    if _pip("install", TORCH) != 0:
        raise Problem("torch could not be installed; pip's lines above say why.")


def _installed_torch() -> str:
    question = "from importlib.metadata import version; print(version('torch'))"
    try:
        answer = subprocess.check_output(
            [str(venv_python()), "-c", question], stderr=subprocess.DEVNULL, timeout=20
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return answer.decode("ascii", "replace").strip()


def has_nvidia() -> bool:
    """Whether an NVIDIA driver is at work here; asks files only, so it costs nothing at every start."""
    if sys.platform == "win32":
        return (
            Path(os.environ.get("SystemRoot", r"C:\Windows")) / "System32" / "nvcuda.dll"
        ).exists()
    return Path("/proc/driver/nvidia/version").exists() or Path("/dev/nvidia0").exists()


def _pip(*arguments: str, quiet: bool = False) -> int:
    command = [str(venv_python()), "-m", "pip", "--disable-pip-version-check"]
    output = subprocess.DEVNULL if quiet else None
    environment = dict(os.environ, PIP_REQUIRE_VIRTUALENV="0", PYTHONUTF8="1")
    return subprocess.call(command + list(arguments), stderr=output, env=environment, cwd=str(ROOT))


def _quietly(command: List[str]) -> bool:
    with contextlib.suppress(OSError):
        silent = subprocess.DEVNULL
        return subprocess.call(command, stdout=silent, stderr=silent) == 0
    return False


def check_system(more: List[str]) -> None:
    """Install or name the system packages that are missing; Luma also runs without them, with less."""
    if not sys.platform.startswith("linux"):
        return
    missing = list(more)
    if not _has_library("libportaudio.so.2"):
        missing.append("portaudio")
    if missing:
        install_system(missing)


def _has_library(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def install_system(missing: List[str]) -> None:
    """Install system packages where we may, else print the exact command; tries the same ones only once."""
    line = _install_command(missing)
    if not line:
        _say("Missing on this system: {}.".format(", ".join(missing)))
        return
    may = line.startswith("apt-get") and hasattr(os, "geteuid") and os.geteuid() == 0
    tried = VENV / "luma-system-packages.txt"
    with contextlib.suppress(OSError):
        may = may and tried.read_text(encoding="utf-8") != line
    if not may:
        _say("Missing on this system; Luma does more with it: sudo {}".format(line))
        return
    _say("Running {} ...".format(line))
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    silent = subprocess.DEVNULL
    # A fresh machine has no package lists, a used one old ones: update only when it does not work without.
    for command in (line, "apt-get update", line):
        worked = subprocess.call(command.split(), env=environment, stdout=silent) == 0
        if worked and command == line:
            return
    _say("That did not work; Luma goes on without.")
    with contextlib.suppress(OSError):
        tried.write_text(line, encoding="utf-8")


def _install_command(missing: List[str]) -> str:
    known = (
        ("apt-get", APT, "apt-get install -y --no-install-recommends"),
        ("dnf", DNF, "dnf install -y"),
        ("pacman", PACMAN, "pacman -S --noconfirm"),
    )
    for tool, packages, command in known:
        if shutil.which(tool):
            return " ".join([command] + [packages[name] for name in missing])
    return ""


def _test(python: str, rest: List[str]) -> int:
    """Run pytest, with a display of its own where there is none."""
    command = [python, "-m", "pytest"] + _workers(rest) + rest
    # Tests start the program a hundred times: it is compiled once, also where the environment forbids to keep that.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ.setdefault("PYTHONPYCACHEPREFIX", str(VENV / "pycache"))
    if not sys.platform.startswith("linux") or os.environ.get("DISPLAY"):
        check_system([])
        os.chdir(str(ROOT))
        return _replace(command)
    missing = [] if shutil.which("Xvfb") else ["xvfb"]
    if not _has_fonts():
        missing.append("fonts")
    if not shutil.which("pulseaudio") and not shutil.which("pipewire"):
        missing.append(
            "sound"
        )  # the tests of the loudspeaker; a computer with PipeWire keeps it, and skips them
    check_system(missing)
    if not shutil.which("Xvfb"):
        raise Problem("The tests of the window need Xvfb: sudo apt install xvfb.")
    with own_display() as display:
        environment = dict(os.environ, DISPLAY=display)
        environment.pop("WAYLAND_DISPLAY", None)
        return _run(command, environment)


def _workers(rest: List[str]) -> List[str]:
    """Options that spread the whole default suite over the cores; a choice of tests, or the slow ones, run one by one."""
    if any(word in ("-m", "-n", "-k", "--pdb") or not word.startswith("-") for word in rest):
        return []
    cores = os.cpu_count() or 1
    count = (
        min(cores + 1, 4) if cores > 1 else 1
    )  # one more than cores: many tests wait more than they compute
    # By file, so that what a file starts once is started once; in order, or the few long tests are all left for the end.
    return ["-n", str(count), "--dist", "loadfile", "--no-loadscope-reorder"] if count > 1 else []


def _has_fonts() -> bool:
    folders = (
        "/usr/share/fonts",
        os.path.expanduser("~/.fonts"),
        os.path.expanduser("~/.local/share/fonts"),
    )
    names = [
        name.lower() for folder in folders for _, _, files in os.walk(folder) for name in files
    ]
    return all(any(part in name for name in names) for part in ("dejavusans", "cjk", "emoji"))


@contextlib.contextmanager
def own_display() -> Iterator[str]:
    """An X server for nobody else, on a display number that it picks itself."""
    reader, writer = os.pipe()
    server = subprocess.Popen(
        [
            "Xvfb",
            "-displayfd",
            str(writer),
            "-screen",
            "0",
            "1920x1200x24",
            "-nolisten",
            "tcp",
            "-noreset",
        ],
        pass_fds=(writer,),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C ends the tests first
        preexec_fn=_end_with_parent,  # noqa: PLW1509 - it asks the system one thing, and takes no lock
    )
    os.close(writer)
    try:
        with os.fdopen(reader) as answer:
            number = answer.readline().strip()
        if not number:
            raise Problem("Xvfb did not start; try it by hand: Xvfb -displayfd 1")
        yield ":" + number
    finally:
        server.terminate()
        try:
            server.wait(5)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _end_with_parent() -> None:
    """Ask Linux to end this process with its parent, also when that one is killed and can clean up nothing."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, int(signal.SIGTERM))  # PR_SET_PDEATHSIG


def _run(command: List[str], environment: Dict[str, str]) -> int:
    """Run a child to its end, hand our signals on to it, and return its exit code."""
    child = subprocess.Popen(command, env=environment, cwd=str(ROOT))

    def hand_on(number: int, frame: Any) -> None:
        child.send_signal(number)

    before = signal.signal(signal.SIGTERM, hand_on)
    try:
        while True:
            try:
                code = child.wait()
                return 128 - code if code < 0 else code
            except KeyboardInterrupt:
                pass  # the child got it too, and ends in its own way
    finally:
        signal.signal(signal.SIGTERM, before)


def _replace(command: List[str]) -> int:
    """Become the command where the system can, so that signals and exit code are its own."""
    sys.stdout.flush()
    sys.stderr.flush()
    if os.name != "nt":
        os.execv(command[0], command)
    child = subprocess.Popen(command)
    while True:
        try:
            return child.wait()
        except KeyboardInterrupt:
            pass  # the child got it too, and ends in its own way


def _split(arguments: List[str]) -> Tuple[str, List[str]]:
    if arguments and arguments[0] in ("-h", "--help", "help"):
        return "help", []
    if arguments and not arguments[0].startswith("-"):
        return arguments[0], arguments[1:]
    return "app", arguments


def _usage() -> str:
    lines = ["python3 launch.py [{}] [options]".format(" | ".join(WORDS))]
    lines += ["  {:8} {}".format(word, meaning) for word, meaning in WORDS.items()]
    lines.append("Options go to the word: python3 launch.py app --help")
    return "\n".join(lines)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
