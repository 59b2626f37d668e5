from __future__ import annotations

from typing import Any

import pytest

from ft_sync.models import JobId, Origin, RunId, RunState
from ft_sync.outline import MOST_CHARTS, Chart, Held, outline

SUMMARY = {"train_loss": {"min": 0.1, "last": 0.2}, "status": "succeeded"}


def held(name: str = "1", summary: dict[str, Any] = SUMMARY, **config: Any) -> Held:  # noqa: ANN401 - any config
    state = RunState(RunId(f"ftjob-{name}"), JobId(f"ftjob-{name}"), Origin.FTSYNC, "finished", url=f"https://w/{name}")
    return Held(state, {"method": "supervised", **config}, summary)


def test_runs_are_told_apart_by_method_and_those_that_do_not_say_come_last() -> None:
    found = outline(
        [held(), held("2", method=None), held("3", method="dpo"), held("4", method=["odd"])], narrowed=False
    )
    assert [part.method for part in found.parts] == ["dpo", "supervised", None]


def test_training_and_validation_share_a_chart_loss_comes_first_and_graders_come_last() -> None:
    names = ["train_loss", "valid_loss", "full_valid_loss", "train_mean_token_accuracy", "train_mean_reward"]
    names += ["scores/graders/python/a train_x/train_reward_mean", "scores/graders/python/a train_x/valid_reward_mean"]
    names += ["eval_duration", "mean_unresponsive_rewards"]
    (part,) = outline([held(summary=dict.fromkeys(names, 1.0))], narrowed=False).parts
    assert part.charts == (
        Chart("loss", ("full_valid_loss", "valid_loss", "train_loss")),
        Chart("mean_token_accuracy", ("train_mean_token_accuracy",)),
        Chart("mean_reward", ("train_mean_reward",)),
        Chart(
            "scores/graders/python/a train_x/reward_mean",
            ("scores/graders/python/a train_x/valid_reward_mean", "scores/graders/python/a train_x/train_reward_mean"),
        ),
    )


def test_charts_are_never_more_than_anybody_reads() -> None:
    (part,) = outline([held(summary={f"graders/{n}_loss": 1.0 for n in range(500)})], narrowed=False).parts
    assert len(part.charts) == MOST_CHARTS


def test_results_stand_where_the_summary_has_their_best_value() -> None:
    best = {"valid_loss": {"min": 0.1, "last": 0.2}, "train_accuracy": {"max": 0.9, "last": 0.8}}
    (part,) = outline([held(summary=best), held("2", summary={"valid_loss": 0.3})], narrowed=False).parts
    assert part.scores == ("valid_loss.min", "train_accuracy.max")
    (part,) = outline([held(summary={"valid_loss": 0.3})], narrowed=False).parts
    assert part.scores == ("valid_loss",)


@pytest.mark.parametrize("name", ["gpt-4.1_loss", "a:loss", "loss\x1b"])
def test_a_metric_whose_name_is_no_path_in_a_summary_is_compared_by_nothing(name: str) -> None:
    (part,) = outline([held(summary={name: 1.0})], narrowed=False).parts
    assert part.scores == ()


def test_only_hyperparameters_that_are_numbers_are_compared() -> None:
    given = {"n_epochs": 3, "beta": 0.1, "batch_size": "auto", "flag": True, "a.b": 1, "none": None}
    (part,) = outline([held(hyperparameters=given), held("2", hyperparameters="auto")], narrowed=False).parts
    assert part.hyperparameters == ("beta", "n_epochs")


def test_models_are_those_that_jobs_made() -> None:
    made = {"fine_tuned_model": "ft:a", "trained_tokens": 12}
    found = outline([held(summary=made, model="gpt"), held("2")], narrowed=False)
    (model,) = found.models
    assert (model.name, model.job_id, model.base_model, model.method) == ("ft:a", "ftjob-1", "gpt", "supervised")
    assert (model.trained_tokens, model.url) == (12, "https://w/1")


def test_tables_are_those_that_some_run_has() -> None:
    found = outline([held(), held("2", summary={"valid_data": {"nrows": 1}})], narrowed=False)
    assert found.tables == ("valid_data",)


def test_runs_are_named_only_where_others_are_not_to_be_shown() -> None:
    assert outline([held()], narrowed=False).run_ids is None
    assert outline([held()], narrowed=True).run_ids == ("ftjob-1",)


@pytest.mark.parametrize("value", [None, [], "x", True, {"min": "x"}, {}])
def test_whatever_stands_in_a_summary_instead_of_a_metric_is_none(value: object) -> None:
    (part,) = outline([held(summary={"train_loss": value, "fine_tuned_model": 5})], narrowed=False).parts
    assert part.charts == ()
