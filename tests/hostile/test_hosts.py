"""The W&B key goes to the host that the user has chosen, and never to one that a working directory names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import ft_sync
from ft_sync.sandbox import samples
from tests.wandb_backend import serving

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ft_sync.sandbox import World
    from tests.cli.conftest import Ftsync
    from tests.wandb_backend import WandbBackend

TRAPS: Mapping[str, Mapping[str, str]] = {
    "settings": {"wandb/settings": "[default]\nbase_url = {evil}\n"},
    "settings in the other folder": {".wandb/settings": "[default]\nbase_url = {evil}\n", ".wandb/x": ""},
    "a proxy": {"wandb/settings": "[default]\nhttp_proxy = {evil}\nhttps_proxy = {evil}\n"},
    "settings with an invalid line": {"wandb/settings": "[default]\nbase_url = {evil}\nmode = sometimes\n"},
    "settings that cannot be parsed": {"wandb/settings": "[default]\nbase_url = {evil}\n[default]\n=\n"},
    "a key and an app": {"wandb/settings": "[default]\napi_key = {key}\napp_url_override = {evil}\n"},
    "an environment file": {".env": "WANDB_BASE_URL={evil}\nWANDB_HTTP_PROXY={evil}\n"},
    "where wandb keeps its runs": {"elsewhere/wandb/settings": "[default]\nbase_url = {evil}\n"},
    "names that only look like home": {".config/wandb/settings": "[default]\nbase_url = {evil}\n", ".netrc": "{evil}"},
}

COMMANDS = (("list",), ("sync",), ("verify",), ("status",), ("doctor", "-q"))


@pytest.fixture(scope="module")
def evil() -> Iterator[WandbBackend]:
    """A second W&B server, which the user has not chosen."""
    with serving() as server:
        yield server


@pytest.fixture
def _trapped(
    workspace: Path, world: World, backend: WandbBackend, evil: WandbBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The user has chosen the server in their own settings file, as `wandb login --host` does."""
    world.add(*samples.many(2))
    evil.requests.clear()
    monkeypatch.delenv("WANDB_BASE_URL")
    own = workspace.parent / "own"
    own.mkdir()
    (own / "settings").write_text(f"[default]\nbase_url = {backend.url}\n")
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(own))


def put(trap: Mapping[str, str], folder: Path, evil: WandbBackend) -> None:
    for path, text in trap.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text.format(evil=evil.url, key="b" * 40))


@pytest.mark.usefixtures("_trapped")
@pytest.mark.parametrize("name", TRAPS)
def test_no_command_asks_a_host_that_the_working_directory_names(
    name: str, ftsync: Ftsync, backend: WandbBackend, evil: WandbBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(TRAPS[name], Path.cwd(), evil)
    if name == "where wandb keeps its runs":
        monkeypatch.setenv("WANDB_DIR", str(Path.cwd() / "elsewhere"))
    codes = {command[0]: ftsync(*command).code for command in COMMANDS}
    assert codes == {"list": 0, "sync": 0, "verify": 0, "status": 0, "doctor": 0}
    assert evil.requests == []
    assert backend.count("UpsertBucket") > 0


@pytest.mark.usefixtures("_trapped")
def test_the_library_and_the_drop_in_do_not_either(evil: WandbBackend, project: str) -> None:
    put(TRAPS["settings"], Path.cwd(), evil)
    assert len(ft_sync.sync(num_fine_tunes=1).synced) == 1
    ft_sync.WandbLogger.sync(project=project)
    assert evil.requests == []


@pytest.mark.usefixtures("_trapped")
def test_the_place_that_is_not_read_is_named(ftsync: Ftsync, evil: WandbBackend) -> None:
    put(TRAPS["settings"], Path.cwd(), evil)
    first, second, *_ = ftsync("sync").err.splitlines()
    assert first.startswith("into ")
    assert second.endswith(
        f"wandb/settings (base_url {evil.url}) is not read: --entity and --project say where runs go"
    )


@pytest.mark.usefixtures("_trapped")
@pytest.mark.parametrize("key", ["base-url", "wandb_server", "wandb-base-url", "openai-base-url"])
def test_a_file_of_ftsync_cannot_name_a_host(key: str, ftsync: Ftsync, evil: WandbBackend) -> None:
    (Path.cwd() / "ftsync.toml").write_text(f'{key} = "{evil.url}"\n')
    said = ftsync("list")
    assert (said.code, evil.requests) == (2, [])
    assert key in said.err


@pytest.mark.usefixtures("_trapped")
@pytest.mark.parametrize(
    "text", ["[default]\nbase_url = {backend}\nbase_url", "[default]\nbase_url = nowhere\n", "\x00["]
)
def test_a_damaged_settings_file_of_the_users_own_is_an_error_before_anything_is_asked(
    text: str, ftsync: Ftsync, backend: WandbBackend, evil: WandbBackend
) -> None:
    (Path.cwd().parent / "own" / "settings").write_text(text.format(backend=backend.url))
    for command in COMMANDS[:4]:
        said = ftsync(*command)
        assert said.code == 2
        assert "own/settings" in said.err
    assert (backend.requests, evil.requests) == ([], [])
