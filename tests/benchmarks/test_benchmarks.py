"""The benchmarks at tiny sizes: that they run and count right, never how long anything takes."""

from __future__ import annotations

import io
import json
import sys
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from tests.benchmarks import growth, process, worlds
from tests.benchmarks.__main__ import main
from tests.benchmarks.bench import benches, by_kind
from tests.benchmarks.report import Result, Target, table

if TYPE_CHECKING:
    from pathlib import Path


def test_a_command_is_measured_against_both_servers() -> None:
    with benches(latency=0) as bench:
        (job_id,) = bench.fill("1 job", worlds.small, 1)
        measured = bench.ftsync("tiny", sampled=True)
        bench.expect_all("tiny")
        assert measured.openai["jobs", None] == 1
        assert measured.openai["jobs/ID/events", job_id] == 1
        assert by_kind(measured.wandb)["CommitArtifact"] == 3
        assert measured.usage.peak_mib > 10
        assert [cost["command"] for cost in bench.costs] == ["ftsync, 1 job"]
        with pytest.raises(RuntimeError, match="1 jobs did not arrive"):
            bench.expect_all("elsewhere")


def test_figures_are_taken_by_name_and_told_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["start-up", "--runs", "1", "--json"])
    assert ended.value.code == 0
    document = json.loads(capsys.readouterr().out)
    assert [result["what"] for result in document["results"]] == ["--help", "--version", "a TAB"]
    assert all(result["ratio"] > 0 for result in document["results"])


def test_the_peer_is_measured_in_the_same_way() -> None:
    pytest.importorskip("pandas", reason="the peer needs it")
    with benches(latency=0) as bench:
        bench.fill("1 job", worlds.small, 1)
        measured = bench.peer("tiny")
        bench.expect_all("tiny")
        assert by_kind(measured.openai)["jobs/ID"] == 1


def test_memory_is_that_of_all_descendants(tmp_path: Path) -> None:
    child = "held = bytearray(64 * 2**20); import time; time.sleep(1)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    usage = process.run([sys.executable, "-c", parent], env={}, folder=tmp_path, sampled=True)
    assert 64 < usage.peak_mib < 200


def test_a_command_that_fails_is_no_figure(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="ended with 3:\nno luck"):
        process.run([sys.executable, "-c", "print('no luck'); raise SystemExit(3)"], env={}, folder=tmp_path)


def test_a_training_file_has_the_size_and_the_rows_asked_for() -> None:
    (job,) = worlds.with_training_file(1_000_000, 250)
    (content,) = [file.content for file in job.files if file.id == job.job["training_file"]]
    assert len(content) == 1_000_000
    assert content.count(b"\n") == 250


@pytest.mark.parametrize(
    ("ftsync", "peer", "target", "reached"),
    [
        (30, None, Target("at most", 30), True),
        (31, 60, Target("at most", 30), False),
        (2, 10, Target("times faster", 5), True),
        (3, 10, Target("times faster", 5), False),
        (3, 1, Target("times as much", 3), True),
        (4, 1, Target("times as much", 3), False),
        (4, None, Target("times as much", 3), None),
        (4, 1, None, None),
    ],
)
def test_a_target_is_reached_or_not(
    ftsync: float, peer: float | None, target: Target | None, reached: bool | None
) -> None:
    assert Result("figure", "it", "s", ftsync, peer, target=target).reached is reached


def test_a_slope_is_the_cost_of_one_more() -> None:
    usages = [process.Usage(seconds, 0.0, 0.0, memory) for seconds, memory in ((2.0, 100.0), (11.0, 190.0))]
    results = list(growth.slopes("growth", "jobs", (10, 100), usages))
    assert [(one.what, one.unit, one.ftsync) for one in results if "each" in one.what] == [
        ("from 10 to 100 jobs, each", "s", 0.1),
        ("from 10 to 100 jobs, each", "MiB", 1.0),
    ]


def test_the_table_names_figure_values_ratio_and_target() -> None:
    console = Console(width=120, file=io.StringIO(), record=True)
    result = Result("jobs-20", "20 finished jobs", "s", 7.0, 35.0, target=Target("times faster", 5))
    console.print(table([result]))
    told = console.export_text()
    for cell in ("jobs-20", "20 finished jobs, against WandbLogger", "7 s", "35.0 s", "5.0x faster", "yes"):
        assert cell in told
