"""The archive on disk: what is stored is there, under a name that fits, and what is not whole is not there."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import resource
import signal
import stat
from contextlib import suppress
from dataclasses import asdict
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ft_sync.archives import LARGEST, MANIFEST, PARTIAL, Archive, ArchiveWriter, Kind, Stored, writing
from ft_sync.confined import Folder
from ft_sync.errors import BadData, ConfigError, DiskError, Forbidden, FtSyncError, NotFound, Refused, Unavailable
from ft_sync.models import Download
from ft_sync.scratch import private
from tests.memory import taking_at_most

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
        patch.setattr(Folder, "move", killed)
        with pytest.raises(KeyboardInterrupt):
            archive.store("job", "ftjob-1", [b'{"a": 1}'])
    assert (folder / "jobs/ftjob-1/job.json").read_bytes() == b"{}"
    assert Archive(folder).read("job", "ftjob-1") == b'{"a": 1}'
    assert list(Archive(folder).check()) == []
    with writing(folder):
        pass
    assert (folder / "jobs/ftjob-1/job.json").read_bytes() == b'{"a": 1}'


DAMAGED = {
    "an array": b"[1]",
    "null": b"null",
    "a number": b"7",
    "a text": b'"error"',
    "an empty object": b"{}",
    "no JSON": b"{",
    "nested deeply": b'{"kind": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "nested deeply and unclosed": b"[" * 100_000,
    "no UTF-8": b'{"kind": "job", "id": "\xff\xfe", "path": "jobs/a/job.json"}',
    "a byte order mark of UTF-16": b"\xff\xfe{\x00",
    "a huge integer": b'{"bytes": ' + b"9" * 10_000 + b"}",
    "an id that is a list": b'{"kind": "job", "id": [], "error": "NotFound", "message": "", "time": ""}',
    "an id that is a number": b'{"kind": "job", "id": 7, "error": "NotFound", "message": "", "time": ""}',
    "a kind that is a list": b'{"kind": [], "id": "a", "error": "NotFound", "message": "", "time": ""}',
    "a message that is null": b'{"kind": "job", "id": "a", "error": "NotFound", "message": null, "time": ""}',
    "a field too many": b'{"kind": "job", "id": "a", "error": "NotFound", "message": "", "time": "", "x": 1}',
}


@pytest.mark.parametrize("line", DAMAGED.values(), ids=DAMAGED)
def test_a_line_that_is_no_entry_is_named_and_costs_nothing_else(folder: Path, line: bytes) -> None:
    manifest = (folder / MANIFEST).read_bytes().splitlines(keepends=True)
    (folder / MANIFEST).write_bytes(b"".join([*manifest[:2], line, b"\n", *manifest[2:]]))
    archive = Archive(folder)
    assert (archive.read("job", "ftjob-1"), archive.read("content", "file-1")) == (b"{}", b"one\n")
    (failed,) = archive.unreadable
    assert failed.job_id == "line 3 of manifest.jsonl"
    assert isinstance(failed.error, BadData)
    ((path, fault),) = archive.check()
    assert path == MANIFEST
    assert fault.startswith("line 3 ")


def test_a_line_that_is_no_entry_is_kept_by_whoever_writes(folder: Path) -> None:
    (folder / MANIFEST).write_bytes(b'{"kind": "soul"}\n' + (folder / MANIFEST).read_bytes())
    with writing(folder) as archive:
        archive.store("job", "ftjob-2", [b"{}"])
    assert b'{"kind": "soul"}\n' in (folder / MANIFEST).read_bytes()
    assert set(Archive(folder).entries("job")) == {"ftjob-1", "ftjob-2"}


@pytest.mark.parametrize("tail", [b"", b"\n"])
def test_an_endless_line_of_the_manifest_is_not_read(folder: Path, tail: bytes) -> None:
    with (folder / MANIFEST).open("r+b") as manifest:
        manifest.seek(8 * 2**30)
        manifest.write(tail or b"\0")
    for use in (Archive, fill):
        with taking_at_most(64 * 2**20), pytest.raises(BadData, match="line 5 has more than 8 MiB"):
            use(folder)


def test_of_many_lines_that_are_no_entries_the_first_are_named_and_all_are_kept(folder: Path) -> None:
    with (folder / MANIFEST).open("ab") as manifest:
        manifest.write(b"\n" * 200_000)
    with taking_at_most(8 * 2**20):
        archive = Archive(folder)
        problems = list(archive.check())
    assert [failed.job_id for failed in archive.unreadable][-2:] == [
        "line 14 of manifest.jsonl",
        "199990 more lines of manifest.jsonl",
    ]
    assert len(problems) == 11
    assert problems[-1] == (MANIFEST, "199990 more lines cannot be read")
    fill(folder)
    assert (folder / MANIFEST).read_bytes().startswith(b"\n" * 200_000)


@pytest.mark.parametrize(
    ("kind", "name", "path"),
    [
        ("job", "ftjob-1", "jobs/ftjob-1/job.json"),
        ("events", "ftjob-1", "jobs/ftjob-1/events.jsonl"),
        ("content", "file-1", "files/file-1/train.jsonl"),
    ],
)
def test_a_file_of_another_size_is_not_read(folder: Path, kind: Kind, name: str, path: str) -> None:
    os.truncate(folder / path, 2**40)
    archive = Archive(folder)
    for read in (archive.read, archive.lines):
        with taking_at_most(8 * 2**20), pytest.raises(BadData, match="is missing or damaged"):
            read(kind, name)
    ((found, fault),) = archive.check()
    assert (found, fault.partition(",")[0]) == (path, "is damaged: 1099511627776 bytes")


@pytest.mark.parametrize("kind", ["job", "events"])
def test_a_file_that_is_as_large_as_the_manifest_says_is_read_up_to_a_bound(folder: Path, kind: Kind) -> None:
    stored = Archive(folder).stored(kind, "ftjob-1")
    entry = json.dumps(asdict(stored) | {"bytes": 2**40})
    os.truncate(folder / stored.path, 2**40)
    with (folder / MANIFEST).open("a") as manifest:
        manifest.write(entry + "\n")
    archive = Archive(folder)
    with taking_at_most(2 * LARGEST), pytest.raises(BadData, match="more than 64 MiB"):
        (archive.read if kind == "job" else archive.lines)(kind, "ftjob-1")


def test_a_line_that_would_be_too_long_for_the_manifest_is_not_written(folder: Path) -> None:
    with writing(folder) as archive, pytest.raises(BadData, match="an id of 10000000 characters"):
        archive.store("job", "x" * 10_000_000, [b"{}"])
    assert set(Archive(folder).entries("job")) == {"ftjob-1"}


@pytest.mark.parametrize("content", [b'{"audio_filepath": "a.wav", "text": "hello"}\n', b"\x00\xff\n\n", b"\n"])
def test_a_manifest_without_any_entry_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / MANIFEST).write_bytes(content)
    with pytest.raises(BadData, match="is no manifest of an archive"):
        Archive(tmp_path)
    with pytest.raises(BadData, match="is no manifest of an archive"), writing(tmp_path):
        pass
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {MANIFEST: content}


def test_two_items_cannot_have_one_folder(folder: Path) -> None:
    entry = json.loads((folder / MANIFEST).read_text().splitlines()[0]) | {"id": "ftjob-2"}
    with (folder / MANIFEST).open("a") as manifest:
        manifest.write(json.dumps(entry) + "\n")
    archive = Archive(folder)
    assert set(archive.entries("job")) == {"ftjob-1"}
    assert "another job" in archive.unreadable[0].error.message


def test_a_folder_belongs_to_the_job_of_its_name_whichever_line_comes_first(folder: Path) -> None:
    lines = (folder / MANIFEST).read_text()
    entry = json.loads(lines.splitlines()[0]) | {"id": "ftjob-2"}
    (folder / MANIFEST).write_text(json.dumps(entry) + "\n" + lines)
    for _ in range(2):
        archive = Archive(folder)
        assert set(archive.entries("job")) == {"ftjob-1"}
        (failed,) = archive.unreadable
        assert failed.job_id == "line 1 of manifest.jsonl"
        assert archive.read("events", "ftjob-1") == b""
        with writing(folder):
            pass


def test_a_folder_of_another_name_is_read_if_nobody_else_claims_it(folder: Path) -> None:
    (folder / "jobs" / "ftjob-1").rename(folder / "jobs" / "renamed")
    manifest = (folder / MANIFEST).read_text()
    (folder / MANIFEST).write_text(manifest.replace("jobs/ftjob-1/", "jobs/renamed/"))
    assert Archive(folder).read("job", "ftjob-1") == b"{}"


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
        {"path": "files/../x"},
        {"path": "files/.hidden/x"},
        {"path": "files/file-1/.hidden"},
        {"path": "files/file-1/x/y"},
        {"path": "files/file-1/x\0"},
        {"path": "files/file-1/x\n"},
        {"path": "files/file-1/con"},
        {"path": "files/file-1/file.json", "kind": "content"},
        {"path": 7},
        {"kind": "soul"},
        {"error": "Nonsense"},
        {"sha256": "0"},
        {"sha256": f"{64 * '0'}\n"},
        {"sha256": f"{'0' * 64}  /etc/passwd"},
        {"bytes": 1.5},
        {"bytes": True},
        {"bytes": -1},
        {"bytes": 10**400},
        {"bytes": float("nan")},
    ],
)
def test_a_manifest_cannot_lead_out_of_the_folder_nor_speak_of_the_unknown(
    folder: Path, fields: dict[str, object]
) -> None:
    entry = {
        "kind": "file",
        "id": "file-2",
        "path": "files/file-2/file.json",
        "sha256": 64 * "0",
        "bytes": 1,
        "time": "",
    }
    (folder / MANIFEST).write_text(json.dumps(entry) + "\n" + json.dumps(entry | {"id": "file-3"} | fields) + "\n")
    archive = Archive(folder)
    assert set(archive.entries("file")) == {"file-2"}
    assert archive.entries("content") == {}
    (failed,) = archive.unreadable
    assert failed.job_id == "line 2 of manifest.jsonl"


def test_a_size_that_is_wrong_is_named_and_set_right(folder: Path) -> None:
    manifest = (folder / MANIFEST).read_text()
    (folder / MANIFEST).write_text(manifest.replace('"bytes": 2,', '"bytes": 3,'))
    assert {path for path, _ in Archive(folder).check()} == {"jobs/ftjob-1/job.json", "files/file-1/file.json"}
    with writing(folder) as archive:
        assert not archive.holds("job", "ftjob-1", b"{}")
        for kind, name in (("job", "ftjob-1"), ("file", "file-1")):
            assert archive.store(cast("Kind", kind), name, [b"{}"])
    assert list(Archive(folder).check()) == []


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
    (folder / PARTIAL / "0123456789abcdef").write_text("the beginning of a download")
    assert list(Archive(folder).check()) == [("files/stray", "is not in the manifest")]


@pytest.mark.parametrize(
    "path",
    ["README.md", f"{PARTIAL}/0123456789abcdef.job", "SHA256SUMS", "jobs/ftjob-7", "files/stray", "new", "new/er"],
)
def test_a_check_names_empty_folders_where_none_belong(folder: Path, path: str) -> None:
    (folder / path).unlink(missing_ok=True)
    (folder / path).mkdir(parents=True)
    assert [found for found, _ in Archive(folder).check()] == [f"{path}/"]
    (folder / path / "file").touch()
    assert [found for found, _ in Archive(folder).check()] == [f"{path}/file"]


def test_a_check_names_sums_that_are_missing(folder: Path) -> None:
    (folder / "SHA256SUMS").unlink()
    ((path, fault),) = Archive(folder).check()
    assert (path, fault) == ("SHA256SUMS", f"is missing: `ftsync archive {folder}` writes it")
    with writing(folder):
        pass
    assert list(Archive(folder).check()) == []


def test_a_check_names_folders_to_which_any_user_can_write(folder: Path) -> None:
    for path in (folder, folder / "jobs"):
        path.chmod(0o1777)
    fill(folder)
    expected = [(path, "any user can write to it: `chmod o-w` ends that") for path in (".", "jobs/")]
    assert list(Archive(folder).check()) == expected


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files to another user")
@pytest.mark.parametrize("path", [MANIFEST, "README.md", "SHA256SUMS", ".lock", "jobs/ftjob-1/job.json"])
def test_a_file_of_another_user_is_not_used(folder: Path, path: str) -> None:
    os.chown(folder / path, 1000, 1000)
    if path.endswith("job.json"):
        assert [found for found, _ in Archive(folder).check()] == [path]
        with pytest.raises(BadData, match="it belongs to another user"):
            Archive(folder).read("job", "ftjob-1")
        return
    with pytest.raises(ConfigError, match="it belongs to another user"):
        fill(folder)


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


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder of the user's beside the archive, with two files."""
    path = tmp_path / "outside"
    path.mkdir()
    for name in ("victim", "job.json"):
        (path / name).write_bytes(b"mine")
    return path


def as_it_was(outside: Path) -> None:
    assert {path.name: path.read_bytes() for path in outside.iterdir()} == {"victim": b"mine", "job.json": b"mine"}


def fill(folder: Path) -> None:
    """Bring an archive up to date."""
    with writing(folder) as archive:
        archive.store("job", "ftjob-1", [b"{}", b" "])
        archive.store("job", "ftjob-2", [b"{}"])
        adopt(archive, "file-1", b"two\n")
        archive.note("content", "file-2", NotFound("gone"))


TOP = [MANIFEST, "SHA256SUMS", "README.md", ".lock", PARTIAL, "jobs", "files"]


@pytest.mark.parametrize("name", TOP)
@pytest.mark.parametrize("kind", ["link to a file", "link to a folder", "dangling link", "hard link", "FIFO"])
def test_a_prepared_archive_is_refused_and_nothing_outside_is_touched(
    folder: Path, outside: Path, name: str, kind: str
) -> None:
    path = folder / name
    path.rename(folder.parent / "away")
    match kind:
        case "link to a file":
            path.symlink_to(outside / "victim")
        case "link to a folder":
            path.symlink_to("../outside")
        case "dangling link":
            path.symlink_to(outside / "new")
        case "hard link":
            path.hardlink_to(outside / "victim")
        case _:
            os.mkfifo(path)
    with pytest.raises(ConfigError, match=re.escape(str(path))):
        fill(folder)
    as_it_was(outside)


@pytest.mark.parametrize("name", ["README.md", PARTIAL, ".lock", "jobs", "files", "SHA256SUMS", MANIFEST])
def test_a_prepared_folder_without_a_manifest_is_refused_as_well(tmp_path: Path, outside: Path, name: str) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / name).symlink_to(outside)
    with pytest.raises(ConfigError):
        fill(tmp_path / "new")
    as_it_was(outside)
    assert [path.name for path in (tmp_path / "new").iterdir()] == [name]


@pytest.mark.parametrize("name", ["0123456789abcdef", "0123456789abcdef.job", "manifest.jsonl.new", "SHA256SUMS.new"])
@pytest.mark.parametrize("link", ["symlink_to", "hardlink_to"])
def test_a_prepared_download_is_refused(folder: Path, outside: Path, name: str, link: str) -> None:
    getattr(folder / PARTIAL / name, link)(outside / "victim")
    with pytest.raises(ConfigError, match=name):
        fill(folder)
    as_it_was(outside)


@pytest.mark.parametrize("name", ["thesis.txt", ".bashrc", "0123456789abcdef.txt", "0123"])
@pytest.mark.parametrize("where", [".", PARTIAL])
def test_what_no_archive_contains_is_neither_written_beside_nor_removed(folder: Path, where: str, name: str) -> None:
    (folder / where / name).write_text("mine")
    with pytest.raises(ConfigError, match="no archive contains that"):
        fill(folder)
    assert (folder / where / name).read_text() == "mine"
    assert Archive(folder).read("job", "ftjob-1") == b"{}"
    assert [path for path, _ in Archive(folder).check()] == [(PurePosixPath(where) / name).as_posix()]


def test_what_operating_systems_put_into_folders_changes_nothing(folder: Path) -> None:
    strange = [folder / ".DS_Store", folder / PARTIAL / ".DS_Store", folder / "files" / "Thumbs.db", folder / "._jobs"]
    for path in strange:
        path.write_text("?")
    (folder / "lost+found").mkdir()
    fill(folder)
    assert list(Archive(folder).check()) == []
    assert all(path.read_text() == "?" for path in strange)


def test_a_readme_that_the_user_has_changed_stays(folder: Path) -> None:
    (folder / "README.md").write_text("ours, since 2026")
    fill(folder)
    assert (folder / "README.md").read_text() == "ours, since 2026"


def test_a_folder_of_another_user_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    for use in (fill, Archive):
        with pytest.raises(ConfigError, match="another user"):
            use(folder)


def test_an_archive_may_be_named_by_a_link_of_the_users_own(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder)
    fill(tmp_path / "link")
    assert Archive(tmp_path / "link").read("content", "file-1") == b"two\n"


@pytest.mark.parametrize("path", ["jobs/ftjob-1", "jobs/ftjob-2", "files/file-1"])
def test_the_folder_of_an_item_that_is_a_link_is_not_entered(folder: Path, outside: Path, path: str) -> None:
    if (folder / path).exists():
        (folder / path).rename(folder.parent / "away")
    (folder / path).symlink_to(outside)
    with pytest.raises(OSError, match="symbolic link"):
        fill(folder)
    as_it_was(outside)


ITEMS: list[tuple[Kind, str, str]] = [
    ("job", "ftjob-1", "jobs/ftjob-1/job.json"),
    ("content", "file-1", "files/file-1/train.jsonl"),
]


@pytest.mark.parametrize("trap", ["symlink_to", "hardlink_to", "FIFO", "folder"])
@pytest.mark.parametrize(("kind", "name", "path"), ITEMS)
def test_a_stored_file_that_is_a_link_is_not_read_and_is_named(  # noqa: PLR0917 - two tables of cases
    folder: Path, outside: Path, kind: Kind, name: str, path: str, trap: str
) -> None:
    right = (folder / path).read_bytes()
    (folder / path).unlink()
    match trap:
        case "FIFO":
            os.mkfifo(folder / path)
        case "folder":
            (folder / path).mkdir()
        case _:
            (outside / "victim").write_bytes(right)  # even what would be the right bytes
            getattr(folder / path, trap)(outside / "victim")
    archive = Archive(folder)
    with pytest.raises(BadData, match=f"{path} cannot be read: it is a "):
        archive.read(kind, name)
    with pytest.raises(BadData, match=f"{path} cannot be read: it is a "):
        archive.lines(kind, name)
    ((found, fault),) = archive.check()
    assert found == path
    assert fault.startswith("cannot be read: it is a ")
    assert not archive.is_there(archive.stored(kind, name))


@pytest.mark.parametrize("link", ["symlink_to", "hardlink_to"])
def test_what_is_stored_anew_takes_the_place_of_a_link(folder: Path, outside: Path, link: str) -> None:
    for path in ("jobs/ftjob-1/job.json", "files/file-1/train.jsonl"):
        (folder / path).unlink()
        getattr(folder / path, link)(outside / "victim")
    fill(folder)
    as_it_was(outside)
    assert (folder / "files/file-1/train.jsonl").read_bytes() == b"two\n"
    assert list(Archive(folder).check()) == []


@pytest.mark.parametrize("path", [".", PARTIAL, "jobs", "files"])
def test_a_folder_that_is_exchanged_for_a_link_while_it_is_written_leads_nowhere(
    folder: Path, outside: Path, path: str
) -> None:
    with suppress(OSError), writing(folder) as archive:
        download = archive.partial("file-1")
        (folder / path).rename(folder.parent / "away")
        (folder / path).symlink_to(outside)
        (outside / download.name).symlink_to("victim")
        with open(download, "wb", opener=private) as out:
            out.write(b"two\n")
        archive.store("job", "ftjob-1", [b"new"])
        archive.adopt("file-1", Download(download, 4, hashlib.sha256(b"two\n").hexdigest()), "victim")
        archive.note("content", "file-9", NotFound("gone"))
    (outside / download.name).unlink()
    as_it_was(outside)


@pytest.mark.parametrize(
    ("number", "hint"),
    [(errno.ENOSPC, "make room"), (errno.EROFS, "name a folder on a disk"), (errno.EACCES, "check who may write")],
)
def test_the_hint_fits_the_fault(folder: Path, monkeypatch: pytest.MonkeyPatch, number: int, hint: str) -> None:
    def fails(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(DiskError) as raised:
        fill(folder)
    assert str(raised.value.hint).startswith(hint)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
def test_a_disk_that_is_full_or_fails_is_no_wrong_argument(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    for name in ("mkdir", "fsync"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, fails)
            with pytest.raises(DiskError, match="cannot be written to"):
                fill(tmp_path / name)
