"""The experiments run, keep their promises and leave what they promise; the runner's command line."""

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import jax
import matplotlib
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("statsmodels")

from experiments import runner
from experiments.gallery import write_index
from experiments.report import CheckFailed, Report, figure, format_value, write_record

ROOT = Path(__file__).parents[1]
STEMS = runner.available()
PNG = b"\x89PNG\r\n\x1a\n"


def test_the_first_five_experiments_are_there():
    assert [stem[:3] for stem in STEMS][:5] == ["e01", "e02", "e03", "e04", "e05"]


@pytest.mark.parametrize("stem", STEMS)
def test_the_docstring_states_claim_source_and_run_time(stem):
    doc = importlib.import_module(f"experiments.{stem}").__doc__
    assert all(
        re.search(rf"^{name}:$", doc, re.MULTILINE) for name in ("Claim", "Source", "Errata", "Data", "Run time")
    )


QUICKEST = "e02_mle_is_least_squares"


@pytest.mark.parametrize(
    "stem", [stem if stem == QUICKEST else pytest.param(stem, marks=pytest.mark.slow) for stem in STEMS]
)
def test_experiment_passes_its_checks_and_leaves_figure_and_record(stem, tmp_path, capsys):
    main = importlib.import_module(f"experiments.{stem}").main
    x64, style = jax.config.jax_enable_x64, dict(matplotlib.rcParams)
    assert main(fast=True, out=tmp_path) is None
    assert (jax.config.jax_enable_x64, dict(matplotlib.rcParams)) == (x64, style)

    assert (tmp_path / f"{stem}.png").read_bytes().startswith(PNG)
    record = json.loads((tmp_path / f"{stem}.json").read_text(encoding="utf-8"))
    assert record["passed"] and record["error"] is None and record["fast"]
    assert len(record["checks"]) >= 10 and all(check["passed"] for check in record["checks"])
    assert record["environment"]["dtype"] == "float64" and record["environment"]["jax"] == jax.__version__
    table = capsys.readouterr().out
    assert table.startswith(stem) and table.count("pass") >= len(record["checks"]) and "FAIL" not in table


def test_a_missed_check_raises_after_everything_is_written(tmp_path, capsys):
    with pytest.raises(CheckFailed, match="wrong: 2 <= 1"):
        with Report("e99_example.py", "A claim.", out=tmp_path) as report:
            report.check("right", -1e-9, 1e-8)
            report.check("wrong", 2.0, 1.0)
            report.check("not a number", float("nan"), 1.0)
            report.check_at_least("enough", 3, 2)
            report.check_equal("name", "SEPARATED", "SEPARATED")
            fig = figure("Title", "formula", size=(3, 2))
            fig.add_subplot()
            report.save(fig)
    assert (tmp_path / "e99_example.png").exists()
    record = json.loads((tmp_path / "e99_example.json").read_text(encoding="utf-8"))
    assert [check["passed"] for check in record["checks"]] == [True, False, False, True, True]
    assert not record["passed"] and record["checks"][2]["value"] == "nan"
    assert capsys.readouterr().out.count("FAIL") == 2


def test_an_exception_inside_is_recorded_and_passed_on(tmp_path):
    with pytest.raises(ZeroDivisionError):
        with Report("e99_example.py", "A claim.", out=tmp_path) as report:
            report.check("right", 0.0, 1.0)
            raise ZeroDivisionError("by zero")
    record = json.loads((tmp_path / "e99_example.json").read_text(encoding="utf-8"))
    assert not record["passed"] and record["error"] == "ZeroDivisionError: by zero" and len(record["checks"]) == 1


@pytest.mark.parametrize(
    ("typed", "wanted"), [("e2", "e02"), ("E02", "e02"), ("e05_laplace_prior_is_sparse_map", "e05")]
)
def test_names_may_be_short(typed, wanted):
    assert [stem[:3] for stem in runner.resolve([typed])] == [wanted]


def test_no_name_is_every_experiment_and_doubles_run_once():
    assert runner.resolve([]) == STEMS
    assert runner.resolve(["e3", "e2", "e03"]) == STEMS[1:3]


def test_an_unknown_name_is_an_error_that_lists_what_there_is(capsys):
    with pytest.raises(SystemExit) as stopped:
        runner.cli(["e2", "e77"])
    assert stopped.value.code == 2
    message = capsys.readouterr().err
    assert "unknown experiment: e77" in message and all(stem in message for stem in STEMS)


def test_list_runs_nothing(capsys, tmp_path):
    assert runner.cli(["--list", "--out", str(tmp_path)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(STEMS) and not list(tmp_path.iterdir())


def test_the_runner_goes_on_after_a_failure_and_says_so(tmp_path, monkeypatch, capsys):
    class Module:
        def __init__(self, stem):
            self.stem = stem

        def main(self, *, seed, fast, out):
            if self.stem == STEMS[0]:
                raise RuntimeError("broken <script>")
            with Report(self.stem, "A claim.\n\nClaim:\n    It holds.", out=out, seed=seed, fast=fast) as report:
                report.check("error", 0.0, 1e-12)

    monkeypatch.setattr(runner.importlib, "import_module", lambda name: Module(name.removeprefix("experiments.")))
    assert runner.cli(["e1", "e2", "--fast", "--seed", "4", "--out", str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert "1 of 2 experiments passed" in out and f"FAILED {STEMS[0]}" in out and "broken <script>" in out
    assert json.loads((tmp_path / f"{STEMS[1]}.json").read_text(encoding="utf-8"))["seed"] == 4
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "It holds." in page and "broken &lt;script&gt;" in page and "1 of 2 experiments" in page


def test_the_gallery_is_one_page_with_relative_links(tmp_path):
    report = Report("e42_example.py", "A & B.\n\nClaim:\n    x < y.\n\n    More.", out=tmp_path)
    report.check("small", 1e-15, 1e-12)
    report.figure_name = "e42_example.png"
    write_record(tmp_path, report.name, report.record(1.5))
    page = write_index(tmp_path).read_text(encoding="utf-8")
    assert 'src="e42_example.png"' in page and "A &amp; B" in page and "<p>x &lt; y.</p><p>More.</p>" in page
    assert "E42" in page and "1.0e-15" in page and "http" not in page


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (3, "3"), (1e-13, "1.0e-13"), (345.388, "345.4"), ("inf", "inf"), (0.02, "0.02")]
)
def test_numbers_are_short(value, text):
    assert format_value(value) == text


@pytest.mark.slow
def test_the_command_line_writes_the_gallery(tmp_path):
    command = [sys.executable, "-m", "experiments", "e2", "--fast", "--out", str(tmp_path / "new" / "gallery")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "1 of 1 experiments passed" in done.stdout and "e02_mle_is_least_squares" in done.stderr
    page = (tmp_path / "new" / "gallery" / "index.html").read_text(encoding="utf-8")
    assert 'src="e02_mle_is_least_squares.png"' in page and "FAIL" not in page
