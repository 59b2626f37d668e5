"""Both services on loopback and a folder to work in: the whole environment that a command sees."""

from __future__ import annotations

import itertools
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
import wandb
from hypothesis import HealthCheck, settings
from wandb.sdk.lib.service import service_port_file

from ft_sync.sandbox import API_KEY, Sandbox, World, serve
from tests.wandb_backend import WandbBackend, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# No example is wrong for taking long: the machine may be busy.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

_numbers = itertools.count(1)


@pytest.fixture
def world() -> World:
    """The jobs and files that the sandbox serves; a test fills it."""
    return World()


@pytest.fixture(scope="session")
def _stopping() -> Iterator[ThreadPoolExecutor]:
    """Stops servers while other tests run: Uvicorn takes 0.2 s for it, and does nothing meanwhile."""
    with ThreadPoolExecutor() as executor:
        yield executor


@pytest.fixture
def sandbox(world: World, _stopping: ThreadPoolExecutor) -> Iterator[Sandbox]:
    """An OpenAI-compatible server on loopback."""
    with ExitStack() as stack:
        yield stack.enter_context(serve(world))
        _stopping.submit(stack.pop_all().close)


@pytest.fixture(scope="session", autouse=True)
def _impatient_sdk() -> Iterator[None]:
    """Have the SDK look more often whether its core has started: that takes 0.02 s, and it looks every 0.2 s."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(service_port_file, "_SLEEP", lambda seconds: time.sleep(min(seconds, 0.01)))
        yield


@pytest.fixture(scope="session")
def _backend() -> Iterator[WandbBackend]:
    with serving() as server:
        yield server


@pytest.fixture
def backend(_backend: WandbBackend) -> Iterator[WandbBackend]:
    """A W&B server on loopback, shared by the tests of a process; each works in a `project` of its own."""
    _backend.heal()
    _backend.latency = 0.0
    _backend.requests.clear()
    _backend.unknown_fields.clear()
    yield _backend
    _backend.heal()
    assert _backend.errors == []


@pytest.fixture
def project() -> str:
    """A W&B project that no other test uses."""
    return f"project-{os.getpid()}-{next(_numbers)}"


@pytest.fixture
def workspace(
    tmp_path: Path, sandbox: Sandbox, backend: WandbBackend, project: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """An empty current folder, with the environment set for both services and nothing of the user's."""
    for name in list(os.environ):
        if name.startswith(("OPENAI_", "AZURE_", "WANDB_", "FTSYNC_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("FTSYNC_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("OPENAI_BASE_URL", sandbox.url)
    monkeypatch.setenv("OPENAI_API_KEY", API_KEY)
    for name, value in backend.env(tmp_path / "home").items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("WANDB_DIR", raising=False)
    monkeypatch.setenv("WANDB_PROJECT", project)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    wandb.teardown()
    yield work
    wandb.teardown()
