"""Pictures of what distillation does: what is on them, and no trace of it."""
import copy
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from experiments import CLASSES, experiment, model_cfg, weights, write
from families import FAMILY, as_params, quick_cases
from helpers import (
    METHODS,
    batch,
    build,
    distiller_cfg,
    plain_cfg,
    total,
)
from mmdet.registry import DATASETS
from mmengine.visualization import Visualizer
from tool_server import run as tool
from torch.utils.data import DataLoader
from unknown_heads import distilled, unknown_cfg

from crosskd.apps.visualization import DistillationVisualizationHook
from crosskd.apps.visualization.hook import add_image
from crosskd.apps.visualization.panels import draw
from crosskd.apps.visualization.views import SCORES, look

NAMES = ('one', 'two', 'three')
HOOK = dict(type='DistillationVisualizationHook', images=[0, 2],
            interval=1)


def item(size=(64, 96), scale=(2.0, 2.0), padding=0):
    """An image as a pipeline packs it, and what its data set knows of it."""
    height, width = size
    _, (sample, ) = batch((3, ), size)
    boxes = sample.gt_instances.bboxes / torch.tensor([*scale, *scale])
    truth = [dict(bbox=box.tolist(), bbox_label=int(label), ignore_flag=0)
             for box, label in zip(boxes, sample.gt_instances.labels)]
    truth.append(dict(truth[0], ignore_flag=1))
    sample.set_metainfo(dict(
        ori_shape=(round(height / scale[1]), round(width / scale[0])),
        img_shape=(height + padding, width + padding), scale_factor=scale))
    rng = torch.Generator().manual_seed(1)
    pixels = torch.randint(
        0, 256, (3, height + padding, width + padding), generator=rng)
    return dict(inputs=pixels.to(torch.uint8), data_samples=sample), truth


def everything(model):
    """All that a run goes on from."""
    return (torch.get_rng_state(), np.random.get_state()[1].copy(),
            copy.deepcopy([
                dict(m.state_dict(), **{
                    k: v for k, v in vars(m).items()
                    if isinstance(v, (bool, int, float, str, tuple))})
                for top in (model, model.teacher.detector)
                for m in top.modules()]),
            [p.grad for p in model.parameters()])


def same(a, b):
    if isinstance(a, (torch.Tensor, np.ndarray)):
        return np.array_equal(np.asarray(a), np.asarray(b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


@pytest.mark.parametrize('kind', as_params(
    FAMILY, slow=FAMILY.keys() - {'retina', 'gfl'}))
def test_a_student_that_is_its_teacher_looks_like_it(kind):
    """In boxes, scores and losses; and the cross head is the head."""
    split = FAMILY[kind].split
    model = build(distiller_cfg(
        kind, teacher_width=8, reused_teacher_head_idx=split))
    model.load_state_dict(model.teacher.detector.state_dict())
    model.eval()  # the same batch statistics as the teacher
    model.bbox_head.training = True  # VFNet returns less without
    model.loss(*batch())  # as in training, something has been counted
    model.train()
    before = everything(model)
    view = look(model, *item(), NAMES)
    assert same(everything(model), before)
    assert list(view.boxes) == [
        'ground truth', 'teacher', 'student', 'cross head']
    assert len(view.boxes['ground truth'].names) == 3
    for whose in ('student', 'cross head'):
        found, expected = view.boxes[whose], view.boxes['teacher']
        assert len(found.names) == len(expected.names) > 0
        np.testing.assert_allclose(
            np.sort(found.scores), np.sort(expected.scores), atol=2e-3)
        assert set(found.names) <= set(NAMES)
    for ours, theirs in zip(*(view.maps[name] for name in SCORES)):
        np.testing.assert_allclose(ours.values, theirs.values, atol=1e-3)
    assert max(x.values.max() for x in view.maps['loss_reg_kd']) < 1e-3
    for maps in view.maps.values():
        assert [x.stride for x in maps] == [8, 16, 32]


@pytest.mark.parametrize('method', quick_cases(
    [method for method in METHODS if ' and ' in method], METHODS))
def test_maps_are_what_the_losses_are_made_of(method):
    model = build(METHODS[method]('atss')).eval()
    # not trained: otherwise images of this seed have next to no loss
    thing, truth = item()
    view = look(model, thing, truth, NAMES)
    data = model.data_preprocessor(
        dict(inputs=[thing['inputs']], data_samples=[thing['data_samples']]))
    data['data_samples'][0].gt_instances.bboxes *= 1  # of the network's input
    losses = total(model.loss(**{
        'batch_inputs': data['inputs'],
        'batch_data_samples': data['data_samples']}))
    assert ('cross head' in view.boxes) == method.startswith('CrossKD')
    distilled = {k: v for k, v in losses.items()
                 if k in model.distillers.loss_names}
    assert distilled and {
        name.removeprefix('gradient of ') for name in view.maps
    } == {*SCORES, *distilled}
    for name, value in distilled.items():
        if name in view.maps:  # of single locations
            assert sum(
                x.values.sum() for x in view.maps[name]) == pytest.approx(
                    value, rel=1e-4)
        else:
            maps = view.maps[f'gradient of {name}']
            assert 0 < max(x.values.max() for x in maps) < np.inf


STUDENTS = ['fovea', 'yolof', 'detr']
PAIRS = {
    **{name: lambda name=name: distilled(
        unknown_cfg(name), unknown_cfg(name, width=16)) for name in STUDENTS},
    'known head, unknown teacher': lambda: distilled(
        plain_cfg('gfl'), unknown_cfg('fovea')),
    'unknown head, known teacher': lambda: distilled(
        unknown_cfg('fovea'), plain_cfg('gfl'))}


@pytest.mark.parametrize('pair', PAIRS)
def test_detectors_that_only_share_features(pair):
    """What each of them detects by itself, and where features differ."""
    model = build(PAIRS[pair]()).train()
    model.loss(*batch())  # as in training
    thing, truth = item()
    before = everything(model)
    view = look(model, thing, truth, NAMES)
    assert same(everything(model), before)
    assert list(view.boxes) == ['ground truth', 'teacher', 'student']
    (name, maps), = view.maps.items()
    assert name.startswith('gradient of loss_feat_kd at the ')
    strides = [32] if pair in ('yolof', 'detr') else [8, 16, 32]
    assert [x.stride for x in maps] == strides
    for heat in maps:
        assert heat.extent == (0, 48, 32, 0)  # of the file
        assert heat.values.shape == (64 // heat.stride, 96 // heat.stride)
    # the student's own detections, and the length of the gradient
    data = model.data_preprocessor(dict(
        inputs=[thing['inputs']], data_samples=[thing['data_samples']]))
    model.eval()
    with torch.no_grad():
        found, = model.predict(data['inputs'], data['data_samples'])
    np.testing.assert_array_equal(
        found.pred_instances.bboxes, view.boxes['student'].corners)
    features = [x.detach().requires_grad_() for x in model.extract_feat(
        data['inputs'])]
    theirs = model.teacher(data['inputs'], data['data_samples'])
    loss = sum(model.distillers.features.loss_feat_kd(
        *both) for both in model.pair.features(
            'features', features, theirs.features['features']))
    for slope, heat in zip(torch.autograd.grad(loss, features), maps):
        np.testing.assert_allclose(
            slope[0].norm(dim=0), heat.values, rtol=1e-4, atol=1e-9)
    assert draw(view, 'title', score_thr=0.3).std() > 1


def test_a_teacher_of_its_own_normalisation_detects_on_its_view():
    cfg = distilled(unknown_cfg('fovea'), unknown_cfg('fovea'))
    cfg['data_preprocessor'].update(mean=[0, 0, 0], std=[1, 1, 1],
                                    bgr_to_rgb=False)
    model = build(cfg).eval()
    thing, truth = item()
    view = look(model, thing, truth, NAMES)
    teacher = model.teacher.detector
    with torch.no_grad():
        expected, = teacher.test_step(dict(
            inputs=[thing['inputs']], data_samples=[thing['data_samples']]))
    np.testing.assert_allclose(expected.pred_instances.bboxes,
                               view.boxes['teacher'].corners, atol=1e-3)


def test_a_teacher_in_a_short_type_detects():
    """NMS and box coders do not know all types."""
    cfg = distilled(unknown_cfg('fovea'), unknown_cfg('fovea'))
    model = build(dict(cfg, teacher_dtype='bfloat16')).train()
    model.loss(*batch())
    view = look(model, *item(), NAMES)
    assert len(view.boxes['teacher'].names) > 0
    assert {p.dtype for p in model.teacher.detector.parameters()} == {
        torch.bfloat16}


def test_known_heads_are_compared_where_features_alone_are_distilled():
    """Scores as with other losses, the gradient at the FPN's features."""
    model = build(distilled(plain_cfg('gfl'), plain_cfg('atss')))
    view = look(model, *item(), NAMES)
    assert list(view.boxes) == ['ground truth', 'teacher', 'student']
    assert list(view.maps) == [*SCORES, 'gradient of loss_feat_kd']
    for maps in view.maps.values():
        assert [x.stride for x in maps] == [8, 16, 32]
        assert max(x.values.max() for x in maps) > 0


def test_features_of_several_taps_have_a_row_each():
    """Also beside losses of predictions."""
    model = build(distiller_cfg('gfl', distillers=[dict(
        type='FeatureDistiller', student='backbone.layer4',
        teacher='backbone.layer4', loss_feat_kd=dict(type='PKDLoss'))]))
    view = look(model, *item(), NAMES)
    assert list(view.maps) == [
        *SCORES, 'loss_cls_kd', 'loss_reg_kd',
        'gradient of loss_feat_kd at the backbone.layer4']
    heat, = view.maps['gradient of loss_feat_kd at the backbone.layer4']
    assert heat.stride == 32 and heat.values.max() > 0
    assert draw(view, 'title', score_thr=0.3).std() > 1


def test_levels_and_classes_of_the_teachers_alone():
    """It has a level less and one class more; both have names of their own."""
    cfg = distiller_cfg('gfl', teacher_classes=('two', 'one', 'zero', 'three'))
    teacher = cfg['teacher_config']['model']
    teacher['bbox_head'].update(num_classes=4)
    teacher['bbox_head']['anchor_generator']['strides'] = [16, 32, 64]
    teacher['neck']['start_level'] = 2
    teacher['neck']['num_outs'] = 3
    model = build(cfg, joins=False)
    model.join_teacher(NAMES)
    view = look(model, *item(), NAMES)
    assert [(x.stride, x.values.shape) for x in view.maps['loss_cls_kd']] == [
        (16, (4, 6)), (32, (2, 3))]
    # nothing of a student's comes from the level that it lacks
    assert view.boxes['cross head'].scores.min() > 0.01
    assert set(view.boxes['teacher'].names) <= {*NAMES, 'zero'}


def test_a_picture_has_the_images_colours_and_its_shape():
    """A file of 20 × 60 pixels, stretched and padded by the pipeline."""
    thing, _ = item(size=(80, 120), scale=(2.0, 4.0), padding=8)
    thing['inputs'][:] = 114  # the padding
    thing['inputs'][:, :80, :120] = torch.tensor(
        [0, 0, 255], dtype=torch.uint8)[:, None, None]  # BGR
    view = look(build(distiller_cfg('fcos')), thing, [], NAMES)
    assert view.size == (20, 60)
    assert (view.image == (255, 0, 0)).all()
    left, right, bottom, top = view.maps['loss_cls_kd'][0].extent
    assert (left, top) == (0, 0) and right >= 60 and bottom >= 20
    picture = draw(view, 'title', score_thr=0.99)
    assert picture.dtype == np.uint8 and picture.shape[2] == 3
    red = (picture == (255, 0, 0)).all(-1)
    y, count = np.nonzero(red)[0], 4
    height, width = np.ptp(y) + 1, np.median(red[y].sum(1)) / count
    assert width / height == pytest.approx(3, rel=0.05)


@pytest.mark.parametrize('channels, dtype, highest', [
    pytest.param(1, np.uint16, 60000, marks=pytest.mark.skipif(
        not hasattr(torch, 'uint16'), reason='this torch has no uint16')),
    (2, np.float32, 1.0), (4, np.uint8, 255), (5, np.float32, 3e4),
    (3, np.int32, 4000)])
def test_pictures_of_other_images_show_them(channels, dtype, highest):
    """Of other channels and types than a photograph's."""
    cfg = distiller_cfg('gfl')
    for one in (cfg, cfg['teacher_config']['model']):
        one['backbone']['in_channels'] = channels
        one['data_preprocessor'] = dict(
            type='DetDataPreprocessor', pad_size_divisor=32)
    thing, truth = item()
    ramp = np.linspace(0, highest, 96).astype(dtype)
    thing['inputs'] = torch.from_numpy(
        np.broadcast_to(ramp, (channels, 64, 96)).copy())
    view = look(build(cfg), thing, truth, NAMES)
    assert (view.image == np.rint(
        255 * (ramp / highest))[None, :, None]).mean() > 0.95
    assert view.image.min() == 0 and view.image.max() == 255
    assert list(view.boxes)[:3] == ['ground truth', 'teacher', 'student']


class TakesFiles:
    """As MLflow's backend: names are those of files, and it has no steps."""

    def __init__(self):
        self.added = []

    def add_image(self, name, image, step=0):
        if '.' not in name:
            raise ValueError('unknown file extension: ')
        self.added.append(name)


class TakesNames(TakesFiles):
    """As TensorBoard's."""

    def add_image(self, name, image, step=0):
        self.added.append((name, step))


def test_backends_get_names_that_they_take():
    backends = dict(files=TakesFiles(), names=TakesNames())
    visualizer = Visualizer(name='of two backends')
    visualizer._vis_backends = backends
    for step in (1, 2):
        add_image(visualizer, 'distillation_0', np.zeros((2, 2, 3)), step)
    assert backends['files'].added == [
        'distillation_0_1.png', 'distillation_0_2.png']
    assert backends['names'].added == [
        ('distillation_0', 1), ('distillation_0', 2)]


def test_a_backend_that_takes_no_picture_says_why():
    class Full(TakesFiles):
        def add_image(self, name, image, step=0):
            raise OSError('disk is full')

    visualizer = Visualizer(name='of a full disk')
    visualizer._vis_backends = dict(full=Full())
    with pytest.raises(OSError, match='disk is full'):
        add_image(visualizer, 'distillation_0', np.zeros((2, 2, 3)), 1)


def test_validation_data_of_several_sets_whose_metainfo_differs(
        shapes_root, monkeypatch):
    """mmdet has a list of them then."""
    monkeypatch.chdir(shapes_root)
    part = experiment(model_cfg(plain_cfg('gfl')))['val_dataloader']['dataset']
    dataset = DATASETS.build(dict(type='ConcatDataset', datasets=[
        dict(part, metainfo=dict(classes=CLASSES, palette=[(i, 2, 3)] * 5))
        for i in (0, 1)]))
    assert isinstance(dataset.metainfo, list)
    hook = DistillationVisualizationHook(images=[0, len(dataset) - 1])
    hook.before_train(SimpleNamespace(
        model=build(model_cfg(distiller_cfg('gfl'))),
        train_loop=SimpleNamespace(val_interval=1), val_loop=SimpleNamespace(
            dataloader=SimpleNamespace(dataset=dataset))))
    assert hook._classes == CLASSES and len(hook._items) == 2


@pytest.mark.parametrize('arguments, error, message', [
    (dict(images=0), ValueError, 'images must be finite and >= 1, found 0'),
    (dict(images=['a']), TypeError, "images must be an integer, found 'a'"),
    (dict(images=[]), ValueError, 'images: expected at least one'),
    (dict(interval=0.5), TypeError, 'interval must be an integer, found 0.5'),
    (dict(by_epoch=1), TypeError, 'by_epoch must be True, False or None'),
    (dict(score_thr='0'), TypeError, "score_thr must be a number, found '0'"),
])
def test_arguments_that_cannot_be_used(arguments, error, message):
    with pytest.raises(error, match=message):
        DistillationVisualizationHook(**arguments)


@pytest.mark.parametrize('cfg, images, error, message', [
    (plain_cfg('gfl'), 1, TypeError,
     'expected a distilled detector .model.type., found GFL'),
    (distiller_cfg('gfl'), [0, 7], ValueError,
     'expected indices below 6, the number of images .* found 7')])
def test_what_cannot_be_drawn_is_said_before_training(cfg, images, error,
                                                      message):
    runner = SimpleNamespace(
        model=build(cfg), train_loop=SimpleNamespace(val_interval=1),
        val_loop=SimpleNamespace(dataloader=DataLoader([0] * 6)))
    hook = DistillationVisualizationHook(images=images)
    with pytest.raises(error, match=message):
        hook.before_train(runner)


def scalars(path):
    """What a run's message hub has noted of steps, but for times."""
    hub = torch.load(path, weights_only=False)['message_hub']['log_scalars']
    return {key: value.data[0] for key, value in hub.items()
            if key.startswith('train/') and 'time' not in key}


def images_in_events(folder):
    """Tags, steps and sizes of the images that TensorBoard has."""
    accumulator = pytest.importorskip(
        'tensorboard.backend.event_processing.event_accumulator')
    events = accumulator.EventAccumulator(
        str(folder), size_guidance=dict(images=0)).Reload()
    return {
        (tag, image.step): cv2.imdecode(np.frombuffer(
            image.encoded_image_string, np.uint8), 1)
        for tag in events.Tags()['images'] for image in events.Images(tag)}


def test_a_run_is_the_same_with_it_and_without(project, tmp_path):
    """With batch norms and flips, and where it was stopped between.

    Pictures go to all backends.
    """
    try:
        import tensorboard  # noqa: F401
        backends = ['LocalVisBackend', 'TensorboardVisBackend']
    except ImportError:
        backends = ['LocalVisBackend']
    cfg = dict(
        _base_='./distilled.py', visualizer=dict(
            type='DetLocalVisualizer', vis_backends=[
                dict(type=backend) for backend in backends]),
        custom_hooks=[
            HOOK, dict(type='LossSharesHook', gradient_interval=1)])
    write(project / 'seen.py', cfg)
    tool('train.py', 'seen.py', '--work-dir', tmp_path / 'b',
         '--cfg-options', 'train_cfg.max_epochs=1', cwd=project)
    tool('train.py', 'seen.py', '--work-dir', tmp_path / 'b', '--resume',
         cwd=project)
    a, b = (folder / 'epoch_2.pth' for folder in (
        project / 'work_dirs/distilled', tmp_path / 'b'))
    assert same(weights(a), weights(b))
    found = scalars(b)
    assert (found.pop('train/grad_ratio') > 0).all()
    assert same(found, scalars(a))
    pictures = sorted((tmp_path / 'b').rglob('vis_image/*'))
    assert sorted(p.name for p in pictures) == [
        f'distillation_{i}_{epoch}.png' for i in (0, 2) for epoch in (1, 2)]
    shown = {p.stem: cv2.imread(str(p)) for p in pictures}
    assert all(x.std() > 10 for x in shown.values())
    if len(backends) > 1:
        events = images_in_events(next((tmp_path / 'b').rglob(
            'events.out*')).parent)
        assert events
        for (tag, step), image in events.items():
            assert (image == shown[f'{tag}_{step}']).all()


@pytest.mark.slow
def test_a_run_counted_in_iterations(project, tmp_path):
    """By default as often as it validates, and at its end."""
    cfg = experiment(
        model_cfg(METHODS['SDD, map and box']('fcos')), param_scheduler=[],
        log_processor=dict(by_epoch=False),
        custom_hooks=[dict(type=HOOK['type'], images=1)],
        train_cfg=dict(by_epoch=False, max_iters=5, val_interval=2))
    cfg['train_dataloader']['sampler']['type'] = 'InfiniteSampler'
    cfg['default_hooks']['checkpoint'].update(by_epoch=False, interval=5)
    write(project / 'by_iteration.py', cfg)
    tool('train.py', 'by_iteration.py', '--work-dir', tmp_path, cwd=project)
    assert sorted(p.name for p in tmp_path.rglob('vis_image/*')) == [
        f'distillation_0_{step}.png' for step in (2, 4, 5)]


@pytest.mark.slow
@pytest.mark.parametrize('name', ['fovea', 'detr'])
def test_a_run_of_detectors_without_a_known_head(project, tmp_path, name):
    """Which is the same with it and without."""
    model = distilled(*(unknown_cfg(name, len(CLASSES), width)
                        for width in (8, 16)))
    write(project / 'any.py', experiment(model, epochs=1))
    write(project / 'seen.py', experiment(model, epochs=1, custom_hooks=[
        HOOK, dict(type='LossSharesHook', gradient_interval=1)]))
    for config in ('any', 'seen'):
        tool('train.py', f'{config}.py', '--work-dir', tmp_path / config,
             cwd=project)
    a, b = (tmp_path / config / 'epoch_1.pth' for config in ('any', 'seen'))
    assert same(weights(a), weights(b))
    assert (scalars(b)['train/grad_ratio'] > 0).all()
    assert sorted(p.name for p in tmp_path.rglob('vis_image/*')) == [
        f'distillation_{i}_1.png' for i in (0, 2)]
