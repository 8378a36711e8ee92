"""Two bundles compared, both made without a framework: each section, and what is not read."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orbax_model_lite import core
from orbax_model_lite import orchestration as oex
from orbax_model_lite._proto import bundle_info_pb2
from orbax_model_lite.core import layout
from orbax_model_lite.core.module_facts import ModuleFacts
from orbax_model_lite.errors import InvalidBundleError
from orbax_model_lite.inspection import Difference, diff
from orbax_model_lite.inspection.differences import programs
from tests.inspection.conftest import handle, opaque, shlo, spec, told, without_digests

ROOT = Path(__file__).parent.parent
CORPUS = sorted((ROOT / "corpus").glob("*/model"))


# ------------------------------------------------------------------------------------- sameness


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.parent.name)
def test_a_bundle_of_the_original_has_no_difference_from_itself(path):
    found = diff(path, path)
    odd = [weights.name for weights in found.weights if not weights.is_empty]
    # What lies outside of a bundle is read neither here nor elsewhere.
    assert odd == (["abs_weights"] if path.parent.name == "checkpoint_weights" else [])
    assert found.changes == ()
    assert found.operations == found.custom_calls == ()


def test_a_copy_of_a_bundle_has_no_difference(make, tmp_path):
    path = make({"f": shlo()}, weights={"w": {"a": np.ones(3, np.float32)}})
    shutil.copytree(path, tmp_path / "copy")
    assert diff(path, tmp_path / "copy").is_empty


def test_the_same_objects_have_no_difference_without_digests(make):
    one = without_digests(make({"f": shlo()}, weights={"w": {"a": np.ones(3, np.float32)}}))
    other = without_digests(make({"f": shlo()}, weights={"w": {"a": np.ones(3, np.float32)}}))
    assert diff(one, other).is_empty


def test_a_bundle_that_was_read_already_is_compared_too(make):
    one, other = make({"f": shlo()}), make({"g": shlo()})
    assert diff(core.read(one), core.read(other)) == diff(one, other)


# ------------------------------------------------------------------------------------ functions


def test_functions_that_come_and_go_are_named(make):
    other = core.Signature.of_call((spec(1),), {}, spec(1))
    found = diff(make({"f": shlo()}), make({"g": shlo(b"ML\xefR-two", signature=other)}))
    assert told(found, "signatures") == [
        ("function 'f'", "removed", True),
        ("function 'g'", "added", False),
    ]


def test_a_function_under_another_name_is_renamed_which_breaks_callers(make):
    found = diff(make({"f": shlo()}), make({"g": shlo()}))
    assert told(found, "signatures") == [("function 'f'", "renamed", True)]


def test_a_private_function_breaks_nobody(make):
    private = shlo(visibility=core.Visibility.PRIVATE)
    assert not diff(make({"f": private}), make({})).breaking


def test_a_function_that_becomes_private_breaks_callers(make):
    private = shlo(visibility=core.Visibility.PRIVATE)
    assert diff(make({"f": shlo()}), make({"f": private})).breaking


def test_a_change_of_a_signature_is_told_with_its_place(make):
    other = core.Signature.of_call((spec("b", 5),), {}, {"y": spec("b", 3)})
    (change,) = diff(make({"f": shlo()}), make({"f": shlo(signature=other)})).breaking
    assert change.where == "function 'f', input '0'"
    assert (change.before, change.after) == ("float32 [b, 4]", "float32 [b, 5]")


def test_a_platform_that_is_lost_breaks_callers_and_one_more_does_not(make):
    found = diff(make({"f": shlo()}), make({"f": shlo(platforms=("tpu", "cpu"))}))
    assert told(found, "platforms") == [
        ("function 'f'", "removed", True),
        ("function 'f'", "added", False),
    ]


def test_the_order_of_platforms_does_not_matter(make):
    assert not diff(make({"f": shlo()}), make({"f": shlo(platforms=("cuda", "cpu"))})).changes


def test_operations_and_custom_calls_are_counted(make):
    one = ModuleFacts(operations={"a": 1, "b": 2}, custom_calls={"x": 1})
    other = ModuleFacts(operations={"b": 5, "c": 1}, custom_calls={})
    found = diff(make({"f": shlo(facts=one)}), make({"f": shlo(b"ML\xefR-two", facts=other)}))
    counts = [(c.name, c.before, c.after) for c in found.operations]
    assert counts == [("a", 1, 0), ("b", 2, 5), ("c", 0, 1)]
    assert [(c.name, c.before, c.after) for c in found.custom_calls] == [("x", 1, 0)]


def test_facts_that_only_one_side_records_are_not_taken_for_none(make):
    found = diff(make({"f": shlo()}), make({"f": shlo(facts=ModuleFacts(operations={"a": 1}))}))
    assert not found.operations
    (change,) = found.changes
    assert (change.before, change.after) == ("not recorded", "recorded")


def test_another_program_of_the_same_signature_is_a_change_that_breaks_nobody(make):
    found = diff(make({"f": shlo()}), make({"f": shlo(b"ML\xefR-two")}))
    assert told(found, "programs") == [("function 'f', program", "changed", False)]


def test_another_body_of_a_processor_is_a_change(make):
    found = diff(make({"p": opaque()}), make({"p": opaque(body=handle("two"))}))
    assert told(found, "programs") == [("function 'p', program", "changed", False)]


def test_a_processor_that_loses_its_stablehlo_form_needs_tensorflow_now(make):
    form = core.Lowering(function=shlo(signature=opaque().signature))
    with_form, without = make({"p": opaque(lowering=form)}), make({"p": opaque()})
    (change,) = diff(with_form, without).breaking
    assert change.reason == "needs TensorFlow now"
    assert not diff(without, with_form).breaking


def test_another_stablehlo_form_is_a_change(make):
    forms = [
        core.Lowering(function=shlo(content, signature=opaque().signature))
        for content in (b"ML\xefR-one", b"ML\xefR-two")
    ]
    found = diff(*(make({"p": opaque(lowering=form)}) for form in forms))
    assert told(found, "programs") == [("function 'p', StableHLO form, program", "changed", False)]


# ------------------------------------------------------------------------- polymorphic functions


def sized(*sizes: int | str) -> core.PolymorphicFunction:
    return core.PolymorphicFunction(
        functions=tuple(
            shlo(signature=core.Signature.of_call((spec(n, 4),), {}, spec(n, 3))) for n in sizes
        )
    )


@pytest.mark.parametrize(
    ("before", "after", "breaks"),
    [
        ((1, 8), (8, 1), False),
        ((1, 8), (1, 8, 32), False),
        ((1, 8), ("b",), False),
        ((1, 8), (1, "b"), False),
        ((1, 8), (1,), True),
        ((1, 8), (1, 16), True),
        (("b",), (1, 8), True),
    ],
    ids=str,
)
def test_every_variant_has_to_have_one_that_takes_its_calls(before, after, breaks, make):
    found = diff(make({"f": sized(*before)}), make({"f": sized(*after)}))
    assert bool(found.breaking) is breaks


def test_a_function_that_becomes_polymorphic_breaks_nobody_if_a_variant_takes_its_calls(make):
    (one,) = sized("b").functions
    assert not diff(make({"f": one}), make({"f": sized(8, "n")})).breaking


def test_very_many_variants_are_compared_by_place_and_not_each_with_each(make, monkeypatch):
    def variants(first: int):
        signatures = [core.Signature.of_call((spec(i),), {}, spec(1)) for i in range(first, 100)]
        return core.PolymorphicFunction(functions=tuple(shlo(signature=s) for s in signatures))

    compared = []
    real = programs.signature_changes
    monkeypatch.setattr(
        programs, "signature_changes", lambda *both: compared.append(1) or real(*both)
    )
    found = diff(make({"f": variants(1)}), make({"f": variants(2)}))
    assert len(compared) <= 100
    assert len(found.breaking) == 99


# ------------------------------------------------------------------------------------ pipelines


def chain(model: str, *processors: str, weights: str | None = None) -> oex.Pipeline:
    return oex.Pipeline.of(model, weights, pre_processors=processors)


def pipelines(default: str | None = None, **found: oex.Pipeline) -> oex.Orchestration:
    return oex.Orchestration(pipelines=found, default=default)


def test_a_pipeline_that_is_gone_breaks_callers_and_one_more_does_not(make):
    one, other = pipelines(p=chain("f")), pipelines(q=chain("f"))
    found = diff(make({"f": shlo()}, pipelines=one), make({"f": shlo()}, pipelines=other))
    assert ("pipeline 'p'", "removed", True) in told(found, "pipelines")
    assert ("pipeline 'q'", "added", False) in told(found, "pipelines")


def test_stages_may_change_as_long_as_the_whole_takes_and_gives_the_same(make):
    objects = {"f": shlo(), "p": opaque()}
    one = make(objects, pipelines=pipelines(p=chain("f")))
    other = make(objects, pipelines=pipelines(p=chain("f", "p")))
    found = diff(one, other)
    assert told(found, "pipelines") == [
        ("pipeline 'p'", "changed", False),
        ("pipeline 'p', input '0'", "changed", False),  # of any size now
    ]
    assert not found.breaking


def test_stages_that_make_the_whole_take_something_else_break_callers(make):
    text = core.Signature.of_call((spec(None, dtype=core.DType.STRING),), {}, spec(None, 4))
    objects = {"f": shlo(), "p": opaque(signature=text)}
    one = make(objects, pipelines=pipelines(p=chain("f")))
    other = make(objects, pipelines=pipelines(p=chain("f", "p")))
    (change,) = diff(one, other).breaking
    assert change.where == "pipeline 'p', input '0'"


def test_another_default_breaks_those_who_name_none(make):
    both = {"p": chain("f"), "q": chain("f")}
    one = make({"f": shlo()}, pipelines=pipelines("p", **both))
    other = make({"f": shlo()}, pipelines=pipelines("q", **both))
    assert told(diff(one, other), "pipelines") == [("default pipeline", "changed", True)]


def test_a_constraint_of_a_new_first_stage_breaks_callers_of_the_pipeline(make):
    trees = bundle_info_pb2.JaxTrees(symbolic_constraints=["b >= 2"])
    data = core.Data(content=trees.SerializeToString(), mime_type=layout.MIME_JAX_TREES)
    records = {layout.KEY_JAX_TREES: core.FunctionSupplemental(data=data, extension="pb")}
    objects = {"f": shlo(), "g": shlo(b"ML\xefR-two", supplementals=records)}
    one = make(objects, pipelines=pipelines(p=chain("f")))
    other = make(objects, pipelines=pipelines(p=chain("g")))
    (change,) = diff(one, other).breaking
    assert (change.where, change.after) == ("pipeline 'p', sizes", "b >= 2")


def test_a_private_function_that_a_pipeline_begins_with_is_seen_by_callers(make):
    other = core.Signature.of_call((spec("b", 5),), {}, {"y": spec("b", 3)})
    private = core.Visibility.PRIVATE
    one = make({"f": shlo(visibility=private)}, pipelines=pipelines(p=chain("f")))
    two = make({"f": shlo(visibility=private, signature=other)}, pipelines=pipelines(p=chain("f")))
    assert diff(one, two).breaking


# -------------------------------------------------------------------------------------- metadata


def test_metadata_and_versions_are_compared(make):
    one = make({}, metadata={"name": "m", "version": "1", "framework_versions": {"jax": "0.10"}})
    other = make({}, metadata={"name": "m", "version": "2", "framework_versions": {"jax": "0.12"}})
    changes = {c.where: (c.before, c.after) for c in diff(one, other).changes}
    assert changes == {"version": ("1", "2"), "version of jax": ("0.10", "0.12")}


def test_tuples_of_objects_are_compared(make):
    one, other = core.TupleValue(elements=()), core.TupleValue(elements=("f",))
    found = diff(make({"f": shlo(), "t": one}), make({"f": shlo(), "t": other}))
    assert told(found, "metadata") == [("object 't'", "changed", False)]


# ---------------------------------------------------------------------------------------- damage


@pytest.mark.parametrize("side", ["before", "after"])
def test_damage_is_told_with_the_side_it_is_on(side, make):
    one, other = make({"f": shlo()}), make({"g": shlo()})
    ({"before": one, "after": other}[side] / "manifest.pb").write_bytes(b"\xff" * 20)
    with pytest.raises(InvalidBundleError, match=rf"^{side}: "):
        diff(one, other)


@pytest.mark.parametrize("side", ["before", "after"])
def test_damaged_weights_are_told_with_the_side_and_the_rest_is_compared(side, make):
    one = make({"f": shlo()}, weights={"w": {"a": np.ones(2)}})
    other = make({}, weights={"w": {"a": np.zeros(2)}})
    ({"before": one, "after": other}[side] / "w.safetensors").write_bytes(b"\xff" * 20)
    found = diff(one, other)
    assert found.is_damaged
    assert found.weights[0].problem.startswith(f"{side}: weights 'w': ")
    assert len(found.breaking) == 1


def test_a_record_of_pipelines_that_does_not_parse_is_told(make):
    one = make({"f": shlo()}, pipelines=pipelines(p=chain("f")))
    other = make({"f": shlo()}, pipelines=pipelines(p=chain("f")))
    (other / "orchestration.pb").write_bytes(b"\xff")
    without_digests(other)
    with pytest.raises(InvalidBundleError, match=r"^after: "):
        diff(one, other)


# ------------------------------------------------------------------------------------ properties

signatures = st.builds(
    lambda args, keys: core.Signature.of_call(
        tuple(args), {}, {key: spec(1) for key in keys} or spec(1)
    ),
    st.lists(st.sampled_from([spec("b", 4), spec(8), spec(None, 2)]), max_size=2),
    st.sets(st.sampled_from("xyz")),
)
bundles = st.fixed_dictionaries(
    {
        "objects": st.dictionaries(
            st.sampled_from(["f", "g", "h"]),
            st.builds(
                lambda signature, content, platforms: shlo(
                    content,
                    signature=signature,
                    platforms=tuple(platforms),
                    kept_inputs=tuple(range(len(signature.input_leaves))),
                ),
                signatures,
                st.sampled_from([b"ML\xefR-one", b"ML\xefR-two"]),
                st.sets(st.sampled_from(["cpu", "cuda", "tpu"]), min_size=1).map(sorted),
            ),
        ),
        "weights": st.dictionaries(
            st.just("w"),
            st.dictionaries(
                st.sampled_from(["a", "b", "c"]),
                st.sampled_from([np.ones(2), np.zeros(2), np.ones((2, 2), np.float32)]),
                min_size=1,
            ),
        ),
        "metadata": st.dictionaries(
            st.sampled_from(["name", "version", "note"]), st.text("ab", max_size=2)
        ),
    }
)
SLOW = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


@SLOW
@given(bundles)
def test_a_bundle_written_twice_has_no_difference(make, content):
    assert diff(without_digests(make(**content)), without_digests(make(**content))).is_empty


@SLOW
@given(bundles, bundles)
def test_what_comes_on_the_way_there_goes_on_the_way_back(make, content, other):
    one, two = make(**content), make(**other)
    there, back = diff(one, two), diff(two, one)
    for kind, opposite in (("added", "removed"), ("removed", "added")):
        assert _names(there, kind) == _names(back, opposite)


def _names(found: Difference, kind: str) -> list[tuple[str, str]]:
    names = [(c.section, c.where) for c in found.changes if c.kind == kind]
    arrays = [a.name for weights in found.weights for a in weights.arrays if a.kind == kind]
    return sorted([*names, *(("arrays", name) for name in arrays)])
