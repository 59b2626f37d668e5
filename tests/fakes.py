"""Small services in memory behind the ports: fill them with jobs and runs, and name what is to fail.

`FakeSource(jobs)` serves jobs newest first; put an error into `broken[id]` to have a job or file fail, change
`jobs_by_id` while a clock sleeps to let time do something. `FakeSink` keeps the runs in `runs`; an id in `loses` is
written and then not held, one in `taken` refused; `prefixes` says how many rows of a run are a beginning of its record.
`FakeClock` never waits; `at_sleep` is called instead.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ft_sync import datasets
from ft_sync.errors import IdTaken, Stopped
from ft_sync.models import (
    Download,
    Job,
    JobEvent,
    JobId,
    JobSnapshot,
    Mark,
    MetricRow,
    Origin,
    ResultFile,
    RunFile,
    RunId,
    RunRecord,
    RunState,
    TrainingFile,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from ft_sync.datasets import DatasetSummary
    from ft_sync.models import FileId, Write

RESULTS = b"step,train_loss\n1,0.9\n2,0.5\n"
EXAMPLE = b'{"prompt": "2+2?", "completion": "4"}\n'


class FakeSource:
    """A `JobSource` in memory; `asked` records each request in words."""

    def __init__(self, jobs: Iterable[Job] = ()) -> None:
        self.jobs_by_id = {job.id: job for job in jobs}
        self.events_by_id: dict[JobId, list[JobEvent]] = defaultdict(list)
        self.broken: dict[str, Exception] = {}
        self.asked: list[str] = []

    def jobs(self, *, limit: int | None = None) -> Iterator[Job]:
        self._ask("jobs")
        newest_first = sorted(self.jobs_by_id.values(), key=lambda job: str(job.created_at), reverse=True)
        yield from newest_first[:limit]

    def job(self, job_id: JobId) -> Job:
        self._ask("job", job_id)
        return self.jobs_by_id[job_id]

    def snapshot(self, job: Job) -> JobSnapshot:
        self._ask("snapshot", job.id)
        files = tuple(ResultFile(file_id, RESULTS) for file_id in job.result_files)
        training = (TrainingFile(job.training_file, "train", "train.jsonl"),) if job.training_file else ()
        return JobSnapshot(job, tuple(self.events_by_id[job.id]), (), files, training)

    def events(self, job_id: JobId, *, after: str | None = None, limit: int | None = None) -> tuple[JobEvent, ...]:
        self._ask("events", job_id)
        events = self.events_by_id[job_id]
        ids = [event.id for event in events]
        newer = events[ids.index(after) + 1 :] if after in ids else events
        return tuple(newer[-limit:] if limit else newer)

    def download(self, file_id: FileId, to: Path) -> Download:
        self._ask("download", file_id)
        to.write_bytes(EXAMPLE)
        return Download(to, len(EXAMPLE), hashlib.sha256(EXAMPLE).hexdigest())

    def _ask(self, what: str, name: str = "") -> None:
        self.asked.append(f"{what} {name}".strip())
        if error := self.broken.get(name or what):
            raise error


@dataclass
class FakeRun:
    """What a run holds; `exit_code` is None while it is being written."""

    job_id: JobId
    sink: FakeSink
    rows: list[MetricRow] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    datasets: list[str] = field(default_factory=list)
    has_model: bool = False
    mark: Mark | None = None
    exit_code: int | None = None
    url: str | None = None

    def log(self, row: MetricRow) -> None:
        self.rows.append(row)

    def log_events(self, lines: Sequence[str]) -> None:
        self.lines += lines

    def save(self, files: Iterable[RunFile]) -> None:
        self.files |= {file.path: file.content for file in files}

    def use_dataset(self, file: TrainingFile, download: Download | None) -> DatasetSummary:
        if download is not None:
            dataset = datasets.read(download.path)
            for _ in dataset.rows():
                pass
            self.sink.datasets[file.split, file.id] = dataset.summary
        self.datasets.append(file.id)
        return self.sink.datasets[file.split, file.id]

    def log_model(self, record: RunRecord, inputs: Iterable[TrainingFile]) -> None:
        del inputs
        self.has_model = record.model_metadata is not None

    def complete(self, record: RunRecord) -> None:
        self.mark = Mark("test", record.digest, len(record.rows), "now")


class FakeSink:
    """A `RunSink` in memory."""

    def __init__(self, states: Iterable[RunState] = ()) -> None:
        self.runs: dict[RunId, FakeRun] = {}
        self.held = {state.run_id: state for state in states}
        self.goes_on = True
        self.loses: set[str] = set()
        self.taken: set[str] = set()
        self.broken: Exception | None = None
        self.broken_link: Exception | None = None
        self.questions: list[set[JobId]] = []
        self.datasets: dict[tuple[str, FileId], DatasetSummary] = {}
        self.forgets_datasets = False
        self.prefixes: dict[RunId, int] = {}
        self.deleted: list[RunId] = []
        self.links: list[tuple[JobId, str, tuple[str, ...]]] = []
        self.latest: JobId | None = None

    @property
    def can_go_on(self) -> bool:
        return self.goes_on

    def states(self, job_ids: Collection[JobId]) -> Mapping[JobId, tuple[RunState, ...]]:
        self.questions.append(set(job_ids))
        if self.broken:
            raise self.broken
        found: dict[JobId, tuple[RunState, ...]] = {}
        for state in self.held.values():
            if state.job_id in job_ids:
                found[state.job_id] = (*found.get(state.job_id, ()), state)
        return found

    @contextmanager
    def open(self, plan: Write, record: RunRecord) -> Iterator[FakeRun]:
        if plan.run_id in self.taken:
            raise IdTaken(f"{plan.run_id} was deleted")
        run = self.runs[plan.run_id] = FakeRun(plan.job.id, self, url=f"memory:{plan.run_id}")
        try:
            yield run
        except BaseException:
            run.exit_code = 1
            raise
        run.exit_code = 0
        if plan.run_id not in self.loses:
            self.held[plan.run_id] = RunState(
                plan.run_id,
                record.job_id,
                Origin.FTSYNC,
                "finished",
                plan.job.status,
                run.mark,
                len(record.rows),
                run.url,
            )

    def held_rows(self, run: RunState, record: RunRecord) -> int | None:
        del record
        return self.prefixes.get(run.run_id)

    def dataset(self, file: TrainingFile) -> DatasetSummary | None:
        return None if self.forgets_datasets else self.datasets.get((file.split, file.id))

    def delete(self, run: RunState) -> None:
        self.deleted.append(run.run_id)
        del self.held[run.run_id]

    def keep(self, run: RunState) -> None:
        self.held[run.run_id] = replace(run, is_replaced=True)

    def link(self, job: Job, collection: str, aliases: Collection[str]) -> None:
        if self.broken_link:
            raise self.broken_link
        self.links.append((job.id, collection, tuple(aliases)))

    def point_latest(self, jobs: Iterable[Job]) -> None:
        self.latest = max(jobs, key=lambda job: job.newness).id


@dataclass
class FakeClock:
    """A clock that stands still until somebody sleeps."""

    time: float = 0.0
    at_sleep: Callable[[], None] = lambda: None
    sleeps: list[float] = field(default_factory=list)
    stopped: bool = False

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        if self.stopped:
            raise Stopped("stopped")
        self.sleeps.append(seconds)
        self.time += seconds
        self.at_sleep()

    def stop(self) -> None:
        self.stopped = True


def complete_run(job: Job, run_id: str | None = None, **changes: object) -> RunState:
    """The state of a run that ftsync has written whole."""
    from ft_sync.convert import digest  # noqa: PLC0415 - the fakes must import without the code under test

    state = RunState(
        RunId(run_id or job.id), job.id, Origin.FTSYNC, "finished", job.status, Mark("test", digest(job), 2, "now"), 2
    )
    return replace(state, **changes)  # type: ignore[arg-type]
