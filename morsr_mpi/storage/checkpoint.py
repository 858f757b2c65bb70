"""A checkpoint: the last committed state and what is needed to go on from it.

The state is opaque here: `search` writes it and reads it. The solution stands beside
it in plain form, so that a checkpoint answers "what is the best point so far?" even
to software whose algorithm version cannot resume from it (DESIGN section 7).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from morsr_mpi.base.canonical import encode
from morsr_mpi.base.digest import sha256
from morsr_mpi.base.errors import InputError
from morsr_mpi.base.version import ALGORITHM_VERSION
from morsr_mpi.objectives.solution import Solution
from morsr_mpi.storage.sections import Sections

#: First field and version of what the digest covers (docs/formats/checkpoint.md).
CHECKPOINT_TAG = "morsr-checkpoint"
CHECKPOINT_DIGEST_VERSION = 1

_NAME = re.compile(r"checkpoint-(\d{12})\.h5")


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """State after all pulses below `pulse` are committed.

    problem_digest, options_digest: 32 bytes each. pulse: next pulse to commit.
    state: opaque snapshot. solution: best points so far. algorithm_version: of the
    software that wrote it. sections: what stands beside the state, None in files of version
    1.0; they have a digest of their own.
    """

    problem_digest: bytes
    options_digest: bytes
    pulse: int
    state: bytes
    solution: Solution
    algorithm_version: int = field(default=ALGORITHM_VERSION)
    sections: Sections | None = None

    def digest(self) -> bytes:
        """Return the SHA-256 (32 bytes) over all fields but the sections, the state by its own
        SHA-256."""
        return sha256(
            encode(
                (
                    CHECKPOINT_TAG,
                    CHECKPOINT_DIGEST_VERSION,
                    self.algorithm_version,
                    self.problem_digest,
                    self.options_digest,
                    self.pulse,
                    sha256(self.state),
                    self.solution.digest(),
                )
            )
        )

    def require(self, problem_digest: bytes, options_digest: bytes) -> None:
        """Raise InputError unless the checkpoint belongs to this problem and these options."""
        for what, other, mine, given in (
            ("problem", "another problem", self.problem_digest, problem_digest),
            ("options", "other options", self.options_digest, options_digest),
        ):
            if mine != given:
                raise InputError(
                    f"the checkpoint belongs to {other} ({what} digest {mine.hex()[:12]}, "
                    f"now {given.hex()[:12]}); resume with the same {what} or use a new run "
                    "directory"
                )


def checkpoint_name(pulse: int) -> str:
    """Return the file name of the checkpoint at a pulse; names sort as pulses do."""
    return f"checkpoint-{pulse:012d}.h5"


def pulse_of_name(name: str) -> int | None:
    """Return the pulse of a checkpoint's file name, None for any other name."""
    match = _NAME.fullmatch(name)
    return int(match.group(1)) if match else None
