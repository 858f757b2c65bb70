"""The node: pure composition of state, pulses, rounds, records. step(event) -> effects."""
