"""One line says what is distilled."""
import pytest
from any_detectors import of_kind
from helpers import build, distiller_cfg, sdd_cfg

from crosskd.detectors.summary import summary

PKD = dict(type='PKDLoss', loss_weight=6.0)
HEADS = 'GFLHead (ResNet-18) teaches GFLHead (ResNet-18)'
CUT = "layers kept: 1 of the student's 2, then the last 1 of the teacher's 2"
LOSSES = 'loss_cls_kd x 1.0, loss_reg_kd x 4.0'


def other_levels():
    """FCOS with a level more than its teacher, none of whose layers run."""
    cfg = distiller_cfg('fcos')
    cfg['kd_cfg']['reused_teacher_head_idx'] = (0, 2)
    cfg['neck'].update(num_outs=4)
    cfg['bbox_head'].update(strides=[8, 16, 32, 64], regress_ranges=(
        (-1, 32), (32, 64), (64, 128), (128, 1e8)))
    return cfg


@pytest.mark.parametrize('cfg, said', [
    (distiller_cfg('gfl'),
     f'CrossKD: {HEADS}; {CUT}; 3 levels; 3 classes; {LOSSES}'),
    (distiller_cfg('gfl', prediction='student'),
     f'prediction imitation: {HEADS}; 3 levels; 3 classes; {LOSSES}'),
    (distiller_cfg('gfl', loss_feat_kd=PKD),
     f'CrossKD + PKD: {HEADS}; {CUT}; 3 levels; 3 classes; {LOSSES}, '
     'loss_feat_kd x 6.0'),
    (sdd_cfg('gfl', loss=dict(loss_weight=2.0)),
     f'SDD: {HEADS}; 3 levels; 3 classes; loss_sdd_map x 2.0, '
     'loss_sdd_box x 2.0'),
    (other_levels(),
     'CrossKD: FCOSHead (ResNet-18) teaches FCOSHead (ResNet-18); layers kept:'
     " 0 of the student's 2, then the teacher's prediction layers; 3 of the "
     "student's 4 levels; 3 classes; loss_cls_kd x 1.0, loss_reg_kd x 1.0"),
    (of_kind('faster'),
     'PKD: FasterRCNN (ResNet-18) teaches FasterRCNN (ResNet-18); features of '
     'neck, 5 levels; loss_feat_kd x 6.0'),
])
def test_it_says_method_detectors_and_losses(cfg, said):
    assert summary(build(cfg)) == f'Distilling with {said}'
