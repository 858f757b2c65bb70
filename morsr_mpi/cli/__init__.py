"""The command `morsr`: one file per command, each thin over `morsr_mpi.app`."""
