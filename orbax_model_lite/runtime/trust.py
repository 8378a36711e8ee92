"""The gates before a program of a bundle is handed to a framework.

A StableHLO module may call any custom call registered in the process, a TensorFlow function may
touch files and the network, and loading a SavedModel runs its initializers. Each gate reads the
program without running it and refuses what is neither harmless nor granted by the caller.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import final

from orbax_model_lite import _lazy
from orbax_model_lite.core import layout
from orbax_model_lite.core.bundle import Bundle
from orbax_model_lite.errors import InvalidBundleError, UntrustedError


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """What the caller grants to the programs of a bundle beyond the harmless.

    Attributes:
      custom_calls: Names of custom-call targets that StableHLO functions may call: kernels that
        the module brings along (`tpu_custom_call`, `mosaic_gpu_v2`), or code of this process.
      tf_ops: Names of TensorFlow operations that may run.

    Example:
      >>> Trust(custom_calls={"my_kernel"}).custom_calls
      frozenset({'my_kernel'})
    """

    custom_calls: Collection[str] = frozenset()
    tf_ops: Collection[str] = frozenset()

    def __post_init__(self) -> None:
        """Freezes the collections; a lone string is a mistake."""
        for name in ("custom_calls", "tf_ops"):
            value = getattr(self, name)
            if isinstance(value, str):
                raise TypeError(f"trust, {name}: expected a set of names; found {value!r}")
            object.__setattr__(self, name, frozenset(value))


def require_module(name: str, module: bytes, trust: Trust) -> None:
    """Checks the custom calls of a StableHLO module.

    Args:
      name: Of the function, for the message.
      module: The portable artifact.
      trust: What the caller grants.

    Raises:
      UntrustedError: If it calls something that is neither guaranteed by JAX nor granted, or brings
        kernels or TensorFlow graphs along that are not granted.
      InvalidBundleError: If it is not a portable artifact.
      UnsupportedError: If it is written at a newer StableHLO than this jaxlib knows.
      MissingDependencyError: If JAX is not installed.
    """
    reading = _lazy.load(
        "orbax_model_lite.stablehlo.custom_calls", purpose=f"running function {name!r}"
    )
    found = reading.custom_calls(module, where=f"function {name!r}")
    kernels = reading.KERNEL_CUSTOM_CALLS
    guaranteed = set(reading.GUARANTEED_CUSTOM_CALLS) - kernels
    refused = sorted(set(found) - guaranteed - set(trust.custom_calls))
    if refused:
        brought = ", whose code the module brings along" if kernels & set(refused) else ""
        raise UntrustedError(
            f"function {name!r}: expected only custom calls that JAX guarantees; found "
            f"{', '.join(refused)}{brought}; if you trust them, load with "
            f"trust=Trust(custom_calls={_as_set(refused)}), or in a shell with "
            f"{_as_options('--trust-custom-call', refused)}"
        )


def require_saved_model(bundle: Bundle, folder: str, trust: Trust) -> None:
    """Checks what a SavedModel runs, when it is loaded and when the functions are called.

    Args:
      bundle: The bundle.
      folder: Of the SavedModel, relative to the bundle.
      trust: What the caller grants.

    Raises:
      UntrustedError: If an operation is neither harmless nor granted, or if the program
        cannot be followed.
      InvalidBundleError: If the SavedModel is missing or damaged.
    """
    scan = _lazy.load("orbax_model_lite.tf2obm.graph:refusals")
    refusals = scan(bundle, folder, allow=frozenset(trust.tf_ops))
    if not refusals:
        return
    operations = sorted({refusal.op for refusal in refusals if refusal.op})
    lines = "; ".join(str(refusal) for refusal in refusals[:3])
    more = f" and {len(refusals) - 3} more" if len(refusals) > 3 else ""
    is_open = all(refusal.op for refusal in refusals)
    advice = (
        f"if you trust them, load with trust=Trust(tf_ops={_as_set(operations)}), or in a shell "
        f"with {_as_options('--trust-tf-op', operations)}"
    )
    raise UntrustedError(
        f"SavedModel {folder!r}: expected only operations that compute; found {lines}{more}; "
        f"{advice if is_open else 'what cannot be followed cannot be granted: save it again'}"
    )


def saved_model_folder(bundle: Bundle) -> str:
    """Returns the folder of the bundle's SavedModel, relative to the bundle.

    Raises:
      InvalidBundleError: If the bundle does not say where it lies.
    """
    data = bundle.supplementals.get(layout.KEY_SAVED_MODEL)
    if data is None or data.file is None:
        raise InvalidBundleError(
            f"bundle {str(bundle.path)!r}: expected supplemental {layout.KEY_SAVED_MODEL!r} with "
            "the folder of the TensorFlow functions; found none; save the bundle again"
        )
    return data.file.path


def _as_set(names: Iterable[str]) -> str:
    return "{" + ", ".join(repr(name) for name in names) + "}"


def _as_options(option: str, names: list[str]) -> str:
    import shlex

    return " ".join(f"{option} {shlex.quote(name)}" for name in names)
