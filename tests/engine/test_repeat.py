"""What is repeated when a run is resumed, and what is warned of."""
import copy
import random
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from data_sets import Images
from helpers import distiller_cfg, plain_cfg
from mmdet.registry import HOOKS, MODELS
from mmengine.dataset import worker_init_fn
from mmengine.hooks import Hook
from mmengine.runner import utils as runner_utils
from resuming import made, resumed_and_whole
from torch.utils.data import DataLoader

from crosskd.engine.hooks import RepeatableEpochsHook
from crosskd.engine.hooks.not_repeated import what_is_not_repeated

# -- seeds -------------------------------------------------------------------


def seed_now():
    """What numpy, random and torch were seeded with last."""
    seed = int(np.random.get_state()[1][0])
    assert torch.initial_seed() == seed
    now = random.getstate()
    random.seed(seed)
    assert random.getstate() == now
    return seed


def seeds(monkeypatch, workers, ranks, diff_rank_seed, seed=7, epochs=5):
    """Seeds by (epoch, rank, worker); a main process is worker None."""
    found = {}
    for rank in range(ranks):
        monkeypatch.setattr(runner_utils, 'get_rank', lambda r=rank: r)
        # as the Runner seeds itself and builds its loader
        own = runner_utils.set_random_seed(seed, False, diff_rank_seed)
        loader = DataLoader([0], num_workers=workers, worker_init_fn=partial(
            worker_init_fn, num_workers=workers, rank=rank, seed=own))
        for epoch in range(epochs):
            RepeatableEpochsHook().before_train_epoch(SimpleNamespace(
                train_dataloader=loader, seed=own, rank=rank,
                world_size=ranks, epoch=epoch, model=torch.nn.Module(),
                _randomness_cfg=dict(diff_rank_seed=diff_rank_seed)))
            found[epoch, rank, None] = seed_now()
            for worker in range(workers):
                loader.worker_init_fn(worker)
                found[epoch, rank, worker] = seed_now()
    return found


@pytest.mark.parametrize('ranks', [1, 2, 3, 8])
@pytest.mark.parametrize('workers', [0, 1, 2, 5])
def test_no_two_workers_have_the_same_seed(monkeypatch, workers, ranks):
    """Nor do the main processes of ranks that are to differ."""
    for differ in (False, True):
        for seed in (7, 2**32 - 50):
            found = seeds(monkeypatch, workers, ranks, differ, seed)
            assert found == seeds(monkeypatch, workers, ranks, differ, seed)
            of_workers = [s for (_, _, w), s in found.items()
                          if w is not None or differ]
            assert len(set(of_workers)) == len(of_workers)
            main = {(e, r): s for (e, r, w), s in found.items() if w is None}
            by_epoch = [{main[e, r] for r in range(ranks)} for e in range(5)]
            assert all(len(s) == (ranks if differ else 1) for s in by_epoch)
            assert len(set.union(*by_epoch)) == sum(map(len, by_epoch))


def test_seeds_of_ranks_that_do_not_differ_are_those_of_before(monkeypatch):
    found = seeds(monkeypatch, 2, 3, False)
    assert found[0, 0, None] == 7 and found[1, 2, None] == 7 + 6
    assert found[1, 2, 1] == 7 + 6 + 2 * 2 + 1


# -- runs --------------------------------------------------------------------

RESIZE = dict(type='BatchSyncRandomResize', random_size_range=(64, 160),
              interval=3, size_divisor=32)


@MODELS.register_module()
class ResizeByEachRank(torch.nn.Module):
    """Remembers a size, and counts; without any hub."""

    def __init__(self):
        super().__init__()
        self.rank, self.size, self.count = 0, None, 0

    def forward(self, inputs, samples):
        self.count += 1
        if self.count % 3 == 1:
            self.size = (random.choice((64, 96)), random.choice((64, 96)))
        shown = torch.nn.functional.interpolate(inputs, self.size)
        for sample in samples:
            sample.set_metainfo(dict(
                img_shape=self.size, pad_shape=self.size,
                batch_input_shape=self.size))
        return shown, samples


@pytest.mark.parametrize('augment', [RESIZE, dict(type='ResizeByEachRank')])
def test_what_augmentation_remembers_in_the_model_is_resumed(tmp_path,
                                                             augment):
    torch.testing.assert_close(
        *resumed_and_whole(tmp_path, augments=[augment]), rtol=0, atol=0)
    saved = torch.load(tmp_path / 'whole/epoch_1.pth', weights_only=False)
    # and no more than that: a rank is each process's own
    (name, ), (changed, ) = zip(*saved['module_attributes'].items())
    assert name == 'data_preprocessor.batch_augments.0'
    assert 'rank' not in changed


def test_what_a_hook_sets_is_no_state(tmp_path):
    """A run that is resumed without the hook stops at what is not finite."""
    skip = dict(hooks=[dict(type='SkipNonFiniteHook')])
    for resume in (dict(), dict(resume=True, load_from=str(
            tmp_path / 'epoch_1.pth'))):
        made(tmp_path, 2, **copy.deepcopy(skip), **resume)
        saved = torch.load(tmp_path / 'epoch_2.pth', weights_only=False)
        assert 'module_attributes' not in saved


def test_what_layers_count_is_resumed(tmp_path):
    """DropBlock drops more and more, by a counter of its own."""
    model = distiller_cfg('gfl')
    model['backbone']['plugins'] = [dict(
        cfg=dict(type='DropBlock', drop_prob=0.3, block_size=3,
                 warmup_iters=10),
        stages=(False, True, True, False), position='after_conv1')]
    model['backbone']['depth'] = 50
    model['neck']['in_channels'] = [32, 64, 128, 256]
    torch.testing.assert_close(
        *resumed_and_whole(tmp_path, model=model), rtol=0, atol=0)


@HOOKS.register_module(force=True)
class LowersOnce(Hook):
    """Lowers the weight of a loss after the first epoch, and that is it."""

    def __init__(self, to):
        self.to = to

    def after_train_epoch(self, runner):
        if runner.epoch == 0:
            runner.model.distillers.predictions.loss_cls_kd.loss_weight = (
                self.to)


@pytest.mark.parametrize('weight', [
    0.25, np.float32(0.25)], ids=repr)
def test_a_weight_that_a_hook_has_set_is_resumed(tmp_path, weight):
    """Numbers are numpy's if the hook computes them with numpy."""
    torch.testing.assert_close(*resumed_and_whole(
        tmp_path, hooks=[dict(type='LowersOnce', to=weight)]),
        rtol=0, atol=0)


def test_a_run_without_a_seed_takes_over_that_of_its_checkpoint(tmp_path):
    torch.testing.assert_close(
        *resumed_and_whole(tmp_path, model=plain_cfg('gfl'),
                           randomness=dict(seed=None)), rtol=0, atol=0)


@pytest.mark.parametrize('workers', [0, 2])
def test_ranks_that_are_to_differ_are_resumed(tmp_path, workers):
    torch.testing.assert_close(*resumed_and_whole(
        tmp_path, randomness=dict(seed=3, diff_rank_seed=True),
        loader=dict(num_workers=workers), augments=[RESIZE]), rtol=0, atol=0)


# -- warnings ----------------------------------------------------------------


class Cached(Images):
    """With a pipeline as mmdet's RTMDet has."""

    def __init__(self):
        from mmdet.registry import TRANSFORMS
        self.pipeline = TRANSFORMS.build(dict(
            type='Compose', transforms=[dict(
                type='CachedMixUp', img_scale=(64, 64))]))


CHECKPOINT = dict(checkpoint=dict(type='CheckpointHook', interval=2,
                                  by_epoch=False))
OUTSIDE = {
    'train_cfg.by_epoch=False': dict(
        train_cfg=dict(by_epoch=False, max_iters=2),
        loader=dict(sampler=dict(type='InfiniteSampler'))),
    'default_hooks.checkpoint.by_epoch=False': dict(default_hooks=CHECKPOINT),
    'train_dataloader.num_workers=0': dict(loader=dict(dataset=Cached())),
    'optim_wrapper.accumulative_counts=3': dict(
        optim=dict(accumulative_counts=3)),
    'custom_hooks: EarlyStoppingHook': dict(
        hooks=[dict(type='EarlyStoppingHook', monitor='loss')])}
INSIDE = [
    dict(), dict(augments=[RESIZE]), dict(optim=dict(accumulative_counts=2)),
    dict(loader=dict(dataset=Cached(), num_workers=1))]


@pytest.mark.parametrize('key', OUTSIDE)
def test_what_is_not_repeated_is_warned_of(key, tmp_path):
    runner = made(tmp_path, 1, log_level='WARNING',
                  **copy.deepcopy(OUTSIDE[key]))
    warning, = what_is_not_repeated(runner)
    assert warning.startswith(key) and 'killed and resumed' in warning
    log, = tmp_path.rglob('*.log')
    assert log.read_text().count(warning) == 1


@pytest.mark.parametrize('config', INSIDE)
def test_what_is_repeated_is_not_warned_of(config, tmp_path):
    runner = made(tmp_path, 1, **copy.deepcopy(config))
    assert what_is_not_repeated(runner) == []
