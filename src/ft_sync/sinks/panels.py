"""Turns an outline into blocks of a W&B report and sections of a workspace; sends no requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import quote

from wandb_workspaces.expr import Config
from wandb_workspaces.reports.v2 import interface as reports
from wandb_workspaces.workspaces.interface import RunsetSettings, Section, Workspace

from ft_sync.names import REPLACED_TAG
from ft_sync.outline import FAMILIES, Chart, family
from ft_sync.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ft_sync.models import RunId
    from ft_sync.outline import Model, Outline, Part

Filter: TypeAlias = tuple[str, str, str, object]
"""A filter of runs: section and name of a field, an operator and a value."""

FULL, HALF, HIGH = 24, 12, 8
"""Widths and the height of panels, in the units of a report's grid."""

RUNS_DRAWN = 100
"""Maximum number of runs in one chart; W&B's default of 10 would hide most."""

MODELS_SHOWN = 200
LONGEST = 200
"""Maximum length of a text from a service, in characters."""

NOTHING = "-"
UNSAID = "method not said"


def blocks(outline: Outline) -> list[Any]:
    """Return the content of the report."""
    return [*_models(outline.models), *_parts(outline), *_datasets(outline)]


def fill(workspace: Workspace, outline: Outline) -> None:
    """Fill the workspace: runs grouped by method, panels in sections by topic."""
    charts: dict[str, list[str]] = {}
    for chart in (chart for part in outline.parts for chart in part.charts):
        charts.setdefault(chart.title, []).extend(chart.metrics)
    drawn = [Chart(title, tuple(dict.fromkeys(metrics))) for title, metrics in charts.items()]
    by_family = {name: [_curves(chart) for chart in drawn if family(chart.title) == name] for name in FAMILIES}
    sections = {
        **{name.capitalize(): panels for name, panels in by_family.items()},
        "Hyperparameters": [panel for part in outline.parts for panel in _comparisons(part, _method(part))],
        "Datasets": _tables(outline.tables),
    }
    workspace.sections = [Section(name, panels=panels, is_open=True) for name, panels in sections.items() if panels]
    workspace.runset_settings = RunsetSettings(
        groupby=[Config("method")], pinned_columns=["run:displayName", "summary:fine_tuned_model", "config:model.value"]
    )
    _filter(workspace, _made_from_jobs(outline.run_ids))


def _models(models: Sequence[Model]) -> list[Any]:
    if not models:
        return [reports.H2("Models"), reports.P("No job has made a model yet.")]
    rows = [("model", "job", "base model", "method", "trained tokens"), ("---", "---", "---", "---", "--:")]
    rows += [
        (
            _code(model.name),
            _link(_code(model.job_id), model.url),
            _code(model.base_model),
            _code(model.method),
            NOTHING if model.trained_tokens is None else f"{model.trained_tokens:,}",
        )
        for model in models[:MODELS_SHOWN]
    ]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    more = len(models) - MODELS_SHOWN
    left_out = [reports.P(f"These are the newest; {more:,} older ones are in the tables of runs below.")]
    return [reports.H2("Models"), reports.MarkdownBlock(table), *(left_out if more > 0 else [])]


def _parts(outline: Outline) -> Iterable[Any]:
    for part in outline.parts:
        runs = reports.Runset(
            name="Runs",
            pinned_columns=["run:displayName", "summary:fine_tuned_model"],
            visible_columns=[
                "config:model.value",
                *(f"config:hyperparameters.value.{name}" for name in part.hyperparameters),
                *(f"summary:{path}" for path in part.scores),
                "summary:trained_tokens",
            ],
        )
        of_method = ("config", "method.value", "=", part.method)
        _filter(runs, [*_made_from_jobs(outline.run_ids), of_method])
        panels = [*map(_curves, part.charts), *_comparisons(part, "Hyperparameters and results")]
        yield reports.H2(_shown(_method(part)))
        yield reports.PanelGrid(runsets=[runs], panels=panels)


def _datasets(outline: Outline) -> Iterable[Any]:
    if outline.tables:
        runs = reports.Runset(name="Runs", pinned_columns=["run:displayName"])
        _filter(runs, _made_from_jobs(outline.run_ids))
        yield reports.H2("Datasets")
        yield reports.PanelGrid(runsets=[runs], panels=_tables(outline.tables))


def _curves(chart: Chart) -> reports.LinePlot:
    return reports.LinePlot(
        title=_shown(chart.title),
        x="Step",
        y=list(chart.metrics),
        max_runs_to_show=RUNS_DRAWN,
        layout=reports.Layout(w=HALF, h=HIGH),
    )


def _comparisons(part: Part, title: str) -> list[Any]:
    """Return panels of results by hyperparameter: all in one, and each against the first score."""
    if not part.hyperparameters or not part.scores:
        return []
    inputs = [reports.Config(f"hyperparameters.{name}") for name in part.hyperparameters]
    results = [reports.SummaryMetric(path) for path in part.scores]
    compared: list[reports.Config | reports.SummaryMetric] = [*inputs, *results]
    together = reports.ParallelCoordinatesPlot(
        title=_shown(title),
        columns=[reports.ParallelCoordinatesPlotColumn(metric=metric) for metric in compared],
        layout=reports.Layout(w=FULL, h=HIGH),
    )
    alone = [
        reports.ScatterPlot(
            title=f"{name} and {part.scores[0]}", x=given, y=results[0], layout=reports.Layout(w=HALF, h=HIGH)
        )
        for name, given in zip(part.hyperparameters, inputs, strict=True)
    ]
    return [together, *alone]


def _tables(keys: Iterable[str]) -> list[Any]:
    return [reports.WeavePanelSummaryTable(table_name=key, layout=reports.Layout(w=FULL, h=2 * HIGH)) for key in keys]


def _made_from_jobs(run_ids: Sequence[RunId] | None) -> list[Filter]:
    if run_ids is not None:
        return [("run", "name", "IN", list(run_ids))]
    return [("config", "fine_tune_job_id.value", "!=", None), ("run", "tags", "NIN", [REPLACED_TAG])]


def _filter(holder: Any, filters: Iterable[Filter]) -> None:  # noqa: ANN401 - a run set or a workspace
    """Show only the runs for which all filters hold, by setting the package's internal filter state.

    The package's own filter expressions are parsed from text without escaping values: a quote ends the value, and =
    becomes == (wandb-workspaces 0.4.13).
    """
    items = [
        {"key": {"section": section, "name": name}, "op": operator, "value": value, "disabled": False}
        | ({"connector": "AND"} if number else {})
        for number, (section, name, operator, value) in enumerate(filters)
    ]
    holder._stashed_filters_v2 = {"filterFormat": "filterV2", "filters": items}  # noqa: SLF001 - see above
    holder._stashed_filter_string = ""  # noqa: SLF001 - see above


def _method(part: Part) -> str:
    return UNSAID if part.method is None else part.method


def _link(text: str, url: str | None) -> str:
    return text if url is None else f"[{text}](<{quote(url, safe=':/?=&%')}>)"


def _code(text: str | None) -> str:
    """Return untrusted text as Markdown code, also safe in a table: nothing in it acts as markup."""
    return f"`{_shown(text).replace('`', chr(39)).replace('|', '¦')}`" if text else NOTHING


def _shown(text: str) -> str:
    """Return untrusted text on one line, without keys and invisible characters."""
    seen = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in redact(text))
    return seen if len(seen) <= LONGEST else f"{seen[:LONGEST]}…"
