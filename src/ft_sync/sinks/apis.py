"""The wandb SDK's public API for many threads: each thread has its own `wandb.Api` object, and all share one login."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import wandb

from ft_sync.errors import AuthError, ConfigError
from ft_sync.sinks.run import LIMITS, PATIENCE
from ft_sync.sinks.sdk import another, find_project, limited
from ft_sync.sinks.session import require_session
from ft_sync.sinks.wandb import log_in, translated

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wandb.apis.public import User


@dataclass(frozen=True, slots=True)
class Place:
    """The project that runs are read from and written to, as W&B spells it.

    Attributes:
        is_new: The project does not exist yet.
        owner: Whose the key is.
        is_writable: The key may write there, as far as W&B says before a write.
    """

    entity: str
    project: str
    is_new: bool
    owner: str
    is_writable: bool

    @property
    def path(self) -> str:
        """Entity and project, as in the URLs of W&B."""
        return f"{self.entity}/{self.project}"

    def require_writable(self) -> None:
        """Raise an `AuthError` if the key may not write there."""
        if not self.is_writable:
            raise AuthError(
                f"{self.owner} is no member of {self.entity}, so the runs cannot be written there",
                hint="check --entity and WANDB_ENTITY, or ask a member of the team to add you",
            )


class Apis:
    """Hands out `wandb.Api` objects, which must not be used by several threads at once.

    Args:
        entity: The entity of the runs; None for the default entity of the API key's account.
        project: The project of the runs.
    """

    def __init__(self, entity: str | None, project: str) -> None:
        self._entity = entity
        self._project = project
        self._login = threading.Lock()
        self._first: tuple[wandb.Api, Place] | None = None
        self._of_thread = threading.local()
        self._idle: list[wandb.Api] = []

    @property
    def place(self) -> Place:
        """The project of the runs, resolved once; logs in if necessary.

        Raises:
            ConfigError: The entity does not exist, or none is named and the account has none of its own.
        """
        return self._logged_in()[1]

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
        return another(self._logged_in()[0], patience)

    def _logged_in(self) -> tuple[wandb.Api, Place]:
        require_session()
        with self._login:
            if self._first is None:
                with translated("logging in"):
                    log_in()
                    given = wandb.Api()
                    viewer = given.viewer
                place = self._resolve(given, viewer)
                given.settings |= {"entity": place.entity, "project": place.project}
                self._first = limited(given, LIMITS), place
            return self._first

    def _resolve(self, api: wandb.Api, viewer: User) -> Place:
        """Return the place, as W&B spells it: settings may differ from it in case."""
        wanted = self._entity or viewer.entity
        if not wanted:
            raise ConfigError("the account has no entity of its own", hint="name one: --entity or WANDB_ENTITY")
        own = {name.casefold(): name for name in (viewer.username, *viewer.teams, viewer.entity) if name}
        entity = own.get(wanted.casefold(), wanted)
        is_writable = entity in own.values() or bool(viewer.admin)
        with translated(f"the project {entity}/{self._project}"):
            found = find_project(api, entity, self._project)
        if found is None and not is_writable:
            raise ConfigError(
                f"{viewer.username} belongs to no entity {wanted}", hint=f"--entity {' or '.join(own.values())}"
            )
        entity, project = found or (entity, self._project)
        owner = viewer.username or "the key"
        return Place(entity, project, is_new=found is None, owner=owner, is_writable=is_writable)

    @contextmanager
    def lent(self) -> Iterator[wandb.Api]:
        """Lend this thread an API object and let another thread reuse it afterwards, as there are many threads."""
        try:
            yield self.get()
        finally:
            if (api := getattr(self._of_thread, "api", None)) is not None:
                del self._of_thread.api
                self._idle.append(api)
