"""YOLOX: what its head has of its own, and what mmdet ships with it."""
import json
import math
import random
import re
import shutil

import cv2
import pytest
import torch
from experiments import CLASSES, write
from helpers import (
    BCE,
    GIOU,
    METHODS,
    batch,
    build,
    distiller_cfg,
    plain_cfg,
    total,
    wide_teacher,
)
from mmengine.config import Config
from mmengine.logging import MessageHub
from practitioners import results_of_plain_mmdet
from pretend_device import DEVICE, on_device, pretend_device
from tool_output import metrics
from tool_server import run as tool
from torch.nn.functional import binary_cross_entropy_with_logits

from conftest import REPO
from crosskd.compat.mmcv_ext import is_installed
from crosskd.configs import find_config
from crosskd.data_checks import check_data
from crosskd.heads import adapter_of, record
from crosskd.heads.yolox import logits_of_product

LEVELS = (0, 1, 2)
MANY = (2, 0, 3)  # boxes of the images
OURS = 'crosskd_yolox-tiny_yolox-s_8xb8-300e_coco.py'
EPOCHS, LAST = 4, 1  # mmdet's hook switches one epoch earlier: the third


@pytest.fixture(scope='module')
def plain():
    return build(plain_cfg('yolox'))


def paired_of(model, inputs, samples):
    """Losses of a step, and what the distillers were given in it."""
    seen = []
    handle = model.distillers.register_forward_pre_hook(
        lambda _, args: seen.append(args[0]))
    losses = model.loss(inputs, samples)
    handle.remove()
    return losses, seen[0]


# -- the head ----------------------------------------------------------------


def test_each_level_goes_through_its_own_layers(plain):
    head, adapter = plain.bbox_head, adapter_of(plain.bbox_head)
    inputs, _ = batch()
    features = plain.eval().extract_feat(inputs)
    with record(adapter, 1) as seen:
        head(features)
    for level in LEVELS:
        for branch, towers in (('cls', head.multi_level_cls_convs),
                               ('reg', head.multi_level_reg_convs)):
            torch.testing.assert_close(
                seen.intermediates[branch][level],
                towers[level][0](features[level]), rtol=0, atol=0)
    # the last level alone is one of the head's, and no other
    made = adapter.forward_from(
        {b: x[2:] for b, x in seen.intermediates.items()}, 1, (2, ), {'reg'})
    torch.testing.assert_close(made['reg'][0], seen.outputs['reg'][2])


def product(a, b):
    """The logits of the product, by their definition."""
    p = a.sigmoid() * b.sigmoid()
    return p.log() - torch.log1p(-p)


def test_the_logits_of_a_product_keep_their_digits():
    a, b = torch.meshgrid(*[torch.linspace(-12, 12, 49)] * 2, indexing='ij')
    exact = [x.double().requires_grad_() for x in (a, b)]
    ours = [x.clone().requires_grad_() for x in (a, b)]
    for pair, logits in ((exact, product), (ours, logits_of_product)):
        made = logits(*pair)
        made.sum().backward()
        pair.append(made)
    assert ours[2].dtype == torch.float32
    torch.testing.assert_close(ours[2].double(), exact[2], rtol=2e-6,
                               atol=2e-6)
    for x, y in zip(ours, exact[:2]):
        torch.testing.assert_close(x.grad.double(), y.grad, rtol=1e-5,
                                   atol=1e-6)
    # half in, float32 out, of the same numbers
    halves = [x.to(torch.bfloat16) for x in (a, b)]
    made = logits_of_product(*halves)
    assert made.dtype == torch.float32
    torch.testing.assert_close(
        made.double(), product(*(x.double() for x in halves)), rtol=2e-6,
        atol=2e-6)


@pytest.mark.parametrize('a, b, logit, slopes', [
    (1e4, 3.0, 3.0, (0, 1)), (3.0, 1e4, 3.0, (1, 0)),
    (-1e4, 1e4, -1e4, (1, 0)), (-1e4, -2e4, -3e4, (1, 1)),
    (100.0, 100.0, 99.30685, (0.5, 0.5))])
def test_extreme_logits_and_their_gradients(a, b, logit, slopes):
    given = [torch.tensor(x, requires_grad=True) for x in (a, b)]
    made = logits_of_product(*given)
    made.backward()
    assert float(made.detach()) == pytest.approx(logit, rel=1e-6)
    assert [float(x.grad) for x in given] == pytest.approx(slopes, abs=1e-6)


def test_confidence_is_the_score_that_mmdet_predicts():
    model = build(distiller_cfg('yolox'))
    inputs, samples = batch()
    _, paired = paired_of(model, inputs, samples)
    head = model.teacher.detector.bbox_head
    cfg = head.test_cfg.copy()
    cfg.update(score_thr=-1.0)
    with torch.no_grad():
        raw = head(model.teacher.detector.extract_feat(inputs))
        results = head.predict_by_feat(
            *raw, batch_img_metas=[s.metainfo for s in samples], cfg=cfg,
            with_nms=False)
    for ours, theirs in zip(paired.confidence, results, strict=True):
        torch.testing.assert_close(ours, theirs.scores)
        assert ours.shape == (96 + 24 + 6, )


def test_boxes_are_those_of_the_head(plain):
    head, adapter = plain.bbox_head, adapter_of(plain.bbox_head)
    inputs, _ = batch()
    outputs = adapter.named(head(plain.eval().extract_feat(inputs)),
                            training=False)
    sizes = [tuple(x.shape[2:]) for x in outputs['reg']]
    geometry = adapter.geometry(sizes, LEVELS, inputs.device)
    reg = adapter.flatten('reg', outputs['reg'], geometry, training=False)
    priors = torch.cat(head.prior_generator.grid_priors(
        sizes, device=inputs.device, with_stride=True))
    torch.testing.assert_close(
        adapter.boxes(reg, geometry),
        head._bbox_decode(priors, reg).flatten(0, 1))


@pytest.mark.parametrize('boxes', [MANY, (0, 0), (0, 4)])
@pytest.mark.parametrize('use_l1', [False, True])
def test_targets_are_what_the_losses_used(plain, boxes, use_l1):
    head, adapter = plain.bbox_head, adapter_of(plain.bbox_head)
    inputs, samples = batch(boxes)
    used = {}

    def see(name):
        def seen(_, args, made):
            used[name] = (*args, made)
        return getattr(head, name).register_forward_hook(seen)

    handles = [see('loss_cls'), see('loss_bbox'), see('loss_obj')]
    head.use_l1 = use_l1
    with record(adapter) as seen:
        losses = head.loss(plain.extract_feat(inputs), samples)
    head.use_l1 = False
    for handle in handles:
        handle.remove()
    targets = adapter.targets(seen, len(boxes))
    assert set(targets.labels) == {'cls', 'reg', 'objectness'}
    assert set(targets.weights.values()) == {None}
    labels = torch.cat(targets.labels['cls'], 1)
    assert labels.shape == (len(boxes), 96 + 24 + 6)
    positive = adapter.is_class(labels)
    _, objectness, loss = used['loss_obj']
    assert torch.equal(positive.flatten(), objectness.flatten().bool())
    assert float(losses['loss_obj'] * targets.normalizers['objectness']) == (
        pytest.approx(float(loss)))
    if any(boxes):
        of_box = {tuple(box.tolist()): int(label) for sample in samples
                  for box, label in zip(sample.gt_instances.bboxes,
                                        sample.gt_instances.labels)}
        assert labels[positive].tolist() == [
            of_box[tuple(box.tolist())] for box in used['loss_bbox'][1]]
        assert targets.normalizers['cls'] == positive.sum() > 1
        assert labels[0].eq(head.num_classes).all() == (boxes[0] == 0)
    else:
        assert 'loss_cls' not in used and not positive.any()
        assert targets.normalizers['cls'] == 1


@pytest.mark.parametrize('boxes', [MANY, (0, 0, 0)])
@pytest.mark.parametrize('prediction', ['cross_head', 'student'])
def test_objectness_is_distilled_everywhere(boxes, prediction):
    model = build(distiller_cfg(
        'yolox', prediction=prediction,
        loss_obj_kd=dict(BCE, loss_weight=0.5)))
    inputs, samples = batch(boxes)
    student, teacher = model.bbox_head, model.teacher.detector.bbox_head
    targets = []
    student.loss_obj.register_forward_hook(
        lambda _, args, made: targets.append(args[1]))
    losses = model.loss(inputs, samples)['loss_obj_kd']
    count = max(float(targets[0].sum()), 1)
    with torch.no_grad():
        maps = zip(model.extract_feat(inputs),
                   model.teacher.detector.extract_feat(inputs), LEVELS)
        for ours, theirs, level in maps:
            towers = [head.multi_level_reg_convs[level]
                      for head in (student, teacher)]
            predictors = [head.multi_level_conv_obj[level]
                          for head in (student, teacher)]
            ours, theirs = towers[0][0](ours), towers[1][0](theirs)
            if prediction == 'cross_head':
                towers[0], predictors[0] = towers[1], predictors[1]
                (mean, std), (to_mean, to_std) = (
                    (x.mean((0, 2, 3), keepdim=True),
                     x.std((0, 2, 3), keepdim=True)) for x in (ours, theirs))
                ours = (ours - mean) / (std + 1e-6) * to_std + to_mean
            ours, theirs = (predictor(tower[1](x)) for predictor, tower, x in
                            zip(predictors, towers, (ours, theirs)))
            wanted = binary_cross_entropy_with_logits(
                ours, theirs.sigmoid(), reduction='sum') * 0.5 / count
            assert ours[0].numel() == (96, 24, 6)[level]
            torch.testing.assert_close(losses[level], wanted, rtol=1e-4,
                                       atol=1e-4)


@pytest.mark.parametrize('kind', ['gfl', 'rtmdet', 'atss'])
def test_heads_without_objectness_are_refused(kind):
    cfg = distiller_cfg(kind, loss_obj_kd=BCE, loss_center_kd=None)
    name = dict(gfl='GFL', rtmdet='RTMDet', atss='ATSS')[kind]
    with pytest.raises(ValueError, match=(
            f'kd_cfg.loss_obj_kd: {name} heads have no objectness branch, '
            'only cls, reg.*; remove this')):
        build(cfg)
    # a teacher without, too
    with pytest.raises(ValueError, match='kd_cfg.loss_obj_kd: .* heads have '
                       'no objectness'):
        build(distiller_cfg('yolox', teacher_kind=kind, loss_reg_kd=GIOU))


# -- variants of the head ----------------------------------------------------


def test_depthwise_layers_with_channel_adapters():
    """As yolox-nano has them."""
    cfg = wide_teacher(distiller_cfg('yolox'), use_depthwise=True)
    cfg['bbox_head']['use_depthwise'] = True
    model = build(cfg)
    assert {name: (a.conv.in_channels, a.conv.out_channels) for name, a in (
        model.pair.adapters.items())} == dict(cls=(8, 16), reg=(8, 16))
    losses = model.loss(*batch())
    value, log = model.parse_losses(losses)
    value.backward()
    assert value.isfinite()
    for key in ('loss_cls_kd', 'loss_reg_kd', 'loss_obj_kd'):
        assert log[key] > 0
    for level in LEVELS:
        for towers in (model.bbox_head.multi_level_cls_convs,
                       model.bbox_head.multi_level_reg_convs):
            kept = towers[level][0]
            assert kept.depthwise_conv.conv.weight.grad.abs().max() > 0
            assert kept.pointwise_conv.conv.weight.grad.abs().max() > 0
    for adapter in model.pair.adapters.values():
        assert all(p.grad.abs().max() > 0 for p in adapter.parameters())
    assert list(model.state_dict()) == list(build(
        plain_cfg('yolox', use_depthwise=True)).state_dict())


def test_the_l1_loss_of_the_last_epochs_is_the_students_alone():
    """Which ``YOLOXModeSwitchHook`` adds."""
    first, last = build(distiller_cfg('yolox')), build(distiller_cfg('yolox'))
    last.bbox_head.use_l1 = True
    before, after = (total(m.loss(*batch())) for m in (first, last))
    assert after.pop('loss_l1') > 0
    assert after == before


# -- other methods and families ----------------------------------------------


@pytest.mark.parametrize('method', METHODS)
def test_every_method_works_and_waits_for_nothing(method):
    """With the samples and devices of a real step: no sync, no copy."""
    model, plain = build(METHODS[method]('yolox')), build(plain_cfg('yolox'))
    value, log = model.parse_losses(model.loss(*batch()))
    value.backward()
    distilled = {k: v for k, v in log.items() if '_kd' in k or 'sdd' in k}
    assert distilled and all(v > 0 for v in distilled.values())
    assert value.isfinite()
    for name in ('multi_level_conv_cls', 'multi_level_conv_obj'):
        assert getattr(model.bbox_head, name)[1].weight.grad.abs().max() > 0
    teacher = model.teacher.detector
    with pretend_device() as counts:
        for detector in (model, plain):
            detector.to(DEVICE)
        inputs, samples = on_device(*batch())
        found = []
        for step in (model.loss, plain.loss):
            step(inputs, samples)  # what is kept by size is there in the next
            counts.reset()
            step(inputs, samples)
            found.append((counts.syncs, counts.copies))
    assert teacher.bbox_head.multi_level_conv_cls[0].weight.device == DEVICE
    assert found[0] == found[1]


def test_regions_are_of_the_score():
    model = build(METHODS['SDD, map and box']('yolox'))
    inputs, samples = batch()
    _, paired = paired_of(model, inputs, samples)
    cls, _, objectness = model.bbox_head(model.extract_feat(inputs))
    for level, (ours, _) in enumerate(paired.class_maps('student')):
        torch.testing.assert_close(
            ours, product(cls[level].double(),
                          objectness[level].double()).float())


@pytest.mark.parametrize('student, teacher', [
    ('gfl', 'yolox'), ('rtmdet', 'yolox'), ('yolox', 'rtmdet'),
    ('yolox', 'retina')])
def test_other_families_learn_from_it_and_teach_it(student, teacher):
    model = build(distiller_cfg(
        student, teacher_kind=teacher, loss_reg_kd=GIOU, loss_obj_kd=None))
    inputs, samples = batch()
    losses, paired = paired_of(model, inputs, samples)
    value, log = model.parse_losses(losses)
    value.backward()
    assert value.isfinite()
    assert log['loss_cls_kd'] > 0 and log['loss_reg_kd'] > 0
    layers = model.head_adapter.layers('cls', 0)
    assert layers[0].conv.weight.grad.abs().max() > 0
    # by mmdet's own decoding, in the teacher's space
    if teacher == 'yolox':
        head, seen = model.teacher.detector.bbox_head, paired._taught
        priors = torch.cat(head.prior_generator.grid_priors(
            seen.sizes, device=inputs.device, with_stride=True))
        torch.testing.assert_close(
            paired.regression('cross_head', 'boxes')[1],
            head._bbox_decode(priors, paired.flat('teacher', 'reg')).flatten(
                0, 1))


# -- what mmdet ships with it ------------------------------------------------


def test_the_teacher_sees_the_resized_batch():
    """``BatchSyncRandomResize``: another size from every step to the next."""
    cfg = distiller_cfg('yolox')
    cfg['data_preprocessor'] = dict(
        type='DetDataPreprocessor', pad_size_divisor=32, batch_augments=[
            dict(type='BatchSyncRandomResize', random_size_range=(32, 160),
                 size_divisor=32, interval=1)])
    cfg['teacher_config']['model']['data_preprocessor'] = dict(
        type='DetDataPreprocessor', pad_size_divisor=32)
    model = build(cfg)
    MessageHub.get_current_instance().update_info('iter', 0)
    seen = dict(student=[], teacher=[])
    model.backbone.register_forward_pre_hook(
        lambda _, args: seen['student'].append(args[0]))
    model.teacher.detector.backbone.register_forward_pre_hook(
        lambda _, args: seen['teacher'].append(args[0]))
    random.seed(0)
    for seed in range(4):
        inputs, samples = batch((2, 1), (64, 64), seed)
        before = [s.gt_instances.bboxes.clone() for s in samples]
        data = model.data_preprocessor(
            dict(inputs=list(inputs), data_samples=samples), True)
        losses, paired = paired_of(model, data['inputs'],
                                   data['data_samples'])
        side = seen['student'][-1].size(-1)
        assert torch.equal(seen['student'][-1], seen['teacher'][-1])
        assert paired.shape == (2, sum((side // s)**2 for s in (8, 16, 32)))
        for sample, boxes in zip(data['data_samples'], before):
            torch.testing.assert_close(sample.gt_instances.bboxes,
                                       boxes * side / 64)
            assert sample.img_shape == (side, side)
        value, _ = model.parse_losses(losses)
        assert value.isfinite()
    assert len({x.size(-1) for x in seen['student']}) > 2


SMALL = (64, 64)


def shrink(model, width):
    model.backbone.widen_factor = width
    model.neck.update(in_channels=[int(c * width) for c in (256, 512, 1024)],
                      out_channels=int(256 * width))
    model.bbox_head.update(num_classes=len(CLASSES),
                           in_channels=int(256 * width),
                           feat_channels=int(256 * width))
    for part in (model.backbone, model.neck, model.bbox_head):
        part.norm_cfg.momentum = 0.5  # for few steps
    resize, = model.data_preprocessor.batch_augments
    resize.update(random_size_range=(96, 96), interval=2)


def road(folder, name, base, **kwargs):
    """A config of YOLOX-tiny, small in numbers, and all else as it is."""
    cfg = Config.fromfile(base)
    shrink(cfg.model, 1 / 16)
    loaders = cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader
    for part, loader in zip(('train', 'val', 'val'), loaders):
        loader.update(batch_size=4, num_workers=0, persistent_workers=False)
        (loader.dataset if part == 'val' else loader.dataset.dataset).update(
            data_root='data/shapes/', ann_file=f'{part}.json',
            data_prefix=dict(img=f'{part}/'), metainfo=dict(classes=CLASSES))
        for step in loader.dataset.pipeline:
            step.update({key: SMALL for key in ('scale', 'img_scale')
                         if key in step})
            if step.type == 'RandomAffine':
                step.border = (-32, -32)
    for evaluator in (cfg.val_evaluator, cfg.test_evaluator):
        evaluator.ann_file = 'data/shapes/val.json'
    cfg.train_cfg.update(max_epochs=EPOCHS, val_interval=EPOCHS)
    warmup, cosine, constant = cfg.param_scheduler
    warmup.end = cosine.begin = 1
    cosine.T_max = cosine.end = constant.begin = EPOCHS - LAST
    constant.end = EPOCHS
    switch, = (h for h in cfg.custom_hooks if h.type == 'YOLOXModeSwitchHook')
    switch.num_last_epochs = LAST
    cfg.default_hooks.checkpoint.update(interval=1, max_keep_ckpts=EPOCHS)
    cfg.model.test_cfg.score_thr = 0.0  # after so few steps
    cfg.default_hooks.logger.interval = 1
    cfg.merge_from_dict(dict(
        randomness=dict(seed=0, deterministic=True), **kwargs))
    cfg.dump(folder / name)


@pytest.fixture(scope='module')
def folder(shapes_root):
    """Plain and distilled students, and a teacher that has seen images."""
    ours = REPO / 'configs/crosskd' / OURS
    theirs = Config.fromfile(find_config(
        Config.fromfile(ours).model.teacher_config)).model
    shrink(theirs, 1 / 8)
    write(shapes_root / 'yolox_teacher.py', dict(model=theirs.to_dict()))
    teacher = build(theirs).train()
    # in eval mode, random weights predict boxes that have no end
    with torch.no_grad():
        for predictor in teacher.bbox_head.multi_level_conv_reg:
            predictor.weight *= 0.1
    images = torch.stack([
        torch.from_numpy(cv2.imread(str(path))).permute(2, 0, 1).float()
        for path in sorted(shapes_root.glob('data/shapes/train/*'))])
    for module in teacher.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
    teacher(images)
    torch.save(dict(state_dict=teacher.state_dict()),
               shapes_root / 'yolox_teacher.pth')
    road(shapes_root, 'yolox.py', ours, **{
        'model.teacher_config': 'yolox_teacher.py',
        'model.teacher_ckpt': 'yolox_teacher.pth'})
    road(shapes_root, 'yolox_plain.py', find_config(
        'mmdet::yolox/yolox_tiny_8xb8-300e_coco.py'))
    return shapes_root


@pytest.fixture(scope='module')
def whole(folder):
    """A run from its start to its end, and what it said."""
    out = tool('train.py', 'yolox.py', '--cfg-options',
               'val_evaluator.outfile_prefix=yolox_ours', cwd=folder)
    return folder / 'work_dirs/yolox', out


def size_of(work_dir, epoch):
    """Of the first batch after that epoch."""
    saved = torch.load(work_dir / f'epoch_{epoch}.pth', weights_only=False)
    return saved['module_attributes']['data_preprocessor.batch_augments.0'][
        '_input_size']


def test_our_config_trains_as_mmdet_ships_it(whole):
    work_dir, out = whole
    said = re.search(r'Epoch\(train\) +\[1\]\[1/3\].*', out)[0]
    for key in ('loss_cls', 'loss_bbox', 'loss_obj', 'loss_cls_kd',
                'loss_reg_kd', 'loss_obj_kd'):
        assert float(re.search(rf' {key}: (\S+)', said)[1]) > 0
    assert 'loss_l1' not in said
    first, last = out.split('No mosaic and mixup aug now!')
    assert re.search(r'Epoch\(train\) +\[2\]', first)
    assert 'loss_l1: ' not in first and 'loss_l1: ' in last
    assert re.search(r'Epoch\(train\) +\[3\]', last)
    saved = torch.load(work_dir / f'epoch_{EPOCHS}.pth', weights_only=False)
    plain = build(Config.fromfile(work_dir.parent.parent / 'yolox_plain.py')
                  .model)
    assert saved['state_dict'].keys() == plain.state_dict().keys()
    assert saved['ema_state_dict'].keys() == {
        'steps', *(f'module.{key}' for key in saved['state_dict'])}
    assert size_of(work_dir, 2) == size_of(work_dir, 3) == (96, 96)


def same_end(one, other):
    """All weights, their averages and the size of the next batch."""
    a, b = (torch.load(folder / f'epoch_{EPOCHS}.pth', weights_only=False)
            for folder in (one, other))
    kinds = ['state_dict', 'ema_state_dict', 'distillation_state_dict',
             'ema_distillation_state_dict']
    assert all(a[kind] for kind in kinds)
    return a['module_attributes'] == b['module_attributes'] and all(
        a[kind].keys() == b[kind].keys()
        and all(torch.equal(a[kind][k], b[kind][k]) for k in a[kind])
        for kind in kinds)


def resumed(folder, whole, work_dir, epoch, *options):
    """A run that goes on from a checkpoint of the whole one."""
    work_dir.mkdir()
    shutil.copy(whole / f'epoch_{epoch}.pth', work_dir)
    (work_dir / 'last_checkpoint').write_text(
        str(work_dir / f'epoch_{epoch}.pth'))
    out = tool('train.py', 'yolox.py', '--work-dir', work_dir, '--resume',
               *options, cwd=folder)
    assert f'resumed epoch: {epoch}' in out
    assert 'is killed and resumed' not in out  # nothing that differs
    return work_dir


@pytest.mark.slow
@pytest.mark.parametrize('epoch', [2, 3])
def test_resumed_before_the_switch_and_after_it(folder, whole, tmp_path,
                                                epoch):
    work_dir, _ = whole
    assert same_end(resumed(folder, work_dir, tmp_path / 'run', epoch),
                    work_dir)


@pytest.mark.slow
def test_persistent_workers_over_the_switch(folder, tmp_path):
    options = ('--cfg-options', 'train_dataloader.num_workers=1',
               'train_dataloader.persistent_workers=True')
    tool('train.py', 'yolox.py', '--work-dir', tmp_path / 'whole', *options,
         cwd=folder)
    assert same_end(resumed(folder, tmp_path / 'whole', tmp_path / 'run', 2,
                            *options), tmp_path / 'whole')


@pytest.mark.slow
@pytest.mark.skipif(is_installed(), reason='needs compiled ops of mmcv')
def test_plain_mmdet_tests_the_checkpoint(folder, whole, tmp_path):
    """Without crosskd: detections and AP of the run's own validation."""
    work_dir, out = whole
    found, theirs = results_of_plain_mmdet(
        'yolox_plain.py', work_dir / f'epoch_{EPOCHS}.pth', tmp_path, folder)
    ours = json.loads((folder / 'yolox_ours.bbox.json').read_text())
    assert found == metrics(out)
    assert len(ours) > 100 and ours == theirs
    assert sum(math.isfinite(sum(one['bbox'])) for one in ours) > 100


# -- two ranks ---------------------------------------------------------------


def normalizers(rank, boxes):
    """What the head's own loss was divided by, and what ours are."""
    model = build(distiller_cfg('yolox'))
    raw = []
    model.bbox_head.loss_obj.register_forward_hook(
        lambda _, args, made: raw.append(made))
    losses, paired = paired_of(model, *batch(boxes[rank], seed=rank))
    return float(raw[0] / losses['loss_obj']), float(paired.normalizer('cls'))


@pytest.mark.slow
@pytest.mark.parametrize('boxes', [((3, 2), (0, )), ((0, ), (0, ))])
def test_normaliser_of_two_ranks_is_that_of_the_loss(ranks, boxes):
    found = ranks(normalizers, boxes)
    assert found[0] == pytest.approx(found[1])
    used, ours = found[0]
    assert ours == pytest.approx(used) and (used > 1) == any(boxes[0])


# -- checks of mixed data ----------------------------------------------------


@pytest.mark.parametrize('change, words', [
    (dict(ann_file='gone.json'),
     r'train_dataloader\.dataset\.dataset\.ann_file=.*gone\.json'),
    (dict(metainfo=dict(classes=('circle', 'squares'))),
     r"train_dataloader\.dataset\.dataset\.metainfo\.classes: 'squares' is "
     'not a category'),
    (dict(data_prefix=dict(img='gone/')),
     r'train_dataloader\.dataset\.dataset: 12 of 12 images are not there'),
    (dict(metainfo=dict(classes=CLASSES[:4])),
     r'bbox_head\.num_classes=5: train_dataloader\.dataset has 4 classes'),
], ids=['file', 'name', 'images', 'number'])
def test_data_inside_a_mix_are_checked(folder, monkeypatch, change, words):
    monkeypatch.chdir(folder)
    cfg = Config.fromfile('yolox_plain.py')
    cfg.train_dataloader.dataset.dataset.update(change)
    with pytest.raises((FileNotFoundError, ValueError), match=words):
        check_data('train_dataloader', cfg.train_dataloader, build(cfg.model))
