"""Signatures of frames and records."""
