"""`morsr quantize`: the layers of a network rounded to points of E8 (docs/quantize.md)."""
