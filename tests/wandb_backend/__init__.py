"""A W&B server on loopback, in memory, that the unmodified SDK and its core process work with."""

from tests.wandb_backend.server import Failure, Request, WandbBackend, serving
from tests.wandb_backend.store import Artifact, Collection, Project, Run, View

__all__ = ["Artifact", "Collection", "Failure", "Project", "Request", "Run", "View", "WandbBackend", "serving"]
