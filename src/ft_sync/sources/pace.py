"""Retries requests to a service, with one backoff and circuit breaker for all workers, so they slow down together."""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, TypeVar

import httpx2  # openai's own transport: its errors escape the SDK while a body is streamed
import openai

from ft_sync.errors import BadData, TooLarge
from ft_sync.events import Delayed
from ft_sync.sources.bounds import NotRequested
from ft_sync.sources.routes import speaks_of_the_route

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ft_sync.events import Observer
    from ft_sync.ports import Clock

ATTEMPTS = 4
"""Maximum attempts for a request that the service fails or that does not reach it."""

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
"""Seconds between retries, doubling from the first to the longest."""

GIVEN_UP = 5.0
"""Seconds for which no worker asks a service that was given up."""

TROUBLE = 60.0
"""Seconds from a request's first failure until it is given up, even if attempts are left: timeouts take long."""

PATIENCE = 300.0
"""Seconds for which a request keeps waiting while the service limits the rate."""

LOST_IN_A_ROW = 8
"""Number of consecutive failed requests after which the service is given up.

Equal to the default number of concurrent requests, since one short outage can fail all of those at once.
"""

WORTH_TELLING = 1.0
"""Seconds by which a wait must grow to be reported again: several workers learn of the same wait almost at once."""

FAILURES = (openai.APIStatusError, openai.APIConnectionError, httpx2.HTTPError, BadData)
"""The errors of a request that may be worth a retry; `BadData` is an answer that cannot be read."""

_T = TypeVar("_T")


class Pace:
    """Sends the requests of all workers, with retries.

    If the service limits the rate, all workers wait. If it is unavailable or refuses the key, it is given up for all
    workers: further requests fail at once until a pause has passed, and the next one tries the service again.
    """

    def __init__(
        self,
        clock: Clock,
        observe: Observer,
        service: str = "OpenAI",
        *,
        attempts: int = ATTEMPTS,
        patience: float = PATIENCE,
    ) -> None:
        self._clock = clock
        self._attempts = attempts
        self._patience = patience
        self._observe = observe
        self._service = service
        self._lock = threading.Lock()
        self._opens_at = 0.0
        self._told_until = 0.0
        self._lost = 0
        self._given_up: Exception | None = None

    def __call__(self, ask: Callable[[], _T]) -> _T:
        """Return what `ask` returns, retrying if that may help.

        Raises:
            openai.OpenAIError, httpx2.HTTPError, BadData: Retrying did not or would not help, or the service has just
                been given up.
        """
        failures = _Failures(self._clock.now(), self._attempts, self._patience)
        while True:
            self._wait_for_all()
            try:
                answer = ask()
            except FAILURES as error:
                if not _is_worth_asking_again(error):
                    self._count(error if isinstance(error, openai.AuthenticationError) else None)
                    raise
                now = self._clock.now()
                pause = failures.pause_after(error, now)
                if pause is None or self._given_up is not None:
                    self._count(error)
                    raise
                if _is_for_all(error):
                    self._hold_all(now + pause)
                self._tell(_why(error, self._service), pause, now)
                if not _is_for_all(error):
                    self._clock.sleep(pause)
            else:
                self._count(None)
                return answer

    def _wait_for_all(self) -> None:
        while (left := self._opens_at - self._clock.now()) > 0:
            if self._given_up is not None:
                raise self._given_up.with_traceback(None)
            # Jitter, so that the workers do not all retry at the same moment.
            self._clock.sleep(left + random.uniform(0.0, 0.25))  # noqa: S311 - not for secrets

    def _count(self, lost: Exception | None) -> None:
        """Count a finished request: failed with an error that others may meet, too, or answered (None)."""
        with self._lock:
            self._lost = 0 if lost is None else self._lost + 1
            self._given_up = lost if self._lost >= LOST_IN_A_ROW else None
            if self._given_up is not None:
                self._opens_at = self._clock.now() + GIVEN_UP

    def _hold_all(self, until: float) -> None:
        with self._lock:
            self._opens_at = max(until, self._opens_at)

    def _tell(self, message: str, seconds: float, now: float) -> None:
        with self._lock:
            is_news = self._told_until <= now or now + seconds > self._told_until + WORTH_TELLING
            self._told_until = max(now + seconds, self._told_until)
        if is_news:
            self._observe(Delayed(message, seconds))


@dataclass(slots=True)
class _Failures:
    """The failures of one request that began at the time `began`."""

    began: float
    attempts: int
    patience: float
    limits: int = 0
    others: int = 0
    first: float | None = None

    def pause_after(self, error: Exception, now: float) -> float | None:
        """Return the seconds to wait before the next attempt; None if the request should be given up."""
        if _is_for_all(error):
            self.limits += 1
            # At least the usual backoff: a service may ask for a pause of 0 seconds again and again.
            pause = max(_retry_after(error) or 0.0, _pause(self.limits))
            return pause if now + pause <= self.began + self.patience else None
        self.others += 1
        self.first = now if self.first is None else self.first
        is_over = self.others == self.attempts or now - self.first >= TROUBLE
        return None if is_over else _pause(self.others)


def _is_for_all(error: Exception) -> bool:
    """Whether the service asks all clients to pause, rather than failing one request."""
    return _limits_the_rate(error) or _retry_after(error) is not None


def _why(error: Exception, service: str) -> str:
    if _limits_the_rate(error):
        return f"{service} limits the rate"
    if isinstance(error, openai.APIStatusError):
        return f"{service} failed with status {error.status_code}"
    if isinstance(error, BadData):
        return f"{service}'s answer cannot be read"
    if isinstance(error, openai.APITimeoutError | httpx2.TimeoutException):
        return f"{service} does not answer in time"
    return f"the connection to {service} failed"


def _limits_the_rate(error: Exception) -> bool:
    """Whether the error is a rate limit; an exhausted quota has the same status but does not pass."""
    return isinstance(error, openai.RateLimitError) and error.code != "insufficient_quota"


def _is_worth_asking_again(error: Exception) -> bool:
    if not isinstance(error, openai.APIStatusError):
        return not isinstance(error, TooLarge | NotRequested)
    if speaks_of_the_route(error):
        return False
    match error.response.headers.get("x-should-retry"):
        case "true":
            return True
        case "false":
            return False
        case _:
            return _limits_the_rate(error) or error.status_code in {408, 409} or error.status_code >= 500  # noqa: PLR2004 - HTTP


def _pause(count: int) -> float:
    """Return the seconds to wait after `count` failures: exponential backoff with jitter."""
    return float(min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (count - 1))) * random.uniform(0.75, 1.0)  # noqa: S311 - as above


def _retry_after(error: Exception) -> float | None:
    """Return the seconds that the service asks to wait, from its retry-after headers; None if it does not."""
    if not isinstance(error, openai.APIStatusError):
        return None
    headers: Mapping[str, str] = error.response.headers
    try:
        if milliseconds := headers.get("retry-after-ms"):
            return max(0.0, float(milliseconds) / 1000)
        text = headers.get("retry-after") or ""
        return max(0.0, float(text)) if text else None
    except ValueError:
        pass
    try:
        # An HTTP date is relative to the service's clock, so compare it with the answer's own date.
        now = parsedate_to_datetime(headers["date"])
        return max(0.0, (parsedate_to_datetime(headers["retry-after"]) - now).total_seconds())
    except (KeyError, ValueError, TypeError):
        return None
