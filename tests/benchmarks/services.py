"""Both loopback servers, each in a process of its own: one GIL for two would falsify the figures."""

from __future__ import annotations

import contextlib
import multiprocessing
import re
import time
from collections import Counter
from dataclasses import dataclass
from multiprocessing.managers import BaseManager
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, cast

from ft_sync.sandbox import World, serve
from tests.wandb_backend import WandbBackend

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from ft_sync.sandbox import SampleJob

LATENCY = 0.05
"""Seconds that every answer of both servers takes longer, unless told otherwise."""

Requests: TypeAlias = "Counter[tuple[str, str | None]]"
"""How often each kind of request came for each job or file; None where the request does not say for which."""

_ID = re.compile(r"(?<=/)(ftjob|ft|file)-[^/]+")


class OpenAIService:
    """The sandbox, as it lives in its process; the benchmarks hold a proxy of it."""

    exposed: ClassVar = ("env", "fill", "slow_down", "requests", "forget", "cpu_seconds", "stop")

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._sandbox = self._stack.enter_context(serve(World()))

    def env(self) -> dict[str, str]:
        """What makes an OpenAI client talk to this server."""
        return {"OPENAI_BASE_URL": self._sandbox.url, "OPENAI_API_KEY": self._sandbox.api_key}

    def fill(self, make: Callable[..., Iterable[SampleJob]], *arguments: Any) -> list[str]:  # noqa: ANN401 - the maker's
        """Hold these jobs and no others; return their ids, oldest first.

        The maker is called here: that saves carrying hundreds of megabytes from process to process.
        """
        world = self._sandbox.world
        held = [job.id for job in world.jobs] + [file.id for file in world.files(time.time())]
        for identifier in held:
            world.remove(identifier)
        world.add(*make(*arguments))
        return [job.id for job in world.jobs][::-1]

    def slow_down(self, seconds: float) -> None:
        self._sandbox.latency = seconds

    def requests(self) -> Requests:
        """The requests by route and by the job or file that they are about."""
        seen: Requests = Counter()
        for request in self._sandbox.requests:
            path = request.path.removeprefix("/v1/").removeprefix("fine_tuning/")
            named = _ID.search(path)
            seen[_ID.sub("ID", path), named[0] if named else None] += 1
        return seen

    def forget(self) -> None:
        self._sandbox.forget()

    def cpu_seconds(self) -> float:
        return time.process_time()

    def stop(self) -> None:
        self._stack.close()


class WandbService:
    """The W&B server, as it lives in its process."""

    exposed: ClassVar = ("env", "slow_down", "requests", "received", "rows", "forget", "cpu_seconds", "stop")

    def __init__(self) -> None:
        self._backend = WandbBackend().__enter__()

    def env(self, root: Path) -> dict[str, str]:
        """What makes the SDK talk to this server and keep its files under `root`."""
        env = self._backend.env(root)
        # Users have it not: whoever is faster without the SDK's telemetry has to switch it off himself.
        del env["WANDB_ERROR_REPORTING"]
        return env

    def slow_down(self, seconds: float) -> None:
        self._backend.latency = seconds

    def requests(self) -> Requests:
        """The requests by operation and by the run that they are about."""
        return Counter((request.operation, request.run) for request in self._backend.requests)

    def received(self) -> int:
        """Bytes in the bodies of all requests, unpacked."""
        return sum(len(request.body) for request in self._backend.requests)

    def rows(self, project: str) -> dict[str, int]:
        """How many history rows each finished run of the project has."""
        return {run.id: len(run.history) for run in self._backend.runs(project) if run.state == "finished"}

    def forget(self) -> None:
        self._backend.requests.clear()

    def cpu_seconds(self) -> float:
        return time.process_time()

    def stop(self) -> None:
        self._backend.stop()


class _Process(BaseManager):
    """A process that holds one of the two."""


_Process.register("OpenAIService", OpenAIService, exposed=OpenAIService.exposed)
_Process.register("WandbService", WandbService, exposed=WandbService.exposed)


@dataclass(frozen=True)
class Services:
    """Proxies of the two."""

    openai: OpenAIService
    wandb: WandbService
    latency: float

    @contextlib.contextmanager
    def quick(self) -> Iterator[None]:
        """Without latency as long as the block lasts, for what only prepares a figure."""
        self._slow_down(0)
        yield
        self._slow_down(self.latency)

    def _slow_down(self, seconds: float) -> None:
        self.openai.slow_down(seconds)
        self.wandb.slow_down(seconds)


@contextlib.contextmanager
def services(latency: float = LATENCY) -> Iterator[Services]:
    """Both servers, empty, for as long as the block lasts."""
    spawn = multiprocessing.get_context("spawn")  # a fork would copy what this process has open
    with _Process(ctx=spawn) as one, _Process(ctx=spawn) as other:
        made: tuple[Any, Any] = one, other  # the manager has what is registered; no type checker knows
        openai = cast("OpenAIService", made[0].OpenAIService())
        wandb = cast("WandbService", made[1].WandbService())
        openai.slow_down(latency)
        wandb.slow_down(latency)
        try:
            yield Services(openai, wandb, latency)
        finally:
            openai.stop()
            wandb.stop()
