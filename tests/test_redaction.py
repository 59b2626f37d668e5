"""What counts as a key, in which ways it may be written, and that nothing else changes."""

from __future__ import annotations

import base64
import json
import time
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ft_sync import redaction
from ft_sync.errors import FtSyncError
from ft_sync.redaction import DEEPEST, PORTION, redact, redacted
from tests.encoders import ENCODERS, holds

if TYPE_CHECKING:
    from collections.abc import Callable

KEY = 'sk-proj-/+a"b\\c_d-nBuv2QKHToEzw7mQoXQNYhQLk'


@pytest.fixture(autouse=True)
def _only_keys_of_this_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_known", redaction._Known())


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


SLASHED = "sk-proj/aB3_xY9z"


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("key sk-proj%2FaB3_xY9z.", "key ***."),
        ("key sk-proj%2faB3_xY9z.", "key ***."),
        ("key %73%6b%2d%70%72%6f%6a%2f%61%42%33%5f%78%59%39%7a.", "key ***."),
        ("key %73k-proj/aB3_xY9%7A.", "key ***."),
        ("key %u0073k-proj/aB3_xY9z.", "key ***."),
        ("key %2573k%252Dproj%25252FaB3_xY9z.", "key ***."),
        (r"key sk-proj\/aB3_xY9z.", "key ***."),
        (r"key sk-proj\\/aB3_xY9z.", "key ***."),
        (r"key \x73\x6b-proj/aB3_xY9z.", "key ***."),
        (r"key \u0073\u006B\u002dproj/aB3_xY9z.", "key ***."),
        (r"key \u{73}\U0000006b\055proj/aB3_xY9z.", "key ***."),
        (r"key \\u0073\\u006b-proj/aB3_xY9z.", "key ***."),
        ("key &#115;&#x6b;&#X2D;&#0112roj&sol;aB3&lowbar;xY9z.", "key ***."),
        ("key &amp;#115;k-proj&amp;sol;aB3_xY9z.", "key ***."),
        ("key 736b2d70726f6a2f6142335f7859397a.", "key ***."),
        ("key 736B2D70726F6A2F6142335F7859397A.", "key ***."),
        ("0736b2d70726f6a2f6142335f7859397af", "0***f"),
        ("key c2stcHJvai9hQjNfeFk5eg==.", "key ***==."),
        ("key c2stcHJvai9hQjNfeFk5eg.", "key ***."),
        ("Basic YXBpOnNrLXByb2ovYUIzX3hZOXo=", "Basic YXBpO***="),
        ("key c2stcHJvaiUyRmFCM194WTl6.", "key ***."),
        ("key %63%32stcHJvai9hQjNfeFk5eg==.", "key ***==."),
        ('{"a": "{\\"b\\": \\"sk-proj\\\\/aB3_xY9z\\"}"}', '{"a": "{\\"b\\": \\"***\\"}"}'),
        ("100%sk-proj/aB3_xY9z%7", "100%***%7"),
        ("sk-proj/aB3_xY9zsk-proj/aB3_xY9z", "******"),
        (r"key sk\55proj\57aB3\137xY9z.", "key ***."),
        (r"key sk\0055proj\0057aB3\0137xY9z.", "key ***."),
        (r"key \0163\0153\0055proj/aB3_xY9z.", "key ***."),
        (r"key \x{73}k\u{000000000000002d}proj/aB3_xY9z.", "key ***."),
        (r"key \000073k\00002Dproj/aB3_xY9z.", "key ***."),
        ("key sk=2Dproj=2FaB3=5FxY9z.", "key ***."),
        ("key =73=6B=2D=70=72=6F=6A=2F=61=42=33=5F=78=59=39=7A.", "key ***."),
        ("key s\0k\0-\0p\0r\0o\0j\0/\0a\0B\0003\0_\0x\0Y\0009\0z\0.", "key ***\0."),
    ],
)
def test_a_key_is_found_as_it_is_written(written: str, shown: str) -> None:
    redaction.learn(SLASHED)
    assert redact(written) == shown
    assert redacted(written.encode()) == shown.encode()


def test_a_key_is_found_across_the_lines_of_base64() -> None:
    redaction.learn(SLASHED)
    text = base64.encodebytes(b"y" * 50 + SLASHED.encode() + b"y" * 50).decode()
    assert redact(f"it is\n{text}") == f"it is\n{text[:66]}***{text[89:]}"


@pytest.mark.parametrize(
    "end",
    [
        "\r",
        " \n",
        "\t\r\n",
        "\n\n",
        "\n \n\t",
        r"\r\n",
        r"\\r\\n",
        r"\\\\r\\\\n",
        r"\n\n",
        "%0D%0A",
        "&#13;&#10;",
        "\\012",
    ],
)
@pytest.mark.parametrize("before", range(0, 48, 5))
def test_a_key_is_found_across_lines_however_they_end(end: str, before: int) -> None:
    redaction.learn(SLASHED)
    digits = base64.b64encode(b"y" * before + SLASHED.encode() + b"y" * 50).decode()
    text = end.join(digits[at : at + 40] for at in range(0, len(digits), 40))
    assert "***" in redact(f"it is {text}")


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-16", "utf-32-le"])
@pytest.mark.parametrize("encode", [bytes.hex, base64.b64encode, quote])
def test_a_key_is_found_in_utf_16_below_an_encoding(encoding: str, encode: Callable[[bytes], str | bytes]) -> None:
    redaction.learn(SLASHED)
    encoded = encode(f"Bearer {SLASHED} is it".encode(encoding))
    assert "***" in redact(f"key {encoded if isinstance(encoded, str) else encoded.decode()}.")


@pytest.mark.parametrize("deep", range(1, DEEPEST + 1))
@pytest.mark.parametrize("after", ["", "x", "xy"])
def test_a_key_is_found_in_base64_as_deep_as_it_is_promised(deep: int, after: str) -> None:
    redaction.learn(SLASHED)
    text = f"{SLASHED}{after}"
    for _ in range(deep):
        text = base64.b64encode(text.encode()).decode()
    assert "***" in redact(f"key {text} .")


NUMBER = "0a1b2c3d4e5f60718293a4b5c6d7e8f9"


def test_a_key_that_is_a_number_is_found_in_either_case_and_as_bytes_in_base64() -> None:
    redaction.learn(NUMBER)
    assert redact(NUMBER.upper()) == "***"
    assert redact(quote(quote(base64.b64encode(NUMBER.upper().encode()), safe=""))) == "***%253D"
    for before in range(4):
        octets = bytes(range(256 - before, 256)) + bytes.fromhex(NUMBER) + b"\xfe\xff"
        for text in (base64.b64encode(octets).decode(), base64.urlsafe_b64encode(octets).decode()):
            assert "***" in redact(text)
            assert len(redact(text)) < 16


@pytest.mark.parametrize(
    "secret", ["pässwörd-😀", "a\"b\\c'd e", "back\\next\\u", "%41%42%43%44", "&amp;&lt;&gt;", "a=3D/_=41.b_=2F"]
)
@pytest.mark.parametrize("encode", [str, json.dumps, quote, lambda text: json.dumps(json.dumps(text))])
def test_a_password_may_have_any_characters(secret: str, encode: Callable[[str], str]) -> None:
    redaction.learn(secret)
    assert redact(f"<{encode(secret)}>").strip('<>\\"') == "***"


KEYS = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./+=", min_size=20, max_size=80)
AROUND = st.lists(
    st.sampled_from([*"aZ09+/-_=%&;#\\xu\"' \n{}é", "%25", "&amp;", "\\u00", "\\\\", "&#", "73", "c2s"]), max_size=20
).map("".join)


@settings(max_examples=300)
@given(KEYS, st.lists(st.sampled_from(sorted(ENCODERS)), max_size=3), AROUND, AROUND)
def test_whatever_encoded_it_a_key_is_gone_and_nothing_but_it(
    key: str, encoders: list[str], before: str, after: str
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(redaction, "_known", redaction._Known())
        redaction.learn(key)
        encoded = key
        for name in encoders:
            encoded = ENCODERS[name](encoded)
        # A line for itself, since what stands right before it might be the beginning of an escape sequence.
        clean = redact(f"{before}\n{encoded}\n{after}")
        assert "***" in clean
        assert not holds(key, clean.encode())
        assert clean.startswith(f"{before}\n")
        assert clean.endswith(f"\n{after}")


@given(st.text() | AROUND | st.binary())
def test_what_holds_no_key_is_the_same_object(value: str | bytes) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(redaction, "_known", redaction._Known())
        redaction.learn(SLASHED)
        nested = {"a": [value, {"b": (value, 1, None)}]}
        assert redacted(value) is value
        assert redacted(nested) is nested


def test_a_key_is_found_where_portions_of_a_large_text_meet() -> None:
    redaction.learn(SLASHED)
    for chain in (("hex", "url, in full"), ("python, long",) * 2, ("json, in full",) * 3, ("html, padded",) * 2):
        encoded = SLASHED
        for name in chain:
            encoded = ENCODERS[name](encoded)
        for place in (PORTION - len(encoded) // 2, PORTION - len(encoded) + 1, PORTION - 1, PORTION):
            before, after = b"." * place, b"," * PORTION
            assert redacted(before + encoded.encode() + after) == before + b"***" + after


SIZE = 4 * 2**20


@pytest.mark.parametrize(
    "text",
    [
        "1,0.5,0.25,,\n",
        '{"content": "a\\nb \\"c\\" 50% & d"}\n',
        "abcd",
        "%",
        "\\",
        "&",
        "&#",
        "%25",
        "\\\\u0073",
        "7",
        "x" * 40 + "\n",
        "&#0",
        "&amp;",
        "=3D",
        "a\0",
        "x" * 40 + " ",
        "x" * 40 + "\\r\\n",
        "\\0012",
        "\\x{0",
    ],
)
def test_time_grows_no_faster_than_the_text(text: str) -> None:
    redaction.learn(SLASHED)

    def seconds(size: int) -> float:
        content = text * (size // len(text))
        began = time.process_time()
        assert redact(content) is content
        return time.process_time() - began

    # An algorithm that is quadratic would take 64 times as long for 8 times the text.
    assert seconds(SIZE) < 24 * max(seconds(SIZE // 8), 0.02)


@pytest.mark.parametrize("before", ["", "x" * 40, 'x"'])
@pytest.mark.parametrize("after", ['"', 'n"', "\0"])
def test_time_grows_no_faster_than_a_run_of_backslashes_that_is_left_alone(before: str, after: str) -> None:
    redaction.learn(SLASHED)

    def seconds(size: int) -> float:
        content = before + "\\" * size + after
        began = time.process_time()
        redact(content)
        return time.process_time() - began

    # Quadratic, the shorter one alone would take a second.
    assert seconds(256_000) < 24 * max(seconds(32_000), 0.02)
