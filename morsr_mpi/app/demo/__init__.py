"""`morsr demo`: a small network quantised on real data, and what it gains (docs/demo.md)."""
