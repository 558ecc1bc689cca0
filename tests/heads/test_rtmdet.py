"""What is special to RTMDet heads."""
import copy
import itertools
import json
import logging
import math
import re
from pathlib import Path

import pytest
import torch
from experiments import write
from helpers import (
    CHANNELS,
    METHODS,
    batch,
    build,
    distiller_cfg,
    every_output,
    lively,
    plain_cfg,
    sdd_cfg,
    total,
    wide_teacher,
)
from mmdet.models.detectors import RTMDet
from mmengine.config import Config
from mmengine.logging import MMLogger
from oracle_crosskd import align, iou_loss, sigmoid
from practitioners import (
    results_of_plain_mmdet,
    resumed,
    same_states,
    small_config,
)
from tool_output import metrics
from tool_server import run as tool
from torch import nn

from crosskd.checkpoints.auxiliary import auxiliary_state
from crosskd.compat.mmcv_ext import is_installed
from crosskd.detectors import CrossKDRTMDet
from crosskd.heads import adapter_of, base, record

LEVELS = (0, 1, 2)
STRIDES = (8, 16, 32)
VARIANTS = [dict(with_objectness=o, exp_on_reg=e)
            for o, e in itertools.product((False, True), repeat=2)]


def with_head(cfg, **head):
    """That config; student and teacher have heads of that variant."""
    for model in (cfg, cfg.get('teacher_config', {}).get('model', {})):
        if model:
            model['bbox_head'].update(head)
    return cfg


# -- the detector -------------------------------------------------------------


@pytest.mark.parametrize('ranks', [1, 2])
@pytest.mark.parametrize('use_syncbn', [True, False])
def test_the_student_is_an_rtmdet(monkeypatch, use_syncbn, ranks):
    monkeypatch.setattr('mmdet.models.detectors.rtmdet.get_world_size',
                        lambda: ranks)
    cfg = distiller_cfg('rtmdet')
    cfg.update(type='CrossKDRTMDet', use_syncbn=use_syncbn)
    model = build(cfg)
    plain = build(dict(plain_cfg('rtmdet'), use_syncbn=use_syncbn))
    assert isinstance(model, CrossKDRTMDet) and isinstance(model, RTMDet)
    assert list(model.state_dict()) == list(plain.state_dict())
    for detector in (model, plain):
        synchronised = {isinstance(m, nn.SyncBatchNorm)
                        for m in detector.modules()
                        if isinstance(m, nn.modules.batchnorm._BatchNorm)}
        assert synchronised == {use_syncbn and ranks == 2}


def test_another_head_is_refused():
    cfg = distiller_cfg('gfl')
    cfg['type'] = 'CrossKDRTMDet'
    with pytest.raises(TypeError, match='CrossKDRTMDet distils RTMDet heads, '
                       r'found GFLHead \(GFL\)'):
        build(cfg)


# -- layers -------------------------------------------------------------------


def test_levels_share_convolutions_and_have_norms_of_their_own():
    head = lively(build(plain_cfg('rtmdet'))).eval().bbox_head
    adapter = adapter_of(head)
    rng = torch.Generator().manual_seed(1)
    x = torch.randn(2, CHANNELS, 4, 6, generator=rng)
    maps = dict(cls=[x] * 3, reg=[x] * 3)
    found = adapter.forward_from(maps, 1, LEVELS)
    for level in LEVELS:
        layer = head.cls_convs[level][1]
        assert layer.conv is head.cls_convs[0][1].conv
        y = torch.nn.functional.silu(layer.bn(head.cls_convs[0][1].conv(x)))
        torch.testing.assert_close(found['cls'][level], head.rtm_cls[level](y))
    # the same features are another prediction on every level
    for one, other in itertools.combinations(range(3), 2):
        assert not torch.allclose(found['cls'][one], found['cls'][other])
        assert not torch.allclose(found['reg'][one] / STRIDES[one],
                                  found['reg'][other] / STRIDES[other])
    # and which level it is, is not where it stands
    some = adapter.forward_from(dict(cls=[x], reg=[x]), 1, (2, ))
    torch.testing.assert_close(some['cls'][0], found['cls'][2])


@pytest.mark.parametrize('share_conv', [True, False])
def test_all_norms_of_a_teacher_are_fused(share_conv, caplog):
    cfg = with_head(distiller_cfg('rtmdet'), share_conv=share_conv)
    model = build(cfg)
    detector = lively(model.teacher.detector)
    inputs, samples = batch()
    plain = copy.deepcopy(detector)
    convolutions = {id(m) for m in detector.bbox_head.modules()
                    if isinstance(m, nn.Conv2d)}
    assert len(convolutions) == (2 * 2 + 6 if share_conv else 2 * 2 * 3 + 6)
    MMLogger.get_current_instance().addHandler(caplog.handler)
    with caplog.at_level(logging.INFO):
        found = model.teacher(inputs, samples, every_output(model))
    MMLogger.get_current_instance().removeHandler(caplog.handler)
    # those of a ResNet-18, and two branches of two layers on three levels
    assert '32 of its 32 batch norms are fused' in caplog.text
    assert not any(isinstance(m, nn.BatchNorm2d) for m in detector.modules())
    with torch.no_grad():
        expected = plain.bbox_head(plain.extract_feat(inputs))
    for ours, theirs in zip(sum(found.raw, ()), sum(expected, ())):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)
    # on every level the weights are those of its own norm
    layers = detector.bbox_head.cls_convs
    assert not torch.allclose(layers[0][1].conv.weight,
                              layers[1][1].conv.weight)


@pytest.mark.parametrize('variant', VARIANTS, ids=str)
@pytest.mark.parametrize('split', [0, 1, 2])
def test_variants_continue_as_the_heads_forward(variant, split):
    model = lively(build(with_head(plain_cfg('rtmdet'), **variant)))
    head = model.bbox_head
    adapter = adapter_of(head)
    features = model.extract_feat(batch()[0])
    with record(adapter, split) as seen:
        outputs = head(features)
    whole = adapter.forward_from(seen.intermediates, split, LEVELS)
    torch.testing.assert_close(whole, adapter.named(outputs, training=True))
    assert variant['exp_on_reg'] == bool(min(x.min() for x in whole['reg'])
                                         > 0)
    # scores need what they are made of, whatever else is asked for
    scores = adapter.forward_from(seen.intermediates, split, LEVELS, ['cls'])
    torch.testing.assert_close(scores, dict(cls=whole['cls']))


def test_objectness_is_in_the_scores():
    """The root of both probabilities, as the head's own."""
    head = build(with_head(plain_cfg('rtmdet'),
                           with_objectness=True)).eval().bbox_head
    adapter = adapter_of(head)
    rng = torch.Generator().manual_seed(1)
    cls, reg = (torch.randn(1, CHANNELS, 2, 3, generator=rng)
                for _ in range(2))
    found, = adapter.forward_from(dict(cls=[cls], reg=[reg]), 2, (1, ))['cls']
    both = head.rtm_cls[1](cls).sigmoid() * head.rtm_obj[1](reg).sigmoid()
    torch.testing.assert_close(found.sigmoid(), both.sqrt())
    assert adapter.branches_of('cls') == ('cls', 'reg')
    assert adapter.branches_of('reg') == ('reg', )
    plain = adapter_of(build(plain_cfg('rtmdet')).bbox_head)
    assert plain.branches_of('cls') == ('cls', )


@pytest.mark.parametrize('variant', VARIANTS, ids=str)
def test_boxes_are_those_that_the_head_assigns_and_predicts(variant):
    model = lively(build(with_head(plain_cfg('rtmdet'), **variant))).eval()
    head = model.bbox_head
    adapter = adapter_of(head)
    inputs, samples = batch()
    features = model.extract_feat(inputs)
    given = []
    assign = head.get_targets
    head.get_targets = lambda *a, **k: given.append(a) or assign(*a, **k)
    with record(adapter) as seen:
        head.loss(features, samples)
    geometry = adapter.geometry(seen.sizes, LEVELS, seen.device)
    reg = adapter.flatten('reg', seen.outputs['reg'], geometry, seen.training)
    boxes = adapter.boxes(reg, geometry).view(2, -1, 4)
    torch.testing.assert_close(boxes, given[0][1])
    # points lie in the corners of their cells
    assert geometry.priors[:2].tolist() == [[0, 0], [8, 0]]
    known = torch.tensor([[[1.0, 2, 3, 4]]]).expand(2, reg.size(1), 4)
    assert adapter.boxes(known, geometry)[1].tolist() == [7, -2, 11, 4]
    encoded = adapter.encoded(known, geometry).view(2, -1, 4)
    for level, stride in zip(encoded.split(geometry.counts, 1), STRIDES):
        assert level[1, -1].tolist() == [n / stride for n in (1, 2, 3, 4)]


# -- losses -------------------------------------------------------------------


def losses_by_hand(student, teacher, s_features, t_features, split, weights,
                   normalizer):
    """CrossKD once more, one location at a time, with weights of 1."""
    cls_loss = reg_loss = 0.0
    for level, stride in enumerate(STRIDES):
        maps = {}
        for name in ('cls', 'reg'):
            theirs = getattr(teacher, f'{name}_convs')[level]
            s, t = s_features[level], t_features[level]
            for layer in getattr(student, f'{name}_convs')[level][:split]:
                s = layer(s)
            for layer in theirs[:split]:
                t = layer(t)
            x = align(s, t)  # and no activation: SiLU would change it
            for layer in theirs[split:]:
                x, t = layer(x), layer(t)
            predict = getattr(teacher, f'rtm_{name}')[level]
            maps[name] = predict(x), predict(t)
        n, _, height, width = maps['cls'][0].shape
        for i, y, x in itertools.product(range(n), range(height),
                                         range(width)):
            weight = float(weights[level][i, y * width + x])
            (a, b), (p, q) = (
                [m[i, :, y, x].tolist() for m in maps[name]]
                for name in ('cls', 'reg'))
            for u, v in zip(map(sigmoid, a), map(sigmoid, b)):
                bce = -v * math.log(u) - (1 - v) * math.log(1 - u)
                cls_loss += weight * abs(u - v) * bce
            boxes = [[stride * x - l_, stride * y - t_, stride * x + r_,
                      stride * y + b_] for l_, t_, r_, b_ in (
                          [stride * math.exp(d) for d in side]
                          for side in (p, q))]
            reg_loss += weight * max(map(sigmoid, b)) * iou_loss(*boxes, True)
    return cls_loss / normalizer, reg_loss / normalizer


@pytest.mark.parametrize('split', [0, 1, 2])
def test_losses_are_those_by_hand(split):
    model = build(distiller_cfg('rtmdet', reused_teacher_head_idx=split))
    teacher = model.teacher.detector
    lively(teacher.bbox_head)
    inputs, samples = batch((2, 0), (32, 64))
    ours = total(model.loss(inputs, samples))
    head, adapter = model.bbox_head, model.head_adapter
    with torch.no_grad(), record(adapter) as seen:
        features = model.extract_feat(inputs)
        head.loss(features, samples)
        targets = adapter.targets(seen, len(samples))
        cls, reg = losses_by_hand(
            head, teacher.bbox_head, features, teacher.extract_feat(inputs),
            split, targets.weights['cls'], float(targets.normalizers['cls']))
    assert ours['loss_cls_kd'] == pytest.approx(cls, rel=1e-3) and cls > 0.01
    assert ours['loss_reg_kd'] == pytest.approx(reg, rel=1e-3) and reg > 0.01


@pytest.mark.parametrize('variant', VARIANTS, ids=str)
@pytest.mark.parametrize('split', [0, 1, 2])
def test_a_student_that_is_the_teacher_has_nothing_to_learn(
        monkeypatch, variant, split):
    model = build(with_head(distiller_cfg(
        'rtmdet', teacher_width=8, reused_teacher_head_idx=split), **variant))
    lively(model.teacher.detector.bbox_head)
    model.load_state_dict(model.teacher.detector.state_dict())
    model.eval()  # the same batch statistics as the teacher
    losses = total(model.loss(*batch()))
    assert losses['loss_cls_kd'] == pytest.approx(0, abs=1e-3)
    # GIoU of boxes without an extent is not zero, even of equal ones
    empty = 0 if variant['exp_on_reg'] else losses['loss_reg_kd']
    assert losses['loss_reg_kd'] == pytest.approx(empty, abs=1e-3)
    # SiLU would change what it has made, if it were applied again
    monkeypatch.setattr(base, 'IDEMPOTENT', (*base.IDEMPOTENT, nn.SiLU))
    twice = total(model.loss(*batch()))
    assert (twice['loss_cls_kd'] > 0.01) == (split > 0)


@pytest.mark.parametrize('boxes', [(2, 3), (1, 0), (0, 0)])
def test_targets_are_what_the_heads_loss_used(boxes):
    model = build(plain_cfg('rtmdet'))
    head, adapter = model.bbox_head, adapter_of(model.bbox_head)
    inputs, samples = batch(boxes)
    if boxes == (1, 0):  # too long a box for any to be assigned well
        samples[0].gt_instances.bboxes = torch.tensor([[0.0, 29, 96, 35]])
    features = model.extract_feat(inputs)
    used, raw = [], []

    def loss_cls(pred, target, weight, avg_factor):
        used.append((*target, weight))
        raw.append(type(head.loss_cls).forward(
            head.loss_cls, pred, target, weight, avg_factor=avg_factor))
        return raw[-1]

    head.loss_cls.forward = loss_cls
    with record(adapter) as seen:
        losses = head.loss(features, samples)
    targets = adapter.targets(seen, len(samples))
    assert targets.normalizers.keys() == {'cls', 'reg'}
    assert len(used) == 3
    for level, (labels, _, weight) in enumerate(used):
        assert torch.equal(targets.labels['cls'][level].flatten(), labels)
        assert torch.equal(targets.weights['cls'][level].flatten(), weight)
    quality = float(sum(metrics.sum() for _, metrics, _ in used))
    normalizer = float(targets.normalizers['cls'])
    assert normalizer == pytest.approx(max(quality, 1))
    assert (quality > 1) == (boxes == (2, 3))
    assert (quality > 0) == any(boxes)
    for ours, theirs in zip(raw, losses['loss_cls']):
        assert float(theirs) == pytest.approx(float(ours) / normalizer)
    assert adapter.is_class(torch.cat(
        [x.flatten() for x in targets.labels['cls']])).any() == any(boxes)


# -- what else can be distilled -----------------------------------------------


@pytest.mark.parametrize('method', METHODS)
def test_every_method_teaches_it(method):
    model = build(METHODS[method]('rtmdet'))
    losses = model.loss(*batch())
    added = set(losses) - {'loss_cls', 'loss_bbox'}
    assert added and all(total(losses)[key] > 0 for key in added)
    value, _ = model.parse_losses({key: losses[key] for key in added})
    value.backward()
    assert model.backbone.conv1.weight.grad.abs().max() > 0
    assert all(p.grad is None or p.grad.isfinite().all()
               for p in model.parameters())


def test_regions_of_boxes_are_of_the_level_of_their_size():
    """Eight strides: 64, 128 and 256; between them the geometric mean."""
    adapter = adapter_of(build(plain_cfg('rtmdet')).bbox_head)
    boxes = torch.tensor([[0.0, 0, w, h] for w, h in (
        (4, 4), (90, 90), (91, 91), (128, 64), (64, 130), (181, 181),
        (182, 182), (600, 600))])
    assert adapter.level_of(boxes).tolist() == [0, 0, 1, 0, 1, 1, 2, 2]


def test_a_student_that_is_the_teacher_learns_nothing_from_regions():
    model = build(sdd_cfg('rtmdet', teacher_width=8))
    model.load_state_dict(model.teacher.detector.state_dict())
    losses = total(model.eval().loss(*batch()))
    assert losses['loss_sdd_map'] == pytest.approx(0, abs=1e-5)
    assert losses['loss_sdd_box'] == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize('variant', VARIANTS[1:3], ids=str)
@pytest.mark.parametrize('boxes, size', [((0, 0), (64, 96)),
                                         ((0, ), (32, 32)), ((1, ), (32, 32))])
def test_empty_images_and_tiny_levels_are_finite(variant, boxes, size):
    model = build(with_head(distiller_cfg('rtmdet'), **variant)).eval()
    value, log = model.parse_losses(model.loss(*batch(boxes, size)))
    value.backward()
    assert all(v.isfinite() for v in log.values())
    assert all(p.grad is None or p.grad.isfinite().all()
               for p in model.parameters())


# -- other widths and layers --------------------------------------------------


@pytest.mark.parametrize('depthwise, split', [
    ('student', 1), ('teacher', 1), ('both', 0), ('both', 1), ('both', 2)])
def test_depthwise_layers_and_another_width(depthwise, split):
    layers = dict(use_depthwise=True, share_conv=False)
    cfg = wide_teacher(distiller_cfg(
        'rtmdet', reused_teacher_head_idx=split))
    if depthwise != 'teacher':
        cfg['bbox_head'].update(layers)
    if depthwise != 'student':
        cfg['teacher_config']['model']['bbox_head'].update(layers)
    model = build(cfg)
    shapes = {name: tuple(x.shape)
              for name, x in auxiliary_state(model).items()}
    assert shapes == {
        f'pair.adapters.{branch}.conv.{name}': shape
        for branch in ('cls', 'reg')
        for name, shape in dict(weight=(2 * CHANNELS, CHANNELS, 1, 1),
                                bias=(2 * CHANNELS, )).items()}
    losses = model.loss(*batch())
    sum(losses['loss_cls_kd']).backward()
    assert total(losses)['loss_cls_kd'] > 0
    first = next(model.bbox_head.cls_convs.parameters())
    assert (first.grad is not None and bool(first.grad.any())) == (split > 0)
    assert model.pair.adapters['cls'].conv.weight.grad.abs().max() > 0
    # the teacher learns nothing, although gradients go through its layers
    assert all(p.grad is None for p in model.teacher.detector.parameters())


def test_depthwise_layers_continue_as_the_heads_forward():
    model = lively(build(plain_cfg('rtmdet', use_depthwise=True,
                                   share_conv=False)))
    adapter = adapter_of(model.bbox_head)
    features = model.extract_feat(batch()[0])
    for split in (0, 1, 2):
        with record(adapter, split) as seen:
            outputs = model.bbox_head(features)
        torch.testing.assert_close(
            adapter.forward_from(seen.intermediates, split, LEVELS),
            adapter.named(outputs, training=True))


# -- a run of its own ---------------------------------------------------------

TINY = 'crosskd/crosskd_rtmdet-tiny_rtmdet-m_8xb32-300e_coco.py'
SWITCH, EPOCHS = 2, 4


@pytest.fixture(scope='module')
def folder(shapes_root, tmp_path_factory):
    """Small configs of our pair, and its runs without and with workers."""
    folder = tmp_path_factory.mktemp('rtmdet')
    data = shapes_root / 'data/shapes'
    small_config(folder / 'teacher.py',
                 'mmdet::rtmdet/rtmdet_m_8xb32-300e_coco.py', data)
    small_config(folder / 'tiny.py', TINY, data, width=16, epochs=EPOCHS,
                 second_stage=EPOCHS - SWITCH,
                 teacher=(folder / 'teacher.py', 'random'))
    write(folder / 'workers.py', dict(
        _base_='tiny.py',
        train_dataloader=dict(num_workers=1, persistent_workers=True)))
    return folder


@pytest.fixture(scope='module')
def alone(folder):
    """What the run without workers printed."""
    return tool('train.py', 'tiny.py', cwd=folder)


def test_our_config_trains_with_what_mmdet_ships(folder, alone):
    cfg = Config.fromfile(folder / 'tiny.py')
    steps = [step['type'] for step in cfg.train_dataloader.dataset.pipeline]
    assert {'CachedMosaic', 'CachedMixUp'} <= set(steps)
    assert [h['type'] for h in cfg.custom_hooks] == [
        'EMAHook', 'PipelineSwitchHook']
    assert 'Switch pipeline now!' in alone
    assert '16 channels and the teacher 32' in alone
    assert '76 of its 76 batch norms are fused' in alone
    assert len(re.findall(
        r'Epoch.train. .* loss_cls_kd: [.\d]+ +loss_reg_kd: [.\d]+', alone)
    ) == 4 * EPOCHS
    # caches are in no checkpoint, and in this process they outlive epochs
    assert ('train_dataloader.num_workers=0: a run that is killed and resumed '
            'starts with an empty cache of CachedMixUp, CachedMosaic; with '
            'workers, every epoch does') in alone


@pytest.mark.slow
@pytest.mark.parametrize('epoch, same', [(1, False), (SWITCH, True)])
def test_without_workers_caches_are_lost_as_is_said(folder, alone, tmp_path,
                                                    epoch, same):
    whole = folder / 'work_dirs/tiny'
    out = resumed('tiny.py', whole, tmp_path / 'parts', epoch, cwd=folder)
    assert f'resumed epoch: {epoch}' in out
    assert same_states(whole / f'epoch_{EPOCHS}.pth',
                       tmp_path / f'parts/epoch_{EPOCHS}.pth') == same


@pytest.mark.slow
def test_with_workers_a_run_is_resumed_over_the_switch(folder, tmp_path):
    out = tool('train.py', 'workers.py', cwd=folder)
    assert 'killed and resumed' not in out
    whole = folder / 'work_dirs/workers'
    for epoch in range(1, EPOCHS):
        out = resumed('workers.py', whole, tmp_path / f'{epoch}', epoch,
                      cwd=folder)
        assert f'resumed epoch: {epoch}' in out
        assert out.count('Switch pipeline now!') == 1
        assert same_states(whole / f'epoch_{EPOCHS}.pth',
                           tmp_path / f'{epoch}/epoch_{EPOCHS}.pth')


@pytest.mark.slow
@pytest.mark.skipif(is_installed(), reason='needs compiled ops of mmcv')
def test_plain_mmdet_finds_what_our_validation_found(folder, shapes_root):
    """Averaged weights, mosaic and all; the AP of a few steps is near 0."""
    data = shapes_root / 'data/shapes'
    sizes = dict(width=16, epochs=6, second_stage=4)
    small_config(folder / 'plain.py',
                 'mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py', data, **sizes)
    small_config(folder / 'longer.py', TINY, data, **sizes,
                 teacher=(folder / 'teacher.py', 'random'))
    prefix = folder / 'ours'
    on_training_images = [
        f'{part}_{key}' for part in ('val', 'test') for key in (
            'dataloader.dataset.ann_file=train.json',
            'dataloader.dataset.data_prefix.img=train/',
            f'evaluator.ann_file={data}/train.json')]
    out = tool('train.py', 'longer.py', '--cfg-options', *on_training_images,
               f'val_evaluator.outfile_prefix={prefix}',
               'default_hooks.checkpoint.interval=6', cwd=folder)
    found, boxes = results_of_plain_mmdet(
        'plain.py', 'work_dirs/longer/epoch_6.pth', folder / 'tested', folder,
        *on_training_images)
    assert found == metrics(out)
    ours = json.loads(Path(f'{prefix}.bbox.json').read_text())
    assert boxes and boxes == ours
