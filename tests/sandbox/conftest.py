from collections.abc import Iterator

import openai
import pytest

from ft_sync import sandbox
from ft_sync.sandbox import Sandbox, World, samples

NOW = 1_795_000_000.0


class Clock:
    """A clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="package")
def _server() -> Iterator[tuple[Sandbox, Clock]]:
    clock = Clock()
    with sandbox.serve(World(), clock=clock) as server:
        yield server, clock


@pytest.fixture
def clock(_server: tuple[Sandbox, Clock]) -> Clock:
    _, clock = _server
    clock.now = NOW
    return clock


@pytest.fixture
def server(_server: tuple[Sandbox, Clock], clock: Clock) -> Iterator[Sandbox]:
    """One server for all tests; each finds the sample jobs, no faults and an empty log."""
    server, _ = _server
    server.world.add(*samples.world(clock()).jobs)
    yield server
    server.heal()
    server.forget()
    for job in server.world.jobs:
        server.world.remove(job.id)
    for file in server.world.files(clock()):
        server.world.remove(file.id)


@pytest.fixture
def client(server: Sandbox) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server.url, api_key=server.api_key, max_retries=0, timeout=60) as client:
        yield client
