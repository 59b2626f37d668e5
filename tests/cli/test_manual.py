"""The man page is fresh, whole, and read by the programs that show it without a warning."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import typer
from typer.main import get_command

from ft_sync import __version__
from ft_sync.cli import app, exits, manual
from ft_sync.settings import Settings, variables

PAGE = Path(__file__).parents[2] / "man" / "ftsync.1"


def shown(page: str) -> str:
    """What is read of a page, words alone."""
    done = subprocess.run(
        ["groff", "-man", "-Tutf8", "-rLL=200n"], input=page, capture_output=True, text=True, check=True
    )
    return " ".join(re.sub(r"\x1b\[[0-9;]*m|.\x08", "", done.stdout).split())


needs_groff = pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")


def test_the_page_is_what_the_program_says_now() -> None:
    assert PAGE.read_text(encoding="utf-8") == manual.page(), "run `poe completions`"


def test_it_is_plain_ascii_with_the_version_and_no_date() -> None:
    page = manual.page()
    assert page.isascii()
    assert f'.TH FTSYNC 1 "" "ftsync {__version__}" "User Commands"' in page.splitlines()


@needs_groff
def test_every_command_option_exit_code_and_variable_is_in_it() -> None:
    text = shown(manual.page())
    group = get_command(app)
    commands = group.commands  # type: ignore[attr-defined]
    names = {f"ftsync {name}" for name in commands}
    names |= {
        option
        for command in (group, *commands.values())
        for parameter in command.get_params(typer.Context(command))
        for option in (*parameter.opts, *parameter.secondary_opts)
        if option.startswith("-")
    }
    names |= set(exits.MEANINGS.values())
    names |= {name for field in Settings.model_fields for name in variables(field)}
    assert [name for name in sorted(names) if name not in text] == []


@needs_groff
@pytest.mark.parametrize(
    "text", [".TH is no macro", "'tis", r"C:\new\(hy \fB", "--dry-run `x", "a ^ ~ \" '", "it is 20 € …", "a -- b"]
)
def test_text_is_shown_as_it_is(text: str) -> None:
    written = "\n".join(manual._text(text))
    assert (
        shown(f".TH X 1\n.SH NAME\n{written}\n")
        .removeprefix("X(1) General Commands Manual X(1) NAME ")
        .startswith(text)
    )


@needs_groff
def test_groff_has_no_warning() -> None:
    done = subprocess.run(["groff", "-man", "-ww", "-z", str(PAGE)], capture_output=True, text=True, check=True)
    assert done.stderr == ""


@pytest.mark.skipif(shutil.which("man") is None, reason="man is not installed")
def test_man_has_no_warning() -> None:
    done = subprocess.run(["man", "--warnings", "-l", str(PAGE)], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert "EXIT STATUS" in done.stdout


@pytest.mark.skipif(shutil.which("mandoc") is None, reason="mandoc is not installed")
def test_mandoc_misses_nothing_but_the_date() -> None:
    done = subprocess.run(["mandoc", "-Tlint", "-Wwarning", str(PAGE)], capture_output=True, text=True, check=False)
    assert [line for line in done.stdout.splitlines() if "missing date" not in line] == []
