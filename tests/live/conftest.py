"""A sync that goes on while the test drives the jobs, and what became of it."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

import ft_sync

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ft_sync.events import Event
    from ft_sync.models import SyncReport
    from tests.wandb_backend import Run, WandbBackend

POLL = 0.1
"""Seconds between two polls."""


class Sync(threading.Thread):
    """`ft_sync.sync` in a thread; `heard` are the events so far."""

    def __init__(self, **arguments: Any) -> None:  # noqa: ANN401 - of sync
        super().__init__(daemon=True)
        self._arguments = {"poll_interval": POLL, **arguments}
        self._report: SyncReport | BaseException | None = None
        self.heard: list[Event] = []

    def run(self) -> None:
        try:
            self._report = ft_sync.sync(observer=self.heard.append, **self._arguments)
        except BaseException as error:  # noqa: BLE001 - it is raised again in the test's own thread
            self._report = error

    def report(self) -> SyncReport:
        """Wait for the end."""
        self.join(100)
        assert self._report is not None, "the sync goes on and on"
        if isinstance(self._report, BaseException):
            raise self._report
        return self._report


@contextmanager
def syncing(**arguments: Any) -> Iterator[Sync]:  # noqa: ANN401 - of sync
    """Sync while the block lasts, and then to the end."""
    sync = Sync(**arguments)
    sync.start()
    yield sync
    sync.report()


def until(is_so: Callable[[], object], seconds: float = 60) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.01)


def polls(sandbox: Any, count: int = 2) -> None:  # noqa: ANN401
    """Wait for so many listings more."""
    before = sandbox.count("/jobs$")
    until(lambda: sandbox.count("/jobs$") >= before + count)


@pytest.fixture
def run(workspace: Path, backend: WandbBackend, project: str) -> Callable[[], Run]:
    """Give the only run of the project."""
    assert workspace.is_dir()

    def only() -> Run:
        (found,) = backend.runs(project)
        return found

    return only
