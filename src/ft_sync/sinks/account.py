"""The W&B account of the key, looked at through the public API; writes nothing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import wandb

from ft_sync.diagnosis import Owner
from ft_sync.errors import Unavailable
from ft_sync.sinks.wandb import log_in, translated

if TYPE_CHECKING:
    from collections.abc import Mapping

KEYS = ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE")
"""Variables that hold or name a key; without one, it is where `wandb login` has put it."""

ATTEMPTS = 2

PAUSE = 4
"""Seconds that the SDK's core may take besides: it waits about two before it asks again."""


class WandbAccount:
    """An `Account` on the server that the SDK is configured for; has the process ask W&B in a hurry from then on."""

    def __init__(self, environment: Mapping[str, str], seconds: float) -> None:
        self._environment = environment
        self._seconds = max(1, math.ceil(seconds))  # the SDK's core counts whole ones

    def login(self) -> str:
        """Find the key.

        Raises:
            AuthError: There is none, or none that can be one.
        """
        with translated("the settings of W&B"):
            wandb.setup(wandb.Settings(x_graphql_retry_max=ATTEMPTS - 1, x_graphql_timeout_seconds=self._seconds))
            log_in()
        variable = next((name for name in KEYS if self._environment.get(name)), None)
        return variable or "as `wandb login` has stored it"

    def owner(self) -> Owner:
        """Ask who one is."""
        with translated("the account of the key"):
            self._api = wandb.Api(timeout=ATTEMPTS * self._seconds + PAUSE)
            viewer = self._api.viewer
        server = str(self._api.settings["base_url"])
        if viewer.username is None:
            raise Unavailable(f"{server} does not say whose the key is", hint="check WANDB_BASE_URL")
        return Owner(viewer.username, viewer.entity, tuple(viewer.teams), bool(viewer.admin), server)

    def has_project(self, entity: str, project: str) -> bool:
        """Ask for the project."""
        with translated(f"the project {entity}/{project}"):
            try:
                return bool(self._api.project(project, entity).id)
            except ValueError as error:
                if f"{project} not found" in str(error):
                    return False
                raise
