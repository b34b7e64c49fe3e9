"""Numbers are written as people read them: signed, of even length, with a dash where there is none."""

from __future__ import annotations

from schemas.report import Interval, Measures

NONE = "–"


def number(value: float | None, digits: int = 3) -> str:
    """Write a number: 1234.5 -> 1,234.5; 0.12345 -> 0.123; a true minus sign, so that columns line up."""
    if value is None:
        return NONE
    magnitude = abs(value)
    if magnitude >= 1000:
        text = f"{value:,.0f}"
    elif magnitude >= 100:
        text = f"{value:.1f}"
    elif magnitude < 0.5 * 10**-digits:
        text = f"{0:.{digits}f}"  # never "-0.000"
    else:
        text = f"{value:.{digits}f}"
    return text.replace("-", "−")


def signed(value: float | None, digits: int = 3) -> str:
    """Write a difference: with its sign, unless it is shown as 0."""
    return ("+" if value is not None and value >= 0.5 * 10**-digits else "") + number(value, digits)


def interval(value: Interval | None, digits: int = 3) -> str:
    return "" if value is None else f"[{number(value[0], digits)}, {number(value[1], digits)}]"


def p_value(value: float | None) -> str:
    if value is None:
        return NONE
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def percent(value: float | None, digits: int = 0) -> str:
    return NONE if value is None else f"{100 * value:.{digits}f}%".replace("-", "−")


def count(value: int | None) -> str:
    return NONE if value is None else f"{value:,}"


def rows_told(row: Measures) -> str:
    """Return what the groups of the rows do to their number, empty where each row stands by itself."""
    if row.rows is None or row.rows.groups >= row.rows.used:
        return ""
    return f"{row.rows.groups:,} groups, worth {row.rows.effective_n:,.0f}"


def plural(n: int, singular: str, many: str | None = None) -> str:
    return f"{n:,} {singular if n == 1 else many or singular + 's'}"


def duration(seconds: float) -> str:
    """Write a duration: 0.34 -> 0.3 s; 72 -> 1 min 12 s; 7,500 -> 2 h 05 min."""
    if round(seconds, 1) < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60:,} h {minutes % 60:02d} min"
