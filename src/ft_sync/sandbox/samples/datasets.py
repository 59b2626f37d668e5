"""Training files in the four formats, written from the correspondence of an imaginary bicycle shop; pure."""

# ruff: noqa: S311 - seeded on purpose: a sample must come out the same every time

import json
import random
from collections.abc import Iterable
from typing import Any, Final

SHOP: Final = "You answer for Rusty Sprocket, a bicycle shop. Be brief, be right, and never sell what a rag can fix."

BICYCLES: Final = (
    "touring bike",
    "cargo bike",
    "folding bike",
    "gravel bike",
    "tandem",
    "unicycle",
    "grandfather's racer",
    "daughter's balance bike",
    "Brompton",
    "vélo",
    "recumbent",
    "bakfiets",
)

TROUBLES: Final = (
    (
        "The chain of my {bike} squeaks like a mouse with opinions.",
        "That mouse wants oil. Wipe the chain with a rag, one drop on each roller, wipe again, ride.",
    ),
    (
        "My {bike} shifts on its own when I climb.",
        "The cable has stretched. Turn the barrel adjuster half a turn and try the hill once more.",
    ),
    (
        "How hard should I pump the tyres of my {bike}?",
        "The range is on the side of the tyre. Start in the middle; go lower for cobbles and comfort.",
    ),
    (
        "Something goes tock, tock, tock when I pedal my {bike}.",
        "Once a turn of the cranks: tighten the pedals. Once a turn of the wheel: a stone in the tread.",
    ),
    (
        "The front brake of my {bike} howls and dogs howl back.",
        "Toe the pads in: the front edge should touch the rim first, by the thickness of a business card.",
    ),
    (
        "Can I carry a cello on my {bike}?",
        "Yes, upright, strapped at two points, and slowly. We have seen a double bass, but only downhill.",
    ),
    (
        "A spoke of my {bike} broke. Can I ride home?",
        "With one spoke gone, open the brake a little and ride gently. With two gone, enjoy the walk.",
    ),
    (
        "The saddle of my {bike} sinks while I ride.",
        "Clean the seat post, grease it, and tighten the clamp to 5 Nm. Still sinking? The post is too thin.",
    ),
    (
        "Do I need new tyres for winter on my {bike}?",
        "For wet leaves, softer ones; for ice, studs. For a week of frost, the bus.",
    ),
    (
        "My {bike} was stolen and returned with a bell it never had. May I keep the bell?",
        "Report the bell, keep the receipt for the lock, and ring it twice when you pass our shop.",
    ),
)

ENDINGS: Final = (
    "",
    " Thanks!",
    " It is urgent; it is always urgent.",
    " I have a multitool and no talent.",
    " P.S. my cat says hello 🐈",
)

FAR_AWAY: Final = (
    (
        "Mein Rad quietscht bei Regen. Muss das so?",
        "Nein. Kette trocknen, ölen, abwischen, dann ist Ruhe. 🚲",
    ),
    ("ブレーキが鳴きます。危ないですか?", "音だけなら心配いりません。パッドの角度を少し変えましょう。"),
    ("הגלגל הקדמי מתנדנד. מה עושים?", "מהדקים את ציר הגלגל, ואם הוא עדיין רוקד, בואו אלינו."),
    ("سلسلة دراجتي تسقط دائمًا", "السلسلة طويلة أو الترس مائل؛ أحضر الدراجة وسنصلحها وأنت تشرب الشاي ☕"),
)


def chat(count: int, *, seed: int) -> bytes:
    """A supervised training file: question and answer, now and then with a system prompt or a second turn."""
    rng = random.Random(seed)
    return jsonl({"messages": _conversation(rng, index)} for index in range(count))


def tool_calls(count: int, *, seed: int) -> bytes:
    """A supervised training file whose assistant looks into the stock before it answers."""
    rng = random.Random(seed)
    return jsonl(_tool_example(rng, index) for index in range(count))


def preferences(count: int, *, seed: int) -> bytes:
    """A DPO training file: one good answer, one that would cost us a customer."""
    rng = random.Random(seed)
    lines = []
    for index in range(count):
        question, answer = _question(rng, index)
        worse = rng.choice(("Have you tried buying a new one?", "No.", "As a bicycle, I cannot answer that."))
        lines.append(
            {
                "input": {"messages": [{"role": "user", "content": question}]},
                "preferred_output": [{"role": "assistant", "content": answer}],
                "non_preferred_output": [{"role": "assistant", "content": worse}],
            }
        )
    return jsonl(lines)


def graded(count: int, *, seed: int) -> bytes:
    """A reinforcement training file: a question, and beside it what the graders compare the answer with."""
    rng = random.Random(seed)
    lines = []
    for index in range(count):
        part, torque = rng.choice((("stem bolt", 5), ("pedal", 35), ("crank arm", 40), ("cassette lockring", 40)))
        bike = BICYCLES[index % len(BICYCLES)]
        question = f"How tight should the {part} of my {bike} be? Answer in newton metres."
        lines.append(
            {
                "messages": [{"role": "developer", "content": SHOP}, {"role": "user", "content": question}],
                "reference_torque": f"{torque} Nm",
                "manual_page": rng.randrange(3, 90),
            }
        )
    return jsonl(lines)


def broken(count: int, *, seed: int, bad_line: int) -> bytes:
    """A chat file of which one line, counted from 1, was cut off by an unlucky copy and paste."""
    lines = chat(count, seed=seed).split(b"\n")
    lines[bad_line - 1] = lines[bad_line - 1][:40]
    return b"\n".join(lines)


def jsonl(lines: Iterable[dict[str, Any]]) -> bytes:
    """The lines as UTF-8 JSONL."""
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()


def _question(rng: random.Random, index: int) -> tuple[str, str]:
    # Every tenth customer writes from far away, so that any alphabet turns up in a small file.
    if index % 10 == 7:  # noqa: PLR2004 - any remainder would do
        return FAR_AWAY[index // 10 % len(FAR_AWAY)]
    question, answer = TROUBLES[index % len(TROUBLES)]
    return question.format(bike=rng.choice(BICYCLES)) + rng.choice(ENDINGS), answer


def _conversation(rng: random.Random, index: int) -> list[dict[str, Any]]:
    question, answer = _question(rng, index)
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": question},
        {"role": "assistant", "content": answer},
    ]
    if index % 3 == 0:
        messages.insert(0, {"role": "system", "content": SHOP})
    if index % 8 == 1:
        # The first answer is context only: it is not trained on.
        messages[-1]["weight"] = 0
        messages += [
            {"role": "user", "content": "That did not help."},
            {"role": "assistant", "content": "Then bring it in. The kettle is on until six.", "weight": 1},
        ]
    return messages


def _tool_example(rng: random.Random, index: int) -> dict[str, Any]:
    part = rng.choice(("inner tube", "brake pad", "chain", "bell", "left-hand pedal", "Schlauch 28″"))
    shop = rng.choice(("harbour", "old town", "station"))
    stock = rng.randrange(12)
    call_id = f"call_{index:04d}"
    arguments = json.dumps({"part": part, "shop": shop}, ensure_ascii=False)
    call = {"id": call_id, "type": "function", "function": {"name": "look_up_stock", "arguments": arguments}}
    answer = f"We have {stock} at the {shop} shop." if stock else f"None left at the {shop} shop; Friday brings more."
    return {
        "messages": [
            {"role": "system", "content": SHOP},
            {"role": "user", "content": f"Do you have a {part} at the {shop} shop?"},
            {"role": "assistant", "content": None, "tool_calls": [call], "weight": index % 2},
            {"role": "tool", "tool_call_id": call_id, "content": json.dumps({"stock": stock})},
            {"role": "assistant", "content": answer, "weight": 1},
        ],
        "tools": [_STOCK_TOOL],
        "parallel_tool_calls": False,
    }


_STOCK_TOOL: Final = {
    "type": "function",
    "function": {
        "name": "look_up_stock",
        "description": "How many of a part a shop has.",
        "parameters": {
            "type": "object",
            "properties": {"part": {"type": "string"}, "shop": {"type": "string"}},
            "required": ["part", "shop"],
        },
    },
}
