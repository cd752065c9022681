"""Guards on scripted outputs of recognisers: what was made up goes, what a streamer really says is heard."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest

from backend.contracts.entities import Transcript
from backend.contracts.listening import DropReason
from backend.core import made_up
from backend.listening.guards import check
from voice_trainer.text import prompts


@dataclass(frozen=True)
class Case:
    """One output and the sound it came from. Scores as Whisper base gives them; None = the engine gives none."""

    text: str
    speech_s: float
    no_speech: float | None = 0.02
    log_probability: float | None = -0.2
    compression: float | None = 1.0
    level_dbfs: float = -28.0
    engine: str = "faster_whisper"
    withheld: str = ""
    duration_s: float = 0.0

    def check(self) -> tuple[DropReason, str] | None:
        transcript = Transcript(
            self.text,
            engine=self.engine,
            no_speech=self.no_speech,
            log_probability=self.log_probability,
            compression=self.compression,
            withheld=self.withheld,
        )
        return check(
            transcript,
            duration_s=self.duration_s or self.speech_s + 0.9,
            speech_s=self.speech_s,
            level_dbfs=self.level_dbfs,
        )


def scoreless(
    text: str, speech_s: float, engine: str = "openai_compatible", level_dbfs: float = -28.0
) -> Case:
    """What a server that answers with plain text read, or pocketsphinx."""
    return Case(text, speech_s, None, None, None, level_dbfs, engine)


MADE_UP: list[tuple[DropReason, Case]] = [
    # stock phrases over breath, fans, keyboards and far voices
    ("phantom", Case("Thank you for watching!", 0.4, 0.71, -0.55)),
    ("phantom", Case("Thanks for watching!", 1.1, 0.45, -0.62)),
    ("phantom", Case("Thanks for watching!", 0.3, 0.08, -0.3)),
    ("phantom", Case("Thank you.", 0.5, 0.62, -0.41)),
    ("phantom", Case("Thank you.", 0.4, 0.3, -0.9)),
    ("phantom", Case("Thank you. Thank you.", 0.4, 0.55, -0.3, 1.3)),
    ("phantom", Case("you", 0.3, 0.78, -0.66)),
    ("phantom", Case("you", 6.0, 0.1, -0.3)),
    ("phantom", Case("Bye.", 0.3, 0.3, -0.6)),
    ("phantom", Case("Bye-bye.", 0.5, 0.05, -0.25, level_dbfs=-54)),
    ("phantom", Case("So,", 0.3, 0.51, -0.5)),
    ("phantom", Case("Please subscribe to my channel.", 0.6, 0.34, -0.5)),
    ("phantom", Case("I'll see you in the next video.", 0.5, 0.2, -0.4)),
    ("phantom", Case("ご視聴ありがとうございました", 0.6, 0.4, -0.45)),
    ("phantom", Case("ご視聴ありがとうございました。", 0.5, 0.05, -0.3)),
    ("phantom", Case("最後までご視聴いただきありがとうございます。", 1.2, 0.66, -0.5)),
    ("phantom", Case("おやすみなさい", 0.5, 0.6, -0.7)),
    ("phantom", Case("시청해주셔서 감사합니다.", 0.5, 0.5, -0.74)),
    ("phantom", Case("谢谢观看", 0.4, 0.58, -0.6)),
    ("phantom", Case("Vielen Dank fürs Zuschauen!", 0.7, 0.4, -0.5)),
    ("phantom", Case("Merci d'avoir regardé cette vidéo !", 0.7, 0.4, -0.6)),
    ("phantom", Case("¡Gracias por ver el video!", 0.6, 0.53, -0.4)),
    ("phantom", Case("Спасибо за просмотр!", 0.5, 0.4, -0.8)),
    ("phantom", Case("Продолжение следует...", 0.8, 0.6, -0.5)),
    ("phantom", Case("İzlediğiniz için teşekkür ederim.", 0.7, 0.5, -0.72)),
    ("phantom", Case("Obrigado por assistir!", 0.6, 0.3, -0.5)),
    (
        "phantom",
        scoreless("Thanks for watching!", 0.5, level_dbfs=-52),
    ),
    # subtitle credits
    ("phantom", Case("Untertitel der Amara.org-Community", 0.9, 0.2, -0.4)),
    ("phantom", Case("Untertitelung des ZDF, 2020", 0.8, 0.1, -0.3)),
    ("phantom", Case("Untertitel im Auftrag des ZDF für funk, 2017", 1.0, 0.1, -0.3)),
    ("phantom", Case("Sous-titres réalisés para la communauté d'Amara.org", 1.5, 0.4, -0.2)),
    ("phantom", Case("Subtítulos realizados por la comunidad de Amara.org", 2.0, 0.3, -0.3)),
    (
        "phantom",
        scoreless("Subtitles by the Amara.org community", 1.0),
    ),
    ("phantom", Case("Transcription by CastingWords", 0.7, 0.5, -0.4)),
    ("phantom", Case("Sottotitoli creati dalla comunità Amara.org", 0.8, 0.3, -0.3)),
    ("phantom", Case("Редактор субтитров Семкин", 1.0, 0.4, -0.3)),
    ("phantom", Case("Субтитры сделал DimaTorzok", 0.8, 0.2, -0.2)),
    ("phantom", Case("字幕by索兰娅", 0.8, 0.3, -0.4)),
    ("phantom", Case("请不吝点赞 订阅 转发 打赏支持明镜与点点栏目", 2.0, 0.3, -0.2)),
    ("phantom", Case("Napisy stworzone przez społeczność Amara.org", 1.0, 0.5, -0.3)),
    ("phantom", Case("Altyazı M.K.", 0.6, 0.4, -0.5)),  # noqa: RUF001 - a Turkish letter
    # faster than anybody speaks
    (
        "phantom",
        Case("This is the story of a man who went to the sea and never came back again.", 0.6),
    ),
    ("phantom", Case("それでは今日の動画を始めていきたいと思いますのでよろしくお願いします", 0.8)),
    # loops
    ("repetition", Case("the the the the the the the the the the the the", 3.0, 0.1, -0.5, 4.0)),
    ("repetition", Case("I'm going to go. " * 8, 6.0, 0.1, -0.2, 6.1)),
    ("repetition", Case("Please increase that limit. " * 3, 2.0, 0.1, -0.7, 2.5)),
    ("repetition", Case("ありがとう" * 12, 3.0, 0.1, -0.2, 5.0)),
    ("repetition", Case("hahahahaha " * 20, 3.0, 0.1, -0.3, 9.0)),
    ("repetition", scoreless("We are here. " * 6, 4.0)),
    # nobody spoke, or no words
    ("no_words", Case("", 0.8)),
    ("no_words", Case("...", 0.8)),
    ("no_words", Case("[Music]", 2.0, 0.3, -0.3)),
    ("no_words", Case("(laughs)", 1.0)),
    ("no_words", Case("♪♪", 4.0)),
    ("no_words", Case("[BLANK_AUDIO]", 1.0)),
    ("no_words", Case("Open the door.", 1.0, level_dbfs=-71)),
    ("no_words", Case("Hello.", 0.03)),
    ("no_words", Case("Hmm.", 0.5)),
    ("no_words", Case("Uh, um.", 0.9)),
    ("no_words", Case("えーと", 0.6)),
    ("no_words", scoreless("the", 0.2, "sphinx")),
    ("no_words", scoreless("oh", 0.2, "sphinx")),
    # withheld by the engine itself
    ("phantom", Case("", 0.5, 0.8, -0.8, withheld="Thanks for watching!")),
    ("repetition", Case("", 3.0, 0.1, -0.3, 5.0, withheld="no way " * 12)),
    ("no_words", Case("", 0.5, 0.8, -1.4, withheld="Zebra contraption")),
]

SAID: list[Case] = [
    # the same phrases from a person: long enough, loud enough, and the recogniser is sure
    Case("Thank you.", 0.45, 0.04, -0.25),
    Case("Thank you!", 0.6, 0.12, -0.3),
    Case("Thank you so much!", 0.9, 0.02, -0.22),
    Case("Thanks for watching!", 1.0, 0.03, -0.2),
    Case("Thank you for watching, everyone!", 1.4, 0.05, -0.3),
    Case("Thanks for watching, and see you tomorrow at eight!", 2.4, 0.25, -0.4),
    Case("Bye!", 0.35, 0.1, -0.4),
    Case("Bye-bye.", 0.7, 0.02, -0.3),
    Case("Okay.", 0.4, 0.15, -0.45),
    Case("You?", 0.3, 0.05, -0.3),
    Case("See you next time!", 1.0, 0.03, -0.2),
    Case("Please subscribe to my channel!", 1.5, 0.02, -0.2),
    Case("Good night.", 0.6, 0.05, -0.3),
    Case("ありがとうございました", 1.2, 0.02, -0.2),
    Case("ご視聴ありがとうございました", 1.7, 0.03, -0.15),
    Case("谢谢", 0.5, 0.05, -0.3),
    Case("감사합니다", 0.8, 0.05, -0.3),
    Case("Danke!", 0.4, 0.05, -0.3),
    Case("Merci à tous !", 0.8, 0.04, -0.3),
    Case("Спасибо!", 0.6, 0.04, -0.3),
    scoreless("Thank you.", 0.5),
    Case("Thank you for the raid, that was so kind of you.", 2.2, 0.02, -0.2),
    Case("Can you put subtitles on the stream?", 1.8),
    Case("Who wrote the subtitles by the way?", 1.7),
    Case("Mach bitte die Untertitel an.", 1.6),
    # short answers
    Case("Yes.", 0.3, 0.1, -0.5),
    Case("No.", 0.25, 0.2, -0.5),
    Case("Hi!", 0.25, 0.1, -0.45),
    Case("Stop!", 0.3, 0.05, -0.3),
    Case("Huh?", 0.3, 0.1, -0.5),
    Case("Oh no!", 0.5),
    Case("はい", 0.3),
    Case("Ja.", 0.25),
    scoreless("door", 0.4, "sphinx"),
    scoreless("the door", 0.5, "sphinx"),
    # people repeat themselves
    Case("No no no no!", 1.0),
    Case("no, no, no, no, no, no, no", 1.8, 0.02, -0.2, 2.2),
    Case("Let's go, let's go, let's go!", 1.5, 0.02, -0.2, 1.8),
    Case("Go go go go go go!", 1.4, 0.02, -0.3),
    Case("Ha ha ha ha ha", 1.2),
    Case("Very, very, very, very good.", 1.6),
    Case(
        "Happy birthday to you, happy birthday to you, happy birthday dear Luna.",
        6.0,
        0.1,
        -0.3,
        2.0,
    ),
    Case("I said wait, wait, wait, there is somebody at the door.", 2.8),
    Case("We want more! We want more! We want more!", 2.5, 0.05, -0.2, 2.0),
    # fast, quiet, long, odd
    Case("I can't believe you just did that without telling anybody first.", 2.2),
    Case("Peter Piper picked a peck of pickled peppers.", 1.6),
    Case("今日はとてもいい天気ですね", 1.3),
    Case("Turn the music down, please.", 1.4, 0.3, -0.55, level_dbfs=-50),
    Case("What is 1234567 times 89?", 4.0),
    Case("[laughs] That was brilliant!", 1.6),
    Case("It is, um, well, the third one.", 2.2),
    Case("Supercalifragilisticexpialidocious!", 2.0, 0.05, -0.5),
    Case("Set the scene name to B R B.", 2.1, 0.1, -0.6),
]


@pytest.mark.parametrize(
    ("reason", "case"), MADE_UP, ids=lambda given: str(getattr(given, "text", given))[:40]
)
def test_what_was_made_up_is_dropped(reason: DropReason, case: Case) -> None:
    dropped = case.check()
    assert dropped is not None
    assert dropped[0] == reason, dropped
    assert dropped[1]


@pytest.mark.parametrize("case", SAID, ids=lambda case: case.text[:40])
def test_what_was_said_is_heard(case: Case) -> None:
    assert case.check() is None


def test_no_ordinary_sentence_is_dropped() -> None:
    """Sentences for reading aloud, at speeds, levels and scores of ordinary speech."""
    chance = random.Random(11)
    sentences = [
        prompt.text
        for language in ("en-us", "de", "ja", "fr")
        for prompt in prompts.prompts(language)
    ]
    assert len(sentences) > 100
    dropped = []
    for sentence in sentences:
        is_wide = any("\u3040" <= letter <= "\u9fff" for letter in sentence)
        letters = sum(letter.isalnum() for letter in sentence)
        speech_s = letters / (chance.uniform(5, 9) if is_wide else chance.uniform(10, 20))
        case = Case(
            sentence,
            max(speech_s, 0.25),
            chance.uniform(0, 0.4),
            chance.uniform(-0.7, -0.05),
            chance.uniform(0.8, 1.9),
            chance.uniform(-45, -12),
        )
        if (found := case.check()) is not None:
            dropped.append((sentence, found))
    assert dropped == []


@pytest.mark.parametrize(
    ("text", "size", "times"),
    [
        ("no no no no", 1, 4),
        ("and then and then and then", 2, 3),
        ("one two three four", 0, 0),
        ("well well, that is a fine thing to say", 0, 0),
        ("さあさあさあ", 2, 3),
    ],
)
def test_the_smallest_stretch_that_repeats_is_found(text: str, size: int, times: int) -> None:
    assert made_up.loop(text)[:2] == (size, times)


def test_the_reason_can_be_shown_to_a_person() -> None:
    dropped = Case("Thanks for watching!", 0.5, 0.62, -0.4).check()
    assert dropped == (
        "phantom",
        "“Thanks for watching!” is often made up, and it is 62% likely that nobody spoke",
    )
