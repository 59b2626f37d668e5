"""Names from a server, as names of files."""

from __future__ import annotations

from pathlib import PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ft_sync import convert
from ft_sync.file_names import file_name, folder_name
from ft_sync.models import FileId, ResultFile
from ft_sync.sinks.run import _file_name
from tests.builders import snapshot, training_file

HOSTILE = (
    st.text()
    | st.from_regex(r"[./\\]{0,5}(con|NUL|com1)?[. ]{0,3}(csv)?", fullmatch=True)
    | st.text("./\\:\x00\u202e~$%", min_size=1)
)


@pytest.mark.parametrize(
    ("served", "named"),
    [
        ("train.jsonl", "train.jsonl"),
        ("my file.csv", "my_file.csv"),
        ("模型.csv", "模型.csv"),
        ("../../etc/passwd", "_.._etc_passwd"),
        ("..", "_"),
        ("C:\\Windows\\x", "C__Windows_x"),
        ("a\x00b\nc", "a_b_c"),
        ("x" * 300 + ".csv", "x" * 56 + ".csv"),
        ("CON", "_CON"),
        ("nul.csv", "_nul.csv"),
        ("results.", "results"),
        ("gnp.\u202egpj", "gnp._gpj"),
    ],
)
def test_a_name_is_one_part_of_a_path(served: str, named: str) -> None:
    assert file_name(served) == named


@given(HOSTILE)
def test_whatever_is_served_stays_in_its_folder(served: str) -> None:
    for name in (file_name(served), folder_name(served), _file_name(training_file(filename=served))):
        for kind in (PurePosixPath, PureWindowsPath):
            assert kind(name).parts == (name,)
            assert kind(name).name == name
        assert name not in {".", ".."}
        assert not name.endswith(".")
        assert len(name.encode()) <= 255


@given(HOSTILE, HOSTILE)
def test_different_ids_have_different_folders(one: str, other: str) -> None:
    assert (folder_name(one) == folder_name(other)) == (one == other)


@given(HOSTILE, HOSTILE)
def test_files_of_a_run_stay_in_their_folder(file_id: str, name: str) -> None:
    record = convert.record(snapshot(result_files=(ResultFile(FileId(file_id), b"", name),)))
    parts = PurePosixPath(record.files[-1].path).parts
    assert parts[:2] == ("fine_tuning", "result_files")
    assert len(parts) == 4
    assert ".." not in parts


def test_a_file_without_a_name_is_called_after_its_id_safely() -> None:
    assert _file_name(training_file("../../file-1", filename=None)) == "_.._file-1"


def test_a_file_cannot_take_the_tables_place_in_any_case() -> None:
    assert _file_name(training_file(filename="TRAIN_DATA.TABLE.JSON")) == "file_TRAIN_DATA.TABLE.JSON"
