"""Every limit and interval of the software by name, each with its reason.

A limit that bounds something a peer or a file can make grow belongs here, so that
one page answers "how big can this get?". Nothing here changes the bits of a result.
"""

from __future__ import annotations

from typing import Final

# --- canonical bytes (base/canonical.py) -------------------------------------------------
#: Largest canonical byte string that is decoded: a snapshot of S with room to spare.
MAX_CANONICAL_BYTES: Final = 1 << 30
#: Deepest nesting of arrays; our records need five, Python's recursion limit allows 1000.
MAX_CANONICAL_DEPTH: Final = 32

# --- exchange rounds and frames (DESIGN section 3; wire, node, app/loop) -----------------
#: One fixed slot per rank and exchange round; Iallgather of 128 ranks stays at 1 MiB.
SLOT_BYTES: Final = 8192
#: Largest point-to-point frame; what is bigger is fetched in pieces by digest.
MAX_FRAME_BYTES: Final = 16 << 20
#: Frames a node keeps from one peer that it cannot use yet; more is a fault of the peer.
MAX_PENDING_FRAMES: Final = 1024
#: A rank explores this long between two polls of its transport.
SLICE_SECONDS: Final = 0.004
#: The next exchange round starts this long after the last at the earliest.
ROUND_INTERVAL_SECONDS: Final = 0.010
#: First and longest sleep of an idle rank (no busy polling).
IDLE_SLEEP_MIN_SECONDS: Final = 0.0001
IDLE_SLEEP_MAX_SECONDS: Final = 0.005

# --- problems and files (objectives, adapters/hdf5_*) ------------------------------------
#: Largest dimension; Q of it has 32 GiB. A larger one in a file is taken for damage.
MAX_DIMENSION: Final = 65536
#: Largest number of targets of one problem.
MAX_TARGETS: Final = 1 << 20
#: Doubled coordinates of a target stay below this: in int32 a factor 2 remains for the search.
MAX_DOUBLED: Final = 1 << 30
#: Asymmetry of Q that is taken for rounding and removed: this times max(|Qii|, |Qjj|).
SYMMETRY_TOLERANCE: Final = 1e-12
#: Largest opaque snapshot in a checkpoint.
MAX_SNAPSHOT_BYTES: Final = 1 << 30
#: Bytes of an array that are validated, hashed, stored or compared at a time (one chunk).
BLOCK_BYTES: Final = 1 << 20
#: Checkpoints kept in a run directory: the newest and the one before it.
CHECKPOINTS_KEPT: Final = 2

# --- search (search/) --------------------------------------------------------------------
#: Factors of tile orders a rank keeps; at n = 4096 one takes 64 MiB.
FACTOR_CACHE_BYTES: Final = 192 << 20
#: Open chambers of one target above which the deepest are explored first, so that the frontier
#: stops growing: depth first opens at most one remainder per tile.
FRONTIER_HIGH_WATER: Final = 20_000
#: Nodes times dimension of one beam: its state is 24 bytes per entry.
MAX_BEAM_ENTRIES: Final = 1 << 22
