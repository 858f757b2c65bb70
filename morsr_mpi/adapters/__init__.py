"""The outside world: the only layer that imports mpi4py, h5py, lmdb or ssl."""
