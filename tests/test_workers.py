"""Threads for tasks: what they return comes back once, the urgent do not wait, and those whose turn never comes go."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from ft_sync.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Callable


def held_up(by: threading.Event, result: str = "late") -> Callable[[], str]:
    """A task that ends when the event comes."""

    def task() -> str:
        assert by.wait(60)
        return result

    return task


def test_every_result_comes_back_once() -> None:
    with Workers[int](3) as workers:
        for number in range(20):
            workers.start(lambda number=number: number)  # type: ignore[misc]
        assert workers.busy == 20
        assert sorted(result for result in workers.drain() if result is not None) == list(range(20))
        assert workers.busy == 0


def test_results_come_in_the_order_in_which_the_tasks_end() -> None:
    go_on = threading.Event()
    with Workers[str](2) as workers:
        workers.start(held_up(go_on, "second"))
        workers.start(lambda: "first")
        assert workers.next() == "first"
        go_on.set()
        assert workers.next() == "second"


def test_when_nothing_ends_in_time_there_is_nothing() -> None:
    go_on = threading.Event()
    with Workers[str](1) as workers:
        workers.start(held_up(go_on))
        assert workers.next(timeout=0.001) is None
        assert workers.busy == 1
        go_on.set()
        assert workers.next() == "late"


def test_urgent_tasks_do_not_wait_for_the_others() -> None:
    go_on = threading.Event()
    with Workers[str](1) as workers:
        for _ in range(3):
            workers.start(held_up(go_on))
        workers.start(lambda: "urgent", urgent=True)
        assert workers.next() == "urgent"
        go_on.set()


def test_tasks_whose_turn_has_not_come_can_be_dropped_and_those_that_have_begun_end() -> None:
    begun, go_on = threading.Event(), threading.Event()
    done: list[str] = []

    def first() -> str:
        begun.set()
        assert go_on.wait(60)
        done.append("first")
        return "first"

    with Workers[str](1) as workers:
        workers.start(first)
        for _ in range(3):
            workers.start(lambda: done.append("never") or "never")  # type: ignore[func-returns-value]
        assert begun.wait(60)
        workers.drop_waiting()
        go_on.set()
        assert sorted(workers.drain(), key=str) == [None, None, None, "first"]
    assert done == ["first"]


def test_after_dropping_urgent_tasks_are_still_taken_and_no_others() -> None:
    with Workers[str](1) as workers:
        workers.drop_waiting()
        workers.start(lambda: "urgent", urgent=True)
        assert list(workers.drain()) == ["urgent"]
        with pytest.raises(RuntimeError):
            workers.start(lambda: "too late")


def test_draining_includes_tasks_that_are_started_meanwhile() -> None:
    with Workers[int](1) as workers:
        workers.start(lambda: 3)
        seen = []
        for left in workers.drain():
            assert left is not None
            seen.append(left)
            if left:
                workers.start(lambda left=left: left - 1, urgent=True)  # type: ignore[misc]
        assert seen == [3, 2, 1, 0]


def test_leaving_waits_for_the_tasks_that_have_begun() -> None:
    begun = threading.Event()
    done = []

    def task() -> str:
        begun.set()
        threading.Event().wait(0.005)
        done.append("it")
        return "it"

    with Workers[str](1) as workers:
        workers.start(task)
        assert begun.wait(60)
    assert done == ["it"]


def test_what_is_no_failure_of_the_task_is_raised_where_its_result_is_asked_for() -> None:
    def task() -> str:
        raise KeyboardInterrupt

    with Workers[str](1) as workers:
        workers.start(task)
        with pytest.raises(KeyboardInterrupt):
            workers.next()
        assert workers.busy == 0


def test_an_interruption_is_raised_once_where_a_result_is_waited_for_and_costs_none() -> None:
    with Workers[str](1) as workers:
        workers.interrupt()
        workers.start(lambda: "done")
        with pytest.raises(KeyboardInterrupt):
            workers.next()
        assert list(workers.drain()) == ["done"]


def test_draining_is_not_interrupted() -> None:
    with Workers[str](1) as workers:
        workers.start(lambda: "done")
        workers.interrupt()
        assert list(workers.drain()) == ["done"]
