"""The composition root: settings in, source and sink out; the one file that knows all parts, and imports them late."""

from __future__ import annotations

import os
import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    import openai

    from ft_sync.ports import JobSource, RunSink
    from ft_sync.settings import Settings


class SystemClock:
    """Real time."""

    def now(self) -> float:
        """Return a monotonic time in seconds."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


def source(client: openai.OpenAI | None = None) -> AbstractContextManager[JobSource]:
    """Connect to OpenAI with the given client, or with one made from the environment and closed in the end."""
    from ft_sync.sources import openai as adapter  # noqa: PLC0415 - 0.6 s that only commands which need it pay

    return adapter.connected() if client is None else nullcontext(adapter.OpenAISource(client))


def sink(settings: Settings, init: Mapping[str, object]) -> RunSink:
    """Connect to W&B, or to a folder of offline runs.

    Raises:
        ConfigError: `init` holds what `wandb.init` does not take, or the folder cannot be written to.
    """
    # W&B's core would post its telemetry to the configured server on its only request loop, and every run of the
    # process would wait for that.
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    from ft_sync.sinks import offline, online, wandb  # noqa: PLC0415 - as above

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
    )
    return offline.OfflineSink(options) if settings.mode == "offline" else online.OnlineSink(options)
