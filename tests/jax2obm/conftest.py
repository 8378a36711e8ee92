"""Functions converted and bound in memory, without a folder between."""

from __future__ import annotations

import pathlib

import pytest


@pytest.fixture(scope="session")
def bundle_of():
    """Returns `bundle_of(name=function, ...)`: a bundle whose payloads are all in memory."""
    from orbax_model_lite.core.bundle import Bundle

    def make(**objects):
        return Bundle(
            path=pathlib.Path("in-memory"),
            objects=objects,
            supplementals={},
            device_assignment=None,
            layout="2025-09",
            frequent_paths=(),
        )

    return make


@pytest.fixture(scope="session")
def bound(bundle_of):
    """Returns `bound(function, name="f", **placement)`: a function as the engine binds it."""
    from orbax_model_lite.jax2obm import JaxEngine

    def make(function, *, name="f", **placement):
        return JaxEngine(bundle_of(**{name: function}), **placement).bind(function)

    return make


@pytest.fixture(scope="session")
def converted(bound):
    """Returns `converted(function, *specs, kwargs=None, **options)`: converted and bound."""
    from orbax_model_lite.jax2obm import convert

    def make(function, *specs, kwargs=None, platforms=("cpu",), **options):
        return bound(convert(function, specs, kwargs, platforms=platforms, **options))

    return make


CORPUS = pathlib.Path(__file__).parent.parent / "corpus"


@pytest.fixture(scope="session")
def corpus_function():
    """Returns `corpus_function(bundle, name)`: a function that the original wrote."""
    from orbax_model_lite.core import read

    return lambda bundle, name: read(CORPUS / bundle / "model").objects[name]


@pytest.fixture(params=["orbax", "safetensors"])
def saved(request, tmp_path):
    """Returns `save(tree) -> path`, in each of the formats."""
    from orbax_model_lite.jax2obm import save_weights

    def save(tree, name="weights"):
        save_weights(tmp_path / name, tree, format=request.param)
        return tmp_path / name

    return save
