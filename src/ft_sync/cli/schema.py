"""`ftsync schema`: prints the JSON Schemas of the commands' output."""

import json
from typing import Annotated, Literal, TypeAlias, get_args

import typer

from ft_sync.cli import options, render
from ft_sync.errors import ConfigError

Command: TypeAlias = Literal[
    "sync", "resync", "verify", "list", "status", "archive", "report", "config", "doctor", "demo"
]
"""The commands that have `--json`."""


def schema(
    *,
    command: Annotated[
        Command | None,
        typer.Argument(metavar="COMMAND", help="This one. Without it: the names of all.", show_default=False),
    ] = None,
    jsonl: Annotated[bool, typer.Option("--jsonl", help="Of the lines of --jsonl, not of the document.")] = False,
    debug: options.Debug = False,
) -> None:
    """Show what a command prints as JSON.

    A JSON Schema (draft 2020-12) of the document that it prints with --json, or of any line that it prints with
    --jsonl. Errors are part of both.
    """
    del debug  # read by the error handler
    from ft_sync.cli import schemas  # noqa: PLC0415 - pydantic: `--help` does without

    if command is None:
        render.lines([name] for name in get_args(Command) if not jsonl or name in schemas.LINES)
        return
    if jsonl and command not in schemas.LINES:
        raise ConfigError(f"{command} has no --jsonl", hint="`ftsync schema --jsonl` lists the commands that have it")
    found = schemas.of_lines(command) if jsonl else schemas.of_document(command)
    render.emit(json.dumps(found, indent=2) + "\n")
