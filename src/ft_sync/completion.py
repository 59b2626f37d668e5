"""Completes a job once W&B holds its run: removes the replaced runs, links the model, moves the alias `latest`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ft_sync.errors import FtSyncError
from ft_sync.events import Noted
from ft_sync.models import Failed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ft_sync.events import Observer
    from ft_sync.models import Job, RunState
    from ft_sync.planning import Request
    from ft_sync.ports import RunSink


class Completion:
    """Completes jobs whose runs are verified; `complete` is called by worker threads, the rest by the engine's."""

    def __init__(self, sink: RunSink, request: Request, observe: Observer) -> None:
        self._sink = sink
        self._links, self._link_aliases = request.links, request.link_aliases
        self._remove = sink.keep if request.keep_replaced else sink.delete
        self._observe = observe
        self._with_model: list[Job] = []

    def takes_time(self, job: Job, replaced: Iterable[RunState], *, has_model: bool) -> bool:
        """Whether completing the job takes requests to W&B; also notes its model as a candidate for `latest`."""
        if has_model:
            self._with_model.append(job)
        return bool(replaced or (self._links and has_model))

    def complete(self, job: Job, replaced: Iterable[RunState], *, has_model: bool) -> None:
        """Remove the replaced runs and link the job's model artifact; called by a worker thread.

        If a run cannot be removed, a note reports this, and the next sync tries again.

        Raises:
            FtSyncError: The model artifact could not be linked.
        """
        for run in replaced:
            try:
                self._remove(run)
            except FtSyncError as error:
                message = f"the replaced run {run.run_id} could not be removed: {error.message}"
                self._observe(Noted(run.job_id, message))
        for collection in self._links if has_model else ():
            self._sink.link(job, collection, self._link_aliases)

    def point_latest(self) -> Failed | None:
        """Move `latest` to the newest model, considering the jobs completed since the last call.

        Returns:
            The failure, if the alias could not be moved; None if all is well.
        """
        jobs, self._with_model = self._with_model, []
        if not jobs:
            return None
        try:
            self._sink.point_latest(jobs)
        except FtSyncError as error:
            newest = max(jobs, key=lambda job: job.newness)
            what = f"its run is complete, but `latest` may not name the newest model: {error.message}"
            self._observe(Noted(newest.id, what))
            return Failed(newest.id, type(error)(what, hint=error.hint))
        return None
