"""Shared by all adapters of the wandb SDK: run options, login, error translation, the mark of a complete run."""

from __future__ import annotations

import difflib
import inspect
import os
import re
import time
from collections.abc import Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import wandb
from wandb.errors import WandbCoreNotAvailableError
from wandb.sdk.lib import wbauth
from wandb.sdk.lib.service.service_connection import WandbApiFailedError
from wandb.sdk.lib.service.service_port_file import ServicePollForTokenError
from wandb.sdk.lib.service.service_token import WandbServiceConnectionError
from wandb.sdk.mailbox import HandleAbandonedError, MailboxClosedError
from wandb.sdk.mailbox.mailbox_handle import ServerResponseError

from ft_sync import redaction
from ft_sync.convert import MAX_TAG
from ft_sync.datasets import TABLE_ROWS
from ft_sync.errors import (
    AuthError,
    ConfigError,
    CoreEnded,
    FtSyncError,
    IdTaken,
    NotLoggedIn,
    RunExists,
    SinkRejected,
    Unavailable,
    on_disk,
)
from ft_sync.models import Mark
from ft_sync.names import NATIVE_TAG, REPLACED_TAG
from ft_sync.sinks.sdk import has_core_ended
from ft_sync.sinks.session import require_session

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ft_sync.models import JsonObject

CORE_IS_GONE = "service process is not running"
"""Part of the message by which the SDK reports a core that has ended, in errors of several classes."""

CORE_ENDED = (MailboxClosedError, HandleAbandonedError, ConnectionResetError, BrokenPipeError)
"""Exceptions of the SDK when its own process, wandb-core, has ended."""

SDK_ERRORS = (wandb.Error, WandbApiFailedError, ServerResponseError, ConnectionError, TimeoutError, *CORE_ENDED)
"""Exceptions that the SDK raises on purpose; the second and third are not subclasses of `wandb.Error`."""

NOT_STARTED = (ServicePollForTokenError, WandbCoreNotAvailableError, WandbServiceConnectionError)

CANCEL_SECONDS = 0.5
"""Time for the SDK's core to answer the request that it was told to cancel, before anything else happens.

When the process ends first, the core loses the word to end, and the process waits for it for ever (wandb 0.31.0).
"""

CONFLICT = 409
NOT_FOUND = 404
AGAIN = "run the same command again"

WORTH_ASKING_AGAIN = frozenset({408, CONFLICT, 429})
"""HTTP statuses of refusals that may be temporary."""

SAYS_NOTHING = re.compile(r"\s*<")
"""Matches a core error that starts with `<no message>` or a page of HTML: the server's reason could not be read."""

GAVE_UP = "giving up"
"""Part of the SDK core's message when it stops retrying."""

MARK = "ftsync"
"""The key of a run's summary that holds the mark of a complete run."""

JOB_ID = "fine_tune_job_id"
"""The key of a run's config that holds the job's id."""

JOB_TYPE = "fine-tune"
SET_BY_US = {
    "id": "the job's id is the run's id: choose jobs with --job",
    "project": "use --project",
    "entity": "use --entity",
    "resume": "ftsync decides that itself: --overwrite writes a run again",
    "resume_from": "ftsync decides that itself: --overwrite writes a run again",
    "fork_from": "a synced run starts from nothing",
    "reinit": "ftsync gives every job a run of its own",
}

TEXTS = frozenset({"dir", "group", "job_type", "mode", "name", "notes"})
"""Arguments of `wandb.init` that are always strings, even if they look like numbers."""

SETTINGS = re.compile(
    r"allow_val_change|console(_\w+)?|disable_(code|git|git_fork_point|job_creation)|email|finish_timeout(_raises)?"
    r"|git_\w+|https?_proxy|ignore_globs|init_timeout|max_end_\w+|notebook_name|organization|program(_\w+)?|quiet"
    r"|run_(group|job_type|name|notes|tags)|save_code|show_\w+|silent|strict|summary_(timeout|warnings)|symlink"
    r"|table_raise_\w+|username|x_disable_\w+|x_extra_http_headers"
    r"|x_file_stream_(retry_\w+|timeout_seconds|transmit_interval)|x_file_transfer_\w+|x_graphql_\w+|x_log_level"
    r"|x_save_requirements|x_service_wait|x_stats_\w+"
)
"""The settings of `wandb.Settings` that do not decide where a run goes, or whether it is complete."""

REFUSED_SETTINGS = {
    "insecure_disable_ssl": "certificates are always checked; name a CA of your own in SSL_CERT_FILE",
    "api_key": "a key is never an argument: export WANDB_API_KEY=…, or `wandb login`",
}
OTHERS_REFUSED = "it would change where runs go or what they contain: there are flags for project, entity, mode and dir"


Mode = Literal["online", "offline"]


@dataclass(frozen=True, slots=True)
class RunOptions:
    """Options for all runs of a sync.

    Attributes:
        table_rows: Maximum number of examples in a dataset's table.
        init: Further arguments of `wandb.init`, already checked by `check_init`.
        model_artifact_copies: Further names under which the model artifact is logged.
        ignored: See `Destination`.
    """

    project: str
    entity: str | None
    mode: Mode
    model_artifact_name: str = "model_metadata"
    model_artifact_type: str = "model"
    table_rows: int = TABLE_ROWS
    init: JsonObject = field(default_factory=dict)
    model_artifact_copies: tuple[str, ...] = ()
    ignored: str | None = None


def check_init(init: Mapping[str, Any]) -> None:
    """Refuse arguments that `wandb.init` does not know or that are not the user's to set.

    Raises:
        ConfigError: Naming the flag to use instead, or the nearest known arguments.
    """
    known = [name for name in inspect.signature(wandb.init).parameters if name not in SET_BY_US]
    for key, value in init.items():
        if key in SET_BY_US:
            raise ConfigError(f"--init {key}=… cannot be set", hint=SET_BY_US[key])
        if key not in known:
            near = difflib.get_close_matches(key, known, n=3, cutoff=0.5) or sorted(known)
            raise ConfigError(f"--init {key}=…: wandb.init has no such argument", hint=f"there is {', '.join(near)}")
        if key in {"config", "settings"} and not isinstance(value, dict | wandb.Settings):
            raise ConfigError(f"--init {key}=… needs a JSON object", hint=f"""for example --init '{key}={{"a": 1}}'""")
        if key in TEXTS and not isinstance(value, str | os.PathLike | None):
            raise ConfigError(f"--init {key}=… needs a text", hint=f"for example --init {key}=nightly")
    if JOB_ID in (init.get("config") or ()):
        raise ConfigError(
            f"--init config=…: {JOB_ID} is the key by which ftsync finds the runs of a job", hint="choose another key"
        )
    check_tags(listed(init.get("tags")), "--init tags=…")
    _check_settings(init.get("settings") or {})
    if init.get("mode") not in {None, "online", "offline"}:
        raise ConfigError(f"--init mode={init['mode']} would write nothing", hint="use online or offline")


def with_environment(init: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    """Add what the variables of W&B say about every run: its tags, its notes and its group. Arguments come first."""
    given = {
        "notes": environment.get("WANDB_NOTES"),
        "group": environment.get("WANDB_RUN_GROUP"),
    }
    tags = [tag.strip() for tag in environment.get("WANDB_TAGS", "").split(",") if tag.strip()]
    check_tags(tags, "WANDB_TAGS")
    named = {key: value for key, value in given.items() if value and not init.get(key)}
    return {**init, **named, "tags": [*tags, *listed(init.get("tags"))]}


def check_tags(tags: Iterable[object], origin: str) -> None:
    """Refuse tags that W&B does not accept or that ftsync itself would read as the mark of a run.

    Args:
        tags: Tags for new runs.
        origin: Where they come from, for the message.

    Raises:
        ConfigError: A tag is refused.
    """
    for tag in tags:
        if not isinstance(tag, str) or not 0 < len(tag) <= MAX_TAG:
            example = """for example --init 'tags=["nightly"]'"""
            raise ConfigError(f"{origin}: a tag is a text of 1 to {MAX_TAG} characters", hint=example)
        if tag.strip().startswith(NATIVE_TAG):
            raise ConfigError(
                f"{origin}: tags that start with {NATIVE_TAG} mark runs of OpenAI's own integration",
                hint=f"choose another tag than {tag}",
            )
        if tag.strip() == REPLACED_TAG:
            raise ConfigError(
                f"{origin}: the tag {REPLACED_TAG} marks runs that another run has replaced",
                hint="choose another tag; ftsync sets this one itself for --keep-replaced",
            )


def _check_settings(given: dict[str, Any] | wandb.Settings) -> None:
    try:
        settings = wandb.Settings(**given) if isinstance(given, dict) else given
    except (ValueError, TypeError) as error:
        hint = "the documentation of wandb.Settings lists what there is"
        raise ConfigError(f"--init settings=…: {_one_line(error)}", hint=hint) from error
    # Not the names as given: the SDK knows some settings by several.
    for key in sorted(settings.model_fields_set):
        if not SETTINGS.fullmatch(key):
            raise ConfigError(f"--init settings=… cannot set {key}", hint=REFUSED_SETTINGS.get(key, OTHERS_REFUSED))
    check_tags(listed(settings.run_tags), "--init settings=…")


def log_in() -> None:
    """Log in with the configured key, without prompting: a script must fail rather than hang at a question.

    Raises:
        AuthError: There is no key, or it is malformed.
    """
    require_session()
    settings = wandb.setup().settings
    try:
        # Unlike `wandb.login`, this writes no settings file, and works while the caller has an active run.
        credentials = wbauth.authenticate_session(host=settings.base_url, source="ftsync", prompt=False)
    except SDK_ERRORS as error:
        redaction.cleanse(error)
        raise AuthError(f"the W&B key cannot be used: {error}", hint="`wandb login --relogin`") from error
    redaction.learn(settings.api_key)  # the key may come from a file of the SDK
    if credentials is None:
        raise NotLoggedIn("not logged in to W&B", hint="`wandb login`, or export WANDB_API_KEY=…, or use --offline")


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Translate the SDK's errors; `what` names the thing being written or requested in the message."""
    try:
        yield
    except SDK_ERRORS as error:
        redaction.cleanse(error)
        if http_status(error) is None:
            time.sleep(CANCEL_SECONDS)
        raise translate(error, what) from error
    except ValueError as error:
        # Raised by `Artifact.wait` after a failed upload.
        redaction.cleanse(error)
        if GAVE_UP in str(error):
            raise translate(error, what) from error
        raise _refused(_said_status(error), error, what) from error


def translate(error: Exception, what: str) -> FtSyncError:
    """Translate an error of the SDK."""
    status = http_status(error)
    if "no space left on device" in str(error):
        return on_disk(error)
    if isinstance(error, NOT_STARTED + CORE_ENDED) or CORE_IS_GONE in str(error) or has_core_ended():
        return _without_core(error, what)
    if isinstance(error, wandb.errors.UsageError):
        if "already exists" in str(error):
            return RunExists(f"{what} is there already", hint=AGAIN)
        return SinkRejected(f"W&B refused {what}: {_one_line(error)}", hint="please report this")
    if "deleted" in str(error) and (status == CONFLICT or f"HTTP {CONFLICT}" in str(error)):
        return IdTaken(
            f"W&B keeps the id of {what}, which was deleted ({_one_line(error)})", hint="run the same command in a week"
        )
    if "is in use" in str(error):  # by a run that this process failed to open before
        return IdTaken(f"{what} could not be opened before ({_one_line(error)})", hint=AGAIN)
    status = status or _said_status(error)
    if status is not None and status not in WORTH_ASKING_AGAIN and status < 500:  # noqa: PLR2004 - HTTP
        return _refused(status, error, what)
    return Unavailable(
        f"W&B could not be reached or failed: {what} ({_one_line(error)})",
        hint="check WANDB_BASE_URL and the network, then run the same command again",
    )


def _without_core(error: Exception, what: str) -> FtSyncError:
    """Return the error for a wandb-core process that did not start or has ended."""
    if isinstance(error, NOT_STARTED):
        return Unavailable(
            f"wandb-core, the SDK's own process, did not start ({_one_line(error)})",
            hint="run the same command again; if it does not help, install wandb anew",
        )
    return CoreEnded(
        f"wandb-core, the SDK's own process, has ended: {what} could not be asked for or written",
        hint="run the same command again; the system's log may say why it ended, such as a lack of memory",
    )


def _refused(status: int | None, error: Exception, what: str) -> FtSyncError:
    """Return the error for a permanent refusal of W&B."""
    if status in {401, 403}:
        return AuthError(
            f"W&B refused the key, or it may not do this: {what} ({_one_line(error)})",
            hint="`wandb login --relogin`, or check WANDB_API_KEY (may it write?), WANDB_BASE_URL and --entity",
        )
    hint = f"check --entity and --project (`ftsync doctor` does), or {AGAIN}" if status == NOT_FOUND else AGAIN
    if "already exists with type" in str(error):
        hint = "give another --model-artifact-name, or the --model-artifact-type that it has"
    return SinkRejected(f"W&B refused {what}: {_one_line(error)}", hint=hint)


def _said_status(error: Exception) -> int | None:
    """Return the HTTP status in the message of a core error, which has no other field for it."""
    said = str(error)
    if SAYS_NOTHING.match(said) or re.search("permission denied", said, re.IGNORECASE):
        return 403
    match = re.search(r"\b(?:error|HTTP|status:?) ([45]\d\d)\b", said)
    return int(match[1]) if match else None


def http_status(error: BaseException | None) -> int | None:
    """Return the HTTP status behind an SDK error, following its causes."""
    while error is not None:
        if isinstance(error, WandbApiFailedError) and error.response is not None and error.response.http_status:
            return int(error.response.http_status)
        error = error.__cause__
    return None


def elsewhere(name: str, wanted: object, found: object) -> ConfigError:
    """Return the error for a run that W&B opened in another place than the planned one."""
    setting = {"project": "--project", "entity": "--entity", "host": "WANDB_BASE_URL"}.get(name, "the server")
    return ConfigError(
        f"W&B opened a run with the {name} {found!r} instead of {wanted!r}: nothing was written to it",
        hint=f"check {setting}; `ftsync config` shows where each setting comes from",
    )


def mark_from(value: object) -> Mark | None:
    """Parse a mark from a run's summary; None for anything else in its place."""
    if not isinstance(value, dict) and not hasattr(value, "items"):
        return None
    fields: dict[str, Any] = dict(value.items())
    if not isinstance(fields.get("digest"), str) or not isinstance(fields.get("rows"), int):
        return None
    return Mark(str(fields.get("version")), fields["digest"], fields["rows"], str(fields.get("time")))


def listed(tags: object) -> tuple[Any, ...]:
    """Return tags as a tuple; `wandb.init` also accepts a single string."""
    return () if tags is None else (tags,) if isinstance(tags, str) or not isinstance(tags, Iterable) else tuple(tags)


def _one_line(error: Exception) -> str:
    # Redacted first: of a key that is broken into lines or cut off here, nothing would be found any more.
    return " ".join(redaction.redact(str(error)).split())[:300]
