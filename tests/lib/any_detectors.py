"""Small detectors of other kinds than those with a dense head alone."""
import copy
from pathlib import Path

import mmdet
from experiments import CLASSES
from mmdet.testing import demo_mm_inputs
from mmengine.config import Config

CONFIGS = Path(mmdet.__file__).parent / '.mim/configs'
FILES = dict(
    faster='faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
    mask='mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py',
    dino='dino/dino-4scale_r50_8xb2-12e_coco.py',
    ssd='ssd/ssdlite_mobilenetv2-scratch_8xb24-600e_coco.py')
KINDS = tuple(FILES)
WIDTH, WIDE = 8, 16  # of students and of teachers
PKD = dict(type='PKDLoss', loss_weight=6.0)
CLASS_COUNT = len(CLASSES)


def _backbone(width, out):
    return dict(type='ResNet', depth=18, base_channels=width, num_stages=4,
                out_indices=out, norm_eval=False, style='pytorch',
                norm_cfg=dict(type='BN', requires_grad=True))


def _two_stages(model, width):
    model.neck.update(in_channels=[width * 2**i for i in range(4)],
                      out_channels=width)
    model.rpn_head.update(in_channels=width, feat_channels=width)
    heads = model.roi_head
    heads.bbox_roi_extractor.out_channels = width
    heads.bbox_head.update(in_channels=width, fc_out_channels=2 * width,
                           num_classes=CLASS_COUNT)
    if 'mask_head' in heads:
        heads.mask_roi_extractor.out_channels = width
        heads.mask_head.update(in_channels=width, conv_out_channels=width,
                               num_convs=1, num_classes=CLASS_COUNT)
    model.train_cfg.rpn_proposal.update(nms_pre=50, max_per_img=20)
    model.train_cfg.rcnn.sampler.num = 32
    model.test_cfg.rpn.update(nms_pre=50, max_per_img=20)
    model.test_cfg.rcnn.score_thr = 0.0


def _dino(model, width):
    """Its neck is as wide as ever: mmdet 3.3 embeds places in 256 numbers."""
    model.neck.in_channels = [2 * width, 4 * width, 8 * width]
    for part in (model.encoder, model.decoder):
        part.num_layers = 2
        for key, value in part.layer_cfg.items():
            value.update(dict(feedforward_channels=2 * width)
                         if key == 'ffn_cfg' else dict(num_heads=4))
    model.num_queries = 12
    model.dn_cfg.group_cfg.num_dn_queries = 6
    model.bbox_head.num_classes = CLASS_COUNT
    model.test_cfg.max_per_img = 12


def _ssd(model, width):
    widths = [4 * width, 8 * width, width, width]
    model.neck.update(in_channels=widths[:2], out_channels=widths,
                      level_strides=(2, 2), level_paddings=(1, 1))
    model.bbox_head.update(
        in_channels=widths, num_classes=CLASS_COUNT,
        anchor_generator=dict(
            type='SSDAnchorGenerator', scale_major=False, strides=[
                16, 32, 64, 128], ratios=[[2], [2, 3], [2, 3], [2]],
            min_sizes=[16, 32, 48, 64], max_sizes=[32, 48, 64, 96]))
    model.test_cfg.score_thr = 0.0


def plain(kind: str, width: int = WIDTH) -> dict:
    """A plain mmdet detector: the config of its page, in a few channels."""
    model = Config.fromfile(str(CONFIGS / FILES[kind])).model
    outs = dict(dino=(1, 2, 3), ssd=(2, 3)).get(kind, (0, 1, 2, 3))
    model.backbone = _backbone(width, outs)
    dict(dino=_dino, ssd=_ssd).get(kind, _two_stages)(model, width)
    return copy.deepcopy(model.to_dict())


def distilled(student: dict, teacher: dict, **loss) -> dict:
    """That student, which learns features from that teacher."""
    return copy.deepcopy(dict(
        student, type='DistilledDetector', detector=student['type'],
        teacher_config=dict(model=teacher), teacher_ckpt='random',
        kd_cfg=dict(loss_feat_kd=PKD, **loss)))


def of_kind(kind: str, **loss) -> dict:
    return distilled(plain(kind), plain(kind, WIDE), **loss)


def inputs(model, training=True, side=96):
    """A batch of two images with boxes and masks, as the model takes it."""
    data = demo_mm_inputs(2, [(3, side, side)] * 2, num_classes=CLASS_COUNT,
                          num_items=[2, 3], with_mask=True)
    return model.data_preprocessor(data, training)
