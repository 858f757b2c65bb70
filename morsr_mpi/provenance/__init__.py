"""The journal's records, its hash chain, and what can be checked from them offline."""
