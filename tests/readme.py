"""Makes the parts of README.md and docs/ that the program decides: `python -m tests.readme` writes them."""

from __future__ import annotations

import ast
import re
import tomllib
from functools import cache

from ft_sync.cli import exits
from ft_sync.settings import Settings, variables
from tests.pages import PAGES, ROOT
from tests.terminal import Terminal

BLOCK = re.compile(r"(?P<open><!-- block: (?P<name>[\w-]+) -->\n)(?P<body>.*?)(?P<close><!-- end -->)", re.DOTALL)
LOWER = {"wait", "log_datasets"}
SPOILT = "ftjob-rX2CXZM2Olo9owZAnKKIDTmw"

STORY = {
    "verify": ("sync --last 4", "verify --last 4"),
    "archive": ("archive ./fine-tuning --last 3",),
    "archive-again": ("archive ./fine-tuning --last 3", "archive ./fine-tuning --check"),
    "dry-run": ("sync --last 5 --dry-run",),
    "counts": ("status",),
    "offline": ("sync --last 4 --offline",),
    "config": ("config",),
    "error": ("status ftjob-typo --offline --json",),
    "repair": (f"verify --job {SPOILT}", f"verify --job {SPOILT} --repair"),
}
"""The commands that pages show with what they print, in the order in which they run; each part is a block's name."""


def renewed(text: str) -> str:
    """Return a page with its generated parts as the program is now."""
    return BLOCK.sub(lambda found: found["open"] + _body(found["name"]) + found["close"], text)


def _body(name: str) -> str:
    return BODIES[name]() if name in BODIES else _story()[name]


def _settings() -> str:
    lines = ["| setting | flag | environment | default | meaning |", "|---|---|---|---|---|"]
    for name, field in Settings.model_fields.items():
        flag = {"mode": "--offline", "dir": "--init dir=DIR"}.get(name, f"--{name.replace('_', '-')}")
        names = ", ".join(f"`{variable}`" for variable in variables(name))
        default = "" if field.default is None else f"`{str(field.default).lower() if name in LOWER else field.default}`"
        lines.append(f"| `{name}` | `{flag}` | {names} | {default} | {field.description} |")
    return "\n".join([*lines, ""])


def _exits() -> str:
    rows = [f"| {code} | {meaning} |" for code, meaning in exits.MEANINGS.items()]
    return "\n".join(["| code | meaning |", "|---|---|", *rows, ""])


def _layers() -> str:
    """Return the layers as import-linter checks them, with what each module says of itself."""
    tables = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    (layers,) = [contract["layers"] for contract in tables["contracts"] if contract["type"] == "layers"]
    rows = [
        f"| {number} | `{name}` | {_purpose(name)} |"
        for number, layer in enumerate(layers, start=1)
        for name in layer.split(" | ")
    ]
    return "\n".join(["| layer | module | |", "|---|---|---|", *rows, ""])


def _purpose(module: str) -> str:
    """Return the first sentence of a module's docstring."""
    source = ROOT / "src" / "ft_sync"
    path = source / module / "__init__.py" if (source / module).is_dir() else source / f"{module}.py"
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert docstring
    return " ".join(docstring.partition("\n\n")[0].split()).replace("|", "\\|")


@cache
def _story() -> dict[str, str]:
    """Return what a user sees who brings the sample jobs into W&B, by the names of its parts."""
    told: dict[str, str] = {}
    with Terminal() as terminal:
        told["commands"] = _commands(terminal)
        for part, commands in STORY.items():
            if part == "repair":
                terminal.spoil(SPOILT)
            told[part] = "".join(_console(f"ftsync {command}", terminal.told(command)) for command in commands)
    return told


def _commands(terminal: Terminal) -> str:
    """Return a section for every command, with its help."""
    listed = terminal.told("--help").partition("Commands:\n")[2].partition("\n\n")[0]
    names = re.findall(r"^  (\w[\w-]*) ", listed, re.MULTILINE)
    return "".join(
        f"## {name}\n\n{_console(f'ftsync {name} --help', terminal.told(f'{name} --help'))}" for name in names
    )


def _console(command: str, output: str) -> str:
    body = "".join(f"{line.rstrip()}\n" for line in output.splitlines())
    return f"```console\n$ {command}\n{body}```\n\n"


BODIES = {"settings": _settings, "exits": _exits, "layers": _layers}


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(renewed(page.read_text(encoding="utf-8")), encoding="utf-8")
