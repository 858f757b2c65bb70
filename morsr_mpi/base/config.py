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
#: The next exchange round starts this long after the last at the earliest, where a rank
#: computes; twice as long after each round in which nobody said anything, up to a limit.
ROUND_INTERVAL_SECONDS: Final = 0.010
MAX_ROUND_INTERVAL_SECONDS: Final = 0.030
#: Results wait this long for others of the same rank at most, unless somebody could be waiting
#: for them; longer where there are many ranks, each of which verifies every frame.
HOLD_SECONDS: Final = 0.1
HOLD_SECONDS_PER_RANK: Final = 0.05
MAX_HOLD_SECONDS: Final = 1.0
#: The same without a lag: others have nothing else to do at the end of a pulse.
HOLD_WITHOUT_LAG_SECONDS: Final = 0.030
#: First and longest sleep of an idle rank (no busy polling).
IDLE_SLEEP_MIN_SECONDS: Final = 0.0001
IDLE_SLEEP_MAX_SECONDS: Final = 0.001

# --- problems and files (objectives, adapters/hdf5_*) ------------------------------------
#: Largest dimension; Q of it has 32 GiB. A larger one in a file is taken for damage.
MAX_DIMENSION: Final = 65536
#: Largest number of targets of one problem.
MAX_TARGETS: Final = 1 << 20
#: Doubled coordinates of a target stay below this: the search has room in int32 around it.
MAX_DOUBLED: Final = 1 << 28
#: Asymmetry of Q that is taken for rounding and removed: this times max(|Qii|, |Qjj|).
SYMMETRY_TOLERANCE: Final = 1e-12
#: Range of the scale and of the diagonal of Q: products and roots of them stay far from the ends
#: of float64, where relative error bounds no longer hold.
SCALE_RANGE: Final = (1e-60, 1e60)
DIAGONAL_RANGE: Final = (1e-100, 1e100)
#: Largest opaque snapshot in a checkpoint.
MAX_SNAPSHOT_BYTES: Final = 1 << 30
#: Bytes of an array that are validated, hashed, stored or compared at a time (one chunk).
BLOCK_BYTES: Final = 1 << 20
#: Largest Q of which a run directory keeps a copy: what a replay needs.
KEPT_PROBLEM_BYTES: Final = 256 << 20
#: Checkpoints kept in a run directory: the newest and the one before it.
CHECKPOINTS_KEPT: Final = 2
#: Tasks in flight, and bytes of their finished results, in a checkpoint: what is beyond is
#: computed again after a resume.
MAX_FLIGHT_TASKS: Final = 1 << 22
MAX_FLIGHT_BYTES: Final = 64 << 20

# --- agreement (consensus) ---------------------------------------------------------------
#: Largest value agreed on: the results of a few pulses of many tasks, 66 bytes each.
MAX_VALUE_BYTES: Final = 2 << 20
#: Votes of one rank kept until their height is decided; an honest rank needs two in each view.
MAX_TALLIED_VOTES: Final = 64
#: Messages of one rank kept that concern a later height or view; lost ones are asked for.
MAX_EARLY_VOTES: Final = 16
#: Decisions kept for ranks that missed them.
KEPT_DECISIONS: Final = 64
#: Values of one height whose check is remembered: one in each view.
MAX_VERDICTS: Final = 16
#: Members above which votes go to a collector, the primary, instead of to all.
COLLECTOR_ABOVE: Final = 16
#: A view change is repeated this often before those who do not ask for it are reported.
RESENDS_UNTIL_STALLED: Final = 20
#: Pulses of one vote, and pulses that may be committed ahead of the last decision.
MAX_BALLOT_PULSES: Final = 256
MAX_SPECULATIVE_PULSES: Final = 512
#: Probability with which somebody computes again what another rank found.
DEFAULT_RECHECK: Final = 0.02
#: Bytes of frames kept as proofs of what was claimed, until that is checked.
MAX_PROOF_BYTES: Final = 32 << 20
#: Bytes of results kept, so that they need not be computed again after a rollback.
MAX_KEPT_RESULT_BYTES: Final = 64 << 20
#: After a decision that ranks leave, so long all are served who have not heard of it.
FAREWELL_TO_LIARS_SECONDS: Final = 0.1
#: Accusations waiting for this rank to find out; each rank needs one.
MAX_ACCUSATIONS: Final = 256
#: A rank that is alone with its finding gives up this many seconds later, and so many times
#: what its own recheck took: the others have to compute the task too.
DISPUTE_SECONDS: Final = 20.0
DISPUTE_PATIENCE: Final = 8.0
#: Commits are put to the vote this often, more seldom where there are many ranks: each vote
#: costs every rank a check of those of all others.
VOTE_SECONDS: Final = 0.25
VOTE_SECONDS_PER_RANK: Final = 0.125
#: A coordinator with something to bring about is given this long before it is replaced.
VOTE_PATIENCE_SECONDS: Final = 3.0
#: The patience with a primary doubles at most this often.
MAX_DOUBLINGS: Final = 6

# --- search (search/) --------------------------------------------------------------------
#: Factors of tile orders a rank keeps; at n = 4096 one takes 64 MiB.
FACTOR_CACHE_BYTES: Final = 192 << 20
#: Rankings of tile orders a rank keeps beside their factors; at n = 4096 one takes 34 MiB.
RANKING_CACHE_BYTES: Final = 48 << 20
#: Open chambers of one target above which the deepest are explored first, so that the frontier
#: stops growing: depth first opens at most one remainder per tile.
FRONTIER_HIGH_WATER: Final = 20_000
#: Nodes times dimension of one beam: its state is 13 bytes per entry.
MAX_BEAM_ENTRIES: Final = 1 << 22

# --- tile terms (objectives/, search/) ---------------------------------------------------
#: Largest squared radius of a ball, and largest coordinate of a box, in lattice units.
MAX_BALL_RADIUS2: Final = 1 << 16
MAX_BOX: Final = 2048
#: Shells or doubled coordinates of a distribution that a rate is taken from.
MAX_RATE_ENTRIES: Final = 1 << 13
#: Finite sets of at most so many points are gone through whole where that lists children best.
MAX_LISTED_SET: Final = 1 << 17

# --- wire, node and their adapters -------------------------------------------------------
#: Ranks of one run; a rank number travels in two bytes.
MAX_RANKS: Final = 1 << 16
#: Tasks of one pulse; larger than any --pulse-tasks.
MAX_TASKS_PER_PULSE: Final = 1 << 20
#: Largest result of one task; a chamber's result lists a partition, not a search tree.
MAX_RESULT_BYTES: Final = 64 << 20
#: Tiles one result may unpack to: 64 MiB.
MAX_RESULT_TILES: Final = 1 << 21
#: Results above this that do not fit the slot are announced; smaller ones wait for the next.
ANNOUNCE_ABOVE_BYTES: Final = 512
#: Piece of a result fetched over point-to-point: one frame, so other frames get between.
CHUNK_BYTES: Final = 1 << 20
#: Bytes asked for and not yet here, per rank: what answers may fill at most.
MAX_FETCH_BYTES: Final = 32 << 20
#: Digests in one request.
MAX_REQUEST_DIGESTS: Final = 256
#: Bytes handed to a transport that the network has not taken yet; more is a stuck peer.
MAX_UNSENT_BYTES: Final = 512 << 20
#: Point-to-point frames handed to MPI and not yet complete; the others queue with us.
MAX_PENDING_SENDS: Final = 32
#: Frames one poll takes from the network, so that a flood does not keep a rank from its work.
MAX_FRAMES_PER_POLL: Final = 64
#: Pulses a rank may be ahead of another; results are kept that long for those behind.
MAX_PULSE_SKEW: Final = 8
#: Own slots that said something, kept for a peer that received one damaged.
KEPT_SLOTS: Final = 64
#: A damaged slot or an unanswered fetch is asked for again this often, then the run ends.
MAX_RETRIES: Final = 5
#: Time before asking again.
RETRY_SECONDS: Final = 2.0
#: Messages of at least this many bytes are compressed when that saves a sixteenth; below it
#: LZ4 costs more time than the bytes it saves.
COMPRESS_ABOVE_BYTES: Final = 1024
#: Direct messages nobody waits for are gathered this long, and up to this many bytes (the
#: paper's algorithm 5.2).
BATCH_SECONDS: Final = 0.010
BATCH_BYTES: Final = 1 << 20
#: Messages in one frame.
MAX_BATCH_MESSAGES: Final = 4096
#: Largest message of a vote: a value, and certificates of `max_voters` signatures.
MAX_VOTE_BYTES: Final = 4 << 20
#: Direct frames of one sender that are told from repeats: sequence numbers below the last
#: that may still be new, because urgent frames overtake others.
REPLAY_WINDOW: Final = 4096
#: Bytes of bulk frames handed to MPI and not yet complete: what a vote can wait behind.
MAX_PENDING_BULK_BYTES: Final = 2 << 20
#: Pulses whose results are kept for ranks that missed them, and their bytes: the limit of
#: incremental sync, beyond it units of S are sent (the paper's MAX_INCREMENTAL).
SYNC_KEEP_PULSES: Final = 256
SYNC_KEEP_BYTES: Final = 32 << 20
#: Units of S that a request may name; with more, all units are sent.
MAX_SYNC_MARKS: Final = 1 << 17
#: Largest bundle of a sync: as much as a result may have, so that it is fetched like one.
MAX_SYNC_BYTES: Final = MAX_RESULT_BYTES
#: Longest reason of a stop request, in characters.
MAX_REASON: Final = 200
#: Ticks of time for a node: no longer than messages may wait for company (BATCH_SECONDS).
TICK_SECONDS: Final = 0.010
#: A rank that is busy says this often how far it is, more seldom where there are many ranks:
#: each such message is verified by all the others.
HEARTBEAT_SECONDS: Final = 0.25
HEARTBEAT_SECONDS_PER_RANK: Final = 0.01
#: A round that is not complete for this long is late: slots go over point-to-point until it is,
#: one in this interval.
ROUND_LATE_SECONDS: Final = 0.1
RELAY_SECONDS: Final = 0.02
#: What a rank has not finished is taken over when it was not heard of for this long, or when
#: others had nothing to do for this long and would be done sooner (DESIGN section 4).
TAKE_OVER_SECONDS: Final = 0.2
#: An idle rank yields the processor without sleeping this long: a short pulse ends sooner
#: than the shortest sleep, about 0.1 ms.
IDLE_SPIN_SECONDS: Final = 0.0005
#: While frames are under way an idle rank yields this long before it sleeps, and a busy one
#: looks after them this long between two slices: large frames move in pieces, and only while
#: both ends look.
TRANSFER_SPIN_SECONDS: Final = 0.010
TRANSFER_SLICE_SECONDS: Final = 0.0005
#: How often a loop asks whether it should stop, and reports progress.
STOP_POLL_SECONDS: Final = 0.05
PROGRESS_SECONDS: Final = 0.1
#: The journal is synced to disk this often at most, and always when it is closed.
JOURNAL_SYNC_SECONDS: Final = 1.0
#: Largest record of the journal: a pulse of the most tasks.
MAX_RECORD_BYTES: Final = 64 << 20
#: Size of the in-memory result store.
MEMORY_STORE_BYTES: Final = 64 << 20
#: An operation of the replicated store asks again after this time, this often in all.
STORE_WAIT_SECONDS: Final = 0.5
STORE_TRIES: Final = 4
#: Operations of one rank's store under way at once.
MAX_STORE_OPERATIONS: Final = 4096
#: Largest result that is replicated; what is bigger is computed again where it is missing.
MAX_REPLICA_BYTES: Final = 1 << 20
#: Replicas whose writers a rank remembers: of older ones it copies none after a loss.
MAX_TRACKED_REPLICAS: Final = 1 << 17
#: Groups of keys that are kept by the same ranks.
PLACEMENT_GROUPS: Final = 4096
#: Results copied after a loss in one tick, so that they do not fill the network.
REREPLICATE_PER_TICK: Final = 16
#: Results beyond a checkpoint that a restart looks for in caches, and bytes it moves between ranks.
MAX_RECOVERED_TASKS: Final = 1 << 16
MAX_RECOVERED_BYTES: Final = 32 << 20
#: Reads of one rank under way at once at a restart, and how long a rank waits for others that read.
MAX_RECOVERY_READS: Final = 64
RECOVERY_SECONDS: Final = 30.0
#: Size of the result cache of a node on disk, and what an entry is counted with besides itself.
CACHE_BYTES: Final = 4 << 30
CACHE_ENTRY_BYTES: Final = 160
#: Results go to the cache's disk this often, all that have come together since.
CACHE_BATCH_SECONDS: Final = 0.5
#: Results that wait for the cache's disk; more are not kept.
CACHE_PENDING_BYTES: Final = 64 << 20

# --- identities, TLS, envelopes (security, adapters/x509_*, adapters/tls_*) -------------------
#: Largest certificate, key or revocation list that is read; a chain has a few kilobytes.
MAX_PEM_BYTES: Final = 1 << 20
#: Most certificates between a leaf and the trust root, both included.
MAX_CHAIN: Final = 4
#: Encoded credential of a rank (chain and signature): it has to fit a slot beside the HELLO.
MAX_CREDENTIAL_BYTES: Final = 6144
#: Clocks of hosts may differ by this much before a certificate counts as not yet valid.
CLOCK_SKEW_SECONDS: Final = 300.0
#: Bytes a peer may send before its TLS handshake is complete: two chains and no more.
MAX_HANDSHAKE_BYTES: Final = 1 << 16
#: Broken sessions of a pair that are replaced: a network that damages more carries nothing.
MAX_TLS_RESTARTS: Final = 64
#: A handshake that has not ended after this time is begun anew; twice as long after each.
TLS_HANDSHAKE_SECONDS: Final = 10.0
#: Lines of a log that say what was refused; beyond that it is only counted.
MAX_REFUSAL_LINES: Final = 100
#: A TLS session is replaced by a new handshake after this many bytes in one direction.
TLS_REKEY_BYTES: Final = 64 << 30
#: Plain bytes of one piece handed to TLS, and what waits for a handshake at most.
TLS_PIECE_BYTES: Final = 1 << 20
#: Frames sealed under one group key before it has to be replaced (NIST SP 800-38D allows 2^32).
GROUP_KEY_FRAMES: Final = 1 << 31
#: Largest payload of an envelope: a checkpoint.
MAX_ENVELOPE_BYTES: Final = 1 << 30
# --- failures (node/regroup, app/crew, app/guardian) -------------------------------------
#: Largest message between two ranks of a job: a frame and its header.
MAX_LINK_BYTES: Final = MAX_FRAME_BYTES + 64
#: Largest message inside TLS: one of a link and a byte that says what it is.
MAX_TLS_MESSAGE_BYTES: Final = MAX_LINK_BYTES + 64
#: An exchange round that is not complete after this time is given up: somebody is stopped, or
#: much slower than the rest. Longer where this rank itself was silent for long (PATIENCE).
ROUND_DEADLINE_SECONDS: Final = 0.2
#: A rank counts as silent after this multiple of the longest time between two looks of our own, if
#: that is longer than the limit in question (node/patience.py).
PATIENCE: Final = 4.0
#: Share of CPU time in a time without looks above which a rank was busy, not stopped.
BUSY_SHARE: Final = 0.02
#: The longest time between two looks counts half after this time.
PATIENCE_HALF_LIFE_SECONDS: Final = 5.0
#: The ranks that are left wait this long for others to answer, then go on without them, where
#: somebody has entered no round for long; at least as long as the longest time between two looks.
GATHER_SECONDS: Final = 0.05
#: An answer is repeated this often while ranks regroup, and counts for this long.
STATUS_SECONDS: Final = 0.05
PRESENT_SECONDS: Final = 0.5
#: A new group that is not complete after this time is formed anew.
FORM_SECONDS: Final = 0.5
#: A rank that was left behind is taken in again this long after the last regrouping at the
#: earliest, so that one that comes and goes does not keep the others from their work.
REJOIN_SECONDS: Final = 1.0
#: A round in progress and reports of deaths are looked after this often.
WATCH_SECONDS: Final = 0.01
#: A rank without progress for this long is killed by its guardian, and given up by the others.
HANG_TIMEOUT_SECONDS: Final = 10.0
#: The guardian is told of progress, and looks for it, this often.
BEAT_SECONDS: Final = 0.1
#: Records each rank keeps, should it have to go on with the journal: more than the commits ahead
#: of the last decision and the pulses that two ranks can be apart.
RECENT_RECORDS: Final = 1024
#: Time for the last messages of a group that has been broken before.
FAREWELL_SECONDS: Final = 1.0
#: Piece of a state sent to a rank that is behind.
STATE_PIECE_BYTES: Final = 4 << 20
#: Times a run regroups before its first pulse, or at its end, in all.
MAX_RESTARTS_OF_A_STEP: Final = 64
#: Records that wait for a full disk; then the run ends.
JOURNAL_BACKLOG_BYTES: Final = 64 << 20

# --- metrics and trace (app/metrics, app/telemetry, app/spans, app/trace) --------------------
#: A rank tells its figures, and the chief merges those of all, at first and later so often; after
#: a long time once in each thousandth of it, so that a history of a month has 8000 lines.
METRICS_FIRST_SECONDS: Final = 0.25
METRICS_SECONDS: Final = 5.0
METRICS_SHARE: Final = 1e-3
#: Metrics may take this part of a rank's processor time, and a little at the start; where they
#: would take more they come more seldom, but never later than this.
METRICS_COST: Final = 1e-3
METRICS_FREE_SECONDS: Final = 0.010
METRICS_LATE_SECONDS: Final = 15.0
#: Window over which rates and utilisations are taken.
METRICS_WINDOW_SECONDS: Final = 10.0
#: Ranks of which the history has a utilisation each; of a larger job it has the first ones.
METRICS_RANKS: Final = 256
#: Size of trace.json; spans in it, of all ranks: about 100 bytes each, written within a second.
TRACE_BYTES: Final = 50 << 20
TRACE_SPANS: Final = 1 << 18
#: Spans that are shorter are left out; one that goes on within this time prolongs the last.
TRACE_MIN_SECONDS: Final = 1e-4
TRACE_JOINED_SECONDS: Final = 0.1
#: What is left out where a trace would be too large goes by windows of this length.
TRACE_WINDOW_SECONDS: Final = 1.0
#: Spans go to a file of their rank this often, and as often as their number doubles at most.
TRACE_SECONDS: Final = 10.0
#: Lines about failures that a trace has of one rank, and their length.
TRACE_TEXTS: Final = 500
TRACE_TEXT_CHARACTERS: Final = 300
#: `morsr report`: of a longer history the end is read; of longer lists the beginning is shown.
REPORT_HISTORY_BYTES: Final = 48 << 20
REPORT_LINES: Final = 60
#: Points of a curve, ranks of a picture.
REPORT_POINTS: Final = 1500
REPORT_RANKS: Final = 128
#: Largest n for which the condition of Q is computed, and certificates that are checked.
REPORT_DIMENSION: Final = 1024
REPORT_CERTIFICATES: Final = 4000
#: Tiles shown on the Coxeter plane.
REPORT_TILES: Final = 4096
#: Largest page.
REPORT_BYTES: Final = 5 << 20

# --- models that are quantised (adapters/*_tensors, app/quantize) -------------------------
#: Tensors of one file, and bytes of one tensor.
MAX_TENSORS: Final = 1 << 18
MAX_TENSOR_BYTES: Final = 1 << 38
#: Header of a safetensors file (as the safetensors package has it), pickle of a PyTorch file.
MAX_TENSOR_HEADER_BYTES: Final = 100_000_000
MAX_PICKLE_BYTES: Final = 64 << 20
#: Layers of one job: one byte each in what rank 0 tells the others.
MAX_LAYERS: Final = 4096
#: Samples of calibration taken in at a time; with more, sums would not be exact any more.
CALIBRATION_BLOCK: Final = 1024
