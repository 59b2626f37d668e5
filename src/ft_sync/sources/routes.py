"""Which routes a service has, as far as its answers tell."""

from __future__ import annotations

import re
from http import HTTPStatus
from urllib.parse import quote

import openai

NO_ROUTE = re.compile(r"Invalid URL|LiteLLMFineTuningJob")
"""Is found in what services say of a route that they do not have, and never in what they say of a job or a file.

LiteLLM takes the end of such a route for a part of the job's id, and cannot read what it gets for that.
"""

OF_KNOWN = frozenset({"events", "checkpoints"})
"""Routes of which a mere "not found" tells that they are missing: the job that is asked about is known to exist."""


class Routes:
    """What one service has and has not; for many threads.

    An answer that may as well be about one job or file tells nothing: those come and go.
    """

    def __init__(self) -> None:
        self._there: set[str] = set()
        self._missing: set[str] = set()

    def is_missing(self, route: str) -> bool:
        """Whether an answer has told that there is no such route."""
        return route in self._missing

    def is_there(self, route: str) -> None:
        """Take note of a route that has answered."""
        self._there.add(route)

    def is_found_missing(self, route: str, error: openai.OpenAIError) -> bool:
        """Whether this answer tells that there is no such route."""
        if route in self._there or not isinstance(error, openai.APIStatusError):
            return False
        if route == "jobs":
            return isinstance(error, openai.NotFoundError)  # there may be no jobs, but always their list
        if speaks_of_the_route(error) or (route in OF_KNOWN and _is_mere_not_found(error)):
            self._missing.add(route)
        return route in self._missing


def route(name: str, identifier: str) -> str:
    """Return what a route is known by; an id that is no word in a path may be why an answer speaks of the route."""
    return name if quote(identifier, safe="") == identifier else f"{name} {identifier}"


def speaks_of_the_route(error: openai.APIStatusError) -> bool:
    """Whether an answer is about the route, and not about the job or the file that was asked for."""
    if error.status_code in {HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED}:
        return True
    return NO_ROUTE.search(message_of(error) or "") is not None


def message_of(error: openai.APIStatusError) -> str | None:
    """Return the sentence in an answer, if there is one."""
    body: object = error.body
    message = (body.get("message") or body.get("detail")) if isinstance(body, dict) else None
    return message if isinstance(message, str) else None


def _is_mere_not_found(error: openai.APIStatusError) -> bool:
    """Whether this is how web frameworks and servers answer of themselves, where the service has nothing to say."""
    is_plain = not isinstance(error.body, dict) or error.body == {"detail": "Not Found"}
    return error.status_code == HTTPStatus.NOT_FOUND and is_plain
