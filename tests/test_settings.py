"""Where a setting comes from, and that a bad one is reported with that place."""

from __future__ import annotations

from pathlib import Path

import pytest

from ft_sync.errors import ConfigError
from ft_sync.settings import Settings, load, variables


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for field in Settings.model_fields:
        for name in variables(field):
            monkeypatch.delenv(name, raising=False)


def test_the_defaults_are_those_of_wandbs_logger() -> None:
    settings = load({})
    assert (settings.project, settings.entity, settings.wait, settings.log_datasets) == (
        "OpenAI-Fine-Tune",
        None,
        True,
        True,
    )
    assert (settings.model_artifact_name, settings.model_artifact_type) == ("model_metadata", "model")
    assert (settings.mode, settings.poll_interval, settings.timeout) == ("online", 60, None)


def test_an_argument_wins_over_ftsyncs_variable_over_wandbs_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_PROJECT", "weak")
    assert load({}).project == "weak"
    monkeypatch.setenv("FTSYNC_PROJECT", "stronger")
    assert load({}).project == "stronger"
    assert load({"project": "strongest"}).project == "strongest"


def test_an_argument_that_is_none_leaves_the_choice_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FTSYNC_ENTITY", "team")
    assert load({"entity": None}).entity == "team"


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FTSYNC_PROJECT", "")
    assert load({}).project == "OpenAI-Fine-Tune"


def test_a_bad_variable_is_named_with_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FTSYNC_POLL_INTERVAL", "soon")
    with pytest.raises(ConfigError, match=r"FTSYNC_POLL_INTERVAL: .* 'soon'"):
        load({})


def test_of_two_variables_the_one_that_was_read_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    with pytest.raises(ConfigError, match="WANDB_MODE"):
        load({})


def test_a_bad_argument_is_named_as_its_flag() -> None:
    with pytest.raises(ConfigError, match="--poll-interval"):
        load({"poll_interval": -1})


def test_a_folder_may_be_given_as_text() -> None:
    assert load({"dir": "runs"}).dir == Path("runs")
