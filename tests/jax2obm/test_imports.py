"""What a fresh process imports to run a stored function."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.frameworks


def test_running_a_function_imports_nothing_that_only_converting_needs(fresh_python):
    code = """
    import sys
    from orbax_model_lite.jax2obm import JaxEngine
    ours = {name.rpartition(".")[2] for name in sys.modules if ".jax2obm." in name}
    print(sorted(ours & {"conversion", "lowering", "plain_call", "portable", "rules", "weights"}))
    print([name for name in ("tensorflow", "orbax.checkpoint", "flax") if name in sys.modules])
    """
    assert fresh_python(code).split() == ["[]", "[]"]


def test_the_functions_keep_their_names_whatever_was_imported_before(fresh_python):
    code = """
    import orbax_model_lite.jax2obm.conversion
    from orbax_model_lite import jax2obm
    print(all(callable(getattr(jax2obm, name)) for name in jax2obm.__all__))
    """
    assert fresh_python(code).split() == ["True"]
