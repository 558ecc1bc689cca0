"""Does a long training keep what it takes?  Run by hand, not by pytest.

``python tests/lib/soak.py [--steps 2000] [--dir DIR]`` trains a GFL student
with CrossKD and SDD on generated images of varying sizes, and compares memory,
open files and threads after a tenth of the steps with those at the end.
"""
import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from experiments import experiment, model_cfg  # noqa: E402
from helpers import SDD, distiller_cfg  # noqa: E402
from mmdet.registry import HOOKS  # noqa: E402
from mmengine.config import Config  # noqa: E402
from mmengine.hooks import Hook  # noqa: E402

from crosskd.apps.demo import shapes  # noqa: E402
from crosskd.engine.runner import DistillationRunner  # noqa: E402

PAGE = os.sysconf('SC_PAGE_SIZE') / 2**20
TOLERATED = 0.02


@HOOKS.register_module()
class Watch(Hook):
    """What this process holds, ten times a run."""

    def __init__(self, interval):
        self.interval = interval
        self.seen = []

    def after_train_iter(self, runner, batch_idx, data_batch=None,
                         outputs=None):
        if self.every_n_train_iters(runner, self.interval):
            resident = Path('/proc/self/statm').read_text().split()[1]
            self.seen.append(dict(
                step=runner.iter + 1,
                rss_mib=round(int(resident) * PAGE, 1),
                files=len(os.listdir('/proc/self/fd')),
                threads=len(os.listdir('/proc/self/task'))))
            print(self.seen[-1], flush=True)


def config(root, steps):
    model = model_cfg(distiller_cfg('gfl'))
    model['kd_cfg'].update(loss_sdd=SDD, loss_feat_kd=dict(type='PKDLoss'))
    cfg = experiment(model, load_from=None)
    train = cfg['train_dataloader']
    train.update(batch_size=2, num_workers=2, persistent_workers=True,
                 sampler=dict(type='InfiniteSampler', shuffle=True))
    train['dataset']['pipeline'] = [
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations', with_bbox=True),
        dict(type='RandomResize', scale=[(64, 64), (192, 192)],
             keep_ratio=True),
        dict(type='RandomFlip', prob=0.5),
        dict(type='PackDetInputs')
    ]
    for part in ('train', 'val', 'test'):
        dataset = cfg[f'{part}_dataloader']['dataset']
        dataset['data_root'] = str(root / 'data/shapes')
        if part != 'train':
            cfg[f'{part}_evaluator']['ann_file'] = str(
                root / 'data/shapes/val.json')
    cfg['train_cfg'] = dict(by_epoch=False, max_iters=steps,
                            val_interval=steps // 4)
    cfg['param_scheduler'] = []
    cfg['default_hooks']['checkpoint'].update(by_epoch=False,
                                              interval=steps // 4)
    cfg['default_hooks']['logger']['interval'] = 50
    cfg['log_processor'] = dict(by_epoch=False)
    cfg['custom_hooks'] = [dict(type='Watch', interval=steps // 10)]
    cfg['work_dir'] = str(root / 'soak')
    path = root / 'soak.py'
    path.write_text('\n'.join(f'{k} = {v!r}' for k, v in cfg.items()))
    return Config.fromfile(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--steps', type=int, default=2000)
    parser.add_argument('--dir', type=Path, default=None)
    args = parser.parse_args()
    root = args.dir or Path(tempfile.mkdtemp())
    for part, count in (('train', 64), ('val', 8)):
        shapes.generate(root / 'data/shapes', part, count, side=128)
    runner = DistillationRunner.from_cfg(config(root, args.steps))
    runner.train()
    seen = next(h for h in runner.hooks if isinstance(h, Watch)).seen
    first, last = seen[0], seen[-1]
    growth = last['rss_mib'] / first['rss_mib'] - 1
    print(json.dumps(dict(first=first, last=last,
                          growth_percent=round(100 * growth, 2))))
    same = all(first[k] == last[k] for k in ('files', 'threads'))
    sys.exit(not (same and abs(growth) <= TOLERATED))


if __name__ == '__main__':
    main()
