"""The public API of the wandb SDK for many threads: each has an object of its own, and all of them one login."""

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
    """Hands out `wandb.Api` objects; objects of the SDK are not shared between threads.

    Args:
        entity: Whose runs are asked for; None for the default of the key's account.
    """

    def __init__(self, entity: str | None) -> None:
        self._entity = entity
        self._login = threading.Lock()
        self._first: wandb.Api | None = None
        self._of_thread = threading.local()
        self._idle: list[wandb.Api] = []

    @property
    def entity(self) -> str | None:
        """Whose runs are asked for; None if the server does not tell."""
        self.get()
        return self._entity

    def get(self) -> wandb.Api:
        """Return the API of this thread, logging in if nobody has."""
        api: wandb.Api | None = getattr(self._of_thread, "api", None)
        if api is None:
            try:
                api = self._idle.pop()
            except IndexError:
                api = self.new()
            self._of_thread.api = api
        return api

    def new(self, patience: float = PATIENCE) -> wandb.Api:
        """Return one for somebody else's use, which waits for so many seconds for an answer."""
        with self._login, translated("logging in"):
            if self._first is None:
                log_in()
                given = wandb.Api(overrides={"entity": self._entity})
                self._entity = self._entity or given.default_entity
                given.settings["entity"] = self._entity  # without it, each would ask for it
                self._first = limited(given, LIMITS)
            return another(self._first, patience)

    @contextmanager
    def lent(self) -> Iterator[wandb.Api]:
        """Lend this thread an API, which goes to another thread afterwards: threads are many."""
        try:
            yield self.get()
        finally:
            if (api := getattr(self._of_thread, "api", None)) is not None:
                del self._of_thread.api
                self._idle.append(api)
