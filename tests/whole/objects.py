"""Jobs whose own objects come in every shape, and the training and validation files that belong to jobs."""

from __future__ import annotations

import json

from tests.whole.case import START, Case, checkpoint, csv, event, file, job

LOSS = "step,train_loss\n1,2.5\n"
ROW = {1: {"train_loss": 2.5}}

USER = {"role": "user", "content": "Hello?"}
ASSISTANT = {"role": "assistant", "content": "Hi."}
CHAT = {"messages": [{"role": "system", "content": "Be kind."}, USER, ASSISTANT]}
SHARED = file("shared", json.dumps(CHAT) + "\n", "shared.jsonl")


def cases() -> list[Case]:
    """All of them."""
    return [*_objects(), *_unsuccessful(), *_formats(), *_contents(), *_files()]


def lines(*examples: object) -> bytes:
    """A training file with an example a line."""
    return b"".join(json.dumps(example, ensure_ascii=False).encode() + b"\n" for example in examples)


def _objects() -> list[Case]:
    metadata = {f"key {number}": f"value {number}" for number in range(16)}
    return [
        Case(
            job=job(
                "full",
                results=(csv("full", LOSS),),
                train=SHARED,
                events=(event(1, 10), event(2, 100, {"step": 1, "train_loss": 2.5})),
                checkpoints=(checkpoint("ftjob-full", 1, 200, train_loss=2.5), checkpoint("ftjob-full", 2, 300)),
                metadata=metadata,
                user_provided_suffix="support",
                seed=0,
                trained_tokens=0,
                integrations=[{"type": "wandb", "wandb": {"project": "p", "entity": None, "tags": []}}],
                usage_metrics={"tokens": [1, 2.5]},
                shared_with_openai=False,
                eval_id="eval-1",
            ),
            rows=ROW,
            config={
                "metadata": metadata,
                "suffix": "support",
                "seed": 0,
                "integrations": [{"type": "wandb", "wandb": {"project": "p"}}],
                "training_file": "file-shared",
                "training_file_name": "shared.jsonl",
                "training_file_bytes": len(SHARED.content),
                "n_train": 1,
            },
            summary={"trained_tokens": 0},
            examples=1,
        ),
        Case(
            job=job("legacy", results=(csv("legacy", LOSS),), method=None, hyperparameters={"n_epochs": 4}),
            rows=ROW,
            config={"hyperparameters": {"n_epochs": 4}, "method": None},
            tags=("openai", "gpt-4.1-mini-2025-04-14"),
        ),
        Case(
            job=job(
                "numbers-as-text",
                method={
                    "type": "supervised",
                    "supervised": {"hyperparameters": {"n_epochs": "3", "batch_size": "auto"}},
                },
                hyperparameters={"learning_rate_multiplier": "1.5"},
            ),
            config={"hyperparameters": {"n_epochs": 3, "batch_size": "auto", "learning_rate_multiplier": 1.5}},
        ),
        Case(
            job=job("no-hyperparameters", hyperparameters=None, method={"type": "supervised", "supervised": None}),
            config={"hyperparameters": None},
        ),
        Case(
            job=job(
                "hyperparameters-in-two-places",
                hyperparameters={"n_epochs": 3, "batch_size": "auto", "beta": None},
                method={"type": "dpo", "dpo": {"hyperparameters": {"n_epochs": "auto", "batch_size": 4, "beta": 0.1}}},
            ),
            config={"hyperparameters": {"n_epochs": 3, "batch_size": 4, "beta": 0.1}},
            tags=("openai", "gpt-4.1-mini-2025-04-14", "dpo"),
        ),
        Case(
            job=job(
                "floats-and-an-odd-clock",
                created_at=START + 0.5,
                finished_at=START,
                trained_tokens=100.0,
                model="openai/",
            ),
            config={"created_at": "2025-10-09T08:53:20.500000Z", "finished_at": "2025-10-09T08:53:20Z"},
            summary={"trained_tokens": 100, "duration_seconds": None},
            tags=("openai", "supervised"),
        ),
        Case(
            job=job("error-as-text", status="failed", fine_tuned_model=None, error="Out of quota."),
            summary={"error": {"message": "Out of quota."}},
        ),
        Case(job=job("null-error", error={"code": None, "message": None, "param": None}), summary={"error": None}),
        Case(
            job=job("other-types", created_at="soon", finished_at=-5, seed="x", trained_tokens="many", metadata=[1]),
            config={"created_at": None, "finished_at": None, "seed": None, "metadata": None},
            summary={"trained_tokens": None, "duration_seconds": None},
        ),
        Case(
            job=job(
                "all-null",
                model=None,
                method=None,
                hyperparameters=None,
                result_files=None,
                organization_id=None,
                trained_tokens=None,
                error=None,
                integrations=None,
                seed=None,
                fine_tuned_model=None,
            ),
            summary={"fine_tuned_model": None, "trained_tokens": None},
            tags=("openai",),
        ),
        Case(
            job=job("open-model", model="openai/gpt-oss-20b"),
            config={"model": "openai/gpt-oss-20b"},
            tags=("openai", "gpt-oss-20b", "supervised"),
        ),
        Case(
            job=job("long-words", model="m" * 200, user_provided_suffix="s" * 300),
            config={"model": "m" * 200, "suffix": "s" * 300},
            tags=("openai", "m" * 64, "supervised"),
        ),
        Case(
            job=job("half-characters", metadata={"emoji": "🦜", "half": "\ud800"}, user_provided_suffix="שלום \udfff"),
            config={"metadata": {"emoji": "🦜", "half": "?"}, "suffix": "שלום ?"},
        ),
        Case(
            job=job("x", id="ft-oldStyleOfId", results=(csv("old-id", LOSS),)),
            rows=ROW,
            config={"fine_tune_job_id": "ft-oldStyleOfId"},
        ),
    ]


def _unsuccessful() -> list[Case]:
    return [
        Case(
            job=job(
                "failed",
                train=SHARED,
                status="failed",
                fine_tuned_model=None,
                error={"code": "invalid_n_examples", "message": "Too few examples.", "param": "training_file"},
                events=(
                    event(1, 100, {"step": 1, "train_loss": 2.5}),
                    event(2, 200, level="error", message="Too few examples."),
                ),
                checkpoints=(checkpoint("ftjob-failed", 1, 150, full_valid_loss=2.25),),
            ),
            rows={1: {"train_loss": 2.5, "full_valid_loss": 2.25}},
            summary={
                "status": "failed",
                "error": {"code": "invalid_n_examples", "message": "Too few examples.", "param": "training_file"},
                "fine_tuned_model": None,
            },
            examples=1,
        ),
        Case(
            job=job("cancelled", status="cancelled", fine_tuned_model=None, trained_tokens=None, finished_at=None),
            summary={"status": "cancelled", "error": None},
        ),
    ]


def _formats() -> list[Case]:
    call = {"id": "call-1", "type": "function", "function": {"name": "clock", "arguments": '{"zone": "UTC"}'}}
    tools = [{"type": "function", "function": {"name": "clock", "parameters": {}}}]
    talk = {
        "messages": [
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": "What time is it?"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "call-1", "content": "12:00"},
            {"role": "assistant", "content": "Noon.", "weight": 0},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "And here?"},
                    {"type": "image_url", "image_url": {"url": "https://x/y.png"}},
                ],
            },
            {"role": "assistant", "content": "Noon, too."},
        ],
        "tools": tools,
        "parallel_tool_calls": False,
    }
    functions = {
        "messages": [USER, {"role": "assistant", "function_call": {"name": "clock", "arguments": "{}"}}],
        "functions": [{"name": "clock"}],
    }
    preference = {"input": {"messages": [USER]}, "preferred_output": [ASSISTANT], "non_preferred_output": [USER]}
    reinforcement = {"messages": [{"role": "system", "content": "Think."}, USER], "answer": "4", "points": 2}
    return [
        Case(
            job=job("chat", train=file("chat", lines(CHAT, talk, functions)), results=(csv("chat-r", LOSS),)),
            rows=ROW,
            examples=3,
            cells={
                0: {"index": 0, "system": "Be kind.", "user": "Hello?", "assistant": "Hi.", "turns": 3, "tools": ""},
                1: {
                    "system": "Be brief.",
                    "user": "And here?\n[image: https://x/y.png]",
                    "assistant": "Noon, too.",
                    "turns": 7,
                    "tools": "clock",
                    "conversation": "developer: Be brief.\n\nuser: What time is it?\n\n"
                    'assistant: → clock({"zone": "UTC"})\n\ntool clock: 12:00\n\nassistant (weight 0): Noon.\n\n'
                    "user: And here?\n[image: https://x/y.png]\n\nassistant: Noon, too.",
                },
                2: {"assistant": "→ clock({})", "tools": "clock", "system": ""},
            },
        ),
        Case(
            job=job("preference", train=file("pref", lines(preference, preference))),
            examples=2,
            cells={
                1: {
                    "index": 1,
                    "prompt": "user: Hello?",
                    "preferred": "assistant: Hi.",
                    "non_preferred": "user: Hello?",
                }
            },
        ),
        Case(
            job=job("reinforcement", train=file("rein", lines(reinforcement))),
            examples=1,
            cells={0: {"system": "Think.", "prompt": "user: Hello?", "reference": '{"answer": "4", "points": 2}'}},
        ),
        Case(
            job=job("completions", train=file("comp", lines({"prompt": "2+2", "completion": " 4"}))),
            examples=1,
            cells={0: {"prompt": "2+2", "completion": " 4"}},
        ),
        Case(
            job=job("other-format", train=file("other", lines({"text": "free"}, {"text": "form"}))),
            examples=2,
            cells={1: {"index": 1, "raw": '{"text": "form"}'}},
        ),
    ]


def _contents() -> list[Case]:
    def completion(text: str) -> dict[str, str]:
        return {"prompt": text, "completion": "ok"}

    hostile = ["שלום עולם", "a\u2028b\u2029c\x85d", "🦜" * 3, 'tab\tquote" back\\', "x" * 1_000_000]
    broken = lines(completion("one")) + b'{"prompt": "two", \n[1]\n\xff\xfe\n\n' + lines(completion("three"))
    return [
        Case(
            job=job("texts", train=file("texts", lines(*map(completion, hostile)))),
            examples=5,
            cells={number: {"prompt": text} for number, text in enumerate(hostile)},
        ),
        Case(
            job=job("broken-lines", train=file("broken", broken)),
            examples=2,
            broken=[2, 3, 4],
            cells={0: {"prompt": "one"}, 1: {"prompt": "three"}},
            notes=("3 lines are no JSON objects: 2, 3, 4",),
        ),
        Case(
            job=job(
                "bom-and-crlf",
                train=file("bom-data", b"\xef\xbb\xbf" + lines(completion("a")).replace(b"\n", b"\r\n\r\n")),
            ),
            examples=1,
            cells={0: {"prompt": "a", "raw": '{"prompt": "a", "completion": "ok"}'}},
        ),
        Case(
            job=job("half-a-character", train=file("half", b'{"prompt": "a\\ud800b", "completion": "c"}\n')),
            examples=1,
            cells={0: {"prompt": "a?b"}},
        ),
        Case(
            job=job(
                "files-put-together",
                train=file("together", 2 * (b"\xef\xbb\xbf" + lines({"prompt": ["a", "b"], "completion": "c"}))),
            ),
            examples=2,
            cells={1: {"prompt": "a\nb"}},
        ),
        Case(job=job("empty-dataset", train=file("nothing", b"")), examples=0),
        Case(job=job("binary-dataset", train=file("binary", bytes(range(256)))), examples=0, broken=[1, 2]),
    ]


def _files() -> list[Case]:
    own = lines({"prompt": "p", "completion": "c"})
    return [
        Case(
            job=job("sharing", train=SHARED, valid=SHARED, results=(csv("sharing", LOSS),)),
            rows=ROW,
            examples=1,
            config={"n_train": 1, "n_valid": 1, "validation_file": "file-shared"},
        ),
        Case(
            job=job("strange-names", train=file("strange", own, "../../a b/ü?*.jsonl"), valid=file("unnamed", own, "")),
            examples=1,
        ),
        Case(
            job=job("named-like-a-table", train=file("table", own, "train_data.table.json")),
            examples=1,
        ),
        Case(
            job=job("dataset-gone", train=(gone := file("gone-data", own)), valid=SHARED, without=(gone,)),
            missing=("file-gone-data",),
            config={"training_file": "file-gone-data", "n_train": None, "n_valid": 1},
            notes=("file-gone-data could not be had",),
        ),
        Case(
            job=job("dataset-refused", train=file("refused-data", own), results=(csv("refused", LOSS),)),
            rows=ROW,
            missing=("file-refused-data",),
            refusals={"file-refused-data": 400},
            config={"training_file_name": "data.jsonl"},
            notes=("file-refused-data could not be had",),
        ),
        Case(
            job=job("dataset-forbidden", valid=file("forbidden-data", own)),
            missing=("file-forbidden-data",),
            refusals={"file-forbidden-data": 403},
            notes=("file-forbidden-data could not be had",),
        ),
        Case(job=job("newest", created_at=START + 500, results=(csv("newest", LOSS),)), rows=ROW),
    ]
