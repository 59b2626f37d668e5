"""What a TAB offers as values: from constants and from what commands have seen; asks nobody, imports no SDK."""

import os
import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import typer

STATUSES = ("validating_files", "queued", "running", "succeeded", "failed", "cancelled")
"""Those that OpenAI names."""

INIT_KEYS = (
    "allow_val_change",
    "anonymous",
    "config",
    "config_exclude_keys",
    "config_include_keys",
    "dir",
    "force",
    "group",
    "job_type",
    "mode",
    "monitor_gym",
    "name",
    "notes",
    "save_code",
    "settings",
    "sync_tensorboard",
    "tags",
    "tensorboard",
)
"""Arguments of `wandb.init` that are the user's to set."""

PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]*")
"""Values that no shell reads as more than a word; others are not offered, since scripts of shells evaluate them."""

UNUSUAL = re.compile(r"[^A-Za-z0-9_./:, -]")
"""What a description shows as `?`, for the same reason."""

LONGEST_DESCRIPTION = 100

Offer: TypeAlias = tuple[str, str]
"""A value and its description."""


def jobs(context: typer.Context, incomplete: str) -> list[Offer]:
    """Offer the jobs that were seen, newest first, but for those that the line names already."""
    from ft_sync.cli import seen  # noqa: PLC0415 - only a TAB

    environment = _environment(context)
    provider = context.params.get("provider") or environment.get("FTSYNC_PROVIDER")
    known = seen.known_jobs(provider, environment)
    given = set(context.params.get("job") or ())
    return [
        (job.id, _description(job.status, job.model))
        for job in known
        if job.id not in given and _is_offered(job.id, incomplete)
    ]


def projects(incomplete: str) -> list[str]:
    """Offer the projects that runs went to."""
    from ft_sync.cli import seen  # noqa: PLC0415 - only a TAB

    return _each_once((place.project for place in seen.known_places()), incomplete)


def entities(incomplete: str) -> list[str]:
    """Offer the entities that runs went to."""
    from ft_sync.cli import seen  # noqa: PLC0415 - only a TAB

    return _each_once((place.entity for place in seen.known_places()), incomplete)


def statuses(incomplete: str) -> list[str]:
    """Offer the statuses of a job."""
    return _each_once(STATUSES, incomplete)


def init_keys(incomplete: str) -> list[str]:
    """Offer the arguments of `wandb.init`."""
    return [f"{key}=" for key in _each_once(INIT_KEYS, incomplete)]


def _environment(context: typer.Context) -> Mapping[str, str]:
    """Return the variables, with those of the file that `--env-file` names."""
    path: Any = context.find_root().params.get("env_file")
    if not path:
        return os.environ
    from dotenv import dotenv_values  # noqa: PLC0415 - few need it

    try:
        in_file = dotenv_values(path, encoding="utf-8")
    except (OSError, ValueError):
        return os.environ
    return {name: value for name, value in in_file.items() if value is not None} | dict(os.environ)


def _description(status: str, model: str) -> str:
    known = [UNUSUAL.sub("?", part[:LONGEST_DESCRIPTION]) for part in (status, model) if part]
    return " · ".join(known)


def _each_once(values: Iterable[str], incomplete: str) -> list[str]:
    return [value for value in dict.fromkeys(values) if _is_offered(value, incomplete)]


def _is_offered(value: str, incomplete: str) -> bool:
    return value.startswith(incomplete) and PLAIN.fullmatch(value) is not None
