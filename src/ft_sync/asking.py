"""Combines arguments and settings into one `Request`, refusing those that exclude each other; asks no service."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from ft_sync import planning
from ft_sync.errors import ConfigError
from ft_sync.follow import Patience
from ft_sync.models import JobId
from ft_sync.planning import Request, Selection

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ft_sync.plan import Rule
    from ft_sync.settings import Settings


def request(  # noqa: PLR0913 - what a command asks for
    settings: Settings,
    fine_tune_job_id: str | Iterable[str] | None,
    num_fine_tunes: int | None,
    rule: Rule,
    *,
    watch: bool = False,
    link: str | Iterable[str],
    link_alias: str | Iterable[str],
) -> Request:
    """Return the request for a sync.

    Raises:
        ConfigError: Arguments or settings that exclude each other.
    """
    chosen = selection(settings, fine_tune_job_id, num_fine_tunes)
    ids = chosen.job_ids or ()
    if rule.into is not None and len(ids) != 1 and chosen.last != 1:
        raise ConfigError("an open run takes one job", hint="name the job, or leave out the run")
    if watch and (chosen.job_ids is not None or not rule.wait or settings.timeout is not None):
        other = "--job" if chosen.job_ids is not None else "--timeout" if rule.wait else "--no-wait"
        raise ConfigError(f"--watch and {other} exclude each other", hint="a watch takes on every job, for ever")
    if settings.keep_replaced and settings.mode == "offline":
        raise ConfigError("a replaced run can be kept online alone", hint="leave out --keep-replaced")
    asked = Request(
        chosen,
        rule,
        Patience(settings.poll_interval, settings.timeout, watch),
        settings.concurrency,
        log_datasets=settings.log_datasets,
        table_rows=settings.table_rows,
        keep_replaced=settings.keep_replaced,
        links=texts(link),
        link_aliases=texts(link_alias),
    )
    _check_links(asked, settings)
    return asked


def selection(
    settings: Settings, fine_tune_job_id: str | Iterable[str] | None, num_fine_tunes: int | None
) -> Selection:
    """Return the selection of jobs.

    Raises:
        ConfigError: Both ids and a number of newest jobs are given, or that number is less than 1.
    """
    ids = None if fine_tune_job_id is None else tuple(map(JobId, texts(fine_tune_job_id)))
    if ids is not None and num_fine_tunes is not None:
        raise ConfigError("named jobs and a number of newest jobs exclude each other", hint="give --job or --last")
    if num_fine_tunes is not None and num_fine_tunes < 1:
        raise ConfigError(f"the number of newest jobs is {num_fine_tunes}", hint="give 1 or more")
    return Selection(ids, num_fine_tunes, shard(settings))


def texts(given: str | Iterable[str]) -> tuple[str, ...]:
    """Return one string or several as a tuple."""
    return (given,) if isinstance(given, str) else tuple(given)


def shard(settings: Settings) -> planning.Shard:
    """Return the shard in the settings; `WHOLE` if there is none."""
    return planning.WHOLE if settings.shard is None else planning.shard(settings.shard)


def _check_links(request: Request, settings: Settings) -> None:
    for collection in request.links:
        if not re.fullmatch(r"[^/:\s]+/[^/:\s]+", collection):
            raise ConfigError(f"--link {collection}: not REGISTRY/COLLECTION", hint="for example --link model/support")
    for name in request.link_aliases:
        if not name or re.search(r"[/:]", name):
            raise ConfigError(f"--link-alias {name}: an alias has no / and no :", hint="for example production")
    if request.link_aliases and not request.links:
        raise ConfigError("--link-alias without --link", hint="name the collection: --link REGISTRY/COLLECTION")
    if request.links and settings.mode == "offline":
        flags = [("--job", str(job_id)) for job_id in request.selection.job_ids or ()]
        flags += [("--last", str(request.selection.last))] if request.selection.last else []
        flags += [("--shard", settings.shard)] if settings.shard else []
        flags += [("--project", settings.project), *([("--entity", settings.entity)] if settings.entity else [])]
        flags += [("--model-artifact-name", settings.model_artifact_name)]
        flags += [("--link", collection) for collection in request.links]
        flags += [("--link-alias", name) for name in request.link_aliases]
        command = shlex.join(["ftsync", "sync", *(word for flag in flags for word in flag)])
        raise ConfigError(
            "--link needs the server: there is no registry offline",
            hint=f"leave it out, upload the runs with `wandb sync`, then run `FTSYNC_MODE=online {command}`",
        )
