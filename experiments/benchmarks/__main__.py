"""``python -m experiments.benchmarks``: see the package."""

import argparse
import json
import os
import pathlib
import sys
import warnings

# Before any library starts its threads.
for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[variable] = "1"
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

import jax  # noqa: E402

jax.config.update("jax_enable_x64", True)

from experiments.benchmarks.chart import chart  # noqa: E402
from experiments.benchmarks.cold import COLD  # noqa: E402
from experiments.benchmarks.hierarchy import HIERARCHY  # noqa: E402
from experiments.benchmarks.many_fits import MANY_FITS  # noqa: E402
from experiments.benchmarks.measure import measure, table  # noqa: E402
from experiments.benchmarks.overhead import OVERHEAD  # noqa: E402
from experiments.benchmarks.path_workloads import PATH_WORKLOADS  # noqa: E402
from experiments.benchmarks.workloads import WORKLOADS as FIT_WORKLOADS  # noqa: E402

WORKLOADS = FIT_WORKLOADS | MANY_FITS | HIERARCHY | PATH_WORKLOADS | OVERHEAD | COLD


def main() -> int:
    """Run the workloads that were named, print a table for each, write JSON and a bar chart."""
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks", description="lossgeo beside its peers")
    parser.add_argument("workloads", nargs="*", help=f"of {', '.join(WORKLOADS)}; all by default")
    parser.add_argument("--reps", type=int, default=3, help="warm calls of each contender")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("benchmark_results"))
    options = parser.parse_args()
    unknown = [name for name in options.workloads if name not in WORKLOADS]
    if unknown:
        parser.error(f"unknown workloads {unknown}; there are {', '.join(WORKLOADS)}")
    if options.reps < 1:
        parser.error(f"--reps must be at least 1, but is {options.reps}")
    warnings.filterwarnings("ignore")
    options.out.mkdir(parents=True, exist_ok=True)
    results = []
    for name in options.workloads or WORKLOADS:
        found = measure(WORKLOADS[name](), options.reps)
        results.append({"name": name} | found)
        print(table(name, found), flush=True)
        (options.out / "benchmarks.json").write_text(json.dumps(results, indent=1))
        chart(results, options.out / "benchmarks.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
