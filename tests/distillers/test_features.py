"""Losses for features at work: layers that train, boxes, class scores."""
import pytest
import torch
from any_detectors import distilled, inputs, of_kind, plain
from helpers import batch, build, plain_cfg, total
from mmdet.registry import MODELS
from mmengine.optim import OptimWrapper

from crosskd.checkpoints.auxiliary import auxiliary_state
from crosskd.engine.trial import try_pair
from crosskd.losses import FeatureLoss, fgd_loss, score_weighted_l2_loss

pytestmark = pytest.mark.torch_only

LAYERS = dict(MGDLoss='generators', FGDLoss='relations',
              ScoreWeightedL2Loss='projections')
LOSSES = ('PKDLoss', 'ChannelWiseDivergence', *LAYERS)


def student(loss, kind='gfl', width=16, head=None, **kd):
    """A student that learns features from a teacher with a wider neck."""
    teacher = plain_cfg(head or kind, 16)
    teacher['neck']['out_channels'] = width
    teacher['bbox_head'].update(in_channels=width, feat_channels=width)
    cfg = distilled(plain_cfg(kind), teacher)
    cfg['kd_cfg'] = dict(loss_feat_kd=dict(type=loss), **kd)
    return cfg


def loss_of(model):
    return model.distillers.features.loss_feat_kd


def feature_losses(model):
    return model.loss(*batch())['loss_feat_kd']


@pytest.mark.parametrize('loss', LOSSES)
@pytest.mark.parametrize('width', [8, 16])
def test_layers_of_a_loss_train_beside_the_student(loss, width):
    model = build(student(loss, width=width))
    layers = getattr(loss_of(model), LAYERS.get(loss, ''), None)
    names = [n for n in auxiliary_state(model) if n.startswith('distillers')]
    assert bool(names) == (loss in LAYERS)
    if layers is not None:
        assert len(layers) == 3  # one for each level
        for level in layers:
            first = next(p for p in level.parameters() if p.dim() == 4)
            assert first.shape[1] == width  # the teacher's channels
    assert model.state_dict().keys() == build(
        plain_cfg('gfl')).state_dict().keys()
    for name, p in model.distillers.named_parameters():
        if name.endswith('add_conv.3.weight'):  # FGD's begin with 0
            torch.nn.init.normal_(p)
    sum(feature_losses(model)).backward()
    for name, p in auxiliary_state(model).items():
        # a softmax does not change with the bias of its logits; nor does PKD
        assert p.grad.any() or name.endswith('bias'), name


def test_the_same_seed_is_the_same_student_whatever_the_loss():
    plainly = build(plain_cfg('gfl'))
    for loss in LOSSES:
        model = build(student(loss))
        drawn = torch.rand(1)
        assert all(torch.equal(v, model.state_dict()[k])
                   for k, v in plainly.state_dict().items())
        torch.manual_seed(0)
        build(student('PKDLoss'))
        assert torch.equal(torch.rand(1), drawn)


@pytest.mark.parametrize('loss', LAYERS)
def test_layers_of_a_loss_without_weight_get_a_gradient_of_zero(loss):
    """As DDP needs it; the rest of the teacher does not run."""
    cfg = student(loss, width=8)
    cfg['kd_cfg']['loss_feat_kd']['loss_weight'] = 0
    model = build(cfg)
    ran = []
    model.teacher.detector.backbone.register_forward_hook(
        lambda *_: ran.append(1))
    losses = feature_losses(model)
    sum(losses).backward()
    assert not ran and float(sum(losses)) == 0
    grads = [p.grad for p in model.distillers.parameters()]
    assert grads and all(g is not None and not g.any() for g in grads)


def test_an_optimizer_without_the_layers_of_a_loss_is_an_error():
    model = build(student('MGDLoss', width=8), joins=False)
    optimizer = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    images, samples = batch()
    model.init_weights()
    with pytest.raises(RuntimeError, match='kd_cfg: the optimizer was built '
                       'before distillers.features.loss_feat_kd.generators'):
        model.train_step(dict(inputs=list(images * 50 + 120),
                              data_samples=samples), optimizer)


# -- boxes -------------------------------------------------------------------


def test_boxes_are_fractions_of_the_batch():
    """Not of the image, which the batch may pad."""
    model = build(student('FGDLoss'))
    images, samples = batch()
    for sample in samples:
        height, width = images.shape[2:]
        sample.set_metainfo(dict(img_shape=(height - 7, width - 9)))
    _, paired = model.paired(images, samples)
    for boxes, sample in zip(paired.boxes, samples):
        own = sample.gt_instances.bboxes.float()
        torch.testing.assert_close(
            boxes[:len(own)] * torch.tensor([width, height] * 2), own)
        assert (boxes[len(own):] < -1).all()


def test_fgd_of_a_step_is_its_function_at_the_boxes():
    model = build(student('FGDLoss', width=8))
    _, paired = model.paired(*batch())
    expected = [fgd_loss(s, t, paired.boxes, (s, t), loss_of(model).weights)
                for s, t in paired.features()]  # relations begin as the maps
    torch.testing.assert_close(feature_losses(model), expected)


@pytest.mark.parametrize('loss', LOSSES)
def test_images_without_objects(loss):
    model = build(student(loss))
    images, samples = batch()
    for sample in samples:
        sample.gt_instances = sample.gt_instances[:0]
    losses = model.loss(images, samples)['loss_feat_kd']
    assert float(sum(losses)) > 0 and all(x.isfinite() for x in losses)


def test_annotations_without_boxes_are_refused():
    model = build(student('FGDLoss', width=8))
    images, samples = batch()
    _, paired = model.paired(images, samples)
    for sample in samples:
        del sample.gt_instances.bboxes
    with pytest.raises(ValueError, match='kd_cfg: a loss takes the ground-tru'
                       'th boxes.*train_dataloader.dataset gives none'):
        model.distillers(paired)


# -- class scores ------------------------------------------------------------


@pytest.mark.parametrize('head', ['gfl', 'retina', 'yolox'])
def test_scores_are_the_teachers_largest(head):
    """Of all classes, and of all anchors of a location."""
    model = build(student('ScoreWeightedL2Loss', head=head, width=8))
    _, paired = model.paired(*batch())
    teacher = model.teacher.detector
    with torch.no_grad():
        features = teacher.extract_feat(model.teacher._renormalized(
            *batch(), model.data_preprocessor))
        outputs = teacher.bbox_head(features)
    for level, found in enumerate(paired.teacher_scores()):
        assert found.shape == (2, 1, *features[level].shape[2:])
        expected = outputs[0][level].sigmoid().amax(1, True)
        if head == 'yolox':  # times its objectness
            expected = expected * outputs[2][level].sigmoid()
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-6)


def test_the_weighted_loss_of_a_step_is_its_function_at_the_scores():
    model = build(student('ScoreWeightedL2Loss'))
    _, paired = model.paired(*batch())
    layers = loss_of(model).projections
    expected = [score_weighted_l2_loss(project(s), t, w) for project, (
        s, t), w in zip(layers, paired.features(), paired.teacher_scores())]
    torch.testing.assert_close(feature_losses(model), expected)


def test_any_student_learns_by_the_scores_of_a_dense_teacher():
    teacher = plain_cfg('gfl', num_classes=5)
    cfg = distilled(plain('faster'), teacher)
    cfg['kd_cfg'] = dict(loss_feat_kd=dict(type='ScoreWeightedL2Loss'))
    model = build(cfg).train()
    losses = model(**inputs(model), mode='loss')
    assert all(x > 0 for x in losses['loss_feat_kd'])
    try_pair(model)


def test_scores_of_a_teacher_without_a_dense_head_are_refused():
    cfg = of_kind('faster')
    cfg['kd_cfg'] = dict(loss_feat_kd=dict(type='ScoreWeightedL2Loss'))
    with pytest.raises(TypeError, match='teacher_config.model.*FasterRCNN'):
        build(cfg)


def test_features_from_where_there_are_no_scores_are_refused():
    cfg = student('PKDLoss')
    cfg['kd_cfg'] = dict(distillers=[dict(
        type='FeatureDistiller', student='backbone', teacher='backbone',
        loss_feat_kd=dict(type='ScoreWeightedL2Loss'))])
    model = build(cfg)
    with pytest.raises(ValueError, match='no class scores of that size'):
        model.loss(*batch())


# -- a loss of somebody else's ------------------------------------------------


@MODELS.register_module()
class TakesBoxes(FeatureLoss):
    takes = ('boxes', )

    def forward(self, pred, target, boxes):
        return (pred - target).square().mean() * (boxes[..., 0] >= 0).sum()


@MODELS.register_module()
class TakesMasks(FeatureLoss):
    takes = ('masks', )


def test_a_loss_of_ones_own_may_take_boxes():
    model = build(student('TakesBoxes', width=8))
    images, samples = batch()
    losses = total(model.loss(images, samples))
    _, paired = model.paired(images, samples)
    count = sum(len(s.gt_instances) for s in samples)
    expected = sum(count * (s - t).square().mean()
                   for s, t in paired.features())
    assert losses['loss_feat_kd'] == pytest.approx(float(expected), rel=1e-5)
    assert model.distillers.methods == ['features (TakesBoxes)']


def test_a_loss_that_takes_something_unknown_is_refused():
    with pytest.raises(ValueError, match="loss_feat_kd: TakesMasks.takes: "
                       "unknown key 'masks', expected level, boxes, scores"):
        build(student('TakesMasks'))


def test_a_loss_that_compares_no_features_is_refused():
    with pytest.raises(TypeError, match='kd_cfg.loss_feat_kd: expected a loss '
                       'that compares features .*, such as ChannelWiseDiverg.*'
                       'FGDLoss.*MGDLoss.*PKDLoss.*; found L1Loss'):
        build(student('L1Loss'))


@pytest.mark.parametrize('kind', ['faster', 'dino'])
@pytest.mark.parametrize('loss', [
    'ChannelWiseDivergence', 'MGDLoss', 'FGDLoss'])
def test_any_detector_by_any_of_them(kind, loss):
    cfg = of_kind(kind)
    cfg['kd_cfg'] = dict(loss_feat_kd=dict(type=loss))
    model = build(cfg).train()
    model.init_weights()
    losses = model(**inputs(model), mode='loss')
    assert all(x > 0 for x in losses['loss_feat_kd'])
    assert model.state_dict().keys() == build(
        plain(kind)).state_dict().keys()
