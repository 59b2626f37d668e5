"""The routes: a `World` in the words of OpenAI's fine-tuning and files API, or a dialect of it; it knows no sockets."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ft_sync.sandbox.dialects import Dialect
from ft_sync.sandbox.world import SampleFile, SampleJob, World

CHUNK: Final = 64 * 1024
MAX_LIMIT: Final = 100
MAX_FILES: Final = 10_000
BASE_MODEL_CREATED: Final = int(datetime(2025, 4, 14, tzinfo=UTC).timestamp())
BASE_MODEL_SHUTDOWN: Final = "2027-01-14"


class Json(JSONResponse):
    """JSON in ASCII: a job may hold half of a surrogate pair, which has no bytes of its own."""

    def render(self, content: Any) -> bytes:  # noqa: ANN401 - JSON
        """The bytes of the body."""
        return json.dumps(content).encode()


class ApiError(Exception):
    """A refusal in OpenAI's shape."""

    def __init__(self, status: int, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.param = param
        self.code = code

    def response(self) -> Response:
        """The answer that carries it."""
        error = {
            "message": str(self),
            "type": "invalid_request_error",
            "param": self.param,
            "code": self.code,
        }
        return Json({"error": error}, status_code=self.status)


def create_app(world: World, *, api_key: str, clock: Callable[[], float], dialect: Dialect) -> ASGIApp:
    """Serve a world.

    Args:
        world: May change while it is served.
        api_key: The bearer token that every request must carry.
        clock: Unix seconds; live jobs unfold by it.
        dialect: How it is told.
    """
    api = _Api(world, api_key=api_key, clock=clock, dialect=dialect)
    routes = {
        "/fine_tuning/jobs": api.list_jobs,
        "/fine_tuning/jobs/{job_id}": api.retrieve_job,
        "/fine_tuning/jobs/{job_id}/events": api.list_events,
        "/fine_tuning/jobs/{job_id}/checkpoints": api.list_checkpoints,
        "/files": api.list_files,
        "/files/{file_id}": api.retrieve_file,
        "/files/{file_id}/content": api.file_content,
        "/models": api.list_models,
    }
    offered = [Route(path, api.authorized(route)) for path, route in routes.items() if not path.endswith(dialect.lacks)]
    app = Starlette(
        routes=[Mount(dialect.prefix, routes=offered)],
        exception_handlers={ApiError: _refuse, HTTPException: api.refuse_route},
    )

    async def routed(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope["path"] = scope["raw_path"].decode()  # as it was sent: ids may hold slashes and newlines
        await app(scope, receive, send)

    return routed


class _Api:
    """The routes over one world."""

    def __init__(self, world: World, *, api_key: str, clock: Callable[[], float], dialect: Dialect) -> None:
        self._world = world
        self._api_key = api_key
        self._clock = clock
        self._dialect = dialect

    def authorized(self, route: Callable[[Request], Response]) -> Callable[[Request], Any]:
        """Ask for the key first.

        The result is a coroutine function: Starlette would run a plain function in a thread, for nothing.
        """

        async def checked(request: Request) -> Response:
            self._check(request)
            return route(request)

        return checked

    def _check(self, request: Request) -> None:
        """Refuse a request without the key, or without what the dialect needs besides."""
        header = self._dialect.key_header
        is_shown = header is not None and request.headers.get(header) == self._api_key
        if not is_shown and request.headers.get("authorization") != f"Bearer {self._api_key}":
            raise ApiError(401, "Incorrect API key provided.", code="invalid_api_key")
        if self._dialect.needs is not None:
            parameter, status, message = self._dialect.needs
            if parameter not in request.query_params:
                raise ApiError(status, message, code=str(status))

    def list_jobs(self, request: Request) -> Response:
        now = self._clock()
        wanted = {
            name.removeprefix("metadata[").removesuffix("]"): value
            for name, value in request.query_params.items()
            if name.startswith("metadata[")
        }
        jobs = [job.job_at(now) for job in self._world.jobs]
        found = [job for job in jobs if not wanted or wanted.items() <= (job.get("metadata") or {}).items()]
        return self._page(request, [self._dialect.job(job) for job in found], default=20)

    def retrieve_job(self, request: Request) -> Response:
        return Json(self._dialect.job(self._job(request).job_at(self._clock())))

    def list_events(self, request: Request) -> Response:
        events = self._job(request).events_at(self._clock())
        return self._page(request, self._dialect.events(events), default=20)

    def list_checkpoints(self, request: Request) -> Response:
        checkpoints = self._job(request).checkpoints_at(self._clock())
        return self._page(request, [self._dialect.checkpoint(one) for one in checkpoints], default=10)

    def list_files(self, request: Request) -> Response:
        purpose = request.query_params.get("purpose")
        files = [file for file in self._world.files(self._clock()) if purpose in {None, file.purpose}]
        described = [self._described(file) for file in files]
        return self._page(request, described, default=MAX_FILES, maximum=MAX_FILES)

    def retrieve_file(self, request: Request) -> Response:
        return Json(self._described(self._file(request)))

    def file_content(self, request: Request) -> Response:
        content = self._dialect.file(self._file(request)).served
        asked = re.fullmatch(r"bytes=(\d+)-", request.headers.get("range", ""))
        start = int(asked[1]) if asked and self._world.serves_ranges else 0
        if start and start >= len(content):
            raise ApiError(416, "The requested range is not satisfiable.")
        headers = {"content-length": str(len(content) - start)}
        if start:
            headers["content-range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        return StreamingResponse(
            _chunks(content[start:]),
            status_code=206 if start else 200,
            headers=headers,
            media_type="application/octet-stream",
        )

    def list_models(self, _request: Request) -> Response:
        now = self._clock()
        jobs = [job.job_at(now) for job in self._world.jobs]
        tuned = [
            {
                "id": job["fine_tuned_model"],
                "object": "model",
                "created": job["finished_at"],
                "owned_by": job["organization_id"],
            }
            for job in jobs
            if job["fine_tuned_model"]
        ]
        base = [
            {
                "id": model,
                "object": "model",
                "created": BASE_MODEL_CREATED,
                "owned_by": "system",
                "shutdown_date": BASE_MODEL_SHUTDOWN,
            }
            for model in sorted({job["model"] for job in jobs})
        ]
        return Json({"object": "list", "data": base + tuned})

    async def refuse_route(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        body = self._dialect.no_route
        if body is None:
            message = f"Invalid URL ({request.method} {request.url.path})"
            return ApiError(error.status_code, message, code="unknown_url").response()
        asked = {"{method}": request.method, "{path}": request.url.path}
        return Json(_filled(body, asked), status_code=error.status_code)

    def _described(self, file: SampleFile) -> dict[str, Any]:
        return self._dialect.described(self._dialect.file(file).as_json())

    def _page(
        self, request: Request, items: Sequence[dict[str, Any]], *, default: int, maximum: int = MAX_LIMIT
    ) -> Response:
        page = _page(request, items, default=default, maximum=maximum)
        return Json({"data": page["data"]} if self._dialect.is_brief else page)

    def _job(self, request: Request) -> SampleJob:
        job_id = unquote(request.path_params["job_id"])
        job = self._world.job(job_id)
        if job is None:
            message = f"Could not find fine tune: {job_id}"
            raise ApiError(404, message, param="fine_tune_id", code="fine_tune_not_found")
        return job

    def _file(self, request: Request) -> SampleFile:
        file_id = unquote(request.path_params["file_id"])
        file = self._world.file(file_id, self._clock())
        if file is None:
            raise ApiError(404, f"No such File object: {file_id}", param="id")
        return file


def _page(request: Request, items: Sequence[dict[str, Any]], *, default: int, maximum: int) -> dict[str, Any]:
    """One page of a list that is newest first, as the query's `limit` and `after` ask for it."""
    limit = _limit(request, default=default, maximum=maximum)
    start = 0
    after = request.query_params.get("after")
    if after:
        position = next((index for index, item in enumerate(items) if item.get("id") == after), None)
        if position is None:
            raise ApiError(400, f"Nothing in this list has the id '{after}'.", param="after")
        start = position + 1
    data = items[start : start + limit]
    return {
        "object": "list",
        "data": data,
        "has_more": start + limit < len(items),
        "first_id": data[0].get("id") if data else None,
        "last_id": data[-1].get("id") if data else None,
    }


def _limit(request: Request, *, default: int, maximum: int) -> int:
    text = request.query_params.get("limit")
    if text is None:
        return default
    try:
        limit = int(text)
    except ValueError:
        message = f"Invalid 'limit': expected an integer, but got '{text}' instead."
        raise ApiError(400, message, param="limit", code="invalid_type") from None
    if limit > maximum:
        message = f"Invalid 'limit': expected a value <= {maximum}, but got {limit} instead."
        raise ApiError(400, message, param="limit", code="integer_above_max_value")
    if limit < 1:
        message = f"Invalid 'limit': expected a value >= 1, but got {limit} instead."
        raise ApiError(400, message, param="limit", code="integer_below_min_value")
    return limit


def _chunks(content: bytes) -> Iterator[bytes]:
    return (content[start : start + CHUNK] for start in range(0, len(content), CHUNK))


async def _refuse(_request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return error.response()


def _filled(body: Any, values: Mapping[str, str]) -> Any:  # noqa: ANN401 - JSON
    """The body with the values in their places, at any depth."""
    if isinstance(body, dict):
        return {name: _filled(below, values) for name, below in body.items()}
    for place, value in values.items():
        body = body.replace(place, value)
    return body
