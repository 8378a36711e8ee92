"""How jax.nn, jax.image and jax.scipy are called, where the guess does not do."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import scipy
from jax.scipy.interpolate import RegularGridInterpolator
from jax.scipy.spatial.transform import Rotation, Slerp

from tests.lift.conformance.recipes import Recipe, row, typed

_REALS = ("f32", "i32", "bf16", "f64")
_FLOATS = ("f32", "bf16", "f64")
_SOLVED = ("f32", "f64", "c64")

_NN = {
    "nn.dot_product_attention": row(
        lambda q, k, v: jax.nn.dot_product_attention(q, k, v, is_causal=True),
        *["b,5,2,4"] * 3,
        dtypes=_FLOATS,
    ),
    "nn.glu": row(jax.nn.glu, "b,4"),
    "nn.one_hot": typed(lambda t: lambda i: jax.nn.one_hot(i, 4, dtype=t), "b:i32"),
    "nn.scaled_dot_general": row(
        lambda x, y: jax.nn.scaled_dot_general(x, y, (((2,), (1,)), ((0,), (0,)))),
        "b,3,4",
        "b,4,2",
    ),
    "nn.scaled_matmul": row(jax.nn.scaled_matmul, "b,3,4", "b,2,4", "b,3,2", "b,2,2"),
    "image.resize": row(
        lambda x: jax.image.resize(x, (x.shape[0], 6, 3, 2), "bicubic"), "b,4,5,2", dtypes=_REALS
    ),
    "image.scale_and_translate": row(
        lambda x, s, t: jax.image.scale_and_translate(
            x, (x.shape[0], 6, 3), (1, 2), s, t, "linear"
        ),
        "b,4,5",
        "2:positive",
        "2",
        dtypes=_FLOATS,
    ),
}

_LINALG = {
    "block_diag": row(scipy.linalg.block_diag, "3,4", "2,2"),
    "cho_factor": row(lambda x: scipy.linalg.cho_factor(x)[0], "b,3,3:spd", dtypes=_SOLVED),
    "cho_solve": row(
        lambda x, y: scipy.linalg.cho_solve(scipy.linalg.cho_factor(x), y),
        "b,3,3:spd",
        "b,3,2",
        dtypes=_SOLVED,
    ),
    "cholesky": row(scipy.linalg.cholesky, "b,3,3:spd"),
    "companion": row(scipy.linalg.companion, "b,4"),
    "convolution_matrix": row(lambda x: scipy.linalg.convolution_matrix(x, 3), "4"),
    "dft": row(lambda: scipy.linalg.dft(4), dtypes=("f32", "f64")),
    "eigh_tridiagonal": row(
        lambda d, e: scipy.linalg.eigh_tridiagonal(d, e, eigvals_only=True), "4", "3"
    ),
    "expm_frechet": row(scipy.linalg.expm_frechet, "3,3", "3,3"),
    "fiedler_companion": row(scipy.linalg.fiedler_companion, "4:positive"),
    "funm": row(lambda x: scipy.linalg.funm(x, jnp.exp, disp=False), "3,3:well"),
    "hadamard": typed(lambda t: lambda: scipy.linalg.hadamard(4, dtype=t)),
    "hankel": row(scipy.linalg.hankel, "4", "3"),
    "helmert": row(lambda: scipy.linalg.helmert(4), dtypes=("f32", "f64")),
    "hilbert": row(lambda: scipy.linalg.hilbert(4), dtypes=("f32", "f64")),
    "inv": row(scipy.linalg.inv, "b,3,3:well"),
    "invhilbert": row(lambda: scipy.linalg.invhilbert(4), dtypes=("f32", "f64")),
    "invpascal": row(lambda: scipy.linalg.invpascal(4), dtypes=("f32", "f64")),
    "leslie": row(scipy.linalg.leslie, "4", "3"),
    "lu_solve": row(
        lambda x, y: scipy.linalg.lu_solve(scipy.linalg.lu_factor(x), y), "b,3,3:well", "b,3,2"
    ),
    "pascal": row(lambda: scipy.linalg.pascal(4), dtypes=("f32", "f64")),
    "polar": row(scipy.linalg.polar, "3,3:well"),
    "qr_multiply": row(scipy.linalg.qr_multiply, "4,3", "3,4"),
    "rsf2csf": row(scipy.linalg.rsf2csf, "3,3", "3,3"),
    "schur": row(scipy.linalg.schur, "3,3:well"),
    "solve": row(scipy.linalg.solve, "b,3,3:well", "b,3,2"),
    "solve_sylvester": row(scipy.linalg.solve_sylvester, "3,3:spd", "2,2:spd", "3,2"),
    "solve_triangular": row(scipy.linalg.solve_triangular, "b,3,3:well", "b,3,2"),
    "sqrtm": row(scipy.linalg.sqrtm, "3,3:spd"),
    "toeplitz": row(scipy.linalg.toeplitz, "4", "3"),
}


def _slerp(angles: Any, times: Any) -> Any:
    return Slerp.init(jnp.arange(4.0), Rotation.from_rotvec(angles))(times).as_quat()


_LIBRARY = {
    "cluster.vq.vq": row(scipy.cluster.vq.vq, "b,4", "3,4"),
    "integrate.trapezoid": row(scipy.integrate.trapezoid, "b,4", "4"),
    "interpolate.RegularGridInterpolator": row(
        lambda x, y, v, p: RegularGridInterpolator((x, y), v, bounds_error=False, fill_value=None)(
            p
        ),
        "4:sorted",
        "3:sorted",
        "4,3",
        "b,2",
        dtypes=("f32", "f64"),
    ),
    "ndimage.map_coordinates": row(
        lambda x, i, j: scipy.ndimage.map_coordinates(x, [i, j], order=1, mode="reflect"),
        "4,5",
        "b",
        "b",
    ),
    "optimize.minimize": row(
        lambda x: tuple(
            scipy.optimize.minimize(lambda y: ((y - x) ** 2).sum(), x * 0, method="BFGS")[:4]
        ),
        "3",
        dtypes=("f32", "f64"),
    ),
    "sparse.linalg.bicgstab": row(
        lambda a, b: scipy.sparse.linalg.bicgstab(lambda x: a @ x, b)[0], "3,3:spd", "3"
    ),
    "sparse.linalg.cg": row(
        lambda a, b: scipy.sparse.linalg.cg(lambda x: a @ x, b)[0], "3,3:spd", "3"
    ),
    "sparse.linalg.gmres": row(
        lambda a, b: scipy.sparse.linalg.gmres(lambda x: a @ x, b)[0], "3,3:spd", "3"
    ),
    "spatial.transform.Rotation": row(
        lambda q, v: Rotation.from_quat(q).apply(v), "b,4", "b,3", dtypes=("f32", "f64")
    ),
    "spatial.transform.Slerp": row(_slerp, "4,3", "b:positive", dtypes=("f32", "f64")),
    "signal.convolve2d": row(scipy.signal.convolve2d, "5,6", "2,3"),
    "signal.convolve": row(lambda x, y: scipy.signal.convolve(x, y, mode="same"), "5,6", "2,3"),
    "signal.correlate": row(scipy.signal.correlate, "5,6", "2,3"),
    "signal.correlate2d": row(scipy.signal.correlate2d, "5,6", "2,3"),
    "signal.csd": row(lambda x, y: scipy.signal.csd(x, y, nperseg=8), "b,16", "b,16"),
    "signal.detrend": row(scipy.signal.detrend, "b,8"),
    "signal.fftconvolve": row(scipy.signal.fftconvolve, "5,6", "2,3"),
    "signal.istft": row(lambda x: scipy.signal.istft(x, nperseg=8), "b,5,4:c64", dtypes=("c64",)),
    "signal.stft": row(lambda x: scipy.signal.stft(x, nperseg=8), "b,16"),
    "signal.welch": row(lambda x: scipy.signal.welch(x, nperseg=8), "b,16"),
    "special.bernoulli": row(lambda: scipy.special.bernoulli(5), dtypes=("f32", "f64")),
    "special.bessel_jn": row(lambda x: scipy.special.bessel_jn(x, v=3), "b:positive"),
    "special.multigammaln": row(lambda x: scipy.special.multigammaln(x + 2, 3), "b,4:positive"),
    "special.polygamma": row(scipy.special.polygamma, "b:count", "b:positive"),
    "special.sph_harm_y": row(
        lambda n, m, x, y: scipy.special.sph_harm_y(n, m, x, y, n_max=4),
        "3:index",
        "3:index",
        "3",
        "3:unit",
        dtypes=("f32", "f64"),
    ),
    "special.zeta": row(lambda x, q: scipy.special.zeta(x + 1, q), "b,4:positive", "4:positive"),
    "stats.dirichlet.logpdf": row(scipy.stats.dirichlet.logpdf, "4,3:simplex", "4:positive"),
    "stats.dirichlet.pdf": row(scipy.stats.dirichlet.pdf, "4,3:simplex", "4:positive"),
    "stats.gaussian_kde": row(
        lambda x, p: scipy.stats.gaussian_kde(x)(p), "2,7", "2,3", dtypes=("f32", "f64")
    ),
    "stats.multinomial.logpmf": row(
        lambda x, p: scipy.stats.multinomial.logpmf(x, x.sum(), p / p.sum()), "4:count", "4:unit"
    ),
    "stats.multinomial.pmf": row(
        lambda x, p: scipy.stats.multinomial.pmf(x, x.sum(), p / p.sum()), "4:count", "4:unit"
    ),
    "stats.multivariate_normal.logpdf": row(
        scipy.stats.multivariate_normal.logpdf, "b,3", "3", "3,3:spd"
    ),
    "stats.multivariate_normal.pdf": row(
        scipy.stats.multivariate_normal.pdf, "b,3", "3", "3,3:spd"
    ),
}


_PARAMETERS = {
    "beta": ("unit", "positive", "positive"),
    "betabinom": ("count", "positive", "positive", "positive"),
    "binom": ("count", "positive", "unit"),
    "bernoulli": ("index", "unit"),
    "chi2": ("positive", "positive"),
    "expon": ("positive",),
    "gamma": ("positive", "positive"),
    "gennorm": ("positive", "positive"),
    "geom": ("count", "unit"),
    "nbinom": ("count", "positive", "unit"),
    "pareto": ("positive", "positive"),
    "poisson": ("count", "positive"),
    "t": ("positive", "positive"),
    "vonmises": ("positive", "positive"),
    "wrapcauchy": ("positive", "unit"),
}

_FUNCTIONS = {"cdf", "logcdf", "logpdf", "logpmf", "logsf", "pdf", "pmf", "ppf", "sf"}

RECIPES: dict[str, Recipe] = {
    **{f"jax.{name}": recipe for name, recipe in _NN.items()},
    **{f"jax.scipy.linalg.{name}": recipe for name, recipe in _LINALG.items()},
    **{f"jax.scipy.{name}": recipe for name, recipe in _LIBRARY.items()},
    **{
        f"jax.scipy.stats.{module}.{function}": row(
            getattr(getattr(scipy.stats, module), function),
            *[f"b,4:{kind}" for kind in (("unit", *kinds[1:]) if function == "ppf" else kinds)],
        )
        for module, kinds in _PARAMETERS.items()
        for function in _FUNCTIONS & set(vars(getattr(scipy.stats, module)))
    },
    "jax.scipy.stats.poisson.entropy": row(scipy.stats.poisson.entropy, "b,4:positive"),
}
