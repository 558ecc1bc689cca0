"""What cannot work as a pair is one error before a run begins."""
import copy
import random
import textwrap
from collections import OrderedDict
from threading import Lock

import numpy as np
import pytest
import torch
from data_sets import images
from experiments import experiment, model_cfg, write
from helpers import (
    KINDS,
    batch,
    build,
    distiller_cfg,
    plain_cfg,
    sdd_cfg,
    total,
)
from mmdet.models import dense_heads
from mmdet.models.dense_heads import FCOSHead, GFLHead
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.dataset import ConcatDataset
from mmengine.logging import MessageHub
from mmengine.registry import MODELS as ROOT
from mmengine.registry import DefaultScope, Registry
from tool_output import errors, written
from tool_server import run as tool

from crosskd.arguments import check_number
from crosskd.compat import mmcv_ext
from crosskd.engine.trial import try_pair, try_pipeline
from crosskd.errors import ConfigError, readable
from crosskd.heads import adapter_of

DCN = dict(dcn=dict(type='DCN', deform_groups=1, fallback_on_stride=False),
           stage_with_dcn=(False, True, True, True))


@MODELS.register_module()
class Floors(torch.nn.Module):
    """Maps whose sides are rounded down, as some transformers' are."""

    def __init__(self, channels=(16, 32, 64, 128)):
        super().__init__()
        self.layers = torch.nn.ModuleList(
            torch.nn.Conv2d(3, c, 4 * 2**i, 4 * 2**i)
            for i, c in enumerate(channels))

    def forward(self, x):
        return tuple(layer(x) for layer in self.layers)


def floors(divisor):
    cfg = distiller_cfg('gfl')
    cfg['teacher_config']['model']['backbone'] = dict(type='Floors')
    cfg['data_preprocessor']['pad_size_divisor'] = divisor
    return cfg


@pytest.mark.parametrize('scale, fits', [((96, 64), True), ((100, 100), False),
                                         ((64, 1300), False)])
def test_maps_of_other_sizes_name_the_divisor(shapes_root, scale, fits):
    model = build(floors(1))
    data = images(shapes_root, scale)
    if fits:
        try_pair(model, data)
    else:
        with pytest.raises(ValueError, match='at stride (8|16|32) the teach'
                           "er's maps are .*pad_size_divisor"):
            try_pair(model, data)
    try_pair(build(floors(32)), data)


def test_a_later_batch_of_another_size_is_an_error_too():
    model = build(floors(1))
    model.loss(*batch())
    with pytest.raises(ValueError, match='batch of 100×92 pixels.*pad_size_d'):
        model.loss(*batch(size=(100, 92)))


@pytest.mark.skipif(not mmcv_ext.is_installed(), reason='needs no ops')
@pytest.mark.parametrize('whose, key', [
    ('student', r'model\.backbone\.layer2\.0\.conv'),
    ('teacher', r'teacher_config\.model\.backbone\.layer2\.0\.conv')])
def test_an_op_that_is_not_there_names_the_side(whose, key):
    cfg = distiller_cfg('gfl')
    owner = cfg if whose == 'student' else cfg['teacher_config']['model']
    owner['backbone'].update(DCN, depth=50)  # of 18 has none
    owner['neck']['in_channels'] = [
        4 * c for c in owner['neck']['in_channels']]
    model = build(cfg)
    with pytest.raises(ValueError, match=f'^{key}.*: NotImplementedError: '
                       '.*deform_conv.*compiled ops'):
        try_pair(model)


@MODELS.register_module()
class Talkative(GFLHead):
    """Returns more than its family does."""

    def forward(self, x):
        cls, reg = super().forward(x)
        return cls, cls, reg


@MODELS.register_module()
class Wide(FCOSHead):
    """Has the branches of its family in another order."""

    def forward(self, x):
        cls, reg, quality = super().forward(x)
        return cls, quality, reg


@pytest.mark.parametrize('kind, head, words', [
    ('gfl', 'Talkative', 'Talkative must return maps of cls, reg with'),
    ('fcos', 'Wide', 'Wide must return maps of cls, reg, quality with')])
@pytest.mark.parametrize('whose', ['student', 'teacher'])
def test_a_head_that_returns_something_else(kind, head, words, whose):
    cfg = distiller_cfg(kind)
    owner = cfg if whose == 'student' else cfg['teacher_config']['model']
    owner['bbox_head']['type'] = head
    model = build(cfg)
    side = 'teacher_config.model' if whose == 'teacher' else 'model'
    with pytest.raises(TypeError, match=f'{side}.bbox_head: .*{words}'):
        try_pair(model)
    if whose == 'teacher':  # the student's own loss fails before
        with pytest.raises(TypeError, match=words):
            model.loss(*batch())


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('make', [distiller_cfg, sdd_cfg])
def test_nothing_is_left_of_a_trial(shapes_root, kind, make):
    """No gradient, statistic, mode or random number."""
    cfg = make(kind)
    cfg['bbox_head']['num_classes'] = 5
    cfg['teacher_config']['model']['bbox_head']['num_classes'] = 5
    model = build(cfg)
    model.train()
    before = copy.deepcopy(model.state_dict())
    modes = [m.training for m in model.modules()]
    numbers = (random.getstate(), np.random.get_state()[1].tolist(),
               torch.get_rng_state().tolist())
    flip = [dict(type='RandomFlip', prob=0.5)]
    try_pair(model, ConcatDataset([images(shapes_root, (64, 64), flip)]))
    assert numbers == (random.getstate(), np.random.get_state()[1].tolist(),
                       torch.get_rng_state().tolist())
    assert modes == [m.training for m in model.modules()]
    assert all(torch.equal(v, before[k])
               for k, v in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize('told', [{}, dict(epoch=0), dict(epoch=7)])
def test_a_trial_keeps_no_count_and_no_other_module(monkeypatch, told):
    """Heads and losses count, and hold modules where torch does not look.

    What mmengine has told everybody (here the epoch) stays as it was.
    """
    cfg = distiller_cfg('retina')
    cfg['bbox_head']['loss_cls'] = dict(
        type='GHMC', momentum=0.75, use_sigmoid=True)
    model = build(cfg)
    hub = MessageHub.get_current_instance()
    monkeypatch.setattr(hub, '_runtime_info', OrderedDict(told))
    head = model.bbox_head
    head.hidden, head.own = [head.retina_cls], head.loss
    before, counted = copy.copy(vars(head)), head.loss_cls.acc_sum.clone()
    try_pair(model)
    assert model.bbox_head is head and vars(head) == before
    assert head.hidden[0] is head.retina_cls and head.own.__self__ is head
    assert torch.equal(head.loss_cls.acc_sum, counted)
    assert hub.runtime_info == told


def test_a_head_that_cannot_be_copied_is_tried_itself():
    model = build(distiller_cfg('gfl'))
    head = model.bbox_head.train()
    head.lock = Lock()
    seen = []
    head.loss_cls.register_forward_hook(lambda *_: seen.append(1))
    try_pair(model)
    assert seen and model.bbox_head is head and head.training


def test_a_pipeline_is_tried_on_a_copy_and_may_drop_images(shapes_root):
    class Keeps:
        seen = []

        def __call__(self, results):
            self.seen.append(results['img_id'])
            return results if len(Keeps.seen) > 2 else None

    data = images(shapes_root, (64, 64), [Keeps()])
    kept = data.pipeline.transforms[-2]
    kept.seen = mine = []
    Keeps.seen = []
    try_pair(build(distiller_cfg('gfl')), data)
    assert mine == []


def test_a_pipeline_that_fails_is_named(shapes_root):

    def fails(results):
        raise OSError('no such file')

    data = images(shapes_root, (64, 64), [fails])
    with pytest.raises(ValueError, match='^train_dataloader.dataset.pipeline: '
                       "failed on the image '.*00000.png': OSError: no such"):
        try_pair(build(distiller_cfg('gfl')), data)
    with pytest.raises(ValueError, match=r'^val.dataset.datasets\[0\].pipel'):
        try_pipeline('val.dataset', ConcatDataset([data]))


def test_images_of_several_sizes_are_tried_where_that_matters(shapes_root):
    """Half of them fit; which ones is not known before they are read."""
    sizes = [dict(type='RandomChoiceResize', scales=[(96, 96), (100, 100)],
                  keep_ratio=False)]
    data = images(shapes_root, (64, 64), sizes)
    with pytest.raises(ValueError, match='batch of 100×100 .*pad_size_div'):
        try_pair(build(floors(1)), data)
    try_pair(build(floors(32)), data)


@MODELS.register_module()
class Bypass(GFLHead):
    """Predicts from what it is given, without its towers."""

    def forward_single(self, x, scale):
        return self.gfl_cls(x), scale(self.gfl_reg(x)).float()


@pytest.mark.parametrize('whose', ['student', 'teacher'])
def test_a_head_that_does_without_its_towers(whose):
    cfg = distiller_cfg('gfl')
    owner = cfg if whose == 'student' else cfg['teacher_config']['model']
    owner['bbox_head']['type'] = 'Bypass'
    key = 'model' if whose == 'student' else 'teacher_config.model'
    with pytest.raises(TypeError, match=f'^{key}.bbox_head: 0 of 3 levels '
                       'went through the cls branch of Bypass'):
        try_pair(build(cfg))


def test_the_students_own_loss_is_tried(shapes_root):
    cfg = distiller_cfg('gfl')
    cfg['train_cfg'] = None
    with pytest.raises(ValueError, match='^model.bbox_head: cannot take a b'):
        try_pair(build(cfg))
    data = images(shapes_root, (64, 64))
    del data.pipeline.transforms[1]  # that loads the annotations
    with pytest.raises(ValueError, match='^model.bbox_head: .*bboxes'):
        try_pair(build(distiller_cfg('gfl')), data)


# -- preprocessing -----------------------------------------------------------


def test_a_preprocessor_beside_the_model_is_the_teachers():
    cfg = distiller_cfg('gfl')
    teacher = cfg['teacher_config']
    teacher['data_preprocessor'] = teacher['model'].pop('data_preprocessor')
    model = build(cfg)
    assert model.teacher.detector.data_preprocessor.std.flatten().tolist() == (
        pytest.approx([58.395, 57.12, 57.375]))
    assert total(model.loss(*batch())) == total(
        build(distiller_cfg('gfl')).loss(*batch()))


def grey(normalizes):
    """A preprocessor of images of one channel."""
    made = dict(type='DetDataPreprocessor', pad_size_divisor=32)
    return dict(made, mean=[128.0], std=[64.0]) if normalizes else made


@pytest.mark.parametrize('student', [False, True])
@pytest.mark.parametrize('teacher', [False, True])
def test_grey_images_where_one_side_normalises(student, teacher):
    cfg = distiller_cfg('gfl')
    for one, normalizes in ((cfg, student),
                            (cfg['teacher_config']['model'], teacher)):
        one['data_preprocessor'] = grey(normalizes)
        one['backbone']['in_channels'] = 1
    model = build(cfg)
    seen = []
    model.teacher.detector.backbone.register_forward_pre_hook(
        lambda _, args: seen.append(args[0]))
    pixels = torch.full((2, 1, 64, 96), 192.0)
    _, samples = batch()
    model.loss((pixels - 128) / 64 if student else pixels, samples)
    assert seen[0].shape == pixels.shape
    expected = 1.0 if teacher else 192.0
    assert torch.equal(seen[0], torch.full_like(pixels, expected))


def test_a_teacher_of_other_channels_is_one_error(shapes_root):
    cfg = distiller_cfg('gfl')
    cfg['data_preprocessor'] = grey(True)
    cfg['backbone']['in_channels'] = 1
    data = images(shapes_root, (64, 64))
    data.pipeline.transforms[0].color_type = 'grayscale'
    with pytest.raises(ValueError, match='^teacher_config.model.data_preproc'
                       'essor normalises 3 channels, .*have 1'):
        try_pair(build(cfg), data)
    del cfg['teacher_config']['model']['data_preprocessor']
    with pytest.raises(ValueError, match='^teacher_config.model.backbone.conv1'
                       ': cannot take a batch of 2×1×64×64: '):
        try_pair(build(cfg), data)


# -- who opens the teacher, and what it draws --------------------------------


def test_inference_never_opens_the_teacher(project, tmp_path):
    """A config of a package that is gone, a checkpoint that is none."""
    (tmp_path / 'teacher.py').write_text(
        "custom_imports = dict(imports=['nowhere'])\n")
    (tmp_path / 'teacher.pth').write_text('nothing')
    cfg = Config.fromfile(project / 'distilled.py')
    cfg.model.update(teacher_config=str(tmp_path / 'teacher.py'),
                     teacher_ckpt=str(tmp_path / 'teacher.pth'))
    cfg.dump(str(tmp_path / 'student.py'))
    out = tool('test.py', tmp_path / 'student.py',
               project / 'work_dirs/distilled/epoch_2.pth', '--work-dir',
               tmp_path, cwd=project)
    assert 'bbox_mAP_copypaste' in out
    model = build(cfg.model, joins=False).eval()
    with torch.no_grad():
        model.predict(*batch())
    assert not model.teacher.is_read
    with pytest.raises(ValueError, match='teacher_config=.*nowhere'):
        model.init_weights()
    for key in ('teacher_config', 'teacher_ckpt'):
        cfg.model.pop(key)
        build(cfg.model, joins=False)


@pytest.mark.parametrize('kind', KINDS)
def test_the_same_seed_is_the_same_student_with_a_teacher_and_without(kind):
    starts = []
    for cfg in (plain_cfg(kind), distiller_cfg(kind)):
        model = build(cfg, joins=False)
        model.init_weights()
        starts.append((model.state_dict(), torch.rand(1), np.random.rand(),
                       random.random()))
        np.random.seed(0)
        random.seed(0)
    np.random.seed(0)
    random.seed(0)
    (ours, *_), (theirs, *_) = starts
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[k], theirs[k]) for k in ours)
    assert starts[0][1] == starts[1][1]


def test_the_same_seed_is_the_same_student_in_runs(project, tmp_path):
    """Without a learning rate the checkpoint holds what the run began with."""
    starts = []
    for name in ('plain', 'distilled'):
        tool('train.py', f'{name}.py', '--work-dir', tmp_path / name,
             '--cfg-options', 'train_cfg.max_epochs=1',
             'optim_wrapper.optimizer.lr=0.0', cwd=project)
        starts.append({
            k: v for k, v in torch.load(
                tmp_path / name / 'epoch_1.pth',
                weights_only=False)['state_dict'].items()
            if 'running' not in k and 'tracked' not in k})
    assert all(torch.equal(v, starts[1][k]) for k, v in starts[0].items())


# -- which heads teach -------------------------------------------------------

SIBLINGS = dict(
    LDHead=('gfl', dict(loss_ld=dict(
        type='KnowledgeDistillationKLDivLoss', loss_weight=0.25, T=10))),
    FreeAnchorRetinaHead=('retina', dict(
        loss_bbox=dict(type='SmoothL1Loss', beta=0.11, loss_weight=0.75))),
    PISARetinaHead=('retina', dict()))


@pytest.mark.parametrize('name', SIBLINGS)
def test_siblings_with_the_same_forward_teach(name):
    """They tell the student what a head of the family would tell."""
    kind, more = SIBLINGS[name]
    cfg = distiller_cfg(kind)
    losses = []
    for change in ({}, dict(type=name, **more)):
        cfg['teacher_config']['model']['bbox_head'].update(change)
        model = build(cfg)
        try_pair(model)
        losses.append(total(model.loss(*batch())))
    assert losses[0] == losses[1]


def test_siblings_do_not_learn():
    cfg = distiller_cfg('retina')
    cfg['bbox_head'].update(type='PISARetinaHead')
    with pytest.raises(TypeError, match='PISARetinaHead cannot be distilled'):
        build(cfg, joins=False)


@pytest.mark.parametrize('name', ['FSAFHead', 'AutoAssignHead'])
def test_siblings_with_a_forward_of_their_own_do_not_teach(name):
    head = dense_heads.__dict__[name]
    with pytest.raises(TypeError, match=f'{name} cannot be distilled'):
        adapter_of(head.__new__(head), teaches=True)


def test_a_student_of_mmdets_own_distillation_teaches_as_what_it_is():
    """LD's config names a teacher of its own, which nobody needs here."""
    cfg = distiller_cfg('gfl')
    model = cfg['teacher_config']['model']
    model.update(
        type='KnowledgeDistillationSingleStageDetector',
        teacher_config='gone.py', teacher_ckpt='gone.pth', eval_teacher=True)
    model['bbox_head'].update(type='LDHead', **SIBLINGS['LDHead'][1])
    assert total(build(cfg).loss(*batch())) == total(
        build(distiller_cfg('gfl')).loss(*batch()))


# -- scopes ------------------------------------------------------------------


def test_our_names_need_no_scope_anywhere():
    from mmengine.registry import HOOKS
    elsewhere = HOOKS.children.get('somewhere') or Registry(
        'hook', parent=HOOKS, scope='somewhere')
    assert elsewhere.get('SkipNonFiniteHook').__name__ == 'SkipNonFiniteHook'
    for name in ('CrossKDGFL', 'crosskd.CrossKDGFL', 'mmdet.CrossKDGFL'):
        assert ROOT.get(name) is MODELS.get('CrossKDGFL')


@pytest.fixture
def scope():
    """The default scope of a project with a head of its own."""
    before = copy.copy(DefaultScope._instance_dict)
    registry = ROOT.children.get('somewhere') or Registry(
        'model', parent=ROOT, scope='somewhere')
    registry.register_module(
        name='OnlyHere', force=True, module=type('OnlyHere', (GFLHead, ), {}))
    DefaultScope.get_instance('somewhere-test', scope_name='somewhere')
    yield 'somewhere'
    DefaultScope._instance_dict = before


DFL = dict(type='DistributionFocalLoss', loss_weight=0.25)


def scoped(cfg):
    """Types as a project with another default scope writes them."""
    if isinstance(cfg, dict):
        cfg = {k: v if k == 'norm_cfg' else scoped(v) for k, v in cfg.items()}
        if isinstance(cfg.get('type'), str):
            cfg['type'] = f'mmdet.{cfg["type"]}'
        return cfg
    return list(map(scoped, cfg)) if isinstance(cfg, list) else cfg


def in_scope(scope, **teacher):
    """A student of that project; losses of ours need no scope."""
    cfg = distiller_cfg('gfl')
    cfg['bbox_head'].update(loss_dfl=DFL)  # a default would have no scope
    kd = cfg.pop('kd_cfg')
    cfg.pop('teacher_config')
    cfg = dict(scoped(cfg), kd_cfg=kd, teacher_config=teacher)
    cfg['bbox_head']['type'] = 'OnlyHere'
    return cfg


def test_a_teacher_is_built_in_the_scope_of_its_own_config(scope):
    model = plain_cfg('gfl', 16)
    build(in_scope(scope, model=model, default_scope='mmdet')).loss(*batch())
    with pytest.raises(ValueError, match="'GFL' is not registered in the sc"):
        build(in_scope(scope, model=model))


def test_a_teacher_without_a_scope_is_built_in_the_students(scope):
    """Also where training begins in another scope than it was built in."""
    teacher = plain_cfg('gfl', 16, loss_dfl=DFL)
    model = build(in_scope(scope, model=scoped(teacher)), joins=False)
    with DefaultScope.overwrite_default_scope('mmdet'):
        model.init_weights()
    model.loss(*batch())


def test_a_pair_is_tried_before_anything_is_written(project, tmp_path):
    (tmp_path / 'backbone.py').write_text(textwrap.dedent('''
        import torch
        from mmdet.registry import MODELS

        @MODELS.register_module()
        class Breaks(torch.nn.Module):
            def forward(self, x):
                raise RuntimeError('no such op')
    '''))
    model = model_cfg(distiller_cfg('gfl'))
    model['teacher_config']['model']['backbone'] = dict(type='Breaks')
    cfg = experiment(model, epochs=1)
    cfg['custom_imports']['imports'].append('backbone')
    write(tmp_path / 'breaks.py', cfg)
    out = tool('train.py', tmp_path / 'breaks.py', '--work-dir',
               tmp_path / 'run', cwd=project, ok=False,
               env=dict(PYTHONPATH=str(tmp_path)))
    said = errors(out)
    assert len(said) == 1, said
    assert ('ValueError: teacher_config.model.backbone: cannot take a batch '
            'of 2×3×64×64: RuntimeError: no such op') in said[0]
    assert not written(tmp_path / 'run')


@pytest.mark.parametrize('low, meant', [(2, True), (None, False)])
def test_a_defect_of_our_own_keeps_its_traceback(low, meant):
    """Without a bound Python raises the TypeError, in a line of ours."""
    with pytest.raises((TypeError, ValueError)) as caught:
        check_number('Loss', 'weight', 1.0, low)
    assert isinstance(caught.value, ConfigError) == meant
    assert (readable(caught.value).__traceback__ is None) == meant


@MODELS.register_module()
class ThreeByThree(GFLHead):
    """As mmcv's deformable convolutions, takes no smaller maps."""

    def forward(self, x):
        assert min(min(f.shape[2:]) for f in x) >= 3
        return super().forward(x)


@pytest.mark.parametrize('side', [384, 512, 896, 1333])
def test_cut_images_are_large_enough_for_any_kernel(shapes_root, side):
    """Whatever is left over by the largest of common strides."""
    cfg = model_cfg(distiller_cfg('gfl'))
    for one in (cfg, cfg['teacher_config']['model']):
        one['neck'].update(num_outs=5, add_extra_convs='on_output')
        one['bbox_head'].update(type='ThreeByThree')
        one['bbox_head']['anchor_generator']['strides'] = [8, 16, 32, 64, 128]
    model = build(cfg)
    try_pair(model, images(shapes_root, (side, side)))
    try_pair(model)  # of noise
