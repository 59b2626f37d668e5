"""The settings, and the origin of each value: a flag, the environment, a file or the default; asks no service."""

from __future__ import annotations

import difflib
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import platformdirs
from pydantic import AfterValidator, AliasChoices, Field, ValidationError
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from ft_sync import redaction
from ft_sync.errors import ConfigError
from ft_sync.planning import shard
from ft_sync.providers import Provider
from ft_sync.wandb_files import ignored_settings, user_settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DEFAULT = "default"
"""The origin of a value that was not given."""

SERVER = "WANDB_BASE_URL"
"""The variable with the address of the W&B server."""


def _environment(*names: str) -> AliasChoices:
    """Name the variables that set a field; the first that is set wins."""
    return AliasChoices(*names)


def _a_shard(text: str) -> str:
    """Return the text, if it names a shard."""
    try:
        shard(text)
    except ValueError as error:
        raise PydanticCustomError("shard", str(error)) from error
    return text


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A TOML file that may hold settings, in a table of it or at its top."""

    path: Path
    table: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.path} [{'.'.join(self.table)}]" if self.table else str(self.path)

    def read(self) -> dict[str, Any]:
        """Return the settings in the file; empty if the file does not exist.

        Raises:
            ConfigError: The file cannot be read or holds an unknown setting.
        """
        try:
            found: Any = tomllib.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise ConfigError(f"{self.path} cannot be read: {error}", hint="correct it, or remove it") from error
        for name in self.table:
            found = found.get(name, {}) if isinstance(found, dict) else found
        if not isinstance(found, dict):
            raise ConfigError(f"{self}: not a table", hint="`ftsync config` shows what can be set")
        return {self._setting(key): value for key, value in found.items()}

    def _setting(self, key: str) -> str:
        """Return the setting that a key names; `poll-interval` is `poll_interval`."""
        name = key.replace("-", "_")
        if name in Settings.model_fields:
            return name
        near = difflib.get_close_matches(name, Settings.model_fields, n=1)
        if name.endswith("api_key"):
            hint = "keys are read from the environment, never from a file"
        else:
            hint = f"did you mean {near[0]}?" if near else f"there is {', '.join(Settings.model_fields)}"
        raise ConfigError(f"{self}: {key} is no setting", hint=hint)


def config_files() -> tuple[ConfigFile, ...]:
    """Return the config files, highest precedence first."""
    return (
        ConfigFile(Path.cwd() / "ftsync.toml"),
        ConfigFile(Path.cwd() / "pyproject.toml", ("tool", "ftsync")),
        ConfigFile(platformdirs.user_config_path("ftsync", appauthor=False) / "config.toml"),
    )


class Settings(BaseSettings):
    """The settings of one command; keys are not among them, the SDKs read those themselves."""

    model_config = SettingsConfigDict(validate_by_name=True, validate_by_alias=True, extra="ignore", frozen=True)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources of values, highest precedence first."""
        del env_settings, dotenv_settings, file_secret_settings
        return (
            init_settings,
            # Pydantic's own source would also read the variables PROJECT, MODE, and so on.
            InitSettingsSource(settings_cls, _in_environment()),
            *(InitSettingsSource(settings_cls, file.read()) for file in config_files()),
            InitSettingsSource(settings_cls, _wandb_entity()),
        )

    project: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^/\\#?%:\x00-\x1f]+$")] = Field(
        "OpenAI-Fine-Tune",
        description="W&B project",
        validation_alias=_environment("FTSYNC_PROJECT", "WANDB_PROJECT"),
    )
    entity: str | None = Field(
        None,
        description="W&B user or team; the account's default without it",
        validation_alias=_environment("FTSYNC_ENTITY", "WANDB_ENTITY"),
    )
    mode: Literal["online", "offline"] = Field(
        "online",
        description="write to the server, or to offline run folders",
        validation_alias=_environment("FTSYNC_MODE", "WANDB_MODE"),
    )
    dir: Path | None = Field(
        None,
        description="where wandb makes its `wandb` folder; here without it",
        validation_alias=_environment("FTSYNC_DIR", "WANDB_DIR"),
    )
    provider: Provider | None = Field(
        None,
        description="whom to ask: `openai` (or whoever speaks like it) or `azure`; without it, whose key is set",
        validation_alias=_environment("FTSYNC_PROVIDER"),
    )
    shard: Annotated[str, AfterValidator(_a_shard)] | None = Field(
        None,
        description="take only the I-th of N parts of the selected jobs, as `2/8`",
        validation_alias=_environment("FTSYNC_SHARD"),
    )
    wait: bool = Field(
        default=True, description="wait for unfinished jobs", validation_alias=_environment("FTSYNC_WAIT")
    )
    poll_interval: Annotated[float, Field(gt=0)] = Field(
        60.0,
        description="seconds between asking for unfinished jobs",
        validation_alias=_environment("FTSYNC_POLL_INTERVAL"),
    )
    timeout: Annotated[float, Field(gt=0)] | None = Field(
        None,
        description="seconds to wait at most; for ever without it",
        validation_alias=_environment("FTSYNC_TIMEOUT"),
    )
    concurrency: Annotated[int, Field(ge=1, le=64)] = Field(
        8,
        description="jobs in work at the same time",
        validation_alias=_environment("FTSYNC_CONCURRENCY"),
    )
    log_datasets: bool = Field(
        default=True,
        description="log training and validation files",
        validation_alias=_environment("FTSYNC_LOG_DATASETS"),
    )
    table_rows: Annotated[int, Field(ge=1, le=200_000)] = Field(
        10_000,
        description="examples at most in a dataset's table; W&B cuts run tables there",
        validation_alias=_environment("FTSYNC_TABLE_ROWS"),
    )
    on_native: Literal["enrich", "skip", "replace"] = Field(
        "enrich",
        description="what to do with a run of OpenAI's own integration",
        validation_alias=_environment("FTSYNC_ON_NATIVE"),
    )
    keep_replaced: bool = Field(
        default=False,
        description="tag replaced runs instead of deleting them",
        validation_alias=_environment("FTSYNC_KEEP_REPLACED"),
    )
    model_artifact_name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,128}$")] = Field(
        "model_metadata",
        description="name of the model artifact",
        validation_alias=_environment("FTSYNC_MODEL_ARTIFACT_NAME"),
    )
    model_artifact_type: Annotated[str, Field(min_length=1)] = Field(
        "model",
        description="type of the model artifact",
        validation_alias=_environment("FTSYNC_MODEL_ARTIFACT_TYPE"),
    )


def load(arguments: Mapping[str, Any]) -> Settings:
    """Return the settings; arguments that are None leave the choice to the environment, the files and the defaults.

    Raises:
        ConfigError: Naming the flag, the variable or the file that holds the bad value.
    """
    redaction.learn_environment(os.environ)
    given = {name: value for name, value in arguments.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_context=False)[0]
        location = problem["loc"][0]
        field = next(name for name in Settings.model_fields if location in {name, *variables(name)})
        place, value = next(_given(field, given))
        # A flag or a variable already names the setting; the name of a file does not.
        where = place if place in {_flag(field), *variables(field)} else f"{place}: {field}"
        raise ConfigError(
            f"{where}: {problem['msg']}, not {value!r}", hint="`ftsync sync --help` lists what fits"
        ) from error


def origins(arguments: Mapping[str, Any] | None = None) -> dict[str, str]:
    """Return where the value of each setting comes from, given the flags; those that are None do not count."""
    given = {name: value for name, value in (arguments or {}).items() if value is not None}
    return {name: next((place for place, _ in _given(name, given)), DEFAULT) for name in Settings.model_fields}


def server() -> tuple[str | None, str]:
    """Return the address of the W&B server and where it comes from; None for the SDK's default.

    A file in the working directory cannot name it: the API key goes there.
    """
    file = user_settings(os.environ)
    if address := os.environ.get(SERVER, "").strip():
        return address, SERVER
    return (file.values["base_url"], str(file.path)) if "base_url" in file.values else (None, DEFAULT)


def ignored() -> str | None:
    """Return the SDK's settings file in the working directory, if it names a place for runs; it does not count."""
    here = Path.cwd()
    if (file := ignored_settings(here)) is None:
        return None
    named = ", ".join(f"{key} {value}" for key, value in file.values.items())
    return f"./{file.path.relative_to(here).as_posix()} ({named})"


def _in_environment() -> dict[str, str]:
    """Return the value of each setting that a variable sets; an empty one is not set."""
    found = {
        field: [os.environ[name] for name in variables(field) if os.environ.get(name)]
        for field in Settings.model_fields
    }
    return {field: values[0] for field, values in found.items() if values}


def _wandb_entity() -> dict[str, str]:
    """Return the entity in the user's own settings file of the SDK, if there is one."""
    values = user_settings(os.environ).values
    return {"entity": values["entity"]} if values.get("entity") else {}


def variables(field: str) -> tuple[str, ...]:
    """Return the environment variables that set a field, highest precedence first."""
    alias = Settings.model_fields[field].validation_alias
    assert isinstance(alias, AliasChoices)
    return tuple(str(name) for name in alias.choices)


def _flag(field: str) -> str:
    return f"--{field.replace('_', '-')}"


def _given(field: str, arguments: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """Yield (origin, value) for each value given for a setting, highest precedence first."""
    if field in arguments:
        yield _flag(field), arguments[field]
    for name in variables(field):
        if os.environ.get(name):
            yield name, os.environ[name]
    for file in config_files():
        held = file.read()
        if field in held:
            yield str(file), held[field]
    if field in (held := _wandb_entity()):
        yield str(user_settings(os.environ).path), held[field]
