"""How often and when a service is asked again: one pace for all workers, so that they slow down together."""

from __future__ import annotations

import random
import threading
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, TypeVar

import httpx2  # openai's own transport: its errors escape the SDK while a body is streamed
import openai

from ft_sync.events import Delayed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ft_sync.events import Observer
    from ft_sync.ports import Clock

ATTEMPTS = 4
"""Of a request that the service fails or that does not reach it."""

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
"""Seconds before asking again; they double from the first to the longest."""

PATIENCE = 300.0
"""Seconds for which a request goes on waiting for a service that limits the rate."""

WORTH_TELLING = 1.0
"""Seconds by which a wait becomes longer that is told again: workers are told to wait at nearly the same time."""

_T = TypeVar("_T")


class Pace:
    """Asks on behalf of every worker; what one of them is told about waiting holds for all."""

    def __init__(self, clock: Clock, observe: Observer) -> None:
        self._clock = clock
        self._observe = observe
        self._lock = threading.Lock()
        self._opens_at = 0.0

    def __call__(self, ask: Callable[[], _T]) -> _T:
        """Return what `ask` returns, asking again where that may help.

        Raises:
            openai.OpenAIError, httpx2.HTTPError: Asking again did not help, or would not.
        """
        give_up_at = self._clock.now() + PATIENCE
        failures = limits = 0
        while True:
            self._wait_for_all()
            try:
                return ask()
            except (openai.APIStatusError, openai.APIConnectionError, httpx2.HTTPError) as error:
                asked_for = _retry_after(error)
                if asked_for is not None or _limits_the_rate(error):
                    limits += 1
                    pause = _pause(limits) if asked_for is None else asked_for
                    if self._clock.now() + pause > give_up_at:
                        raise
                    self._hold_all(pause)
                    continue
                failures += 1
                if failures == ATTEMPTS or not _is_worth_asking_again(error):
                    raise
                self._clock.sleep(_pause(failures))

    def _wait_for_all(self) -> None:
        while (left := self._opens_at - self._clock.now()) > 0:
            # A little apart, or everybody would ask at the same moment again.
            self._clock.sleep(left + random.uniform(0.0, 0.25))  # noqa: S311 - not for secrets

    def _hold_all(self, seconds: float) -> None:
        with self._lock:
            now = self._clock.now()
            opens_at = now + seconds
            is_news = self._opens_at <= now or opens_at > self._opens_at + WORTH_TELLING
            self._opens_at = max(opens_at, self._opens_at)
        if is_news:
            self._observe(Delayed("OpenAI limits the rate", seconds))


def _limits_the_rate(error: Exception) -> bool:
    """Whether the service wants to be asked less often; an exhausted quota is no such thing."""
    return isinstance(error, openai.RateLimitError) and error.code != "insufficient_quota"


def _is_worth_asking_again(error: Exception) -> bool:
    if not isinstance(error, openai.APIStatusError):
        return True
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
    if not isinstance(error, openai.APIStatusError) or not _is_worth_asking_again(error):
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
