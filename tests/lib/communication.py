"""What distillation adds to the communication of several processes, in bytes.

``python tests/lib/communication.py`` counts a step of two gloo processes each.
"""
import tempfile
from contextlib import contextmanager

import crosskd  # noqa: F401  # first: it may stand in for mmcv._ext

# isort: split
import torch
import torch.distributed as dist
from families import FAMILY
from helpers import (
    KINDS,
    batch,
    build,
    distiller_cfg,
    plain_cfg,
    sdd_cfg,
    wide_teacher,
)
from mmengine.optim import OptimWrapper
from ranks import Ranks, wrapped
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks

from crosskd.compat.mmengine_logging import quiet

FUNCTIONS = ('all_reduce', 'all_gather', 'all_gather_object', 'broadcast',
             'reduce', 'all_gather_into_tensor', 'reduce_scatter_tensor',
             'broadcast_object_list', 'gather', 'scatter')


@contextmanager
def counted():
    """Calls and bytes of what a process sends through torch.distributed."""
    found = dict(gradients=0, calls=0, others=0)
    before = {name: getattr(dist, name) for name in FUNCTIONS}

    def counting(name):
        def call(tensor, *args, **kwargs):
            if name != 'all_reduce':
                raise NotImplementedError(name)
            size = tensor.numel() * tensor.element_size()
            # the buckets of DDP are waited for later
            if kwargs.get('async_op'):
                found['gradients'] += size
            else:
                found['calls'] += 1
                found['others'] += size
            return before[name](tensor, *args, **kwargs)
        return call

    try:
        for name in FUNCTIONS:
            setattr(dist, name, counting(name))
        yield found
    finally:
        for name, function in before.items():
            setattr(dist, name, function)


def bytes_of_a_step(rank, cfg, size=(64, 64)):
    """Of the second step: the buckets are laid anew after the first."""
    with quiet():
        model = wrapped(build(cfg))
    model.register_comm_hook(None, default_hooks.allreduce_hook)
    model.train()
    optim = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.0))
    images, samples = batch((2, 3), size, seed=rank)
    data = dict(inputs=list(images * 50 + 120), data_samples=samples)
    for _ in range(2):
        with counted() as found:
            model.train_step(data, optim)
    return found


def main():
    pkd = dict(type='PKDLoss', loss_weight=1.0)
    rows = {}
    for kind in KINDS:
        cfg = distiller_cfg(kind)
        rows.update({
            f'{kind}, alone': plain_cfg(kind),
            f'{kind}, {FAMILY[kind].distiller}': cfg,
            f'{kind}, the same and PKD': distiller_cfg(
                kind, loss_feat_kd=pkd),
            f'{kind}, SDD': sdd_cfg(kind),
            f'{kind}, CrossKD, teacher twice as wide': wide_teacher(cfg)})
    with tempfile.TemporaryDirectory() as folder:
        ranks = Ranks(folder)
        print('| | gradients, bytes | other all_reduce | bytes of these |\n'
              '|---|---|---|---|')
        for name, cfg in rows.items():
            first, second = ranks(bytes_of_a_step, cfg)
            assert first == second, 'the ranks differ'
            print(f'| {name} | {first["gradients"]} | {first["calls"]} | '
                  f'{first["others"]} |', flush=True)
        ranks.stop()


if __name__ == '__main__':
    main()
