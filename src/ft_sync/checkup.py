"""Assembles the checks of `ftsync doctor`: the settings, this machine, and the two services that the settings name."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ft_sync import machine, settings, wiring
from ft_sync.diagnosis import AccountProbes, Probe, ServiceProbes, Target, diagnose
from ft_sync.providers import address, guessed_provider, plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ft_sync.diagnosis import Account, Check, Finding
    from ft_sync.ports import JobSource
    from ft_sync.providers import Provider

SPARE = 8.0
"""Seconds that a check may take in addition to its two requests."""

KEYS = {
    "openai": ("OPENAI_API_KEY",),
    "azure": ("AZURE_OPENAI_AD_TOKEN", "AZURE_OPENAI_API_KEY"),
}
"""Environment variables for a key; the first that is set wins."""


def checks(arguments: Mapping[str, Any], seconds: float) -> Iterator[Check]:
    """Yield the result of each check.

    Args:
        arguments: Settings given by flags.
        seconds: Timeout of a request, which is retried once before it is given up.
    """
    with ExitStack() as stack:
        parts = _Parts(arguments, seconds, stack)
        local = (
            Probe("python", machine.python),
            Probe("packages", machine.packages),
            Probe("configuration", parts.configuration),
            Probe("provider", parts.provider, ("configuration",)),
            Probe("home", machine.home),
            Probe("temp-folder", machine.temporary_folder),
            Probe("wandb-folder", parts.wandb_folder, ("configuration",)),
        )
        yield from diagnose(local, parts.services, seconds=2 * seconds + SPARE)


class _Parts:
    """The parts that depend on the settings; created lazily, since the settings may be wrong."""

    def __init__(self, arguments: Mapping[str, Any], seconds: float, stack: ExitStack) -> None:
        self._arguments = arguments
        self._seconds = seconds
        self._stack = stack
        self._provider: Provider = "openai"
        self._mode = arguments.get("mode")

    def configuration(self) -> Finding:
        self._settings = settings.load(self._arguments)
        self._mode = self._settings.mode
        read = [str(file) for file in settings.config_files() if file.read()]
        return f"read from {', '.join(read)}" if read else "no file: what is not set is the default"

    def provider(self) -> Finding:
        """Return the provider and its address, without any password in the URL."""
        guess, reason = guessed_provider(os.environ)
        if self._settings.provider is not None:
            given = self._arguments.get("provider") is not None
            guess, reason = self._settings.provider, "--provider" if given else settings.origins()["provider"]
        self._provider = guess
        at = plain(address(guess, os.environ))
        return f"{guess} ({reason})" + (f" at {at}" if at else "")

    def wandb_folder(self) -> Finding:
        return machine.wandb_folder(self._settings.dir or Path.cwd())

    def source(self) -> tuple[JobSource, str]:
        opened = self._stack.enter_context(wiring.hurried_source(self._provider, self._seconds))
        variable = next((name for name in KEYS[self._provider] if os.environ.get(name)), None)
        return opened, f"there is a key: {variable}" if variable else "no key: a token is asked for"

    def services(self) -> tuple[tuple[Probe, ...], ...]:
        """Return the probes of both services, or of the source alone if runs are kept offline."""
        jobs = ServiceProbes(self.source).all()
        if self._mode == "offline":
            return (jobs,)
        return jobs, AccountProbes(self.account).all()

    def account(self) -> tuple[Account, Target]:
        account = self._stack.enter_context(wiring.account(self._seconds))
        origins = settings.origins(self._arguments)
        entity, project = self._settings.entity, self._settings.project
        server, ignored = settings.server()[1], settings.ignored()
        return account, Target(entity, project, origins["entity"], origins["project"], server, ignored)
