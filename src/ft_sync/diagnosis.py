"""Runs the probes of `ftsync doctor` and reports their results; knows the services through Protocols, and no SDK."""

from __future__ import annotations

import queue
import threading
from contextvars import copy_context
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from ft_sync.errors import ConfigError, FtSyncError, NotFound, NotOffered, Unavailable, unexpected
from ft_sync.models import NO_CHECKPOINTS, NO_CONTENT, NO_EVENTS, SUCCEEDED, Failed, Job

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from ft_sync.ports import JobSource

State: TypeAlias = Literal["ok", "warning", "failed", "skipped"]

SECONDS = 10.0
"""Timeout of a request in seconds; a request is retried once."""

JOBS_ASKED_FOR = 100
"""Number of jobs to list: one page."""

BYTES_READ = 1_000_000
"""Maximum number of bytes to read of a result file."""


@dataclass(frozen=True, slots=True)
class Concern:
    """A warning about something that a sync can do without or will soon lack, and what to do about it."""

    message: str
    hint: str | None = None


Finding: TypeAlias = str | Concern
"""The result of a check that has not failed: a sentence or a warning; a failed check raises `FtSyncError`."""


@dataclass(frozen=True, slots=True)
class Probe:
    """One check; it is skipped if a check that it depends on has failed."""

    name: str
    ask: Callable[[], Finding]
    needs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Check:
    """The result of a probe: `message` is a sentence, `hint` says what to do next if something is not ok."""

    name: str
    state: State
    message: str
    hint: str | None = None
    error: FtSyncError | None = None


@dataclass(frozen=True, slots=True)
class Owner:
    """The owner of the W&B key, a person or service account, and the entities where it may write runs."""

    name: str
    entity: str | None
    teams: tuple[str, ...]
    is_admin: bool
    server: str


@dataclass(frozen=True, slots=True)
class Target:
    """The place in W&B that the settings name, and where each setting comes from.

    Attributes:
        entity: None for the default entity of the account.
        ignored: A settings file of the working directory that names another place, and does not count.
    """

    entity: str | None
    project: str
    entity_from: str = "default"
    project_from: str = "default"
    server_from: str = "default"
    ignored: str | None = None

    def named(self, value: str, origin: str) -> str:
        """Return a value with the place that sets it."""
        return value if origin == "default" else f"{value} ({origin})"


class Account(Protocol):
    """Read access to a W&B account; raises `AuthError` and `Unavailable` as a `RunSink` does."""

    def login(self) -> str:
        """Return where the key comes from; sends no request."""

    def owner(self) -> Owner:
        """Return the owner of the key."""

    def has_project(self, entity: str, project: str) -> bool:
        """Whether the project exists."""


def diagnose(
    local: Sequence[Probe], services: Callable[[], Sequence[Sequence[Probe]]], *, seconds: float
) -> Iterator[Check]:
    """Yield the result of each probe, in order; local probes run first, then both services concurrently.

    Args:
        local: Probes that need no network.
        services: The probes of each service, run after the local ones, on which they may depend.
        seconds: Seconds after which a probe that does not return is given up.
    """
    settled: dict[str, State] = {}
    for probe in local:
        check = _settle(probe, settled, seconds)
        settled[check.name] = check.state
        yield check
    for results in [_begin(probes, dict(settled), seconds) for probes in services()]:
        yield from iter(results.get, None)


def _begin(probes: Sequence[Probe], settled: dict[str, State], seconds: float) -> queue.SimpleQueue[Check | None]:
    results: queue.SimpleQueue[Check | None] = queue.SimpleQueue()

    def work() -> None:
        for probe in probes:
            check = _settle(probe, settled, seconds)
            settled[check.name] = check.state
            results.put(check)
        results.put(None)

    threading.Thread(target=copy_context().run, args=(work,), daemon=True).start()
    return results


def _settle(probe: Probe, settled: Mapping[str, State], seconds: float) -> Check:
    for needed in probe.needs:
        if settled.get(needed) in {"failed", "skipped"}:
            return Check(probe.name, "skipped", f"not checked, since {needed} is not ok")
    try:
        found = _within(seconds, probe.ask)
    except FtSyncError as error:
        return Check(probe.name, "failed", error.message, error.hint, error)
    except Exception as error:  # noqa: BLE001 - a bug in one check must not stop the others
        bug = unexpected(error)
        return Check(probe.name, "failed", bug.message, bug.hint, bug)
    if isinstance(found, Concern):
        return Check(probe.name, "warning", found.message, found.hint)
    return Check(probe.name, "ok", found)


def _within(seconds: float, ask: Callable[[], Finding]) -> Finding:
    """Call `ask` with a timeout, in a thread that is abandoned when it expires: disks and SDKs cannot be cancelled."""
    found: queue.SimpleQueue[Finding | Exception] = queue.SimpleQueue()

    def work() -> None:
        try:
            found.put(ask())
        except Exception as error:  # noqa: BLE001 - raised again below
            found.put(error)

    threading.Thread(target=copy_context().run, args=(work,), daemon=True).start()
    try:
        result = found.get(timeout=seconds)
    except queue.Empty:
        raise Unavailable(f"no answer within {seconds:.0f} s", hint="check the network, then run it again") from None
    if isinstance(result, Exception):
        raise result
    return result


class ServiceProbes:
    """The probes of the service that has the jobs; each uses the findings of those before it.

    Args:
        connect: Creates the source and tells which key it uses.
    """

    def __init__(self, connect: Callable[[], tuple[JobSource, str]]) -> None:
        self._connect = connect
        self._jobs: list[Job] = []

    def all(self) -> tuple[Probe, ...]:
        """Return the probes in their order."""
        return (
            Probe("openai-key", self._key, ("configuration", "provider")),
            Probe("jobs", self._listing, ("openai-key",)),
            Probe("file-content", self._content, ("jobs",)),
            Probe("events", self._events, ("jobs",)),
            Probe("checkpoints", self._checkpoints, ("jobs",)),
        )

    def _key(self) -> Finding:
        self._source, key = self._connect()
        return key

    def _listing(self) -> Finding:
        found = list(islice(self._source.jobs(limit=JOBS_ASKED_FOR), JOBS_ASKED_FOR))
        self._jobs = [job for job in found if isinstance(job, Job)]
        unreadable = [failed for failed in found if isinstance(failed, Failed)]
        if unreadable:
            return Concern(
                f"{len(unreadable)} of {len(found)} jobs cannot be read: {unreadable[0].error.message}",
                hint="a sync brings the others; `ftsync list` names these",
            )
        more = " or more" if len(found) == JOBS_ASKED_FOR else ""
        return f"the service answers: {len(found) or 'no'}{more} job{'' if len(found) == 1 else 's'}"

    def _content(self) -> Finding:
        job = next((job for job in self._jobs if job.result_files), None)
        if job is None:
            return "not checked: no job has a result file"
        file = job.result_files[0]
        try:
            content = self._source.content(file, limit=BYTES_READ)
        except NotFound as error:
            reason = NO_CONTENT if isinstance(error, NotOffered) else error.message
            return Concern(reason, hint="metrics come from the events then, as far as there are any")
        return f"{file} can be downloaded" if content is None else f"{file} was downloaded: {len(content)} bytes"

    def _events(self) -> Finding:
        job = next(iter(self._jobs), None)
        if job is None:
            return "not checked: there is no job"
        try:
            self._source.events(job.id, limit=1)
        except NotFound:
            return Concern(NO_EVENTS, hint="runs get their metrics from result files alone, and no console log")
        return "events can be read"

    def _checkpoints(self) -> Finding:
        job = next((job for job in self._jobs if job.status == SUCCEEDED), None)
        if job is None:
            return "not checked: no job has succeeded"
        try:
            self._source.checkpoints(job.id)
        except NotFound:
            return Concern(NO_CHECKPOINTS, hint="runs do without them")
        return "checkpoints can be read"


class AccountProbes:
    """The probes of W&B; they write nothing, so permissions that only a write would show are reported as unknown.

    Args:
        connect: Creates the account and tells where to write to.
    """

    def __init__(self, connect: Callable[[], tuple[Account, Target]]) -> None:
        self._connect = connect

    def all(self) -> tuple[Probe, ...]:
        """Return the probes in their order."""
        return (
            Probe("wandb-login", self._login, ("configuration",)),
            Probe("wandb-server", self._server, ("wandb-login",)),
            Probe("wandb-entity", self._its_entity, ("wandb-server",)),
            Probe("wandb-project", self._its_project, ("wandb-entity",)),
        )

    def _login(self) -> Finding:
        self._account, self._target = self._connect()
        return f"there is a key: {self._account.login()}"

    def _server(self) -> Finding:
        self._owner = self._account.owner()
        server = self._target.named(self._owner.server, self._target.server_from)
        said = f"{server} answers: the key is {self._owner.name}'s"
        if ignored := self._target.ignored:
            return Concern(said, hint=f"{ignored} names another place: it is not read, use --entity and --project")
        return said

    def _its_entity(self) -> Finding:
        owner, wanted = self._owner, self._target.entity or self._owner.entity
        if wanted is None:
            raise ConfigError("the account has no entity of its own", hint="name one by --entity or WANDB_ENTITY")
        self._entity = wanted
        named = self._target.named(wanted, self._target.entity_from)
        if wanted in {owner.name, owner.entity}:
            return f"{named} is the account's own"
        if wanted in owner.teams:
            return f"{named} is a team of {owner.name}'s; not checked: whether the key may write there"
        if owner.is_admin:
            return f"not checked: {named} is no team of {owner.name}'s, who is an administrator"
        known = dict.fromkeys(name for name in (owner.entity, *owner.teams) if name)
        raise ConfigError(f"{owner.name} belongs to no entity {wanted}", hint=f"--entity {' or '.join(known)}")

    def _its_project(self) -> Finding:
        place = self._target.named(f"{self._entity}/{self._target.project}", self._target.project_from)
        if self._account.has_project(self._entity, self._target.project):
            return f"{place} is there"
        return f"the first sync makes {place}; not checked: whether the key may"
