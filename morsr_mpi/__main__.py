"""`python -m morsr_mpi`: the same as the command `morsr`."""

from morsr_mpi.cli.main import main

if __name__ == "__main__":
    main()
