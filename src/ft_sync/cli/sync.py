"""`ftsync sync` and `ftsync resync`: one command that writes runs, under two rules."""

import sys
from typing import TYPE_CHECKING, Any, TypeAlias

import typer

from ft_sync.cli import exits, options, render
from ft_sync.cli.options import Output
from ft_sync.errors import ConfigError

if TYPE_CHECKING:
    from ft_sync.models import SyncReport
    from ft_sync.planning import Preview

RESYNC_HELP = """Write outdated or foreign runs again.

What sync leaves alone because it is complete is written again if its job has changed since, or if wandb's WandbLogger
wrote it; with --overwrite, whatever is selected is. The run that is replaced goes once the new one is verified.
"""

OPEN_FILES = 65_536

Row: TypeAlias = tuple[str, str, int | None, str | None, str | None]
"""An outcome: its name, the job's id, the rows written, the run's URL, and why the job was not written."""

# ftsync's flags for arguments that users may mistake for arguments of `wandb.init` and pass with --init.
FLAGS = {
    "fine_tune_job_id": "--job",
    "num_fine_tunes": "--last",
    "shard": "--shard",
    "project": "--project",
    "entity": "--entity",
    "overwrite": "--overwrite",
    "include_unsuccessful": "--include-unsuccessful",
    "wait_for_job_success": "--wait",
    "log_datasets": "--log-datasets",
    "model_artifact_name": "--model-artifact-name",
    "model_artifact_type": "--model-artifact-type",
    "model_artifact_copies": "--model-artifact-name",
    "table_rows": "--table-rows",
    "renew": "`ftsync resync`",
    "on_native": "--on-native",
    "keep_replaced": "--keep-replaced",
    "link": "--link",
    "link_alias": "--link-alias",
    "poll_interval": "--poll-interval",
    "timeout": "--timeout",
    "watch": "--watch",
    "concurrency": "--concurrency",
    "provider": "--provider",
    "from_archive": "--from-archive",
    "openai_client": "OPENAI_API_KEY and OPENAI_BASE_URL",
    "observer": "--verbose",
    "run": "ft_sync.sync, which takes one that is open",
}


def sync(  # noqa: PLR0913 - one argument for each flag
    context: typer.Context,
    *,
    job: options.Jobs = None,
    last: options.Last = None,
    shard: options.Shard = None,
    provider: options.Provider = None,
    from_archive: options.FromArchive = None,
    project: options.Project = None,
    entity: options.Entity = None,
    overwrite: options.Overwrite = False,
    include_unsuccessful: options.IncludeUnsuccessful = False,
    on_native: options.OnNative = None,
    keep_replaced: options.KeepReplaced = None,
    dry_run: options.DryRun = False,
    offline: options.Offline = False,
    wait: options.Wait = None,
    poll_interval: options.PollInterval = None,
    timeout: options.Timeout = None,
    watch: options.Watch = False,
    concurrency: options.Concurrency = None,
    log_datasets: options.LogDatasets = None,
    table_rows: options.TableRows = None,
    model_artifact_name: options.ModelArtifactName = None,
    model_artifact_type: options.ModelArtifactType = None,
    link: options.Link = None,
    link_alias: options.LinkAlias = None,
    init: options.Init = None,
    json: options.Json = False,
    jsonl: options.Jsonl = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    debug: options.Debug = False,
    no_color: options.NoColor = False,
) -> None:
    """Bring fine-tuning jobs into W&B.

    Creates the runs that are missing and completes those that were cut off; what is complete is left alone.
    Without --job and --last: every job, all pages, oldest first; --shard takes a part of what is selected.
    """
    if job and last is not None:
        raise ConfigError("--job and --last exclude each other", hint="give one of them")
    command = str(context.info_name)
    selection = {
        "fine_tune_job_id": options.job_ids(job) if job else None,
        "num_fine_tunes": last,
        "shard": shard,
        "provider": provider,
        "from_archive": from_archive,
        "project": project,
        "entity": entity,
        "overwrite": overwrite,
        "include_unsuccessful": include_unsuccessful,
        "wait_for_job_success": wait,
        "renew": command == "resync",
        "on_native": on_native,
        "link": link or (),
        "link_alias": link_alias or (),
        **init_arguments(init or [], offline=offline),
    }
    details = {
        "log_datasets": log_datasets,
        "table_rows": table_rows,
        "keep_replaced": keep_replaced,
        "model_artifact_name": model_artifact_name,
        "model_artifact_type": model_artifact_type,
        "poll_interval": poll_interval,
        "timeout": timeout,
        "watch": watch,
        "concurrency": concurrency,
    }
    output = Output(json, quiet, verbose, debug, not no_color, jsonl)
    if dry_run:
        raise typer.Exit(preview(selection, command, output))
    report = carry_out({**selection, **details}, output)
    raise typer.Exit(show(report, command, output))


def init_arguments(given: list[str], *, offline: bool) -> dict[str, Any]:
    """Return the arguments of `wandb.init`, refusing those for which ftsync has a flag."""
    arguments = options.init_arguments(given, offline=offline)
    if taken := sorted(arguments.keys() & FLAGS.keys()):
        raise ConfigError(f"--init {taken[0]}=… cannot be set", hint=f"use {FLAGS[taken[0]]}")
    return arguments


def carry_out(arguments: dict[str, Any], output: Output, *, remembers: bool = True) -> "SyncReport":
    """Sync with progress display; cache the jobs for shell completion if `remembers`."""
    from ft_sync import api  # noqa: PLC0415 - the SDKs: `--help` does without
    from ft_sync.cli import progress, seen  # noqa: PLC0415 - as above

    _allow_open_files()
    with progress.watching(output) as observer:
        return api.sync(**arguments, observer=seen.noting(observer, arguments) if remembers else observer)


def _allow_open_files() -> None:
    """Raise the limit of open files for this process: each followed job keeps two files open."""
    try:
        import resource  # noqa: PLC0415 - not on Windows, which has no such limit
    except ImportError:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


def preview(arguments: dict[str, Any], command: str, output: Output) -> int:
    """Show what a sync would do; return the exit code."""
    from ft_sync import api  # noqa: PLC0415 - as above
    from ft_sync.cli import progress  # noqa: PLC0415 - as above

    return _show_preview(api.preview(**arguments, observer=progress.lines(output)), command, output)


def show(report: "SyncReport", command: str, output: Output) -> int:
    """Show the outcomes and, if something failed, what to do next; return the exit code."""
    from ft_sync.cli import documents  # noqa: PLC0415 - as above

    if output.is_json:
        render.document(documents.of_report(report, command), as_line=output.jsonl)
    elif output.quiet:
        render.lines([outcome.job_id] for outcome in report.synced)
        render.tell_failures(report.failed)
    elif render.is_screen(sys.stdout):
        if report.outcomes:
            headers = ("outcome", "job", "rows", "run or reason")
            render.table(headers, _short_rows(report), folds=3, color=output.color)
    else:
        render.lines(
            (outcome, job_id, rows if rows is None else f"{rows} rows", url, reason)
            for outcome, job_id, rows, url, reason in _rows(report)
        )
    if output.tells:
        _summarize(report)
    if output.debug:
        for failed in report.failed:
            render.trace(failed.error)
    return exits.of_report(report)


def _rows(report: "SyncReport") -> list[Row]:
    """Return a row per outcome, sorted by kind of outcome.

    Written jobs have no reason in their row: "not in W&B yet" is no longer true once the job is written.
    """
    rows: list[Row] = []
    rows += [("synced", done.job_id, done.rows, done.url, None) for done in report.synced]
    rows += [("skipped", skipped.job_id, None, skipped.url, skipped.reason) for skipped in report.skipped]
    rows += [("failed", failed.job_id, None, None, failed.error.message) for failed in report.failed]
    return rows


def _short_rows(report: "SyncReport") -> list[tuple[object, ...]]:
    """Return the rows for people: with the URL of a written run, or the reason why a job was not written."""
    return [
        (outcome, job_id, rows, render.place(url) if outcome == "synced" else reason)
        for outcome, job_id, rows, url, reason in _rows(report)
    ]


def _summarize(report: "SyncReport") -> None:
    counts = {"synced": report.synced, "skipped": report.skipped, "failed": report.failed}
    said = [f"{len(outcomes)} {name}" for name, outcomes in counts.items() if outcomes]
    render.tell(", ".join(said) or "nothing to do")
    if report.timed_out:
        render.tell("  next: run the same command again to wait for the unfinished jobs")
    for hint in dict.fromkeys(failed.error.hint for failed in report.failed if failed.error.hint):
        render.tell(f"  next: {hint}")


def _show_preview(preview: "Preview", command: str, output: Output) -> int:
    from ft_sync.cli import documents  # noqa: PLC0415 - as above

    code = exits.INCOMPLETE if preview.unreadable else exits.DONE
    rows: list[tuple[str, str, str]] = [(documents.action(plan), plan.job.id, plan.reason) for plan in preview.plans]
    rows += [("unreadable", failed.job_id, failed.error.message) for failed in preview.unreadable]
    if output.is_json:
        render.document(documents.of_preview(preview, command, code), as_line=output.jsonl)
    elif output.quiet:
        render.lines([job_id] for action, job_id, _ in rows if action not in {"skip", "unreadable"})
    elif render.is_screen(sys.stdout):
        render.table(("would", "job", "because"), rows, folds=2, color=output.color)
    else:
        render.lines(rows)
    if output.tells:
        render.tell("dry run: nothing was written")
    return code
