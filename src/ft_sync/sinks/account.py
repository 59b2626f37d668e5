"""Reads the W&B account of the key through the public API; writes nothing."""

from __future__ import annotations

import math
from contextvars import copy_context
from typing import TYPE_CHECKING

import wandb

from ft_sync.diagnosis import Owner
from ft_sync.errors import Unavailable
from ft_sync.sinks.sdk import find_project
from ft_sync.sinks.wandb import log_in, translated

if TYPE_CHECKING:
    from collections.abc import Mapping

KEYS = ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE")
"""Variables that hold a key or name its file; without them, the key is where `wandb login` stored it."""

ATTEMPTS = 2

PAUSE = 4
"""Extra seconds for the SDK's core, which waits about two seconds before a retry."""


class WandbAccount:
    """An `Account` on the SDK's configured server; shortens the SDK's timeouts for the rest of the process."""

    def __init__(self, environment: Mapping[str, str], seconds: float) -> None:
        self._environment = environment
        self._context = copy_context()  # the checks run in threads of their own
        self._seconds = max(1, math.ceil(seconds))  # the SDK's core accepts only whole seconds

    def login(self) -> str:
        """Return where the key comes from.

        Raises:
            AuthError: There is no key, or it is malformed.
        """
        self._context.copy().run(self._log_in)
        variable = next((name for name in KEYS if self._environment.get(name)), None)
        return variable or "as `wandb login` has stored it"

    def owner(self) -> Owner:
        """Return the owner of the key."""
        return self._context.copy().run(self._owner)

    def has_project(self, entity: str, project: str) -> bool:
        """Return whether the project exists."""
        return self._context.copy().run(self._has_project, entity, project)

    def _log_in(self) -> None:
        with translated("the settings of W&B"):
            wandb.setup(wandb.Settings(x_graphql_retry_max=ATTEMPTS - 1, x_graphql_timeout_seconds=self._seconds))
            log_in()

    def _owner(self) -> Owner:
        with translated("the account of the key"):
            self._api = wandb.Api(timeout=ATTEMPTS * self._seconds + PAUSE)
            viewer = self._api.viewer
        server = str(self._api.settings["base_url"])
        if viewer.username is None:
            raise Unavailable(f"{server} does not say whose the key is", hint="check WANDB_BASE_URL")
        return Owner(viewer.username, viewer.entity, tuple(viewer.teams), bool(viewer.admin), server)

    def _has_project(self, entity: str, project: str) -> bool:
        with translated(f"the project {entity}/{project}"):
            return find_project(self._api, entity, project) is not None
