from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ft_sync.cli import render

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("served", "shown"),
    [
        ("plain ünicode 模型", "plain ünicode 模型"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("two\nlines\ttabbed\r", r"two\x0alines\x09tabbed\x0d"),
        ("\x9b31m", r"\x9b31m"),
        ("gnp.\u202egnp", r"gnp.\u202egnp"),
        ("a\u2028b", r"a\u2028b"),
        ("\ud800", r"\ud800"),
        ("\U000e0041", r"\U000e0041"),
        ("[bold]not markup[/bold]", "[bold]not markup[/bold]"),
    ],
)
def test_what_would_move_a_terminal_is_shown_instead(served: str, shown: str) -> None:
    assert render.safe(served) == shown


@given(st.text())
def test_safe_text_is_one_printable_line(text: str) -> None:
    shown = render.safe(text)
    assert len(shown.splitlines()) <= 1
    assert not any(ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 for char in shown)
    assert render.safe(shown) == shown
    shown.encode()


def test_lines_keep_their_columns_where_a_value_is_absent(capsys: pytest.CaptureFixture[str]) -> None:
    render.lines([("a", None, 0), ("b\tb", "", 1)])
    assert capsys.readouterr().out == "a\t-\t0\nb\\x09b\t\t1\n"


def test_a_table_reads_no_markup_and_keeps_ids_whole(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    job_id = "ftjob-" + "x" * 40
    render.table(("job", "because"), [(job_id, "[red]:smile:[/red] \x1b[2J")], folds=1)
    out = capsys.readouterr().out
    assert job_id in out
    assert "[red]:smile:[/red]" in out
    assert "\x1b" not in out


def test_a_narrow_terminal_loses_the_optional_columns_first(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    render.table(("job", "model", "tokens"), [("ftjob-1", "m", 123456)], folds=1, optional=[2])
    assert capsys.readouterr().out.split() == ["job", "model", "ftjob-1", "m"]


@pytest.mark.parametrize(
    ("width", "shown", "cut"),
    [
        (60, ["job", "model", "tokens", f"ftjob-{'x' * 16}1", "123456", f"ftjob-{'x' * 16}2", "123456"], []),
        (48, ["job", "model", f"ftjob-{'x' * 16}1", f"ftjob-{'x' * 16}2"], ["tokens"]),
        (32, ["job", "model", "ftjob-x…xxxxxxx1", "ftjob-x…xxxxxxx2"], ["tokens", "parts of job ids"]),
    ],
)
def test_what_gives_way_is_told(
    width: int, shown: list[str], cut: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    model = "a model of many words"
    rows = [(f"ftjob-{'x' * 16}{number}", model, 123456) for number in (1, 2)]
    assert render.table(("job", "model", "tokens"), rows, folds=1, optional=[2], shortens=0) == cut
    out = capsys.readouterr().out
    assert all(word in out.split() for word in shown)
    assert max(map(len, out.splitlines())) <= width


def test_short_ids_stay_different_and_ids_that_fit_stay_whole() -> None:
    assert render.shortened(["ftjob-abc"], 9) == {"ftjob-abc": "ftjob-abc"}
    ends = ["ftjob-" + "a" * 20 + end for end in "xy"]
    assert list(render.shortened(ends, 10).values()) == ["ftjo…aaaax", "ftjo…aaaay"]
    middles = ["ftjob-" + start + "a" * 20 for start in "xy"]
    assert list(render.shortened(middles, 20).values()) == ["ftjob-xaa…aaaaaaaaaa", "ftjob-yaa…aaaaaaaaaa"]
    hidden = ["ftjob-" + "a" * 10 + middle + "a" * 10 for middle in "xy"]
    assert list(render.shortened(hidden, 10).values()) == hidden


def test_only_urls_are_linked_and_nothing_in_them_ends_the_link() -> None:
    assert render.linked("https://wandb.ai/a\x1b\\b").link == r"https://wandb.ai/a\x1b\b"
    assert [render.linked(one).link for one in ("./wandb/run", "javascript:x", None, 3)] == [None] * 4


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0s"), (59.6, "1m 00s"), (785, "13m 05s"), (3660, "1h 01m"), (90_000, "1d 1h"), (None, None)],
)
def test_spans_are_told_in_two_units(seconds: float | None, shown: str | None) -> None:
    assert render.span(seconds) == shown


def test_times_are_iso_in_utc() -> None:
    there = datetime(2026, 3, 2, 9, 15, 0, 999_999, tzinfo=UTC).astimezone()
    assert render.moment(there) == "2026-03-02T09:15:00Z"
    assert render.moment(None) is None
    assert render.seconds(timedelta(minutes=1)) == 60


def test_a_folder_below_this_one_is_told_as_seen_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert render.place(str(tmp_path / "wandb" / "run")) == "./wandb/run"
    assert render.place("https://wandb.ai/me/project") == "https://wandb.ai/me/project"
    assert render.place(None) is None


def test_a_reader_that_has_gone_is_no_failure() -> None:
    writer = "from ft_sync.cli.render import emit\nfor _ in range(3): emit('x' * 1_000_000)"
    process = subprocess.Popen([sys.executable, "-c", writer], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 0
