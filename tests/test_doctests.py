"""The examples in docstrings run, each on its own and in an empty folder."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil

import pytest

import orbax_model_lite

pytestmark = pytest.mark.frameworks

ROOMS = [
    "orbax_model_lite",
    *(
        f"orbax_model_lite.{room.name}"
        for room in pkgutil.iter_modules(orbax_model_lite.__path__)
        if room.ispkg and room.name != "_proto"
    ),
]


def examples(room: str) -> list[doctest.DocTest]:
    """Returns the examples of the public names of `room`, which may use all of these names."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    module = importlib.import_module(room)
    public = {name: getattr(module, name) for name in module.__all__}
    return [
        example
        for name, value in public.items()
        if not inspect.ismodule(value)
        for example in finder.find(value, name, module=False, globs=dict(public))
        if example.examples
    ]


@pytest.mark.parametrize("room", ROOMS)
def test_examples_print_what_they_say(room, tmp_path, monkeypatch):
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    for number, example in enumerate(examples(room)):
        folder = tmp_path / str(number)
        folder.mkdir()
        monkeypatch.chdir(folder)
        runner.run(example)
    assert runner.summarize(verbose=False).failed == 0


def test_every_function_at_the_top_level_has_an_example():
    functions = {
        name
        for name in orbax_model_lite.__all__
        if inspect.isfunction(getattr(orbax_model_lite, name))
    }
    assert functions <= {example.name for example in examples("orbax_model_lite")}
