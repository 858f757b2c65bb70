"""`morsr pki init | issue | revoke | show`."""

from __future__ import annotations

from pathlib import Path

import click

from morsr_mpi.cli.options import positive

_DIRECTORY = click.Path(path_type=Path)


@click.group("pki")
def command() -> None:
    """Certificates for ranks and hosts, for `morsr solve --keys`.

    `init` makes a certificate authority, `issue` short-lived certificates from it. A site's own
    CA does as well: put its root as ca.pem and rank-N.pem, rank-N.key or host-NAME.pem,
    host-NAME.key into a directory; a DNS name in a certificate counts as its host.
    """


@command.command("init")
@click.argument("directory", type=_DIRECTORY)
@click.option("--name", default="morsr", show_default=True, help="Name of the CA.")
@click.option("--days", type=positive, default="365", show_default=True, help="How long it lasts.")
def init(directory: Path, name: str, days: float) -> int:
    """Make a certificate authority in DIRECTORY (key readable by you only)."""
    from morsr_mpi.app import pki

    click.echo(f"CA in {pki.init(directory, name, days)}; keep {directory / 'ca.key'} to yourself")
    return 0


@command.command("issue")
@click.argument("directory", type=_DIRECTORY)
@click.option("--ranks", metavar="0-7,9", help="Certificates for these ranks.")
@click.option("--host", "hosts", multiple=True, metavar="NAME", help="For any rank on a host.")
@click.option("--run", metavar="NAME", help="Only for the run whose --run-dir has this last part.")
@click.option("--hours", type=positive, default="48", show_default=True, help="Lifetime.")
@click.option("--out", type=_DIRECTORY, required=True, help="Directory for `solve --keys`.")
def issue(
    directory: Path, ranks: str | None, hosts: tuple[str, ...], run: str | None, hours: float,
    out: Path,
) -> int:  # fmt: skip
    """Make certificates and keys with the CA in DIRECTORY."""
    from morsr_mpi.app import pki

    for made in pki.issue(directory, out, _ranks(ranks), hosts, run, hours):
        click.echo(f"{made.path}: {made.line}")
    return 0


@command.command("revoke")
@click.argument("directory", type=_DIRECTORY)
@click.argument("certificates", nargs=-1, metavar="FILE|SERIAL...")
@click.option("--renew", is_flag=True, help="Renew the list without new entries.")
@click.option("--to", "out", multiple=True, type=_DIRECTORY, help="Copy the list to these too.")
def revoke(
    directory: Path, certificates: tuple[str, ...], renew: bool, out: tuple[Path, ...]
) -> int:
    """Revoke certificates of the CA in DIRECTORY; writes crl.pem there."""
    from morsr_mpi.app import pki

    if not certificates and not renew:
        raise click.UsageError("name certificates to revoke, or give --renew")
    path, count = pki.revoke(directory, certificates, out)
    click.echo(f"{path}: {count} revoked; copy it to the --keys directory of every host")
    return 0


@command.command("envelope")
@click.argument("directory", type=_DIRECTORY)
@click.option(
    "--suite",
    "suites",
    multiple=True,
    type=click.Choice(["hpke", "hybrid-pq", "rsa-oaep"]),
    help="Once or more; default hpke.",
)
def envelope(directory: Path, suites: tuple[str, ...]) -> int:
    """Make keys for sealed checkpoints in DIRECTORY, for `solve --envelope-keys`.

    Without the private key envelope-SUITE.key nothing sealed can be opened again: keep a copy.
    """
    from morsr_mpi.app import pki

    for path in pki.envelope(directory, suites or ("hpke",)):
        click.echo(str(path))
    return 0


@command.command("show")
@click.argument("path", type=_DIRECTORY)
def show(path: Path) -> int:
    """Say what a certificate, a key, a revocation list or a directory of them is."""
    from morsr_mpi.app import pki

    for line in pki.show(path):
        click.echo(line)
    return 0


def _ranks(text: str | None) -> list[int]:
    """Read 0-7,9. Raises a usage error for anything else."""
    found: list[int] = []
    for part in (text or "").split(",") if text else []:
        first, dash, last = part.strip().partition("-")
        if not first.isdigit() or (dash and not last.isdigit()) or len(first + last) > 12:
            raise click.BadParameter(f"{part!r} is no rank or range of ranks", param_hint="--ranks")
        begin, end = int(first), int(last) if dash else int(first)
        if end < begin or end - begin > 1 << 16:
            raise click.BadParameter(f"{part!r} is no range", param_hint="--ranks")
        found.extend(range(begin, end + 1))
    return found
