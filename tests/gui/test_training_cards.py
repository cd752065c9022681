"""Training, checkpoints and the finished voice on the Train page, in a real window over a real server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from backend.contracts.events import ModelSaved, TrainingProgress
from backend.contracts.training import CheckpointScores, LossPoint, Speaker, VoiceCard
from frontend.tabs.voice import VoiceTab
from frontend.widgets.popup import Picker
from frontend.widgets.training.checkpoint_card import Blind, shuffled
from frontend.widgets.training.curve import Looks, in_words, picture, scales, ticks
from frontend.widgets.training.train_card import figures, time_in_words
from frontend.widgets.training.train_form import material_in_words, proposed_name, slug
from tests.gui.stand import words_on
from tests.gui.training_world import AT, WireStand, World

pytestmark = pytest.mark.gui


@pytest.fixture
def world() -> World:
    made = World(6)
    made.jobs = [made.made_training(losses={"train": 0.31, "validation": 0.318})]
    made.checkpoints = [
        made.made_checkpoint(step, is_best=step == 4800) for step in (0, 4800, 6000)
    ]
    answers = made.routes

    def routes() -> list[tuple[str, Callable[..., Any]]]:
        return [
            *answers(),
            (r"POST /api/voice/samples/job-12/(\d+)\.wav/play", played),
            (
                r"GET /api/voice/bases",
                lambda q, b: [
                    {"path": "base/lessac.ckpt", "title": "Lessac", "size_bytes": 846_000_000}
                ],
            ),
            (r"GET /api/voice/bases/digest", lambda q, b: {"sha256": "ab" * 32}),
            (r"POST /api/voice/train", lambda q, b: {"job_id": "job-13"}),
            (
                r"POST /api/voice/checkpoints/(.+)/(export|restore)",
                lambda q, b, i, w: {"job_id": "j"},
            ),
            (r"DELETE /api/voice/checkpoints/(.+)", lambda q, b, i: {}),
            (r"GET /api/voice/cards/mika-v1", lambda q, b: card()),
            (r"PATCH /api/characters/hoshi", lambda q, b: made.character),
        ]

    def played(query: Any, body: Any, step: str) -> Any:
        return {"url": f"/api/voice/samples/job-12/{step}.wav", "duration_s": 2.0}

    made.routes = routes  # type: ignore[method-assign]  # the world of these tests knows more routes
    return made


@pytest.fixture
def stand(world: World) -> Iterator[WireStand]:
    made = WireStand(world)
    made.hold(lambda master, app: VoiceTab(master, app))
    yield made
    made.close()


def page(stand: WireStand) -> Any:
    found = stand.tab.train
    stand.settle(
        lambda: (
            bool(found.cockpit.jobs)
            and bool(found.cockpit.checkpoints or not stand.world.checkpoints)
        )
    )
    return found


def become(stand: WireStand, state: str, **changes: Any) -> Any:
    """The page, with the training in another state."""
    stand.world.jobs = [stand.world.made_training(state, **changes)]
    found = page(stand)
    found.cockpit.load_jobs()
    stand.settle(lambda: found.cockpit.training.state == state)
    return found


def texts(canvas: Any) -> list[str]:
    """The words drawn on a panel."""
    canvas.repaint()
    return [
        canvas.itemcget(item, "text") for item in canvas.find_all() if canvas.type(item) == "text"
    ]


def card() -> VoiceCard:
    return VoiceCard(
        name="mika-v1", speaker="Mika", consent="I am Mika and I agree.", language="en-us", rate_hz=22050, trainer="quick",
        job_id="job-12", clips=86, minutes=8.1, data_sha256="ab" * 32, steps=6000,
        scores=CheckpointScores(clear_words=0.71, mcd_db=3.08, similarity=0.947), made_at=AT,
    )  # fmt: skip


def test_a_running_training_shows_its_figures_and_goes_on(stand: WireStand) -> None:
    train = page(stand).training
    stand.settle(lambda: train.winfo_ismapped())
    assert {"6,400", "2:40", "24.1", "0.318", "1.1 GB"} <= set(texts(train))
    stand.feed(
        TrainingProgress(job_id="job-12", kind="train", state="train", step=6500, steps=10_000, progress=0.65, eta_s=59.0,
                         losses={"train": 0.3, "validation": 0.3}, steps_per_s=25.0, verdict="flat for 400 steps: you can stop")
    )  # fmt: skip
    assert {"6,500", "59 s", "flat for 400 steps: you can stop"} <= set(texts(train))
    assert train.curve.points()[-1].step == 6500


def test_pause_and_stop_are_asked_of_the_job(stand: WireStand) -> None:
    train = page(stand).training
    stand.settle(lambda: train.winfo_ismapped())
    train.repaint()
    train.invoke("pause")
    stand.settle(lambda: page(stand).cockpit.training.state == "paused")
    train.repaint()
    assert "resume" in train.zone_keys()
    train.invoke("stop")
    stand.settle(lambda: page(stand).cockpit.training.state == "cancelled")


@pytest.mark.parametrize(
    ("state", "button", "can_resume"),
    [("paused", "resume", False), ("interrupted", "resume", True)],
)
def test_a_long_name_ends_before_the_buttons(
    stand: WireStand, state: str, button: str, can_resume: bool
) -> None:
    one = become(stand, state, name="a-voice-with-a-long-name-" * 8, can_resume=can_resume)
    train = one.training
    train.repaint()
    (name,) = [
        item
        for item in train.find_all()
        if train.type(item) == "text" and train.itemcget(item, "text").startswith("a-voice")
    ]
    zone = train._zones[button]
    assert train.bbox(name)[2] <= train.theme.px(zone.x)


def test_a_failure_says_why_and_offers_to_resume(stand: WireStand, world: World) -> None:
    one = become(
        stand, "failed", message="The disk is full: make room, then Resume.", can_resume=True
    )
    assert "The disk is full: make room, then Resume." in texts(one.training)
    assert "resume" in one.training.zone_keys()
    assert not any("improving" in words for words in texts(one.training))


def test_the_form_asks_for_what_was_chosen(stand: WireStand, world: World) -> None:
    one = become(stand, "done", result={"voice": "mika-v1"})
    one.act("train")
    stand.settle(lambda: one.training.form.winfo_ismapped() and one.cockpit.character is not None)
    form = one.training.form
    assert form.voice_name.text == "mika-v2"
    form.length.set("90")
    form.start()
    stand.settle(lambda: bool(stand.bodies("POST /api/voice/train")))
    assert stand.bodies("POST /api/voice/train")[0] == {
        "name": "mika-v2", "speaker": "mika", "trainer": "quick", "budget": {"seconds": 90.0}, "rate_hz": 22050,
        "character_id": "hoshi",
    }  # fmt: skip


def test_full_training_starts_from_a_base_that_is_here(stand: WireStand) -> None:
    one = become(stand, "cancelled")
    one.act("train")
    form = one.training.form
    stand.settle(lambda: form.winfo_ismapped())
    form.trainer.set("vits")
    form._trainer_chosen("vits")
    stand.settle(lambda: form.base.value == "base/lessac.ckpt")
    form.start()
    stand.settle(lambda: bool(stand.bodies("POST /api/voice/train")))
    body = stand.bodies("POST /api/voice/train")[0]
    assert (body["trainer"], body["base"], body["budget"]) == (
        "vits",
        "base/lessac.ckpt",
        {"seconds": 14_400.0},
    )


def test_a_base_of_the_old_kind_is_trusted_file_by_file(stand: WireStand) -> None:
    one = become(
        stand,
        "failed",
        code="base.confirm",
        message="lessac.ckpt calls for more than weights.",
        trainer="vits",
    )
    one.training.form.base.set("base/lessac.ckpt")
    one.training.form.trainer.set("vits")
    stand.settle(lambda: one.training.winfo_ismapped())
    one.training.repaint()
    one.training.invoke("trust")
    stand.settle(lambda: bool(stand.bodies("POST /api/voice/train")))
    assert stand.bodies("POST /api/voice/train")[0]["allow_unsafe_base"] == "ab" * 32


def test_a_refused_training_keeps_the_form_and_says_why(stand: WireStand, world: World) -> None:
    world.refuse["POST /api/voice/train"] = (
        422,
        "There is too little sound: 8 s, 20 s are needed.",
    )
    one = page(stand)
    one.act("train")
    form = one.training.form
    stand.settle(lambda: form.winfo_ismapped())
    form.start()
    stand.settle(lambda: bool(form.trouble))
    assert "There is too little sound: 8 s, 20 s are needed." in texts(form)
    assert form.go.enabled


def test_the_best_checkpoint_is_heard_first(stand: WireStand) -> None:
    one = page(stand)
    one.act("listen")
    stand.settle(lambda: bool(stand.bodies("POST /api/voice/samples/job-12/4800.wav/play")))
    assert one.cockpit.listened
    assert {"66 %", "3.70"} <= set(texts(one.checkpoints.rows))


def test_the_menu_of_a_checkpoint_opens_at_its_row(stand: WireStand) -> None:
    one = page(stand)
    one.act("listen")
    rows = one.checkpoints.rows
    stand.settle(lambda: rows.winfo_ismapped())
    rows.repaint()
    chosen = next(c for c in one.cockpit.checkpoints[1:] if c.step)
    place = rows.place_of(f"more:{chosen.id}")
    assert place is not None
    one.checkpoints.menu(chosen)
    stand.settle()
    (menu,) = [child for child in stand.root.winfo_children() if isinstance(child, Picker)]
    beside = rows.winfo_rooty() + place[1]
    assert beside - menu.winfo_height() - 4 <= menu.winfo_rooty() <= beside + place[2] + 4
    assert menu.winfo_rootx() > rows.winfo_rootx() + 40
    menu.close()


def test_who_trains_on_from_a_checkpoint_looks_at_the_new_training(stand: WireStand) -> None:
    one = page(stand)
    chosen = next(c for c in one.cockpit.checkpoints if c.step)
    one.cockpit.show_job("job-12")
    one.checkpoints.act(chosen, "export")
    stand.settle(lambda: any("made into a voice" in words for words, _ in stand.notices))
    assert one.cockpit.shown_job == "job-12"
    one.checkpoints.act(chosen, "restore")
    stand.settle(lambda: one.cockpit.shown_job == "j")


def test_a_blind_comparison_tells_names_only_after_the_choice(stand: WireStand) -> None:
    card = page(stand).checkpoints
    card.compare()
    card.hear("first")
    card.prefer("first")
    assert card.blind.choice == ""
    card.hear("second")
    assert not any("preferred" in words for words in texts(card))
    card.prefer("second")
    assert any(words.startswith("You preferred step") for words in texts(card))


def test_the_order_of_a_comparison_is_thrown(world: World) -> None:
    pair = (world.made_checkpoint(0), world.made_checkpoint(100))
    assert shuffled(pair, lambda: 0.1).pair == pair
    assert shuffled(pair, lambda: 0.9).pair == (pair[1], pair[0])
    blind = Blind(pair, {"first", "second"}, "first")
    assert blind.verdict() == "You preferred before training to step 100."


def test_a_finished_voice_shows_its_card_and_is_given(stand: WireStand, world: World) -> None:
    one = become(stand, "done", result={"voice": "mika-v1"})
    one.cockpit.look_at("use")
    stand.settle(lambda: one.voice.card is not None and one.cockpit.character is not None)
    words = set(texts(one.voice))
    assert {"I am Mika and I agree.", "8.1 min in 86 clips"} <= words
    one.give_and_talk()
    stand.settle(lambda: stand.shown == ["chat"])
    assert stand.bodies("PATCH /api/characters/hoshi") == [
        {"voice": {"engine": "piper", "name": "mika-v1"}}
    ]


def test_names_are_proposed_and_made_safe() -> None:
    assert slug("Mïka  von Köln!/../x") == "mika-von-koln-x"
    assert proposed_name("Mika", ["mika-v1", "mika-v2"]) == "mika-v3"
    assert proposed_name("日本", []) == "voice-v1"
    assert proposed_name("Mika", ["MIKA-V1"]) == "mika-v2"


def test_the_proposed_name_is_no_voice_that_is_there(stand: WireStand, world: World) -> None:
    world.voices = ["mika-v2", "Mika-V3"]
    one = become(stand, "done", result={"voice": "mika-v1"})
    one.on_event(ModelSaved(model_id="m", name="mika-v3", path="mika-v3.onnx"))
    one.act("train")
    stand.settle(lambda: one.training.form.voice_name.text == "mika-v4")


def test_a_bar_without_a_share_moves(stand: WireStand, world: World) -> None:
    one = become(stand, "preflight", progress=None, step=0)
    train = one.training
    stand.settle(lambda: bool(train._moving))
    item = train._moving[0][0]
    before = train.coords(item)
    stand.settle(lambda: not train._moving or train.coords(train._moving[0][0]) != before)
    stand.feed(TrainingProgress(job_id="job-12", kind="train", state="train", progress=0.4, step=1))
    stand.settle(lambda: not train._moving)


def test_the_button_of_a_full_training_is_in_sight_in_a_usual_window(
    stand: WireStand, world: World
) -> None:
    one = become(stand, "done", result={"voice": "mika-v1"})
    one.act("train")
    form = one.training.form
    stand.settle(lambda: form.winfo_ismapped() and one.cockpit.character is not None)
    form.trainer.set("vits")
    form._trainer_chosen("vits")
    stand.settle(lambda: form.base.winfo_ismapped() and len(form.base.choices) > 1)
    form.base.set("none")
    form.repaint()
    stand.settle()
    assert form.go.winfo_y() + form.go.winfo_height() <= form.winfo_height()


def test_the_axes_of_a_short_curve_repeat_no_label() -> None:
    assert ticks(0, 1, 6, least=1) == [0, 1]
    assert in_words([12.25, 12.3, 12.35]) == ["12.25", "12.3", "12.35"]
    assert in_words([0.3, 0.4]) == ["0.3", "0.4"]


def test_material_is_told_in_words() -> None:
    few = Speaker(id="m", name="M", accepted=3, minutes={"A": 0.2})
    assert material_in_words(few)[1] == "warn"
    assert (
        material_in_words(few.model_copy(update={"minutes": {"A": 8.1}}))[0]
        == "8.1 minutes in 3 accepted clips."
    )


def test_figures_leave_out_what_is_not_known(world: World) -> None:
    bare = world.made_training(eta_s=None, steps=None, steps_per_s=None, loss=None, memory_mb=None)
    assert figures(bare) == [("6,400", "steps"), ("4:26", "taken")]
    assert [time_in_words(s) for s in (9.4, 160, 11_100)] == ["9 s", "2:40", "3:05:00"]


def test_the_curve_is_drawn_where_the_points_are() -> None:
    points = [LossPoint(step=n * 10, train=1.0 - n * 0.01, validation=None) for n in range(50)]
    axes = scales(points, 1000)
    assert axes is not None
    assert axes.last_step == 1000
    image = picture(points, axes, Looks(200, 100, "#000000", "#FFFFFF", "#00FF00"))
    assert image.getpixel((150, 99)) == (0, 0, 0)  # nothing was trained there yet
    assert image.getpixel((80, 99)) != (0, 0, 0)
    assert scales([], 10) is None
    assert ticks(0.29, 0.92, 4) == pytest.approx([0.4, 0.6, 0.8])


def test_a_count_of_clips_says_what_is_done_with_them(world: World, stand: WireStand) -> None:
    world.jobs = [world.made_training("align", message="clip 8 of 12", progress=0.67, step=0)]
    card = stand.tab.train.training
    stand.tab.train.cockpit.load_jobs()
    stand.settle(
        lambda: any(
            words == "Finding the sounds in the clips: clip 8 of 12" for words in words_on(card)
        )
    )


def test_minutes_that_do_for_a_clone_are_too_little_from_scratch() -> None:
    speaker = Speaker(id="mika", name="Mika", accepted=80, minutes={"A": 8.0})
    assert material_in_words(speaker)[1] == "text2"
    words, tone = material_in_words(speaker, from_scratch=True)
    assert tone == "warn"
    assert "Quick clone" in words
    plenty = speaker.model_copy(update={"minutes": {"A": 90.0}})
    assert material_in_words(plenty, from_scratch=True)[1] == "text2"


def test_a_voice_made_of_a_checkpoint_leaves_its_training_in_sight(stand: WireStand) -> None:
    training, world = stand.world.jobs[0], stand.world
    made = world.made_training("export", id="job-13", name="mika-v1-10", export_of=training.id)
    world.jobs = [made, training]
    found = page(stand)
    found.cockpit.load_jobs()
    stand.settle(lambda: len(found.cockpit.jobs) == 2)
    assert found.cockpit.training.id == training.id
