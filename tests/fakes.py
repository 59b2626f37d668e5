"""Small services in memory behind the ports: fill them with jobs and runs, and name what is to fail; fit for threads.

`FakeSource(jobs)` serves jobs newest first; put an error into `broken[id]` to have a job or the content of a file fail,
metrics into `results[file_id]` and `events_by_id[job_id]`, and change `jobs_by_id` while a clock sleeps to let time do
something: a job that is taken out is unknown.

`FakeSink(states)` keeps the runs in `runs` and what it says of them in `held`. A run of `states` holds rows without
metrics, as many as its state says: set `runs[id].rows` to have it hold something that can be gone on with. An id in
`loses` is written and then not held; one in `taken` is refused, as is that of a run that was deleted; `add` puts in a
run that somebody else has made. An id in `unlisted` is in no listing of `stored`, each id in `left_open` makes the sink
miss the end of that run once, and `lost_rows[id]` rows of a run are not held.

Both write down what they are told, in `asked` and `did`, in words such as `events ftjob-1` and `open ftjob-1-r2`, and
say them to `happens` first, which may wait, raise, or change the world: it is called in the thread that asks. `Gauge`
tells how many threads were in it at once, and `wait_for_company` holds one up until others want the same.

`FakeClock` never waits; `at_sleep` and `at_stop` are called instead. While workers are busy its time stands still.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

from ft_sync import datasets
from ft_sync.content import RunContent
from ft_sync.errors import IdTaken, NotFound, RunExists, Stopped
from ft_sync.models import (
    Checkpoint,
    Create,
    Destination,
    Download,
    Enrich,
    File,
    Job,
    JobEvent,
    JobId,
    Mark,
    MetricRow,
    Origin,
    Replace,
    RunFile,
    RunId,
    RunRecord,
    RunState,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
    from pathlib import Path

    from ft_sync.compare import HeldRun
    from ft_sync.datasets import DatasetSummary
    from ft_sync.diagnosis import Owner
    from ft_sync.models import FileId, TrainingFile, Write
    from ft_sync.once import Once

RESULTS = b"step,train_loss\n1,0.9\n2,0.5\n"
EXAMPLE = b'{"prompt": "2+2?", "completion": "4"}\n'


def _nothing(words: str) -> None:
    """Let happen what is asked for."""


class FakeSource:
    """A `JobSource` in memory; `asked` records each request in words."""

    def __init__(self, jobs: Iterable[Job] = ()) -> None:
        self.jobs_by_id = {job.id: job for job in jobs}
        self.events_by_id: dict[JobId, list[JobEvent]] = defaultdict(list)
        self.checkpoints_by_id: dict[JobId, list[Checkpoint]] = defaultdict(list)
        self.results: dict[FileId, bytes] = {}
        self.broken: dict[str, Exception] = {}
        self.asked: list[str] = []
        self.happens: Callable[[str], None] = _nothing

    def jobs(self, *, limit: int | None = None) -> Iterator[Job]:
        self._ask("jobs")
        newest_first = sorted(self.jobs_by_id.values(), key=lambda job: str(job.created_at), reverse=True)
        yield from newest_first[:limit]

    def job(self, job_id: JobId) -> Job:
        self._ask("job", job_id)
        if job_id not in self.jobs_by_id:
            raise NotFound(f"no job {job_id}")
        return self.jobs_by_id[job_id]

    def checkpoints(self, job_id: JobId) -> tuple[Checkpoint, ...]:
        self._ask("checkpoints", job_id)
        return tuple(self.checkpoints_by_id[job_id])

    def file(self, file_id: FileId) -> File:
        self.asked.append(f"file {file_id}")
        if error := self.broken.get(f"describe {file_id}"):
            raise error
        return File(file_id)

    def content(self, file_id: FileId, *, limit: int) -> bytes | None:
        self._ask("content", file_id)
        content = self.results.get(file_id, RESULTS)
        return content if len(content) <= limit else None

    def events(self, job_id: JobId, *, after: str | None = None, limit: int | None = None) -> tuple[JobEvent, ...]:
        self._ask("events", job_id, f" after {after}" if after else "")
        events = self.events_by_id[job_id]
        ids = [event.id for event in events]
        newer = events[ids.index(after) + 1 :] if after in ids else events
        return tuple(newer[-limit:] if limit else newer)

    def download(self, file_id: FileId, to: Path) -> Download:
        self._ask("download", file_id)
        to.write_bytes(EXAMPLE)
        return Download(to, len(EXAMPLE), hashlib.sha256(EXAMPLE).hexdigest())

    def _ask(self, what: str, name: str = "", how: str = "") -> None:
        words = f"{what} {name}{how}".strip()
        self.asked.append(words)
        self.happens(words)
        if error := self.broken.get(name or what):
            raise error


class FakeAccount:
    """A W&B account in memory: `broken` is what it raises when it is asked for a thing by its name."""

    def __init__(self, owner: Owner, projects: Iterable[str] = ()) -> None:
        self.whose = owner
        self.projects = set(projects)
        self.broken: dict[str, Exception] = {}

    def login(self) -> str:
        self._ask("login")
        return "WANDB_API_KEY"

    def owner(self) -> Owner:
        self._ask("owner")
        return self.whose

    def has_project(self, entity: str, project: str) -> bool:
        self._ask("project")
        return f"{entity}/{project}" in self.projects

    def _ask(self, what: str) -> None:
        if error := self.broken.get(what):
            raise error


@dataclass
class FakeRun:
    """What a run holds; `exit_code` is None while it is being written, `total` is how many rows it should have."""

    run_id: RunId
    job_id: JobId
    sink: FakeSink
    rows: list[MetricRow] = field(default_factory=list)
    total: int = 0
    lines: list[str] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    datasets: list[str] = field(default_factory=list)
    has_model: bool = False
    mark: Mark | None = None
    exit_code: int | None = None
    url: str | None = None
    record: RunRecord | None = None
    inputs: list[TrainingFile] = field(default_factory=list)

    @property
    def steps(self) -> list[int]:
        return [row.step for row in self.rows]

    def held(self) -> HeldRun:
        """What can be read back of the run."""
        from ft_sync.compare import HeldRun  # noqa: PLC0415 - the fakes must import without the code under test
        from tests.builders import held_run  # noqa: PLC0415 - as above

        if self.record is None:
            return HeldRun(self.run_id, "finished", rows=tuple(self.rows))
        return held_run(self.record, self.run_id, inputs=self.inputs, rows=tuple(self.rows))

    def log(self, rows: Iterable[MetricRow]) -> None:
        assert self.exit_code is None, "a run that is closed takes nothing"
        self.rows += rows

    def log_events(self, lines: Iterable[str]) -> None:
        self.lines += lines

    def save(self, files: Iterable[RunFile]) -> None:
        self.sink.do("save", self.run_id)
        self.files |= {file.path: b"".join(file.chunks) for file in files}

    def use_dataset(self, file: TrainingFile, download: Download | None) -> DatasetSummary:
        if download is not None:
            dataset = datasets.read(download.path)
            for _ in dataset.rows():
                pass
            self.sink.datasets[file.split, file.id] = dataset.summary
        self.datasets.append(file.id)
        self.inputs.append(file)
        return self.sink.datasets[file.split, file.id]

    def log_model(self, record: RunRecord, inputs: Iterable[TrainingFile]) -> None:
        del inputs
        self.has_model = record.model_metadata is not None

    def complete(self, record: RunRecord) -> RunContent:
        self.sink.do("complete", self.run_id)
        self.mark = Mark("test", record.digest, self.total, "now")
        state = "finished" if record.failure is None else "failed"
        return RunContent({"state": state, "rows": self.total, "summary.ftsync": record.digest})


class FakeSink:
    """A `RunSink` in memory; `did` records in words what it was told to write."""

    def __init__(self, states: Iterable[RunState] = ()) -> None:
        self.runs: dict[RunId, FakeRun] = {}
        self.held: dict[RunId, RunState] = {}
        self.goes_on = True
        self.loses: set[str] = set()
        self.taken: set[str] = set()
        self.broken: Exception | None = None
        self.broken_link: Exception | None = None
        self.broken_latest: Exception | None = None
        self.questions: list[Collection[str]] = []
        self.single_questions: list[Collection[str]] = []
        self.unlisted: set[str] = set()
        self.left_open: list[str] = []
        self.lost_rows: dict[str, int] = {}
        self.not_returned: frozenset[str] = frozenset()
        self.datasets: dict[tuple[str, FileId], DatasetSummary] = {}
        self.descriptions: dict[FileId, TrainingFile] = {}
        self.forgets_datasets = False
        self.renewed_files: list[FileId] = []
        self.rewritten: Collection[RunId] = ()
        self.contents: list[bool] = []
        self.unreadable: dict[str, Exception] = {}
        self.spoiled: dict[str, dict[str, Any]] = {}
        self.deleted: list[RunId] = []
        self.links: list[tuple[JobId, str, tuple[str, ...]]] = []
        self.latest: JobId | None = None
        self.did: list[str] = []
        self.happens: Callable[[str], None] = _nothing
        self._lock = threading.Lock()
        for state in states:
            self.add(state)

    @property
    def can_go_on(self) -> bool:
        return self.goes_on

    def add(self, state: RunState) -> None:
        """Hold a run that was made before, or by somebody else."""
        rows = [MetricRow(step, {}) for step in range(state.rows or 0)]
        with self._lock:
            self.runs[state.run_id] = FakeRun(state.run_id, state.job_id, self, rows, exit_code=0)
            self.held[state.run_id] = state

    def do(self, what: str, run_id: RunId) -> None:
        """Write down what is done with a run, unless it is made impossible."""
        self.happens(f"{what} {run_id}")
        self.did.append(f"{what} {run_id}")

    def destination(self) -> Destination:
        return Destination("fakes", "me")

    def states(self, job_ids: Collection[JobId]) -> Mapping[JobId, tuple[RunState, ...]]:
        self.questions.append(set(job_ids))
        if self.broken:
            raise self.broken
        found: dict[JobId, tuple[RunState, ...]] = {}
        with self._lock:
            for state in self.held.values():
                if state.job_id in job_ids and state.run_id not in self.unlisted:
                    found[state.job_id] = (*found.get(state.job_id, ()), state)
        return found

    def stored(self, run_ids: Collection[RunId], *, singly: bool = False) -> Mapping[RunId, RunContent]:
        with self._lock:
            held = [state for state in self.held.values() if state.run_id in run_ids]
        (self.single_questions if singly else self.questions).append(set(run_ids))
        if self.broken:
            raise self.broken
        return {
            state.run_id: RunContent(_items_of(state), self.not_returned)
            for state in held
            if singly or state.run_id not in self.unlisted
        }

    def reject(self, run_id: RunId, job_id: JobId) -> None:
        self.do("reject", run_id)
        with self._lock:
            if run_id in self.held:
                self.held[run_id] = replace(self.held[run_id], job_id=job_id, mark=None)

    @contextmanager
    def open(self, plan: Write, record: RunRecord) -> Iterator[FakeRun]:
        self.do("open", plan.run_id)
        with self._lock:
            run = self._opened(plan, record)
        try:
            yield run
        except BaseException:
            self._close(run, record, 1)
            raise
        self._close(run, record, 0 if record.failure is None else 1)

    def held_rows(self, run: RunState, record: RunRecord, inputs: Collection[TrainingFile]) -> int | None:
        del inputs
        rows = self.runs[run.run_id].rows
        return len(rows) if tuple(rows) == tuple(record.rows)[: len(rows)] else None

    def dataset(self, file: TrainingFile) -> DatasetSummary | None:
        return None if self.forgets_datasets else self.datasets.get((file.split, file.id))

    def described(self, file: TrainingFile) -> TrainingFile | None:
        return self.descriptions.get(file.id)

    def renew(self, file: TrainingFile, rewritten: Collection[RunId]) -> None:
        self.rewritten = rewritten
        self.renewed_files.append(file.id)
        self.datasets.pop((file.split, file.id), None)

    def renewed(self, file: TrainingFile) -> tuple[str, ...]:
        return (f"told of {file.id}",) if file.id in self.renewed_files else ()

    def read_back(self, run: RunState, *, content: bool = True) -> HeldRun:
        self.contents.append(content)
        self.happens(f"read back {run.run_id}")
        if error := self.unreadable.get(run.run_id):
            raise error
        return replace(self.runs[run.run_id].held(), **self.spoiled.get(run.run_id, {}))

    def delete(self, run: RunState) -> None:
        self.do("delete", run.run_id)
        self.deleted.append(run.run_id)
        with self._lock:
            del self.held[run.run_id]
            self.taken.add(run.run_id)

    def keep(self, run: RunState) -> None:
        with self._lock:
            self.held[run.run_id] = replace(run, is_replaced=True)

    def link(self, job: Job, collection: str, aliases: Collection[str]) -> None:
        if self.broken_link:
            raise self.broken_link
        self.links.append((job.id, collection, tuple(aliases)))

    def point_latest(self, jobs: Iterable[Job]) -> None:
        if self.broken_latest:
            raise self.broken_latest
        self.latest = max(jobs, key=lambda job: job.newness).id

    def _opened(self, plan: Write, record: RunRecord) -> FakeRun:
        if plan.run_id in self.taken:
            raise IdTaken(f"{plan.run_id} was deleted")
        if isinstance(plan, Create | Replace):
            if plan.run_id in self.held:
                raise RunExists(f"{plan.run_id} is there already", run=self.held[plan.run_id])
            self.runs[plan.run_id] = FakeRun(plan.run_id, plan.job.id, self, url=f"memory:{plan.run_id}")
            origin = Origin.FTSYNC
        else:
            origin = self.held[plan.run_id].origin
        run = self.runs[plan.run_id]
        run.exit_code, run.record = None, record
        run.total = len(run.rows) if isinstance(plan, Enrich) else len(record.rows)
        self.held[plan.run_id] = RunState(
            plan.run_id, record.job_id, origin, "running", rows=len(run.rows), url=run.url, being_written=True
        )
        return run

    def _close(self, run: FakeRun, record: RunRecord, exit_code: int) -> None:
        self.do("close", run.run_id)
        run.exit_code = exit_code
        with self._lock:
            state = self.held.pop(run.run_id)
            if run.run_id not in self.loses:
                is_missed = run.run_id in self.left_open
                if is_missed:
                    self.left_open.remove(run.run_id)
                self.held[run.run_id] = replace(
                    state,
                    state="running" if is_missed else "failed" if exit_code else "finished",
                    status=record.summary.get("status") if run.mark else None,
                    mark=run.mark,
                    rows=len(run.rows) - self.lost_rows.get(run.run_id, 0),
                    being_written=False,
                )


def _items_of(state: RunState) -> dict[str, str | int | None]:
    """What a bulk query returns of a run."""
    items: dict[str, str | int | None] = {"state": state.state, "rows": state.rows}
    return items | {"summary.ftsync": state.mark.digest} if state.mark else items


@dataclass
class FakeClock:
    """A clock that stands still until somebody sleeps."""

    time: float = 0.0
    at_sleep: Callable[[], None] = lambda: None
    at_stop: Callable[[], None] = lambda: None
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
        self.at_stop()


@dataclass
class Gauge:
    """A context for threads; `most` is how many of them were in it at once, each staying for some milliseconds."""

    most: int = 0
    _inside: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> Self:
        with self._lock:
            self._inside += 1
            self.most = max(self.most, self._inside)
        time.sleep(0.002)
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1


def wait_for_company(once: Once[Any, Any], key: object, others: int) -> None:
    """While one thread asks for a key, wait until so many others wait for its answer."""
    give_up_at = time.monotonic() + 60
    while len(once._answers[key]._condition._waiters) < others:  # type: ignore[attr-defined]
        assert time.monotonic() < give_up_at
        time.sleep(0.001)


def complete_run(job: Job, run_id: str | None = None, **changes: object) -> RunState:
    """The state of a run that ftsync has written whole."""
    from ft_sync.convert import digest  # noqa: PLC0415 - the fakes must import without the code under test

    state = RunState(
        RunId(run_id or job.id), job.id, Origin.FTSYNC, "finished", job.status, Mark("test", digest(job), 2, "now"), 2
    )
    return replace(state, **changes)  # type: ignore[arg-type]
