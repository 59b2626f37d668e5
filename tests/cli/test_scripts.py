"""What a script may rely on: lines while a command works, ids alone, ids from stdin, streams closed or full."""

from __future__ import annotations

import io
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ft_sync.cli import render
from ft_sync.planning import JOBS_A_PAGE
from ft_sync.sandbox import Sandbox, World, samples
from ft_sync.sandbox.world import Live
from tests.cli.conftest import Said
from tests.cli.schemas import Judge

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Ftsync
    from tests.wandb_backend import WandbBackend

SELECTING = (["sync"], ["resync"], ["sync", "--dry-run"], ["verify"], ["archive", "copy"], ["list"], ["status"])
"""Every command that has jobs."""

WORKING = (["sync"], ["resync"], ["verify"], ["archive", "copy"], ["list"], ["status"], ["demo"])
"""Every command with `--jsonl`."""


@pytest.fixture
def ids(world: World) -> list[str]:
    """Three jobs of the account, newest first."""
    world.add(*samples.many(3))
    return [job.id for job in world.jobs]


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


# Lines


@pytest.mark.parametrize("arguments", [*SELECTING, ["archive", "copy", "--check"]], ids=" ".join)
@pytest.mark.usefixtures("ids")
def test_with_jsonl_stdout_has_lines_and_stderr_nothing(ftsync: Ftsync, arguments: list[str]) -> None:
    ftsync("archive", "copy", "--last", "1")
    said = ftsync(*arguments, "--jsonl", "--verbose")
    told = lines(said.out)
    assert {line["schema"] for line in told} == {1}
    assert told[-1]["event"] == ("end" if arguments == ["list"] else "report")
    assert [line["time"] for line in told] == sorted(line["time"] for line in told)
    assert said.err == ""


@pytest.mark.parametrize("arguments", WORKING, ids=" ".join)
def test_one_document_and_lines_exclude_each_other(ftsync: Ftsync, sandbox: Sandbox, arguments: list[str]) -> None:
    said = ftsync(*arguments, "--json", "--jsonl")
    (line,) = lines(said.out)
    assert (said.code, line["event"], line["error"]["message"]) == (2, "error", "--json and --jsonl exclude each other")
    assert sandbox.requests == []


def test_a_listing_ends_where_nobody_reads_any_more(
    ftsync: Ftsync, world: World, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.add(*samples.many(2 * JOBS_A_PAGE))
    monkeypatch.setattr(render, "emit", lambda _: False)
    assert ftsync("list", "--all", "--jsonl").code == 0
    assert sandbox.count() == 1


def test_lines_come_while_a_sync_works_and_an_interruption_is_the_last(
    judge: Judge, world: World, start: Callable[..., subprocess.Popen[str]]
) -> None:
    (job,) = samples.many(1)
    world.add(replace(job, live=Live(time.time(), time.time(), 1e12)))
    process = start("sync", "--jsonl", "--offline", "--poll-interval", "0.2")
    assert process.stdout is not None
    told: list[str] = []
    while not told or json.loads(told[-1])["event"] != "waiting":
        told.append(process.stdout.readline())
    process.send_signal(signal.SIGINT)
    rest, err = process.communicate(timeout=60)
    assert process.returncode == 130
    last = judge.lines("sync", Said(130, "".join(told) + rest, err))[-1]
    assert (last["event"], last["error"]["code"], last["error"]["exit_code"]) == ("error", "interrupted", 130)
    assert err == "interrupted; run the same command again to carry on\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_watch_that_is_idle_ends_with_its_report(
    world: World, sandbox: Sandbox, start: Callable[..., subprocess.Popen[str]], number: signal.Signals
) -> None:
    (job,) = samples.many(1, status="failed")
    world.add(job)
    process = start("sync", "--watch", "--offline", "--jsonl", "--poll-interval", "0.1")
    while sandbox.count() < 3 and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert [line["event"] for line in lines(out)][-2:] == ["interrupted", "report"]


# Ids


@pytest.mark.parametrize("arguments", SELECTING, ids=" ".join)
def test_quiet_is_ids_alone(ftsync: Ftsync, ids: list[str], arguments: list[str]) -> None:
    said = ftsync(*arguments, "--quiet")
    assert sorted(said.out.splitlines()) == sorted(ids)
    assert said.err == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["sync", "--job"],
        ["resync", "--job"],
        ["sync", "--dry-run", "--job"],
        ["verify", "--job"],
        ["archive", "copy", "--job"],
        ["status"],
    ],
    ids=" ".join,
)
def test_ids_come_from_stdin(
    ftsync: Ftsync, ids: list[str], arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{ids[2]}\n\n  {ids[0]} \r\n"))
    assert ftsync(*arguments, "-", "-q").out.split() == [ids[2], ids[0]]


@pytest.mark.parametrize("arguments", SELECTING, ids=" ".join)
def test_each_command_takes_its_shard_alone(ftsync: Ftsync, ids: list[str], arguments: list[str]) -> None:
    parts = [ftsync(*arguments, "-q", "--shard", f"{index}/3").out.split() for index in (1, 2, 3)]
    assert sorted(job_id for part in parts for job_id in part) == sorted(ids)


def test_what_is_no_text_is_no_id(ftsync: Ftsync, monkeypatch: pytest.MonkeyPatch) -> None:
    for encoding, errors in (("utf-8", "strict"), ("utf-8", "surrogateescape")):
        given = io.TextIOWrapper(io.BytesIO(b"ftjob-\xff\n"), encoding, errors)
        monkeypatch.setattr("sys.stdin", given)
        said = ftsync("status", "-")
        assert (said.code, said.out) == (2, "")
        assert "no UTF-8 text" in said.err


def test_a_stdin_that_is_closed_names_no_jobs(
    ftsync: Ftsync, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", None)
    assert ftsync("sync", "--job", "-").code == 0
    assert sandbox.requests == []


# What is not a terminal


@pytest.mark.parametrize(
    "arguments", [*SELECTING, ["config"], ["schema"], ["--help"], ["sync", "--nope"]], ids=" ".join
)
@pytest.mark.usefixtures("ids")
def test_a_pipe_gets_no_control_codes_whatever_is_wished_for_terminals(
    ftsync: Ftsync, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FORCE_COLOR", "CLICOLOR_FORCE", "PY_COLORS", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    said = ftsync(*arguments)
    assert said.out + said.err
    assert "\x1b" not in said.out + said.err


class Untouched(io.StringIO):
    """A stdin that nobody may read."""

    def read(self, *_: object) -> str:
        raise AssertionError("somebody asked the user")

    readline = read  # type: ignore[assignment]


@pytest.mark.parametrize("key", ["OPENAI_API_KEY", "WANDB_API_KEY"])
@pytest.mark.parametrize("arguments", [["sync"], ["verify"], ["list", "--unsynced"]], ids=" ".join)
@pytest.mark.usefixtures("ids")
def test_a_key_that_is_missing_is_not_asked_for(
    ftsync: Ftsync, arguments: list[str], key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(key)
    monkeypatch.setattr("sys.stdin", Untouched())
    said = ftsync(*arguments, "--json")
    assert (said.code, said.json["error"]["code"]) == (4, "auth")


# Streams of a real process


@pytest.fixture
def judge(ftsync: Ftsync) -> Judge:
    return Judge(ftsync)


@pytest.fixture
def start(workspace: Path, backend: WandbBackend) -> Callable[..., subprocess.Popen[str]]:
    """Start a real ftsync, which ends by itself."""
    assert workspace.is_dir()
    assert backend.url

    def started(*arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "ft_sync", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
        )

    return started


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"}


FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")


@pytest.mark.skipif(os.name == "nt", reason="redirections are those of sh")
@pytest.mark.parametrize(
    ("command", "code", "out", "err"),
    [
        ("{ftsync} list --offline --jsonl | head -n 1 | wc -l", 0, "1", ""),
        ("{ftsync} list --offline -q >&-", 0, "", ""),
        ("{ftsync} list --offline -q --limit 1 2>&-", 0, "{newest}", ""),
        ("{ftsync} list --nonsense 2>&-", 2, "", ""),
        pytest.param("{ftsync} list --offline --json >/dev/full", 3, "", "No space left on device", marks=FULL),
        pytest.param("({ftsync} list --offline -v 2>/dev/full; echo $?) | tail -n 1", 0, "0", "", marks=FULL),
    ],
)
def test_a_stream_that_is_closed_or_full_is_no_bug(  # noqa: PLR0917 - a command and what comes of it
    workspace: Path, ids: list[str], command: str, code: int, out: str, err: str
) -> None:
    ftsync = f"{shlex.quote(sys.executable)} -m ft_sync"
    done = subprocess.run(
        ["sh", "-c", command.format(ftsync=ftsync)],
        cwd=workspace,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (code, out.format(newest=ids[0]))
    assert err in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr
