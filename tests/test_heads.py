"""Head families: the rest of a head, decoding, targets."""
import functools

import pytest
import torch
from mmdet.models.dense_heads import GFLHead, RetinaHead
from mmdet.registry import MODELS

from crosskd.heads import family_of, trace
from helpers import CHANNELS, KINDS, batch, build, plain_cfg


def head_and_features(kind, train=True, **head):
    model = build(plain_cfg(kind, **head))
    model.train(train)
    inputs, samples = batch()
    return model.bbox_head, model.extract_feat(inputs), samples


@pytest.mark.parametrize('train', [True, False])
@pytest.mark.parametrize('split', [0, 1, 2])
@pytest.mark.parametrize('kind', KINDS)
def test_resuming_own_features_is_the_heads_forward(kind, split, train):
    head, features, _ = head_and_features(kind, train)
    family = family_of(head)
    with trace(family, split) as seen:
        outputs = head(features)
    assert len(seen.held_cls) == len(seen.held_reg) == 3
    resumed = family.resume(seen.held_cls, seen.held_reg, split)
    assert len(resumed) == len(outputs)
    for ours, theirs in zip(resumed, outputs):
        torch.testing.assert_close(ours, list(theirs))


@pytest.mark.parametrize('layer', [
    dict(), dict(norm=None), dict(order=('act', 'conv', 'norm')),
    dict(act='LeakyReLU')], ids=str)
@pytest.mark.parametrize('split', [0, 1, 2])
@pytest.mark.parametrize('kind', KINDS)
def test_the_rest_of_a_head_leaves_its_input_as_it_was(kind, split, layer):
    """Activations work in place, with or without a layer before them."""
    norm = {} if layer.get('norm', 1) or kind == 'retina' else dict(
        norm_cfg=None)
    head, features, _ = head_and_features(kind, **norm)
    for tower in (head.cls_convs, head.reg_convs):
        for conv in tower:
            conv.order = layer.get('order', conv.order)
            if 'act' in layer:
                conv.activate = torch.nn.LeakyReLU(inplace=True)
            assert conv.activate.inplace
    family = family_of(head)
    held = [torch.randn_like(f) for f in features]  # with negative values
    kept = [(h.clone(), h._version) for h in held]
    first = family.resume(held, held, split)
    assert all(torch.equal(h, k) and h._version == v
               for h, (k, v) in zip(held, kept))
    again = family.resume([k for k, _ in kept], [k for k, _ in kept], split)
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    if split and 'act' not in layer:  # what is activated has been
        positive = [h.relu() for h in held]
        torch.testing.assert_close(
            family.resume(positive, positive, split), first)


@pytest.mark.parametrize('kwargs', [
    dict(norm_on_bbox=True), dict(norm_on_bbox=True, centerness_on_reg=True),
    dict(center_sampling=True)])
@pytest.mark.parametrize('train', [True, False])
def test_fcos_variants(kwargs, train):
    head, features, _ = head_and_features('fcos', train, **kwargs)
    family = family_of(head)
    with trace(family, 1) as seen:
        outputs = head(features)
    resumed = family.resume(seen.held_cls, seen.held_reg, 1)
    for ours, theirs in zip(resumed, outputs):
        torch.testing.assert_close(ours, list(theirs))
    # pixels in training, too
    head.eval()
    in_pixels = family.flatten(head(features)).reg
    head.train(train)
    torch.testing.assert_close(family.flatten(outputs).reg, in_pixels)


@pytest.mark.parametrize('kind', KINDS)
def test_boxes_are_the_boxes_that_the_head_predicts(kind):
    head, features, samples = head_and_features(kind, train=False)
    family = family_of(head)
    outputs = head(features)
    flat = family.flatten(outputs)
    sizes = [f.shape[-2:] for f in features]
    ours = torch.cat([
        family.boxes(reg, priors, level).view(len(samples), -1, 4)
        for level, (reg, priors) in enumerate(
            zip(flat.reg, family.priors(sizes, features[0].device)))], 1)
    # without NMS and limits, the head's own results are decoded priors
    cfg = head.test_cfg.copy()
    cfg.update(nms_pre=-1, min_bbox_size=-1, score_thr=-1.0)
    metas = [dict(s.metainfo, img_shape=(10**6, 10**6)) for s in samples]
    results = head.predict_by_feat(
        *outputs, batch_img_metas=metas, cfg=cfg, rescale=False,
        with_nms=False)
    for boxes, result in zip(ours, results):
        theirs = result.bboxes
        nearest = torch.cdist(
                theirs, boxes.clamp(0, 10**6),
                compute_mode='donot_use_mm_for_euclid_dist').min(1)[0]
        assert nearest.max() < 1e-2


@pytest.mark.parametrize('kind', KINDS)
def test_targets_are_what_the_heads_loss_used(kind):
    head, features, samples = head_and_features(kind)
    family = family_of(head)
    used = []
    original = head.loss_cls.forward
    head.loss_cls.forward = lambda *a, **k: used.append((a, k)) or original(
        *a, **k)
    with trace(family) as seen:
        head.loss(features, samples)
    targets = family.targets(seen.targets, len(samples))
    if kind == 'fcos':  # one call over all levels, without weights
        labels = used[0][0][1]
        assert all((w == 1).all() for w in targets.label_weights)
        expected = (labels >= 0) & (labels < head.num_classes)
        positives = [p.flatten() for p in targets.positives]
        assert torch.equal(torch.cat(positives), expected)
        return
    assert len(used) == len(targets.label_weights) == 3
    for (args, kwargs), weight, positive in zip(used, targets.label_weights,
                                                targets.positives):
        labels = args[1][0] if kind == 'gfl' else args[1]
        used_weight = kwargs['weight'] if kind == 'gfl' else args[2]
        assert torch.equal(weight.flatten(), used_weight)
        assert torch.equal(positive.flatten(),
                           (labels >= 0) & (labels < head.num_classes))
        assert kwargs['avg_factor'] == targets.normalizer


def test_fcos_normalizer_is_the_sum_of_centerness_targets():
    head, features, samples = head_and_features('fcos')
    family = family_of(head)
    used = []
    original = head.loss_bbox.forward
    head.loss_bbox.forward = lambda *a, **k: used.append(k) or original(
        *a, **k)
    with trace(family) as seen:
        head.loss(features, samples)
    targets = family.targets(seen.targets, len(samples))
    assert targets.normalizer == pytest.approx(float(used[0]['avg_factor']))
    _, empty = batch((0, 0))
    with trace(family) as seen:
        head.loss(features, empty)
    assert family.targets(seen.targets, 2).normalizer == 1


def test_trace_leaves_the_head_as_it_was():
    head, features, samples = head_and_features('gfl')
    before = dict(head.__dict__)
    with pytest.raises(RuntimeError, match='on purpose'):
        with trace(family_of(head), 1):
            raise RuntimeError('on purpose')
    assert head.__dict__.keys() == before.keys()
    assert not head._forward_hooks
    assert not head.cls_convs[0]._forward_hooks


@pytest.mark.parametrize('kind', KINDS)
def test_get_targets_of_somebody_else_survives(kind):
    """A pass that works, one that raises, one inside another."""
    head, features, samples = head_and_features(kind)
    theirs = functools.partial(type(head).get_targets, head)
    head.get_targets = theirs
    family = family_of(head)
    with trace(family, 1) as outer:
        head.loss(features, samples)
        with trace(family, 1) as inner:
            head.loss(features, samples)
        assert inner.targets is not None
        assert outer.targets is inner.targets  # it saw that pass, too
    assert head.get_targets is theirs
    with pytest.raises(RuntimeError, match='on purpose'), trace(family):
        raise RuntimeError('on purpose')
    assert head.get_targets is theirs
    del head.get_targets
    with trace(family):
        head.get_targets = theirs  # set meanwhile, to stay
    assert head.get_targets is theirs


def test_a_subclass_belongs_to_its_parents_family():

    class MyHead(GFLHead):

        def loss_by_feat(self, *args, **kwargs):
            losses = super().loss_by_feat(*args, **kwargs)
            losses['loss_mine'] = losses['loss_cls'][0] * 0
            return losses

    cfg = plain_cfg('gfl')
    MODELS.register_module(name='TestMyHead', module=MyHead, force=True)
    cfg['bbox_head']['type'] = 'TestMyHead'
    model = build(cfg)
    assert family_of(model.bbox_head).name == 'GFL'


def test_unknown_and_softmax_heads_are_refused():
    paa = MODELS.build(
        dict(
            type='PAAHead', reg_decoded_bbox=True, num_classes=3,
            in_channels=8, feat_channels=32,
            anchor_generator=dict(
                type='AnchorGenerator', ratios=[1.0], octave_base_scale=8,
                scales_per_octave=1, strides=[8]),
            loss_bbox=dict(type='GIoULoss')))
    with pytest.raises(TypeError, match='PAAHead cannot be distilled'):
        family_of(paa)
    rpn = MODELS.build(dict(type='RPNHead', in_channels=8))
    with pytest.raises(TypeError, match='RPNHead cannot be distilled'):
        family_of(rpn)
    softmax = RetinaHead(
        3, CHANNELS, feat_channels=CHANNELS,
        loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False))
    with pytest.raises(TypeError, match='use_sigmoid=True'):
        family_of(softmax)


def test_same_priors():
    gfl, atss, retina, fcos = (family_of(head_and_features(k)[0])
                               for k in ('gfl', 'atss', 'retina', 'fcos'))
    assert gfl.has_priors_of(atss)
    assert not gfl.has_priors_of(retina)
    assert not gfl.has_priors_of(fcos)


@pytest.mark.parametrize('kind', KINDS)
def test_valid_priors_follow_the_padded_image(kind):
    head, features, _ = head_and_features(kind)
    family = family_of(head)
    sizes = [f.shape[-2:] for f in features]
    metas = [dict(pad_shape=(64, 96)), dict(pad_shape=(32, 96))]
    weights = family.valid_priors(sizes, metas, features[0].device)
    assert all(w[0].all() for w in weights)
    share = weights[0][1].mean()
    assert share == (1 if kind == 'fcos' else 0.5)


