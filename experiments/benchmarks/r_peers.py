"""Peers of R: glm, MASS, glmnet and TMB, each in a process of R that holds the data and is timed by R's own clock."""

import functools
import pathlib
import subprocess
import tempfile
import weakref
from typing import Any

import numpy as np

from experiments.benchmarks.measure import Elsewhere, memory, reset_peak
from experiments.benchmarks.peers import Peer

# Reads the data, then solves once for every line of input and tells the seconds of the processor.
SCRIPT = r"""
folder <- commandArgs(trailingOnly = TRUE)[1]
for (line in readLines(file.path(folder, "shapes"))) {
  parts <- strsplit(line, " ")[[1]]
  shape <- as.integer(parts[-1])
  values <- readBin(file.path(folder, parts[1]), "double", prod(shape))
  assign(parts[1], if (length(shape) > 1) array(values, shape) else values)
}
values <- NULL
source(file.path(folder, "peer.R"))
input <- file("stdin", "r")
while (length(readLines(input, 1)) > 0) {
  invisible(gc())
  writeLines("ready"); flush(stdout())
  invisible(readLines(input, 1))
  begin <- proc.time()
  answer <- solve_it()
  taken <- proc.time() - begin
  writeBin(as.double(answer), file.path(folder, "answer"))
  writeLines(format(sum(taken[c("user.self", "sys.self")]), digits = 15)); flush(stdout())
}
"""


class RProcess:
    """A thunk that solves in R; the process starts, reads its data and compiles what it needs before the first call.

    Args:
        code: R that defines ``solve_it()``, with the arrays in scope by their names.
        arrays: data, written as raw doubles, first index fastest.
        shape: of the answer, last index fastest.
    """

    def __init__(self, code: str, arrays: dict[str, Any], shape: tuple[int, ...]):
        folder = tempfile.TemporaryDirectory(prefix="benchmark_r_")
        self.folder, self.shape = pathlib.Path(folder.name), shape
        lines = []
        for name, array in arrays.items():
            array = np.asarray(array, float)
            array.ravel(order="F").tofile(self.folder / name)
            lines.append(" ".join([name, *map(str, array.shape or (1,))]))
        (self.folder / "shapes").write_text("\n".join(lines) + "\n")
        (self.folder / "peer.R").write_text(code)
        (self.folder / "main.R").write_text(SCRIPT)
        with (self.folder / "log").open("w") as log:
            self.process = subprocess.Popen(
                ["Rscript", "--vanilla", str(self.folder / "main.R"), folder.name],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
            )  # fmt: skip
        weakref.finalize(self, _end, self.process, folder)

    def __call__(self) -> Elsewhere:
        """Solve once."""
        self._say()
        self._hear()
        can_tell, before = reset_peak(self.process.pid), memory("VmRSS", self.process.pid)
        self._say()
        seconds = float(self._hear())
        peak = memory("VmHWM", self.process.pid) - before if can_tell else None
        return Elsewhere(np.fromfile(self.folder / "answer").reshape(self.shape), seconds, peak)

    def _say(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def _hear(self) -> str:
        """The next line; packages print their own, which start otherwise."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("ready") or line[:1].isdigit():
                return line
        self.process.wait()
        raise RuntimeError(f"R ended: {(self.folder / 'log').read_text()[-300:]}")


def _end(process: subprocess.Popen[str], folder: tempfile.TemporaryDirectory[str]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            try:
                pipe.close()
            except BrokenPipeError:
                pass
    process.terminate()
    process.wait()
    folder.cleanup()


def _peer(name: str, package: str, solve: str, arrays: dict[str, Any], shape: tuple[int, ...], setup: str = "") -> Peer:
    code = f"suppressMessages(library({package}))\n{setup}\nsolve_it <- function() {{\n{solve}\n}}\n"
    return Peer(name, f"R:{package}", functools.partial(RProcess, code, arrays, shape))


_GLMNET = "glmnet.control(fdev = 0, devmax = 1)\n"
_BARE = "intercept = FALSE, standardize = FALSE, maxit = 1e7"


def glmnet(x: np.ndarray, y: np.ndarray, strength: float, family: str, thresh: float) -> Peer:
    """One penalty of ``strength`` on the sum of the losses (half squares for ``"gaussian"``)."""
    solve = f"""
    fit <- glmnet(x, y, family = "{family}", lambda = strength / length(y), {_BARE}, thresh = {thresh:g})
    as.matrix(fit$beta)"""
    arrays = {"x": x, "y": y, "strength": strength}
    return _peer(f"glmnet, thresh {thresh:g}", "glmnet", solve, arrays, (x.shape[1],), _GLMNET)


def glmnet_path(x: np.ndarray, y: np.ndarray, strengths: np.ndarray, thresh: float) -> Peer:
    """The lasso at many strengths, largest first."""
    solve = f"""
    fit <- glmnet(x, y, lambda = strengths / length(y), {_BARE}, thresh = {thresh:g})
    as.matrix(fit$beta)"""
    arrays = {"x": x, "y": y, "strengths": strengths}
    return _peer(f"glmnet, thresh {thresh:g}", "glmnet", solve, arrays, (len(strengths), x.shape[1]), _GLMNET)


def cv_glmnet(
    x: np.ndarray,
    y: np.ndarray,
    lambdas: np.ndarray,
    folds: int,
    family: str,
    alpha: float,
    thresh: float,
    scale: float = 1.0,
) -> Peer:
    """Mean held-out deviance times ``scale`` in contiguous folds, for each penalty on the mean loss, largest first.

    It fits all data too, as does scikit-learn.
    """
    arrays = {"x": x, "y": y, "lambdas": lambdas, "fold": np.arange(len(y)) * folds // len(y) + 1}
    solve = f"""
    {scale:g} * cv.glmnet(x, y, family = "{family}", alpha = {alpha:g}, lambda = lambdas, foldid = fold, {_BARE},
      thresh = {thresh:g})$cvm"""
    return _peer(f"glmnet cv.glmnet, thresh {thresh:g}", "glmnet", solve, arrays, (len(lambdas),), _GLMNET)


def glm(x: np.ndarray, y: np.ndarray, family: str) -> Peer:
    """Fisher scoring with standard errors."""
    solve = f"""
    fit <- glm.fit(x, y, family = {family}, control = list(epsilon = 1e-10))
    summary.glm(structure(fit, class = c("glm", "lm")))$coefficients[, 1]"""
    return _peer("R glm.fit + SE", "stats", solve, {"x": x, "y": y}, (x.shape[1],))


def negative_binomial(x: np.ndarray, y: np.ndarray) -> Peer:
    """Coefficients and, last, the dispersion ``1 / theta``, both by maximum likelihood, with standard errors."""
    solve = """
    fit <- glm.nb(y ~ x - 1)
    c(summary(fit)$coefficients[, 1], 1 / fit$theta)"""
    return _peer("MASS glm.nb + SE", "MASS", solve, {"x": x, "y": y}, (x.shape[1] + 1,))


_HIERARCHY = r"""
#include <TMB.hpp>
template<class Type> Type objective_function<Type>::operator() () {
  DATA_VECTOR(y); DATA_VECTOR(x); DATA_VECTOR(u); DATA_IVECTOR(g);
  PARAMETER_VECTOR(b); PARAMETER(log_tau); PARAMETER(log_sigma); PARAMETER_VECTOR(z);
  Type tau = exp(log_tau), sigma = exp(log_sigma);
  Type nll = -dnorm(b, Type(0), Type(5), true).sum() - dnorm(z, Type(0), Type(1), true).sum()
             - dnorm(tau, Type(0), Type(1), true) - dnorm(sigma, Type(0), Type(1), true);
  for (int i = 0; i < y.size(); i++)
    nll -= dnorm(y(i), b(0) + b(1) * u(g(i)) + tau * z(g(i)) + b(2) * x(i), sigma, true);
  ADREPORT(tau); ADREPORT(sigma);
  return nll;
}
"""


def tmb_hierarchy(g: np.ndarray, x: np.ndarray, u: np.ndarray, y: np.ndarray) -> Peer:
    """Joint mode of ``b``, ``tau``, ``sigma`` and ``z``, in this order, with the Laplace covariance by ``sdreport``."""
    setup = f"""
    writeLines(r"---({_HIERARCHY})---", file.path(folder, "hierarchy.cpp"))
    setwd(folder)
    capture.output(compile("hierarchy.cpp"))
    dyn.load(dynlib("hierarchy"))
    start <- list(b = c(0, 0, 0), log_tau = 0, log_sigma = 0, z = rep(0, length(u)))
    data <- list(y = y, x = x, u = u, g = as.integer(g))"""
    solve = """
    f <- MakeADFun(data, start, DLL = "hierarchy", silent = TRUE)
    found <- nlminb(f$par, f$fn, f$gr, control = list(eval.max = 1000, iter.max = 1000))
    stopifnot(all(is.finite(summary(sdreport(f))[, 2])))
    p <- found$par
    c(p[1:3], exp(p[4:5]), p[-(1:5)])"""
    return _peer("TMB + sdreport", "TMB", solve, {"g": g, "x": x, "u": u, "y": y}, (5 + len(u),), setup)
