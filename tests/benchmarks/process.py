"""Runs a command and says what it took: time, CPU, and the memory of it and all its descendants."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SAMPLE_SECONDS = 0.025
MIB = 2**20


@dataclass(frozen=True)
class Usage:
    """What a command took.

    Attributes:
        seconds: From its start to its end, interpreter and imports included.
        own_cpu: CPU seconds of the process itself: the Python side.
        core_cpu: CPU seconds of the descendants that it waited for: wandb-core.
        peak_mib: The highest sum of the resident memory of the process and its descendants; 0 if not sampled.
        peak_own_mib: What the process itself had of it.
    """

    seconds: float
    own_cpu: float
    core_cpu: float
    peak_mib: float = 0.0
    peak_own_mib: float = 0.0


def run(
    command: Sequence[str], *, env: Mapping[str, str], folder: Path, stdin: str = "", sampled: bool = False
) -> Usage:
    """Run a command in a folder, which gets its output in `stdout` and `stderr`.

    Raises:
        RuntimeError: It failed; the message has the end of its output.
    """
    given = folder / "stdin"
    given.write_text(stdin)
    with given.open() as source, (folder / "stdout").open("w") as out, (folder / "stderr").open("w") as err:
        start = time.perf_counter()
        process = subprocess.Popen(command, env=dict(env), cwd=folder, stdin=source, stdout=out, stderr=err)
        sampler = _Sampler(process.pid)
        if sampled:
            sampler.start()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # its numbers are there until it is waited for
        seconds = time.perf_counter() - start
        own_cpu, core_cpu = _cpu_seconds(process.pid)
        process.wait()
        peak, own = sampler.stop()
    if process.returncode:
        said = "".join((folder / name).read_text()[-2000:] for name in ("stdout", "stderr"))
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}:\n{said}")
    return Usage(seconds, own_cpu, core_cpu, peak / MIB, own / MIB)


class _Sampler:
    """Adds up the resident memory of a process and its descendants again and again, and keeps the highest sum."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._peak = (0, 0)
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._sample)
        self._thread.start()

    def stop(self) -> tuple[int, int]:
        """Return the peak in bytes, and what the process itself had of it."""
        self._ended.set()
        if self._thread:
            self._thread.join()
        return self._peak

    def _sample(self) -> None:
        while not self._ended.wait(SAMPLE_SECONDS):
            held = {pid: _resident(pid) for pid in _family(self._pid)}
            self._peak = max(self._peak, (sum(held.values()), held[self._pid]))


def _family(pid: int) -> set[int]:
    """A process and its descendants; whoever has lost his parent is nobody's, but wandb-core ends before its parent."""
    parents = {int(path.name): parent for path in Path("/proc").glob("[0-9]*") if (parent := _parent(path)) is not None}
    family, found = {pid}, {pid}
    while found:
        found = {child for child, parent in parents.items() if parent in found} - family
        family |= found
    return family


def _parent(process: Path) -> int | None:
    try:
        return int(_stat(process)[1])
    except OSError:  # it has just ended
        return None


def _cpu_seconds(pid: int) -> tuple[float, float]:
    """Of a process that has ended but was not waited for yet: its own, and of those that it waited for."""
    user, system, child_user, child_system = map(int, _stat(Path(f"/proc/{pid}"))[11:15])
    tick = os.sysconf("SC_CLK_TCK")
    return (user + system) / tick, (child_user + child_system) / tick


def _stat(process: Path) -> list[str]:
    """The fields of /proc/PID/stat from the third on: the second may hold anything."""
    return (process / "stat").read_text().rpartition(")")[2].split()


def _resident(pid: int) -> int:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
