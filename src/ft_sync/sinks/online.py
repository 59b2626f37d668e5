"""Runs on a W&B server: asked for in bulk through the public API, written through the SDK."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import wandb

from ft_sync.errors import AuthError, NotLoggedIn
from ft_sync.models import JobId, Origin, RunId, RunState
from ft_sync.sinks.wandb import JOB_TYPE, SDK_ERRORS, RunOptions, mark_from, opened, translated

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from contextlib import AbstractContextManager

    from wandb.apis.public import Run, Runs

    from ft_sync.models import RunRecord, Write
    from ft_sync.sinks.wandb import WandbRun

JOBS_A_QUERY = 200
RUNS_A_PAGE = 300
"""Room for the runs of one query, with some of them written more than once."""


class OnlineSink:
    """A `RunSink` on the server that the wandb SDK is logged in to."""

    def __init__(self, options: RunOptions) -> None:
        self._options = options
        self._api: wandb.Api | None = None

    def states(self, job_ids: Collection[JobId]) -> Mapping[JobId, tuple[RunState, ...]]:
        """Return the runs of each job, by one query for every 200 jobs."""
        found: dict[JobId, list[RunState]] = defaultdict(list)
        for wanted in _batched(job_ids):
            for run in self._runs(wanted):
                state = _state(run, wanted)
                found[state.job_id].append(state)
        return {job_id: tuple(states) for job_id, states in found.items()}

    def open(self, plan: Write, record: RunRecord) -> AbstractContextManager[WandbRun]:
        """Open the run on the server."""
        return opened(plan, record, self._options)

    def delete(self, run: RunState) -> None:
        """Delete the run; its artifacts stay, other runs may use them."""
        with translated(f"the replaced run {run.run_id}"):
            self._connected().run(f"{self._path}/{run.run_id}").delete()

    @property
    def _path(self) -> str:
        entity = self._options.entity or self._connected().default_entity
        return f"{entity}/{self._options.project}" if entity else self._options.project

    def _connected(self) -> wandb.Api:
        if self._api is None:
            try:
                # Never prompts: a script that hangs at a question is worse than one that fails. While the caller has
                # a run of its own, there is a login, and asking for one is refused.
                logged_in = wandb.run is not None or wandb.login(prompt=False, verify=False)
            except SDK_ERRORS as error:
                raise AuthError(f"the W&B key cannot be used: {error}", hint="`wandb login --relogin`") from error
            if not logged_in:
                raise NotLoggedIn(
                    "not logged in to W&B", hint="`wandb login`, or export WANDB_API_KEY=…, or use --offline"
                )
            with translated("logging in"):
                self._api = wandb.Api()
        return self._api

    def _runs(self, wanted: Collection[JobId]) -> Iterator[Run]:
        api = self._connected()
        api.flush()  # it would answer from its cache what must be asked anew after writing
        ids = sorted(wanted)
        filters = {"$or": [{"name": {"$in": ids}}, {"config.fine_tune_job_id": {"$in": ids}}]}
        with translated(f"the runs of {self._path}"):
            runs = api.runs(self._path, filters=filters, per_page=RUNS_A_PAGE, lazy=False)
            if _project_exists(runs):
                yield from runs


def _batched(job_ids: Collection[JobId]) -> Iterator[set[JobId]]:
    ids = list(job_ids)
    for start in range(0, len(ids), JOBS_A_QUERY):
        yield set(ids[start : start + JOBS_A_QUERY])


def _project_exists(runs: Runs) -> bool:
    """Read the first page; a project that was never written to is an answer, not a failure."""
    try:
        len(runs)
    except ValueError:
        answer = runs.last_response
        if answer is None or answer.get("project") is not None:
            raise
        return False
    return True


def _state(run: Run, wanted: Collection[JobId]) -> RunState:
    config, summary = run.config, run.summary_metrics
    ours = config.get("fine_tune_job_id")
    job_id = JobId(ours) if isinstance(ours, str) and ours in wanted else JobId(run.id)
    return RunState(
        run_id=RunId(run.id),
        job_id=job_id,
        origin=_origin(run, written_by_us=ours == job_id),
        state=run.state,
        status=summary.get("status"),
        mark=mark_from(summary.get("ftsync")),
        rows=run.historyLineCount,
        url=run.url,
    )


def _origin(run: Run, *, written_by_us: bool) -> Origin:
    if written_by_us:
        return Origin.FTSYNC
    if any(tag.startswith("openai/") for tag in run.tags or ()):
        return Origin.NATIVE
    if run.job_type == JOB_TYPE:
        return Origin.WANDB_LOGGER
    return Origin.OTHER
