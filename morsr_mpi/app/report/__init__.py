"""`morsr report`: one page about a run, out of what its directory holds."""
