"""What security costs: share of CPU time in real runs, TLS throughput, handshakes of many ranks.

Shares: `morsr solve --lag 2` under mpirun at each level, one run of each in turn. Cryptography is
counted where it happens (signing, verifying, TLS and sealed slots, `/run` of result.h5) and
divided by the CPU time of the search of all ranks; the CPU time of whole runs stands beside it.

Handshakes: the CPU time of each of the four steps of a mutual handshake is measured, then the
start of N ranks is simulated with these costs, one core per rank and a latency per message: the
group's key from rank 0 to all, and every session of every pair at once.
"""

from __future__ import annotations

import heapq
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import arguments, random_rotation, table, write
from scaling import mpirun

from morsr_mpi.adapters.hdf5_problem import save_problem
from morsr_mpi.adapters.hdf5_result import load_run, solution_digest
from morsr_mpi.adapters.key_files import chain_pem, key_pem
from morsr_mpi.adapters.tls_session import TlsFiles, TlsSession, make_context
from morsr_mpi.adapters.x509_authority import Authority, new_key
from morsr_mpi.adapters.x509_verify import TrustRoot, X509Identity
from morsr_mpi.security.ed25519 import Ed25519Signer
from morsr_mpi.security.identity import Claim, Names

LEVELS = ("off", "sign", "tls")
BARS = {"off": None, "sign": 1.0, "tls": 3.0}
#: name: dimension, condition, targets, work units per target.
CASES: dict[str, tuple[int, float, int, int]] = {
    "beams, n = 256": (256, 100.0, 4, 2_000_000),
    "enumeration, n = 80": (80, 30.0, 4, 2_000_000),
}
CRYPTO = ("crypto_signing", "crypto_verifying", "crypto_tls")
#: Seconds of a message between two hosts, HDR InfiniBand and TCP.
LATENCIES = {"HDR": 2e-6, "TCP": 60e-6}
TRIES = 60


# --- shares ------------------------------------------------------------------------------
def one_run(problem: Path, level: str, ranks: int, work: int) -> dict[str, Any]:
    """Run the ranks; return what it cost."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        options = ["--lag", "2", "--work", str(work), "--security", level, "--json"]
        program = [sys.executable, "-m", "morsr_mpi", "solve", str(problem), "--run-dir", str(run)]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [*mpirun(ranks), *program, *options], check=True, capture_output=True, text=True
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        story = load_run(run / "result.h5")
        digest = solution_digest(run / "result.h5").hex()
    cpu = sum(float(np.sum(v)) for name, v in story.items() if name.startswith("cpu_"))
    spent = {name: float(np.sum(story[name])) for name in CRYPTO}
    return {
        "digest": digest,
        "cpu": cpu,
        "crypto": spent,
        "share": 100.0 * sum(spent.values()) / cpu,
        "signatures": int(np.sum(story["signatures"])),
        "verifications": int(np.sum(story["verifications"])),
        "search_seconds": float(np.max(story["search_seconds"])),
        "process_cpu": sum(
            getattr(after, f) - getattr(before, f) for f in ("ru_utime", "ru_stime")
        ),
    }


def shares(ranks: list[int], repeats: int, cases: list[str]) -> list[dict[str, Any]]:
    """The table of shares."""
    rows = []
    for case in cases:
        n, kappa, k, work = CASES[case]
        with tempfile.TemporaryDirectory() as folder:
            problem = Path(folder) / "problem.h5"
            save_problem(problem, random_rotation(n, kappa, 7, k))
            for count in ranks:
                found: dict[str, list[dict[str, Any]]] = {level: [] for level in LEVELS}
                for _ in range(repeats):
                    for level in LEVELS:
                        found[level].append(one_run(problem, level, count, work))
                assert len({r["digest"] for runs in found.values() for r in runs}) == 1
                rows += [share_row(case, count, level, runs) for level, runs in found.items()]
    return rows


def share_row(case: str, ranks: int, level: str, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians of some runs."""

    def median(pick: Any) -> float:
        return float(statistics.median(pick(run) for run in runs))

    return {
        "case": case,
        "ranks": ranks,
        "level": level,
        "crypto %": median(lambda r: r["share"]),
        "bar %": BARS[level] or "",
        "sign s": median(lambda r: r["crypto"]["crypto_signing"]),
        "verify s": median(lambda r: r["crypto"]["crypto_verifying"]),
        "tls s": median(lambda r: r["crypto"]["crypto_tls"]),
        "signatures": median(lambda r: r["signatures"]),
        "verified": median(lambda r: r["verifications"]),
        "search s": median(lambda r: r["search_seconds"]),
        "search cpu": median(lambda r: r["cpu"]),
        "process cpu": median(lambda r: r["process_cpu"]),
        "runs": runs,
    }


# --- TLS ---------------------------------------------------------------------------------
def tls_files(authority: Authority, rank: int) -> TlsFiles:
    """Certificate and key of a rank."""
    key = new_key()
    now = time.time()
    leaf = authority.issue(Names(ranks=frozenset([rank])), key.public_key(), now, 1.0, now - 60.0)
    return TlsFiles(chain_pem([leaf]), key_pem(key), chain_pem([authority.certificate]))


def timed(call: Any) -> tuple[Any, float]:
    """What a call returns, and its CPU seconds."""
    begin = time.thread_time()
    found = call()
    return found, time.thread_time() - begin


def steps(authority: Authority) -> list[float]:
    """Medians of the CPU seconds of the four steps: hello, answer, finish, server's finish."""
    contexts = [make_context(tls_files(authority, r), server=r == 1) for r in range(2)]
    taken: list[list[float]] = []
    for _ in range(TRIES):
        client, a = timed(lambda: TlsSession(contexts[0], 1, lambda der: None, server=False))
        server, b = timed(lambda: TlsSession(contexts[1], 0, lambda der: None, server=True))
        hello = client.outgoing()
        _, c = timed(lambda s=server, h=hello: s.receive(h))
        answer = server.outgoing()
        _, d = timed(lambda s=client, x=answer: s.receive(x))
        finish = client.outgoing()
        _, e = timed(lambda s=server, x=finish: s.receive(x))
        assert client.established
        assert server.established
        taken.append([a, b + c, d, e])
    return [statistics.median(column) for column in zip(*taken, strict=True)]


def throughput(authority: Authority) -> dict[str, float]:
    """Payload MB per CPU second of one core, of the side that sends and of the other."""
    contexts = [make_context(tls_files(authority, r), server=r == 1) for r in range(2)]
    client = TlsSession(contexts[0], 1, lambda der: None, server=False)
    server = TlsSession(contexts[1], 0, lambda der: None, server=True)
    for _ in range(4):
        server.receive(client.outgoing())
        client.receive(server.outgoing())
    payload = bytes(1 << 20)
    rates: dict[str, list[float]] = {"send": [], "receive": []}
    for _ in range(TRIES):
        _, sending = timed(lambda: client.send(payload))
        data, reading = timed(client.outgoing)
        got, receiving = timed(lambda d=data: server.receive(d))
        assert got == [payload]
        rates["send"].append(len(payload) / (sending + reading))
        rates["receive"].append(len(payload) / receiving)
    return {side: statistics.median(found) / 1e6 for side, found in rates.items()}


def admission_seconds(authority: Authority) -> float:
    """CPU seconds of judging one credential."""
    trust = TrustRoot([authority.certificate])
    key, now = new_key(), time.time()
    leaf = authority.issue(Names(ranks=frozenset([3])), key.public_key(), now, 1.0, now - 60.0)
    shown = X509Identity([leaf], key, trust)
    claim = Claim("run", 3, "host", bytes(32), bytes(32))
    credential = shown.credential(claim)
    return statistics.median(
        timed(lambda: shown.judge(claim, credential, now))[1] for _ in range(TRIES)
    )


def primitives() -> dict[str, float]:
    """Microseconds of a signature and of its verification."""
    signer = Ed25519Signer(bytes(range(32)))
    data = bytes(200)
    signature = signer.sign(data)
    sign = statistics.median(timed(lambda: signer.sign(data))[1] for _ in range(TRIES))
    verify = statistics.median(
        timed(lambda: signer.verify(signer.public_key, data, signature))[1] for _ in range(TRIES)
    )
    return {"sign": 1e6 * sign, "verify": 1e6 * verify}


# --- simulated ---------------------------------------------------------------------------
def simulate(
    ranks: int, sessions: list[tuple[int, int]], cost: list[float], latency: float
) -> float:
    """Seconds until all sessions (client, server) are made, one core per rank, first come first.

    cost: of the four steps; the client's hello and finish, the server's answer and finish.
    """
    free = [0.0] * ranks
    events: list[tuple[float, int, int, int]] = []
    for client, server in sessions:
        heapq.heappush(events, (0.0, 0, client, server))
    end = 0.0
    while events:
        at, step, client, server = heapq.heappop(events)
        where = server if step % 2 else client
        free[where] = max(free[where], at) + cost[step]
        end = max(end, free[where])
        if step < 3:
            heapq.heappush(events, (free[where] + latency, step + 1, client, server))
    return end


def handshakes(authority: Authority, ranks: int) -> list[dict[str, Any]]:
    """The table of simulated starts."""
    cost = steps(authority)
    judging = admission_seconds(authority) * ranks
    star = [(0, server) for server in range(1, ranks)]
    mesh = [(a, b) for a in range(ranks) for b in range(a + 1, ranks)]
    rows = []
    for name, latency in LATENCIES.items():
        for case, sessions in (
            ("key of the group to all", star),
            ("every pair", mesh),
            ("every pair, both lanes", mesh * 2),
        ):
            seconds = judging + simulate(ranks, sessions, cost, latency)
            rows.append(
                {
                    "case": case, "ranks": ranks, "network": name, "seconds": seconds, "bar": 2.0,
                    "credentials s": judging, "steps ms": [round(1e3 * c, 3) for c in cost],
                }
            )  # fmt: skip
    return rows


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--ranks", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--many", type=int, default=128, help="ranks of the simulated start")
    parser.add_argument("--no-runs", action="store_true", help="primitives and handshakes only")
    args = parser.parse_args()
    if shutil.which("mpirun") is None and not args.no_runs:
        raise SystemExit("no mpirun on the PATH")
    authority = Authority.create("bench", time.time() - 600.0, 1.0)
    single, rates = primitives(), throughput(authority)
    print(f"Ed25519: sign {single['sign']:.0f} us, verify {single['verify']:.0f} us")
    print(
        f"TLS 1.3: {rates['send']:.0f} MB/s sending, {rates['receive']:.0f} MB/s receiving; bar 500"
    )
    made = handshakes(authority, args.many)
    table(made, ["case", "ranks", "network", "seconds", "bar", "credentials s", "steps ms"])
    rows = [] if args.no_runs else shares(args.ranks, args.repeats, args.cases)
    if rows:
        table(rows, [name for name in rows[0] if name != "runs"])
    if args.json:
        write(
            args.json,
            {"primitives_us": single, "tls_MB_s": rates, "handshakes": made, "shares": rows},
        )


if __name__ == "__main__":
    main()
