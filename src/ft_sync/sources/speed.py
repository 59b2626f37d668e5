"""A least speed for bodies: one that comes a byte at a time never ends, and no timeout of the SDK ever hears of it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx2  # openai's own transport
import openai

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

GRACE = 30.0
"""Seconds that any body may take."""

LEAST_SPEED = 1_000
"""Bytes a second, beyond that."""


def transport() -> httpx2.Client:
    """Return the SDK's own transport, with such a speed."""
    return openai.DefaultHttpx2Client(event_hooks={"response": [LeastSpeed()]})


@dataclass(frozen=True, slots=True)
class LeastSpeed:
    """A response hook for the SDK's client; times are in seconds, and `now` is monotonic."""

    grace: float = GRACE
    now: Callable[[], float] = time.monotonic

    def __call__(self, response: httpx2.Response) -> None:
        """Watch over the body, which nobody has read yet."""
        assert isinstance(response.stream, httpx2.SyncByteStream)
        response.stream = _Watched(response.stream, self)


class _Watched(httpx2.SyncByteStream):
    def __init__(self, stream: httpx2.SyncByteStream, least: LeastSpeed) -> None:
        self._stream = stream
        self._least = least

    def __iter__(self) -> Iterator[bytes]:
        waited, size = 0.0, 0
        chunks = iter(self._stream)
        while True:
            # Only what the service takes: whoever reads may be slow as well.
            began = self._least.now()
            chunk = next(chunks, None)
            waited += self._least.now() - began
            if chunk is None:
                return
            size += len(chunk)
            if waited > self._least.grace + size / LEAST_SPEED:
                raise httpx2.ReadTimeout(f"{size} bytes in {waited:.0f} s")
            yield chunk

    def close(self) -> None:
        self._stream.close()
