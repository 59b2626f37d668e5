"""The arguments of `wandb.init`, and what is read back from servers and errors."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from typing import TYPE_CHECKING, Any

import pytest
import wandb

from ft_sync.errors import ConfigError
from ft_sync.models import Mark
from ft_sync.sinks.wandb import (
    NOT_STARTED,
    OTHERS_REFUSED,
    REFUSED_SETTINGS,
    SDK_ERRORS,
    SET_BY_US,
    SETTINGS,
    check_init,
    listed,
    mark_from,
)

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize("key", sorted(SET_BY_US))
def test_what_ftsync_sets_itself_is_refused_with_the_flag_to_use(key: str) -> None:
    with pytest.raises(ConfigError, match=key) as raised:
        check_init({key: "x"})
    assert raised.value.hint == SET_BY_US[key]


def test_an_unknown_argument_names_the_nearest_known_ones() -> None:
    with pytest.raises(ConfigError, match="tgas") as raised:
        check_init({"tgas": ["x"]})
    assert "tags" in (raised.value.hint or "")


@pytest.mark.parametrize(
    "init", [{"tags": ["a"]}, {"notes": "n"}, {"name": "x"}, {"config": {"a": 1}}, {"settings": {"console": "wrap"}}]
)
def test_what_wandb_takes_is_taken(init: dict[str, Any]) -> None:
    check_init(init)


@pytest.mark.parametrize("init", [{"config": "file.yaml"}, {"settings": 3}, {"mode": "disabled"}])
def test_what_would_be_misunderstood_or_write_nothing_is_refused(init: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        check_init(init)


GIVEN: dict[str, object] = {
    "insecure_disable_ssl": True,
    "api_key": "a" * 40,
    "identity_token_file": "token",
    "base_url": "https://elsewhere.example",
    "settings_system": "settings",
    "mode": "online",
    "reinit": "create_new",
    "run_id": "train-7",
    "project": "mine",
    "entity": "lab",
    "resume": "must",
    "resumed": True,
    "resume_from": "a?_step=1",
    "fork_from": "a?_step=1",
    "sweep_id": "abcd",
    "launch": True,
    "config_paths": ("a.yaml",),
    "sagemaker_disable": False,
    "root_dir": "/tmp",
    "x_label": "worker",
    "x_primary": False,
    "x_files_dir": "/tmp",
    "x_sync_dir_suffix": "/../../elsewhere",
    "x_file_stream_max_line_bytes": 100,
    "x_skip_transaction_log": False,
    "x_update_finish_state": False,
}


@pytest.mark.parametrize("key", sorted(GIVEN))
@pytest.mark.parametrize("kind", [dict, wandb.Settings])
def test_what_decides_the_place_or_the_safety_of_a_run_is_no_setting_of_it(key: str, kind: Callable[..., Any]) -> None:
    with pytest.raises(ConfigError, match=key) as raised:
        check_init({"settings": kind(**{key: GIVEN[key]})})
    assert raised.value.hint == REFUSED_SETTINGS.get(key, OTHERS_REFUSED)


@pytest.mark.parametrize("key", ["_label", "_update_finish_state", "_primary", "x_primary_node", "_files_dir"])
def test_a_setting_is_refused_by_whatever_name(key: str) -> None:
    with pytest.raises(ConfigError, match="cannot set"):
        check_init({"settings": {key: "worker" if key in {"_label", "_files_dir"} else False}})


def test_every_setting_is_judged_and_what_only_says_how_wandb_is_reached_is_accepted() -> None:
    accepted = {name for name in wandb.Settings.model_fields if SETTINGS.fullmatch(name)}
    assert {"x_graphql_timeout_seconds", "init_timeout", "http_proxy", "console", "run_group"} <= accepted
    assert not accepted & {*GIVEN, "x_history_value_encoding", "x_server_side_derived_summary", "credentials_file"}


def test_every_argument_that_ftsync_sets_is_one_of_wandbs() -> None:
    assert set(SET_BY_US) <= set(inspect.signature(wandb.init).parameters)


def test_the_private_way_to_log_an_input_offline_still_takes_what_we_give_it() -> None:
    parameters = inspect.signature(wandb.Run._log_artifact).parameters
    assert {"aliases", "is_user_created", "use_after_commit"} <= set(parameters)


@pytest.mark.parametrize("other", [None, "text", 3, [], {}, {"digest": 1, "rows": 2}, {"digest": "d", "rows": "2"}])
def test_anything_else_in_the_marks_place_is_no_mark(other: object) -> None:
    assert mark_from(other) is None


def test_a_mark_is_read_back() -> None:
    assert mark_from({"version": "1", "digest": "d", "rows": 2, "time": "t"}) == Mark("1", "d", 2, "t")


@pytest.mark.parametrize(
    ("init", "words"),
    [
        ({"group": 5}, "group=… needs a text"),
        ({"notes": ["a"]}, "notes=… needs a text"),
        ({"tags": ["a", 5]}, "a tag is a text"),
        ({"tags": [""]}, "a tag is a text"),
        ({"tags": "x" * 65}, "a tag is a text"),
        ({"settings": {"nope": 1}}, "settings=…"),
        ({"settings": {"console": "bad"}}, "settings=…"),
    ],
)
def test_what_would_fail_each_run_is_refused_before_any_is_made(init: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as raised:
        check_init(init)
    assert raised.value.hint


@pytest.mark.parametrize(
    ("init", "origin"),
    [
        ({"tags": ["nightly", "ftsync-replaced"]}, "--init tags=…: the tag ftsync-replaced marks"),
        ({"tags": "ftsync-replaced"}, "--init tags=…: the tag ftsync-replaced marks"),
        ({"tags": [" ftsync-replaced "]}, "--init tags=…: the tag ftsync-replaced marks"),
        ({"tags": ["openai/mine"]}, "--init tags=…: tags that start with openai/"),
        ({"settings": {"run_tags": ["ftsync-replaced"]}}, "--init settings=…: the tag ftsync-replaced marks"),
        ({"settings": wandb.Settings(run_tags=("openai/x",))}, "--init settings=…: tags that start with openai/"),
        ({"config": {"fine_tune_job_id": "mine"}}, "--init config=…: fine_tune_job_id is the key"),
    ],
)
def test_what_ftsync_would_read_as_its_own_is_refused(init: dict[str, Any], origin: str) -> None:
    with pytest.raises(ConfigError) as raised:
        check_init(init)
    assert raised.value.message.startswith(origin)
    assert raised.value.hint


def test_tags_that_only_look_like_it_are_taken() -> None:
    check_init({"tags": ["openai", "ftsync", "replaced", "not-ftsync-replaced"], "config": {"job_id": "mine"}})


def test_one_tag_may_be_a_text() -> None:
    assert (listed("prod"), listed(["a", "b"]), listed(None)) == (("prod",), ("a", "b"), ())


NOT_MET = {
    "NotATerminalError": "nothing is asked of the user",
    "WandbAttachFailedError": "nobody attaches to a run of another process",
    "WandbWarning": "no error",
}
"""Errors of the SDK that no call of ours can raise, and why."""


def test_every_error_class_of_the_sdk_is_one_that_is_translated() -> None:
    found: dict[str, type[BaseException]] = {}
    for package in ("wandb.errors", "wandb.sdk.mailbox", "wandb.sdk.lib.service"):
        home = importlib.import_module(package)
        for module in pkgutil.walk_packages(home.__path__, f"{package}."):
            members = vars(importlib.import_module(module.name)).values()
            found |= {one.__name__: one for one in members if isinstance(one, type) and issubclass(one, Exception)}
    of_the_sdk = {name: one for name, one in found.items() if one.__module__.startswith("wandb")}
    assert "MailboxClosedError" in of_the_sdk
    unknown = {name for name, one in of_the_sdk.items() if not issubclass(one, SDK_ERRORS + NOT_STARTED)}
    assert unknown - NOT_MET.keys() == set()
