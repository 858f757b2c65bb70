"""The lowest layer: errors, versions, limits, canonical bytes, digests and ports."""
