"""Where factors of further tile orders are kept: in this process, or shared by a node's ranks."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

from morsr_mpi.base.config import FACTOR_CACHE_BYTES
from morsr_mpi.search.factor import Factor
from morsr_mpi.search.orders import OrderName


class FactorStore(Protocol):
    """Keeps factors by name; what it returns has the bits of what `make` would return."""

    def get(self, name: OrderName, make: Callable[[], Factor]) -> Factor | None:
        """Return a factor; None where another rank is making it: ask again a little later."""


class PrivateFactors:
    """The factors used last, bounded in bytes."""

    def __init__(self, limit: int = FACTOR_CACHE_BYTES) -> None:
        self._limit = limit
        self._held: OrderedDict[OrderName, Factor] = OrderedDict()

    def get(self, name: OrderName, make: Callable[[], Factor]) -> Factor:
        """Return a factor, made when it is not there; the newest is always kept."""
        held = self._held.pop(name, None)
        if held is None:
            held = make()
            while self._held and self._total() + held.nbytes > self._limit:
                self._held.popitem(last=False)
        self._held[name] = held
        return held

    def _total(self) -> int:
        return sum(factor.nbytes for factor in self._held.values())
