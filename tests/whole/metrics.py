"""Jobs whose metrics come in every shape: spellings, encodings, sources that differ, and what is no metrics at all."""

from __future__ import annotations

from tests.whole.case import END, START, Case, Json, checkpoint, csv, event, job, wrapped

PLAIN = "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy\n1,2.5,0.5,,\n2,1.5,0.75,1.75,0.625\n"
PLAIN_ROWS = {
    1: {"train_loss": 2.5, "train_mean_token_accuracy": 0.5},
    2: {
        "train_loss": 1.5,
        "train_mean_token_accuracy": 0.75,
        "valid_loss": 1.75,
        "valid_mean_token_accuracy": 0.625,
    },
}
LOSS = {1: {"train_loss": 2.5}, 2: {"train_loss": 1.5}}
DPO: Json = {
    "method": {"type": "dpo", "dpo": {"hyperparameters": {"beta": 0.1, "n_epochs": 2, "batch_size": 4}}},
    "hyperparameters": {"n_epochs": "auto"},
}
REINFORCEMENT: Json = {
    "method": {
        "type": "reinforcement",
        "reinforcement": {
            "grader": {
                "type": "string_check",
                "name": "exact, 'it'",
                "operation": "eq",
                "input": "a",
                "reference": "b",
            },
            "hyperparameters": {"reasoning_effort": "medium", "compute_multiplier": 1.0, "eval_samples": 2},
        },
    },
    "hyperparameters": None,
    "model": "o4-mini-2025-04-16",
}
REINFORCEMENT_TAGS = ("openai", "o4-mini-2025-04-16", "reinforcement")
GRADED = 'scores/graders/string_check/exact, "it" / 2/train_reward_mean'


def cases() -> list[Case]:
    """All of them, newest first as it happens."""
    return [*_spellings(), *_encodings(), *_steps(), *_sources(), *_methods(), *_no_metrics()]


def _spellings() -> list[Case]:
    newer = (
        "step,train_loss,train_mean_token_accuracy,valid_loss,valid_mean_token_accuracy,full_valid_loss,"
        "full_valid_mean_token_accuracy\n1,2.5,0.5,2.25,0.25,,\n2,1.5,0.75,,,1.25,0.875\n"
    )
    oldest = "step,elapsed_tokens,elapsed_examples,training_loss,training_sequence_accuracy\n1,100,1,0.5,0.0\n"
    return [
        Case(
            job=job("plain", results=(csv("plain", PLAIN),)),
            rows=PLAIN_ROWS,
            times={1: START + 500, 2: END},
            config={
                "fine_tune_job_id": "ftjob-plain",
                "model": "gpt-4.1-mini-2025-04-14",
                "method": "supervised",
                "hyperparameters": {"n_epochs": 3, "batch_size": 1, "learning_rate_multiplier": 1.8},
                "seed": 7,
                "suffix": None,
                "organization_id": "org-1",
                "result_files": ["file-plain"],
                "training_file": None,
                "created_at": "2025-10-09T08:53:20Z",
                "finished_at": "2025-10-09T09:10:00Z",
                "metadata": None,
                "integrations": None,
                "grader": None,
                "missing_files": None,
            },
            summary={
                "status": "succeeded",
                "fine_tuned_model": "ft:gpt-4.1-mini:plain",
                "trained_tokens": 100,
                "duration_seconds": 1000,
                "error": None,
                "train_loss": {"min": 1.5, "last": 1.5},
                "train_mean_token_accuracy": {"max": 0.75, "last": 0.75},
                "valid_loss": {"min": 1.75, "last": 1.75},
            },
        ),
        Case(
            job=job("newer", results=(csv("newer", newer),)),
            rows={
                1: {
                    "train_loss": 2.5,
                    "train_mean_token_accuracy": 0.5,
                    "valid_loss": 2.25,
                    "valid_mean_token_accuracy": 0.25,
                },
                2: {
                    "train_loss": 1.5,
                    "train_mean_token_accuracy": 0.75,
                    "full_valid_loss": 1.25,
                    "full_valid_mean_token_accuracy": 0.875,
                },
            },
        ),
        Case(
            job=job(
                "azure-documented",
                results=(csv("azd", "step,train_loss,validation_mean_token_accuracy\n1,2.5,0.5\n", encoded=False),),
            ),
            rows={1: {"train_loss": 2.5, "valid_mean_token_accuracy": 0.5}},
        ),
        Case(
            job=job("oldest", results=(csv("oldest", oldest, encoded=False),)),
            rows={
                1: {
                    "elapsed_tokens": 100.0,
                    "elapsed_examples": 1.0,
                    "training_loss": 0.5,
                    "training_sequence_accuracy": 0.0,
                }
            },
            summary={"elapsed_tokens": 100, "training_loss": {"min": 0.5, "last": 0.5}},
        ),
        Case(
            job=job("odd-names", results=(csv("odd", 'step,a.b_loss,x*,"q ""q"", z",שלום\n1,1,2,3,4\n'),)),
            rows={1: {"a.b_loss": 1.0, "x*": 2.0, 'q "q", z': 3.0, "שלום": 4.0}},
            summary={"a.b_loss": {"min": 1, "last": 1}, "x*": 2},
        ),
        Case(
            job=job("taken-names", results=(csv("taken", "step,status,train_data,_timestamp,loss\n1,9,9,9,1\n"),)),
            rows={1: {"status": 9.0, "loss": 1.0}},
            summary={"status": "succeeded", "train_data": None},
            notes=("_timestamp, train_data",),
        ),
    ]


def _encodings() -> list[Case]:
    text = "step,train_loss\n1,2.5\n2,1.5\n"
    served = {
        "base64-lines": wrapped(text, 10),
        "base64-crlf-lines": wrapped(text, 12, "\r\n") + b"\r\n",
        "base64-unpadded": wrapped(text, 10_000).rstrip(b"="),
        "plain-text": text.encode(),
        "bom": b"\xef\xbb\xbf" + text.encode(),
        "bom-in-base64": wrapped("\ufeff" + text, 10_000),
        "crlf": text.replace("\n", "\r\n").encode(),
        "blank-lines": b"\nstep,train_loss\n\n1,2.5\n   \n2,1.5\n\n",
        "no-final-newline": text.rstrip("\n").encode(),
    }
    return [
        *(
            Case(job=job(name, results=(csv(name, content, encoded=False),)), rows=LOSS)
            for name, content in served.items()
        ),
        Case(
            job=job("ragged", results=(csv("ragged", "step,train_loss,valid_loss\n1,2.5\n2,1.5,1.25,\n3,1,1,9\n"),)),
            rows={
                1: {"train_loss": 2.5},
                2: {"train_loss": 1.5, "valid_loss": 1.25},
                3: {"train_loss": 1.0, "valid_loss": 1.0},
            },
            notes=("lines with more or fewer cells than the header: 2, 4",),
        ),
        Case(
            job=job("cut", results=(csv("cut", "step,train_loss,valid_loss\n1,2.5,2.25\n2,1.5,1.25\n3,0.7"),)),
            rows={1: {"train_loss": 2.5, "valid_loss": 2.25}, 2: {"train_loss": 1.5, "valid_loss": 1.25}},
        ),
        Case(
            job=job(
                "cut-in-a-character",
                results=(csv("cut-char", "step,train_loss,phase\n1,2.5,начало\n2,1.5,коне".encode()[:-1]),),
            ),
            rows={1: {"train_loss": 2.5}, 2: {"train_loss": 1.5}},
            notes=("text, which is left out: phase",),
        ),
        Case(
            job=job("digits", results=(csv("digits", "step,train_loss\n1,0.12345678901234568\n2,1e-300\n3,5E+20\n"),)),
            rows={1: {"train_loss": 0.12345678901234568}, 2: {"train_loss": 1e-300}, 3: {"train_loss": 5e20}},
        ),
        Case(
            job=job(
                "text-and-nan", results=(csv("text", "step,loss,phase,x\n1,2.5,warm,nan\n2,1.5,up,inf\n3,,up,3\n"),)
            ),
            rows={1: {"loss": 2.5}, 2: {"loss": 1.5}, 3: {"x": 3.0}},
            notes=("text, which is left out: phase", "NaN or infinity, which is left out: x"),
        ),
    ]


def _steps() -> list[Case]:
    return [
        Case(
            job=job("float-steps", results=(csv("fs", "step,train_loss\n1.0,2.5\n2.0,1.5\n"),)),
            rows=LOSS,
        ),
        Case(
            job=job("unsorted", results=(csv("un", "step,train_loss,valid_loss\n19,1.5,\n1,2.5,\n10,2,\n10,,1\n"),)),
            rows={1: {"train_loss": 2.5}, 10: {"train_loss": 2.0, "valid_loss": 1.0}, 19: {"train_loss": 1.5}},
        ),
        Case(
            job=job("no-steps", results=(csv("ns", "train_loss\n2.5\n1.5\n"),)),
            rows=LOSS,
            notes=("no usable column of steps",),
        ),
        Case(
            job=job("negative-steps", results=(csv("neg", "step,train_loss\n-1,2.5\n-1,1.5\n"),)),
            rows={1: {"train_loss": 2.5, "step": -1.0}, 2: {"train_loss": 1.5, "step": -1.0}},
            notes=("no usable column of steps",),
        ),
        Case(
            job=job("step-zero", results=(csv("sz", "step,train_loss\n0,2.5\n1,1.5\n"),)),
            rows={0: {"train_loss": 2.5}, 1: {"train_loss": 1.5}},
        ),
    ]


def _sources() -> list[Case]:
    long = tuple(event(n, n // 3, {"step": n, "total_steps": 250, "train_loss": n / 1024}) for n in range(1, 251))
    return [
        Case(
            # The file is rounded, the events are exact; each has what the other lacks.
            job=job(
                "union",
                results=(csv("union", "step,train_loss,valid_loss\n1,2.12346,\n2,0.0,1.25\n4,0.123456789012,\n"),),
                events=(
                    event(1, 5),
                    event(2, 100, {"step": 1, "total_steps": 4, "train_loss": 2.1234567891234}),
                    event(3, 200, {"step": 2, "train_loss": 1.5e-7, "full_valid_loss": 1.125}),
                    event(4, 300, {"step": 3, "train_loss": 0.75, "valid_loss": None}),
                    event(5, 400, {"step": 4, "train_loss": 0.12346}),
                ),
                checkpoints=(checkpoint("ftjob-union", 4, 500, full_valid_loss=1.0625, train_loss=None),),
            ),
            rows={
                1: {"train_loss": 2.1234567891234},
                2: {"train_loss": 1.5e-7, "valid_loss": 1.25, "full_valid_loss": 1.125},
                3: {"train_loss": 0.75},
                4: {"train_loss": 0.123456789012, "full_valid_loss": 1.0625},
            },
            times={1: START + 100, 2: START + 200, 3: START + 300, 4: START + 400},
            summary={"train_loss": {"min": 1.5e-7, "last": 0.123456789012}},
        ),
        Case(
            # Both are given, and are not the same number: the file's stands.
            job=job(
                "disagreement",
                results=(csv("disagreement", "step,reward,train_loss\n1,1.0,0.12345\n2,0.5,0.5\n3,2,0.123\n"),),
                events=(
                    event(1, 100, {"step": 1, "reward": 0.97, "train_loss": 0.1234567}),
                    event(2, 200, {"step": 2, "reward": 0.44, "train_loss": 0.500004}),
                    event(3, 300, {"step": 3, "reward": 1.6, "train_loss": 0.129}),
                ),
            ),
            rows={
                1: {"reward": 1.0, "train_loss": 0.1234567},
                2: {"reward": 0.5, "train_loss": 0.500004},
                3: {"reward": 2.0, "train_loss": 0.123},
            },
        ),
        Case(
            # As a service may list them that keeps no order, or not all times.
            job=job(
                "events-in-any-order",
                events=(
                    event(1, 300, {"step": 3.0, "train_loss": 0.25}),
                    event(2, 250, {"step": 2, "train_loss": 0.5, "phase": "main", "half \ud800": 1.0}),
                    event(3, 200, {"step": 2, "train_loss": 9.0, "valid_loss": 2.0}),
                    event(4, 100, {"step": 1, "train_loss": 0.75}),
                ),
                checkpoints=(
                    checkpoint("ftjob-events-in-any-order", 4, 400, full_valid_loss=0.125) | {"step_number": 4.0},
                ),
            ),
            rows={
                1: {"train_loss": 0.75},
                2: {"train_loss": 0.5, "valid_loss": 2.0, "half ?": 1.0},
                3: {"train_loss": 0.25},
                4: {"full_valid_loss": 0.125},
            },
            times={1: START + 100, 2: START + 250, 3: START + 300, 4: END},
            notes=("metrics events with text, which is left out: phase",),
        ),
        Case(
            # Events are left for the middle alone: what lies around them lies between start and end.
            job=job(
                "gaps",
                results=(csv("gaps", "step,train_loss\n5,5\n10,4\n15,3\n20,2\n30,1\n"),),
                events=(
                    event(1, 100, {"step": 10, "train_loss": 4.0}),
                    event(2, 300, {"step": 20, "train_loss": 2.0}),
                ),
            ),
            rows={step: {"train_loss": loss} for step, loss in {5: 5.0, 10: 4.0, 15: 3.0, 20: 2.0, 30: 1.0}.items()},
            times={5: START + 50, 10: START + 100, 15: START + 200, 20: START + 300, 30: END},
        ),
        Case(
            job=job("pages-of-events", events=long),
            rows={n: {"train_loss": n / 1024} for n in range(1, 251)},
            times={1: START, 3: START + 1, 250: START + 83},
            config={"result_files": None},
        ),
        Case(
            job=job(
                "checkpoints-alone",
                checkpoints=(
                    checkpoint("ftjob-checkpoints-alone", 10, 300, full_valid_loss=0.5),
                    checkpoint("ftjob-checkpoints-alone", 20, 600, full_valid_loss=0.25),
                ),
            ),
            rows={10: {"full_valid_loss": 0.5}, 20: {"full_valid_loss": 0.25}},
        ),
        Case(
            job=job(
                "two-files",
                results=(csv("two-1", "step,train_loss\n1,2.5\n"), csv("two-2", "step,valid_loss\n1,2.25\n2,1\n")),
            ),
            rows={1: {"train_loss": 2.5, "valid_loss": 2.25}, 2: {"valid_loss": 1.0}},
        ),
        Case(
            job=job(
                "file-gone",
                results=(gone := csv("gone", PLAIN),),
                without=(gone,),
                events=(event(1, 100, {"step": 1, "train_loss": 2.5}),),
            ),
            rows={1: {"train_loss": 2.5}},
            missing=("file-gone",),
            notes=("result file file-gone could not be had",),
        ),
        Case(
            job=job(
                "no-times",
                results=(csv("no-times", "step,train_loss\n1,2.5\n2,1.5\n"),),
                created_at=None,
                finished_at=None,
            ),
            rows=LOSS,
            config={"created_at": None, "finished_at": None},
            summary={"duration_seconds": None},
        ),
    ]


def _methods() -> list[Case]:
    nested = {
        "step": 1,
        "total_steps": 2,
        "train_mean_reward": 0.5,
        "scores": {
            "train_reward_mean": 0.5,
            "valid_reward_mean": 0.25,
            "graders": [{"name": 'exact, "it" / 2', "type": "string_check", "train_reward_mean": 0.125}],
        },
        "errors": {"graders": [{"name": "exact", "type": "string_check", "train_other_error_mean": 0.0}]},
        "usage": {"samples": {"train_completion_tokens_mean": 70.5}},
        "model_graders_token_usage": {"gpt-4.1": {"train_prompt_tokens_mean": 12.5}},
    }
    azure = (
        "step,train_mean_reward,full_valid_mean_reward,completion_tokens_mean,mean_unresponsive_rewards,"
        '"scores/graders/string_check/exact, ""it"" / 2/train_reward_mean",pg_loss_sum,phase\n'
        "1,0.5,,100,0,0.125,0.25,train\n1,,0.25,,,,,valid\n2,0.75,,90,1,0.5,0.5,train\n"
    )
    return [
        Case(
            job=job("dpo", results=(csv("dpo", "step,train_loss,rewards/margins,kl\n1,0.5,-1.5,0.01\n"),), **DPO),
            rows={1: {"train_loss": 0.5, "rewards/margins": -1.5, "kl": 0.01}},
            summary={"rewards/margins": {"max": -1.5, "last": -1.5}, "kl": 0.01},
            config={"method": "dpo", "hyperparameters": {"beta": 0.1, "n_epochs": 2, "batch_size": 4}},
            tags=("openai", "gpt-4.1-mini-2025-04-14", "dpo"),
        ),
        Case(
            job=job(
                "reinforcement-events",
                events=(event(1, 100, nested), event(2, 200, {"step": 2, "train_mean_reward": 0.25})),
                **REINFORCEMENT,
            ),
            rows={
                1: {
                    "train_mean_reward": 0.5,
                    "full_valid_mean_reward": 0.25,
                    GRADED: 0.125,
                    "errors/graders/string_check/exact/train_other_error_mean": 0.0,
                    "usage/samples/train_completion_tokens_mean": 70.5,
                    "model_graders_token_usage/gpt-4.1/train_prompt_tokens_mean": 12.5,
                },
                2: {"train_mean_reward": 0.25},
            },
            config={
                "method": "reinforcement",
                "hyperparameters": {"reasoning_effort": "medium", "compute_multiplier": 1.0, "eval_samples": 2},
                "grader": {
                    "type": "string_check",
                    "name": "exact, 'it'",
                    "operation": "eq",
                    "input": "a",
                    "reference": "b",
                },
            },
            summary={"train_mean_reward": {"max": 0.5, "last": 0.25}},
            tags=REINFORCEMENT_TAGS,
        ),
        Case(
            job=job("reinforcement-azure", results=(csv("rft", azure, "results.csv", encoded=False),), **REINFORCEMENT),
            rows={
                1: {
                    "train_mean_reward": 0.5,
                    "full_valid_mean_reward": 0.25,
                    "completion_tokens_mean": 100.0,
                    "mean_unresponsive_rewards": 0.0,
                    GRADED: 0.125,
                    "pg_loss_sum": 0.25,
                },
                2: {
                    "train_mean_reward": 0.75,
                    "completion_tokens_mean": 90.0,
                    "mean_unresponsive_rewards": 1.0,
                    GRADED: 0.5,
                    "pg_loss_sum": 0.5,
                },
            },
            summary={"mean_unresponsive_rewards": 1, "pg_loss_sum": {"min": 0.25, "last": 0.5}},
            tags=REINFORCEMENT_TAGS,
            notes=("phase",),
        ),
    ]


def _no_metrics() -> list[Case]:
    return [
        Case(job=job("empty-file", results=(csv("empty", "", encoded=False),)), notes=("it is empty",)),
        Case(
            job=job("header-alone", results=(csv("header", "step,train_loss\n"),)), notes=("no rows below its header",)
        ),
        Case(
            job=job("weights", results=(csv("weights", bytes(range(256)) * 40, "model.dat", encoded=False),)),
            notes=("it is binary",),
        ),
        Case(job=job("nothing")),
    ]
