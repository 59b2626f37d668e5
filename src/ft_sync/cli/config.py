"""`ftsync config`: shows the effective settings and their origins; keys are not settings, so none is shown."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from ft_sync.cli import options, render
from ft_sync.providers import plain

if TYPE_CHECKING:
    from ft_sync.cli import shapes


def config(
    *,
    path: Annotated[
        bool, typer.Option("--path", help="Show the files that are looked at, the strongest first.")
    ] = False,
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Show the settings in effect.

    Each with the variable or the file that it comes from: a flag wins over the environment, that over ./ftsync.toml,
    over [tool.ftsync] in ./pyproject.toml, over the user's config.toml.
    """
    del debug  # read by the error handler
    from ft_sync import settings  # noqa: PLC0415 - pydantic: `--help` does without

    if path:
        files = [(str(file), file.path.is_file()) for file in settings.config_files()]
        if json:
            looked_at: shapes.SettingsFiles = {
                "command": "config",
                "files": [{"file": name, "exists": found} for name, found in files],
            }
            render.document(looked_at)
            return
        rows = [(name, "read" if found else "not there") for name, found in files]
        if render.is_screen(sys.stdout):
            render.table(("file", ""), rows, folds=0, color=False)
        else:
            render.lines(rows)
        return
    address, server_from = settings.server()
    values = settings.load({}).model_dump(mode="json") | {"wandb_server": plain(address or "") or None}
    origins = settings.origins() | {"wandb_server": server_from}
    if json:
        effective: shapes.Settings = {
            "command": "config",
            "settings": {name: {"value": value, "from": origins[name]} for name, value in values.items()},
        }
        render.document(effective)
    elif render.is_screen(sys.stdout):
        shown = [(name, _written(value), origins[name]) for name, value in values.items()]
        render.table(("setting", "value", "from"), shown, folds=2, color=False)
    else:
        render.lines((name, _written(value), origins[name]) for name, value in values.items())
    if file := settings.ignored():
        render.tell(f"note: {file} is not read: --entity and --project, or these settings, say where runs go")


def _written(value: object) -> object:
    """Return a value as it would be written in a file."""
    return str(value).lower() if isinstance(value, bool) else value
