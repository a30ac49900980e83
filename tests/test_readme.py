"""The README's example runs as printed, and its two set-up commands are single lines."""

import re
from pathlib import Path

import jax

README = (Path(__file__).parents[1] / "README.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_the_example_runs_as_printed(capsys):
    (example,) = blocks("python")
    assert len([line for line in example.splitlines() if line.strip()]) <= 15
    with jax.numpy_rank_promotion("allow"):
        exec(compile(example, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert "CONVERGED" in printed and "sigma" in printed


def test_set_up_is_two_single_lines():
    commands = [block.strip() for block in blocks("sh")]
    assert len(commands) == 2
    assert all("\n" not in command for command in commands)
    assert commands[0].endswith("python -m experiments") and "pytest" in commands[1]
