"""What counts as a key, and in which ways it may be written."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ft_sync import redaction
from ft_sync.errors import FtSyncError
from ft_sync.redaction import redact, redacted

KEY = 'sk-proj-/+a"b\\c_d-nBuv2QKHToEzw7mQoXQNYhQLk'


@pytest.fixture(autouse=True)
def _only_keys_of_this_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_forms", ())


@given(st.binary(max_size=5), st.binary(max_size=5))
def test_a_key_is_found_in_any_base64_text_that_contains_it(before: bytes, after: bytes) -> None:
    redaction.learn(KEY)
    content = before + KEY.encode() + after
    for text in (base64.b64encode(content).decode(), base64.urlsafe_b64encode(content).decode()):
        assert "***" in redact(text)
        # What is left of the key's characters is less than one of its bytes at each end.
        assert len(redact(text)) <= len(text) - (8 * len(KEY) - 10) // 6 + 3


@pytest.mark.parametrize("written", [KEY, quote(KEY), quote(KEY, safe=""), json.dumps(KEY)[1:-1]])
def test_a_key_is_found_in_a_header_a_url_and_in_json(written: str) -> None:
    redaction.learn(KEY)
    assert redact(f"Bearer {written}, twice {written}") == "Bearer ***, twice ***"


@pytest.mark.parametrize("secret", [None, "", "short", " 1234567 ", 12345678, b"12345678"])
def test_what_is_too_short_or_no_text_is_no_key(secret: object) -> None:
    redaction.learn(secret)
    assert redact("short 1234567 12345678") == "short 1234567 12345678"


def test_the_longer_key_is_taken_out_whole() -> None:
    redaction.learn("sk-service")
    redaction.learn("sk-service-longer")
    assert redact("sk-service-longer sk-service") == "*** ***"


def test_keys_are_taken_out_at_any_depth_and_of_names_too() -> None:
    redaction.learn("sk-service")
    assert redacted({"sk-service": ["sk-service", {"a": ("sk-service", 1, None, b"=sk-service")}]}) == {
        "***": ["***", {"a": ("***", 1, None, b"=***")}]
    }


@pytest.mark.parametrize(
    ("name", "value", "text", "shown"),
    [
        ("OPENAI_API_KEY", "sk-service", "sk-service", "***"),
        ("WANDB_API_KEY", "a" * 40, "a" * 40, "***"),
        ("WANDB_BASE_URL", "https://u:p@host/x", "https://u:p@host/x", "https:***host/x"),
        ("https_proxy", "http://me:pass%2Fword@proxy", "said pass/word and pass%2Fword", "said *** and ***"),
        ("HOME", "/home/somebody", "/home/somebody", "/home/somebody"),
    ],
)
def test_keys_of_the_environment(name: str, value: str, text: str, shown: str) -> None:
    redaction.learn_environment({name: value})
    assert redact(text) == shown


def test_an_error_and_what_caused_it_tell_no_key() -> None:
    redaction.learn("sk-service")
    error = ConnectionError("at sk-service")
    error.__cause__ = ValueError("sk-service", 1)
    redaction.cleanse(error)
    assert (error.args, error.__cause__.args) == (("at ***",), ("***", 1))
    told = FtSyncError("with sk-service", hint="not sk-service")
    assert (told.message, told.hint, str(told)) == ("with ***", "not ***", "with ***")


def test_what_is_no_url_holds_no_password_and_is_no_failure() -> None:
    redaction.learn_url("http://[::1")
