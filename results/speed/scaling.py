"""The cost of a distilled step over batch, area, classes, anchors, levels.

``python results/speed/scaling.py`` writes ``results/speed/scaling.json`` and
prints the table of docs/costs.md.  One thread, and its CPU time, in which
what else the machine does hardly counts.
"""
import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import numpy as np
import torch
from mmengine.config import Config

from crosskd.apps.benchmark import Setting
from crosskd.apps.benchmark.machine import machine
from crosskd.apps.benchmark.silence import silence
from crosskd.apps.benchmark.steps import NAMES, Steps
from crosskd.apps.benchmark.timeline import Timeline

CONFIGS = Path(__file__).parent.parent.parent / 'configs/crosskd'
GFL = 'crosskd_r18_gflv1_r50_fpn_1x_coco.py'
RETINA = 'crosskd_r18_retinanet_r50_fpn_1x_coco.py'
SIZE = (256, 256)
STRIDES = (8, 16, 32, 64, 128)
# what only the distilled step has
OURS = ('cross_head', 'rest')


def changed(config: str, head: dict, neck: dict | None = None) -> dict:
    """Options that change the heads of student and teacher alike."""
    model = Config.fromfile(CONFIGS / config).model
    teacher = Config.fromfile(
        Config._get_cfg_path(model.teacher_config, '')[0]).model
    options = {f'model.bbox_head.{k}': v for k, v in head.items()}
    teacher = Config(dict(model=teacher))
    teacher.merge_from_dict(options)
    more = {f'model.neck.{k}': v for k, v in (neck or {}).items()}
    teacher.merge_from_dict(more)
    return {**options, **more, 'model.teacher_config': dict(
        _delete_=True, model=teacher.model.to_dict())}


def axes() -> Iterator[tuple[str, str, list[tuple[float, Setting]]]]:
    """Name, what is counted, and (count, setting) of each point."""
    def at(config: str, options: dict | None = None,
           size: tuple[int, int] = SIZE, batch: int = 1) -> Setting:
        return Setting(str(CONFIGS / config), options or {}, size, batch,
                       threads=1)

    yield 'batch', 'images', [(n, at(GFL, batch=n)) for n in (1, 2, 4)]
    yield 'area', 'pixels', [(h * w, at(GFL, size=(h, w)))
                             for h, w in ((256, 256), (256, 384), (384, 384))]
    for name, config in (('GFL', GFL), ('RetinaNet', RETINA)):
        yield f'classes, {name}', 'classes', [
            (n, at(config, changed(config, dict(num_classes=n))))
            for n in (20, 80, 320)]
    generator = Config.fromfile(CONFIGS / RETINA).model.bbox_head[
        'anchor_generator'].to_dict()
    yield 'anchors, RetinaNet', 'anchors a location', [
        (scales * ratios, at(RETINA, changed(RETINA, dict(
            anchor_generator=dict(
                generator, scales_per_octave=scales,
                ratios=[0.5, 1.0, 2.0][:ratios])))))
        for scales, ratios in ((1, 1), (1, 3), (3, 3))]
    generator = Config.fromfile(CONFIGS / GFL).model.bbox_head[
        'anchor_generator'].to_dict()
    yield 'levels, GFL', 'levels', [
        (n, at(GFL, changed(
            GFL, dict(anchor_generator=dict(
                generator, strides=list(STRIDES[:n]))),
            dict(num_outs=n))))
        for n in (3, 4, 5)]


def measure(points: list[tuple[float, Setting]], rounds: int) -> list[dict]:
    """Milliseconds at each point; all points take turns."""
    steps = [Steps(setting) for _, setting in points]
    seen: list[list[dict]] = [[] for _ in steps]
    for number in range(rounds + 1):
        for one, results in zip(steps, seen):
            timelines = {name: one.run(name) for name in NAMES}
            if number:  # the first is to warm up
                results.append(timelines)
    found = []
    for (count, _), results in zip(points, seen):
        parts = {name: {part: median(t[name].parts()[part] for t in results)
                        for part in results[0][name].parts()}
                 for name in NAMES}
        total = {name: median(t[name].milliseconds for t in results)
                 for name in NAMES}
        ours = sum(ms for part, ms in parts['distilled'].items()
                   if part in OURS or part.startswith('loss_'))
        back = parts['distilled']['backward'] - parts['student']['backward']
        found.append(dict(count=count, total=total, parts=parts,
                          added=ours + back))
    return found


def line(x: list[float], y: list[float]) -> dict[str, float]:
    """Slope, value at 0 and R² of the best straight line."""
    slope, at_zero = np.polyfit(x, y, 1)
    left = np.square(np.polyval([slope, at_zero], x) - y).sum()
    spread = np.square(np.subtract(y, np.mean(y))).sum()
    return dict(slope=slope, at_zero=at_zero, r2=1 - left / spread)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--out', default=Path(__file__).parent)
    args = parser.parse_args()
    Timeline.seconds = staticmethod(time.process_time)
    torch.set_num_threads(1)
    result: dict = dict(rounds=args.rounds,
                        machine=machine(torch.device('cpu')), axes={})
    print('| over | counted | distilled step, ms | R² | added by '
          'distillation, ms | R² |\n|---|---|---|---|---|---|')
    for name, unit, points in axes():
        with silence():
            found = measure(points, args.rounds)
        x = [one['count'] for one in found]
        whole = [one['total']['distilled'] for one in found]
        added = [one['added'] for one in found]
        fits = dict(distilled=line(x, whole), added=line(x, added))
        result['axes'][name] = dict(unit=unit, points=found, **fits)
        print(f'| {name} | {unit}: {", ".join(map(str, x))} | '
              f'{", ".join(f"{ms:.0f}" for ms in whole)} | '
              f'{fits["distilled"]["r2"]:.4f} | '
              f'{", ".join(f"{ms:.0f}" for ms in added)} | '
              f'{fits["added"]["r2"]:.4f} |', flush=True)
    Path(args.out, 'scaling.json').write_text(
        json.dumps(result, indent=1) + '\n')


if __name__ == '__main__':
    main()
