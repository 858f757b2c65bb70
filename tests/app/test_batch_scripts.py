"""The batch scripts without Slurm: whenever a stop ends what they wait for, the job is requeued."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

SLURM = Path(__file__).resolve().parents[2] / "slurm"
#: Stands for what computes: stops with a checkpoint when it is told to.
COMPUTES = """\
#!/bin/bash
trap 'exit 75' USR1
touch {folder}/started
while :; do sleep 0.02; done
"""
#: A shell that is late, on a crowded machine: when it looks whether its child lives, it does not.
LATE = """\
kill() {
    if [ "$1" = -0 ]; then while builtin kill -0 "$2" 2>/dev/null; do sleep 0.02; done; fi
    builtin kill "$@"
}
"""


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("script", ["one-node", "many-nodes", "array"])
def test_a_stop_requeues_the_job(script: str, late: bool, tmp_path: Path) -> None:
    for name in ("morsr", "mpirun"):
        (tmp_path / name).write_text(COMPUTES.format(folder=tmp_path))
    (tmp_path / "scontrol").write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/asked\n')
    for name in ("morsr", "mpirun", "scontrol"):
        (tmp_path / name).chmod(0o755)
    (tmp_path / "late").write_text(LATE if late else "")
    listed = tmp_path / "problem"
    listed.write_text("problem.h5\n")
    variables = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "BASH_ENV": str(tmp_path / "late")}
    variables |= {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "2", "SLURM_JOB_NUM_NODES": "2"}
    variables |= {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "1"}
    job = subprocess.Popen(
        ["bash", SLURM / f"{script}.sbatch", listed, tmp_path / "run"],
        env=os.environ | variables,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        end = time.monotonic() + 60.0
        while not (tmp_path / "started").exists():
            assert job.poll() is None
            assert time.monotonic() < end
            time.sleep(0.01)
        time.sleep(0.2)  # so that the shell waits; where it does not yet, the signal comes early
        job.send_signal(signal.SIGUSR1)
        _, err = job.communicate(timeout=60.0)
    finally:
        job.kill()
    assert job.returncode == 75, err
    expected = "requeue 7_1" if script == "array" else "requeue 7"
    assert (tmp_path / "asked").read_text().split("\n")[0] == expected
