"""The Train page: speakers, files, clips, doctor and guided recording, in a real window over a real server."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from backend.contracts.events import (
    ClipsChanged,
    PlaybackFinished,
    PlaybackPosition,
    RecordingLevel,
)
from backend.contracts.training import Job, Speaker, Upload
from frontend.record_window import RecordWindow
from frontend.tabs.train import TrainPage
from frontend.tabs.voice import VoiceTab
from frontend.theme import SPECTRUM, rgb
from frontend.widgets.training.import_bar import look_through
from frontend.widgets.training.spectrogram import coloured, palette
from tests.gui.stand import words_on
from tests.gui.training_world import AT, WireStand, World

pytestmark = pytest.mark.gui


class Desk:
    """The page, its server and its window."""

    def __init__(self, world: World, **options: Any) -> None:
        self.world = world
        self.stand = WireStand(world, **options)
        self.page: TrainPage = self.stand.hold(VoiceTab).train
        self.until(lambda: self.page.cockpit.is_loaded)
        self.until(lambda: not world.speakers or self.page.cockpit.clips.is_loaded)

    def until(self, true: Callable[[], object]) -> None:
        self.stand.settle(lambda: bool(true()))

    def key(self, widget: tk.Misc, *keys: str) -> None:
        widget.focus_force()
        self.stand.root.update()
        for key in keys:
            widget.event_generate(key)
            self.stand.settle()

    @property
    def clips(self) -> Any:
        return self.page.cockpit.clips

    def asked(self, name: str) -> list[Any]:
        return self.stand.bodies(name)


@pytest.fixture
def make() -> Iterator[Callable[..., Desk]]:
    made: list[Desk] = []

    def open_(
        *args: Any, size: tuple[int, int] = (1208, 722), scale: float = 1.0, **fields: Any
    ) -> Desk:
        world = args[0] if args and isinstance(args[0], World) else World(*args, **fields)
        made.append(Desk(world, width=size[0], height=size[1], scale=scale))
        return made[-1]

    yield open_
    for desk in made:
        desk.stand.close()


# --- speakers -----------------------------------------------------------------------------------------------------


def test_the_first_look_asks_whose_voice_it_is_and_keeps_what_was_agreed_to(
    make: Callable[..., Desk],
) -> None:
    desk = make(0, speaker=False)
    form = desk.page.form
    assert form.winfo_ismapped()
    assert not desk.page.table.winfo_ismapped()
    form.name.entry.insert(0, "Mika")
    assert any("Mika agrees" in words for words in words_on_after(desk, form))
    form.agreed.invoke()
    form.saving.invoke()
    desk.until(lambda: desk.page.table.winfo_ismapped())
    assert desk.asked("POST /api/voice/speakers") == [
        {"name": "Mika", "language": "en-us", "synthetic": False}
    ]
    assert desk.asked("POST /api/voice/speakers/mika/consent")[0]["statement"].startswith(
        "Mika agrees that"
    )
    assert desk.page.cockpit.may_use
    assert desk.page.wizard.plan.action == "record"


def test_a_speaker_that_another_program_made_ends_the_question_for_one(
    make: Callable[..., Desk],
) -> None:
    desk = make(0, speaker=False)
    assert desk.page.form.winfo_ismapped()
    desk.world.speakers.append(Speaker(id="robo", name="Robo", synthetic=True))
    desk.page.cockpit.load_speakers()
    desk.until(lambda: not desk.page.form.winfo_ismapped())
    assert desk.page.table.winfo_ismapped()


def test_whoever_chooses_a_speaker_has_left_the_card_of_a_new_one(
    make: Callable[..., Desk],
) -> None:
    desk = make(4)
    desk.world.speakers.append(Speaker(id="robo", name="Robo", synthetic=True))
    desk.page.cockpit.load_speakers()
    desk.until(lambda: len(desk.page.cockpit.speakers) == 2)
    desk.page.edit_speaker(None)
    desk.until(desk.page.form.winfo_ismapped)
    desk.page.cockpit.choose_speaker("robo")
    desk.until(lambda: not desk.page.form.winfo_ismapped())


def test_a_machines_voice_needs_nobodys_consent(make: Callable[..., Desk]) -> None:
    desk = make(0, speaker=False)
    form = desk.page.form
    form.name.entry.insert(0, "Robo")
    form.machine.invoke()
    form.saving.invoke()
    desk.until(lambda: desk.page.cockpit.speaker is not None)
    assert desk.asked("POST /api/voice/speakers")[0]["synthetic"] is True
    assert not desk.asked("POST /api/voice/speakers/robo/consent")
    assert desk.page.cockpit.may_use


def test_without_consent_record_asks_for_it_first(make: Callable[..., Desk]) -> None:
    desk = make(0, consent=False)
    assert desk.page.wizard.plan.action == "consent"
    desk.page.bar.recording.invoke()
    desk.stand.settle()
    assert desk.page.form.winfo_ismapped()
    assert RecordWindow._current is None
    desk.page.form.agreed.invoke()
    desk.page.form.saving.invoke()
    desk.until(lambda: RecordWindow._current is not None)


def test_a_speaker_that_cannot_be_saved_says_why_in_the_card(make: Callable[..., Desk]) -> None:
    world = World(0, speaker=False)
    world.refuse["POST /api/voice/speakers"] = (409, "There is a speaker called Mika already.")
    desk = make(world)
    desk.page.form.name.entry.insert(0, "Mika")
    desk.page.form.saving.invoke()
    desk.until(lambda: desk.page.form.trouble)
    assert "There is a speaker called Mika already." in words_on_after(desk, desk.page.form)
    assert desk.page.form.saving.enabled


# --- clips --------------------------------------------------------------------------------------------------------


def test_ten_thousand_clips_are_loaded_and_drawn_by_the_page(make: Callable[..., Desk]) -> None:
    desk = make(10_000)
    rows = desk.page.table.rows
    desk.key(rows, "<End>")
    desk.until(lambda: desk.clips.at(9_999) is not None)
    assert rows.current == 9_999
    assert len(rows.find_all()) < 500
    offsets = {int(body["offset"]) for body in desk.asked("GET /api/voice/clips")}
    assert offsets <= {0, 100, 9_800, 9_900}, "only what came into sight was asked for"
    desk.clips.want(grade="B")
    desk.until(lambda: desk.clips.total == 2_500)
    desk.key(rows, "<Control-a>")
    desk.until(lambda: len(desk.clips.selected) == 2_500)


def test_letters_accept_and_reject_only_with_the_table_focused(make: Callable[..., Desk]) -> None:
    desk = make()
    rows = desk.page.table.rows
    desk.key(rows, "r")
    desk.until(lambda: desk.world.clips[1].status == "rejected")
    assert rows.current == 1, "the list is worked off by one key"
    desk.key(rows, "<Shift-Down>", "<Shift-Down>", "r")
    desk.until(lambda: desk.asked("PATCH /api/voice/clips")[1:])
    assert {desk.world.clips[n].status for n in (2, 3, 4)} == {"rejected"}
    desk.key(rows, "<Control-z>")
    desk.until(lambda: desk.world.clips[3].status == "accepted")
    before = len(desk.asked("PATCH /api/voice/clips"))
    desk.key(desk.page.table.search.entry, "a")
    assert len(desk.asked("PATCH /api/voice/clips")) == before


def test_clips_are_sorted_by_a_heading_and_searched(make: Callable[..., Desk]) -> None:
    desk = make()
    desk.page.table.invoke("sort:snr")
    desk.until(lambda: desk.clips.at(0) and desk.clips.at(0).measures["snr_db"] > 40)
    desk.page.table.invoke("sort:snr")
    desk.until(lambda: desk.clips.at(0) and desk.clips.at(0).measures["snr_db"] < 25)
    desk.page.table.search.entry.insert(0, "lantern")
    desk.until(lambda: desk.clips.total == 3)
    desk.page.table.search.entry.insert("end", " zebra")
    desk.until(lambda: desk.clips.total == 0)
    desk.page.table.repaint()
    desk.page.table.invoke("all")
    desk.until(lambda: desk.clips.total == 24)
    desk.page.table.repaint()
    desk.page.table.invoke("grade:B")
    desk.until(lambda: desk.clips.total < 24)
    assert {desk.clips.at(n).grade for n in range(desk.clips.total)} == {"B"}


def test_a_change_elsewhere_shows_without_losing_place_or_selection(
    make: Callable[..., Desk],
) -> None:
    desk = make()
    desk.clips.choose(5)
    desk.clips.choose(7, "add")
    del desk.world.clips[1]
    desk.stand.feed(ClipsChanged(speaker="mika", ids=(1,), what="clip 1 was deleted"))
    desk.until(lambda: desk.clips.total == 23)
    assert desk.clips.clip.id == 8
    assert desk.clips.selected == {8}


def test_long_and_hostile_transcripts_stay_in_their_column(make: Callable[..., Desk]) -> None:
    world = World(3)
    text = "\u202eWWWW\n\t" * 400
    world.clips[2] = world.clips[2].model_copy(update={"transcript": text, "reasons": ("x" * 300,)})
    desk = make(world)
    rows = desk.page.table.rows
    rows.repaint()
    for item in rows.find_all():
        box = rows.bbox(item)
        if box and str(rows.type(item)) == "text":
            assert box[2] <= rows.winfo_width()
            assert box[3] - box[1] < 26


# --- the chosen clip ----------------------------------------------------------------------------------------------


def test_the_chosen_clip_is_drawn_with_waveform_and_spectrogram(make: Callable[..., Desk]) -> None:
    desk = make()
    sound = desk.page.view.sound
    desk.until(lambda: sound._picture is not None and sound._columns)
    assert sound._picture is not None
    assert (sound._picture.width(), sound._picture.height()) == sound.picture_size()
    assert len(sound._columns) == sound.column_count()
    assert desk.page.view.words.text == desk.world.clips[1].transcript


def test_a_clip_plays_and_the_playhead_follows(make: Callable[..., Desk]) -> None:
    desk = make()
    view = desk.page.view
    desk.until(lambda: view.sound._columns)
    desk.key(desk.page.table.rows, "<space>")
    desk.until(lambda: desk.page.cockpit._sound)
    assert view.playing.text == "Stop"
    desk.stand.feed(
        PlaybackPosition(turn_id="00000001", n=1, position_s=1.5, duration_s=3.3, level_dbfs=-20, conversation_id="stage")
    )  # fmt: skip
    desk.stand.settle()
    x = view.sound.coords("playhead")[0]
    assert x / view.sound.winfo_width() == pytest.approx(1.5 / 3.3, abs=0.06)
    desk.stand.feed(PlaybackFinished(turn_id="00000001", heard="", conversation_id="stage"))
    desk.stand.settle()
    assert not view.sound.find_withtag("playhead")
    assert desk.page.cockpit.playing == ""


def test_the_edges_are_trimmed_by_keyboard(make: Callable[..., Desk]) -> None:
    desk = make()
    desk.key(desk.page.table.rows, "t")
    sound = desk.page.view.sound
    assert sound.mode == "trim"
    desk.key(
        sound, "<Shift-Right>", "<Shift-Right>", "<Right>", "<Down>", "<Shift-Left>", "<Return>"
    )
    desk.until(lambda: desk.asked("POST /api/voice/clips/1/trim"))
    assert desk.asked("POST /api/voice/clips/1/trim") == [{"start_s": 0.21, "end_s": 3.2}]
    assert not desk.page.view.applying.winfo_ismapped()


def test_a_split_parts_the_words_where_it_parts_the_sound(make: Callable[..., Desk]) -> None:
    desk = make()
    desk.key(desk.page.table.rows, "s")
    view = desk.page.view
    assert view.words.text == "Every fox knows | a shortcut home."
    view.sound._put(1.0)
    assert view.words.text == "Every fox | knows a shortcut home."
    desk.key(view.sound, "<Return>")
    desk.until(lambda: desk.asked("POST /api/voice/clips/1/split"))
    body = desk.asked("POST /api/voice/clips/1/split")[0]
    assert body == {"at_s": 1.0, "transcripts": ["Every fox", "knows a shortcut home."]}
    desk.until(lambda: desk.clips.total == 25)
    assert desk.clips.clip.transcript == "Every fox", (
        "the first half is looked at, wherever it stands"
    )
    desk.clips.undo()
    desk.until(lambda: desk.clips.clip is not None and desk.clips.clip.id == 1)


def test_words_are_corrected_and_escape_takes_them_back(make: Callable[..., Desk]) -> None:
    desk = make()
    desk.key(desk.page.table.rows, "e")
    entry = desk.page.view.words.entry
    entry.delete(0, "end")
    entry.insert(0, "Something else")
    desk.key(entry, "<Escape>")
    assert not desk.asked("PATCH /api/voice/clips")
    assert desk.page.view.words.text == "Every fox knows a shortcut home."
    desk.page.view.edit()
    entry.delete(0, "end")
    entry.insert(0, "Every fox  knows a way.")
    desk.key(entry, "<Return>")
    desk.until(lambda: desk.world.clips[1].transcript == "Every fox knows a way.")


def test_denoise_keeps_the_sound_from_before_to_hear_and_to_restore(
    make: Callable[..., Desk],
) -> None:
    desk = make()
    view = desk.page.view
    view.denoising.invoke()
    desk.until(lambda: view.before.winfo_ismapped())
    view.before.invoke()
    desk.until(lambda: desk.asked("POST /api/voice/clips/1/play"))
    assert desk.asked("POST /api/voice/clips/1/play") == [{"before": True}]
    view.restoring.invoke()
    desk.until(lambda: view.denoising.winfo_ismapped())


def test_spectrograms_take_the_themes_colours_and_refuse_what_is_no_picture() -> None:
    for theme in ("dark", "light"):
        colours = palette(theme)
        assert tuple(colours[:3]) == rgb(SPECTRUM[theme][0])
        assert tuple(colours[-3:]) == rgb(SPECTRUM[theme][-1])
    png = World(1).spectrogram({"width": "90", "height": "30"}, None, "1")
    assert coloured(png, 40, 20, "dark").size == (40, 20)
    for bad in (b"", b"GIF89a", png[:50]):
        with pytest.raises(ValueError, match="no PNG"):
            coloured(bad, 40, 20, "dark")


# --- files --------------------------------------------------------------------------------------------------------


def test_dropped_files_and_folders_are_sent_one_by_one_and_refusals_have_names(
    make: Callable[..., Desk], tmp_path: Path
) -> None:
    folder = tmp_path / "my recordings"
    (folder / "inner").mkdir(parents=True)
    for name in ("b.wav", "a.wav", "inner/c.wav", "inner/cover.jpg"):
        (folder / name).write_bytes(b"x" * 100)
    (tmp_path / "bad.mp3").write_bytes(b"x")
    (tmp_path / "cat.jpg").write_bytes(b"x")
    desk = make(0)
    names = [
        str(folder),
        str(tmp_path / "bad.mp3"),
        str(tmp_path / "cat.jpg"),
        str(tmp_path / "gone.wav"),
    ]
    desk.page.dropped(" ".join(f"{{{name}}}" for name in names))
    bar = desk.page.imports
    desk.until(lambda: len(bar.waiting) == 3 and not bar.sending)
    sent = [name for body in desk.asked("POST /api/voice/upload") for name in body["files"]]
    assert sent == ["a.wav", "b.wav", "c.wav", "bad.mp3"]
    assert dict(bar.gone_wrong) == {
        "cat.jpg": "is neither a recording nor a list of transcripts",
        "gone.wav": "cannot be read",
        "bad.mp3": "bad.mp3 holds no sound that can be read.",
    }
    assert desk.page.wizard.plan.action == "process"
    bar.repaint()
    bar.invoke("dismiss")
    assert (bar.gone_wrong, len(bar.waiting)) == ([], 3)
    bar.repaint()
    assert "dismiss" not in bar.zone_keys()
    bar.denoise.invoke()
    bar.emotion.entry.insert(0, "joy")
    bar.going.invoke()
    desk.until(lambda: desk.page.cockpit.running("process") is not None)
    body = desk.asked("POST /api/voice/process")[0]
    assert (body["denoise"], body["emotion"], len(body["upload_ids"])) == (True, "joy", 3)
    bar.repaint()
    assert "stream 3.wav: finding speech" in words_on(bar)
    bar.invoke("stop")
    desk.until(lambda: desk.asked("POST /api/voice/jobs/job-13/stop"))


def test_a_drop_that_brings_nothing_says_so(make: Callable[..., Desk]) -> None:
    desk = make(0)
    desk.page.dropped("")
    assert desk.stand.notices == [
        ("The other program handed over no file. Use Import instead.", "warn")
    ]
    assert not desk.page.imports.gone_wrong


def test_files_wait_until_it_is_known_whose_voice_they_hold(
    make: Callable[..., Desk], tmp_path: Path
) -> None:
    (tmp_path / "a.wav").write_bytes(b"x")
    desk = make(0, speaker=False)
    desk.page.bring_in([tmp_path / "a.wav"])
    desk.page.form.name.entry.insert(0, "Mika")
    desk.page.form.saving.invoke()
    desk.until(lambda: desk.asked("POST /api/voice/upload"))
    assert desk.asked("POST /api/voice/upload")[0]["fields"] == {"speaker": "mika"}


def test_a_folder_gives_its_recordings_in_order_and_not_more_than_can_be_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("frontend.widgets.training.import_bar.MOST_FILES", 3)
    for number in range(5):
        (tmp_path / f"{number}.flac").write_bytes(b"x")
    found = look_through([tmp_path])
    assert [path.name for path, _ in found.files] == ["0.flac", "1.flac", "2.flac"]
    assert found.left == 2


def test_a_processing_that_failed_says_why_until_it_is_put_away(make: Callable[..., Desk]) -> None:
    world = World(0)
    world.jobs = [
        Job(
            id="job-1",
            kind="process",
            speaker="mika",
            state="failed",
            message="The disk is full.",
            created_at=AT,
        )
    ]
    desk = make(world)
    bar = desk.page.imports
    desk.until(lambda: bar.winfo_ismapped())
    bar.rows.repaint()
    assert "The disk is full." in words_on(bar.rows)
    desk.key(bar.rows, "<Delete>")
    desk.until(lambda: not bar.winfo_ismapped())


# --- the doctor ---------------------------------------------------------------------------------------------------


def test_the_doctor_is_asked_and_a_finding_shows_its_clips(make: Callable[..., Desk]) -> None:
    desk = make()
    assert desk.page.wizard.plan.label == "Examine the clips"
    desk.page.wizard.invoke("next")
    desk.until(lambda: desk.world.report is not None)
    desk.page.cockpit.load_report()
    desk.until(lambda: desk.page.cockpit.report is not None)
    body = desk.page.doctor.body
    desk.until(lambda: "2 transcripts do not fit the sound" in words_on(body))
    assert desk.page.wizard.plan.label == "See what to fix"
    body.invoke("finding:0")
    desk.until(lambda: desk.clips.total == 2 and desk.clips.at(1) is not None)
    assert desk.clips.selected == {6, 14}
    assert [desk.clips.at(n).id for n in range(2)] == [6, 14]
    desk.page.act("doctor")
    assert desk.page.wizard.plan.action == "train"


def test_changed_clips_make_the_report_old(make: Callable[..., Desk]) -> None:
    world = World()
    world.report = world.made_report()
    desk = make(world)
    desk.until(lambda: desk.page.cockpit.report is not None)
    world.changed = True
    desk.stand.feed(ClipsChanged(speaker="mika", what="3 clips were added"))
    desk.until(lambda: desk.page.wizard.plan.action == "examine")


# --- the guided recording -----------------------------------------------------------------------------------------


@pytest.fixture
def recorder(make: Callable[..., Desk]) -> Iterator[tuple[Desk, RecordWindow]]:
    desk = make(0)
    desk.page.record()
    window = RecordWindow.current()
    assert window is not None
    desk.until(lambda: window.prompts and window.microphone.choices[1:])
    yield desk, window
    if window.winfo_exists():
        window.close()


def test_sentences_are_recorded_by_keys_alone(recorder: tuple[Desk, RecordWindow]) -> None:
    desk, window = recorder
    sheet = window.sheet
    assert [choice.title for choice in window.microphone.choices[1:]] == ["Blue Yeti", "Webcam"]
    desk.key(sheet, "<space>")
    desk.until(lambda: window.phase == "read")
    assert window.room == "\u221258 dB  Quiet."
    assert window.prompt is not None
    assert window.prompt.suggested, "what the doctor asks for comes first"
    desk.key(sheet, "<space>")
    desk.until(lambda: window.phase == "recording")
    desk.stand.feed(RecordingLevel(level_dbfs=-18, peak_dbfs=-9, elapsed_s=1.2))
    assert window.meter.level_db == -18
    desk.key(sheet, "<space>")
    desk.until(lambda: window.phase == "review")
    window.draw()
    assert "Clear and loud enough." in words_on(sheet)
    desk.key(sheet, "p")
    desk.until(lambda: desk.asked("POST /api/voice/record/play"))
    assert window.hearing.text == "Stop"
    desk.key(sheet, "r")
    desk.until(lambda: window.phase == "read")
    assert window.number == 0, "the same sentence again"
    for _ in range(2):
        desk.key(sheet, "<space>")
        desk.until(lambda: not window.is_busy)
    desk.key(sheet, "<Return>")
    desk.until(lambda: window.kept == 1)
    assert window.number == 1
    assert desk.asked("POST /api/voice/record/start")[0] == {
        "speaker": "mika",
        "prompt_id": "en-us-3",
    }
    desk.key(sheet, "<Escape>")
    assert not window.winfo_exists()


def test_no_microphone_is_said_in_plain_words(recorder: tuple[Desk, RecordWindow]) -> None:
    desk, window = recorder
    words = "No microphone was found. Plug one in, or choose another one above."
    desk.world.refuse["POST /api/voice/record/start"] = (503, words)
    desk.key(window.sheet, "<Return>", "<space>")
    desk.until(lambda: window.problem)
    assert words in words_on(window.sheet)
    assert window.phase == "read"


# --- the whole page -----------------------------------------------------------------------------------------------


def test_a_noisy_room_is_told_with_what_helps(recorder: tuple[Desk, RecordWindow]) -> None:
    desk, window = recorder
    advice = "The room hums. Switch the fan off, or come closer to the microphone."
    desk.world.noise = {"noise_dbfs": -31.2, "ok": False, "advice": advice}
    desk.key(window.sheet, "<space>")
    desk.until(lambda: window.problem == advice)
    assert window.room == "\u221231 dB"
    assert advice in words_on(window.sheet)


@pytest.mark.parametrize(
    ("size", "scale"),
    [((828, 522), 1.0), ((1208, 722), 1.0), ((640, 420), 1.0), ((1208, 722), 2.0)],
)
def test_nothing_lies_outside_the_page_at_any_size(
    make: Callable[..., Desk], size: tuple[int, int], scale: float
) -> None:
    world = World()
    world.jobs = [world.made_training()]
    desk = make(world, size=size, scale=scale)
    page = desk.page
    for focus in ("clips", "doctor", "train", "listen", "use"):
        page.cockpit.look_at(focus)
        desk.stand.settle()
        shown = [card for card in page.cards.values() if card.winfo_ismapped()]
        assert shown
        for card in shown:
            assert card.winfo_x() >= 0
            assert card.winfo_x() + card.winfo_width() <= page.winfo_width()
            assert card.winfo_height() > 100
        if page.winfo_width() / scale < 900:
            assert len(shown) <= 2, "one step at a time"


def test_what_cannot_be_loaded_says_why_and_can_be_tried_again(make: Callable[..., Desk]) -> None:
    world = World()
    world.refuse["GET /api/voice/clips"] = (503, "The database is being repaired.")
    desk = make(world)
    desk.until(lambda: desk.clips.problem)
    desk.page.table.repaint()
    assert "The database is being repaired." in words_on(desk.page.table)
    world.refuse.clear()
    desk.page.table.invoke("retry")
    desk.until(lambda: desk.clips.total == 24)


def test_training_comes_into_sight_and_old_refusals_make_way(make: Callable[..., Desk]) -> None:
    world = World()
    world.uploads += [
        Upload(id=f"r{n}", filename=f"wrong {n}.wav", speaker="mika", problem="It is empty.", created_at=AT)
        for n in range(6)
    ]  # fmt: skip
    desk = make(world, size=(1208, 560))
    page = desk.page
    desk.until(page.imports.winfo_ismapped)
    page.act("train")
    desk.stand.settle()
    assert not page.imports.winfo_ismapped()
    card, view = page.training, page.scroll
    assert card.winfo_rooty() + card.winfo_height() <= view.winfo_rooty() + view.winfo_height()
    page.cockpit.look_at("clips")
    desk.until(page.imports.winfo_ismapped)


def test_lists_of_transcripts_are_not_counted_as_files_to_be_cut(make: Callable[..., Desk]) -> None:
    world = World(0)
    world.uploads = [
        Upload(id="u1", filename="a.wav", speaker="mika", created_at=AT),
        Upload(id="u2", filename="metadata.csv", speaker="mika", kind="transcripts", created_at=AT),
    ]
    desk = make(world)
    desk.until(lambda: len(desk.page.imports.waiting) == 2)
    words = " ".join(words_on(desk.page.imports))
    assert "1 file ready to be cut" in words
    assert "1 list of transcripts" in words


def test_the_page_that_was_looked_at_is_remembered(make: Callable[..., Desk]) -> None:
    desk = make()
    tab = desk.stand.tab
    tab.switch["voices"].invoke()
    desk.stand.settle()
    assert tab.pages["voices"].winfo_ismapped()
    assert not desk.page.winfo_ismapped()
    assert desk.stand.state["voice.page"] == "voices"
    assert not desk.page.bar.winfo_ismapped()
    _ = tab.train
    desk.stand.settle()
    assert desk.page.bar.winfo_ismapped()


def words_on_after(desk: Desk, canvas: Any) -> list[str]:
    """Its words once it was drawn."""
    desk.stand.settle()
    canvas.repaint()
    return words_on(canvas)
