"""Gives W&B up for every run when it fails one after the other, so that a hundred jobs do not wait for it in vain."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ft_sync.errors import AuthError, CoreEnded, FtSyncError, Stopped, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LOST_IN_A_ROW = 8
"""Runs that failed, with none written in between, after which no other is begun.

As many as are written at the same time by default: all of these may meet the same short failure.
"""

PAUSE = 30.0
"""Seconds after which the next run finds out whether W&B is back."""


class Gate:
    """Stands before every run; for many threads."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._lost = 0
        self._opens_at = 0.0
        self._reason: FtSyncError | None = None

    @contextmanager
    def passing(self) -> Iterator[None]:
        """Take note of how a run ends.

        Raises:
            AuthError, Unavailable, CoreEnded: What the last runs failed with, without this one having been begun.
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
