"""The pictures of a report, drawn by matplotlib. Each returns a figure, or None without data."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from morsr_mpi.app.report.story import Story
from morsr_mpi.base import config
from morsr_mpi.base.errors import UsageError
from morsr_mpi.lattice.coxeter import project

#: Colours that people who see few colours can tell apart (Okabe and Ito).
BLUE, ORANGE, GREEN, RED, SKY, PURPLE, GREY = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#777777",
)  # fmt: skip
_PHASES = {
    "explore": GREEN, "commit": BLUE, "exchange": ORANGE, "vote": PURPLE, "check": SKY,
    "ledger": RED, "wait": "#bbbbbb",
}  # fmt: skip
_COMMUNICATION = ("exchange", "vote")


def pyplot() -> Any:
    """Return matplotlib.figure, which needs no display. Raises UsageError where it is missing."""
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import figure
    except ImportError as exc:
        raise UsageError(
            f"a report is drawn by matplotlib, which is not here ({exc}); "
            "run: pip install 'morsr[report]'"
        ) from None
    return figure


def _axes(columns: int = 1, height: float = 3.4) -> tuple[Any, Any]:
    figure = pyplot().Figure(figsize=(10.0, height), dpi=100, layout="constrained")
    axes = figure.subplots(1, columns)
    for axis in np.ravel(axes):
        axis.grid(color="#dddddd", linewidth=0.6)
        axis.set_axisbelow(True)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    return figure, axes


def convergence(story: Story) -> Any:
    """Incumbent and bound over time and over work."""
    history = story.history
    if history is None or not np.isfinite(history.columns["incumbent"]).any():
        return None
    figure, axes = _axes(2)
    keep = history.thinned(config.REPORT_POINTS)
    for axis, x, name in (
        (axes[0], history.seconds, "seconds of search"),
        (axes[1], history.columns["work"], "work units, all targets"),
    ):
        axis.step(
            x[keep], history.columns["incumbent"][keep], where="post", color=BLUE, label="incumbent"
        )
        axis.step(
            x[keep],
            history.columns["bound"][keep],
            where="post",
            color=ORANGE,
            label="proven bound",
        )
        axis.set_xlabel(name)
        for at in history.seconds[1:][np.diff(history.starts) != 0] if axis is axes[0] else ():
            axis.axvline(at, color=GREY, linestyle=":", linewidth=1.0)
        axis.set_ylim(bottom=0.0)
    axes[0].set_ylabel("objective, sum over targets")
    axes[0].legend(frameon=False)
    return figure


def gap(story: Story) -> Any:
    """Gap over pulses, and the curve of Theorem 2.1 from the same beginning."""
    history = story.history
    if history is None:
        return None
    pulse, value = history.columns["pulse"], history.columns["gap"]
    good = np.isfinite(value) & (value > 0.0)
    if good.sum() < 2:
        return None
    figure, axis = _axes()
    pulse, value = pulse[good], value[good]
    keep = np.unique(np.linspace(0, len(pulse) - 1, config.REPORT_POINTS).astype(int))
    axis.step(pulse[keep], value[keep], where="post", color=BLUE, label="observed")
    if story.condition is not None and story.result is not None:
        rate = theorem_rate(story.condition, story.result.ranks)
        t = np.linspace(pulse[0], pulse[-1], 200)
        curve = value[0] * np.exp((t - pulse[0]) * math.log1p(-rate))
        label = f"Theorem 2.1, N = {story.result.ranks}, κ = {story.condition:.3g} (upper bound)"
        axis.plot(t, curve, color=GREY, linestyle="--", label=label)
    if value.max() > 10.0 * value.min():
        axis.set_yscale("log")
    axis.set_xlabel("pulses")
    axis.set_ylabel("relative gap")
    axis.legend(frameon=False)
    return figure


def theorem_rate(condition: float, ranks: int) -> float:
    """Return α/(Nκ) of Theorem 2.1, with α = 1/κ: Q scaled to greatest eigenvalue 1."""
    return min(0.999999, 1.0 / (ranks * condition * condition))


def utilisation(story: Story) -> Any:
    """Share of the time in which each rank had a task, over time."""
    history = story.history
    if history is None or not history.ranks or len(history) < 2:
        return None
    shown = min(len(history.ranks), config.REPORT_RANKS)
    figure, axis = _axes(height=1.6 + min(3.0, 0.3 * shown))
    keep = history.thinned(config.REPORT_POINTS)
    edges = np.concatenate([[0.0], history.seconds[keep]])
    edges = np.maximum.accumulate(edges + 1e-9 * np.arange(len(edges)))
    values = np.ma.masked_invalid(history.utilisation[keep][:, :shown].T)
    image = axis.pcolormesh(
        edges, np.arange(shown + 1) - 0.5, values, vmin=0.0, vmax=1.0, cmap="viridis"
    )
    axis.grid(visible=False)
    every = max(1, shown // 16)
    axis.set_yticks(range(0, shown, every), [str(r) for r in history.ranks[:shown:every]])
    axis.set_xlabel("seconds of search")
    axis.set_ylabel("rank")
    figure.colorbar(image, ax=axis, label="share of time with a task")
    return figure


def phases(story: Story) -> Any:
    """CPU time by phase: of each rank at the end, and of all ranks over time."""
    run, history = story.run, story.history
    by_rank = {name: np.asarray(run[f"cpu_{name}"]) for name in _PHASES if f"cpu_{name}" in run}
    over_time = history is not None and len(history) > 2
    if not by_rank and not over_time:
        return None
    figure, axes = _axes(2)
    if by_rank:
        shown = min(len(next(iter(by_rank.values()))), config.REPORT_RANKS)
        below = np.zeros(shown)
        for name, seconds in by_rank.items():
            axes[0].bar(
                np.arange(shown), seconds[:shown], bottom=below, color=_PHASES[name], label=name
            )
            below = below + seconds[:shown]
        axes[0].set_xlabel("rank")
        axes[0].set_ylabel("CPU seconds")
        axes[0].xaxis.get_major_locator().set_params(integer=True)
        axes[0].legend(frameon=False, fontsize=8, ncols=2)
    else:
        _nothing(axes[0], "result.h5 says nothing of CPU time")
    if over_time:
        assert history is not None
        _communication(axes[1], story)
    else:
        _nothing(axes[1], "no history")
    return figure


def communication_share(story: Story) -> float | None:
    """Return CPU time in exchange and votes ÷ (ranks × wall time), None where it is not known."""
    run = story.run
    if all(name in run for name in ("cpu_exchange", "cpu_vote", "search_seconds")):
        wall = float(np.sum(run["search_seconds"]))
        spent = float(sum(np.sum(run[f"cpu_{name}"]) for name in _COMMUNICATION))
        return spent / wall if wall > 0.0 else None
    history = story.history
    if history is not None and history.columns["wall"][-1] > 0.0:
        spent = sum(history.cpu.get(name, np.zeros(1))[-1] for name in _COMMUNICATION)
        return float(spent / history.columns["wall"][-1])
    return None


def _communication(axis: Any, story: Story) -> None:
    history = story.history
    assert history is not None
    keep = history.thinned(min(200, config.REPORT_POINTS))
    wall = np.diff(history.columns["wall"][keep])
    middle = 0.5 * (history.seconds[keep][1:] + history.seconds[keep][:-1])
    good = wall > 0.0
    for names, colour, label in (
        (("explore",), GREEN, "explore"),
        (_COMMUNICATION, ORANGE, "communication: exchange and votes"),
        (("commit", "check", "ledger"), BLUE, "commit, checks, files"),
    ):
        spent = sum(np.diff(history.cpu.get(name, np.zeros(len(history)))[keep]) for name in names)
        share = np.asarray(spent)[good] / wall[good]
        axis.plot(middle[good], 100.0 * share, color=colour, label=label)
    axis.set_xlabel("seconds of search")
    axis.set_ylabel("% of ranks × wall time")
    axis.set_ylim(bottom=0.0)
    axis.legend(frameon=False, fontsize=8)


def frontier(story: Story) -> Any:
    """Open chambers by depth, of the newest checkpoint; and their number over time."""
    history = story.history
    if not story.frontier and history is None:
        return None
    figure, axes = _axes(2, 3.0)
    if story.frontier:
        depths = list(story.frontier)
        axes[0].bar(depths, [story.frontier[d] for d in depths], color=BLUE)
        axes[0].set_xlabel("depth in tiles")
        axes[0].set_ylabel("open chambers")
        axes[0].set_yscale("log")
        axes[0].set_ylim(bottom=0.5)
        axes[0].xaxis.get_major_locator().set_params(integer=True)
    else:
        _nothing(axes[0], "no open chambers")
    if history is not None:
        keep = history.thinned(config.REPORT_POINTS)
        axes[1].step(
            history.seconds[keep], history.columns["frontier"][keep], where="post", color=BLUE
        )
        axes[1].set_xlabel("seconds of search")
        axes[1].set_ylabel("open chambers")
        axes[1].set_ylim(bottom=0.0)
    else:
        _nothing(axes[1], "no history")
    return figure


def coxeter(story: Story) -> Any:
    """Tiles of the solution on the Coxeter plane among the 240 roots, and its moves."""
    if story.result is None or not np.isfinite(story.result.objective).any():
        return None
    tiles = story.result.doubled.reshape(-1, 8)[: config.REPORT_TILES] / 2.0
    panels: list[tuple[str, NDArray[np.float64]]] = [("tiles of the solution v / s", tiles)]
    if story.moves is not None:
        panels.append(("difference to each tile's own nearest point", story.moves))
    figure, axes = _axes(len(panels), 5.0)
    roots = project(_roots())
    for axis, (title, points) in zip(np.ravel(axes), panels, strict=True):
        places, counts = np.unique(np.round(project(points), 9), axis=0, return_counts=True)
        axis.scatter(*roots.T, s=9, color=GREY, alpha=0.6, label="roots of E8", linewidths=0)
        axis.scatter(
            *places.T, s=12.0 + 14.0 * np.sqrt(counts), color=RED, alpha=0.7, linewidths=0,
            label=f"{len(points)} tiles",
        )  # fmt: skip
        axis.set_aspect("equal")
        axis.set_title(title, fontsize=10)
        axis.legend(frameon=False, fontsize=8, loc="upper right")
    return figure


def _roots() -> NDArray[np.float64]:
    """The 240 roots: two coordinates of ±1, or all of ±1/2 with an even number below zero."""
    unit = np.eye(8)
    pairs = [
        a * unit[i] + b * unit[j]
        for i in range(8)
        for j in range(i)
        for a in (1, -1)
        for b in (1, -1)
    ]
    signs = 1 - 2 * ((np.arange(256)[:, None] >> np.arange(8)) & 1)
    halves = signs[np.prod(signs, axis=1) > 0] / 2.0
    return np.concatenate([np.array(pairs), halves])


def comparison(stories: Sequence[Story]) -> Any:
    """Incumbent and gap of several runs over work."""
    runs = [s for s in stories if s.history is not None]
    if len(stories) < 2 or not runs:
        return None
    figure, axes = _axes(2)
    colours = [BLUE, ORANGE, GREEN, RED, SKY, PURPLE]
    for i, story in enumerate(runs):
        history = story.history
        assert history is not None
        keep = history.thinned(config.REPORT_POINTS)
        style: dict[str, Any] = {
            "where": "post", "label": story.name, "color": colours[i % 6],
            "linestyle": ("-", "--", ":", "-.")[i // 6 % 4],
        }  # fmt: skip
        axes[0].step(history.columns["work"][keep], history.columns["incumbent"][keep], **style)
        axes[1].step(history.seconds[keep], 100.0 * history.columns["gap"][keep], **style)
    axes[0].set_xlabel("work units, all targets")
    axes[0].set_ylabel("incumbent, sum over targets")
    axes[1].set_xlabel("seconds of search")
    axes[1].set_ylabel("gap, %")
    axes[0].legend(frameon=False, fontsize=8)
    return figure


def _nothing(axis: Any, text: str) -> None:
    axis.set_axis_off()
    axis.text(0.5, 0.5, text, ha="center", va="center", color=GREY, transform=axis.transAxes)


#: Pictures of one run: file name, heading, what is seen, how it is drawn.
PICTURES: tuple[tuple[str, str, str, Callable[[Story], Any]], ...] = (
    (
        "convergence",
        "Incumbent and bound",
        "What was found, and what was proven to be impossible. Dotted lines: the run was started "
        "again.",
        convergence,
    ),
    (
        "gap",
        "Gap",
        "Distance between the two, relative to the incumbent, beside the upper bound of the "
        "paper's Theorem 2.1 (which, as it is written, worsens with the number of ranks).",
        gap,
    ),
    (
        "utilisation",
        "Utilisation",
        "Dark: the rank had nothing to compute. White: it told nothing.",
        utilisation,
    ),
    (
        "phases",
        "Where the processor time went",
        "Communication is CPU time in exchange and votes.",
        phases,
    ),
    (
        "frontier",
        "Frontier",
        "Chambers that are still open, those in flight not counted.",
        frontier,
    ),
    (
        "coxeter",
        "The solution on the Coxeter plane",
        "Each tile is a point of E8, as large as there are tiles in its place. Right: how far a "
        "tile is from where plain rounding would put it; in the middle, where it is the same.",
        coxeter,
    ),
)
