"""Values of options that several commands share."""

from __future__ import annotations

import click


def work_units(text: str) -> int | None:
    """Return a positive number of work units (1e7 and 10_000_000 too), None for inf."""
    text = str(text).strip().lower()
    if text in ("inf", "infinity"):
        return None
    try:
        number = float(text)
    except ValueError:
        raise click.BadParameter(f"'{text}' is neither a number of work units nor inf") from None
    if not 1.0 <= number < 2.0**62 or number != int(number):
        raise click.BadParameter(f"'{text}' is not a positive whole number of work units")
    return int(text) if text.isdecimal() else int(number)


def positive(text: str) -> float:
    """Return a positive, finite number."""
    try:
        number = float(text)
    except ValueError:
        raise click.BadParameter(f"'{text}' is not a number") from None
    if not 0.0 < number < float("inf"):
        raise click.BadParameter(f"'{text}' is not positive and finite")
    return number
