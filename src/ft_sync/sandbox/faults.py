"""What a test sees and spoils of the sandbox's traffic: a log of requests, and faults put in their way."""

import asyncio
import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote_plus

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

CONNECTION: Final = "ft_sync.connection"
"""The ASGI extension by which the server lends us its connection, to be cut or written to."""

Body = bytes | str | dict[str, Any]


@dataclass(frozen=True, slots=True)
class Request:
    """One request that the server received.

    Attributes:
        path: The path alone, e.g. `/v1/fine_tuning/jobs`.
        query: The decoded query string, e.g. `limit=100&after=ftjob-abc`.
        time: Seconds on the monotonic clock: good for differences only.
        headers: Names in lower case.
    """

    method: str
    path: str
    query: str
    time: float
    headers: Mapping[str, str] = field(repr=False)

    def matches(self, pattern: str) -> bool:
        """Whether the regular expression is found in the path, or in the path with its query."""
        return any(re.search(pattern, text) for text in (self.path, f"{self.path}?{self.query}"))


@dataclass(slots=True, kw_only=True)
class _Fault:
    path: str
    status: int | None
    body: Body | None
    headers: Mapping[str, str]
    drop: bool
    delay: float
    trickle: float
    truncate: int | None
    raw: bytes | None
    times: int | None
    after: int
    when: Callable[[Request], bool] | None

    def strikes(self, request: Request) -> bool:
        if self.times == 0 or not request.matches(self.path) or (self.when and not self.when(request)):
            return False
        if self.after > 0:
            self.after -= 1
            return False
        if self.times is not None:
            self.times -= 1
        return True


class Traffic:
    """The log of requests and the faults to come, safe to use while the server is running.

    Attributes:
        latency: Seconds that every answer takes longer.
    """

    def __init__(self) -> None:
        self.latency = 0.0
        self._requests: list[Request] = []
        self._faults: list[_Fault] = []
        self._lock = threading.Lock()

    @property
    def requests(self) -> list[Request]:
        """All requests so far, oldest first."""
        with self._lock:
            return list(self._requests)

    def count(self, pattern: str = "") -> int:
        """How many requests have a path, or a path with query, in which the regular expression is found."""
        return sum(request.matches(pattern) for request in self.requests)

    def forget(self) -> None:
        """Empty the log of requests."""
        with self._lock:
            self._requests.clear()

    def fail(  # noqa: PLR0913 - each keyword is one way to fail
        self,
        path: str,
        *,
        status: int | None = None,
        body: Body | None = None,
        headers: Mapping[str, str] | None = None,
        drop: bool = False,
        delay: float = 0.0,
        trickle: float = 0.0,
        truncate: int | None = None,
        raw: bytes | None = None,
        times: int | None = None,
        after: int = 0,
        when: Callable[[Request], bool] | None = None,
    ) -> None:
        """Spoil the answers to matching requests; of several faults that match, the first one acts.

        Args:
            path: A regular expression, searched in the path and in the path with its query.
            status: Answer with this status instead; without `body`, with an error in OpenAI's shape.
            body: Answer with this instead (status 200 unless there is `status`); a dict is sent as JSON.
            headers: Further headers of that answer, e.g. `Retry-After`.
            drop: Close the connection without an answer.
            delay: Seconds to wait first.
            trickle: Seconds between each byte of the body and the next.
            truncate: Close the connection after this many bytes of the body.
            raw: Send this instead of an answer, head and all, and close the connection.
            times: Act on this many requests only.
            after: Let this many requests pass first.
            when: Which of the requests to act on, asked in the server's thread; all, if None.
        """
        fault = _Fault(
            path=path,
            status=status,
            body=body,
            headers=headers or {},
            drop=drop,
            delay=delay,
            trickle=trickle,
            truncate=truncate,
            raw=raw,
            times=times,
            after=after,
            when=when,
        )
        with self._lock:
            self._faults.append(fault)

    def heal(self) -> None:
        """Take back all faults, and the latency."""
        with self._lock:
            self._faults.clear()
        self.latency = 0.0

    def _record(self, request: Request) -> _Fault | None:
        """Log the request and say which fault it meets."""
        with self._lock:
            self._requests.append(request)
            return next((fault for fault in self._faults if fault.strikes(request)), None)


class FaultLayer:
    """The outermost ASGI layer: it logs each request and lets it pass, or not."""

    def __init__(self, app: "ASGIApp", traffic: Traffic) -> None:
        self._app = app
        self._traffic = traffic

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Handle one request."""
        request = Request(
            method=scope["method"],
            path=scope["path"],
            query=unquote_plus(scope["query_string"].decode("latin-1")),
            time=time.monotonic(),
            headers={name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]},
        )
        fault = self._traffic._record(request)  # noqa: SLF001 - the two are one part
        wait = self._traffic.latency + (fault.delay if fault else 0.0)
        if wait > 0 and await _hung_up_within(wait, receive):
            return
        if fault is None:
            await self._app(scope, receive, send)
            return
        if fault.drop or fault.raw is not None:
            connection = scope["extensions"][CONNECTION]["transport"]
            if fault.raw is not None:
                connection.write(fault.raw)
                connection.close()
            else:
                connection.abort()
            await _hung_up(receive)
            return
        if fault.truncate is not None:
            send = _Truncated(send, fault.truncate)
        if fault.trickle > 0:
            send = _Trickled(send, receive, fault.trickle)
        if fault.status is None and fault.body is None:
            await self._app(scope, receive, send)
        else:
            await _answer(fault, send)


class _Truncated:
    """An ASGI `send` that stops before the end of the body: the server then closes the connection."""

    def __init__(self, send: "Send", size: int) -> None:
        self._send = send
        self._left = size
        self._stopped = False

    async def __call__(self, message: "Message") -> None:
        if self._stopped:
            return
        if message["type"] == "http.response.body":
            body = message["body"]
            self._stopped = len(body) >= self._left
            message = {**message, "body": body[: self._left], "more_body": True}
            self._left -= len(message["body"])
        await self._send(message)


class _Trickled:
    """An ASGI `send` that takes its time for each byte of the body, for as long as somebody listens."""

    def __init__(self, send: "Send", receive: "Receive", seconds: float) -> None:
        self._send = send
        self._receive = receive
        self._seconds = seconds
        self._is_heard = True

    async def __call__(self, message: "Message") -> None:
        if message["type"] != "http.response.body":
            await self._send(message)
            return
        for byte in message["body"]:
            self._is_heard = self._is_heard and not await _hung_up_within(self._seconds, self._receive)
            if not self._is_heard:
                return
            await self._send({"type": "http.response.body", "body": bytes([byte]), "more_body": True})
        if not message.get("more_body"):
            await self._send({"type": "http.response.body", "body": b""})


async def _hung_up(receive: "Receive") -> None:
    """Wait until the connection is closed."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _hung_up_within(seconds: float, receive: "Receive") -> bool:
    """Wait, but no longer than the client does: nobody who gave up shall delay the server's end."""
    try:
        await asyncio.wait_for(_hung_up(receive), seconds)
    except TimeoutError:
        return False
    return True


async def _answer(fault: _Fault, send: "Send") -> None:
    status = fault.status or 200
    body = fault.body
    if body is None:
        message = f"The sandbox was told to answer with {status}."
        body = {"error": {"message": message, "type": "sandbox_fault", "param": None, "code": None}}
    if isinstance(body, dict):
        body = json.dumps(body)
    content = body.encode() if isinstance(body, str) else body
    headers = {"content-type": "application/json", "content-length": str(len(content))}
    headers |= {name.lower(): value for name, value in fault.headers.items()}
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": content})
