"""Ids of a server as names in W&B: taken by it as they are, and never two ids under one name."""

from __future__ import annotations

import re

import pytest
import wandb
from hypothesis import given
from hypothesis import strategies as st
from wandb.sdk.artifacts._validators import validate_aliases, validate_artifact_name

from ft_sync.models import FileId, JobId, TrainingFile
from ft_sync.names import alias, dataset_name, display_name, first_of, revision_of, run_id, safe

IDS = st.one_of(
    st.text(min_size=1),
    st.text(alphabet="ab./:r2-_é\n", min_size=1, max_size=6),
    st.sampled_from(["latest", "v1", "..", "a-r2", " a", "x" * 10_000, "ft:gpt-4.1:org::x", safe("a/b")]),
)


@pytest.mark.parametrize("served", ["ftjob-abc123", "ft-AbC", "file-1", "0f8c-11aa_b", "gpt-4.1", "x" * 100])
def test_an_ordinary_id_stays_as_it_is(served: str) -> None:
    assert (run_id(JobId(served)), alias(served)) == (served, served)


@pytest.mark.parametrize("taken", ["latest", "v0", "v12", "ftjob-1-r2", safe("a/b")])
def test_an_id_that_means_something_already_gets_another_name(taken: str) -> None:
    assert safe(taken) != taken


@given(IDS)
def test_wandb_takes_whatever_is_served(served: str) -> None:
    for revision in (1, 2, 100_000):
        wandb.Settings(run_id=run_id(JobId(served), revision))
        assert len(run_id(JobId(served), revision)) <= 128
    validate_artifact_name(dataset_name(TrainingFile(FileId(served), "valid")))
    validate_aliases(alias(served))
    assert re.fullmatch(r"[\w.-]{1,128}", alias(served), re.ASCII)
    assert len(display_name(JobId(served))) <= 128


@given(IDS, IDS)
def test_different_ids_never_share_a_name(one: str, other: str) -> None:
    assert (safe(one) == safe(other)) == (one == other)


@given(IDS, st.integers(1, 10**6), IDS)
def test_no_revision_of_a_job_is_a_run_of_another(one: str, revision: int, other: str) -> None:
    run = run_id(JobId(one), revision)
    assert (first_of(run), revision_of(run)) == (run_id(JobId(one)), revision)
    assert (run == run_id(JobId(other))) == (one == other and revision == 1)
