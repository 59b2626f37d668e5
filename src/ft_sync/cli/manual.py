"""Writes the man page, generated from the commands' own help: `python -m ft_sync.cli.manual FILE`."""

from __future__ import annotations

import re
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from ft_sync import __version__
from ft_sync.cli import app, exits
from ft_sync.settings import Settings, variables

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

NAME = "ftsync"

DESCRIPTION = """\
Each fine-tuning job becomes one run: its config, every metric at its step and its true time, the training and \
validation files as versioned artifacts with tables, and the model's metadata as an artifact, all linked. \
W&B is asked afterwards whether everything arrived. Syncing twice is syncing once.

Data goes to stdout and everything else to stderr. A terminal gets tables and live progress, a pipe plain lines."""

KEYS = {
    "OPENAI_API_KEY": "The key to OpenAI, or to a service with OpenAI's routes.",
    "OPENAI_BASE_URL": "The address of such a service; OpenAI's own without it.",
    "OPENAI_ORG_ID": "The organization that is asked for.",
    "OPENAI_PROJECT_ID": "The project that is asked for.",
    "AZURE_OPENAI_ENDPOINT": "The address of an Azure OpenAI resource.",
    "AZURE_OPENAI_API_KEY": "Its key; without one, Entra tokens are asked for.",
    "OPENAI_API_VERSION": "The version of its API.",
    "WANDB_API_KEY": "The key to W&B; without it, the one that `wandb login` has stored.",
    "WANDB_BASE_URL": "The address of a W&B server of one's own.",
    "FTSYNC_ENV_FILE": "A file of variables, as by `--env-file`.",
    "FTSYNC_CACHE_DIR": "The folder that keeps what completions offer.",
    "NO_COLOR": "If set: no colours.",
    "SSL_CERT_FILE": "Certificates of the authorities to trust.",
    "TMPDIR": "Where files are kept meanwhile.",
}
"""Variables that are no settings."""

FILES = {
    "./ftsync.toml": "Settings of a folder, by the names under ENVIRONMENT.",
    "./pyproject.toml": "The same in its table [tool.ftsync].",
    "~/.config/ftsync/config.toml": "Settings of a user. Other systems have another place: `ftsync config --path`.",
    "~/.cache/ftsync": "The jobs and projects that completions offer. It may be removed.",
    "./wandb": "Runs, while they are written or with `--offline`.",
}

EXAMPLES = {
    "ftsync sync": "Bring every job that W&B does not hold yet, oldest first.",
    "ftsync sync --last 5 --dry-run": "Say what would be done with the five newest, and why.",
    "ftsync sync --watch": "Go on for ever, with new jobs as they come.",
    "ftsync list --unsynced -q | ftsync sync --job -": "Bring what a listing has found.",
    "ftsync verify --repair": "Compare everything that W&B holds, and write again what differs.",
    "ftsync doctor": "Find out what keeps a sync from working.",
}

SEE_ALSO = ("wandb login --help", "ftsync COMMAND --help")

WIDTH = 64
"""Maximum length of a line before escaping, in characters."""

ESCAPES = {"\\": r"\e", "-": r"\-", "'": r"\(aq", "`": r"\(ga", "^": r"\(ha", "~": r"\(ti", '"': r"\(dq"}
"""Characters that are special in roff, and their escapes."""


def page() -> str:
    """Return the man page of the current program."""
    lines = [
        r".\" Made by `poe completions`.",
        f'.TH FTSYNC 1 "" "{NAME} {__version__}" "User Commands"',
        ".nh",
        ".ad l",
    ]
    group = get_command(app)
    assert isinstance(group, TyperGroup)
    context = typer.Context(group, info_name=NAME, **group.context_settings)
    summary = (group.help or "").rstrip(".")
    lines += [".SH NAME", f"{NAME} {_escaped('-')} {_escaped(summary[0].lower() + summary[1:])}"]
    lines += [".SH SYNOPSIS", *_synopsis(group, context)]
    lines += [".SH DESCRIPTION", *_paragraphs(DESCRIPTION)]
    lines += [".SH OPTIONS", *_options(group, context)]
    lines += [".SH COMMANDS", *_commands(group, context)]
    lines += [".SH EXIT STATUS", *_items((str(code), meaning) for code, meaning in exits.MEANINGS.items())]
    lines += [".SH ENVIRONMENT", "A flag wins over a variable, and that over a file.", *_items(_settings())]
    lines += _items(KEYS.items())
    lines += [".SH FILES", *_items(FILES.items())]
    lines += [".SH EXAMPLES", *_items(EXAMPLES.items())]
    lines += [".SH SEE ALSO", *_list(SEE_ALSO)]
    return "\n".join(lines) + "\n"


def _synopsis(group: TyperGroup, context: typer.Context) -> Iterator[str]:
    for number, (name, command) in enumerate(group.commands.items()):
        if number:
            yield ".br"
        below = typer.Context(command, info_name=name, parent=context)
        yield rf"\fB{NAME} {name}\fR {_escaped(' '.join(command.collect_usage_pieces(below)))}"


def _commands(group: TyperGroup, context: typer.Context) -> Iterator[str]:
    """Yield each command with help and options; a command with the same options as an earlier one refers to that."""
    seen: dict[tuple[str, ...], str] = {}
    for name, command in group.commands.items():
        below = typer.Context(command, info_name=name, parent=context)
        yield f'.SS "{NAME} {name}"'
        yield from _paragraphs(command.help or "")
        options = tuple(_options(command, below))
        if options in seen:
            yield from (".PP", f"Its options are those of \\fB{NAME} {seen[options]}\\fR.")
        else:
            seen[options] = name
            yield from options


def _options(command: Any, context: typer.Context) -> Iterator[str]:  # noqa: ANN401 - Typer's base of both is private
    records = (parameter.get_help_record(context) for parameter in command.get_params(context))
    # What stands in <> behind an argument is Python's name of its type.
    return _items((re.sub(r" <[a-z]+(\[[a-z]+\])?>$", "", name), text) for name, text in filter(None, records))


def _settings() -> Iterator[tuple[str, str]]:
    for name, field in Settings.model_fields.items():
        default = "" if field.default is None else f" Default: {_written(field.default)}."
        meaning = f"{field.description}."
        yield ", ".join(variables(name)), f"{meaning[0].upper()}{meaning[1:]}{default} In files: {name}."


def _written(default: object) -> str:
    return str(default).lower() if isinstance(default, bool) else str(default).removesuffix(".0")


def _items(entries: Iterable[tuple[str, str]]) -> Iterator[str]:
    for name, text in entries:
        yield from (".TP", rf"\fB{_escaped(name)}\fR", *_text(text))


def _list(entries: Iterable[str]) -> Iterator[str]:
    for number, entry in enumerate(entries):
        yield from ([".br"] if number else [])
        yield rf"\fB{_escaped(entry)}\fR"


def _paragraphs(text: str) -> Iterator[str]:
    for number, paragraph in enumerate(re.split(r"\n\s*\n", text.strip())):
        yield from ([".PP"] if number else [])
        yield from _text(paragraph)


def _text(text: str) -> Iterator[str]:
    """Yield text with each sentence on a new line, and with text in backticks as bold."""
    for sentence in re.split(r"(?<=[.;:]) +(?=\S)", " ".join(text.split())):
        for line in textwrap.wrap(sentence, WIDTH, break_long_words=False, break_on_hyphens=False):
            yield re.sub(r"\\\(ga(.+?)\\\(ga", r"\\fB\1\\fR", _escaped(line))


def _escaped(text: str) -> str:
    """Escape text for roff."""
    printed = "".join(ESCAPES.get(char, char if char.isascii() else rf"\[u{ord(char):04X}]") for char in text)
    return rf"\&{printed}" if printed.startswith(".") else printed


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")
