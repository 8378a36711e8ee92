"""How the benchmarks measure: interleaved contenders, fresh processes, tables with budgets.

Nothing here imports a framework, so that a parent process stays small beside its children.
"""

from measuring.comparison import Budget, Comparison, report
from measuring.processes import Outcome, run_fresh
from measuring.rounds import interleave, per_call
from measuring.script import Options, main

__all__ = [
    "Budget",
    "Comparison",
    "Options",
    "Outcome",
    "interleave",
    "main",
    "per_call",
    "report",
    "run_fresh",
]
