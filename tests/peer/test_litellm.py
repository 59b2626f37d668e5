"""A real LiteLLM proxy between ftsync and the sandbox; `poe peer` installs it in a folder of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import pytest

import ft_sync
from ft_sync.errors import Unavailable
from ft_sync.models import NO_CHECKPOINTS, NO_EVENTS
from ft_sync.sandbox import API_KEY, Sandbox, World, samples

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.wandb_backend import Run, WandbBackend

pytestmark = [pytest.mark.peer, pytest.mark.xdist_group("litellm")]

LITELLM = "litellm[proxy]==1.108.7"
MASTER_KEY = "sk-proxy-master"
CONFIG = f"""
general_settings: {{master_key: {MASTER_KEY}}}
finetune_settings: [{{custom_llm_provider: openai, api_base: URL, api_key: {API_KEY}}}]
files_settings: [{{custom_llm_provider: openai, api_base: URL, api_key: {API_KEY}}}]
"""
PATIENCE = 120.0


@pytest.fixture(scope="session")
def litellm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command, installed for this test alone."""
    home = tmp_path_factory.mktemp("litellm")
    python = f"{sys.base_prefix}/bin/python3"  # an environment need not hold pip
    subprocess.run([python, "-m", "venv", "--without-pip", home], check=True)
    try:
        pip = [python, "-m", "pip", "--python", str(home), "install", "--quiet", LITELLM]
        subprocess.run(pip, check=True, capture_output=True, text=True)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"{LITELLM} cannot be installed here: {error.stderr.strip().splitlines()[-1]}")
    return home / "bin" / "litellm"


@pytest.fixture
def proxy(litellm: Path, sandbox: Sandbox, tmp_path: Path) -> Iterator[str]:
    """The proxy's address; it asks the sandbox, and shows it the sandbox's key instead of its own."""
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG.replace("URL", sandbox.url))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {name: os.environ[name] for name in ("PATH", "LITELLM_LICENSE") if name in os.environ} | {
        "HOME": str(tmp_path),
        "LITELLM_MODE": "PRODUCTION",  # reads no .env
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # asks nobody for prices
        "OPENAI_API_BASE": sandbox.url.removesuffix("/v1"),
        "OPENAI_API_KEY": API_KEY,
    }
    command = [str(litellm), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=log, stderr=log)
    try:
        _wait_for(f"http://127.0.0.1:{port}/health/liveliness", server)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(timeout=30)


def _wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and server.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except (urllib.error.URLError, OSError):
            time.sleep(0.25)
        else:
            return
    pytest.fail(f"the proxy did not start: it said {server.poll()}")


def _rows(run: Run) -> list[dict[str, object]]:
    return [{name: value for name, value in row.items() if name != "_runtime"} for row in run.history]


@pytest.mark.usefixtures("workspace")
def test_jobs_arrive_whole_through_the_pass_through_routes(  # noqa: PLR0917 - fixtures
    proxy: str, world: World, sandbox: Sandbox, backend: WandbBackend, project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.add(*samples.finished_jobs()[1:5])
    directly = ft_sync.sync(project=f"{project}-directly")
    sandbox.forget()
    monkeypatch.setenv("OPENAI_BASE_URL", f"{proxy}/openai_passthrough/v1")
    monkeypatch.setenv("OPENAI_API_KEY", MASTER_KEY)
    report = ft_sync.sync(project=project)
    assert [outcome.job_id for outcome in report.synced] == [outcome.job_id for outcome in directly.synced]
    assert [outcome.notes for outcome in report.synced] == [()] * 4
    expected = {run.id: run for run in backend.runs(f"{project}-directly")}
    for run in backend.runs(project):
        assert _rows(run) == _rows(expected[run.id])
        assert run.config == expected[run.id].config
        kept, wanted = (
            {name: blob.data for name, blob in one.files.items() if name.startswith("fine_tuning/")}
            for one in (run, expected[run.id])
        )
        assert kept == wanted
    assert sandbox.count("/content") > 0


@pytest.mark.usefixtures("workspace")
@pytest.mark.skipif("LITELLM_LICENSE" in os.environ, reason="LiteLLM is licensed here")
def test_its_own_routes_without_a_licence_are_an_error_and_no_empty_list(
    proxy: str, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.add(*samples.many(1))
    monkeypatch.setenv("OPENAI_BASE_URL", f"{proxy}/v1?custom_llm_provider=openai")
    monkeypatch.setenv("OPENAI_API_KEY", MASTER_KEY)
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1 failed for the list of jobs"):
        list(ft_sync.list_jobs(mode="offline"))


@pytest.mark.usefixtures("workspace")
@pytest.mark.skipif("LITELLM_LICENSE" not in os.environ, reason="LiteLLM has routes for jobs of its own for a licence")
def test_jobs_arrive_through_its_own_routes_without_events_and_checkpoints(
    proxy: str, world: World, backend: WandbBackend, project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.add(*samples.finished_jobs()[1:3])
    monkeypatch.setenv("OPENAI_BASE_URL", f"{proxy}/v1?custom_llm_provider=openai")
    monkeypatch.setenv("OPENAI_API_KEY", MASTER_KEY)
    report = ft_sync.sync(project=project)
    assert [set(outcome.notes) for outcome in report.synced] == [{NO_EVENTS, NO_CHECKPOINTS}] * 2
    assert sorted(len(run.history) for run in backend.runs(project)) == [60, 90]
