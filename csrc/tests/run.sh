#!/bin/sh
# Builds and runs the C tests under the address and undefined-behaviour sanitizers: one program per
# test_NAME.c, linked with the kernels.  CC chooses the compiler, BUILD the folder for objects and
# programs (a temporary one unless given).
set -eu
cd "$(dirname "$0")/.."
CC=${CC:-gcc}
if [ -z "${BUILD:-}" ]; then
    BUILD=$(mktemp -d)
    trap 'rm -rf "$BUILD"' EXIT
fi
FLAGS="-std=c11 -O1 -g1 -ffp-contract=off -fno-math-errno -Wall -Wextra -Werror -Iinclude -Itests
       -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer"

# compile FILE...: one object each
compile() {
    for file in "$@"; do
        # shellcheck disable=SC2086 # the flags are a list
        $CC $FLAGS -c "$file" -o "$BUILD/$(basename "$file" .c).o"
    done
}

# check NAME OBJECT...: links and runs one test program
check() {
    name=$1
    compile "tests/$name.c"
    program="$BUILD/$name"
    shift
    objects=""
    for object in "$@"; do objects="$objects $BUILD/$object.o"; done
    # shellcheck disable=SC2086
    $CC $FLAGS "$program.o" $objects -lm -o "$program"
    "$program"
}

E8="cpu_level e8_dispatch e8_baseline e8_avx2 e8_avx512"
PROBE="lanes_probe_baseline lanes_probe_avx2 lanes_probe_avx512"
ENGINE="engine_dispatch engine_baseline engine_avx2 engine_avx512"

TERM="term_dispatch term_baseline term_avx2 term_avx512"

for name in $E8; do compile "src/$name.c"; done
for name in $PROBE; do compile "tests/$name.c"; done
# shellcheck disable=SC2086
check test_lanes $PROBE $E8
# shellcheck disable=SC2086
check test_e8 $E8
for name in $TERM; do compile "src/$name.c"; done
# shellcheck disable=SC2086
check test_term $TERM $E8
compile src/tile_code.c
check test_tile_code tile_code
if [ -f tests/test_engine.c ]; then
    for name in $ENGINE; do compile "src/$name.c"; done
    # shellcheck disable=SC2086
    check test_engine $ENGINE $E8
fi
