"""A stand-in for Globus: Auth, Transfer, Flows and Groups as a real HTTP server that moves real files."""

from tests.globus.collections import Collection
from tests.globus.service import Globus

__all__ = ["Collection", "Globus"]
