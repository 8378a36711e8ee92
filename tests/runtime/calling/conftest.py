"""Targets without a bundle, for tests of what is given to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from orbax_model_lite.core.dtype import DType
from orbax_model_lite.core.spec import Spec
from orbax_model_lite.runtime.calling.target import Form, Target


@pytest.fixture
def spec() -> Callable[..., Spec]:
    """Returns `spec(*shape, dtype="float32", logical=None)`."""

    def make(*shape: Any, dtype: str = "float32", logical: str | None = None) -> Spec:
        return Spec(shape=shape, dtype=DType(dtype), logical=logical)

    return make


@pytest.fixture
def target() -> Callable[..., Target]:
    """Returns `target(*args, names=(), optional=(), constraints=(), **kwargs)`: with one form."""

    def make(
        *args: Any, names: Any = (), optional: Any = (), constraints: Any = (), **kwargs: Any
    ) -> Target:
        form = Form(
            args=args,
            kwargs=kwargs,
            names=tuple(names),
            optional=frozenset(optional),
            constraints=tuple(constraints),
        )
        return Target(kind="function", name="f", forms=(form,), stages=())

    return make
