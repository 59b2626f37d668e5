"""The pages hold together: links lead somewhere, and commands, flags and settings are such that the program takes."""

from __future__ import annotations

import re
import shlex
import tomllib
from typing import TYPE_CHECKING, Any

import pytest
import typer
from typer.main import get_command

from ft_sync import settings
from ft_sync.cli import app
from tests.pages import DOCS, PAGES, README, anchors, blocks, name_of, prose

if TYPE_CHECKING:
    from pathlib import Path

    from typer.core import TyperGroup

GROUP: TyperGroup = get_command(app)  # type: ignore[assignment] # it has several commands
INLINE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
FORMER = {"--id", "--n_fine_tunes", "--force", "--legacy"}
"""Flags of another command, which docs/migrating.md translates."""


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    lost = []
    for link in LINK.findall(prose(page)):
        if re.match(r"https?://", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            lost.append(link)
    assert lost == []


def test_every_page_is_linked_from_the_first() -> None:
    linked = {link.partition("#")[0] for link in LINK.findall(prose(README))}
    assert {name_of(page) for page in PAGES} - {"README.md"} - linked == set()


def test_pages_in_docs_begin_with_their_title() -> None:
    assert [name_of(page) for page in PAGES if not page.read_text(encoding="utf-8").startswith("# ")] == []


def _commands() -> list[tuple[str, str]]:
    """Every command of ours that a page shows, in a console or in a sentence."""
    lines = [
        (block.page, line.removeprefix("$ "))
        for page in PAGES
        for block in blocks(page, "console")
        for line in block.text.splitlines()
        if line.startswith("$ ")
    ]
    spans = [(name_of(page), span) for page in PAGES for span in INLINE.findall(prose(page))]
    return [
        (page, command.strip())
        for page, line in [*lines, *spans]
        for command in re.split(r" \| | && ", line)
        if re.match(r"ftsync( |$)", command.strip())
    ]


@pytest.mark.parametrize(("page", "command"), sorted(set(_commands())))
def test_commands_on_the_pages_are_such_that_the_program_takes(page: str, command: str) -> None:
    assert page
    words = shlex.split(command, comments=True)[1:]
    _, rest, _ = _parsed(GROUP, words)
    if rest:
        name, *more = rest
        assert name in GROUP.commands
        _parsed(GROUP.commands[name], more)


def _parsed(command: Any, words: list[str]) -> tuple[Any, list[str], Any]:  # noqa: ANN401 - Typer's own copy of Click
    """Read flags and arguments, without doing anything with them."""
    parsed: tuple[Any, list[str], Any] = command.make_parser(typer.Context(command)).parse_args(words)
    return parsed


def test_flags_in_sentences_are_flags_of_some_command() -> None:
    known = {
        flag
        for command in (GROUP, *GROUP.commands.values())
        for parameter in command.get_params(typer.Context(command))
        for flag in (*parameter.opts, *parameter.secondary_opts)
    }
    spoken = {
        (name_of(page), flag)
        for page in PAGES
        for span in INLINE.findall(prose(page))
        if re.match(r"--\w", span)
        for flag in re.findall(r"(?<!\S)--[\w-]+", span)
    }
    assert {(page, flag) for page, flag in spoken if flag not in known | FORMER} == set()


def test_the_file_of_settings_that_the_page_shows_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = blocks(DOCS / "configuration.md", "toml")
    (tmp_path / "ftsync.toml").write_text(block.text)
    monkeypatch.chdir(tmp_path)
    for name in settings.Settings.model_fields:
        for variable in settings.variables(name):
            monkeypatch.delenv(variable, raising=False)
    given = tomllib.loads(block.text)
    found = settings.load({}).model_dump(mode="json")
    assert {name: found[name.replace("-", "_")] for name in given} == given
