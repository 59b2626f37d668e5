"""README.md and docs/: the pages, and the fenced blocks in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
DOCS = ROOT / "docs"
PAGES = (README, *sorted(DOCS.glob("*.md")))

FENCED = re.compile(
    r"(?:<!-- recipe: (?P<recipe>[\w-]+) -->\n\n?)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block; `recipe` is its name if the page says that it is a file to be used as it stands."""

    page: str
    line: int
    language: str
    text: str
    recipe: str | None


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, language: str | None = None) -> list[Block]:
    """The fenced blocks of a page, in their order; those in one language, or all."""
    text = page.read_text(encoding="utf-8")
    found = [
        Block(name_of(page), text.count("\n", 0, match.start()) + 1, match["language"], match["text"], match["recipe"])
        for match in FENCED.finditer(text)
    ]
    return [block for block in found if language in {None, block.language}]


def recipes() -> dict[str, str]:
    """The files that docs/recipes.md gives, by name."""
    return {block.recipe: block.text for block in blocks(DOCS / "recipes.md") if block.recipe}


def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    return FENCED.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """What a link into the page may name after `#`, as GitHub makes it of the headings."""
    headings = HEADING.findall(prose(page))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
