"""Caches the jobs and projects that commands have seen, for shell completion; reading and writing never raise."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from ft_sync.errors import FtSyncError
from ft_sync.providers import Provider, address, guessed_provider, plain

if TYPE_CHECKING:
    from ft_sync.events import Event, Observer
    from ft_sync.models import Job

MOST_JOBS = 500
"""Maximum number of jobs kept per service address."""

MOST_SERVICES = 20
"""Maximum number of service addresses with cached jobs."""

MOST_PLACES = 100

LONGEST_FILE = 1_000_000
"""Maximum number of bytes to read; ftsync writes no longer cache file."""

ACCOUNTS = {
    "openai": ("OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"),
    "azure": ("AZURE_OPENAI_API_KEY",),
}
"""Environment variables that distinguish accounts at the same address."""

_T = TypeVar("_T", bound=tuple[Any, ...])


class SeenJob(NamedTuple):
    """A job for shell completion; `account` is a digest of the account's variables."""

    account: str
    id: str
    status: str
    model: str
    created: float


class Place(NamedTuple):
    """A project, with its entity, to which runs were written."""

    project: str
    entity: str


def remember(jobs: "Iterable[Job]", where: Mapping[str, Any]) -> None:
    """Cache the jobs and the project of a command; `where` holds its arguments for provider, project and entity."""
    with suppress(FtSyncError):  # a config file may have changed since the command began
        place, provider = _asked(where)
        keep_place(place)
        if provider is not None:
            keep_jobs(jobs, provider)


def noting(observe: "Observer", where: Mapping[str, Any]) -> "Observer":
    """Return an observer that also caches the jobs of each plan."""
    from ft_sync.events import Planned  # noqa: PLC0415 - a TAB does without

    # Now, since during a sync the environment lacks most of W&B's variables.
    place, provider = _asked(where)

    def note(event: "Event") -> None:
        observe(event)
        if isinstance(event, Planned):
            keep_place(place)
            if provider is not None:
                keep_jobs([plan.job for plan in event.plans], provider)

    return note


def _asked(where: Mapping[str, Any]) -> tuple[Place, Provider | None]:
    """Return the project of a command and the provider that it asks; None for an archive."""
    from ft_sync.settings import load  # noqa: PLC0415 - pydantic: a TAB does without

    settings = load({name: where.get(name) for name in ("project", "entity", "provider")})
    provider = settings.provider or guessed_provider(os.environ)[0]
    return Place(settings.project, settings.entity or ""), None if where.get("from_archive") is not None else provider


def keep_jobs(jobs: "Iterable[Job]", provider: Provider) -> None:
    """Put jobs in front of the cached ones of the same service."""
    account = _account(provider, os.environ)
    news = [
        SeenJob(
            account,
            job.id,
            job.status,
            job.fine_tuned_model or job.base_model or "",
            job.created_at.timestamp() if job.created_at else 0.0,
        )
        for job in jobs
    ]
    if news:
        file = _jobs_file(provider, os.environ)
        known = {(job.account, job.id): job for job in (*_read(file, SeenJob), *news)}
        newest = sorted(known.values(), key=lambda job: job.created, reverse=True)
        _replace(file, newest[:MOST_JOBS])
        _forget_services()


def known_jobs(provider: str | None, environment: Mapping[str, str]) -> list[SeenJob]:
    """Return the cached jobs of the environment's account, newest first; without a key, those of all its accounts."""
    asked: Provider = guessed_provider(environment)[0]
    if provider:
        asked = "azure" if provider == "azure" else "openai"
    jobs = _read(_jobs_file(asked, environment), SeenJob)
    if any(environment.get(name) for name in ACCOUNTS[asked]):
        account = _account(asked, environment)
        jobs = [job for job in jobs if job.account == account]
    return sorted(jobs, key=lambda job: job.created, reverse=True)


def keep_place(place: Place) -> None:
    """Put a place in front of the cached ones."""
    places = known_places()
    if places[:1] != [place]:
        _replace(_places_file(), [*dict.fromkeys((place, *places))][:MOST_PLACES])


def known_places() -> list[Place]:
    """Return the cached places, the most recent first."""
    return _read(_places_file(), Place)


def folder() -> Path:
    """Return the folder of the cache."""
    if own := os.environ.get("FTSYNC_CACHE_DIR"):
        return Path(own)
    import platformdirs  # noqa: PLC0415 - `--help` does without

    return platformdirs.user_cache_path("ftsync", appauthor=False)


def _forget_services() -> None:
    """Remove the least recently used services: the server of a test, for example, may never be used again."""
    with suppress(OSError):
        files = sorted(folder().glob("jobs-*.jsonl"), key=lambda file: file.stat().st_mtime, reverse=True)
        for file in files[MOST_SERVICES:]:
            file.unlink()


def _jobs_file(provider: Provider, environment: Mapping[str, str]) -> Path:
    return folder() / f"jobs-{_digest(plain(address(provider, environment)))}.jsonl"


def _places_file() -> Path:
    return folder() / f"places-{_digest(plain(os.environ.get('WANDB_BASE_URL', '')))}.jsonl"


def _account(provider: Provider, environment: Mapping[str, str]) -> str:
    return _digest(plain(address(provider, environment)), *(environment.get(name, "") for name in ACCOUNTS[provider]))


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()[:16]


def _read(file: Path, kind: type[_T]) -> list[_T]:
    """Return the valid lines of a cache file; other programs may have written to it."""
    fields = kind.__annotations__
    found: list[_T] = []
    for line in _text(file).splitlines():
        with suppress(ValueError, RecursionError):
            entry = json.loads(line)
            if isinstance(entry, dict) and all(type(entry.get(name)) is of for name, of in fields.items()):
                found.append(kind(*(entry[name] for name in fields)))
    return found


def _text(file: Path) -> str:
    with suppress(OSError):
        if file.is_file():  # reading a named pipe would block
            with file.open(encoding="utf-8", errors="replace") as lines:
                return lines.read(LONGEST_FILE)
    return ""


def _replace(file: Path, entries: Iterable[_T]) -> None:
    """Replace a file atomically, so that a concurrent reader sees either the old or the new content."""
    with suppress(OSError):
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=".", dir=file.parent)  # mkstemp: readable by this user alone
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as out:
                out.writelines(json.dumps(entry._asdict()) + "\n" for entry in entries)  # type: ignore[attr-defined]
            Path(name).replace(file)
        except OSError:
            Path(name).unlink()
            raise
