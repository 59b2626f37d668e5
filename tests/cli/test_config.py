"""The settings in effect, where each comes from, and the files that are looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ft_sync.sandbox import API_KEY
from ft_sync.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.cli.conftest import Ftsync


def test_every_setting_is_shown_with_its_value_and_where_it_comes_from(
    ftsync: Ftsync, workspace: Path, project: str
) -> None:
    (workspace / "ftsync.toml").write_text("keep-replaced = true\n")
    said = ftsync("config")
    assert said.code == 0
    rows = {name: (value, origin) for name, value, origin in said.rows}
    assert list(rows) == [*Settings.model_fields, "wandb_server"]
    assert rows["project"] == (project, "WANDB_PROJECT")
    assert rows["keep_replaced"] == ("true", str(workspace / "ftsync.toml"))
    assert rows["concurrency"] == ("8", "default")
    assert rows["entity"][0] in {"-", "loopback"}


def test_the_document_says_the_same(ftsync: Ftsync, project: str) -> None:
    settings = ftsync("config", "--json").json["settings"]
    assert settings["project"] == {"value": project, "from": "WANDB_PROJECT"}
    assert settings["timeout"] == {"value": None, "from": "default"}


def test_no_key_is_shown(ftsync: Ftsync) -> None:
    assert API_KEY not in ftsync("config").out + ftsync("config", "--json").out


def test_the_files_that_are_looked_at_are_named_strongest_first(ftsync: Ftsync, workspace: Path) -> None:
    (workspace / "ftsync.toml").touch()
    ours, projects, users = ftsync("config", "--path").rows
    assert ours == [str(workspace / "ftsync.toml"), "read"]
    assert projects == [f"{workspace / 'pyproject.toml'} [tool.ftsync]", "not there"]
    assert users[0].endswith("config.toml")
    assert [file["exists"] for file in ftsync("config", "--path", "--json").json["files"]] == [True, False, False]


def test_variables_are_read_from_a_file_that_was_asked_for_alone(
    ftsync: Ftsync, workspace: Path, project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FTSYNC_CONCURRENCY", "")  # so that it is taken back
    monkeypatch.delenv("FTSYNC_CONCURRENCY")
    (workspace / ".env").write_text("FTSYNC_CONCURRENCY=3\nWANDB_PROJECT=weaker\n")
    assert ftsync("config", "--json").json["settings"]["concurrency"]["value"] == 8
    settings = ftsync("--env-file", ".env", "config", "--json").json["settings"]
    assert settings["concurrency"] == {"value": 3, "from": "FTSYNC_CONCURRENCY"}
    assert settings["project"]["value"] == project


def test_a_file_of_variables_that_is_not_there_is_an_error(ftsync: Ftsync) -> None:
    said = ftsync("--env-file", "missing", "config")
    assert said.code == 2
    assert "--env-file missing cannot be read: No such file or directory\n" in said.err


def test_a_bad_file_ends_every_command_that_needs_settings(ftsync: Ftsync, workspace: Path) -> None:
    (workspace / "ftsync.toml").write_text("proyect = 1\n")
    for command in ("config", "sync", "list"):
        said = ftsync(command)
        assert (said.code, "did you mean project?" in said.err) == (2, True)
