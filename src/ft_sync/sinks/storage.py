"""Streams the stored bytes of files in W&B through a digest; holds no file in memory, and sends no key to a storage."""

from __future__ import annotations

import base64
import hashlib
import io
import time
from contextlib import suppress
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import requests
import wandb
from requests.adapters import HTTPAdapter
from requests.exceptions import InvalidSchema, InvalidURL, MissingSchema, SSLError

from ft_sync import scratch
from ft_sync.compare import NO_BYTES, Digest, Stored
from ft_sync.errors import Unavailable
from ft_sync.sinks.wandb import NOT_FOUND, SDK_ERRORS, http_status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from wandb.apis.public.files import File

    Parse = Callable[[IO[bytes]], "Parsed"]

Parsed = TypeVar("Parsed")

CHUNK = 2**16
"""Bytes to read at once."""

SMALLEST_LIMIT = 2**20
"""Bytes that are read of any file, whatever size W&B lists; of a larger file, those that W&B lists and one more."""

PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds between attempts to read a file whose storage fails or whose connection is cut short."""

TIMEOUT = (10.0, 60.0)
"""Seconds to wait for a connection, and for the next bytes."""

CONNECTIONS = 128
"""Connections to a storage that are kept open: twice as many threads as jobs at most are verified concurrently."""

GONE = frozenset({NOT_FOUND, 410})
AGAIN = frozenset({408, 429})
"""HTTP statuses by which a storage says that it has no such file, or that it is to be asked again, as with any 5xx."""


class Storage:
    """Reads the files that W&B lists from the storage where it keeps them; several threads may share it.

    Like the SDK's own download of artifacts, it uses the signed URL of a file, which needs no key. Where a storage
    does not serve that, the file is downloaded by the SDK, which sends the key to W&B's host alone.
    """

    def __init__(self) -> None:
        self._session = _Session()

    def digest(self, file: File) -> Stored:
        """Return the digest of the stored bytes; `NO_BYTES` if the storage answers that there are none.

        Raises:
            Unavailable: The storage could not be asked, several times in a row.
        """
        return self.parsed(file, lambda _: None)[0]

    def parsed(self, file: File, parse: Parse[Parsed]) -> tuple[Stored, Parsed | None]:
        """Return the digest and what `parse` makes of the same bytes, None if there are none.

        `parse` is called anew for each attempt, and need not read to the end.
        """
        for pause in PAUSES:
            with suppress(Unavailable):
                return self._read(file, parse)
            time.sleep(pause)
        return self._read(file, parse)

    def _read(self, file: File, parse: Parse[Parsed]) -> tuple[Stored, Parsed | None]:
        url = getattr(file, "direct_url", None) or ""
        try:
            with self._session.get(url, stream=True, timeout=TIMEOUT) as answer:
                if answer.status_code in GONE:
                    return NO_BYTES, None
                if answer.ok:
                    return _taken(answer.iter_content(CHUNK), file, parse)
                if answer.status_code in AGAIN or answer.status_code >= 500:  # noqa: PLR2004 - HTTP
                    raise _unavailable(file, url, f"HTTP {answer.status_code}")
        except (InvalidSchema, InvalidURL, MissingSchema, SSLError):
            pass  # the SDK's core knows other certificates than `requests`
        except requests.RequestException as error:
            # A message of `requests` may quote the URL, whose signature is as good as a key.
            raise _unavailable(file, url, type(error).__name__) from None
        return _downloaded(file, parse)


class _Session(requests.Session):
    """A session that sends no credentials, not even those of a `.netrc`, which knows hosts but no ports."""

    def __init__(self) -> None:
        super().__init__()
        for scheme in ("https://", "http://"):
            self.mount(scheme, HTTPAdapter(pool_maxsize=CONNECTIONS))
        self.auth = lambda request: request
        settings = wandb.setup().settings
        self.headers.update({"Accept-Encoding": "identity", **(settings.x_extra_http_headers or {})})
        proxies = {"http": settings.http_proxy, "https": settings.https_proxy}
        self.proxies.update({scheme: proxy for scheme, proxy in proxies.items() if proxy})
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))

    def merge_environment_settings(self, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - of `requests`
        """Check certificates even where the SDK, by a variable of its own, has switched that off for all sessions."""
        merged = super().merge_environment_settings(*arguments, **options)
        return {**merged, "verify": merged["verify"] or True}

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        """Send no credentials after a redirect either."""
        del response
        prepared_request.headers.pop("Authorization", None)


class _Stream(io.RawIOBase):
    """The bytes of a file while they are digested; after `limit` bytes it ends."""

    def __init__(self, chunks: Iterator[bytes], limit: int) -> None:
        self._chunks, self._limit = chunks, limit
        self._digest, self._size, self._rest = hashlib.md5(usedforsecurity=False), 0, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        while not self._rest and self._size <= self._limit:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._digest.update(chunk)
            self._size += len(chunk)
            self._rest = chunk
        taken, self._rest = self._rest[: len(buffer)], self._rest[len(buffer) :]
        buffer[: len(taken)] = taken
        return len(taken)

    def digested(self) -> Digest:
        """Return the digest, having read what is left."""
        while self.read(CHUNK):
            pass
        is_whole = self._size <= self._limit
        return Digest(self._size, base64.b64encode(self._digest.digest()).decode() if is_whole else "")


def _taken(chunks: Iterator[bytes], file: File, parse: Parse[Parsed]) -> tuple[Stored, Parsed]:
    stream = _Stream(chunks, max(file.size, SMALLEST_LIMIT))
    buffered = io.BufferedReader(stream, CHUNK)
    parsed = parse(buffered)
    return stream.digested(), parsed


def _downloaded(file: File, parse: Parse[Parsed]) -> tuple[Stored, Parsed | None]:
    """Have the SDK download the file to disk, and read it there."""
    with scratch.folder() as folder:
        try:
            file.download(str(folder)).close()
        except SDK_ERRORS as error:
            if http_status(error) in GONE:
                return NO_BYTES, None
            raise
        with Path(folder, file.name).open("rb") as content:
            return _taken(iter(lambda: content.read(CHUNK), b""), file, parse)


def _unavailable(file: File, url: str, why: str) -> Unavailable:
    return Unavailable(
        f"the stored bytes of {file.name} could not be read: {urlsplit(url).hostname}: {why}",
        hint="check the network: W&B's storage has a host of its own; then run the same command again",
    )
