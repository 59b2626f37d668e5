"""Reports on the loopback server, read back by the package that W&B's own documentation reads them with."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import wandb
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from wandb_workspaces.reports.v2 import interface as reports
from wandb_workspaces.workspaces.interface import Workspace

from ft_sync.errors import AuthError, NotFound, SinkRejected
from ft_sync.models import JobId, RunId
from ft_sync.outline import Chart, Heading, Model, Outline, Part
from ft_sync.sinks import panels
from ft_sync.sinks.report import Reporter
from ft_sync.sinks.wandb import RunOptions

if TYPE_CHECKING:
    from pathlib import Path

    from tests.wandb_backend import View, WandbBackend

HEADING = Heading("Fine-tuning jobs", "ftsyncall")
MODEL = Model("ft:gpt:org::1", JobId("ftjob-1"), "gpt", "supervised", 12_000, "https://wandb.ai/ada/p/runs/ftjob-1")
PART = Part("supervised", (Chart("loss", ("valid_loss", "train_loss")),), ("n_epochs",), ("valid_loss.min",))
OUTLINE = Outline((PART,), ("train_data",), (MODEL,))


@pytest.fixture
def sink(workspace: Path, project: str) -> Reporter:
    assert workspace.is_dir()
    with wandb.init(project=project, id="ftjob-1", reinit="create_new", config={"fine_tune_job_id": "ftjob-1"}):
        pass
    return Reporter(RunOptions(project, None, "online"))


def loaded(url: str) -> Any:  # noqa: ANN401 - its blocks are unions of everything
    return reports.Report.from_url(url)


def grids(url: str) -> list[Any]:
    return [block for block in loaded(url).blocks if isinstance(block, reports.PanelGrid)]


def the_view(backend: WandbBackend, project: str, kind: str = "runs") -> View:
    (view,) = backend.views(project, kind)
    return view


def filters_of(view: View) -> list[list[tuple[Any, ...]]]:
    """The filters of each run set, as they were sent."""
    spec = json.loads(view.spec)
    holders = [block["metadata"] for block in spec.get("blocks", ()) if "metadata" in block] or [spec["section"]]
    sent = [runs["filters"]["filters"] for holder in holders for runs in holder["runSets"]]
    return [[(":".join(one["key"].values()), one["op"], one["value"]) for one in filters] for filters in sent]


def test_a_report_comes_back_as_it_was_written(sink: Reporter, backend: WandbBackend) -> None:
    url, _, is_new = sink.write(HEADING, OUTLINE)
    found = loaded(url)
    assert is_new
    assert found.title == "Fine-tuning jobs"
    assert [str(block.text) for block in found.blocks if isinstance(block, reports.H2)] == [
        "Models",
        "supervised",
        "Datasets",
    ]
    method, datasets = grids(url)
    curves, together, alone = method.panels
    assert (curves.title, [metric.name for metric in curves.y]) == ("loss", ["valid_loss", "train_loss"])
    assert [column.metric.name for column in together.columns] == ["hyperparameters.n_epochs", "valid_loss.min"]
    assert (alone.x.name, alone.y.name) == ("hyperparameters.n_epochs", "valid_loss.min")
    assert [panel.table_name for panel in datasets.panels] == ["train_data"]
    assert backend.unknown_fields == set()


def test_a_workspace_view_comes_back_as_it_was_written(sink: Reporter) -> None:
    _, url, _ = sink.write(HEADING, OUTLINE)
    found = Workspace.from_url(url)
    assert {section.name: len(section.panels) for section in found.sections} == {
        "Loss": 1,
        "Hyperparameters": 2,
        "Datasets": 1,
    }
    assert [group.name for group in found.runset_settings.groupby] == ["method"]
    assert found.url == url


def test_written_again_both_are_renewed_and_there_is_no_second(
    sink: Reporter, backend: WandbBackend, project: str
) -> None:
    first = sink.write(HEADING, OUTLINE)
    other = Outline((Part("dpo", (), (), ()),), (), ())
    second = Reporter(RunOptions(project, None, "online")).write(HEADING, other)
    assert second == (*first[:2], False)
    assert [runs.filters.split(" and ")[-1] for grid in grids(second[0]) for runs in grid.runsets] == [
        "Config(\"method.value\") == 'dpo'"
    ]
    assert the_view(backend, project).id in second[0]
    assert Workspace.from_url(second[1]).sections == []
    the_view(backend, project, "project-view")


def test_the_same_written_twice_is_the_same(sink: Reporter, backend: WandbBackend, project: str) -> None:
    url, _, _ = sink.write(HEADING, OUTLINE)
    before = [repr(block) for block in loaded(url).blocks]
    Reporter(RunOptions(project, None, "online")).write(HEADING, OUTLINE)
    assert [repr(block) for block in loaded(url).blocks] == before
    assert len(backend.views(project, "runs")) == 1


def test_what_was_changed_in_a_report_is_replaced_and_what_was_said_about_it_stays(
    sink: Reporter, backend: WandbBackend, project: str
) -> None:
    url, _, _ = sink.write(HEADING, OUTLINE)
    view = the_view(backend, project)
    thread = {"id": "1", "comments": ["is this lower than last week?"]}
    changed = {"blocks": [{"type": "from the future"}], "discussionThreads": [thread], "authors": [{"name": "Ada"}]}
    view.spec = json.dumps(json.loads(view.spec) | changed)
    Reporter(RunOptions(project, None, "online")).write(HEADING, OUTLINE)
    spec = json.loads(view.spec)
    assert (spec["discussionThreads"], spec["authors"]) == ([thread], [{"name": "Ada"}])
    assert len(grids(url)) == 2


@pytest.mark.parametrize("changes", [{"title": "Ours"}, {"description": "without the mark"}])
def test_a_report_with_another_title_or_without_the_mark_is_somebody_elses(
    sink: Reporter, backend: WandbBackend, project: str, changes: dict[str, str]
) -> None:
    theirs = reports.Report(project=project, entity="ada", title="Fine-tuning jobs", description="[ftsyncall]")
    for name, value in changes.items():
        setattr(theirs, name, value)
    theirs.save()
    (view,) = backend.views(project, "runs")
    before = view.spec
    assert sink.write(HEADING, OUTLINE)[2]
    assert (len(backend.views(project, "runs")), view.spec) == (2, before)


def test_of_copies_with_the_same_title_the_oldest_is_renewed(
    sink: Reporter, backend: WandbBackend, project: str
) -> None:
    url, _, _ = sink.write(HEADING, OUTLINE)
    original = the_view(backend, project)
    original.created_at -= timedelta(days=1)
    loaded(url).save(clone=True)
    (copy,) = [view for view in backend.views(project, "runs") if view is not original]
    copy.project.views = {copy.id: copy, original.id: original}
    before = copy.spec
    assert sink.write(HEADING, Outline((), (), ()))[0] == url
    assert copy.spec == before


@pytest.mark.parametrize("operation", ["upsertView", "UpsertView2"])
def test_a_lost_answer_makes_no_second(sink: Reporter, backend: WandbBackend, project: str, operation: str) -> None:
    backend.fail(operation, lost=True, times=1, when=lambda request: request.operation == operation)
    url, _, _ = sink.write(HEADING, OUTLINE)
    assert the_view(backend, project).id in url
    the_view(backend, project, "project-view")
    backend.requests.clear()
    sink.write(HEADING, OUTLINE)
    assert backend.count("deleteView") == 0


def test_a_view_that_a_newer_app_has_saved_is_renewed(sink: Reporter, backend: WandbBackend, project: str) -> None:
    sink.write(HEADING, OUTLINE)
    view = the_view(backend, project, "project-view")
    view.spec = json.dumps({"version": 99})
    sink.write(HEADING, OUTLINE)
    assert the_view(backend, project, "project-view") is view
    assert "version" not in json.loads(view.spec)


def test_runs_are_shown_by_method_also_those_that_come_later(
    sink: Reporter, backend: WandbBackend, project: str
) -> None:
    sink.write(HEADING, OUTLINE)
    every = [("config:fine_tune_job_id.value", "!=", None), ("run:tags", "NIN", ["ftsync-replaced"])]
    method = ("config:method.value", "=", "supervised")
    assert filters_of(the_view(backend, project)) == [[*every, method], every]
    assert filters_of(the_view(backend, project, "project-view")) == [every]


def test_where_jobs_were_selected_their_runs_alone_are_shown(
    sink: Reporter, backend: WandbBackend, project: str
) -> None:
    sink.write(HEADING, Outline((PART,), ("train_data",), (MODEL,), (RunId("ftjob-1"), RunId("ftjob-2-r2"))))
    named = ("run:name", "IN", ["ftjob-1", "ftjob-2-r2"])
    method = ("config:method.value", "=", "supervised")
    assert filters_of(the_view(backend, project)) == [[named, method], [named]]
    assert filters_of(the_view(backend, project, "project-view")) == [[named]]


@pytest.mark.parametrize("method", ["it's", 'a="b"', "a <= b or Config('x') != 'y'", None])
def test_a_filter_holds_any_value_as_it_is(
    sink: Reporter, backend: WandbBackend, project: str, method: str | None
) -> None:
    sink.write(HEADING, Outline((Part(method, (), (), ()),), (), ()))
    ((*_, (_, operator, value)),) = filters_of(the_view(backend, project))
    assert (operator, value) == ("=", method)


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("ft:gpt:org::1", "`ft:gpt:org::1`"),
        ("a|b", "`a¦b`"),
        ("``` </td> [x](javascript:y) $z$", "`''' </td> [x](javascript:y) $z$`"),
        ("two\nlines\u202e", "`two\ufffdlines\ufffd`"),
        ("back\\", "`back\\`"),
        ("", "-"),
    ],
)
def test_a_models_name_cannot_leave_its_cell(text: str, cell: str) -> None:
    model = Model(text, JobId("ftjob-1"), None, None, None, "https://w/a b)>|c")
    (_, table) = panels.blocks(Outline((), (), (model,)))
    assert table.text.splitlines()[2] == f"| {cell} | [`ftjob-1`](<https://w/a%20b%29%3E%7Cc>) | - | - | - |"


@given(st.text(min_size=1))
@example("a\\")
@example("``|``")
@example("   ")
def test_whatever_a_model_is_called_is_one_piece_of_code_in_one_cell(text: str) -> None:
    model = Model(text, JobId(text), text, text, 1, f"https://w/{text}")
    (_, table) = panels.blocks(Outline((), (), (model,)))
    tokens = MarkdownIt("commonmark").enable("table").parse(table.text)
    cells = [token.children or [] for token in tokens if token.type == "inline"][5:]
    link = ["link_open", "code_inline", "link_close"]
    kinds = [[child.type for child in cell] for cell in cells]
    assert kinds == [["code_inline"], link, ["code_inline"], ["code_inline"], ["text"]]
    assert tokens[-1].type == "table_close"


def test_a_table_of_models_has_an_end(sink: Reporter) -> None:
    url, _, _ = sink.write(HEADING, Outline((), (), (MODEL,) * 5000))
    (table,) = [block for block in loaded(url).blocks if isinstance(block, reports.MarkdownBlock)]
    assert len(table.text.splitlines()) == 2 + panels.MODELS_SHOWN
    assert any("4,800 older ones" in str(block) for block in loaded(url).blocks)


def test_every_run_that_was_made_from_a_job_is_found_and_no_other(sink: Reporter, project: str) -> None:
    with wandb.init(project=project, id="other", reinit="create_new", config={"lr": 1}):
        pass
    (run,) = sink.held()
    assert (run.state.run_id, run.state.job_id, run.config) == ("ftjob-1", "ftjob-1", {"fine_tune_job_id": "ftjob-1"})


def test_a_project_that_is_not_there_is_not_found(sink: Reporter) -> None:
    with pytest.raises(NotFound, match="no project ada/nowhere"):
        list(Reporter(RunOptions("nowhere", None, "online")).held())
    assert sink.place.startswith("ada/")


@pytest.mark.parametrize("operation", ["upsertView", "UpsertView2", "ProjectViews", "Views", "GetProjects"])
def test_a_refusal_is_told_as_one(sink: Reporter, backend: WandbBackend, operation: str) -> None:
    for status, error in ((403, AuthError), (400, SinkRejected)):
        backend.heal()
        backend.fail(operation, status=status)
        with pytest.raises(error):
            sink.write(HEADING, OUTLINE)
