"""Redirects to another host, over real HTTP: a second server writes down what it is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx2
import openai
import pytest

from ft_sync import redaction
from ft_sync.models import FileId, JobId
from ft_sync.sandbox import Sandbox, World, samples, serve
from ft_sync.sources.bounds import REFUSAL, Asked, asking
from ft_sync.sources.guard import HOME, keep_keys_at_home
from ft_sync.sources.openai import OpenAISource
from ft_sync.sources.pace import Pace
from tests.fakes import FakeClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

KEY = "sk-of-the-user-alone"


@pytest.fixture
def world() -> World:
    return World(samples.many(1))


@pytest.fixture
def sandbox(world: World) -> Iterator[Sandbox]:
    with serve(world, api_key=KEY) as server:
        yield server


@pytest.fixture
def other() -> Iterator[Sandbox]:
    """A server elsewhere: another port is another origin."""
    with serve(World()) as server:
        yield server


def source(client: openai.OpenAI) -> OpenAISource:
    return OpenAISource(client, Pace(FakeClock(), lambda _: None))


CLIENTS: dict[str, Callable[[str], openai.OpenAI]] = {
    "openai": lambda url: openai.OpenAI(base_url=url, api_key=KEY, organization="org-of-the-user"),
    "gateway": lambda url: openai.OpenAI(base_url=url, api_key=KEY, default_headers={"x-gateway-api-key": KEY}),
    "azure": lambda url: openai.AzureOpenAI(base_url=url, api_key=KEY, api_version="v1"),
    "entra": lambda url: openai.AzureOpenAI(base_url=url, azure_ad_token_provider=lambda: KEY, api_version="v1"),
}


@pytest.mark.parametrize("kind", CLIENTS)
def test_another_host_gets_no_key(kind: str, sandbox: Sandbox, other: Sandbox, tmp_path: Path) -> None:
    other.fail("", body={"id": "ftjob-1", "status": "running"})
    for status in (301, 302, 303, 307, 308):
        sandbox.fail("", status=status, headers={"Location": f"{other.url}/files/file-1/content"})
        with CLIENTS[kind](sandbox.url) as client:
            assert source(client).job(JobId("ftjob-1")).status == "running"
            source(client).download(FileId("file-1"), tmp_path / str(status))
        sandbox.heal()
    assert len(other.requests) == 10
    for request in other.requests:
        assert set(request.headers) <= {"accept", "accept-encoding", "connection", "host", "user-agent"}
        assert KEY not in str(request.headers)
    assert all(KEY in str(request.headers) for request in sandbox.requests)


def test_what_the_owner_of_a_client_requests_is_left_alone(sandbox: Sandbox, world: World, other: Sandbox) -> None:
    other.fail("", body={"id": "x" * 2 * REFUSAL})
    sandbox.fail("owner", status=307, headers={"Location": f"{other.url}/fine_tuning/jobs/1"})
    with openai.OpenAI(base_url=sandbox.url, api_key=KEY, default_headers={"x-owner": "me"}) as client:
        source(client).job(JobId(world.jobs[0].id))
        answer = client.get("/owner", cast_to=httpx2.Response)
    assert len(answer.content) > 2 * REFUSAL
    assert other.requests[0].headers["x-owner"] == "me"


def test_a_redirect_on_the_same_host_keeps_the_key(sandbox: Sandbox, world: World) -> None:
    (job,) = world.jobs
    sandbox.fail("jobs/old", status=308, headers={"Location": f"/v1/fine_tuning/jobs/{job.id}"})
    with openai.OpenAI(base_url=sandbox.url, api_key=KEY) as client:
        assert source(client).job(JobId("old")).id == job.id


def test_a_way_back_through_another_host_is_no_way_to_get_the_key(sandbox: Sandbox, other: Sandbox) -> None:
    sandbox.fail("jobs/1", status=307, headers={"Location": f"{other.url}/fine_tuning/jobs/2"})
    other.fail("jobs/2", status=307, headers={"Location": f"{other.url}/fine_tuning/jobs/3"})
    other.fail("jobs/3", body={"id": "3"})
    with openai.OpenAI(base_url=sandbox.url, api_key=KEY, default_headers={"x-api-key": KEY}) as client:
        source(client).job(JobId("1"))
    assert [KEY in str(request.headers) for request in other.requests] == [False, False]


@pytest.mark.parametrize(
    ("home", "there", "keeps"),
    [
        ("https://a.example/v1", "https://a.example/v2", True),
        ("https://a.example", "https://a.example:443", True),
        ("http://a.example", "https://a.example", True),
        ("https://a.example", "http://a.example", False),
        ("http://a.example:8000", "https://a.example", False),
        ("https://a.example", "https://a.example:8443", False),
        ("https://a.example", "https://b.a.example", False),
        ("https://a.example", "https://a.example.evil", False),
    ],
)
def test_what_counts_as_the_same_server(home: str, there: str, keeps: bool) -> None:
    request = httpx2.Request("GET", there, headers={"api-key": KEY}, extensions={HOME: httpx2.URL(home)})
    with asking(Asked("it", 1, "OpenAI", "OPENAI_BASE_URL")):
        keep_keys_at_home(request)
    assert ("api-key" in request.headers) == keeps


def test_a_key_that_a_client_asks_for_anew_is_known_at_once(sandbox: Sandbox) -> None:
    answers = iter(["sk-first-of-two-keys", "sk-second-of-two-keys"])
    sandbox.fail("", body={"id": "1"})
    with openai.OpenAI(base_url=sandbox.url, api_key=lambda: next(answers)) as client:
        for _ in range(2):
            source(client).job(JobId("1"))
    assert redaction.redact("sk-first-of-two-keys sk-second-of-two-keys") == "*** ***"
