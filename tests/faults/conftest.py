"""An account of varied jobs, what an undisturbed sync leaves of it in W&B, and the command in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

import ft_sync
from ft_sync.sandbox import World, samples
from tests.truth import Held, differences, held

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ft_sync.sandbox import Sandbox
    from tests.wandb_backend import WandbBackend

SYNC = (sys.executable, "-m", "ft_sync", "sync", "--include-unsuccessful")

_references: dict[int, Held] = {}


def account(size: int) -> World:
    """The sample jobs, and so many more that share a training file; failed and cancelled ones are among them."""
    return World([*samples.finished_jobs(), *samples.many(size)])


@pytest.fixture
def size() -> int:
    """How many jobs there are beside the samples; a module may have it otherwise."""
    return 12


@pytest.fixture
def world(size: int) -> World:
    return account(size)


@dataclass
class Account:
    """Both services, and a sync between them that is to be disturbed."""

    sandbox: Sandbox
    backend: WandbBackend
    project: str
    expected: Held
    requests: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def jobs(self) -> list[str]:
        """The ids of all jobs, newest first."""
        return [job.id for job in self.sandbox.world.jobs]

    def wrong(self) -> dict[str, object]:
        """What W&B holds otherwise than it should."""
        return differences(self.expected, held(self.backend, self.project))

    def heal(self) -> None:
        self.sandbox.heal()
        self.backend.heal()

    def at_request(self, number: int, act: Callable[[], None]) -> None:
        """Act when either service is sent so many requests, before it does what it is asked for."""

        def count(_: object) -> bool:
            with self._lock:
                self.requests += 1
                is_it = self.requests == number
            if is_it:
                act()
            return False

        self.requests = 0
        self.sandbox.fail("", when=count)
        self.backend.fail("*", when=count)


@pytest.fixture
def account_of(workspace: Path, sandbox: Sandbox, backend: WandbBackend, project: str, size: int) -> Account:
    assert workspace.is_dir()
    if size not in _references:
        ft_sync.sync(project=f"{project}-undisturbed", include_unsuccessful=True)
        _references[size] = held(backend, f"{project}-undisturbed")
    sandbox.forget()
    backend.requests.clear()
    return Account(sandbox, backend, project, _references[size])


@dataclass
class Command:
    """The command at work, in a process group of its own."""

    process: subprocess.Popen[str]
    said: str = ""

    def signal(self, number: signal.Signals, *, group: bool = False) -> None:
        """Send a signal, which finds nobody if the process has ended."""
        with suppress(ProcessLookupError):
            (os.killpg if group else os.kill)(self.process.pid, number)

    def end(self, timeout: float = 120) -> int:
        """Wait for its end and return its exit code."""
        self.said, _ = self.process.communicate(timeout=timeout)
        assert "Traceback" not in self.said, self.said
        return self.process.returncode


@pytest.fixture
def start() -> Iterator[Callable[..., Command]]:
    """Start the command; one that is still at work after the test is killed."""
    started: list[Command] = []

    def command(*arguments: str, machine: Path | None = None) -> Command:
        """With a folder as its `machine`, it knows nothing of what others do on this one."""
        # With an SDK process of its own: in that of the tests, what it had begun would go on after its end.
        env = {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"}
        if machine is not None:
            machine.mkdir(mode=0o700)
            # What the SDK keeps lies there, too.
            env = {name: value for name, value in env.items() if name[:6] != "WANDB_" or name[-4:] != "_DIR"}
            env |= {"HOME": str(machine), "TMPDIR": str(machine)}
        process = subprocess.Popen(
            [*SYNC, *arguments],
            env=env,
            cwd=machine,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        started.append(Command(process))
        return started[-1]

    yield command
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()
