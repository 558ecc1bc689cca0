"""Teachers of another width and depth: channel adapters, and two splits."""
import copy
import logging

import pytest
import torch
from experiments import experiment, model_cfg, write
from helpers import (
    CHANNELS,
    KINDS,
    batch,
    build,
    distiller_cfg,
    plain_cfg,
    wide_teacher,
)
from mmdet.registry import MODELS
from mmengine.logging import MMLogger
from mmengine.model import BaseModule
from mmengine.optim import OptimWrapper
from mmengine.runner import load_checkpoint
from tool_server import run as tool
from torch import nn

from crosskd.checkpoints.auxiliary import auxiliary_state
from crosskd.engine.hooks.auxiliary_state import KEY
from crosskd.engine.trial import try_pair
from crosskd.numerics.statistics import align_statistics

WIDE = 2 * CHANNELS
PKD = dict(type='PKDLoss', loss_weight=1.0)
NAMES = ['pair.adapters.cls.conv.bias', 'pair.adapters.cls.conv.weight',
         'pair.adapters.features.conv.bias',
         'pair.adapters.features.conv.weight',
         'pair.adapters.reg.conv.bias', 'pair.adapters.reg.conv.weight']


def wide(kind='gfl', **kd):
    return wide_teacher(distiller_cfg(kind, loss_feat_kd=PKD, **kd))


def test_they_are_where_widths_differ_and_said_so(caplog):
    cfg = wide()
    head = cfg['teacher_config']['model']['bbox_head']
    MMLogger.get_current_instance().addHandler(caplog.handler)
    with caplog.at_level(logging.INFO):
        model = build(cfg)
        assert sorted(auxiliary_state(model)) == NAMES
        assert len(caplog.text.split('8 channels and the teacher 16')) == 4
        assert 'ChannelAdapter' in caplog.text
        assert 'kd_cfg.adapter' in caplog.text
        caplog.clear()
        assert not build(distiller_cfg('gfl', loss_feat_kd=PKD)).pair.adapters
        assert 'channels' not in caplog.text
    MMLogger.get_current_instance().removeHandler(caplog.handler)
    # the towers alone; features; what is not compared needs none
    head['in_channels'] = CHANNELS
    cfg['teacher_config']['model']['neck']['out_channels'] = CHANNELS
    assert list(build(cfg).pair.adapters) == ['cls', 'reg']
    cfg = wide(prediction='student')
    assert list(build(cfg).pair.adapters) == ['features']
    del cfg['kd_cfg']['loss_feat_kd']
    assert not build(cfg).pair.adapters
    split = wide(reused_teacher_head_idx=0)
    assert {a.conv.in_channels for a in build(split).pair.adapters.values()
            } == {CHANNELS}


@pytest.mark.parametrize('kind', KINDS)
def test_the_student_is_the_same_and_its_checkpoint_plain(kind):
    """Whatever the teacher: same seed, same weights, same keys."""
    model, narrow = build(wide(kind)), build(distiller_cfg(kind))
    plain = build(plain_cfg(kind))
    for name, value in plain.state_dict().items():
        assert torch.equal(model.state_dict()[name], value)
        assert torch.equal(narrow.state_dict()[name], value)
    assert list(model.state_dict()) == list(plain.state_dict())
    assert not any(model.load_state_dict(plain.state_dict()))
    assert [n for n, _ in model.named_parameters() if 'pair' in n] == [
        n for part in ('cls', 'reg', 'features')
        for n in (f'pair.adapters.{part}.conv.weight',
                  f'pair.adapters.{part}.conv.bias')]


def cross_head_by_hand(model, inputs, ours, theirs):
    """Class maps of a GFL pair: ``ours`` layers kept, ``theirs`` left out."""
    teacher, student = model.teacher.detector, model.bbox_head
    maps = []
    for s, t in zip(model.extract_feat(inputs),
                    teacher.extract_feat(inputs)):
        for layer in student.cls_convs[:ours]:
            s = layer(s)
        for layer in teacher.bbox_head.cls_convs[:theirs]:
            t = layer(t)
        if 'cls' in model.pair.adapters:
            s = torch.einsum(
                'nchw,dc->ndhw', s, model.pair.adapters['cls'].conv.weight[
                    ..., 0, 0]) + model.pair.adapters['cls'].conv.bias[
                        :, None, None]
        x, = align_statistics([s], [t])
        x = x.clamp(min=0) if theirs else x
        for layer in teacher.bbox_head.cls_convs[theirs:]:
            x = layer(x)
        maps.append(teacher.bbox_head.gfl_cls(x))
    return maps


@pytest.mark.parametrize('split, ours, theirs', [
    (1, 1, 1), ((1, 2), 1, 2), ((0, 3), 0, 3), ([2, 0], 2, 0), (0, 0, 0)])
@pytest.mark.parametrize('times', [1, 2])
def test_splits_count_in_each_heads_own_layers(split, ours, theirs, times):
    """A student of two layers and a teacher of three."""
    model = build(wide_teacher(
        distiller_cfg('gfl', reused_teacher_head_idx=split), times,
        stacked_convs=3))
    model.eval()
    inputs, samples = batch()
    seen = []
    distil = model.distillers.forward
    model.distillers.forward = lambda paired: seen.append(
        paired.maps('cross_head', 'cls')) or distil(paired)
    model.loss(inputs, samples)
    torch.testing.assert_close(
        seen[0], cross_head_by_hand(model, inputs, ours, theirs))


@pytest.mark.parametrize('change', [
    dict(norm_cfg=None), dict(norm_cfg=dict(type='BN')),
    dict(conv_cfg=dict(type='ConvWS'))], ids=str)
@pytest.mark.parametrize('whose', ['student', 'teacher'])
def test_other_norms_and_convs_are_their_owners_affair(change, whose):
    cfg = wide()
    owner = cfg if whose == 'student' else cfg['teacher_config']['model']
    owner['bbox_head'].update(change)
    model = build(cfg)
    model.parse_losses(model.loss(*batch()))[0].backward()
    for name, parameter in auxiliary_state(model).items():
        assert parameter.grad.isfinite().all(), name


@MODELS.register_module()
class TwoLayers(BaseModule):
    """A channel adapter of another package."""

    def __init__(self, in_channels, out_channels, middle=4):
        super().__init__(init_cfg=dict(type='Constant', layer='Conv2d',
                                       val=0.1))
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, middle, 1), nn.ReLU(),
            nn.Conv2d(middle, out_channels, 3, padding=1))

    def forward(self, features):
        return self.layers(features)


def test_another_adapter_is_configured():
    model = build(wide(adapter=dict(type='TwoLayers', middle=6)))
    adapters = model.pair.adapters
    assert {type(a) for a in adapters.values()} == {TwoLayers}
    assert (adapters['cls'].layers[0].weight == 0.1).all()  # its init_cfg
    model.parse_losses(model.loss(*batch()))[0].backward()
    assert adapters['cls'].layers[2].weight.grad.abs().max() > 0


@MODELS.register_module()
class OneTooMany(BaseModule):
    """A channel adapter with a mistake."""

    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels + 1, 1)

    def forward(self, features):
        return self.conv(features)


def test_an_adapter_of_another_width_is_named():
    model = build(wide(adapter=dict(type='OneTooMany')))
    with pytest.raises(ValueError, match='kd_cfg.adapter: OneTooMany must ret'
                       r'urn .* \(2, 16, 12, 12\), found \(2, 17, 12, 12\)'):
        try_pair(model)


def test_a_branch_that_nobody_compares_has_nothing_to_train():
    """DDP waits for the gradient of everything that trains."""
    cfg = wide(loss_sdd=dict(type='SDDLoss', base='bernoulli'))
    cfg['type'] = 'SDDSingleStageDetector'
    cfg['kd_cfg'].update(prediction='cross_head', loss_cls_kd=None,
                         loss_reg_kd=None)
    model = build(cfg)
    model.parse_losses(model.loss(*batch()))[0].backward()
    for name, parameter in auxiliary_state(model).items():
        assert parameter.requires_grad == ('.reg.' not in name)
        assert (parameter.grad is not None) == parameter.requires_grad


def test_too_late_for_ranks_is_an_error(monkeypatch):
    """mmengine's own Runner distributes before it initialises weights."""
    monkeypatch.setattr('crosskd.detectors.mixin.get_world_size', lambda: 2)
    model = build(wide(), joins=False)
    with pytest.raises(RuntimeError, match='before the detector is '
                       'wrapped for distributed training. Set runner_'):
        model.init_weights()
    joined = build(wide())
    joined.init_weights()
    build(distiller_cfg('gfl'), joins=False).init_weights()


def test_weights_are_initialised_once(recwarn):
    model = build(wide(adapter=dict(type='TwoLayers')))
    before = copy.deepcopy(auxiliary_state(model))
    model.init_weights()
    assert not any('more than once' in str(w.message) for w in recwarn)
    for name, value in auxiliary_state(model).items():
        assert torch.equal(value, before[name])


def test_adapters_of_one_shape_start_apart():
    adapters = build(wide()).pair.adapters
    assert not torch.equal(adapters['cls'].conv.weight,
                           adapters['reg'].conv.weight)


def test_a_copy_has_its_own():
    """As EMA makes one; the teacher is shared."""
    model = build(wide())
    clone = copy.deepcopy(model)
    assert clone.teacher.detector is model.teacher.detector
    for name, parameter in auxiliary_state(clone).items():
        assert parameter is not auxiliary_state(model)[name]
        parameter.data.zero_()
    assert auxiliary_state(model)[NAMES[1]].abs().max() > 0
    clone.loss(*batch())


def test_an_optimizer_that_was_built_too_early_is_an_error():
    """As mmengine's own Runner builds it, before it initialises weights."""
    model = build(wide(), joins=False)
    optimizer = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    inputs, samples = batch()
    data = dict(inputs=list(inputs * 50 + 120), data_samples=samples)
    model.init_weights()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(RuntimeError, match='kd_cfg: the optimizer was built '
                       'before pair.adapters.cls.conv.weight, .*join_t'):
        model.train_step(data, optimizer)
    assert all(torch.equal(v, before[k])
               for k, v in model.state_dict().items())
    again = build(wide(), joins=False)
    again.join_teacher()
    again.train_step(data, OptimWrapper(
        torch.optim.SGD(again.parameters(), lr=0.1)))
    for name, parameter in auxiliary_state(again).items():
        if name.endswith('weight'):
            assert not torch.equal(parameter, auxiliary_state(build(wide()))[
                name])


def test_a_real_run_trains_saves_and_resumes_them(project, tmp_path):
    """With EMA, clipping and accumulation; plain mmdet loads the file."""
    cfg = experiment(model_cfg(wide()), custom_hooks=[dict(type='EMAHook')])
    cfg['optim_wrapper'].update(
        clip_grad=dict(max_norm=1.0), accumulative_counts=2)
    write(project / 'wide.py', cfg)
    run = ('train.py', 'wide.py', '--work-dir')
    out = tool(*run, tmp_path / 'whole', cwd=project)
    assert '8 channels and the teacher 16; a ChannelAdapter' in out
    tool(*run, tmp_path / 'parts', '--cfg-options', 'train_cfg.max_epochs=1',
         cwd=project)
    tool(*run, tmp_path / 'parts', '--resume', cwd=project)
    files = [tmp_path / part / 'epoch_2.pth' for part in ('whole', 'parts')]
    whole, parts, first = (torch.load(f, weights_only=False) for f in (
        *files, tmp_path / 'parts/epoch_1.pth'))
    for key in ('state_dict', 'ema_state_dict', KEY, f'ema_{KEY}'):
        torch.testing.assert_close(whole[key], parts[key], rtol=0, atol=0)
    assert sorted(whole[KEY]) == sorted(whole[f'ema_{KEY}']) == NAMES
    for name in NAMES:
        if name.endswith('weight'):
            assert not torch.equal(first[KEY][name], whole[KEY][name])
            assert not torch.equal(whole[KEY][name],
                                   whole[f'ema_{KEY}'][name])
    plain = build(model_cfg(plain_cfg('gfl')))
    load_checkpoint(plain, str(files[0]), strict=True)
    # and a narrow teacher has nothing to resume them with
    (project / 'narrow.py').write_text(
        "_base_ = 'wide.py'\nmodel = dict(teacher_config=dict(model=dict("
        "neck=dict(out_channels=8), bbox_head=dict(in_channels=8, "
        "feat_channels=8))))\n")
    out = tool('train.py', 'narrow.py', '--work-dir', tmp_path / 'parts',
               '--resume', cwd=project, ok=False)
    assert f'{KEY} has pair.adapters.cls.conv.bias' in out
