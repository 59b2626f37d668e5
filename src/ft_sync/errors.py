"""The error tree: each error has a message and a hint for the user; exit codes belong to the command line.

::

    FtSyncError
    ├── ConfigError      a flag, a setting or an argument is wrong
    ├── AuthError        a key is refused, or may not do this
    │   ├── NotLoggedIn  there is no key
    │   └── Forbidden    the key is good, but not for this one thing
    ├── NotFound         the service answered: there is no such thing
    │   └── NotOffered   the service does not serve this kind of thing at all
    ├── Unavailable      the service could not be asked; later may work
    │   └── Stopped      the work was ended before the service was asked
    ├── BadData          the service answered with something unreadable
    │   ├── TooLarge     the answer is larger than any such answer can be, and was not read to its end
    │   └── Refused      the service understood the request and will not fulfil it
    ├── SinkRejected     W&B does not hold what it was sent
    │   ├── IdTaken      W&B blocks this run id for some days, because a run with it was deleted
    │   ├── RunExists    the run that was to be created already exists
    │   └── BeingWritten another process on this machine writes the run right now
    ├── CoreEnded        wandb-core, the SDK's own process, has ended; W&B works again only after a restart of ftsync
    ├── DiskError        a file on this machine: no room for it, no permission, or a disk that fails
    └── Unexpected       a bug in ftsync that stopped one job; its cause is chained

"Not found" and "could not ask" are different answers, so nothing ever turns an `Unavailable` into a `NotFound`.
"""

from __future__ import annotations

import errno

from ft_sync.redaction import cleanse, redact


class FtSyncError(Exception):
    """Base of every error that ftsync raises on purpose.

    Args:
        message: One sentence: what failed, and where.
        hint: What to do next, preferably the next command to type.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        # Both may quote a service's answer, and that may contain a key.
        self.message = redact(message)
        self.hint = None if hint is None else redact(hint)
        super().__init__(self.message)


class ConfigError(FtSyncError):
    """A flag, setting or argument cannot be used as given."""


class AuthError(FtSyncError):
    """A key is refused, or does not allow this."""


class NotLoggedIn(AuthError):  # noqa: N818 - names a state of the user
    """There is no key to ask with."""


class Forbidden(AuthError):  # noqa: N818 - names what was answered
    """The key does not allow this one thing."""


class NotFound(FtSyncError):  # noqa: N818 - the field says "not found", not "not found error"
    """The service was asked and has no such job, file or run."""


class NotOffered(NotFound):
    """The service does not have this route at all, so it gives this kind of data for no job."""


class Unavailable(FtSyncError):  # noqa: N818 - names a state of the service
    """The service could not be asked, or asked us to come back later."""


class Stopped(Unavailable):
    """The work was ended while this task was waiting; running the command again continues it."""


class BadData(FtSyncError):  # noqa: N818 - names what was received
    """The service answered with something that cannot be read."""


class TooLarge(BadData):
    """The answer exceeds its bound; another attempt would get the same one."""


class Refused(BadData):
    """The service understood the request and will not fulfil it, now or later."""


class SinkRejected(FtSyncError):  # noqa: N818 - names what W&B did
    """W&B does not hold what it was sent."""


class RunExists(SinkRejected):
    """The run that was to be created already exists, or is not any more as it was listed.

    Attributes:
        run: The run's `RunState` as W&B returns it when asked for this run alone; None if that is unknown.
    """

    def __init__(self, message: str, *, hint: str | None = None, run: object = None) -> None:
        super().__init__(message, hint=hint)
        self.run = run


class BeingWritten(SinkRejected):
    """Another process on this machine is writing the run right now."""


class IdTaken(SinkRejected):
    """A run with this id was deleted, and W&B keeps the id for days."""


class CoreEnded(FtSyncError):  # noqa: N818 - names what happened
    """wandb-core, the process that does the work of W&B's SDK, has ended prematurely."""


class DiskError(FtSyncError):
    """A file on this machine could not be written or read: no space left, no permission, or a disk that fails."""


class Unexpected(FtSyncError):  # noqa: N818 - names what happened
    """A bug in ftsync hit while one job was processed; other jobs are not affected."""


def on_disk(cause: Exception) -> DiskError:
    """Return the error for a file that could not be written on this machine."""
    return DiskError(f"a file could not be written on this machine: {cause}", hint=ROOM)


def in_folder(folder: object, cause: OSError, use: str = "written to") -> DiskError:
    """Return the error for a file that could not be written, or read, in a folder that the user has named."""
    hint = ROOM_THERE if cause.errno in FULL else HINTS_THERE.get(cause.errno or 0, FAILS_THERE)
    return DiskError(f"{folder} cannot be {use}: {cause.strerror}", hint=hint)


def in_the_way(cause: OSError) -> DiskError:
    """Return the error for what is in the place of a file or folder that is to be written, and is not used."""
    hint = "move it elsewhere, then run the same command again"
    return DiskError(f"{cause.filename} cannot be written to: {cause.strerror}", hint=hint)


def unusable(folder: object, cause: OSError, *, hint: str, use: str = "written to") -> FtSyncError:
    """Return the error for a folder that the user has named: its disk is full or fails, or it is the wrong one."""
    if cause.errno in FAILING:
        return in_folder(folder, cause, use)
    return ConfigError(f"{folder} cannot be {use}: {cause.strerror}", hint=hint)


def unexpected(cause: Exception) -> FtSyncError:
    """Return the error for an exception that no adapter has translated: a disk problem, or else a bug in ftsync."""
    cleanse(cause)
    error: FtSyncError
    if isinstance(cause, OSError) and cause.errno in DISK:
        error = on_disk(cause)
    else:
        what = f"{type(cause).__name__}: {cause}"
        error = Unexpected(what, hint="please report this; --debug shows where")
    error.__cause__ = cause
    return error


ROOM = "make room, or name other folders by TMPDIR and WANDB_DIR, then run the same command again"

ROOM_THERE = "make room for it, then run the same command again"

FAILS_THERE = "check the disk and the folder, then run the same command again"

NOT_ALLOWED_THERE = "check who may write there (`ls -la`), then run the same command again"

HINTS_THERE = {
    errno.EROFS: "name a folder on a disk that can be written to",
    errno.EACCES: NOT_ALLOWED_THERE,
    errno.EPERM: NOT_ALLOWED_THERE,
}
"""errno -> what to do about a file in a folder that the user has named, for what room does not help."""

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""The errno values of a disk without room."""

FAILING = FULL | {errno.EROFS, errno.EIO, errno.ESTALE}
"""The errno values of a disk that is full, read-only or failing."""

DISK = FAILING | {errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR}
"""The errno values of an operating system that refuses to write a file."""

REFUSALS = (NotFound, Forbidden, Refused, TooLarge)
"""Permanent errors about one job or file: retrying does not help, but other jobs and files are not affected."""
