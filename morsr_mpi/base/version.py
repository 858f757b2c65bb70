"""Versions: of the software, and of the algorithm whose bits are promised.

`ALGORITHM_VERSION` changes whenever the same problem and options could give other
bits. A checkpoint of another algorithm version is refused (DESIGN section 7).
"""

from __future__ import annotations

__version__ = "0.3.0"

ALGORITHM_VERSION = 3
