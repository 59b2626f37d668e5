from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import openai
import pytest

from ft_sync.cli import seen
from ft_sync.sandbox import World, samples

if TYPE_CHECKING:
    from tests.cli.conftest import Ftsync


@pytest.fixture
def _brief_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    """Serve three of the finished sample jobs, so that nobody waits for the running one."""
    finished = samples.finished_jobs()
    monkeypatch.setattr("ft_sync.sandbox.samples.world", lambda _: World([finished[1], finished[5], finished[6]]))


@pytest.fixture
def _no_services(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert workspace == Path.cwd()
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "WANDB_API_KEY", "WANDB_BASE_URL", "WANDB_PROJECT"):
        monkeypatch.delenv(name)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "")  # the demo sets them; monkeypatch puts them back


@pytest.mark.usefixtures("_no_services", "_brief_demo")
def test_the_demo_writes_runs_and_says_where_and_what_to_do_with_them(
    ftsync: Ftsync, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-the-users")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    said = ftsync("demo")
    assert said.code == 0
    assert sorted(row[0] for row in said.rows) == ["skipped", "skipped", "synced"]
    assert len(list(Path("wandb").glob("offline-run-*"))) == 1
    assert "1 run written to ./wandb\n" in said.err
    assert "wandb leet ./wandb\n" in said.err
    assert "wandb sync ./wandb/offline-run-*\n" in said.err
    assert "ftsync demo --serve\n" in said.err

    again = ftsync("demo")
    assert again.code == 0
    assert {row[0] for row in again.rows} == {"skipped"}


@pytest.mark.usefixtures("_no_services", "_brief_demo")
@pytest.mark.parametrize("is_on_path", [True, False])
def test_what_to_type_next_is_found_by_the_shell(
    is_on_path: bool, ftsync: Ftsync, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = Path(sys.executable).parent
    monkeypatch.setenv("PATH", f"{commands}:/usr/bin:/bin" if is_on_path else "/usr/bin:/bin")
    place = "" if is_on_path else f"{commands}/"
    said = ftsync("demo")
    assert f"  look:    {place}wandb leet ./wandb\n" in said.err
    assert f"  explore: {place}ftsync demo --serve\n" in said.err


@pytest.mark.usefixtures("_no_services", "_brief_demo")
def test_the_sample_jobs_are_not_kept_for_completions(ftsync: Ftsync) -> None:
    assert ftsync("demo", "-q").code == 0
    assert not seen.folder().exists()


@pytest.mark.usefixtures("_brief_demo")
def test_the_demo_can_write_to_wandb(ftsync: Ftsync, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "")
    said = ftsync("demo", "--online", "--project", "shown")
    assert said.code == 0
    assert "1 run written, see http" in said.err


def test_a_port_in_use_is_told(ftsync: Ftsync) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        said = ftsync("demo", "--port", str(taken.getsockname()[1]), "--json")
    assert said.code == 2
    assert "--port" in said.json["error"]["message"]


def test_without_its_extra_the_demo_says_what_to_install(ftsync: Ftsync, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ft_sync.sandbox.server", None)  # what a missing starlette amounts to
    said = ftsync("demo", "--json")
    assert said.code == 2
    assert said.json["error"]["hint"] == "pip install 'ft-sync[demo]'"


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_serving_prints_two_exports_and_ends_well_when_told_to(stop: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "ft_sync", "demo", "--serve"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")},
    ) as server:
        assert server.stdout is not None
        exports = [server.stdout.readline().strip() for _ in range(2)]
        values = dict(line.removeprefix("export ").split("=", 1) for line in exports)
        client = openai.OpenAI(api_key=values["OPENAI_API_KEY"], base_url=values["OPENAI_BASE_URL"])
        with client:
            assert len(client.fine_tuning.jobs.list().data) == 8
        server.send_signal(stop)
        rest, told = server.communicate(timeout=60)
    assert (server.returncode, rest) == (0, "")
    assert "Ctrl-C" in told
    assert "Traceback" not in told


def test_a_dialect_is_served_with_the_exports_that_lead_to_it() -> None:
    command = [sys.executable, "-m", "ft_sync", "demo", "--serve", "--dialect", "litellm"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        exports = [server.stdout.readline().strip() for _ in range(2)]
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=60)
    assert [line.partition("=")[0] for line in exports] == ["export OPENAI_BASE_URL", "export OPENAI_API_KEY"]
    # In quotes, since a shell takes a ? for a pattern.
    assert exports[0].endswith("/v1?custom_llm_provider=openai'")


def test_a_dialect_is_of_a_server_that_stays(ftsync: Ftsync) -> None:
    said = ftsync("demo", "--dialect", "bare", "--json")
    assert (said.code, said.json["error"]["hint"]) == (2, "ftsync demo --serve --dialect bare")
