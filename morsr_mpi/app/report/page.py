"""The page: one HTML file that refers to nothing outside itself."""

from __future__ import annotations

import base64
import datetime
import html
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields

import numpy as np

from morsr_mpi.adapters.hdf5_result import solution_digest
from morsr_mpi.app.account import summary
from morsr_mpi.app.metrics import DistributedMORSRMetrics
from morsr_mpi.app.report.figures import PICTURES, communication_share
from morsr_mpi.app.report.story import Story
from morsr_mpi.base import config
from morsr_mpi.base.version import __version__

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#222;max-width:1040px;margin:2em auto;padding:0 1em}
h1{font-size:1.5em;margin-bottom:.2em}
h2{font-size:1.15em;margin:2em 0 .3em;border-bottom:1px solid #ddd}
p.note{color:#666;margin:.2em 0}img{max-width:100%;height:auto}
table{border-collapse:collapse;margin:.5em 0}
td,th{padding:.15em .9em .15em 0;text-align:left;vertical-align:top}
th{font-weight:600}td.n{text-align:right;font-variant-numeric:tabular-nums}
td{overflow-wrap:anywhere}
.cards{display:flex;flex-wrap:wrap;gap:.7em;margin:1em 0}
.card{border:1px solid #ddd;border-radius:6px;padding:.5em .9em}
.card b{display:block;font-size:1.2em}
.missing{background:#fff6e5;border-left:4px solid #E69F00;padding:.5em 1em}
pre{background:#f6f6f6;padding:.7em;overflow:auto;font-size:12px}
"""


def page(stories: Sequence[Story], pictures: Mapping[str, bytes]) -> str:
    """Return the page about the first run, and the others beside it. pictures: PNGs by name."""
    story = stories[0]
    parts = [
        "<!doctype html><html lang=en><head><meta charset=utf-8>",
        "<meta name=viewport content='width=device-width,initial-scale=1'>",
        f"<title>{_text(story.name)} — morsr report</title><style>{_STYLE}</style></head><body>",
        f"<h1>{_text(story.name)}</h1>",
        f"<p class=note>{_text(_subtitle(story))}</p>",
        _cards(story),
        _missing(story),
    ]
    if "comparison" in pictures or len(stories) > 1:
        parts.append(_comparison(stories, pictures))
    for name, heading, text, _ in PICTURES:
        if name in pictures:
            parts.append(_picture(heading, text, pictures[name]))
    parts += [_targets(story), _metrics(story), _failures(story), _ledger(story), _log(story)]
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    parts.append(
        f"<p class=note>morsr {__version__}, {now}. Saturation per lane is not recorded by this "
        "version, so it is not shown.</p></body></html>"
    )
    return "\n".join(part for part in parts if part) + "\n"


def _text(value: object) -> str:
    """Text from a run directory, harmless in a page."""
    return html.escape(str(value), quote=True)


def _subtitle(story: Story) -> str:
    result, problem = story.result, story.problem
    parts = [str(story.path)]
    if result is not None:
        k, n = result.doubled.shape
        parts.append(f"n = {n}, {k} target{'s' if k != 1 else ''}, {result.ranks} ranks")
    if problem is not None:
        parts.append(f"problem {problem.digest.hex()[:16]}")
    return " · ".join(parts)


def _cards(story: Story) -> str:
    cards: list[tuple[str, str]] = []
    result = story.result
    if result is not None:
        state = str(story.run.get("state", "finished"))
        cards.append(("state", state))
        cards.append(("objective", f"{float(np.sum(result.objective)):.8g}"))
        cards.append(("proven bound", f"{float(np.sum(result.lower_bound)):.8g}"))
        cards.append(("gap", _gap(story)))
        done = int(np.count_nonzero(result.certified))
        cards.append(("certified", f"{done} of {len(result.certified)}"))
        cards.append(("wall time", f"{result.wall_seconds:.1f} s"))
        cards.append(("restarts", str(result.restarts)))
    elif story.history is not None:
        last = story.history.last
        for name in ("pulse", "incumbent", "bound", "gap", "work"):
            cards.append((name, _number(last.get(name))))
    share = communication_share(story)
    if share is not None:
        cards.append(("communication", f"{100.0 * share:.2f} %"))
    inside = "".join(f"<div class=card>{_text(a)}<b>{_text(b)}</b></div>" for a, b in cards)
    return f"<div class=cards>{inside}</div>"


def _gap(story: Story) -> str:
    assert story.result is not None
    total = float(np.sum(story.result.objective))
    if bool(np.all(story.result.certified)):
        return f"0 (tolerance {story.result.tolerance:.2g})"
    if not (math.isfinite(total) and total > 0.0):
        return "open"
    return f"{100.0 * (total - float(np.sum(story.result.lower_bound))) / total:.3g} %"


def _missing(story: Story) -> str:
    if not story.missing:
        return ""
    items = "".join(f"<li>{_text(line)}</li>" for line in story.missing[: config.REPORT_LINES])
    said = "Not shown, because it is not there or cannot be read:"
    return f"<div class=missing>{said}<ul>{items}</ul></div>"


def _picture(heading: str, text: str, data: bytes) -> str:
    source = base64.b64encode(data).decode()
    return (
        f"<h2>{_text(heading)}</h2><p class=note>{_text(text)}</p>"
        f"<img alt='{_text(heading)}' src='data:image/png;base64,{source}'>"
    )


def _table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    top = "".join(f"<th>{_text(name)}</th>" for name in head)
    body = "".join(
        "<tr>" + "".join(f"<td{_class(cell)}>{_text(_shown(cell))}</td>" for cell in row) + "</tr>"
        for row in rows
    )
    return f"<table><tr>{top}</tr>{body}</table>"


def _class(cell: object) -> str:
    return " class=n" if isinstance(cell, int | float) else ""


def _shown(cell: object) -> str:
    return _number(cell) if isinstance(cell, float) else str(cell)


def _number(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "none yet" if value is None else str(value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _targets(story: Story) -> str:
    result = story.result
    if result is None:
        return ""
    shown = min(len(result.objective), config.REPORT_LINES)
    rows = [
        (t, float(result.objective[t]), float(result.lower_bound[t]),
         "yes" if result.certified[t] else "no", int(result.work[t]))
        for t in range(shown)
    ]  # fmt: skip
    more = len(result.objective) - shown
    note = f"<p class=note>and {more} more targets, in result.h5</p>" if more else ""
    head = ("target", "objective", "lower bound", "certified", "work")
    return f"<h2>Targets</h2>{_table(head, rows)}{note}"


def _metrics(story: Story) -> str:
    if story.history is None:
        return ""
    said = story.history.last.get("metrics", {})
    whole = "of the whole run" if story.history.last.get("final") else "of its last ten seconds"
    rows = [
        (f.name, float(said[f.name])) for f in fields(DistributedMORSRMetrics) if f.name in said
    ]
    cost = summary(story.run)
    more = f"<p class=note>{_text(cost)}</p>" if cost else ""
    return (
        f"<h2>Metrics (paper, section 8.3), {whole}</h2>{_table(('metric', 'value'), rows)}{more}"
    )


def _failures(story: Story) -> str:
    lines = list(story.result.failures) if story.result is not None else []
    events = story.ledger.events if story.ledger is not None else []
    parts = ["<h2>Failures and evidence</h2>"]
    for title, found in (("Told by the run", lines), ("Recorded in the journal", events),
                         ("Evidence against ranks", story.evidence)):  # fmt: skip
        shown = "".join(f"<li>{_text(line)}</li>" for line in found[: config.REPORT_LINES])
        more = len(found) - config.REPORT_LINES
        shown += f"<li>and {more} more</li>" if more > 0 else ""
        parts.append(f"<p>{title}: {'none' if not found else ''}</p>")
        if found:
            parts.append(f"<ul>{shown}</ul>")
    return "".join(parts)


def _ledger(story: Story) -> str:
    if story.ledger is None:
        return ""
    rows = list(story.ledger.lines)
    tasks = story.ledger.tasks
    if tasks:
        few, many = min(tasks.values()), max(tasks.values())
        rows.append(("tasks", f"{sum(tasks.values())} by {len(tasks)} ranks, {few} to {many} each"))
    return f"<h2>Ledger and audit</h2>{_table(('', ''), rows)}"


def _log(story: Story) -> str:
    if not story.log:
        return ""
    return f"<h2>Last lines of the log</h2><pre>{_text(chr(10).join(story.log[-20:]))}</pre>"


def _comparison(stories: Sequence[Story], pictures: Mapping[str, bytes]) -> str:
    rows: list[tuple[object, ...]] = []
    for story in stories:
        result = story.result
        if result is None:
            rows.append((story.name, "no result", "", "", "", "", ""))
            continue
        digest = solution_digest(story.path / "result.h5").hex()[:16]
        rows.append((
            story.name, float(np.sum(result.objective)), _gap(story), result.ranks,
            float(result.wall_seconds), int(np.sum(result.work)), digest,
        ))  # fmt: skip
    head = ("run", "objective", "gap", "ranks", "seconds", "work", "digest of /solution")
    picture = pictures.get("comparison")
    image = (
        _picture("Comparison", "Runs of equal digest have found the same bits.", picture)
        if picture
        else "<h2>Comparison</h2>"
    )
    return image + _table(head, rows)
