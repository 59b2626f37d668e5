"""The composition root: creates source and sink from the settings; the only module that knows all adapters."""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ft_sync.errors import ConfigError, Stopped
from ft_sync.events import ProviderGuessed
from ft_sync.providers import guessed_provider
from ft_sync.settings import ignored

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager

    import openai
    import wandb as sdk

    from ft_sync.archives import Archive
    from ft_sync.diagnosis import Account
    from ft_sync.events import Event, Observer
    from ft_sync.ports import Clock, JobSource, ReportSink, RunSink
    from ft_sync.providers import Provider
    from ft_sync.settings import Settings
    from ft_sync.sources.service import Service


_T = TypeVar("_T")


class SystemClock:
    """The `Clock` of the operating system."""

    def __init__(self) -> None:
        self._stopped = threading.Event()

    def now(self) -> float:
        """Return a monotonic time in seconds."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait for `seconds`; raise `Stopped` if `stop` is or was called."""
        if self._stopped.wait(seconds):
            raise Stopped("stopped while waiting", hint="run the same command again to carry on")

    def stop(self) -> None:
        """Make every current and future `sleep` raise `Stopped`."""
        self._stopped.set()


@contextmanager
def reporter(settings: Settings) -> Iterator[ReportSink]:
    """Connect to W&B to write a report.

    Raises:
        ConfigError: The packages for reports (extra `report`) are not installed.
    """
    try:
        from ft_sync.sinks import report  # noqa: PLC0415 - as below, and in an extra
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] != "wandb_workspaces":
            raise
        raise ConfigError("reports need wandb-workspaces", hint="pip install 'ft-sync[report]'") from error
    from ft_sync.sinks.session import session  # noqa: PLC0415 - as below
    from ft_sync.sinks.wandb import RunOptions  # noqa: PLC0415 - as below

    with session(os.environ):
        yield report.Reporter(RunOptions(settings.project, settings.entity, settings.mode))


@contextmanager
def source(
    settings: Settings,
    clock: Clock,
    observe: Observer,
    client: openai.OpenAI | None = None,
    archive: Path | None = None,
) -> Iterator[JobSource]:
    """Open an archive or connect to a service, with the given client or one made (and closed) here.

    Whatever a service repeats of the user's keys is removed from what this source serves.

    Raises:
        ConfigError, NotLoggedIn: There is no such archive, or the environment lacks an address or a key.
    """
    from ft_sync.sources.redacted import RedactedSource  # noqa: PLC0415 - as below

    if archive is not None:
        yield RedactedSource(archived(archive)[1])
        return
    with source_as_served(settings, clock, observe, client) as served:
        yield RedactedSource(served)


@contextmanager
def source_as_served(
    settings: Settings, clock: Clock, observe: Observer, client: openai.OpenAI | None = None
) -> Iterator[JobSource]:
    """Connect to a service whose answers are not redacted: for an archive, never for a run or a screen.

    Raises:
        ConfigError, NotLoggedIn: As for `source`.
    """
    from ft_sync.sources import openai as adapter  # noqa: PLC0415 - 0.6 s that only commands which need it pay
    from ft_sync.sources import service  # noqa: PLC0415 - as above
    from ft_sync.sources.pace import Pace  # noqa: PLC0415 - as above

    connection: AbstractContextManager[openai.OpenAI]
    if client is not None:
        connection, asked = nullcontext(client), service.service_of(client)
    else:
        connection, asked = _client(_provider(settings, observe), adapter.TIMEOUT)
    with connection as opened:
        yield adapter.OpenAISource(opened, Pace(clock, observe, asked.name), asked)


def archived(folder: Path) -> tuple[Archive, JobSource]:
    """Open an archive, and the source of its jobs, which serves them with whatever keys they hold.

    Raises:
        ConfigError: There is no such archive.
    """
    from ft_sync.archives import Archive  # noqa: PLC0415 - for few commands
    from ft_sync.sources.archive import ArchiveSource  # noqa: PLC0415 - as above

    archive = Archive(folder)
    return archive, ArchiveSource(archive)


def _client(provider: Provider, timeout: float) -> tuple[openai.OpenAI, Service]:
    from ft_sync.sources import azure, service  # noqa: PLC0415 - as above
    from ft_sync.sources import openai as adapter  # noqa: PLC0415 - as above

    if provider == "azure":
        return azure.client(os.environ, timeout), service.AZURE
    made = adapter.client(os.environ.get("OPENAI_BASE_URL", ""), timeout)
    return made, service.service_of(made)


def _provider(settings: Settings, observe: Observer) -> Provider:
    """Return the provider to ask; if it is guessed, report that."""
    if settings.provider is not None:
        return settings.provider
    provider, reason = guessed_provider(os.environ)
    observe(ProviderGuessed(provider, reason))
    return provider


@contextmanager
def sink(
    settings: Settings,
    init: Mapping[str, object],
    run: sdk.Run | None = None,
    model_artifact_copies: Iterable[str] = (),
) -> Iterator[RunSink]:
    """Open the sink: W&B, a folder of offline runs, or a run that the caller has open.

    The SDK works in a session of ftsync's own; for the caller's run, on the server of that run.

    Raises:
        ConfigError: `init` or the environment holds what `wandb.init` does not accept, or the folder is not writable.
    """
    from ft_sync.sinks import active, offline, online, session, wandb  # noqa: PLC0415 - as above

    wandb.check_init(init)
    options = wandb.RunOptions(
        settings.project,
        settings.entity,
        settings.mode,
        settings.model_artifact_name,
        settings.model_artifact_type,
        settings.table_rows,
        {**wandb.with_environment(init, os.environ), "dir": str(settings.dir or Path.cwd())},
        tuple(model_artifact_copies),
        ignored(),
    )
    with session.session(os.environ, run):
        if run is not None:
            yield active.sink(run, options)
            return
        yield offline.OfflineSink(options) if settings.mode == "offline" else online.OnlineSink(options)


def step_by_step(found: Iterator[_T]) -> Iterator[_T]:
    """Yield from a generator that works in a session; what the caller does between two items is outside of it."""
    from ft_sync.sinks.session import outside  # noqa: PLC0415 - as above

    for one in found:
        with outside():
            yield one


def outside(observe: Observer) -> Observer:
    """Return an observer of the caller's that may be called within a session, and works outside of it."""

    def observed(event: Event) -> None:
        from ft_sync.sinks.session import outside  # noqa: PLC0415 - as above

        with outside():
            observe(event)

    return observed


@contextmanager
def hurried_source(provider: Provider, seconds: float) -> Iterator[JobSource]:
    """Connect with two attempts per request and no waiting for rate limits: for `doctor`, not for a sync.

    Raises:
        ConfigError, NotLoggedIn: As for `source`.
    """
    from ft_sync.sources import openai as adapter  # noqa: PLC0415 - as above
    from ft_sync.sources.pace import Pace  # noqa: PLC0415 - as above
    from ft_sync.sources.redacted import RedactedSource  # noqa: PLC0415 - as above

    client, asked = _client(provider, seconds)
    pace = Pace(SystemClock(), lambda _: None, asked.name, attempts=2, patience=0.0)
    with client as opened:
        yield RedactedSource(adapter.OpenAISource(opened, pace, asked))


@contextmanager
def account(seconds: float) -> Iterator[Account]:
    """Open read access to the W&B account of the key: for `doctor`, not for a sync."""
    from ft_sync.sinks.account import WandbAccount  # noqa: PLC0415 - as above
    from ft_sync.sinks.session import session  # noqa: PLC0415 - as above

    with session(os.environ):
        yield WandbAccount(os.environ, seconds)
