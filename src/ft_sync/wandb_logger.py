"""`from ft_sync import WandbLogger`: wandb's class of that name, done by `ft_sync.sync` and told in W&B's own way."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import wandb
from pydantic import BaseModel

from ft_sync import api
from ft_sync.events import Delayed, Event, Noted, Planned, Settled
from ft_sync.models import SUCCEEDED, Destination, Skipped, Synced, SyncReport, Wait
from ft_sync.sinks.session import aloud, callers_mode

if TYPE_CHECKING:
    import openai

DONE = "🎉 wandb sync completed successfully"
"""What wandb's class returns; scripts may look for it."""

DEFAULT_NAME = "model-metadata"
DOCUMENTED_NAME = "model_metadata"
"""What wandb's class calls the model artifact, and what W&B's documentation of the class does; scripts use either."""

DECIDED_HERE = frozenset({"reinit", "resume"})
"""Arguments of `wandb.init` that scripts give to wandb's class for what happens here anyway."""


class WandbLogger:
    """Takes the place of `wandb.integration.openai.fine_tuning.WandbLogger` (wandb 0.31): only the import changes.

    Attributes:
        openai_client: The client that was given to the last `sync`; None when that made one for itself.
    """

    openai_client: ClassVar[openai.OpenAI | None] = None

    @classmethod
    def sync(  # noqa: PLR0913, PLR0917 - the signature is wandb's
        cls,
        fine_tune_job_id: str | None = None,
        openai_client: openai.OpenAI | None = None,
        num_fine_tunes: int | None = None,
        project: str = "OpenAI-Fine-Tune",
        entity: str | None = None,
        overwrite: bool = False,
        wait_for_job_success: bool = True,
        log_datasets: bool = True,
        model_artifact_name: str = DEFAULT_NAME,
        model_artifact_type: str = "model",
        **kwargs_wandb_init: Any,  # noqa: ANN401 - handed to wandb.init as it is
    ) -> str | None:
        """Sync fine-tunes to W&B, each to a run of its own whose id is the job's, and check that they arrived.

        While there is a `wandb.run`, one fine-tune (named, or the newest one) goes into it: its project and entity
        are used, the job's steps are the metric `fine_tune_step`, and the run is left open, whatever became of the
        job; wandb's class finishes it. Several fine-tunes, and one beside a fine-tune that the run holds already, get
        runs of their own, and `wandb.run` is left alone; wandb's class logs the first one into it. In disabled mode
        nothing is done.

        Args:
            fine_tune_job_id: The fine-tune; without it and without `num_fine_tunes`, every one that W&B does not hold
                yet.
            openai_client: Made from the environment if not given.
            num_fine_tunes: The N most recent fine-tunes; wandb's class takes the oldest of the 20 most recent.
            project: The project of the runs.
            entity: The entity of the runs; the account's default if not given.
            overwrite: Rewrite runs that W&B holds already, under a new run id; the old run is deleted after that.
            wait_for_job_success: Wait for fine-tunes that have not ended, all at once, instead of skipping them.
            log_datasets: Log training and validation files with their tables.
            model_artifact_name: The name of the artifact with the model's metadata. Unless a name is given, the
                artifact is also logged as `model_metadata`, the name in W&B's documentation.
            model_artifact_type: The type of that artifact.
            **kwargs_wandb_init: Further arguments of `wandb.init`; not used for an active run.

        Returns:
            The sentence that wandb's class returns; None, as there, if W&B already holds everything selected. If it
            holds only some of the fine-tunes, the others are synced.

        Raises:
            FtSyncError: Some fine-tunes could not be synced, after all the others were; see `ft_sync.errors`.
        """
        cls.openai_client = openai_client
        if _is_disabled(kwargs_wandb_init):
            with aloud():
                wandb.termwarn("W&B is disabled: nothing is synced")
            return DONE
        named = fine_tune_job_id or None
        last = None if named else num_fine_tunes
        run = _active_run(named, is_one=named is not None or last == 1)
        init = {} if run else {key: value for key, value in kwargs_wandb_init.items() if key not in DECIDED_HERE}
        is_chosen = named is not None or last is not None
        report = api.sync(
            named,
            openai_client,
            last,
            project,
            entity,
            overwrite=overwrite,
            wait_for_job_success=wait_for_job_success,
            log_datasets=log_datasets,
            model_artifact_name=model_artifact_name,
            model_artifact_type=model_artifact_type,
            model_artifact_copies=(DOCUMENTED_NAME,) if model_artifact_name == DEFAULT_NAME else (),
            observer=partial(_tell, is_chosen),
            run=run,
            **init,
        )
        with aloud():
            return _result(report)

    @staticmethod
    def sanitize(input: object) -> dict[Any, Any] | list[Any] | str:  # noqa: A002 - the name is wandb's
        """Return what a config can hold: numbers and text as they are, the text of anything else."""
        match input:
            case BaseModel():
                return dict(input)
            case dict():
                return {key: _plain(value) for key, value in input.items()}
            case list():
                return [_plain(value) for value in input]
            case _:
                return str(input)


def _is_disabled(init: dict[str, Any]) -> bool:
    if wandb.run is not None:
        return wandb.run.disabled
    return (init.get("mode") or callers_mode(os.environ)) == "disabled"


def _active_run(job_id: str | None, *, is_one: bool) -> wandb.Run | None:
    """Return the user's active run if one fine-tune is selected and the run holds none yet, or this one; else None."""
    run = wandb.run
    if run is None:
        return None
    held = run.config.get("fine_tune_job_id")
    if is_one and held in {None, job_id}:
        return run
    why = f"holds {held} already" if is_one else "takes one fine-tune, named or the newest"
    wandb.termwarn(f"the active run {run.id} {why}: runs of their own are written, and it is left alone")
    return None


def _tell(is_chosen: bool, event: Event) -> None:
    """Print an event to stderr; skipped fine-tunes only if `is_chosen`, that is, if the user selected them."""
    with aloud():
        _say(is_chosen, event)


def _say(is_chosen: bool, event: Event) -> None:
    match event:
        case Destination():
            wandb.termlog(f"fine-tunes go into {event.path}")
        case Planned(plans):
            for plan in plans:
                if isinstance(plan, Wait):
                    wandb.termlog(f"{plan.job.id} {plan.reason}: waiting for it")
        case Noted(job_id, message):
            wandb.termwarn(f"{job_id}: {message}")
        case Delayed(message):
            wandb.termwarn(message)
        case Settled(Synced() as synced):
            wandb.termlog(f"{synced.job_id}: {synced.rows} rows, {synced.url}")
        case Settled(Skipped() as skipped) if is_chosen:
            wandb.termwarn(f"{skipped.job_id}: {skipped.reason}" + (f", {skipped.url}" if skipped.url else ""))
        case _:
            pass


def _result(report: SyncReport) -> str | None:
    """Return what wandb's class would return, or raise the error of a fine-tune that failed."""
    if report.failed:
        error = report.failed[0].error
        for failed in report.failed[1:]:
            error.add_note(f"{failed.job_id}, too: {failed.error.message}")
        if error.hint:
            error.add_note(f"next: {error.hint}")
        raise error
    is_held = bool(report.skipped) and all(skipped.status == SUCCEEDED for skipped in report.skipped)
    if is_held and not report.synced:
        wandb.termlog("nothing to do: all of it was synced before")
        return None
    if not report.synced:
        wandb.termwarn("no fine-tune was synced: none of those selected has succeeded")
    return DONE


def _plain(value: object) -> object:
    return value if type(value) in {bool, int, float, str} else str(value)
