"""Shell completion of values, from constants and cached results of commands; sends no requests, imports no SDK."""

import os
import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import typer

STATUSES = ("validating_files", "queued", "running", "succeeded", "failed", "cancelled")
"""The job statuses that OpenAI documents."""

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
"""Arguments of `wandb.init` that the user may set."""

PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]*")
"""Values that are plain words in every shell; others are not offered, since completion scripts may evaluate them."""

UNUSUAL = re.compile(r"[^A-Za-z0-9_./:, -]")
"""Characters that a description shows as `?`, for the same reason."""

LONGEST_DESCRIPTION = 100

Offer: TypeAlias = tuple[str, str]
"""A value and its description."""


def jobs(context: typer.Context, incomplete: str) -> list[Offer]:
    """Offer the cached jobs, newest first, except those already on the command line."""
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
    """Offer the cached projects."""
    from ft_sync.cli import seen  # noqa: PLC0415 - only a TAB

    return _each_once((place.project for place in seen.known_places()), incomplete)


def entities(incomplete: str) -> list[str]:
    """Offer the cached entities."""
    from ft_sync.cli import seen  # noqa: PLC0415 - only a TAB

    return _each_once((place.entity for place in seen.known_places()), incomplete)


def statuses(incomplete: str) -> list[str]:
    """Offer the statuses of a job."""
    return _each_once(STATUSES, incomplete)


def init_keys(incomplete: str) -> list[str]:
    """Offer the arguments of `wandb.init`."""
    return [f"{key}=" for key in _each_once(INIT_KEYS, incomplete)]


def _environment(context: typer.Context) -> Mapping[str, str]:
    """Return the environment variables, including those from the file given by `--env-file`."""
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
