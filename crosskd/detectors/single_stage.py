"""A single-stage detector with a teacher, whatever is distilled."""
from mmdet.models.detectors import SingleStageDetector
from mmdet.registry import MODELS

from .mixin import DistillationMixin


@MODELS.register_module()
class DistilledSingleStageDetector(DistillationMixin, SingleStageDetector):
    """mmdet's ``SingleStageDetector`` that learns what ``kd_cfg`` says.

    Without a method of its own: any of the losses and distillers of
    ``kd_cfg``, also those of other packages.  Example config, with features
    alone::

        _base_ = 'mmdet::gfl/gfl_r50_fpn_1x_coco.py'
        custom_imports = dict(imports=['crosskd'], allow_failed_imports=False)
        model = dict(
            type='DistilledSingleStageDetector',
            teacher_config='mmdet::gfl/gfl_r101_fpn_ms-2x_coco.py',
            teacher_ckpt='teacher.pth',
            kd_cfg=dict(loss_feat_kd=dict(type='PKDLoss', loss_weight=6.0)))

    Arguments and errors as those of
    :class:`~crosskd.detectors.DistillationMixin`.
    """
