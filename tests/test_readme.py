"""The README says what is so."""

from __future__ import annotations

import shlex

from tests.readme import README, renewed


def test_help_settings_exit_codes_and_sessions_are_those_of_the_program() -> None:
    text = README.read_text()
    assert renewed(text) == text, "run `poe readme`"


def test_the_two_set_up_lines_come_first_and_are_one_line_each() -> None:
    blocks = [block.partition("```")[0] for block in README.read_text().split("```bash\n")[1:]]
    assert [len(block.strip().splitlines()) for block in blocks] == [1, 1]
    assert [shlex.split(block)[-1] for block in blocks] == ["demo", ".venv/bin/pytest"]
