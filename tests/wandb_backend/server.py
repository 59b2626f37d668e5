"""The HTTP face of the loopback W&B server: authentication, request log, failures on demand, start, stop."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import json
import secrets
import socket
import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import unquote

import uvicorn
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response

from tests.wandb_backend.fields import ABSTRACT, TABLES
from tests.wandb_backend.mutations import MUTATION
from tests.wandb_backend.store import Artifact, Blob, Project, Refused, Run, Store, View, b64md5
from tests.wandb_backend.walk import Walk, operation_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from starlette.types import Receive, Scope, Send


@dataclass(frozen=True)
class Request:
    """One request as logged.

    `operation` is the GraphQL operation's name, or `file_stream`, `upload`, `download`, `other`; `roots` are
    the GraphQL fields at its root; `run` is the run's id where the request says it.
    """

    operation: str
    method: str
    path: str
    run: str | None = None
    roots: tuple[str, ...] = ()
    body: bytes = field(default=b"", repr=False, compare=False)

    def is_about(self, operation: str) -> bool:
        """Whether this is the named operation or asks for the named root field, in whatever case."""
        names = {name.casefold() for name in (self.operation, *self.roots)}
        return operation == "*" or operation.casefold() in names


@dataclass
class Failure:
    """A failure in force; `hits` counts the requests that met it."""

    operation: str
    status: int | None
    body: str
    headers: dict[str, str]
    drop: bool
    lost: bool
    cut: bool
    delay: float
    times: int | None
    after: int
    when: Callable[[Request], bool] | None
    hits: int = 0
    seen: int = 0

    def strikes(self, request: Request) -> bool:
        if not request.is_about(self.operation) or (self.when and not self.when(request)):
            return False
        self.seen += 1
        if self.seen <= self.after or (self.times is not None and self.hits >= self.times):
            return False
        self.hits += 1
        return True


@dataclass
class Lie:
    """A request that is answered as if all was well, and is not; `hits` counts these requests."""

    operation: str
    asked: Callable[[Any], Any] | None
    done: Callable[[Request], None] | None
    answered: Callable[[Any], None] | None
    times: int | None
    when: Callable[[Request], bool] | None
    hits: int = 0

    def strikes(self, request: Request) -> bool:
        if not request.is_about(self.operation) or (self.when and not self.when(request)):
            return False
        if self.times is not None and self.hits >= self.times:
            return False
        self.hits += 1
        return True

    def altered(self, request: Request) -> Request:
        """The request as this server understands it."""
        if self.asked is None:
            return request
        if request.operation == "upload":
            return replace(request, body=self.asked(request.body))
        body = json.loads(request.body)
        self.asked(body)
        return replace(request, body=json.dumps(body).encode())

    def altered_answer(self, answer: Response) -> Response:
        if self.answered is None:
            return answer
        body = json.loads(bytes(answer.body))
        self.answered(body)
        return JSONResponse(body, answer.status_code)


class WandbBackend:
    """A W&B server on loopback for the unmodified SDK; use it as a context manager.

    Attributes:
        url: Its base URL, for `WANDB_BASE_URL`.
        api_key: The one key it takes.
        latency: Seconds that every answer takes.
        requests: Every request, in the order of arrival.
        unknown_fields: `Type.field` of each GraphQL field which was asked for and is not known here.
        errors: What went wrong inside this server, which is always a bug of it.
    """

    def __init__(self, *, user: str = "ada", team: str = "team-rocket", organization: str = "rockets") -> None:
        self.store = Store(user, team, organization)
        self.api_key = secrets.token_hex(20)
        self.latency = 0.0
        self.requests: list[Request] = []
        self.unknown_fields: set[str] = set()
        self.errors: list[Exception] = []
        self._failures: list[Failure] = []
        self._corruptions: list[Callable[[Request], bytes | None]] = []
        self._lies: list[Lie] = []
        # asyncio sets TCP_NODELAY only where the protocol is named; without it each answer comes 40 ms late.
        self._socket = socket.socket(proto=socket.IPPROTO_TCP)
        self._socket.bind(("127.0.0.1", 0))
        self.url = self.store.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        config = uvicorn.Config(
            self._serve,
            interface="asgi3",
            http="httptools",
            ws="none",
            loop="asyncio",  # its transports can be aborted, which is how a connection drops
            proxy_headers=False,
            lifespan="off",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]})

    def __enter__(self) -> Self:
        self._socket.listen(128)  # so that nobody has to wait for the thread
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the server and its thread; what is still waiting is answered at once."""
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()

    # What a test reads

    def env(self, root: Path) -> dict[str, str]:
        """The environment in which the SDK talks to this server and keeps its files under `root`."""
        places = {name: root / name.lower() for name in ("CACHE_DIR", "CONFIG_DIR", "DATA_DIR")}
        for place in places.values():
            place.mkdir(parents=True, exist_ok=True)
        return {
            "WANDB_BASE_URL": self.url,
            "WANDB_API_KEY": self.api_key,
            "WANDB_DIR": str(root),
            **{f"WANDB_{name}": str(place) for name, place in places.items()},
            "WANDB_ARTIFACT_DIR": str(root / "artifacts"),
            "WANDB_ERROR_REPORTING": "false",
            "WANDB_SILENT": "true",
        }

    def count(self, operation: str) -> int:
        return sum(request.is_about(operation) for request in self.requests)

    def project(self, project: str, entity: str | None = None) -> Project | None:
        with self.store.lock:
            return self.store.project(entity, project)

    def run(self, entity: str, project: str, run_id: str) -> Run | None:
        with self.store.lock:
            return self.store.run(entity, project, run_id)

    def runs(self, project: str, entity: str | None = None) -> list[Run]:
        """The project's runs, oldest first; none if there is no such project."""
        with self.store.lock:
            held = self.store.project(entity, project)
            return list(held.runs.values()) if held else []

    def artifact(self, path: str) -> Artifact | None:
        """The artifact at `[entity/]project/name[:alias]`."""
        *entity, project, name = path.split("/")
        name, _, alias = name.partition(":")
        with self.store.lock:
            held = self.store.project(entity[0] if entity else None, project)
            collection = held.collections.get(name) if held else None
            return collection.find(alias or "latest") if collection else None

    def views(self, project: str, kind: str, entity: str | None = None) -> list[View]:
        """The project's views of a type, oldest first: `runs` are reports, `project-view` are workspaces."""
        with self.store.lock:
            held = self.store.project(entity, project)
            return [view for view in held.views.values() if view.type == kind] if held else []

    # Failures

    def fail(
        self,
        operation: str,
        *,
        status: int | None = None,
        body: str = '{"error": "made to fail"}',
        headers: dict[str, str] | None = None,
        drop: bool = False,
        lost: bool = False,
        cut: bool = False,
        delay: float = 0.0,
        times: int | None = None,
        after: int = 0,
        when: Callable[[Request], bool] | None = None,
    ) -> Failure:
        """Make an operation fail: answer with a status, drop the connection, lose the answer, or (only) come late.

        Args:
            operation: A GraphQL operation or root field, `file_stream`, `upload`, `download`, or `*`.
            status: The HTTP status to answer with.
            body: The answer that goes with the status.
            headers: Of that answer; it is JSON unless they say otherwise.
            drop: Whether to close the connection without an answer.
            lost: Whether to do what is asked for all the same, and then close the connection without an answer.
            cut: Whether to close the connection in the middle of the answer's body.
            delay: Seconds to wait first.
            times: After how many failures it works again; never, if None.
            after: How many requests work before the first failure.
            when: Which of the requests to fail; all, if None.
        """
        failure = Failure(operation, status, body, headers or {}, drop, lost, cut, delay, times, after, when)
        self._failures.append(failure)
        return failure

    def lie(
        self,
        operation: str,
        *,
        asked: Callable[[Any], Any] | None = None,
        done: Callable[[Request], None] | None = None,
        answered: Callable[[Any], None] | None = None,
        times: int | None = None,
        when: Callable[[Request], bool] | None = None,
    ) -> Lie:
        """Do something else than what an operation asks for, and answer as if all was well.

        Args:
            operation: As for `fail`.
            asked: Changes the JSON of the request in place; of an upload it is given the bytes, and returns others.
            done: Called when the request has been carried out.
            answered: Changes the JSON of the answer in place.
            times: After how many requests it ends; never, if None.
            when: Which of the requests; all, if None.
        """
        lie = Lie(operation, asked, done, answered, times, when)
        self._lies.append(lie)
        return lie

    def heal(self, failure: Failure | None = None) -> None:
        """End one failure, or all of them and all lies."""
        self._failures = [one for one in self._failures if failure is not None and one is not failure]
        if failure is None:
            self._lies, self._corruptions = [], []

    def corrupt(self, of: str, stored: Callable[[bytes], bytes | None]) -> None:
        """Store something else than what is uploaded, and answer all the same that it was taken.

        Args:
            of: How the paths of the files end.
            stored: What becomes of the bytes; None for nothing.
        """
        self._corruptions.append(lambda request: stored(request.body) if request.path.endswith(of) else request.body)

    # HTTP

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        http = HttpRequest(scope, receive)
        raw = await http.body()
        body = gzip.decompress(raw) if http.headers.get("content-encoding") == "gzip" else raw
        request = _described(http.method, unquote(http.url.path), body)
        self.requests.append(request)
        failure = next((one for one in self._failures if one.strikes(request)), None)
        await self._take_time(self.latency + (failure.delay if failure else 0))
        if failure and failure.lost:
            with self.store.lock:
                self._answer(request, http.headers.get("authorization", ""))
        if failure and (failure.drop or failure.lost):
            await self._abort(receive)
            return
        if failure and failure.status:
            headers = {"content-type": "application/json"} | failure.headers
            answer = Response(failure.body, failure.status, headers)
        else:
            lies = [lie for lie in self._lies if lie.strikes(request)]
            for lie in lies:
                request = lie.altered(request)
            with self.store.lock:
                answer = self._answer(request, http.headers.get("authorization", ""))
                for lie in lies:
                    answer = lie.altered_answer(answer)
                    if lie.done is not None:
                        lie.done(request)
        if failure and failure.cut:
            start = {"type": "http.response.start", "status": answer.status_code, "headers": answer.raw_headers}
            await send(start)
            half = bytes(answer.body)[: len(answer.body) // 2]
            await send({"type": "http.response.body", "body": half, "more_body": True})
            await asyncio.sleep(0.05)  # so that the half is on its way
            await self._abort(receive)
            return
        await answer(scope, receive, send)

    async def _abort(self, receive: Receive) -> None:
        receive.__self__.transport.abort()  # type: ignore[attr-defined]  # uvicorn's own cycle object
        while (await receive())["type"] != "http.disconnect":
            pass

    async def _take_time(self, seconds: float) -> None:
        """Sleep, but not past the end of the server, which would have to cancel the request."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and not self._server.should_exit:  # noqa: ASYNC110 -- no event
            await asyncio.sleep(min(left, 0.1))

    def _answer(self, request: Request, authorization: str) -> Response:
        handlers: dict[str, Callable[[Request], Response]] = {
            "file_stream": self._file_stream,
            "upload": self._storage,
            "download": self._storage,
            "other": self._nothing,
        }
        try:
            if not request.path.startswith("/storage/") and not self._authorized(authorization):
                raise Refused("user is not logged in", 401)  # noqa: TRY301 -- answered like any other refusal
            return handlers.get(request.operation, self._graphql)(request)
        except Refused as refused:
            return _problem(str(refused), refused.status)
        except Exception as error:  # noqa: BLE001 -- a bug here: the SDK would only retry a 500 for minutes
            self.errors.append(error)
            return _problem(f"the loopback server is broken: {error!r}", 400)

    def _authorized(self, authorization: str) -> bool:
        basic = base64.b64encode(f"api:{self.api_key}".encode()).decode()
        return authorization in {f"Basic {basic}", f"Bearer {self.api_key}"}

    def _nothing(self, request: Request) -> Response:
        raise Refused(f"no such path: {request.path}", 404)

    def _graphql(self, request: Request) -> Response:
        asked = json.loads(request.body)
        walk = Walk(self.store, {**TABLES, "Mutation": MUTATION}, ABSTRACT, self.unknown_fields)
        return JSONResponse({"data": walk.answer(asked["query"], asked.get("variables") or {})})

    def _file_stream(self, request: Request) -> Response:
        _, _, entity, project, run_id, _ = request.path.split("/")
        run = self.store.run(entity, project, run_id)
        if run is None:
            raise Refused(f"run {run_id} not found", 404)
        run.receive(json.loads(request.body))
        return JSONResponse({"stopped": run.stopped})

    def _storage(self, request: Request) -> Response:
        """Put or get the bytes of a run's file, an artifact's file or an artifact's manifest."""
        if request.path.startswith("/artifactsV2/"):
            return self._artifact_by_digest(request)
        _, _, kind, number, name = request.path.split("/", 4)
        owner = self.store.get(Run, number) or self.store.get(Artifact, number)
        if owner is None:
            raise Refused("no such file", 404)
        if request.method == "PUT":
            return self._put(owner, kind, name, request)
        if kind == "manifest" and isinstance(owner, Artifact):
            return JSONResponse(owner.manifest)
        held = (owner.files if isinstance(owner, Run) else owner.blobs).get(name)
        if held is None or not held.is_stored:
            raise Refused("no such file", 404)
        return _bytes(held.data)

    def _put(self, owner: Run | Artifact, kind: str, name: str, request: Request) -> Response:
        data, md5 = request.body, b64md5(request.body)
        stored = self._stores(request)
        blob = Blob(name, stored or b"", owner, size=len(data), md5=md5, is_stored=stored is not None)
        if isinstance(owner, Run):
            owner.files[name] = blob
        elif kind == "manifest":
            owner.manifest = json.loads(data)
        else:
            owner.collection.blobs.setdefault(owner.announced.get(name, md5), blob)
        return Response(headers={"ETag": md5})

    def _stores(self, request: Request) -> bytes | None:
        """What the storage makes of an upload, which it has answered with 200."""
        data: bytes | None = request.body
        for corrupt in self._corruptions:
            data = corrupt(request) if data == request.body else data
        return data

    def _artifact_by_digest(self, request: Request) -> Response:
        """Where the SDK turns when a signed address has failed."""
        _, _, _, entity, project, collection, *_, digest, _ = request.path.split("/")
        held = self.store.project(entity, project)
        blobs = held.collections[collection].blobs if held else {}
        blob = blobs.get(base64.b64encode(bytes.fromhex(digest)).decode())
        if blob is None or not blob.is_stored:
            raise Refused("no such file", 404)
        return _bytes(blob.data)


def _described(method: str, path: str, body: bytes) -> Request:
    parts = path.split("/")
    if path == "/graphql":
        asked = json.loads(body)
        operation, roots = operation_of(asked["query"])
        return Request(operation, method, path, _run_of(roots, asked.get("variables") or {}), roots, body)
    if path.startswith("/storage/"):
        return Request("upload" if method == "PUT" else "download", method, path, body=body)
    if path.startswith("/artifactsV2/"):
        return Request("download", method, path)
    if path.endswith("/file_stream"):
        return Request("file_stream", method, path, parts[-2], body=body)
    return Request("other", method, path, body=body)


def _run_of(roots: tuple[str, ...], variables: dict[str, Any]) -> str | None:
    """The run's id, which goes by several names and may stand in an input object."""
    given = {**variables, **(variables.get("input") or {})}
    named = given.get("runName") or given.get("run") or given.get("runId")
    if not named and roots in {("upsertBucket",), ("model",), ("project",)}:
        named = given.get("name")
    return str(named) if named else None


def _bytes(data: bytes) -> Response:
    return Response(data, media_type="application/octet-stream")


def _problem(message: str, status: int) -> Response:
    return JSONResponse({"data": None, "errors": [{"message": message}]}, status)


@contextlib.contextmanager
def serving() -> Iterator[WandbBackend]:
    """A server for as long as the block lasts."""
    with WandbBackend() as backend:
        yield backend
