"""Functions as cards: what they take and give, where they run, what they are made of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from orbax_model_lite.core import layout
from orbax_model_lite.core.bundle import Bundle
from orbax_model_lite.core.function import ConcreteFunction, PolymorphicFunction, ShloFunction
from orbax_model_lite.core.module_facts import ModuleFacts
from orbax_model_lite.errors import ObmError
from orbax_model_lite.inspection.description import Description, FunctionDescription
from orbax_model_lite.inspection.page.markup import Content, Html, element
from orbax_model_lite.inspection.page.parts import badge, bar, code, facts, section, table
from orbax_model_lite.inspection.page.pipelines import kind_badge
from orbax_model_lite.inspection.page.trees import tree
from orbax_model_lite.inspection.signatures import signature_lines
from orbax_model_lite.inspection.wording import counted, size_text

_MOST_FUNCTIONS: Final = 200
_MOST_BARS: Final = 12
_MOST_NAMES: Final = 20


def functions(bundle: Bundle, found: Description) -> Html:
    """Returns the section of the functions; nothing where there are none."""
    if not found.functions:
        return Html()
    pairs = list(zip(found.functions, concrete(bundle), strict=True))
    cards = [_card(bundle, *pairs[i], i) for i in range(min(len(pairs), _MOST_FUNCTIONS))]
    more = None
    if len(pairs) > _MOST_FUNCTIONS:
        more = element(
            "p", f"{len(pairs) - _MOST_FUNCTIONS:,} more; `obm show` lists all", class_="dim"
        )
    return section(
        "functions", "Functions", cards, more, note=f"{len(pairs):,}" if len(pairs) > 1 else None
    )


def anchors(found: Description) -> dict[str, str]:
    """Returns the anchor of each function's card by the function's name."""
    names: dict[str, str] = {}
    for i, function in enumerate(found.functions[:_MOST_FUNCTIONS]):
        names.setdefault(function.name.removesuffix(", variant 0"), f"function-{i}")
    return names


def concrete(bundle: Bundle) -> Iterator[ConcreteFunction]:
    """Gives the functions in the order of their descriptions."""
    for function in bundle.functions.values():
        if isinstance(function, PolymorphicFunction):
            yield from function.functions
        else:
            yield function


def _card(
    bundle: Bundle, about: FunctionDescription, function: ConcreteFunction, number: int
) -> Html:
    head = element(
        "h3",
        element("span", about.name, class_="name"),
        kind_badge(about.kind),
        badge("and StableHLO", "hlo") if about.has_stablehlo_form else None,
        None if about.is_public else badge("private", "quiet"),
    )
    return element(
        "article",
        head,
        _signature(bundle, function),
        facts(_facts(about, function)),
        _operations(bundle, about, function),
        class_="card",
        id=f"function-{number}",
    )


def _signature(bundle: Bundle, function: ConcreteFunction) -> Html:
    try:
        inputs, outputs = signature_lines(function, bundle.read_bytes)
    except ObmError as e:
        return element("p", str(e), class_="problem")
    return element(
        "div",
        element("div", element("h4", "Inputs"), tree(inputs)),
        element("div", element("h4", "Outputs"), tree(outputs)),
        class_="sides",
    )


def _facts(about: FunctionDescription, function: ConcreteFunction) -> list[tuple[str, Content]]:
    jax = function.jax if isinstance(function, ShloFunction) else None
    names = list(function.data_names)
    shown = [[code(name), " "] for name in names[:_MOST_NAMES]]
    if len(names) > _MOST_NAMES:
        shown.append([f"and {len(names) - _MOST_NAMES:,} more"])
    calls = [[code(name), f" x {count:,} "] for name, count in about.custom_calls.items()]
    size = None if about.size_bytes is None else size_text(about.size_bytes)
    constants = size_text(about.constant_bytes) if about.operation_count else None
    return [
        ("platforms", [badge(name, "quiet") for name in about.platforms]),
        ("symbolic sizes", ", ".join(function.signature.symbols)),
        ("program size", size),
        ("StableHLO", about.stablehlo_version),
        ("constants", constants),
        ("custom calls", calls or ("none" if about.operation_count else None)),
        ("devices", str(jax.device_count) if jax and (jax.device_count or 1) > 1 else None),
        ("traced as", code(jax.name) if jax is not None and jax.name else None),
        ("gradient", function.gradient_function_name),
        ("weights used", shown),
        ("why no StableHLO" if about.needs_tensorflow else "StableHLO form", about.form_note),
    ]


def _operations(bundle: Bundle, about: FunctionDescription, function: ConcreteFunction) -> Html:
    recorded = _recorded(bundle, function)
    if recorded is None or not recorded.operations:
        return Html()
    ranked = sorted(recorded.operations.items(), key=lambda item: (-item[1], item[0]))
    most = ranked[0][1]
    rows = [
        (code(name.removeprefix("stablehlo.")), f"{count:,}", bar(count / most, "operations"))
        for name, count in ranked
    ]
    caption = f"Operations of {about.name}, as recorded, by their number"
    titles = ("operation", "count", "")
    shown = table(caption, titles, rows[:_MOST_BARS], "histogram")
    kinds = counted(len(ranked), "kind")
    more = None
    if len(rows) > _MOST_BARS:
        more = element(
            "details",
            element("summary", f"{counted(len(rows) - _MOST_BARS, 'rarer kind')}"),
            table(f"Rarer operations of {about.name}", titles, rows[_MOST_BARS:], "histogram"),
        )
    summary = element(
        "summary", f"{counted(about.operation_count, 'operation')} of {kinds}", class_="title"
    )
    return element("details", summary, shown, more, class_="operations", open=True)


def _recorded(bundle: Bundle, function: ConcreteFunction) -> ModuleFacts | None:
    if not isinstance(function, ShloFunction):
        return None
    found = function.supplementals.get(layout.KEY_MODULE_FACTS)
    if found is None:
        return None
    try:
        return ModuleFacts.from_payload(bundle.read_bytes(found.data))
    except ObmError:  # among the findings
        return None
