"""An icon in the system tray, where the platform has one. Never required: without it nothing is missing."""

from __future__ import annotations

import logging
import platform
import threading
from collections.abc import Callable
from typing import Any

logger = logging.getLogger(__name__)


class Tray:
    """The icon; pystray is loaded and runs on a thread of its own.

    Args:
        show: Brings the window to the front.
        stop_speaking: Stops the reply.
        quit_window: Closes the window. All three are called on the tray's thread.
    """

    def __init__(
        self,
        *,
        show: Callable[[], object],
        stop_speaking: Callable[[], object],
        quit_window: Callable[[], object],
    ) -> None:
        self._show = show
        self._stop_speaking = stop_speaking
        self._quit = quit_window
        self._icon: Any = None
        self._ended = threading.Event()

    def start(self) -> None:
        """Show the icon soon; a platform without a tray only leaves a line in the log."""
        if platform.system() == "Darwin":
            return  # pystray wants the main thread there, which is the window's
        threading.Thread(target=self._run, name="tray", daemon=True).start()

    def stop(self) -> None:
        """Take the icon away."""
        self._ended.set()
        icon, self._icon = self._icon, None
        if icon is not None:
            try:
                icon.stop()
            except Exception:
                # A tray that cannot end goes with the process.
                logger.debug("the tray icon did not end", exc_info=True)

    def _run(self) -> None:
        try:
            import pystray

            from frontend.draw import icon_image, rounded_box

            picture = rounded_box(64, 64, 14, "#15171C", None, 1)
            picture.alpha_composite(icon_image("spark", 48, "#57C8FF", 3), (8, 8))
            menu = pystray.Menu(
                pystray.MenuItem("Open Luma", lambda *_: self._show(), default=True),
                pystray.MenuItem("Stop speaking", lambda *_: self._stop_speaking()),
                pystray.MenuItem("Close the window", lambda *_: self._quit()),
            )
            if pystray.Icon.__module__.endswith("._xorg") and not _x_tray_exists():
                logger.info("no system tray here: no panel of this desktop takes icons")
                return
            # A panel that goes away later is an error to pystray; the window loses nothing by it.
            logging.getLogger("pystray").setLevel(logging.CRITICAL)
            icon = pystray.Icon("luma", picture, "Luma", menu)
            if self._ended.is_set():
                return
            self._icon = icon
            icon.run()
        except Exception as error:  # noqa: BLE001 - no display, no tray, no library: all the same to us
            logger.info("no system tray here: %s", error)


def _x_tray_exists() -> bool:
    """Whether a panel offers to hold icons; pystray's X part docks without asking and logs errors where none does."""
    from Xlib import X
    from Xlib.display import Display

    display = Display()
    try:
        name = f"_NET_SYSTEM_TRAY_S{display.get_default_screen()}"
        return bool(display.get_selection_owner(display.intern_atom(name)) != X.NONE)
    finally:
        display.close()
