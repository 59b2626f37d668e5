"""The parts that settings choose."""

from __future__ import annotations

import os
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
    assert isinstance(wiring.sink(load({"mode": "online"}), {}), OnlineSink)
    assert isinstance(wiring.sink(load({"mode": "offline", "dir": workspace}), {}), OfflineSink)
    assert backend.requests == []


def test_bad_arguments_are_refused_before_a_service_is_asked(workspace: Path, sandbox: Sandbox) -> None:
    del workspace
    with pytest.raises(ConfigError):
        wiring.sink(load({}), {"tgas": 1})
    assert sandbox.requests == []


def test_telemetry_of_the_sdk_is_off_unless_the_user_wants_it(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_ERROR_REPORTING", raising=False)
    wiring.sink(load({"mode": "offline", "dir": workspace}), {})
    assert os.environ["WANDB_ERROR_REPORTING"] == "false"
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "true")
    wiring.sink(load({"mode": "offline", "dir": workspace}), {})
    assert os.environ["WANDB_ERROR_REPORTING"] == "true"


def test_the_clock_goes_forward() -> None:
    clock = wiring.SystemClock()
    before = clock.now()
    clock.sleep(0.01)
    assert clock.now() > before
