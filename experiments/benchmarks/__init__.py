"""Benchmarks: lossgeo beside every installed peer, equal optimality stated beside every time.

``python -m experiments.benchmarks [workloads] [--reps 3] [--out DIR]``

Protocol: one pinned core, one thread in every library, process CPU time, contenders interleaved, the minimum of the
warm calls; the first call, with its compilation, apart. Data lie in the layout that each side likes. Beside each time
stand the optimality gap of the answer and the peak of memory over the data. Peers that are not installed are named and
left out. Generalised linear models are timed twice: declared by ``models.glm`` and written as plain functions.
"""
