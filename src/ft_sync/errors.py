"""What can go wrong, as values: a sentence, the data behind it and a hint; exit codes belong to the command line.

::

    FtSyncError
    ├── ConfigError      a flag, a setting or an argument is wrong
    ├── AuthError        a key is refused, or may not do this
    │   ├── NotLoggedIn  there is no key
    │   └── Forbidden    the key is good, but not for this one thing
    ├── NotFound         the service answered: there is no such thing
    │   └── NotOffered   nor any like it: it does not serve this kind of thing
    ├── Unavailable      the service could not be asked; later may work
    │   └── Stopped      somebody ended the work before it could be asked
    ├── BadData          the service answered with something unreadable
    │   └── Refused      or said that it will not answer this request
    ├── SinkRejected     W&B was told, and does not hold what it was told
    │   ├── IdTaken      it will not take this run id for some time: a run that had it was deleted
    │   ├── RunExists    a run that was to be made is there by now
    │   └── BeingWritten another process on this machine writes the run right now
    ├── CoreEnded        the process that W&B's SDK works with is gone, and with it W&B until ftsync is started anew
    ├── DiskError        no room for a file on this machine, or no permission
    └── Unexpected       a bug of ours that cost one job; its cause is chained

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
        # Both may quote a service, which may have quoted a key.
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
    """The service has no such route: what it would give is not to be had of any job."""


class Unavailable(FtSyncError):  # noqa: N818 - names a state of the service
    """The service could not be asked, or asked us to come back later."""


class Stopped(Unavailable):
    """The work was ended while this waited its turn; running it again carries on."""


class BadData(FtSyncError):  # noqa: N818 - names what was received
    """The service answered with something that cannot be read."""


class Refused(BadData):
    """The service understood the request and will not fulfil it, now or later."""


class SinkRejected(FtSyncError):  # noqa: N818 - names what W&B did
    """W&B does not hold what it was sent."""


class RunExists(SinkRejected):
    """A run that was to be made is there by now: somebody else was quicker, or had the id before."""


class BeingWritten(SinkRejected):
    """Another process on this machine writes the run right now."""


class IdTaken(SinkRejected):
    """A run with this id was deleted, and W&B keeps the id for days."""


class CoreEnded(FtSyncError):  # noqa: N818 - names what happened
    """wandb-core, the process that W&B's SDK does everything with, has ended before its time."""


class DiskError(FtSyncError):
    """This machine has no room for a file, or does not allow it there."""


class Unexpected(FtSyncError):  # noqa: N818 - names what happened
    """A bug met while one job was being written: it costs that job, not the others."""


def on_disk(cause: Exception) -> DiskError:
    """Return the error for what could not be written on this machine."""
    return DiskError(f"a file could not be written on this machine: {cause}", hint=ROOM)


def unexpected(cause: Exception) -> FtSyncError:
    """Return the error for what no adapter has translated: a disk that is full or closed, or a bug of ours."""
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

DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR})
"""Why a system refuses to write a file."""

REFUSALS = (NotFound, Forbidden, Refused)
"""What a service will say again of one thing, while the others are to be had."""
