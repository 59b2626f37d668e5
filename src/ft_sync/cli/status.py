"""`ftsync status`: shows named jobs in detail, or counts all jobs."""

import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ft_sync.cli import exits, options, render, suggestions
from ft_sync.cli.options import Output
from ft_sync.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ft_sync.models import Failed
    from ft_sync.overview import Detail, Standing

EVENTS_SHOWN = 5


def status(  # noqa: PLR0913 - one argument for each flag
    *,
    job: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="JOB",
            help="These jobs; - reads ids from stdin. Without it: counts.",
            show_default=False,
            autocompletion=suggestions.jobs,
        ),
    ] = None,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help=f"Exit {exits.STILL_RUNNING} if a shown job is unfinished.")
    ] = False,
    shard: options.Shard = None,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch",
            help=f"Show the jobs until they have ended; exit {exits.ENDED_BADLY} if one of them ended badly.",
        ),
    ] = False,
    poll_interval: options.PollInterval = None,
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
    """Show jobs in depth, or count them all.

    In depth: progress, metrics, events, error, files, the run, and what a sync would do; in a terminal with training
    curves. With --watch: in place in a terminal, a line for each change in a pipe.
    """
    from ft_sync import api  # noqa: PLC0415 - the SDKs: `--help` does without
    from ft_sync.cli import progress, seen  # noqa: PLC0415 - as above
    from ft_sync.models import Failed  # noqa: PLC0415 - as above

    output = Output(json, quiet, verbose, debug, not no_color, jsonl)
    where: dict[str, Any] = {
        "project": project,
        "entity": entity,
        "mode": "offline" if offline else None,
        "shard": shard,
        "provider": provider,
        "from_archive": from_archive,
        "observer": progress.lines(output),
    }
    if watch:
        raise typer.Exit(_watch(job, where, poll_interval, output))
    if poll_interval is not None:
        raise ConfigError("--poll-interval without --watch", hint="add --watch, or leave it out")
    failures: list[Failed] = []
    if job:
        found = list(_told(api.job_details(options.job_ids(job), with_rows=_draws(output), **where), output))
        failures = [one for one in found if isinstance(one, Failed)]
        details = [one for one in found if not isinstance(one, Failed)]
        if failures and not details:
            raise failures[0].error
        standings = [detail.standing for detail in details]
        code = _exit_code(standings, failures, asked=exit_code)
        _show_details(details, failures, output, code)
        if output.tells:
            for note in dict.fromkeys(note for detail in details for note in detail.notes):
                render.tell(f"note: {note}")
    else:
        listed = list(api.list_jobs(**where))
        failures = [one for one in listed if isinstance(one, Failed)]
        standings = [one for one in listed if not isinstance(one, Failed)]
        code = _exit_code(standings, failures, asked=exit_code)
        _show_counts(standings, failures, output, code)
    seen.remember((standing.job for standing in standings), where)
    for failed in failures:
        render.tell(f"{failed.job_id}: {failed.error.message}")
    raise typer.Exit(code)


def _exit_code(standings: "list[Standing]", failures: "list[Failed]", *, asked: bool) -> int:
    """Return the exit code; unfinished jobs count only if `asked` (`--exit-code`)."""
    if failures:
        return exits.INCOMPLETE
    is_unfinished = asked and not all(standing.job.is_finished for standing in standings)
    return exits.STILL_RUNNING if is_unfinished else exits.DONE


def _told(found: "Iterable[Detail | Failed]", output: Output) -> "Iterator[Detail | Failed]":
    """Yield the entries unchanged; with `--jsonl`, write each as it arrives."""
    from ft_sync.cli import documents  # noqa: PLC0415 - as above
    from ft_sync.models import Failed  # noqa: PLC0415 - as above

    for one in found:
        yield one
        if not output.jsonl:
            continue
        if isinstance(one, Failed):
            render.line("failed", documents.of_outcome(one))
        else:
            render.line("job", documents.of_detail(one, seconds_left(one, time.time())))


def _watch(jobs: list[str] | None, where: dict[str, Any], poll_interval: float | None, output: Output) -> int:
    from ft_sync.cli.watch import watch  # noqa: PLC0415 - as above

    if not jobs:
        hint = "for example: ftsync list -q --status running | ftsync status --watch -"
        raise ConfigError("status --watch: which jobs?", hint=hint)
    if where.pop("from_archive") is not None:
        raise ConfigError("--watch and --from-archive exclude each other: an archive does not change by itself")
    return watch(options.job_ids(jobs), {**where, "poll_interval": poll_interval, "with_rows": _draws(output)}, output)


def seconds_left(detail: "Detail", now: float) -> float | None:
    """Return a job's remaining seconds: the service's estimate, or one from the rate of its events."""
    job = detail.standing.job
    if job.is_finished:
        return None
    if job.estimated_finish is not None:
        return max(0.0, job.estimated_finish.timestamp() - now)
    if detail.step is None or detail.total_steps is None:
        return None
    from ft_sync.results import step_of  # noqa: PLC0415 - as below

    reported = [
        (event.created_at.timestamp(), step)
        for event in detail.events
        if event.type == "metrics" and event.created_at is not None
        for step in [step_of(event.data.get("step"))]
        if step is not None
    ]
    (first_time, first_step), (last_time, last_step) = (reported[0], reported[-1]) if reported else ((0, 0), (0, 0))
    if last_step <= first_step:
        return None
    rate = (last_time - first_time) / (last_step - first_step)
    return max(0.0, last_time + rate * (detail.total_steps - last_step) - now)


def _show_details(details: "list[Detail]", failures: "list[Failed]", output: Output, code: int) -> None:
    from ft_sync.cli import documents  # noqa: PLC0415 - as above

    now = time.time()
    if output.jsonl:
        render.line("end", documents.of_end("status", len(details), len(failures), code))
    elif output.json:
        timed = [(detail, seconds_left(detail, now)) for detail in details]
        render.document(documents.of_details(timed, failures, code))
    elif output.quiet:
        render.lines([detail.standing.job.id] for detail in details)
    elif render.is_screen(sys.stdout):
        show_portraits(details, now, output)
    else:
        # Each line begins with the job's id, since there may be several jobs.
        render.lines((detail.standing.job.id, *fact) for detail in details for fact in facts(detail, now))


def _draws(output: Output) -> bool:
    return render.is_screen(sys.stdout) and not (output.json or output.quiet)


def show_portraits(details: "Iterable[Detail]", now: float, output: Output) -> None:
    """Show jobs in detail, one below the other."""
    from ft_sync.cli.portrait import portrait  # noqa: PLC0415 - as above

    screen = render.console(sys.stdout, color=output.color)
    for number, detail in enumerate(details):
        with screen.capture() as captured:
            for line in portrait(facts(detail, now, is_brief=True), detail, screen):
                screen.print(line, soft_wrap=True)
        render.emit("\n" * (number > 0) + captured.get())


def facts(detail: "Detail", now: float, *, is_brief: bool = False) -> "Iterator[tuple[str, object]]":
    """Yield (name, value) pairs about a job; names may repeat, and unknown values are left out.

    With `is_brief`, only those metrics are included for which lower or higher is known to be better.
    """
    known = {
        **_job_facts(detail.standing),
        "progress": _progress(detail, now),
        "metrics": (_few(detail) if is_brief else render.figures(detail.metrics)) or None,
    }
    yield from ((name, value) for name, value in known.items() if value is not None)
    for event in detail.events[-EVENTS_SHOWN:]:
        yield "event", f"{render.moment(event.created_at) or render.NOTHING}  {event.message}"
    yield from _file_facts(detail.standing)
    yield "in W&B", str(detail.standing.sync)
    if run := detail.standing.run:
        yield "run", run.url or run.run_id
    if plan := detail.standing.plan:
        yield "sync would", f"{_verb(detail.standing)}: {plan.reason}"


def _few(detail: "Detail") -> str:
    from ft_sync.convert import best_of  # noqa: PLC0415 - as above

    few = {name: value for name, value in detail.metrics.items() if "/" not in name and best_of(name)}
    more = len(detail.metrics) - len(few)
    return ", ".join(filter(None, [render.figures(few), f"{more} more with --json" if more else ""]))


def _job_facts(standing: "Standing") -> dict[str, object]:
    job = standing.job
    return {
        "job": job.id,
        "status": job.status,
        "error": f"{job.error.code or 'error'}: {job.error.message}" if job.error else None,
        "method": job.method,
        "base model": job.base_model,
        "fine-tuned model": job.fine_tuned_model,
        "created": render.moment(job.created_at),
        "finished": render.moment(job.finished_at),
        "took": render.span(render.seconds(job.duration)),
        "trained tokens": job.trained_tokens,
    }


def _file_facts(standing: "Standing") -> "Iterator[tuple[str, object]]":
    job = standing.job
    if job.training_file:
        yield "training file", job.training_file
    if job.validation_file:
        yield "validation file", job.validation_file
    for file in job.result_files:
        yield "result file", file


def _verb(standing: "Standing") -> str:
    from ft_sync.cli import documents  # noqa: PLC0415 - as above

    assert standing.plan is not None
    return documents.action(standing.plan)


def _progress(detail: "Detail", now: float) -> str | None:
    if detail.step is None or detail.standing.job.is_finished:
        return None
    done = f"step {detail.step}" + (f" of {detail.total_steps}" if detail.total_steps else "")
    left = render.span(seconds_left(detail, now))
    return f"{done}, {left} left" if left else done


def _show_counts(standings: "list[Standing]", failures: "list[Failed]", output: Output, code: int) -> None:
    from ft_sync.cli import documents  # noqa: PLC0415 - as above

    statuses = Counter(str(standing.job.status) for standing in standings)
    syncs = Counter(str(standing.sync) for standing in standings)
    rows = [("status", name, count) for name, count in statuses.most_common()]
    rows += [("in W&B", name, count) for name, count in syncs.most_common()]
    if output.is_json:
        render.document(documents.of_counts(statuses, syncs, failures, code), as_line=output.jsonl)
    elif output.quiet:
        render.lines([standing.job.id] for standing in standings)
    elif render.is_screen(sys.stdout):
        render.table(("", "", ""), rows, folds=1, color=output.color)
    else:
        render.lines(rows)
