"""The table at the end of a quantization."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from morsr_mpi.app.environment import launch_columns
from morsr_mpi.app.quantize.outputs import gain_of

#: Columns of a table that goes to a file.
WIDTH = 150


def make_table(report: dict[str, Any]) -> Table:
    """Return one row per layer: loss by each method, rates, gap, time."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title_justify="left")
    table.title = "Loss: relative squared error of a layer's outputs, at the same lattice and scale"
    for head in ("layer", "out x in"):
        table.add_column(head, no_wrap=True, overflow="ellipsis")
    heads = ("nearest\npoint", "LDLQ\n+ 10 CD", "morsr", "below\nLDLQ+CD", "bits per\nweight")
    for head in (*heads, "LDLQ+CD's\nbits", "gap", "seconds"):
        table.add_column(head, justify="right", no_wrap=True)
    for record in report["layers"]:
        padded = f" ({record['padded']})" if record["padded"] != record["columns"] else ""
        table.add_row(
            record["name"],
            f"{record['rows']} x {record['columns']}{padded}",
            f"{100.0 * record['proxy_loss_nearest']:.3f} %",
            f"{100.0 * record['proxy_loss_ldlq_cd']:.3f} %",
            f"{100.0 * record['proxy_loss']:.3f} %",
            f"{100.0 * gain_of(record):.1f} %",
            f"{record['bits_per_weight']:.3f}",
            f"{record['bits_per_weight_ldlq_cd']:.3f}",
            f"{100.0 * record['gap']:.0f} %",
            f"{record['seconds']:.1f}",
        )
    return table


def show(report: dict[str, Any]) -> None:
    """Print the table, and what it comes to."""
    columns = launch_columns()  # behind mpirun a rank cannot see the terminal
    console = Console(width=columns or WIDTH) if columns is not None else Console()
    if columns is None and not console.is_terminal:
        console = Console(width=WIDTH)
    console.print(make_table(report))
    padded = sum(record["padded"] != record["columns"] for record in report["layers"])
    lines = [
        f"{len(report['layers'])} layers at {report['bits_per_weight']:.3f} bits per weight; loss "
        f"{100.0 * report['mean_gain_over_ldlq_cd']:.1f} % below LDLQ+10CD on the mean of the "
        f"layers, {100.0 * report['least_gain_over_ldlq_cd']:.1f} % at least"
    ]
    if padded:
        lines.append(
            f"layers whose rows are no multiple of 8: {padded}; they were padded with zeros, and "
            "the points there count in the bits"
        )
    asked = report["bits_asked"]
    over = [r["name"] for r in report["layers"] if asked and r["bits_per_weight"] > asked]
    if over:
        lines.append(f"more than {asked:g} bits per weight: {', '.join(over)}")
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
