"""The SDK's settings files: the user's own, which counts, and the working directory's, which does not."""

from __future__ import annotations

import configparser
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ft_sync.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

SECTION = "default"

PLACES = ("base_url", "entity", "project")
"""Settings with which `wandb init` sends the runs of a directory somewhere."""


@dataclass(frozen=True, slots=True)
class WandbFile:
    """A settings file of the SDK, with the values of its one section; no values if there is no such file."""

    path: Path
    values: Mapping[str, str] = field(default_factory=dict)


def user_settings(environment: Mapping[str, str]) -> WandbFile:
    """Return the user's own settings file, which `wandb login` writes.

    Raises:
        ConfigError: The file cannot be read. The SDK would ignore it, and use W&B's default server.
    """
    folder = environment.get("WANDB_CONFIG_DIR") or "~/.config/wandb"
    path = Path(folder, "settings")
    try:
        path = path.expanduser()
    except RuntimeError:  # there is no home directory, and so no file
        return WandbFile(path)
    try:
        return WandbFile(path, _values(path))
    except (OSError, ValueError, configparser.Error) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{path} cannot be read: {reason}", hint="correct it, or remove it") from error


def ignored_settings(folder: Path) -> WandbFile | None:
    """Return what a directory's `wandb/settings` says of a place, which the SDK would use and ftsync does not."""
    for name in (".wandb", "wandb"):
        path = folder / name / "settings"
        try:
            values = _values(path)
        except (OSError, ValueError, configparser.Error):
            continue  # it does not count anyway
        if found := {key: values[key] for key in PLACES if key in values}:
            return WandbFile(path, found)
    return None


def _values(path: Path) -> dict[str, str]:
    parser = configparser.ConfigParser(interpolation=None)
    if path.is_file():
        parser.read_string(path.read_text(encoding="utf-8"), source=str(path))
    return dict(parser.items(SECTION)) if parser.has_section(SECTION) else {}
