"""Head adapters: the rest of a head, decoding, targets."""
import functools

import pytest
import torch
from families import FAMILY, as_params
from helpers import (
    CHANNELS,
    FAMILIES,
    KINDS,
    batch,
    build,
    distiller_cfg,
    plain_cfg,
)
from mmdet.models.dense_heads import GFLHead, RetinaHead
from mmdet.registry import MODELS

from crosskd.heads import adapter_of, record

LEVELS = (0, 1, 2)


def geometry_of(adapter, features):
    return adapter.geometry([f.shape[-2:] for f in features], LEVELS,
                            features[0].device)


def head_and_features(kind, train=True, **head):
    model = build(plain_cfg(kind, **head))
    model.train(train)
    inputs, samples = batch()
    return model.bbox_head, model.extract_feat(inputs), samples


@pytest.mark.parametrize('train', [True, False])
@pytest.mark.parametrize('split', [0, 1, 2])
@pytest.mark.parametrize('kind', FAMILIES)
def test_own_features_continue_as_the_heads_forward(kind, split, train):
    head, features, _ = head_and_features(kind, train)
    adapter = adapter_of(head)
    if split > adapter.depth:
        pytest.skip(f'{adapter.name} heads are split before their layers')
    with record(adapter, split) as seen:
        outputs = head(features)
    assert [len(x) for x in seen.intermediates.values()] == [3, 3]
    assert all(a is b for a, b in zip(seen.features, features))
    continued = adapter.forward_from(seen.intermediates, split, LEVELS)
    theirs = adapter.named(outputs, train)
    torch.testing.assert_close(
        continued, {name: theirs[name] for name in adapter.outputs})
    # on some levels alone
    some = adapter.forward_from(
        {b: x[1:] for b, x in seen.intermediates.items()}, split, (1, 2))
    torch.testing.assert_close(
        some, {name: maps[1:] for name, maps in continued.items()})


@pytest.mark.parametrize('layer', [
    dict(), dict(norm=None), dict(order=('act', 'conv', 'norm')),
    dict(act='LeakyReLU')], ids=str)
@pytest.mark.parametrize('split', [0, 1, 2])
@pytest.mark.parametrize('kind', KINDS)
def test_the_rest_of_a_head_leaves_its_input_as_it_was(kind, split, layer):
    """Activations work in place, with or without a layer before them."""
    norm = {} if layer.get('norm', 1) else dict(norm_cfg=None)
    head, features, _ = head_and_features(kind, **norm)
    for tower in (head.cls_convs, head.reg_convs):
        for conv in tower:
            conv.order = layer.get('order', conv.order)
            if 'act' in layer:
                conv.activate = torch.nn.LeakyReLU(inplace=True)
            assert conv.activate.inplace
    adapter = adapter_of(head)
    given = [torch.randn_like(f) for f in features]  # with negative values
    kept = [(x.clone(), x._version) for x in given]

    def rest(maps):
        return adapter.forward_from(dict(cls=maps, reg=maps), split, LEVELS)

    first = rest(given)
    assert all(torch.equal(x, k) and x._version == v
               for x, (k, v) in zip(given, kept))
    again = rest([k for k, _ in kept])
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    if split and 'act' not in layer:  # what is activated has been
        torch.testing.assert_close(rest([x.relu() for x in given]), first)


@pytest.mark.parametrize('kwargs', [
    dict(norm_on_bbox=True), dict(norm_on_bbox=True, centerness_on_reg=True),
    dict(center_sampling=True)])
@pytest.mark.parametrize('train', [True, False])
def test_fcos_variants(kwargs, train):
    head, features, _ = head_and_features('fcos', train, **kwargs)
    adapter = adapter_of(head)
    with record(adapter, 1) as seen:
        outputs = head(features)
    continued = adapter.forward_from(seen.intermediates, 1, LEVELS)
    geometry = geometry_of(adapter, features)
    head.eval()
    # what it predicts, and pixels in training, too; whatever mode it is in
    torch.testing.assert_close(
        continued, adapter.named(head(features), training=False))
    in_pixels = adapter.flatten(
        'reg', head(features)[1], geometry, training=False)
    torch.testing.assert_close(adapter.flatten(
        'reg', outputs[1], geometry, seen.training), in_pixels)
    torch.testing.assert_close(adapter.flatten(
        'reg', continued['reg'], geometry, training=False), in_pixels)


#: what makes units depend on the mode
UNITS = dict(fcos=dict(norm_on_bbox=True))


@pytest.mark.parametrize('train', [True, False])
@pytest.mark.parametrize('kind', FAMILIES)
def test_what_a_head_returned_is_read_as_the_mode_says(kind, train):
    """Of the pass, not the mode that the head is in when it is read."""
    head, features, _ = head_and_features(
        kind, train, **UNITS.get(kind, {}))
    adapter = adapter_of(head)
    with record(adapter) as seen:
        raw = head(features)
    assert seen.training == train
    geometry = geometry_of(adapter, features)

    def read():
        adapter.check_outputs(raw, seen.training)
        return {name: [*maps, adapter.flatten(
            name, maps, geometry, seen.training)]
            for name, maps in adapter.named(raw, seen.training).items()}

    expected = read()
    head.train(not train)
    torch.testing.assert_close(read(), expected, rtol=0, atol=0)
    torch.testing.assert_close(dict(seen.outputs), {
        name: maps[:-1] for name, maps in expected.items()}, rtol=0, atol=0)


def test_a_pass_is_read_as_it_was_made():
    """Distances of FCOS in strides in training, after it is over, too."""
    cfg = distiller_cfg('fcos', prediction='student',
                        reused_teacher_head_idx=None)
    cfg['bbox_head']['norm_on_bbox'] = True
    model = build(cfg)
    _, paired = model.paired(*batch())
    expected = paired.flat('student', 'reg')
    model.eval()
    assert expected.max() > 0
    torch.testing.assert_close(paired.flat('student', 'reg'), expected)


@pytest.mark.parametrize('kind', as_params(
    kind for kind in FAMILY if FAMILY[kind].results_are_raw))
def test_boxes_are_the_boxes_that_the_head_predicts(kind):
    head, features, samples = head_and_features(kind, train=False)
    adapter = adapter_of(head)
    outputs = head(features)
    geometry = geometry_of(adapter, features)
    reg = adapter.flatten('reg', outputs[1], geometry, training=False)
    ours = adapter.boxes(reg, geometry).view(len(samples), -1, 4)
    # without NMS and limits, the head's own results are decoded priors
    cfg = head.test_cfg.copy()
    cfg.update(nms_pre=-1, min_bbox_size=-1, score_thr=-1.0)
    metas = [dict(s.metainfo, img_shape=(10**6, 10**6)) for s in samples]
    results = head.predict_by_feat(
        *outputs, batch_img_metas=metas, cfg=cfg, rescale=False,
        with_nms=False)
    for boxes, result in zip(ours, results):
        theirs = result.bboxes.clamp(0, 10**6)  # not all heads clip
        nearest = torch.cdist(
                theirs, boxes.clamp(0, 10**6),
                compute_mode='donot_use_mm_for_euclid_dist').min(1)[0]
        assert nearest.max() < 1e-2


@pytest.mark.parametrize('kind', KINDS)
def test_targets_are_what_the_heads_loss_used(kind):
    head, features, samples = head_and_features(kind)
    adapter = adapter_of(head)
    used = []
    original = head.loss_cls.forward
    head.loss_cls.forward = lambda *a, **k: used.append((a, k)) or original(
        *a, **k)
    with record(adapter) as seen:
        head.loss(features, samples)
    targets = adapter.targets(seen, len(samples))
    weights = targets.weights['cls']
    if not FAMILY[kind].weighted:  # and one call over all levels
        assert weights is None
        assert torch.equal(
            torch.cat([x.flatten() for x in targets.labels['cls']]),
            used[0][0][1])
        return
    assert len(used) == len(weights) == 3
    for (args, kwargs), weight, label in zip(
            used, weights, targets.labels['cls']):
        labels = args[1][0] if isinstance(args[1], tuple) else args[1]
        used_weight = kwargs['weight'] if 'weight' in kwargs else args[2]
        assert torch.equal(weight.flatten(), used_weight)
        assert torch.equal(label.flatten(), labels)
        assert kwargs['avg_factor'] == targets.normalizers['cls']


def test_fcos_normalizer_is_the_sum_of_centerness_targets():
    head, features, samples = head_and_features('fcos')
    adapter = adapter_of(head)
    used = []
    original = head.loss_bbox.forward
    head.loss_bbox.forward = lambda *a, **k: used.append(k) or original(
        *a, **k)
    with record(adapter) as seen:
        head.loss(features, samples)
    targets = adapter.targets(seen, len(samples))
    assert float(targets.normalizers['cls']) == pytest.approx(
        float(used[0]['avg_factor']))
    _, empty = batch((0, 0))
    with record(adapter) as seen:
        head.loss(features, empty)
    assert adapter.targets(seen, 2).normalizers['cls'] == 1


def test_recording_leaves_the_head_as_it_was():
    head, features, samples = head_and_features('gfl')
    before = dict(head.__dict__)
    with pytest.raises(RuntimeError, match='on purpose'):
        with record(adapter_of(head), 1):
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
    adapter = adapter_of(head)
    with record(adapter, 1) as outer:
        head.loss(features, samples)
        with record(adapter, 1) as inner:
            head.loss(features, samples)
        assert len(inner.returned['get_targets']) == 1
        # it saw that pass, too
        assert len(outer.returned['get_targets']) == 2
    assert head.get_targets is theirs
    with pytest.raises(RuntimeError, match='on purpose'), record(adapter):
        raise RuntimeError('on purpose')
    assert head.get_targets is theirs
    del head.get_targets
    with record(adapter):
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
    assert adapter_of(model.bbox_head).name == 'GFL'


def test_unknown_and_softmax_heads_are_refused():
    free = MODELS.build(dict(
        type='FreeAnchorRetinaHead', num_classes=3, in_channels=8))
    with pytest.raises(TypeError, match='FreeAnchorRetinaHead cannot be dist'):
        adapter_of(free)
    rpn = MODELS.build(dict(type='RPNHead', in_channels=8))
    with pytest.raises(TypeError, match='RPNHead cannot be distilled'):
        adapter_of(rpn)
    softmax = RetinaHead(
        3, CHANNELS, feat_channels=CHANNELS,
        loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False))
    with pytest.raises(TypeError, match='use_sigmoid=True'):
        adapter_of(softmax)


def test_same_priors():
    gfl, atss, retina, fcos = (adapter_of(head_and_features(k)[0])
                               for k in ('gfl', 'atss', 'retina', 'fcos'))
    assert gfl.same_priors(LEVELS, atss, LEVELS)
    assert not gfl.same_priors(LEVELS, atss, (0, 1))
    assert not gfl.same_priors((0, 1), atss, (1, 2))
    assert not gfl.same_priors(LEVELS, retina, LEVELS)
    assert not gfl.same_priors(LEVELS, fcos, LEVELS)


@pytest.mark.parametrize('kind', KINDS)
def test_valid_priors_follow_the_padded_image(kind):
    head, features, _ = head_and_features(kind)
    adapter = adapter_of(head)
    sizes = [f.shape[-2:] for f in features]
    metas = [dict(pad_shape=(64, 96)), dict(pad_shape=(32, 96))]
    weights = adapter.valid_priors(sizes, (0, 1), metas, features[0].device)
    if not FAMILY[kind].weighted:
        assert weights is None
        return
    assert weights[0].all() and weights[1].mean() == 0.5
    head.prior_generator.valid_flags = None  # kept for the next such batch
    assert adapter.valid_priors(
        sizes, (0, 1), metas, features[0].device) is weights


def test_priors_are_made_once_a_size():
    head, features, _ = head_and_features('gfl')
    adapter = adapter_of(head)
    first = geometry_of(adapter, features)
    head.prior_generator.grid_priors = None
    assert geometry_of(adapter, features) is first
    assert first.counts == [96, 24, 6] and len(first.priors) == 126
    assert first.strides.unique().tolist() == [8, 16, 32]



@pytest.mark.parametrize('kind', KINDS)
def test_channels_are_those_of_the_features(kind):
    head, features, _ = head_and_features(kind, feat_channels=CHANNELS + 4)
    adapter = adapter_of(head)
    for split in range(adapter.depth + 1):
        with record(adapter, split) as seen:
            head(features)
        for branch, maps in seen.intermediates.items():
            assert [x.size(1) for x in maps] == [
                adapter.channels(branch, split)] * 3


@pytest.mark.parametrize('kind', ['rtmdet', 'yolox'])
def test_without_anchors_a_level_is_for_boxes_of_eight_strides(kind):
    adapter = adapter_of(head_and_features(kind)[0])
    for level, stride in enumerate((8, 16, 32)):
        for wide, high in ((8, 8), (6, 6), (11, 11), (16, 4), (4, 16)):
            box = [5, 3, 5 + wide * stride, 3 + high * stride]
            assert adapter.level_of(torch.tensor([box])) == level
