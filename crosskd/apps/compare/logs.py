"""Reading the logs in the work directory of a training."""
import json
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

SCALARS = '*/vis_data/scalars.json'
AP = 'coco/bbox_mAP'


def sessions(folder: Path) -> list[Path]:
    """The files of scalars, newest last; a resumed run has several."""
    return sorted(folder.glob(SCALARS))


def history(folder: Path) -> list[dict[str, Any]]:
    """What the training logged, in order; a repeated step counts once."""
    entries: dict[tuple, dict] = {}
    for file in sessions(folder):
        for entry in _entries(file):
            entries['lr' in entry, entry['step']] = entry
    return list(entries.values())


def _entries(file: Path) -> Iterator[dict[str, Any]]:
    # only part of a line can be broken
    for line in file.read_text(encoding='utf-8',
                               errors='replace').splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue  # the last line of a killed training
        if isinstance(entry, dict) and isinstance(entry.get('step'), int):
            yield entry


def ap_curve(entries: list[dict]) -> list[tuple[int, float]]:
    """(epoch or iteration, AP) of every validation, from a history."""
    return sorted((e['step'], e[AP]) for e in entries if AP in e)


def loss_curves(entries: list[dict]) -> dict[str, list[tuple[int, float]]]:
    """(iteration, value) of every loss except their sum, from a history."""
    curves: dict[str, list] = {}
    for entry in sorted((e for e in entries if 'lr' in e),
                        key=lambda e: e['step']):
        for key, value in entry.items():
            if key.startswith('loss_'):
                curves.setdefault(key, []).append((entry['step'], value))
    return curves


def by_epoch(entries: list[dict]) -> bool:
    """Whether the training counts epochs."""
    return any('lr' in e and 'epoch' in e for e in entries)


def step_time(entries: list[dict]) -> float | None:
    """Median seconds of a training iteration, with data loading."""
    times = [e['time'] for e in entries if 'lr' in e and 'time' in e]
    return median(times) if times else None
