"""An archive folder: jobs, their events, checkpoints and files, and a manifest; knows no service.

Every file is first written to a partial folder, recorded in the manifest and then renamed into place: a command that is
killed may leave the archive incomplete, but never with a broken file. Only the user can read the archive.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import IO, TYPE_CHECKING, Literal, TypeAlias

from filelock import FileLock, Timeout

from ft_sync.errors import REFUSALS, BadData, ConfigError, FtSyncError, NotOffered, Unavailable
from ft_sync.file_names import file_name
from ft_sync.scratch import private
from ft_sync.spool import Many

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ft_sync.models import Download

Kind: TypeAlias = Literal["job", "events", "checkpoints", "file", "content"]
"""What an entry holds: of a job the first three, of a file its description (`file`) and its bytes (`content`)."""

FOLDERS: dict[Kind, str] = {
    "job": "jobs",
    "events": "jobs",
    "checkpoints": "jobs",
    "file": "files",
    "content": "files",
}
NAMES: dict[Kind, str] = {
    "job": "job.json",
    "events": "events.jsonl",
    "checkpoints": "checkpoints.jsonl",
    "file": "file.json",
}
REFUSED: dict[str, type[FtSyncError]] = {error.__name__: error for error in (*REFUSALS, NotOffered)}
MANIFEST = "manifest.jsonl"
RESTORE = "restore the manifest from a backup"
SUMS = "SHA256SUMS"
README = "README.md"
LOCK = ".lock"
PARTIAL = ".partial"
"""The folder for files that are still being written."""

EXPLANATION = """\
# Fine-tuning jobs, archived by ftsync

A complete copy of fine-tuning jobs and of all that belongs to them, as the service served it. Nothing but this folder
is needed to read it.

| path | content |
|---|---|
| `jobs/JOB/job.json` | the job object |
| `jobs/JOB/events.jsonl` | its events, one JSON object a line, oldest first |
| `jobs/JOB/checkpoints.jsonl` | its checkpoints, one JSON object a line |
| `files/FILE/file.json` | the file object of a training, validation or result file |
| `files/FILE/NAME` | the file, byte for byte, under its own name |
| `manifest.jsonl` | one line for each of these: path, SHA-256, bytes, kind, id; or why something could not be had |
| `SHA256SUMS` | the same sums, for `sha256sum -c SHA256SUMS` |

A job names its files by id: `training_file`, `validation_file`, `result_files`. Result files are tables of metrics
(CSV), which some services serve base64-encoded. Of several lines of the manifest on one thing, the last one counts.

`ftsync archive DIR` brings the archive up to date, `ftsync archive DIR --check` reads all of it again and compares the
sums, and `ftsync sync --from-archive DIR` makes runs of it.
"""


@dataclass(frozen=True, slots=True)
class Stored:
    """A manifest entry for a file in the archive: its relative path, SHA-256 in hex and size in bytes."""

    kind: Kind
    id: str
    path: str
    sha256: str
    bytes: int
    time: str


@dataclass(frozen=True, slots=True)
class Missing:
    """A manifest entry for something that the service refused: the name of the error class and the message."""

    kind: Kind
    id: str
    error: str
    message: str
    time: str

    def raised(self) -> FtSyncError:
        """Return the error that the source adapter raised when this was to be archived."""
        return REFUSED[self.error](self.message)


Entry: TypeAlias = Stored | Missing
Problem: TypeAlias = tuple[str, str]
"""A path in the archive, and what is wrong with it."""


class Archive:
    """Read access to the archive in a folder; thread-safe.

    Raises:
        ConfigError: The folder is not an archive or cannot be read.
        BadData: The manifest cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = Lock()
        self._entries: dict[tuple[Kind, str], Entry] = {}
        self._folders: dict[tuple[str, str], str] = {}
        self._owners: dict[str, str] = {}
        try:
            manifest = (folder / MANIFEST).read_bytes()
        except FileNotFoundError:
            raise ConfigError(f"{folder} is no archive", hint=f"`ftsync archive {folder}` makes one") from None
        except OSError as error:
            raise ConfigError(
                f"{folder} cannot be read: {error.strerror}", hint="name the folder of an archive"
            ) from error
        # Ignore an incomplete last line, left by a killed command: that item is fetched again.
        whole, _, _ = manifest.rpartition(b"\n")
        for number, line in enumerate(whole.splitlines(), 1):
            self._know(_entry(line, f"{folder / MANIFEST}, line {number}"))

    def entries(self, kind: Kind) -> dict[str, Entry]:
        """Return all entries of this kind, by id."""
        with self._lock:
            return {name: entry for (of, name), entry in self._entries.items() if of == kind}

    def entry(self, kind: Kind, name: str) -> Entry | None:
        """Return the entry of one item; None if there is none."""
        return self._entries.get((kind, name))

    def read(self, kind: Kind, name: str) -> bytes:
        """Return an item's content, checked against its SHA-256.

        Raises:
            NotFound, Forbidden, Refused: The service refused the item when it was to be archived.
            Unavailable: The item has not been archived.
            BadData: The file is missing or damaged.
        """
        stored = self.stored(kind, name)
        content = self._opened(stored).read_bytes()
        if hashlib.sha256(content).hexdigest() != stored.sha256:
            raise self._damaged(stored)
        return content

    def lines(self, kind: Kind, name: str) -> Many[bytes]:
        """Return an item's lines, read from disk at each iteration; raises the errors of `read`."""
        stored = self.stored(kind, name)
        path = self._opened(stored)
        if not _is_whole(path, stored):
            raise self._damaged(stored)

        def lines() -> Iterator[bytes]:
            with path.open("rb") as content:
                yield from content

        return Many(sum(1 for _ in lines()), lines)

    def copy(self, name: str, to: Path) -> Stored:
        """Copy a file's content to `to`; raises the errors of `read`."""
        stored = self.stored("content", name)
        digest = hashlib.sha256()
        with self._opened(stored).open("rb") as source, _private(to) as out:
            while chunk := source.read(2**20):
                out.write(chunk)
                digest.update(chunk)
        if digest.hexdigest() != stored.sha256:
            raise self._damaged(stored)
        return stored

    def stored(self, kind: Kind, name: str) -> Stored:
        """Return an item's entry; raises the errors of `read` if it is not stored."""
        match self.entry(kind, name):
            case Stored() as stored:
                return stored
            case Missing() as missing:
                raise missing.raised()
            case _:
                raise Unavailable(
                    f"the {kind} of {name} is not in the archive {self.folder}",
                    hint=f"`ftsync archive {self.folder}` completes it",
                )

    def check(self) -> Iterator[Problem]:
        """Read the whole archive again and yield each file that is missing, damaged or not in the manifest."""
        known = {self.folder / name for name in (MANIFEST, SUMS, README, LOCK)}
        for stored in self._stored():
            path = self.path(stored)
            known.add(self.folder / stored.path)
            try:
                with path.open("rb") as content:
                    digest = hashlib.file_digest(content, "sha256").hexdigest()
            except OSError as error:
                yield stored.path, f"cannot be read: {error.strerror}"
            else:
                if digest != stored.sha256:
                    yield stored.path, f"is damaged: {path.stat().st_size} bytes, {stored.bytes} were stored"
        for folder, names, files in os.walk(self.folder):
            if Path(folder) == self.folder and PARTIAL in names:
                names.remove(PARTIAL)
            for name in sorted(files):
                if (path := Path(folder, name)) not in known:
                    yield path.relative_to(self.folder).as_posix(), "is not in the manifest"

    def holds(self, kind: Kind, name: str, content: bytes) -> bool:
        """Whether the item is stored with exactly this content."""
        held = self.entry(kind, name)
        if not isinstance(held, Stored) or held.sha256 != hashlib.sha256(content).hexdigest():
            return False
        return self.path(held).is_file()

    def path(self, stored: Stored) -> Path:
        """Return a stored file's path: in the partial folder, if a command was killed before it renamed the file."""
        aside = self._aside(stored.kind, stored.id)
        return aside if _is_whole(aside, stored) else self.folder / stored.path

    def partial(self, name: str) -> Path:
        """Return where to download a file's content before `adopt`; a file there is a partial download to resume."""
        return self._aside("content", name)

    def _aside(self, kind: Kind, name: str) -> Path:
        return self.folder / PARTIAL / (_hashed(name) if kind == "content" else f"{_hashed(name)}.{kind}")

    def _stored(self) -> list[Stored]:
        with self._lock:
            return [entry for entry in self._entries.values() if isinstance(entry, Stored)]

    def _opened(self, stored: Stored) -> Path:
        path = self.path(stored)
        if not path.is_file():
            raise self._damaged(stored)
        return path

    def _damaged(self, stored: Stored) -> BadData:
        return BadData(
            f"{self.folder / stored.path} is missing or damaged",
            hint=f"`ftsync archive {self.folder} --check` names all that is",
        )

    def _know(self, entry: Entry) -> None:
        self._entries[entry.kind, entry.id] = entry
        if isinstance(entry, Stored):
            folder = str(PurePosixPath(entry.path).parent)
            self._folders[FOLDERS[entry.kind], entry.id] = folder
            self._owners[folder.casefold()] = entry.id


class ArchiveWriter(Archive):
    """Write access to the archive in a folder, by one process at a time; see `writing`."""

    def store(self, kind: Kind, name: str, chunks: Iterable[bytes]) -> bool:
        """Store an item from chunks; return False if the same content was stored already."""
        digest, aside = hashlib.sha256(), self._aside(kind, name)
        with _private(aside) as out:
            for chunk in chunks:
                out.write(chunk)
                digest.update(chunk)
            size = out.tell()
        held = self.entry(kind, name)
        if isinstance(held, Stored) and held.sha256 == digest.hexdigest():
            if (self.folder / held.path).is_file():
                aside.unlink()
                return False
            self._rename(aside, held)
            return True
        path = f"{self._folder_of(kind, name)}/{NAMES[kind]}"
        self._put(aside, Stored(kind, name, path, digest.hexdigest(), size, _now()))
        return True

    def adopt(self, name: str, download: Download, filename: str | None) -> None:
        """Move a file's downloaded content into the archive, under the file's own name."""
        own = file_name(PurePosixPath((filename or "").replace("\\", "/")).name) if filename else "content"
        if own.casefold() == NAMES["file"]:
            own = f"content-{own}"  # file.json is the name of the file's description
        path = f"{self._folder_of('content', name)}/{own}"
        self._put(download.path, Stored("content", name, path, download.sha256, download.size, _now()))

    def note(self, kind: Kind, name: str, error: FtSyncError) -> None:
        """Record that the service refused an item, unless it is stored already."""
        if isinstance(self.entry(kind, name), Stored):
            return
        self._append(Missing(kind, name, type(error).__name__, error.message, _now()))

    def sum_up(self) -> None:
        """Write the checksums in the format of `sha256sum`."""
        lines = sorted(f"{stored.sha256}  {stored.path}\n" for stored in self._stored())
        aside = self.folder / PARTIAL / f"{SUMS}.new"
        with _private(aside) as out:
            out.write("".join(lines).encode())
        aside.replace(self.folder / SUMS)

    def _put(self, aside: Path, stored: Stored) -> None:
        with aside.open("rb") as written:
            os.fsync(written.fileno())
        aside.chmod(0o600)
        # Manifest first: if the process is killed before the rename, `path` finds the file in the partial folder.
        self._append(stored)
        self._rename(aside, stored)

    def _rename(self, aside: Path, stored: Stored) -> None:
        path = self.folder / stored.path
        for folder in (path.parent.parent, path.parent):
            folder.mkdir(mode=0o700, exist_ok=True)
        aside.replace(path)

    def _append(self, entry: Entry) -> None:
        line = json.dumps(asdict(entry)).encode() + b"\n"
        with self._lock:
            with (self.folder / MANIFEST).open("ab", buffering=0) as out:
                end = out.tell()
                try:
                    while line:
                        line = line[out.write(line) :]
                except OSError:
                    out.truncate(end)  # a partial line would corrupt the next one
                    raise
            self._know(entry)

    def _folder_of(self, kind: Kind, name: str) -> str:
        """Return the folder of a job or file, unique even on case-insensitive file systems."""
        with self._lock:
            folder = self._folders.get((FOLDERS[kind], name))
            if folder is None:
                folder = f"{FOLDERS[kind]}/{file_name(name)}"
                while self._owners.get(folder.casefold(), name) != name:
                    folder += f"-{_hashed(name)}"
                self._folders[FOLDERS[kind], name] = folder
                self._owners[folder.casefold()] = name
        return folder

    def _tidy(self) -> None:
        """Compact the manifest to one line per item and clean up the partial folder after a killed command."""
        lines = [json.dumps(asdict(entry)) + "\n" for entry in self._entries.values()]
        aside = self.folder / PARTIAL / f"{MANIFEST}.new"
        with _private(aside) as out:
            out.write("".join(lines).encode())
            out.flush()
            os.fsync(out.fileno())
        aside.replace(self.folder / MANIFEST)
        for stored in self._stored():
            if (path := self.path(stored)) != self.folder / stored.path:
                self._rename(path, stored)
        for path in (self.folder / PARTIAL).iterdir():
            if path.suffix:  # partial downloads have no suffix and are kept, to be resumed
                path.unlink()


@contextmanager
def writing(folder: Path) -> Iterator[ArchiveWriter]:
    """Open an archive for writing, creating it in a new or empty folder.

    Raises:
        ConfigError: The folder holds something else, cannot be written to, or another process is writing it.
        BadData: The manifest cannot be read.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not (folder / MANIFEST).exists() and any(path.name not in {LOCK, PARTIAL} for path in folder.iterdir()):
            raise ConfigError(f"{folder} is not empty and no archive", hint="name a folder that is new or empty")
        (folder / PARTIAL).mkdir(mode=0o700, exist_ok=True)
        lock = FileLock(folder / LOCK, mode=0o600)
        lock.acquire(blocking=False)
    except Timeout:
        raise ConfigError(f"another process is writing {folder}", hint="wait for it, or name another folder") from None
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written to: {error.strerror}", hint="name another folder") from error
    try:
        with _on_disk(folder):
            _private(folder / MANIFEST, "ab").close()
            with _private(folder / README) as out:
                out.write(EXPLANATION.encode())
            archive = ArchiveWriter(folder)
            archive._tidy()  # noqa: SLF001 - of this module
        yield archive
        with _on_disk(folder):
            archive.sum_up()
    finally:
        lock.release()


@contextmanager
def _on_disk(folder: Path) -> Iterator[None]:
    """Translate `OSError` into `ConfigError`."""
    try:
        yield
    except OSError as error:
        raise unwritable(folder, error) from error


def unwritable(folder: Path, error: OSError) -> ConfigError:
    """Return the error for a disk that is full or not writable."""
    return ConfigError(
        f"{folder} cannot be written to: {error.strerror}", hint="make room for it, then run the same command again"
    )


def _entry(line: bytes, where: str) -> Entry:
    try:
        fields = json.loads(line)
        entry = Missing(**fields) if "error" in fields else Stored(**fields)
        is_known = entry.kind in FOLDERS and (entry.error in REFUSED if isinstance(entry, Missing) else _is_ours(entry))
    except (ValueError, TypeError) as error:
        raise BadData(f"{where} cannot be read", hint=RESTORE) from error
    if not is_known:
        raise BadData(f"{where} speaks of what no archive holds", hint=RESTORE)
    return entry


def _is_ours(stored: Stored) -> bool:
    """Whether the path is one that ftsync would choose: a foreign manifest must not lead out of the folder."""
    path = PurePosixPath(stored.path)
    return (
        len(path.parts) == 3  # noqa: PLR2004 - jobs or files, the folder of one, and a name
        and path.parts[0] == FOLDERS[stored.kind]
        and not {"..", "."} & {*path.parts}
        and "\\" not in stored.path
    )


def _is_whole(path: Path, stored: Stored) -> bool:
    """Whether the file exists with exactly the size and SHA-256 of the entry."""
    if not path.is_file() or path.stat().st_size != stored.bytes:
        return False
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest() == stored.sha256


def _private(path: Path, mode: str = "wb") -> IO[bytes]:
    """Open a file for writing that only this user can read."""
    return open(path, mode, opener=private)


def _hashed(name: str) -> str:
    return hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:16]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
