/* Nearest point of E8 and squared distance to it, for many points at once (lane = point).
 *
 *   lanes e8_dist2_lanes(const lanes x[8])                      squared distance of 8 points
 *   lanes e8_nearest_lanes(const lanes x[8], lanes p[8])        nearest points; same distance
 *   lanes16 e8_dist2_lanes16(...), e8_nearest_lanes16(...)      the same in float32, 16 points
 *
 * x[i] holds coordinate i of all points, in units where E8 = D8 u (D8 + 1/2) and roots have squared
 * norm 2.  Exact for |x| <= 2^29 (float32: 2^20), beyond which nothing is promised.
 */
#ifndef MORSR_E8_LANES_H
#define MORSR_E8_LANES_H

#include "lanes.h"
#include "lanes16.h"

#define E8_T lanes
#define E8_V(name) lanes_##name
#define E8_NAME(name) name##_lanes
#define E8_C(number) number
#include "e8_lanes_template.h"
#undef E8_T
#undef E8_V
#undef E8_NAME
#undef E8_C

#define E8_T lanes16
#define E8_V(name) lanes16_##name
#define E8_NAME(name) name##_lanes16
#define E8_C(number) number##f
#include "e8_lanes_template.h"
#undef E8_T
#undef E8_V
#undef E8_NAME
#undef E8_C

#endif
