"""A loss without gradients, and then training."""
import gc

import pytest
import torch
from families import FAMILY, quick_cases
from helpers import (
    FAMILIES,
    METHODS,
    batch,
    build,
    distiller_cfg,
    sdd_cfg,
    wide_teacher,
)

from crosskd.distillers.box_regions import _layout
from crosskd.heads.records import Geometry
from crosskd.losses.sdd_grids import _cells, lay_grids
from crosskd.numerics.constants import constant, to_device
from crosskd.numerics.last_few import LastFew

FIRST, OTHER = (64, 96), (96, 160)
CPU = torch.device('cpu')
BOXES = torch.ones(3, 4)  # made in no mode


def renormalized(cfg):
    cfg['teacher_config']['model']['data_preprocessor'].update(
        mean=[1.0, 2.0, 3.0], bgr_to_rgb=False)
    return cfg


def with_boxes(kind):
    """Cross-head boxes, decoded; of a teacher with other priors."""
    return distiller_cfg('gfl', teacher_kind=kind, loss_reg_kd=dict(
        type='GIoULoss'), loss_center_kd=None)


#: what one pass makes and another one uses
CASES = {
    **{f'{method}, {kind}': (make, kind) for method, make in METHODS.items()
       for kind in ('gfl', 'atss')},
    'fewer outputs': (lambda kind: sdd_cfg(kind), 'yolox'),
    'adapters': (lambda kind: wide_teacher(distiller_cfg(kind)), 'fcos'),
    'other priors': (with_boxes, 'retina'),
    'renormalized': (lambda kind: renormalized(distiller_cfg(kind)), 'gfl'),
    'bfloat16': (lambda kind: dict(
        distiller_cfg(kind), teacher_dtype='bfloat16'), 'gfl'),
}


def box_geometry():
    return Geometry(BOXES, torch.ones(3, 1), [3])


def clear_caches():
    for cache in (constant, lay_grids, _cells, _layout):
        cache.cache_clear()


def train(model, size):
    losses, _ = model.parse_losses(model.loss(*batch(size=size)))
    losses.backward()
    weights = [p for p in model.parameters() if p.requires_grad]
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in weights)


def look(model, size, mode, training):
    """A loss that nobody trains with."""
    model.train(training)
    with mode():
        losses = model.loss(*batch(size=size))
    model.train()
    return losses


def inference_tensors():
    gc.collect()
    return [x for x in gc.get_objects()
            if isinstance(x, torch.Tensor) and x.is_inference()]


def check(cfg, mode, training, trained_before):
    clear_caches()
    model = build(cfg, joins=False)
    if trained_before:
        train(model, FIRST)
    look(model, OTHER, mode, training)
    # mmdet's record of the batch, of which every loss makes another
    vars(model.bbox_head).get('_raw_positive_infos', {}).clear()
    assert inference_tensors() == []
    for x in (*model.teacher.detector.parameters(), *model.parameters()):
        assert not x.is_inference()
    train(model, OTHER)
    train(model, FIRST)


@pytest.mark.parametrize('trained_before', quick_cases([False], [False, True]))
@pytest.mark.parametrize('kind', FAMILIES)
def test_every_family_trains_after_a_loss_in_inference_mode(
        kind, trained_before):
    check(distiller_cfg(kind), torch.inference_mode, True, trained_before)


@pytest.mark.parametrize('case', CASES)
def test_every_method_trains_after_a_loss_in_inference_mode(case):
    make, kind = CASES[case]
    check(make(kind), torch.inference_mode, True, False)


@pytest.mark.parametrize('mode', quick_cases(
    [torch.inference_mode], [torch.no_grad, torch.inference_mode]))
@pytest.mark.parametrize('kind', FAMILIES)
def test_a_validation_loss_comes_first(kind, mode):
    """In eval mode, before the first step: Lightning's order."""
    if not FAMILY[kind].has_eval_loss:
        pytest.skip("mmdet's head has no loss in eval mode")
    check(wide_teacher(distiller_cfg(kind)), mode, False, False)


@pytest.mark.parametrize('make', [
    lambda: [constant((1.5, 2.5), torch.float32, CPU)],
    lambda: to_device([torch.ones(2).numpy()], torch.float32, CPU),
    lambda: [LastFew().get(1, lambda: torch.ones(2))],
    lambda: _cells(((1, 2), ), torch.float32, CPU),
    lambda: [x for name, x in vars(lay_grids(
        ((5, 7), ), (((5, 7), ), ), (1, 2), torch.float32, CPU)).items()
        if name not in ('columns', 'rows')],
    lambda: lay_grids(((5, 7), ), (((5, 7), ), ), (1, 2), torch.float32,
                      CPU).rows,
    lambda: lay_grids(((5, 7), ), (((5, 7), ), ), (1, 2), torch.float32,
                      CPU).columns,
    lambda: [box_geometry().centers], lambda: [box_geometry().sizes],
    lambda: _layout(((8, 8), ), ((8, 8), ), ((60, 60), ), 0.5, CPU),
], ids=['constant', 'to_device', 'LastFew', 'cells', 'grids', 'rows',
        'columns', 'centers', 'sizes', 'layout'])
def test_what_is_kept_can_train_wherever_it_is_made(make):
    clear_caches()
    with torch.inference_mode():
        made = make()
    assert made and not any(x.is_inference() for x in made)
    clear_caches()
