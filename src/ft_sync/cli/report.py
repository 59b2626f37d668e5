"""`ftsync report`: creates or updates a W&B report and a workspace view of the jobs that W&B holds."""

import sys
from typing import TYPE_CHECKING

from ft_sync.cli import options, render
from ft_sync.cli.options import Output
from ft_sync.errors import ConfigError

if TYPE_CHECKING:
    from ft_sync.reporting import ProjectReport


def report(  # noqa: PLR0913 - one argument for each flag
    *,
    job: options.Jobs = None,
    last: options.Last = None,
    project: options.Project = None,
    entity: options.Entity = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    debug: options.Debug = False,
    no_color: options.NoColor = False,
) -> None:
    """Make a W&B report of the jobs in W&B.

    With a workspace view: curves by method, hyperparameters against results, datasets, models. The same command
    renews it. Asks W&B alone, so it is about jobs that were synced. In a pipe, tab separated: what, URL. With -q: the
    report's URL alone.
    """
    from ft_sync import api  # noqa: PLC0415 - the SDKs: `--help` does without

    if job and last is not None:
        raise ConfigError("--job and --last exclude each other", hint="give one of them")
    ids = options.job_ids(job) if job else None
    if ids == []:
        return  # `--job -` with no ids on stdin does not mean every job
    _show(api.report(ids, last, project, entity), Output(json, quiet, verbose, debug, not no_color))


def _show(made: "ProjectReport", output: Output) -> None:
    """Print the URLs of the report and the view."""
    from ft_sync.cli import documents  # noqa: PLC0415 - as above

    rows = [("report", made.report_url), ("workspace", made.workspace_url)]
    if output.json:
        render.document(documents.of_project_report(made))
    elif output.quiet:
        render.lines([[made.report_url]])
    elif render.is_screen(sys.stdout):
        render.table(("", ""), rows, folds=1, color=output.color)
    else:
        render.lines(rows)
    if not output.quiet:
        jobs = "1 job" if len(made.job_ids) == 1 else f"{len(made.job_ids)} jobs"
        render.tell(f"{'made' if made.is_new else 'renewed'} the report {made.title!r} of {jobs}")
    if output.verbose and not output.quiet:
        for job_id, run_id in zip(made.job_ids, made.run_ids, strict=True):
            render.tell(f"{job_id}: run {run_id}")
