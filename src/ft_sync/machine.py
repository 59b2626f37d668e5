"""Checks this machine for a sync: Python, packages, folders and disk space; asks no service."""

from __future__ import annotations

import platform
import shutil
import tempfile
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from ft_sync import scratch
from ft_sync._version import __version__
from ft_sync.diagnosis import Concern
from ft_sync.errors import ConfigError, DiskError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ft_sync.diagnosis import Finding

DISTRIBUTION = "ft-sync"

NAMED = ("openai", "wandb")
"""Packages whose versions are reported even if they are fine."""

ENOUGH = 1 << 30
"""Bytes of disk space that should be free."""

INSTALL = "install ftsync again, in an environment of its own: pip install -c constraints.txt ."


def python(version: str | None = None) -> Finding:
    """Check the version of Python: the running one, unless `version` is given.

    Raises:
        ConfigError: ftsync does not support this version.
    """
    version = version or platform.python_version()
    wanted = _wanted_python()
    if not SpecifierSet(wanted).contains(version, prereleases=True):
        raise ConfigError(f"Python {version}, and ftsync needs {wanted}", hint=INSTALL)
    return f"Python {version}"


def packages(requirements: Iterable[str] | None = None) -> Finding:
    """Check the versions of the installed packages against `requirements`, by default those of ftsync.

    Raises:
        ConfigError: A package is missing or its version is not supported.
    """
    if requirements is None:
        try:
            requirements = metadata.requires(DISTRIBUTION) or ()
        except metadata.PackageNotFoundError:
            return Concern("ftsync is not installed, so it is unknown which versions it needs", hint=INSTALL)
    unfit = [
        f"{needed.name} {version or 'is missing'}, needed is {needed.name}{needed.specifier}"
        for needed in map(Requirement, requirements)
        if needed.marker is None or needed.marker.evaluate({"extra": ""})
        for version in [_version(needed.name)]
        if version is None or not needed.specifier.contains(version, prereleases=True)
    ]
    if unfit:
        raise ConfigError("; ".join(unfit), hint=INSTALL)
    return ", ".join([f"ftsync {__version__}", *(f"{name} {_version(name)}" for name in NAMED)])


def home() -> Finding:
    """Check that the home folder is writable; a sync does not need it, but a W&B login is stored there."""
    instead = scratch.home()
    if instead is not None:
        return Concern(
            f"no home folder can be written to; {instead} stands in for it",
            hint="have HOME name a folder of yours, or give the W&B key by WANDB_API_KEY",
        )
    return "the home folder can be written to"


def temporary_folder() -> Finding:
    """Check that private temporary files can be written.

    Raises:
        ConfigError, DiskError: They cannot be written.
    """
    try:
        folder = Path(tempfile.gettempdir())
    except OSError as error:
        raise DiskError(f"there is no folder for temporary files: {error}", hint=scratch.ELSEWHERE) from error
    scratch.locks()
    return roomy(folder, scratch.ELSEWHERE)


def wandb_folder(root: Path) -> Finding:
    """Check that run folders can be written below this folder.

    Raises:
        DiskError: They cannot be written.
    """
    return roomy(root, "go to a folder of yours, or name one by WANDB_DIR")


def free_bytes(folder: Path) -> int:
    """Return the disk space in a folder that is available to this user, in bytes."""
    return shutil.disk_usage(folder).free


def roomy(folder: Path, hint: str, free: Callable[[Path], int] = free_bytes) -> Finding:
    """Check that a folder is writable and has enough disk space.

    Raises:
        DiskError: The folder is not writable.
    """
    there = next(one for one in (folder, *folder.parents) if one.exists())  # the SDK creates missing folders
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
        left = free(there)
    except OSError as error:
        raise DiskError(f"{folder} cannot be written to: {error.strerror}", hint=hint) from error
    said = f"{left / (1 << 30):.1f} GiB" if left >= ENOUGH else f"{left / (1 << 20):.0f} MiB"
    if left < ENOUGH:
        return Concern(f"{folder} has only {said} free", hint=f"make room, or {hint}")
    return f"{folder} can be written to, {said} are free"


def _wanted_python() -> str:
    """Return the supported versions of Python: any, if ftsync is not installed as a package and has no metadata."""
    try:
        return str(metadata.metadata(DISTRIBUTION)["Requires-Python"])
    except metadata.PackageNotFoundError:
        return ""


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
