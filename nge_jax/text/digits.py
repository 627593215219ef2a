"""Numbers of any size as people write them, without an exponent."""

from decimal import ROUND_HALF_EVEN, Decimal

LARGEST = 1e18  # beyond, a number is written with an exponent


def plain_digits(value: float) -> str:
    """Writes a number as a user gives it: 0.000001 and 1,000,000. A whole number has no point."""
    if isinstance(value, int):
        return f"{value:,}"
    return f"{Decimal(f'{value:.12g}'):,f}" if abs(value) < LARGEST else f"{value:.12g}"


def three_digits(value: float, rounding: str = ROUND_HALF_EVEN) -> str:
    """Writes a number with three significant digits, and with all digits before the point; see `plain_digits`.

    Args:
        value: the number.
        rounding: a mode of the module decimal.
    """
    if not abs(value) < LARGEST:
        return f"{value:.3g}"
    exact = Decimal(repr(float(value)))
    smallest = Decimal(1).scaleb(min(0, exact.adjusted() - 2))
    return f"{exact.quantize(smallest, rounding).normalize():,f}"
