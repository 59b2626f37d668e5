"""Decides what a report of a project shows, given the content of its runs; pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeGuard

from ft_sync.convert import TAKEN, best_of
from ft_sync.names import table_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ft_sync.models import JobId, RunId, RunState, Split

Family = Literal["loss", "accuracy", "reward"]

FAMILIES: tuple[Family, ...] = ("loss", "accuracy", "reward")
"""Families of metrics in the order of their charts; hyperparameters are compared by the first that a method has."""

SPLIT = re.compile(r"(^|/)(full_valid_|valid_|train_)(?=[^/]*$)")
"""The prefix of a metric's name that tells its data split; metrics that differ only in it share a chart."""

SPLITS = ("full_valid_", "valid_", "train_", "")
"""Prefixes of data splits, best suited for comparing runs first."""

MOST_CHARTS = 12
MOST_COLUMNS = 6
"""Maximum number of columns; a method with many graders has hundreds of metrics, too many to be readable."""

PLAIN = re.compile(r"[\w /-]+")
"""Names that can be part of a key path in W&B, where a dot separates levels."""


@dataclass(frozen=True, slots=True)
class Held:
    """A run with its config and summary."""

    state: RunState
    config: Mapping[str, Any]
    summary: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Chart:
    """Metrics that share one chart."""

    title: str
    metrics: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """The part of a report about the runs of one method.

    Attributes:
        method: The fine-tuning method; None for runs of jobs that do not tell it.
        hyperparameters: Names of the numeric hyperparameters.
        scores: Summary paths of the best values, such as `valid_loss.min`; the one to compare by first.
    """

    method: str | None
    charts: tuple[Chart, ...]
    hyperparameters: tuple[str, ...]
    scores: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Model:
    """A fine-tuned model and its origin; unknown fields are None."""

    name: str
    job_id: JobId
    base_model: str | None
    method: str | None
    trained_tokens: int | None
    url: str | None


@dataclass(frozen=True, slots=True)
class Outline:
    """The content of a report.

    Attributes:
        tables: Summary keys of the datasets' tables.
        models: The fine-tuned models, newest first.
        run_ids: The only runs to show; None for all runs made from jobs, including future ones.
    """

    parts: tuple[Part, ...]
    tables: tuple[str, ...]
    models: tuple[Model, ...]
    run_ids: tuple[RunId, ...] | None = None


@dataclass(frozen=True, slots=True)
class Heading:
    """The title of a report and the mark by which it is found again.

    Attributes:
        mark: Letters and digits, unique for each selection of jobs.
    """

    title: str
    mark: str


def outline(runs: Sequence[Held], *, narrowed: bool) -> Outline:
    """Return the content of a report of these runs.

    Args:
        runs: One run per job, newest first.
        narrowed: Whether only these runs are to be shown, and no others of the project.
    """
    by_method: dict[str | None, list[Held]] = {}
    for run in runs:
        by_method.setdefault(_text(run.config.get("method")), []).append(run)
    splits: tuple[Split, ...] = ("train", "valid")
    methods = sorted(by_method, key=lambda method: (method is None, method))
    return Outline(
        parts=tuple(_part(method, by_method[method]) for method in methods),
        tables=tuple(key for key in map(table_key, splits) if any(key in run.summary for run in runs)),
        models=tuple(_models(runs)),
        run_ids=tuple(run.state.run_id for run in runs) if narrowed else None,
    )


def _part(method: str | None, runs: Sequence[Held]) -> Part:
    metrics: dict[str, str] = {}
    for name, path in (found for run in runs for found in _metrics(run.summary)):
        metrics[name] = max(path, metrics.get(name, path), key=len)  # with `.min` or `.max`, if any run has it
    ranked = sorted(metrics, key=_rank)
    charts: dict[str, list[str]] = {}
    for name in ranked:
        charts.setdefault(SPLIT.sub(r"\1", name), []).append(name)
    hyperparameters = {name for run in runs for name in _numbers(run.config.get("hyperparameters"))}
    scores = [metrics[name] for name in ranked if PLAIN.fullmatch(name)]
    return Part(
        method,
        charts=tuple(Chart(title, tuple(names)) for title, names in charts.items())[:MOST_CHARTS],
        hyperparameters=tuple(sorted(hyperparameters)[:MOST_COLUMNS]),
        scores=tuple(scores[:MOST_COLUMNS]),
    )


def _metrics(summary: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """Yield the losses, accuracies and rewards in a summary, each with the summary path of its best value."""
    for name, value in summary.items():
        best = best_of(name)
        if best is None or name in TAKEN or not name.isprintable():
            continue
        if isinstance(value, dict) and _is_number(value.get(best)):
            yield name, f"{name}.{best}"
        elif _is_number(value):  # a run that is still open has no best value in its summary yet
            yield name, name


def _rank(metric: str) -> tuple[int, int, str, int]:
    """Return a metric's sort key: by family, metrics of the whole job before those of a single grader."""
    title = SPLIT.sub(r"\1", metric)
    split = SPLIT.search(metric)
    return FAMILIES.index(family(metric)), metric.count("/"), title, SPLITS.index(split[2] if split else "")


def family(metric: str) -> Family:
    """Return the family of a metric whose best value is known."""
    if best_of(metric) == "min":
        return "loss"
    return "accuracy" if "accurac" in metric.lower() else "reward"


def _models(runs: Iterable[Held]) -> Iterable[Model]:
    for run in runs:
        if name := _text(run.summary.get("fine_tuned_model")):
            tokens = run.summary.get("trained_tokens")
            yield Model(
                name,
                run.state.job_id,
                base_model=_text(run.config.get("model")),
                method=_text(run.config.get("method")),
                trained_tokens=int(tokens) if _is_number(tokens) else None,
                url=run.state.url,
            )


def _numbers(values: object) -> Iterable[str]:
    if isinstance(values, dict):
        yield from (name for name, value in values.items() if _is_number(value) and re.fullmatch(r"\w+", name))


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(value: object) -> str | None:
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) and value else None
