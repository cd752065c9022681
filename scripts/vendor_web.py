"""Put the libraries of the avatar pages below backend/api/web/vendor: python scripts/vendor_web.py [--check].

The packages come from npm as published; of each only the files that a page loads are kept, with their licence. Browsers
find modules by address, and the content policy allows no import map inside a page, so the names of packages ("three") in
import lines become relative addresses; nothing else is changed. vendor/versions.json says what came from where, with the
checksum of every package and file. `--check` needs no network: it says whether the files are still those.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
VENDOR = PROJECT / "backend" / "api" / "web" / "vendor"
VERSIONS = VENDOR / "versions.json"

THREE = "three/three.module.min.js"


@dataclass(frozen=True, slots=True)
class Package:
    """One package and what is taken of it.

    Attributes:
        files: Path in the package to path below vendor/.
    """

    name: str
    version: str
    licence: str
    files: dict[str, str]


PACKAGES = (
    # The newest that comes minified; from 0.186 on the package holds the long form only, three times as large.
    Package(
        "three",
        "0.185.1",
        "MIT",
        {
            "build/three.module.min.js": THREE,
            "build/three.core.min.js": "three/three.core.min.js",
            "examples/jsm/loaders/GLTFLoader.js": "three/loaders/GLTFLoader.js",
            "examples/jsm/utils/BufferGeometryUtils.js": "three/utils/BufferGeometryUtils.js",
            "examples/jsm/utils/SkeletonUtils.js": "three/utils/SkeletonUtils.js",
            "LICENSE": "three/LICENSE",
        },
    ),
    Package(
        "@pixiv/three-vrm",
        "3.5.5",
        "MIT",
        {
            "lib/three-vrm.module.min.js": "three-vrm/three-vrm.module.min.js",
            "LICENSE": "three-vrm/LICENSE",
        },
    ),
)

SPECIFIER = re.compile(r"""(?P<before>\b(?:from|import)\s*)(?P<quote>["'])three(?P=quote)""")


def with_addresses(script: str, path: str) -> str:
    """A module whose imports of "three" are relative addresses, as a file at ``path`` below vendor/ needs them."""
    up = "../" * (len(Path(path).parts) - 1)
    return SPECIFIER.sub(rf"\g<before>\g<quote>{up}{THREE}\g<quote>", script)


def checksum(data: bytes) -> str:
    """SHA-256, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def pack(package: Package, folder: Path) -> Path:
    """The package as published, fetched by npm."""
    npm = shutil.which("npm")
    if npm is None:
        raise SystemExit("npm is not installed; it comes with Node.js.")
    done = subprocess.run(
        [npm, "pack", f"{package.name}@{package.version}", "--silent"],
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return folder / done.stdout.split()[-1]


def vendor() -> None:
    """Fetch and write everything."""
    told = []
    with tempfile.TemporaryDirectory() as name:
        for package in PACKAGES:
            path = pack(package, Path(name))
            digest = base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode()
            files = []
            with tarfile.open(path) as archive:
                for source, target in package.files.items():
                    member = archive.extractfile(f"package/{source}")
                    if member is None:
                        raise SystemExit(f"{package.name} {package.version} has no file {source}.")
                    original = member.read()
                    data = original
                    if target.endswith(".js"):
                        data = with_addresses(original.decode(), target).encode()
                    (VENDOR / target).parent.mkdir(parents=True, exist_ok=True)
                    (VENDOR / target).write_bytes(data)
                    files.append(
                        {
                            "path": target,
                            "from": source,
                            "sha256_published": checksum(original),
                            "sha256": checksum(data),
                        }
                    )
            told.append(
                {
                    "package": package.name,
                    "version": package.version,
                    "licence": package.licence,
                    "integrity": f"sha512-{digest}",
                    "files": files,
                }
            )
    VERSIONS.write_text(json.dumps(told, indent=2) + "\n", "utf-8")


def changed() -> list[str]:
    """Files that are not what versions.json says, or missing."""
    found = []
    for package in json.loads(VERSIONS.read_text("utf-8")):
        for file in package["files"]:
            path = VENDOR / file["path"]
            if not path.is_file() or checksum(path.read_bytes()) != file["sha256"]:
                found.append(file["path"])
    return found


def main() -> int:
    """Fetch, or check."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--check", action="store_true", help="only compare the checksums")
    if not parser.parse_args().check:
        vendor()
    wrong = changed()
    for path in wrong:
        print(f"{path} is not what versions.json says; run scripts/vendor_web.py")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
