"""Microphone and sound: which microphone, how loud, when it counts; where she is heard; both tried out here.

Everything acts at once and is remembered by the backend. Above all stands where the sound of a voice goes.
"""

from __future__ import annotations

import tkinter as tk
from functools import partial
from typing import Any, Literal, Protocol

from backend.contracts.listening import EchoGuard, ListeningMode
from frontend.client import Failure
from frontend.microphone import (
    GUARD_WORDS,
    HIGHEST_GAIN_DB,
    LOWEST_GAIN_DB,
    MODE_TITLES,
    MUTE_KEY,
    TEST_S,
    Microphone,
    reader_of,
    where_words_go,
)
from frontend.owner import WindowOwner
from frontend.stage import SILENCE_DB, Stage
from frontend.widgets.controls import (
    Button,
    Chip,
    Dropdown,
    Radio,
    Slider,
    Words,
    picture_label,
)
from frontend.widgets.level_meter import LevelMeter
from frontend.widgets.popup import Choice
from frontend.widgets.talk import HeldKey, key_name, why_not
from frontend.widgets.toplevel import OneWindow

SIZE = (720, 720)
SMALLEST = (570, 380)
LABEL = 112
WRAP = 500
SYSTEM = "System default"
CLIP_MS = 2500
AFTER_TEST_S = 1.2  # the room and the sound card still ring when it was played
FIGURE_EVERY = 5  # of twenty levels a second four figures are enough to read
QUIET_DB = -40.0
LOUD_DB = -1.0
TEST_WORDS = "This is how I sound. Can you hear me well?"
TestPhase = Literal["idle", "recording", "playing"]

MODE_WORDS: dict[ListeningMode, str] = {
    "off": "The microphone is closed.",
    "push_to_talk": "Heard only while you hold {key}, or the microphone beside the message.",
    "open": "Heard whenever you speak; silence ends what you say.",
}


class Owner(WindowOwner, Protocol):
    """What this window needs of the main window."""

    @property
    def stage(self) -> Stage:
        """Loudspeaker and settings."""

    @property
    def microphone(self) -> Microphone:
        """What is heard."""

    @property
    def talk_key(self) -> HeldKey:
        """The key of push-to-talk."""

    def set_talk_key(self, keysym: str) -> None:
        """Hold another key to talk."""

    def open_settings(self, field: str = "") -> None:
        """Open the settings window, scrolled to a setting."""

    def open_models(self) -> None:
        """Show the models that can be downloaded."""


class SoundWindow(OneWindow):
    """The window; one at a time, `open` raises the one there is."""

    @classmethod
    def open(cls, owner: Owner) -> SoundWindow:
        """Show it."""
        window = cls.one(lambda: cls(owner))
        window.modes[owner.microphone.now.mode].focus_force()
        return window

    def __init__(self, owner: Owner) -> None:
        super().__init__(owner.root, owner.theme, "Luma: microphone and sound")
        self.phase: TestPhase = "idle"
        self._owner = owner
        self._microphone, self._stage = owner.microphone, owner.stage
        self._loudest_db = SILENCE_DB
        self._levels = 0
        self._clip_job: str | None = None
        self._test_job: str | None = None
        self._is_catching = False
        theme = owner.theme
        foot = self._foot()
        Button(foot, theme, "Close", self.close, key="Esc", height=30).pack(side="right")
        Button(
            foot,
            theme,
            "All settings of hearing",
            partial(owner.open_settings, "ASR_SILENCE_MS"),
            icon="gear",
            kind="plain",
            height=30,
        ).pack(side="left")
        self._scroll = self._scrolled()
        body = self._scroll.inner
        self._build_privacy(body)
        self._build_microphone(body)
        self._build_guard(body)
        self._build_sound(body)
        for letter in "Mm":
            self.bind(f"<Control-Shift-{letter}>", lambda _: self._microphone.toggle_mute())
        self._talk = HeldKey(self, owner.talk_key.keysym, self._microphone.hold)
        self._ends = [
            self._microphone.listen(("listening",), self._show_listening),
            self._microphone.listen(("inputs",), self._show_inputs),
            self._microphone.listen(("level",), self._show_level),
            self._stage.listen(("sound",), self._show_sound),
            self._stage.listen(("provider",), self._show_reader),
        ]
        self._show_inputs()
        self._show_listening()
        self._show_sound()
        self._show_reader()
        self._appear(SIZE, SMALLEST)
        self._stage.load_devices()

    # --- what others call -----------------------------------------------------------------------------------------

    def test_microphone(self) -> None:
        """Record five seconds and hear them."""
        if self.phase != "idle":
            return
        self.phase, self._loudest_db, self._levels = "recording", SILENCE_DB, 0
        self._microphone.test(self._tested, self._not_tested)
        self._count_down(round(TEST_S))

    def test_sound(self) -> None:
        """Let the character say a sentence where the stage is heard."""
        self.sound_button.enable(False)
        self._sound_note.show("Speaking...", "text2")
        body = {"text": TEST_WORDS, "play": True}
        self._owner.backend.post("/api/tts", body, self._sounded, self._not_sounded)

    def catch_key(self) -> None:
        """The next key that is pressed is the one to hold."""
        self._is_catching = not self._is_catching
        self._show_key()
        if self._is_catching:
            self.key_button.focus_set()  # a click leaves the keyboard where it was
            self._key_note.show("Press the key you want to hold, Esc keeps the old one.", "accent")

    def close(self) -> None:
        """Close the window; what was chosen holds already."""
        self.destroy()

    # --- building -------------------------------------------------------------------------------------------------

    def _card(self, master: tk.Misc, title: str) -> tk.Frame:
        if title:
            words = Words(master, self._theme, title, "bodyb")
            words.pack(fill="x", pady=(0, self._theme.px(6)))
        return self._outlined(master)

    def _row(self, card: tk.Misc, title: str, above: float = 6) -> tk.Frame:
        return self._named_row(card, title, (LABEL, 34), (above, 6))

    def _line(self, master: tk.Misc) -> tk.Frame:
        line = tk.Frame(master)
        self._theme.tint(line, background="surface")
        line.pack(fill="x")
        return line

    def _note(self, master: tk.Misc, text: str = "", color: str = "text3") -> tk.Label:
        """Words over as many lines as they need."""
        theme, px = self._theme, self._theme.px
        note = tk.Label(
            master,
            text=text,
            font=theme.font("cap"),
            justify="left",
            anchor="w",
            wraplength=px(WRAP),
            borderwidth=0,
        )
        theme.tint(note, background="surface", foreground=color)
        note.pack(fill="x", padx=px(3))
        note.bind("<Configure>", lambda e: note.configure(wraplength=max(px(200), e.width)))
        return note

    def _say(self, note: tk.Label, words: str, color: str) -> None:
        """Other words in a note; an empty one takes no line."""
        if note.cget("text") != words:
            note.configure(text=words)
        self._theme.tint(note, foreground=color)
        if words:
            note.pack(fill="x", padx=self._theme.px(3))
        else:
            note.pack_forget()

    def _build_privacy(self, body: tk.Misc) -> None:
        theme, px = self._theme, self._theme.px
        card = self._card(body, "")
        self._shields = {
            color: picture_label(card, theme, "shield", 18, color, "surface")
            for color in ("ok", "warn")
        }
        holder = tk.Frame(card)
        theme.tint(holder, background="surface")
        holder.pack(side="left", fill="x", expand=True, padx=(0, px(10)), pady=px(10))
        self._privacy = self._note(holder, "", "text")
        self._privacy.configure(font=theme.font("small"))

    def _build_microphone(self, body: tk.Misc) -> None:
        theme, px, microphone = self._theme, self._theme.px, self._microphone
        card = self._card(body, "Microphone")
        self._trouble = tk.Frame(card)
        theme.tint(self._trouble, background="warn_soft")
        picture_label(self._trouble, theme, "warn", 16, "warn", "warn_soft").pack(
            side="left", anchor="n", padx=(px(14), px(8)), pady=px(10)
        )
        Button(
            self._trouble,
            theme,
            "Try again",
            self._try_again,
            icon="refresh",
            surface="warn_soft",
            height=26,
        ).pack(side="right", padx=px(8), pady=px(4))
        self._trouble_words = self._note(self._trouble, "", "text")
        self._trouble_words.pack(side="left", expand=True, pady=px(9))
        theme.tint(self._trouble_words, background="warn_soft")
        first = self._first = self._row(card, "Listen", 12)
        line = self._line(first)
        self.modes: dict[ListeningMode, Chip] = {}
        for mode, title in MODE_TITLES.items():
            chip = Chip(
                line,
                theme,
                title,
                lambda _, mode=mode: microphone.choose_mode(mode),  # type: ignore[misc]  # a lambda that keeps its loop variable
                surface="surface",
                height=28,
            )
            chip.pack(side="left")
            self.modes[mode] = chip
        self.mute_button = Button(
            line,
            theme,
            "Mute",
            microphone.toggle_mute,
            icon="mic_muted",
            surface="surface",
            height=28,
            tip=f"Nothing you say counts; the level still moves   {MUTE_KEY}",
        )
        self.mute_button.pack(side="right")
        self._mode_note = self._note(first)
        line = self._line(self._row(card, "Key to hold"))
        self.key_button = Button(line, theme, "F8", self.catch_key, surface="surface", height=28)
        self.key_button.bind("<Key>", self._caught)
        self.key_button.pack(side="left")
        self._key_note = Words(line, theme, "", "cap", "text3", "surface")
        self._key_note.pack(side="left", fill="x", expand=True, padx=px(6))
        devices = self._row(card, "Microphone")
        line = self._line(devices)
        Button(
            line,
            theme,
            icon="refresh",
            kind="plain",
            surface="surface",
            height=28,
            icon_size=16,
            label="Look for microphones again",
            command=microphone.load_inputs,
        ).pack(side="right")
        self.device = Dropdown(
            line,
            theme,
            (),
            microphone.choose_device,
            width=300,
            surface="surface",
            label="Microphone",
            empty=SYSTEM,
        )
        self.device.pack(side="left", fill="x", expand=True)
        self._device_note = self._note(devices)
        line = self._line(self._row(card, "Gain"))
        self._gain_words = Words(line, theme, "", "mono", "text2", "surface", "e")
        self._gain_words.configure(width=8)
        self._gain_words.pack(side="right", padx=(0, px(6)))
        self.gain = Slider(
            line,
            theme,
            self._set_gain,
            width=200,
            surface="surface",
            label="Gain of the microphone",
            tip="Louder or quieter, in dB. 0 dB is what the microphone gives.",
        )
        self.gain.pack(side="left", fill="x", expand=True)
        level = self._row(card, "Level")
        line = self._line(level)
        self._level_words = Words(line, theme, "", "mono", "text2", "surface", "e")
        self._level_words.configure(width=8)
        self._level_words.pack(side="right", padx=(0, px(6)))
        self.meter = LevelMeter(line, theme, width=300, height=14, surface="surface", step=7)
        self.meter.label = "Level of the microphone"
        self.meter.pack(side="left", fill="x", expand=True, padx=px(3), pady=px(10))
        self._level_note = self._note(level)
        test = self._row(card, "Try it")
        line = self._line(test)
        self.test_button = Button(
            line,
            theme,
            f"Record {TEST_S:.0f} s and hear it",
            self.test_microphone,
            icon="record",
            surface="surface",
            height=28,
        )
        self.test_button.pack(side="left")
        self._test_note = Words(line, theme, "", "small", "text2", "surface")
        self._test_note.pack(side="left", fill="x", expand=True, padx=px(8))
        self._reader_row = self._row(card, "Read by")
        line = self._line(self._reader_row)
        self.model_button = Button(
            line,
            theme,
            "Get a Whisper model",
            self._get_model,
            icon="download",
            kind="soft",
            surface="surface",
            height=28,
        )
        self._reader_words = self._note(line, "", "text2")
        self._reader_words.pack(side="left", expand=True, pady=(px(8), px(10)))

    def _build_guard(self, body: tk.Misc) -> None:
        theme, px = self._theme, self._theme.px
        card = self._card(body, "While she speaks")
        self.guards: dict[EchoGuard, Radio] = {}
        for guard, (title, words) in GUARD_WORDS.items():
            holder = tk.Frame(card)
            theme.tint(holder, background="surface")
            holder.pack(fill="x", padx=px(14), pady=(px(8), 0))
            radio = Radio(holder, theme, title, partial(self._choose_guard, guard))
            radio.pack(anchor="w")
            note = self._note(holder, words)
            note.pack_configure(padx=(px(29), px(3)))
            self.guards[guard] = radio
        more = tk.Frame(card)
        theme.tint(more, background="surface")
        more.pack(fill="x", padx=px(2), pady=(px(4), px(8)))
        Button(
            more,
            theme,
            "How she is interrupted",
            partial(self._owner.open_settings, "BARGE_IN"),
            kind="plain",
            icon="hand",
            surface="surface",
            height=28,
            tip="BARGE_IN, BARGE_IN_MS, DUCK_VOLUME",
        ).pack(side="left")

    def _build_sound(self, body: tk.Misc) -> None:
        theme, px, stage = self._theme, self._theme.px, self._stage
        card = self._card(body, "Her voice")
        devices = self._row(card, "Loudspeaker", 12)
        self.output = Dropdown(
            self._line(devices),
            theme,
            (),
            stage.set_device,
            width=300,
            surface="surface",
            label="Output device",
            empty=SYSTEM,
        )
        self.output.pack(fill="x", expand=True)
        self._output_note = self._note(devices, "", "warn")
        line = self._line(self._row(card, "Volume"))
        self._volume_words = Words(line, theme, "", "mono", "text2", "surface", "e")
        self._volume_words.configure(width=8)
        self._volume_words.pack(side="right", padx=(0, px(6)))
        self.output_mute = Button(
            line,
            theme,
            icon="volume",
            kind="plain",
            surface="surface",
            height=26,
            icon_size=16,
            label="Mute",
            command=lambda: stage.set_muted(not stage.muted),
        )
        self.output_mute.pack(side="left")
        self.volume = Slider(
            line, theme, stage.set_volume, width=200, surface="surface", label="Volume"
        )
        self.volume.pack(side="left", fill="x", expand=True)
        line = self._line(self._row(card, "Try it"))
        self.sound_button = Button(
            line,
            theme,
            "Play a test sound",
            self.test_sound,
            icon="play",
            surface="surface",
            height=28,
        )
        self.sound_button.pack(side="left", pady=(0, px(6)))
        self._sound_note = Words(line, theme, "", "small", "text2", "surface")
        self._sound_note.pack(side="left", fill="x", expand=True, padx=px(8))

    # --- the microphone -------------------------------------------------------------------------------------------

    def _show_listening(self) -> None:
        microphone = self._microphone
        now = microphone.now
        for mode, chip in self.modes.items():
            chip.set(microphone.is_known and mode == now.mode)
            chip.enable(microphone.is_known)
        for guard, radio in self.guards.items():
            radio.set(guard == now.guard)
            radio.enable(microphone.is_known)
        words = MODE_WORDS[now.mode].format(key=microphone.key)
        if not microphone.is_known:
            words = "The backend has not said how the microphone is yet."
        elif now.muted:
            words = "Muted: nothing you say counts."
        self._say(self._mode_note, words, "warn" if now.muted else "text3")
        self.mute_button.set(
            "Unmute" if now.muted else "Mute", kind="soft" if now.muted else "ghost"
        )
        self.mute_button.enable(microphone.is_known and (now.mode != "off" or now.muted))
        self.gain.set((now.gain_db - LOWEST_GAIN_DB) / (HIGHEST_GAIN_DB - LOWEST_GAIN_DB))
        self._gain_words.show(f"{now.gain_db:+.0f} dB".replace("-", "\u2212").replace("+0", "0"))
        if now.problem:
            self._trouble_words.configure(text=now.problem[:500])
            self._trouble.pack(fill="x", before=self._first.master)
        else:
            self._trouble.pack_forget()
        self._show_key()
        self._show_device()
        self._show_level_words()

    def _show_inputs(self) -> None:
        microphone = self._microphone
        inputs = microphone.inputs or []
        own = next((one.name for one in inputs if one.is_default), "")
        choices = [Choice("", SYSTEM, f"now {own}" if own else "", "voice")]
        choices += [
            Choice(one.name, one.name, one.host_api, "voice")
            for one in {one.name: one for one in inputs if one.name}.values()
        ]
        chosen = microphone.now.device
        if chosen and chosen not in [one.name for one in inputs]:
            choices.append(Choice(chosen, chosen, "not connected", "warn"))
        self.device.set_choices(choices, chosen)
        self._show_device()

    def _show_device(self) -> None:
        microphone = self._microphone
        now = microphone.now
        self.device.set(now.device)
        self.device.tooltip.text = now.device or now.device_now or SYSTEM
        if microphone.inputs is not None and not microphone.inputs:
            words = "No microphone was found. Plug one in, then look again."
            color = "warn"
        elif now.device_now and now.rate_hz:
            words, color = f"{now.device_now}, {now.rate_hz / 1000:g} kHz", "text3"
        else:
            words, color = "", "text3"
        self._say(self._device_note, words, color)

    def _show_level(self) -> None:
        microphone = self._microphone
        self.meter.show(microphone.level_db)
        self._loudest_db = max(self._loudest_db, microphone.peak_db)
        if microphone.clipped:
            if self._clip_job is not None:
                self.after_cancel(self._clip_job)
            self._clip_job = self.after(CLIP_MS, self._clip_over)
            self._show_level_words()
        self._levels += 1
        if self._levels % FIGURE_EVERY == 1 or microphone.level_db <= SILENCE_DB:
            self._show_level_words()

    def _clip_over(self) -> None:
        self._clip_job = None
        self._show_level_words()

    def _show_level_words(self) -> None:
        microphone = self._microphone
        level = microphone.level_db
        is_closed = microphone.now.mode == "off" and self.phase == "idle"
        figure = f"\u2212{abs(level):.0f} dB" if level > SILENCE_DB else "silent"
        self._level_words.show("closed" if is_closed else figure)
        if self._clip_job is not None:
            words, color = "Too loud: it clips. Go back a little, or turn the gain down.", "error"
        elif is_closed:
            words, color = "Choose how to listen, or record below, to see the level move.", "text3"
        else:
            words, color = "Green is right. Grey is too quiet, red too loud.", "text3"
        if self._level_note.cget("text") != words:
            self._say(self._level_note, words, color)

    def _set_gain(self, share: float) -> None:
        gain = LOWEST_GAIN_DB + share * (HIGHEST_GAIN_DB - LOWEST_GAIN_DB)
        # Whole decibels, and 0 is easy to find again.
        self._microphone.set_gain(0.0 if abs(gain) < 1.2 else round(gain))

    def _choose_guard(self, guard: EchoGuard, _on: bool) -> None:
        self._microphone.choose_guard(guard)

    def _try_again(self) -> None:
        self._microphone.load_inputs()
        self._microphone.choose_device(self._microphone.now.device)

    def _show_key(self) -> None:
        self.key_button.set("Press a key..." if self._is_catching else self._microphone.key)
        self.key_button.label = f"Key to hold: {self._microphone.key}"
        if not self._is_catching:
            self._key_note.show("Click to choose another key.", "text3")

    def _caught(self, event: tk.Event[tk.Misc]) -> str | None:
        if not self._is_catching:
            return None
        if event.keysym != "Escape":
            trouble = why_not(event.keysym)
            if trouble:
                self._key_note.show(trouble, "warn")
                return "break"
            self._owner.set_talk_key(event.keysym)
            self._talk.change(event.keysym)
        self._is_catching = False
        self._show_key()
        if event.keysym != "Escape":
            self._key_note.show(f"Hold {key_name(event.keysym)} and speak.", "ok")
        return "break"

    # --- trying it out --------------------------------------------------------------------------------------------

    def _count_down(self, left: int) -> None:
        self._test_job = None
        if self.phase != "recording":
            return
        self.test_button.enable(False)
        if left <= 0:
            self._test_note.show("One moment...", "text2")
            return
        self._test_note.show(f"Say something...  {left} s", "accent")
        self._test_job = self.after(1000, self._count_down, left - 1)

    def _tested(self, _value: Any) -> None:
        """It is recorded and begins to play: the verdict stands when it was heard."""
        if self._is_open:
            self.phase = "playing"
            self._test_note.show("Playing it back...", "text2")
            if self._test_job is not None:
                self.after_cancel(self._test_job)
            self._test_job = self.after(round((TEST_S + AFTER_TEST_S) * 1000), self._judge)

    def _judge(self) -> None:
        self._end_test()
        loudest = self._loudest_db
        if self._stage.sink == "none":
            words, color = "Recorded; AUDIO_SINK is none, so you cannot hear it.", "warn"
        elif loudest <= SILENCE_DB and self._levels:
            words, color = "Only silence arrived. Is this the right microphone?", "warn"
        elif loudest <= SILENCE_DB:
            words, color = "Done. Could you hear yourself?", "text2"
        elif loudest >= LOUD_DB:
            words, color = "Too loud: turn the gain down a little.", "warn"
        elif loudest < QUIET_DB:
            words, color = "Very quiet: turn the gain up, or come closer.", "warn"
        else:
            words, color = "That was a good level.", "ok"
        self._test_note.show(words, color)

    def _not_tested(self, failure: Failure) -> None:
        if self._is_open:
            self._end_test()
            self._test_note.show(failure.message, "error")

    def _end_test(self) -> None:
        self.phase = "idle"
        if self._test_job is not None:
            self.after_cancel(self._test_job)
            self._test_job = None
        self.test_button.enable(True)
        self._show_level_words()

    def _sounded(self, _value: Any) -> None:
        if self._is_open:
            self.sound_button.enable(True)
            self._sound_note.show("Nothing to hear? Choose another loudspeaker above.", "text3")

    def _not_sounded(self, failure: Failure) -> None:
        if self._is_open:
            self.sound_button.enable(True)
            self._sound_note.show(failure.message, "error")

    # --- the loudspeaker ------------------------------------------------------------------------------------------

    def _show_sound(self) -> None:
        stage = self._stage
        choices = [Choice("", SYSTEM, icon="volume")]
        choices += [Choice(name, name, icon="volume") for name in stage.devices if name != SYSTEM]
        if stage.device and stage.device not in stage.devices:
            choices.append(Choice(stage.device, stage.device, "not connected", "warn"))
        self.output.set_choices(choices, stage.device)
        self.output.tooltip.text = stage.device or SYSTEM
        self.volume.set(stage.volume)
        self._volume_words.show("muted" if stage.muted else f"{stage.volume * 100:.0f} %")
        self.output_mute.set(icon="muted" if stage.muted else "volume")
        self.output_mute.label = "Unmute" if stage.muted else "Mute"
        trouble = stage.device_trouble
        if not trouble and stage.sink == "none":
            trouble = "AUDIO_SINK is none: replies are text only. Set it to speaker to hear her."
        self._say(self._output_note, trouble[:500], "warn")

    # --- who reads ------------------------------------------------------------------------------------------------

    def _show_reader(self) -> None:
        words, is_away = where_words_go(self._stage.settings)
        self._privacy.configure(text=words)
        shown = self._shields["warn" if is_away else "ok"]
        for shield in self._shields.values():
            if shield is not shown:
                shield.pack_forget()
        px = self._theme.px
        shown.pack(side="left", padx=(px(14), px(8)), pady=px(10), before=self._privacy.master)
        self._theme.tint(self._privacy, foreground="warn" if is_away else "text")
        reader = reader_of(self._stage.settings, self._stage.services)
        self._reader_words.configure(text=reader.words or "Not known yet.")
        self._theme.tint(self._reader_words, foreground="warn" if reader.trouble else "text2")
        if reader.trouble:
            self.model_button.pack(side="right", before=self._reader_words)
        else:
            self.model_button.pack_forget()

    def _get_model(self) -> None:
        self.close()
        self._owner.open_models()

    def _gone(self) -> None:
        self._talk.let_go()
        for job in (self._clip_job, self._test_job):
            if job is not None:
                self.after_cancel(job)
