"""The exception tree, and nothing else.

    ObmError                    every error of ours
    ├── InvalidModelError       the author's mistake: what is to be packed is wrong
    │   └── UnknownNameError    a name that does not exist (also a KeyError)
    ├── InvalidBundleError      a damaged or hostile folder
    ├── BundleExistsError       the target of a save exists (also a FileExistsError)
    ├── StorageError            the file system refused: disk full, no permission (also an OSError)
    ├── UnsupportedError        valid, but beyond what this version or this machine can do
    ├── SignatureMismatchError  arguments do not fit a function (also a TypeError)
    ├── UntrustedError          a program in the bundle wants more than it was granted
    └── MissingDependencyError  an optional package is not installed (also an ImportError)

Every message says, in this order: where, what was expected, what was found, what to do.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import final


class ObmError(Exception):
    """Root of every error that this package raises on purpose."""


class InvalidModelError(ObmError):
    """The objects to pack contradict each other or cannot be represented."""


@final
class UnknownNameError(InvalidModelError, KeyError):
    """A name that the bundle or the model does not have."""

    def __str__(self) -> str:
        """Returns the message itself; KeyError would show its repr."""
        return str(self.args[0]) if self.args else ""


@final
class InvalidBundleError(ObmError):
    """The folder is damaged, unfinished or hostile."""


@final
class BundleExistsError(ObmError, FileExistsError):
    """The target of a save exists already."""


@final
class StorageError(ObmError, OSError):
    """The file system refused a write or a read."""


@final
class UnsupportedError(ObmError):
    """Valid input that this version, these packages or this machine cannot handle."""


@final
class SignatureMismatchError(ObmError, TypeError):
    """Arguments whose tree, shape or dtype does not fit the function's signature."""


@final
class UntrustedError(ObmError):
    """A program inside the bundle asks for something that was not granted."""


@final
class MissingDependencyError(ObmError, ImportError):
    """An optional package is needed and is not installed."""


def no_default(kind: str, found: str, choose: str, known: Iterable[str]) -> UnknownNameError:
    """Returns the error for a name that was left out where nothing stands in for it.

    Args:
      kind: What is to be named, in the singular: "function", "pipeline".
      found: Why there is no default: "several functions and no pipeline".
      choose: What to do, before the names: "choose one with --function".
      known: The names there are.
    """
    names = ", ".join(sorted(known)) or "there is none"
    return UnknownNameError(f"expected the name of a {kind}; found {found}; {choose}: {names}")


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UnknownNameError:
    """Returns the error for a `name` that is not among `known`, with the nearest name.

    Args:
      kind: What is named, in the singular: "function", "pipeline".
      name: The name that was asked for.
      known: The names there are.
    """
    # Only a mistake waits for this import.
    import difflib

    names = sorted(known)
    nearest = difflib.get_close_matches(name, names, n=1)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else ";"
    there = f"there is: {', '.join(names)}" if names else f"there is no {kind} at all"
    return UnknownNameError(f"no {kind} {name!r}{hint} {there}")
