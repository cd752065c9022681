"""Push-to-talk in the window: a key or a button that is held, and what the keys are called.

X11 repeats a held key as release and press, again and again: a release counts only when no press follows at once.
"""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable

from frontend.draw import Painter
from frontend.microphone import Microphone
from frontend.theme import Theme
from frontend.widgets.controls import RING, Control
from frontend.widgets.focus import focused

REPEAT_MS = 40  # X11 sends release and press of a repeated key within a millisecond; a person needs far longer
HOLD_MS = 220  # shorter is a click; less than ASR_PREROLL_MS, so the first syllable is not lost
TAKEN_KEYS = frozenset({"F1", "F6", "F10", "F12", "Escape", "Tab", "Return", "KP_Enter", "space"})
KEY_NAMES = {
    "Control_R": "Right Ctrl",
    "Control_L": "Left Ctrl",
    "Alt_R": "Right Alt",
    "Alt_L": "Left Alt",
    "ISO_Level3_Shift": "AltGr",
    "Shift_R": "Right Shift",
    "Super_R": "Right Super",
    "Menu": "Menu",
    "App": "Menu",
    "Pause": "Pause",
    "Insert": "Insert",
    "Scroll_Lock": "Scroll Lock",
    "Num_Lock": "Num Lock",
}


def key_name(keysym: str) -> str:
    """What a key is called on a keyboard."""
    return KEY_NAMES.get(keysym, keysym.replace("_", " "))


def why_not(keysym: str) -> str:
    """Why a key cannot be held to talk; empty when it can."""
    if keysym in TAKEN_KEYS:
        return f"{key_name(keysym)} does something else in this window. Choose another one."
    is_function_key = keysym[:1] == "F" and keysym[1:].isdigit()
    if is_function_key or keysym in KEY_NAMES:
        return ""
    return f"{key_name(keysym)[:20]} is needed for writing. Choose F2 to F11, Right Ctrl, Pause, Insert ..."


class HeldKey:
    """Tells when a key goes down and up while a window has the keyboard.

    Args:
        window: The top level; keys in all its widgets count.
        keysym: The key.
        held: Called with True when it goes down, False when it is let go or the window loses the keyboard.
    """

    def __init__(self, window: tk.Misc, keysym: str, held: Callable[[bool], object]) -> None:
        self.is_down = False
        self.keysym = ""
        self._window = window
        self._held = held
        self._job: str | None = None
        self._bound: list[tuple[str, str]] = []
        window.bind("<FocusOut>", self._left, add="+")
        self.change(keysym)

    def change(self, keysym: str) -> None:
        """Listen to another key."""
        for sequence, name in self._bound:
            self._window.unbind(sequence, name)
        self.let_go()
        self.keysym = keysym
        self._bound = [
            (sequence, self._window.bind(sequence, call, add="+"))
            for sequence, call in (
                (f"<KeyPress-{keysym}>", self._press),
                (f"<KeyRelease-{keysym}>", self._release),
            )
        ]

    def let_go(self) -> None:
        """As if it had been let go now."""
        self._cancel()
        if self.is_down:
            self.is_down = False
            self._held(False)

    def _press(self, _event: object) -> str:
        self._cancel()
        if not self.is_down:
            self.is_down = True
            self._held(True)
        return "break"

    def _release(self, _event: object) -> str:
        self._cancel()
        self._job = self._window.after(REPEAT_MS, self.let_go)
        return "break"

    def _left(self, _event: object) -> None:
        if self.is_down:
            self._window.after_idle(self._look_where)

    def _look_where(self) -> None:
        """A key that comes up in another window is not told here: leaving is letting go."""
        focus = focused(self._window)
        if focus is None or focus.winfo_toplevel() is not self._window:
            self.let_go()

    def _cancel(self) -> None:
        if self._job is not None:
            self._window.after_cancel(self._job)
            self._job = None


class TalkButton(Control):
    """The microphone in the composer: held it is push-to-talk, clicked it opens the microphone or closes it."""

    def __init__(
        self, master: tk.Misc, theme: Theme, microphone: Microphone, *, surface: str = "surface"
    ) -> None:
        self._microphone = microphone
        self._is_pressed = False
        self._is_held = False
        self._hold_job: str | None = None
        self._repeat_job: str | None = None
        super().__init__(master, theme, 28, 28, surface=surface, label="Microphone")
        self.configure(cursor="hand2")
        self.bind("<ButtonPress-1>", lambda _: self.press())
        self.bind("<ButtonRelease-1>", self._released)
        for key in ("space", "Return", "KP_Enter"):
            self.bind(f"<KeyPress-{key}>", lambda _: self._key_down())
            self.bind(f"<KeyRelease-{key}>", lambda _: self._key_up())
        self.bind("<FocusOut>", lambda _: self.release(is_click=False), add="+")
        end = microphone.listen(("listening",), self._show)
        self.bind("<Destroy>", lambda _: self._gone(end), add="+")
        self._show()

    def paint(self, p: Painter, w: float, h: float) -> None:
        look = self._microphone.look
        is_live = look.color in ("accent", "ok")
        fill = "accent_soft" if look.color == "accent" else "hover" if self.hovered else ""
        if fill:
            p.box(RING, RING, w, h, fill, "accent" if self._is_held else None, 6)
        color = look.color if is_live or look.color in ("warn", "error") else "text2"
        p.icon(RING + w / 2, RING + h / 2, look.icon, 17, color)

    def press(self) -> None:
        """The button or its key goes down."""
        if self._is_pressed:
            return
        self._is_pressed = True
        self.tooltip.hide()
        self._hold_job = self.after(HOLD_MS, self._hold)

    def release(self, *, is_click: bool = True) -> None:
        """It comes up again: the end of talking, or of a click."""
        if not self._is_pressed:
            return
        self._is_pressed = False
        was_held, self._is_held = self._is_held, False
        if self._hold_job is not None:
            self.after_cancel(self._hold_job)
            self._hold_job = None
        self._microphone.hold(False)
        if not was_held and is_click:
            self._microphone.toggle_open()
        self.redraw_soon()

    def _hold(self) -> None:
        self._hold_job = None
        self._is_held = True
        self._microphone.hold(True)
        self.redraw_soon()

    def _released(self, event: tk.Event[tk.Misc]) -> None:
        inside = 0 <= event.x < self.winfo_width() and 0 <= event.y < self.winfo_height()
        self.release(is_click=inside)

    def _key_down(self) -> str:
        if self._repeat_job is not None:
            self.after_cancel(self._repeat_job)
            self._repeat_job = None
        self.press()
        return "break"

    def _key_up(self) -> str:
        if self._repeat_job is None:
            self._repeat_job = self.after(REPEAT_MS, self._key_is_up)
        return "break"

    def _key_is_up(self) -> None:
        self._repeat_job = None
        self.release()

    def _show(self) -> None:
        microphone = self._microphone
        look = microphone.look
        if microphone.is_open:
            click = "Click unmutes." if microphone.now.muted else "Click closes it."
        else:
            click = f"Hold to talk (or hold {microphone.key}), click to leave it open."
        self.tooltip.text = f"{look.sentence}\n{click}"
        self.redraw_soon()

    def _gone(self, end: Callable[[], None]) -> None:
        end()
        for job in (self._hold_job, self._repeat_job):
            if job is not None:
                self.after_cancel(job)
        self._hold_job = self._repeat_job = None
        if self._is_pressed:
            self._is_pressed = False
            self._microphone.hold(False)
