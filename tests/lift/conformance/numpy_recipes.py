"""How jax.numpy, jax.numpy.fft and jax.numpy.linalg are called, where the guess does not do."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from tests.lift.conformance.recipes import Recipe, row, sized, typed

_INTEGERS = ("i32",)
_NOT_COMPLEX = ("f32", "i32", "bf16", "f64")
_FLOATS = ("f32", "bf16", "f64")

_CREATION = {
    "arange": typed(lambda t: lambda: jnp.arange(2, 9, 2, dtype=t)),
    "array": row(lambda x: jnp.array([x, x + 1]), "b,4"),
    "astype": typed(lambda t: lambda x: jnp.astype(x, t), "b,4:i32"),
    "bartlett": row(lambda: jnp.bartlett(5), dtypes=("f32", "f64")),
    "blackman": row(lambda: jnp.blackman(5), dtypes=("f32", "f64")),
    "diag": row(jnp.diag, "4"),
    "diagflat": row(jnp.diagflat, "2,3"),
    "diag_indices": row(lambda: jnp.diag_indices(4), dtypes=_INTEGERS),
    "diag_indices_from": row(jnp.diag_indices_from, "3,3"),
    "empty": sized(lambda n, t: jnp.empty((n, 4), t)),
    "eye": typed(lambda t: lambda: jnp.eye(3, 4, 1, dtype=t)),
    "fft.fftfreq": row(lambda: jnp.fft.fftfreq(7, 0.5), dtypes=("f32", "f64")),
    "fft.rfftfreq": row(lambda: jnp.fft.rfftfreq(7, 0.5), dtypes=("f32", "f64")),
    "frombuffer": typed(lambda t: lambda: jnp.frombuffer(bytes(range(16)), dtype=t)),
    "fromfunction": sized(lambda n, t: jnp.fromfunction(lambda i, j: i * 2 + j, (n, 4), dtype=t)),
    "fromstring": typed(lambda t: lambda: jnp.fromstring("1 2 3", dtype=t, sep=" ")),
    "full": sized(lambda n, t: jnp.full((n, 4), 2, t)),
    "full_like": row(jnp.full_like, "b,4", ""),
    "geomspace": row(lambda x, y: jnp.geomspace(x, y, 5), "b:positive", "b:positive"),
    "hamming": row(lambda: jnp.hamming(5), dtypes=("f32", "f64")),
    "hanning": row(lambda: jnp.hanning(5), dtypes=("f32", "f64")),
    "identity": typed(lambda t: lambda: jnp.identity(4, t)),
    "indices": typed(lambda t: lambda: jnp.indices((3, 4), dtype=t)),
    "kaiser": row(lambda: jnp.kaiser(5, 2.0), dtypes=("f32", "f64")),
    "linspace": row(lambda x, y: jnp.linspace(x, y, 5), "b", "b"),
    "logspace": row(lambda x, y: jnp.logspace(x, y, 5), "b", "b"),
    "mask_indices": row(lambda: jnp.mask_indices(4, jnp.triu, size=10), dtypes=_INTEGERS),
    "ones": sized(lambda n, t: jnp.ones((n, 4), t)),
    "tri": typed(lambda t: lambda: jnp.tri(3, 4, 1, dtype=t)),
    "tril_indices": row(lambda: jnp.tril_indices(4), dtypes=_INTEGERS),
    "tril_indices_from": row(jnp.tril_indices_from, "3,3"),
    "triu_indices": row(lambda: jnp.triu_indices(4), dtypes=_INTEGERS),
    "triu_indices_from": row(jnp.triu_indices_from, "3,3"),
    "vander": row(lambda x: jnp.vander(x, 4), "b"),
    "zeros": sized(lambda n, t: jnp.zeros((n, 4), t)),
}

_SHAPES = {
    "append": row(lambda x, y: jnp.append(x, y, axis=0), "b,4", "3,4"),
    "apply_along_axis": row(lambda x: jnp.apply_along_axis(jnp.cumsum, 1, x), "b,4"),
    "apply_over_axes": row(lambda x: jnp.apply_over_axes(jnp.sum, x, [1, 2]), "b,4,2"),
    "array_split": row(lambda x: jnp.array_split(x, 3, axis=1), "b,4"),
    "block": row(lambda x, y: jnp.block([[x, y], [y, x]]), "3,4", "3,4"),
    "broadcast_arrays": row(jnp.broadcast_arrays, "b,4", "4"),
    "broadcast_to": row(lambda x: jnp.broadcast_to(x[:, None], (x.shape[0], 2, 4)), "b,4"),
    "column_stack": row(lambda x, y: jnp.column_stack([x, y]), "b,4", "b"),
    "concat": row(lambda x, y: jnp.concat([x, y]), "b,4", "2,4"),
    "concatenate": row(lambda x, y: jnp.concatenate([x, y], axis=1), "b,4", "b,3"),
    "delete": row(lambda x: jnp.delete(x, 1, axis=1), "b,4"),
    "dsplit": row(lambda x: jnp.dsplit(x, 2), "b,3,4"),
    "dstack": row(lambda x, y: jnp.dstack([x, y]), "b,4", "b,4"),
    "expand_dims": row(lambda x: jnp.expand_dims(x, (0, 2)), "b,4"),
    "hsplit": row(lambda x: jnp.hsplit(x, 2), "b,4"),
    "hstack": row(lambda x, y: jnp.hstack([x, y]), "b,4", "b,3"),
    "insert": row(lambda x, y: jnp.insert(x, 1, y, axis=1), "b,4", "b"),
    "meshgrid": row(jnp.meshgrid, "b", "4"),
    "moveaxis": row(lambda x: jnp.moveaxis(x, 0, 2), "b,4,2"),
    "pad": row(lambda x: jnp.pad(x, ((0, 0), (2, 1)), mode="reflect"), "b,4"),
    "permute_dims": row(lambda x: jnp.permute_dims(x, (1, 0)), "b,4"),
    "repeat": row(lambda x: jnp.repeat(x, 3, axis=1), "b,4"),
    "reshape": row(lambda x: jnp.reshape(x, (-1, 2)), "b,4"),
    "resize": row(lambda x: jnp.resize(x, (5, 3)), "2,4"),
    "roll": row(lambda x: jnp.roll(x, 2, axis=1), "b,4"),
    "rollaxis": row(lambda x: jnp.rollaxis(x, 2), "b,4,2"),
    "split": row(lambda x: jnp.split(x, [1, 3], axis=1), "b,4"),
    "stack": row(lambda x, y: jnp.stack([x, y], axis=1), "b,4", "b,4"),
    "swapaxes": row(lambda x: jnp.swapaxes(x, 0, 1), "b,4"),
    "tile": row(lambda x: jnp.tile(x, (2, 3)), "b,4"),
    "trim_zeros": row(jnp.trim_zeros, "5"),
    "unstack": row(lambda x: jnp.unstack(x, axis=1), "b,4"),
    "vsplit": row(lambda x: jnp.vsplit(x, 2), "4,3"),
    "vstack": row(lambda x, y: jnp.vstack([x, y]), "b,4", "4"),
}

_SELECTION = {
    "argpartition": row(lambda x: jnp.argpartition(x, 2), "b,4"),
    "argwhere": row(lambda x: jnp.argwhere(x > 0, size=5), "b,4"),
    "bincount": row(lambda x, w: jnp.bincount(x, w, length=5), "b:index", "b"),
    "choose": row(
        lambda i, x, y, z: jnp.choose(i, [x, y, z], mode="clip"), "b:index", "b", "b", "b"
    ),
    "clip": row(jnp.clip, "b,4", "4", ""),
    "compress": row(lambda x: jnp.compress(np.array([True, False, True, True]), x, axis=1), "b,4"),
    "digitize": row(jnp.digitize, "b", "4:sorted", dtypes=_NOT_COMPLEX),
    "extract": row(lambda c, x: jnp.extract(c, x, size=5), "b,4:bool", "b,4"),
    "fill_diagonal": row(lambda x: jnp.fill_diagonal(x, 7, inplace=False), "4,4"),
    "flatnonzero": row(lambda x: jnp.flatnonzero(x > 0, size=5), "b,4"),
    "interp": row(jnp.interp, "b", "4:sorted", "4", dtypes=_NOT_COMPLEX),
    "intersect1d": row(lambda x, y: jnp.intersect1d(x, y, size=4), "b", "4"),
    "isin": row(jnp.isin, "b,4", "5"),
    "lexsort": row(lambda x, y: jnp.lexsort((x, y)), "b,4", "b,4"),
    "nonzero": row(lambda x: jnp.nonzero(x > 0, size=5), "b,4"),
    "packbits": row(lambda x: jnp.packbits(x, axis=1), "b,11:bool", dtypes=_INTEGERS),
    "partition": row(lambda x: jnp.partition(x, 2), "b,4"),
    "piecewise": row(lambda x: jnp.piecewise(x, [x < 0, x > 1], [0, lambda x: x * 2, 1]), "b"),
    "place": row(lambda x: jnp.place(x, x > 0, x[0], inplace=False), "b,4"),
    "put": row(lambda x, y: jnp.put(x, jnp.array([1, 5]), y, inplace=False), "b,4", "2"),
    "put_along_axis": row(
        lambda x, i, y: jnp.put_along_axis(x, i, y, axis=1, inplace=False),
        "b,4",
        "b,1:index",
        "b,1",
    ),
    "ravel_multi_index": row(
        lambda i, j: jnp.ravel_multi_index((i, j), (3, 4), mode="clip"), "b:i32", "b:i32"
    ),
    "searchsorted": row(jnp.searchsorted, "4:sorted", "b,3", dtypes=_NOT_COMPLEX),
    "select": row(
        lambda c, d, x, y: jnp.select([c, d], [x, y], 3), *["b,4:bool"] * 2, *["b,4"] * 2
    ),
    "setdiff1d": row(lambda x, y: jnp.setdiff1d(x, y, size=4), "b", "4"),
    "setxor1d": row(lambda x, y: jnp.setxor1d(x, y, size=4), "b", "4"),
    "sort": row(lambda x: jnp.sort(x, axis=0, descending=True), "b,4"),
    "take": row(lambda x, i: jnp.take(x, i, axis=1), "b,4", "b,2:index"),
    "take_along_axis": row(lambda x, i: jnp.take_along_axis(x, i, axis=1), "b,4", "b,2:index"),
    "top_k": row(lambda x: jnp.top_k(x, 2), "b,4"),
    "union1d": row(lambda x, y: jnp.union1d(x, y, size=6), "b", "4"),
    "unique": row(lambda x: jnp.unique(x, size=5, return_counts=True), "b,4"),
    "unique_all": row(lambda x: tuple(jnp.unique_all(x, size=5)), "b,4"),
    "unique_counts": row(lambda x: tuple(jnp.unique_counts(x, size=5)), "b,4"),
    "unique_inverse": row(lambda x: tuple(jnp.unique_inverse(x, size=5)), "b,4"),
    "unique_values": row(lambda x: jnp.unique_values(x, size=5), "b,4"),
    "unpackbits": row(lambda x: jnp.unpackbits(x, axis=1), "b,4:u8", dtypes=_INTEGERS),
    "unravel_index": row(lambda i: jnp.unravel_index(i, (3, 4)), "b:index", dtypes=_INTEGERS),
    "where": row(jnp.where, "b,4:bool", "b,4", "4"),
}

_PRODUCTS = {
    "convolve": row(lambda x, y: jnp.convolve(x, y, mode="same"), "7", "3"),
    "correlate": row(lambda x, y: jnp.correlate(x, y, mode="full"), "7", "3"),
    "cross": row(jnp.cross, "b,3", "b,3"),
    "dot": row(jnp.dot, "b,4", "4,3"),
    "einsum": row(lambda x, y: jnp.einsum("bij,bjk->bki", x, y), "b,3,4", "b,4,2"),
    "inner": row(jnp.inner, "b,4", "3,4"),
    "matmul": row(jnp.matmul, "b,3,4", "b,4,2"),
    "matvec": row(jnp.matvec, "b,3,4", "b,4"),
    "tensordot": row(lambda x, y: jnp.tensordot(x, y, axes=1), "b,4", "4,3"),
    "vdot": row(jnp.vdot, "b,4", "b,4"),
    "vecmat": row(jnp.vecmat, "b,3", "b,3,4"),
    "linalg.cholesky": row(jnp.linalg.cholesky, "b,3,3:spd"),
    "linalg.cross": row(jnp.linalg.cross, "b,3", "b,3"),
    "linalg.lstsq": row(jnp.linalg.lstsq, "5,3", "5,2", tolerance=30),
    "linalg.matmul": row(jnp.linalg.matmul, "b,3,4", "b,4,2"),
    "linalg.matrix_power": row(lambda x: jnp.linalg.matrix_power(x, 3), "b,3,3"),
    "linalg.multi_dot": row(lambda x, y, z: jnp.linalg.multi_dot([x, y, z]), "b,4", "4,2", "2,5"),
    "linalg.outer": row(jnp.linalg.outer, "b", "4"),
    "linalg.pinv": row(jnp.linalg.pinv, "b,3,3:well", tolerance=10),
    "linalg.inv": row(jnp.linalg.inv, "b,3,3:well"),
    "linalg.solve": row(jnp.linalg.solve, "b,3,3:well", "b,3,2"),
    "linalg.tensordot": row(lambda x, y: jnp.linalg.tensordot(x, y, axes=1), "b,4", "4,3"),
    "linalg.tensorinv": row(jnp.linalg.tensorinv, "2,3,6"),
    "linalg.tensorsolve": row(jnp.linalg.tensorsolve, "2,3,6", "2,3"),
}

_CALCULATIONS = {
    "allclose": row(jnp.allclose, "b,4", "b,4"),
    "average": row(lambda x, w: jnp.average(x, axis=1, weights=w), "b,4", "4:positive"),
    "frompyfunc": row(
        lambda x, y: jnp.frompyfunc(lambda a, b: a + 2 * b, 2, 1).outer(x, y), "b", "4"
    ),
    "histogram2d": row(lambda x, y: jnp.histogram2d(x, y, bins=3), "b", "b", dtypes=_NOT_COMPLEX),
    "histogramdd": row(lambda x: jnp.histogramdd(x, bins=3), "6,2", dtypes=_NOT_COMPLEX),
    "nanpercentile": row(lambda x, q: jnp.nanpercentile(x, q, axis=1), "b,4", "2:fraction"),
    "nanquantile": row(lambda x, q: jnp.nanquantile(x, q, axis=1), "b,4", "2:fraction"),
    "percentile": row(lambda x, q: jnp.percentile(x, q, axis=1), "b,4", "2:fraction"),
    "quantile": row(lambda x, q: jnp.quantile(x, q, axis=1), "b,4", "2:fraction"),
    "poly": row(jnp.poly, "4"),
    "polydiv": row(jnp.polydiv, "5", "3"),
    "polyfit": row(lambda x, y: jnp.polyfit(x, y, 2), "6", "6", tolerance=30),
    "polyint": row(jnp.polyint, "4"),
    "polymul": row(jnp.polymul, "b", "4"),
    "polyval": row(jnp.polyval, "4", "b,3"),
    "roots": row(lambda p: jnp.roots(p, strip_zeros=False), "4:positive"),
    "trace": row(jnp.trace, "3,4"),
    "ufunc": row(lambda x: jnp.ufunc(lambda a, b: a * b, 2, 1).reduce(x, axis=1), "b,4"),
    "vectorize": row(jnp.vectorize(jnp.dot, signature="(n),(n)->()"), "b,4", "4"),
}

RECIPES: dict[str, Recipe] = {
    f"jax.numpy.{name}": recipe
    for table in (_CREATION, _SHAPES, _SELECTION, _PRODUCTS, _CALCULATIONS)
    for name, recipe in table.items()
}
