"""Creates the client for Azure OpenAI, with its routes and keys; its answers are read by `OpenAISource`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import openai

from ft_sync.errors import ConfigError, NotLoggedIn, Unavailable
from ft_sync.providers import plain
from ft_sync.sources.service import AZURE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SCOPE = "https://cognitiveservices.azure.com/.default"
"""The scope that an Entra token must have."""

DATED = re.compile(r"\d{4}-\d\d-\d\d")
"""Matches dated API versions, which use versioned routes; `preview` and `latest` mean the v1 routes."""

LOG_IN = "export AZURE_OPENAI_API_KEY=…, or pip install 'ft-sync[azure]' and `az login`"


def client(environment: Mapping[str, str], timeout: float) -> openai.OpenAI:
    """Return a client: for versioned routes if `OPENAI_API_VERSION` is a date, otherwise for the v1 routes.

    Raises:
        ConfigError: The endpoint is not set or is not a URL.
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
        )
    base_url = f"{endpoint}/openai/v1/"
    # The service accepts a key as a bearer token, but gateways in front of it expect the `api-key` header.
    headers = {"api-key": key} if key else {}
    return openai.OpenAI(
        base_url=base_url,
        api_key=key or token or provider,
        default_headers=headers,
        timeout=timeout,
    )


def endpoint_of(given: str) -> str:
    """Reduce an address to the endpoint, even if it was copied from a web page or a request with its path.

    Raises:
        ConfigError: The address is empty or not a URL.
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
    """Return a function that gets and renews an Entra token from the environment, a workload or `az login`.

    Raises:
        NotLoggedIn: The package azure-identity is not installed.
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
