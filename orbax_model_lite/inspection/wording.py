"""Names, sizes and counts as text for people, on a terminal as on a page."""

from __future__ import annotations


def clean(text: str) -> str:
    """Returns text whose unprintable characters are escaped, as `repr` does.

    >>> clean(f"red{chr(27)}[31m").count(chr(27))
    0
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def size_text(size_bytes: int | None) -> str:
    """Returns a size as people say it.

    >>> size_text(21_500_000)
    '21.5 MB'
    """
    if size_bytes is None:
        return "?"
    if size_bytes < 1000:
        return f"{size_bytes} B"
    if size_bytes >= 10**21:  # of a damaged header; float ends at 1e308
        return "over 1,000,000 PB"
    size, unit = float(size_bytes), 0
    while size >= 999.95 and unit < 5:
        size, unit = size / 1000, unit + 1
    return f"{size:.1f} {('B', 'kB', 'MB', 'GB', 'TB', 'PB')[unit]}"


def counted(count: int, noun: str) -> str:
    """Returns for example "1 file" or "2,300 files"."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
