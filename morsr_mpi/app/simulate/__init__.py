"""Simulated clusters: the same node and the same agreement on a virtual clock, under faults.

`faults` draws what goes wrong from a seed, `cluster` runs nodes through it, `invariants` says
what must hold all the same, `campaign` repeats it and counts. One seed gives one run.
"""
