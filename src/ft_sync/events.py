"""Progress events, as immutable values that the engine passes to an observer; it never waits for an answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from ft_sync.models import Destination

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ft_sync.compare import Verdict
    from ft_sync.models import ArchiveOutcome, Job, JobId, JobOutcome, Plan, Write

Phase: TypeAlias = Literal["reading", "metrics", "datasets", "model", "verifying"]


@dataclass(frozen=True, slots=True)
class ProviderGuessed:
    """The provider was guessed, because the user named none; reported before the provider is asked."""

    provider: str
    reason: str


@dataclass(frozen=True, slots=True)
class Planned:
    """Jobs were listed and planned; reported before any of them is written, by `--watch` repeatedly."""

    plans: tuple[Plan, ...]


@dataclass(frozen=True, slots=True)
class Started:
    """A worker has started on a job."""

    plan: Write


@dataclass(frozen=True, slots=True)
class Advanced:
    """The job has entered a phase.

    Attributes:
        url: URL of the job's run; None until it is known.
        metrics: The last value of each metric; None in phases that do not report it.
    """

    job_id: JobId
    phase: Phase
    url: str | None = None
    metrics: Mapping[str, float] | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """The progress of an unfinished job that the sync waits for; reported after each poll.

    Attributes:
        step: The newest step reported by a metrics event; None before the first.
        total_steps: Number of steps of the whole job; None if the service does not say.
        metrics: The metrics of the newest step.
        url: URL of the job's run, if it is written while the job runs.
    """

    job: Job
    step: int | None = None
    total_steps: int | None = None
    metrics: Mapping[str, float] | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Noted:
    """A problem that did not stop the job, but that the user should know of."""

    job_id: JobId
    message: str


@dataclass(frozen=True, slots=True)
class Delayed:
    """A service is unavailable or limits the rate: requests pause for `seconds`, then are retried."""

    message: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The sync was interrupted: the jobs that are being written are finished, and nothing new is started."""


@dataclass(frozen=True, slots=True)
class Settled:
    """A job has its outcome; reported once per selected job."""

    outcome: JobOutcome


@dataclass(frozen=True, slots=True)
class Selected:
    """The number of selected jobs; reported once, after listing."""

    jobs: int
    to: Literal["verify", "archive"]


@dataclass(frozen=True, slots=True)
class Verified:
    """A job has its verdict; reported once per verified job."""

    verdict: Verdict


@dataclass(frozen=True, slots=True)
class JobArchived:
    """A job has been archived or could not be; reported once per selected job."""

    outcome: ArchiveOutcome


Event: TypeAlias = (
    ProviderGuessed
    | Destination
    | Planned
    | Started
    | Advanced
    | Waiting
    | Noted
    | Delayed
    | Interrupted
    | Settled
    | Selected
    | Verified
    | JobArchived
)
Observer: TypeAlias = Callable[[Event], None]
