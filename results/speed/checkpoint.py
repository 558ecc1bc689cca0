"""Reading a checkpoint through the allow-list, against ``torch.load``.

``python results/speed/checkpoint.py`` writes a checkpoint as mmengine saves
one in a training of a GFL-R101 (weights, momentum, message hub), reads it
both ways in turns, and writes ``results/speed/checkpoint.json``.
"""
import argparse
import json
import tempfile
import time
from pathlib import Path
from statistics import median

import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope

from crosskd.checkpoints.loading import load_checkpoint

CONFIG = 'mmdet::gfl/gfl_r101_fpn_ms-2x_coco.py'
STEPS = 7330  # of an epoch of COCO at batch size 16


def save(path: Path) -> None:
    """Write the checkpoint of a training."""
    cfg = Config.fromfile(Config._get_cfg_path(CONFIG, '')[0])
    init_default_scope('mmdet')
    cfg.model.backbone.init_cfg = None
    model = MODELS.build(cfg.model)
    optim = build_optim_wrapper(model, cfg.optim_wrapper)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.zeros_like(parameter)
    optim.step()  # now there is a momentum
    hub = MessageHub.get_instance('benchmark')
    for step in range(STEPS):
        hub.update_scalars({f'train/{name}': 1.0 / (1 + step) for name in (
            'lr', 'data_time', 'time', 'loss', 'loss_cls', 'loss_bbox',
            'loss_dfl')})
    hub.update_info('epoch', 1)
    torch.save(dict(
        meta=dict(epoch=1, iter=STEPS, cfg=cfg.pretty_text,
                  dataset_meta=dict(classes=('x', ) * 80)),
        state_dict=model.state_dict(), optimizer=optim.state_dict(),
        message_hub=hub.state_dict()), path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--repeats', type=int, default=5)
    args = parser.parse_args()
    seen: dict[str, list[float]] = dict(torch_load=[], allow_list=[])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, 'epoch_1.pth')
        save(path)
        ways = dict(
            torch_load=lambda: torch.load(  # noqa: S614  written above
                path, map_location='cpu', weights_only=False),
            allow_list=lambda: load_checkpoint(str(path), 'checkpoint', ''))
        for number in range(args.repeats + 1):
            for name, way in ways.items():
                begin = time.process_time()
                way()
                if number:  # the first is to warm up
                    seen[name].append(time.process_time() - begin)
        megabytes = path.stat().st_size / 1e6
    ours, theirs = median(seen['allow_list']), median(seen['torch_load'])
    result = dict(megabytes=megabytes, repeats=args.repeats, cpu_seconds=seen,
                  ratio=ours / theirs)
    Path(__file__).with_suffix('.json').write_text(
        json.dumps(result, indent=1) + '\n')
    print(f'{megabytes:.0f} MB: torch.load {theirs:.3f} s, through the '
          f'allow-list {ours:.3f} s of CPU time, ratio {ours / theirs:.2f}')


if __name__ == '__main__':
    main()
