"""Sees every access to the files of a folder, by any process and from native code too (Linux)."""

from __future__ import annotations

import ctypes
import os
import struct
from pathlib import Path

IN_ACCESS, IN_MODIFY, IN_OPEN, IN_CREATE, IN_MOVED_TO = 0x1, 0x2, 0x20, 0x100, 0x80
IN_ISDIR = 0x40000000
HEAD = struct.Struct("iIII")


class FolderWatch:
    """``with FolderWatch(folder) as watch``: `touched` names what was opened, read, written or made since then."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> FolderWatch:
        libc = ctypes.CDLL(None, use_errno=True)
        self._handle = libc.inotify_init1(os.O_NONBLOCK)
        wanted = IN_ACCESS | IN_MODIFY | IN_OPEN | IN_CREATE | IN_MOVED_TO
        if libc.inotify_add_watch(self._handle, os.fsencode(self._folder), wanted) < 0:
            raise OSError(ctypes.get_errno(), "inotify_add_watch")
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._handle)

    def touched(self) -> set[str]:
        """Names of files that anybody touched; listing the folder does not count."""
        found = set()
        while True:
            try:
                data = os.read(self._handle, 1 << 16)
            except BlockingIOError:
                return found
            at = 0
            while at < len(data):
                _, mask, _, length = HEAD.unpack_from(data, at)
                name = data[at + HEAD.size : at + HEAD.size + length].rstrip(b"\0").decode()
                at += HEAD.size + length
                if not mask & IN_ISDIR:
                    found.add(name)
