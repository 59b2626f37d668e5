"""Whom an environment asks for jobs, and at which address; imports nothing heavy, since a TAB needs it, too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

Provider: TypeAlias = Literal["openai", "azure"]
"""`openai` are all services with OpenAI's routes and its way to show a key."""

OPENAI_ADDRESS = "https://api.openai.com/v1"
"""Where the SDK asks when no address is given."""


def guessed_provider(environment: Mapping[str, str]) -> tuple[Provider, str]:
    """Return the provider whose variables are set, OpenAI if both or neither are; and the reason."""
    of_azure = [name for name in ("AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_API_KEY") if environment.get(name)]
    if not of_azure:
        return "openai", "nothing of Azure is set"
    if environment.get("OPENAI_API_KEY"):
        return "openai", f"OPENAI_API_KEY is set, and {of_azure[0]} only besides"
    return "azure", f"{of_azure[0]} is set, and OPENAI_API_KEY is not"


def address(provider: Provider, environment: Mapping[str, str]) -> str:
    """Return the address that an environment gives for a provider."""
    if provider == "azure":
        return environment.get("AZURE_OPENAI_ENDPOINT", "")
    return environment.get("OPENAI_BASE_URL") or OPENAI_ADDRESS


def plain(url: str) -> str:
    """Return an address without what may be a password in it; nothing if it is no address of a service."""
    try:
        parts = urlsplit(url.strip())
    except ValueError:
        return ""
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path.rstrip('/')}" if parts.scheme in {"http", "https"} and host else ""
