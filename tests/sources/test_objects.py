"""Answers of a service as JSON: what is nested too deeply or too large a number is left out, and nothing else."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given

from ft_sync.models import TOO_DEEP, Failed, JobId
from ft_sync.sources import objects
from ft_sync.sources.objects import DEEPEST, job_from, listed_from, parse
from tests.hostile.mutations import JSON, nested


@given(JSON)
def test_ordinary_json_is_read_as_it_is(value: object) -> None:
    text = json.dumps(value)
    assert repr(parse(text.encode())) == repr(json.loads(text))


@pytest.mark.parametrize("depth", [DEEPEST + 1, 2_000, 200_000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('[{"]": "[\\"{", "a":', "}]")])
def test_what_is_nested_too_deeply_is_left_out_and_what_is_beside_it_stays(
    depth: int, opening: str, closing: str
) -> None:
    text = f'{{"before": "[[{{", "deep": {opening * depth}1{closing * depth}, "after": [{{"x": 1}}]}}'
    found = parse(text.encode())
    assert (found["before"], found["after"]) == ("[[{", [{"x": 1}])
    assert TOO_DEEP in json.dumps(found["deep"])


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le"])
def test_nesting_is_limited_in_every_encoding_of_json(encoding: str) -> None:
    text = f'{{"a": "é∀[", "deep": {"[" * 100_000}1{"]" * 100_000}, "after": "∀"}}'
    found = parse(text.encode(encoding))
    assert (found["a"], found["after"]) == ("é∀[", "∀")
    assert TOO_DEEP in json.dumps(found["deep"])


def test_what_python_cannot_nest_is_no_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "DEEPEST", 10**6)
    with pytest.raises(ValueError, match="nested too deeply"):
        parse(b"[" * 100_000 + b"]" * 100_000)


def test_what_is_nested_just_so_deeply_stays() -> None:
    deepest = nested(DEEPEST - 1)
    assert parse(json.dumps([deepest[0], *[[]] * 10]).encode())[0] == deepest[0]


@pytest.mark.parametrize("text", ["[" * 2_000, "[" * 2_000 + "]" * 1_999, '["' + "[" * 200, "]" * 200 + "[" * 200])
def test_what_does_not_end_is_no_json(text: str) -> None:
    with pytest.raises(ValueError, match=r"Expecting|Unterminated|Extra"):
        parse(text.encode())


def test_a_string_that_does_not_end_is_passed_over_once() -> None:
    text = '{"data":' + "[" * (DEEPEST + 1) + '"' + '\\"' * 100_000
    assert len(objects._TOKEN.findall(text)) == DEEPEST + 4
    with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
        parse(text.encode())


def test_a_number_is_read_however_long() -> None:
    exact, large, small, huge = parse(f"[{2**200}, {'9' * 5_000}, -{'9' * 5_000}, 1e400]".encode())
    assert (exact, large, small, huge) == (2**200, math.inf, -math.inf, math.inf)


@pytest.mark.parametrize("value", [2**63, -(2**70), 1e300, math.inf, math.nan, 1.5, True, "7"])
def test_what_is_no_whole_number_of_an_ordinary_size_is_unknown(value: object) -> None:
    assert job_from({"id": "ftjob-1", "seed": value}).seed is None


def test_a_file_that_is_named_twice_is_one() -> None:
    assert job_from({"id": "ftjob-1", "result_files": ["a", "b", "a"]}).result_files == ("a", "b")


def test_a_job_that_cannot_be_read_is_named_by_its_place_and_what_is_known_of_it() -> None:
    failed = listed_from({"id": None, "model": "gpt-4.1", "created_at": 1_760_000_000}, 7)
    assert isinstance(failed, Failed)
    assert failed.job_id == JobId("no. 7 of the list")
    assert "created_at 1760000000, model gpt-4.1" in failed.error.message
