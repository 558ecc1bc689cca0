"""Comparing work directories: evaluate, draw, write."""
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmdet.utils import register_all_modules

from ...compat.mmengine_checkpoints import restrict_mmengine
from . import curves, logs
from .data import read_test_sets
from .errors_by_kind import counted
from .evaluation import evaluate
from .figures import rows as figures
from .gains import gains
from .judging import Judged, judge
from .page import page
from .page_pictures import Example
from .pictures import save_picture
from .roles import chosen, roles
from .verdict import verdict
from .work_dirs import group, named, read_work_dir

FILES = ('compare.html', 'compare.json', 'curves.png', 'pictures.png')


def compare(folders: Sequence[str | Path], out: str | Path,
            names: Sequence[str] | None = None, checkpoint: str = 'last',
            images: int = 30, score: float = 0.3,
            baseline: str | Path | None = None) -> list[dict[str, Any]]:
    """Compare trained detectors on the test set of their configs.

    Every checkpoint is evaluated once; see
    :func:`~crosskd.apps.compare.evaluation.evaluate`.

    Args:
        folders: work directories.  Those that differ only by the seed are one
            detector; the pictures are of the first.
        out: folder for :data:`FILES`.
        names: names of the detectors; by default those of the folders.
        checkpoint: ``'last'`` or ``'best'``.
        images: number of images on the page.
        score: detections with lower scores are not drawn, and not counted as
            right or wrong.
        baseline: name or work directory of the detector over which the gain
            of all others is measured.  By default, the gain of distilled
            detectors is measured over the plain detector of the same class
            and size.

    Returns:
        list: the rows of the table, as in ``compare.json``.

    Raises:
        FileNotFoundError, ValueError: something is missing in a folder, or the
            detectors cannot be compared; the message names folder and file.
        RuntimeError: a test failed.
    """
    read = [read_work_dir(Path(f), checkpoint)
            for f in dict.fromkeys(map(os.path.normpath, folders))]
    groups = named(group(read), names)
    over = None if baseline is None else chosen(baseline, groups)
    register_all_modules()
    data = read_test_sets(read)
    restrict_mmengine()
    results = [[evaluate(member, data) for member in one.members]
               for one in groups]
    histories = [[logs.history(member.folder) for member in one.members]
                 for one in groups]
    panels = curves.panels(histories)
    truth = {number: data.boxes[number] for number in data.sizes
             if number in data.images}
    objects = {number: [o for o in boxes if not o.get('iscrowd')]
               for number, boxes in truth.items()}
    judged: list[dict[Any, Judged]] = []
    for first, *_ in results:
        boxes = first.boxes(score)
        judged.append({
            number: judge(boxes.get(number, []), objects[number],
                          [o for o in every if o.get('iscrowd')])
            for number, every in truth.items()})
    found = roles(groups, [first.parameters for first, *_ in results], over)
    rows = figures(
        groups, results, histories, found,
        gains(groups, results, found, judged, data),
        [counted(one, objects, score) for one in judged])
    examples = [Example(number, data.path(number),
                    [one[number] for one in judged]) for number in truth]
    Path(out).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out) as scratch:
        html, saved, curve, picture = (Path(scratch, f) for f in FILES)
        saved.write_text(json.dumps(dict(
            test_set=data.source, images=len(examples),
            classes=list(data.names.values()), verdict=verdict(rows),
            detectors=rows),
            indent=1) + '\n')
        curves.save_png(groups, panels, curve)
        save_picture(groups, judged, data, score, picture)
        html.write_text(
            page(groups, rows, panels, examples, data, images),
            encoding='utf-8')
        for file in FILES:
            os.replace(Path(scratch, file), Path(out, file))
    return rows
