"""Names inside a bundle: files, MIME types, versions and keys of supplementals.

The only place where they are spelled. Facts about the original's spellings: docs/format.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

FORMAT_VERSION: Final = "0.0.1"

VERSION_FILE: Final = "orbax_model_version.txt"
MANIFEST_FILE: Final = "manifest.pb"
INTEGRITY_FILE: Final = "integrity.pb"
ORCHESTRATION_FILE: Final = "orchestration.pb"
LEGACY_VERSION_FILE: Final = "manifest_version.txt"

# Beside the files of a bundle while a save runs, or after one was killed.
JOURNAL_FILE: Final = ".obm-save.journal"
UNFINISHED_FILE: Final = ".obm-save.unfinished"

WEIGHTS_FOLDER: Final = "weights/"
SAFETENSORS_FILE: Final = "weights.safetensors"
SAVED_MODEL_FOLDER: Final = "tf_saved_model/"
EXAMPLES_FOLDER: Final = "examples/"

SHLO_EXTENSION: Final = "shlo"
PROTO_EXTENSION: Final = "pb"

# Keys of the manifest's supplemental maps.
KEY_ORCHESTRATION: Final = "orchestration"
KEY_SAVED_MODEL: Final = "tensorflow_saved_model"
KEY_JAX_INFO: Final = "jax_specific_info"
KEY_COMPILE_OPTIONS: Final = "xla_compile_options"
KEY_LOGICAL_TYPES: Final = "obm_lite_logical_types"
KEY_JAX_TREES: Final = "obm_lite_jax_trees"
KEY_DEVICE_MESH: Final = "obm_lite_device_mesh"
KEY_MODULE_FACTS: Final = "obm_lite_module_facts"
KEY_LOWERINGS: Final = "obm_lite_lowerings"
KEY_METADATA: Final = "obm_lite_metadata"
KEY_EXAMPLES: Final = "obm_lite_examples"

_PROTO: Final = "application/protobuf; type="
MIME_MANIFEST: Final = _PROTO + "orbax_model_manifest.Manifest"
# What a manifest of before 2025-05-30 held in a field that no longer exists.
MIME_DEVICE_MESH: Final = _PROTO + "orbax_model_manifest.DeviceMesh"
MIME_STABLEHLO: Final = "application/x.mlir-stablehlo"
MIME_JAX_INFO: Final = _PROTO + "orbax_model_jax_supplemental.Function"
MIME_COMPILE_OPTIONS: Final = _PROTO + "orbax_model_manifest.CompileOptionsProtoMap"
MIME_TF_FUNCTION: Final = (
    _PROTO + "orbax_model_tf_concrete_function_handle.TfConcreteFunctionHandle"
)
MIME_SAVED_MODEL: Final = "application/x.tensorflow-saved-model"
MIME_ORBAX_CHECKPOINT: Final = "application/x.orbax-checkpoint"
MIME_SAFETENSORS: Final = "application/x.safetensors"
MIME_SIMPLE_ORCHESTRATION: Final = "simple_orchestration"
MIME_PIPELINES: Final = _PROTO + "orbax_export_orchestration.Pipelines"
MIME_LOGICAL_TYPES: Final = _PROTO + "orbax_model_lite.info.LogicalTypes"
MIME_OBJECT_TYPES: Final = _PROTO + "orbax_model_lite.info.ObjectTypes"
MIME_JAX_TREES: Final = _PROTO + "orbax_model_lite.info.JaxTrees"
MIME_MODULE_FACTS: Final = _PROTO + "orbax_model_lite.info.ModuleFacts"
MIME_LOWERINGS: Final = _PROTO + "orbax_model_lite.info.Lowerings"
MIME_METADATA: Final = _PROTO + "orbax_model_lite.info.Metadata"
MIME_EXAMPLES: Final = _PROTO + "orbax_model_lite.info.Examples"

STABLEHLO_VERSION: Final = "1.0"
SAVED_MODEL_VERSION: Final = "1.0"
SUPPLEMENTAL_VERSION: Final = "0.0.1"

_OLD_SPELLINGS: Final[Mapping[str, str]] = {
    "mlir_stablehlo": MIME_STABLEHLO,
    "orbax_model_jax_supplemental": MIME_JAX_INFO,
    "xla_compile_options": MIME_COMPILE_OPTIONS,
    "tensorflow_concrete_function_handle": MIME_TF_FUNCTION,
    "tensorflow_saved_model": MIME_SAVED_MODEL,
    "orbax_checkpoint": MIME_ORBAX_CHECKPOINT,
    "oex_orchestration_multi_pipeline": MIME_PIPELINES,
}


def canonical_mime_type(mime_type: str | None) -> str:
    """Returns today's spelling of a MIME type; unknown ones as they are, None as ""."""
    if not mime_type:
        return ""
    return _OLD_SPELLINGS.get(mime_type, mime_type)


def is_old_mime_type(mime_type: str) -> bool:
    """Whether this spelling was replaced by another one on 2025-09-04."""
    return mime_type in _OLD_SPELLINGS


def is_new_mime_type(mime_type: str) -> bool:
    """Whether this spelling replaced another one on 2025-09-04."""
    return mime_type in _OLD_SPELLINGS.values()


def supplemental_file(stem: str, key: str, extension: str) -> str:
    """Returns the file name of a function's supplemental, relative to the bundle."""
    return with_extension(f"{stem}_{key}_supplemental", extension)


def concrete_stem(polymorphic_name: str, index: int) -> str:
    """Returns the file stem of the index-th function (from 0) of a polymorphic object."""
    return f"__{polymorphic_name}_{index}"


def lowered_name(function_name: str) -> str:
    """Returns the usual object name of the StableHLO form of an opaque function."""
    return f"{function_name}_stablehlo"


def with_extension(stem: str, extension: str) -> str:
    """Returns `stem.extension`, without the dot when the extension is ""."""
    return f"{stem}.{extension}" if extension else stem
