"""The command itself: arguments in, an exit code out, and never a traceback.

Exit codes: 0 fine, 1 findings, 2 misuse, 3 inconclusive; 130 after Ctrl-C and 141 when the reader
of a pipe has gone, as shells have it.
"""

from __future__ import annotations

import gc
import io
import os
import sys
from collections.abc import Sequence
from typing import Final

from orbax_model_lite.cli.console import Console, clean
from orbax_model_lite.errors import (
    InvalidBundleError,
    ObmError,
    SignatureMismatchError,
    UnknownNameError,
    UntrustedError,
)

FINE: Final = 0
FINDINGS: Final = 1
MISUSE: Final = 2
INCONCLUSIVE: Final = 3
_INTERRUPTED: Final = 130
_NO_READER: Final = 141

_TRACEBACK: Final = "OBM_TRACEBACK"
_PATHS: Final = ("path", "before", "after")  # arguments that name a bundle


def run() -> None:
    """Runs the command line of this process and exits."""
    # A description of many objects makes little garbage, and looking for it takes half the time.
    gc.set_threshold(200_000, 20, 100)
    code = main(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = _no_reader()
    sys.exit(code)


def main(arguments: Sequence[str]) -> int:
    """Returns the exit code of a command line.

    Args:
      arguments: Without the name of the program.

    Example:
      >>> main(["show", "nowhere.obm", "--quiet"])
      2
    """
    from orbax_model_lite.cli.parser import parse

    # A name that the encoding of the terminal lacks is escaped.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    paths: list[str] = []
    try:
        options = parse(arguments)
        paths = [getattr(options, name) for name in _PATHS if hasattr(options, name)]
        return options.run(options, Console(sys.stdout))
    except SystemExit as e:  # argparse has said what it has to say
        return e.code if isinstance(e.code, int) else MISUSE
    except ObmError as e:
        _complain(str(e))
        return _code_of(e, paths)
    except KeyboardInterrupt:
        _complain("interrupted")
        return _INTERRUPTED
    except BrokenPipeError:
        return _no_reader()
    except OSError as e:
        _complain(f"{e.filename or 'the system'}: {e.strerror or e}; check the path and the disk")
        return INCONCLUSIVE
    # The one broad except: whoever types a command gets a line and an exit code, no traceback.
    except Exception as e:
        if os.environ.get(_TRACEBACK):
            raise
        _complain(
            f"unexpected {type(e).__name__}: {e}; this is a defect of orbax_model_lite, please "
            f"report it; {_TRACEBACK}=1 shows where it happened"
        )
        return INCONCLUSIVE


def _code_of(error: ObmError, paths: Sequence[str]) -> int:
    is_misuse = isinstance(error, UnknownNameError | SignatureMismatchError)
    if is_misuse or not all(map(os.path.lexists, paths)):
        return MISUSE
    return FINDINGS if isinstance(error, InvalidBundleError | UntrustedError) else INCONCLUSIVE


def _complain(message: str) -> None:
    console = Console(sys.stderr)
    text = clean(" ".join(message.split()))
    console.line(f"{console.styled('obm:', 'red')} {text}")


def _no_reader() -> int:
    # What is still buffered would be written again at exit, and fail again.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return _NO_READER
