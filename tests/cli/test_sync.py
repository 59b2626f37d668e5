from __future__ import annotations

import io
import time
from typing import TYPE_CHECKING

import pytest
import wandb

from ft_sync.sandbox import Sandbox, World, samples

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.conftest import Ftsync
    from tests.wandb_backend import WandbBackend


def add_one_of_each(world: World) -> tuple[str, str]:
    """Add a succeeded and a failed job; return their ids."""
    (good,), (bad,) = samples.many(1), samples.many(2, status="failed", newest=1_750_000_000)[1:]
    world.add(good, bad)
    return good.id, bad.id


def test_a_pipe_gets_a_line_for_each_outcome_and_no_control_codes(
    ftsync: Ftsync, world: World, backend: WandbBackend, project: str
) -> None:
    good, bad = add_one_of_each(world)
    said = ftsync("sync")
    (run,) = backend.runs(project)
    assert said.code == 0
    assert said.rows == [
        ["synced", good, "4 rows", f"{backend.url}/{backend.store.user}/{project}/runs/{run.id}", "-"],
        ["skipped", bad, "-", "-", "failed: A sprocket slipped. (--include-unsuccessful brings it)"],
    ]
    assert said.err.splitlines()[-1] == "1 synced, 1 skipped"
    assert "\x1b" not in said.out + said.err


def test_quiet_tells_what_failed_all_the_same(ftsync: Ftsync, world: World) -> None:
    good, _ = add_one_of_each(world)
    said = ftsync("sync", "--job", good, "--job", "ftjob-typo", "-q")
    assert (said.code, said.out, said.err) == (
        3,
        f"{good}\n",
        "ftjob-typo: failed: 127.0.0.1 does not have job ftjob-typo\n",
    )


def test_json_is_one_document(ftsync: Ftsync, world: World, project: str) -> None:
    good, bad = add_one_of_each(world)
    document = ftsync("sync", "--json").json
    outcomes = {outcome["job_id"]: outcome for outcome in document["outcomes"]}
    assert (document["schema"], document["command"], document["exit_code"]) == (1, "sync", 0)
    assert document["counts"] == {"synced": 1, "skipped": 1, "failed": 0}
    assert project in outcomes[good].pop("url")
    assert outcomes[good] == {
        "job_id": good,
        "outcome": "synced",
        "status": "succeeded",
        "run_id": good,
        "rows": 4,
        "reason": "not in W&B yet",
        "notes": [],
        "error": None,
    }
    assert outcomes[bad]["outcome"] == "skipped"
    assert outcomes[bad]["status"] == "failed"


def test_quiet_is_the_ids_of_the_synced_jobs_alone(ftsync: Ftsync, world: World) -> None:
    good, _ = add_one_of_each(world)
    said = ftsync("sync", "-q")
    assert (said.code, said.out, said.err) == (0, f"{good}\n", "")


def test_one_broken_job_is_named_with_what_to_do_and_stops_no_other(
    ftsync: Ftsync, world: World, sandbox: Sandbox
) -> None:
    world.add(*samples.many(3))
    broken = world.jobs[1].id
    sandbox.fail(f"/fine_tuning/jobs/{broken}/events", status=400)
    said = ftsync("sync")
    assert said.code == 3
    assert [row[:2] for row in said.rows if row[0] == "failed"] == [["failed", broken]]
    assert "2 synced, 1 failed" in said.err
    assert said.err.splitlines()[-1].startswith("  next: ")


def test_debug_shows_where_a_job_failed(ftsync: Ftsync, world: World, sandbox: Sandbox) -> None:
    world.add(*samples.many(1))
    sandbox.fail("/events", status=400)
    assert "Traceback" not in ftsync("sync").err
    assert "ft_sync.errors.Refused" in ftsync("sync", "--debug").err


def test_a_dry_run_tells_the_plan_with_its_reasons_and_writes_nothing(
    ftsync: Ftsync, world: World, backend: WandbBackend, project: str
) -> None:
    good, bad = add_one_of_each(world)
    said = ftsync("sync", "--dry-run")
    assert said.code == 0
    assert sorted(said.rows) == [
        ["create", good, "not in W&B yet"],
        ["skip", bad, "failed: A sprocket slipped. (--include-unsuccessful brings it)"],
    ]
    document = ftsync("resync", "--dry-run", "--json").json
    assert (document["command"], document["dry_run"]) == ("resync", True)
    assert document["counts"] == {"create": 1, "skip": 1}
    assert ftsync("sync", "--dry-run", "-q").out == f"{good}\n"
    assert backend.project(project) is None


def test_a_dry_run_names_jobs_that_do_not_exist(ftsync: Ftsync) -> None:
    said = ftsync("sync", "--dry-run", "--job", "ftjob-typo")
    assert said.code == 3
    assert said.rows == [["unreadable", "ftjob-typo", "127.0.0.1 does not have job ftjob-typo"]]


@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_no_ids_on_stdin_means_no_jobs_and_not_every_job(
    more: tuple[str, ...], ftsync: Ftsync, world: World, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.add(*samples.many(2))
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
    said = ftsync("sync", "--job", "-", *more)
    assert (said.code, said.out) == (0, "")
    assert sandbox.requests == []


def test_overwrite_writes_again_and_resync_alone_leaves_what_is_up_to_date(
    ftsync: Ftsync, world: World, backend: WandbBackend, project: str
) -> None:
    world.add(*samples.many(1))
    assert ftsync("sync").rows[0][0] == "synced"
    assert ftsync("resync").rows[0][0] == "skipped"
    assert ftsync("resync", "--overwrite").rows[0][0] == "synced"
    assert [run.id for run in backend.runs(project)] == [f"{world.jobs[0].id}-r2"]


def test_a_running_job_is_skipped_with_no_wait(ftsync: Ftsync, world: World) -> None:
    world.add(samples.live_job(time.time()))
    said = ftsync("sync", "--no-wait")
    assert said.code == 0
    assert "not waited for" in said.rows[0][4]


def test_running_out_of_time_exits_8_and_says_how_to_wait_on(ftsync: Ftsync, world: World) -> None:
    world.add(samples.live_job(time.time()))
    said = ftsync("sync", "--timeout", "0.3s", "--poll-interval", "0.1")
    assert said.code == 8
    assert "wait for the unfinished jobs" in said.err


def test_what_a_service_says_reaches_no_terminal_raw(ftsync: Ftsync, world: World, sandbox: Sandbox) -> None:
    world.add(*samples.many(1))
    sandbox.fail("/events", status=400, body={"error": {"message": "\x1b]0;owned\x07[bold]\u202egnp"}})
    said = ftsync("sync")
    assert said.code == 3
    assert not {"\x1b", "\x07", "\u202e"} & {*said.out, *said.err}


def test_arguments_of_wandb_init_arrive_in_the_run(
    ftsync: Ftsync, world: World, backend: WandbBackend, project: str
) -> None:
    world.add(*samples.many(1))
    assert ftsync("sync", "--init", "group=nightly", "--init", 'tags=["mine"]').code == 0
    (run,) = backend.runs(project)
    assert run.group == "nightly"
    assert "mine" in run.tags


def add_one(world: World) -> str:
    """Add a succeeded job with a model; return its id."""
    world.add(*samples.many(1))
    return world.jobs[0].id


def test_linked_models_are_in_the_registry_also_of_jobs_that_were_synced_before(
    ftsync: Ftsync, world: World, backend: WandbBackend, project: str
) -> None:
    job_id = add_one(world)
    assert ftsync("sync").code == 0
    collection = f"of-{project}"
    assert ftsync("sync", "--link", f"model/{collection}", "--link-alias", "production").code == 0
    registry = backend.store.project(backend.store.organization_entity, "wandb-registry-model")
    assert registry is not None
    linked = registry.collections[collection].aliases["production"]
    assert linked.metadata["job_id"] == job_id


@pytest.mark.parametrize("dry_run", [["--dry-run"], []])
def test_a_link_is_refused_offline_before_anything_is_done_with_the_command_for_later(
    ftsync: Ftsync, world: World, sandbox: Sandbox, project: str, dry_run: list[str]
) -> None:
    add_one(world)
    said = ftsync("sync", "--offline", "--last", "3", "--link", "model/support", "--link-alias", "a b", *dry_run)
    assert said.code == 2
    command = f"ftsync sync --last 3 --project {project} --model-artifact-name model_metadata"
    assert f"`FTSYNC_MODE=online {command} --link model/support --link-alias 'a b'`" in said.err
    assert sandbox.requests == []


@pytest.mark.parametrize(
    "given",
    [["--link", "support"], ["--link", "a/b/c"], ["--link-alias", "x"], ["--link", "a/b", "--link-alias", "x:y"]],
)
def test_a_link_that_names_no_collection_or_alias_is_refused(ftsync: Ftsync, given: list[str]) -> None:
    said = ftsync("sync", *given)
    assert said.code == 2
    assert "--link" in said.err


@pytest.mark.parametrize("other", [["--job", "ftjob-1"], ["--timeout", "5"], ["--no-wait"]])
def test_a_watch_is_for_every_job_and_for_ever(ftsync: Ftsync, sandbox: Sandbox, other: list[str]) -> None:
    said = ftsync("sync", "--watch", *other)
    assert said.code == 2
    assert f"--watch and {other[0]} exclude each other" in said.err
    assert sandbox.requests == []


@pytest.mark.parametrize("given", ["0", "65", "many"])
def test_a_concurrency_is_a_number_from_1_to_64(ftsync: Ftsync, given: str) -> None:
    said = ftsync("sync", "--concurrency", given)
    assert said.code == 2
    assert "--concurrency" in said.err


def test_a_table_holds_as_many_rows_as_asked_for_and_says_when_it_was_cut(
    ftsync: Ftsync, world: World, backend: WandbBackend, project: str
) -> None:
    add_one(world)
    assert ftsync("sync", "--table-rows", "2").code == 0
    (run,) = backend.runs(project)
    artifact = next(artifact for artifact in run.used if artifact.type == "training_files")
    assert (artifact.metadata["table_rows"], artifact.metadata["table_truncated"]) == (2, True)
    assert artifact.metadata["items"] == run.config["n_train"] > 2
    assert run.summary["train_data"]["nrows"] == 2


def test_a_replaced_run_is_kept_when_asked_and_counts_no_more(
    ftsync: Ftsync, world: World, backend: WandbBackend, project: str
) -> None:
    job_id = add_one(world)
    ftsync("sync")
    assert ftsync("resync", "--overwrite", "--keep-replaced").code == 0
    assert [(run.id, "ftsync-replaced" in run.tags) for run in backend.runs(project)] == [
        (job_id, True),
        (f"{job_id}-r2", False),
    ]
    (listed,) = ftsync("list", "--json").json["jobs"]
    assert (listed["sync"], listed["run_id"]) == ("complete", f"{job_id}-r2")
    assert ftsync("sync", "--json").json["counts"] == {"synced": 0, "skipped": 1, "failed": 0}


def test_replaced_runs_cannot_be_kept_offline(ftsync: Ftsync) -> None:
    assert ftsync("resync", "--offline", "--keep-replaced").code == 2


@pytest.mark.parametrize(
    ("choice", "action"), [((), "enrich"), (("--on-native", "skip"), "skip"), (("--on-native", "replace"), "replace")]
)
def test_a_run_of_openais_own_integration_is_treated_as_asked(
    ftsync: Ftsync, world: World, project: str, choice: tuple[str, ...], action: str
) -> None:
    job_id = add_one(world)
    with wandb.init(project=project, id=job_id, tags=["openai/fine-tune"], reinit="create_new") as run:
        run.log({"train_loss": 1.0})
    (plan,) = ftsync("sync", "--dry-run", "--json", *choice).json["plans"]
    assert (plan["action"], plan["replaces"]) == (action, [job_id] if action == "replace" else [])


def test_an_unknown_choice_names_the_known_ones(ftsync: Ftsync) -> None:
    said = ftsync("sync", "--on-native", "keep")
    assert said.code == 2
    assert "enrich" in said.err


@pytest.fixture
def few_files() -> Iterator[int]:
    """A low limit of open files, as shells have it; gives the highest that is allowed."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_sync_allows_itself_more_open_files_than_the_shell_does(ftsync: Ftsync, few_files: int) -> None:
    import resource  # noqa: PLC0415 - not on Windows

    assert ftsync("sync", "--offline").code == 0
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == min(65_536, few_files)


# Tags that ftsync would read as its own


@pytest.mark.parametrize("init", ["tags=ftsync-replaced", 'tags=["a", "openai/x"]', 'config={"fine_tune_job_id": "x"}'])
@pytest.mark.parametrize("command", [("sync",), ("sync", "--dry-run"), ("sync", "--offline"), ("resync",)])
def test_a_mark_of_ftsyncs_own_is_refused_as_an_argument_before_anything_is_written(
    ftsync: Ftsync, backend: WandbBackend, project: str, command: tuple[str, ...], init: str
) -> None:
    said = ftsync(*command, "--init", init)
    assert (said.code, f": --init {init.partition('=')[0]}=…: " in said.err) == (2, True)
    assert (backend.runs(project), backend.requests) == ([], [])


@pytest.mark.parametrize("tags", ["nightly,ftsync-replaced", "openai/mine"])
def test_a_mark_of_ftsyncs_own_is_refused_in_the_environment_before_anything_is_written(
    ftsync: Ftsync, backend: WandbBackend, project: str, monkeypatch: pytest.MonkeyPatch, tags: str
) -> None:
    monkeypatch.setenv("WANDB_TAGS", tags)
    said = ftsync("sync")
    assert (said.code, ": WANDB_TAGS" in said.err) == (2, True)
    assert (backend.runs(project), backend.requests) == ([], [])


def test_a_run_that_the_user_tags_as_replaced_is_written_once_more_and_no_more(
    ftsync: Ftsync, world: World, backend: WandbBackend, project: str
) -> None:
    good, _ = add_one_of_each(world)
    ftsync("sync")
    (run,) = backend.runs(project)
    run.tags.append("ftsync-replaced")
    for _ in range(3):
        assert ftsync("sync").code == 0
    assert [(run.id, "ftsync-replaced" in run.tags) for run in backend.runs(project)] == [
        (good, True),
        (f"{good}-r2", False),
    ]


def test_a_run_of_openais_own_integration_that_is_tagged_as_replaced_is_left_alone_for_one_new_run(
    ftsync: Ftsync, world: World, backend: WandbBackend, project: str
) -> None:
    good, _ = add_one_of_each(world)
    with wandb.init(project=project, id=good, tags=["openai/fine-tune", "ftsync-replaced"]) as run:
        run.log({"train_loss": 1.0})
    for _ in range(3):
        assert ftsync("sync").code == 0
    native, own = backend.runs(project)
    assert (native.id, native.config, own.id) == (good, {}, f"{good}-r2")
