from __future__ import annotations

import os
import tempfile
from importlib import metadata
from pathlib import Path

import pytest

from ft_sync import machine, scratch
from ft_sync._version import __version__
from ft_sync.diagnosis import Concern
from ft_sync.errors import ConfigError, DiskError


@pytest.fixture
def own_temp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for temporary files that no other test uses."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def read_only(tmp_path: Path) -> Path:
    """A folder in which nobody can make a file, not even root."""
    if os.name != "posix":
        pytest.skip("permissions of POSIX")
    folder = tmp_path / "read-only"
    folder.mkdir(mode=0o500)
    if os.access(folder, os.W_OK):  # the super-user's
        folder = Path("/proc/self")
    return folder


def test_this_python_and_these_packages_fit() -> None:
    assert str(machine.python()).startswith("Python 3.")
    assert machine.packages() == (
        f"ftsync {__version__}, openai {metadata.version('openai')}, wandb {metadata.version('wandb')}"
    )


def test_an_older_python_does_not_fit() -> None:
    with pytest.raises(ConfigError, match=r"Python 3\.10\.4, and ftsync needs >=3\.11"):
        machine.python("3.10.4")
    assert machine.python("3.15.0rc1") == "Python 3.15.0rc1"


@pytest.mark.parametrize(
    ("requirement", "sentence"),
    [
        ("pytest<1", rf"pytest {metadata.version('pytest')}, needed is pytest<1"),
        ("no-such-package>=2", "no-such-package is missing, needed is no-such-package>=2"),
    ],
)
def test_a_package_that_does_not_fit_is_named(requirement: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        machine.packages([requirement])


@pytest.mark.parametrize("requirement", ["pytest", "none-such; extra == 'azure'", "nor-this; python_version < '3'"])
def test_what_an_installation_can_do_without_is_not_missed(requirement: str) -> None:
    assert str(machine.packages([requirement])).startswith("ftsync ")


def test_a_folder_with_room_is_ok_and_one_with_little_a_warning(tmp_path: Path) -> None:
    assert machine.roomy(tmp_path, "go away", lambda _: 3 << 30) == f"{tmp_path} can be written to, 3.0 GiB are free"
    assert machine.roomy(tmp_path, "go away", lambda _: (1 << 30) - 1) == Concern(
        f"{tmp_path} has only 1024 MiB free", hint="make room, or go away"
    )
    assert machine.roomy(tmp_path, "go away", lambda _: 0) == Concern(
        f"{tmp_path} has only 0 MiB free", hint="make room, or go away"
    )
    assert list(tmp_path.iterdir()) == []


def test_the_room_is_that_of_the_disk(tmp_path: Path) -> None:
    assert 0 < machine.free_bytes(tmp_path) < 1 << 60


def test_a_folder_that_will_be_made_is_judged_by_the_one_above_it(tmp_path: Path) -> None:
    assert str(machine.wandb_folder(tmp_path / "a" / "b")).startswith(f"{tmp_path / 'a' / 'b'} can be written to")


def test_a_folder_that_cannot_be_written_to_fails(read_only: Path) -> None:
    with pytest.raises(DiskError, match="cannot be written to") as caught:
        machine.wandb_folder(read_only)
    assert "WANDB_DIR" in str(caught.value.hint)


def test_temporary_files_need_a_folder_that_is_ones_own(own_temp: Path) -> None:
    assert str(machine.temporary_folder()).startswith(f"{own_temp} can be written to")
    if os.name == "posix":
        scratch.locks().chmod(0o777)
        with pytest.raises(ConfigError, match="not yours alone"):
            machine.temporary_folder()


@pytest.mark.skipif(os.name != "posix", reason="HOME of POSIX")
def test_a_home_that_cannot_be_written_to_is_a_warning(
    own_temp: Path, read_only: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(own_temp))
    assert machine.home() == "the home folder can be written to"
    monkeypatch.setenv("HOME", str(read_only))
    found = machine.home()
    assert isinstance(found, Concern)
    assert "WANDB_API_KEY" in str(found.hint)
