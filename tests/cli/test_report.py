from __future__ import annotations

import io
import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

import ft_sync.sinks
from ft_sync.sandbox import Sandbox, World, samples
from tests.wandb_backend.filters import document, matches

if TYPE_CHECKING:
    from tests.cli.conftest import Ftsync
    from tests.wandb_backend import Run, WandbBackend


@pytest.fixture
def ids(world: World, ftsync: Ftsync) -> list[str]:
    """Two jobs in W&B, the newest first."""
    world.add(*samples.many(2))
    assert ftsync("sync").code == 0
    return [job.id for job in world.jobs]


@pytest.mark.usefixtures("ids")
def test_a_pipe_gets_a_line_for_the_report_and_one_for_the_view(
    ftsync: Ftsync, backend: WandbBackend, project: str
) -> None:
    said = ftsync("report")
    (report,) = backend.views(project, "runs")
    assert said.rows == [
        ["report", f"{backend.url}/ada/{project}/reports/Fine-tuning-jobs--{report.id}"],
        ["workspace", f"{backend.url}/ada/{project}?nw=ftsyncall"],
    ]
    assert said.err == "made the report 'Fine-tuning jobs' of 2 jobs\n"
    assert said.code == 0
    assert ftsync("report").err == "renewed the report 'Fine-tuning jobs' of 2 jobs\n"


def test_json_is_one_document(ftsync: Ftsync, ids: list[str]) -> None:
    document = ftsync("report", "--last", "1", "--json").json
    assert document["report"].pop("url").startswith("http://127.0.0.1")
    assert document["workspace"].pop("url").endswith("?nw=ftsynclast1")
    assert document == {
        "schema": 1,
        "command": "report",
        "title": "Fine-tuning jobs, the 1 newest",
        "report": {"is_new": True},
        "workspace": {},
        "runs": 1,
        "job_ids": ids[:1],
        "exit_code": 0,
    }


OPERATORS = {"=": "$eq", "!=": "$ne", "IN": "$in", "NIN": "$nin"}


def shown_in(grid: dict[str, Any], project: str, backend: WandbBackend) -> list[Run]:
    """The runs that a grid of panels shows, found by its filters as the app asks for them."""
    (runs,) = grid["metadata"]["runSets"]
    conditions = [
        {
            f"config.{one['key']['name']}" if one["key"]["section"] == "config" else one["key"]["name"]: {
                OPERATORS[one["op"]]: one["value"]
            }
        }
        for one in runs["filters"]["filters"]
    ]
    return [run for run in backend.runs(project) if matches(document(run), {"$and": conditions})]


def test_each_panel_shows_what_the_runs_of_its_method_hold(
    ftsync: Ftsync, world: World, backend: WandbBackend, project: str
) -> None:
    world.add(*samples.finished_jobs())
    assert ftsync("sync", "--no-wait").code == 0
    again = next(run.id for run in backend.runs(project) if run.config.get("method") == "dpo")
    assert ftsync("resync", "--overwrite", "--keep-replaced", "--job", again).code == 0
    assert ftsync("report").code == 0
    spec = json.loads(backend.views(project, "runs")[0].spec)
    blocks = [block for block in spec["blocks"] if block["type"] in {"heading", "panel-grid"}]
    titles = [block["children"][0]["text"] for block in blocks if block["type"] == "heading"]
    assert titles == ["Models", "dpo", "reinforcement", "supervised", "method not said", "Datasets"]
    grids = [block for block in blocks if block["type"] == "panel-grid"]
    replaced = [run for run in backend.runs(project) if "ftsync-replaced" in run.tags]
    assert [run.id for run in replaced] == [again]
    for title, grid in zip(titles[1:-1], grids[:-1], strict=True):
        runs = shown_in(grid, project, backend)
        assert runs
        assert {run.config.get("method", "method not said") for run in runs} == {title}
        assert not [run for run in runs if run in replaced]
        logged = {key for run in runs for row in run.history for key in row}
        panels = grid["metadata"]["panelBankSectionConfig"]["panels"]
        curves = [panel["config"]["metrics"] for panel in panels if panel["viewType"] == "Run History Line Plot"]
        assert curves
        assert {metric for metrics in curves for metric in metrics} <= logged
    every = [run for run in backend.runs(project) if run not in replaced]
    assert shown_in(grids[-1], project, backend) == every


def test_what_is_compared_is_in_the_config_and_the_summary_of_a_run(
    ftsync: Ftsync, world: World, backend: WandbBackend, project: str
) -> None:
    world.add(*samples.many(1))
    ftsync("sync")
    ftsync("report")
    (run,) = backend.runs(project)
    spec = json.loads(backend.views(project, "runs")[0].spec)
    panels = [
        panel
        for block in spec["blocks"]
        if block["type"] == "panel-grid"
        for panel in block["metadata"]["panelBankSectionConfig"]["panels"]
    ]
    (together,) = [panel["config"] for panel in panels if panel["viewType"] == "Parallel Coordinates Plot"]
    places = {"config": run.raw_config, "summary": run.summary}
    for column in together["columns"]:
        section, _, path = column["accessor"].partition(":")
        value: Any = places[section]
        for name in path.split("."):
            value = value[name]
        assert isinstance(value, int | float)
    assert len(together["columns"]) > 3


@pytest.mark.usefixtures("ids")
def test_quiet_is_the_url_of_the_report_alone(ftsync: Ftsync, backend: WandbBackend, project: str) -> None:
    said = ftsync("report", "-q")
    assert said.out.endswith(f"--{backend.views(project, 'runs')[0].id}\n")
    assert (said.out.count("\n"), said.err) == (1, "")


def test_verbose_names_the_runs(ftsync: Ftsync, ids: list[str]) -> None:
    said = ftsync("report", "-v", "--job", ids[1])
    assert said.err.splitlines()[-1] == f"{ids[1]}: run {ids[1]}"


@pytest.mark.usefixtures("ids")
def test_openai_is_not_asked_and_no_key_of_its_is_needed(
    ftsync: Ftsync, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox.forget()
    monkeypatch.delenv("OPENAI_API_KEY")
    assert ftsync("report").code == 0
    assert sandbox.requests == []


def test_what_was_never_synced_is_not_found(ftsync: Ftsync, project: str) -> None:
    said = ftsync("report", "--json")
    assert said.code == 3
    assert said.json["error"]["code"] == "not_found"
    assert said.json["error"]["message"] == f"W&B has no project ada/{project}"
    assert "`ftsync sync`" in said.json["error"]["hint"]


def test_there_are_no_reports_offline(ftsync: Ftsync, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    said = ftsync("report")
    assert said.code == 2
    assert "FTSYNC_MODE=online ftsync report" in said.err


def test_nobody_is_logged_in(ftsync: Ftsync, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_API_KEY")
    said = ftsync("report")
    assert said.code == 4
    assert "wandb login" in said.err


def test_without_the_extra_it_says_what_to_install(ftsync: Ftsync, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("report", "panels"):
        monkeypatch.delitem(sys.modules, f"ft_sync.sinks.{name}", raising=False)
        monkeypatch.delattr(ft_sync.sinks, name, raising=False)
    for name in [name for name in sys.modules if name.startswith("wandb_workspaces")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    said = ftsync("report")
    assert said.code == 2
    assert "pip install 'ft-sync[report]'" in said.err


@pytest.mark.parametrize("flags", [["--job", "ftjob-1", "--last", "1"], ["--last", "0"], ["--job", ""]])
def test_what_contradicts_itself_is_refused(ftsync: Ftsync, flags: list[str]) -> None:
    assert ftsync("report", *flags).code == 2


def test_no_ids_on_stdin_mean_no_report(ftsync: Ftsync, backend: WandbBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    backend.requests.clear()
    said = ftsync("report", "--job", "-")
    assert (said.code, said.out, backend.requests) == (0, "", [])
