"""Which provider a command asks, how it says so, and what it says of a service that lacks something."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from ft_sync.sandbox import DIALECTS, Sandbox, World, samples, serve
from tests.pages import DOCS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cli.conftest import Ftsync

PAGE = (DOCS / "providers.md").read_text(encoding="utf-8")
ONE_JOB = samples.many(1)


@pytest.fixture(params=DIALECTS)
def service(request: pytest.FixtureRequest, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A service of each kind, with the environment that leads to it alone."""
    assert workspace.is_dir()
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.delenv("OPENAI_BASE_URL")
    with serve(World(ONE_JOB), dialect=request.param) as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.mark.parametrize("command", [("list",), ("status", ONE_JOB[0].id), ("sync", "--dry-run"), ("sync",)])
def test_every_command_asks_every_kind_of_service(command: tuple[str, ...], service: Sandbox, ftsync: Ftsync) -> None:
    said = ftsync(*command, "--offline", "--json")
    assert said.code == 0
    assert ONE_JOB[0].id in said.out
    assert service.requests


@pytest.fixture
def azure(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """Azure OpenAI beside the OpenAI of the workspace; nobody says which of them is to be asked."""
    assert workspace.is_dir()
    with serve(World(ONE_JOB), dialect="azure-v1") as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("FTSYNC_PROVIDER")
        yield server


def test_azure_is_guessed_and_told_when_its_variables_alone_are_set(
    azure: Sandbox, ftsync: Ftsync, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    said = ftsync("list", "-v")
    assert said.err == "provider azure: AZURE_OPENAI_ENDPOINT is set, and OPENAI_API_KEY is not\n"
    assert azure.requests


@pytest.mark.parametrize("more", [(), ("-q",)])
def test_a_guess_is_told_only_when_more_is_asked_for(more: tuple[str, ...], azure: Sandbox, ftsync: Ftsync) -> None:
    assert azure.url
    assert ftsync("list", *more).err == ""


def test_openai_is_guessed_when_both_are_set(azure: Sandbox, sandbox: Sandbox, ftsync: Ftsync) -> None:
    said = ftsync("sync", "--dry-run", "-v")
    assert "provider openai: OPENAI_API_KEY is set, and AZURE_OPENAI_ENDPOINT only besides\n" in said.err
    assert (azure.requests, bool(sandbox.requests)) == ([], True)


@pytest.mark.parametrize("how", ["flag", "variable"])
def test_what_is_said_wins_over_the_guess(
    how: str, azure: Sandbox, sandbox: Sandbox, ftsync: Ftsync, monkeypatch: pytest.MonkeyPatch
) -> None:
    if how == "variable":
        monkeypatch.setenv("FTSYNC_PROVIDER", "azure")
    said = ftsync("list", "-v", *(("--provider", "azure") if how == "flag" else ()))
    assert (said.code, said.err) == (0, "")
    assert (sandbox.requests, bool(azure.requests)) == ([], True)


def test_an_unknown_provider_is_refused_with_the_place_where_it_stands(
    ftsync: Ftsync, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FTSYNC_PROVIDER", "bedrock")
    said = ftsync("list", "--json")
    assert (said.code, said.json["error"]["code"]) == (2, "config")
    assert "FTSYNC_PROVIDER" in said.json["error"]["message"]


def test_azure_without_an_endpoint_says_what_to_export(ftsync: Ftsync) -> None:
    said = ftsync("list", "--provider", "azure", "--json")
    assert (said.code, said.json["error"]["hint"]) == (
        2,
        "export AZURE_OPENAI_ENDPOINT=https://RESOURCE.openai.azure.com",
    )


def test_the_status_of_a_job_without_events_says_so(ftsync: Ftsync, world: World, sandbox: Sandbox) -> None:
    world.add(*ONE_JOB)
    sandbox.fail("/events", status=404, body={"detail": "Not Found"})
    said = ftsync("status", ONE_JOB[0].id, "--offline")
    assert (said.code, said.err) == (0, "note: this service keeps no events\n")


def test_what_a_service_lacks_is_told_once_for_all_jobs(ftsync: Ftsync, world: World, sandbox: Sandbox) -> None:
    world.add(*samples.many(4))
    sandbox.fail("/(events|checkpoints)", status=404, body={"error": {"message": "Resource not found"}})
    said = ftsync("sync", "--offline")
    notes = [line.partition(": note: ")[2] for line in said.err.splitlines() if ": note: " in line]
    assert sorted(notes) == ["this service keeps no checkpoints", "this service keeps no events"]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_page_of_providers_names_every_dialect_and_every_variable_that_leads_to_it(dialect: str) -> None:
    assert re.search(rf"[ `]{dialect}`", PAGE)
    named = set(re.findall(r"[A-Z]+_[A-Z_]+", PAGE))
    assert set(DIALECTS[dialect].environment) <= named


def test_the_addresses_that_the_page_gives_have_the_routes_of_their_dialects() -> None:
    assert f"`{DIALECTS['azure-v1'].prefix}/`" in PAGE
    assert DIALECTS["litellm"].environment["OPENAI_BASE_URL"].format(root="http://PROXY") in PAGE
    assert f"OPENAI_API_VERSION={DIALECTS['azure-dated'].environment['OPENAI_API_VERSION']}" in PAGE
