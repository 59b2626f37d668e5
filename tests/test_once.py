"""What several threads want at the same time is asked for once, and a failure is no answer for ever."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from ft_sync.once import Once
from tests.fakes import wait_for_company

THREADS = 8


class Question:
    """Is asked by threads that all come before it is answered; `asked` counts how often."""

    def __init__(self, answer: str | Exception) -> None:
        self.answer = answer
        self.asked = 0

    def from_many(self, once: Once[str, str]) -> list[str | BaseException]:
        """What each of the threads gets, an answer or an exception."""

        def get(_: int) -> str | BaseException:
            try:
                return once.get("key", lambda: self.slowly(once))
            except Exception as error:  # noqa: BLE001 - to be compared
                return error

        with ThreadPoolExecutor(THREADS) as pool:
            return list(pool.map(get, range(THREADS)))

    def slowly(self, once: Once[str, str]) -> str:
        wait_for_company(once, "key", THREADS - 1)
        return self()

    def __call__(self) -> str:
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_the_first_asks_for_all() -> None:
    question = Question("answer")
    assert question.from_many(Once()) == ["answer"] * THREADS
    assert question.asked == 1


def test_a_failure_is_shared_by_those_who_wait() -> None:
    error = OSError("away")
    question = Question(error)
    assert set(question.from_many(Once())) == {error}
    assert question.asked == 1


def test_who_comes_after_a_failure_asks_again() -> None:
    once: Once[str, str] = Once()
    with pytest.raises(OSError, match="away"):
        once.get("key", Question(OSError("away")))
    assert once.known("key") is None
    assert once.get("key", lambda: "answer") == "answer"


def test_who_comes_after_an_answer_gets_it_without_asking() -> None:
    once: Once[str, str] = Once()
    once.get("key", lambda: "first")
    assert once.get("key", lambda: "second") == once.known("key") == "first"


def test_each_key_has_an_answer_of_its_own() -> None:
    once: Once[str, str] = Once()
    assert [once.get(key, lambda key=key: key.upper()) for key in ("a", "b")] == ["A", "B"]  # type: ignore[misc]


def test_one_key_does_not_wait_for_another() -> None:
    once: Once[str, str] = Once()
    answered = threading.Event()

    def slow() -> str:
        assert answered.wait(60)
        return "slow"

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(once.get, "slow", slow)
        assert once.get("quick", lambda: "quick") == "quick"
        assert once.known("slow") is None
        answered.set()
        assert waiting.result() == "slow"


def test_what_is_forgotten_is_asked_for_again() -> None:
    once: Once[str, str] = Once()
    once.get("key", lambda: "first")
    once.forget("key")
    once.forget("never asked for")
    assert once.known("key") is None
    assert once.get("key", lambda: "second") == "second"


def test_the_oldest_is_forgotten_where_there_are_too_many() -> None:
    once: Once[int, str] = Once(most=2)
    for key in range(3):
        assert once.get(key, lambda: "first") == "first"
    assert [once.known(key) for key in range(3)] == [None, "first", "first"]
