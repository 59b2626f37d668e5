"""What must be so of any bytes is so of the sample files, and of those on which it once was not."""

from __future__ import annotations

import pytest

from tests.fuzz.targets import TARGETS, seeds

SEEDS = [(target, seed) for target in TARGETS for seed in seeds(target)]


@pytest.mark.parametrize(("target", "content"), SEEDS, ids=[f"{target}-{n}" for n, (target, _) in enumerate(SEEDS)])
def test_it_is_so_of_the_sample_files(target: str, content: bytes) -> None:
    TARGETS[target](content)


@pytest.mark.parametrize("content", [b'step,"a\nb"\n1,x\n2,nan\n'])
def test_it_is_so_of_result_files_on_which_it_once_was_not(content: bytes) -> None:
    TARGETS["results"](content)
