"""Every adapter and every fake fits its port: the type checker reads this, running it shows that they can be made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import openai

from ft_sync.sinks.offline import OfflineSink
from ft_sync.sinks.online import OnlineSink
from ft_sync.sinks.wandb import RunOptions
from ft_sync.sources.openai import OpenAISource
from ft_sync.sources.pace import Pace
from ft_sync.wiring import SystemClock
from tests.fakes import FakeClock, FakeSink, FakeSource

if TYPE_CHECKING:
    from pathlib import Path

    from ft_sync.ports import Clock, JobSource, RunSink


def test_every_adapter_and_every_fake_fits_its_port(tmp_path: Path) -> None:
    sources: list[JobSource] = [OpenAISource(openai.OpenAI(api_key="-"), Pace(FakeClock(), print)), FakeSource()]
    options = RunOptions("p", None, "offline", init={"dir": str(tmp_path)})
    sinks: list[RunSink] = [OfflineSink(options), OnlineSink(options), FakeSink()]
    clocks: list[Clock] = [SystemClock(), FakeClock()]
    assert (len(sources), len(sinks), len(clocks)) == (2, 3, 2)
