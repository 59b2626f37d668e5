"""What a TAB offers as values, and that its constants are true."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, get_args

import pytest
import typer
import wandb
from openai.types.fine_tuning import FineTuningJob
from typer.main import get_command

from ft_sync.cli import seen, suggestions
from ft_sync.cli.sync import FLAGS
from ft_sync.models import JobStatus
from ft_sync.sinks.wandb import SET_BY_US
from tests.builders import at, job

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def context(workspace: Path) -> typer.Context:
    """The context of a line in an environment that names the account whose jobs are known."""
    assert workspace.is_dir()
    seen.keep_jobs(
        [
            job("ftjob-1", created_at=at(1)),
            job("ftjob-2", created_at=at(2), status=JobStatus("failed"), fine_tuned_model=None),
        ],
        "openai",
    )
    seen.keep_place(seen.Place("mine", ""))
    seen.keep_place(seen.Place("ours", "team"))
    return typer.Context(get_command(typer.Typer(callback=lambda: None)))


def test_jobs_are_offered_newest_first_with_status_and_model(context: typer.Context) -> None:
    assert suggestions.jobs(context, "") == [
        ("ftjob-2", "failed · gpt-4.1-mini-2025-04-14"),
        ("ftjob-1", "succeeded · ft:gpt-4.1-mini-2025-04-14:org::ftjob-1"),
    ]
    assert [value for value, _ in suggestions.jobs(context, "ftjob-1")] == ["ftjob-1"]
    assert suggestions.jobs(context, "x") == []


def test_a_job_that_the_line_names_already_is_not_offered_again(context: typer.Context) -> None:
    context.params["job"] = ["ftjob-2"]
    assert [value for value, _ in suggestions.jobs(context, "")] == ["ftjob-1"]


def test_jobs_of_another_provider_are_not_offered(context: typer.Context) -> None:
    context.params["provider"] = "azure"
    assert suggestions.jobs(context, "") == []


def test_a_provider_that_there_is_not_is_no_reason_to_fail(context: typer.Context) -> None:
    context.params["provider"] = "nobody"
    assert len(suggestions.jobs(context, "")) == 2


def test_the_account_may_be_named_by_a_file_of_variables(
    context: typer.Context, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-another-one")
    assert suggestions.jobs(context, "") == []
    monkeypatch.delenv("OPENAI_API_KEY")
    (workspace / ".env").write_text("OPENAI_API_KEY=sk-another-one\n")
    context.params["env_file"] = str(workspace / ".env")
    assert suggestions.jobs(context, "") == []
    context.params["env_file"] = str(workspace / "missing")
    assert len(suggestions.jobs(context, "")) == 2


def test_projects_and_entities_are_offered_the_last_one_first(context: typer.Context) -> None:
    assert context.params == {}
    assert suggestions.projects("") == ["ours", "mine"]
    assert suggestions.entities("") == ["team"]


@pytest.mark.parametrize(
    "value", ["a b", "it's", 'a"b', "$(id)", "`id`", "a;b", "a\nb", "\x1b[1m", "-rf", "~", "*", "a\\b"]
)
def test_a_value_that_a_shell_would_read_as_more_than_a_word_is_not_offered(value: str, context: typer.Context) -> None:
    seen.keep_jobs([job(value)], "openai")
    seen.keep_place(seen.Place(value, value))
    assert [offered for offered, _ in suggestions.jobs(context, "")] == ["ftjob-2", "ftjob-1"]
    assert value not in suggestions.projects("") + suggestions.entities("")


def test_a_description_holds_nothing_that_a_shell_or_a_terminal_acts_on(context: typer.Context) -> None:
    seen.keep_jobs([job("ftjob-9", fine_tuned_model="\x1b[31m'$(id)`\"\\\u202e[b]\n" + "x" * 999)], "openai")
    ((_, description),) = suggestions.jobs(context, "ftjob-9")
    assert description.startswith("succeeded · ??31m???id??????b??xxx")
    assert len(description) < 150


def test_statuses_are_those_that_openai_names() -> None:
    assert suggestions.statuses("") == list(get_args(FineTuningJob.model_fields["status"].annotation))
    assert suggestions.statuses("val") == ["validating_files"]


def test_the_keys_of_init_are_the_arguments_of_wandb_init_that_are_the_users_to_set() -> None:
    arguments = inspect.signature(wandb.init).parameters.keys()
    assert list(suggestions.INIT_KEYS) == sorted(arguments - SET_BY_US.keys() - FLAGS.keys())
    assert suggestions.init_keys("gr") == ["group="]
