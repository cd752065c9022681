"""Write docs/persona-transcript.md: the same conversation with three built-in characters, no language model involved.

python scripts/make_persona_transcript.py
"""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from backend.chat.builtin import BY_ID
from backend.contracts.entities import Character
from backend.engines.llm.base import Message, Prompt
from backend.engines.llm.options import PersonaOptions
from backend.engines.llm.persona import Persona

TARGET = ROOT / "docs" / "persona-transcript.md"
SEED = 20
CAST = ("hoshi", "sumi", "rivet")

LINES = (
    "Hi! I'm Mika.",
    "How are you today?",
    "I have a dog named Biscuit.",
    "He barks at the moon, it's quite funny.",
    "What are you, exactly?",
    "Are you ChatGPT?",
    "I really love ramen and video games.",
    "What do you think about pizza?",
    "Tell me a joke!",
    "haha",
    "Another one!",
    "I work as a nurse, and I have an exam tomorrow.",
    "I'm a bit nervous about it.",
    "Any advice?",
    "Thank you, that helps.",
    "What's your favourite colour?",
    "Mine is green.",
    "What's my dog's name?",
    "Tell me a story.",
    "You're really cute, you know that?",
    "Let's play a game!",
    "A riddle, please.",
    "No idea, I give up.",
    "What are you afraid of?",
    "こんにちは！",
    "You're stupid.",
    "Sorry, I didn't mean that.",
    "What do you remember about me?",
    "What's 17 times 23?",
    "How can I make you smarter?",
    "I'm tired, I should go to bed.",
    "Good night!",
)

HEAD = f"""# What the built-in persona says

Made by `python scripts/make_persona_transcript.py` (seed {SEED}); a test keeps it true. No language model, no network:
this is what a newcomer hears before any key is set. Tags like `[joy]` are the character's expression and are not spoken.
"""


def talk(character: Character) -> list[tuple[str, str]]:
    """The conversation as (line, reply)."""
    persona = Persona(
        PersonaOptions(seed=SEED, now=lambda: datetime(2026, 3, 3, 21, 30, tzinfo=UTC))
    )
    history: list[Message] = []
    said: list[tuple[str, str]] = []
    for line in LINES:
        history.append(Message("user", line))
        reply = persona.reply(Prompt(tuple(history), character, conversation_id="transcript"))
        history.append(Message("assistant", re.sub(r"\[\w+\] ?", "", reply)))
        said.append((line, reply))
    return said


def transcript() -> str:
    """The page."""
    parts = [HEAD]
    for character in (BY_ID[name] for name in CAST):
        parts.append(f"\n## {character.name}\n\n> {character.greeting}\n")
        for line, reply in talk(character):
            tag, _, text = reply.partition("] ") if reply.startswith("[") else ("", "", reply)
            feeling = f" `{tag}]`" if tag else ""
            parts.append(
                f"\n**Mika:** {line}\\\n**{character.name.split()[0]}**{feeling}**:** {text}\n"
            )
    return "".join(parts)


if __name__ == "__main__":
    TARGET.write_text(transcript(), encoding="utf-8")
    print(f"wrote {TARGET.relative_to(ROOT)}")
