"""The composition root: creates source and sink from the settings; the only module that knows all adapters."""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from ft_sync import scratch
from ft_sync.errors import ConfigError, Stopped
from ft_sync.events import ProviderGuessed
from ft_sync.providers import guessed_provider

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager

    import openai
    import wandb as sdk

    from ft_sync.diagnosis import Account
    from ft_sync.events import Observer
    from ft_sync.ports import Clock, JobSource, ReportSink, RunSink
    from ft_sync.providers import Provider
    from ft_sync.settings import Settings
    from ft_sync.sources.service import Service


CORE_MEMORY = "96MiB"
"""Memory limit beyond which the garbage collector of W&B's core (written in Go) runs more often."""


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


def reporter(settings: Settings) -> ReportSink:
    """Connect to W&B to write a report.

    Raises:
        ConfigError: The packages for reports (extra `report`) are not installed.
    """
    prepare_wandb()
    try:
        from ft_sync.sinks import report  # noqa: PLC0415 - as below, and in an extra
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] != "wandb_workspaces":
            raise
        raise ConfigError("reports need wandb-workspaces", hint="pip install 'ft-sync[report]'") from error
    from ft_sync.sinks.wandb import RunOptions  # noqa: PLC0415 - as below

    return report.Reporter(RunOptions(settings.project, settings.entity, settings.mode))


@contextmanager
def source(
    settings: Settings,
    clock: Clock,
    observe: Observer,
    client: openai.OpenAI | None = None,
    archive: Path | None = None,
) -> Iterator[JobSource]:
    """Open an archive or connect to a service, with the given client or one made (and closed) here.

    Raises:
        ConfigError, NotLoggedIn: There is no such archive, or the environment lacks an address or a key.
    """
    if archive is not None:
        from ft_sync.archives import Archive  # noqa: PLC0415 - for few commands
        from ft_sync.sources.archive import ArchiveSource  # noqa: PLC0415 - as above

        yield ArchiveSource(Archive(archive))
        return
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


def sink(
    settings: Settings,
    init: Mapping[str, object],
    run: sdk.Run | None = None,
    model_artifact_copies: Iterable[str] = (),
) -> RunSink:
    """Return the sink: W&B, a folder of offline runs, or a run that the caller has open.

    Raises:
        ConfigError: `init` holds arguments that `wandb.init` does not accept, or the folder is not writable.
    """
    prepare_wandb()
    from ft_sync.sinks import active, offline, online, wandb  # noqa: PLC0415 - as above

    wandb.check_init(init)
    root = settings.dir or Path.cwd()
    options = wandb.RunOptions(
        settings.project,
        settings.entity,
        settings.mode,
        settings.model_artifact_name,
        settings.model_artifact_type,
        settings.table_rows,
        {**init, "dir": str(root)},
        tuple(model_artifact_copies),
    )
    if run is not None:
        return active.sink(run, options)
    if settings.mode == "offline":
        return offline.OfflineSink(options)
    # The SDK's core takes a while to start, so start it while the jobs are being listed.
    threading.Thread(target=online.start_core, daemon=True).start()
    return online.OnlineSink(options)


def prepare_wandb() -> None:
    """Set environment variables that the SDK reads when it is imported."""
    # W&B's core would post its telemetry to the configured server on its only request loop, and every run of the
    # process would wait for that.
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    # By default, Go lets garbage grow as large as the live heap. This limits the garbage, not what the core may use.
    os.environ.setdefault("GOMEMLIMIT", CORE_MEMORY)
    if instead := scratch.home():
        for name in ("XDG_CACHE_HOME", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
            os.environ.setdefault(name, str(instead))


@contextmanager
def hurried_source(provider: Provider, seconds: float) -> Iterator[JobSource]:
    """Connect with two attempts per request and no waiting for rate limits: for `doctor`, not for a sync.

    Raises:
        ConfigError, NotLoggedIn: As for `source`.
    """
    from ft_sync.sources import openai as adapter  # noqa: PLC0415 - as above
    from ft_sync.sources.pace import Pace  # noqa: PLC0415 - as above

    client, asked = _client(provider, seconds)
    pace = Pace(SystemClock(), lambda _: None, asked.name, attempts=2, patience=0.0)
    with client as opened:
        yield adapter.OpenAISource(opened, pace, asked)


def account(seconds: float) -> Account:
    """Return read access to the W&B account of the key: for `doctor`, not for a sync."""
    prepare_wandb()
    from ft_sync.sinks.account import WandbAccount  # noqa: PLC0415 - as above

    return WandbAccount(os.environ, seconds)
