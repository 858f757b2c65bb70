"""Makes the report of a run: pictures, page, files."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from morsr_mpi.app.files import replace_file
from morsr_mpi.app.report.figures import PICTURES, comparison, pyplot
from morsr_mpi.app.report.page import page
from morsr_mpi.app.report.story import Story, read_story
from morsr_mpi.base import config
from morsr_mpi.base.errors import InternalError, MorsrError, UsageError


@dataclass(frozen=True)
class Report:
    """Where it lies, and what it could not show."""

    page: Path
    pictures: tuple[Path, ...]
    missing: tuple[str, ...]


def make_report(directories: Sequence[Path], out: Path | None = None) -> Report:
    """Write `report.html` and `report/*.png` about the first run, compared with the others.

    out: another directory to write to. Raises InputError when the first has nothing to show,
    UsageError without matplotlib or where nothing can be written.
    """
    pyplot()
    stories = [read_story(directories[0])]
    for path in directories[1:]:
        try:
            stories.append(read_story(path))
        except MorsrError as exc:
            stories[0].missing.append(f"comparison with {path}: {exc}")
    pictures = _draw(stories)
    text = page(stories, pictures).encode()
    if len(text) > config.REPORT_BYTES:
        raise InternalError(f"a page of {len(text)} bytes")
    where = directories[0] if out is None else out
    try:
        folder = where / "report"
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in pictures.items():
            replace_file(folder / f"{name}.png", data)
        replace_file(where / "report.html", text)
    except OSError as exc:
        raise UsageError(
            f"{where} cannot be written ({exc.strerror or exc}); choose another place with --out"
        ) from None
    paths = tuple(folder / f"{name}.png" for name in pictures)
    return Report(where / "report.html", paths, tuple(stories[0].missing))


def _draw(stories: list[Story]) -> dict[str, bytes]:
    """Draw what there is to draw; a picture that fails is named as missing."""
    found: dict[str, bytes] = {}
    story = stories[0]
    jobs: list[tuple[str, Any]] = [("comparison", lambda: comparison(stories))]
    jobs += [(name, lambda draw=draw: draw(story)) for name, _, _, draw in PICTURES]
    for name, draw in jobs:
        try:
            figure = draw()
            if figure is not None:
                data = io.BytesIO()
                figure.savefig(data, format="png")
                found[name] = data.getvalue()
        except MorsrError:
            raise
        except Exception as exc:  # odd data of a foreign or damaged run
            story.missing.append(f"picture {name}: {type(exc).__name__}: {exc}")
    return found
