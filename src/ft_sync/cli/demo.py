"""`ftsync demo`: runs a real sync against a local server with sample jobs."""

import os
import shlex
import shutil
import signal
import sys
import threading
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ft_sync.cli import options, render
from ft_sync.cli.options import Output
from ft_sync.cli.sync import carry_out, show
from ft_sync.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ft_sync.models import SyncReport
    from ft_sync.sandbox import Sandbox

POLL_INTERVAL = 2.0
TIMEOUT = 60.0


def demo(  # noqa: PLR0913 - one argument for each flag
    *,
    online: Annotated[bool, typer.Option("--online", help="Write to W&B instead of ./wandb; needs a login.")] = False,
    serve: Annotated[
        bool, typer.Option("--serve", help="Only serve the sample jobs, and print how to point a client at them.")
    ] = False,
    dialect: Annotated[
        Literal["openai", "azure-v1", "azure-dated", "litellm", "nebius", "bare"],
        typer.Option(help="With --serve: the service to speak like."),
    ] = "openai",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to serve on; 0 is any free one.")] = 0,
    project: options.Project = None,
    entity: options.Entity = None,
    json: options.Json = False,
    jsonl: options.Jsonl = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    debug: options.Debug = False,
    no_color: options.NoColor = False,
) -> None:
    """Sync sample jobs; needs no account.

    Starts a server on this machine with eight jobs, one of them running, and syncs them into ./wandb, for real.
    """
    if dialect != "openai" and not serve:
        raise ConfigError("--dialect without --serve", hint=f"ftsync demo --serve --dialect {dialect}")
    output = Output(json, quiet, verbose, debug, not no_color, jsonl)
    if serve and output.is_json:
        hint = "leave out --json: what it prints is for a shell"
        raise ConfigError("--serve has no JSON", hint=hint)
    with _sandbox(port, dialect) as sandbox:
        if serve:
            _serve(sandbox)
            return
        _point_at(sandbox)
        arguments = {
            "fine_tune_job_id": None,
            "provider": "openai",
            "project": project,
            "entity": entity,
            "wait_for_job_success": True,
            "poll_interval": POLL_INTERVAL,
            "timeout": TIMEOUT,
            "mode": "online" if online else "offline",
        }
        report = carry_out(arguments, output, remembers=False)
    code = show(report, "demo", output)
    if output.tells and report.synced:
        _explain(report, online=online)
    raise typer.Exit(code)


@contextmanager
def _sandbox(port: int, dialect: str) -> "Iterator[Sandbox]":
    from ft_sync import sandbox  # noqa: PLC0415 - `--help` does without

    with ExitStack() as stack:
        try:
            server = stack.enter_context(sandbox.serve(port=port, dialect=dialect))
        except ImportError as error:
            raise ConfigError("the demo needs its server", hint="pip install 'ft-sync[demo]'") from error
        except OSError as error:
            hint = "use another port, or 0 for any free one"
            raise ConfigError(f"--port {port}: {error.strerror}", hint=hint) from error
        yield server


def _point_at(sandbox: "Sandbox") -> None:
    """Point this process's environment at the sandbox; the user's own keys are neither read nor sent."""
    os.environ.update(sandbox.environment)
    for name in ("no_proxy", "NO_PROXY"):  # a company's proxy cannot reach this machine
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), "127.0.0.1"]))


def _serve(sandbox: "Sandbox") -> None:
    """Serve until told to stop, by Ctrl-C or SIGTERM."""
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    render.emit("".join(f"export {name}={shlex.quote(value)}\n" for name, value in sandbox.environment.items()))
    render.tell("Serving sample jobs. Paste these lines into another terminal, then try there:")
    render.tell(f"  {_typed('ftsync')} list --offline")
    render.tell(f"  {_typed('ftsync')} sync --offline --poll-interval 2")
    render.tell("Ctrl-C stops.")
    while not stopped.wait(0.5):  # with a timeout, because Windows does not deliver signals to an endless wait
        pass


def _explain(report: "SyncReport", *, online: bool) -> None:
    """Print what was written, how to look at it and what to try next."""
    runs = f"{len(report.synced)} runs" if len(report.synced) > 1 else "1 run"
    first = str(report.synced[0].url)
    render.tell()
    if online:
        render.tell(f"{runs} written, see {first}")
    else:
        folder = render.place(str(Path(first).parent))
        render.tell(f"{runs} written to {folder}")
        render.tell(f"  look:    {_typed('wandb')} leet {folder}")
        render.tell(f"  upload:  {_typed('wandb')} sync {folder}/offline-run-*")
    render.tell(f"  explore: {_typed('ftsync')} demo --serve")


def _typed(command: str) -> str:
    """Return how to type a command of this environment: by its path, if the shell would not find its name."""
    if shutil.which(command):
        return command
    return shlex.quote(str(Path(sys.executable).with_name(command)))
