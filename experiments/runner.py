"""Runs experiments by name, keeps going after a failure, and writes the gallery."""

import argparse
import importlib
import inspect
import pkgutil
import re
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

import experiments
from experiments.gallery import write_index
from experiments.report import Report, write_record


def available() -> list[str]:
    """Stems of all experiments, in order: ``e02_mle_is_least_squares`` and so on."""
    found = (module.name for module in pkgutil.iter_modules(experiments.__path__))
    return sorted(name for name in found if re.fullmatch(r"e\d\d_\w+", name))


def resolve(names: Sequence[str]) -> list[str]:
    """Stems for what the user typed: ``e2``, ``e02`` or a whole stem, in any case. Nothing typed is everything.

    Raises:
        ValueError: a name that is no experiment; the message lists what there is.
    """
    stems = available()
    keys = {stem: stem for stem in stems}
    keys |= {stem[:3]: stem for stem in stems} | {f"e{int(stem[1:3])}": stem for stem in stems}
    unknown = [name for name in names if name.lower() not in keys]
    if unknown:
        listed = "\n".join(f"  {stem}" for stem in stems)
        raise ValueError(f"unknown experiment: {', '.join(unknown)}. There are (e2 stands for e02_...):\n{listed}")
    return sorted({keys[name.lower()] for name in names}) or stems


def run(stems: Sequence[str], *, out: Path, fast: bool = False, seed: int = 0) -> dict[str, str]:
    """Run experiments and write ``index.html``.

    Returns:
        The failures: stem to message, empty if all is well.
    """
    out.mkdir(parents=True, exist_ok=True)
    failures: dict[str, str] = {}
    bar = tqdm(stems, unit="experiment", dynamic_ncols=True)
    for stem in bar:
        bar.set_description(stem)
        bar.clear()
        for old in (out / f"{stem}.json", out / f"{stem}.png"):
            old.unlink(missing_ok=True)
        start = time.perf_counter()
        try:
            importlib.import_module(f"experiments.{stem}").main(seed=seed, fast=fast, out=out)
        except Exception as error:
            failures[stem] = f"{type(error).__name__}: {error}"
            tqdm.write(traceback.format_exc())
            _record_crash(stem, out, failures[stem], time.perf_counter() - start)
    bar.close()
    write_index(out)
    return failures


def _record_crash(stem: str, out: Path, message: str, seconds: float) -> None:
    """Leave a record of an experiment that died before it could write one itself."""
    if not (out / f"{stem}.json").exists():
        write_record(out, stem, Report(stem, stem, out=out).record(seconds, message))


def cli(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status: 0, or 1 if an experiment failed."""
    parser = argparse.ArgumentParser("python -m experiments", description="Run the experiments and write a gallery.")
    parser.add_argument("names", nargs="*", help="e2, e02 or e02_mle_is_least_squares; all unless given")
    parser.add_argument("--fast", action="store_true", help="fewer draws and coarser grids; the same checks")
    parser.add_argument("--out", type=Path, default=Path("gallery"), help="folder (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of all random numbers (default: %(default)s)")
    parser.add_argument("--list", action="store_true", help="say what there is, and run nothing")
    options = parser.parse_args(arguments)
    try:
        stems = resolve(options.names)
    except ValueError as error:
        parser.error(str(error))
    if options.list:
        for stem in stems:
            print(f"{stem:<40} {_title(stem)}")
        return 0
    start = time.perf_counter()
    failures = run(stems, out=options.out, fast=options.fast, seed=options.seed)
    print(f"{len(stems) - len(failures)} of {len(stems)} experiments passed in {time.perf_counter() - start:.0f} s")
    print(f"gallery: {options.out / 'index.html'}")
    for stem, message in failures.items():
        print(f"\nFAILED {stem}\n{message}")
    return 1 if failures else 0


def _title(stem: str) -> str:
    doc = inspect.getdoc(importlib.import_module(f"experiments.{stem}")) or ""
    return doc.partition("\n")[0]
