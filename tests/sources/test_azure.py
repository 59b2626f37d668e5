"""Azure OpenAI through the real clients over HTTP: routes, keys, tokens, and what is said when one is missing."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from ft_sync.errors import AuthError, ConfigError, FtSyncError, NotLoggedIn, NotOffered, Unavailable
from ft_sync.sandbox import API_KEY, Sandbox, World, samples, serve
from ft_sync.sources import azure
from ft_sync.sources.openai import OpenAISource
from ft_sync.sources.pace import Pace
from ft_sync.sources.service import AZURE, service_of
from tests.builders import readable
from tests.fakes import FakeClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ENDPOINT = "https://acme.openai.azure.com"


@pytest.fixture(params=["azure-v1", "azure-dated"])
def service(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    """Both kinds of routes, one after the other."""
    with serve(World(samples.many(3)), dialect=request.param) as server:
        yield server


def listed(environment: dict[str, str]) -> list[str]:
    """Return the ids of the jobs that are found with these variables."""
    with azure.client(environment, timeout=60) as client:
        source = OpenAISource(client, Pace(FakeClock(), lambda _: None, AZURE.name), AZURE)
        return [job.id for job in readable(source.jobs())]


class AzureError(Exception):
    """Stands for azure-core's."""


class ClientAuthenticationError(AzureError):
    """The same."""


def login(monkeypatch: pytest.MonkeyPatch, provide: Callable[[], str]) -> None:
    """Put a login in the place of azure-identity, which need not be installed."""
    identity, exceptions = ModuleType("azure.identity"), ModuleType("azure.core.exceptions")
    providers = {"https://cognitiveservices.azure.com/.default": provide}
    vars(identity).update(
        DefaultAzureCredential=object, get_bearer_token_provider=lambda _credential, scope: providers[scope]
    )
    vars(exceptions).update(AzureError=AzureError, ClientAuthenticationError=ClientAuthenticationError)
    modules = {"azure": ModuleType("azure"), "azure.core": ModuleType("azure.core")}
    for name, module in {**modules, "azure.identity": identity, "azure.core.exceptions": exceptions}.items():
        monkeypatch.setitem(sys.modules, name, module)


def without_key(service: Sandbox) -> dict[str, str]:
    return {name: value for name, value in service.environment.items() if name != "AZURE_OPENAI_API_KEY"}


def test_jobs_are_listed_with_a_key(service: Sandbox) -> None:
    assert listed(service.environment) == [job.id for job in service.world.jobs]
    assert {request.headers["api-key"] for request in service.requests} == {API_KEY}


def test_jobs_are_listed_with_a_token_that_somebody_else_got(service: Sandbox) -> None:
    assert listed({**without_key(service), "AZURE_OPENAI_AD_TOKEN": API_KEY})
    assert {request.headers["authorization"] for request in service.requests} == {f"Bearer {API_KEY}"}


def test_jobs_are_listed_with_entras_token(service: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    login(monkeypatch, lambda: API_KEY)
    assert listed(without_key(service))
    assert {request.headers["authorization"] for request in service.requests} == {f"Bearer {API_KEY}"}
    assert not any("api-key" in request.headers for request in service.requests)


def test_a_token_wins_over_a_key_as_in_the_sdk(service: Sandbox) -> None:
    assert listed({**service.environment, "AZURE_OPENAI_AD_TOKEN": API_KEY, "AZURE_OPENAI_API_KEY": "wrong"})


@pytest.mark.parametrize(
    ("error", "told", "hint"),
    [
        (ClientAuthenticationError("no login"), NotLoggedIn, "az login"),
        (AzureError("no network"), Unavailable, "network"),
    ],
)
def test_a_token_that_cannot_be_had_is_told(
    service: Sandbox, monkeypatch: pytest.MonkeyPatch, error: AzureError, told: type[FtSyncError], hint: str
) -> None:
    def provide() -> str:
        raise error

    login(monkeypatch, provide)
    with pytest.raises(told, match="Entra") as raised:
        listed(without_key(service))
    assert hint in str(raised.value.hint)


def test_without_the_package_for_tokens_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "azure.core.exceptions", None)
    monkeypatch.setitem(sys.modules, "azure.identity", None)
    with pytest.raises(NotLoggedIn, match="AZURE_OPENAI_API_KEY is not set") as raised:
        azure.client({"AZURE_OPENAI_ENDPOINT": ENDPOINT}, timeout=60)
    assert raised.value.hint == "export AZURE_OPENAI_API_KEY=…, or pip install 'ft-sync[azure]' and `az login`"


@pytest.mark.parametrize("endpoint", ["", "acme.openai.azure.com", "acme"])
def test_an_endpoint_that_is_none_is_told(endpoint: str) -> None:
    with pytest.raises(ConfigError, match="AZURE_OPENAI_ENDPOINT") as raised:
        azure.client({"AZURE_OPENAI_ENDPOINT": endpoint, "AZURE_OPENAI_API_KEY": API_KEY}, timeout=60)
    assert raised.value.hint == "export AZURE_OPENAI_ENDPOINT=https://RESOURCE.openai.azure.com"


@pytest.mark.parametrize(
    "end",
    [
        "",
        "/",
        "/openai",
        "/openai/",
        "/openai/v1",
        "/openai/v1/",
        "/openai/deployments/gpt/chat/completions?api-version=2024-10-21",
    ],
)
def test_the_endpoint_may_be_copied_with_more_than_belongs_to_it(end: str) -> None:
    assert azure.endpoint_of(ENDPOINT + end) == ENDPOINT


def test_a_gateways_path_in_front_of_the_routes_stays() -> None:
    assert azure.endpoint_of("https://gw.example/openai-eu/openai/v1/") == "https://gw.example/openai-eu"


@pytest.mark.parametrize("address", ["https://[bad", "resource.openai.azure.com", "ftp://x"])
def test_what_is_no_address_is_told_as_such(address: str) -> None:
    with pytest.raises(ConfigError, match="AZURE_OPENAI_ENDPOINT"):
        azure.endpoint_of(address)


@pytest.mark.parametrize("version", ["preview", "latest", "v1", ""])
def test_versions_without_a_date_are_those_of_the_routes_without_a_version(version: str) -> None:
    environment = {"AZURE_OPENAI_ENDPOINT": ENDPOINT, "AZURE_OPENAI_API_KEY": API_KEY, "OPENAI_API_VERSION": version}
    with azure.client(environment, timeout=60) as client:
        assert str(client.base_url) == f"{ENDPOINT}/openai/v1/"


def test_errors_name_azure_and_its_variables(service: Sandbox) -> None:
    with pytest.raises(AuthError, match="Azure OpenAI refused the API key") as raised:
        listed({**service.environment, "AZURE_OPENAI_API_KEY": "wrong"})
    assert "AZURE_OPENAI_API_KEY" in str(raised.value.hint)
    assert "AZURE_OPENAI_ENDPOINT" in str(raised.value.hint)


def test_a_client_that_a_script_made_is_known_for_azures() -> None:
    import openai  # noqa: PLC0415 - what a script does

    with openai.AzureOpenAI(azure_endpoint=ENDPOINT, api_version="2024-10-21", api_key=API_KEY) as client:
        assert service_of(client) is AZURE


def test_an_address_without_jobs_is_told_as_such(service: Sandbox) -> None:
    service.fail("/fine_tuning/jobs", status=404, body={"error": {"code": "404", "message": "Resource not found"}})
    with pytest.raises(NotOffered, match="Azure OpenAI has no route for the list of jobs") as raised:
        listed(service.environment)
    assert "AZURE_OPENAI_ENDPOINT" in str(raised.value.hint)
