"""How often and when a service is asked again: one pace for all workers, so that they slow down together."""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, TypeVar

import httpx2  # openai's own transport: its errors escape the SDK while a body is streamed
import openai

from ft_sync.errors import BadData
from ft_sync.events import Delayed
from ft_sync.sources.routes import speaks_of_the_route

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ft_sync.events import Observer
    from ft_sync.ports import Clock

ATTEMPTS = 4
"""Of a request that the service fails or that does not reach it."""

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
"""Seconds before asking again; they double from the first to the longest."""

GIVEN_UP = 5.0
"""Seconds for which a service that was given up is not asked by anybody."""

TROUBLE = 60.0
"""Seconds since its first failure after which a request is given up: a service that hangs takes its time to fail."""

PATIENCE = 300.0
"""Seconds for which a request goes on waiting for a service that limits the rate."""

LOST_IN_A_ROW = 8
"""Requests given up, with none answered in between, after which the service is given up.

As many as are asked at the same time by default: all of these may meet the same short failure.
"""

WORTH_TELLING = 1.0
"""Seconds by which a wait becomes longer that is told again: workers are told to wait at nearly the same time."""

FAILURES = (openai.APIStatusError, openai.APIConnectionError, httpx2.HTTPError, BadData)
"""What a request may end with; `BadData` is an answer that cannot be read."""

_T = TypeVar("_T")


class Pace:
    """Asks on behalf of every worker.

    When the service limits the rate, all of them wait. When it is away or refuses the key, it is given up for all of
    them, once: whoever asks next fails at once, until a pause has passed, and then finds out whether it is back.
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
        """Return what `ask` returns, asking again where that may help.

        Raises:
            openai.OpenAIError, httpx2.HTTPError, BadData: Asking again did not help, or would not; or it did not help
                others just now.
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
            # A little apart, or everybody would ask at the same moment again.
            self._clock.sleep(left + random.uniform(0.0, 0.25))  # noqa: S311 - not for secrets

    def _count(self, lost: Exception | None) -> None:
        """Take note of a request that is over: lost for a reason that others may meet, too, or else answered."""
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
    """Those of one request, which began at a time."""

    began: float
    attempts: int
    patience: float
    limits: int = 0
    others: int = 0
    first: float | None = None

    def pause_after(self, error: Exception, now: float) -> float | None:
        """Return the seconds to wait before asking again; None if it has been tried for long enough."""
        if _is_for_all(error):
            self.limits += 1
            # Never shorter than without a word: a service that says "now" again and again is not to be flooded.
            pause = max(_retry_after(error) or 0.0, _pause(self.limits))
            return pause if now + pause <= self.began + self.patience else None
        self.others += 1
        self.first = now if self.first is None else self.first
        is_over = self.others == self.attempts or now - self.first >= TROUBLE
        return None if is_over else _pause(self.others)


def _is_for_all(error: Exception) -> bool:
    """Whether the service asks for a pause, and not only fails in one thing."""
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
    """Whether the service wants to be asked less often; an exhausted quota is no such thing."""
    return isinstance(error, openai.RateLimitError) and error.code != "insufficient_quota"


def _is_worth_asking_again(error: Exception) -> bool:
    if not isinstance(error, openai.APIStatusError):
        return True
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
    """Return the seconds to wait after so many failures, spread a little."""
    return float(min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (count - 1))) * random.uniform(0.75, 1.0)  # noqa: S311 - as above


def _retry_after(error: Exception) -> float | None:
    """Return the seconds that a service which is too busy asks to wait for."""
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
        # A date, by the service's own clock, which need not be ours.
        now = parsedate_to_datetime(headers["date"])
        return max(0.0, (parsedate_to_datetime(headers["retry-after"]) - now).total_seconds())
    except (KeyError, ValueError, TypeError):
        return None
