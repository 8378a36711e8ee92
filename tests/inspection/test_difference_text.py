"""A difference as text, for a terminal of Python: verdict first, then one line for each change."""

from __future__ import annotations

from orbax_model_lite.inspection import (
    ArrayChange,
    Change,
    CountChange,
    Difference,
    WeightsDifference,
)


def test_equal_bundles_are_said_to_be():
    assert str(Difference(before="a", after="b")) == "no difference"


def test_every_change_has_a_line():
    found = Difference(
        before="a",
        after="b",
        changes=(
            Change(
                section="signatures",
                where="function 'f', input 'x'",
                kind="changed",
                before="int32 [b]",
                after="int64 [b]",
                is_breaking=True,
                reason="another type",
            ),
            Change(section="signatures", where="function 'g'", kind="added", after="() -> ()"),
            Change(section="platforms", where="function 'f'", kind="removed", before="tpu"),
        ),
        operations=(CountChange(function="function 'f'", name="add", before=3, after=4),),
        weights=(
            WeightsDifference(
                name="w",
                arrays=(
                    ArrayChange(name="k", kind="changed"),
                    ArrayChange(name="new", kind="added"),
                ),
                unchanged_count=40,
            ),
            WeightsDifference(name="same", unchanged_count=2),
        ),
    )
    assert str(found).splitlines() == [
        "1 breaking change",
        "  breaking: function 'f', input 'x': int32 [b] -> int64 [b] (another type)",
        "  function 'g': added () -> ()",
        "  function 'f': removed tpu",
        "  function 'f': add 3 -> 4",
        "  weights 'w': 1 added, 1 changed, 40 unchanged",
    ]


def test_what_breaks_nobody_is_said_to():
    changed = CountChange(function="function 'f'", name="add", before=3, after=4)
    assert str(Difference(before="a", after="b", operations=(changed,))).startswith(
        "nothing breaks\n"
    )
