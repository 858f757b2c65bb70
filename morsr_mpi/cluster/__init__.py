"""Who computes what: assignment of tasks to ranks. Never decides what is computed."""
