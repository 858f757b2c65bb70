"""The table at the end of the demo, and what it means in words."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table

from morsr_mpi.app.demo.methods import FLOAT, LDLQ, MORSR, NEAREST, MethodOutcome
from morsr_mpi.app.demo.report import DemoReport


def make_table(report: DemoReport) -> Table:
    """Return one row per method: error of each layer, bits, accuracy, seconds."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title_justify="left")
    table.title = "Error of a layer: relative squared error of its outputs (proxy loss)"
    table.add_column("method", no_wrap=True)
    for layer in report.methods[0].layers:
        inputs = layer.weights.shape[1]
        table.add_column(f"error of\n{layer.name}\nn = {inputs}", justify="right", no_wrap=True)
    for head in ("bits per\nweight", "test\naccuracy", "seconds"):
        table.add_column(head, justify="right", no_wrap=True)
    for method in report.methods:
        table.add_row(*_cells(method), style="bold" if method.name == MORSR else None)
    return table


def _cells(method: MethodOutcome) -> list[str]:
    exact = method.name == FLOAT
    return [
        method.name,
        *("0" if exact else f"{100.0 * layer.proxy_loss:.3f} %" for layer in method.layers),
        f"{method.bits_per_weight:.2f}",
        f"{100.0 * method.accuracy:.1f} %",
        "" if exact else f"{method.seconds:.2f}",
    ]


def in_words(report: DemoReport) -> list[str]:
    """Return what the table says, one line each, for somebody who has never seen one."""
    return [_gain_line(report), *_proof_lines(report), _bits_line(report)]


def _gain_line(report: DemoReport) -> str:
    over_ldlq = ", ".join(f"{100.0 * gain:.0f} %" for gain in report.gains(LDLQ))
    over_nearest = ", ".join(f"{100.0 * gain:.0f} %" for gain in report.gains(NEAREST))
    return (
        f"At {report.method(MORSR).bits_per_weight:.2f} bits per weight (LDLQ: "
        f"{report.method(LDLQ).bits_per_weight:.2f}), morsr's errors are {over_ldlq} lower, layer "
        "by layer, than those of LDLQ with coordinate descent, the method in use today "
        f"({over_nearest} lower than those of the nearest points)."
    )


def _proof_lines(report: DemoReport) -> list[str]:
    ours = report.method(MORSR).layers
    proven = sum(layer.proven for layer in ours)
    if not proven:
        return []
    parts = ", ".join(
        f"{layer.name} {layer.proven} of {count}"
        for layer, count in zip(ours, report.rows, strict=True)
    )
    return [
        f"Proven to be the best points of this lattice: rows of {parts}. No method can round "
        "those better."
    ]


def _bits_line(report: DemoReport) -> str:
    same = report.same_bits
    first, second = same.ranks
    runs = f"on {_ranks(first)} and on {_ranks(second)}" if first != second else "solved twice"
    if same.same:
        return f"{same.layer} {runs}: the same bits (SHA-256 {same.digests[0][:12]}...)."
    return (
        f"{same.layer} {runs}: DIFFERENT bits "
        f"({same.digests[0][:12]}... and {same.digests[1][:12]}...). That is a bug: please report "
        "it with the run directory."
    )


def _ranks(count: int) -> str:
    return f"{count} rank{'s' if count != 1 else ''}"


def show(report: DemoReport, console: Console) -> None:
    """Print table, words, and where to look next."""
    console.print(make_table(report))
    for line in in_words(report):
        console.print(line, markup=False, highlight=False)
    console.print(
        f"\nEverything is in {report.run_dir} ({report.seconds:.0f} seconds in all). Look into "
        "it with",
        markup=False,
        highlight=False,
    )
    console.print(
        f"    morsr inspect {report.run_dir}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
