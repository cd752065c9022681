"""The sentences to read aloud, with their ids. Plain text, standard library only; the lists are our own.

    python -m voice_trainer.text.prompts

puts every list in the order in which any beginning of it is as balanced as it can be (`coverage.order`). Ids are numbers
of lines, so this is for lists that were changed, before they are shipped.
"""

from __future__ import annotations

from dataclasses import dataclass

from voice_trainer.protocol import prompt_language, prompt_lists, read_prompts


@dataclass(frozen=True, slots=True)
class Prompt:
    """A sentence to read aloud.

    Attributes:
        id: "<language of the list>-<number of the line, from 1>".
    """

    id: str
    language: str
    text: str


def prompts(language: str) -> list[Prompt]:
    """The prompts of a language or of its tongue, best first; empty when there is no list."""
    name = prompt_language(language)
    return [
        Prompt(f"{name}-{number}", name, text) for number, text in enumerate(read_prompts(name), 1)
    ]


def put_in_order() -> None:
    """Rewrite every list, most telling sentences first."""
    from voice_trainer.text import coverage

    for language, path in prompt_lists().items():
        lines = coverage.order(read_prompts(language), language)
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


if __name__ == "__main__":
    put_in_order()
