"""The wandb SDK's public API for many threads: each thread has its own `wandb.Api` object, and all share one login."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import wandb

from ft_sync.sinks.run import LIMITS, PATIENCE
from ft_sync.sinks.sdk import another, limited
from ft_sync.sinks.wandb import log_in, translated

if TYPE_CHECKING:
    from collections.abc import Iterator


class Apis:
    """Hands out `wandb.Api` objects, which must not be used by several threads at once.

    Args:
        entity: The entity whose runs are queried; None for the default entity of the API key's account.
    """

    def __init__(self, entity: str | None) -> None:
        self._entity = entity
        self._login = threading.Lock()
        self._first: wandb.Api | None = None
        self._of_thread = threading.local()
        self._idle: list[wandb.Api] = []

    @property
    def entity(self) -> str | None:
        """The entity whose runs are queried; None if the server names no default. Logs in if necessary."""
        self.get()
        return self._entity

    def get(self) -> wandb.Api:
        """Return this thread's API object, logging in if no thread has yet."""
        api: wandb.Api | None = getattr(self._of_thread, "api", None)
        if api is None:
            try:
                api = self._idle.pop()
            except IndexError:
                api = self.new()
            self._of_thread.api = api
        return api

    def new(self, patience: float = PATIENCE) -> wandb.Api:
        """Return a new API object, owned by the caller, that waits `patience` seconds for an answer."""
        with self._login, translated("logging in"):
            if self._first is None:
                log_in()
                given = wandb.Api(overrides={"entity": self._entity})
                self._entity = self._entity or given.default_entity
                given.settings["entity"] = self._entity  # otherwise each copy would request it
                self._first = limited(given, LIMITS)
            return another(self._first, patience)

    @contextmanager
    def lent(self) -> Iterator[wandb.Api]:
        """Lend this thread an API object and let another thread reuse it afterwards, as there are many threads."""
        try:
            yield self.get()
        finally:
            if (api := getattr(self._of_thread, "api", None)) is not None:
                del self._of_thread.api
                self._idle.append(api)
