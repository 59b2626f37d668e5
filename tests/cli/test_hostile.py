"""A service whose every text is an attack on the reader's terminal, through the real command."""

from __future__ import annotations

import json
import os
import re
import sys
import unicodedata
from typing import TYPE_CHECKING, Any

import pexpect
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ft_sync.cli import exits, progress, render
from ft_sync.errors import ConfigError
from ft_sync.events import Delayed, Noted, Settled, Waiting
from ft_sync.models import Failed, JobId, Skipped
from ft_sync.sandbox import SampleJob, Sandbox, World, samples
from tests.builders import job

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Ftsync

ATTACK = "[red]\x1b]0;owned\x07\x1b[2J\r\n\t\x9b1m\x7f\u202egnp\u2066\u200f\u200b\u2028\u2029\ufeff:smile:[/red]"

OWN = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
"""What a live display itself sends to a terminal."""


def assert_tame(text: str, allowed: str = "\n") -> None:
    wild = {char for char in text if unicodedata.category(char) in {"Cc", "Cf", "Cs", "Zl", "Zp"}}
    assert wild <= set(allowed), ascii(wild)


@pytest.fixture
def hostile(world: World) -> SampleJob:
    """A job with the attack in every text of it that is no part of a request's path."""
    sample = samples.many(1)[0]
    attacked = sample.job | {
        "model": ATTACK,
        "fine_tuned_model": ATTACK,
        "user_provided_suffix": ATTACK,
        "error": {"code": ATTACK, "message": ATTACK, "param": ATTACK},
        "method": {"type": ATTACK},
        "metadata": {ATTACK: ATTACK},
    }
    events = [event | {"message": ATTACK, "level": ATTACK, "type": "message"} for event in sample.events]
    hostile = SampleJob(job=attacked, events=events, files=sample.files)
    world.add(hostile)
    return hostile


@pytest.mark.parametrize(
    "arguments",
    [("list",), ("status", "{id}"), ("status",), ("sync", "--dry-run"), ("sync", "--offline", "-v")],
    ids=" ".join,
)
def test_a_pipe_gets_one_line_a_row(arguments: tuple[str, ...], ftsync: Ftsync, hostile: SampleJob) -> None:
    said = ftsync(*(word.format(id=hostile.id) for word in arguments))
    assert said.code == 0
    assert_tame(said.out, "\n\t")
    assert_tame(said.err)


def test_a_refusal_is_told_tamely(ftsync: Ftsync, hostile: SampleJob, sandbox: Sandbox) -> None:
    sandbox.fail(hostile.id, status=400, body={"error": {"message": ATTACK}})
    for flags in ((), ("--json",), ("--debug",)):
        said = ftsync("sync", *flags)
        assert said.code == 3
        assert_tame(said.out, "\n\t")
        assert_tame(said.err)


@pytest.mark.parametrize(
    "arguments",
    [
        ("sync", f"--{ATTACK}"),
        ("sync", "--timeout", ATTACK),
        ("sync", "--init", ATTACK),
        ("sync", "--init", f"{ATTACK}=1"),
        ("sync", "--link", ATTACK),
        ("status", ATTACK),
        (ATTACK,),
        ("sync", "--offline", "--init", f"dir=/dev/null/{ATTACK}"),
    ],
    ids=ascii,
)
def test_an_argument_is_echoed_tamely(arguments: tuple[str, ...], ftsync: Ftsync) -> None:
    said = ftsync(*arguments, "--debug")
    assert said.code in {2, 3}
    assert_tame(said.err)


def test_json_is_ascii_and_loses_nothing(ftsync: Ftsync, hostile: SampleJob) -> None:
    said = ftsync("status", hostile.id, "--json")
    assert_tame(said.out)
    assert said.out.isascii()
    assert said.json["jobs"][0]["error"]["message"] == ATTACK
    assert said.json["jobs"][0]["events"][0]["message"] == ATTACK


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
@pytest.mark.parametrize("arguments", [("status", "{id}"), ("sync", "--offline", "-v")], ids=" ".join)
def test_a_terminal_gets_only_the_sequences_of_the_display_itself(
    arguments: tuple[str, ...], hostile: SampleJob, workspace: Path
) -> None:
    command = ["-m", "ft_sync", *(word.format(id=hostile.id) for word in arguments)]
    terminal = pexpect.spawn(
        sys.executable, command, cwd=str(workspace), env={**os.environ, "TERM": "xterm"}, encoding="utf-8", timeout=60
    )
    screen = terminal.read()
    terminal.close()
    assert terminal.exitstatus == 0
    assert hostile.id in screen
    assert_tame(OWN.sub("", screen).replace("\r", ""))
    assert "\x1b[2J" not in screen


TEXT = st.text() | st.just(ATTACK)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(one=TEXT, other=TEXT)
def test_whatever_is_served_is_one_tame_line(capsys: pytest.CaptureFixture[str], one: str, other: str) -> None:
    running = job(one, status=other)
    observe = progress._Lines(verbose=True)
    error = ConfigError(one, hint=other)
    happenings: list[Any] = [
        Noted(JobId(one), other),
        Delayed(one, 1.0),
        Waiting(running, 1, 2, {other: 0.5}),
        Settled(Failed(JobId(one), error)),
        Settled(Skipped(JobId(one), other)),
    ]
    capsys.readouterr()
    for happening in happenings:
        observe(happening)
    err = capsys.readouterr().err
    assert err.count("\n") == len(happenings)
    assert_tame(err)

    render.lines([(one, other)])
    out = capsys.readouterr().out
    assert (out.count("\n"), out.count("\t")) == (1, 1)
    assert_tame(out, "\n\t")

    render.table(("job", "because"), [(one, other)], folds=1, color=False)
    assert_tame(capsys.readouterr().out)

    render.document({"error": exits.described(error)})
    out = capsys.readouterr().out
    assert_tame(out)
    assert json.loads(out)["error"]["message"] == error.message

    render.trace(error)
    assert_tame(capsys.readouterr().err)
