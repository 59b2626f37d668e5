"""What a run contains as a bulk query returns it: which values are equal to W&B, and how a lack is named."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from ft_sync.content import ONLY_OURS, Lack, RunContent, artifact, lacking, named, not_compared, tagged, texts, values

if TYPE_CHECKING:
    from ft_sync.content import Item


def content(**items: Item) -> RunContent:
    return RunContent(items)


@pytest.mark.parametrize(
    ("written", "returned"),
    [
        (1.0, 1),
        (0.1, 0.1),
        (-0.0, 0),
        (1e22, 10**22),
        ({"b": 1, "a": [1.0, None, {"c": None}]}, {"a": [1, None, {}], "b": 1}),
        ({"a": None, "b": 1}, {"b": 1}),
        ({"b": 1}, {"a": None, "b": 1}),
        ({"a": {"b": None}, "c": 1}, {"c": 1}),
        ((1, 2), [1, 2]),
        ({1: "a"}, {"1": "a"}),
        ("\u05e9", "\u05e9"),
    ],
)
def test_values_that_wandb_stores_alike_are_equal(written: Any, returned: Any) -> None:  # noqa: ANN401 - JSON
    assert dict(values("config", {"x": written})) == dict(values("config", {"x": returned}))


@pytest.mark.parametrize(
    ("written", "returned"),
    [(1, 2), (1, True), (0, False), (1, "1"), ([1, 2], [2, 1]), ([{"a": 1}], [{"a": 2}]), ("a", "a "), ("a", None)],
)
def test_other_values_are_not(written: Any, returned: Any) -> None:  # noqa: ANN401 - JSON
    assert dict(values("config", {"x": written})) != dict(values("config", {"x": returned}))


@pytest.mark.parametrize("empty", [None, {}, {"a": None}, {"a": {"b": {}}}])
def test_what_wandb_does_not_store_is_no_item(empty: Any) -> None:  # noqa: ANN401 - JSON
    assert dict(values("config", {"x": empty})) == {}


@pytest.mark.parametrize("odd", [datetime(2026, 1, 1), float("nan"), 10**400, "\ud800", object()])  # noqa: DTZ001
def test_of_what_is_no_plain_json_only_the_presence_counts(odd: object) -> None:
    written = RunContent(dict(values("config", {"x": odd})))
    assert lacking(written, RunContent(dict(values("config", {"x": "whatever the SDK makes of it"})))) == ()
    assert [lack.item for lack in lacking(written, RunContent())] == ["config.x"]


def test_keys_that_a_run_has_at_any_depth_in_addition_are_no_lack() -> None:
    written = RunContent(dict(values("config", {"a": {"b": {"c": 1}}})))
    assert lacking(written, RunContent(dict(values("config", {"a": {"b": {"c": 1, "mine": 2}, "mine": 3}})))) == ()


def test_a_config_key_that_a_run_written_by_us_alone_has_in_addition_is_a_lack() -> None:
    written = RunContent(dict(values("config", {"a": {"b": 1}, "odd": object()})), only=ONLY_OURS)
    returned = {"a": {"b": 1, "more": 2}, "odd": {"x": 1}, "lr": 5, "_wandb": {"t": 1}, "n_train": 3}
    found = RunContent({**dict(values("config", returned)), "config.odd": "f"})
    assert [str(lack) for lack in lacking(written, found)] == [
        "config.a.more (which was not written)",
        "config.lr (which was not written)",
    ]


def test_a_tag_by_which_ftsync_would_take_a_run_for_another_is_a_lack() -> None:
    found = RunContent(dict(tagged(["openai", "mine", "ftsync-replaced", "openai/fine-tune"])))
    written = RunContent(dict(tagged(["openai"])), only=ONLY_OURS)
    assert [lack.item for lack in lacking(written, found)] == ["tag ftsync-replaced", "tag openai/fine-tune"]
    assert lacking(RunContent(found.items, only=ONLY_OURS), found) == ()


def test_a_long_value_is_kept_as_a_short_fingerprint() -> None:
    (fingerprint,) = dict(values("config", {"x": "a" * 100_000})).values()
    assert len(str(fingerprint)) == 16


def test_what_wandb_returns_in_addition_is_no_lack() -> None:
    assert lacking(content(rows=2), RunContent({"rows": 2, "config.mine": "f", "tag mine": None})) == ()


def test_an_artifact_whose_size_wandb_does_not_return_is_no_lack_but_another_version_is() -> None:
    written = RunContent(dict([artifact("train", "a", 5)]))
    assert lacking(written, RunContent(dict([artifact("train", "a", None)]))) == ()
    assert len(lacking(written, RunContent(dict([artifact("train", "b", 5)])))) == 1


def test_each_kind_of_lack_is_named() -> None:
    items: dict[str, Item] = {
        "state": "finished",
        "rows": 40,
        "console log": 3,
        **dict(values("config", {"lr": {"start": 1}})),
        **dict(tagged(["b"])),
        **dict(texts(job_type="fine-tune", notes=None)),
        "file fine_tuning/events.jsonl": 300,
        "file fine_tuning/job.json": 20,
        **dict([artifact("train-file", "QXJ0", 5)]),
    }
    returned: dict[str, Item] = {
        "state": "running",
        "rows": 37,
        "file fine_tuning/events.jsonl": 120,
        **dict([artifact("train-file", "QXJ0", 4)]),
    }
    assert [str(lack) for lack in lacking(RunContent(items), RunContent(returned))] == [
        "state finished (it is running)",
        "37 of 40 rows",
        "0 of 3 lines of the console log",
        "config.lr.start",
        "tag b",
        "job type",
        "file fine_tuning/events.jsonl (120 of 300 bytes)",
        "file fine_tuning/job.json",
        "artifact train-file@QXJ0 (4 of 5 bytes)",
    ]


def test_many_lacks_are_counted() -> None:
    lacks = [Lack(f"config.{number}", "f") for number in range(7)]
    told = "1 of 2 rows, config.0, config.1, config.2 and 4 more (config), tag a"
    assert named([Lack("rows", 2, 1), *lacks, Lack("tag a", None)]) == told


def test_what_a_server_does_not_return_is_not_compared_and_named() -> None:
    written = RunContent({"rows": 2, "console log": 3, "tag a": None})
    found = RunContent({"tag a": None}, frozenset({"rows", "console log"}))
    assert lacking(written, found) == ()
    assert not_compared(written, found) == ("rows", "console log")


@pytest.mark.parametrize(("state", "is_open"), [("running", True), ("crashed", True), ("failed", False), (None, False)])
def test_an_end_that_was_missed_is_an_open_end(state: str | None, is_open: bool) -> None:
    assert Lack("state", "finished", state).is_open_end is is_open
