"""Starting and stopping the server."""

import errno
import socket
import sys
import threading
import time
from urllib.parse import urlsplit

import openai
import pytest

from ft_sync import sandbox
from ft_sync.sandbox import World


def _servers() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "ftsync-sandbox"}


def test_it_listens_on_loopback_only() -> None:
    with sandbox.serve(World()) as server:
        assert (urlsplit(server.url).hostname, urlsplit(server.url).path) == ("127.0.0.1", "/v1")


def test_nothing_is_left_after_the_block() -> None:
    before = _servers()
    with sandbox.serve(World()) as server:
        assert len(_servers() - before) == 1
    assert _servers() <= before
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", urlsplit(server.url).port or 0), timeout=1)


def test_a_client_still_connected_does_not_hold_it_up() -> None:
    with sandbox.serve(World()) as server:
        client = openai.OpenAI(base_url=server.url, api_key=server.api_key, max_retries=0)
        client.models.list()
    with pytest.raises(openai.APIConnectionError):
        client.models.list()
    client.close()


def test_a_request_given_up_does_not_hold_it_up() -> None:
    started = time.monotonic()
    with sandbox.serve(World()) as server:
        server.fail("", delay=60)
        with (
            openai.OpenAI(base_url=server.url, api_key=server.api_key, max_retries=0) as client,
            pytest.raises(openai.APITimeoutError),
        ):
            client.models.list(timeout=0.05)
    assert time.monotonic() - started < 30


def test_a_busy_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(OSError, match=rf"cannot listen on 127\.0\.0\.1:{port}: .*choose another") as busy,
            sandbox.serve(World(), port=port),
        ):
            pass
    assert busy.value.errno == errno.EADDRINUSE


def test_a_port_is_free_again_at_once() -> None:
    with sandbox.serve(World()) as first:
        port = urlsplit(first.url).port or 0
        with openai.OpenAI(base_url=first.url, api_key=first.api_key) as client:
            client.models.list()
    with sandbox.serve(World(), port=port) as second:
        assert second.url == first.url


def test_the_default_world_is_the_sample_jobs() -> None:
    with sandbox.serve() as server:
        assert len(server.world.jobs) == 8
        assert server.world.jobs[0].job_at(time.time())["status"] == "running"


def test_the_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "ft_sync.sandbox.loopback", raising=False)
    with pytest.raises(ImportError, match=r"needs uvicorn: pip install 'ft-sync\[demo\]'"), sandbox.serve():
        pass
