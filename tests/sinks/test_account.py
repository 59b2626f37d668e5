"""The W&B account, looked at through the real SDK: who one is, and how soon it is known that nobody answers."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from ft_sync.diagnosis import Owner
from ft_sync.errors import AuthError, NotLoggedIn, Unavailable
from ft_sync.sinks.account import WandbAccount
from tests.wandb_backend.mutations import MUTATION

if TYPE_CHECKING:
    from pathlib import Path

    from tests.wandb_backend import WandbBackend


@pytest.fixture
def account(workspace: Path) -> WandbAccount:
    assert workspace.is_dir()
    return WandbAccount(os.environ, seconds=0.5)


def test_it_says_whose_the_key_is_and_where_it_comes_from(account: WandbAccount, backend: WandbBackend) -> None:
    assert account.login() == "WANDB_API_KEY"
    store = backend.store
    assert account.owner() == Owner(
        store.user, store.user, (store.user, store.team), is_admin=False, server=backend.url
    )


def test_a_stored_login_is_found(
    account: WandbAccount, backend: WandbBackend, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = workspace / "netrc"
    netrc.write_text(f"machine {backend.url.removeprefix('http://')}\n  login user\n  password {backend.api_key}\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.delenv("WANDB_API_KEY")
    assert account.login() == "as `wandb login` has stored it"
    assert account.owner().name == backend.store.user


def test_without_a_key_nobody_is_asked(
    account: WandbAccount, backend: WandbBackend, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_API_KEY")
    monkeypatch.setenv("NETRC", str(workspace / "none"))
    with pytest.raises(NotLoggedIn):
        account.login()
    assert backend.requests == []


def test_a_project_is_there_or_not(account: WandbAccount, backend: WandbBackend, project: str) -> None:
    backend.store.make_project(backend.store.user, project)
    account.login()
    account.owner()
    assert account.has_project(backend.store.user, project)
    assert not account.has_project(backend.store.user, "another")


def test_nothing_is_written(account: WandbAccount, backend: WandbBackend, workspace: Path) -> None:
    account.login()
    account.owner()
    account.has_project(backend.store.user, "another")
    roots = {root for request in backend.requests for root in request.roots}
    assert roots
    assert not roots & MUTATION.keys()
    assert list(workspace.iterdir()) == []


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_is_an_answer(status: int, account: WandbAccount, backend: WandbBackend) -> None:
    backend.fail("*", status=status)
    account.login()
    with pytest.raises(AuthError):
        account.owner()
    assert backend.count("*") == 1


@pytest.mark.parametrize("failure", [{"status": 500}, {"drop": True}, {"delay": 60.0}])
def test_a_server_that_fails_is_asked_twice_and_given_up(
    failure: dict[str, float], account: WandbAccount, backend: WandbBackend
) -> None:
    backend.fail("*", **failure)  # type: ignore[arg-type]
    account.login()
    began = time.monotonic()
    with pytest.raises(Unavailable):
        account.owner()
    assert time.monotonic() - began < 50
    assert backend.count("*") == 2
