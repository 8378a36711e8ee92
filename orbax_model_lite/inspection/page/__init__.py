"""A bundle as one HTML page, and as a fragment in a notebook; no framework, no network.

Names come from strangers: text is escaped wherever `markup` makes an element of it, the page's own
policy lets nothing run but its own script, and a notebook's fragment has no script at all.
"""

from __future__ import annotations

from orbax_model_lite.inspection.page.document import page_html, write_page

__all__ = ["page_html", "write_page"]
