"""What the commands print as JSON is what `ftsync schema` says: every field, and none besides."""

from __future__ import annotations

import json
import re
import time
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pytest
from jsonschema import Draft202012Validator, ValidationError
from typer.core import TyperGroup
from typer.main import get_command

from ft_sync.cli import app, documents, journal, schemas
from ft_sync.cli.schema import Command
from ft_sync.compare import Difference, Differs, Verification
from ft_sync.errors import NotFound
from ft_sync.events import (
    Advanced,
    Delayed,
    Event,
    Interrupted,
    JobArchived,
    Noted,
    Planned,
    ProviderGuessed,
    Selected,
    Settled,
    Started,
    Verified,
    Waiting,
)
from ft_sync.models import Create, Enrich, Extend, Failed, JobId, JobStatus, Replace, RunId, Skip, Skipped, Synced, Wait
from ft_sync.sandbox import Sandbox, World, samples
from tests.builders import job
from tests.cli.schemas import Judge, validator
from tests.fakes import complete_run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.conftest import Ftsync
    from tests.wandb_backend import WandbBackend

COMMANDS = get_args(Command)


@pytest.fixture
def judge(ftsync: Ftsync) -> Judge:
    return Judge(ftsync)


def variants(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object that a schema describes, with its name."""
    yield from ((shape["title"], shape) for shape in schema["anyOf"])
    yield from schema["$defs"].items()


def schemas_of_all() -> Iterator[dict[str, Any]]:
    yield from map(schemas.of_document, COMMANDS)
    yield from map(schemas.of_lines, schemas.LINES)


def flags(command: str) -> set[str]:
    group = get_command(app)
    assert isinstance(group, TyperGroup)
    return {name for parameter in group.commands[command].params for name in parameter.opts}


# The schemas


def test_every_command_with_json_has_a_schema() -> None:
    group = get_command(app)
    assert isinstance(group, TyperGroup)
    assert set(COMMANDS) == {name for name in group.commands if "--json" in flags(name)}
    assert set(COMMANDS) == set(schemas.DOCUMENTS)
    assert set(schemas.LINES) == {name for name in COMMANDS if "--jsonl" in flags(name)}


def test_every_schema_is_one_and_every_reference_leads_somewhere() -> None:
    for schema in schemas_of_all():
        Draft202012Validator.check_schema(schema)
        referred = {text.split('"')[0] for text in json.dumps(schema).split('"#/$defs/')[1:]}
        assert referred == set(schema["$defs"])


def test_every_field_is_required_and_every_object_is_described_and_open_to_new_fields() -> None:
    for name, shape in chain.from_iterable(map(variants, schemas_of_all())):
        assert (name, sorted(shape.get("required", []))) == (name, sorted(shape["properties"]))
        assert shape["description"]
        assert "additionalProperties" not in shape


def test_every_event_has_a_line_in_the_schema_of_a_command() -> None:
    events = {journal.name(kind) for kind in get_args(Event)}
    documented = {name for lines, _ in schemas.LINES.values() for name in lines}
    assert events == documented - {"job", "failed", "end", "problem"}


def test_without_a_command_the_commands_are_listed(ftsync: Ftsync) -> None:
    assert ftsync("schema").out.split() == list(COMMANDS)
    assert ftsync("schema", "--jsonl").out.split() == [name for name in COMMANDS if name in schemas.LINES]


@pytest.mark.parametrize(("arguments", "words"), [(["snyc"], "snyc"), (["config", "--jsonl"], "config has no --jsonl")])
def test_what_has_no_schema_is_refused_with_what_has(ftsync: Ftsync, arguments: list[str], words: str) -> None:
    said = ftsync("schema", *arguments)
    assert said.code == 2
    assert words in said.err


def test_the_judge_of_these_tests_refuses_a_field_too_many_and_one_too_few(ftsync: Ftsync, judge: Judge) -> None:
    said = ftsync("config", "--json")
    document = judge.document("config", said)
    more = {**document, "extra": 1}
    less = {name: value for name, value in document.items() if name != "settings"}
    for wrong in (more, less):
        with pytest.raises(ValidationError):
            judge.document("config", type(said)(0, json.dumps(wrong), ""))


# What is printed


def add_one_of_each(world: World, sandbox: Sandbox) -> list[str]:
    """Add a job that can be synced, one that failed, one that runs, one that cannot be read; return their ids."""
    good, broken = samples.many(2)
    bad = samples.many(3, status="failed", newest=1_750_000_000)[2]
    live = samples.live_job(time.time() - 3)
    world.add(good, broken, bad, live)
    sandbox.fail(f"/fine_tuning/jobs/{broken.id}/events", status=400)
    return [good.id, bad.id, live.id, broken.id]


SYNCS = (
    ["sync", "--no-wait"],
    ["resync", "--overwrite", "--no-wait"],
    ["sync", "--dry-run", "--job", "ftjob-typo", "--job"],
    ["resync", "--dry-run"],
    ["sync", "--offline", "--timeout", "0.5", "--poll-interval", "0.2"],
)


@pytest.mark.parametrize("arguments", SYNCS)
def test_a_sync(ftsync: Ftsync, judge: Judge, world: World, sandbox: Sandbox, arguments: list[str]) -> None:
    ids = add_one_of_each(world, sandbox)
    if arguments[-1] == "--job":
        arguments = [*arguments, ids[0]]
    document = judge.document(arguments[0], ftsync(*arguments, "--json"))
    *lines, last = judge.lines(arguments[0], ftsync(*arguments, "--jsonl"))
    assert (last["event"], last["command"], last.keys() - document.keys()) == (
        "report",
        arguments[0],
        {"event", "time"},
    )
    assert document["dry_run"] is ("--dry-run" in arguments)
    if "--dry-run" not in arguments:
        told = {line["event"] for line in lines}
        assert {"provider_guessed", "planned", "started", "advanced", "settled"} <= told
        assert {outcome["outcome"] for outcome in document["outcomes"]} == {"synced", "skipped", "failed"}
        assert ("waiting" in told) is ("--timeout" in arguments)


def test_a_verification(  # noqa: PLR0917 - both services are at work
    ftsync: Ftsync, judge: Judge, world: World, sandbox: Sandbox, backend: WandbBackend, project: str
) -> None:
    world.add(*samples.many(4), samples.many(5, status="failed", newest=1_750_000_000)[4])
    good, differs, missing, broken, bad = (job.id for job in world.jobs)
    ftsync("sync", *(word for job_id in (good, differs, broken) for word in ("--job", job_id)))
    run = backend.run(backend.store.user, project, differs)
    assert run is not None
    run.raw_config["seed"]["value"] = float("nan")
    sandbox.fail(f"/fine_tuning/jobs/{broken}/events", status=400)
    chosen = [word for job_id in (good, differs, missing, bad, broken) for word in ("--job", job_id)]
    document = judge.document("verify", ftsync("verify", *chosen, "--json"))
    assert [one["verdict"] for one in document["verdicts"]] == [
        "identical",
        "differs",
        "missing",
        "skipped",
        "unreadable",
    ]
    sandbox.heal()
    lines = judge.lines("verify", ftsync("verify", *chosen, "--repair", "--jsonl"))
    assert {"selected", "verified", "planned", "settled"} <= {line["event"] for line in lines}
    assert lines[-1]["counts"]["identical"] == 4


def test_a_listing_and_counts_and_jobs_in_depth(ftsync: Ftsync, judge: Judge, world: World, sandbox: Sandbox) -> None:
    good, bad, live, _ = add_one_of_each(world, sandbox)
    ftsync("sync", "--job", good)
    listed = judge.document("list", ftsync("list", "--json"))
    lines = judge.lines("list", ftsync("list", "--jsonl"))
    assert [line["job_id"] for line in lines if line["event"] == "job"] == [one["job_id"] for one in listed["jobs"]]
    assert (lines[-1]["event"], lines[-1]["jobs"], lines[-1]["failed"]) == ("end", 4, 0)

    counts = judge.document("status", ftsync("status", "--json"))
    assert (counts["jobs"], counts["counts"]["sync"]) == (4, {"complete": 1, "absent": 3})
    assert judge.lines("status", ftsync("status", "--jsonl"))[-1]["counts"] == counts["counts"]

    named = [good, bad, "ftjob-typo", live, "--exit-code"]
    details = judge.document("status", ftsync("status", *named, "--json"))
    assert ([one["job_id"] for one in details["jobs"]], details["exit_code"]) == ([good, bad, live], 3)
    said = ftsync("status", *named, "--jsonl")
    lines = judge.lines("status", said)
    assert [line["event"] for line in lines if line["event"] != "provider_guessed"] == [
        "job",
        "job",
        "failed",
        "job",
        "end",
    ]
    assert (lines[-1]["exit_code"], said.code) == (3, 3)
    running = judge.document("status", ftsync("status", live, "--exit-code", "--json"))
    assert running["exit_code"] == 8


def test_jobs_that_are_watched(ftsync: Ftsync, judge: Judge, world: World) -> None:
    world.add(*samples.many(1))
    (job_id,) = (job.id for job in world.jobs)
    said = ftsync("status", "--watch", job_id, "--jsonl")
    assert [(line["event"], line.get("job_id")) for line in judge.lines("status", said)][1:] == [
        ("job", job_id),
        ("end", None),
    ]
    assert judge.document("status", ftsync("status", "--watch", job_id, "--json"))["exit_code"] == 0


def test_an_archive_and_its_check(ftsync: Ftsync, judge: Judge, world: World, sandbox: Sandbox) -> None:
    good, *_ = add_one_of_each(world, sandbox)
    training = next(str(one.job["training_file"]) for one in world.jobs if one.id == good)
    sandbox.fail(f"{training}/content", status=404)
    document = judge.document("archive", ftsync("archive", "copy", "--json"))
    assert document["counts"]["lost"] > 0
    lines = judge.lines("archive", ftsync("archive", "copy", "--jsonl"))
    assert {"selected", "job_archived", "report"} <= {line["event"] for line in lines}

    (Path("copy") / "stray").write_text("what is this?")
    check = judge.document("archive", ftsync("archive", "copy", "--check", "--json"))
    assert {"stray", f"files/{training}/"} < {problem["path"] for problem in check["problems"]}
    lines = judge.lines("archive", ftsync("archive", "copy", "--check", "--jsonl"))
    assert [line["event"] for line in lines] == [*["problem"] * len(check["problems"]), "report"]


@pytest.mark.parametrize("arguments", [[], ["--path"]])
def test_the_settings(ftsync: Ftsync, judge: Judge, arguments: list[str]) -> None:
    judge.document("config", ftsync("config", *arguments, "--json"))


def test_a_report_and_a_diagnosis(ftsync: Ftsync, judge: Judge, world: World, backend: WandbBackend) -> None:
    assert backend.url
    world.add(*samples.many(1))
    ftsync("sync")
    assert judge.document("report", ftsync("report", "--json"))["runs"] == 1
    assert judge.document("doctor", ftsync("doctor", "--json"))["counts"]["failed"] == 0


@pytest.mark.parametrize("flag", ["--json", "--jsonl"])
def test_the_demo(ftsync: Ftsync, judge: Judge, monkeypatch: pytest.MonkeyPatch, flag: str) -> None:
    finished = samples.finished_jobs()
    monkeypatch.setattr("ft_sync.sandbox.samples.world", lambda _: World([finished[1], finished[5]]))
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "")  # the demo sets them; monkeypatch puts them back
    said = ftsync("demo", flag)
    assert said.code == 0
    judge.lines("demo", said) if flag == "--jsonl" else judge.document("demo", said)


@pytest.mark.parametrize("command", COMMANDS)
def test_an_error_of_any_command(ftsync: Ftsync, judge: Judge, command: str) -> None:
    document = judge.document(command, ftsync(command, "--frobnicate", "--json"))
    assert document["error"]["exit_code"] == 2
    if command in schemas.LINES:
        (line,) = judge.lines(command, ftsync(command, "--frobnicate", "--jsonl"))
        assert (line["event"], line["error"]) == ("error", document["error"] | {"message": line["error"]["message"]})


# What seldom happens


ONE = job()
FAILED = Failed(JobId("ftjob-2"), NotFound("no such job", hint="look"))
REPLACE = Replace(ONE, RunId("ftjob-1-r2"), "r", (complete_run(ONE),))
EVENTS: tuple[Event, ...] = (
    ProviderGuessed("azure", "r"),
    Planned(
        (
            Create(ONE, RunId("ftjob-1"), "r"),
            Extend(ONE, RunId("ftjob-1"), "r", complete_run(ONE), REPLACE),
            Enrich(ONE, RunId("ftjob-1"), "r", complete_run(ONE)),
            REPLACE,
            Wait(ONE, "r"),
            Skip(ONE, "r"),
        )
    ),
    Started(REPLACE),
    Advanced(ONE.id, "model"),
    Waiting(ONE, 3, 10, {"train_loss": 0.5}),
    Waiting(ONE),
    Noted(ONE.id, "m"),
    Delayed("m", 2.5),
    Interrupted(),
    Settled(Synced(ONE.id, ONE.status, RunId("ftjob-1"), 2, "r", "u", ("n",))),
    Settled(Skipped(ONE.id, "r", JobStatus("queued"), unfinished=True)),
    Settled(FAILED),
)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_each_event_of_a_sync_is_a_line_of_its_schema(capsys: pytest.CaptureFixture[str], event: Event) -> None:
    assert written(capsys, event, "sync")["event"] == journal.name(type(event))


@pytest.mark.parametrize(
    ("command", "event"),
    [
        ("archive", JobArchived(FAILED)),
        ("archive", Selected(1, "archive")),
        ("archive", Interrupted()),
        ("verify", Verified(Skipped(ONE.id, "r"))),
    ],
)
def test_each_event_of_other_commands_is_a_line_of_their_schemas(
    capsys: pytest.CaptureFixture[str], command: str, event: Event
) -> None:
    assert written(capsys, event, command)["event"] == journal.name(type(event))


def written(capsys: pytest.CaptureFixture[str], event: Event, command: str) -> dict[str, Any]:
    """Return the line of an event, which is as the schema of a command says."""
    journal.write(event)
    line: dict[str, Any] = json.loads(capsys.readouterr().out)
    validator(schemas.of_lines(command)).validate(line)
    return line


def test_numbers_that_json_has_not_are_text() -> None:
    difference = Difference("row 1", float("nan"), [float("inf"), {"x": float("-inf")}])
    document = documents.of_verification(Verification((Differs(ONE.id, RunId("1"), (difference,)),)))
    (verdict,) = document["verdicts"]
    assert verdict["differences"] == [{"item": "row 1", "expected": "nan", "found": ["inf", {"x": "-inf"}]}]


# The documentation

PAGE = (Path(__file__).parents[2] / "docs" / "json.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    return PAGE.partition(f"```{language}\n")[2].partition("```")[0]


def test_the_examples_of_the_documentation_are_as_the_schemas_say() -> None:
    validator(schemas.of_document("sync")).validate(json.loads(block("json")))
    lines = [json.loads(line) for line in block("jsonl").splitlines()]
    for line in lines:
        validator(schemas.of_lines("sync")).validate(line)
    assert lines[-1]["event"] == "report"


def test_the_documentation_names_every_line() -> None:
    cells = [row.split("|")[1] for row in PAGE.partition("## Lines")[2].splitlines() if row.startswith("| `")]
    named = {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}
    assert named - {"event"} == {name for lines, _ in schemas.LINES.values() for name in lines} | {"report", "error"}
