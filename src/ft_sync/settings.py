"""What can be configured, and where each value comes from: an argument, then the environment, then the default."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from ft_sync.errors import ConfigError


def _environment(*names: str) -> AliasChoices:
    """Name the variables that set a field; the first that is set wins."""
    return AliasChoices(*names)


class Settings(BaseSettings):
    """The settings of one command; keys are not among them, the SDKs read those themselves."""

    model_config = SettingsConfigDict(
        env_ignore_empty=True, validate_by_name=True, validate_by_alias=True, extra="ignore", frozen=True
    )

    project: Annotated[str, Field(min_length=1)] = Field(
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


def load(arguments: dict[str, Any]) -> Settings:
    """Return the settings; arguments that are None leave the choice to the environment and the defaults.

    Raises:
        ConfigError: Naming the flag or the variable that holds the bad value.
    """
    given = {name: value for name, value in arguments.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_context=False)[0]
        place, value = _place(str(problem["loc"][0]), given)
        raise ConfigError(
            f"{place}: {problem['msg']}, not {value!r}", hint="`ftsync sync --help` lists what fits"
        ) from error


def variables(field: str) -> tuple[str, ...]:
    """Return the environment variables that set a field, the strongest first."""
    alias = Settings.model_fields[field].validation_alias
    assert isinstance(alias, AliasChoices)
    return tuple(str(name) for name in alias.choices)


def _place(location: str, given: dict[str, Any]) -> tuple[str, object]:
    """Return where a bad value came from, and the value."""
    field = next(name for name in Settings.model_fields if location in {name, *variables(name)})
    if field in given:
        return f"--{field.replace('_', '-')}", given[field]
    name = next(name for name in variables(field) if os.environ.get(name))
    return name, os.environ[name]
