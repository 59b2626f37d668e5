"""README.md and docs/ say what is so."""

from __future__ import annotations

import re
from typing import get_args

from ft_sync.cli import schemas
from ft_sync.cli.schema import Command
from tests.pages import DOCS, PAGES, README, blocks, name_of, prose
from tests.readme import renewed

SET_UP = """
python3 -m venv --without-pip .venv && python3 -m pip --python .venv install -q -c constraints.txt '.[demo]' && .venv/bin/ftsync demo
python3 -m venv --without-pip .venv && python3 -m pip --python .venv install -q -c constraints.txt -e '.[test]' && .venv/bin/pytest
"""  # noqa: E501 - as it stands in the page


def test_what_the_program_prints_on_the_pages_is_what_it_prints() -> None:
    stale = [name_of(page) for page in PAGES if renewed(text := page.read_text(encoding="utf-8")) != text]
    assert stale == [], "run `poe readme`"


def test_the_two_set_up_lines_come_first() -> None:
    assert [block.text for block in blocks(README)[:2]] == SET_UP.lstrip().splitlines(keepends=True)


def test_every_name_in_a_table_of_the_page_of_documents_is_in_a_schema() -> None:
    rows = [line for line in prose(DOCS / "json.md").splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert named
    known = [schemas.of_document(command) for command in schemas.DOCUMENTS]
    known += [schemas.of_lines(command) for command in schemas.LINES]
    assert named - {*_words(known), *get_args(Command)} == set()


def _words(value: object) -> set[str]:
    """Every key and every text in a schema."""
    match value:
        case dict():
            return set(value) | {word for below in value.values() for word in _words(below)}
        case list():
            return {word for below in value for word in _words(below)}
        case _:
            return {str(value)}
