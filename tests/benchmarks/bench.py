"""One figure's workbench: both servers, and the commands run against them, each in a folder of its own."""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.benchmarks import process
from tests.benchmarks.services import LATENCY, Services, services

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from ft_sync.sandbox import SampleJob
    from tests.benchmarks.process import Usage
    from tests.benchmarks.services import Requests

HERE = Path(__file__).parent
FTSYNC = str(Path(sys.executable).with_name("ftsync"))
SCRIPT = (sys.executable, "-P")  # the modules of this folder are none of the script's
FOREIGN = ("OPENAI_", "AZURE_", "WANDB_", "FTSYNC_", "XDG_", "COV_", "COVERAGE_")
"""Variables of the user, or of whoever measures how far the tests reach, that no measured command sees."""


@dataclass(frozen=True)
class Measured:
    """What a command took, and what the servers saw of it.

    Attributes:
        openai: Its requests to OpenAI.
        wandb: Its requests to W&B.
        uploaded: Bytes that W&B received.
        openai_cpu: CPU seconds that OpenAI's server worked; near `usage.seconds` it is what bounds the figure.
        wandb_cpu: The same for W&B's server.
    """

    command: str
    usage: Usage
    openai: Requests
    wandb: Requests
    uploaded: int
    openai_cpu: float
    wandb_cpu: float

    def cost(self, latency: float) -> dict[str, Any]:
        """Where the time may have gone; `waiting` is what all round trips would take one after the other."""
        requests = self.openai.total() + self.wandb.total()
        return {
            "command": self.command,
            "seconds": self.usage.seconds,
            "own_cpu": self.usage.own_cpu,
            "core_cpu": self.usage.core_cpu,
            "own_peak_mib": self.usage.peak_own_mib,
            "core_peak_mib": self.usage.peak_mib - self.usage.peak_own_mib,
            "openai_requests": self.openai.total(),
            "wandb_requests": self.wandb.total(),
            "waiting": requests * latency,
            "uploaded_mb": self.uploaded / 1e6,
            "openai_server_cpu": self.openai_cpu,
            "wandb_server_cpu": self.wandb_cpu,
        }


class Bench:
    """Runs commands and remembers what each cost.

    Attributes:
        services: Both servers; a figure fills them.
        runs: How often the quick figures are taken.
        costs: Of every command that was measured, see `Measured.cost`.
    """

    def __init__(self, services: Services, root: Path, *, runs: int) -> None:
        self.services = services
        self.runs = runs
        self.costs: list[dict[str, Any]] = []
        self._root = root
        self._numbers = itertools.count(1)
        self._label = ""
        self._jobs: list[str] = []

    def project(self) -> str:
        """A W&B project that nobody has used."""
        return f"benchmark-{next(self._numbers)}"

    def fill(self, label: str, make: Callable[..., Iterable[SampleJob]], *arguments: object) -> list[str]:
        """Have OpenAI's side hold what `make` makes and nothing else; return the ids, oldest first."""
        self._label = label
        self._jobs = self.services.openai.fill(make, *arguments)
        return self._jobs

    def ftsync(self, project: str, *, sampled: bool = False) -> Measured:
        """Sync all jobs by the console command."""
        return self._measured(f"ftsync, {self._label}", _sync(project), sampled=sampled)

    def peer(self, project: str, job_ids: Sequence[str] = (), *, sampled: bool = False) -> Measured:
        """Sync these jobs, or all, by wandb's own `WandbLogger`, one after the other."""
        if find_spec("pandas") is None:
            raise RuntimeError("the peer needs pandas: pip install -c constraints.txt -e '.[bench]'")
        command = [*SCRIPT, str(HERE / "peer.py"), project]
        return self._measured(f"WandbLogger, {self._label}", command, job_ids or self._jobs, sampled=sampled)

    def script(self, name: str, *arguments: str) -> Measured:
        """Run a script of this folder."""
        return self._measured(name, [*SCRIPT, str(HERE / name), *arguments])

    def prepare(self, project: str) -> None:
        """Sync all jobs without latency and without measuring."""
        folder = self.folder()
        with self.services.quick():
            process.run(_sync(project), env=self.env(folder), folder=folder)

    def expect_all(self, project: str) -> None:
        """Make sure that all jobs have arrived: the time of a failure is no figure."""
        rows = self.services.wandb.rows(project)
        missing = [job_id for job_id in self._jobs if not rows.get(job_id)]
        if missing:
            raise RuntimeError(f"{len(missing)} jobs did not arrive in {project}, the first is {missing[0]}")

    def folder(self) -> Path:
        """A new empty folder."""
        folder = self._root / f"command-{next(self._numbers)}"
        folder.mkdir()
        return folder

    def env(self, home: Path) -> dict[str, str]:
        """An environment with both services and nothing of the user's."""
        own = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
        # ftsync draws nothing into a pipe; what else the SDKs would print is the same for both.
        return {**own, "HOME": str(home), **self.services.openai.env(), **self.services.wandb.env(home / "wandb")}

    def _measured(
        self, name: str, command: Sequence[str], stdin: Sequence[str] = (), *, sampled: bool = False
    ) -> Measured:
        folder = self.folder()
        env = self.env(folder)
        openai, wandb = self.services.openai, self.services.wandb
        openai.forget()
        wandb.forget()
        before = openai.cpu_seconds(), wandb.cpu_seconds()
        usage = process.run(
            command, env=env, folder=folder, stdin="".join(f"{line}\n" for line in stdin), sampled=sampled
        )
        worked = openai.cpu_seconds() - before[0], wandb.cpu_seconds() - before[1]
        measured = Measured(name, usage, openai.requests(), wandb.requests(), wandb.received(), *worked)
        self.costs.append(measured.cost(self.services.latency))
        sys.stderr.write(f"  {name}: {usage.seconds:.1f} s\n")
        return measured


@contextlib.contextmanager
def benches(*, latency: float = LATENCY, runs: int = 10) -> Iterator[Bench]:
    """A workbench with servers of its own, so that no figure bears what another left behind."""
    with tempfile.TemporaryDirectory(prefix="ftsync-bench-") as root, services(latency) as both:
        yield Bench(both, Path(root), runs=runs)


def _sync(project: str) -> list[str]:
    return [FTSYNC, "sync", "--project", project]


def by_kind(requests: Requests) -> Counter[str]:
    """The requests by operation or route alone."""
    kinds: Counter[str] = Counter()
    for (kind, _), count in requests.items():
        kinds[kind] += count
    return kinds
