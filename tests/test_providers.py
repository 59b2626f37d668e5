from __future__ import annotations

import openai
import pytest

from ft_sync.providers import OPENAI_ADDRESS, address, guessed_provider, plain

KEY, ENDPOINT, AZURE_KEY = "OPENAI_API_KEY", "AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_API_KEY"


@pytest.mark.parametrize(
    ("set_variables", "provider"),
    [
        ([], "openai"),
        ([KEY], "openai"),
        ([ENDPOINT], "azure"),
        ([AZURE_KEY], "azure"),
        ([ENDPOINT, AZURE_KEY], "azure"),
        ([ENDPOINT, AZURE_KEY, KEY], "openai"),
    ],
)
def test_the_provider_whose_variables_are_set_is_guessed(set_variables: list[str], provider: str) -> None:
    guess, reason = guessed_provider(dict.fromkeys(set_variables, "x"))
    assert (guess, bool(reason)) == (provider, True)


def test_an_empty_variable_makes_no_guess() -> None:
    assert guessed_provider({ENDPOINT: ""})[0] == "openai"


def test_the_address_is_the_one_that_the_sdk_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with openai.OpenAI(api_key="none") as client:
        assert str(client.base_url).rstrip("/") == OPENAI_ADDRESS == address("openai", {})
    assert address("openai", {"OPENAI_BASE_URL": "https://other.example/v1"}) == "https://other.example/v1"
    assert address("azure", {ENDPOINT: "https://mine.openai.azure.com"}) == "https://mine.openai.azure.com"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://api.openai.com/v1/", "https://api.openai.com/v1"),
        ("http://somebody:secret@host.example:8000/v1?key=secret#x", "http://host.example:8000/v1"),
        ("http://[::1]:8000", "http://[::1]:8000"),
        ("http://[::1", ""),
        ("api.openai.com", ""),
        ("ftp://host.example", ""),
        ("http://", ""),
        ("", ""),
    ],
)
def test_an_address_is_shown_without_what_may_be_a_password(url: str, shown: str) -> None:
    assert plain(url) == shown
