"""Ctrl-C comes between any two steps of a thread: work that must not be torn there has a thread of its own."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

LISTENING = 1.0
"""Seconds; while it waits without an end, Windows does not hear Ctrl-C."""

_Result = TypeVar("_Result")


def in_order(work: Callable[[], _Result], interrupt: Callable[[], bool]) -> _Result:
    """Return what `work` returns, done in another thread while this one listens for an interruption.

    Args:
        work: What is to be done; it ends soon once it is interrupted, by an exception or by what it returns.
        interrupt: Tells the work to end, and whether it has begun anything that has to be brought to an end. It may
            be called at any moment.

    Raises:
        KeyboardInterrupt: The work was interrupted and raised it, or had nothing to bring to an end.
    """
    result: Future[_Result] = Future()

    def done() -> None:
        try:
            result.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised in the caller's thread
            result.set_exception(error)

    # A daemon, since it may be waiting for a service when nobody waits for it any more.
    thread = threading.Thread(target=done, name="ftsync-decides", daemon=True)
    try:
        thread.start()
        _listen(thread)
    except KeyboardInterrupt:
        if not interrupt():
            raise
        _listen(thread)
    return result.result()


def _listen(thread: threading.Thread) -> None:
    while thread.is_alive():
        thread.join(LISTENING)
