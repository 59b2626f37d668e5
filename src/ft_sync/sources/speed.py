"""Enforces a minimum download speed: a body that trickles in byte by byte would never hit the SDK's read timeout."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx2  # openai's own transport
import openai

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

GRACE = 30.0
"""Seconds that any response body may take, however small."""

LEAST_SPEED = 1_000
"""Minimum speed after that, in bytes per second."""


def transport() -> httpx2.Client:
    """Return the SDK's own transport with the minimum speed enforced."""
    return openai.DefaultHttpx2Client(event_hooks={"response": [LeastSpeed()]})


@dataclass(frozen=True, slots=True)
class LeastSpeed:
    """A response hook for the SDK's client; `grace` is in seconds, `now` returns monotonic seconds."""

    grace: float = GRACE
    now: Callable[[], float] = time.monotonic

    def __call__(self, response: httpx2.Response) -> None:
        """Wrap the body, which has not been read yet, so that reading it checks the speed."""
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
            # Measure only the wait for the service: the consumer of the chunks may be slow, too.
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
