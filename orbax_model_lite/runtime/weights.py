"""The weights of a loaded model: read once per value, matched to each function by key path."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, final

from orbax_model_lite import _lazy
from orbax_model_lite.core.bundle import Bundle
from orbax_model_lite.core.data import Data
from orbax_model_lite.core.function import ConcreteFunction, PolymorphicFunction
from orbax_model_lite.core.references import MOST_PARTS, unfolded_counts
from orbax_model_lite.core.tree import Tree, flatten_with_path, format_path
from orbax_model_lite.core.value import ExternalValue, NamedTupleValue, Object, TupleValue
from orbax_model_lite.errors import (
    InvalidBundleError,
    ObmError,
    UnknownNameError,
    UnsupportedError,
    unknown_name,
)


@final
class Weights:
    """Weights values of one bundle by name; safe to use from several threads."""

    def __init__(
        self,
        bundle: Bundle,
        *,
        options: Mapping[str, Any],
        given: Mapping[str, Any] | None = None,
    ) -> None:
        """Prepares reading.

        Args:
          bundle: Whose values are read.
          options: Keyword arguments for the reader: where arrays go, and their dtype.
          given: Plain trees of arrays that take the place of values, by name.
        """
        self._bundle = bundle
        self._options = options
        self.given = dict(given or {})
        self._read: dict[str, Any] = {}
        self._parts: dict[str, dict[str, Any]] = {}
        self._ahead: dict[str, Any] = {}
        self._shardings: Callable[[str], Any] | None = None
        self._lock = threading.RLock()

    def split_like(self, shardings: Callable[[str], Any]) -> None:
        """Splits values that are read from now on.

        Args:
          shardings: Gives for the name of a value the sharding of each array, as a plain tree, or
            None.
        """
        self._shardings = shardings

    @contextlib.contextmanager
    def reading_ahead(self, names: Iterable[str]) -> Iterator[None]:
        """Begins to read the files of values that the block is going to ask for.

        Nothing is found wrong here: that is the matter of `value`.

        Args:
          names: Of the values, each perhaps several times.
        """
        with self._lock:
            for name in names:
                self._begin(name)
        try:
            yield
        finally:
            with self._lock:
                while self._ahead:
                    self._ahead.popitem()[1].drop()

    def value(self, name: str, _above: tuple[str, ...] = ()) -> Any:
        """Returns a value as a plain tree of arrays, read on first use.

        Tuples give a tuple of other values, named tuples a dict.

        Raises:
          UnknownNameError: If the bundle has no such value.
          InvalidBundleError: If it refers to itself, or its file is damaged.
          UnsupportedError: If no reader knows its MIME type.
        """
        with self._lock:
            if name not in self._read:
                self._read[name] = self._read_value(name, _above)
            return self._read[name]

    def for_function(self, name: str, function_name: str) -> Any:
        """Returns a value in the form of a function's first argument, matched by key path.

        Of a value that other functions share, only what this one takes is read where the function
        says so by its data names.

        Raises:
          SignatureMismatchError: If paths are missing, superfluous or of another shape.
        """
        function = self._bundle.objects[function_name]
        if isinstance(function, PolymorphicFunction):
            function = function.functions[0]
        assert isinstance(function, ConcreteFunction)
        args = function.signature.args
        if not args:
            raise InvalidBundleError(
                f"function {function_name!r}: expected weights as its first argument; "
                "found no argument at all; bind it without weights"
            )
        match = _lazy.load("orbax_model_lite.jax2obm.weights.matching:match")
        return match(
            self._part(name, args[0]) if function.data_names else self.value(name),
            args[0],
            f"weights {name!r} of function {function_name!r}",
            allow_extra=bool(function.data_names),
        )

    def over(self, bundle: Bundle, given: Mapping[str, Any]) -> Weights:
        """Returns the weights of another bundle, read and placed in the same way.

        Args:
          bundle: Whose values are read.
          given: Plain trees that take the place of values, beside those that do already.
        """
        return Weights(bundle, options=self._options, given={**self.given, **given})

    def close(self) -> None:
        """Releases all arrays that nobody else holds."""
        with self._lock:
            self._read.clear()
            self._parts.clear()

    def _part(self, name: str, wanted: Tree) -> Tree:
        """Returns what a function takes of a value, by dotted key path; else the whole value."""
        value = self._bundle.objects.get(name)
        texts = [format_path(path) for path, _ in flatten_with_path(wanted)]
        with self._lock:
            if name in self._read or name in self.given or not all(texts):
                return self.value(name)
            if not isinstance(value, ExternalValue) or value.data.file is None:
                return self.value(name)
            known = self._parts.setdefault(name, {})
            missing = [text for text in texts if text not in known]
            if missing:
                try:
                    found = flatten_with_path(self._read_file(name, value.data, names=missing))
                except UnknownNameError:
                    # The whole tells all that is missing at once.
                    return self.value(name)
                read = {format_path(path): leaf for path, leaf in found}
                if len(read) < len(found):
                    return self.value(name)
                known |= read
            return {text: known[text] for text in texts if text in known}

    def _begin(self, name: str) -> None:
        value = self._bundle.objects.get(name)
        is_whole = self._options["to"] == "device" and self._options["dtype"] is None
        is_whole = is_whole and not any(map(_names_data, self._bundle.objects.values()))
        if not is_whole or name in {**self.given, **self._read, **self._ahead}:
            return
        if isinstance(value, ExternalValue) and value.data.file is not None:
            # All that the thread uses is imported here, before it runs beside other imports.
            read_ahead = _lazy.load("orbax_model_lite.jax2obm.weights.read_ahead:ReadAhead")
            try:
                path = self._bundle.resolve(value.data)
            except ObmError:
                return
            self._ahead[name] = read_ahead(path, value.data.mime_type)

    def _read_value(self, name: str, above: tuple[str, ...]) -> Any:
        if name in self.given:
            place = _lazy.load("orbax_model_lite.jax2obm.weights.placement:place_weights")
            return place(self.given[name], **self._options)
        value = self._bundle.objects.get(name)
        if name in above:
            raise InvalidBundleError(
                f"value {name!r}: expected values that end somewhere; found a circle "
                f"{' -> '.join((*above, name))}; the bundle is damaged"
            )
        if not above and unfolded_counts(self._bundle.objects).get(name, 1) > MOST_PARTS:
            raise InvalidBundleError(
                f"value {name!r}: expected tuples of at most {MOST_PARTS} parts in all, not inside "
                "themselves; found more or a circle; the bundle is damaged"
            )
        if isinstance(value, TupleValue):
            return tuple(self.value(element, (*above, name)) for element in value.elements)
        if isinstance(value, NamedTupleValue):
            return {key: self.value(element, (*above, name)) for key, element in value.elements}
        if not isinstance(value, ExternalValue):
            raise unknown_name("value", name, self._bundle.values)
        if value.data.file is None:
            raise UnsupportedError(
                f"value {name!r}: expected weights in a file or folder; found them inside the "
                "manifest; save them as a checkpoint"
            )
        return self._read_file(name, value.data)

    def _read_file(self, name: str, data: Data, **choice: Any) -> Any:
        loading = _lazy.load(
            "orbax_model_lite.jax2obm.weights.loading", purpose=f"reading weights {name!r}"
        )
        path = self._bundle.resolve(data)
        options = dict(self._options)
        if self._shardings is not None and options["to"] == "device":
            options["shardings"] = self._shardings(name)
        ahead = self._ahead.pop(name, None)
        if ahead is not None:
            return loading.load_from(ahead.source, f"weights {str(path)!r}", **options)
        return loading.load_weights(path, data.mime_type, **choice, **options)


def _names_data(found: Object) -> bool:
    """Whether a function says which weights it takes."""
    if isinstance(found, PolymorphicFunction):
        return any(map(_names_data, found.functions))
    return isinstance(found, ConcreteFunction) and bool(found.data_names)
