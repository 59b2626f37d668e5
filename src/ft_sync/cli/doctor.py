"""`ftsync doctor`: shows what prevents a sync from working, and how to fix it."""

import sys
from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from ft_sync.cli import exits, options, render
from ft_sync.cli.options import Output

if TYPE_CHECKING:
    from ft_sync.diagnosis import Check

SYMBOLS = {"ok": "✓", "warning": "!", "failed": "✗", "skipped": "-"}
COLORS = {"ok": "green", "warning": "yellow", "failed": "red", "skipped": "dim"}

STATE_WIDTH, NAME_WIDTH = 10, 15


def doctor(  # noqa: PLR0913 - one argument for each flag
    *,
    provider: options.Provider = None,
    project: options.Project = None,
    entity: options.Entity = None,
    offline: Annotated[bool, typer.Option("--offline", help="Leave W&B's server out.")] = False,
    timeout: Annotated[
        float | None,
        typer.Option(
            parser=options.duration,
            metavar="SECONDS",
            help="Give a request up when it is not answered for so long, twice (default 10).",
            show_default=False,
        ),
    ] = None,
    json: options.Json = False,
    quiet: Annotated[
        bool,
        typer.Option("--quiet", "-q", help="Only what is not ok.", rich_help_panel=options.OUTPUT_PANEL),
    ] = False,
    debug: options.Debug = False,
    no_color: options.NoColor = False,
) -> None:
    """Check what a sync needs, and say what to do where it lacks.

    Python and packages, configuration, folders; OpenAI, down to the content of a file; W&B, as far as it can be known
    without writing. Writes nothing. In a pipe, tab separated: ok, warning, failed or skipped; check; sentence; what to
    do next. The exit code is that of the worst failure.
    """
    from ft_sync import api  # noqa: PLC0415 - the SDKs: `--help` does without
    from ft_sync.cli import documents  # noqa: PLC0415 - as above
    from ft_sync.diagnosis import SECONDS  # noqa: PLC0415 - as above

    output = Output(json, quiet, verbose=False, debug=debug, color=not no_color)
    found: list[Check] = []
    for check in api.diagnose(
        project,
        entity,
        mode="offline" if offline else None,
        provider=provider,
        seconds=timeout or SECONDS,
    ):
        found.append(check)
        if not json and not (quiet and check.state == "ok"):
            _show(check, output)
    if json:
        render.document(documents.of_diagnosis(found))
    elif not quiet:
        counts = Counter(check.state for check in found)
        render.tell(", ".join(f"{number} {state}" for state, number in counts.items()))
    if debug:
        for check in found:
            if check.error is not None:
                render.trace(check.error)
    raise typer.Exit(exits.of_diagnosis(found))


def _show(check: "Check", output: Output) -> None:
    """Show a check's result as soon as it is known; in a terminal, with its hint below."""
    if not render.is_screen(sys.stdout):
        render.lines([(check.state, check.name, check.message, check.hint)])
        return
    screen = render.console(sys.stdout, color=output.color)
    state = f"{_symbol(check.state)} {check.state}".ljust(STATE_WIDTH)
    screen.print(state, style=COLORS[check.state], end="")
    screen.print(f"{check.name:<{NAME_WIDTH}}{render.safe(check.message)}", soft_wrap=True)
    if check.hint and check.state != "ok":
        screen.print(f"{'':{STATE_WIDTH}}next: {render.safe(check.hint)}", soft_wrap=True)


def _symbol(state: str) -> str:
    """Return the symbol of a state, if the terminal's encoding has it."""
    try:
        SYMBOLS[state].encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return " "
    return SYMBOLS[state]
