"""A `ReportSink` on a W&B server: finds, creates and updates a report and a workspace view."""

from __future__ import annotations

from typing import TYPE_CHECKING

import wandb
from wandb_workspaces.reports.v2.interface import Report
from wandb_workspaces.workspaces.interface import Workspace

from ft_sync.errors import ConfigError, NotFound
from ft_sync.models import JobId
from ft_sync.names import run_id
from ft_sync.outline import Held
from ft_sync.sinks import panels
from ft_sync.sinks.online import RUNS_A_PAGE, OnlineSink, project_exists
from ft_sync.sinks.sdk import graphql, remove_folder
from ft_sync.sinks.wandb import translated

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from wandb.apis.public import BetaReport

    from ft_sync.outline import Heading, Outline

NOTICE = "`ftsync report` renews this and replaces what is changed here. A copy, or another title, makes it yours."

VIEWS = """
query Views($entity: String!, $project: String!, $name: String!) {
  project(name: $project, entityName: $entity) {
    allViews(viewType: "project-view", viewName: $name) { edges { node { id createdAt } } }
  }
}
"""
"""Finds workspaces by name; the package can only load a whole workspace, and none in a newer format."""

DELETE = "mutation DeleteView($id: ID!) { deleteView(input: {id: $id}) { success } }"


class Reporter(OnlineSink):
    """A `ReportSink` on the server that the wandb SDK is logged in to."""

    @property
    def place(self) -> str:
        """The project, with its entity."""
        return self._path

    def held(self) -> Iterator[Held]:
        """Yield the runs that were made from jobs, one query per 300 runs."""
        api = self._apis.get()
        with translated(f"the runs of {self._path}"):
            made = {"config.fine_tune_job_id": {"$ne": None}}
            runs = api.runs(self._path, filters=made, per_page=RUNS_A_PAGE, lazy=False)
            if not project_exists(runs):
                raise NotFound(f"W&B has no project {self._path}", hint="`ftsync sync` makes it and brings your jobs")
            for run in runs:
                remove_folder(run)
                named = run.config.get("fine_tune_job_id")
                if isinstance(named, str):
                    job_id = JobId(named)
                    yield Held(self._state(run, {run_id(job_id): job_id}), run.config, run.summary_metrics)

    def write(self, heading: Heading, outline: Outline) -> tuple[str, str, bool]:
        """Create or update the report and the view; return their URLs and whether the report is new."""
        entity, _, project = self._path.rpartition("/")
        if not entity:
            raise ConfigError("W&B does not say which entity the key belongs to", hint="name it: --entity")
        report = Report(project=project, entity=entity, title=heading.title, width="fluid")
        report.description = f"{NOTICE} [{heading.mark}]"
        report.blocks = panels.blocks(outline)
        workspace = Workspace(entity=entity, project=project, name=heading.title)
        workspace._internal_name = f"nw-{heading.mark}-v"  # noqa: SLF001 - in its URL, and how it is found
        panels.fill(workspace, outline)
        with translated(f"the report {heading.title!r} of {self._path}"):
            there = self._alike(heading)
            if there:
                report.id = there[0].id
                spec = there[0].spec or {}
                # Keep people's comments.
                report._discussion_threads = spec.get("discussionThreads") or []  # noqa: SLF001 - as above
                report._authors = spec.get("authors") or []  # noqa: SLF001 - the same
            report.save()
            if not there:
                report.id = self._one_of([one.id for one in self._alike(heading)]) or report.id
        with translated(f"the workspace view {heading.title!r} of {self._path}"):
            held = self._views(entity, project, workspace._internal_name)  # noqa: SLF001 - as above
            workspace._internal_id = held[0] if held else ""  # noqa: SLF001 - says which one to renew
            workspace.save()
            if not held:
                self._one_of(self._views(entity, project, workspace._internal_name))  # noqa: SLF001 - as above
        return report.url, workspace.url, not there

    def _alike(self, heading: Heading) -> list[BetaReport]:
        """Return the reports with this title and mark, oldest first; later ones are copies."""
        alike = [
            report
            for report in wandb.Api().reports(self._path)  # a new client: an existing one would use its cache
            if report.display_name == heading.title and f"[{heading.mark}]" in (report.description or "")
        ]
        return sorted(alike, key=lambda report: (report.created_at or "", report.id))

    def _views(self, entity: str, project: str, name: str) -> list[str]:
        """Return the ids of the workspace views with this name, oldest first."""
        answer = graphql(self._apis.get(), VIEWS, {"entity": entity, "project": project, "name": name})
        found = [edge["node"] for edge in answer["project"]["allViews"]["edges"]]
        return [str(view["id"]) for view in sorted(found, key=lambda view: (view["createdAt"] or "", view["id"]))]

    def _one_of(self, ids: Sequence[str]) -> str | None:
        """Return the first of newly created objects and delete the others, which are duplicates.

        If an answer is lost, the SDK retries the request, and W&B creates the object a second time.
        """
        for twin in ids[1:]:
            graphql(self._apis.get(), DELETE, {"id": twin})
        return ids[0] if ids else None
