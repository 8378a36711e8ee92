"""What the parts of a call may be called in a file: key paths, names, positions.

Three ways, the first that knows a name decides: from the input's position or keyword ("0.tokens"),
from its name ("batch.tokens"), and where there is a single input, from inside it ("tokens").
"""

from __future__ import annotations

import difflib
from typing import Final, final

from orbax_model_lite.core.tree import Path, Tree, format_path
from orbax_model_lite.errors import SignatureMismatchError
from orbax_model_lite.runtime.calling.target import Form

_MOST_NAMES: Final = 8


@final
class Names:
    """The names of the containers and leaves of one form."""

    def __init__(self, form: Form) -> None:
        """Lists them.

        Args:
          form: What a call takes.
        """
        self._form = form
        by_position: dict[str, list[Path]] = {}
        by_name: dict[str, list[Path]] = {}
        inside: dict[str, list[Path]] = {}
        self._nodes: dict[Path, Tree] = {}
        for path, node in form.nodes():
            self._nodes[path] = node
            by_position.setdefault(format_path(path), []).append(path)
            by_name.setdefault(form.label(path), []).append(path)
            if len(form.inputs) == 1 and len(path) > 1:
                inside.setdefault(format_path(path[1:]), []).append(path)
        self._ways = (by_position, by_name, inside)

    def node(self, path: Path) -> Tree:
        """Returns the container or spec at a path."""
        return self._nodes[path]

    def find(self, text: str, where: str) -> Path:
        """Returns the path that a name means.

        Args:
          text: The name.
          where: Beginning of a message.

        Raises:
          SignatureMismatchError: If there is none, or two.
        """
        for way in self._ways:
            found = way.get(text, [])
            if len(found) > 1:
                raise SignatureMismatchError(
                    f"{where}: expected a name that means one input; found {text!r}, which means "
                    f"{len(found)}; give it inside nested JSON objects"
                )
            if found:
                return found[0]
        known = [self._form.label(path) for path, _ in self._form.leaves()]
        near = difflib.get_close_matches(text, {*self._ways[1], *self._ways[2]}, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ";"
        more = ", ..." if len(known) > _MOST_NAMES else ""
        raise SignatureMismatchError(
            f"{where}: expected the name of an input; found {text!r}{hint} "
            f"there is: {', '.join(known[:_MOST_NAMES]) or 'none'}{more}"
        )
