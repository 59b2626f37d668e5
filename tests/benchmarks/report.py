"""Figures as they are told: one table for people, JSON for programs; measures nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from rich import box
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class Target:
    """What ftsync must reach: `at most` so much, so many `times faster` than the peer or `times as much` at most."""

    kind: Literal["at most", "times faster", "times as much"]
    limit: float


@dataclass(frozen=True)
class Result:
    """One line of the table.

    Attributes:
        figure: The name of the figure that it belongs to.
        what: What was measured.
        unit: Of both values.
        ftsync: Our value.
        peer: The value that it is compared with.
        against: Whose value that is.
        target: None for a figure that nobody set one for.
        details: What else is known of it, for the JSON.
    """

    figure: str
    what: str
    unit: str
    ftsync: float
    peer: float | None = None
    against: str = "WandbLogger"
    target: Target | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """Our value over the peer's."""
        return self.ftsync / self.peer if self.peer else None

    @property
    def reached(self) -> bool | None:
        """Whether the target is reached; None if there is none, or no peer was measured."""
        match self.target:
            case Target("at most", limit):
                return self.ftsync <= limit
            case Target("times faster", limit) if self.ratio is not None:
                return self.ratio * limit <= 1
            case Target("times as much", limit) if self.ratio is not None:
                return self.ratio <= limit
            case _:
                return None

    def as_json(self) -> dict[str, Any]:
        """The result as plain data."""
        return {
            "figure": self.figure,
            "what": self.what,
            "unit": self.unit,
            "ftsync": self.ftsync,
            "peer": self.peer,
            "against": self.against if self.peer is not None else None,
            "ratio": self.ratio,
            "target": {"kind": self.target.kind, "limit": self.target.limit} if self.target else None,
            "reached": self.reached,
            "details": dict(self.details),
        }


def table(results: Sequence[Result]) -> Table:
    """All results, a line each; in Markdown, so that it can be kept in a document."""
    drawn = Table("figure", "measured", box=box.MARKDOWN)
    for column in ("ftsync", "peer", "ratio", "target", "reached"):
        drawn.add_column(column, justify="right")
    before = None
    for result in results:
        drawn.add_row(
            result.figure if result.figure != before else "",
            result.what if result.peer is None else f"{result.what}, against {result.against}",
            _amount(result.ftsync, result.unit),
            "" if result.peer is None else _amount(result.peer, result.unit),
            _ratio(result),
            _target(result),
            {True: "yes", False: "NO", None: ""}[result.reached],
        )
        before = result.figure
    return drawn


def cost_table(costs: Sequence[Mapping[str, Any]]) -> Table:
    """Where the time of each measured command may have gone."""
    drawn = Table("figure", "command", box=box.MARKDOWN)
    columns = {
        "seconds": "wall s",
        "own_cpu": "Python CPU s",
        "core_cpu": "core CPU s",
        "own_peak_mib": "Python MiB",
        "core_peak_mib": "core MiB",
        "openai_requests": "to OpenAI",
        "wandb_requests": "to W&B",
        "waiting": "round trips s",
        "uploaded_mb": "to W&B MB",
        "openai_server_cpu": "OpenAI server s",
        "wandb_server_cpu": "W&B server s",
    }
    for title in columns.values():
        drawn.add_column(title, justify="right")
    for cost in costs:
        drawn.add_row(cost["figure"], cost["command"], *(_number(cost[key]) if cost[key] else "" for key in columns))
    return drawn


def _number(value: float) -> str:
    if isinstance(value, int) or value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.3g}"


def _amount(value: float, unit: str) -> str:
    return f"{_number(value)} {unit}".strip()


def _ratio(result: Result) -> str:
    if result.ratio is None:
        return ""
    if result.target and result.target.kind == "times faster":
        return f"{1 / result.ratio:.1f}x faster" if result.ratio else ""
    return f"{result.ratio:.2f}x"


def _target(result: Result) -> str:
    match result.target:
        case None:
            return ""
        case Target("at most", limit):
            return f"<= {_amount(limit, result.unit)}"
        case Target("times faster", limit):
            return f">= {limit:g}x faster"
        case Target(_, limit):
            return f"<= {limit:g}x"
