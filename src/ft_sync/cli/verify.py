"""`ftsync verify`: compares what W&B holds with what OpenAI says, item by item."""

import json as json_format
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

import typer

from ft_sync.cli import exits, options, render
from ft_sync.cli.options import Output
from ft_sync.cli.sync import init_arguments
from ft_sync.errors import ConfigError

if TYPE_CHECKING:
    from ft_sync.compare import Verdict, Verification

LONGEST_VALUE = 100
"""Maximum length of a value shown to people or in a pipe, in characters; JSON output is not truncated."""

Row: TypeAlias = tuple[str, str, str | None, str | None, str | None]
"""A verdict, the job's id and, for each difference, the item, the expected and the found value."""


def verify(  # noqa: PLR0913 - one argument for each flag
    *,
    job: options.Jobs = None,
    last: options.Last = None,
    shard: options.Shard = None,
    provider: options.Provider = None,
    from_archive: options.FromArchive = None,
    project: options.Project = None,
    entity: options.Entity = None,
    repair: options.Repair = False,
    content: options.Content = True,
    include_unsuccessful: options.IncludeUnsuccessful = False,
    on_native: options.OnNative = None,
    keep_replaced: options.KeepReplaced = None,
    concurrency: options.Concurrency = None,
    log_datasets: options.LogDatasets = None,
    table_rows: options.TableRows = None,
    model_artifact_name: options.ModelArtifactName = None,
    model_artifact_type: options.ModelArtifactType = None,
    init: options.Init = None,
    json: options.Json = False,
    jsonl: options.Jsonl = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    debug: options.Debug = False,
    no_color: options.NoColor = False,
) -> None:
    """Compare what W&B holds with what OpenAI says.

    Item by item, as read back from W&B: rows, config, summary, console log, and the stored bytes of files, datasets,
    tables and model. Flags that sync has, too, say what was asked of it. In a pipe, tab separated: verdict, job, item,
    expected, found. With -q: the ids of the jobs that are not identical.
    """
    if job and last is not None:
        raise ConfigError("--job and --last exclude each other", hint="give one of them")
    arguments = {
        "fine_tune_job_id": options.job_ids(job) if job else None,
        "num_fine_tunes": last,
        "shard": shard,
        "provider": provider,
        "from_archive": from_archive,
        "project": project,
        "entity": entity,
        "repair": repair,
        "content": content,
        "include_unsuccessful": include_unsuccessful,
        "on_native": on_native,
        "keep_replaced": keep_replaced,
        "concurrency": concurrency,
        "log_datasets": log_datasets,
        "table_rows": table_rows,
        "model_artifact_name": model_artifact_name,
        "model_artifact_type": model_artifact_type,
        **init_arguments(init or [], offline=False),
    }
    output = Output(json, quiet, verbose, debug, not no_color, jsonl)
    raise typer.Exit(show(carry_out(arguments, output), output, repair=repair))


def carry_out(arguments: dict[str, Any], output: Output) -> "Verification":
    """Verify with progress display."""
    from ft_sync import api  # noqa: PLC0415 - the SDKs: `--help` does without
    from ft_sync.cli import progress  # noqa: PLC0415 - as above

    with progress.watching(output) as observer:
        return api.verify(**arguments, observer=observer)


def show(verification: "Verification", output: Output, *, repair: bool) -> int:
    """Show the verdicts and, if something differs, what to do next; return the exit code."""
    from ft_sync.cli import documents  # noqa: PLC0415 - as above
    from ft_sync.compare import Identical, Unreadable  # noqa: PLC0415 - as above
    from ft_sync.models import Skipped  # noqa: PLC0415 - as above

    if output.is_json:
        render.document(documents.of_verification(verification), as_line=output.jsonl)
    elif output.quiet:
        render.lines([one.job_id] for one in verification.verdicts if not isinstance(one, Identical | Skipped))
    else:
        rows = [row for verdict in verification.verdicts for row in _rows(verdict)]
        if not render.is_screen(sys.stdout):
            render.lines(rows)
        elif any(item for _, _, item, _, _ in rows):
            headers = ("verdict", "job", "item", "expected", "found")
            render.table(headers, rows, folds=4, color=output.color)
        elif rows:
            short = [(name, job_id, why) for name, job_id, _, _, why in rows]
            render.table(("verdict", "job", "reason"), short, folds=2, color=output.color)
    if output.tells:
        _summarize(verification, repair=repair)
    if output.debug:
        for verdict in verification.verdicts:
            if isinstance(verdict, Unreadable):
                render.trace(verdict.error)
    return exits.of_verification(verification)


def _rows(verdict: "Verdict") -> Iterator[Row]:
    from ft_sync.compare import Differs, Missing, Unreadable  # noqa: PLC0415 - as above
    from ft_sync.models import Skipped  # noqa: PLC0415 - as above

    name = type(verdict).__name__.lower()
    match verdict:
        case Differs():
            for one in verdict.differences:
                yield name, verdict.job_id, one.item, _shown(one.expected), _shown(one.found)
        case Missing() | Skipped():
            yield name, verdict.job_id, None, None, verdict.reason
        case Unreadable():
            yield name, verdict.job_id, verdict.side, None, verdict.error.message
        case _:
            yield name, verdict.job_id, None, None, None


def _shown(value: object) -> str | None:
    """Return a value on one line, truncated."""
    if value is None:
        return None
    is_json = isinstance(value, dict | list | int | float)
    text = json_format.dumps(value, default=str, ensure_ascii=False) if is_json else str(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"


def _summarize(verification: "Verification", *, repair: bool) -> None:
    from ft_sync.compare import Missing, Unreadable  # noqa: PLC0415 - as above

    noted: dict[str, list[str]] = {}
    for verdict in verification.verdicts:
        for note in getattr(verdict, "notes", ()):
            noted.setdefault(note, []).append(verdict.job_id)
    for note, jobs in noted.items():
        render.tell(f"{jobs[0] if len(jobs) == 1 else f'{len(jobs)} jobs'}: note: {note}")
    counts = verification.counts
    render.tell(", ".join(f"{number} {kind}" for kind, number in counts.items()) or "nothing to verify")
    helps = (isinstance(one, Missing) or getattr(one, "is_repairable", False) for one in verification.verdicts)
    if not repair and any(helps):
        render.tell("  next: the same command with --repair writes again what differs or is missing")
    errors = (verdict.error for verdict in verification.verdicts if isinstance(verdict, Unreadable))
    for hint in dict.fromkeys(error.hint for error in errors if error.hint):
        render.tell(f"  next: {hint}")
