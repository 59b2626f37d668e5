"""Threads for tasks; what they return comes back, in the order in which they end, to the thread that asks for it."""

from __future__ import annotations

import queue
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Generic, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_Result = TypeVar("_Result")


class Workers(Generic[_Result]):
    """So many threads for tasks that may have to wait for their turn, and as many for those that may not.

    Attributes:
        busy: How many tasks `next` has not handed back.
    """

    def __init__(self, number: int) -> None:
        self.busy = 0
        self._patient = ThreadPoolExecutor(number, thread_name_prefix="ftsync")
        self._urgent = ThreadPoolExecutor(number, thread_name_prefix="ftsync-urgent")
        self._ended: queue.SimpleQueue[Future[_Result] | None] = queue.SimpleQueue()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Wait for the tasks that have begun."""
        for pool in (self._patient, self._urgent):
            pool.shutdown(cancel_futures=True)

    def start(self, task: Callable[[], _Result], *, urgent: bool = False) -> None:
        """Have a task done; it reports failure by what it returns."""
        self.busy += 1
        (self._urgent if urgent else self._patient).submit(task).add_done_callback(self._ended.put)

    def next(self, timeout: float | None = None) -> _Result | None:
        """Return what the next task to end returns; None if none ends within `timeout` seconds, or if it is dropped.

        Raises:
            KeyboardInterrupt: Once after `interrupt`; the tasks are what they were.
        """
        try:
            future = self._ended.get(timeout=timeout)
        except queue.Empty:
            return None
        if future is None:
            raise KeyboardInterrupt
        self.busy -= 1
        return None if future.cancelled() else future.result()

    def drain(self) -> Iterator[_Result | None]:
        """Yield what `next` returns until no worker is busy, also with tasks that are started meanwhile.

        Nobody can interrupt that: it is what an interruption leads to.
        """
        while self.busy:
            try:
                result = self.next()
            except KeyboardInterrupt:
                continue
            yield result

    def interrupt(self) -> None:
        """Interrupt whoever waits for the next task to end, or does so next."""
        self._ended.put(None)

    def drop_waiting(self) -> None:
        """Drop the tasks whose turn has not come, and take no more but urgent ones."""
        self._patient.shutdown(wait=False, cancel_futures=True)
