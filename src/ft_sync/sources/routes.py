"""Remembers which routes a service has, judging by its answers; sends no requests itself."""

from __future__ import annotations

import re
from http import HTTPStatus
from urllib.parse import quote

import openai

NO_ROUTE = re.compile(r"Invalid URL|LiteLLMFineTuningJob")
"""Matches messages about routes that a service does not have, but never those about a job or a file.

LiteLLM takes the end of such a route for a part of the job's id, and then fails to parse its backend's answer.
"""

OF_KNOWN = frozenset({"events", "checkpoints"})
"""Routes for which a plain 404 means that the route is missing, because the job in the request is known to exist."""


class Routes:
    """The known and the missing routes of one service; thread-safe.

    An answer that may be about one job or file says nothing about the route, since those come and go.
    """

    def __init__(self) -> None:
        self._there: set[str] = set()
        self._missing: set[str] = set()

    def is_missing(self, route: str) -> bool:
        """Whether an earlier answer showed that the route does not exist."""
        return route in self._missing

    def is_there(self, route: str) -> None:
        """Record that the route has answered."""
        self._there.add(route)

    def is_found_missing(self, route: str, error: openai.OpenAIError) -> bool:
        """Whether this answer shows that the route does not exist; recorded if so."""
        if route in self._there or not isinstance(error, openai.APIStatusError):
            return False
        if route == "jobs":
            return isinstance(error, openai.NotFoundError)  # a list of jobs may be empty, but its route exists
        if speaks_of_the_route(error) or (route in OF_KNOWN and _is_mere_not_found(error)):
            self._missing.add(route)
        return route in self._missing


def route(name: str, identifier: str) -> str:
    """Return the key for a route; an id that needs escaping has its own key, as it may itself cause such an answer."""
    return name if quote(identifier, safe="") == identifier else f"{name} {identifier}"


def speaks_of_the_route(error: openai.APIStatusError) -> bool:
    """Whether an answer is about the route rather than about the requested job or file."""
    if error.status_code in {HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED}:
        return True
    return NO_ROUTE.search(message_of(error) or "") is not None


def message_of(error: openai.APIStatusError) -> str | None:
    """Return the message in an error response; None if there is none."""
    body: object = error.body
    message = (body.get("message") or body.get("detail")) if isinstance(body, dict) else None
    return message if isinstance(message, str) else None


def _is_mere_not_found(error: openai.APIStatusError) -> bool:
    """Whether this is the default 404 of a web framework or server, without a message of the service."""
    is_plain = not isinstance(error.body, dict) or error.body == {"detail": "Not Found"}
    return error.status_code == HTTPStatus.NOT_FOUND and is_plain
