/* The least a C test needs: count what fails, say where, carry on. */
#ifndef MORSR_CHECK_H
#define MORSR_CHECK_H

#include <stdint.h>
#include <stdio.h>

static int checks_failed;

#define CHECK(condition)                                                              \
    do {                                                                              \
        if (!(condition)) {                                                           \
            ++checks_failed;                                                          \
            fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition);   \
        }                                                                             \
    } while (0)

#define CHECK_DONE(name)                                                              \
    do {                                                                              \
        if (checks_failed == 0) printf("%s: ok\n", name);                             \
        return checks_failed != 0;                                                    \
    } while (0)

/* splitmix64: the same numbers everywhere. */
static uint64_t check_state = 1;
static inline uint64_t check_random(void) {
    uint64_t z = (check_state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}
/* Uniform in [-1, 1). */
static inline double check_uniform(void) {
    return (double)(check_random() >> 11) * 0x1p-52 - 1.0;
}

#endif
