"""Names of services and of their environment variables, for messages and hints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import openai

if TYPE_CHECKING:
    import httpx2

AZURE_HOSTS = (".openai.azure.com", ".cognitiveservices.azure.com", ".services.ai.azure.com")


@dataclass(frozen=True, slots=True)
class Service:
    """A service: its name, and the environment variables for its address and key."""

    name: str
    address: str = "OPENAI_BASE_URL"
    key: str = "OPENAI_API_KEY"

    @property
    def hint(self) -> str:
        """What to do if the service could not be reached."""
        return f"check {self.address} and the network, then run the same command again"


OPENAI = Service("OpenAI")
AZURE = Service("Azure OpenAI", "AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_API_KEY")


def service_of(client: openai.OpenAI) -> Service:
    """Return the service of a client; one that is neither OpenAI nor Azure is named after its host."""
    if isinstance(client, openai.AzureOpenAI):
        return AZURE
    url: httpx2.URL = client.base_url
    if url.host == "openai.com" or url.host.endswith(".openai.com"):
        return OPENAI
    return Service(AZURE.name if url.host.endswith(AZURE_HOSTS) else url.host)
