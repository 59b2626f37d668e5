"""`ftsync doctor` between the two loopback services: what it says of each thing that can be wrong."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from ft_sync.sandbox import API_KEY, World, samples, serve

if TYPE_CHECKING:
    from pathlib import Path

    from ft_sync.sandbox import Sandbox
    from tests.cli.conftest import Ftsync, Said
    from tests.wandb_backend import WandbBackend

LOCAL = ["python", "packages", "configuration", "provider", "home", "temp-folder", "wandb-folder"]
JOBS = ["openai-key", "jobs", "file-content", "events", "checkpoints"]
WANDB = ["wandb-login", "wandb-server", "wandb-entity", "wandb-project"]
AWAY = "http://127.0.0.1:9"


def failed(said: Said) -> dict[str, list[str]]:
    return {name: rest for state, name, *rest in said.rows if state == "failed"}


def test_a_pipe_gets_a_line_for_each_check(ftsync: Ftsync, world: World, backend: WandbBackend, project: str) -> None:
    world.add(*samples.finished_jobs())
    said = ftsync("doctor")
    assert said.code == 0
    assert [name for _, name, _, _ in said.rows] == [*LOCAL, *JOBS, *WANDB]
    assert {row[0] for row in said.rows if "folder" not in row[1]} == {"ok"}
    messages = {name: message for _, name, message, _ in said.rows}
    assert messages["jobs"] == "the service answers: 7 jobs"
    assert messages["wandb-server"] == f"{backend.url} (WANDB_BASE_URL) answers: the key is {backend.store.user}'s"
    assert messages["wandb-project"].startswith(f"the first sync makes {backend.store.user}/{project}")


def test_the_document_has_every_check_and_the_exit_code(ftsync: Ftsync, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    said = ftsync("doctor", "--json")
    document = said.json
    assert (document["schema"], document["command"], document["exit_code"], said.code) == (1, "doctor", 4, 4)
    states = {check["check"]: check["state"] for check in document["checks"]}
    assert list(states) == [*LOCAL, *JOBS, *WANDB]
    assert sum(document["counts"].values()) == len(states)
    assert document["counts"]["failed"] == 1
    (key,) = [check for check in document["checks"] if check["state"] == "failed"]
    assert key["check"] == "openai-key"
    assert key["message"] == "no OpenAI API key: OPENAI_API_KEY is not set"
    assert key["hint"].startswith("export OPENAI_API_KEY=")


def test_quiet_says_only_what_is_not_ok(ftsync: Ftsync, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-the-right-one")
    said = ftsync("doctor", "-q")
    assert said.code == 4
    assert said.err == ""
    assert [row[:2] for row in said.rows if "folder" not in row[1]] == [
        ["failed", "jobs"],
        ["skipped", "file-content"],
        ["skipped", "events"],
        ["skipped", "checkpoints"],
    ]


def test_offline_leaves_the_server_out(ftsync: Ftsync, backend: WandbBackend) -> None:
    said = ftsync("doctor", "--offline")
    assert said.code == 0
    assert [name for _, name, _, _ in said.rows] == [*LOCAL, *JOBS]
    assert backend.requests == []


def test_no_key_is_shown(ftsync: Ftsync, backend: WandbBackend) -> None:
    for arguments in ((), ("--json",), ("--debug",)):
        said = ftsync("doctor", *arguments)
        assert API_KEY not in said.out + said.err
        assert backend.api_key not in said.out + said.err


@pytest.mark.parametrize(
    ("variables", "arguments", "check", "sentence", "code"),
    [
        ({"OPENAI_API_KEY": "sk-not-the-right-one"}, (), "jobs", "refused the API key", 4),
        ({"OPENAI_BASE_URL": f"{AWAY}/v1"}, (), "jobs", "could not be reached", 5),
        ({"OPENAI_BASE_URL": "api.example/v1"}, (), "openai-key", "'api.example/v1' is no URL", 2),
        ({"OPENAI_BASE_URL": "http://[::1"}, ("--offline",), "openai-key", "is no URL", 2),
        ({"WANDB_API_KEY": "a" * 40}, (), "wandb-server", "user is not logged in", 4),
        ({"WANDB_API_KEY": "short"}, (), "wandb-login", "the W&B key cannot be used", 4),
        ({"WANDB_BASE_URL": AWAY}, (), "wandb-server", "connection refused", 5),
        ({"FTSYNC_TABLE_ROWS": "none"}, (), "configuration", "FTSYNC_TABLE_ROWS", 2),
        ({"FTSYNC_PROVIDER": "azure"}, ("--offline",), "openai-key", "no Azure OpenAI endpoint", 2),
        ({}, ("--entity", "nobody"), "wandb-entity", "belongs to no entity nobody", 2),
        ({"FTSYNC_DIR": "/proc/self"}, ("--offline",), "wandb-folder", "/proc/self cannot be written to", 3),
    ],
)
def test_what_is_wrong_is_named_with_what_to_do_next(  # noqa: PLR0917 - a table
    variables: dict[str, str],
    arguments: tuple[str, ...],
    check: str,
    sentence: str,
    code: int,
    ftsync: Ftsync,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    said = ftsync("doctor", "--timeout", "10", *arguments)
    ((name, (message, hint)),) = failed(said).items()
    assert (name, said.code) == (check, code)
    assert sentence in message
    assert hint != "-"


@pytest.mark.parametrize(("failure", "code"), [({"status": 403}, 4), ({"delay": 60.0}, 5)])
def test_a_wandb_that_refuses_or_hangs_ends_with_its_code(
    failure: dict[str, Any], code: int, ftsync: Ftsync, backend: WandbBackend
) -> None:
    backend.fail("*", **failure)
    said = ftsync("doctor", "--timeout", "60s" if "status" in failure else "2s")
    assert (list(failed(said)), said.code) == (["wandb-server"], code)


@pytest.mark.parametrize("failure", [{"status": 429}, {"status": 500}, {"delay": 60.0}, {"trickle": 60.0}])
def test_a_service_that_fails_or_hangs_is_asked_twice_at_most(
    failure: dict[str, Any], ftsync: Ftsync, sandbox: Sandbox
) -> None:
    sandbox.fail("/jobs", **failure)
    said = ftsync("doctor", "--offline", "--timeout", "0.3")
    assert (list(failed(said)), said.code) == (["jobs"], 5)
    assert len(sandbox.requests) <= 2


def test_a_service_without_events_and_checkpoints_is_no_failure(
    ftsync: Ftsync, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(World(samples.finished_jobs()), dialect="litellm") as litellm:
        for name, value in litellm.environment.items():
            monkeypatch.setenv(name, value)
        said = ftsync("doctor", "--offline")
    assert said.code == 0
    warned = [row[1] for row in said.rows if row[0] == "warning" and "folder" not in row[1]]
    assert warned == ["events", "checkpoints"]


def test_the_address_is_shown_without_the_password_in_it(
    ftsync: Ftsync, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", sandbox.url.replace("//", "//somebody:pass@") + "?secret=query")
    said = ftsync("doctor", "--offline")
    (provider,) = [row for row in said.rows if row[1] == "provider"]
    assert provider[2] == f"openai (nothing of Azure is set) at {sandbox.url}"


def test_the_files_that_are_read_are_named(ftsync: Ftsync, workspace: Path) -> None:
    (workspace / "ftsync.toml").write_text('provider = "openai"\n')
    (workspace / "pyproject.toml").write_text('[project]\nname = "of something else"\n')
    said = ftsync("doctor", "--offline")
    messages = {row[1]: row[2] for row in said.rows}
    assert messages["configuration"] == f"read from {workspace / 'ftsync.toml'}"
    assert messages["provider"].startswith(f"openai ({workspace / 'ftsync.toml'}) at ")


def test_a_terminal_has_signs_with_words_and_the_hint_below(ftsync: Ftsync, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(sys.stdout), "isatty", lambda _: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.delenv("NO_COLOR", raising=False)
    said = ftsync("doctor", "--offline", "--no-color")
    lines = said.out.splitlines()
    assert lines[0].startswith("✓ ok      python         Python 3.")
    at = next(number for number, line in enumerate(lines) if "✗ failed" in line)
    assert lines[at].split()[:3] == ["✗", "failed", "openai-key"]
    assert lines[at + 1].split()[:3] == ["next:", "export", "OPENAI_API_KEY=…"]
    assert "\x1b[3" not in said.out
    assert "\x1b[31m" in ftsync("doctor", "--offline").out
