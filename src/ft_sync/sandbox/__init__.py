"""A loopback server with OpenAI's fine-tuning and files routes, for `ftsync demo` and the tests."""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Final

from ft_sync.sandbox import samples
from ft_sync.sandbox.dialects import DIALECTS
from ft_sync.sandbox.faults import FaultLayer, Request, Traffic
from ft_sync.sandbox.world import Live, SampleFile, SampleJob, World

__all__ = ["API_KEY", "DIALECTS", "Live", "Request", "SampleFile", "SampleJob", "Sandbox", "World", "samples", "serve"]

API_KEY: Final = "sk-sandbox"
"""What the sandbox takes for a key. It opens nothing else."""


class Sandbox(Traffic):
    """A running server.

    Attributes:
        url: The base URL for an OpenAI client, e.g. `http://127.0.0.1:8000/v1`.
        api_key: The key that the server asks for.
        world: What it serves; it may be changed at any time.
        environment: The variables that lead ftsync to it.
    """

    def __init__(self, world: World, *, api_key: str) -> None:
        super().__init__()
        self.world = world
        self.api_key = api_key
        self.url = ""
        self.environment: dict[str, str] = {}


@contextlib.contextmanager
def serve(
    world: World | None = None,
    *,
    port: int = 0,
    api_key: str = API_KEY,
    clock: Callable[[], float] = time.time,
    dialect: str = "openai",
) -> Iterator[Sandbox]:
    """Serve a world on 127.0.0.1 until the block is left.

    Args:
        world: Defaults to the sample jobs, one of which is running now.
        port: 0 means any free port.
        api_key: The key that requests must carry.
        clock: Unix seconds; live jobs unfold by it.
        dialect: Which service to speak like, one of `DIALECTS`.

    Yields:
        The running server.

    Raises:
        OSError: The port is in use.
        ImportError: Starlette or uvicorn is not installed; both are in the `demo` extra.
    """
    # Inside the function: both are in an extra, and whoever lacks it can still import this package.
    try:
        from ft_sync.sandbox.loopback import running  # noqa: PLC0415
        from ft_sync.sandbox.server import create_app  # noqa: PLC0415
    except ModuleNotFoundError as error:
        message = f"the sandbox server needs {error.name}: pip install 'ft-sync[demo]'"
        raise ImportError(message, name=error.name) from error

    sandbox = Sandbox(samples.world(clock()) if world is None else world, api_key=api_key)
    spoken = DIALECTS[dialect]
    app = create_app(sandbox.world, api_key=api_key, clock=clock, dialect=spoken)
    with running(FaultLayer(app, sandbox), port=port) as free_port:
        root = f"http://127.0.0.1:{free_port}"
        sandbox.url = root + spoken.prefix
        sandbox.environment = {name: value.format(root=root, key=api_key) for name, value in spoken.environment.items()}
        yield sandbox
