"""A thousand lines that moderation must let through: written for the tests, five languages, names and traps among them."""

from __future__ import annotations

from pathlib import Path

LINES = Path(__file__).parent / "fixtures" / "harmless_lines.txt"

NAMES = """Dickinson Hancock Babcock Cockburn Woodcock Peacock Alcock Hitchcock Wilcox Titchmarsh Titus Titania Dickens
Dixon Assange Cassandra Bassett Glasser Hassan Lassiter Nassau Massimo Tessa Sussex Essex Middlesex Wessex
Scunthorpe Penistone Clitheroe Lightwater Arsenal Matsushita Shitake Fukushima Fukuda Phuket Nigeria Nigel
Niger Montenegro Cummings Cumberland Cumbria Analise Analisa Anabel Canal Rapunzel Grape Draper Therapist
Sexton Sextus Virginia Regina Pussett Puszta Kuntal Kikuchi Spicer Spice Coonan Cooney Tycoon Raccoon Cocoon
Chinkara Dagobert Fagan Fagin Hoare Horeb Shore Bitcoin Bitsch Slutsk Slutzky Twatt Wankel Wanklyn Buttigieg
Butterfield Button Crapper Focker Fuchs Fuks Kuntz Hooker Gaylord Gay-Lussac Lesbos Homer Dyke Vandyke Weiner
Johnson Willy Randy Peter Roger Rod Hung Dong Wang Phuc Dung Bich""".split()

TEMPLATES = (
    "My teacher is called {0}.",
    "{0} says hello to {1}!",
    "Ich grüße {0} und {1}.",
    "Bonjour {0}, c'est {1} !",
    "Un saludo para {0} y {1}.",
    "\u041f\u0440\u0438\u0432\u0435\u0442 \u043e\u0442 {0}!",
)


def lines(count: int = 1_000) -> list[str]:
    """Harmless lines, no two alike."""
    made = dict.fromkeys(LINES.read_text(encoding="utf-8").splitlines())
    n = 0
    while len(made) < count:
        first, second = NAMES[n % len(NAMES)], NAMES[(n * 7 + n // len(NAMES)) % len(NAMES)]
        made[TEMPLATES[n % len(TEMPLATES)].format(first, second)] = None
        n += 1
    return [*made][:count]
