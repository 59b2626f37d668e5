"""`python -m tests.fuzz TARGET SECONDS`: looks for bytes on which a target fails; what it learns stays in `.fuzz`."""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["ft_sync.results", "ft_sync.datasets", "ft_sync.table"]):
    from tests.fuzz.targets import DICTIONARY, TARGETS, seeds


def main(target: str, seconds: str) -> None:
    """Feed the target for so many seconds; the process ends with 77 where it fails, and keeps the bytes."""
    folder = Path(".fuzz", target)
    corpus, words = folder / "corpus", folder / "words"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds(target)):
        (corpus / f"seed-{number}").write_bytes(seed)
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in DICTIONARY))
    limits = [f"-max_total_time={seconds}", "-max_len=4096", "-timeout=10", "-rss_limit_mb=2048"]
    options = [f"-dict={words}", f"-artifact_prefix={folder}/", "-print_final_stats=1"]
    atheris.Setup([sys.argv[0], str(corpus), *limits, *options], TARGETS[target])
    atheris.Fuzz()


def _escaped(word: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word.encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
