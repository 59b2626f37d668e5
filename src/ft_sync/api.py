"""The Python API: what the command line does, as functions; arguments are named as in wandb's `WandbLogger.sync`."""

from __future__ import annotations

import difflib
import inspect
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ft_sync import archives, archiving, asking, engine, overview, reporting, wiring
from ft_sync.diagnosis import SECONDS
from ft_sync.errors import ConfigError
from ft_sync.models import Failed, JobId, RunId, SyncReport
from ft_sync.plan import Rule
from ft_sync.planning import Preview, with_links
from ft_sync.planning import preview as previewed
from ft_sync.settings import load
from ft_sync.verification import repair as repaired
from ft_sync.verification import verify as verified

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import openai
    import wandb

    from ft_sync.compare import Verification
    from ft_sync.diagnosis import Check
    from ft_sync.events import Event, Observer
    from ft_sync.models import ArchiveReport
    from ft_sync.overview import Detail, Standing
    from ft_sync.plan import OnNative
    from ft_sync.ports import Clock, JobSource, RunSink
    from ft_sync.reporting import ProjectReport
    from ft_sync.settings import Settings


def sync(  # noqa: PLR0913 - one argument for each flag
    fine_tune_job_id: str | Iterable[str] | None = None,
    openai_client: openai.OpenAI | None = None,
    num_fine_tunes: int | None = None,
    project: str | None = None,
    entity: str | None = None,
    *,
    overwrite: bool = False,
    include_unsuccessful: bool = False,
    wait_for_job_success: bool | None = None,
    log_datasets: bool | None = None,
    model_artifact_name: str | None = None,
    model_artifact_type: str | None = None,
    model_artifact_copies: Iterable[str] = (),
    table_rows: int | None = None,
    renew: bool = False,
    on_native: OnNative | None = None,
    keep_replaced: bool | None = None,
    link: str | Iterable[str] = (),
    link_alias: str | Iterable[str] = (),
    poll_interval: float | None = None,
    timeout: float | None = None,
    watch: bool = False,
    concurrency: int | None = None,
    shard: str | None = None,
    provider: str | None = None,
    from_archive: str | Path | None = None,
    observer: Observer | None = None,
    run: wandb.Run | None = None,
    **kwargs_wandb_init: Any,  # noqa: ANN401 - handed to wandb.init as it is
) -> SyncReport:
    """Bring fine-tuning jobs into W&B and check that they arrived.

    Args:
        fine_tune_job_id: One job or several; without it and without `num_fine_tunes`, every job.
        openai_client: Made from the environment if not given.
        num_fine_tunes: The N newest jobs.
        project: `OpenAI-Fine-Tune` unless configured.
        entity: The account's default unless configured.
        overwrite: Write again what is already complete.
        include_unsuccessful: Bring failed and cancelled jobs, too, as failed runs.
        wait_for_job_success: Wait for unfinished jobs (the default) instead of skipping them.
        log_datasets: Log training and validation files with their tables (the default).
        model_artifact_name: `model_metadata` unless configured.
        model_artifact_type: `model` unless configured.
        model_artifact_copies: Further names under which the model artifact is logged.
        table_rows: The most examples in a dataset's table, 10,000 unless configured.
        renew: Write again what is out of date or was logged by wandb's `WandbLogger`.
        on_native: What to do with a run of OpenAI's own integration: "enrich" (the default), "skip" or "replace".
        keep_replaced: Tag replaced runs instead of deleting them.
        link: Registry collections, each `REGISTRY/COLLECTION`, to link the model artifacts to.
        link_alias: Aliases of the linked versions there.
        poll_interval: Seconds between asking for unfinished jobs, 60 unless configured.
        timeout: Seconds to wait at most; for ever unless configured.
        watch: Go on for ever: take on new jobs as they come, until interrupted, and then return.
        concurrency: Jobs in work at the same time, 8 unless configured.
        shard: Of the selected jobs only the I-th of N parts, as "2/8"; the ids decide which job is in which part.
        provider: "openai" or "azure"; guessed from the environment unless configured. A given client needs none.
        from_archive: Take the jobs from this archive instead of from OpenAI.
        observer: Called with each event of `ft_sync.events`, from any thread, but by one at a time.
        run: A run of yours that is open, for the one job selected; it is added to, in its own project, and not
            finished. The job's steps are its metric `fine_tune_step`; without it, each job has a run of its own.
        **kwargs_wandb_init: Further arguments of `wandb.init`.

    Returns:
        The outcome of every selected job. A job that fails is an outcome, not an exception.

    Raises:
        ConfigError: An argument or a setting cannot be used as given.
        AuthError: One of the services refuses its key, or there is none.
        Unavailable: One of the services could not be asked at all.
        BadData: The list of jobs cannot be read.
        KeyboardInterrupt: The sync was interrupted, and what was being written has come to its end.
    """
    settings = load(
        {
            "project": project,
            "entity": entity,
            # Nothing goes on in an archive.
            "wait": wait_for_job_success if from_archive is None else False,
            "log_datasets": log_datasets,
            "model_artifact_name": model_artifact_name,
            "model_artifact_type": model_artifact_type,
            "table_rows": table_rows,
            "on_native": on_native,
            "keep_replaced": keep_replaced,
            "poll_interval": poll_interval,
            "timeout": timeout,
            "concurrency": concurrency,
            "shard": shard,
            "provider": provider,
            **(_settings_in(kwargs_wandb_init) if run is None else _settings_of(run, kwargs_wandb_init)),
        }
    )
    if watch and from_archive is not None:
        raise ConfigError("--watch and --from-archive exclude each other", hint="nothing goes on in an archive")
    into = None if run is None else RunId(run.id)
    rule = Rule(settings.wait, renew, overwrite, include_unsuccessful, settings.on_native, into)
    request = asking.request(
        settings, fine_tune_job_id, num_fine_tunes, rule, watch=watch, link=link, link_alias=link_alias
    )
    # Shared by source and engine: both report events, from any thread.
    observe, clock = engine.one_at_a_time(wiring.outside(observer or _ignore)), wiring.SystemClock()
    with (
        wiring.sink(settings, kwargs_wandb_init, run, model_artifact_copies) as sink,
        wiring.source(settings, clock, observe, openai_client, _folder(from_archive)) as source,
    ):
        return engine.sync(source, sink, clock, request, observe)


def preview(  # noqa: PLR0913 - one argument for each flag
    fine_tune_job_id: str | Iterable[str] | None = None,
    openai_client: openai.OpenAI | None = None,
    num_fine_tunes: int | None = None,
    project: str | None = None,
    entity: str | None = None,
    *,
    overwrite: bool = False,
    include_unsuccessful: bool = False,
    wait_for_job_success: bool | None = None,
    renew: bool = False,
    on_native: OnNative | None = None,
    link: str | Iterable[str] = (),
    link_alias: str | Iterable[str] = (),
    shard: str | None = None,
    provider: str | None = None,
    from_archive: str | Path | None = None,
    observer: Observer | None = None,
    **kwargs_wandb_init: Any,  # noqa: ANN401 - handed to wandb.init as it is
) -> Preview:
    """Say what `sync` with these arguments would do; writes nothing.

    Args:
        fine_tune_job_id: One job or several; without it and without `num_fine_tunes`, every job.
        openai_client: Made from the environment if not given.
        num_fine_tunes: The N newest jobs.
        project: `OpenAI-Fine-Tune` unless configured.
        entity: The account's default unless configured.
        overwrite: What is already complete would be written again.
        include_unsuccessful: Failed and cancelled jobs, too.
        wait_for_job_success: Unfinished jobs would be waited for (the default) instead of skipped.
        renew: What is out of date or was logged by wandb's `WandbLogger`, too.
        on_native: What would be done with a run of OpenAI's own integration.
        link: Registry collections; they are checked.
        link_alias: Aliases there; they are checked.
        shard: Of these only one part, as for `sync`.
        provider: "openai" or "azure"; guessed from the environment unless configured. A given client needs none.
        from_archive: Take the jobs from this archive instead of from OpenAI.
        observer: Called with each event of `ft_sync.events`.
        **kwargs_wandb_init: Further arguments of `wandb.init`; they are checked.

    Returns:
        A plan with its reason for every selected job, oldest first, and the jobs that could not be fetched.

    Raises:
        ConfigError: An argument or a setting cannot be used as given.
        AuthError: One of the services refuses its key, or there is none.
        Unavailable: One of the services could not be asked at all.
    """
    settings = load(
        {
            "project": project,
            "entity": entity,
            # Nothing goes on in an archive.
            "wait": wait_for_job_success if from_archive is None else False,
            "on_native": on_native,
            "shard": shard,
            "provider": provider,
            **_settings_in(kwargs_wandb_init),
        }
    )
    rule = Rule(settings.wait, renew, overwrite, include_unsuccessful, settings.on_native)
    request = asking.request(settings, fine_tune_job_id, num_fine_tunes, rule, link=link, link_alias=link_alias)
    with _connected(settings, openai_client, kwargs_wandb_init, from_archive, observe=observer) as (source, sink):
        if request.selection.job_ids != ():
            (observer or _ignore)(sink.destination())
        return with_links(previewed(source, sink, request.selection, request.rule), request.links)


def verify(  # noqa: PLR0913 - one argument for each flag
    fine_tune_job_id: str | Iterable[str] | None = None,
    openai_client: openai.OpenAI | None = None,
    num_fine_tunes: int | None = None,
    project: str | None = None,
    entity: str | None = None,
    *,
    repair: bool = False,
    content: bool = True,
    include_unsuccessful: bool = False,
    log_datasets: bool | None = None,
    model_artifact_name: str | None = None,
    model_artifact_type: str | None = None,
    table_rows: int | None = None,
    on_native: OnNative | None = None,
    keep_replaced: bool | None = None,
    concurrency: int | None = None,
    shard: str | None = None,
    provider: str | None = None,
    from_archive: str | Path | None = None,
    observer: Observer | None = None,
    **kwargs_wandb_init: Any,  # noqa: ANN401 - handed to wandb.init as it is
) -> Verification:
    """Compare what W&B holds with what OpenAI says, item by item; arguments shared with `sync` mean the same.

    Args:
        fine_tune_job_id: One job or several; without it and without `num_fine_tunes`, every job.
        openai_client: Made from the environment if not given.
        num_fine_tunes: The N newest jobs.
        project: `OpenAI-Fine-Tune` unless configured.
        entity: The account's default unless configured.
        repair: Rewrite runs that are missing or differ, then verify them again.
        content: Read the stored bytes of training and validation files and of their tables in W&B, too.
        include_unsuccessful: Failed and cancelled jobs should be in W&B, too.
        log_datasets: Training and validation files should be in W&B (the default).
        model_artifact_name: As for `sync`.
        model_artifact_type: As for `sync`.
        table_rows: As for `sync`.
        on_native: As for `sync`.
        keep_replaced: As for `sync`, when something is repaired.
        concurrency: Jobs in work at the same time, 8 unless configured.
        shard: Of these only one part, as for `sync`.
        provider: As for `sync`.
        from_archive: Take the jobs from this archive instead of from OpenAI.
        observer: Called with each event of `ft_sync.events`, from any thread, but by one at a time.
        **kwargs_wandb_init: Further arguments of `wandb.init`, as for `sync`: the `config` should be in the runs.

    Returns:
        The verdict on every selected job. A job that cannot be read is a verdict, not an exception.

    Raises:
        ConfigError: An argument or a setting cannot be used as given, or runs are kept offline.
        AuthError: One of the services refuses its key, or there is none.
        Unavailable: One of the services could not be asked at all.
    """
    settings = load(
        {
            "project": project,
            "entity": entity,
            "log_datasets": log_datasets,
            "model_artifact_name": model_artifact_name,
            "model_artifact_type": model_artifact_type,
            "table_rows": table_rows,
            "on_native": on_native,
            "keep_replaced": keep_replaced,
            "concurrency": concurrency,
            "shard": shard,
            "provider": provider,
            **_settings_in(kwargs_wandb_init),
        }
    )
    if settings.mode == "offline":
        raise ConfigError(
            "what W&B holds cannot be verified offline",
            hint="upload the runs with `wandb sync`, then run `FTSYNC_MODE=online ftsync verify`",
        )
    rule = Rule(include_unsuccessful=include_unsuccessful, on_native=settings.on_native)
    request = replace(
        asking.request(settings, fine_tune_job_id, num_fine_tunes, rule, link=(), link_alias=()),
        content=content,
        config=kwargs_wandb_init.get("config") or {},
    )
    observe, clock = engine.one_at_a_time(wiring.outside(observer or _ignore)), wiring.SystemClock()
    with _connected(settings, openai_client, kwargs_wandb_init, from_archive, clock=clock, observe=observe) as (
        source,
        sink,
    ):
        found = verified(source, sink, clock, request, observe)
        return repaired(source, sink, clock, request, observe, found) if repair else found


def report(
    fine_tune_job_id: str | Iterable[str] | None = None,
    num_fine_tunes: int | None = None,
    project: str | None = None,
    entity: str | None = None,
) -> ProjectReport:
    """Create or update a W&B report and a workspace view of the jobs that W&B holds. Queries W&B alone.

    The same selection has the same report: it is found by its title and by a mark in its description, and all its
    content is replaced, except comments. A copy of it, or a report whose title was changed, is left alone.

    Args:
        fine_tune_job_id: One job or several; without it and without `num_fine_tunes`, every job in the project, also
            those that come later.
        num_fine_tunes: The N newest jobs that W&B holds.
        project: `OpenAI-Fine-Tune` unless configured.
        entity: The account's default unless configured.

    Returns:
        The URLs of the report and the view, and the jobs and runs that they cover.

    Raises:
        ConfigError: `ft-sync[report]` is not installed, a setting cannot be used as given, or runs are kept offline.
        NotFound: There is no such project, or W&B does not hold the jobs.
        AuthError: W&B refuses its key, or there is none.
        Unavailable: W&B could not be asked.
    """
    settings = load({"project": project, "entity": entity})
    if settings.mode == "offline":
        raise ConfigError(
            "there are no reports offline",
            hint="upload the runs with `wandb sync`, then run `FTSYNC_MODE=online ftsync report`",
        )
    selection = asking.selection(settings, fine_tune_job_id, num_fine_tunes)
    with wiring.reporter(settings) as reporter:
        return reporting.report(reporter, selection)


def list_jobs(  # noqa: PLR0913 - one argument for each flag
    limit: int | None = None,
    openai_client: openai.OpenAI | None = None,
    project: str | None = None,
    entity: str | None = None,
    *,
    mode: str | None = None,
    shard: str | None = None,
    provider: str | None = None,
    from_archive: str | Path | None = None,
    observer: Observer | None = None,
) -> Iterator[Standing | Failed]:
    """Yield jobs newest first with what W&B holds of them, fetching pages lazily.

    Args:
        limit: Maximum number of jobs; None for every job.
        openai_client: Made from the environment if not given.
        project: `OpenAI-Fine-Tune` unless configured.
        entity: The account's default unless configured.
        mode: `offline` asks the run folders here instead of the server; `online` unless configured.
        shard: Only jobs of one part, as for `sync`; a `limit` counts jobs of this part.
        provider: "openai" or "azure"; guessed from the environment unless configured. A given client needs none.
        from_archive: Take the jobs from this archive instead of from OpenAI.
        observer: Called with each event of `ft_sync.events`.

    Yields:
        The job, whether W&B holds it (`unknown` without a login) and in which run; or a `Failed` for a job that
        cannot be read.

    Raises:
        ConfigError: A setting cannot be used as given. All errors are raised when the iteration starts, not earlier.
        AuthError: OpenAI refuses its key, or there is none; or W&B refuses the key that it is given.
        Unavailable: One of the services could not be asked.
    """
    settings = load({"project": project, "entity": entity, "mode": mode, "shard": shard, "provider": provider})
    with _connected(settings, openai_client, {}, from_archive, observe=observer) as (source, sink):
        rule = _usual(settings, from_archive)
        yield from wiring.step_by_step(
            overview.standings(source, sink, rule, limit=limit, shard=asking.shard(settings))
        )


def job_details(  # noqa: PLR0913 - one argument for each flag
    job_ids: Iterable[str],
    openai_client: openai.OpenAI | None = None,
    project: str | None = None,
    entity: str | None = None,
    *,
    mode: str | None = None,
    shard: str | None = None,
    provider: str | None = None,
    from_archive: str | Path | None = None,
    with_rows: bool = False,
    observer: Observer | None = None,
) -> Iterator[Detail | Failed]:
    """Yield each job in detail, in the given order.

    Args:
        job_ids: The jobs.
        openai_client: Made from the environment if not given.
        project: `OpenAI-Fine-Tune` unless configured.
        entity: The account's default unless configured.
        mode: `offline` asks the run folders here instead of the server; `online` unless configured.
        shard: Of these only one part, as for `sync`.
        provider: "openai" or "azure"; guessed from the environment unless configured. A given client needs none.
        from_archive: Take the jobs from this archive instead of from OpenAI.
        with_rows: Also read the metrics of all steps, which takes some more requests per job.
        observer: Called with each event of `ft_sync.events`.

    Yields:
        The job with its newest metrics and events, its files and its run; or a `Failed` in its place, for a job that
        cannot be fetched.

    Raises:
        ConfigError: A setting cannot be used as given. All errors are raised when the iteration starts, not earlier.
        AuthError: One of the services refuses its key, or there is none.
        Unavailable: One of the services could not be asked at all.
    """
    settings = load({"project": project, "entity": entity, "mode": mode, "shard": shard, "provider": provider})
    with _connected(settings, openai_client, {}, from_archive, observe=observer) as (source, sink):
        chosen = filter(asking.shard(settings).holds, map(JobId, job_ids))
        rule = _usual(settings, from_archive)
        yield from wiring.step_by_step(overview.details(source, sink, rule, chosen, with_rows=with_rows))


def watch_jobs(  # noqa: PLR0913 - what it can be told
    job_ids: Iterable[str],
    openai_client: openai.OpenAI | None = None,
    project: str | None = None,
    entity: str | None = None,
    *,
    mode: str | None = None,
    shard: str | None = None,
    provider: str | None = None,
    poll_interval: float | None = None,
    with_rows: bool = False,
    observer: Observer | None = None,
) -> Iterator[list[Detail | Failed]]:
    """Yield the jobs' details, at once and after each poll, until all of them have ended.

    Args:
        job_ids: The jobs.
        openai_client: As for `job_details`.
        project: As for `job_details`.
        entity: As for `job_details`.
        mode: As for `job_details`.
        shard: Of these only one part, as for `sync`.
        provider: As for `job_details`.
        poll_interval: Seconds between polls, 60 unless configured.
        with_rows: As for `job_details`.
        observer: Called with each event of `ft_sync.events`.

    Yields:
        A list with what `job_details` yields for each job, in the given order. A `Failed` with `Unavailable` is
        retried at the next poll.

    Raises:
        ConfigError, AuthError, Unavailable: As `job_details`.
    """
    settings = load(
        {
            "project": project,
            "entity": entity,
            "mode": mode,
            "shard": shard,
            "provider": provider,
            "poll_interval": poll_interval,
        }
    )
    clock = wiring.SystemClock()
    with _connected(settings, openai_client, {}, None, clock=clock, observe=observer) as (source, sink):
        chosen = list(dict.fromkeys(filter(asking.shard(settings).holds, map(JobId, job_ids))))
        rule, interval = _usual(settings, None), settings.poll_interval
        yield from wiring.step_by_step(
            overview.watch(source, sink, rule, clock, chosen, poll_interval=interval, with_rows=with_rows)
        )


def archive(  # noqa: PLR0913 - one argument for each flag
    folder: str | Path,
    fine_tune_job_id: str | Iterable[str] | None = None,
    openai_client: openai.OpenAI | None = None,
    num_fine_tunes: int | None = None,
    *,
    concurrency: int | None = None,
    shard: str | None = None,
    provider: str | None = None,
    observer: Observer | None = None,
) -> ArchiveReport:
    """Copy jobs with everything that belongs to them into a self-contained folder.

    Args:
        folder: A new or empty folder, or an existing archive.
        fine_tune_job_id: One job or several; without it and without `num_fine_tunes`, every job, whatever its status.
        openai_client: Made from the environment if not given.
        num_fine_tunes: The N newest jobs.
        concurrency: Jobs in work at the same time, 8 unless configured.
        shard: Of these only one part, as for `sync`.
        provider: As for `sync`.
        observer: Called with each event of `ft_sync.events`, from any thread, but by one at a time.

    Returns:
        The outcome of every selected job, and the parts that the service would not give.

    Raises:
        ConfigError: The folder cannot be used, or an argument or a setting is wrong.
        AuthError: OpenAI refuses the key, or there is none.
        Unavailable: OpenAI could not be asked at all.
    """
    settings = load({"concurrency": concurrency, "shard": shard, "provider": provider})
    selection = asking.selection(settings, fine_tune_job_id, num_fine_tunes)
    observe, clock = engine.one_at_a_time(wiring.outside(observer or _ignore)), wiring.SystemClock()
    served = wiring.source_as_served(settings, clock, observe, openai_client)
    with served as source, archives.writing(Path(folder)) as writer:
        return archiving.archive(source, writer, clock, selection, settings.concurrency, observe)


def check_archive(folder: str | Path) -> Iterator[archives.Problem]:
    """Read the whole archive again and yield each path that is missing, damaged or unknown, with what is wrong.

    What the service refused, or was never stored although a job names it, is missing, too.

    Raises:
        ConfigError: The folder is not an archive, or belongs to another user.
        BadData: There is no line in the manifest that can be read.
    """
    return archiving.check(*wiring.archived(Path(folder)))


def diagnose(
    project: str | None = None,
    entity: str | None = None,
    *,
    mode: str | None = None,
    provider: str | None = None,
    seconds: float = SECONDS,
) -> Iterator[Check]:
    """Check everything that a sync needs and yield the result of each check; writes nothing.

    Call it in a process of its own: it shortens the wandb SDK's timeouts for the rest of the process.

    Args:
        project: `OpenAI-Fine-Tune` unless configured.
        entity: The account's default unless configured.
        mode: `offline` leaves W&B's server out; `online` unless configured.
        provider: "openai" or "azure"; guessed from the environment unless configured.
        seconds: Timeout of a request, which is retried once before it is given up.
    """
    from ft_sync import checkup  # noqa: PLC0415 - for one command

    return checkup.checks({"project": project, "entity": entity, "mode": mode, "provider": provider}, seconds)


def _usual(settings: Settings, from_archive: str | Path | None) -> Rule:
    """Return the rule of a sync without further arguments; jobs in an archive never change and are not waited for."""
    return Rule(settings.wait and from_archive is None, on_native=settings.on_native)


def _settings_in(init: dict[str, Any]) -> dict[str, Any]:
    """Remove from the arguments of `wandb.init` those that are also settings of ftsync, and return them.

    Raises:
        ConfigError: An argument is, or resembles, a parameter of `sync`. Without this check, the error message would
            call it an unknown argument of `wandb.init`.
    """
    ours = [name for name in inspect.signature(sync).parameters if name != "kwargs_wandb_init"]
    for name in init:
        if near := difflib.get_close_matches(name, ours, n=1, cutoff=0.8):
            hint = "it is one of sync, and changes nothing here" if near[0] == name else f"did you mean {near[0]}?"
            raise ConfigError(f"{name}: there is no such argument", hint=hint)
    return {name: init.pop(name) for name in ("mode", "dir") if name in init}


def _settings_of(run: wandb.Run, init: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that the caller's open run determines."""
    if init:
        raise ConfigError(f"{', '.join(init)}: an open run takes no arguments of wandb.init", hint="leave them out")
    mode = "offline" if run.offline else "online"
    return {"project": run.project, "entity": run.entity or None, "mode": mode, "dir": run.settings.root_dir}


@contextmanager
def _connected(  # noqa: PLR0913 - what the functions above are given
    settings: Settings,
    client: openai.OpenAI | None,
    init: dict[str, Any],
    archive: str | Path | None,
    *,
    clock: Clock | None = None,
    observe: Observer | None = None,
) -> Iterator[tuple[JobSource, RunSink]]:
    # The sink first: it refuses bad arguments before any request is sent to a service.
    clock, observe = clock or wiring.SystemClock(), observe or _ignore
    with (
        wiring.sink(settings, init) as sink,
        wiring.source(settings, clock, observe, client, _folder(archive)) as source,
    ):
        yield source, sink


def _folder(archive: str | Path | None) -> Path | None:
    return None if archive is None else Path(archive)


def _ignore(event: Event) -> None:
    """Observe nothing."""
