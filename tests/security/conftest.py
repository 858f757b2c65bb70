"""Fixtures of the security tests: a CA, made once, and one that nobody trusts."""

from __future__ import annotations

import pytest
from pki_kit import NOW, Pki

from morsr_mpi.adapters.x509_authority import Authority


@pytest.fixture(scope="session")
def pki() -> Pki:
    """The CA."""
    return Pki(Authority.create("tests", NOW - 3600.0, 10.0))


@pytest.fixture(scope="session")
def other_pki() -> Pki:
    """A CA of the same name that nobody trusts."""
    return Pki(Authority.create("tests", NOW - 3600.0, 10.0))
