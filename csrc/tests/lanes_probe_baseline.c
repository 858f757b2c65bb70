/* lanes_probe.inc at the CPU level baseline. */
#define MORSR_FN(name) name##_baseline
#include "level_begin.h"

#include "lanes_probe.inc"

#include "level_end.h"
