#ifndef MORSR_CPU_LEVEL_H
#define MORSR_CPU_LEVEL_H

/* The highest CPU level this machine has: 0 baseline, 1 avx2, 2 avx512. */
int morsr_cpu_level(void);

#endif
