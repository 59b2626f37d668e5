from __future__ import annotations

import io

import pytest
import typer

from ft_sync import settings
from ft_sync.api import sync as api_sync
from ft_sync.cli import options, run
from ft_sync.cli.sync import FLAGS
from ft_sync.errors import ConfigError
from ft_sync.settings import Settings


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("0.5", 0.5), ("30s", 30), ("5m", 300), ("1.5h", 5400), (" 2 h ", 7200)]
)
def test_durations_are_seconds_or_have_a_unit(text: str, seconds: float) -> None:
    assert options.duration(text) == seconds


@pytest.mark.parametrize("text", ["", "5x", "-1", "nan", "inf", "1h30m", "٣"])
def test_anything_else_is_no_duration(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        options.duration(text)


def test_values_of_init_are_json_where_they_parse_as_json_and_text_where_not() -> None:
    given = ["group=nightly", 'tags=["a"]', "save_code=true", "notes=a=b", "name=", 'config={"x": 1}']
    assert options.init_arguments(given, offline=False) == {
        "group": "nightly",
        "tags": ["a"],
        "save_code": True,
        "notes": "a=b",
        "name": "",
        "config": {"x": 1},
    }


@pytest.mark.parametrize("item", ["group", "=value", ""])
def test_init_without_key_or_value_is_refused(item: str) -> None:
    with pytest.raises(ConfigError, match="KEY=VALUE"):
        options.init_arguments([item], offline=False)


def test_offline_is_the_mode_of_init() -> None:
    assert options.init_arguments([], offline=True) == {"mode": "offline"}
    assert options.init_arguments(["mode=offline"], offline=True) == {"mode": "offline"}
    with pytest.raises(ConfigError, match="exclude each other"):
        options.init_arguments(["mode=online"], offline=True)


def test_job_ids_come_from_words_and_from_stdin_each_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("\n  b \r\n\na\n"))
    assert options.job_ids(["a", "-", " c "]) == ["a", "b", "c"]


def test_an_empty_job_id_is_refused() -> None:
    with pytest.raises(ConfigError, match="empty"):
        options.job_ids([" "])


def test_an_argument_of_sync_is_never_taken_for_one_of_wandb_init() -> None:
    names = set(api_sync.__annotations__) - {"kwargs_wandb_init", "return"}
    assert set(FLAGS) == names


@pytest.mark.parametrize("field", [name for name in Settings.model_fields if name != "dir"])
def test_the_help_names_the_variables_of_each_setting(field: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["sync", "--help"]) == 0
    told = capsys.readouterr().out
    assert [name for name in settings.variables(field) if name not in told] == []


@pytest.mark.parametrize("command", ["sync", "resync", "list", "status", "report", "demo"])
def test_every_command_takes_the_output_flags_and_tells_the_exit_codes(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([command, "-h"]) == 0
    told = capsys.readouterr().out
    flags = ["--json", "--quiet", "--verbose", "--debug", "--no-color", "130  interrupted"]
    assert [flag for flag in flags if flag not in told] == []
