"""Makes the parts of the README that the program decides: `python -m tests.readme` writes them, a test compares."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from ft_sync.cli import exits
from ft_sync.sandbox import API_KEY, World, samples, serve
from ft_sync.settings import Settings, variables

README = Path(__file__).parents[1] / "README.md"
BLOCK = re.compile(r"(?P<open><!-- block: (?P<name>\w+) -->\n)(?P<body>.*?)(?P<close><!-- end -->)", re.DOTALL)
WIDTH = "100"
SHOWN = ("ftjob-1LdB563SfkhvH8pUo541MPmi", "ftjob-ygO3T52ixdcoFRMkzutXP6AW")


def renewed(text: str) -> str:
    """Return the README with its generated parts as the program is now."""
    bodies = {"use": _use, "help": _help, "settings": _settings, "exits": _exits, "json": _json}
    return BLOCK.sub(lambda found: found["open"] + bodies[found["name"]]() + found["close"], text)


def _help() -> str:
    return "".join(_console(_run(*command), *command) for command in (("--help",), ("sync", "--help")))


def _settings() -> str:
    lines = ["| setting | flag | environment | default | meaning |", "|---|---|---|---|---|"]
    for name, field in Settings.model_fields.items():
        flag = {"mode": "--offline", "dir": "--init dir=DIR"}.get(name, f"--{name.replace('_', '-')}")
        names = ", ".join(f"`{variable}`" for variable in variables(name))
        default = "" if field.default is None else f"`{str(field.default).lower() if name in LOWER else field.default}`"
        lines.append(f"| `{name}` | `{flag}` | {names} | {default} | {field.description} |")
    return "\n".join([*lines, ""])


LOWER = {"wait", "log_datasets"}


def _exits() -> str:
    rows = [f"| {code} | {meaning} |" for code, meaning in exits.MEANINGS.items()]
    return "\n".join(["| code | meaning |", "|---|---|", *rows, ""])


def _json() -> str:
    command = ("status", "ftjob-typo", "--offline", "--json")
    return _console(_against_the_samples(command), *command)


def _use() -> str:
    jobs = tuple(word for job_id in SHOWN for word in ("--job", job_id))
    commands = (("sync", *jobs, "--offline"), ("status", "--offline"))
    return "".join(
        _console(output, *command)
        for command, output in zip(commands, _outputs_against_the_samples(*commands), strict=True)
    )


def _console(output: str, *command: str) -> str:
    body = "\n".join(line.rstrip() for line in output.splitlines())
    return f"```console\n$ ftsync {' '.join(command)}\n{body}\n```\n\n"


def _against_the_samples(command: tuple[str, ...]) -> str:
    (output,) = _outputs_against_the_samples(command)
    return output


def _outputs_against_the_samples(*commands: tuple[str, ...]) -> list[str]:
    """Run the commands one after another in an empty folder, with the finished sample jobs behind them."""
    with tempfile.TemporaryDirectory() as folder, serve(World(samples.finished_jobs())) as sandbox:
        service = {"OPENAI_BASE_URL": sandbox.url, "OPENAI_API_KEY": API_KEY}
        return [_run(*command, folder=folder, **service) for command in commands]


def _run(*arguments: str, folder: str | None = None, **environment: str) -> str:
    """Return what the command prints in a plain environment, 100 columns wide."""
    home = folder or tempfile.gettempdir()
    plain = {"PATH": os.environ["PATH"], "HOME": home, "COLUMNS": WIDTH, "TERM": "dumb", "LANG": "C.UTF-8"}
    done = subprocess.run(
        [sys.executable, "-m", "ft_sync", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=plain | {"WANDB_ERROR_REPORTING": "false"} | environment,
    )
    # Where the runs lie differs from run to run; all else must not.
    return re.sub(r"\S*(/wandb/offline-run-)\d+_\d+-", r".\1<time>-", done.stdout)


if __name__ == "__main__":
    README.write_text(renewed(README.read_text()))
