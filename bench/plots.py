"""The plots in docs/images/: needs the extra `bench` (matplotlib), which nothing else here does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median

from bench import million
from bench.million import Step


def scaling(steps: Sequence[Step], folder: Path) -> str:
    """Draw what many known files cost into `scaling.png`, and keep the figures beside it. Returns a line about it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "scaling.json").write_text(json.dumps([asdict(step) for step in steps]), encoding="utf-8")
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return "no plots: matplotlib is not here (python3 bootstrap.py bench)"
    known = [step.files for step in steps]
    figure = Figure(figsize=(11, 6.5), layout="constrained")
    panels = figure.subplots(2, 3).flat
    for axes, (title, values, target) in zip(
        panels,
        [
            ("start-up sweep, files/s", [median(step.of(million.rate)) for step in steps], 150_000),
            ("one new file, CPU ms", [median(step.of(lambda run: run.cpu)) for step in steps], None),
            ("one new file, close to whole, p99 ms", [median(step.of(million.slowest)) for step in steps], 250),
            ("resident, MiB", [max(step.of(lambda run: run.resident)) / 2**20 for step in steps], 150),
            ("ledger, bytes per file", [step.ledger for step in steps], 350),
            ("/metrics, ms", [1000 * median(step.of(lambda run: run.pages["/metrics"])) for step in steps], 50),
        ],
        strict=True,
    ):
        axes.plot(known, values, marker="o")
        if target is not None:
            axes.axhline(target, color="grey", linestyle="--", linewidth=1)
        axes.set_xscale("log")
        axes.set_ylim(0, 1.15 * max(*values, target or 0))
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("files known", fontsize=9)
        axes.grid(alpha=0.3)
    figure.suptitle("Dropline: what many known files cost (dashed: the aim)")
    figure.savefig(folder / "scaling.png", dpi=110)
    return f"drawn: {folder / 'scaling.png'}"


def ratios(title: str, named: Sequence[tuple[str, float]], folder: Path, name: str) -> str:
    """Draw wall clock as multiples of the reference, a bar per contender. Returns a line about it."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return "no plots: matplotlib is not here (python3 bootstrap.py bench)"
    figure = Figure(figsize=(8, 0.4 * len(named) + 1.2), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh([who for who, _ in named], [value for _, value in named], color="#4a7fb5")
    axes.bar_label(bars, fmt="%.2f", padding=3, fontsize=9)
    axes.invert_yaxis()
    axes.set_xlabel(f"x {named[0][0]} (wall clock, median of paired runs)", fontsize=9)
    axes.set_title(title, fontsize=10)
    figure.savefig(folder / f"{name}.png", dpi=110)
    return f"drawn: {folder / f'{name}.png'}"
