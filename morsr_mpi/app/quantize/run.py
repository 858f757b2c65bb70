"""`morsr quantize` on each rank: one job, a run for each layer, largest first."""

from __future__ import annotations

import hashlib
import json
import sys
import time
import traceback
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from morsr_mpi.adapters.hdf5_problem import load_problem
from morsr_mpi.adapters.tensor_file import TensorFile, open_tensors
from morsr_mpi.app.agree import CommonError, Together
from morsr_mpi.app.environment import LaunchInfo
from morsr_mpi.app.guardian import Guardian
from morsr_mpi.app.parts import Frame, Outcome
from morsr_mpi.app.quantize.display import Display
from morsr_mpi.app.quantize.hessians import HessianSource, open_hessians
from morsr_mpi.app.quantize.layers import Layer, choose_layers
from morsr_mpi.app.quantize.options import Quantization
from morsr_mpi.app.quantize.outputs import write_outputs, write_report
from morsr_mpi.app.quantize.place import FINISHED, NEW, STARTED, Place
from morsr_mpi.app.quantize.stages import complete_layer, prepare_layer
from morsr_mpi.app.settings import Settings
from morsr_mpi.app.signals import Requests
from morsr_mpi.app.solve import run_solve
from morsr_mpi.app.world import World, open_world
from morsr_mpi.base.errors import MorsrError, UsageError

#: Why a job stops that has lost ranks.
LOST = "ranks were lost: stopped after the layer; go on with the same command and --resume"


@dataclass(frozen=True)
class Plan:
    """What every rank knows of the job after a look at the headers of its files."""

    model: TensorFile
    hessians: HessianSource
    layers: tuple[Layer, ...]

    @classmethod
    def make(cls, options: Quantization) -> Plan:
        """Open the files. Raises InputError and UsageError."""
        model = open_tensors(options.model)
        hessians = open_hessians(options.hessians, options.calibration, options.names)
        return cls(model, hessians, choose_layers(model, hessians, options.layers))

    def asked(self, options: Quantization) -> dict[str, Any]:
        """Return what decides the result and must not change when the job goes on."""
        tensors = [(name, info.code, info.shape) for name, info in self.model.tensors.items()]
        return {
            "tensors": hashlib.sha256(json.dumps(tensors).encode()).hexdigest(),
            "hessians": str(self.hessians.path),
            "layers": [layer.name for layer in self.layers],
            "codebook": options.codebook,
            "bits": options.budget,
            "scale": options.scale,
            "damp": self.hessians.damping if options.damping is None else options.damping,
            "incoherence": options.incoherence,
        }


@dataclass
class Ended:
    """How the job ended on this rank. report: on the rank that speaks, else None."""

    speaks: bool
    stopped: str
    losses: bool
    report: dict[str, Any] | None = None


class Quantizing:
    """One rank's part in a job."""

    def __init__(
        self,
        options: Quantization,
        settings: Settings,
        requests: Requests,
        info: LaunchInfo,
        guardian: Guardian | None,
        quiet: bool = False,
    ) -> None:
        if settings.run_dir is None:
            raise UsageError("quantize needs a run_dir")
        self._options = options
        self._settings = settings
        self._requests = requests
        self._info = info
        self._guardian = guardian
        self._quiet = quiet
        self._begun = time.monotonic()
        self.losses = False
        #: Whether the job stopped only because ranks were lost.
        self.again = False
        #: The ranks that take part in the next run.
        self.world: World = open_world(info)

    def run(self) -> Ended:
        """Take all layers. Raises CommonError, the same on all ranks."""
        plan, place, states = self._meet()
        self._requests.outer_stop_file = place.stop_file
        work = [self._layer_work(layer) for layer in plan.layers]
        self._display = Display([layer.name for layer in plan.layers], work, self._quiet)
        speaks, stopped = self.world.rank == 0, ""
        try:
            for number, state in enumerate(states):
                if state == FINISHED:
                    continue
                outcome = self._layer(plan, place, number, resume=state == STARTED)
                self.losses, self.world = outcome.losses, outcome.world
                speaks, stopped = outcome.rank == 0, outcome.stopped
                if stopped:
                    break
                states[number] = FINISHED
                if self.losses and any(later != FINISHED for later in states[number + 1 :]):
                    # Open MPI makes no new communicator once deaths were reported.
                    stopped, self.again = LOST, True
                    break
            return self._end(plan, place, states, (speaks, stopped))
        finally:
            self._display.close()

    def _meet(self) -> tuple[Plan, Place, list[int]]:
        """Open files and directory, all ranks together."""
        options, settings = self._options, self._settings
        together = Together(self.world.transport(), self.world.clock)
        plan = together.agree(lambda: Plan.make(options), _internal_line)
        asked = plan.asked(options)
        digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).digest()
        if len(set(together.exchange(digest))) > 1:
            raise CommonError(
                UsageError.exit_code,
                "ranks were given different files or options; start all of them alike",
                0,
            )
        assert settings.run_dir is not None
        place = Place(settings.run_dir, plan.layers)

        def open_place() -> list[int]:
            if settings.resume:
                return place.reopen(asked)
            place.create(asked)
            return [NEW] * len(plan.layers)

        states = together.agree_on(0, open_place, _internal_line)
        told = together.exchange(bytes(states or ()))[0]
        together.close()
        return plan, place, list(told)

    def _layer_work(self, layer: Layer) -> int | None:
        units = self._options.units(layer.padded)
        return None if units is None else units * layer.rows

    def _layer(self, plan: Plan, place: Place, number: int, *, resume: bool) -> Outcome:
        """Run one layer on all ranks."""
        layer, files = plan.layers[number], place.layers[number]
        settings, display = self._settings, self._display
        display.layer = number
        hours = settings.max_hours
        if hours is not None:
            hours = max(1e-6, hours - (time.monotonic() - self._begun) / 3600.0)
        own = replace(
            settings,
            run_dir=files.run,
            name=place.path.resolve().name,
            work=self._options.units(layer.padded),
            max_hours=hours,
            resume=resume,
        )

        def before() -> None:
            for earlier in range(number):  # the last one; here the others notice a loss
                self._complete(plan, place, earlier)
            say = display.say
            prepare_layer(layer, files, plan.model, plan.hessians, self._options, say)

        return run_solve(
            partial(load_problem, files.problem),
            own,
            requests=self._requests,
            info=self._info,
            guardian=self._guardian,
            load_once=True,
            world=self.world,
            frame=Frame(before, display.make),
        )

    def _complete(self, plan: Plan, place: Place, number: int) -> None:
        """Write what a finished run leaves, and the report so far."""
        files = place.layers[number]
        if files.record.exists():
            return
        complete_layer(plan.layers[number], files)
        report = write_report(place, plan.layers, self._options)
        record = next(r for r in report["layers"] if r["name"] == plan.layers[number].name)
        self._display.say(
            f"{record['name']}: loss {record['proxy_loss']:.4g} (LDLQ+10CD "
            f"{record['proxy_loss_ldlq_cd']:.4g}), {record['bits_per_weight']:.3f} bits per weight"
        )

    def _end(self, plan: Plan, place: Place, states: list[int], how: tuple[bool, str]) -> Ended:
        speaks, stopped = how
        ended = Ended(speaks, stopped, self.losses)
        if speaks:
            for number, state in enumerate(states):
                if state == FINISHED:
                    self._complete(plan, place, number)
            if stopped:
                ended.report = write_report(place, plan.layers, self._options)
            else:
                ended.report = write_outputs(place, plan.layers, plan.model, self._options)
        return ended


def _internal_line(exc: BaseException) -> str:
    text = " ".join(str(exc).split())
    return f"internal error: {type(exc).__name__}: {text}; please report it"


def quantize_command(
    options: Quantization, settings: Settings, *, as_json: bool, debug: bool
) -> int:
    """Quantise a model; return the exit code. Only one rank prints."""
    from morsr_mpi.app.environment import launch_info
    from morsr_mpi.app.main_solve import leave_now, no_core_dumps
    from morsr_mpi.app.outcome import tell_again, tell_ended
    from morsr_mpi.app.quantize.table import show
    from morsr_mpi.base.config import BEAT_SECONDS
    from morsr_mpi.base.errors import EXIT_OK, EXIT_STOPPED

    info = launch_info()
    if settings.security != "off" or settings.envelope != "none":
        no_core_dumps()
    with Requests(interrupts=not info.launched) as requests:
        guardian = Guardian(settings.hang_timeout, BEAT_SECONDS) if info.size > 1 else None
        job = Quantizing(options, settings, requests, info, guardian, quiet=as_json)
        code = EXIT_OK
        try:
            ended = job.run()
        except CommonError as exc:
            code = exc.exit_code
            tell_ended(code)
            if job.world.rank == exc.rank:
                _fail(exc, exc.message, debug)
        except MorsrError as exc:  # at the end, on the one rank that writes
            code = exc.exit_code
            tell_ended(code)
            _fail(exc, str(exc), debug)
        else:
            # mpirun kills all ranks at the first exit code that is not 0: that of the rank which
            # still writes must be the only one.
            code = EXIT_STOPPED if ended.stopped and ended.speaks else EXIT_OK
            if ended.report is not None:
                if job.again:
                    tell_again()
                    print(f"morsr: {ended.stopped}", file=sys.stderr, flush=True)
                tell_ended(code)
                if as_json:
                    print(json.dumps(ended.report, allow_nan=False), flush=True)
                elif not ended.stopped:
                    show(ended.report)
        if guardian is not None:
            guardian.end()
    if job.losses:
        leave_now(code)
    return code


def _fail(exc: BaseException, text: str, debug: bool) -> None:
    if debug:
        traceback.print_exception(exc.__cause__ or exc)
    print(f"morsr: error: {text}", file=sys.stderr, flush=True)
