"""The pace: how often and when a service is asked again, through the real client over HTTP."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx2
import openai
import pytest

from ft_sync.errors import Stopped
from ft_sync.events import Delayed, Event
from ft_sync.sandbox import API_KEY, Sandbox
from ft_sync.sources import pace as pacing
from ft_sync.sources.pace import ATTEMPTS, GIVEN_UP, LONGEST_PAUSE, LOST_IN_A_ROW, PATIENCE, TROUBLE, Pace
from tests.fakes import FakeClock

if TYPE_CHECKING:
    from collections.abc import Iterator

JOBS = "/fine_tuning/jobs"
QUOTA = {"error": {"message": "You exceeded your quota.", "type": "insufficient_quota", "code": "insufficient_quota"}}


@dataclass
class Asking:
    """A client that asks the sandbox for jobs at a pace; `heard` is what that tells."""

    client: openai.OpenAI
    clock: FakeClock = field(default_factory=FakeClock)
    heard: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.pace = Pace(self.clock, self.heard.append)

    def request(self) -> object:
        return self.client.get(JOBS, cast_to=object)

    def __call__(self) -> object:
        return self.pace(self.request)


@pytest.fixture
def ask(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[Asking]:
    monkeypatch.setattr(pacing.random, "uniform", lambda _low, high: high)  # type: ignore[attr-defined]
    with openai.OpenAI(base_url=sandbox.url, api_key=API_KEY, max_retries=0, timeout=60) as client:
        yield Asking(client)


@pytest.mark.parametrize("status", [429, 503, 500, 408, 409])
@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "0.5"}, 0.5),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "1500", "Retry-After": "2"}, 1.5),
    ],
)
def test_a_service_that_says_how_long_to_wait_is_given_that_time(
    ask: Asking, sandbox: Sandbox, status: int, headers: dict[str, str], seconds: float
) -> None:
    sandbox.fail(JOBS, status=status, headers=headers, times=1)
    ask()
    assert ask.clock.sleeps == [pytest.approx(seconds + 0.25)]  # a little later than all at the same moment
    assert [type(one) for one in ask.heard] == [Delayed]
    assert sandbox.count(JOBS) == 2


def test_a_service_may_name_a_date_to_wait_for(ask: Asking, sandbox: Sandbox) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(minutes=2), usegmt=True)
    sandbox.fail(JOBS, status=429, headers={"Retry-After": date}, times=1)
    ask()
    assert ask.clock.sleeps == [pytest.approx(120, abs=5)]


def limited(**headers: str) -> openai.RateLimitError:
    """The SDK's error for an answer with these headers."""
    response = httpx2.Response(429, headers=headers, request=httpx2.Request("GET", "http://127.0.0.1/"))
    return openai.RateLimitError("slow down", response=response, body=None)


def test_a_date_is_meant_by_the_services_own_clock(ask: Asking) -> None:
    ahead = {"date": "Fri, 25 Nov 2033 12:00:00 GMT", "retry-after": "Fri, 25 Nov 2033 12:02:00 GMT"}
    answers = iter([limited(**ahead)])

    def request() -> None:
        for error in answers:
            raise error

    ask.pace(request)
    assert ask.clock.sleeps == [120.25]


@pytest.mark.parametrize("headers", [{}, {"Retry-After": "soon"}, {"Retry-After": ""}])
def test_a_limited_rate_without_a_time_is_waited_for_twice_as_long_each_time(
    ask: Asking, sandbox: Sandbox, headers: dict[str, str]
) -> None:
    sandbox.fail(JOBS, status=429, headers=headers, times=3)
    ask()
    assert ask.clock.sleeps == [0.75, 1.25, 2.25]
    assert {type(one) for one in ask.heard} == {Delayed}


@pytest.mark.parametrize("time", ["-5", "0", "0.001", "nan"])
def test_a_service_that_says_now_again_and_again_is_asked_ever_less_often(
    ask: Asking, sandbox: Sandbox, time: str
) -> None:
    sandbox.fail(JOBS, status=429, headers={"Retry-After": time}, times=3)
    ask()
    assert ask.clock.sleeps == [0.75, 1.25, 2.25]


def test_an_exhausted_quota_is_not_waited_for(ask: Asking, sandbox: Sandbox) -> None:
    sandbox.fail(JOBS, status=429, body=QUOTA)
    with pytest.raises(openai.RateLimitError):
        ask()
    assert (ask.clock.sleeps, ask.heard, sandbox.count(JOBS)) == ([], [], 1)


def test_a_service_that_wants_more_time_than_there_is_patience_is_given_up_at_once(
    ask: Asking, sandbox: Sandbox
) -> None:
    sandbox.fail(JOBS, status=429, headers={"Retry-After": str(PATIENCE + 1)})
    with pytest.raises(openai.RateLimitError):
        ask()
    assert (ask.clock.sleeps, ask.heard, sandbox.count(JOBS)) == ([], [], 1)


def test_a_service_that_limits_the_rate_for_ever_is_given_up_when_patience_ends(ask: Asking, sandbox: Sandbox) -> None:
    sandbox.fail(JOBS, status=429)
    with pytest.raises(openai.RateLimitError):
        ask()
    assert PATIENCE - LONGEST_PAUSE - 1 < ask.clock.now() <= PATIENCE + 1
    assert max(ask.clock.sleeps) <= LONGEST_PAUSE + 0.25


@pytest.mark.parametrize("status", [500, 502, 503, 408, 409])
def test_a_service_that_fails_is_asked_a_few_times(ask: Asking, sandbox: Sandbox, status: int) -> None:
    sandbox.fail(JOBS, status=status)
    with pytest.raises(openai.APIStatusError):
        ask()
    assert sandbox.count(JOBS) == ATTEMPTS
    assert ask.clock.sleeps == [0.5, 1.0, 2.0]


def test_each_wait_for_a_service_that_fails_is_told(ask: Asking, sandbox: Sandbox) -> None:
    sandbox.fail(JOBS, status=503, times=1)
    sandbox.fail(JOBS, drop=True, times=1)
    ask()
    assert ask.heard == [
        Delayed("OpenAI failed with status 503", 0.5),
        Delayed("the connection to OpenAI failed", 1.0),
    ]


def test_a_connection_that_breaks_is_made_again_a_few_times(ask: Asking, sandbox: Sandbox) -> None:
    sandbox.fail(JOBS, drop=True)
    with pytest.raises(openai.APIConnectionError):
        ask()
    assert sandbox.count(JOBS) == ATTEMPTS
    assert ask.clock.sleeps == [0.5, 1.0, 2.0]


def test_a_failure_that_passes_costs_only_its_pause(ask: Asking, sandbox: Sandbox) -> None:
    sandbox.fail(JOBS, drop=True, times=1)
    sandbox.fail(JOBS, status=500, times=1)
    ask()
    assert (sandbox.count(JOBS), ask.clock.sleeps) == (3, [0.5, 1.0])


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_a_refusal_is_not_asked_again(ask: Asking, sandbox: Sandbox, status: int) -> None:
    sandbox.fail(JOBS, status=status, headers={"Retry-After": "1"})
    with pytest.raises(openai.APIStatusError):
        ask()
    assert (sandbox.count(JOBS), ask.clock.sleeps) == (1, [])


@pytest.mark.parametrize(("status", "answer", "requests"), [(500, "false", 1), (400, "true", ATTEMPTS)])
def test_a_service_may_say_itself_whether_to_ask_again(
    ask: Asking, sandbox: Sandbox, status: int, answer: str, requests: int
) -> None:
    sandbox.fail(JOBS, status=status, headers={"x-should-retry": answer})
    with pytest.raises(openai.APIStatusError):
        ask()
    assert sandbox.count(JOBS) == requests


def test_waiting_does_not_use_up_the_attempts(ask: Asking, sandbox: Sandbox) -> None:
    sandbox.fail(JOBS, status=429, headers={"Retry-After": "1"}, times=ATTEMPTS)
    sandbox.fail(JOBS, status=500, times=ATTEMPTS - 1)
    ask()
    assert sandbox.count(JOBS) == 2 * ATTEMPTS


# All together


def test_what_one_worker_is_told_about_waiting_holds_for_all(ask: Asking, sandbox: Sandbox) -> None:
    asked_at: list[float] = []

    def request() -> None:
        asked_at.append(ask.clock.now())

    def observe(_: Event) -> None:
        # Before the first worker waits, another one wants to ask.
        other = threading.Thread(target=ask.pace, args=(request,))
        other.start()
        other.join()

    ask.pace = Pace(ask.clock, observe)
    sandbox.fail(JOBS, status=429, headers={"Retry-After": "10"}, times=1)
    ask()
    assert asked_at == [10.25]


class Together(FakeClock):
    """A clock for so many threads: a little time passes when one reads it, and more when all of them sleep."""

    def __init__(self, threads: int) -> None:
        super().__init__()
        self.asleep = threading.Barrier(threads)

    def now(self) -> float:
        self.time += 0.01
        return self.time

    def sleep(self, seconds: float) -> None:
        self.asleep.wait(60)
        super().sleep(seconds)


def test_a_wait_is_told_once_however_many_workers_are_told_to(ask: Asking) -> None:
    ask.pace = Pace(Together(8), ask.heard.append)
    told = threading.Barrier(8)

    def request(answers: Iterator[Exception]) -> None:
        for error in answers:
            told.wait(60)
            raise error

    threads = [
        threading.Thread(target=ask.pace, args=(partial(request, iter([limited(**{"retry-after": "10"})])),))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ask.heard == [Delayed("OpenAI limits the rate", 10.0)]


def test_a_wait_that_becomes_much_longer_or_comes_again_is_told_again(ask: Asking, sandbox: Sandbox) -> None:
    sandbox.fail(JOBS, status=429, headers={"Retry-After": "1"}, times=2)
    sandbox.fail(JOBS, status=429, headers={"Retry-After": "60"}, times=1)
    ask()
    assert [one.seconds for one in ask.heard if isinstance(one, Delayed)] == [1.0, 1.0, 60.0]


def test_a_shorter_wait_does_not_end_a_longer_one(ask: Asking) -> None:
    ask.pace._hold_all(10.0)
    ask.pace._hold_all(1.0)
    ask()
    assert ask.clock.sleeps == [10.25]


def lose(ask: Asking, times: int) -> None:
    for _ in range(times):
        with pytest.raises(openai.APIError):
            ask()


def test_a_service_that_is_away_is_given_up_for_all(ask: Asking, sandbox: Sandbox) -> None:
    sandbox.fail(JOBS, status=503)
    lose(ask, 20)
    assert sandbox.count(JOBS) == ATTEMPTS * LOST_IN_A_ROW


@pytest.mark.parametrize("fault", [{"status": 503}, {"status": 401}, {"drop": True}])
def test_a_service_that_was_given_up_is_found_out_to_be_back(
    ask: Asking, sandbox: Sandbox, fault: dict[str, Any]
) -> None:
    sandbox.fail(JOBS, **fault)
    lose(ask, LOST_IN_A_ROW)
    sandbox.heal()
    ask.clock.time += GIVEN_UP
    ask()


def test_a_service_that_is_still_away_is_asked_once_after_each_pause(ask: Asking, sandbox: Sandbox) -> None:
    sandbox.fail(JOBS, status=503)
    lose(ask, LOST_IN_A_ROW)
    sandbox.forget()
    for _ in range(3):
        ask.clock.time += GIVEN_UP
        lose(ask, 5)
    assert sandbox.count(JOBS) == 3


def test_one_request_that_is_lost_says_nothing_of_the_others(ask: Asking, sandbox: Sandbox) -> None:
    for _ in range(3):
        sandbox.fail(JOBS, status=503, times=ATTEMPTS)
        lose(ask, 1)
        ask()


def test_a_key_that_is_refused_is_refused_for_all(ask: Asking, sandbox: Sandbox) -> None:
    sandbox.fail(JOBS, status=401)
    lose(ask, 20)
    assert sandbox.count(JOBS) == LOST_IN_A_ROW


@pytest.mark.parametrize("status", [400, 403, 404])
def test_what_is_refused_of_one_thing_says_nothing_of_the_others(ask: Asking, sandbox: Sandbox, status: int) -> None:
    sandbox.fail(JOBS, status=status)
    lose(ask, 5)
    assert sandbox.count(JOBS) == 5


def test_a_request_that_takes_long_to_fail_is_tried_less_often(ask: Asking) -> None:
    asked: list[float] = []

    def request() -> None:
        asked.append(ask.clock.now())
        ask.clock.time += TROUBLE / 2
        raise openai.APITimeoutError(httpx2.Request("GET", "http://127.0.0.1/"))

    with pytest.raises(openai.APITimeoutError):
        ask.pace(request)
    assert len(asked) == 3


@pytest.mark.parametrize("fault", [{"status": 429, "headers": {"Retry-After": "5"}}, {"status": 500}])
def test_the_end_of_the_work_ends_the_waiting(ask: Asking, sandbox: Sandbox, fault: dict[str, Any]) -> None:
    sandbox.fail(JOBS, **fault)
    ask.clock.stop()
    with pytest.raises(Stopped):
        ask()
    assert sandbox.count(JOBS) == 1
