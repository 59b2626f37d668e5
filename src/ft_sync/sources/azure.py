"""Azure OpenAI: the client for its routes and keys; what it answers is read as OpenAI's own answers are."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import openai

from ft_sync.errors import ConfigError, NotLoggedIn, Unavailable
from ft_sync.providers import plain
from ft_sync.sources.service import AZURE
from ft_sync.sources.speed import transport

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SCOPE = "https://cognitiveservices.azure.com/.default"
"""What an Entra token has to be good for."""

DATED = re.compile(r"\d{4}-\d\d-\d\d")
"""How versions begin that have routes of their own; `preview` and `latest` name those without a version."""

LOG_IN = "export AZURE_OPENAI_API_KEY=…, or pip install 'ft-sync[azure]' and `az login`"


def client(environment: Mapping[str, str], timeout: float) -> openai.OpenAI:
    """Return a client for the routes with a version if `OPENAI_API_VERSION` names one, else for those without.

    Raises:
        ConfigError: There is no endpoint, or it is none.
        NotLoggedIn: There is neither a key nor a token, nor a way to get one.
    """
    endpoint = endpoint_of(environment.get(AZURE.address, ""))
    version = environment.get("OPENAI_API_VERSION", "")
    token = environment.get("AZURE_OPENAI_AD_TOKEN")
    key = None if token else environment.get(AZURE.key)
    provider = None if token or key else entra_token_provider()
    if DATED.match(version):
        return openai.AzureOpenAI(
            azure_endpoint=endpoint,
            api_version=version,
            api_key=key,
            azure_ad_token=token or None,
            azure_ad_token_provider=provider,
            timeout=timeout,
            http_client=transport(),
        )
    base_url = f"{endpoint}/openai/v1/"
    # A key is good as a bearer, too, but gateways in front of the service look for it where it always was.
    headers = {"api-key": key} if key else {}
    return openai.OpenAI(
        base_url=base_url,
        api_key=key or token or provider,
        default_headers=headers,
        timeout=timeout,
        http_client=transport(),
    )


def endpoint_of(given: str) -> str:
    """Return the endpoint alone, also of a longer address that was copied from a page or a call.

    Raises:
        ConfigError: There is none in it.
    """
    example = f"export {AZURE.address}=https://RESOURCE.openai.azure.com"
    if not given.strip():
        raise ConfigError(f"no Azure OpenAI endpoint: {AZURE.address} is not set", hint=example)
    if not plain(given):
        raise ConfigError(f"{AZURE.address}: {given!r} is no URL", hint=example)
    url = urlsplit(given.strip())
    path = re.split(r"/openai(?:/|$)", url.path, maxsplit=1)[0].rstrip("/")
    return f"{url.scheme}://{url.netloc}{path}"


def entra_token_provider() -> Callable[[], str]:
    """Return what gets and renews an Entra token by whatever login is found: environment, workload, `az login`, ….

    Raises:
        NotLoggedIn: The package that does this is not installed.
    """
    try:
        from azure.core.exceptions import AzureError, ClientAuthenticationError  # noqa: PLC0415 - in an extra
        from azure.identity import DefaultAzureCredential, get_bearer_token_provider  # noqa: PLC0415 - the same
    except ModuleNotFoundError as error:
        raise NotLoggedIn(
            "no Azure OpenAI key: AZURE_OPENAI_API_KEY is not set, and azure-identity is not there to get a token",
            hint=LOG_IN,
        ) from error
    provide = get_bearer_token_provider(DefaultAzureCredential(), SCOPE)

    def token() -> str:
        try:
            return provide()
        except ClientAuthenticationError as error:
            raise NotLoggedIn(
                "no Azure OpenAI key: AZURE_OPENAI_API_KEY is not set, and Entra gave no token",
                hint="export AZURE_OPENAI_API_KEY=…, or `az login`",
            ) from error
        except AzureError as error:
            raise Unavailable("Entra could not be asked for a token", hint=AZURE.hint) from error

    return token
