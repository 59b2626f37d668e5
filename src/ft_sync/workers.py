"""Thread pools whose results are handed to one thread in the order in which the tasks end."""

from __future__ import annotations

import queue
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import TYPE_CHECKING, Generic, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_Result = TypeVar("_Result")


class Workers(Generic[_Result]):
    """Two thread pools of `number` threads each: one for tasks that may queue, one for urgent tasks.

    The second pool keeps a task such as closing a run from waiting behind tasks that write other runs.

    Attributes:
        busy: Number of tasks started whose results `next` has not returned yet.
    """

    def __init__(self, number: int) -> None:
        self.busy = 0
        self._patient = ThreadPoolExecutor(number, thread_name_prefix="ftsync")
        self._urgent = ThreadPoolExecutor(number, thread_name_prefix="ftsync-urgent")
        self._ended: queue.SimpleQueue[Future[_Result] | None] = queue.SimpleQueue()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Cancel queued tasks and wait for the running ones."""
        for pool in (self._patient, self._urgent):
            pool.shutdown(cancel_futures=True)

    def start(self, task: Callable[[], _Result], *, urgent: bool = False) -> None:
        """Submit a task; it should report failure by its return value."""
        self.busy += 1
        (self._urgent if urgent else self._patient).submit(copy_context().run, task).add_done_callback(self._ended.put)

    def next(self, timeout: float | None = None) -> _Result | None:
        """Return the result of the next task to end; None after `timeout` seconds, or if that task was cancelled.

        Raises:
            KeyboardInterrupt: Once for each call of `interrupt`; the tasks keep running.
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
        """Yield results until no task is left, including tasks that are started while this iterates.

        Ignores `interrupt`: draining is how an interruption is handled.
        """
        while self.busy:
            try:
                result = self.next()
            except KeyboardInterrupt:
                continue
            yield result

    def interrupt(self) -> None:
        """Make the current or the next call of `next` raise `KeyboardInterrupt`."""
        self._ended.put(None)

    def drop_waiting(self) -> None:
        """Cancel the queued tasks and accept only urgent ones from now on."""
        self._patient.shutdown(wait=False, cancel_futures=True)
