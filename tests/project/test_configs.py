"""Every config in configs/: built, one training step, one prediction."""
from pathlib import Path

import pytest
import torch
from any_detectors import inputs as inputs_with_masks
from families import FAMILY, quick_cases
from helpers import batch, build
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.runner import Runner
from practitioners import shrink

from crosskd.compat import mmcv_ext
from crosskd.configs import find_config
from crosskd.detectors import DistillationMixin

ROOT = Path(__file__).parents[2] / 'configs'
CONFIGS = sorted(
    p.relative_to(ROOT).as_posix() for p in ROOT.rglob('*.py')
    if p.parent.name != '_base_')
ON_COCO = [c for c in CONFIGS if c.endswith('_coco.py')]

PUBLISHED = dict(  # split, weights of cls, reg and PKD
    gflv1=(3, 1.0, 4.0, 6.0), retinanet=(3, 1.0, 1.0, 2.0),
    atss=(3, 1.0, 1.0, 1.0), fcos=(2, 0.4, 0.75, 2.0))
RECIPES = [c for c in CONFIGS if c.startswith(('crosskd/', 'crosskd_pkd/'))
           and any(family in c for family in PUBLISHED)]
FEATURES = ('pkd', 'cwd', 'mgd', 'fgd')  # folders: these are all they distil
COMPILED = ('reppoints', *(row.name for row in FAMILY.values()
                           if row.compiled_in_mmdet))
# whose third output is learned from the teacher, too
QUALITY = ('ATSSHead', 'PAAHead', 'DDODHead')
# mmdet's, and for how many images a step, where not 0.01 for 16
LEARNING_RATES = {'_yolox': (0.01, 64), '_rtmdet': (0.004, 256),
                  '_r50_faster': (0.02, 16), '_r101_faster': (0.02, 16),
                  '_r50_mask': (0.02, 16)}


@pytest.mark.parametrize('name', CONFIGS)
def test_a_config_that_distils_names_the_runner(name):
    """So that mmdet's own train tool has all that ours has."""
    cfg = Config.fromfile(ROOT / name)
    distils = 'teacher_config' in cfg.model
    assert cfg.get('runner_type') == ('DistillationRunner' if distils
                                      else None)
    assert ('custom_imports' in cfg) == distils


@pytest.mark.parametrize('name', quick_cases(
    {Path(name).parent: name for name in CONFIGS}.values(), CONFIGS))
def test_config_runs(name):
    if mmcv_ext.is_installed() and any(
            part in name for part in COMPILED):
        pytest.skip('needs compiled ops of mmcv')
    cfg = Config.fromfile(ROOT / name)
    shrink(cfg.model)
    if 'kd_cfg' in cfg.model:
        teacher = Config.fromfile(find_config(cfg.model.teacher_config))
        if mmcv_ext.is_installed():  # which has no deformable convolutions
            teacher.model.backbone.pop('dcn', None)
        cfg.model.update(
            teacher_config=dict(model=shrink(teacher.model)),
            teacher_ckpt='random')
    # of no run: schedules would follow that of an earlier test
    MessageHub.get_instance(f'test of {name}')
    model = build(cfg.model, joins=False)
    if 'paa' in name:  # whose mixtures cannot be fitted to just any losses
        model.init_weights()
    if 'inherit' in cfg.model.get('kd_cfg', {}):
        model.init_weights()
        theirs = model.teacher.detector.state_dict()
        assert all(torch.equal(value, theirs[key])
                   for key, value in model.state_dict().items()
                   if key.startswith(('neck.', 'bbox_head.')))
    if 'mask_head' in cfg.model.get('roi_head', {}):
        data = inputs_with_masks(model, side=128)
        inputs, samples = data['inputs'], data['data_samples']
    else:
        # mmcv's deformable convolutions take no maps smaller than their kernel
        inputs, samples = batch(
            (1, 2), (384, 384) if 'ddod' in name else (128, 160))
    losses, log = model.parse_losses(model.loss(inputs, samples))
    losses.backward()
    assert all(v.isfinite() for v in log.values())
    if 'kd_cfg' in cfg.model:
        assert isinstance(model, DistillationMixin)
        assert {key for key in log if 'kd' in key or 'sdd' in key} == (
            distilled_by(name, cfg.model.get('bbox_head')))
        assert all(log[key] > 0 for key in log if 'kd' in key or 'sdd' in key)
    model.eval()
    with torch.no_grad():
        results = model.predict(inputs, samples)
    assert len(results) == 2 and 'pred_instances' in results[0]


def distilled_by(name, head):
    """Names of the distillation losses of a config."""
    folder = name.partition('/')[0]
    if folder in FEATURES:
        return {'loss_feat_kd'}
    outputs = {'loss_reg_kd'}
    if 'crosskd' in name or folder == 'bckd':
        outputs.add('loss_cls_kd')
    if 'pkd' in name:
        outputs.add('loss_feat_kd')
    if 'sdd' in name:
        outputs.add('loss_sdd_map')
    if head.type in QUALITY:
        outputs.add('loss_center_kd')
    if head.type == 'YOLOXHead':
        outputs.add('loss_obj_kd')
    return outputs


def test_a_recipe_stands_in_one_place():
    """But in what is copied out of here, which test_make_config compares."""
    found = {p.relative_to(ROOT).as_posix() for p in ROOT.rglob('*.py')
             if 'KDQualityFocalLoss' in p.read_text()}
    assert found == {'own_data/crosskd_r18_r50_own_data.py', *(
        f'_base_/crosskd_{family}.py'
        for family in ('retina', 'gfl', 'atss', 'fcos'))}


@pytest.mark.parametrize('name', RECIPES)
def test_published_recipe(name):
    cfg = Config.fromfile(ROOT / name)
    kd = cfg.model.kd_cfg
    family = next(f for f in PUBLISHED if f in name)
    split, cls, reg, pkd = PUBLISHED[family]
    assert kd.reused_teacher_head_idx == split
    assert kd.loss_cls_kd.loss_weight == cls and kd.loss_cls_kd.beta == 1
    assert kd.loss_reg_kd.loss_weight == reg
    assert ('loss_feat_kd' in kd) == ('pkd' in name)
    if 'pkd' in name:
        assert kd.loss_feat_kd.loss_weight == pkd
    assert cfg.train_cfg.max_epochs == (24 if '_2x' in name else 12)
    if 'swint' not in name:  # mmdet publishes no weights for that one
        assert cfg.model.teacher_ckpt.startswith('https://')


BETWEEN_RETINANETS, TWO_STAGES = 'retinanet_x101', 'faster-rcnn_cascade'
PUBLISHED_LOSSES = [
    ('pkd/', 'faster-rcnn', dict(loss_weight=6.0)),
    ('pkd/', 'swin', dict(loss_weight=6.0)),
    ('pkd/', 'fcos-x101', dict(loss_weight=10.0)),
    ('pkd/', BETWEEN_RETINANETS, dict(loss_weight=10.0)),
    ('pkd/', 'reppoints', dict(loss_weight=10.0)),
    ('cwd/', 'rtmdet', dict(loss_weight=1.0, norm='channel')),
    ('mgd/', BETWEEN_RETINANETS, dict(loss_weight=2e-5, mask_ratio=0.65)),
    ('mgd/', 'reppoints', dict(loss_weight=2e-5, mask_ratio=0.65)),
    ('mgd/', TWO_STAGES, dict(loss_weight=5e-7, mask_ratio=0.45)),
    *[('fgd/', which, dict(temperature=0.5, alpha=1e-3, beta=5e-4,
                           gamma=5e-4, lambda_=5e-6))
      for which in (BETWEEN_RETINANETS, 'gflv1', 'yolox')],
    ('fgd/', 'fcos', dict(temperature=0.8, alpha=1.6e-3, beta=8e-4,
                          gamma=8e-4, lambda_=8e-6)),
    *[('fgd/', which, dict(temperature=0.5, alpha=5e-5, beta=2.5e-5,
                           gamma=5e-5, lambda_=5e-7))
      for which in (TWO_STAGES, 'mask-rcnn_cascade')]]
SAME_HEADS = {'mgd/': (BETWEEN_RETINANETS, 'reppoints'),
              'fgd/': (BETWEEN_RETINANETS, 'gflv1')}
CLIPPED = ('mgd/', 'fgd/')  # gradients, and FCOS's and nobody else's by mmdet


@pytest.mark.parametrize('folder, part, loss', PUBLISHED_LOSSES)
def test_a_published_loss_of_features(folder, part, loss):
    names = [c for c in CONFIGS if c.startswith(folder) and part in c]
    assert names
    for name in names:
        found = dict(Config.fromfile(ROOT / name).model.kd_cfg.loss_feat_kd)
        found.pop('type')
        assert found == loss


@pytest.mark.parametrize('name', [
    c for c in CONFIGS if c.startswith(FEATURES)])
def test_a_published_training_by_features(name):
    cfg = Config.fromfile(ROOT / name)
    assert cfg.train_cfg.max_epochs == (
        300 if '-300e' in name else 24 if '_2x' in name else 12)
    clips = name.startswith(CLIPPED) and 'yolox' not in name
    assert cfg.optim_wrapper.get('clip_grad') == (
        dict(max_norm=35, norm_type=2) if clips else None)
    same = SAME_HEADS.get(name[:4], ())
    assert cfg.model.kd_cfg.get('inherit') == (
        ('neck', 'bbox_head') if any(part in name for part in same) else None)
    milestones = [one.milestones for one in cfg.param_scheduler
                  if one.type == 'MultiStepLR']
    assert milestones == ([[16, 22]] if '_2x' in name else
                          [[8, 11]] if '_1x' in name else [])


def test_bckd_is_imitation_by_its_two_losses():
    cfg = Config.fromfile(
        ROOT / 'bckd/bckd_r50_gflv1_r101-2x-ms_fpn_1x_coco.py')
    assert cfg.model.kd_cfg == dict(
        loss_cls_kd=dict(type='KDQualityFocalLoss', beta=1, loss_weight=1.0),
        loss_reg_kd=dict(type='GIoULoss', loss_weight=4.0),
        prediction='student', reused_teacher_head_idx=None)


def test_class_scores_imitate_channel_by_channel():
    cfg = Config.fromfile(
        ROOT / 'cwd/cwd_r50_gflv1_r101-2x-ms_fpn_1x_coco.py')
    assert cfg.model.kd_cfg == dict(distillers=[dict(
        type='FeatureDistiller', student='bbox_head.gfl_cls',
        teacher='bbox_head.gfl_cls', loss_feat_kd=dict(
            type='ChannelWiseDivergence', loss_weight=5.0))])


@pytest.mark.parametrize('name', [c for c in CONFIGS if 'cwd_rtmdet' in c])
def test_rtmdet_is_without_its_teacher_after_mosaic_and_mixup(name):
    """Its pipeline is switched for the last 20 of 300 epochs."""
    cfg = Config.fromfile(ROOT / name)
    assert cfg.model.kd_cfg.schedule == dict(
        loss_feat_kd=dict(type='StopWeight', begin=-20))
    hook, = (hook for hook in cfg.custom_hooks
             if hook.type == 'PipelineSwitchHook')
    assert hook.switch_epoch - cfg.train_cfg.max_epochs == -20


@pytest.mark.parametrize('name', ON_COCO)
def test_the_learning_rate_is_that_of_mmdet(name):
    cfg = Config.fromfile(ROOT / name)
    lr, images = next((rate for family, rate in LEARNING_RATES.items()
                       if family in name), (0.01, 16))
    assert cfg.auto_scale_lr == dict(enable=True, base_batch_size=images)
    assert cfg.optim_wrapper.optimizer.lr == lr


@pytest.mark.parametrize('name', [
    c for c in ON_COCO if 'retinanet' in c
    and not c.startswith(FEATURES)])  # whose papers have mmdet's own
def test_retinanet_students_have_p6_on_the_output(name):
    cfg = Config.fromfile(ROOT / name)
    teacher = Config.fromfile(find_config(cfg.model.teacher_config))
    assert cfg.model.neck.add_extra_convs == 'on_output'
    assert teacher.model.neck.add_extra_convs == 'on_input'
    # and so that the weights of P6 are others: all channels of C5, or P5's
    student, teacher = (
        MODELS.build(shrink(model).neck)
        for model in (cfg.model, teacher.model))
    assert student.fpn_convs[3].conv.in_channels == 32
    assert teacher.fpn_convs[3].conv.in_channels == teacher.in_channels[-1]
    assert teacher.in_channels[-1] > 32


def test_one_gpu_with_two_images_takes_an_eighth_of_it(tmp_path):
    cfg = Config.fromfile(ROOT / RECIPES[0])
    shrink(cfg.model).update(teacher_config=dict(
        model=shrink(Config.fromfile(
            find_config(cfg.model.teacher_config)).model)),
        teacher_ckpt='random')
    runner = Runner(
        cfg.model, tmp_path, cfg.train_dataloader, train_cfg=cfg.train_cfg,
        optim_wrapper=cfg.optim_wrapper, auto_scale_lr=cfg.auto_scale_lr,
        default_scope='mmdet')
    wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    runner.scale_lr(wrapper, runner.auto_scale_lr)
    assert wrapper.get_lr()['lr'] == [pytest.approx(0.01 * 2 / 16)] * len(
        wrapper.param_groups)
