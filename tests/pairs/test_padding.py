"""Images of different sizes in one batch, teachers with other priors."""
import numpy as np
import pytest
import torch
from families import quick_cases
from helpers import (
    BCE,
    GIOU,
    KINDS,
    KL,
    batch,
    build,
    distiller_cfg,
    sdd_cfg,
    total,
)
from oracle_crosskd import crosskd_losses

from crosskd.heads import adapter_of, record

pytestmark = pytest.mark.torch_only

# GFL and ATSS have the same priors
OTHER_PRIORS = [(s, t) for s in KINDS for t in KINDS
                if s != t and {s, t} != {'gfl', 'atss'}]


@pytest.mark.parametrize('region', quick_cases(['all'], ['all', 'positives']))
@pytest.mark.parametrize('student, teacher', OTHER_PRIORS)
def test_padding_counts_as_the_teachers_own_loss_counts_it(student, teacher,
                                                           region):
    """With other priors, a prior of the teacher's weighs 1 where it is valid:
    inside the padded image on anchor heads, everywhere on FCOS."""
    pad = [(64, 96), (32, 64)]  # of what the first and the second image fill
    inputs, samples = batch((2, 2))
    samples[1].set_metainfo(dict(img_shape=(20, 50), pad_shape=pad[1]))
    inputs[1, :, 20:] = inputs[1, :, :, 50:] = 0
    samples[1].gt_instances.bboxes = torch.tensor(
        [[4.0, 4, 18, 16], [20, 2, 48, 18]])
    reg = dict(gfl=dict(KL, loss_weight=1), fcos=dict(type='IoULoss'))
    model = build(distiller_cfg(
        student, teacher_kind=teacher, loss_reg_kd=reg.get(teacher, GIOU),
        loss_center_kd=BCE if teacher == 'atss' else None, region=region))
    ours = total(model.loss(inputs, samples))

    detector, adapter = model.teacher.detector, adapter_of(model.bbox_head)
    generator = detector.bbox_head.prior_generator
    with torch.no_grad(), record(adapter) as seen:
        features = model.extract_feat(inputs)
        model.bbox_head.loss(features, samples)
    targets = adapter.targets(seen, 2)
    weights, positives = [], []
    for stride, mine, count, own in zip(
            (8, 16, 32), targets.labels['cls'], generator.num_base_priors,
            model.bbox_head.prior_generator.num_base_priors):
        places = [(y, x) for y in range(64 // stride)
                  for x in range(96 // stride)]
        weights.append(torch.tensor([
            [float(teacher == 'fcos' or (y * stride < h and x * stride < w))
             for y, x in places for _ in range(count)] for h, w in pad]))
        mine = adapter.is_class(mine).tolist()
        positives.append(torch.tensor([
            [any(image[i * own:(i + 1) * own]) for i in range(len(places))
             for _ in range(count)] for image in mine]))
    if region == 'positives':
        weights = [w * p for w, p in zip(weights, positives)]
    with torch.no_grad():
        expected = crosskd_losses(
            teacher, model.bbox_head, detector.bbox_head, features,
            detector.extract_feat(inputs), 1, weights, positives,
            # a RetinaNet teacher has four times the terms
            float(targets.normalizers['cls']) * generator.num_base_priors[0])
    assert set(expected) == {k for k in ours if k.endswith('_kd')}
    for key, value in expected.items():
        assert value > 0
        assert ours[key] == pytest.approx(float(value), rel=1e-4), key


@pytest.mark.parametrize('make', [
    list, np.array, torch.Size, lambda s: tuple(map(np.int32, s)),
    lambda s: (*s, 3)])
def test_sizes_of_images_may_be_of_any_kind(make):
    """As pipelines and loggers leave them: lists, numpy's, with channels."""
    brighter = distiller_cfg('gfl')
    brighter['teacher_config']['model']['data_preprocessor'] = dict(
        type='DetDataPreprocessor', mean=[10.0], std=[2.0])
    other = distiller_cfg('gfl', teacher_kind='retina', loss_reg_kd=GIOU)
    for cfg in (sdd_cfg('gfl'), brighter, other):
        model = build(cfg).eval()
        inputs, samples = batch()
        samples[1].set_metainfo(dict(img_shape=(40, 60), pad_shape=(40, 64)))
        expected = total(model.loss(inputs, samples))
        for sample in samples:
            sample.set_metainfo({
                key: make(sample.metainfo[key]) for key in (
                    'img_shape', 'pad_shape', 'batch_input_shape',
                    'ori_shape')})
        assert total(model.loss(inputs, samples)) == expected
