"""`obm run`: real bundles, every way to give inputs and take outputs, and every way to be wrong."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import orbax_model_lite as obm_package
from orbax_model_lite import core

pytestmark = pytest.mark.frameworks

REPOSITORY = Path(__file__).parent.parent.parent
OBM = [sys.executable, "-W", "error", "-m", "orbax_model_lite"]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(REPOSITORY)}
X = [[1.0, 2.0], [3.0, -4.0]]


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    """Returns a folder with bundles: linear, tree, keyed, words, fixed."""
    import jax
    import jax.numpy as jnp

    folder = tmp_path_factory.mktemp("bundles")
    weights = {"kernel": np.array([[1, 0, 2], [0, 1, -1]], np.float32)}
    obm_package.pack(
        folder / "linear", lambda w, x: x @ w["kernel"], weights, "b, 2", platforms=["cpu"]
    )

    def tree(batch, scale):
        total = batch["a"] * scale + batch["b"]["c"].astype(jnp.float32)
        return {"half": total.astype(jnp.bfloat16), "pair": (total, batch["b"]["c"])}

    inputs = ({"a": "b, 2", "b": {"c": "int32[b, 2]"}}, "float32[]")
    obm_package.pack(folder / "tree", tree, None, inputs, platforms=["cpu"])

    def keyed(key, n):
        return {"key": jax.random.split(key)[0], "n": n + 1}

    spec = ("key<fry>[]", "int64[]")
    obm_package.pack(folder / "keyed", keyed, None, spec, platforms=["cpu"])
    _pack_words(folder / "words")
    return folder


def _pack_words(path: Path) -> None:
    """Packs strings -> TensorFlow -> JAX -> TensorFlow, with a recorded call."""
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def lengths(texts):
        size = tf.cast(tf.strings.length(texts), tf.float32)
        return {"x": tf.stack([size, -size], 1), "texts": texts}

    @tf.function(
        input_signature=[tf.TensorSpec([None, 3], tf.float32), tf.TensorSpec([None], tf.string)]
    )
    def label(y, texts):
        return {"longest": tf.strings.join([texts, "!"]), "y": y}

    kernel = np.array([[1, 0, 2], [0, 1, -1]], np.float32)
    obm_package.pack(
        path,
        lambda w, x: x @ w,
        kernel,
        {"x": "b, 2"},
        preprocess=lengths,
        postprocess=label,
        platforms=["cpu"],
        examples=np.array([b"one", b"three"], object),
    )


@pytest.fixture
def here(bundles, tmp_path, monkeypatch):
    """Makes the bundles reachable by relative paths: snapshots do not depend on a folder."""
    monkeypatch.chdir(tmp_path)
    for bundle in bundles.iterdir():
        Path(bundle.name).symlink_to(bundle)
    np.save("x.npy", np.array(X, np.float32))
    return tmp_path


LINES = {
    "linear": ("linear", "--input", "x.npy"),
    "tree": ("tree", "--value", 'batch={"a": [[1, 2]], "b": {"c": [[3, 4]]}}', "--value", "1=0.5"),
    "keyed": ("keyed", "--random", "--seed", "3"),
    "words": ("words", "--random", "--size", "b=3"),
}


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("line", LINES)
def test_a_result_looks_as_it_did_when_it_was_last_reviewed(line, columns, obm, here, golden_text):
    said = obm("run", *LINES[line], columns=columns)
    assert said.code == 0, said.err
    golden_text(f"run_{line}_{columns}.txt", said.out)
    assert max(map(len, said.out.splitlines())) <= columns


@pytest.mark.parametrize("columns", [40, 60])
@pytest.mark.parametrize("line", LINES)
def test_a_result_fits_a_narrow_terminal(line, columns, obm, here):
    said = obm("run", *LINES[line], columns=columns)
    assert said.code == 0, said.err
    assert max(map(len, said.out.splitlines())) <= columns


def test_weights_are_bound_and_the_numbers_are_those_of_the_model(obm, here):
    said = obm("run", "linear", "--input", "x.npy", "--json")
    assert (said.code, said.json) == (0, [[1, 2, 0], [3, -4, 10]])


@pytest.mark.parametrize(
    "write",
    [
        lambda: np.savez("in.npz", x=np.array(X, np.float32)),
        lambda: np.savez("in.npz", np.array(X)),
        lambda: Path("in.json").write_text(json.dumps(X)),
        lambda: Path("in.json").write_text(json.dumps({"x": X})),
        lambda: np.save("in.npy", np.array(X, np.int8)),
    ],
    ids=["npz by name", "npz without a name", "json", "json by name", "npy of another type"],
)
def test_a_file_of_any_form_gives_the_same(write, obm, here):
    write()
    (file,) = here.glob("in.*")
    assert obm("run", "linear", "--input", file.name, "--json").json == [[1, 2, 0], [3, -4, 10]]


def test_inputs_may_come_from_several_files_and_values(obm, here):
    np.save("a.npy", np.ones((1, 2), np.float32))
    said = obm(
        *("run", "tree", "--input", "batch.a=a.npy"),
        *("--value", "batch.b.c=[[1, 2]]", "--value", "scale=2", "--json"),
    )
    assert said.json == {"half": [[3, 4]], "pair": [[[3, 4]], [[1, 2]]]}


def test_a_function_is_called_with_its_weights(obm, here):
    said = obm("run", "linear", "--function", "serving_default", "--input", "x.npy", "--json")
    assert said.json == [[1, 2, 0], [3, -4, 10]]


def test_a_processor_is_called_by_itself(obm, here):
    said = obm("run", "words", "--function", "lengths", "--value", 'texts=["ab"]', "--json")
    assert said.json == {"x": [[2, -2]], "texts": ["ab"]}


def test_a_file_for_a_string_goes_through_a_pipeline_of_strings(obm, here):
    Path("note.txt").write_bytes(b"four")
    said = obm("run", "words", "--input", "note.txt", "--json")
    assert said.json == {"longest": ["four!"], "y": [[4, -4, 12]]}


def test_a_picture_is_pixels(obm, here):
    from PIL import Image

    obm_package.pack("image", lambda x: x.mean((1, 2)), None, "b, 4, 6, 3", platforms=["cpu"])
    Image.fromarray(np.full((4, 6, 3), (10, 20, 30), np.uint8)).save("p.png")
    assert obm("run", "image", "--input", "p.png", "--json").json == [[10, 20, 30]]
    assert "its pixels as they are, 0 to 255" in obm("run", "image", "--input", "p.png").out


def test_outputs_of_every_type_come_back_from_an_npz_file(obm, here):
    assert obm("run", *LINES["tree"], "--output", "out.npz", "--quiet").out == ""
    with np.load("out.npz") as found:
        assert {key: found[key].dtype.name for key in found} == {
            "half": "uint16",
            "dtype:half": "str256",
            "pair.0": "float32",
            "pair.1": "int32",
        }
        assert str(found["dtype:half"]) == "bfloat16"


def test_a_key_that_was_written_is_a_key_again(obm, here):
    assert obm("run", "keyed", "--random", "--output", "out.npz", "--quiet").code == 0
    said = obm("run", "keyed", "--input", "out.npz", "--json")
    assert said.code == 0, said.err


def test_outputs_are_written_as_json_too(obm, here):
    said = obm("run", "linear", "--input", "x.npy", "--output", "out.json")
    assert "float32  [2, 3]" in said.out
    assert json.loads(Path("out.json").read_text()) == [[1, 2, 0], [3, -4, 10]]


def test_random_inputs_are_the_same_for_the_same_seed(obm, here):
    first, again, other = (
        obm("run", "linear", "--random", "--seed", seed, "--json").json for seed in (0, 0, 1)
    )
    assert first == again
    assert first != other
    assert first == obm("run", "linear", "--random", "--json").json


def test_a_platform_that_is_at_hand_is_chosen(obm, here):
    said = obm("run", "linear", "--input", "x.npy", "--platform", "cpu", "--json")
    assert said.json == [[1, 2, 0], [3, -4, 10]]


def test_a_platform_that_is_not_is_inconclusive(obm, here):
    said = obm("run", "linear", "--input", "x.npy", "--platform", "tpu")
    assert said.code == 3
    assert "platform 'tpu': expected a device of it" in said.err
    assert obm("run", "linear", "--input", "x.npy", "--quiet").code == 0


MISUSE = {
    "no inputs": (("linear",), "found nothing for x: float32 [b, 2]"),
    "no file": (("linear", "--input", "no.npy"), "input file 'no.npy': expected a file"),
    "no name": (("tree", "--input", "x.npy"), "give it as NAME=FILE"),
    "a wrong name": (("linear", "--input", "y=x.npy"), "found 'y'"),
    "a wrong shape": (("linear", "--value", "x=[1, 2]"), "give an array of that rank"),
    "a wrong type": (("keyed", "--value", "n=0.5"), "input 'n': expected int64 []"),
    "a value without a name": (("linear", "--value", "[1]"), "expected NAME=JSON"),
    "a value that is no JSON": (("linear", "--value", "x=a"), "strings stand in quotes"),
    "standard input twice": (
        ("linear", "--input", "-", "--input", "x=-"),
        "standard input once; found it twice",
    ),
    "files and random": (("linear", "--input", "x.npy", "--random"), "found both"),
    "a seed alone": (("linear", "--seed", "0"), "--seed means nothing without --random"),
    "a size alone": (("linear", "--size", "b=2"), "--size means nothing without --random"),
    "weights alone": (
        ("linear", "--use-weights", "weights"),
        "--use-weights means nothing without --function",
    ),
    "a size of zero": (("linear", "--random", "--size", "b=0"), "expected NAME=N"),
    "a size of nothing": (("linear", "--random", "--size", "t=2"), "no open dimension 't'"),
    "a seed that is none": (("linear", "--random", "--seed", "x"), "a whole number"),
    "no such pipeline": (("linear", "--random", "--pipeline", "p"), "no pipeline 'p'"),
    "no such function": (("linear", "--random", "--function", "p"), "no function 'p'"),
    "no such weights": (
        ("linear", "--random", "--function", "serving_default", "--use-weights", "p"),
        "no value 'p'",
    ),
    "both": (("linear", "--function", "f", "--pipeline", "p"), "not allowed with"),
    "no such platform": (("linear", "--random", "--platform", "abacus"), "invalid choice"),
    "an output of another form": (("linear", "--random", "--output", "x.csv"), "ends in .npz"),
    "an output nowhere": (("linear", "--random", "--output", "no/x.npz"), "no such folder"),
    "no bundle": (("nowhere", "--random"), "found nothing; check the path"),
}


@pytest.mark.parametrize("name", MISUSE)
def test_wrong_inputs_are_exit_code_2_with_a_way_out(name, obm, here):
    line, message = MISUSE[name]
    said = obm("run", *line)
    assert (said.code, said.out) == (2, "")
    assert message in said.err
    assert "Traceback" not in said.err


def test_a_constraint_of_the_program_is_misuse_too(obm, here):
    obm_package.pack(
        "even", lambda x: x * 2, None, "b", constraints=["mod(b, 2) == 0"], platforms=["cpu"]
    )
    said = obm("run", "even", "--value", "x=[1, 2, 3]")
    assert said.code == 2
    assert "b" in said.err
    assert obm("run", "even", "--value", "x=[1, 2]", "--json").json == [2, 4]


def test_a_changed_program_is_a_finding(obm, here):
    obm_package.pack("changed", lambda x: x, None, "b", platforms=["cpu"])
    program = Path("changed/serving_default.shlo")
    program.write_bytes(program.read_bytes()[:-1] + b"\0")
    said = obm("run", "changed", "--value", "x=[1]")
    assert said.code == 1
    assert "serving_default.shlo" in said.err


def test_an_untrusted_program_is_a_finding_that_an_option_allows(obm, here):
    import jax

    from orbax_model_lite import jax2obm

    def evil(x):
        return jax.ffi.ffi_call("read_my_files", jax.ShapeDtypeStruct(x.shape, x.dtype))(x)

    function = jax2obm.convert(
        evil, ("4",), platforms=["cpu"], disabled_checks=["custom_call:read_my_files"]
    )
    core.save({"evil": function}, "evil")
    said = obm("run", "evil", "--random")
    assert said.code == 1
    assert "read_my_files" in said.err
    granted = obm("run", "evil", "--random", "--trust-custom-call", "read_my_files")
    # It is not registered here, so XLA has the last word.
    assert granted.code == 3
    assert "trust" not in granted.err


def test_a_wrong_input_is_found_out_before_a_framework_is_imported(here, fresh_python):
    code = """
        import json, sys
        from orbax_model_lite.cli import main
        code = main(["run", sys.argv[1], "--value", "x=[1]"])
        print(json.dumps([code, sorted({name.partition(".")[0] for name in sys.modules})]))
    """
    code, modules = json.loads(fresh_python(code, Path("linear").resolve()))
    assert code == 2
    assert not {"jax", "tensorflow", "orbax"} & set(modules)


def obm_process(*line: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*OBM, *line], input=stdin, env=ENVIRONMENT, capture_output=True, check=False, timeout=300
    )


def npz_of_x() -> bytes:
    stream = io.BytesIO()
    np.savez(stream, x=np.array(X, np.float32))
    return stream.getvalue()


def test_standard_input_and_output_are_pipes_of_npz(here):
    first = obm_process("run", "linear", "--input", "-", "--output", "-", stdin=npz_of_x())
    assert (first.returncode, first.stderr) == (0, b"")
    with np.load(io.BytesIO(first.stdout)) as found:
        assert found["arr_0"].tolist() == [[1, 2, 0], [3, -4, 10]]
    again = obm_process("run", "linear", "--input", "-", stdin=first.stdout)
    assert again.returncode == 2
    assert b"expected float32 [b, 2]; found [2, 3]" in again.stderr


def test_standard_input_and_output_are_pipes_of_json(here):
    done = obm_process(
        "run", "linear", "--input", "-", "--output", "-", "--json", stdin=b"[[1, 2]]"
    )
    assert (done.returncode, json.loads(done.stdout)) == (0, [[1, 2, 0]])


def test_a_hostile_file_on_standard_input_is_one_line_and_exit_code_2(here):
    stream = io.BytesIO()
    np.save(stream, np.array([{"a": 1}], object), allow_pickle=True)
    done = obm_process("run", "linear", "--input", "-", stdin=stream.getvalue())
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"Python objects, which are unpickled" in done.stderr
    assert done.stderr.count(b"\n") == 1


def test_a_terminal_gets_no_bytes(here, monkeypatch, obm):
    from orbax_model_lite.cli.console import Console

    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert Console(sys.stdout).is_terminal
    said = obm("run", "linear", "--input", "x.npy", "--output", "-")
    assert (said.code, said.out) == (2, "")
    assert "found a terminal; print --json, or choose a file" in said.err
