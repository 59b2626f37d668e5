"""OpenAI's fine-tuning API as a `JobSource`: pages lists, parses raw JSON into models and translates SDK errors.

Many services implement this API; those that differ leave something out.
"""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from functools import partial
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qsl, quote

import httpx2  # openai's own transport: its errors escape the SDK while a body is streamed
import openai

from ft_sync import redaction
from ft_sync.errors import (
    AuthError,
    BadData,
    ConfigError,
    Forbidden,
    FtSyncError,
    NotFound,
    NotLoggedIn,
    NotOffered,
    Refused,
    TooLarge,
    Unavailable,
)
from ft_sync.models import Download
from ft_sync.once import Once
from ft_sync.providers import plain
from ft_sync.scratch import private
from ft_sync.sources import bounds
from ft_sync.sources.guard import guarded
from ft_sync.sources.objects import checkpoint_from, event_from, file_from, job_from, listed_from, parse, text
from ft_sync.sources.routes import Routes, message_of, route
from ft_sync.sources.service import OPENAI, Service
from ft_sync.spool import turned

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path

    from ft_sync.models import Checkpoint, Failed, File, FileId, Job, JobEvent, JobId, JsonObject
    from ft_sync.sources.pace import Pace

PAGE_SIZE = 100
"""Maximum number of entries in a page of the API."""

TIMEOUT = 30.0
"""Seconds without a byte after which a request times out; the SDK's own default is ten minutes."""

BEYOND_THE_END = 416
"""HTTP status "range not satisfiable": the requested range lies beyond the end of the file."""

GO_BACK = 3
"""How many earlier entries to try as the cursor if the list cannot be continued after the last one."""

FILES_KNOWN = 1_000
"""Size of the cache of file descriptions: neighbouring jobs share training files, while result files are not shared."""

RECENT = 10_000
"""Number of latest entries of a list whose ids are remembered, to skip entries that are served twice."""

MOST_ENTRIES = 2_000_000
"""Maximum number of entries of a list: twice the events of the largest jobs; pages of ever new ids would never end."""

MOST_CHECKPOINTS = 100_000
"""Maximum number of checkpoints of a job, which are held in memory; OpenAI keeps three."""

FACTOR = 2
SLACK = 64 * bounds.MIB
"""A file may take its stated size so many times, and so many bytes more: base64 takes 4/3, and sizes may be rough."""

LARGEST_FILE = 16 * 2**30
"""Maximum size in bytes of a file whose size is not stated, or is stated as 0; OpenAI takes 8 GB at most."""

NO_OBJECT = "not an object"
"""The key under which a list entry that is not a JSON object is wrapped, so that it is kept."""

RUN_HINT = "check {address} and the network, then run the same command again"

TRANSLATIONS: tuple[tuple[type[openai.OpenAIError], type[FtSyncError], str, str], ...] = (
    (
        openai.AuthenticationError,
        AuthError,
        "{service} refused the API key when asked for {what}",
        "check {key} (and {address}: keys belong to one service)",
    ),
    (
        openai.PermissionDeniedError,
        Forbidden,
        "{service} does not allow this key to read {what}: {served}",
        "ask for read access to fine-tuning and files, or use another key",
    ),
    (
        openai.NotFoundError,
        NotFound,
        "{service} does not have {what}",
        "`ftsync list --all` shows every job this key can see",
    ),
    (openai.APITimeoutError, Unavailable, "{service} took too long to answer for {what}", RUN_HINT),
    (openai.APIConnectionError, Unavailable, "{service} could not be reached for {what}", RUN_HINT),
    (
        openai.RateLimitError,
        Unavailable,
        "{service} is rate-limiting, last for {what}",
        "run the same command again later",
    ),
    (openai.InternalServerError, Unavailable, "{service} failed for {what}: {served}", RUN_HINT),
    (openai.APIResponseValidationError, BadData, "{service}'s answer for {what} cannot be read", RUN_HINT),
    (openai.APIStatusError, Refused, "{service} refused {what}: {served}", RUN_HINT),
)
"""SDK error (specific before general) -> our error, its message and its hint."""


class OpenAISource:
    """Reads jobs, events, checkpoints and files through an `openai` client.

    The SDK's models drop or misread some fields (a job that did not fail gets a truthy error, graders change their
    type), so every answer is read as the JSON that was served.
    """

    def __init__(self, client: openai.OpenAI, pace: Pace, service: Service = OPENAI) -> None:
        self._client = guarded(client).with_options(max_retries=0)  # `Pace` retries, for all workers together
        self._pace = pace
        self._service = service
        self._files: Once[FileId, File] = Once(FILES_KNOWN)
        self._routes = Routes()

    @property
    def _hint(self) -> str:
        return self._service.hint

    def jobs(self, *, limit: int | None = None) -> Iterator[Job | Failed]:
        """Yield jobs newest first, fetching pages lazily; a job that cannot be read is a `Failed` in its place."""
        for position, raw in enumerate(self._pages("/fine_tuning/jobs", "the list of jobs", limit=limit), 1):
            yield listed_from(raw, position)

    def job(self, job_id: JobId) -> Job:
        """Return one job."""
        return job_from(self._get(_path_of(job_id), f"job {job_id}", route("job", job_id)))

    def events(self, job_id: JobId, *, after: str | None = None, limit: int | None = None) -> Collection[JobEvent]:
        """Return the events newer than `after`, oldest first, at most the `limit` newest."""
        path = f"{_path_of(job_id)}/events"
        served = self._pages(path, f"the events of {job_id}", route("events", job_id), limit=limit)
        newer = served if after is None else takewhile(lambda raw: not _is(raw, after), served)
        return turned(newer, event_from)

    def checkpoints(self, job_id: JobId) -> tuple[Checkpoint, ...]:
        """Return the job's checkpoints, in the order of the service."""
        path = f"{_path_of(job_id)}/checkpoints"
        name = route("checkpoints", job_id)
        served = self._pages(path, f"the checkpoints of {job_id}", name, most=MOST_CHECKPOINTS)
        return tuple(map(checkpoint_from, served))

    def file(self, file_id: FileId) -> File:
        """Return a file's description, cached: many jobs share a training file, and its description never changes."""
        path = f"/files/{quote(file_id, safe='')}"
        return self._files.get(
            file_id, lambda: file_from(file_id, self._get(path, f"file {file_id}", route("file", file_id)))
        )

    def content(self, file_id: FileId, *, limit: int) -> bytes | None:
        """Return a file's content; None if it is larger than `limit` bytes."""

        def read() -> bytes | None:
            content = bytearray()
            with self._opened(file_id) as response:
                for chunk in response.iter_bytes():
                    content += chunk
                    if len(content) > limit:
                        return None
                self._check_whole(file_id, response, len(content))
            return bytes(content)

        with self._asking(f"the content of file {file_id}", route("content", file_id), bounds.ANY_SIZE):
            return self._pace(read)

    def download(self, file_id: FileId, to: Path) -> Download:
        """Stream a file's content to `to`, resuming a partial download there."""
        with self._asking(f"the content of file {file_id}", route("content", file_id), bounds.ANY_SIZE) as asked:
            return self._pace(lambda: self._streamed(file_id, to, asked))

    def _streamed(self, file_id: FileId, to: Path, asked: bounds.Asked) -> Download:
        held = to.stat().st_size if to.exists() else 0
        try:
            with self._opened(file_id, start=held) as response:
                goes_on = held > 0 and response.headers.get("content-range", "").startswith(f"bytes {held}-")
                with open(to, "ab" if goes_on else "wb", opener=private) as out:
                    out.writelines(self._up_to_bound(file_id, response, out.tell(), asked))
                self._check_whole(file_id, response, to.stat().st_size)
        except TooLarge:
            to.unlink(missing_ok=True)  # it would be resumed
            raise
        except openai.APIStatusError as error:
            if error.status_code != BEYOND_THE_END or not held:
                raise
            to.unlink()  # the local file is not a part of this one, or is already complete
            return self._streamed(file_id, to, asked)
        with to.open("rb") as content:
            return Download(to, to.stat().st_size, hashlib.file_digest(content, "sha256").hexdigest())

    def _up_to_bound(
        self, file_id: FileId, response: openai.APIResponse[Any], size: int, asked: bounds.Asked
    ) -> Iterator[bytes]:
        """Yield a file's content, of which `size` bytes are there; a body may be endless, whatever its description."""
        file = self._files.known(file_id)
        stated = (file and file.size) or 0
        limit = FACTOR * stated + SLACK if stated > 0 else LARGEST_FILE
        for chunk in response.iter_bytes():
            size += len(chunk)
            if size > limit:
                raise asked.too_large(f"{limit // bounds.MIB:,} MiB")
            yield chunk

    @contextmanager
    def _opened(self, file_id: FileId, start: int = 0) -> Iterator[openai.APIResponse[Any]]:
        """Request a file's content from byte `start` on; a service without support for ranges sends the whole file."""
        # No compression in transit: otherwise sizes and ranges would not refer to the file's own bytes.
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
        content = self._client.files.with_streaming_response.content
        with content(file_id, extra_headers=headers) as response:
            yield response

    def _check_whole(self, file_id: FileId, response: openai.APIResponse[Any], size: int) -> None:
        """Refuse a body shorter than the file's stated size, if it is empty or ended only by the connection's end."""
        file = self._files.known(file_id)
        is_delimited = {"content-length", "transfer-encoding"} & {*response.headers}
        if (size == 0 or not is_delimited) and file is not None and size < (file.size or 0):
            raise BadData(f"file {file_id} broke off: {size} of {file.size} bytes came", hint=self._hint)

    def _pages(
        self, path: str, what: str, route: str = "jobs", *, limit: int | None = None, most: int = 0
    ) -> Iterator[JsonObject]:
        """Yield the entries of a cursor-paged list, at most `most`, without duplicates, fetching pages lazily."""
        most = most or MOST_ENTRIES
        size = PAGE_SIZE if limit is None else min(PAGE_SIZE, limit)
        given = 0
        seen = _Seen()
        for page in self._turned(partial(self._get, path, what, route, is_list=True), what, size, seen):
            for served in page:
                entry = served if isinstance(served, dict) else {NO_OBJECT: served}
                entry_id = text(entry.get("id"))
                # A list that changes between two requests may serve an entry again.
                if entry_id in seen.recent:
                    continue
                if entry_id is not None:
                    seen.add(entry_id)
                if given == most:
                    asked = bounds.Asked(what, bounds.PAGE, self._service.name, self._service.address)
                    raise asked.too_large(f"{most:,} entries")
                yield entry
                given += 1
                if given == limit:
                    return

    def _turned(
        self, ask: Callable[[JsonObject], JsonObject], what: str, size: int, seen: _Seen
    ) -> Iterator[list[object]]:
        """Yield pages, each starting after the last entry in `seen`, which the caller fills between two pages.

        The last entry may have been deleted. Then the service refuses it as a cursor, or answers with an empty page or
        with known entries, and the entry before it is tried instead.
        """
        page = ask({"limit": size})
        yield page["data"]
        goes_on, back = _goes_on(page, size), 0
        while goes_on and back <= GO_BACK:
            known = seen.number
            if page["data"] and not known:
                raise BadData(f"{what} goes on, but its last entry has no id to go on from", hint=self._hint)
            after = next(islice(reversed(seen.recent), min(back, known - 1), None)) if known else None
            try:
                page = ask({"limit": size} | ({"after": after} if after else {}))
            except (NotFound, Refused):
                if back == GO_BACK:
                    raise
            else:
                yield page["data"]
                goes_on = _goes_on(page, size) or not page["data"]
            # Without new entries the loop ends soon: a service that ignores the cursor serves the same page forever.
            back = 0 if seen.number > known else back + 1

    def _get(
        self, path: str, what: str, route: str, params: JsonObject | None = None, *, is_list: bool = False
    ) -> JsonObject:
        name = self._service.name

        def ask() -> JsonObject:
            options: openai.RequestOptions = {"params": params or {}, "headers": {"Accept-Encoding": "gzip"}}
            content = self._client.get(path, cast_to=httpx2.Response, options=options).content
            if content.count(b"{") + content.count(b"[") > bounds.MOST_OBJECTS:
                raise asked.too_large(f"{bounds.MOST_OBJECTS:,} objects and lists")
            try:
                answer = parse(content)
            except ValueError as error:  # a body that is not the JSON it claims to be
                raise BadData(f"{name}'s answer for {what} cannot be read", hint=self._hint) from error
            if not isinstance(answer, dict):
                raise BadData(f"{what}: {name} answered with something other than a JSON object", hint=self._hint)
            if is_list and not isinstance(answer.get("data"), list):
                raise BadData(f"{what}: {name} answered with something other than a list", hint=self._hint)
            return cast("JsonObject", answer)

        with self._asking(what, route, bounds.PAGE if is_list else bounds.ONE) as asked:
            return self._pace(ask)

    @contextmanager
    def _asking(self, what: str, route: str, limit: int) -> Iterator[bounds.Asked]:
        """Bound answers and translate the SDK's errors; raise `NotOffered` at once for a route known to be missing."""
        name = self._service.name
        not_offered = NotOffered(f"{name} has no route for {what}", hint=self._hint)
        if self._routes.is_missing(route):
            raise not_offered
        asked = bounds.Asked(what, limit, name, self._service.address)
        try:
            with bounds.asking(asked):
                yield asked
        except openai.OpenAIError as error:
            redaction.cleanse(error)
            if self._routes.is_found_missing(route, error):
                raise not_offered from error
            raise translate(error, what, self._service) from error
        except httpx2.HTTPError as error:
            raise Unavailable(f"{name} broke off while sending {what}", hint=self._hint) from error
        else:
            self._routes.is_there(route)


class _Seen:
    """The ids seen in a list: their number, and the latest ones; older ones do not recur, as lists grow at the top."""

    def __init__(self) -> None:
        self.number = 0
        self.recent: dict[str, None] = {}

    def add(self, entry_id: str) -> None:
        self.number += 1
        self.recent[entry_id] = None
        if len(self.recent) > RECENT:
            del self.recent[next(iter(self.recent))]


def client(base_url: str = "", timeout: float = TIMEOUT) -> openai.OpenAI:
    """Return a client with the key, organization and project that the SDK finds in the environment.

    Args:
        base_url: The API's address; its query string, if any, is sent with every request.
        timeout: Seconds without a byte after which a request times out.

    Raises:
        ConfigError: The address is not a URL.
        NotLoggedIn: There is no key.
    """
    address, _, query = base_url.partition("?")
    if address and not plain(address):
        example = "for example export OPENAI_BASE_URL=https://api.openai.com/v1"
        raise ConfigError(f"OPENAI_BASE_URL: {address!r} is no URL", hint=example)
    query_of_all = dict(parse_qsl(query))
    try:
        return openai.OpenAI(base_url=address or None, default_query=query_of_all, timeout=timeout)
    except openai.OpenAIError as error:
        raise NotLoggedIn(
            "no OpenAI API key: OPENAI_API_KEY is not set",
            hint="export OPENAI_API_KEY=… (or AZURE_OPENAI_ENDPOINT=…, for Azure) and run the command again",
        ) from error


def translate(error: openai.OpenAIError, what: str, service: Service = OPENAI) -> FtSyncError:
    """Translate an SDK error; `what` names the requested thing in the message."""
    names = {"service": service.name, "address": service.address, "key": service.key}
    for theirs, ours, sentence, hint in TRANSLATIONS:
        if isinstance(error, theirs):
            return ours(sentence.format(what=what, served=_served(error), **names), hint=hint.format(**names))
    return Unavailable(f"asking {service.name} for {what} failed: {type(error).__name__}", hint=service.hint)


def _is(raw: JsonObject, entry_id: str) -> bool:
    """Return whether an entry has this id, which may have been redacted since."""
    served = text(raw.get("id"))
    return served is not None and entry_id in {served, redaction.redact(served)}


def _goes_on(page: JsonObject, size: int) -> bool:
    """Whether there are more pages; without `has_more`, a full page means that there may be."""
    entries = page["data"]
    return bool(page.get("has_more", len(entries) >= size and text(entries[-1].get("id")) is not None))


def _path_of(job_id: JobId) -> str:
    """Return a job's route with the id escaped: it comes from a server or a user and may hold any character."""
    return f"/fine_tuning/jobs/{quote(job_id, safe='')}"


def _served(error: openai.OpenAIError) -> str:
    """Return the service's message and status; just the status if there is no message."""
    if not isinstance(error, openai.APIStatusError):
        return "no answer"
    message = message_of(error)
    return f"{message} ({error.status_code})" if message else f"status {error.status_code}"
