"""Determines the provider and its address from the environment; imports nothing slow, as shell completion needs it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

Provider: TypeAlias = Literal["openai", "azure"]
"""`openai` means any service with OpenAI's routes and authentication."""

OPENAI_ADDRESS = "https://api.openai.com/v1"
"""The SDK's default address."""


def guessed_provider(environment: Mapping[str, str]) -> tuple[Provider, str]:
    """Return the provider whose variables are set (OpenAI if both or neither are), and the reason."""
    of_azure = [name for name in ("AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_API_KEY") if environment.get(name)]
    if not of_azure:
        return "openai", "nothing of Azure is set"
    if environment.get("OPENAI_API_KEY"):
        return "openai", f"OPENAI_API_KEY is set, and {of_azure[0]} only besides"
    return "azure", f"{of_azure[0]} is set, and OPENAI_API_KEY is not"


def address(provider: Provider, environment: Mapping[str, str]) -> str:
    """Return a provider's address according to the environment."""
    if provider == "azure":
        return environment.get("AZURE_OPENAI_ENDPOINT", "")
    return environment.get("OPENAI_BASE_URL") or OPENAI_ADDRESS


def plain(url: str) -> str:
    """Return a URL without user, password and query; empty if it is not the URL of a service."""
    try:
        parts = urlsplit(url.strip())
    except ValueError:
        return ""
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path.rstrip('/')}" if parts.scheme in {"http", "https"} and host else ""
