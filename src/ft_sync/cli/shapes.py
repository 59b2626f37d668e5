"""What the JSON documents and lines hold, field by field: the one truth, from which `ftsync schema` makes its schemas.

`documents.py` makes them, and the type checker holds it to these types. Whatever is written has a field `schema`, and
a line also `event` and `time`; who writes adds those, so they are not named here.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field
from typing_extensions import TypedDict  # pydantic wants this one before Python 3.12

JobId: TypeAlias = Annotated[str, Field(description="Id of the fine-tuning job.")]
Status: TypeAlias = Annotated[str, Field(description="Status of the job, in the words of the service.")]
RunId: TypeAlias = Annotated[str | None, Field(description="Id of the W&B run.")]
Url: TypeAlias = Annotated[str | None, Field(description="Where the run is: an address, or a folder.")]
Reason: TypeAlias = Annotated[str, Field(description="Why.")]
Notes: TypeAlias = Annotated[list[str], Field(description="What did not stop it, but its owner should know.")]
Moment: TypeAlias = Annotated[str | None, Field(description="ISO 8601 in UTC, to the second.")]
ExitCode: TypeAlias = Annotated[int, Field(description="The exit code of the command.")]
Folder: TypeAlias = Annotated[str, Field(description="The archive, as it was named.")]
Metrics: TypeAlias = Annotated[dict[str, float], Field(description="Metrics of the newest step.")]
Step: TypeAlias = Annotated[int | None, Field(description="The newest step that was reported.")]
TotalSteps: TypeAlias = Annotated[int | None, Field(description="Steps of the whole job, where the service says so.")]
Action: TypeAlias = Literal["create", "extend", "enrich", "replace", "wait", "skip"]


class Error(TypedDict):
    """What went wrong, and what to do next."""

    code: Annotated[str, Field(description="Its name for programs.")]
    title: Annotated[str, Field(description="Its name for people.")]
    message: Annotated[str, Field(description="What happened, and where.")]
    hint: Annotated[str | None, Field(description="What to do next.")]
    exit_code: Annotated[int, Field(description="The exit code of a command that ends by it.")]


class Failure(TypedDict):
    """Instead of any other document or last line: the command could not be carried out."""

    error: Error


class Outcome(TypedDict):
    """What became of a job."""

    job_id: JobId
    outcome: Literal["synced", "skipped", "failed"]
    status: Annotated[str | None, Field(description="Status of the job, in the words of the service.")]
    run_id: RunId
    url: Url
    rows: Annotated[int | None, Field(description="Metric rows that W&B holds.")]
    reason: Reason
    notes: Notes
    error: Annotated[Error | None, Field(description="Of a job that failed.")]


class OutcomeCounts(TypedDict):
    """How many jobs came to which end."""

    synced: int
    skipped: int
    failed: int


class SyncReport(TypedDict):
    """What a sync did."""

    command: Literal["sync", "resync", "demo"]
    dry_run: Literal[False]
    outcomes: Annotated[list[Outcome], Field(description="Of every selected job, oldest first or as they were named.")]
    counts: OutcomeCounts
    ended_badly: Annotated[list[str], Field(description="Jobs that were waited for and ended failed or cancelled.")]
    timed_out: Annotated[list[str], Field(description="Jobs still unfinished when the time to wait was over.")]
    exit_code: ExitCode


class Plan(TypedDict):
    """What a sync would do, or begins to do, for a job."""

    job_id: JobId
    action: Action
    status: Status
    reason: Reason
    run_id: Annotated[str | None, Field(description="Id of the run that is written.")]
    replaces: Annotated[list[str], Field(description="Runs that go once the new one is verified.")]


class SyncPreview(TypedDict):
    """What a sync would do."""

    command: Literal["sync", "resync"]
    dry_run: Literal[True]
    plans: Annotated[list[Plan], Field(description="Of every selected job, oldest first or as they were named.")]
    unreadable: Annotated[list[Outcome], Field(description="Selected jobs that could not be had.")]
    counts: Annotated[dict[Action, int], Field(description="Jobs by action; an action without jobs is left out.")]
    exit_code: ExitCode


class Difference(TypedDict):
    """One item of a run that is not as it should be."""

    item: Annotated[str, Field(description="What it is of the run.")]
    expected: Annotated[Any, Field(description="As the service says; null for what should not be there.")]
    found: Annotated[Any, Field(description="As W&B holds it, files as stored; null for what is not there.")]


class Verdict(TypedDict):
    """What a run holds against what it should hold."""

    job_id: JobId
    verdict: Literal["identical", "differs", "missing", "unreadable", "skipped"]
    run_id: RunId
    url: Url
    differences: list[Difference]
    lost: Annotated[list[str], Field(description="What W&B holds and the service does not give any more.")]
    side: Annotated[Literal["source", "W&B"] | None, Field(description="The side that could not be read.")]
    reason: Annotated[str | None, Field(description="Why; null for a run that was compared item by item.")]
    notes: Notes
    error: Annotated[Error | None, Field(description="Of what could not be read.")]


class VerdictCounts(TypedDict):
    """How many jobs have which verdict."""

    identical: int
    differs: int
    missing: int
    unreadable: int
    skipped: int


class Verification(TypedDict):
    """What came of a verification."""

    command: Literal["verify"]
    verdicts: list[Verdict]
    counts: VerdictCounts
    exit_code: ExitCode


class LostPart(TypedDict):
    """A part of a job that the service refuses."""

    kind: Annotated[str, Field(description="What it is: job, events, checkpoints, file (its description) or content.")]
    id: Annotated[str, Field(description="Id of the job or of the file.")]
    reason: Reason


class Stored(TypedDict):
    """What became of a job in an archive."""

    job_id: JobId
    outcome: Literal["archived", "failed"]
    status: Annotated[str | None, Field(description="Status of the job, in the words of the service.")]
    is_news: Annotated[bool, Field(description="Something was added to the archive for it, or has changed there.")]
    lost: Annotated[list[LostPart], Field(description="What is not to be had.")]
    error: Annotated[Error | None, Field(description="Of a job that failed.")]


class StoredCounts(TypedDict):
    """How many jobs are in the archive, and how many are not, and how many parts are not to be had.

    Events and checkpoints that the service keeps of no job are not counted.
    """

    archived: int
    failed: int
    lost: int


class ArchiveReport(TypedDict):
    """What an archiving did."""

    command: Literal["archive"]
    check: Literal[False]
    folder: Folder
    outcomes: list[Stored]
    counts: StoredCounts
    exit_code: ExitCode


class Problem(TypedDict):
    """A path of an archive that is missing, damaged or unknown; a folder, if a file's own name is not known."""

    path: str
    problem: Annotated[str, Field(description="What is wrong with it.")]


class ArchiveCheck(TypedDict):
    """What is wrong with an archive."""

    command: Literal["archive"]
    check: Literal[True]
    folder: Folder
    problems: list[Problem]
    exit_code: ExitCode


class NextStep(TypedDict):
    """What a sync would do for a job."""

    action: Action
    reason: Reason


class Job(TypedDict):
    """A job, and whether W&B holds it."""

    job_id: JobId
    status: Status
    method: Annotated[str | None, Field(description="How it is trained: supervised, dpo, reinforcement, …")]
    base_model: str | None
    fine_tuned_model: str | None
    created_at: Moment
    finished_at: Moment
    duration_seconds: int | None
    trained_tokens: int | None
    sync: Annotated[
        Literal["complete", "incomplete", "absent", "unknown"],
        Field(description="What W&B holds of it; unknown without a login."),
    ]
    run_id: RunId
    url: Url
    plan: Annotated[NextStep | None, Field(description="What a sync would do; null where that is unknown.")]


class JobList(TypedDict):
    """Jobs, newest first."""

    command: Literal["list"]
    jobs: list[Job]
    failed: Annotated[list[Outcome], Field(description="Jobs that could not be read.")]
    exit_code: ExitCode


class Progress(TypedDict):
    """How far a job is."""

    step: Step
    total_steps: TotalSteps
    seconds_left: Annotated[int | None, Field(description="As the service says, or at the rate of its steps.")]


class JobEvent(TypedDict):
    """What the service told of a job."""

    created_at: Moment
    level: str
    message: str


class JobError(TypedDict):
    """Why a job failed, in the words of the service."""

    code: str | None
    message: str | None
    param: str | None


class JobFiles(TypedDict):
    """Ids of the files of a job."""

    training: str | None
    validation: str | None
    results: list[str]


class JobInDepth(Job):
    """A job in depth."""

    progress: Progress
    metrics: Metrics
    events: Annotated[list[JobEvent], Field(description="The newest, oldest first.")]
    error: JobError | None
    files: JobFiles
    notes: Notes


class JobsInDepth(TypedDict):
    """Named jobs in depth."""

    command: Literal["status"]
    jobs: list[JobInDepth]
    failed: Annotated[list[Outcome], Field(description="Jobs that could not be had.")]
    exit_code: ExitCode


class KindCounts(TypedDict):
    """How many jobs there are of each kind; a kind without jobs is left out."""

    status: dict[str, int]
    sync: dict[str, int]


class JobCounts(TypedDict):
    """How many jobs there are."""

    command: Literal["status"]
    jobs: Annotated[int, Field(description="Jobs that could be read.")]
    counts: KindCounts
    failed: Annotated[list[Outcome], Field(description="Jobs that could not be read.")]
    exit_code: ExitCode


# `from` is no name in Python.
Setting = TypedDict(
    "Setting",
    {
        "value": Annotated[Any, Field(description="The value in effect.")],
        "from": Annotated[str, Field(description="The variable or the file that it comes from, or default.")],
    },
)
Setting.__doc__ = "A setting, and where it comes from."


class Settings(TypedDict):
    """The settings in effect."""

    command: Literal["config"]
    settings: Annotated[dict[str, Setting], Field(description="By name.")]


class SettingsFile(TypedDict):
    """A file that is looked at."""

    file: str
    exists: bool


class SettingsFiles(TypedDict):
    """The files that are looked at, the strongest first."""

    command: Literal["config"]
    files: list[SettingsFile]


class ReportPlace(TypedDict):
    """A W&B report."""

    url: Annotated[str, Field(description="Its address.")]
    is_new: Annotated[bool, Field(description="There was none before.")]


class WorkspacePlace(TypedDict):
    """A view of a project's workspace."""

    url: Annotated[str, Field(description="Its address.")]


class ProjectReport(TypedDict):
    """A report and a view that were made or renewed."""

    command: Literal["report"]
    title: Annotated[str, Field(description="Of both.")]
    report: ReportPlace
    workspace: WorkspacePlace
    runs: Annotated[int, Field(description="How many runs they show.")]
    job_ids: Annotated[list[str], Field(description="Whose runs these are, the newest job first.")]
    exit_code: ExitCode


CheckState: TypeAlias = Literal["ok", "warning", "failed", "skipped"]


class Check(TypedDict):
    """What came of one check."""

    check: Annotated[str, Field(description="Its name, which stays.")]
    state: CheckState
    message: Annotated[str, Field(description="What was found.")]
    hint: Annotated[str | None, Field(description="What to do next.")]


class CheckCounts(TypedDict):
    """How many checks came to which state."""

    ok: int
    warning: int
    failed: int
    skipped: int


class Diagnosis(TypedDict):
    """What a sync needs, and whether it is there."""

    command: Literal["doctor"]
    checks: list[Check]
    counts: CheckCounts
    exit_code: ExitCode


class ProviderGuessed(TypedDict):
    """Nobody said which provider to ask."""

    provider: Literal["openai", "azure"]
    reason: Reason


class Destination(TypedDict):
    """Where the runs go."""

    project: str
    entity: Annotated[str | None, Field(description="Null offline, if none is set.")]
    is_new: Annotated[bool, Field(description="The project does not exist yet.")]
    folder: Annotated[str | None, Field(description="The folder of offline runs.")]
    run_id: Annotated[str | None, Field(description="The run that a Python program has open.")]
    ignored: Annotated[str | None, Field(description="A settings file of the working directory that does not count.")]


class Planned(TypedDict):
    """Jobs are listed and W&B has been asked; a watch says this again and again."""

    plans: list[Plan]


class Advanced(TypedDict):
    """A job has entered a phase."""

    job_id: JobId
    phase: Literal["reading", "metrics", "datasets", "model", "verifying"]
    url: Url
    metrics: Metrics


class Waiting(TypedDict):
    """A job is waited for; said after each poll."""

    job_id: JobId
    status: Status
    step: Step
    total_steps: TotalSteps
    metrics: Metrics
    url: Url


class Noted(TypedDict):
    """Something that did not stop a job, but that its owner should know."""

    job_id: JobId
    message: str


class Delayed(TypedDict):
    """A service is away, or wants to be asked less: everybody waits, then goes on."""

    message: str
    seconds: float


class Interrupted(TypedDict):
    """Interrupted: what is at work is brought to its end, and nothing new is started."""


class Selected(TypedDict):
    """Jobs are selected."""

    jobs: Annotated[int, Field(description="How many.")]
    to: Literal["verify", "archive"]


class End(TypedDict):
    """The last line of a listing: every job has had its line."""

    command: Literal["list", "status"]
    jobs: Annotated[int, Field(description="Jobs that had a line.")]
    failed: Annotated[int, Field(description="Jobs that could not be had.")]
    exit_code: ExitCode
