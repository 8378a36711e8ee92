"""Checkpoints that others wrote: every layout of Orbax's, and those of the original's bundles."""

from __future__ import annotations

import pathlib
import shutil
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from orbax_model_lite.core.dtype import DType
from orbax_model_lite.core.spec import Spec
from orbax_model_lite.core.tree import flatten_with_path
from orbax_model_lite.errors import InvalidBundleError, UnsupportedError
from orbax_model_lite.jax2obm.checkpoint.folder import locate
from orbax_model_lite.jax2obm.checkpoint.writing import NATIVE
from orbax_model_lite.jax2obm.weights import (
    load_weights,
    match,
    save_weights,
    weights_names,
    weights_spec,
)

pytestmark = pytest.mark.frameworks

CORPUS = pathlib.Path(__file__).parent.parent / "corpus"
A, B = np.array([1.5, 2.5], np.float32), np.arange(6, dtype=np.int32).reshape(2, 3)


class Point(NamedTuple):
    x: np.ndarray
    y: np.ndarray


def orbax_saves(path, tree, **options):
    """Writes a checkpoint as an author would."""
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler(**options)) as checkpointer:
        checkpointer.save(path, args=ocp.args.PyTreeSave(tree))
    return path


def values(tree):
    """Returns the leaves as lists, by dotted path."""
    return {".".join(map(str, path)): np.asarray(a).tolist() for path, a in flatten_with_path(tree)}


@pytest.mark.parametrize(
    ("golden", "call", "leaves"),
    [
        pytest.param("checkpoint_weights", "f", 3, id="last"),
        pytest.param("tf_pre_post", "model", 2, id="with processors"),
        pytest.param("legacy_basic__aug25", "f_names", 2, id="aug25"),
        pytest.param("legacy_basic__apr25", "f", 2, id="apr25"),
    ],
)
def test_the_checkpoints_of_the_original_hold_the_recorded_weights(golden, call, leaves):
    found = load_weights(CORPUS / golden / "model" / "checkpoint", to="host")
    with np.load(CORPUS / golden / "io.npz", allow_pickle=False) as recorded:
        for i, (_, array) in enumerate(flatten_with_path(found)):
            assert np.array_equal(array, recorded[f"{call}|c0|in|{i}"])
    assert len(flatten_with_path(found)) == leaves


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="defaults"),
        pytest.param({"use_ocdbt": False}, id="a folder per array"),
        pytest.param({"use_zarr3": True}, id="zarr 3"),
        pytest.param({"use_zarr3": True, "use_ocdbt": False}, id="zarr 3, a folder per array"),
        pytest.param({"use_compression": False}, id="not compressed"),
    ],
)
@pytest.mark.parametrize("kind", [np.asarray, jnp.asarray], ids=["numpy", "jax"])
def test_every_layout_is_read(tmp_path, options, kind):
    tree = {"a": kind(A), "b": [kind(B), {"c": kind(A[:1])}], "s": kind(np.float32(3))}
    path = orbax_saves(tmp_path / "c", tree, **options)
    assert values(load_weights(path)) == values(tree)
    assert values(load_weights(path, to="host")) == values(tree)
    assert weights_names(path) == ["a", "b.0", "b.1.c", "s"]


def test_a_standard_checkpoint_is_read(tmp_path):
    tree = {"params": {"w": jnp.asarray(B), "b": A}, "step": 3}
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "c", tree)
    found = load_weights(tmp_path / "c")
    assert values(found) == values(tree)
    assert found["step"].shape == ()


def test_tuples_come_as_lists_named_tuples_as_dicts_and_integer_keys_as_text(tmp_path):
    path = orbax_saves(tmp_path / "c", {"t": (A, B), "p": Point(A, B), "i": {1: A, 10: B}})
    found = load_weights(path, to="host")
    assert type(found["t"]) is list
    assert sorted(found["p"]) == ["x", "y"]
    assert sorted(found["i"]) == ["1", "10"]


def test_empty_containers_and_none_come_back(tmp_path):
    tree = {"a": A, "d": {}, "l": [], "n": None, "t": ()}
    found = load_weights(orbax_saves(tmp_path / "c", tree), to="host")
    assert found.pop("a").tolist() == A.tolist()
    assert found == {"d": {}, "l": [], "n": None, "t": ()}


@pytest.mark.parametrize("dtype", sorted(NATIVE, key=str), ids=lambda dtype: dtype.value)
def test_every_element_type_that_orbax_writes_is_read(tmp_path, dtype):
    array = np.array([0, 1, 1, 0]).astype(dtype.numpy)
    path = orbax_saves(tmp_path / "c", {"a": array})
    assert weights_spec(path) == {"a": Spec(shape=(4,), dtype=dtype)}
    assert load_weights(path, to="host")["a"].tobytes() == array.tobytes()


def test_typed_keys_that_orbax_stored_come_back_as_keys(tmp_path):
    keys = jax.random.split(jax.random.key(5, impl="rbg"), 3)
    path = orbax_saves(tmp_path / "c", {"a": jnp.asarray(A), "k": keys})
    assert weights_spec(path)["k"] == Spec(shape=(3, 4), dtype=DType.UINT32, logical="key<rbg>")
    found = load_weights(path)["k"]
    assert found.dtype == keys.dtype
    assert np.array_equal(jax.random.key_data(found), jax.random.key_data(keys))


def test_a_checkpoint_with_text_is_read_by_choosing_its_arrays(tmp_path):
    path = orbax_saves(tmp_path / "c", {"a": A, "name": "resnet"})
    with pytest.raises(UnsupportedError, match=r"text at 'name' \(1 of 2"):
        load_weights(path)
    assert values(load_weights(path, names="a", to="host")) == {"a": A.tolist()}


@pytest.mark.parametrize("is_in_step", [False, True])
@pytest.mark.parametrize("kind", [np.asarray, jnp.asarray], ids=["numpy", "jax"])
def test_the_checkpoint_of_one_array_is_one_array(tmp_path, kind, is_in_step):
    if is_in_step:
        with ocp.CheckpointManager(tmp_path / "c") as manager:
            manager.save(0, args=ocp.args.Composite(weights=ocp.args.ArraySave(kind(B))))
    else:
        with ocp.Checkpointer(ocp.ArrayCheckpointHandler()) as checkpointer:
            checkpointer.save(tmp_path / "c", args=ocp.args.ArraySave(kind(B)))
    assert np.array_equal(load_weights(tmp_path / "c"), B)
    assert weights_spec(tmp_path / "c") == Spec(shape=(2, 3), dtype=DType.INT32)


def test_a_dict_with_the_key_of_a_single_array_stays_a_dict(tmp_path):
    path = orbax_saves(tmp_path / "c", {"checkpoint": A}, use_ocdbt=False)
    assert values(load_weights(path)) == {"checkpoint": A.tolist()}


class TestSteps:
    """The folder of a CheckpointManager."""

    @pytest.fixture(params=["", "ck"])
    def root(self, request, tmp_path):
        options = ocp.CheckpointManagerOptions(
            step_prefix=request.param or None, step_format_fixed_length=4, max_to_keep=None
        )
        with ocp.CheckpointManager(tmp_path / "m", options=options) as manager:
            for step in (2, 9, 10):
                manager.save(step, args=ocp.args.StandardSave({"a": A + step}))
        return tmp_path / "m"

    def test_the_latest_step_is_taken(self, root):
        assert values(load_weights(root)) == {"a": (A + 10).tolist()}

    def test_a_step_can_be_chosen(self, root):
        assert values(load_weights(root, step=9)) == {"a": (A + 9).tolist()}

    def test_the_folder_of_a_step_is_as_good(self, root):
        step = next(path for path in root.iterdir() if path.name.endswith("0002"))
        assert values(load_weights(step)) == {"a": (A + 2).tolist()}

    def test_a_step_that_is_not_there_is_refused_with_those_that_are(self, root):
        with pytest.raises(InvalidBundleError, match=r"expected .* step 3; found 2, 9, 10"):
            load_weights(root, step=3)

    def test_a_step_that_was_not_finished_does_not_count(self, root):
        newest = max(root.iterdir(), key=lambda path: path.name)
        newest.rename(root / f"{newest.name}.orbax-checkpoint-tmp-7")
        assert values(load_weights(root)) == {"a": (A + 9).tolist()}

    def test_a_step_that_is_a_link_out_of_the_folder_is_refused(self, root, tmp_path):
        orbax_saves(tmp_path / "outside", {"a": A})
        (root / "99").symlink_to(tmp_path / "outside")
        with pytest.raises(InvalidBundleError, match="link to"):
            load_weights(root)

    def test_a_step_can_be_saved_as_weights(self, root, tmp_path):
        save_weights(tmp_path / "w", root)
        assert values(load_weights(tmp_path / "w")) == {"a": (A + 10).tolist()}


class TestItems:
    """A step with several items."""

    @staticmethod
    def save(path, **items):
        args = {name: ocp.args.PyTreeSave({"a": array}) for name, array in items.items()}
        with ocp.CheckpointManager(path) as manager:
            manager.save(0, args=ocp.args.Composite(**args, metrics=ocp.args.JsonSave({"x": 1})))
        return path

    @pytest.mark.parametrize("item", ["default", "state", "params", "anything"])
    def test_the_only_item_with_arrays_is_taken(self, tmp_path, item):
        path = self.save(tmp_path / "m", **{item: A})
        assert locate(path) == path / "0" / item
        assert values(load_weights(path)) == {"a": A.tolist()}

    def test_the_item_that_is_called_as_usual_is_taken(self, tmp_path):
        path = self.save(tmp_path / "m", params=A, optimizer=A + 1)
        assert values(load_weights(path)) == {"a": A.tolist()}

    def test_an_item_can_be_chosen(self, tmp_path):
        path = self.save(tmp_path / "m", params=A, optimizer=A + 1)
        assert values(load_weights(path, item="optimizer")) == {"a": (A + 1).tolist()}

    @pytest.mark.parametrize("names", [("state", "params"), ("first", "second")])
    def test_items_that_could_be_meant_are_named(self, tmp_path, names):
        path = self.save(tmp_path / "m", **dict.fromkeys(names, A))
        with pytest.raises(InvalidBundleError, match=f"found {', '.join(sorted(names))}; pass"):
            load_weights(path)


class TestWhatWeWrite:
    """Orbax and its users read our checkpoints."""

    TREE = {"a": A, "t": [B, {"c": A}]}  # noqa: RUF012

    def test_orbax_restores_it_with_a_target(self, tmp_path):
        save_weights(tmp_path / "w", self.TREE)
        with ocp.StandardCheckpointer() as checkpointer:
            found = checkpointer.restore(tmp_path / "w", self.TREE)
        assert values(found) == values(self.TREE)

    def test_orbax_restores_a_single_array(self, tmp_path):
        save_weights(tmp_path / "w", B)
        with ocp.Checkpointer(ocp.ArrayCheckpointHandler()) as checkpointer:
            found = checkpointer.restore(tmp_path / "w", args=ocp.args.ArrayRestore())
        assert np.array_equal(found, B)

    def test_arrays_have_the_names_that_orbax_gives_them(self, tmp_path):
        save_weights(tmp_path / "w", self.TREE)
        orbax_saves(tmp_path / "o", self.TREE)
        found = []
        for name in ("w", "o"):
            with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
                tree = checkpointer.metadata(tmp_path / name).item_metadata.tree
                found.append({array.name for array in jax.tree.leaves(tree)})
        assert found[0] == found[1]


def test_a_moved_and_read_only_checkpoint_is_read(tmp_path):
    save_weights(tmp_path / "w", {"a": A})
    (tmp_path / "else").mkdir()
    shutil.move(tmp_path / "w", tmp_path / "else" / "v")
    for path in [*(tmp_path / "else").rglob("*"), tmp_path / "else"]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        assert values(load_weights(tmp_path / "else" / "v")) == {"a": A.tolist()}
    finally:
        for path in [tmp_path / "else", *(tmp_path / "else").rglob("*")]:
            path.chmod(0o755)


def test_specs_of_our_checkpoints_import_no_framework(tmp_path, fresh_python):
    save_weights(tmp_path / "w", {"a": A, "t": (B,)})
    code = """
        import sys
        from orbax_model_lite.jax2obm.weights.sources import weights_names, weights_spec
        print(weights_spec(sys.argv[1])["t"][0], weights_names(sys.argv[1]))
        print({"jax", "orbax", "tensorstore"} & set(sys.modules))
    """
    assert fresh_python(code, tmp_path / "w") == "int32 [2, 3] ['a', 't.0']\nset()\n"


def test_names_of_other_checkpoints_import_no_framework(fresh_python):
    code = """
        import sys
        from orbax_model_lite.jax2obm.weights.sources import weights_names
        print(weights_names(sys.argv[1]), {"jax", "orbax", "tensorstore"} & set(sys.modules))
    """
    found = fresh_python(code, CORPUS / "tf_pre_post" / "model" / "checkpoint")
    assert found == "['b', 'w'] set()\n"


def test_specs_of_other_checkpoints_import_tensorstore_only(fresh_python):
    code = """
        import sys
        from orbax_model_lite.jax2obm.weights.sources import weights_spec
        print(weights_spec(sys.argv[1])["w"], {"jax", "orbax"} & set(sys.modules))
    """
    found = fresh_python(code, CORPUS / "tf_pre_post" / "model" / "checkpoint")
    assert found == "float32 [6, 3] set()\n"


def test_loading_does_not_import_orbax(fresh_python):
    code = """
        import sys
        from orbax_model_lite.jax2obm.weights import load_weights
        print(load_weights(sys.argv[1])["w"].shape, "orbax" in sys.modules)
    """
    found = fresh_python(code, CORPUS / "tf_pre_post" / "model" / "checkpoint")
    assert found == "(6, 3) False\n"


def test_weights_of_a_checkpoint_meet_a_signature_with_tuples(tmp_path):
    path = orbax_saves(tmp_path / "c", {"t": (A, B)})
    spec = {"t": (Spec(shape=(2,), dtype=DType.FLOAT32), Spec(shape=(2, 3), dtype=DType.INT32))}
    assert type(match(load_weights(path), spec, "weights")["t"]) is tuple
