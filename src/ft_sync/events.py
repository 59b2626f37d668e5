"""What the engine reports while it works: facts as values, for whoever watches; it never waits for an answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ft_sync.compare import Verdict
    from ft_sync.models import ArchiveOutcome, Job, JobId, JobOutcome, Plan, Write

Phase: TypeAlias = Literal["reading", "metrics", "datasets", "model", "verifying"]


@dataclass(frozen=True, slots=True)
class ProviderGuessed:
    """Nobody said which provider to ask; said before it is asked."""

    provider: str
    reason: str


@dataclass(frozen=True, slots=True)
class Planned:
    """Jobs are listed and W&B has been asked; said before any of them is written, by a watch again and again."""

    plans: tuple[Plan, ...]


@dataclass(frozen=True, slots=True)
class Started:
    """A job's turn has come."""

    plan: Write


@dataclass(frozen=True, slots=True)
class Advanced:
    """The job has entered a phase.

    Attributes:
        url: Where its run is to be seen; None until that is known.
        metrics: The last value of each; None where this phase does not tell.
    """

    job_id: JobId
    phase: Phase
    url: str | None = None
    metrics: Mapping[str, float] | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """Said after each poll for each job that is waited for.

    Attributes:
        step: The newest step reported by a metrics event; None before the first.
        total_steps: Of the whole job; None where the service does not say.
        metrics: Those of the newest step.
        url: Where its run is to be seen, if it is written while the job runs.
    """

    job: Job
    step: int | None = None
    total_steps: int | None = None
    metrics: Mapping[str, float] | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Noted:
    """Something that did not stop the job but that its owner should know."""

    job_id: JobId
    message: str


@dataclass(frozen=True, slots=True)
class Delayed:
    """A service is away or wants to be asked less: everybody waits for `seconds`, then goes on."""

    message: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The sync was interrupted: the jobs that are being written are finished, and nothing new is started."""


@dataclass(frozen=True, slots=True)
class Settled:
    """A job has its outcome; said once for each selected job."""

    outcome: JobOutcome


@dataclass(frozen=True, slots=True)
class Selected:
    """So many jobs are selected; said once they are listed."""

    jobs: int
    to: Literal["verify", "archive"]


@dataclass(frozen=True, slots=True)
class Verified:
    """A job has its verdict; said once for each that is verified."""

    verdict: Verdict


@dataclass(frozen=True, slots=True)
class JobArchived:
    """A job is in the archive, or could not be brought there; said once for each selected job."""

    outcome: ArchiveOutcome


Event: TypeAlias = (
    ProviderGuessed
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
