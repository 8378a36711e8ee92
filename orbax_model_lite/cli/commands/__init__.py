"""One module for each command: its arguments, and what it does with them.

A module has `add_arguments(parser)`, `run(options, console)` which returns the exit code, EXAMPLES
for its help, and NEEDS: an option that would do nothing without one of others. The parser imports
only the module of the command that was typed.
"""

__all__: list[str] = []
