"""The request for a sync, the selection of its jobs and the preview of its plans; reads only, writes nothing."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from ft_sync.datasets import TABLE_ROWS
from ft_sync.errors import AuthError, Forbidden, FtSyncError
from ft_sync.follow import Patience
from ft_sync.models import Failed, Job, JobId, Mark, Plan, RunState, Skip
from ft_sync.plan import Rule, plan

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ft_sync.models import JsonObject
    from ft_sync.ports import JobSource, RunSink


Listed = TypeVar("Listed", bound=Job | Failed)
"""An entry of a listing: a job, or the failure of one that cannot be read."""

JOBS_A_PAGE = 100
"""Jobs in one page of the listing."""


@dataclass(frozen=True, slots=True)
class Shard:
    """Shard `index` (from 1) of `number`: each job is in exactly one shard, and stays there."""

    index: int = 1
    number: int = 1

    def holds(self, job_id: JobId) -> bool:
        """Whether the job is in this shard; only a hash of its id decides, so processes need no coordination."""
        digest = hashlib.sha256(job_id.encode("utf-8", "surrogatepass")).digest()
        return int.from_bytes(digest) % self.number == self.index - 1

    def part(self, jobs: Iterable[Listed]) -> Iterator[Listed]:
        """Yield the jobs that are in this shard."""
        return (one for one in jobs if self.holds(one.job_id if isinstance(one, Failed) else one.id))


WHOLE = Shard()


def shard(text: str) -> Shard:
    """Parse a shard `I/N`, such as `1/4`.

    Raises:
        ValueError: The text is not of that form, or I is not between 1 and N.
    """
    match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise ValueError("should be I/N for the I-th of N parts, such as 1/4 to 4/4")
    return Shard(int(match[1]), int(match[2]))


@dataclass(frozen=True, slots=True)
class Selection:
    """Which jobs: those in `job_ids`, otherwise the `last` newest, otherwise all; always limited to the `shard`.

    An empty tuple of `job_ids` selects no job; None does not restrict the selection.
    """

    job_ids: tuple[JobId, ...] | None = None
    last: int | None = None
    shard: Shard = WHOLE


@dataclass(frozen=True, slots=True)
class Request:
    """Everything that the user asked of one sync.

    Attributes:
        concurrency: Jobs written at the same time, while as many others are read.
        keep_replaced: Mark replaced runs instead of deleting them.
        table_rows: Maximum number of examples in a dataset's table; repeated from the sink because `verify` needs it.
        content: Read the stored bytes of datasets when runs are verified.
        config: The config that the user gives to every run; repeated from the sink because `verify` needs it.
        links: Registry collections, as `REGISTRY/COLLECTION`, to link the model artifacts to.
    """

    selection: Selection = field(default_factory=Selection)
    rule: Rule = field(default_factory=Rule)
    patience: Patience = field(default_factory=Patience)
    concurrency: int = 8
    log_datasets: bool = True
    table_rows: int = TABLE_ROWS
    keep_replaced: bool = False
    content: bool = True
    config: JsonObject = field(default_factory=dict)
    links: tuple[str, ...] = ()
    link_aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Preview:
    """What a sync would do, oldest job first.

    Attributes:
        unreadable: Selected jobs that could not be fetched or read.
        others: Jobs in the listing that belong to other shards.
    """

    plans: tuple[Plan, ...]
    unreadable: tuple[Failed, ...] = ()
    others: tuple[JobId, ...] = ()


def preview(source: JobSource, sink: RunSink, selection: Selection, rule: Rule) -> Preview:
    """Plan every selected job from the listing and the run states."""
    found = selected(source, selection)
    return Preview(plan_all(found.jobs, sink, rule), found.unreadable, found.others)


def with_links(preview: Preview, links: Sequence[str]) -> Preview:
    """Return the preview in which jobs that are left alone, but whose models would be linked, say so."""
    return replace(preview, plans=tuple(_with_links(step, links) for step in preview.plans)) if links else preview


def _with_links(step: Plan, links: Sequence[str]) -> Plan:
    match step:
        case Skip(run=RunState(mark=Mark(), is_complete=True)) if step.job.fine_tuned_model is not None:
            return replace(step, reason=f"{step.reason}, its model is linked to {', '.join(links)}")
        case _:
            return step


@dataclass(frozen=True, slots=True)
class Selected:
    """The selected jobs, oldest first or in the order in which the user named them.

    Attributes:
        unreadable: Selected jobs that could not be fetched or read.
        others: Jobs in the listing that belong to other shards.
    """

    jobs: tuple[Job, ...]
    unreadable: tuple[Failed, ...] = ()
    others: tuple[JobId, ...] = ()


def selected(source: JobSource, selection: Selection) -> Selected:
    """Fetch the selected jobs."""
    shard = selection.shard
    if selection.job_ids is not None:
        return _named(source, [job_id for job_id in selection.job_ids if shard.holds(job_id)])
    jobs: list[Job] = []
    unreadable: list[Failed] = []
    others: list[JobId] = []
    for one in source.jobs(limit=selection.last):
        match one:
            case Failed() if shard.holds(one.job_id):
                unreadable.append(one)
            case Job() if shard.holds(one.id):
                jobs.append(one)
            case Job():
                others.append(one.id)
    return Selected(tuple(jobs[::-1]), tuple(unreadable[::-1]), tuple(others))


def plan_all(jobs: Sequence[Job], sink: RunSink, rule: Rule) -> tuple[Plan, ...]:
    """Plan these jobs, querying the sink for all their runs at once."""
    states = sink.states([job.id for job in jobs]) if jobs else {}
    return tuple(plan(job, states.get(job.id, ()), rule) for job in jobs)


def _listed(source: JobSource, wanted: set[JobId]) -> dict[JobId, Job]:
    """Look up several jobs in the listing, reading at most one page per job: never more requests than one for each."""
    if len(wanted) <= 1:
        return {}
    found: dict[JobId, Job] = {}
    for job in islice(source.jobs(), JOBS_A_PAGE * len(wanted)):
        if isinstance(job, Job) and job.id in wanted:
            found[job.id] = job
            if len(found) == len(wanted):
                break
    return found


def _named(source: JobSource, job_ids: Sequence[JobId]) -> Selected:
    jobs: list[Job] = []
    failures: list[Failed] = []
    listed = _listed(source, set(job_ids))
    for job_id in dict.fromkeys(job_ids):
        try:
            jobs.append(listed.get(job_id) or source.job(job_id))
        except FtSyncError as error:
            if isinstance(error, AuthError) and not isinstance(error, Forbidden):
                raise  # the next job would be refused in the same way
            failures.append(Failed(job_id, error))
    return Selected(tuple(jobs), tuple(failures))
