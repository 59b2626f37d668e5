"""The command line: the Typer app, and the one place where an error becomes an exit code."""

import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from typer.core import TyperGroup
from typer.main import get_command

from ft_sync import __version__, redaction
from ft_sync.cli import exits, interrupts, render
from ft_sync.cli.archive import archive
from ft_sync.cli.config import config
from ft_sync.cli.demo import demo
from ft_sync.cli.doctor import doctor
from ft_sync.cli.list import list_jobs
from ft_sync.cli.report import report
from ft_sync.cli.schema import schema
from ft_sync.cli.status import status
from ft_sync.cli.sync import RESYNC_HELP, sync
from ft_sync.cli.verify import verify
from ft_sync.errors import ConfigError, FtSyncError, Stopped, unexpected

COMPLETING = "_FTSYNC_COMPLETE"
"""Environment variable that the shell sets when it asks for completions."""

CARRY_ON = "run the same command again to carry on"

app = typer.Typer(
    name="ftsync",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # Rich's tables cut long flags at 80 columns, and importing Rich doubles the startup time
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=exits.EPILOG,
)
app.command("sync", epilog=exits.EPILOG)(sync)
app.command("resync", epilog=exits.EPILOG, help=RESYNC_HELP)(sync)
app.command("verify", epilog=exits.EPILOG)(verify)
app.command("list", epilog=exits.EPILOG)(list_jobs)
app.command("status", epilog=exits.EPILOG)(status)
app.command("report", epilog=exits.EPILOG)(report)
app.command("archive", epilog=exits.EPILOG)(archive)
app.command("config", epilog=exits.EPILOG)(config)
app.command("doctor", epilog=exits.EPILOG)(doctor)
app.command("schema", epilog=exits.EPILOG)(schema)
app.command("demo", epilog=exits.EPILOG)(demo)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run ftsync and exit; the entry point of the console script."""
    interrupts.handle()
    sys.exit(run(sys.argv[1:] if arguments is None else [*arguments]))


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code."""
    arguments = arguments or ["--help"]
    debug = "--debug" in arguments
    redaction.learn_environment(os.environ)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as for stderr: a pipe's encoding may lack characters
    failure: FtSyncError
    try:
        code = _command()(arguments, prog_name="ftsync", standalone_mode=False)
    except typer.TyperException as error:
        failure = _usage_error(error)
    except FtSyncError as error:
        failure = error
    except Exception as error:  # noqa: BLE001 - the boundary of the process
        failure = unexpected(error)
    else:
        if code == exits.INTERRUPTED:
            return _report(Stopped("interrupted", hint=CARRY_ON), arguments)
        return code or exits.DONE
    if debug:
        render.trace(failure)
    return _report(failure, arguments)


def _command() -> TyperGroup:
    """Return the command group with all commands.

    To complete a line, the values on it are not needed; parsing them would import pydantic, which takes longer than
    everything else. Rich is slow to import, too, and with it Typer would render descriptions as markup, although those
    of jobs come from a server.
    """
    group = get_command(app)
    assert isinstance(group, TyperGroup)
    if COMPLETING in os.environ:
        sys.modules["rich"] = None  # type: ignore[assignment]  # makes `import rich` fail
        for command in (group, *group.commands.values()):
            for parameter in command.get_params(typer.Context(command)):
                parameter.process_value = _as_given  # type: ignore[method-assign, assignment]
    return group


def _as_given(_context: object, value: object) -> object:
    return value


def _usage_error(error: typer.TyperException) -> ConfigError:
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "ftsync"
    message = error.format_message().replace(": Value error, ", ": ")  # pydantic's prefix
    hint = f"`{command} --help` lists what fits"
    # `ftsync status JOB` takes ids as arguments, so users try that with other commands, too.
    if "unexpected extra argument" in message and context and any(one.name == "job" for one in context.command.params):
        hint = f"jobs are named by --job: `{command} --job ID`"
    return ConfigError(message.rstrip("."), hint=hint)


def _report(error: FtSyncError, arguments: Sequence[str]) -> int:
    """Print what went wrong and what to do next; return the exit code."""
    ending = exits.ending(error)
    # Looked up in the raw arguments, since the error may be that they cannot be parsed.
    if "--json" in arguments or "--jsonl" in arguments:
        render.document({"error": exits.described(error)}, as_line="--jsonl" in arguments)
    if isinstance(error, Stopped):
        render.tell("; ".join(filter(None, (error.message, error.hint))))
        return ending.exit_code
    render.tell(f"ftsync: {ending.title}: {error.message}")
    if error.hint:
        render.tell(f"  next: {error.hint}")
    return ending.exit_code


def _version(value: bool) -> None:
    if value:
        render.emit(f"ftsync {__version__}\n")
        raise typer.Exit


def _read_variables(path: Path | None) -> None:
    """Set variables that are missing from the environment from the file `--env-file`; without it, read no file."""
    if path is None:
        return
    from dotenv import load_dotenv  # noqa: PLC0415 - rarely needed

    try:
        with path.open(encoding="utf-8") as variables:
            load_dotenv(stream=variables, override=False)
    except (OSError, ValueError) as error:
        hint = "name a file of lines NAME=value"
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"--env-file {path} cannot be read: {reason}", hint=hint) from error


@app.callback()
def _root(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    env_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            envvar="FTSYNC_ENV_FILE",
            show_envvar=False,
            callback=_read_variables,
            help="Read variables that are not set from this file, such as .env (env FTSYNC_ENV_FILE).",
        ),
    ] = None,
) -> None:
    """Carry OpenAI fine-tuning jobs into Weights & Biases, complete and checked."""
