"""`ftsync list`: lists jobs, newest first, and whether W&B holds them."""

import sys
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ft_sync.cli import exits, options, render, suggestions
from ft_sync.cli.options import Output
from ft_sync.errors import ConfigError, NotLoggedIn

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from ft_sync.models import Failed, Job
    from ft_sync.overview import Standing

LIMIT = 20


def list_jobs(  # noqa: PLR0913 - one argument for each flag
    *,
    limit: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help=f"Show N jobs at most (default {LIMIT}).", show_default=False),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Show every job, all pages.")] = False,
    status: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STATUS", help="Only jobs with this status; repeatable.", autocompletion=suggestions.statuses
        ),
    ] = None,
    unsynced: Annotated[
        bool, typer.Option("--unsynced", help="Only succeeded jobs that W&B does not hold completely.")
    ] = False,
    shard: options.Shard = None,
    provider: options.Provider = None,
    from_archive: options.FromArchive = None,
    project: options.Project = None,
    entity: options.Entity = None,
    offline: options.Offline = False,
    json: options.Json = False,
    jsonl: options.Jsonl = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    debug: options.Debug = False,
    no_color: options.NoColor = False,
) -> None:
    """List jobs and whether W&B holds them.

    Newest first. In a pipe, tab separated: id, status, method, base model, fine-tuned model, created, seconds taken,
    trained tokens, whether W&B holds it, URL.
    """
    if everything and limit is not None:
        raise ConfigError("--all and --limit exclude each other", hint="give one of them")
    from ft_sync import api  # noqa: PLC0415 - the SDKs: `--help` does without
    from ft_sync.cli import progress, seen  # noqa: PLC0415 - as above

    shown = None if everything else limit or LIMIT
    filtered = bool(status or unsynced)
    # Fetch one more than is shown, to know whether there are more.
    wanted = None if shown is None else shown + 1
    output = Output(json, quiet, verbose, debug, not no_color, jsonl)
    where: dict[str, Any] = {
        "project": project,
        "entity": entity,
        "mode": "offline" if offline else None,
        "shard": shard,
        "provider": provider,
        "from_archive": from_archive,
    }
    standings = api.list_jobs(None if filtered else wanted, **where, observer=progress.lines(output))
    failures: list[Failed] = []
    listed: list[Job] = []
    chosen = _chosen(_noting(standings, listed), status or (), failures, unsynced=unsynced)
    if jsonl:
        _stream(islice(chosen, shown), failures)
    else:
        found = list(islice(chosen, wanted))
        _show(found[:shown], failures, output)
        if shown is not None and len(found) > shown and not quiet:
            render.tell(f"the newest {shown}; --all shows every job")
        if not found and output.tells:
            _tell_strange(status or (), listed)
    seen.remember(listed, where)
    for failed in failures:
        render.tell(f"{failed.job_id}: {failed.error.message}")
    if failures:
        raise typer.Exit(exits.INCOMPLETE)


def _noting(standings: "Iterable[Standing | Failed]", jobs: "list[Job]") -> "Iterator[Standing | Failed]":
    """Yield the entries unchanged and append their jobs to `jobs`."""
    from ft_sync.models import Failed  # noqa: PLC0415 - as above

    for standing in standings:
        if not isinstance(standing, Failed):
            jobs.append(standing.job)
        yield standing


def _chosen(
    standings: "Iterable[Standing | Failed]", statuses: "Collection[str]", failures: "list[Failed]", *, unsynced: bool
) -> "Iterator[Standing]":
    """Yield the jobs that pass the filters; append jobs that cannot be read to `failures`."""
    from ft_sync.models import SUCCEEDED, Failed, SyncState  # noqa: PLC0415 - as above

    for standing in standings:
        if isinstance(standing, Failed):
            failures.append(standing)
            continue
        if unsynced and standing.sync is SyncState.UNKNOWN:
            raise NotLoggedIn(
                "not logged in to W&B: which jobs it holds is unknown",
                hint="`wandb login`, or export WANDB_API_KEY=…, or use --offline",
            )
        if statuses and standing.job.status not in statuses:
            continue
        if unsynced and (standing.job.status != SUCCEEDED or standing.sync is SyncState.COMPLETE):
            continue
        yield standing


def _tell_strange(statuses: "Iterable[str]", jobs: "Iterable[Job]") -> None:
    """If a requested status occurs in no job, print the statuses that do: it may be misspelt."""
    there = sorted({job.status for job in jobs})
    if there and (strange := sorted(set(statuses).difference(there))):
        render.tell(f"no job is {', '.join(strange)}; there are jobs that are {', '.join(there)}")


def _stream(standings: "Iterable[Standing]", failures: "list[Failed]") -> None:
    """Write each job's line as it arrives, until the reader closes the pipe."""
    from ft_sync.cli import documents  # noqa: PLC0415 - as above

    jobs = 0
    for standing in standings:
        if not render.line("job", documents.of_standing(standing)):
            return
        jobs += 1
    for failed in failures:
        render.line("failed", documents.of_outcome(failed))
    render.line("end", documents.of_end("list", jobs, len(failures), exits.INCOMPLETE if failures else exits.DONE))


def _show(standings: "list[Standing]", failures: "list[Failed]", output: Output) -> None:
    from ft_sync.cli import documents  # noqa: PLC0415 - as above

    if output.json:
        render.document(documents.of_standings(standings, failures))
    elif output.quiet:
        render.lines([standing.job.id] for standing in standings)
    elif render.is_screen(sys.stdout):
        _show_table(standings, output)
    else:
        render.lines(_row(standing) for standing in standings)


def _row(standing: "Standing") -> tuple[object, ...]:
    job = standing.job
    return (
        job.id,
        job.status,
        job.method,
        job.base_model,
        job.fine_tuned_model,
        render.moment(job.created_at),
        render.seconds(job.duration),
        job.trained_tokens,
        standing.sync,
        standing.run.url if standing.run else None,
    )


def _show_table(standings: "list[Standing]", output: Output) -> None:
    if not standings:
        render.tell("no such jobs")
        return
    rows = (
        (
            job.id,
            job.status,
            job.method,
            job.fine_tuned_model or job.base_model,
            render.day_and_time(job.created_at),
            render.span(render.seconds(job.duration)),
            job.trained_tokens,
            render.Linked(str(standing.sync), standing.run.url if standing.run else None),
        )
        for standing in standings
        for job in [standing.job]
    )
    headers = ("job", "status", "method", "model", "created", "took", "tokens", "in W&B")
    optional = [headers.index(header) for header in ("tokens", "took", "method", "created")]
    folds, shortens = headers.index("model"), headers.index("job")
    cut = render.table(headers, rows, folds=folds, optional=optional, shortens=shortens, color=output.color)
    if cut:
        render.tell(f"left out: {', '.join(cut)}; widen the terminal, or use --json")
