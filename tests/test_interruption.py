"""Ctrl-C: the work hears of it where it waits, whenever it comes, and what has begun comes to its end."""

from __future__ import annotations

import _thread
import subprocess
import sys
import threading
from pathlib import Path
from typing import NoReturn

import pytest

from ft_sync.interruption import in_order

ROUNDS = 60

SYNCS = """
import _thread, random, sys, threading, time
from tests.fakes import FakeSink, FakeSource
from tests.test_engine import jobs, run
from ft_sync.planning import Request

def interrupt_after(seconds, is_over):
    if not is_over.wait(seconds):
        _thread.interrupt_main()

began = time.monotonic()
for _ in range(3):  # the first one imports, too
    began = time.monotonic()
    run(FakeSource(jobs(12)), FakeSink(), Request(concurrency=2))
undisturbed = time.monotonic() - began

for number in range(int(sys.argv[1])):
    sink, is_over = FakeSink(), threading.Event()
    seconds = random.Random(number).uniform(0.0, undisturbed)
    presser = threading.Thread(target=interrupt_after, args=(seconds, is_over))
    try:
        presser.start()
        run(FakeSource(jobs(12)), sink, Request(concurrency=2))
        is_over.set()
        presser.join()
        ending = "done"
    except KeyboardInterrupt:
        presser.join()
        ending = "interrupted"
    print(ending, len(sink.held), all(state.is_complete for state in sink.held.values()), flush=True)
"""


def test_what_the_work_returns_is_returned() -> None:
    assert in_order(lambda: 4, lambda: True) == 4


def test_what_the_work_raises_is_raised() -> None:
    def work() -> NoReturn:
        raise LookupError("lost")

    with pytest.raises(LookupError, match="lost"):
        in_order(work, lambda: True)


def test_work_that_has_begun_something_comes_to_its_end_in_its_own_time() -> None:
    interrupted = threading.Event()

    def work() -> str:
        _thread.interrupt_main()
        assert interrupted.wait(60)
        return "in order"

    def interrupt() -> bool:
        interrupted.set()
        return True

    assert in_order(work, interrupt) == "in order"


def test_nobody_waits_for_work_that_has_begun_nothing() -> None:
    go_on = threading.Event()

    def work() -> None:
        _thread.interrupt_main()
        go_on.wait(60)

    with pytest.raises(KeyboardInterrupt):
        in_order(work, lambda: False)
    go_on.set()


def test_whenever_it_comes_no_sync_hangs_and_what_was_begun_is_complete() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SYNCS, str(ROUNDS)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        cwd=Path(__file__).parent.parent,
    )
    lines = [line.split() for line in done.stdout.splitlines()]
    assert len(lines) == ROUNDS
    assert {complete for _, _, complete in lines} == {"True"}
    assert "interrupted" in {ending for ending, *_ in lines}
