"""The archive on disk: what is stored is there, under a name that fits, and what is not whole is not there."""

from __future__ import annotations

import hashlib
import json
import resource
import signal
import stat
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ft_sync.archives import MANIFEST, PARTIAL, Archive, ArchiveWriter, Stored, writing
from ft_sync.errors import BadData, ConfigError, Forbidden, FtSyncError, NotFound, Refused, Unavailable
from ft_sync.models import Download

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def adopt(archive: ArchiveWriter, name: str, content: bytes, filename: str | None = "train.jsonl") -> None:
    """Store a file's content as a download does."""
    path = archive.partial(name)
    path.write_bytes(content)
    archive.adopt(name, Download(path, len(content), hashlib.sha256(content).hexdigest()), filename)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An archive with a job, its events and a file."""
    folder = tmp_path / "my archive"
    with writing(folder) as archive:
        archive.store("job", "ftjob-1", [b"{}"])
        archive.store("events", "ftjob-1", [b""])
        archive.store("file", "file-1", [b"{}"])
        adopt(archive, "file-1", b"one\n")
    return folder


def test_what_is_stored_is_read_again_by_whoever_opens_it(folder: Path) -> None:
    archive = Archive(folder)
    assert (archive.read("job", "ftjob-1"), archive.read("content", "file-1")) == (b"{}", b"one\n")
    assert (folder / "jobs/ftjob-1/job.json").read_bytes() == b"{}"
    assert (folder / "files/file-1/train.jsonl").read_bytes() == b"one\n"


def test_a_file_is_copied_with_its_sum(folder: Path, tmp_path: Path) -> None:
    stored = Archive(folder).copy("file-1", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"one\n"
    assert (stored.bytes, stored.sha256) == (4, hashlib.sha256(b"one\n").hexdigest())


def test_the_sums_are_those_that_sha256sum_checks(folder: Path) -> None:
    for line in (folder / "SHA256SUMS").read_text().splitlines():
        digest, path = line.split("  ")
        assert hashlib.sha256((folder / path).read_bytes()).hexdigest() == digest


def test_nobody_else_can_read_it(folder: Path) -> None:
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.rglob("*"))}
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o600}


def test_storing_the_same_again_changes_nothing(folder: Path) -> None:
    before = (folder / "jobs/ftjob-1/job.json").stat().st_mtime_ns
    with writing(folder) as archive:
        assert not archive.store("job", "ftjob-1", [b"{}"])
    assert (folder / "jobs/ftjob-1/job.json").stat().st_mtime_ns == before


def test_the_last_line_on_a_thing_counts_and_the_manifest_holds_no_other_afterwards(folder: Path) -> None:
    with writing(folder) as archive:
        archive.store("job", "ftjob-1", [b'{"a": 1}'])
    assert Archive(folder).read("job", "ftjob-1") == b'{"a": 1}'
    with writing(folder):
        pass
    lines = [json.loads(line) for line in (folder / MANIFEST).read_text().splitlines()]
    assert len(lines) == len({(line["kind"], line["id"]) for line in lines}) == 4


def test_a_line_that_was_cut_off_is_none(folder: Path) -> None:
    manifest = (folder / MANIFEST).read_bytes()
    (folder / MANIFEST).write_bytes(manifest[:-7])
    assert Archive(folder).entry("content", "file-1") is None
    with writing(folder) as archive:
        adopt(archive, "file-1", b"one\n")
    assert (folder / MANIFEST).read_bytes().count(b"\n") == manifest.count(b"\n")
    assert list(Archive(folder).check()) == []


def test_a_command_killed_before_it_renames_leaves_the_new_readable_and_the_next_one_renames(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with writing(folder) as archive, monkeypatch.context() as patch:
        patch.setattr(type(folder), "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            archive.store("job", "ftjob-1", [b'{"a": 1}'])
    assert (folder / "jobs/ftjob-1/job.json").read_bytes() == b"{}"
    assert Archive(folder).read("job", "ftjob-1") == b'{"a": 1}'
    assert list(Archive(folder).check()) == []
    with writing(folder):
        pass
    assert (folder / "jobs/ftjob-1/job.json").read_bytes() == b'{"a": 1}'


def test_a_manifest_that_is_none_is_named_with_its_line(folder: Path) -> None:
    (folder / MANIFEST).write_bytes((folder / MANIFEST).read_bytes() + b"[1]\n")
    with pytest.raises(BadData, match="line 5"):
        Archive(folder)


def test_a_line_for_which_there_is_no_room_spoils_no_other(folder: Path) -> None:
    """The disk is full in the middle of a line, and there is room again for the next."""
    with writing(folder) as archive:
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, ((folder / MANIFEST).stat().st_size + 20, limits[1]))
        try:
            with pytest.raises(OSError, match="File too large"):
                archive.store("job", "ftjob-2", [b"{}"])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, before)
        archive.store("job", "ftjob-3", [b"{}"])
    assert set(Archive(folder).entries("job")) == {"ftjob-1", "ftjob-3"}


@pytest.mark.parametrize(
    "fields",
    [
        {"path": "../../secret"},
        {"path": "/etc/passwd"},
        {"path": "files/../../secret"},
        {"path": "jobs/file-1/name"},
        {"path": "files\\..\\x/y"},
        {"path": 7},
        {"kind": "soul"},
        {"error": "Nonsense"},
    ],
)
def test_a_manifest_cannot_lead_out_of_the_folder_nor_speak_of_the_unknown(
    folder: Path, fields: dict[str, object]
) -> None:
    line = {"kind": "file", "id": "file-1", "path": "files/file-1/x", "sha256": "", "bytes": 1, "time": ""} | fields
    (folder / MANIFEST).write_text(json.dumps(line) + "\n")
    with pytest.raises(BadData, match="line 1"):
        Archive(folder)


def test_a_readme_of_the_users_own_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(ConfigError, match="not empty"), writing(tmp_path):
        pass
    assert (tmp_path / "README.md").read_text() == "mine"


def test_a_name_that_is_another_ones_way_out_stays_apart_from_it(tmp_path: Path) -> None:
    with writing(tmp_path / "first") as archive:
        for name in ("a_b", "a/b"):
            archive.store("job", name, [b""])
        out = PurePosixPath(archive.stored("job", "a/b").path).parent.name
    names_kept(tmp_path / "second", ["a_b", out, "a/b"])


@pytest.mark.parametrize("error", [NotFound("gone"), Forbidden("not yours"), Refused("no downloads")])
def test_what_was_refused_is_refused_again_in_the_same_words(tmp_path: Path, error: FtSyncError) -> None:
    with writing(tmp_path / "a") as archive:
        archive.note("content", "file-1", error)
    with pytest.raises(type(error), match=error.message):
        Archive(tmp_path / "a").read("content", "file-1")


def test_a_refusal_does_not_undo_what_was_had_before(folder: Path) -> None:
    with writing(folder) as archive:
        archive.note("content", "file-1", NotFound("gone"))
    assert Archive(folder).read("content", "file-1") == b"one\n"


def test_what_was_never_archived_is_not_what_is_not_there(folder: Path) -> None:
    with pytest.raises(Unavailable, match="checkpoints of ftjob-1"):
        Archive(folder).read("checkpoints", "ftjob-1")


@pytest.mark.parametrize("spoil", ["change", "remove"])
def test_what_is_damaged_is_named_and_not_given(folder: Path, tmp_path: Path, spoil: str) -> None:
    path = folder / "files/file-1/train.jsonl"
    if spoil == "change":
        path.write_bytes(b"two\n")
    else:
        path.unlink()
    for read in (
        lambda: Archive(folder).read("content", "file-1"),
        lambda: Archive(folder).copy("file-1", tmp_path / "x"),
    ):
        with pytest.raises(BadData, match=r"train\.jsonl is missing or damaged"):
            read()
    ((found, _),) = Archive(folder).check()
    assert found == "files/file-1/train.jsonl"


def test_a_check_names_files_that_nobody_stored(folder: Path) -> None:
    (folder / "files" / "stray").write_text("?")
    (folder / PARTIAL / "beginning").write_text("?")
    assert list(Archive(folder).check()) == [("files/stray", "is not in the manifest")]


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigError, match="not empty"), writing(tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be written to"), writing(tmp_path / "file"):
        pass
    with pytest.raises(ConfigError):
        Archive(tmp_path / "file")


def test_what_is_no_archive_cannot_be_read_as_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is no archive"):
        Archive(tmp_path)


def test_one_process_writes_at_a_time(folder: Path) -> None:
    with writing(folder), pytest.raises(ConfigError, match="another process"), writing(folder):
        pass


HOSTILE = [
    "..",
    ".",
    "",
    "/etc/passwd",
    "a/b",
    "a\\b",
    "a_b",
    "A_B",
    "con",
    "CON.txt",
    "x" * 10_000,
    "\n",
    "\x00",
    "é" * 300,
    "\ud800",
]


def names_kept(folder: Path, names: Sequence[str]) -> None:
    """Store jobs and files of these names, and see that each keeps what is its own, inside the folder."""
    with writing(folder) as archive:
        for number, name in enumerate(names):
            archive.store("job", name, [str(number).encode()])
            archive.store("file", name, [str(number).encode()])
            adopt(archive, name, str(number).encode(), filename=name)
    archive = ArchiveWriter(folder)
    for number, name in enumerate(names):
        expected = str(number).encode()
        assert [archive.read(kind, name) for kind in ("job", "file", "content")] == [expected] * 3
    assert list(archive.check()) == []
    paths = [
        entry.path
        for kind in ("job", "file", "content")
        for entry in archive.entries(kind).values()
        if isinstance(entry, Stored)
    ]
    assert len({path.casefold() for path in paths}) == 3 * len(names)
    assert all((folder / path).resolve().is_relative_to(folder.resolve()) for path in paths)


def test_hostile_names_stay_inside_and_apart(tmp_path: Path) -> None:
    names_kept(tmp_path / "a", HOSTILE)


@given(names=st.lists(st.text(max_size=40), unique=True, max_size=6))
def test_any_names_stay_inside_and_apart(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    names_kept(tmp_path_factory.mktemp("any") / "a", names)
