"""The cost of a step while all distillation losses are off.

``python results/speed/schedules.py`` measures a step of the plain student,
one of the distilled student, and one of the latter with every loss off by a
schedule.  They take turns, in one thread; CPU time, in which what else the
machine does hardly counts.  It writes ``results/speed/schedules.json``.
"""
import argparse
import json
import time
from pathlib import Path
from statistics import median

import torch
from mmengine.logging import MessageHub

from crosskd.apps.benchmark import Setting
from crosskd.apps.benchmark.machine import machine
from crosskd.apps.benchmark.silence import silence
from crosskd.apps.benchmark.steps import Steps

CONFIG = 'crosskd::crosskd/crosskd_r18_gflv1_r50_fpn_1x_coco.py'
SIZE, BATCH = (256, 384), 2
STOP = dict(type='StopWeight', begin=0, by_epoch=False)
LOSSES = 'loss_cls_kd', 'loss_reg_kd'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--repeats', type=int, default=9)
    parser.add_argument('--warm-up', type=int, default=2)
    args = parser.parse_args()
    seen: dict[str, list[float]] = dict(student=[], off=[], distilled=[])
    with silence():
        # schedules go by the iterations that a Runner counts
        MessageHub.get_current_instance().update_info('iter', 0)
        on = Steps(Setting(CONFIG, {}, SIZE, BATCH, threads=1),
                   ('student', 'distilled'))
        off = Steps(Setting(CONFIG, {
            'model.kd_cfg.schedule': dict.fromkeys(LOSSES, STOP)}, SIZE,
            BATCH, threads=1), ('distilled', ))
        for number in range(args.warm_up + args.repeats):
            for name, steps, step in (('student', on, 'student'),
                                      ('off', off, 'distilled'),
                                      ('distilled', on, 'distilled')):
                begin = time.process_time()
                steps.run(step)
                if number >= args.warm_up:
                    seen[name].append(time.process_time() - begin)
    seconds = {name: median(each) for name, each in seen.items()}
    ratios = {name: seconds[name] / seconds['student']
              for name in ('off', 'distilled')}
    Path(__file__).with_suffix('.json').write_text(json.dumps(dict(
        config=CONFIG, size=SIZE, batch=BATCH,
        machine=machine(torch.device('cpu')), cpu_seconds=seen,
        ratios=ratios), indent=1) + '\n')
    print(f"student {seconds['student']:.3f} s; all losses off: "
          f"{ratios['off']:.3f} times as long, distilled: "
          f"{ratios['distilled']:.3f} times")


if __name__ == '__main__':
    main()
