"""`python -m orbax_model_lite`: the command `obm`."""

from __future__ import annotations

from orbax_model_lite.cli.command import run

if __name__ == "__main__":
    run()
