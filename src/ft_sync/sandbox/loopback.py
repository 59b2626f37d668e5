"""Runs an ASGI app on loopback in a thread of its own, and stops it again; it knows no routes."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ft_sync.sandbox.faults import CONNECTION

if TYPE_CHECKING:
    from starlette.types import ASGIApp

HOST: Final = "127.0.0.1"
POLL_SECONDS: Final = 0.005


class _Protocol(HttpToolsProtocol):
    """Uvicorn's own protocol, which also lends the app its connection so that a fault can cut it or write to it."""

    # Uvicorn's signature: it narrows asyncio's on purpose.
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        # Asyncio does this itself only for sockets made with IPPROTO_TCP, and `create_server` does not make
        # such. Without it, the body of an answer comes 40 ms after its head.
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().connection_made(transport)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {CONNECTION: {"transport": self.transport}}


@contextlib.contextmanager
def running(app: "ASGIApp", *, port: int) -> Iterator[int]:
    """Serve the app until the block is left.

    Args:
        app: What answers the requests.
        port: Where to listen on 127.0.0.1; 0 means any free port.

    Yields:
        The port.

    Raises:
        OSError: The port is in use, or not ours to use.
    """
    listener = _listen(port)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            http=_Protocol,
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            proxy_headers=False,
            # Longer than clients poll: none shall meet a connection that is just being closed.
            timeout_keep_alive=60,
            timeout_graceful_shutdown=1,
        )
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="ftsync-sandbox", daemon=True)
    thread.start()
    try:
        while not server.started and thread.is_alive():
            time.sleep(POLL_SECONDS)
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def _listen(port: int) -> socket.socket:
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        message = f"cannot listen on {HOST}:{port}: {error.strerror}; choose another port, or 0 for any free one"
        raise OSError(error.errno, message) from error
