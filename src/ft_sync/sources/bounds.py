"""Bounds what a response may take: bytes after decompression, memory to decompress them, and time to wait for them.

A client that a caller hands over keeps its own behaviour: only what is requested within `asking` is bounded.
"""

from __future__ import annotations

import time
import zlib
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import httpx2  # openai's own transport

from ft_sync.errors import BadData, TooLarge

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MIB = 2**20

ONE = 4 * MIB
"""Maximum size in bytes of a job, or of a file's description.

A job takes some KB. The largest part of it may be the source text of its graders, of which OpenAI takes 256 KB at most.
"""

PAGE = 16 * MIB
"""Maximum size in bytes of a page of 100 jobs, events or checkpoints: 160 KB each, and most take 1 KB."""

MOST_OBJECTS = 1_000_000
"""Maximum number of objects and lists in an answer, since in memory each takes up to 30 times its bytes."""

REFUSAL = MIB
"""Maximum size in bytes of an answer that is an error or a redirect: a sentence, or a page of HTML."""

ANY_SIZE = 2**63
"""For the content of a file: it is read piece by piece, and whoever reads it bounds what is kept."""

CHUNK = 2**16
"""Maximum number of bytes that are decompressed at a time."""

CODINGS = frozenset({"gzip", "x-gzip"})
"""Names of the one compression that is requested."""

MOST_CODINGS = 2
"""Maximum number of compressions on top of each other: a proxy may add one to that of the service."""

GZIP = b"\x1f"
"""The byte with which gzip begins."""

GRACE = 30.0
"""Seconds that any response body may take, however small."""

LEAST_SPEED = 1_000
"""Minimum speed after that, in bytes per second: a body that trickles in would never hit the SDK's read timeout."""


class NotRequested(BadData):
    """The answer is compressed in a way that was not requested; another attempt would get the same one."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is requested: its name in messages, the maximum size of the answer, and the service with its variable."""

    what: str
    limit: int
    service: str
    address: str

    def too_large(self, size: str) -> TooLarge:
        """Return the error for an answer that is larger than this."""
        return TooLarge(
            f"{self.service}'s answer for {self.what} has more than {size}, far more than such an answer can have",
            hint=f"check {self.address} and the proxies in between: this is not what OpenAI's API answers",
        )


_asked: ContextVar[Asked | None] = ContextVar("asked", default=None)


@contextmanager
def asking(asked: Asked) -> Iterator[None]:
    """Within this context, bound the responses to this thread's requests by clients that have the hook `bounded`."""
    token = _asked.set(asked)
    try:
        yield
    finally:
        _asked.reset(token)


def is_asking() -> bool:
    """Return whether this thread's requests are ftsync's own."""
    return _asked.get() is not None


def bounded(response: httpx2.Response) -> None:
    """Response hook: have the body, of which nothing has been read yet, decompressed and bounded while it is read.

    Raises:
        NotRequested: The body is compressed in a way that was not requested.
    """
    asked = _asked.get()
    if asked is None:
        return
    codings = [coding.lower() for coding in response.headers.get_list("content-encoding", split_commas=True)]
    codings = [coding for coding in codings if coding not in {"", "identity"}]
    if len(codings) > MOST_CODINGS or not CODINGS.issuperset(codings):
        raise NotRequested(
            f"{asked.service}'s answer for {asked.what} is compressed in a way that was not requested",
            hint=f"check {asked.address} and the proxies in between",
        )
    # The body is decompressed here, so the client must not try it again.
    response.headers.pop("content-encoding", None)
    limit = asked.limit if response.is_success else min(asked.limit, REFUSAL)
    response.stream = _body_class(_base(response.stream))(response.stream, asked, limit, len(codings))


class _Body:
    """A response body, in pieces of at most `CHUNK` bytes if it is compressed."""

    def __init__(self, stream: Any, asked: Asked, limit: int, codings: int) -> None:  # noqa: ANN401 - of either library
        self._stream = stream
        self._asked = asked
        self._limit = limit
        self._codings = codings

    def __iter__(self) -> Iterator[bytes]:
        pieces = self._counted(_in_time(_translated(self._stream)))
        for _ in range(self._codings):
            pieces = self._counted(_decompressed(pieces))
        return pieces

    def close(self) -> None:
        self._stream.close()

    def _counted(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Bound the size, of compressed bytes, too: they may be endless and decompress to nothing."""
        size = 0
        for piece in pieces:
            size += len(piece)
            if size > self._limit:
                raise self._asked.too_large(f"{self._limit // MIB} MiB")
            yield piece


def _in_time(stream: Iterable[bytes]) -> Iterator[bytes]:
    """Pass on what comes, unless it comes too slowly."""
    waited, size = 0.0, 0
    chunks = iter(stream)
    while True:
        # Measure only the wait for the service: the consumer of the chunks may be slow, too.
        began = time.monotonic()
        chunk = next(chunks, None)
        waited += time.monotonic() - began
        if chunk is None:
            return
        size += len(chunk)
        if waited > GRACE + size / LEAST_SPEED:
            raise httpx2.ReadTimeout(f"{size} bytes in {waited:.0f} s")
        yield chunk


def _decompressed(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Decompress gzip, of one member or several; what follows them is ignored."""
    inflate = None
    for chunk in chunks:
        rest = chunk
        while rest:
            if inflate is None or (inflate.eof and rest.startswith(GZIP)):
                inflate = zlib.decompressobj(zlib.MAX_WBITS | 16)
            elif inflate.eof:
                break
            try:
                while piece := inflate.decompress(rest, CHUNK):
                    yield piece
                    rest = inflate.unconsumed_tail
            except zlib.error as error:
                raise httpx2.DecodingError(f"the body is not compressed as it says: {error}") from error
            rest = inflate.unused_data
    if inflate is not None and not inflate.eof:
        raise httpx2.RemoteProtocolError("the body broke off within its compression")


def _translated(stream: Iterable[bytes]) -> Iterator[bytes]:
    """Raise the errors of the older httpx, which a client may use instead, as those of the newer one."""
    try:
        yield from stream
    except Exception as error:
        kind = getattr(httpx2, type(error).__name__, None)
        if type(error).__module__.partition(".")[0] != "httpx" or kind is None:
            raise
        raise kind(str(error)) from error


@cache
def _body_class(base: type) -> Any:  # noqa: ANN401 - a class that is a stream of either library
    """Return a class of bodies that derives from a library's own class of streams, since the library checks that."""
    return type("Body", (_Body, base), {})


def _base(stream: object) -> type:
    return next(kind for kind in type(stream).__mro__ if kind.__name__ == httpx2.SyncByteStream.__name__)
