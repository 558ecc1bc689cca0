"""The CrossKD detectors."""
from mmdet.models.detectors import ATSS, FCOS, GFL, RetinaNet, RTMDet
from mmdet.registry import MODELS

from ..heads import (
    ATSSHeadAdapter,
    FCOSHeadAdapter,
    GFLHeadAdapter,
    RetinaHeadAdapter,
    RTMDetHeadAdapter,
)
from .single_stage import DistilledSingleStageDetector


@MODELS.register_module()
class CrossKDSingleStageDetector(DistilledSingleStageDetector):
    """CrossKD (Wang et al., CVPR 2024, arXiv 2306.11369).

    The student's intermediate head features pass through the remaining layers
    of the teacher's head.  The results, the *cross-head predictions*, are
    trained to match the teacher's predictions.  It works with the heads of
    :mod:`crosskd.heads` and their subclasses; the classes below for one family
    also check the head.  Recommended losses and weights for each family:
    ``configs/_base_/crosskd_*.py``.

    Example config, with mmdet's GFL-R101 as the teacher of a GFL-R50::

        _base_ = 'mmdet::gfl/gfl_r50_fpn_1x_coco.py'
        custom_imports = dict(imports=['crosskd'], allow_failed_imports=False)
        model = dict(
            type='CrossKDSingleStageDetector',
            teacher_config='mmdet::gfl/gfl_r101_fpn_ms-2x_coco.py',
            teacher_ckpt='teacher.pth',
            kd_cfg=dict(
                loss_cls_kd=dict(type='KDQualityFocalLoss', beta=1),
                loss_reg_kd=dict(type='KnowledgeDistillationKLDivLoss',
                                 class_reduction='sum', T=1, loss_weight=4.0),
                reused_teacher_head_idx=3))

    Arguments and errors: see :class:`DistilledSingleStageDetector`.
    """
    required: tuple[str, ...] = ('loss_cls_kd', 'loss_reg_kd')


@MODELS.register_module()
class CrossKDRetinaNet(CrossKDSingleStageDetector, RetinaNet):
    """CrossKD on a RetinaNet head (Lin et al., arXiv 1708.02002).

    Example config::

        _base_ = 'mmdet::retinanet/retinanet_r50_fpn_2x_coco.py'
        custom_imports = dict(imports=['crosskd'], allow_failed_imports=False)
        model = dict(
            type='CrossKDRetinaNet',
            teacher_config='mmdet::retinanet/retinanet_r101_fpn_2x_coco.py',
            teacher_ckpt='teacher.pth',
            kd_cfg=dict(
                loss_cls_kd=dict(type='KDQualityFocalLoss', beta=1),
                loss_reg_kd=dict(type='GIoULoss', loss_weight=1.0),
                reused_teacher_head_idx=3))

    As :class:`CrossKDSingleStageDetector`; another head is a TypeError.
    """
    family = RetinaHeadAdapter


@MODELS.register_module()
class CrossKDGFL(CrossKDSingleStageDetector, GFL):
    """CrossKD on a GFL head (Li et al., arXiv 2006.04388).

    Example config::

        _base_ = 'mmdet::gfl/gfl_r50_fpn_1x_coco.py'
        custom_imports = dict(imports=['crosskd'], allow_failed_imports=False)
        model = dict(
            type='CrossKDGFL',
            teacher_config='mmdet::gfl/gfl_r101_fpn_ms-2x_coco.py',
            teacher_ckpt='teacher.pth',
            kd_cfg=dict(
                loss_cls_kd=dict(type='KDQualityFocalLoss', beta=1),
                loss_reg_kd=dict(type='KnowledgeDistillationKLDivLoss',
                                 class_reduction='sum', T=1, loss_weight=4.0),
                reused_teacher_head_idx=3))

    As :class:`CrossKDSingleStageDetector`; another head is a TypeError.
    """
    family = GFLHeadAdapter


@MODELS.register_module()
class CrossKDATSS(CrossKDSingleStageDetector, ATSS):
    """CrossKD on an ATSS head (Zhang et al., arXiv 1912.02424).

    Example config::

        _base_ = 'mmdet::atss/atss_r50_fpn_1x_coco.py'
        custom_imports = dict(imports=['crosskd'], allow_failed_imports=False)
        model = dict(
            type='CrossKDATSS',
            teacher_config='mmdet::atss/atss_r101_fpn_1x_coco.py',
            teacher_ckpt='teacher.pth',
            kd_cfg=dict(
                loss_cls_kd=dict(type='KDQualityFocalLoss', beta=1),
                loss_reg_kd=dict(type='GIoULoss', loss_weight=1.0),
                loss_center_kd=dict(type='CrossEntropyLoss', use_sigmoid=True),
                reused_teacher_head_idx=3))

    As :class:`CrossKDSingleStageDetector`; another head is a TypeError.
    """
    family = ATSSHeadAdapter


@MODELS.register_module()
class CrossKDFCOS(CrossKDSingleStageDetector, FCOS):
    """CrossKD on an FCOS head (Tian et al., arXiv 1904.01355).

    Example config::

        _base_ = 'mmdet::fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py'
        custom_imports = dict(imports=['crosskd'], allow_failed_imports=False)
        model = dict(
            type='CrossKDFCOS',
            teacher_config='mmdet::fcos/fcos_r101-caffe_fpn_gn-head-1x_coco.py',
            teacher_ckpt='teacher.pth',
            kd_cfg=dict(
                loss_cls_kd=dict(type='KDQualityFocalLoss', beta=1,
                                 loss_weight=0.4),
                loss_reg_kd=dict(type='IoULoss', loss_weight=0.75),
                reused_teacher_head_idx=2))

    As :class:`CrossKDSingleStageDetector`; another head is a TypeError.
    """
    family = FCOSHeadAdapter


@MODELS.register_module()
class CrossKDRTMDet(CrossKDSingleStageDetector, RTMDet):
    """CrossKD on an RTMDet head (Lyu et al., arXiv 2212.07784).

    Example config::

        _base_ = 'mmdet::rtmdet/rtmdet_s_8xb32-300e_coco.py'
        custom_imports = dict(imports=['crosskd'], allow_failed_imports=False)
        model = dict(
            type='CrossKDRTMDet',
            teacher_config='mmdet::rtmdet/rtmdet_l_8xb32-300e_coco.py',
            teacher_ckpt='teacher.pth',
            kd_cfg=dict(
                loss_cls_kd=dict(type='KDQualityFocalLoss', beta=1),
                loss_reg_kd=dict(type='GIoULoss', loss_weight=1.0),
                reused_teacher_head_idx=1))

    As :class:`CrossKDSingleStageDetector`; any other head is a TypeError.  It
    is also an mmdet ``RTMDet``, so it takes the argument ``use_syncbn``.
    """
    family = RTMDetHeadAdapter
