"""What recognisers write although nobody said it: stock phrases from subtitles, loops, sounds in brackets. Plain text in.

Used twice: by the Whisper engines, which know the scores of every segment, and by `backend.listening.guards`, which
knows how long and how loud somebody spoke.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

LEAST_LOGPROB = -1.0  # whisper's own limits for trusting a segment
MOST_NO_SPEECH = 0.6
MOST_COMPRESSION = 2.4  # text that gzip shrinks more than this is a loop
SHORT_S = 1.2  # speech this short is where stock phrases come from
LOOP_SHARE = 0.6  # of the text; less is a person who repeats a word


def plain(text: str) -> str:
    """Lower case, letters and figures only, one space between words; width and accents' spelling made one."""
    return re.sub(r"[\W_]+", " ", unicodedata.normalize("NFKC", text).casefold()).strip()


def _plain_set(phrases: Iterable[str]) -> frozenset[str]:
    return frozenset(plain(phrase) for phrase in phrases)


# Whisper learnt from subtitles of videos; these close them, in the languages its users meet. People say them too.
COURTESIES = _plain_set(
    """
    Thanks for watching | Thank you for watching | Thank you so much for watching | Thanks for watching everyone
    Thank you very much | Thank you so much | Thank you | Thanks | Thank you all | Thank you for listening
    Thanks for watching and I'll see you in the next video | I'll see you in the next video | See you next time
    See you in the next video | See you next week | Please subscribe | Please subscribe to my channel
    Please like and subscribe | Like and subscribe | Don't forget to like and subscribe | Subscribe | Bye | Bye bye
    Goodbye | You | The end | So | Okay | I'm sorry | Yeah | Hmm | Oh | Uh | We'll be right back | Good night
    Vielen Dank | Danke | Vielen Dank fürs Zuschauen | Vielen Dank für Ihre Aufmerksamkeit | Tschüss | Bis zum nächsten Mal
    Danke fürs Zuschauen | Vielen Dank für das Zuschauen | Copyright WDR 2021 | Das war's für heute
    Merci | Merci d'avoir regardé | Merci d'avoir regardé cette vidéo | Merci à tous | Au revoir | Abonnez-vous
    Gracias | Muchas gracias | Gracias por ver | Gracias por ver el video | Gracias por ver el vídeo | Adiós
    Suscríbete | ¡Suscríbete al canal! | Hasta la próxima | Obrigado | Obrigada | Obrigado por assistir | Tchau
    Obrigado por assistir ao vídeo | Inscreva-se no canal | Grazie | Grazie a tutti | Grazie per la visione | Ciao
    Grazie per aver guardato il video | Iscrivetevi al canale | Bedankt voor het kijken | Dank u wel | Tot de volgende keer
    Dziękuję | Dziękuję za uwagę | Dziękuję za oglądanie | Dziękuję za obejrzenie | Do zobaczenia
    Спасибо | Спасибо за просмотр | Спасибо за внимание | До свидания | Продолжение следует | Подписывайтесь на канал
    Дякую | Дякую за перегляд | Дякую за увагу | İzlediğiniz için teşekkürler | Teşekkürler | Abone olmayı unutmayın
    İzlediğiniz için teşekkür ederim | شكرا | شكرا للمشاهدة | شكرا لكم | اشتركوا في القناة | धन्यवाद | देखने के लिए धन्यवाद
    ご視聴ありがとうございました | ご視聴ありがとうございます | 最後までご視聴ありがとうございました | ありがとうございました
    最後までご視聴いただきありがとうございます | チャンネル登録をお願いします | チャンネル登録お願いします | おやすみなさい | ご清聴ありがとうございました
    高評価とチャンネル登録お願いします | また次の動画でお会いしましょう | 次回予告 | バイバイ
    시청해주셔서 감사합니다 | 시청해 주셔서 감사합니다 | 감사합니다 | 구독과 좋아요 부탁드립니다 | 다음 영상에서 만나요 | 끝
    谢谢观看 | 谢谢大家 | 谢谢 | 感谢观看 | 谢谢收看 | 谢谢大家观看 | 感谢收看 | 謝謝觀看 | 謝謝大家 | 謝謝收看 | 订阅我的频道
    Cảm ơn các bạn đã theo dõi | Hãy subscribe cho kênh | Terima kasih | Terima kasih telah menonton | Tack för att ni tittade
    Tack för att du tittade | Takk for at du så på | Takk for at dere så på | Tak fordi du så med | Kiitos katsomisesta
    Ευχαριστώ που παρακολουθήσατε | Köszönöm, hogy megnéztétek | Mulțumesc pentru vizionare | Děkuji za pozornost
    Hvala na gledanju | Благодаря за гледането | תודה על הצפייה | ขอบคุณที่รับชม
    """.replace("\n", "|").split("|")  # noqa: RUF001 - Turkish has a letter that looks like i
) - {""}

# Nobody says these to a character: who wrote the subtitles, and where.
_CREDITS = re.compile(
    r"amara ?org|castingwords|zeoranger|opensubtitles|dimatorzok|mooji org"
    r"|^(subtitles?|subtitling|captions?|captioning|transcri(bed|ption|pt)|translat(ed|ion)) (by|from|provided) "
    r"|^untertitel(ung)? (der|des|im auftrag|von|aufgrund|bw|ndr|swr)\b|^swr \d{4}$|^untertitelung\b.*\b(zdf|ard|wdr|funk)\b"
    r"|^sous titr(es|age)\b|^sottotitoli (e revisione|creati|di|a cura)|^subtítulos (realizados|por|creados)"
    r"|^legendas? (pela|por|e)\b|^legendado por|^ondertitel(d|s|ing)\b|^napisy (stworzone|wykonał|przez)"
    r"|^субтитры (создавал|сделал|подогнал|делал|добавил)|^редактор субтитров|^субтитрування"
    r"|^altyaz. (m k|çeviri|by)|^ترجمة نانسي|^字幕 ?(by|志愿者|由|提供|製作|制作|翻译)|字幕志愿者|明镜(需要|与点点)|明鏡與點點|^请不吝点赞"
    r"|^(이 영상은|자막 제공|한글자막)|^mbc 뉴스 |^titulky vytvořil|^teksting av|^undertexter? (av|från)|^phụ đề"
)

_BRACKETED = re.compile(r"[\[(（【*♪<][^\])）】*♪>]*[\])）】*♪>]")
_WORDS = re.compile(
    # scripts without spaces give a unit per letter, others per word
    r"[\u3040-\u30ff\u3400-\u9fff\u0e00-\u0e7f]|[^\W_\u3040-\u30ff\u3400-\u9fff\u0e00-\u0e7f]+"
)


def is_courtesy(text: str) -> bool:
    """Whether the whole text is a phrase that recognisers make up in silence and people say too."""
    found = plain(text)
    # "Thank you. Thank you." is the same phrase
    words = found.split()
    half = len(words) // 2
    return found in COURTESIES or (
        len(words) % 2 == 0
        and words[:half] == words[half:]
        and " ".join(words[:half]) in COURTESIES
    )


def is_credit(text: str) -> bool:
    """Whether the whole text is a line of subtitle credits."""
    return _CREDITS.search(plain(text)) is not None


def spoken(text: str) -> str:
    """The text without sounds in brackets and notes ("[Music]", "(laughs)", "♪"); empty when nothing else was there."""
    left = _BRACKETED.sub(" ", text).replace("♪", " ").strip()
    return left if plain(left) else ""


def loop(text: str) -> tuple[int, int, str]:
    """The stretch that is repeated longest without a break.

    Returns:
        Words in it, how often in a row, and the stretch; (0, 0, "") when less than `LOOP_SHARE` of the text is that.
    """
    words = _WORDS.findall(text.casefold())
    best = (0, 0, "")
    covered = max(2.0, LOOP_SHARE * len(words)) - 1e-9
    for size in range(1, min(30, len(words) // 2) + 1):
        run = 0
        for at in range(size, len(words)):
            run = run + 1 if words[at] == words[at - size] else 0
            times = run // size + 1
            # the smallest stretch wins: "no no" twice is "no" four times
            if times > 1 and size * times >= covered and size * times > best[0] * best[1]:
                covered = size * times
                best = (size, times, " ".join(words[at - size + 1 : at + 1]))
    return best


def is_looping(text: str) -> bool:
    """Whether a recogniser that wrote this should be asked again: cheap, and right to suspect too often."""
    size, times, _ = loop(text)
    return times >= (6 if size == 1 else 3)


def kept(segments: Iterable[Mapping[str, Any]], speech_s: float) -> list[Mapping[str, Any]]:
    """The segments that were said, not made up.

    Args:
        segments: As Whisper gives them: text, avg_logprob, no_speech_prob, compression_ratio.
        speech_s: How long somebody spoke.
    """
    said = []
    for segment in segments:
        text, logprob = str(segment["text"]), segment["avg_logprob"]
        unsure = logprob < LEAST_LOGPROB
        silent = segment["no_speech_prob"] > MOST_NO_SPEECH
        looping = segment["compression_ratio"] > MOST_COMPRESSION
        doubtful = speech_s < SHORT_S or segment["no_speech_prob"] > MOST_NO_SPEECH / 3
        phrase = is_credit(text) or is_courtesy(text)
        stock = phrase and doubtful and logprob < LEAST_LOGPROB / 4
        if plain(text) and not (unsure or looping or stock or (silent and logprob < -0.5)):
            said.append(segment)
    return said
