"""Weights in pieces: what they cover, how large they are, and what reading them takes."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orbax_model_lite import core
from orbax_model_lite.errors import InvalidBundleError
from orbax_model_lite.inspection import list_weights
from orbax_model_lite.inspection.streams import indices, open_weights
from tests.inspection.conftest import with_foreign_checkpoint

ROOT = Path(__file__).parent.parent
LIMIT_MIB = 250


@st.composite
def grids(draw):
    shape = draw(st.lists(st.integers(0, 7), max_size=4))
    grid = [draw(st.integers(1, max(1, size))) for size in shape]
    return tuple(shape), tuple(grid), draw(st.integers(1, 64)), draw(st.sampled_from([1, 2, 8]))


@given(grids())
def test_pieces_cover_every_element_once(case):
    shape, grid, most_bytes, item_bytes = case
    seen = np.zeros(shape, int)
    for index in indices(shape, item_bytes, grid, most_bytes):
        seen[index] += 1
    assert (seen == 1).all()


@given(grids())
def test_a_piece_is_no_larger_than_the_limit_or_one_chunk(case):
    shape, grid, most_bytes, item_bytes = case
    most = max(most_bytes, math.prod(grid) * item_bytes)
    for index in indices(shape, item_bytes, grid, most_bytes):
        assert math.prod(part.stop - part.start for part in index) * item_bytes <= most


@given(grids())
def test_a_piece_begins_where_a_chunk_does(case):
    shape, grid, most_bytes, item_bytes = case
    for index in indices(shape, item_bytes, grid, most_bytes):
        assert all(part.start % step == 0 for part, step in zip(index, grid, strict=True))


def test_the_first_piece_of_an_array_beyond_any_memory_comes_at_once():
    assert next(indices((10**18,), 4, (1,), 4)) == (slice(0, 1),)


def test_a_checkpoint_that_claims_far_more_than_its_chunks_hold_is_refused(tmp_path):
    bundle = with_foreign_checkpoint(tmp_path, [10**15])
    with (
        open_weights(bundle, "w", bundle.values["w"]) as stream,
        pytest.raises(InvalidBundleError, match=r"claim 4000000000000000; .* damaged"),
    ):
        stream.open(stream.arrays)


@pytest.mark.parametrize(
    "index",
    [
        (slice(0, 4), slice(0, 5), slice(0, 6)),
        (slice(1, 3), slice(0, 5), slice(0, 6)),
        (slice(2, 3), slice(1, 4), slice(0, 6)),
        (slice(2, 3), slice(3, 4), slice(2, 5)),
        (slice(0, 4), slice(1, 3), slice(2, 5)),
        (slice(1, 3), slice(2, 3), slice(0, 6)),
    ],
    ids=["all", "rows", "inner rows", "a run", "a box", "apart"],
)
@pytest.mark.parametrize("dtype", ["float32", "int4", "complex128", "bfloat16"])
def test_any_part_of_a_file_is_read(index, dtype, with_weights):
    values = (np.arange(120).reshape(4, 5, 6) % 8).astype(core.DType(dtype).numpy)
    bundle = with_weights({"a": values, "b": values})
    with open_weights(bundle, "w", bundle.values["w"]) as stream:
        array = stream.open(["b"])["b"]
        assert np.array_equal(stream.read(array, index), values[index])


MEASURED = """
    import json, sys
    from pathlib import Path
    from orbax_model_lite import core
    from orbax_model_lite.inspection import weights_statistics
    bundle = core.read(sys.argv[1])
    (found,) = weights_statistics(bundle, "w", bundle.values["w"])
    # What getrusage tells begins with the peak of the process that started this one.
    lines = Path("/proc/self/status").read_text().splitlines()
    peak_kib = next(line.split()[1] for line in lines if line.startswith("VmHWM:"))
    frameworks = {"jax", "jaxlib", "safetensors", "orbax", "tensorflow"} & set(sys.modules)
    print(json.dumps([found.count, found.maximum, int(peak_kib) >> 10, sorted(frameworks)]))
"""


def test_a_huge_array_takes_the_memory_of_a_piece(tmp_path, fresh_python):
    size = 320 << 20
    header = {"a": {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}}
    text = json.dumps(header).encode()
    with (tmp_path / "w.safetensors").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + size)  # a hole reads as zeros
    value = core.convert_path_to_value("w.safetensors", "safetensors")
    core.save({"w": value}, tmp_path)
    count, maximum, peak_mib, frameworks = json.loads(fresh_python(MEASURED, tmp_path))
    assert (count, maximum) == (size // 4, 0.0)
    assert peak_mib < LIMIT_MIB
    assert frameworks == []


@pytest.mark.frameworks
def test_a_huge_array_of_a_checkpoint_takes_the_memory_of_a_piece(tmp_path, fresh_python):
    from orbax_model_lite.jax2obm import save_weights

    (tmp_path / "m").mkdir()
    save_weights(tmp_path / "m/weights", {"a": np.ones(80 << 20, np.float32)})
    value = core.convert_path_to_value("weights/", "orbax_checkpoint")
    core.save({"w": value}, tmp_path / "m")
    count, maximum, peak_mib, frameworks = json.loads(fresh_python(MEASURED, tmp_path / "m"))
    assert (count, maximum) == (80 << 20, 1.0)
    assert peak_mib < LIMIT_MIB
    assert frameworks == []


@pytest.mark.frameworks
@pytest.mark.parametrize("options", [{}, {"use_zarr3": True}], ids=["zarr", "zarr3"])
@pytest.mark.parametrize("use_ocdbt", [True, False], ids=["ocdbt", "folders"])
def test_a_checkpoint_of_somebody_else_is_read_without_its_library(
    options, use_ocdbt, tmp_path, fresh_python
):
    import jax.numpy as jnp
    import orbax.checkpoint as ocp

    tree = {"a": {"w": jnp.arange(12, dtype=jnp.bfloat16).reshape(4, 3)}, "n": np.arange(3)}
    handler = ocp.PyTreeCheckpointHandler(use_ocdbt=use_ocdbt, **options)
    with ocp.Checkpointer(handler) as checkpointer:
        checkpointer.save(tmp_path / "m/weights", tree)
    core.save(
        {"w": core.convert_path_to_value("weights/", "orbax_checkpoint")},
        tmp_path / "m",
    )
    code = """
        import json, sys
        from orbax_model_lite import core
        from orbax_model_lite.inspection import weights_statistics
        bundle = core.read(sys.argv[1])
        found = weights_statistics(bundle, "w", bundle.values["w"])
        frameworks = {"jax", "jaxlib", "safetensors", "orbax", "tensorflow"}
        said = [[a.name, a.dtype, a.shape, a.mean, a.maximum] for a in found]
        print(json.dumps([said, sorted(frameworks & set(sys.modules))]))
    """
    said, frameworks = json.loads(fresh_python(code, tmp_path / "m"))
    assert said == [["a.w", "bfloat16", [4, 3], 5.5, 11.0], ["n", "int64", [3], 1.0, 2]]
    assert frameworks == []


@pytest.mark.frameworks
@pytest.mark.parametrize("use_zarr3", [False, True])
def test_a_header_that_is_a_file_tells_shape_and_type(use_zarr3, tmp_path):
    import jax.numpy as jnp
    import orbax.checkpoint as ocp

    tree = {
        "a": jnp.ones((4, 3), jnp.bfloat16),
        "b": np.arange(3),
        "c": np.ones((2,), np.complex64),
        "d": np.ones((), bool),
        "e": jnp.ones((1,), jnp.int4),
        "f": np.ones((5,), np.float16),
    }
    handler = ocp.PyTreeCheckpointHandler(use_ocdbt=False, use_zarr3=use_zarr3)
    with ocp.Checkpointer(handler) as checkpointer:
        checkpointer.save(tmp_path / "m/weights", tree)
    value = core.convert_path_to_value("weights/", "orbax_checkpoint")
    core.save({"w": value}, tmp_path / "m")
    bundle = core.read(tmp_path / "m")
    found = {array.name: (array.dtype, array.shape) for array in list_weights(bundle, "w", value)}
    assert found == {
        "a": ("bfloat16", (4, 3)),
        "b": ("int64", (3,)),
        "c": ("complex64", (2,)),
        "d": ("bool", ()),
        "e": ("int4", (1,)),
        "f": ("float16", (5,)),
    }
