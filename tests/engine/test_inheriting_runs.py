"""What real runs of a student that inherits from its teacher start from."""
import copy

import pytest
import torch
from data_sets import Images
from helpers import build, distiller_cfg
from resuming import made

from crosskd.engine.runner import DistillationRunner

PARTS = ('neck', 'bbox_head')
STILL = dict(optimizer=dict(type='SGD', lr=0.0, momentum=0.9))
MOVING = dict(optimizer=dict(type='SGD', lr=0.01, momentum=0.9))


@pytest.fixture(scope='module')
def teacher(tmp_path_factory):
    """A teacher's checkpoint."""
    path = tmp_path_factory.mktemp('teacher') / 'teacher.pth'
    model = build(distiller_cfg('gfl')).teacher.detector
    torch.save(dict(state_dict=model.state_dict()), path)
    return path


def inheriting(teacher):
    cfg = distiller_cfg('gfl', teacher=str(teacher), inherit=PARTS)
    cfg['teacher_config']['model']['backbone']['base_channels'] = 16
    return cfg


def read(path, key='state_dict'):
    return {k.removeprefix('module.'): v for k, v in torch.load(
        path, weights_only=False)[key].items()}


def same(weights, others, parts=PARTS):
    """Whether those parts have the same weights, where their shapes fit."""
    return all(torch.equal(value, others[key])
               for key, value in weights.items()
               if key.split('.')[0] in parts
               and not key.startswith('neck.lateral_convs'))


def test_weights_and_their_averages_start_from_the_teachers(teacher,
                                                            tmp_path):
    hooks = [dict(type='EMAHook', update_buffers=True)]
    made(tmp_path, 1, model=inheriting(teacher), hooks=hooks, optim=STILL)
    path = tmp_path / 'epoch_1.pth'
    for key in ('state_dict', 'ema_state_dict'):
        assert same(read(path, key), read(teacher))


def test_the_optimizer_trains_them(teacher, tmp_path):
    slow = dict(optimizer=dict(type='SGD', lr=1e-4))
    made(tmp_path, 1, model=inheriting(teacher), optim=slow)
    found, start = read(tmp_path / 'epoch_1.pth'), read(teacher)
    key = 'bbox_head.gfl_cls.weight'
    assert not torch.equal(found[key], start[key])
    assert (found[key] - start[key]).abs().max() < 0.01


def test_what_is_loaded_or_resumed_wins(teacher, tmp_path):
    cfg = inheriting(teacher)
    made(tmp_path / 'first', 1, model=cfg, optim=MOVING)
    file = tmp_path / 'first/epoch_1.pth'
    first = read(file)
    assert not same(first, read(teacher))
    made(tmp_path / 'loaded', 1, model=cfg, optim=STILL, load_from=str(file))
    assert same(read(tmp_path / 'loaded/epoch_1.pth'), first)
    made(tmp_path / 'whole', 2, model=cfg, optim=MOVING)
    made(tmp_path / 'parts', 2, model=cfg, optim=MOVING, resume=True,
         load_from=str(file))
    whole, parts = (read(tmp_path / name / 'epoch_2.pth')
                    for name in ('whole', 'parts'))
    torch.testing.assert_close(parts, whole, rtol=0, atol=0)


def test_with_the_distillation_runner_which_tries_the_pair_first(teacher,
                                                                 tmp_path):
    DistillationRunner(
        model=copy.deepcopy(inheriting(teacher)),
        work_dir=str(tmp_path), train_dataloader=dict(
            dataset=Images(), batch_size=2, collate_fn=dict(
                type='pseudo_collate'), sampler=dict(
                    type='DefaultSampler', shuffle=False)),
        optim_wrapper=STILL, train_cfg=dict(by_epoch=True, max_epochs=1),
        default_scope='mmdet', experiment_name=tmp_path.name).train()
    assert same(read(tmp_path / 'epoch_1.pth'), read(teacher))
    log, = tmp_path.rglob('*.log')
    said, = [line for line in log.read_text().splitlines()
             if 'kd_cfg.inherit' in line]
    assert "starts from the teacher's weights of neck (6 of " in said
