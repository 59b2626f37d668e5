"""Keys that both services repeat in all they send, through the real command: nothing that is written holds one.

Searched are stdout, stderr, every file below the test's folder, which holds the home, the temporary and the working
folder, and every body that the W&B server received.
"""

from __future__ import annotations

import json
import secrets
import tempfile
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

import ft_sync
from ft_sync.sandbox import SampleFile, SampleJob, Sandbox, World, samples, serve
from tests.encoders import ENCODERS, holds

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cli.conftest import Said
    from tests.wandb_backend import WandbBackend
    from tests.wandb_backend.server import Request

CHAINS = [
    *((name,) for name in ENCODERS if name != "base64, in lines"),
    ("url", "url, in full", "url"),
    ("json", "json", "json"),
    ("url, in full", "base64"),
    ("hex", "html, decimal"),
    ("base64url", "json, in full", "html"),
]
"""Encodings one after the other."""

STATUSES = (400, 401, 403, 404, 429, 500)


def encoded(text: str, *encoders: str) -> str:
    for name in encoders:
        text = ENCODERS[name](text)
    return text


class Ears:
    """Everything that is written anywhere, and whether one of the keys is in it."""

    def __init__(self, root: Path, backend: WandbBackend, capsys: pytest.CaptureFixture[str]) -> None:
        # The transport takes only ASCII; a slash shows in a URL, and the length in no group of three base64 bytes.
        self.openai = f"sk-proj/{secrets.token_urlsafe(31)}"
        self.wandb = backend.api_key
        self._root, self._backend, self._capsys = root, backend, capsys
        self._searched: set[bytes] = set()

    def told(self, key: str) -> str:
        """All ways to write a key, as a server might repeat it."""
        return f"Bearer {key} " + " ".join(encoded(key, *chain) for chain in CHAINS)

    @property
    def everything(self) -> str:
        return f"{self.told(self.openai)} {self.told(self.wandb)}"

    def ftsync(self, *arguments: str) -> Said:
        from ft_sync.cli import run  # noqa: PLC0415 - as late as in the other tests of commands
        from tests.cli.conftest import Said  # noqa: PLC0415

        self._capsys.readouterr()
        said = Said(run(arguments), *self._capsys.readouterr())
        self.assert_silent(said.out, said.err)
        return said

    def assert_silent(self, *texts: str) -> None:
        written = {"text": "\n".join(texts).encode()}
        written |= {str(path): path.read_bytes() for path in self._root.rglob("*") if path.is_file()}
        written |= {f"name of {path}": str(path).encode() for path in self._root.rglob("*")}
        written |= {request.operation: request.path.encode() + request.body for request in self._backend.requests}
        written = {place: content for place, content in written.items() if content not in self._searched}
        self._searched.update(written.values())
        for key in (self.openai, self.wandb):
            # Without their ends, which may have been written in another way.
            forms = [form[8:-4].encode() for form in self.told(key).split() if form != "Bearer"]
            for place, content in written.items():
                assert not [form for form in forms if form in content], place
                assert not holds(key, content, 2), place


@pytest.fixture
def ears(
    workspace: Path,
    tmp_path: Path,
    backend: WandbBackend,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Ears:
    assert workspace.is_relative_to(tmp_path)
    for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("WANDB_SILENT", "true")
    return Ears(tmp_path, backend, capsys)


@pytest.fixture
def openai(ears: Ears, world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A service with a key that is long enough to be one."""
    with serve(world, api_key=ears.openai) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", ears.openai)
        yield server


def repeating(sample: SampleJob, text: str) -> SampleJob:
    """The job with a text in each of its fields, and in those of what belongs to it; ids stay, they make the paths."""

    def spoiled(value: Any, name: str = "") -> Any:  # noqa: ANN401 - JSON
        if isinstance(value, dict):
            return {key: spoiled(below, key) for key, below in value.items()} | {f"extra {text}": text}
        if isinstance(value, list):
            return [spoiled(entry, name) for entry in value]
        is_fixed = name in {"id", "object", "status", "type", "training_file", "validation_file", "result_files"}
        return f"{value} {text}" if isinstance(value, str) and not is_fixed else value

    job = spoiled(sample.job) | {"metadata": {f"note {text}": text}}
    files = [
        SampleFile(
            id=file.id,
            filename=f"{text} {file.filename}",
            purpose=file.purpose,
            content=file.content.replace(b"train_loss", f"train_loss {text}".encode(), 1),
            created_at=file.created_at,
        )
        for file in sample.files
    ]
    return SampleJob(job=job, events=spoiled([*sample.events]), checkpoints=spoiled([*sample.checkpoints]), files=files)


def test_keys_in_the_fields_of_jobs_events_checkpoints_and_files(
    ears: Ears, world: World, openai: Sandbox, backend: WandbBackend, project: str
) -> None:
    world.add(repeating(samples.finished_jobs()[1], ears.told(ears.openai)))
    (job,) = world.jobs
    assert openai.url
    assert ears.ftsync("sync", "-v", "--debug").code == 0
    (run,) = backend.runs(project)
    assert "***" in json.dumps(run.config)
    assert len(run.history) > 1
    ears.ftsync("resync", "--overwrite", "--json")
    ears.ftsync("sync", "--offline", "--json")
    ears.ftsync("list", "--json")
    ears.ftsync("status", job.id)
    assert ears.ftsync("report", "--json").code == 0


def test_keys_in_the_errors_of_openai(ears: Ears, world: World, openai: Sandbox) -> None:
    world.add(*samples.many(len(STATUSES) + 1))
    # Neither is worth asking again.
    message = {"message": f"bad key {ears.told(ears.openai)}", "code": "insufficient_quota"}
    headers = {"x-should-retry": "false", "x-key": ears.openai}
    for job, status in zip(world.jobs, STATUSES, strict=False):
        path = job.job["training_file"] if status == 404 else f"{job.id}/events"
        openai.fail(path, status=status, body={"error": message}, headers=headers)
    said = ears.ftsync("sync", "-v", "--debug")
    assert said.code == 3
    assert "bad key Bearer ***" in said.err
    for status in STATUSES:
        openai.heal()
        openai.fail("jobs", status=status, body={"error": message}, headers=headers)
        assert ears.ftsync("list", "--debug").code
    openai.heal()
    openai.fail("jobs", body=f"<html>{ears.everything}</html>")
    assert ears.ftsync("status", "--json", "--debug").code


def is_about(job_id: str, request: Request) -> bool:
    return request.run == job_id


def test_keys_in_the_errors_of_wandb(ears: Ears, world: World, openai: Sandbox, backend: WandbBackend) -> None:
    world.add(*samples.many(8))
    assert openai.url
    body = json.dumps({"errors": [{"message": f"bad key {ears.told(ears.wandb)}"}], "error": ears.told(ears.wandb)})
    failures = (
        ("UpsertBucket", 400, None),
        ("UpsertBucket", 404, None),
        ("file_stream", 403, None),
        ("file_stream", 404, None),
        ("file_stream", 500, 1),
        ("UpsertBucket", 429, 1),
    )
    for job, (operation, status, times) in zip(world.jobs, failures, strict=False):
        backend.fail(operation, status=status, body=body, times=times, when=partial(is_about, job.id))
    backend.fail("CreateArtifact", status=400, body=body, times=1)
    backend.fail("upload", status=403, body=body, times=2)
    said = ears.ftsync("sync", "-v", "--debug")
    assert said.code == 3
    assert "bad key Bearer ***" in said.err
    for status in (400, 401, 403):
        backend.heal()
        backend.fail("Runs", status=status, body=body)
        assert ears.ftsync("sync", "--json", "--debug").code
    for operation in ("ProjectViews", "upsertView", "UpsertView2"):
        backend.heal()
        backend.fail(operation, status=400, body=body)
        assert ears.ftsync("report", "--json", "--debug").code
    backend.heal()


def test_a_key_from_a_netrc_file(
    ears: Ears, openai: Sandbox, backend: WandbBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    openai.world.add(*samples.many(1))
    monkeypatch.delenv("WANDB_API_KEY")
    netrc = tmp_path.parent / f"{tmp_path.name}.netrc"
    netrc.write_text(f"machine {backend.url.removeprefix('http://')}\n  login user\n  password {backend.api_key}\n")
    monkeypatch.setenv("NETRC", str(netrc))
    backend.fail("Viewer", status=400, body=json.dumps({"errors": [{"message": f"bad key {backend.api_key}"}]}))
    said = ears.ftsync("sync", "--debug")
    assert "bad key ***" in said.err


def test_keys_in_the_users_own_arguments_reach_no_run(
    ears: Ears, world: World, openai: Sandbox, backend: WandbBackend, project: str
) -> None:
    world.add(*samples.many(1))
    assert openai.url
    config = json.dumps({"command": f"OPENAI_API_KEY={ears.openai} train.py"})
    assert ears.ftsync("sync", "--init", f"config={config}", "--init", f"notes={ears.openai}").code == 0
    (run,) = backend.runs(project)
    assert run.config["command"] == "OPENAI_API_KEY=*** train.py"
    assert ears.ftsync("sync", "--init", f"tgas={ears.openai}", f"--{ears.openai}").code == 2


def test_the_key_of_a_client_that_is_handed_over(
    ears: Ears, world: World, openai: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    from openai import OpenAI  # noqa: PLC0415 - the name is taken by the fixture

    monkeypatch.delenv("OPENAI_API_KEY")
    world.add(*samples.many(1))
    client = OpenAI(api_key=lambda: ears.openai, default_headers={"x-gateway-key": "gateway-secret"})
    message = {"message": f"bad key {ears.openai} gateway-secret"}
    openai.fail("events", status=400, body={"error": message})
    with client:
        report = ft_sync.sync(openai_client=client)
    (failed,) = report.failed
    assert failed.error.message.endswith("bad key *** *** (400)")
    assert ears.openai not in str(failed.error.__cause__)


def test_the_password_of_a_base_url(ears: Ears, openai: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    url = openai.url.replace("http://", "http://me:pass-word-pass@")
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    openai.fail("jobs", status=400, body={"error": {"message": f"no such thing at {url}"}})
    said = ears.ftsync("list", "--debug")
    assert "pass-word-pass" not in said.err
    assert "at http:***127.0.0.1" in said.err


def test_the_sdk_sends_wandbs_key_to_no_host_that_it_is_redirected_to(
    ears: Ears, world: World, openai: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.add(*samples.many(1))
    assert openai.url
    with serve(World()) as front, serve(World()) as other:
        monkeypatch.setenv("WANDB_BASE_URL", front.url.removesuffix("/v1"))
        front.fail("", status=307, headers={"Location": f"{other.url}/graphql"})
        other.fail("", status=400)
        assert ears.ftsync("sync").code == 3
    assert other.requests
    assert all("authorization" in request.headers for request in front.requests)
    assert not any("authorization" in request.headers for request in other.requests)


def test_an_archive_keeps_what_was_served_and_runs_made_of_it_hold_no_key(
    ears: Ears, openai: Sandbox, backend: WandbBackend, project: str, tmp_path: Path
) -> None:
    openai.world.add(repeating(samples.finished_jobs()[1], ears.told(ears.openai)))
    (sample,) = openai.world.jobs
    # Elsewhere, since all of the test's folder is searched for keys.
    folder = tmp_path.parent / f"{tmp_path.name}-archive"
    assert ears.ftsync("archive", str(folder)).code == 0
    written = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    jobs = [json.loads(content) for content in written if b'"object": "fine_tuning.job"' in content]
    assert jobs == [sample.job]
    assert ears.openai in json.dumps(jobs)
    assert {file.served for file in sample.files} <= {*written}
    openai.fail("", drop=True)
    assert ears.ftsync("sync", "--from-archive", str(folder), "--debug").code == 0
    assert ears.ftsync("status", sample.id, "--from-archive", str(folder), "--json").code == 0
    assert ears.ftsync("verify", "--from-archive", str(folder), "--debug").code == 0
    (run,) = backend.runs(project)
    assert "***" in json.dumps(run.config)


def test_keys_in_ids_are_shown_by_no_command(ears: Ears, openai: Sandbox, tmp_path: Path) -> None:
    (sample,) = samples.many(1)
    openai.world.add(SampleJob(job=sample.job | {"id": encoded(ears.openai, "hex")}, files=sample.files))
    folder = str(tmp_path.parent / f"{tmp_path.name}-archive")
    for arguments in (("--json",), ("--jsonl",), ("-v",)):
        assert ears.ftsync("archive", folder, *arguments).code == 0
        ears.ftsync("list", *arguments[:1])
        ears.ftsync("list", "--from-archive", folder)
    openai.fail("/events", status=403)
    ears.ftsync("archive", f"{folder}-2", "--debug")
