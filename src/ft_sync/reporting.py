"""Selects the runs for a W&B report and its title, and writes it; queries W&B alone, no source of jobs."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ft_sync.convert import newness
from ft_sync.errors import NotFound
from ft_sync.names import safe
from ft_sync.outline import Heading, outline
from ft_sync.plan import current

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ft_sync.models import JobId, RunId
    from ft_sync.outline import Held
    from ft_sync.planning import Selection
    from ft_sync.ports import ReportSink

TITLE = "Fine-tuning jobs"
NAMED = 3
"""Maximum number of jobs named in a title."""


@dataclass(frozen=True, slots=True)
class ProjectReport:
    """A report and a workspace view that were created or updated.

    Attributes:
        is_new: Whether the report was created rather than updated.
        job_ids: The jobs in the report, newest first.
        run_ids: The jobs' runs, in the same order.
    """

    title: str
    report_url: str
    workspace_url: str
    is_new: bool
    job_ids: tuple[JobId, ...]
    run_ids: tuple[RunId, ...]


def report(sink: ReportSink, selection: Selection) -> ProjectReport:
    """Create or update the report of these jobs and its workspace view.

    Raises:
        NotFound: W&B holds none of the selected jobs, or lacks one of those that were named.
    """
    runs = selected(sink.held(), selection, sink.place)
    narrowed = selection.job_ids is not None or selection.last is not None
    heading = heading_of(selection)
    written = sink.write(heading, outline(runs, narrowed=narrowed))
    return ProjectReport(
        heading.title,
        *written,
        job_ids=tuple(run.state.job_id for run in runs),
        run_ids=tuple(run.state.run_id for run in runs),
    )


def selected(held: Iterable[Held], selection: Selection, place: str) -> tuple[Held, ...]:
    """Return the current run of each selected job, newest job first."""
    of_job: dict[JobId, list[Held]] = defaultdict(list)
    for run in held:
        of_job[run.state.job_id].append(run)
    found = {job_id: counts for job_id, runs in of_job.items() if (counts := _counting(runs))}
    if not found:
        raise NotFound(f"no run in {place} was made from a fine-tuning job", hint="`ftsync sync` brings your jobs")
    if missing := [job_id for job_id in selection.job_ids or () if job_id not in found]:
        flags = " ".join(f"--job {job_id}" for job_id in missing)
        raise NotFound(f"{', '.join(missing)}: not in {place}", hint=f"`ftsync sync {flags}` brings what is missing")
    chosen = [found[job_id] for job_id in (found if selection.job_ids is None else dict.fromkeys(selection.job_ids))]
    chosen.sort(key=lambda run: newness(run.config, run.state.job_id), reverse=True)
    return tuple(chosen[: selection.last])


def heading_of(selection: Selection) -> Heading:
    """Return the heading of a selection's report; the same selection always has the same heading."""
    if selection.job_ids:
        ids = sorted(map(safe, selection.job_ids))
        more = f" and {len(ids) - NAMED} more" if len(ids) > NAMED else ""
        digest = hashlib.sha256("\n".join(ids).encode()).hexdigest()[:16]
        return Heading(f"{TITLE} {', '.join(ids[:NAMED])}"[: 128 - len(more)] + more, f"ftsyncjobs{digest}")
    if selection.last is not None:
        return Heading(f"{TITLE}, the {selection.last} newest", f"ftsynclast{selection.last}")
    return Heading(TITLE, "ftsyncall")


def _counting(runs: Sequence[Held]) -> Held | None:
    """Return a job's current run; a user's own run with the job in it counts only if there is no other."""
    counts = current([run.state for run in runs])
    own = (run for run in runs if run.state.mark is not None and not run.state.is_replaced)
    return next((run for run in runs if run.state is counts), None) or next(own, None)
