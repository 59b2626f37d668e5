"""Files below a folder that somebody else has prepared: nothing outside is read, changed or removed."""

from __future__ import annotations

import os
import socket
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from ft_sync import confined
from ft_sync.confined import Folder, Unsafe, opened

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(params=["relative to a descriptor", "by paths"])
def folder(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Folder:
    """An open folder, reached in each of the two ways."""
    monkeypatch.setattr(confined, "IS_RELATIVE", request.param == "relative to a descriptor")
    (tmp_path / "folder").mkdir()
    return Folder.at(tmp_path / "folder")


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A file of the user's outside the folder."""
    path = tmp_path / "outside" / "victim"
    path.parent.mkdir()
    path.write_bytes(b"mine")
    return path


def _chain(*path: Path) -> None:
    for link, to in pairwise(path):
        link.symlink_to(to)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as there:
        os.chdir(path.parent)  # the path of a socket may be too long
        there.bind(path.name)


TRAPS: dict[str, Callable[[Path, Path], None]] = {
    "a symbolic link": lambda path, victim: path.symlink_to(victim),
    "a relative symbolic link": lambda path, victim: path.symlink_to(os.path.relpath(victim, path.parent)),
    "a link to a link": lambda path, victim: _chain(path, victim.parent / "between", victim),
    "a hard link": lambda path, victim: path.hardlink_to(victim),
    "a link to nothing": lambda path, victim: path.symlink_to(victim.parent / "new"),
    "a FIFO": lambda path, _: os.mkfifo(path),
    "a socket": lambda path, _: _socket(path),
    "a device": lambda path, _: path.symlink_to("/dev/full"),
    "a folder": lambda path, _: path.mkdir(),
}


@pytest.fixture(params=list(TRAPS))
def trap(folder: Folder, victim: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of something in the folder that is no file of its own."""
    monkeypatch.chdir(folder.path)
    TRAPS[request.param](folder.path / "trap", victim)
    return "trap"


def as_it_was(victim: Path) -> None:
    assert victim.read_bytes() == b"mine"
    assert {path.name for path in victim.parent.iterdir()} <= {"victim", "between"}


def test_a_file_is_written_in_pieces_and_read(folder: Folder) -> None:
    with folder.open("file", "wb") as out:
        out.write(b"one, ")
    with folder.open("file", "ab") as out:
        out.write(b"two")
    with folder.open("file") as held:
        assert held.read() == b"one, two"
    assert (folder.size("file"), folder.size("other"), folder.fault("file")) == (8, None, None)


@pytest.mark.parametrize("mode", ["rb", "ab"])
def test_what_is_no_file_of_its_own_is_neither_read_nor_written(
    folder: Folder, trap: str, victim: Path, mode: str
) -> None:
    with pytest.raises(Unsafe), folder.open(trap, mode):
        pass
    assert folder.size(trap) is None
    assert folder.fault(trap) is not None
    as_it_was(victim)


@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, os.O_WRONLY | os.O_CREAT])
def test_an_opener_does_not_even_truncate_it(folder: Folder, trap: str, victim: Path, flags: int) -> None:
    with pytest.raises(Unsafe):
        opened(str(folder.path / trap), flags)
    as_it_was(victim)


def test_a_file_that_is_made_anew_replaces_a_link_and_not_what_it_leads_to(folder: Folder, victim: Path) -> None:
    for name, link in (("one", TRAPS["a symbolic link"]), ("two", TRAPS["a hard link"])):
        link(folder.path / name, victim)
        with folder.open(name, "wb") as out:
            out.write(b"new")
        assert (folder.path / name).read_bytes() == b"new"
    as_it_was(victim)


def test_a_file_that_is_moved_or_removed_takes_a_link_along_and_not_what_it_leads_to(
    folder: Folder, victim: Path
) -> None:
    for name in ("old", "new", "gone"):
        (folder.path / name).symlink_to(victim)
    folder.move("old", folder, "new")
    folder.unlink("gone")
    assert [path.name for path in folder.path.iterdir()] == ["new"]
    as_it_was(victim)


def test_a_file_is_not_moved_to_where_a_folder_is(folder: Folder) -> None:
    (folder.path / "docs" / "below").mkdir(parents=True)
    (folder.path / "file").write_bytes(b"new")
    for path, fault in (("docs", "it is a folder"), ("docs/below", "it is a folder"), ("file/x", "it is no folder")):
        with pytest.raises(Unsafe, match=fault):
            folder.move("file", folder, path)
    assert (folder.path / "file").read_bytes() == b"new"
    folder.move("file", folder, "docs/new")


@pytest.mark.parametrize(
    "use",
    [
        lambda folder: folder.folder("docs", create=True),
        lambda folder: folder.folder("docs"),
        lambda folder: folder.open("docs/victim"),
        lambda folder: folder.open("docs/new", "wb"),
        lambda folder: folder.open("docs/victim", "wb"),
        lambda folder: folder.move("file", folder, "docs/victim"),
        lambda folder: folder.move("file", folder, "docs/below/new"),
    ],
)
def test_a_folder_that_is_a_link_is_not_entered(folder: Folder, victim: Path, use: Callable[[Folder], Any]) -> None:
    (folder.path / "docs").symlink_to(victim.parent)
    (folder.path / "file").write_bytes(b"new")
    with pytest.raises(Unsafe, match="it is a symbolic link"):
        use(folder)
    as_it_was(victim)


@pytest.mark.parametrize(
    "path", ["..", "../outside/victim", "/etc/passwd", "", ".", "a/../../x", "a//b", "a/\0", "./x"]
)
def test_no_path_leads_out(folder: Folder, victim: Path, path: str) -> None:
    (folder.path / "a").mkdir()
    with pytest.raises(Unsafe), folder.open(path):
        pass
    as_it_was(victim)


def test_the_users_own_link_to_the_folder_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "file").touch()
    (tmp_path / "link").symlink_to("real")
    assert Folder.at(tmp_path / "link").size("file") == 0


def test_a_folder_of_another_user_is_not_used(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder.path / "below").mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(Unsafe, match="another user"):
        Folder.at(folder.path)
    with pytest.raises(Unsafe, match="another user"):
        folder.folder("below")


def test_a_file_of_another_user_is_not_used(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder.path / "file").write_bytes(b"new")
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    for mode in ("rb", "ab"):
        with pytest.raises(Unsafe, match="another user"):
            folder.open("file", mode)
    assert folder.size("file") is None
    assert str(folder.fault("file")).startswith("it belongs to another user")


def test_folders_to_which_any_user_can_write_are_named(folder: Folder) -> None:
    (folder.path / "below").mkdir()
    assert not folder.is_open_to_all
    assert list(folder.walk(2)) == [("below/", None)]
    (folder.path / "below").chmod(0o777)
    assert list(folder.walk(2)) == [("below/", "any user can write to it: `chmod o-w` ends that")]


def test_a_folder_that_is_exchanged_for_a_link_meanwhile_is_still_the_one_that_was_opened(
    tmp_path: Path, victim: Path
) -> None:
    (tmp_path / "folder").mkdir()
    folder = Folder.at(tmp_path / "folder")
    below = folder.folder("below", create=True)
    for swapped in (tmp_path / "folder" / "below", tmp_path / "folder"):
        swapped.rename(tmp_path / f"moved {swapped.name}")
        swapped.symlink_to(victim.parent)
    with below.open("victim", "wb") as out:
        out.write(b"new")
    with open(below.path_of("downloaded"), "wb", opener=opened) as out:
        out.write(b"new")
    folder.folder("more", create=True)
    as_it_was(victim)
    assert {path.name for path in (tmp_path / "moved below").iterdir()} == {"victim", "downloaded"}
    assert (tmp_path / "moved folder" / "more").is_dir()


def test_everything_is_walked_but_what_links_lead_to(folder: Folder, victim: Path) -> None:
    (folder.path / "a" / "b" / "c").mkdir(parents=True)
    (folder.path / "a" / "b" / "file").touch()
    (folder.path / "a" / "empty").mkdir()
    (folder.path / "docs").symlink_to(victim.parent)
    os.mkfifo(folder.path / "fifo")
    assert list(folder.walk(3)) == [
        ("a/b/c", "it is a folder"),
        ("a/b/file", None),
        ("a/b/", None),
        ("a/empty/", None),
        ("a/", None),
        ("docs", "it is a symbolic link"),
        ("fifo", "it is a FIFO"),
    ]


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts descriptors by /proc")  # noqa: PTH112
def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a count
    folder = Folder.at(tmp_path)
    for _ in range(3):
        with folder.folder("a", create=True) as below, below.open("file", "wb"):
            pass
        with pytest.raises(FileNotFoundError):
            folder.open("a/b/c")
    del folder, below
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - a count
