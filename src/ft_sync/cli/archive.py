"""`ftsync archive`: copies jobs into a self-contained folder, or checks that such a folder is intact."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ft_sync.cli import exits, options, render
from ft_sync.cli.options import Output
from ft_sync.errors import ConfigError

if TYPE_CHECKING:
    from ft_sync.archives import Problem
    from ft_sync.models import ArchiveReport


def archive(  # noqa: PLR0913 - one argument for each flag
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="New, empty, or an archive.", show_default=False)],
    *,
    job: options.Jobs = None,
    last: options.Last = None,
    shard: options.Shard = None,
    check: Annotated[
        bool, typer.Option("--check", help="Read the whole archive again and compare the sums; asks no service.")
    ] = False,
    provider: options.Provider = None,
    concurrency: options.Concurrency = None,
    json: options.Json = False,
    jsonl: options.Jsonl = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    debug: options.Debug = False,
    no_color: options.NoColor = False,
) -> None:
    """Copy jobs into a folder that is complete by itself.

    Every job as served, its events, checkpoints and files byte for byte, with a manifest of sums; without --job and
    --last: every job, whatever its status. What is there is not asked for again. In a pipe, tab separated: outcome,
    id, status or reason. Other commands read it with --from-archive.
    """
    if check and (job or last is not None or shard):
        raise ConfigError("--check reads the whole archive", hint="leave out --job, --last and --shard")
    if job and last is not None:
        raise ConfigError("--job and --last exclude each other", hint="give one of them")
    output = Output(json, quiet, verbose, debug, not no_color, jsonl)
    if check:
        raise typer.Exit(_check(folder, output))
    ids = options.job_ids(job) if job else None
    given = {"num_fine_tunes": last, "shard": shard, "provider": provider, "concurrency": concurrency}
    raise typer.Exit(_show(_carry_out(folder, ids, given, output), folder, output))


def _carry_out(folder: Path, job_ids: list[str] | None, given: dict[str, Any], output: Output) -> "ArchiveReport":
    from ft_sync import api  # noqa: PLC0415 - the SDKs: `--help` does without
    from ft_sync.cli import progress  # noqa: PLC0415 - as above

    with progress.watching(output) as observer:
        return api.archive(folder, job_ids, **given, observer=observer)


def _check(folder: Path, output: Output) -> int:
    from ft_sync import api  # noqa: PLC0415 - as above
    from ft_sync.cli import documents  # noqa: PLC0415 - as above

    problems: list[Problem] = []
    for problem in api.check_archive(folder):
        problems.append(problem)
        if output.jsonl:
            render.line("problem", documents.of_problem(problem))
    if output.is_json:
        render.document(documents.of_check(str(folder), problems), as_line=output.jsonl)
    elif output.quiet:
        render.lines([path] for path, _ in problems)
    elif problems and render.is_screen(sys.stdout):
        render.table(("path", "problem"), problems, folds=0, color=output.color)
    else:
        render.lines(problems)
    if output.tells:
        render.tell(f"{len(problems)} problems" if problems else "everything is as it was stored")
        if problems:
            render.tell(
                "  next: remove what is damaged or unknown; without --check, what is missing is asked for again"
            )
    return exits.INCOMPLETE if problems else exits.DONE


def _show(report: "ArchiveReport", folder: Path, output: Output) -> int:
    """Show the outcome of each job and the parts that the service refused; return the exit code."""
    from ft_sync.cli import documents  # noqa: PLC0415 - as above

    news = [archived for archived in report.archived if archived.is_news]
    rows: list[tuple[str, str, str | None]] = [("archived", archived.job_id, archived.status) for archived in news]
    rows += [("failed", failed.job_id, failed.error.message) for failed in report.failed]
    rows += [("lost", lost.id, f"{lost.kind}: {lost.reason}") for lost in report.lost]
    if output.is_json:
        render.document(documents.of_archive(report, str(folder)), as_line=output.jsonl)
    elif output.quiet:
        render.lines([archived.job_id] for archived in news)
        render.tell_failures(report.failed)
        for lost in report.lost:
            render.tell(f"{lost.id}: {lost.kind}: {lost.reason}")
    elif not render.is_screen(sys.stdout):
        render.lines(rows)
    elif rows:
        render.table(("outcome", "id", "status or reason"), rows, folds=2, color=output.color)
    if output.tells:
        _summarize(report, len(news), folder)
    if output.debug:
        for failed in report.failed:
            render.trace(failed.error)
    return exits.of_archive(report)


def _summarize(report: "ArchiveReport", news: int, folder: Path) -> None:
    counts = {
        "archived": news,
        "as they were": len(report.archived) - news,
        "failed": len(report.failed),
        "parts not to be had": len(report.lost),
    }
    render.tell(", ".join(f"{number} {name}" for name, number in counts.items() if number) or "no jobs")
    for note in report.lacking:
        render.tell(f"note: {note}")
    for hint in dict.fromkeys(failed.error.hint for failed in report.failed if failed.error.hint):
        render.tell(f"  next: {render.safe(hint)}")
    render.tell(f"the archive is in {render.safe(folder)}")
