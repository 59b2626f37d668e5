"""What the text of a result file is, however it was packed, cut off or mangled."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ft_sync import redaction
from ft_sync.errors import BadData
from ft_sync.result_text import decode, without_keys

if TYPE_CHECKING:
    from collections.abc import Callable

CSV = "step,train_loss,train_accuracy,valid_loss\n1,2.5,0.5,\n2,1.25,0.75,1.5\n"
WEIGHTS = b"\x80\x02}q\x00(X\x05\x00\x00\x00layer" * 8


class TestDecode:
    @pytest.mark.parametrize(
        "content",
        [
            CSV.encode(),
            CSV.replace("\n", "\r\n").encode(),
            b"\xef\xbb\xbf" + CSV.encode(),
            base64.b64encode(CSV.encode()),
            base64.encodebytes(CSV.encode()),
            base64.b64encode(CSV.encode()) + b"\r\n",
            base64.b64encode(CSV.encode()).rstrip(b"="),
            base64.b64encode(b"\xef\xbb\xbf" + CSV.replace("\n", "\r\n").encode()),
            b"\xef\xbb\xbf" + base64.b64encode(CSV.encode()),
        ],
        ids=[
            "plain",
            "CRLF",
            "BOM",
            "base64",
            "base64 in lines",
            "base64 and a line end",
            "base64 without padding",
            "base64 of BOM and CRLF",
            "BOM before base64",
        ],
    )
    def test_every_way_of_serving_gives_the_same_text(self, content: bytes) -> None:
        assert decode(content) == CSV

    def test_base64_cut_off_anywhere_gives_the_text_up_to_there(self) -> None:
        packed = base64.b64encode(CSV.encode())
        assert all(CSV.startswith(decode(packed[:end])) for end in range(40, len(packed)))

    @pytest.mark.parametrize(
        "content", [WEIGHTS, base64.b64encode(WEIGHTS), base64.encodebytes(WEIGHTS), b"\xff\xfes\x00t\x00", b"a\x00b"]
    )
    def test_what_is_not_text_is_bad_data(self, content: bytes) -> None:
        with pytest.raises(BadData, match="binary"):
            decode(content)

    def test_a_plain_column_of_letters_and_digits_is_not_taken_for_base64(self) -> None:
        assert decode(b"loss\n1234\n") == "loss\n1234\n"

    @pytest.mark.parametrize("pack", [bytes, base64.b64encode], ids=["plain", "base64"])
    def test_a_file_cut_within_a_character_is_text_up_to_there(self, pack: Callable[[bytes], bytes]) -> None:
        assert decode(pack("step,phase\n1,é".encode()[:-1])) == "step,phase\n1,"

    def test_a_name_in_an_older_encoding_costs_only_its_odd_characters(self) -> None:
        assert decode("step,é_loss\n1,0.5\n".encode("latin-1")) == "step,\ufffd_loss\n1,0.5\n"

    def test_an_empty_file_is_empty_text(self) -> None:
        assert decode(b"") == ""

    @given(st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["Cc"])).map(lambda text: f"step,{text}"))
    def test_base64_and_plain_say_the_same(self, text: str) -> None:
        assert decode(base64.b64encode(text.encode())) == decode(text.encode()) == text


KEY = "sk-proj-Ab3_/x9Zq.T=k+Lm8Rw2Vy7Qs4Dt6Fg1Hj5Kn0PcXvBz"
HEX_KEY = "0a1b2c3d4e5f60718293a4b5c6d7e8f901234567"


def wrapped(content: bytes, length: int, end: bytes) -> bytes:
    digits = base64.b64encode(content)
    return end.join(digits[at : at + length] for at in range(0, len(digits), length))


class TestWithoutKeys:
    @pytest.fixture(autouse=True)
    def _only_these_keys(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(redaction, "_known", redaction._Known())
        redaction.learn(KEY)
        redaction.learn(HEX_KEY)

    @pytest.mark.parametrize("length", [24, 76, 10**6])
    @pytest.mark.parametrize("end", [b"\n", b" \n", b"\r", b"\n\n \t"])
    @pytest.mark.parametrize("written", [KEY, HEX_KEY, KEY.encode().hex(), base64.b64encode(KEY.encode()).decode()])
    def test_a_key_is_taken_out_of_base64_whatever_its_lines_and_all_rows_stay(
        self, length: int, end: bytes, written: str
    ) -> None:
        served = CSV.replace("train_loss", f"train_loss,{written}", 1)
        clean = without_keys(wrapped(served.encode(), length, end))
        assert decode(clean).replace("==", "") == CSV.replace("train_loss", "train_loss,***", 1)
        assert base64.b64decode(clean, validate=True).decode() == decode(clean)

    def test_a_plain_file_stays_plain(self) -> None:
        assert without_keys(f"step,{KEY}\r\n1,2\r\n".encode()) == b"step,***\r\n1,2\r\n"

    @pytest.mark.parametrize("content", [HEX_KEY.encode(), wrapped(WEIGHTS + KEY.encode(), 24, b"\n")])
    def test_a_file_that_is_no_table_holds_no_key_either(self, content: bytes) -> None:
        clean = without_keys(content)
        assert HEX_KEY.encode() not in clean
        assert KEY.encode() not in base64.b64decode(clean)

    @pytest.mark.parametrize("content", [b"", CSV.encode(), wrapped(CSV.encode(), 24, b" \r\n"), WEIGHTS])
    def test_a_file_without_keys_is_the_same_object(self, content: bytes) -> None:
        assert without_keys(content) is content
