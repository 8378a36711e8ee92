"""Functions of a bundle as JAX code: `lifted` with the trees, names and checks of the signature."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Literal

from jax.sharding import Mesh

from orbax_model_lite.core import layout
from orbax_model_lite.core.function import ShloFunction
from orbax_model_lite.core.spec import Spec
from orbax_model_lite.core.tree import unflatten
from orbax_model_lite.errors import InvalidBundleError
from orbax_model_lite.jaxtypes.adapting import adapted
from orbax_model_lite.jaxtypes.arguments import Parameters, callable_order, callable_tree
from orbax_model_lite.jaxtypes.jax_trees import in_memory, trees_of
from orbax_model_lite.jaxtypes.leaves import to_logical, to_physical
from orbax_model_lite.lift.lifted import LiftedModule, lift_module, module_coverage
from orbax_model_lite.lift.problems import Coverage
from orbax_model_lite.lift.rules.identities import ProgramDerivativeWarning

ReadBytes = Callable[..., bytes]


def lift_function(
    function: ShloFunction,
    *,
    name: str | None = None,
    read: ReadBytes | None = None,
    platform: str | None = None,
    custom_calls: Mapping[str, Callable[..., Any]] | None = None,
    derivative: Literal["rules", "program"] = "rules",
    mesh: Mesh | None = None,
) -> Callable[..., Any]:
    """Returns a StableHLO function of a bundle as ordinary JAX code.

    The callable has the function's own signature, tree and argument names. It may be traced,
    differentiated, vmapped and exported again, on any devices and at symbolic shapes. A function
    that `jax2obm.convert` did not write has no marks of derivative rules: it is differentiated by
    its program, which a UserWarning says once.

    Args:
      function: Of a bundle, or from `jax2obm.convert`.
      name: For messages, and of the callable; by default the traced function's.
      read: Reads a payload that lies in a file: the bundle's `read_bytes`.
      platform: Whose variant is taken where the module has several; by default JAX chooses when
        it lowers.
      custom_calls: As in `lift_module`.
      derivative: As in `lift_module`.
      mesh: As in `lift_module`.

    Raises:
      InvalidBundleError: If its module is missing or damaged.
      UnsupportedError: If operations have no counterpart in JAX; names them all.
      UnknownNameError: If it was not lowered for `platform`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from orbax_model_lite import jax2obm
      >>> stored = jax2obm.convert(lambda x: jnp.sum(x**2), (jnp.ones(3),), platforms=["cpu"])
      >>> jax.grad(lift_function(stored))(jnp.ones(3)).tolist()
      [2.0, 2.0, 2.0]
    """
    name = name or (function.jax.name if function.jax else "") or "function"
    where = f"function {name!r}"
    module = lift_module(
        _payload(function, where, read),
        custom_calls=custom_calls,
        derivative=derivative,
        mesh=mesh,
        platforms=function.platforms,
        platform=platform,
        where=where,
    )
    trees = trees_of(function, where, read or in_memory)
    parameters = Parameters(
        function_name=name, signature=function.signature, argument_names=trees.argument_names
    )
    is_silent = derivative == "program" or has_rules(function)
    warning = None if is_silent else ProgramDerivativeWarning(where)
    return _with_trees(module, function, parameters, warning)


def has_rules(function: ShloFunction) -> bool:
    """Returns whether `jax2obm.convert` wrote a function, so that derivative rules are marked."""
    return layout.KEY_JAX_TREES in function.supplementals


def coverage(
    function: ShloFunction,
    *,
    name: str | None = None,
    read: ReadBytes | None = None,
    custom_calls: Mapping[str, Callable[..., Any]] | None = None,
) -> Coverage:
    """Returns which operations of a function can be lifted, without running it.

    Takes what `lift_function` takes.

    Raises:
      InvalidBundleError: If its module is missing or damaged.
    """
    where = f"function {name or (function.jax.name if function.jax else 'function')!r}"
    payload = _payload(function, where, read)
    return module_coverage(payload, custom_calls=custom_calls, where=where)


def _payload(function: ShloFunction, where: str, read: ReadBytes | None) -> bytes:
    content = function.module.inline_bytes if read is None else read(function.module)
    if content is None:
        raise InvalidBundleError(
            f"{where}: expected a module in memory; found one in a file; pass the bundle's "
            "`read_bytes` as `read`, or use `model.lift`"
        )
    return content


def _with_trees(
    module: LiftedModule,
    function: ShloFunction,
    parameters: Parameters,
    warning: ProgramDerivativeWarning | None,
) -> Callable[..., Any]:
    inputs, outputs = function.signature.input_leaves, function.signature.output_leaves
    output_tree = callable_tree(function.signature.outputs)
    output_order = callable_order(function.signature.outputs)
    place = f"function {parameters.function_name!r}, output"

    def lifted(*args: Any, **kwargs: Any) -> Any:
        given, named = adapted(parameters.tree, parameters.bound(args, kwargs))[0]
        flat = parameters.require(given, named)
        taken = [to_physical(inputs[i], flat[i]) for i in function.kept_inputs]
        results = module(*(warning.on(taken) if warning else taken))
        pairs = zip(outputs, results, strict=True)
        logical = [to_logical(spec, leaf, place) for spec, leaf in pairs if isinstance(spec, Spec)]
        return unflatten(output_tree, [logical[i] for i in output_order])

    lifted.__name__ = lifted.__qualname__ = parameters.function_name
    lifted.__doc__ = f"{parameters.function_name}{function.signature}"
    lifted.__signature__ = _python_signature(parameters)
    return lifted


def _python_signature(parameters: Parameters) -> inspect.Signature:
    """Returns the author's argument names; those that are unknown are "arg0", "arg1", ..."""
    positional, keyword = parameters.tree
    known = dict(enumerate(parameters.argument_names))
    return inspect.Signature(
        [
            inspect.Parameter(known.get(i) or f"arg{i}", inspect.Parameter.POSITIONAL_OR_KEYWORD)
            for i in range(len(positional))
        ]
        + [inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY) for key in keyword]
    )
