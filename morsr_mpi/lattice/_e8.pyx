# cython: language_level=3, boundscheck=False, wraparound=False, embedsignature=True
"""Thin binding to the E8 kernels in csrc: passes pointers, releases the GIL.

Shapes, dtypes and errors are checked one floor up, in e8.py and weyl.py; every array here is
C-contiguous and not empty.  Functions return the kernels' status codes.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.stdlib cimport free, malloc


cdef extern from "e8_knearest.h" nogil:
    enum:
        E8_OK
        E8_BAD_ARGUMENT
        E8_RANGE

    ctypedef struct e8_point:
        double cost
        int32_t d[8]

    int e8_knearest(const double *, const double *, double, double, const e8_point *, int,
                    e8_point *, int *, int64_t *)


cdef extern from "e8_decode.h" nogil:
    int e8_nearest_f64(const double *, int64_t, int32_t *, double *)
    int e8_nearest_f32(const float *, int64_t, int32_t *, float *)
    int e8_fold(const double *, int64_t, double *, uint8_t *, uint8_t *)
    int morsr_cpu_level()
    int morsr_e8_level()
    int morsr_e8_set_level(int)


OK = E8_OK
BAD_ARGUMENT = E8_BAD_ARGUMENT
RANGE = E8_RANGE


def nearest_f64(const double[:, ::1] x, int32_t[:, ::1] doubled, double[::1] dist2):
    """Nearest points and squared distances of the rows of x; doubled may be None."""
    cdef int64_t n = x.shape[0]
    cdef const double *source = &x[0, 0]
    cdef int32_t *points = NULL if doubled is None else &doubled[0, 0]
    cdef double *distances = &dist2[0]
    cdef int status
    with nogil:
        status = e8_nearest_f64(source, n, points, distances)
    return status


def nearest_f32(const float[:, ::1] x, int32_t[:, ::1] doubled, float[::1] dist2):
    """The same in float32."""
    cdef int64_t n = x.shape[0]
    cdef const float *source = &x[0, 0]
    cdef int32_t *points = NULL if doubled is None else &doubled[0, 0]
    cdef float *distances = &dist2[0]
    cdef int status
    with nogil:
        status = e8_nearest_f32(source, n, points, distances)
    return status


def fold(const double[:, ::1] x, double[:, ::1] folded, uint8_t[:, ::1] words,
         uint8_t[::1] lengths):
    """Folds the rows of x into the fundamental chamber."""
    cdef int64_t n = x.shape[0]
    cdef const double *source = &x[0, 0]
    cdef double *target = &folded[0, 0]
    cdef uint8_t *letters = &words[0, 0]
    cdef uint8_t *counts = &lengths[0]
    cdef int status
    with nogil:
        status = e8_fold(source, n, target, letters, counts)
    return status


def k_nearest(const double[:, ::1] metric, const double[:, ::1] centres, double base, double limit,
              const double[::1] after_cost, const int32_t[::1] after, int k,
              int32_t[:, :, ::1] doubled, double[:, ::1] cost, int32_t[::1] count):
    """The k nearest points of every centre; after_cost None: from the start.

    Returns (status, nodes); rows beyond a count are left as they were.
    """
    cdef int64_t n = centres.shape[0], row, nodes = 0
    cdef const double *u = &metric[0, 0]
    cdef e8_point cursor
    cdef const e8_point *start = NULL
    cdef int status = E8_OK, found = 0, i, j
    if after_cost is not None:
        cursor.cost = after_cost[0]
        for i in range(8):
            cursor.d[i] = after[i]
        start = &cursor
    cdef e8_point *points = <e8_point *>malloc(<size_t>k * sizeof(e8_point))
    if points == NULL:
        raise MemoryError
    with nogil:
        for row in range(n):
            status = e8_knearest(u, &centres[row, 0], base, limit, start, k, points, &found,
                                 &nodes)
            if status != E8_OK:
                break
            count[row] = found
            for i in range(found):
                cost[row, i] = points[i].cost
                for j in range(8):
                    doubled[row, i, j] = points[i].d[j]
    free(points)
    return status, nodes


def cpu_level():
    """The best level of this CPU."""
    return morsr_cpu_level()


def level():
    """The level in use."""
    return morsr_e8_level()


def set_level(int wanted):
    """Sets the level; BAD_ARGUMENT when this CPU lacks it."""
    return morsr_e8_set_level(wanted)
