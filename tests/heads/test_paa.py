"""PAA: positives are chosen anew by their losses, with scikit-learn."""
import pytest
import torch
from experiments import experiment, model_cfg, write
from family_checks import (
    by_level,
    check_losses_fall,
    check_method,
    given_to,
    padded_batch,
)
from helpers import GIOU, METHODS, batch, build, distiller_cfg, plain_cfg
from mmdet.models.dense_heads import paa_head
from tool_output import errors, written
from tool_server import run as tool

from crosskd.heads import adapter_of, record

WITHOUT = '''
from mmdet.models.dense_heads import paa_head
paa_head.skm = None
'''


@pytest.mark.parametrize('boxes', [(2, 3), (3, 0), (0, 0)], ids=str)
def test_targets_are_those_of_the_heads_own_loss(boxes):
    model = build(plain_cfg('paa'))
    head = model.bbox_head
    adapter = adapter_of(head)
    inputs, samples = padded_batch(boxes)
    calls = given_to(head.loss_cls)
    with record(adapter) as seen:
        head.loss(model.extract_feat(inputs), samples)
    targets = adapter.targets(seen, 2)
    # calls before the last one rate the candidates of an image
    args, kwargs = calls[-1]
    assert len(calls) == 1 + sum(count > 0 for count in boxes)
    assert [x.shape for x in targets.labels['cls']] == [
        (2, 96), (2, 24), (2, 6)]
    by_image = [torch.cat(list(levels), 1).flatten() for levels in (
        targets.labels['cls'], targets.weights['cls'])]
    assert torch.equal(by_image[0], args[1])
    assert torch.equal(by_image[1], args[2])
    assert kwargs['avg_factor'] == targets.normalizers['cls']
    positives = adapter.is_class(by_level(targets.labels['cls'])).sum()
    assert positives == (targets.normalizers['cls'] if any(boxes) else 0)
    assert targets.normalizers['cls'] >= 2  # images
    assert 0 < by_image[1].mean() < 1  # less in the padding
    # fewer than were assigned at first
    if any(boxes):
        assert positives < sum(len(args[0]) for args, _ in calls[:-1])


@pytest.mark.parametrize('boxes', [(2, 0), (0, 0)], ids=str)
def test_images_without_objects(boxes):
    losses = build(distiller_cfg('paa')).loss(*batch(boxes))
    assert all(torch.as_tensor(sum(x) if isinstance(x, list) else x).isfinite()
               for x in losses.values())
    assert sum(losses['loss_cls_kd']) > 0
    assert (sum(losses['loss_center_kd']) > 0) == any(boxes)


@pytest.mark.parametrize('method', METHODS)
def test_every_method(method):
    check_method('paa', method)


def test_without_scikit_learn_it_does_not_learn(monkeypatch):
    monkeypatch.setattr(paa_head, 'skm', None)
    student = build(distiller_cfg('paa'), joins=False)
    with pytest.raises(ValueError, match='model.bbox_head: .*scikit-learn'):
        student.join_teacher()
    # but teaches, and predicts
    losses = build(distiller_cfg(
        'gfl', teacher_kind='paa', loss_reg_kd=GIOU)).loss(*batch())
    assert sum(losses['loss_cls_kd']) > 0
    with torch.no_grad():
        found = student.eval().predict(*batch())
    assert len(found[0].pred_instances)


def test_without_scikit_learn_nothing_is_written(shapes_root, tmp_path):
    (tmp_path / 'without.py').write_text(WITHOUT)
    cfg = experiment(model_cfg(distiller_cfg('paa')), epochs=1)
    cfg['custom_imports']['imports'].append('without')
    write(tmp_path / 'paa.py', cfg)
    out = tool('train.py', tmp_path / 'paa.py', '--work-dir', tmp_path / 'run',
               cwd=shapes_root, ok=False, env=dict(PYTHONPATH=str(tmp_path)))
    said = errors(out)
    assert len(said) == 1, said
    assert 'ValueError: model.bbox_head: PAAHead ' in said[0]
    assert 'pip install scikit-learn' in said[0]
    assert not written(tmp_path / 'run')


@pytest.mark.slow
def test_losses_fall(shapes_root, tmp_path):
    check_losses_fall('crosskd_r50_paa_r101_fpn_1x_coco.py', shapes_root,
                      tmp_path, 'paa/paa_r50_fpn_1x_coco.py')
