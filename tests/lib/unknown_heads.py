"""Small detectors whose heads no adapter knows, and any as a student."""
import copy

from helpers import CHANNELS, NUM_CLASSES, plain_cfg
from mmengine.hub import get_config

PKD = dict(loss_feat_kd=dict(type='PKDLoss', loss_weight=6.0))
#: configs of mmdet's by a short name
CONFIGS = dict(
    faster_rcnn='faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
    cascade_rcnn='cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py',
    mask_rcnn='mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py',
    fovea='foveabox/fovea_r50_fpn_4xb4-1x_coco.py',
    ssd='ssd/ssd300_coco.py',  # which mmdet cannot predict with
    yolof='yolof/yolof_r50-c5_8xb8-1x_coco.py',
    detr='detr/detr_r50_8xb2-150e_coco.py')


def unknown_cfg(name: str, num_classes: int = NUM_CLASSES,
                width: int = 8) -> dict:
    """A plain detector of few parameters, of which no adapter knows the head.

    Args:
        name: of ``CONFIGS``.
        num_classes: of each of its heads.
        width: of its ResNet.
    """
    cfg = get_config(f'mmdet::{CONFIGS[name]}').model.to_dict()
    small = plain_cfg('gfl', width)
    last, channels = 8 * width, small['neck']['in_channels']
    cfg['backbone'] = small['backbone']
    cfg['data_preprocessor'].update(pad_size_divisor=32)
    if name == 'ssd':
        cfg.update(neck=small['neck'])
        cfg['bbox_head'].update(
            in_channels=[CHANNELS] * 3, anchor_generator=dict(
                type='SSDAnchorGenerator', scale_major=False, input_size=96,
                strides=[8, 16, 32], ratios=[[2], [2, 3], [2]],
                min_sizes=[16, 32, 64], max_sizes=[32, 64, 96]))
    elif name == 'fovea':
        cfg['neck'] = small['neck']
        cfg['bbox_head'].update(
            in_channels=CHANNELS, feat_channels=CHANNELS, stacked_convs=1,
            strides=[8, 16, 32], base_edge_list=[16, 32, 64],
            scale_ranges=((1, 32), (16, 64), (32, 128)))
    elif name == 'yolof':
        cfg['backbone']['out_indices'] = (3, )
        cfg['neck'].update(in_channels=last, out_channels=CHANNELS,
                           block_mid_channels=CHANNELS)
        cfg['bbox_head'].update(in_channels=CHANNELS)
    elif name == 'detr':
        cfg.update(num_queries=10, test_cfg=dict(max_per_img=10))
        cfg['backbone']['out_indices'] = (3, )
        cfg['neck'].update(in_channels=[last], out_channels=CHANNELS)
        layer = dict(
            self_attn_cfg=dict(embed_dims=CHANNELS, num_heads=2, dropout=0.0),
            ffn_cfg=dict(embed_dims=CHANNELS, feedforward_channels=8,
                         ffn_drop=0.0))
        cfg['encoder'] = dict(num_layers=1, layer_cfg=layer)
        cfg['decoder'].update(num_layers=1, layer_cfg=dict(
            layer, cross_attn_cfg=layer['self_attn_cfg']))
        cfg['positional_encoding']['num_feats'] = CHANNELS // 2
        cfg['bbox_head'].update(embed_dims=CHANNELS)
    else:
        cfg['neck'].update(in_channels=channels, out_channels=CHANNELS)
        cfg['rpn_head'].update(in_channels=CHANNELS, feat_channels=CHANNELS)
        roi = cfg['roi_head']
        for kind in ('bbox', 'mask'):
            if f'{kind}_head' in roi:
                roi[f'{kind}_roi_extractor']['out_channels'] = CHANNELS
        for head in heads_of(cfg):
            head['in_channels'] = CHANNELS
            if 'fc_out_channels' in head:
                head['fc_out_channels'] = CHANNELS
            else:
                head.update(num_convs=1, conv_out_channels=CHANNELS)
    for head in heads_of(cfg):
        head['num_classes'] = num_classes
    return cfg


def heads_of(cfg: dict) -> list[dict]:
    """The configs of the heads of a detector that have classes."""
    found = [cfg.get('roi_head', cfg).get(name)
             for name in ('bbox_head', 'mask_head')]
    return [one for some in found if some is not None
            for one in (some if isinstance(some, list) else [some])]


def distilled(student: dict, teacher: dict, teacher_ckpt: str = 'random',
              **kd) -> dict:
    """A student that learns the features of a teacher, both plain."""
    cfg = copy.deepcopy(student)
    return dict(cfg, type='DistilledDetector', detector=cfg['type'],
                teacher_config=dict(model=copy.deepcopy(teacher)),
                teacher_ckpt=teacher_ckpt, kd_cfg={**PKD, **kd})
