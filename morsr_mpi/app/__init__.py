"""Carries out effects: runs, run directories, launching; the only place that picks adapters."""
