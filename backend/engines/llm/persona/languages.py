"""Notice that somebody speaks another language, and have a few words of it.

Guessed from the script, else from common words; English wins when in doubt.
"""

# ruff: noqa: RUF001 - words of other languages, in their letters

from __future__ import annotations

LANGUAGES: dict[str, tuple[str, str, frozenset[str]]] = {
    "ja": ("Japanese", "こんにちは！", frozenset()),
    "ko": ("Korean", "안녕하세요!", frozenset()),
    "zh": ("Chinese", "你好！", frozenset()),
    "ru": ("Russian", "Привет!", frozenset()),
    "ar": ("Arabic", "مرحبا!", frozenset()),
    "el": ("Greek", "Γεια σου!", frozenset()),
    "th": ("Thai", "สวัสดี!", frozenset()),
    "hi": ("Hindi", "नमस्ते!", frozenset()),
    "he": ("Hebrew", "שלום!", frozenset()),
    "de": ("German", "Hallo, schön dass du da bist!", frozenset("hallo guten tag moin servus wie geht dir ich bin heiße heisse du sprichst deutsch und ist nicht danke tschüss gute nacht morgen abend mag kannst was machst wer bist habe mein meine liebe dich auf wiedersehen grüß gott".split())),
    "es": ("Spanish", "¡Hola, qué alegría verte!", frozenset("hola buenos días dias buenas noches tardes qué que tal cómo como estás estas está soy me llamo gracias adiós adios hablas español espanol tú eres te quiero muy bien por favor amigo tienes mi".split())),
    "fr": ("French", "Bonjour, ravie de te voir !", frozenset("bonjour salut bonsoir ça ca va comment je suis m'appelle merci au revoir tu parles français francais et toi quoi est ce que bonne nuit t'aime très oui quel mon".split())),
    "it": ("Italian", "Ciao, che bello vederti!", frozenset("ciao buongiorno buonasera come stai sono mi chiamo grazie arrivederci parli italiano buona notte sei che bella ti amo molto bene tu".split())),
    "pt": ("Portuguese", "Olá, que bom te ver!", frozenset("olá ola oi bom dia boa noite tudo bem como vai você voce sou obrigado obrigada tchau fala português portugues eu amo meu nome tarde".split())),
    "nl": ("Dutch", "Hoi, leuk dat je er bent!", frozenset("hoi goedemorgen goedenavond hoe gaat het met je ik ben dank bedankt dag spreek nederlands jij wat doe heet mijn naam".split())),
    "pl": ("Polish", "Cześć, miło cię widzieć!", frozenset("cześć czesc dzień dzien dobry jak się sie masz jestem dziękuję dziekuje mówisz po polsku dobranoc ty mam na imię".split())),
    "sv": ("Swedish", "Hej, kul att se dig!", frozenset("hej hur mår du jag är heter tack pratar svenska god natt morgon vad gör".split())),
    "tr": ("Turkish", "Merhaba, seni görmek güzel!", frozenset("merhaba selam nasılsın nasilsin ben teşekkürler günaydın iyi geceler türkçe adım".split())),
    "id": ("Indonesian", "Halo, senang bertemu!", frozenset("halo apa kabar saya terima kasih selamat pagi malam nama aku kamu".split())),
}  # fmt: skip
_ROMAJI = frozenset(
    "konnichiwa konnichi ohayo ohayou konbanwa arigato arigatou genki desu ka watashi wa sayonara oyasumi hajimemashite kawaii baka senpai".split()
)
_ALSO_ENGLISH = frozenset(
    "me a i to on is was no so am are do his her as at in an as dag he been die des war fast mag wie come sei mi god ben sent bad ka wa po como ca va tag je au mon he het hoe ik po na tu au hi day".split()
)
_SCRIPTS = (
    ("ja", "\u3040", "\u30ff"), ("ko", "\uac00", "\ud7af"), ("zh", "\u4e00", "\u9fff"), ("ru", "\u0400", "\u04ff"), ("ar", "\u0600", "\u06ff"),
    ("el", "\u0370", "\u03ff"), ("th", "\u0e00", "\u0e7f"), ("hi", "\u0900", "\u097f"), ("he", "\u0590", "\u05ff"),
)  # fmt: skip


def language_of(text: str, words: tuple[str, ...]) -> str:
    """The other language a message is in, empty for English or when unsure."""
    counts = {code: 0 for code, _, _ in _SCRIPTS}
    letters = 0
    for char in text:
        if char.isalpha():
            letters += 1
            for code, low, high in _SCRIPTS:
                if low <= char <= high:
                    counts[code] += 1
    if letters:
        if counts["ja"]:
            counts["ja"] += counts["zh"]  # Japanese is written with Chinese characters too
        code = max(counts, key=lambda key: counts[key])
        if counts[code] >= letters * 0.4:
            return code
    if not words or len(words) > 30:
        return ""
    if sum(word in _ROMAJI for word in words) >= max(1, len(words) * 0.5):
        return "ja"
    scores = {
        code: sum(1.0 if word not in _ALSO_ENGLISH else 0.4 for word in words if word in known)
        for code, (_, _, known) in LANGUAGES.items()
        if known
    }
    code = max(scores, key=lambda key: scores[key])
    return code if scores[code] >= max(1.0, len(words) * 0.5) else ""
