"""What changed between two bundles: found without a framework, judged from a caller's side.

`comparing` goes through two bundles; the nouns are in `nouns`. Nothing here is public;
`inspection.diff` is.
"""

from __future__ import annotations

__all__: list[str] = []
