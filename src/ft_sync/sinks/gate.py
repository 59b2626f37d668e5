"""Circuit breaker for W&B: after several failures in a row, further runs fail at once instead of waiting in vain."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ft_sync.errors import AuthError, CoreEnded, FtSyncError, Stopped, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LOST_IN_A_ROW = 8
"""Number of consecutive failed runs after which no other is begun.

Equal to the default number of concurrent runs, since one short outage can fail all of those at once.
"""

PAUSE = 30.0
"""Seconds after which the next run may try W&B again."""


class Gate:
    """Counts failed runs and closes for a while after too many in a row; thread-safe."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._lost = 0
        self._opens_at = 0.0
        self._reason: FtSyncError | None = None

    @contextmanager
    def passing(self) -> Iterator[None]:
        """Write one run within this context; its outcome is counted.

        Raises:
            AuthError, Unavailable, CoreEnded: The gate is closed, so the run is not begun; the error repeats the last
                failure.
        """
        with self._lock:
            reason = self._reason if self._now() < self._opens_at else None
        if reason is not None:
            raise type(reason)(f"not begun, since others failed: {reason.message}", hint=reason.hint)
        try:
            yield
        except Stopped:
            raise
        except (AuthError, Unavailable, CoreEnded) as error:
            self._count(error)
            raise
        else:
            self._count(None)

    def _count(self, lost: FtSyncError | None) -> None:
        with self._lock:
            self._lost = 0 if lost is None else self._lost + 1
            self._reason = lost if self._lost >= LOST_IN_A_ROW else None
            self._opens_at = self._now() + PAUSE
