"""The examples of docs/extending.md, from outside the package, train."""
import copy
import importlib
import sys
from itertools import product

import downstream
import pytest
import torch
import torch.nn.functional as F
from helpers import batch, build, total
from mmdet.models.dense_heads import GFLHead
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from pages import blocks
from tool_server import run as tool
from torch import nn

from crosskd.checkpoints.auxiliary import auxiliary_state
from crosskd.configs import find_config
from crosskd.engine.hooks.auxiliary_state import KEY
from crosskd.heads import adapter_of, record
from crosskd.registry import DISTILLERS, HEAD_ADAPTERS, REGIONS

FILES = {b.value: b.text for b in blocks('python') if b.kind == 'file'}
WIDTH, CLASSES, DEPTH = 64, 5, 2
SMALL = {
    'backbone.depth': 18, 'backbone.base_channels': 8,
    'backbone.init_cfg': None, 'neck.in_channels': [8, 16, 32, 64],
    'neck.out_channels': WIDTH, 'bbox_head.in_channels': WIDTH,
    'bbox_head.feat_channels': WIDTH, 'bbox_head.num_classes': CLASSES,
    'bbox_head.stacked_convs': DEPTH}


@pytest.fixture(scope='module', autouse=True)
def folder(tmp_path_factory):
    """The files of the page; what they registered is forgotten afterwards."""
    folder = tmp_path_factory.mktemp('extending')
    for name, text in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    registries = (HEAD_ADAPTERS, DISTILLERS, REGIONS, MODELS)
    before = [dict(r.module_dict) for r in registries]
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))
    for registry, known in zip(registries, before):
        registry.module_dict.clear()
        registry.module_dict.update(known)
    for name in [n for n in sys.modules if n.startswith('my_distillation')]:
        del sys.modules[name]


def small(cfg, **changes):
    """A config, shrunk to a size that trains here."""
    cfg.merge_from_dict({
        f'model.{k}': v for k, v in {**SMALL, **changes}.items()})
    return cfg.model


def example(folder, name, split=1, **changes):
    """The model of an example config, small, with a small teacher."""
    model = small(Config.fromfile(folder / name), **changes)
    teacher = Config.fromfile(find_config(model.teacher_config))
    model.update(teacher_ckpt='random',
                 teacher_config=dict(model=small(teacher)))
    if 'reused_teacher_head_idx' in model.kd_cfg:
        model.kd_cfg.reused_teacher_head_idx = split
    return model


def plain(cfg):
    """The student of a distillation config, by itself."""
    cfg = {k: v for k, v in cfg.items()
           if k not in ('kd_cfg', 'teacher_config', 'teacher_ckpt')}
    return dict(cfg, type='SingleStageDetector')


def passed(model, data):
    """The losses of a batch, and the ``PairedPass`` they are made from."""
    seen = []
    handle = model.distillers.register_forward_pre_hook(
        lambda _, args: seen.append(args[0]))
    losses = model.loss(*data)
    handle.remove()
    return losses, seen[0]


def step(model):
    """One optimizer step on raw images; returns the log, and what changed."""
    inputs, samples = batch(num_classes=CLASSES)
    optimizer = OptimWrapper(torch.optim.SGD(model.parameters(), lr=1e-3))
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    log = model.train_step(
        dict(inputs=list((inputs * 50 + 120).clamp(0, 255).byte()),
             data_samples=samples), optimizer)
    assert all(value.isfinite() for value in log.values())
    return log, {n for n, p in model.named_parameters()
                 if not torch.equal(p, before[n])}


def has_plain_keys(model, cfg):
    return model.state_dict().keys() == build(plain(cfg)).state_dict().keys()


# -- a head family ------------------------------------------------------------


HEADS = {'level_head.py': 'Level', 'fovea.py': 'Fovea',
         'guided.py': 'GuidedGFL'}


@pytest.mark.parametrize('train', [True, False])
@pytest.mark.parametrize('name', HEADS)
def test_a_head_continues_from_its_own_intermediates(folder, name, train):
    model = build(example(folder, name)).train(train)
    adapter = model.head_adapter
    assert adapter.name == HEADS[name]
    features = model.extract_feat(batch()[0])
    levels = [3, 0]
    for split in range(DEPTH + 1):
        with record(adapter, split) as seen:
            model.bbox_head(features)
        adapter.check_outputs(seen.raw, seen.training)
        given = {branch: [found[level] for level in levels]
                 for branch, found in seen.intermediates.items()}
        rest = adapter.forward_from(given, split, levels)
        for output, maps in seen.outputs.items():
            alone = adapter.forward_from(given, split, levels, {output})
            assert list(alone) == [output]
            for found, other, level in zip(rest[output], alone[output],
                                           levels):
                torch.testing.assert_close(found, maps[level])
                assert torch.equal(other, found)
    assert not torch.equal(*(x[0, 0, 0, :1] for x in seen.outputs['cls'][:2]))


@pytest.mark.parametrize('name', HEADS)
def test_the_rest_of_a_head_leaves_its_input_as_it_was(folder, name):
    model = build(example(folder, name))
    given = [torch.randn_like(x) for x in model.extract_feat(batch()[0])]
    kept = [(x.clone(), x._version) for x in given]
    for split in range(DEPTH + 1):
        model.head_adapter.forward_from(
            dict(cls=given, reg=given), split, range(5))
        assert all(torch.equal(x, k) and x._version == v
                   for x, (k, v) in zip(given, kept))


def test_a_head_trains_and_is_a_plain_checkpoint(folder):
    cfg = example(folder, 'level_head.py')
    model = build(cfg)
    log, changed = step(model)
    assert log['loss_cls_kd'] > 0 and log['loss_reg_kd'] > 0
    assert {n for n, _ in model.named_parameters()
            if n.startswith('bbox_head.classify')} <= changed
    assert has_plain_keys(model, cfg)
    assert not auxiliary_state(model)


def test_a_score_that_reads_boxes_is_the_papers(folder):
    """GFLv2, sections 3.1 and 3.2, in float64, one location at a time."""
    head = build(example(folder, 'guided.py')).bbox_head
    features = [torch.randn(2, WIDTH, 2, 3) for _ in range(5)]
    cls, _ = GFLHead.forward(head, features)
    raw = [GFLHead.forward_single(head, x, scale)
           for x, scale in zip(features, head.scales)]
    network = copy.deepcopy(head.box_quality).double()
    for found, (score, reg) in zip(cls, raw):
        for n, y, x in product(range(2), range(2), range(3)):
            sides = reg[n, :, y, x].double().view(4, -1).softmax(1)
            top = sides.sort(1, descending=True)[0][:, :4]
            statistics = torch.cat([top, top.mean(1, True)], 1).flatten()
            quality = network(statistics.view(1, -1, 1, 1)).sigmoid()
            expected = score[n, :, y, x].double().sigmoid() * quality.flatten()
            torch.testing.assert_close(
                found[n, :, y, x].double().sigmoid(), expected,
                rtol=1e-5, atol=1e-7)


def test_an_output_that_another_reads_is_made_once(folder):
    """And its branch learns from both, by the gradient of the head itself."""
    model = build(example(folder, 'guided.py'))
    head, adapter = model.bbox_head.requires_grad_(False), model.head_adapter
    head.box_quality[-1].weight.fill_(0.5)
    maps = [x.detach().requires_grad_()
            for x in model.extract_feat(batch()[0])]
    whole = sum(x.sum() for x in head(maps)[0])
    expected = torch.autograd.grad(whole, maps)
    runs = []
    head.gfl_reg.register_forward_hook(lambda *_: runs.append(1))
    given = {branch: [x.detach().requires_grad_() for x in maps]
             for branch in adapter.branches}
    adapter.forward_from(given, 0, range(5))
    assert len(runs) == 5
    made = adapter.forward_from(given, 0, range(5), {'cls'})
    assert len(runs) == 10
    sum(x.sum() for x in made['cls']).backward()
    assert all(given[branch][0].grad.any() for branch in ('cls', 'reg'))
    assert adapter.branches_of('cls') == ('cls', 'reg')
    for x, y, grad in zip(given['cls'], given['reg'], expected):
        torch.testing.assert_close(x.grad + y.grad, grad)


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
@pytest.mark.parametrize('student', ['guided.py', 'loss.py', 'level_head.py'])
def test_a_head_whose_score_reads_boxes_teaches(folder, student, dtype):
    cfg = example(folder, student)
    cfg.teacher_config = dict(model=plain(example(folder, 'guided.py')))
    model = build(dict(cfg, teacher_dtype=dtype))
    log, changed = step(model)
    assert log['loss_cls_kd'] > 0 and log['loss_reg_kd'] > 0
    convs = 'classify.0.0' if student == 'level_head.py' else 'cls_convs.0'
    assert f'bbox_head.{convs}.conv.weight' in changed
    assert any('box_quality' in n for n in changed) == (
        student == 'guided.py')  # by its own loss
    assert has_plain_keys(model, cfg)


def test_every_level_of_a_head_learns_up_to_the_split(folder):
    model = build(example(folder, 'level_head.py'))
    losses = model.loss(*batch(num_classes=CLASSES))
    sum(losses['loss_cls_kd'] + losses['loss_reg_kd']).backward()
    for branch in (model.bbox_head.classify, model.bbox_head.locate):
        for first, second in branch:
            assert first.conv.weight.grad.abs().sum() > 0
            assert second.conv.weight.grad is None
    assert model.bbox_head.scores.weight.grad is None


@pytest.mark.parametrize('split', range(DEPTH + 1))
@pytest.mark.parametrize('name', HEADS)
def test_a_head_that_is_its_own_teacher_has_nothing_to_learn(
        folder, name, split):
    cfg = example(folder, name, split)
    cfg.teacher_config = dict(model=plain(cfg))
    model = build(cfg)
    data = batch(num_classes=CLASSES)
    teachers = copy.deepcopy(model.teacher.detector.state_dict())
    assert total(model.loss(*data))['loss_cls_kd'] > 1e-3
    model.load_state_dict(teachers)
    model.eval()  # the same batch statistics as the teacher
    losses = total(model.loss(*data))
    # the 1e-6 in the denominator of the alignment keeps it from exactly zero
    assert losses['loss_cls_kd'] == pytest.approx(0, abs=1e-3)
    assert losses['loss_reg_kd'] == pytest.approx(0, abs=1e-3)


def test_cross_head_predictions_go_through_the_layers_of_their_level(folder):
    cfg = example(folder, 'level_head.py')
    cfg.teacher_config = dict(model=plain(cfg))
    model = build(cfg)
    inputs, samples = batch(num_classes=CLASSES)
    _, paired = passed(model, (inputs, samples))
    detector = model.teacher.detector
    for level, (s, t) in enumerate(zip(
            model.extract_feat(inputs), detector.extract_feat(inputs))):
        s = model.bbox_head.locate[level][0](s)
        t = detector.bbox_head.locate[level][0](t)
        (mean, std), (mean_t, std_t) = (
            (x.mean((0, 2, 3), keepdim=True), x.std((0, 2, 3), keepdim=True))
            for x in (s, t))
        aligned = ((s - mean) / (std + 1e-6) * std_t + mean_t).relu()
        expected = detector.bbox_head.deltas(
            detector.bbox_head.locate[level][1](aligned))
        torch.testing.assert_close(
            paired.maps('cross_head', 'reg')[level], expected,
            rtol=1e-3, atol=1e-5)


def test_what_an_adapter_says_is_what_the_head_does(folder):
    """Boxes, positives and the normaliser of FoveaBox."""
    cfg = example(folder, 'fovea.py')
    cfg.kd_cfg.loss_sdd = dict(type='SDDLoss', base='bernoulli', scales=(1, ))
    model = build(cfg)
    head = model.bbox_head
    inputs, samples = batch((3, 2), (128, 192), num_classes=CLASSES)
    factors = []
    head.loss_cls.register_forward_hook(
        lambda _, args, kwargs, out: factors.append(
            (args[1], kwargs['avg_factor'])), with_kwargs=True)
    losses, paired = passed(model, (inputs, samples))
    (labels, factor), = factors
    assert float(paired.normalizer('cls')) == factor > 2
    geometry = paired.geometry('student')
    levels = labels.split([2 * count for count in geometry.counts])
    positives = torch.cat([x.view(2, -1) for x in levels], 1) < CLASSES
    assert positives.any() and torch.equal(
        paired.positives('cls'), positives)
    for name in ('reg_kd', 'sdd_map', 'sdd_box'):
        assert total(losses)[f'loss_{name}'] > 0
    maps = head(model.extract_feat(inputs))[1]
    found = model.head_adapter.boxes(
        paired.flat('student', 'reg'), geometry)
    expected = []
    for level, reg in enumerate(maps):
        points = head.prior_generator.single_level_grid_priors(
            reg.shape[2:], level, device='cpu')
        expected.append(torch.stack([
            head._bbox_decode(points, image.flatten(1).T,
                              head.base_edge_list[level], (1000, 1000))
            for image in reg]))
    torch.testing.assert_close(found.clamp(0, 999),
                               torch.cat(expected, 1).flatten(0, 1),
                               rtol=1e-4, atol=1e-3)
    boxes = torch.tensor([[0, 0, e, e] for e in head.base_edge_list]).float()
    assert model.head_adapter.level_of(boxes).tolist() == list(range(5))
    _, changed = step(model)
    assert 'bbox_head.cls_convs.0.conv.weight' in changed
    assert has_plain_keys(model, cfg)


@pytest.mark.parametrize('student', ['loss.py', 'level_head.py', 'fovea.py'])
def test_a_head_teaches(folder, student):
    """A student of another family; its layers of each level are run."""
    head = example(folder, 'level_head.py')
    cfg = example(folder, student)
    cfg.teacher_config = dict(model=plain(head))
    model = build(cfg)
    step(model)  # the first run looks at the teacher more than once
    teacher = model.teacher.detector.bbox_head
    runs = [0] * len(teacher.classify)
    for level, layers in enumerate(teacher.classify):
        def count(*_, level=level):
            runs[level] += 1
        layers[1].register_forward_hook(count)
    log, _ = step(model)
    assert runs == [2] * 5  # its own pass and the cross-head predictions
    assert log['loss_cls_kd'] > 0 and log['loss_reg_kd'] > 0


def test_layers_of_another_kind_say_their_channels_and_activation(folder):
    """As the page says; the same numbers as with ``ConvModule``."""
    module = importlib.import_module('my_distillation.heads')
    cfg = example(folder, 'level_head.py').bbox_head

    class PlainHead(module.LevelHead):

        def _branch(self):
            return nn.ModuleList(
                nn.ModuleList(nn.Sequential(
                    nn.Conv2d(WIDTH, WIDTH, 3, padding=1),
                    nn.ReLU(inplace=True)) for _ in range(DEPTH))
                for _ in self.prior_generator.strides)

    class PlainHeadAdapter(module.LevelHeadAdapter):
        head_type = PlainHead

        def channels(self, branch, split):
            return self.head.feat_channels if split else self.head.in_channels

        def activation(self, branch, level, split):
            return self.layers(branch, level)[split - 1][-1]

    HEAD_ADAPTERS.register_module(module=PlainHeadAdapter)
    theirs = build(cfg)
    ours = PlainHead(**{k: v for k, v in cfg.items()
                        if k not in ('type', '_scope_')})
    for mine, other in zip(ours.parameters(), theirs.parameters()):
        mine.data.copy_(other)
    ours, theirs = adapter_of(ours), adapter_of(theirs)
    assert ours.name == 'Plain'
    x = torch.randn(1, WIDTH, 4, 4)
    for split in range(DEPTH + 1):
        found, expected = (
            adapter.forward_from(dict(cls=[x], reg=[x]), split, [2])
            for adapter in (ours, theirs))
        for name in ('cls', 'reg'):
            torch.testing.assert_close(found[name], expected[name])
        assert ours.channels('cls', split) == WIDTH
    assert x.min() < 0  # left as it was


# -- a loss -------------------------------------------------------------------


def test_a_loss_is_what_it_computes(folder):
    cfg = example(folder, 'loss.py')
    model = build(cfg)
    losses, paired = passed(model, batch(num_classes=CLASSES))
    x, t = (torch.cat([m.flatten(2) for m in paired.maps(which, 'cls')], 2)
            for which in ('cross_head', 'teacher'))
    weight = paired.weights('cls')[:, None]
    expected = 5 * (weight * (x.sigmoid() - t.sigmoid())**2).sum() / float(
        paired.normalizer('cls'))
    assert total(losses)['loss_cls_kd'] == pytest.approx(
        expected.item(), rel=1e-5)
    assert expected > 0
    _, changed = step(model)
    assert 'bbox_head.cls_convs.0.conv.weight' in changed
    assert has_plain_keys(model, cfg)


def test_a_loss_of_another_form_is_refused(folder, monkeypatch):
    cfg = example(folder, 'loss.py')
    cfg.kd_cfg.loss_reg_kd = dict(type='ScoreMSELoss')
    error = 'such as .*IoULoss.*; found ScoreMSELoss, which compares logits'
    with pytest.raises(TypeError, match=error):
        build(cfg)
    monkeypatch.setattr(  # one that knows by its arguments
        MODELS.get('ScoreMSELoss'), 'compares',
        property(lambda self: ('logits', )))
    with pytest.raises(TypeError, match=error):
        build(cfg)


# -- a distiller --------------------------------------------------------------


def masked(folder, **changes):
    cfg = example(folder, 'distiller.py', **changes)
    cfg.kd_cfg.distillers[0].channels = WIDTH
    return cfg


def test_a_distiller_is_what_it_computes(folder):
    cfg = masked(folder)
    cfg.kd_cfg.distillers[0].masked = 0
    model = build(cfg)
    inputs, samples = batch(num_classes=CLASSES)
    losses = model.loss(inputs, samples)
    (distiller, ) = model.distillers.children()
    first, _, second = distiller.generate
    expected = []
    for x, t in zip(model.extract_feat(inputs),
                    model.teacher.detector.extract_feat(inputs)):
        for conv in (first, second):
            x = F.conv2d(x, conv.weight, conv.bias, padding=1)
            x = x.relu() if conv is first else x
        expected.append((2e-5 * (x - t).square().sum() / 2).item())
    assert [x.item() for x in losses['loss_masked_kd']] == pytest.approx(
        expected, rel=1e-4)


def test_a_distillers_parameters_train_beside_the_student(folder):
    cfg = masked(folder)
    model = build(cfg)
    log, changed = step(model)
    assert log['loss_masked_kd'] > 0
    own = {n for n, _ in model.named_parameters() if '.generate.' in n}
    assert len(own) == 4 and own <= changed
    assert set(auxiliary_state(model)) == own
    assert has_plain_keys(model, cfg)


def test_a_distiller_stands_beside_crosskds_losses(folder):
    cfg = example(folder, 'loss.py')
    cfg.kd_cfg.distillers = masked(folder).kd_cfg.distillers
    log, _ = step(build(cfg))
    assert min(log['loss_masked_kd'], log['loss_cls_kd']) > 0


# -- a channel adapter --------------------------------------------------------


def test_a_channel_adapter_trains_beside_the_student(folder):
    changes = {'bbox_head.feat_channels': WIDTH // 2}
    cfg = example(folder, 'adapter.py', **changes)
    model = build(cfg)
    log, changed = step(model)
    assert log['loss_cls_kd'] > 0
    adapters = {n for n, _ in model.pair.adapters.named_parameters()}
    for branch in ('cls', 'reg'):
        adapter = model.pair.adapters[branch]
        assert type(adapter).__name__ == 'NormedAdapter'
        assert adapter.widen.weight.shape[:2] == (WIDTH, WIDTH // 2)
    assert {f'pair.adapters.{n}' for n in adapters} <= changed
    assert set(auxiliary_state(model)) == {
        f'pair.adapters.{n}' for n in adapters}
    assert has_plain_keys(model, cfg)


# -- a region of SDD ----------------------------------------------------------


def test_a_region_is_distilled(folder):
    model = build(example(folder, 'region.py'))
    losses, paired = passed(model, batch(num_classes=CLASSES))
    s, t = (torch.cat([m.flatten(2) for m in paired.maps(which, 'cls')], 2)
            .transpose(1, 2)[paired.positives('cls')]
            for which in ('student', 'teacher'))
    p, q = t.sigmoid(), s.sigmoid()
    kl = p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()
    assert len(kl) > 0
    assert total(losses)['loss_sdd_positives'] == pytest.approx(
        kl.sum(1).mean().item(), rel=1e-3)
    _, changed = step(model)
    assert 'bbox_head.gfl_cls.weight' in changed


def test_a_region_of_one_size_refuses_larger_scales(folder):
    cfg = example(folder, 'region.py')
    cfg.kd_cfg.loss_sdd.scales = (1, 2)
    with pytest.raises(ValueError, match='sampled at 1×1 points'):
        build(cfg)


# -- in a project of its own --------------------------------------------------


def test_all_of_them_train_in_a_project_with_a_scope_of_its_own(
        folder, shapes_root, tmp_path):
    """The train tool, every example in one config, and its checkpoint."""
    downstream.make_project(folder)
    parts = [f'my_distillation.{name}' for name in (
        'heads', 'losses', 'distillers', 'adapters', 'regions')]
    (folder / 'teacher.py').write_text(
        '_base_ = "mmdet::retinanet/retinanet_r50_fpn_1x_coco.py"\n'
        f'{downstream.SMALL}')
    (folder / 'mine.py').write_text(downstream.child(
        './level_head.py', shapes_root / 'data/shapes', downstream.PACKAGE,
        f'''
        custom_imports = dict(imports=['crosskd', *{parts!r}])
        model.update(teacher_config='teacher.py', teacher_ckpt='random')
        model['bbox_head'].update(type='mmdet.LevelHead', feat_channels=16)
        model['kd_cfg'] = dict(
            loss_cls_kd=dict(_delete_=True, type='ScoreMSELoss'),
            adapter=dict(type='NormedAdapter', num_groups=4),
            loss_sdd=dict(type='SDDLoss', base='bernoulli', scales=(1, )),
            sdd_regions=dict(positives=dict()),
            distillers=[dict(type='MaskedDistiller', channels=32)])
        '''))
    out = tool('train.py', 'mine.py', '--work-dir', tmp_path, cwd=folder,
               env=dict(PYTHONPATH=str(folder)))
    for name in ('cls_kd', 'reg_kd', 'sdd_positives', 'masked_kd'):
        assert f'loss_{name}: ' in out
    saved = torch.load(tmp_path / 'epoch_1.pth', weights_only=False)
    student = build(plain(Config.fromfile(folder / 'mine.py').model))
    student.load_state_dict(saved['state_dict'])
    assert {n.split('.')[0] for n in saved[KEY]} == {'pair', 'distillers'}
