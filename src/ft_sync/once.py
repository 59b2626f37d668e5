"""What several threads want at the same time and is to be had once: a file, its description, its upload."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class Once(Generic[_Key, _Value]):
    """Answers by key: the first who wants one gets it for all, and the others wait for him.

    Args:
        most: So many answers are known, and the oldest is forgotten when there is one more; without it, all.
    """

    def __init__(self, most: int | None = None) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._answers: dict[_Key, Future[_Value]] = {}

    def get(self, key: _Key, ask: Callable[[], _Value]) -> _Value:
        """Return the answer for a key, asking if nobody has.

        Raises:
            Exception: What `ask` raised, to all who waited; whoever comes later asks again.
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
        """Return the answer if there is one already."""
        answer = self._answers.get(key)
        return answer.result() if answer is not None and answer.done() and answer.exception() is None else None

    def forget(self, key: _Key) -> None:
        """Have whoever comes next ask again."""
        self._answers.pop(key, None)
