"""Captions on a real page: word by word with the sound, in every script, and never anything but text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count

import pytest

from backend.contracts.entities import STAGE
from backend.contracts.events import ChatSentence
from tests.browser.conftest import Tab
from tests.browser.stagecraft import bursts, hush, mouth_of_bursts, perform, tell
from tests.integration.conftest import Served, serve

_turns = count(0xB0000000)
SCRIPTED = (
    '<img src=x onerror="globalThis.broken=1"> <script>globalThis.broken=1</script>'
    " <svg onload=globalThis.broken=1> &lt;b&gt; \"'`${globalThis.broken=1}`"
)


def new_turn() -> str:
    return f"{next(_turns):032x}"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    yield from serve(tmp_path_factory.mktemp("luma"), audio_sink="overlay")


def say(served: Served, text: str, *, bursts_: int = 4) -> None:
    perform(served, (text, bursts(bursts_), mouth_of_bursts(bursts_)), turn=new_turn())


def shown(tab: Tab) -> str:
    text: str = tab.page.locator(".caption-text").text_content() or ""
    return text


def heard(tab: Tab) -> int:
    return tab.page.locator(".word.heard").count()


@pytest.mark.parametrize("path", ["/captions", "/overlay?captions=1&sound=0"])
def test_words_light_up_one_after_the_other_as_they_are_said(
    tab: Tab, served: Served, path: str
) -> None:
    tab.open(path + ("&" if "?" in path else "?") + "fade=600")
    tab.connected()
    text = "One two three four five six seven eight."
    say(served, text)
    tab.until("() => document.querySelectorAll('.word').length === 8")
    assert shown(tab) == text
    counts = []
    for _ in range(60):
        counts.append(heard(tab))
        if counts[-1] == 8:
            break
        tab.page.wait_for_timeout(40)
    assert counts == sorted(counts)
    assert len({*counts} & {2, 3, 4, 5, 6, 7}) >= 3, counts
    assert counts[-1] == 8
    tab.page.locator(".captions[data-shown='0']").wait_for(state="attached")


def test_bright_and_dim_words_look_different(tab: Tab, served: Served) -> None:
    page = tab.open("/captions?colour=ffe066&dim=445566&outline=0")
    tab.connected()
    say(served, "Bright words and dim words are not the same at all.")
    page.locator(".word.heard").first.wait_for()
    page.wait_for_timeout(300)
    style = "(e) => getComputedStyle(e).color"
    assert page.locator(".word.heard").first.evaluate(style) == "rgb(255, 224, 102)"
    assert page.locator(".word:not(.heard)").last.evaluate(style) == "rgb(68, 85, 102)"
    hush(served)


@pytest.mark.parametrize("path", ["/captions", "/overlay?captions=1&sound=0"])
def test_markup_in_a_text_is_text(tab: Tab, served: Served, path: str) -> None:
    page = tab.open(path)
    tab.connected()
    say(served, SCRIPTED)
    tab.until("() => document.querySelectorAll('.word').length > 3")
    page.wait_for_timeout(200)
    assert shown(tab) == SCRIPTED
    assert page.evaluate("globalThis.broken") is None
    assert page.locator(".captions img, .captions script, .captions svg, .captions b").count() == 0
    hush(served)


def test_what_was_not_heard_is_not_left_standing(tab: Tab, served: Served) -> None:
    tab.open("/captions?fade=0")
    tab.connected()
    say(served, "This will be cut off long before its end comes.", bursts_=12)
    tab.until("() => document.querySelectorAll('.word.heard').length >= 2")
    hush(served)
    tab.until("() => document.querySelectorAll('.word:not(.heard)').length === 0")
    assert shown(tab).startswith("This will")
    assert not shown(tab).endswith("comes.")


@pytest.mark.parametrize(
    ("text", "direction"),
    [
        ("مرحبا بكم في البث المباشر", "rtl"),
        ("שלום לכולם, מה שלומכם?", "rtl"),
        ("こんにちは、みんな元気ですか。", "ltr"),
        ("今天天气很好，我们一起玩吧！", "ltr"),
        ("สวัสดีครับทุกคน", "ltr"),
    ],
)
def test_every_script_runs_its_own_way(tab: Tab, served: Served, text: str, direction: str) -> None:
    page = tab.open("/captions?fade=0")
    tab.connected()
    say(served, text)
    tab.until("(text) => document.querySelector('.caption-text').textContent === text", text)
    tab.until("() => !document.querySelector('.word:not(.heard)')")
    found = page.locator(".caption-text").evaluate("(e) => getComputedStyle(e).direction")
    assert found == direction
    boxes = [
        box["x"]
        for n in (0, -1)
        if (box := page.locator(".word").nth(n).bounding_box()) is not None
    ]
    assert (boxes[0] > boxes[1]) == (direction == "rtl"), "the first word is where reading begins"


def test_an_emoji_of_several_characters_stays_whole(tab: Tab, served: Served) -> None:
    page = tab.open("/captions?fade=0")
    tab.connected()
    family = "👩‍👩‍👧‍👦"
    say(served, f"すき{family}é")
    tab.until("() => !!document.querySelector('.word')")
    words = page.locator(".word").all_text_contents()
    assert family in words
    assert "".join(words) == f"すき{family}é"
    hush(served)


def test_a_long_sentence_keeps_to_its_lines_and_the_word_being_said_in_view(
    tab: Tab, served: Served
) -> None:
    page = tab.open("/captions?size=40&lines=2&fade=0")
    tab.connected()
    say(served, " ".join(f"word{n}" for n in range(60)), bursts_=5)
    tab.until("() => document.querySelectorAll('.word.heard').length === 60")
    page.wait_for_timeout(400)
    box = page.locator(".caption-box").bounding_box()
    last = page.locator(".word.heard").last.bounding_box()
    assert box is not None
    assert last is not None
    assert box["height"] <= 40 * (1.5 * 2 + 0.25 + 0.2) + 1
    assert box["y"] - 2 <= last["y"]
    assert last["y"] + last["height"] <= box["y"] + box["height"] + 2
    assert box["width"] <= 800
    hush(served)


def test_the_address_sets_the_looks_and_nonsense_is_told_in_the_log_only(
    tab: Tab, served: Served
) -> None:
    page = tab.open(
        "/captions?size=64&position=top&align=left&uppercase=1&font=Comic%20Neue&weight=400&lines=3"
        "&background=rgba(0,0,0,0.5)&outline=99&colour=url(http://example.invalid/x)&fade=abc&width=%3Cb%3E"
    )
    tab.connected()
    say(served, "Hello")
    tab.until("() => !!document.querySelector('.word')")
    style = page.locator(".caption-text").evaluate(
        "(e) => { const s = getComputedStyle(e); return [s.fontSize, s.textTransform, s.fontFamily, s.fontWeight]; }"
    )
    assert style[:2] == ["64px", "uppercase"]
    assert style[2].startswith('"Comic Neue"')
    assert style[3] == "400"
    box = page.locator(".caption-box").bounding_box()
    assert box is not None
    assert box["y"] < 200
    assert box["x"] < 50
    refused = [line for line in tab.lines if "cannot be used" in line]
    assert [line.split("captions: ")[1].split("=")[0] for line in refused] == [
        "colour",
        "outline",
        "width",
        "fade",
    ]
    assert page.evaluate("document.body.innerText.trim()") == "HELLO"
    hush(served)


def test_a_sentence_without_a_voice_is_read_instead(
    new_tab: Callable[..., Tab], served: Served
) -> None:
    tab = new_tab()
    tab.open("/captions?fade=0")
    tab.connected()
    tell(
        served,
        ChatSentence(text="Nobody says this.", n=1, conversation_id=STAGE, turn_id=new_turn()),
    )
    tab.until("() => document.querySelector('.caption-text').textContent === 'Nobody says this.'")
    assert tab.page.locator(".word:not(.heard)").count() == 0
