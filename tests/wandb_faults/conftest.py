"""The jobs that the faults of W&B are tried on: those of the other side."""

from tests.faults.conftest import account_of, size, start, world

__all__ = ["account_of", "size", "start", "world"]
