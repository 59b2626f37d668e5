"""Answers that would take all memory, over real HTTP: none is read beyond its bound, and none is requested again."""

from __future__ import annotations

import gzip
import json
import threading
import zlib
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import repeat
from typing import TYPE_CHECKING

import httpx
import openai
import pytest

import ft_sync
from ft_sync.errors import BadData, TooLarge, Unavailable
from ft_sync.models import FileId, JobId
from ft_sync.sandbox import Sandbox, World, samples
from ft_sync.snapshot import snapshot
from ft_sync.sources.bounds import MIB, MOST_OBJECTS, ONE, PAGE, REFUSAL
from ft_sync.sources.openai import OpenAISource
from ft_sync.sources.pace import Pace
from tests.fakes import FakeClock
from tests.memory import taking_at_most

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from tests.wandb_backend import WandbBackend

KEY = "sk-of-the-user-alone"
BLOCK = bytes(64 * 2**10)


def compressed(content: Iterable[bytes], members: int = 1) -> bytes:
    """The content in gzip, made piece by piece, and that so many times in a row."""
    compressor = zlib.compressobj(9, wbits=zlib.MAX_WBITS | 16)
    return (b"".join(map(compressor.compress, content)) + compressor.flush()) * members


@dataclass
class Bomb:
    """A server with one answer for whatever is requested; without a length, it goes on until the client hangs up."""

    url: str = ""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Callable[[], Iterable[bytes]] = tuple
    requests: int = 0

    def handler(self) -> type[BaseHTTPRequestHandler]:
        bomb = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                bomb.requests += 1
                self.send_response(bomb.status)
                for name, value in bomb.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                try:
                    for chunk in bomb.body():
                        self.wfile.write(chunk)
                except OSError:  # the client has hung up
                    self.close_connection = True

            def log_message(self, *_: object) -> None:
                pass

        return Handler


@pytest.fixture
def bomb() -> Iterator[Bomb]:
    bomb = Bomb()
    with ThreadingHTTPServer(("127.0.0.1", 0), bomb.handler()) as server:
        bomb.url = f"http://127.0.0.1:{server.server_port}/v1"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield bomb
        server.shutdown()
        thread.join()


@pytest.fixture(params=["httpx2", "httpx"])
def source(bomb: Bomb, request: pytest.FixtureRequest) -> Iterator[OpenAISource]:
    http = httpx.Client() if request.param == "httpx" else openai.DefaultHttpx2Client()
    with openai.OpenAI(base_url=bomb.url, api_key=KEY, http_client=http) as client:  # type: ignore[arg-type]
        yield OpenAISource(client, Pace(FakeClock(), lambda _: None))


GZIP = {"Content-Encoding": "gzip"}
GIGABYTE = compressed(repeat(BLOCK, 2**30 // len(BLOCK)))
BODIES: dict[str, tuple[Mapping[str, str], Callable[[], Iterable[bytes]]]] = {
    "gzip": (GZIP, lambda: [GIGABYTE]),
    "gzip in gzip": ({"Content-Encoding": "gzip, X-GZIP"}, lambda: [gzip.compress(GIGABYTE)]),
    "endless text": ({}, lambda: repeat(b'{"data": "' + BLOCK)),
    "endless spaces": ({"Content-Encoding": "identity"}, lambda: repeat(b" " * len(BLOCK))),
}


@pytest.mark.parametrize("kind", BODIES)
def test_the_list_of_jobs_is_bounded(source: OpenAISource, bomb: Bomb, kind: str) -> None:
    bomb.headers, bomb.body = BODIES[kind]
    with taking_at_most(3 * PAGE), pytest.raises(TooLarge) as raised:
        list(source.jobs())
    assert "the list of jobs has more than 16 MiB" in raised.value.message
    assert "check OPENAI_BASE_URL" in str(raised.value.hint)
    assert bomb.requests == 1


@pytest.mark.parametrize("kind", ["gzip", "endless text"])
@pytest.mark.parametrize("status", [200, 307, 400, 401, 404, 429, 500, 503])
def test_one_job_and_what_is_no_success_are_bounded(source: OpenAISource, bomb: Bomb, status: int, kind: str) -> None:
    headers, bomb.body = BODIES[kind]
    bomb.status = status
    bomb.headers = {**headers, "Location": "/v1/elsewhere", "Retry-After": "1"}
    size, limit = ("4 MiB", ONE) if status == 200 else ("1 MiB", REFUSAL)
    with taking_at_most(3 * limit), pytest.raises(TooLarge, match=size):
        source.job(JobId("ftjob-1"))
    assert bomb.requests == 1


NOTHING = gzip.compress(b"") * 1000


@pytest.mark.parametrize("codings", ["gzip", "gzip, gzip"])
def test_what_decompresses_to_nothing_is_bounded(source: OpenAISource, bomb: Bomb, codings: str) -> None:
    bomb.status, bomb.headers = 404, {"Content-Encoding": codings}
    bomb.body = lambda: repeat(NOTHING) if codings == "gzip" else [compressed(repeat(NOTHING, 100))]
    with taking_at_most(3 * REFUSAL), pytest.raises(TooLarge, match="1 MiB"):
        source.job(JobId("ftjob-1"))
    assert bomb.requests == 1


@pytest.mark.parametrize(
    "ask",
    [
        lambda source: source.events(JobId("ftjob-1")),
        lambda source: source.checkpoints(JobId("ftjob-1")),
        lambda source: source.file(FileId("file-1")),
    ],
)
def test_whatever_else_is_requested_is_bounded(
    source: OpenAISource, bomb: Bomb, ask: Callable[[OpenAISource], object]
) -> None:
    bomb.headers, bomb.body = BODIES["gzip"]
    with taking_at_most(3 * PAGE), pytest.raises(TooLarge):
        ask(source)
    assert bomb.requests == 1


def test_the_number_of_objects_is_bounded_since_small_ones_take_much_memory(source: OpenAISource, bomb: Bomb) -> None:
    bomb.headers, bomb.body = GZIP, lambda: [compressed([b'{"data": [', b"[],{}," * MOST_OBJECTS, b"0]}"])]
    with taking_at_most(3 * PAGE), pytest.raises(TooLarge, match="1,000,000 objects and lists"):
        list(source.jobs())
    assert bomb.requests == 1


def test_a_result_file_is_read_up_to_its_limit(source: OpenAISource, bomb: Bomb) -> None:
    bomb.headers, bomb.body = BODIES["gzip"]
    with taking_at_most(8 * MIB):
        assert source.content(FileId("file-1"), limit=2 * MIB) is None
    assert bomb.requests == 1


def test_a_file_of_any_size_is_streamed_though_it_is_compressed_against_all_agreement(
    source: OpenAISource, bomb: Bomb, tmp_path: Path
) -> None:
    size = 64 * MIB
    bomb.headers = {"Content-Encoding": "gzip, gzip"}
    bomb.body = lambda: [compressed([compressed(repeat(BLOCK, size // len(BLOCK)))])]
    with taking_at_most(4 * MIB):
        assert source.download(FileId("file-1"), tmp_path / "content").size == size


@pytest.mark.parametrize("stated", [45, 0, None])
def test_a_file_that_never_ends_is_not_written_beyond_a_bound(
    source: OpenAISource, bomb: Bomb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stated: int | None
) -> None:
    monkeypatch.setattr("ft_sync.sources.openai.SLACK", 3 * MIB)
    monkeypatch.setattr("ft_sync.sources.openai.LARGEST_FILE", 3 * MIB)
    bomb.body = lambda: [json.dumps({"id": "file-1", "bytes": stated}).encode()]
    source.file(FileId("file-1"))
    bomb.body, bomb.requests = lambda: repeat(BLOCK), 0
    (tmp_path / "content").write_bytes(b"what an earlier command left")
    with pytest.raises(TooLarge, match="the content of file file-1 has more than 3 MiB"):
        source.download(FileId("file-1"), tmp_path / "content")
    assert list(tmp_path.iterdir()) == []
    assert bomb.requests == 1


@pytest.mark.parametrize("list_of", ["jobs", "events", "checkpoints"])
def test_a_list_that_never_ends_is_not_read_beyond_a_bound(
    source: OpenAISource, bomb: Bomb, monkeypatch: pytest.MonkeyPatch, list_of: str
) -> None:
    monkeypatch.setattr("ft_sync.sources.openai.MOST_ENTRIES", 1000)
    monkeypatch.setattr("ft_sync.sources.openai.MOST_CHECKPOINTS", 1000)

    def page() -> list[bytes]:
        entries = [{"id": f"x-{bomb.requests}-{number}"} for number in range(100)]
        return [json.dumps({"data": entries, "has_more": True}).encode()]

    bomb.body = page
    with pytest.raises(TooLarge, match="has more than 1,000 entries"):
        tuple(source.jobs() if list_of == "jobs" else getattr(source, list_of)(JobId("ftjob-1")))
    assert bomb.requests == 11


@pytest.mark.parametrize("codings", ["br", "zstd", "deflate", "gzip, br", "gzip, gzip, gzip", KEY])
def test_a_compression_that_was_not_requested_is_refused(source: OpenAISource, bomb: Bomb, codings: str) -> None:
    bomb.headers, bomb.body = {"Content-Encoding": codings}, lambda: [GIGABYTE]
    with taking_at_most(MIB), pytest.raises(BadData, match="compressed in a way that was not requested") as raised:
        source.job(JobId("ftjob-1"))
    assert KEY not in str(raised.value)
    assert bomb.requests == 1


@pytest.mark.parametrize(
    "body",
    [
        gzip.compress(b'{"id": "ftjob-1"}'),
        gzip.compress(b'{"id": ') + gzip.compress(b'"ftjob-1"}'),
        gzip.compress(b'{"id": "ftjob-1"}') + bytes(100),
    ],
    ids=["one part", "two parts", "zeros behind"],
)
def test_gzip_is_decompressed(source: OpenAISource, bomb: Bomb, body: bytes) -> None:
    # Byte by byte, each in a chunk of its own.
    bomb.headers = GZIP
    bomb.body = lambda: [body[at : at + 1] for at in range(len(body))]
    assert source.job(JobId("ftjob-1")).id == "ftjob-1"


@pytest.mark.parametrize(
    "body",
    [gzip.compress(b'{"id": "ftjob-1"}')[:-9], b"no gzip", gzip.compress(b"{}" * 99)[:-4]],
    ids=["without its end", "no gzip", "without its size"],
)
def test_gzip_that_broke_off_or_is_none_is_requested_again(source: OpenAISource, bomb: Bomb, body: bytes) -> None:
    bomb.headers, bomb.body = GZIP, lambda: [body]
    with pytest.raises(Unavailable):
        source.job(JobId("ftjob-1"))
    assert bomb.requests == 4


def test_what_is_too_large_of_one_job_affects_only_that_job(
    sandbox: Sandbox, world: World, workspace: Path, backend: WandbBackend, project: str
) -> None:
    del workspace
    world.add(*samples.many(3))
    first, second, third = (job.id for job in world.jobs)
    sandbox.fail(f"{second}/events", body=b" " * (PAGE + 1))
    sandbox.fail(f"{third}/checkpoints", body=b" " * (PAGE + 1))
    report = ft_sync.sync()
    assert [synced.job_id for synced in report.synced] == [first]
    assert {failed.job_id: type(failed.error) for failed in report.failed} == {second: TooLarge, third: TooLarge}
    assert [run.id for run in backend.runs(project)] == [first]
    assert sandbox.count(f"{second}/events") == 1


def test_a_description_that_is_too_large_affects_only_that_file(sandbox: Sandbox, world: World) -> None:
    world.add(samples.finished_jobs()[1])
    sandbox.fail("/files/file-[^/]+$", body=b" " * (ONE + 1))
    with openai.OpenAI(base_url=sandbox.url, api_key=sandbox.api_key) as client:
        source = OpenAISource(client, Pace(FakeClock(), lambda _: None))
        job = source.job(JobId(world.jobs[0].id))
        taken = snapshot(source, job)
    assert [file.id for file in taken.result_files] == [*job.result_files]
    assert [note.partition(" could")[0] for note in taken.notes] == [
        f"train file {job.training_file}",
        f"valid file {job.validation_file}",
    ]


def test_a_list_of_jobs_that_is_too_large_ends_the_command(sandbox: Sandbox, world: World, workspace: Path) -> None:
    del workspace
    world.add(*samples.many(1))
    sandbox.fail("/fine_tuning/jobs", body=b" " * (PAGE + 1))
    with pytest.raises(TooLarge, match="list of jobs"):
        ft_sync.sync()
    assert sandbox.count("/fine_tuning/jobs") == 1


def test_a_page_after_the_first_that_is_too_large_is_not_requested_in_other_ways(
    sandbox: Sandbox, world: World, source: OpenAISource
) -> None:
    world.add(*samples.many(150))
    sandbox.fail("after=", body=b" " * (PAGE + 1))
    with openai.OpenAI(base_url=sandbox.url, api_key=sandbox.api_key) as client:
        source = OpenAISource(client, Pace(FakeClock(), lambda _: None))
        with pytest.raises(TooLarge):
            list(source.jobs())
    assert sandbox.count("after=") == 1
