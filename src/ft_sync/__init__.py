"""ftsync carries OpenAI fine-tuning jobs into Weights & Biases, complete and checked."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from ft_sync._version import __version__

if TYPE_CHECKING:
    from ft_sync.api import (
        archive,
        check_archive,
        diagnose,
        job_details,
        list_jobs,
        preview,
        report,
        sync,
        verify,
        watch_jobs,
    )
    from ft_sync.compare import Verification
    from ft_sync.models import ArchiveReport, SyncReport
    from ft_sync.wandb_logger import WandbLogger

__all__ = [
    "ArchiveReport",
    "SyncReport",
    "Verification",
    "WandbLogger",
    "__version__",
    "archive",
    "check_archive",
    "diagnose",
    "job_details",
    "list_jobs",
    "preview",
    "report",
    "sync",
    "verify",
    "watch_jobs",
]

_HOMES = dict.fromkeys(__all__, "ft_sync.api") | {
    "ArchiveReport": "ft_sync.models",
    "SyncReport": "ft_sync.models",
    "Verification": "ft_sync.compare",
    "WandbLogger": "ft_sync.wandb_logger",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used: `ftsync --version` needs none of them."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
