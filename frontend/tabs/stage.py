"""The Stage tab: what the audience sees. The avatar's face and motions, who wanted what, and the pages for OBS."""

from __future__ import annotations

import tkinter as tk
from functools import partial
from typing import Any, ClassVar, Protocol

from backend.contracts.avatar import CueEntry, Motion, Transition
from backend.contracts.events import ConfigChanged, Event, ServiceChanged
from frontend.avatar import Avatar, motion_words
from frontend.tabs import CastApp
from frontend.timeline import Bar, owner_words
from frontend.widgets.card import HEAD, Card
from frontend.widgets.chip_flow import ChipFlow
from frontend.widgets.controls import Button, Dropdown, Switch, Words
from frontend.widgets.cue_list import CueList
from frontend.widgets.overlay_card import OverlayCard
from frontend.widgets.popup import Choice
from frontend.widgets.scroll_page import ScrollPage, put
from frontend.widgets.timeline_view import HEIGHT as LANES_HEIGHT
from frontend.widgets.timeline_view import SPANS_S, TimelineView, spans

MARGIN = 16
GAP = 12
LEFT = 336
ONE_COLUMN = 800
LOWEST_LIST = 190
TICK_MS = 500  # plots change at most twice a second
FACE = 72
DURATIONS = (
    ("2000", "2 s"),
    ("5000", "5 s"),
    ("15000", "15 s"),
    ("60000", "1 min"),
    ("0", "until changed"),
)
PRIORITIES = (
    ("", "usual"),
    ("-10", "low"),
    ("10", "raised"),
    ("50", "high"),
    ("100", "highest"),
)
TRANSITIONS: tuple[tuple[Transition, str], ...] = (
    ("smooth", "smooth"),
    ("instant", "at once"),
    ("ease-in-out", "slow, quick, slow"),
)


class StageApp(CastApp, Protocol):
    """What the Stage tab needs of the window beyond what every tab may use."""

    @property
    def avatar(self) -> Avatar:
        """What the avatar can show and shows."""


class StageTab(tk.Frame):
    """Now and the links at the left; controls, timeline and list at the right."""

    NAME: ClassVar[str] = "stage"
    TITLE: ClassVar[str] = "Stage"
    ICON: ClassVar[str] = "person"

    def __init__(self, master: tk.Misc, app: StageApp) -> None:
        super().__init__(master, borderwidth=0, highlightthickness=0)
        self.app = app
        self.avatar = app.avatar
        self._is_shown = False
        self._job: str | None = None
        self._drawn_version = -1
        self._picture: Any = None
        theme = self._theme = app.theme
        theme.tint(self, background="bg")
        self.page = ScrollPage(self, theme, self._arrange)
        self.page.pack(fill="both", expand=True)
        body = self.page.body
        self.now_card = self._build_now(body)
        self.overlay = OverlayCard(body, app)
        self.controls = self._build_controls(body)
        self.timeline_card = self._build_timeline(body)
        self.list_card = self._build_list(body)
        self.page.watch_wheel()
        self._ends = [
            app.avatar.listen(("rig",), self._show_rig),
            app.avatar.listen(("shown",), self._show_now),
            app.stage.listen(("character", "characters"), self._show_now),
        ]
        self.bind("<Destroy>", self._gone, add="+")
        for card in (self.now_card, self.overlay, self.controls):
            card.body.bind("<Configure>", lambda _: self.page.arrange_soon(), add="+")
        self._show_rig()
        self._show_now()
        self.list.refresh()

    # --- what the window calls

    def on_event(self, event: Event) -> None:
        """Avatar and sound reach the tab through the facts; only the links ask by themselves."""
        if isinstance(event, ConfigChanged | ServiceChanged):
            self.overlay.on_event(event)

    def flush(self) -> None:
        """Draw what came, at most twice a second."""
        if self._is_shown and self._job is None:
            self._job = self.after(1, self._tick)

    def on_show(self) -> None:
        """Draw again, and ask for lines that were lost meanwhile."""
        self._is_shown = True
        self.avatar.load_timeline()
        self._drawn_version = -1
        self.flush()
        self.focus_set()  # Tab goes on inside; a control in focus would scroll the page on a small screen

    def on_hide(self) -> None:
        """Stop drawing."""
        self._is_shown = False

    def on_theme(self) -> None:
        """Cards recolour themselves; the face is another picture."""
        self._show_now()
        self.page.arrange_soon()

    def on_connected(self) -> None:
        """Load everything that is shown."""
        self.overlay.load()

    def panes(self) -> list[tk.Misc]:
        """Where F6 goes."""
        first = next(iter(self.faces.chips.values()), self.release_button)
        return [first, self.lanes, self.list, self.overlay.first_stop]

    # --- building

    def _build_now(self, body: tk.Misc) -> Card:
        theme, px = self._theme, self._theme.px
        card = Card(body, theme, "On stage now")
        self.release_button = Button(
            card.head,
            theme,
            "Release",
            self.avatar.release,
            icon="refresh",
            surface="surface",
            height=26,
            tip="End what you asked for, here or on the control page; what replies and programs want stays",
        )
        self.rest_button = Button(
            card.head,
            theme,
            "All",
            partial(self.avatar.release, everybody=True),
            surface="surface",
            height=26,
            tip="End every wish, whoever had it: the face at rest, and no motion",
        )
        card.add(self.rest_button)  # each goes to the left of those before it
        card.add(self.release_button)
        line = tk.Frame(card.body)
        theme.tint(line, background="surface")
        line.pack(fill="x")
        self._face = tk.Label(line, borderwidth=0, width=px(FACE), height=px(FACE))
        theme.tint(self._face, background="surface")
        self._face.pack(side="left", padx=(0, px(14)))
        words = tk.Frame(line)
        theme.tint(words, background="surface")
        words.pack(side="left", fill="x", expand=True)
        self.face_words = Words(words, theme, "", "h1", "text", "surface")
        self.face_words.pack(fill="x")
        self.owner_words = Words(words, theme, "", "small", "text2", "surface")
        self.owner_words.pack(fill="x", pady=(px(2), 0))
        self.until_words = Words(words, theme, "", "small", "text3", "surface")
        self.until_words.pack(fill="x")
        self.motion_words = Words(card.body, theme, "", "small", "text2", "surface")
        self.motion_words.pack(fill="x", pady=(px(8), 0))
        self.queue_words = Words(card.body, theme, "", "cap", "text3", "surface")
        self.queue_words.pack(fill="x")
        return card

    def _build_controls(self, body: tk.Misc) -> Card:
        theme, px = self._theme, self._theme.px
        card = Card(body, theme, "Faces and motions")
        options = tk.Frame(card.body)
        theme.tint(options, background="surface")
        options.pack(fill="x", pady=(0, px(6)))
        self.duration = self._option(
            options, "For", DURATIONS, "5000", 112, "How long a face stays"
        )
        self.priority = self._option(
            options, "Priority", PRIORITIES, "", 96, "Of two wishes the higher one is shown"
        )
        self.transition = self._option(
            options, "Change", TRANSITIONS, "smooth", 132, "How a face becomes the next one"
        )
        self.faces = ChipFlow(
            card.body, theme, self._show_face, surface="surface", tip=lambda name: f"Show {name}"
        )
        self.faces.pack(fill="x")
        line = tk.Frame(card.body)
        theme.tint(line, background="surface")
        line.pack(fill="x", pady=(px(4), 0))
        self._divider = Words(line, theme, "Motions", "cap", "text3", "surface")
        self._divider.pack(side="left", padx=(px(3), px(14)))
        self.loop = Switch(
            line, theme, "again and again", tip="A motion goes on until something else is wanted"
        )
        self.moves = ChipFlow(
            card.body, theme, self._play, surface="surface", tip=lambda name: f"Play {name}"
        )
        self.moves.pack(fill="x")
        self.rig_words = Words(card.body, theme, "", "cap", "text3", "surface")
        self.rig_words.pack(fill="x", padx=px(3))
        return card

    def _option(
        self,
        master: tk.Misc,
        title: str,
        choices: tuple[tuple[str, str], ...],
        value: str,
        width: float,
        tip: str,
    ) -> Dropdown:
        theme, px = self._theme, self._theme.px
        Words(master, theme, title, "small", "text2", "surface").pack(
            side="left", padx=(px(3), px(2))
        )
        made = Dropdown(
            master,
            theme,
            [Choice(key, words) for key, words in choices],
            value=value,
            width=width,
            height=26,
            surface="surface",
            label=title,
            tip=tip,
        )
        made.pack(side="left", padx=(0, px(8)))
        return made

    def _build_timeline(self, body: tk.Misc) -> Card:
        theme, px = self._theme, self._theme.px
        card = Card(body, theme, "Who wanted what")
        self.newest = Button(
            card.head,
            theme,
            "Newest",
            self._follow,
            icon="down",
            kind="soft",
            key="End",
            surface="surface",
            height=26,
            tip="Follow the newest   End",
        )
        for icon, step, tip in (
            ("right", 0.5, "Later   Page Down"),
            ("left", -0.5, "Earlier   Page Up"),
        ):
            card.add(
                Button(
                    card.head,
                    theme,
                    icon=icon,
                    surface="surface",
                    height=26,
                    label=tip.split("  ")[0],
                    tip=tip,
                    command=partial(self._scroll_lanes, step),
                )
            )
        self.span = Dropdown(
            card.head,
            theme,
            [Choice(f"{length:g}", words) for length, words in spans()],
            self._zoomed,
            width=84,
            height=26,
            surface="surface",
            label="Time shown",
            tip="How much time is shown   + and \u2212",
        )
        card.add(self.span)
        self.lanes = TimelineView(
            card.body,
            theme,
            self.avatar.timeline,
            lambda: self.avatar.now_s,
            chosen=self._chose_bar,
            opened=self._open_bar,
            moved=self._lanes_moved,
        )
        self.lanes.configure(height=px(LANES_HEIGHT))
        self.lanes.pack(fill="x")
        self.detail = Words(card.body, theme, "", "small", "text2", "surface")
        self.detail.pack(fill="x", pady=(px(4), 0))
        self._lanes_moved()
        self._chose_bar(None)
        return card

    def _build_list(self, body: tk.Misc) -> Card:
        theme = self._theme
        card = Card(body, theme, "What became of it")
        self.fresh = Button(
            card.head,
            theme,
            "",
            lambda: self.list.refresh(force=True),
            icon="up",
            kind="soft",
            surface="surface",
            height=26,
        )
        self.list = CueList(
            card.body,
            theme,
            self.avatar.timeline,
            picked=self._picked_line,
            opened=self._open_line,
            held=self._show_held,
        )
        self.list.pack(fill="both", expand=True)
        return card

    # --- layout

    def _arrange(self, width: float, height: float) -> float:
        t = self._theme
        one = width < ONE_COLUMN
        left = width - 2 * MARGIN if one else LEFT if width >= 1080 else 324.0
        room = left if one else width - 2 * MARGIN - left - GAP
        now, links = self.now_card.needed, self.overlay.needed
        controls = self.controls.needed
        timeline = HEAD + LANES_HEIGHT + 36
        x = MARGIN if one else MARGIN + left + GAP
        put(t, self.now_card, MARGIN, GAP, left, now)
        y = GAP + now + GAP
        if one:
            put(t, self.controls, x, y, room, controls)
            y += controls + GAP
            put(t, self.timeline_card, x, y, room, timeline)
            y += timeline + GAP
            put(t, self.list_card, x, y, room, 240)
            y += 240 + GAP
            put(t, self.overlay, MARGIN, y, left, links)
            return y + links + GAP
        used = y + links + GAP
        right = GAP + controls + GAP + timeline + GAP + LOWEST_LIST + GAP
        total = max(height, used, right)
        put(t, self.overlay, MARGIN, y, left, max(links, total - y - GAP))
        put(t, self.controls, x, GAP, room, controls)
        put(t, self.timeline_card, x, GAP + controls + GAP, room, timeline)
        top = GAP + controls + GAP + timeline + GAP
        put(t, self.list_card, x, top, room, total - top - GAP)
        return total

    # --- now

    def _show_rig(self) -> None:
        avatar = self.avatar
        shown = avatar.shown
        self.faces.show(avatar.expressions, shown.expression if shown else "")
        playing = shown.motion if shown else None
        names = [motion.name or f"{motion.group} {motion.index}" for motion in avatar.motions]
        self.moves.show(names, motion_words(playing) if playing else "")
        rig = avatar.rig
        self._divider.show("Motions" if names else "")
        if names:
            self.loop.pack(side="left")
        else:
            self.loop.pack_forget()
        words, color = "", "text3"
        if rig is not None:
            kind = {"picture": "pictures", "puppet": "a puppet", "vrm": "VRM", "live2d": "Live2D"}
            words = f"{rig.title or rig.id}: {kind.get(rig.kind, rig.kind)}"
            if not names:
                words += "; it has no motions"
            if rig.problem:
                words, color = rig.problem, "warn"
        self.rig_words.show(words, color)
        self.page.arrange_soon()

    def _show_now(self) -> None:
        avatar, stage = self.avatar, self.app.stage
        shown = avatar.shown
        expression = shown.expression if shown else "neutral"
        character = stage.character
        picture = self.app.avatars.picture(stage.character_id, expression, FACE)
        self._face.configure(image=picture)
        self._picture = picture  # Tk forgets pictures nobody holds
        name = character.name if character else "Nobody yet"
        self.now_card.sub_words.show(name)
        self.face_words.show(expression.capitalize())
        self.faces.mark(expression)
        # A wish of ours may wait behind another's, so that whoever is seen now does not tell whether we have one.
        is_busy = bool(shown and (shown.owner or shown.motion))
        self.release_button.enable(is_busy)
        self.rest_button.enable(is_busy)
        if shown is None:
            self.owner_words.show(
                avatar.trouble or "Asking the backend...", "warn" if avatar.trouble else "text3"
            )
            self.until_words.show("")
            self.motion_words.show("")
            self.queue_words.show("")
            self.moves.mark("")
            return
        if shown.owner:
            words = f"asked by {owner_words(shown.owner)}, priority {shown.priority}"
        else:
            words = "at rest: nobody asked for anything"
        self.owner_words.show(words, "text2")
        if shown.motion is not None:
            motion = shown.motion
            words = f"Moves: {motion_words(motion)}" + (", again and again" if motion.loop else "")
            words += f", asked by {owner_words(motion.owner)}, priority {motion.priority}"
            self.motion_words.show(words, "text")
            self.moves.mark(motion_words(motion))
        else:
            self.motion_words.show("Moves by itself", "text3")
            self.moves.mark("")
        waiting = ", ".join(motion_words(motion) for motion in shown.waiting)
        self.queue_words.show(f"Next: {waiting}" if waiting else "")
        self._show_until()

    def _show_until(self) -> None:
        shown = self.avatar.shown
        if shown is None:
            return
        if shown.until is None:
            self.until_words.show("until changed" if shown.owner else "")
            return
        left = shown.until.timestamp() - self.avatar.now_s
        self.until_words.show(f"{max(0.0, left):.0f} s left, change: {shown.transition}")

    # --- requests

    def _show_face(self, name: str) -> None:
        transitions: dict[str, Transition] = {key: key for key, _ in TRANSITIONS}
        self.avatar.show(
            name,
            duration_ms=0 if name == "neutral" else float(self.duration.value),
            priority=self._chosen_priority(),
            transition=transitions[self.transition.value],
        )

    def _play(self, name: str) -> None:
        found = next((m for m in self.avatar.motions if _name_of(m) == name), None)
        if found is not None:
            self.avatar.play(found, loop=self.loop.on, priority=self._chosen_priority())

    def _chosen_priority(self) -> int | None:
        return int(self.priority.value) if self.priority.value else None

    # --- the timeline

    def _tick(self) -> None:
        """Draw twice a second while something moves, else only what is new."""
        self._job = None
        if not self._is_shown:
            return
        timeline, lanes = self.avatar.timeline, self.lanes
        is_new = timeline.version != self._drawn_version
        first, _ = lanes.window_s()
        moves = lanes.is_following and timeline.last_s > first
        if is_new or timeline.is_open or moves:
            self._drawn_version = timeline.version
            lanes.changed()
        if is_new:
            self.list.refresh()
            self.timeline_card.sub_words.show("")
            bar = lanes.bar
            if bar is not None:
                self.detail.show(bar.sentence_of(self.avatar.now_s))
        self._show_until()
        shown = self.avatar.shown
        lasts = shown is not None and shown.until is not None
        if timeline.is_open or moves or lasts:
            self._job = self.after(TICK_MS, self._tick)

    def _follow(self) -> None:
        self.lanes.follow()

    def _scroll_lanes(self, step: float) -> None:
        self.lanes.scroll(step)

    def _zoomed(self, value: str) -> None:
        self.lanes.set_span(float(value))

    def _lanes_moved(self) -> None:
        if not hasattr(self, "lanes"):
            return
        near = min(SPANS_S, key=lambda one: abs(one - self.lanes.span_s))
        self.span.set(f"{near:g}")
        if self.lanes.is_following:
            self.newest.pack_forget()
        else:
            self.timeline_card.add(self.newest)
        self.flush()

    def _chose_bar(self, bar: Bar | None) -> None:
        if bar is None:
            self.detail.show("Left and Right go from bar to bar, Enter opens the turn.", "text3")
            return
        self.detail.show(bar.sentence_of(self.avatar.now_s), "text")
        if bar.lane != "audio":
            newest = next(
                (e for e in reversed(self.avatar.timeline.lines) if _key_of(e) == bar.key), None
            )
            if newest is not None:
                self.list.show_entry(newest)

    def _open_bar(self, bar: Bar) -> None:
        if bar.turn_id:
            self.app.open_turn(bar.turn_id)
        else:
            self.detail.show("It belongs to no turn: " + bar.sentence_of(self.avatar.now_s), "text")

    def _picked_line(self, entry: CueEntry) -> None:
        bar = self.avatar.timeline.bar_of(entry)
        if bar is not None:
            self.lanes.select(bar, tell=False)
            self.detail.show(bar.sentence_of(self.avatar.now_s), "text")

    def _open_line(self, entry: CueEntry) -> None:
        if entry.turn_id:
            self.app.open_turn(entry.turn_id)

    def _show_held(self, count: int) -> None:
        if count:
            self.fresh.set(f"{count} new")
            self.list_card.add(self.fresh)
        else:
            self.fresh.pack_forget()

    def _gone(self, event: tk.Event[tk.Misc]) -> None:
        if event.widget is self:
            for end in self._ends:
                end()
            if self._job is not None:
                self.after_cancel(self._job)


def _name_of(motion: Motion) -> str:
    return motion.name or f"{motion.group} {motion.index}"


def _key_of(entry: CueEntry) -> str:
    return f"{entry.kind}:{entry.id}"
