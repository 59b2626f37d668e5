"""The folder of a command: private, gone afterwards, and gone at the next start after a kill."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ft_sync import scratch
from ft_sync.confined import Unsafe
from ft_sync.errors import ConfigError, DiskError, FtSyncError

if TYPE_CHECKING:
    from collections.abc import Iterator

WORKER = """
import sys
from ft_sync import scratch
with scratch.folder() as folder:
    (folder / "0").write_text("data")
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


@pytest.fixture
def worker() -> Iterator[subprocess.Popen[str]]:
    """Another command at work in a folder of its own."""
    with subprocess.Popen(
        [sys.executable, "-c", WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as one:
        assert one.stdout is not None
        assert one.stdout.readline()
        yield one
        one.kill()


def left(path: Path, name: str = "ftsync-left") -> Path:
    """A folder as a killed process leaves it."""
    folder = path / name
    folder.mkdir(mode=0o700)
    (folder / scratch.LOCK).touch()
    (folder / "0").write_text("data")
    return folder


def test_it_is_private_whatever_the_umask_and_gone_afterwards(temporary: Path) -> None:
    usual = os.umask(0)
    try:
        with scratch.folder() as folder:
            with open(folder / "0", "w", encoding="utf-8", opener=scratch.private):
                pass
            modes = [stat.S_IMODE(path.stat().st_mode) for path in (folder, folder / "0", folder / scratch.LOCK)]
    finally:
        os.umask(usual)
    assert modes[:2] == [0o700, 0o600]
    assert list(temporary.iterdir()) == []


def test_it_goes_with_an_exception_too(temporary: Path) -> None:
    with pytest.raises(ZeroDivisionError), scratch.folder():
        raise ZeroDivisionError
    assert list(temporary.iterdir()) == []


def test_what_a_killed_process_left_goes_at_the_next_start(temporary: Path, worker: subprocess.Popen[str]) -> None:
    worker.kill()
    worker.wait()
    assert len(list(temporary.iterdir())) == 1
    with scratch.folder() as folder:
        assert list(temporary.iterdir()) == [folder]


def test_what_a_living_process_uses_stays(temporary: Path, worker: subprocess.Popen[str]) -> None:
    assert worker.poll() is None
    (used,) = temporary.iterdir()
    with scratch.folder():
        assert (used / "0").read_text() == "data"
    assert list(temporary.iterdir()) == [used]


def test_a_folder_that_others_can_write_to_stays(temporary: Path) -> None:
    open_to_all = left(temporary)
    open_to_all.chmod(0o777)
    scratch.remove_leftovers()
    assert (open_to_all / "0").exists()


def test_a_folder_of_another_user_stays(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = left(temporary)
    monkeypatch.setattr(os, "getuid", lambda: theirs.stat().st_uid + 1)
    scratch.remove_leftovers()
    assert (theirs / "0").exists()


def test_a_folder_that_is_not_ours_by_its_content_stays(temporary: Path) -> None:
    (temporary / "ftsync-notes").mkdir(mode=0o700)
    (temporary / "ftsync-file").touch()
    scratch.remove_leftovers()
    assert len(list(temporary.iterdir())) == 2


def test_links_are_not_followed(temporary: Path) -> None:
    precious = left(temporary, "precious")
    (temporary / "ftsync-link").symlink_to(precious)
    (left(temporary) / "inside").symlink_to(precious)
    scratch.remove_leftovers()
    assert (precious / "0").exists()
    assert not (temporary / "ftsync-left").exists()


def test_two_that_start_at_the_same_moment_do_not_take_each_other_for_leftovers(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = tempfile.mkdtemp

    def with_a_cleaner_in_between(**how: str) -> str:
        path = make(**how)
        monkeypatch.setattr(tempfile, "mkdtemp", make)
        (temporary / path / scratch.LOCK).touch()  # as far as the other can see, a leftover
        scratch.remove_leftovers()
        return path

    monkeypatch.setattr(tempfile, "mkdtemp", with_a_cleaner_in_between)
    with scratch.folder() as folder:
        assert folder.is_dir()
        scratch.remove_leftovers()
        assert folder.is_dir()


def test_a_home_that_can_be_written_to_needs_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert scratch.home() is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("home", [None, "", "/dev/null/home"])
def test_without_a_home_there_is_a_private_folder_instead(
    temporary: Path, monkeypatch: pytest.MonkeyPatch, home: str | None
) -> None:
    monkeypatch.delenv("HOME")
    if home is not None:
        monkeypatch.setenv("HOME", home)
    instead = scratch.home()
    assert instead is not None
    assert instead.parent == temporary
    assert stat.S_IMODE(instead.stat().st_mode) == 0o700
    assert scratch.home() == instead


@pytest.mark.usefixtures("temporary")
def test_a_folder_that_others_can_write_to_is_not_taken() -> None:
    scratch.locks().chmod(0o777)
    with pytest.raises(ConfigError, match="not yours alone"):
        scratch.locks()


@pytest.mark.parametrize(
    ("number", "kind"), [(errno.ENOSPC, DiskError), (errno.EROFS, DiskError), (errno.EACCES, ConfigError)]
)
def test_a_full_disk_is_not_called_a_wrong_setting(
    monkeypatch: pytest.MonkeyPatch, number: int, kind: type[FtSyncError]
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "mkdir", fails)
    with pytest.raises(kind, match="cannot be made"):
        scratch.locks()


@pytest.mark.parametrize("link", ["symlink_to", "hardlink_to"])
def test_a_private_file_is_never_another_one_by_a_link(temporary: Path, link: str) -> None:
    (temporary / "mine").write_text("mine")
    getattr(temporary / "link", link)(temporary / "mine")
    for mode in ("w", "a"):
        with pytest.raises(Unsafe), open(temporary / "link", mode, encoding="utf-8", opener=scratch.private):
            pass
    assert (temporary / "mine").read_text() == "mine"
