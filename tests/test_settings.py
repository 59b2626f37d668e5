"""Where a setting comes from, and that a bad one is reported with that place."""

from __future__ import annotations

from pathlib import Path

import pytest

from ft_sync.errors import ConfigError
from ft_sync.settings import DEFAULT, Settings, config_files, load, origins, variables


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
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


# Files


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def users() -> Path:
    """The user's own file, wherever this system keeps such files."""
    return config_files()[-1].path


def test_the_folders_own_file_wins_over_the_projects_over_the_users(tmp_path: Path) -> None:
    write(users(), 'project = "weak"\nentity = "users"\n')
    assert (load({}).project, load({}).entity) == ("weak", "users")
    write(tmp_path / "pyproject.toml", '[tool.ftsync]\nproject = "stronger"\n')
    assert (load({}).project, load({}).entity) == ("stronger", "users")
    write(tmp_path / "ftsync.toml", 'project = "strongest"\n')
    assert (load({}).project, load({}).entity) == ("strongest", "users")


def test_the_environment_wins_over_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "ftsync.toml", 'project = "file"\nmode = "offline"\n')
    monkeypatch.setenv("WANDB_PROJECT", "environment")
    assert (load({}).project, load({}).mode) == ("environment", "offline")
    assert load({"project": "flag"}).project == "flag"


def test_each_setting_knows_where_it_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "ftsync.toml", 'project = "file"\ntimeout = 5\n')
    write(tmp_path / "pyproject.toml", "[tool.ftsync]\nkeep_replaced = true\n")
    monkeypatch.setenv("FTSYNC_PROJECT", "environment")
    found = origins()
    assert (found["project"], found["timeout"], found["entity"]) == (
        "FTSYNC_PROJECT",
        str(tmp_path / "ftsync.toml"),
        DEFAULT,
    )
    assert found["keep_replaced"] == f"{tmp_path / 'pyproject.toml'} [tool.ftsync]"


def test_a_key_may_be_written_as_its_flag(tmp_path: Path) -> None:
    write(tmp_path / "ftsync.toml", "poll-interval = 5\n")
    assert load({}).poll_interval == 5


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ('proyect = "x"', "ftsync.toml: proyect is no setting", "did you mean project?"),
        ('openai_api_key = "x"', "ftsync.toml: openai_api_key is no setting", "never from a file"),
        ("zzz = 1", "ftsync.toml: zzz is no setting", "there is project, entity"),
        ("project = ", "ftsync.toml cannot be read: Invalid value", "correct it"),
        ("project = 3", "ftsync.toml: project: .* not 3", "--help"),
        ('poll-interval = "soon"', "ftsync.toml: poll_interval: .* not 'soon'", "--help"),
        ("concurrency = 65", "ftsync.toml: concurrency: .* not 65", "--help"),
    ],
)
def test_what_is_wrong_in_a_file_is_named_with_the_file(tmp_path: Path, text: str, message: str, hint: str) -> None:
    write(tmp_path / "ftsync.toml", text)
    with pytest.raises(ConfigError, match=message) as caught:
        load({})
    assert hint in str(caught.value.hint)


def test_a_table_that_is_none_is_named(tmp_path: Path) -> None:
    write(tmp_path / "pyproject.toml", "[tool]\nftsync = 3\n")
    with pytest.raises(ConfigError, match=r"pyproject.toml \[tool.ftsync\]: not a table"):
        load({})


def test_a_file_that_cannot_be_read_is_not_one_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "ftsync.toml").mkdir()
    with pytest.raises(ConfigError, match="cannot be read"):
        load({})


def test_a_project_of_something_else_sets_nothing(tmp_path: Path) -> None:
    write(tmp_path / "pyproject.toml", '[project]\nname = "mine"\n')
    assert load({}) == load({})
    assert set(origins().values()) == {DEFAULT}
