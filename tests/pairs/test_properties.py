"""A training step of any valid setting, drawn at random but always alike."""
import copy

import pytest
import torch
from families import FAMILY
from helpers import BCE, KINDS, build, plain_cfg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mmdet.structures import DetDataSample
from mmengine.logging import MessageHub
from mmengine.structures import InstanceData

from crosskd.losses.sdd_bases import BASES, BINARY_BASES

pytestmark = pytest.mark.torch_only

PRIORS = dict(retina=4, gfl=1, atss=1, fcos=1)  # per location, in helpers
WITH_QUALITY = ('atss', 'fcos')
BOX_LOSSES = ('GIoULoss', 'IoULoss', 'DIoULoss', 'EIoULoss')
ALIKE = settings(derandomize=True, deadline=None, database=None,
                 suppress_health_check=list(HealthCheck))
PREDICTORS = ('retina_cls', 'gfl_cls', 'atss_cls', 'conv_cls')


@pytest.fixture(scope='module', autouse=True)
def run():
    """A Runner's count of iterations, without the Runner."""
    yield MessageHub.get_instance('properties test')
    MessageHub._instance_dict.pop('properties test')


def flag():
    return st.booleans()


def number(*values):
    return st.sampled_from(values)


def kl(weight=(0.5, 4.0)):
    return st.fixed_dictionaries(
        dict(type=st.just('KnowledgeDistillationKLDivLoss'),
             class_reduction=st.sampled_from(['sum', 'mean']),
             T=number(0.5, 1, 10), loss_weight=number(*weight)))


def classification():
    qfl = st.fixed_dictionaries(
        dict(type=st.just('KDQualityFocalLoss'), beta=number(0, 0.5, 1, 2),
             loss_weight=number(0.0, 0.4, 1.0)))
    return qfl | kl()


def regression(readers, teacher):
    """Losses between regression outputs of these heads."""
    known = [st.builds(dict, type=st.sampled_from(BOX_LOSSES),
                       loss_weight=number(0.75, 1.0))]
    if readers == {teacher}:  # distances and deltas do not compare
        known += [st.just(dict(type='L1Loss')),
                  st.builds(dict, type=st.just('SmoothL1Loss'),
                            beta=number(0.1, 1.0))]
    if readers == {'gfl'}:
        known.append(kl())
    return st.one_of(known)


def scales(finest):
    known = [m for m in (1, 2, 3, 4, 8, 16) if m <= finest]
    return st.lists(st.sampled_from(known), min_size=1, unique=True)


@st.composite
def sdd(draw, num_classes):
    """``loss_sdd`` and its keys; a region differs from it in anything."""
    base = st.sampled_from(BASES if num_classes > 1 else BINARY_BASES)

    def loss(finest):
        return st.fixed_dictionaries({}, optional=dict(
            base=base, scales=scales(finest), temperature=number(0.5, 1, 4),
            alpha=number(0, 1), beta=number(0, 8), gamma=number(0, 1.5),
            complementary_weight=number(0, 1, 2), label_free=flag(),
            warmup_iters=number(0, 1, 100), loss_weight=number(0.0, 3.0)))

    common = dict(type='SDDLoss', base=draw(base), scales=draw(scales(8)))
    regions = draw(st.none() | st.fixed_dictionaries(
        dict(map=loss(16), box=st.none() | loss(8)))
        | st.fixed_dictionaries(dict(box=loss(8))))
    return dict(
        loss_sdd={**common, **draw(loss(8))}, sdd_regions=regions,
        sdd_weighting=draw(st.sampled_from([None, 'all', 'confidence'])))


@st.composite
def heads(draw, kind, num_classes):
    head = dict(num_classes=num_classes,
                stacked_convs=draw(st.integers(0, 3)))
    head.update({name: draw(flag()) for name in FAMILY[kind].flags})
    return head


@st.composite
def images(draw):
    """Height, width and number of boxes of each image."""
    side = st.integers(1, 40) | st.integers(1, 160)
    return draw(st.lists(st.tuples(side, side, st.integers(0, 4)),
                         min_size=1, max_size=3))


@st.composite
def settings_of_a_step(draw):
    student, teacher = (draw(st.sampled_from(KINDS)) for _ in range(2))
    num_classes = draw(st.integers(1, 5))
    cross_head = draw(flag())
    if not cross_head and PRIORS[student] != PRIORS[teacher]:
        teacher = student
    readers = {teacher} if cross_head else {student, teacher}
    ours, theirs = (draw(heads(k, num_classes)) for k in (student, teacher))

    kd = dict(prediction='cross_head' if cross_head else 'student',
              region=draw(st.sampled_from([None, 'all', 'positives',
                                           'confidence'])))
    if cross_head:
        deepest = min(ours['stacked_convs'], theirs['stacked_convs'])
        kd['reused_teacher_head_idx'] = draw(st.integers(0, deepest))
    only_sdd = draw(flag())
    if only_sdd or draw(flag()):
        kd.update(draw(sdd(num_classes)))
    if not only_sdd or draw(flag()):
        kd['loss_cls_kd'] = draw(classification())
    if not only_sdd or draw(flag()):
        kd['loss_reg_kd'] = draw(regression(readers, teacher))
    if readers <= set(WITH_QUALITY) and draw(flag()):
        kd['loss_center_kd'] = BCE
    if draw(flag()):
        kd['loss_feat_kd'] = dict(type='PKDLoss', loss_weight=draw(
            number(0.0, 6.0)))

    drawn = draw(images())
    # batch norm learns nothing from a single value a channel, and says so
    alone = len(drawn) == 1 and max(drawn[0][:2]) <= 32
    return dict(
        detector='SDDSingleStageDetector' if only_sdd else draw(
            st.sampled_from([FAMILY[student].distiller,
                             'CrossKDSingleStageDetector'])),
        student=student, teacher=teacher, head=ours, teacher_head=theirs,
        kd_cfg=kd, images=drawn, norm_eval=alone or draw(flag()),
        sharpness=draw(number(1, 30)), silent=draw(flag()),
        seed=draw(st.integers(0, 9)),
        iteration=draw(st.sampled_from([None, 0, 50])))


def configs(step):
    """The detector, and the plain one that its student is."""
    plain = plain_cfg(step['student'], **step['head'])
    plain['backbone']['norm_eval'] = step['norm_eval']
    teacher = plain_cfg(step['teacher'], **step['teacher_head'])
    return dict(plain, type=step['detector'], kd_cfg=step['kd_cfg'],
                teacher_config=dict(model=teacher),
                teacher_ckpt='random'), plain


def batch(drawn, num_classes, seed):
    """Images and samples as a data loader would hand them on."""
    rng = torch.Generator().manual_seed(seed)
    inputs, samples = [], []
    for index, (height, width, count) in enumerate(drawn):
        inputs.append(torch.randint(256, (3, height, width), generator=rng,
                                    dtype=torch.uint8))
        limit = torch.tensor([width, height])
        middle = torch.rand(count, 2, generator=rng) * limit
        # from a fraction of a pixel to beyond the image
        half = 0.1 * (10 * limit) ** torch.rand(count, 2, generator=rng)
        sample = DetDataSample()
        sample.gt_instances = InstanceData(
            bboxes=torch.cat([(middle - half).clamp(min=0),
                              (middle + half).minimum(limit)], 1),
            labels=torch.randint(num_classes, (count, ), generator=rng))
        sample.set_metainfo(
            dict(img_shape=(height, width), ori_shape=(height, width),
                 scale_factor=(1.0, 1.0), img_id=index))
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)


def sharpen(detector, factor):
    """Scores as decided as a trained detector's."""
    for name in PREDICTORS:
        if hasattr(detector.bbox_head, name):
            layer = getattr(detector.bbox_head, name)
            layer.weight.data *= factor
            layer.bias.data.fill_(-2)


def silence(detector):
    """A channel that is 0 everywhere, as a ReLU leaves some."""
    for layer in detector.neck.fpn_convs:
        layer.conv.weight.data[0] = 0
        layer.conv.bias.data[0] = 0


def tensors(losses):
    return {key: value if isinstance(value, list) else [value]
            for key, value in losses.items()}


@settings(ALIKE, max_examples=15)
@given(step=settings_of_a_step())
def test_a_training_step(run, step):
    take(run, step)


@pytest.mark.slow
@settings(ALIKE, max_examples=100)
@given(step=settings_of_a_step())
def test_more_training_steps(run, step):
    take(run, step)


def take(run, step):
    """A training step and a prediction, beside the plain student's."""
    model, plain = (build(cfg, step['seed']).train()
                    for cfg in configs(step))
    sharpen(model, step['sharpness'])
    sharpen(model.teacher.detector, step['sharpness'])
    if step['silent']:
        silence(model)
    plain.load_state_dict(model.state_dict())
    data = model.data_preprocessor(
        batch(step['images'], step['head']['num_classes'], step['seed']),
        True)
    inputs, samples = data['inputs'], data['data_samples']
    run.update_info('iter', step['iteration'])

    losses = tensors(model.loss(inputs, samples))
    # in its first pass the teacher's norms are fused
    before = copy.deepcopy(model.teacher.detector.state_dict())
    for key, values in tensors(plain.loss(inputs, samples)).items():
        assert all(map(torch.equal, losses[key], values)), key
    for key, values in losses.items():
        assert all(v.isfinite() and v.dtype == torch.float32
                   for v in values), key

    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    value, _ = model.parse_losses(losses)
    value.backward()
    for name, parameter in model.named_parameters():
        grad = parameter.grad
        assert grad is None or grad.isfinite().all(), name
    assert any(p.grad is not None for p in model.parameters())
    optimizer.step()

    after = model.teacher.detector.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert not any(p.grad is not None
                   for p in model.teacher.detector.parameters())

    plain.load_state_dict(model.state_dict())
    with torch.no_grad():
        ours, theirs = (m.eval().predict(inputs, copy.deepcopy(samples))
                        for m in (model, plain))
    for a, b in zip(ours, theirs):
        for key in ('bboxes', 'scores', 'labels'):
            assert torch.equal(a.pred_instances[key], b.pred_instances[key])
