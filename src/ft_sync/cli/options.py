"""The options that several commands share, and how their values are read."""

import json
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ft_sync.cli import suggestions
from ft_sync.errors import ConfigError

RUN_PANEL = "What is logged"
WAIT_PANEL = "Waiting"
OUTPUT_PANEL = "Output"

TEXTS = frozenset({"dir", "group", "job_type", "mode", "name", "notes"})
"""Arguments of `wandb.init` that are always strings, even if they look like numbers."""

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}


def duration(text: str) -> float:
    """Read a number of seconds, or one with a unit: `90`, `90s`, `5m`, `1.5h`."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*([smh]?)", text.strip())
    if match is None:
        raise typer.BadParameter(f"{text!r} is no duration; give seconds, or 30s, 5m, 2h")
    return float(match[1]) * _UNITS[match[2]]


Jobs = Annotated[
    list[str] | None,
    typer.Option(
        "--job",
        metavar="ID",
        help="This job; repeat it for several; - reads ids from stdin, one a line. Without it: every job.",
        autocompletion=suggestions.jobs,
    ),
]
Last = Annotated[int | None, typer.Option(min=1, metavar="N", help="The N newest jobs.", show_default=False)]
Shard = Annotated[
    str | None,
    typer.Option(
        "--shard",
        metavar="I/N",
        help="Of these jobs only the I-th of N parts, such as 2/8; the ids decide (env FTSYNC_SHARD).",
        show_default=False,
    ),
]
Provider = Annotated[
    Literal["openai", "azure"] | None,
    typer.Option(
        help="Whom to ask: OpenAI (or whoever speaks like it, see OPENAI_BASE_URL), or Azure OpenAI "
        "(default: whose key is set; env FTSYNC_PROVIDER).",
        show_default=False,
    ),
]
Project = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="W&B project (default OpenAI-Fine-Tune; env FTSYNC_PROJECT, WANDB_PROJECT).",
        autocompletion=suggestions.projects,
    ),
]
Entity = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="W&B user or team (default the account's own; env FTSYNC_ENTITY, WANDB_ENTITY).",
        autocompletion=suggestions.entities,
    ),
]
Offline = Annotated[
    bool,
    typer.Option("--offline", help="Runs are folders in ./wandb (like env FTSYNC_MODE=offline, WANDB_MODE=offline)."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Write again what is already complete.")]
IncludeUnsuccessful = Annotated[
    bool, typer.Option("--include-unsuccessful", help="Bring failed and cancelled jobs, too, as failed runs.")
]
Repair = Annotated[bool, typer.Option("--repair", help="Write again what is missing or differs, and verify that anew.")]
Content = Annotated[
    bool,
    typer.Option(
        "--content/--no-content",
        help="Read the stored bytes of training and validation files and their tables, or take W&B's word for them.",
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be done and why; write nothing.")]
Wait = Annotated[
    bool | None,
    typer.Option(
        "--wait/--no-wait",
        help="Wait for unfinished jobs, or skip them (default wait; env FTSYNC_WAIT).",
        show_default=False,
        rich_help_panel=WAIT_PANEL,
    ),
]
PollInterval = Annotated[
    float | None,
    typer.Option(
        parser=duration,
        metavar="SECONDS",
        help="Ask for unfinished jobs this often; also 30s, 5m, 2h (default 60; env FTSYNC_POLL_INTERVAL).",
        rich_help_panel=WAIT_PANEL,
    ),
]
Timeout = Annotated[
    float | None,
    typer.Option(
        parser=duration,
        metavar="SECONDS",
        help="Wait at most this long (default for ever; env FTSYNC_TIMEOUT).",
        rich_help_panel=WAIT_PANEL,
    ),
]
Watch = Annotated[
    bool,
    typer.Option(
        "--watch",
        help="Go on for ever: take on new jobs as they come. Ctrl-C or SIGTERM ends it.",
        rich_help_panel=WAIT_PANEL,
    ),
]
Concurrency = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=64,
        metavar="N",
        help="Jobs in work at the same time (default 8; env FTSYNC_CONCURRENCY).",
        show_default=False,
    ),
]
FromArchive = Annotated[
    Path | None,
    typer.Option(
        "--from-archive",
        metavar="DIR",
        help="Take the jobs from this archive instead of from OpenAI; see `ftsync archive`.",
        show_default=False,
    ),
]
LogDatasets = Annotated[
    bool | None,
    typer.Option(
        "--log-datasets/--no-log-datasets",
        help="Log training and validation files (default log; env FTSYNC_LOG_DATASETS).",
        show_default=False,
        rich_help_panel=RUN_PANEL,
    ),
]
TableRows = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=200_000,
        metavar="N",
        help="Examples at most in a dataset's table (default 10000; env FTSYNC_TABLE_ROWS).",
        show_default=False,
        rich_help_panel=RUN_PANEL,
    ),
]
OnNative = Annotated[
    Literal["enrich", "skip", "replace"] | None,
    typer.Option(
        help="What to do with a run of OpenAI's own integration: add what it lacks and leave its history, leave it, "
        "or replace it (default enrich; env FTSYNC_ON_NATIVE).",
        show_default=False,
    ),
]
KeepReplaced = Annotated[
    bool | None,
    typer.Option(
        "--keep-replaced/--delete-replaced",
        help="Tag replaced runs ftsync-replaced, or delete them (default delete; env FTSYNC_KEEP_REPLACED).",
        show_default=False,
    ),
]
Link = Annotated[
    list[str] | None,
    typer.Option(
        "--link",
        metavar="REGISTRY/COLLECTION",
        help="Link the model artifacts there, also of jobs that are synced already; repeatable.",
        rich_help_panel=RUN_PANEL,
    ),
]
LinkAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--link-alias",
        metavar="NAME",
        help="Alias of the linked version, e.g. production; repeatable.",
        rich_help_panel=RUN_PANEL,
    ),
]
ModelArtifactName = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Name of the model artifact (default model_metadata; env FTSYNC_MODEL_ARTIFACT_NAME).",
        rich_help_panel=RUN_PANEL,
    ),
]
ModelArtifactType = Annotated[
    str | None,
    typer.Option(
        metavar="TYPE",
        help="Type of the model artifact (default model; env FTSYNC_MODEL_ARTIFACT_TYPE).",
        rich_help_panel=RUN_PANEL,
    ),
]
Init = Annotated[
    list[str] | None,
    typer.Option(
        "--init",
        metavar="KEY=VALUE",
        help="Argument of wandb.init, e.g. group=nightly; JSON if it parses as JSON, else text; repeatable.",
        autocompletion=suggestions.init_keys,
        rich_help_panel=RUN_PANEL,
    ),
]

Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.", rich_help_panel=OUTPUT_PANEL)]
Jsonl = Annotated[
    bool,
    typer.Option("--jsonl", help="One JSON object a line on stdout, as things happen.", rich_help_panel=OUTPUT_PANEL),
]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Ids alone on stdout, no progress.", rich_help_panel=OUTPUT_PANEL)
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say more on stderr.", rich_help_panel=OUTPUT_PANEL)]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of errors.", rich_help_panel=OUTPUT_PANEL)]
NoColor = Annotated[
    bool, typer.Option("--no-color", help="No colours (like env NO_COLOR).", rich_help_panel=OUTPUT_PANEL)
]


@dataclass(frozen=True, slots=True)
class Output:
    """The output options, the same for every command."""

    json: bool = False
    quiet: bool = False
    verbose: bool = False
    debug: bool = False
    color: bool = True
    jsonl: bool = False

    def __post_init__(self) -> None:
        if self.json and self.jsonl:
            raise ConfigError("--json and --jsonl exclude each other", hint="give one of them")

    @property
    def is_json(self) -> bool:
        """Whether stdout is JSON: one document (`--json`) or lines (`--jsonl`)."""
        return self.json or self.jsonl

    @property
    def tells(self) -> bool:
        """Whether stderr may show more than errors."""
        return not (self.quiet or self.jsonl)


def job_ids(given: Iterable[str]) -> list[str]:
    """Return the named jobs without duplicates; `-` stands for ids on stdin, one per line."""
    ids: dict[str, None] = {}
    for value in given:
        named = _texts(sys.stdin or () if value == "-" else [value])  # None if the parent process closed stdin
        if value != "-" and not named[0]:
            raise ConfigError("--job: the id is empty", hint="`ftsync list -q` prints the ids of your jobs")
        ids |= dict.fromkeys(job_id for job_id in named if job_id)
    return list(ids)


def _texts(given: Iterable[str]) -> list[str]:
    """Return the values stripped of whitespace, after checking that they are text rather than binary data."""
    try:
        texts = [text.strip() for text in given]
        "".join(texts).encode()
    except UnicodeError as error:
        raise ConfigError(f"an id is no UTF-8 text: {error}", hint="`ftsync list -q` prints ids, one a line") from error
    return texts


def init_arguments(given: Iterable[str], *, offline: bool) -> dict[str, Any]:
    """Return the arguments of `wandb.init`; `--offline` is one of them."""
    arguments: dict[str, Any] = {}
    for item in given:
        key, equals, value = item.partition("=")
        if not equals or not key:
            raise ConfigError(f"--init {item}: not KEY=VALUE", hint="for example --init group=nightly")
        try:
            arguments[key] = json.loads(value)
        except json.JSONDecodeError:
            arguments[key] = value
        if key in TEXTS and not isinstance(arguments[key], str):
            arguments[key] = value  # a group's name may look like a number: 20261127
    if offline and arguments.setdefault("mode", "offline") != "offline":
        raise ConfigError(f"--offline and --init mode={arguments['mode']} exclude each other", hint="give one of them")
    return arguments
