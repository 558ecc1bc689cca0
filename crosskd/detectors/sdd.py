"""The SDD detector."""
from mmdet.registry import MODELS

from .single_stage import DistilledSingleStageDetector


@MODELS.register_module()
class SDDSingleStageDetector(DistilledSingleStageDetector):
    """SDD (Wei et al., CVPR 2024, arXiv 2403.13512) on a dense head.

    In each region (whole maps, ground-truth boxes), the classification logits
    of student and teacher are pooled to grids of several scales, and each cell
    is distilled separately.

    Example config, with mmdet's GFL-R101 as the teacher of a GFL-R50::

        _base_ = 'mmdet::gfl/gfl_r50_fpn_1x_coco.py'
        custom_imports = dict(imports=['crosskd'], allow_failed_imports=False)
        model = dict(
            type='SDDSingleStageDetector',
            teacher_config='mmdet::gfl/gfl_r101_fpn_ms-2x_coco.py',
            teacher_ckpt='teacher.pth',
            kd_cfg=dict(
                loss_sdd=dict(type='SDDLoss', base='kd', temperature=1.0,
                              scales=(1, 2, 4, 8, 16), loss_weight=5.0),
                sdd_regions=dict(map=dict())))

    Arguments and errors: see :class:`DistilledSingleStageDetector`.
    """
    required: tuple[str, ...] = ('loss_sdd', )
    prediction = 'student'
