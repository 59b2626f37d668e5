"""The parts that settings choose."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ft_sync import wiring
from ft_sync.errors import ConfigError
from ft_sync.settings import load
from ft_sync.sinks.offline import OfflineSink
from ft_sync.sinks.online import OnlineSink

if TYPE_CHECKING:
    from pathlib import Path

    from ft_sync.sandbox import Sandbox
    from tests.wandb_backend import WandbBackend


def test_the_mode_chooses_the_sink_and_nothing_is_asked_yet(workspace: Path, backend: WandbBackend) -> None:
    with wiring.sink(load({"mode": "online"}), {}) as sink:
        assert isinstance(sink, OnlineSink)
    with wiring.sink(load({"mode": "offline", "dir": workspace}), {}) as sink:
        assert isinstance(sink, OfflineSink)
    assert backend.requests == []


def test_bad_arguments_are_refused_before_a_service_is_asked(workspace: Path, sandbox: Sandbox) -> None:
    del workspace
    with pytest.raises(ConfigError), wiring.sink(load({}), {"tgas": 1}):
        pass
    assert sandbox.requests == []


def test_the_clock_goes_forward() -> None:
    clock = wiring.SystemClock()
    before = clock.now()
    clock.sleep(0.01)
    assert clock.now() > before
