"""Time and memory of the data checks on a file as large as COCO's.

``python results/speed/data_checks.py FOLDER`` makes the annotations in a
folder (250 MB, and 118,000 empty image files), measures in fresh processes
that take turns, writes ``results/speed/data_checks.json`` and prints a table.
CPU time, in which what else the machine does hardly counts.
"""
import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import numpy as np

IMAGES, BOXES, CLASSES = 118_000, 860_000, 80
WHAT = dict(coco='pycocotools: COCO(file)',
            mmdet='mmdet: the data set, built',
            checked='the same, with the checks of this package',
            read='of these: reading and looking through the file',
            kept='of these: comparing what was built with it',
            files='of these: whether each image file is there')
HERE = Path(__file__).parent


def make(folder: Path) -> Path:
    """Write annotations whose entries look like COCO's."""
    file = folder / 'annotations.json'
    if file.is_file():
        return file
    rng = np.random.default_rng(0)
    (folder / 'images').mkdir(parents=True, exist_ok=True)
    images = [dict(license=3, file_name=f'{i:012}.jpg', height=480, width=640,
                   coco_url=f'https://localhost/{i:012}.jpg',
                   date_captured='2013-11-14 11:18:45', id=i)
              for i in range(1, IMAGES + 1)]
    for image in images:
        (folder / 'images' / image['file_name']).touch()
    owner = rng.integers(1, IMAGES + 1, BOXES)
    corner = rng.uniform(0, (400, 300), (BOXES, 2)).round(2)
    side = rng.uniform(5, (240, 180), (BOXES, 2)).round(2)
    category = rng.integers(1, CLASSES + 1, BOXES)
    points = (corner[:, None] + side[:, None] * rng.random((BOXES, 8, 2))
              ).round(2).reshape(BOXES, 16)
    annotations = [
        dict(segmentation=[p], area=round(w * h / 2, 2), iscrowd=0,
             image_id=image, bbox=[x, y, w, h], category_id=kind, id=i)
        for i, (p, image, (x, y), (w, h), kind) in enumerate(zip(
            points.tolist(), owner.tolist(), corner.tolist(), side.tolist(),
            category.tolist()), 1)]
    categories = [dict(supercategory='thing', id=i, name=f'class {i}')
                  for i in range(1, CLASSES + 1)]
    file.write_text(json.dumps(dict(info={}, licenses=[], images=images,
                                    annotations=annotations,
                                    categories=categories)))
    return file


def run(what: str, file: Path) -> dict[str, dict]:
    """CPU seconds of one way in this process, and the most memory it had."""
    import contextlib
    import os

    from crosskd.apps.benchmark.memory import resident_peak
    from crosskd.apps.benchmark.silence import silence
    loader = dict(dataset=dict(
        type='CocoDataset', _scope_='mmdet', ann_file=str(file),
        data_prefix=dict(img=str(file.parent / 'images') + os.sep),
        metainfo=dict(classes=tuple(
            f'class {i}' for i in range(1, CLASSES + 1))),
        filter_cfg=dict(filter_empty_gt=True, min_size=32),
        pipeline=[dict(type='LoadImageFromFile')]))
    from mmdet.registry import DATASETS
    from mmdet.utils import register_all_modules
    from pycocotools.coco import COCO
    from torch import nn

    from crosskd.data_checks import check, check_data
    parts = {}

    def timed(name, *functions):
        def make_timed(function):
            def call(*args):
                begin = time.process_time()
                result = function(*args)
                parts[name] = (parts.get(name, 0) + time.process_time()
                               - begin)
                return result
            return call
        for function in functions:
            setattr(check, function, make_timed(getattr(check, function)))

    with silence(), contextlib.redirect_stdout(sys.stderr):
        register_all_modules()
        before = resident_peak()
        begin = time.process_time()
        if what == 'coco':
            kept = COCO(str(file))
        elif what == 'mmdet':
            kept = DATASETS.build(loader['dataset'])
            kept.full_init()
        else:
            timed('read', '_read_files')
            timed('kept', 'look_at', 'compare')
            timed('files', 'check_images')
            kept = check_data('train_dataloader', loader, nn.Module())
        seconds = time.process_time() - begin
    del kept
    return {what: dict(seconds=seconds, megabytes=resident_peak() - before),
            **{name: dict(seconds=s) for name, s in parts.items()}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('folder', type=Path)
    parser.add_argument('--repeats', type=int, default=3)
    parser.add_argument('--run', choices=['coco', 'mmdet', 'checked'],
                        help='one of them, in this process')
    args = parser.parse_args()
    file = make(args.folder)
    if args.run:
        print(json.dumps(run(args.run, file)))
        return
    seen: dict[str, list[dict]] = {}
    for _ in range(args.repeats):
        for what in ('coco', 'mmdet', 'checked'):
            done = subprocess.run(  # noqa: S603
                [sys.executable, __file__, str(args.folder), '--run', what],
                check=True, text=True, stdout=subprocess.PIPE)
            for name, one in json.loads(
                    done.stdout.strip().splitlines()[-1]).items():
                seen.setdefault(name, []).append(one)
    found = {name: {key: median(one[key] for one in several)
                    for key in several[0]} for name, several in seen.items()}
    result = dict(images=IMAGES, boxes=BOXES, classes=CLASSES,
                  file_mb=file.stat().st_size / 1e6, repeats=args.repeats,
                  **found)
    (HERE / 'data_checks.json').write_text(json.dumps(result, indent=1)
                                           + '\n')
    print('| | CPU seconds | × COCO() | peak MB | × COCO() |\n'
          '|---|---|---|---|---|')
    for name, said in WHAT.items():
        one = found[name]
        mb = one.get('megabytes')
        memory = (f'{mb:.0f} | {mb / found["coco"]["megabytes"]:.2f}'
                  if mb is not None else '|')
        print(f'| {said} | {one["seconds"]:.1f} | '
              f'{one["seconds"] / found["coco"]["seconds"]:.2f} | {memory} |')


if __name__ == '__main__':
    main()
