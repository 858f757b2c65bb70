/* E8 kernels for any CPU. */
#define MORSR_FN(name) name##_baseline

#include "level_begin.h"

#include "e8_decode.h"
#include "e8_knearest.h"
#include "e8_lanes.h"
#include "lanes.h"

#include "e8_decode.inc"
#include "e8_knearest.inc"

#include "level_end.h"
