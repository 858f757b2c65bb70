"""The command `morsr`: finds its commands without importing them, and ends the process.

Exit codes and the one line of an error are decided here, for every command. Only click
is imported until a command is chosen, so that `--help` answers at once.
"""

from __future__ import annotations

import importlib
import os
import sys
import time
import traceback
from typing import NoReturn

import click

from morsr_mpi.app.environment import launch_info
from morsr_mpi.base.errors import EXIT_INTERNAL, EXIT_OK, EXIT_USAGE, MorsrError
from morsr_mpi.base.version import __version__

#: Command -> (module, what it is for). `--help` shows these without importing the modules.
COMMANDS = {
    "solve": ("morsr_mpi.cli.solve", "Minimise a problem; alone or under mpirun."),
    "quantize": (
        "morsr_mpi.cli.quantize",
        "Quantise the layers of a network on E8; alone or under mpirun.",
    ),
    "launch": ("morsr_mpi.cli.launch", "Find mpirun and start a command on N ranks."),
    "demo": ("morsr_mpi.cli.demo", "Quantise a small network on real data and show the gain."),
    "plan": ("morsr_mpi.cli.plan", "Say beforehand what a problem will need."),
    "autoscale": (
        "morsr_mpi.cli.autoscale",
        "Give a running Slurm job more or fewer nodes by its load.",
    ),
    "simulate": (
        "morsr_mpi.cli.simulate",
        "Simulate a cluster under faults, and predict what it reaches.",
    ),
    "doctor": ("morsr_mpi.cli.doctor", "Say what this machine offers and lacks."),
    "pki": ("morsr_mpi.cli.pki", "Certificates for ranks and hosts."),
    "audit": ("morsr_mpi.cli.audit", "Check offline that a run directory is sound."),
    "replay": ("morsr_mpi.cli.replay", "Execute recorded tasks again and compare the bits."),
    "export": ("morsr_mpi.cli.export", "Describe a run directory as an RO-Crate."),
    "watch": ("morsr_mpi.cli.watch", "Follow a running job through its files."),
    "report": ("morsr_mpi.cli.report", "One page about a run, with pictures."),
    "inspect": ("morsr_mpi.cli.inspect", "Explain a file or a run directory of morsr."),
}

#: Ranks other than 0 wait this long with an error that all ranks have, so that an mpirun
#: that kills the job at the first non-zero exit lets rank 0 say what is wrong.
OTHERS_WAIT_SECONDS = 2.0


class CommandTable(click.Group):
    """A group whose commands are imported when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command, None when there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(COMMANDS[cmd_name][0]).command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the command list from the table."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(
    cls=CommandTable,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 finished, 75 stopped early with a sound checkpoint, 64 wrong usage, "
    "65 bad input data, 66 a run directory that does not agree with itself, 70 internal error.",
)
@click.version_option(__version__, prog_name="morsr")
@click.option("--debug", is_flag=True, help="Show the traceback of an internal error.")
def group(debug: bool) -> None:
    """Certified, reproducible minimisation over tiled E8 lattices on MPI clusters."""


class ReportedError(Exception):
    """An error that has been shown where it belongs; only the exit code is left."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(exit_code)
        self.exit_code = exit_code


def main() -> NoReturn:
    """Run the command line and leave with the exit code of DESIGN section 7."""
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """Run a command line and return its exit code; errors are shown as one line."""
    try:
        result = group.main(arguments, prog_name="morsr", standalone_mode=False)
    except ReportedError as exc:
        return exc.exit_code
    except click.exceptions.NoArgsIsHelpError as exc:
        click.echo(exc.format_message())
        return EXIT_OK if not arguments else EXIT_USAGE
    except click.ClickException as exc:
        return _fail(EXIT_USAGE, f"{exc.format_message()} {_help_for(exc)}")
    except MorsrError as exc:
        return _fail(exc.exit_code, str(exc))
    except (click.Abort, KeyboardInterrupt):
        return _fail(130, "interrupted")
    except BrokenPipeError:
        return EXIT_OK
    except Exception as exc:
        if "--debug" in arguments:
            traceback.print_exc()
        return _fail(EXIT_INTERNAL, internal_line(exc, "run it again as `morsr --debug ...`"))
    return result if isinstance(result, int) else EXIT_OK


def internal_line(exc: BaseException, where: str) -> str:
    """Return the one line for an internal error; where: how to see more of it."""
    text = " ".join(str(exc).split())
    name = type(exc).__name__
    return f"internal error: {name}{': ' + text if text else ''}; {where}, and report it"


def _help_for(exc: click.ClickException) -> str:
    """Return where to read about the right usage."""
    context = getattr(exc, "ctx", None)
    return f"(see `{context.command_path if context else 'morsr'} --help`)"


def _fail(code: int, text: str) -> int:
    """Show one line, on one rank when a launcher has started several; return the code."""
    info = launch_info()
    if info.rank == 0:
        click.echo(f"morsr: error: {' '.join(text.split())}", err=True)
    else:
        time.sleep(OTHERS_WAIT_SECONDS)
    return code
