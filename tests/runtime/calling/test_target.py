"""What is called: found from records alone, bound with its weights."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import orbax_model_lite as obm
from orbax_model_lite import core
from orbax_model_lite import orchestration as oex
from orbax_model_lite.core.dtype import DType
from orbax_model_lite.core.layout import MIME_TF_FUNCTION
from orbax_model_lite.core.spec import Spec
from orbax_model_lite.core.tree import StringPairs
from orbax_model_lite.errors import (
    InvalidBundleError,
    SignatureMismatchError,
    UnknownNameError,
    UnsupportedError,
)
from orbax_model_lite.orchestration import BatchComponent, BatchOptions, Orchestration
from orbax_model_lite.runtime.calling.target import bind, find_target

X = Spec(shape=(None, 4), dtype=DType.FLOAT32)


def function(*args, **kwargs) -> core.OpaqueFunction:
    return core.OpaqueFunction(
        signature=core.Signature.of_call(args, kwargs, X),
        body=core.Data(content=b"", mime_type=MIME_TF_FUNCTION, version="0.0.1"),
    )


@pytest.fixture
def saved(tmp_path):
    """Returns `saved(**objects)`: a bundle with weights files for values that are None."""

    def save(**objects):
        path = tmp_path / "m"
        for name in [name for name, found in objects.items() if found is None]:
            path.mkdir(exist_ok=True)
            (path / f"{name}.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
            objects[name] = core.convert_path_to_value(f"{name}.safetensors", "safetensors")
        core.save(objects, path)
        return obm.read(path)

    return save


def pipelines(default: str | None = None, **stages: oex.Pipeline) -> Orchestration:
    return Orchestration(pipelines=stages, default=default)


def test_the_default_pipeline_is_called_and_its_weights_are_no_input(saved):
    bundle = saved(f=function({"w": X}, X), params=None)
    orchestration = pipelines(main=oex.Pipeline.of("f", "params"))
    target = find_target(bundle, orchestration)
    assert str(target) == "pipeline 'main'"
    assert str(target.forms[0]) == "(0: float32 [?, 4])"


def test_a_function_is_called_with_the_weights_that_a_pipeline_gives_it(saved):
    bundle = saved(f=function({"w": X}, X), params=None)
    orchestration = pipelines(main=oex.Pipeline.of("f", "params"))
    target = find_target(bundle, orchestration, function="f")
    assert target.stages[0].weights == "params"
    assert len(target.forms[0].args) == 1


def test_a_function_of_no_pipeline_takes_all_its_arguments(saved):
    bundle = saved(f=function({"w": X}, X), params=None)
    assert len(find_target(bundle, pipelines(), function="f").forms[0].args) == 2
    chosen = find_target(bundle, pipelines(), function="f", weights="params")
    assert len(chosen.forms[0].args) == 1


def test_the_only_public_function_is_the_default_where_there_is_no_pipeline(saved):
    hidden = replace(function(X), visibility=core.Visibility.PRIVATE)
    bundle = saved(f=function(X), g=hidden)
    assert str(find_target(bundle, pipelines())) == "function 'f'"


@pytest.mark.parametrize(
    "wrong",
    [{"pipeline": "mian"}, {"function": "mian"}, {"function": "f", "weights": "mian"}],
    ids=str,
)
def test_a_name_that_does_not_exist_is_told_with_those_that_do(wrong, saved):
    bundle = saved(f=function({"w": X}, X), params=None)
    with pytest.raises(UnknownNameError, match=r"no .* 'mian'"):
        find_target(bundle, pipelines(main=oex.Pipeline.of("f", "params")), **wrong)


def test_one_of_several_functions_has_to_be_chosen(saved):
    said = "several functions and no pipeline; choose one with --function: f, g"
    with pytest.raises(UnknownNameError, match=said):
        find_target(saved(g=function(X), f=function(X)), pipelines())


def test_one_of_several_pipelines_without_a_default_has_to_be_chosen(saved):
    several = pipelines(b=oex.Pipeline.of("f"), a=oex.Pipeline.of("f"))
    said = "several pipelines and no default; choose one with --pipeline: a, b"
    with pytest.raises(UnknownNameError, match=said):
        find_target(saved(f=function(X)), several)


def test_a_bundle_without_functions_has_nothing_to_be_called(saved):
    with pytest.raises(UnknownNameError, match=r"no public function and.*there is none"):
        find_target(saved(params=None), pipelines())


def test_pipelines_that_give_a_function_different_weights_leave_the_choice(saved):
    bundle = saved(f=function({"w": X}, X), one=None, two=None)
    orchestration = pipelines(
        a=oex.Pipeline.of("f", "one"), b=oex.Pipeline.of("f", "two"), default="a"
    )
    with pytest.raises(SignatureMismatchError, match="found one, two; choose one"):
        find_target(bundle, orchestration, function="f")
    target = find_target(bundle, orchestration, function="f", weights="two")
    assert target.stages[0].weights == "two"


@pytest.mark.parametrize(
    ("pipeline", "found"),
    [
        (oex.Pipeline(stages=()), "found no stage at all"),
        (oex.Pipeline.of("g"), "found no 'g'"),
        (oex.Pipeline.of("f", "lost"), "found no 'lost'"),
    ],
    ids=["no stage", "no function", "no weights"],
)
def test_a_pipeline_of_what_is_not_there_is_damage(pipeline, found, saved):
    with pytest.raises(InvalidBundleError, match=found):
        find_target(saved(f=function(X)), pipelines(main=pipeline))


def test_a_polymorphic_function_has_a_form_for_each_of_its_functions(saved):
    several = core.PolymorphicFunction(functions=(function(X), function({"x": X})))
    forms = find_target(saved(p=several), pipelines(), function="p").forms
    assert [str(form) for form in forms] == ["(0: float32 [?, 4])", "(0: {x: float32 [?, 4]})"]


def test_batch_options_of_the_author_are_kept(saved):
    options = BatchOptions(component=BatchComponent.WHOLE_PIPELINE, allowed_batch_sizes=(4, 16))
    orchestration = pipelines(main=oex.Pipeline.of("f", batch_options=options))
    assert find_target(saved(f=function(X)), orchestration).batch_sizes == (4, 16)


def test_string_pairs_are_given_as_a_dict(saved):
    pairs = StringPairs((("b", X), ("a", X)))
    twice = StringPairs((("a", X), ("a", X)))
    bundle = saved(f=function(pairs), g=function(twice))
    assert find_target(bundle, pipelines(), function="f").forms[0].args == ({"b": X, "a": X},)
    with pytest.raises(UnsupportedError, match="keys of their own"):
        find_target(bundle, pipelines(), function="g")


@pytest.mark.frameworks
def test_names_and_constraints_of_a_converted_function_are_known(tmp_path):
    obm.pack(
        tmp_path / "m",
        lambda weights, image, scale: weights * image * scale,
        np.ones(4, np.float32),
        ("b, 4", "float32[]"),
        constraints=["mod(b, 4) == 0"],
        platforms=["cpu"],
    )
    from orbax_model_lite.runtime.loading import read_orchestration

    bundle = obm.read(tmp_path / "m")
    (form,) = find_target(bundle, read_orchestration(bundle)).forms
    assert str(form) == "(image: float32 [b, 4], scale: float32 [])"
    assert form.constraints == ("mod(b, 4) == 0",)


@pytest.mark.frameworks
def test_weights_that_do_not_fit_are_damage_and_no_misuse(tmp_path):
    from orbax_model_lite import jax2obm

    path = tmp_path / "m"
    path.mkdir()
    made = jax2obm.convert(lambda w, x: w["k"] * x, ({"k": "4"}, "b, 4"), platforms=["cpu"])
    jax2obm.save_weights(
        path / "w.safetensors", {"other": np.ones(4, np.float32)}, format="safetensors"
    )
    weights = core.convert_path_to_value("w.safetensors", "safetensors")
    core.save({"f": made, "w": weights}, path)
    bundle = obm.read(path)
    target = find_target(bundle, pipelines(), function="f", weights="w")
    with obm.load(bundle) as model, pytest.raises(InvalidBundleError, match="do not fit together"):
        bind(model, target)


@pytest.mark.frameworks
def test_finding_a_target_imports_no_framework(tmp_path, fresh_python):
    obm.pack(tmp_path / "m", lambda x: 2 * x, None, "b")
    code = """
        import json, sys
        from orbax_model_lite.core.reading import read
        from orbax_model_lite.runtime.calling import call_from, find_target, read_value, Source
        from orbax_model_lite.runtime.loading import read_orchestration
        bundle = read(sys.argv[1])
        target = find_target(bundle, read_orchestration(bundle))
        source = Source(text="x", name="x", document=read_value("[1, 2]", "x"))
        call = call_from(target, [source])
        print(json.dumps([call.args[0].tolist(), sorted(sys.modules)]))
    """
    values, modules = json.loads(fresh_python(code, Path(tmp_path / "m")))
    assert values == [1, 2]
    assert not {"jax", "tensorflow", "orbax"} & {name.partition(".")[0] for name in modules}
