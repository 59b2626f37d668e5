"""A thread-safe cache that computes a value once for all jobs that share it: a file, its description, its upload."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class Once(Generic[_Key, _Value]):
    """A cache of answers by key.

    The first thread that asks computes the answer; threads that ask meanwhile wait for it and get its exception, too.

    Args:
        most: Maximum number of answers to keep; the oldest is evicted first. None keeps all.
    """

    def __init__(self, most: int | None = None) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._answers: dict[_Key, Future[_Value]] = {}

    def get(self, key: _Key, ask: Callable[[], _Value]) -> _Value:
        """Return the answer for a key, calling `ask` if there is none yet.

        Raises:
            Exception: Whatever `ask` raised, in every waiting thread; it is not cached, so a later call asks again.
        """
        with self._lock:
            answer = self._answers.get(key)
            if is_first := answer is None:
                answer = self._answers[key] = Future()
                if self._most is not None and len(self._answers) > self._most:
                    del self._answers[next(iter(self._answers))]
        if is_first:
            try:
                answer.set_result(ask())
            except BaseException as error:
                self.forget(key)
                answer.set_exception(error)
                raise
        return answer.result()

    def known(self, key: _Key) -> _Value | None:
        """Return the cached answer; None if there is none yet."""
        answer = self._answers.get(key)
        return answer.result() if answer is not None and answer.done() and answer.exception() is None else None

    def forget(self, key: _Key) -> None:
        """Remove the answer, so that the next call of `get` asks again."""
        self._answers.pop(key, None)
