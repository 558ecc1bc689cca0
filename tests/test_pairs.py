"""What may differ between teacher and student: the table in README."""
import pytest

from crosskd.engine.trial import try_pair
from helpers import (
    CHANNELS,
    KINDS,
    batch,
    build,
    distiller_cfg,
    plain_cfg,
    sdd_cfg,
)

WIDE = 2 * CHANNELS
METHODS = {
    'CrossKD': distiller_cfg,
    'SDD': sdd_cfg,
    'plain imitation': lambda kind: distiller_cfg(kind, prediction='student'),
    'PKD': lambda kind: distiller_cfg(
        kind, prediction='student',
        loss_feat_kd=dict(type='PKDLoss', loss_weight=1.0)),
}
ERRORS = {
    ('CrossKD', 'tower'): 'channels after 1 tower layers must be equal',
    ('CrossKD', 'head'): 'channels after 1 tower layers must be equal',
    ('PKD', 'head'): 'channels',
}


def step(method, kind, channels=CHANNELS, **head):
    cfg = METHODS[method](kind)
    teacher = plain_cfg(kind, 16, **head)
    teacher['neck']['out_channels'] = channels
    cfg['teacher_config'] = dict(model=teacher)
    model = build(cfg)
    try_pair(model)
    losses = model.loss(*batch())
    assert any('kd' in name or 'sdd' in name for name in losses)


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('what, differs', {
    'backbone': {},  # 16 channels in the teacher's, 8 in the student's
    'depth': dict(stacked_convs=3),
    'tower': dict(feat_channels=WIDE),
    'head': dict(channels=WIDE, in_channels=WIDE, feat_channels=WIDE),
}.items(), ids=lambda v: v if isinstance(v, str) else '')
def test_a_pair_that_differs(method, kind, what, differs):
    error = ERRORS.get((method, what))
    if error is None:
        step(method, kind, **differs)
    else:
        with pytest.raises(ValueError, match=error):
            step(method, kind, **differs)


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('differs, error', [
    (dict(num_classes=4), 'num_classes must be equal'),
    (dict(anchor_generator=dict(
        type='AnchorGenerator', ratios=[1.0], octave_base_scale=4,
        scales_per_octave=1, strides=[4, 8, 16])), 'strides must be equal'),
])
def test_classes_and_strides_are_equal(method, differs, error):
    with pytest.raises(ValueError, match=error):
        step(method, 'gfl', **differs)
