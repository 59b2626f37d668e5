"""Runs work in its own thread, because Ctrl-C interrupts the main thread between any two instructions."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from contextvars import copy_context
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

LISTENING = 1.0
"""Seconds between wake-ups of the waiting main thread: in an endless wait, Windows does not deliver Ctrl-C."""

_Result = TypeVar("_Result")


def in_order(work: Callable[[], _Result], interrupt: Callable[[], bool]) -> _Result:
    """Run `work` in another thread while this one waits for Ctrl-C; return its result.

    Args:
        work: The work; once interrupted, it must soon return or raise.
        interrupt: Asks the work to end; returns whether tasks in progress must be waited for. It may be called at any
            moment.

    Raises:
        KeyboardInterrupt: The work raised it after an interruption, or there was nothing to wait for.
    """
    result: Future[_Result] = Future()

    def done() -> None:
        try:
            result.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised in the caller's thread
            result.set_exception(error)

    # A daemon thread, since it may still be waiting for a service when the process is to end.
    work_here = copy_context().run
    thread = threading.Thread(target=work_here, args=(done,), name="ftsync-decides", daemon=True)
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
