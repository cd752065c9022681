"""Colours, fonts, sizes: the only place with literals of that sort.

One `Theme` belongs to one Tk root. Every length goes through `px`, every colour is a token, every font is a named font
that is changed in place, so switching the theme or the scale reaches whatever was drawn with them. Widgets that need more
than a recolour ask to be told with `on_change`.
"""

from __future__ import annotations

import ctypes
import logging
import platform
import shutil
import subprocess
import tkinter as tk
import tkinter.font as tkfont
from collections.abc import Callable, Mapping
from pathlib import Path
from tkinter import ttk
from typing import Literal

from PIL import Image, ImageChops, ImageTk

logger = logging.getLogger(__name__)

ThemeName = Literal["dark", "light"]
FontName = Literal[
    "cap",
    "capb",
    "small",
    "smallb",
    "body",
    "bodyb",
    "title",
    "h1",
    "big",
    "mono",
    "monos",
    "monob",
]

DARK: Mapping[str, str] = {
    "rail": "#101217",
    "bg": "#15171C",
    "surface": "#1C1F26",
    "raised": "#252932",
    "hover": "#2C313C",
    "line": "#2A2E38",
    "line2": "#3D4452",
    "text": "#ECEEF3",
    "text2": "#B1B8C6",
    "text3": "#949DAE",
    "accent": "#57C8FF",
    "on_accent": "#06202E",
    "accent_soft": "#173142",
    "sel": "#1B3445",
    "ok": "#5BD08C",
    "warn": "#F2B84B",
    "error": "#FF7373",
    "ok_soft": "#18332A",
    "warn_soft": "#382D18",
    "error_soft": "#40211F",
    "panic": "#C93A3A",
    "on_panic": "#FFFFFF",
    "wait": "#6F788B",
    "stt": "#2FB8A6",
    "prompt": "#5B93E6",
    "llm": "#9A86FF",
    "tts": "#F07FA8",
    "playback": "#C9D1DE",
    "json_key": "#8EC8FF",
    "json_text": "#A5D6A7",
    "json_number": "#F2B84B",
    "json_word": "#C9A6FF",
}
LIGHT: Mapping[str, str] = {
    "rail": "#EBEDF2",
    "bg": "#F5F6F9",
    "surface": "#FFFFFF",
    "raised": "#EEF0F5",
    "hover": "#E4E8EF",
    "line": "#E0E4EB",
    "line2": "#BCC3CF",
    "text": "#171A20",
    "text2": "#454C5A",
    "text3": "#5E6675",
    "accent": "#005FB8",
    "on_accent": "#FFFFFF",
    "accent_soft": "#DCEBF9",
    "sel": "#D9EAFA",
    "ok": "#1B7A45",
    "warn": "#8A5A00",
    "error": "#C02B2B",
    "ok_soft": "#DFF3E6",
    "warn_soft": "#FBEFD5",
    "error_soft": "#FBE3E1",
    "panic": "#C93A3A",
    "on_panic": "#FFFFFF",
    "wait": "#7A8394",
    "stt": "#0E7468",
    "prompt": "#2C6BC7",
    "llm": "#6A4FE0",
    "tts": "#B83469",
    "playback": "#3B4352",
    "json_key": "#0B5CAD",
    "json_text": "#1B7A45",
    "json_number": "#8A5A00",
    "json_word": "#6A4FE0",
}
PALETTES: Mapping[ThemeName, Mapping[str, str]] = {"dark": DARK, "light": LIGHT}

SPECTRUM: Mapping[ThemeName, tuple[str, ...]] = {
    "dark": ("#14131C", "#2B1650", "#6A2182", "#B23A86", "#EE6A6A", "#FDB76F", "#FCF6C8"),
    "light": ("#F4F3F8", "#DCC9EC", "#B884CE", "#8A3F9E", "#5E2180", "#34105A", "#12062B"),
}
"""Colours of a spectrogram from silence to loud, each evenly lighter (or darker) than the one before."""

UI_FAMILIES = (
    "Segoe UI",
    "SF Pro",
    "SF Pro Text",
    "Inter",
    "Noto Sans",
    "Ubuntu",
    "Noto Sans CJK JP",
    "DejaVu Sans",
)
MONO_FAMILIES = ("Cascadia Mono", "SF Mono", "JetBrains Mono", "DejaVu Sans Mono")

# Pixels at scale 1. 12 is the smallest for words: below it Tk closes up the spaces between them.
FONTS: Mapping[FontName, tuple[int, Literal["normal", "bold"]]] = {
    "cap": (12, "normal"),
    "capb": (12, "bold"),
    "small": (13, "normal"),
    "smallb": (13, "bold"),
    "body": (14, "normal"),
    "bodyb": (14, "bold"),
    "title": (15, "bold"),
    "h1": (18, "bold"),
    "big": (24, "bold"),
    "mono": (12, "normal"),
    "monos": (11, "normal"),
    "monob": (12, "bold"),
}

MOST_WIDTHS = 4000
LONGEST_KEPT = 120
"""Widths of texts that are kept, and the longest of these texts."""
SCALES = (1.0, 1.25, 1.5, 1.75, 2.0, 2.25, 2.5)

STAGES = ("wait", "stt", "prompt", "llm", "tts", "playback")
"""The six coloured groups of a turn's time; each is a colour token of the same name."""


class Theme:
    """Colours, fonts and lengths of one window; Tk thread only."""

    def __init__(self, root: tk.Tk, name: ThemeName = "dark", scale: float = 1.0) -> None:
        self.root = root
        self.name: ThemeName = name
        self.scale = scale
        self.images: dict[object, ImageTk.PhotoImage] = {}
        """Drawn shapes, see frontend/draw.py; emptied when colours or scale change."""
        self._fonts: dict[FontName, tkfont.Font] = {}
        self._widths: dict[tuple[FontName, str], int] = {}
        self._tints: dict[tk.Misc, dict[str, str]] = {}
        self._watchers: dict[tk.Misc, Callable[[], None]] = {}
        self._sprites: list[ImageTk.PhotoImage] = []
        families = set(tkfont.families(root))
        self.ui_family = next((name for name in UI_FAMILIES if name in families), "TkDefaultFont")
        self.mono_family = next((name for name in MONO_FAMILIES if name in families), "TkFixedFont")
        for key, (size, weight) in FONTS.items():
            family = self.mono_family if key.startswith("mono") else self.ui_family
            self._fonts[key] = tkfont.Font(
                root, family=family, size=-round(size * scale), weight=weight
            )
            # They go with the window. Deleting one when it is collected makes that thread, often the backend's, wait for
            # the window: a second each once it has closed, a minute for a few windows of a test.
            self._fonts[key].delete_font = False
        self._style()

    def px(self, length: float) -> int:
        """A length of the design in pixels of this screen."""
        return round(length * self.scale)

    def color(self, token: str) -> str:
        """The colour of a token; a colour ("#RRGGBB") stays as it is."""
        return PALETTES[self.name].get(token, token)

    def font(self, name: FontName) -> tkfont.Font:
        """A named font; it changes in place with the scale."""
        return self._fonts[name]

    def measure(self, text: str, font: FontName) -> int:
        """Width of a text in pixels; asking Tk takes 0.4 ms, and most of what is drawn is drawn again."""
        if len(text) > LONGEST_KEPT:
            return self._fonts[font].measure(text)
        key = font, text
        width = self._widths.get(key)
        if width is None:
            if len(self._widths) >= MOST_WIDTHS:
                self._widths.clear()
            width = self._widths[key] = self._fonts[font].measure(text)
        return width

    def mix(self, first: str, second: str, share: float) -> str:
        """A colour between two tokens; share 0 gives the first."""
        return mix(self.color(first), self.color(second), share)

    def tint(self, widget: tk.Misc, **options: str) -> None:
        """Colour a plain Tk widget by tokens, now and after every theme change.

        ``theme.tint(frame, background="surface")``: option name to token.
        """
        if widget not in self._tints:
            widget.bind("<Destroy>", lambda event: self._forget(event.widget), add="+")
        self._tints.setdefault(widget, {}).update(options)
        self._apply(widget, options)

    def resurface(self, widget: tk.Misc, old: str, new: str) -> None:
        """Give a widget and all inside it another background token (a panel that is not the same in both themes)."""
        options = self._tints.get(widget, {})
        self.tint(widget, **{name: new for name, token in options.items() if token == old})
        for name in ("surface", "_surface"):
            if getattr(widget, name, None) == old:
                setattr(widget, name, new)
        for child in widget.winfo_children():
            self.resurface(child, old, new)

    def on_change(self, widget: tk.Misc, redraw: Callable[[], None]) -> None:
        """Call ``redraw`` after each change of theme or scale until the widget is destroyed."""
        if widget not in self._watchers:
            widget.bind("<Destroy>", lambda event: self._forget(event.widget), add="+")
        self._watchers[widget] = redraw

    def change(self, name: ThemeName | None = None, scale: float | None = None) -> None:
        """Switch colours and size. Widgets built for the old scale keep their lengths: rebuild them."""
        self.name = name or self.name
        if scale is not None:
            self.scale = scale
            self._widths.clear()
            for key, (size, _) in FONTS.items():
                self._fonts[key].configure(size=-round(size * scale))
        self.images.clear()
        self._style()
        # A widget that rebinds <Destroy> leaves its entries behind.
        for gone in [w for w in (*self._tints, *self._watchers) if not w.winfo_exists()]:
            self._forget(gone)
        for widget, options in list(self._tints.items()):
            self._apply(widget, options)
        for redraw in list(self._watchers.values()):
            redraw()

    def _apply(self, widget: tk.Misc, options: Mapping[str, str]) -> None:
        colours = {option: self.color(token) for option, token in options.items()}
        widget.configure(**colours)

    def _forget(self, widget: tk.Misc) -> None:
        self._tints.pop(widget, None)
        self._watchers.pop(widget, None)

    def _style(self) -> None:
        """Apply sv-ttk with its greys tinted like our surfaces, or clam where it does not load."""
        style = ttk.Style(self.root)
        try:
            import sv_ttk

            sv_ttk.set_theme(self.name, self.root)
            # It repaints every plain Tk widget in its own greys at each change: the tokens do that here.
            for name in (self.root.winfo_class(), "TEntry", "TCombobox", "TSpinbox", "Menu"):
                self.root.tk.call("bind", name, "<<ThemeChanged>>", "")
            self._retint(Path(sv_ttk.__file__).parent / "theme")
        except (ImportError, tk.TclError, OSError) as error:
            logger.warning("sv-ttk is not usable (%s): plain clam is used", error)
            style.theme_use("clam")
        color = self.color
        style.configure(
            ".",
            font=self.font("small"),
            background=color("bg"),
            foreground=color("text"),
            selectbackground=color("accent"),
            selectforeground=color("on_accent"),
            insertcolor=color("accent"),
        )
        style.configure("TEntry", padding=(self.px(8), self.px(4)))
        style.configure("Vertical.TScrollbar", arrowsize=self.px(10), width=self.px(10))
        self.root.configure(background=color("bg"))
        self.root.option_add("*Menu.font", self.font("small").name)
        for option, token in (
            ("background", "surface"),
            ("foreground", "text"),
            ("activeBackground", "sel"),
            ("activeForeground", "text"),
            ("selectColor", "accent"),
            ("disabledForeground", "text3"),
        ):
            self.root.option_add(f"*Menu.{option}", color(token))
        self.root.option_add("*Menu.relief", "flat")
        self.root.option_add("*Menu.borderWidth", "1")
        self.root.option_add("*Menu.activeBorderWidth", "0")

    def _retint(self, folder: Path) -> None:
        """Give sv-ttk's neutral greys the blue of our surfaces: same image names, new pixels.

        The installed file stays as it is. sv-ttk loads its images anew on each switch, so this runs after each.
        """
        sheet = Image.open(folder / f"spritesheet_{self.name}.png").convert("RGBA")
        red, green, blue, alpha = sheet.split()
        high = ImageChops.lighter(ImageChops.lighter(red, green), blue)
        low = ImageChops.darker(ImageChops.darker(red, green), blue)
        grey = ImageChops.subtract(high, low).point(lambda value: 255 if value < 14 else 0)
        dark = self.name == "dark"
        plain = high.point(lambda value: 255 if (value < 150 if dark else value > 90) else 0)
        factors = (0.90, 0.98, 1.20) if dark else (0.975, 0.985, 1.0)
        tinted = [
            channel.point([min(255, round(value * factor)) for value in range(256)])
            for channel, factor in zip((red, green, blue), factors, strict=True)
        ]
        mask = ImageChops.multiply(grey, plain)
        channels = [
            Image.composite(new, old, mask)
            for new, old in zip(tinted, (red, green, blue), strict=True)
        ]
        photo = ImageTk.PhotoImage(Image.merge("RGBA", (*channels, alpha)), master=self.root)
        tcl = self.root.tk
        tcl.call("source", str(folder / f"sprites_{self.name}.tcl"))
        tcl.eval(
            "foreach {n x y w h} $::spriteinfo {"
            f" catch {{ $::ttk::theme::sv_{self.name}::I($n) copy {photo}"
            " -from $x $y [expr {$x+$w}] [expr {$y+$h}] -compositingrule set } }"
        )
        self._sprites = [photo]


def rgb(color: str) -> tuple[int, int, int]:
    """Red, green, blue (0-255) of "#RRGGBB"."""
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


def mix(first: str, second: str, share: float) -> str:
    """The colour ``share`` (0-1) of the way from the first to the second "#RRGGBB"."""
    pairs = zip(rgb(first), rgb(second), strict=True)
    return "#{:02X}{:02X}{:02X}".format(*(round(a + (b - a) * share) for a, b in pairs))


def default_scale(root: tk.Misc) -> float:
    """The scale that suits the screen: its density over 96 dpi, in quarters from 1 to 2.5."""
    if platform.system() == "Darwin":
        return 1.0  # Tk counts in points there, the system doubles the pixels
    density = root.winfo_fpixels("1i")
    wanted = str(root.tk.call("option", "get", ".", "dpi", "Xft"))  # what the desktop asks for
    if wanted.replace(".", "", 1).isdigit():
        density = max(density, float(wanted))
    return min(2.5, max(1.0, round(density / 96 * 4) / 4))


def be_dpi_aware() -> None:
    """Ask Windows for real pixels; call before the first Tk window. Elsewhere nothing."""
    if platform.system() != "Windows":
        return
    try:
        ctypes.windll.shcore.SetProcessDpiAwareness(1)  # type: ignore[attr-defined]  # Windows only
    except (AttributeError, OSError):
        logger.debug("Windows gives no DPI awareness here")


def system_theme() -> ThemeName | None:
    """What the desktop is set to, None where it does not say."""
    system = platform.system()
    if system == "Windows":
        return _windows_theme()
    if system == "Darwin":
        return "dark" if _asked("defaults", "read", "-g", "AppleInterfaceStyle") else "light"
    answer = _asked("gsettings", "get", "org.gnome.desktop.interface", "color-scheme")
    if "dark" in answer:
        return "dark"
    return "light" if "light" in answer else None


def _asked(*command: str) -> str:
    if shutil.which(command[0]) is None:
        return ""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=0.3, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _windows_theme() -> ThemeName | None:
    try:
        import winreg

        path = r"Software\Microsoft\Windows\CurrentVersion\Themes\Personalize"
        with winreg.OpenKey(winreg.HKEY_CURRENT_USER, path) as key:  # type: ignore[attr-defined]  # only on Windows
            light, _ = winreg.QueryValueEx(key, "AppsUseLightTheme")  # type: ignore[attr-defined]  # only on Windows
    except (ImportError, OSError):
        return None
    return "light" if light else "dark"
