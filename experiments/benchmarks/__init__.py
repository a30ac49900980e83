"""Benchmarks: lossgeo beside every installed peer, equal optimality stated beside every time.

``python -m experiments.benchmarks [workloads] [--reps 3] [--out DIR]``

Protocol: one pinned core, one thread in every library, process CPU time, contenders interleaved, the minimum of the
warm calls; the first call, with its compilation, apart. Data lie in the layout that each side likes. Beside each time
stand the optimality gap of the answer and the peak of memory over the data. Peers that are not installed are named and
left out; those of R (glmnet, MASS, TMB, ``glm.fit``) run in a process of R that holds the data, are timed by R's own
clock and compile outside of it. Linear models are timed twice: declared by ``models`` and written as plain functions.
"""
