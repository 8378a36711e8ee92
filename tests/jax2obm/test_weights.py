"""Weights saved and loaded again, in both formats: containers, element types, choice, cast."""

from __future__ import annotations

import asyncio
import logging
import math
import threading
from concurrent.futures import ThreadPoolExecutor

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from hypothesis import strategies as st

from orbax_model_lite.core import layout
from orbax_model_lite.core.digests import digest_file
from orbax_model_lite.core.dtype import DType
from orbax_model_lite.core.spec import Spec
from orbax_model_lite.errors import (
    BundleExistsError,
    InvalidBundleError,
    InvalidModelError,
    UnsupportedError,
)
from orbax_model_lite.jax2obm.weights import (
    load_weights,
    match,
    save_weights,
    weights_names,
    weights_spec,
)
from tests.jax2obm.comparing_weights import require_equal, words

pytestmark = pytest.mark.frameworks

NO_ARRAY = (DType.UNSPECIFIED, DType.STRING, DType.FLOAT0)
DTYPES = [dtype for dtype in DType if dtype not in NO_ARRAY]
A, B = np.array([1.5, 2.5], np.float32), np.arange(6, dtype=np.int32).reshape(2, 3)


def numbers(dtype: DType, shape=(2, 3)):
    """Returns an array with several values of a type."""
    values = np.arange(math.prod(shape)).reshape(shape)
    return (values % 2 if dtype in (DType.BOOL, DType.INT2, DType.UINT2) else values).astype(
        dtype.numpy
    )


@pytest.mark.parametrize("to", ["host", "device"])
@pytest.mark.parametrize(
    "tree",
    [
        pytest.param({"a": A, "b": {"c": B}}, id="dicts"),
        pytest.param([A, (B, [A])], id="lists and tuples"),
        pytest.param((A, None, {}, [], (), {"x": None, "y": [{}]}), id="empty containers"),
        pytest.param(A, id="one array"),
        pytest.param({}, id="no array"),
        pytest.param({"a": {}, "b": None}, id="containers without arrays"),
        pytest.param({"a": np.zeros((0, 3), np.float32)}, id="no elements at all"),
        pytest.param({"a": np.zeros((2, 0), np.int8), "b": A}, id="an array without elements"),
        pytest.param({"s": np.float32(3), "t": np.array(True)}, id="scalars"),
        pytest.param([np.full(2, i, np.float32) for i in range(12)], id="twelve of a kind"),
        pytest.param({"a.b": A, "a": {"b": B}}, id="keys with dots"),
        pytest.param({"a/b": A, "a": {"b": B}, "a/": B}, id="keys with slashes"),
        pytest.param({"a": A, "a/": A + 1}, id="keys that differ in a slash at the end"),
        pytest.param({"a.b": A, "a": {"b": A + 1}, "a%2Eb": A + 2}, id="keys that look escaped"),
        pytest.param({"": A, "x": {"": B}}, id="empty keys"),
        pytest.param({"..": A, "../../x": B, "/abs": A, "é ü": B, "a\nb": A}, id="odd keys"),
        pytest.param({"__metadata__": A, "_": B}, id="keys that the formats use"),
        pytest.param({"checkpoint": A}, id="the key of a single array"),
        pytest.param({"b": np.arange(12.0, dtype=np.float32).reshape(3, 4).T}, id="not contiguous"),
        pytest.param({"j": jnp.arange(4.0), "n": A}, id="arrays of JAX and of NumPy"),
    ],
)
def test_weights_come_back_with_their_containers(saved, tree, to):
    require_equal(load_weights(saved(tree), to=to), tree)


@pytest.mark.parametrize("to", ["host", "device"])
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.value)
def test_every_element_type_comes_back(saved, dtype, to):
    tree = {"a": numbers(dtype), "s": numbers(dtype, ())}
    require_equal(load_weights(saved(tree), to=to), tree)


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.value)
def test_specs_tell_every_element_type_without_reading(saved, dtype):
    tree = {"a": numbers(dtype)}
    assert weights_spec(saved(tree)) == {"a": Spec(shape=(2, 3), dtype=dtype)}


@pytest.mark.parametrize("dtype", [DType.UINT4, DType.FLOAT8_E4M3, DType.INT64], ids=str)
def test_arrays_of_jax_are_saved_in_types_that_a_format_lacks(saved, dtype):
    with jax.enable_x64(True):
        tree = {"a": jnp.asarray(numbers(dtype))}
    require_equal(load_weights(saved(tree)), tree)


def test_a_big_endian_array_comes_back_with_the_same_numbers(saved):
    found = load_weights(saved({"a": np.arange(3, dtype=">f4")}), to="host")["a"]
    assert found.dtype == np.dtype("<f4")
    assert found.tolist() == [0, 1, 2]


@pytest.mark.parametrize("generator", ["threefry2x32", "rbg", "unsafe_rbg"])
def test_typed_keys_come_back_as_keys_on_devices_and_as_words_on_the_host(saved, generator):
    keys = jax.random.split(jax.random.key(7, impl=generator), 3)
    path = saved({"key": keys})
    found = load_weights(path)["key"]
    assert found.dtype == keys.dtype
    assert np.array_equal(words(found), words(keys))
    assert np.array_equal(load_weights(path, to="host")["key"], words(keys))


def test_a_spec_of_keys_has_their_type_and_the_shape_of_their_words(saved):
    path = saved({"key": jax.random.split(jax.random.key(0), 3)})
    spec = Spec(shape=(3, 2), dtype=DType.UINT32, logical="key<fry>")
    assert weights_spec(path) == {"key": spec}


def test_python_numbers_are_saved_in_the_types_that_jax_gives_them(saved):
    found = load_weights(saved({"f": 1.5, "i": 2, "b": True, "c": 1j}), to="host")
    assert {key: array.dtype.name for key, array in found.items()} == {
        "f": "float32",
        "i": "int32",
        "b": "bool",
        "c": "complex64",
    }


class TestAsTraced:
    """NumPy's 64-bit arrays in the types that a function is converted with."""

    TREE = {"f": np.array([0.1, 1e300]), "i": np.array([3]), "u": np.uint64(4), "b": A}  # noqa: RUF012

    def test_64_bits_narrow_to_32(self, tmp_path):
        save_weights(tmp_path / "w", self.TREE, as_traced=True)
        expected = {"f": np.float32([0.1, np.inf]), "i": np.int32([3]), "u": np.uint32(4), "b": A}
        require_equal(load_weights(tmp_path / "w", to="host"), expected)

    def test_64_bits_stay_in_x64_mode(self, tmp_path):
        with jax.enable_x64(True):
            save_weights(tmp_path / "w", self.TREE, as_traced=True)
        require_equal(load_weights(tmp_path / "w", to="host"), self.TREE)

    def test_arrays_of_jax_stay_as_they_are(self, tmp_path):
        with jax.enable_x64(True):
            tree = {"a": jnp.arange(3.0)}
        save_weights(tmp_path / "w", tree, as_traced=True)
        assert load_weights(tmp_path / "w", to="host")["a"].dtype == np.float64

    @pytest.mark.parametrize("value", [np.array([2**31]), np.uint64(2**32)], ids=str)
    def test_integers_that_do_not_fit_are_refused(self, tmp_path, value):
        with pytest.raises(InvalidModelError, match=r"'a'.*turn on jax_enable_x64"):
            save_weights(tmp_path / "w", {"a": value}, as_traced=True)


def test_arrays_on_the_host_are_numpy_s_and_on_devices_jax_s(saved):
    path = saved({"a": A})
    assert isinstance(load_weights(path, to="host")["a"], np.ndarray)
    assert isinstance(load_weights(path)["a"], jax.Array)


def test_arrays_stay_uncommitted_when_no_device_is_asked_for(saved):
    assert not load_weights(saved({"a": A}))["a"].committed


def test_64_bits_are_kept_on_devices_without_x64_mode(saved):
    found = load_weights(saved({"f": np.array([1 + 2**-40]), "i": np.array([2**40])}))
    assert (found["f"].dtype, found["i"].dtype) == (np.float64, np.int64)
    assert (np.asarray(found["f"])[0], np.asarray(found["i"])[0]) == (1 + 2**-40, 2**40)


@pytest.mark.parametrize("kind", ["orbax", "safetensors"])
class TestWhatCannotBeSaved:
    """Trees and targets that are refused before anything is written."""

    @pytest.mark.parametrize(
        ("tree", "message"),
        [
            pytest.param({"a": {"b": "text"}}, r"'a\.b'.*found str", id="text"),
            pytest.param({"a": object()}, "'a'.*found object", id="an object"),
            pytest.param({1: A}, "expected text as keys; found 1", id="an integer key"),
            pytest.param({"a": np.array(["x"])}, "'a'.*string", id="an array of text"),
            pytest.param({"a": np.array([1], "M8[s]")}, "'a'.*datetime64", id="dates"),
            pytest.param({"a": jax.ShapeDtypeStruct((), "f4")}, "ShapeDtypeStruct", id="a struct"),
            pytest.param({"\ud800": A}, "surrogate", id="a key that no file can hold"),
        ],
    )
    def test_a_leaf_that_is_no_array_is_named(self, tmp_path, kind, tree, message):
        with pytest.raises(InvalidModelError, match=message):
            save_weights(tmp_path / "w", tree, format=kind)
        assert list(tmp_path.iterdir()) == []

    def test_what_is_there_already_is_not_replaced(self, tmp_path, kind):
        (tmp_path / "w").write_text("mine")
        with pytest.raises(BundleExistsError):
            save_weights(tmp_path / "w", {"a": A}, format=kind)
        assert (tmp_path / "w").read_text() == "mine"


def test_an_unknown_format_is_refused(tmp_path):
    with pytest.raises(ValueError, match="expected 'orbax' or 'safetensors'"):
        save_weights(tmp_path / "w", {"a": A}, format="pickle")


@pytest.mark.parametrize("mime", ["orbax_checkpoint", layout.MIME_ORBAX_CHECKPOINT])
def test_both_spellings_of_the_checkpoint_s_mime_type_are_known(tmp_path, mime):
    save_weights(tmp_path / "w", {"a": A})
    require_equal(load_weights(tmp_path / "w", mime, to="host"), {"a": A})


def test_a_mime_type_that_is_no_weights_format_is_refused(saved):
    with pytest.raises(UnsupportedError, match="text/plain"):
        load_weights(saved({"a": A}), "text/plain")


@pytest.mark.parametrize("mime", [None, layout.MIME_ORBAX_CHECKPOINT, layout.MIME_SAFETENSORS])
@pytest.mark.parametrize("read", [load_weights, weights_spec, weights_names])
def test_weights_that_are_not_there_are_named(tmp_path, mime, read):
    with pytest.raises(InvalidBundleError, match=r"missing.*found nothing"):
        read(tmp_path / "missing", mime)


def test_a_saved_file_has_the_same_bytes_every_time(tmp_path):
    for name, tree in (("x", {"b": A, "a": (B, None)}), ("y", {"a": (B, None), "b": A})):
        save_weights(tmp_path / name, tree, format="safetensors")
    assert (tmp_path / "x").read_bytes() == (tmp_path / "y").read_bytes()


def test_the_digest_of_a_safetensors_file_is_known_when_it_is_written(tmp_path):
    found = save_weights(tmp_path / "w", {"a": A}, format="safetensors", hashed=True)
    assert found == {"w": digest_file(tmp_path / "w")}
    assert save_weights(tmp_path / "v", {"a": A}, format="safetensors") == {}
    assert (tmp_path / "v").read_bytes() == (tmp_path / "w").read_bytes()


def test_only_digests_that_are_known_are_given(tmp_path):
    save_weights(tmp_path / "old", {"a": A}, format="safetensors")
    assert save_weights(tmp_path / "c", {"a": A}, hashed=True) == {}
    copied = save_weights(tmp_path / "w", tmp_path / "old", format="safetensors", hashed=True)
    assert copied == {}
    converted = save_weights(tmp_path / "x", tmp_path / "c", format="safetensors", hashed=True)
    assert converted == {"x": digest_file(tmp_path / "x")}


def test_orbax_s_own_saves_flush_as_before_after_one_of_ours(tmp_path):
    before = {kind: ocp.type_handlers.get_type_handler(kind) for kind in (np.ndarray, jax.Array)}
    methods = {kind: handler.serialize for kind, handler in before.items()}
    save_weights(tmp_path / "w", {"a": jnp.ones(3), "b": A})
    for kind, handler in before.items():
        assert ocp.type_handlers.get_type_handler(kind) is handler
        assert handler.serialize == methods[kind]


def test_no_file_of_a_checkpoint_names_the_folder_it_was_saved_in(tmp_path):
    save_weights(tmp_path / "w", {"a": jnp.ones(3), "b": A})
    files = [path for path in (tmp_path / "w").rglob("*") if path.is_file()]
    assert [file for file in files if str(tmp_path).encode() in file.read_bytes()] == []


def test_large_arrays_are_split_into_chunks_that_are_not_tiny(tmp_path):
    tree = {"even": np.zeros((20, 2**20), np.float32), "prime": np.zeros((20_000_003,), np.int8)}
    save_weights(tmp_path / "w", tree | {"long": np.zeros((1_000_003, 12), np.float32)})
    require_equal(
        load_weights(tmp_path / "w", to="host"), tree | {"long": np.zeros((1_000_003, 12), "f4")}
    )


def test_saving_and_loading_log_nothing_and_leave_no_thread(saved, caplog):
    before = threading.active_count()
    with caplog.at_level(logging.WARNING):
        load_weights(saved({"a": jnp.ones(3), "b": A, "c": {}}))
    assert caplog.records == []
    assert threading.active_count() == before


def test_several_threads_may_save_and_load_at_once(saved):
    def there_and_back(i):
        tree = {"a": np.full((64, 8), i, np.float32), "b": {"c": jnp.full(5, i)}}
        return load_weights(saved(tree, f"weights-{i}"), to="host"), tree

    with ThreadPoolExecutor(8) as pool:
        for found, tree in pool.map(there_and_back, range(16)):
            require_equal(found, tree)


def test_saving_works_where_an_event_loop_is_running(saved):
    async def save():
        return load_weights(saved({"a": A}), to="host")

    require_equal(asyncio.run(save()), {"a": A})


@pytest.mark.parametrize("source", ["orbax", "safetensors"])
@pytest.mark.parametrize("target", ["orbax", "safetensors"])
def test_existing_weights_are_copied_or_converted(tmp_path, source, target):
    tree = {"a": (A, None), "b": {"k": jax.random.key(1)}, "u": numbers(DType.UINT4)}
    save_weights(tmp_path / "old", tree, format=source)
    save_weights(tmp_path / "new", tmp_path / "old", format=target)
    require_equal(load_weights(tmp_path / "new"), tree)
    assert weights_spec(tmp_path / "new") == weights_spec(tmp_path / "old")


plain_trees = st.recursive(
    st.sampled_from([A, B, None, np.zeros((2, 0), np.float16), np.int8(3)]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(alphabet="ab./%0_~", max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)


@hypothesis.given(tree=plain_trees)
@hypothesis.settings(max_examples=60)
def test_any_plain_tree_comes_back_from_safetensors(tmp_path_factory, tree):
    path = tmp_path_factory.mktemp("any") / "w"
    save_weights(path, tree, format="safetensors")
    found = load_weights(path, to="host")
    require_equal(found, tree)
    require_equal(match(found, weights_spec(path), "weights"), tree)


@hypothesis.given(tree=plain_trees)
@hypothesis.settings(max_examples=15)
def test_any_plain_tree_comes_back_from_a_checkpoint(tmp_path_factory, tree):
    path = tmp_path_factory.mktemp("any") / "w"
    save_weights(path, tree)
    require_equal(load_weights(path, to="host"), tree)
