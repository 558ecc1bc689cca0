"""Configs that practitioners have, made so small that a CPU trains them.

Only sizes, paths and lengths are others: the pipelines, with their caches and
the hook that switches them, and the average of the weights are mmdet's.
"""
import json
import shutil
from pathlib import Path

import mmdet
import torch
from experiments import CLASSES, write
from mmengine.config import Config
from processes import python
from tool_output import metrics
from tool_server import run

from conftest import REPO
from crosskd.configs import find_config

#: arguments of transforms that are sizes of images, in pixels
SIZES = ('img_scale', 'scale', 'crop_size', 'size')
SIDE = 640  # of mmdet's images


def shrink(model, width=32):
    """A model config of the same structure that a CPU runs in a second."""
    backbone = model.backbone
    backbone.pop('init_cfg', None)
    if backbone.type == 'SwinTransformer':
        backbone.update(
            embed_dims=12, depths=[1, 1, 1, 1], num_heads=[1, 1, 1, 1])
        model.neck.in_channels = [12 * 2**i for i in backbone.out_indices]
    elif backbone.type == 'CSPDarknet':
        backbone.update(deepen_factor=0.33, widen_factor=0.125)
        model.neck.update(in_channels=[32, 64, 128], num_csp_blocks=1)
    elif backbone.type == 'CSPNeXt':
        backbone.update(deepen_factor=0.167, widen_factor=width / 256)
        model.neck.update(in_channels=[width, 2 * width, 4 * width],
                          num_csp_blocks=1)
    else:
        expansion = 4 if backbone.depth >= 50 else 1
        backbone.update(base_channels=8)
        if backbone.type == 'ResNeXt':
            backbone.update(groups=2)
        model.neck.in_channels = [8 * expansion * 2**i for i in range(4)]
    model.neck.out_channels = width
    if 'roi_head' in model:
        _shrink_two_stages(model, width)
    else:
        model.bbox_head.update(in_channels=width, feat_channels=width)
    if 'point_feat_channels' in model.get('bbox_head', {}):
        model.bbox_head.point_feat_channels = width
    return model


def _shrink_two_stages(model, width):
    model.rpn_head.update(in_channels=width, feat_channels=width)
    heads = model.roi_head
    heads.bbox_roi_extractor.out_channels = width
    # one head, or one a stage
    for head in ([heads.bbox_head] if isinstance(heads.bbox_head, dict)
                 else heads.bbox_head):
        head.update(in_channels=width, fc_out_channels=width)
    if 'mask_head' in heads:
        heads.mask_roi_extractor.out_channels = width
        heads.mask_head.update(in_channels=width, conv_out_channels=width,
                               num_convs=1)
    for proposals in (model.train_cfg.rpn_proposal, model.test_cfg.rpn):
        proposals.update(nms_pre=50, max_per_img=20)


def small_config(path, config, root, side=64, width=32, batch_size=3,
                 epochs=4, second_stage=2, teacher=None):
    """Write a whole config like one of ours or of mmdet's, but small.

    Args:
        path: of the new file.
        config: of ours, relative to ``configs/``, or ``'mmdet::….py'``.
        root: folder with ``train.json``, ``val.json`` and their images.
        side: of the square images.
        width: channels of neck and head; the backbone's are in proportion.
        batch_size: images a step, for which the learning rate is mmdet's.
        epochs: how many.
        second_stage: how many of them come after the pipeline's switch.
        teacher: the config and the checkpoint of the teacher, such as
            ``('teacher.py', 'random')``, where there is one.

    Returns:
        Config: what was written.
    """
    cfg = Config.fromfile(
        find_config(config) if '::' in config else REPO / 'configs' / config)
    shrink(cfg.model, width).bbox_head.num_classes = len(CLASSES)
    if teacher:
        cfg.model.teacher_config, cfg.model.teacher_ckpt = map(str, teacher)
    for part in ('train', 'val'):
        loader = cfg[f'{part}_dataloader']
        loader.update(batch_size=batch_size, num_workers=0,
                      persistent_workers=False)
        _shrink_images(loader.dataset.pipeline, side)
        loader.dataset.update(
            data_root=f'{root}/', ann_file=f'{part}.json',
            data_prefix=dict(img=f'{part}/'), metainfo=dict(classes=CLASSES))
    cfg.val_evaluator.ann_file = f'{root}/val.json'
    cfg.test_dataloader, cfg.test_evaluator = (
        cfg.val_dataloader, cfg.val_evaluator)
    for hook in cfg.custom_hooks:
        if hook.type == 'PipelineSwitchHook':
            hook.switch_epoch = epochs - second_stage
            _shrink_images(hook.switch_pipeline, side)
    images = len(json.loads(Path(root, 'train.json').read_text())['images'])
    steps = -(-images // batch_size) * epochs
    whole = cfg.train_cfg.max_epochs
    for scheduler in cfg.param_scheduler:
        in_epochs = scheduler.get('by_epoch', True)
        for key in {'begin', 'end', 'T_max', 'T_0'} & set(scheduler):
            scheduler[key] = (round(scheduler[key] * epochs / whole)
                              if in_epochs else
                              min(scheduler[key], steps // 10))
    cfg.train_cfg.update(max_epochs=epochs, val_interval=epochs,
                         dynamic_intervals=None)
    cfg.default_hooks.checkpoint.update(interval=1, max_keep_ckpts=epochs)
    cfg.default_hooks.logger.interval = 1
    cfg.auto_scale_lr.base_batch_size = batch_size
    cfg.randomness = dict(seed=0, deterministic=True)
    write(path, cfg.to_dict())
    return cfg


def _shrink_images(pipeline, side):
    for step in pipeline:
        for key in SIZES:
            if key in step:
                step[key] = tuple(n * side // SIDE for n in step[key])


def resumed(config, whole, folder, epoch, **kwargs):
    """Go on from a checkpoint of a whole run, as after a kill.

    Args:
        config: path of the config.
        whole: work directory of the run.
        folder: work directory of the other.
        epoch: after which it is taken up.
        kwargs: for :func:`tool_server.run`.

    Returns:
        str: what the other run printed.
    """
    folder.mkdir()
    shutil.copy(whole / f'epoch_{epoch}.pth', folder)
    return run('train.py', config, '--work-dir', folder, '--resume', **kwargs)


def same_states(one, other):
    """Whether two checkpoints have equal weights, of which kinds so ever."""
    a, b = (torch.load(path, map_location='cpu', weights_only=False)
            for path in (one, other))
    kinds = [key for key in a if key.endswith('state_dict')]
    assert kinds == [key for key in b if key.endswith('state_dict')]
    # trained, averaged, and both of what is beside the student's
    assert len(kinds) == 4, kinds
    return all(torch.equal(a[kind][key], b[kind][key])
               for kind in kinds for key in a[kind])


#: mmdet's own test tool, in a process where crosskd cannot be imported
PLAIN_MMDET = '''
import runpy
import sys

sys.modules['crosskd'] = None
tool = sys.argv[0] = sys.argv.pop(1)
runpy.run_path(tool, run_name='__main__')
'''


def results_of_plain_mmdet(config, checkpoint, work_dir, cwd, *options):
    """Test a checkpoint without crosskd; needs mmcv's compiled ops.

    Args:
        config: the plain student's.
        checkpoint: of the distilled student.
        work_dir: of the test.
        cwd: where the test runs.
        options: further ones of ``--cfg-options``.

    Returns:
        tuple: AP and the rest as they were printed, and all detections.
    """
    tool = Path(mmdet.__file__).parent / '.mim/tools/test.py'
    prefix = work_dir / 'plain'
    out = python('-c', PLAIN_MMDET, tool, config, checkpoint, '--work-dir',
                 work_dir, '--cfg-options',
                 f'test_evaluator.outfile_prefix={prefix}', *options, cwd=cwd)
    assert 'unexpected key' not in out and 'missing key' not in out
    return metrics(out), json.loads(Path(f'{prefix}.bbox.json').read_text())
