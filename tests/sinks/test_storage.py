"""Reading stored bytes: what is found, how much is read, what is asked again, and that no storage gets the key."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pytest
import wandb
from wandb.apis.public.files import File

from ft_sync.compare import NO_BYTES, Digest
from ft_sync.errors import Unavailable
from ft_sync.sinks import storage
from ft_sync.sinks.storage import Storage
from ft_sync.sinks.wandb import SDK_ERRORS
from ft_sync.table import count_rows
from tests.builders import digest_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.wandb_backend import WandbBackend

CONTENT = b'{"data": [[1], [2]]}'


class Bucket:
    """A storage on a port of its own; each path is answered by a function, and what was asked for is written down."""

    def __init__(self) -> None:
        bucket = self
        self.answers: dict[str, Callable[[BaseHTTPRequestHandler], None]] = {}
        self.asked: list[tuple[str, str | None]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                bucket.asked.append((path, self.headers.get("Authorization")))
                bucket.answers[path](self)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, path: str, body: bytes = b"", status: int = 200, says: int | None = None, **headers: str) -> str:
        """Answer a path like this from now on, and return its signed URL."""

        def send(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(status)
            for name, value in {"Content-Length": str(len(body) if says is None else says), **headers}.items():
                handler.send_header(name, value)
            handler.end_headers()
            handler.wfile.write(body)

        self.answers[path] = send
        return f"{self.url}{path}?signature=SECRET"


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    made = Bucket()
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch, workspace: Path) -> None:
    assert workspace.is_dir()
    monkeypatch.setattr(storage, "PAUSES", (0.01, 0.01))


def listed(url: str, *, size: int | None = len(CONTENT), through: str = "", name: str = "a.json") -> File:
    """A file as W&B lists it; `through` is the URL at which W&B itself serves it."""
    attributes: dict[str, Any] = {"name": name, "directUrl": url, "url": through, "sizeBytes": size, "md5": "listed"}
    return File(wandb.Api()._service_api, attributes)


@pytest.mark.parametrize("content", [CONTENT, CONTENT[:-3], b"", b"\xff" * 70_000])
def test_what_is_stored_is_digested_whatever_is_listed(bucket: Bucket, content: bytes) -> None:
    assert Storage().digest(listed(bucket.answer("/a", content))) == digest_of(content)


def test_a_file_is_parsed_from_the_bytes_that_are_digested(bucket: Bucket) -> None:
    file = listed(bucket.answer("/a", CONTENT))
    assert Storage().parsed(file, count_rows) == (digest_of(CONTENT), 2)
    assert Storage().parsed(file, lambda content: content.read(3)) == (digest_of(CONTENT), CONTENT[:3])
    assert Storage().parsed(file, lambda content: json.load(content)["data"]) == (digest_of(CONTENT), [[1], [2]])


@pytest.mark.parametrize("status", [404, 410])
def test_a_file_that_the_storage_does_not_have_has_no_bytes(bucket: Bucket, status: int) -> None:
    assert Storage().parsed(listed(bucket.answer("/a", b"<xml/>", status)), count_rows) == (NO_BYTES, None)
    assert len(bucket.asked) == 1


def test_no_more_is_read_than_is_listed_and_a_little(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "SMALLEST_LIMIT", 10)
    read = 0

    def consume(content: IO[bytes]) -> None:
        nonlocal read
        read = len(content.read())

    endless = b"x" * 10 * storage.CHUNK
    found, _ = Storage().parsed(listed(bucket.answer("/a", endless), size=storage.CHUNK), consume)
    assert isinstance(found, Digest)
    assert storage.CHUNK < found.size <= 2 * storage.CHUNK
    assert read == found.size
    assert str(found) == f"{found.size} bytes or more"
    assert Storage().digest(listed(bucket.answer("/a", CONTENT), size=None)) == Digest(len(CONTENT), "")


def test_a_file_of_the_listed_size_is_read_to_its_end(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "SMALLEST_LIMIT", 0)
    assert Storage().digest(listed(bucket.answer("/a", CONTENT))) == digest_of(CONTENT)


@pytest.mark.parametrize(
    ("body", "says", "status"), [(b"", None, 500), (b"", None, 503), (b"", None, 429), (CONTENT[:5], len(CONTENT), 200)]
)
def test_a_storage_that_fails_is_asked_again_and_then_given_up(
    bucket: Bucket, body: bytes, says: int | None, status: int
) -> None:
    url = bucket.answer("/a", body, status, says=says)
    with pytest.raises(Unavailable) as failed:
        Storage().parsed(listed(url), count_rows)
    assert len(bucket.asked) == 3
    assert "a.json" in failed.value.message
    assert "SECRET" not in failed.value.message
    assert failed.value.__cause__ is None


def test_a_storage_that_fails_once_is_read_anew(bucket: Bucket) -> None:
    url = bucket.answer("/a", CONTENT)
    whole = bucket.answers["/a"]
    bucket.answer("/a", CONTENT[:12], says=len(CONTENT))
    cut = bucket.answers["/a"]

    def answer(handler: BaseHTTPRequestHandler) -> None:
        (cut if len(bucket.asked) == 1 else whole)(handler)

    bucket.answers["/a"] = answer
    assert Storage().parsed(listed(url), count_rows) == (digest_of(CONTENT), 2)


def test_a_host_that_does_not_answer_cannot_be_asked(bucket: Bucket) -> None:
    file = listed("http://127.0.0.1:9/a?signature=SECRET")
    with pytest.raises(Unavailable) as failed:
        Storage().digest(file)
    assert "SECRET" not in failed.value.message
    assert bucket.asked == []


def test_no_storage_gets_a_key_not_even_one_that_a_netrc_has_for_its_host(
    bucket: Bucket, backend: WandbBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine 127.0.0.1\n  login user\n  password {backend.api_key}\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    bucket.answer("/there", CONTENT)
    url = bucket.answer("/here", status=302, Location=f"{bucket.url}/there")
    assert Storage().digest(listed(url)) == digest_of(CONTENT)
    assert bucket.asked == [("/here", None), ("/there", None)]


def test_the_sdks_proxy_and_headers_count_for_the_storage_too(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    file = listed("http://storage.invalid/a")
    wandb.teardown()
    monkeypatch.setenv("WANDB_HTTP_PROXY", bucket.url)
    monkeypatch.setenv("WANDB_X_EXTRA_HTTP_HEADERS", '{"Authorization": "of the gateway"}')
    bucket.answer("http://storage.invalid/a", CONTENT)
    assert Storage().digest(file) == digest_of(CONTENT)
    assert bucket.asked == [("http://storage.invalid/a", "of the gateway")]


def test_a_file_that_the_storage_refuses_is_asked_for_at_wb(bucket: Bucket, project: str) -> None:
    with wandb.init(project=project, reinit="create_new") as run:
        run.save(__file__, base_path=Path(__file__).parent, policy="end")
    (held,) = [one for one in wandb.Api().run(f"{project}/{run.id}").files() if one.name.endswith(".py")]
    expected = digest_of(Path(__file__).read_bytes())
    for url in (bucket.answer("/a", status=403), bucket.answer("/b", status=400), "", "s3://bucket/a"):
        assert Storage().digest(listed(url, through=held.url, name=held.name)) == expected
    assert {authorization for _, authorization in bucket.asked} == {None}


def test_a_file_that_wb_does_not_have_either_has_no_bytes(bucket: Bucket, backend: WandbBackend) -> None:
    file = listed(bucket.answer("/a", status=403), through=f"{backend.url}/storage/run/1/a.json")
    assert Storage().digest(file) == NO_BYTES


def test_a_file_that_wb_refuses_too_has_no_digest(bucket: Bucket) -> None:
    file = listed(bucket.answer("/a", status=403), through=bucket.answer("/b", status=403))
    with pytest.raises(SDK_ERRORS):
        Storage().digest(file)
    assert {authorization for _, authorization in bucket.asked} == {None}
