"""`morsr quantize`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from morsr_mpi.cli.options import positive, work_units
from morsr_mpi.cli.run_options import run_options, settings_of


@click.command("quantize")
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--hessians",
    type=click.Path(path_type=Path),
    metavar="H",
    help="Hessians [in,in] by tensor name (npz, HDF5, safetensors, PyTorch), or QuIP#'s files.",
)
@click.option(
    "--calibration",
    type=click.Path(path_type=Path),
    metavar="X",
    help="Inputs [samples,in] of the layers by tensor name; instead of --hessians.",
)
@click.option(
    "--hessian-names",
    "names",
    type=click.Path(path_type=Path),
    metavar="JSON",
    help="Object from names of tensors to names in H or X, where they differ.",
)
@click.option(
    "--layers",
    multiple=True,
    metavar="GLOB",
    help="Only tensors whose names match (may be repeated); default: all matrices with a Hessian.",
)
@click.option(
    "--bits",
    type=float,
    metavar="B",
    help="Bits per weight to stay below, stream and scale counted; default 2.",
)
@click.option(
    "--scale", type=positive, metavar="S", help="Scale of the lattice, instead of --bits."
)
@click.option(
    "--codebook",
    type=click.Choice(["lattice", "ball", "rate"]),
    default="lattice",
    show_default=True,
    help="lattice: all points of E8, coded. ball and rate are not in this version yet.",
)
@click.option(
    "--damp",
    "damping",
    type=float,
    metavar="D",
    help="Add D times the mean of its diagonal to each Hessian; default 0, calibration 0.01.",
)
@click.option(
    "--incoherence",
    type=int,
    metavar="SEED",
    help="Turn inputs by random signs and Hadamard matrices of this seed before rounding.",
)
@click.option(
    "--work",
    type=work_units,
    metavar="UNITS|inf",
    default="100_000",
    show_default=True,
    help="Work units of a row of 384 weights; of longer rows more, as the square of the length.",
)
@run_options
@click.pass_context
def command(context: click.Context, /, model: Path, work: int | None, **options: Any) -> int:
    """Round the layers of MODEL to points of E8; alone, or on every rank under mpirun.

    Every matrix W with a Hessian H becomes points of a lattice that keep tr((V-W) H (V-W)^T) small.
    Writes quantized.safetensors, codes.safetensors and report.json into DIR, and what it finished
    so far when it is stopped (exit 75) or killed; --resume goes on to the same bits.
    """
    from morsr_mpi.app.quantize.options import Quantization
    from morsr_mpi.app.quantize.run import quantize_command

    names = (
        *("hessians", "calibration", "names", "layers", "bits", "scale", "codebook", "damping"),
        "incoherence",
    )
    own = {name: options.pop(name) for name in names}
    as_json = options["as_json"]
    debug = bool(context.find_root().params.get("debug"))
    quantization = Quantization(model, work=work, **own)
    return quantize_command(quantization, settings_of(work, options), as_json=as_json, debug=debug)
