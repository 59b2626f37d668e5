"""The peer as its documentation has it used: `WandbLogger.sync` for each job id on stdin, into a project."""

from __future__ import annotations

import sys

from wandb.integration.openai.fine_tuning import WandbLogger

if __name__ == "__main__":
    for line in sys.stdin:
        WandbLogger.sync(fine_tune_job_id=line.strip(), project=sys.argv[1])
