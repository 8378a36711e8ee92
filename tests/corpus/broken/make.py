"""Makes the damaged and hostile bundles beside it: `python -m tests.corpus.broken.make`.

Each begins as the same honest bundle, of two JAX functions, SafeTensors weights and one recorded
example, and gets one thing wrong. What a stranger could seal is sealed again: its digests agree.
"""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import jax.numpy as jnp
import numpy as np
import tensorflow as tf

import orbax_model_lite as obm
from orbax_model_lite import core
from orbax_model_lite._proto import manifest_pb2
from orbax_model_lite.core import layout
from orbax_model_lite.core.integrity import write_integrity
from orbax_model_lite.stablehlo import module
from tests.attacks.saved_models import as_bundle, traced

HERE = Path(__file__).parent
PROGRAM = "serving_default.shlo"
Damage: TypeAlias = Callable[[Path], None]
DAMAGES: dict[str, tuple[str, Damage]] = {}


def damaged(group: str, *, is_sealed: bool = True) -> Callable[[Damage], Damage]:
    """Registers a damage under its function's name."""

    def register(damage: Damage) -> Damage:
        def apply(bundle: Path) -> None:
            damage(bundle)
            if is_sealed:
                (bundle / layout.INTEGRITY_FILE).unlink()
                write_integrity(bundle)

        DAMAGES[damage.__name__] = (group, apply)
        return damage

    return register


def honest(bundle: Path) -> None:
    """Packs what all others begin as."""
    params = {"kernel": jnp.arange(8, dtype=jnp.float32).reshape(4, 2), "bias": jnp.ones(2)}

    def apply(params, x):
        return x @ params["kernel"] + params["bias"]

    obm.pack(
        bundle,
        apply,
        params,
        "b, 4",
        preprocess=lambda x: x / 2,
        weights_format="safetensors",
        platforms=["cpu"],
        examples=np.ones((3, 4), np.float32),
    )


def edit_manifest(bundle: Path, edit: Callable[[manifest_pb2.Manifest], None]) -> None:
    path = bundle / layout.MANIFEST_FILE
    proto = manifest_pb2.Manifest.FromString(path.read_bytes())
    edit(proto)
    path.write_bytes(proto.SerializeToString(deterministic=True))


def the_weights(proto: manifest_pb2.Manifest) -> manifest_pb2.ExternalValue:
    (found,) = (o.value.external for o in proto.objects.values() if o.value.HasField("external"))
    return found


def safetensors(bundle: Path, header: bytes, data: bytes = b"") -> None:
    (file,) = bundle.glob("*.safetensors")
    file.write_bytes(len(header).to_bytes(8, "little") + header + data)


def program(bundle: Path, text: str) -> None:
    (bundle / PROGRAM).write_bytes(module.serialize(module.parse(text)))


def an_example(bundle: Path) -> Path:
    return bundle / "examples" / "0.npz"


# -- the folder


@damaged("must_refuse", is_sealed=False)
def unfinished(bundle):
    """The save was killed before its marker."""
    (bundle / layout.VERSION_FILE).unlink()


@damaged("must_refuse", is_sealed=False)
def no_manifest(bundle):
    """A copy that lost a file."""
    (bundle / layout.MANIFEST_FILE).unlink()


@damaged("must_refuse")
def half_a_manifest(bundle):
    """A copy that broke off."""
    path = bundle / layout.MANIFEST_FILE
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@damaged("must_refuse")
def from_the_future(bundle):
    """A version that no reader knows yet."""
    path = bundle / layout.VERSION_FILE
    path.write_text(path.read_text().replace('"0.0.1"', '"9.0.0"'))


@damaged("must_refuse", is_sealed=False)
def marker_leads_out(bundle):
    """The manifest is said to lie outside of the folder."""
    path = bundle / layout.VERSION_FILE
    path.write_text(path.read_text().replace("manifest.pb", "../../../../etc/passwd"))


@damaged("must_refuse", is_sealed=False)
def changed_afterwards(bundle):
    """One byte of the program is another than was saved."""
    path = bundle / PROGRAM
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


@damaged("must_refuse", is_sealed=False)
def program_is_gone(bundle):
    """The manifest names a file that is not there."""
    (bundle / PROGRAM).unlink()


@damaged("must_refuse", is_sealed=False)
def link_leads_out(bundle):
    """A program is a link to a file of the reader's machine."""
    (bundle / PROGRAM).unlink()
    (bundle / PROGRAM).symlink_to("/etc/hostname")


# -- the manifest


@damaged("must_refuse")
def weights_lead_out(bundle):
    """Weights are said to lie outside of the folder."""

    def edit(proto):
        the_weights(proto).data.file_system_location.string_path = "../../../../../etc"

    edit_manifest(bundle, edit)


@damaged("must_refuse")
def nested_without_end(bundle):
    """A signature of a tuple in a tuple in a tuple, deeper than any stack."""
    # Length-delimited by hand: protobuf itself refuses to build what a stranger may send.
    path = bundle / layout.MANIFEST_FILE
    inner = b""
    for _ in range(20_000):
        inner = b"\x0a" + varint(len(inner)) + inner
    path.write_bytes(path.read_bytes() + b"\x0a" + varint(len(inner)) + inner)


def varint(number: int) -> bytes:
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])


@damaged("must_refuse")
def pipeline_without_its_function(bundle):
    """The orchestration names a function that the bundle does not have."""

    def edit(proto):
        del proto.objects["serving_default"]

    edit_manifest(bundle, edit)


# -- weights


@damaged("must_refuse")
def weights_beyond_any_disk(bundle):
    """A header that claims eight terabytes in a file of two hundred bytes."""
    kernel = {"dtype": "F32", "shape": [1 << 20, 1 << 21], "data_offsets": [0, 1 << 43]}
    safetensors(bundle, json.dumps({"params.kernel": kernel}).encode())


@damaged("must_refuse")
def weights_of_no_json(bundle):
    """A header of nothing but opening brackets."""
    safetensors(bundle, b"[" * 20_000)


# -- programs


@damaged("must_refuse")
def program_of_noise(bundle):
    """Digests agree, and the program is no program."""
    (bundle / PROGRAM).write_bytes(b"ML\xefR" + bytes(range(256)) * 4)


@damaged("must_refuse")
def program_calls_home(bundle):
    """A custom call that no reader has been told to trust."""
    program(
        bundle,
        """
        func.func public @main(%bias: tensor<2xf32>, %kernel: tensor<4x2xf32>,
            %x: tensor<3x4xf32>) -> tensor<3x2xf32> {
          %y = stablehlo.custom_call @send_my_files(%x) : (tensor<3x4xf32>) -> tensor<3x2xf32>
          return %y : tensor<3x2xf32>
        }""",
    )


@damaged("must_refuse")
def program_takes_other_inputs(bundle):
    """The program takes one argument, its signature says three."""
    program(
        bundle, "func.func public @main(%x: tensor<f32>) -> tensor<f32> { return %x : tensor<f32> }"
    )


@damaged("must_refuse")
def record_of_noise(bundle):
    """What is recorded beside the program for JAX does not parse."""
    for path in bundle.glob("serving_default_*"):
        path.write_bytes(b"\xff" * 40)


# -- examples


@damaged("must_refuse")
def example_with_a_pickle(bundle):
    """An array of Python objects, whose unpickling would run code."""
    found = an_example(bundle)
    array = io.BytesIO()
    np.lib.format.write_array(array, np.array([print], object), allow_pickle=True)
    with zipfile.ZipFile(found) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(found, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content if name == "index.npy" else array.getvalue())


@damaged("must_refuse")
def example_with_other_results(bundle):
    """A recorded output that the program does not give."""
    found = an_example(bundle)
    with zipfile.ZipFile(found) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    last = max(name for name in members if name != "index.npy")
    changed = np.load(io.BytesIO(members[last])) + 1
    array = io.BytesIO()
    np.lib.format.write_array(array, changed)
    with zipfile.ZipFile(found, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, array.getvalue() if name == last else content)


# -- TensorFlow


@damaged("must_refuse", is_sealed=False)
def processor_writes_a_file(bundle):
    """A SavedModel that writes a file when it is called."""
    shutil.rmtree(bundle)

    @traced
    def evil(x):
        tf.io.write_file("/tmp/owned", "owned")
        return x

    holder = tf.Module()
    holder.f = evil
    beside = bundle.with_name("saved_model")
    tf.saved_model.save(holder, str(beside), signatures={"f": evil})
    as_bundle(beside, bundle)


# -- strange, but whole


@damaged("must_load")
def names_that_paint(bundle):
    """Names with escape sequences, line ends, markup and letters that change direction."""
    name = "\x1b[31mred\n</script><script>alert(1)</script>\u202eevil"
    shutil.rmtree(bundle)
    obm.pack(
        bundle,
        lambda params, x: {name: x * params[name]},
        {name: jnp.ones(2)},
        "b, 2",
        weights_format="safetensors",
        platforms=["cpu"],
        examples=np.ones((3, 2), np.float32),
        metadata=core.Metadata(name=name, description=name, authors=(name,)),
    )

    def edit(proto):
        proto.objects[name].CopyFrom(proto.objects["serving_default"])
        proto.supplemental_info[f"{name} supplemental"].inlined_string = name

    edit_manifest(bundle, edit)


@damaged("must_load")
def records_of_nobody(bundle):
    """Fields, supplementals and objects that no reader knows."""

    def edit(proto):
        proto.supplemental_info["of_nobody"].mime_type = "application/x-unheard-of"
        proto.supplemental_info["of_nobody"].inlined_bytes = b"\x00\xff"
        proto.objects["of_nobody"].MergeFromString(b"\x7a\x05later")  # field 15

    edit_manifest(bundle, edit)
    path = bundle / layout.MANIFEST_FILE
    path.write_bytes(path.read_bytes() + b"\xba\x3e\x05later")


@damaged("must_load", is_sealed=False)
def without_digests(bundle):
    """As the original wrote: nothing says what the files should be."""
    (bundle / layout.INTEGRITY_FILE).unlink()


def main() -> None:
    """Makes all of them again."""
    work = HERE / "unfinished"
    for name, (group, damage) in DAMAGES.items():
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        honest(work / "model")
        damage(work / "model")
        target = HERE / group / name
        shutil.rmtree(target, ignore_errors=True)
        target.parent.mkdir(exist_ok=True)
        Path(work / "model").replace(target)
    shutil.rmtree(work)


if __name__ == "__main__":
    main()
