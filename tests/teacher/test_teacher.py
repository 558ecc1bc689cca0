"""The teacher: found, loaded strictly, frozen, out of the way."""
import copy

import pytest
import torch
from helpers import (
    KINDS,
    batch,
    build,
    distiller_cfg,
    every_output,
    kd_cfg,
    lively,
    plain_cfg,
    total,
)
from mmengine.config import Config
from mmengine.runner import load_checkpoint
from pretend_device import DEVICE, Elsewhere, pretend_device
from torch import nn
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from crosskd.teacher import Teacher, renormalize
from crosskd.teacher.loading import load_strictly
from crosskd.teacher.model_config import model_config


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    """A checkpoint of plain_cfg('gfl', 16)."""
    path = tmp_path_factory.mktemp('teacher') / 'teacher.pth'
    model = build(plain_cfg('gfl', 16), seed=5)
    torch.save(dict(meta=dict(), state_dict=model.state_dict()), path)
    return str(path)


def state(path):
    return torch.load(path, weights_only=True)['state_dict']


def teacher(config, ckpt, trust=False):
    """A teacher that has joined some student."""
    joined = Teacher(config, ckpt, trust)
    joined.read()
    return joined


# -- where it comes from ----------------------------------------------------


def test_config_as_dict_config_path_and_package(weights, tmp_path):
    cfg = dict(model=plain_cfg('gfl', 16))
    path = tmp_path / 'teacher.py'
    Config(cfg).dump(str(path))
    expected = state(weights)
    for config in (cfg, Config(copy.deepcopy(cfg)), str(path), path):
        loaded = teacher(config, weights)
        for key, value in loaded.detector.state_dict().items():
            assert torch.equal(value, expected[key])
    random = teacher('mmdet::gfl/gfl_r50_fpn_1x_coco.py', 'random')
    assert random.detector.backbone.depth == 50


@pytest.mark.parametrize('own, students, expected', [
    ('ours', 'mmdet', 'ours'), ('ours', None, 'ours'),
    (None, 'mmdet', 'mmdet'), (None, None, None)])
def test_a_config_is_built_in_its_own_scope(own, students, expected):
    config = dict(model=plain_cfg('gfl'), default_scope=own)
    assert model_config(config, students).get('_scope_') == expected
    config['model']['_scope_'] = 'of the model'
    assert model_config(config, students)['_scope_'] == 'of the model'


def test_missing_files_wait_until_training_begins(tmp_path):
    for change in (dict(teacher_ckpt=str(tmp_path / 'none.pth')),
                   dict(teacher_config='no/such/config.py')):
        cfg = distiller_cfg('gfl')
        cfg.update(change)
        model = build(cfg, joins=False)  # inference needs no teacher
        inputs, samples = batch()
        model.eval()
        with torch.no_grad():
            model.predict(inputs, samples)
        key = next(iter(change))
        with pytest.raises(FileNotFoundError, match=key):
            model.init_weights()
        with pytest.raises(FileNotFoundError, match=key):
            model.loss(inputs, samples)


@pytest.mark.parametrize('config, ckpt, kind, words', [
    (None, 'random', TypeError, 'teacher_config must be'),
    (dict(), 'random', ValueError, "expected a config with a 'model'"),
    (dict(model=5), 'random', ValueError, "expected a config with a 'model'"),
    (dict(model=plain_cfg('gfl')), None, ValueError, "'random' for a teacher"),
    (dict(model=dict(type='ResNet', depth=18)), 'random', TypeError,
     'ResNet is not an mmdet detector'),
    (dict(model=dict(type='NoDetector')), 'random', ValueError,
     'teacher_config: .*NoDetector'),
    (dict(model=dict(plain_cfg('gfl'), bbox_head=dict(
        type='RPNHead', in_channels=8))), 'random', TypeError,
     'teacher_config.model.bbox_head: RPNHead cannot be distilled'),
])
def test_bad_configs_are_errors_when_training_begins(config, ckpt, kind,
                                                     words):
    cfg = distiller_cfg('gfl')
    cfg.update(teacher_config=config, teacher_ckpt=ckpt)
    with pytest.raises(kind, match=words):
        build(cfg)


# -- strict loading ----------------------------------------------------------


def check_misfit(weights, tmp_path, change, *words):
    loaded = state(weights)
    change(loaded)
    path = tmp_path / 'changed.pth'
    torch.save(dict(state_dict=loaded), path)
    with pytest.raises(ValueError, match='teacher_ckpt=') as error:
        teacher(dict(model=plain_cfg('gfl', 16)), str(path))
    for word in words:
        assert word in str(error.value)


def test_missing_unexpected_and_misshapen_keys_are_errors(weights, tmp_path):

    def lose(loaded):
        for key in [k for k in loaded if k.startswith('neck')]:
            del loaded[key]

    check_misfit(weights, tmp_path, lose, '12 missing',
                 'neck.lateral_convs.0.conv.weight', '(12 in all)')
    check_misfit(weights, tmp_path,
                 lambda w: w.update({'neck.surplus': torch.ones(1)}),
                 '1 unexpected: neck.surplus')
    check_misfit(
        weights, tmp_path, lambda w: w.update(
            {'bbox_head.gfl_cls.bias': torch.ones(80)}), '1 misshapen',
        'bbox_head.gfl_cls.bias (80,), expected (3,)')
    check_misfit(weights, tmp_path, lambda w: w.clear(), 'holds no weights')


def test_optimizer_only_and_wrapped_checkpoints(weights, tmp_path):
    path = tmp_path / 'other.pth'
    torch.save(dict(optimizer=dict(state={})), path)
    with pytest.raises(ValueError, match="holds no weights.*'optimizer'"):
        teacher(dict(model=plain_cfg('gfl', 16)), str(path))
    wrapped = {f'module.{k}': v for k, v in state(weights).items()
               if 'num_batches_tracked' not in k}  # as mmengine accepts, too
    torch.save(wrapped, path)
    loaded = teacher(dict(model=plain_cfg('gfl', 16)), str(path))
    key = 'bbox_head.gfl_cls.weight'
    assert torch.equal(loaded.detector.state_dict()[key], state(weights)[key])


def test_the_log_names_the_teacher_that_was_loaded(weights, tmp_path,
                                                     monkeypatch):
    said = []
    monkeypatch.setattr('crosskd.teacher.reading.print_log',
                        lambda text, **kwargs: said.append(text))
    model = dict(model=plain_cfg('gfl', 16))
    teacher(model, str(weights))
    path = tmp_path / 'known.pth'
    torch.save(dict(state_dict=state(weights), meta=dict(dataset_meta=dict(
        classes=('cat', 'dog', 'cow')))), path)
    teacher(model, str(path))
    assert said == [f'teacher: GFL with all weights of {weights}',
                    f'teacher: GFL with all weights of {path}, 3 classes']


def test_a_code_carrying_teacher_needs_the_key(weights, tmp_path):

    class Stranger:
        pass

    globals()['Stranger'] = Stranger
    Stranger.__qualname__ = 'Stranger'
    path = tmp_path / 'strange.pth'
    torch.save(dict(state_dict=state(weights), meta=Stranger()), path)
    cfg = distiller_cfg('gfl', str(path))
    with pytest.raises(ValueError, match='trust_teacher_ckpt=True'):
        build(cfg)
    build(dict(cfg, trust_teacher_ckpt=True))


# -- out of the way ----------------------------------------------------------


@pytest.fixture
def model(weights):
    return build(distiller_cfg('gfl', weights))


def test_teacher_is_no_part_of_the_student(model):
    plain = build(plain_cfg('gfl'))
    assert model.state_dict().keys() == plain.state_dict().keys()
    names = [n for n, _ in model.named_parameters()]
    assert names == [n for n, _ in plain.named_parameters()]
    assert not any(m is model.teacher.detector for m in model.modules())


def test_teacher_is_frozen_and_in_eval_mode_always(model):
    model.train()
    model.init_weights()
    model.loss(*batch())  # its batch norms are fused now
    before = copy.deepcopy(model.teacher.detector.state_dict())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for seed in range(2):
        losses, _ = model.parse_losses(model.loss(*batch(seed=seed)))
        losses.backward()
        optimizer.step()
        model.train()
    detector = model.teacher.detector
    assert not any(m.training for m in detector.modules())
    assert not any(p.requires_grad for p in detector.parameters())
    assert all(p.grad is None for p in detector.parameters())
    for key, value in detector.state_dict().items():
        assert torch.equal(value, before[key])


def test_a_key_that_an_old_version_would_rename_is_no_excuse(tmp_path):
    model = build(plain_cfg('fcos', 16))
    loaded = model.state_dict()  # with its _metadata
    weight = loaded.pop('bbox_head.conv_cls.weight')
    loaded['bbox_head.foo_cls.weight'] = weight
    path = tmp_path / 'renamed.pth'
    torch.save(dict(state_dict=loaded), path)
    with pytest.raises(ValueError, match='1 missing.*1 unexpected'):
        teacher(dict(model=plain_cfg('fcos', 16)), str(path))


# -- normalisation -----------------------------------------------------------


def teacher_sees(model, inputs, samples):
    seen = []
    hook = model.teacher.detector.backbone.register_forward_pre_hook(
        lambda _, args: seen.append(args[0]))
    model.loss(inputs, samples)
    hook.remove()
    return seen[-1]  # its first step runs it more than once


@pytest.mark.parametrize('change', [
    dict(mean=[1.0, 2.0, 3.0]), dict(std=[1.0, 2.0, 3.0]),
    dict(bgr_to_rgb=False),
    dict(mean=[103.53, 116.28, 123.675], std=[1.0, 1.0, 1.0],
         bgr_to_rgb=False)])
def test_input_is_what_the_teachers_own_preprocessor_makes(weights, change):
    cfg = distiller_cfg('gfl', weights)
    cfg['teacher_config']['model']['data_preprocessor'].update(change)
    model = build(cfg)
    rng = torch.Generator().manual_seed(0)
    images = [torch.randint(0, 255, (3, h, 90), generator=rng)
              for h in (64, 40)]
    _, samples = batch(size=(64, 96))
    for sample, image in zip(samples, images):
        sample.set_metainfo(dict(img_shape=tuple(image.shape[1:])))

    def preprocess(detector):
        data = dict(inputs=list(images), data_samples=copy.deepcopy(samples))
        return detector.data_preprocessor(data)

    ours = preprocess(model)
    expected = preprocess(model.teacher.detector)['inputs']
    seen = teacher_sees(model, ours['inputs'], ours['data_samples'])
    torch.testing.assert_close(seen, expected, rtol=1e-4, atol=1e-3)


def test_equal_normalisation_costs_nothing(model):
    inputs, samples = batch()
    assert teacher_sees(model, inputs, samples) is inputs


def other_normalization(weights, **change):
    cfg = distiller_cfg('gfl', weights)
    cfg['teacher_config']['model']['data_preprocessor'].update(
        change or dict(mean=[1.0, 2.0, 3.0], bgr_to_rgb=False))
    return build(cfg)


@pytest.mark.parametrize('change', [{}, dict(bgr_to_rgb=True)])
def test_normalisations_are_compared_once(weights, change, monkeypatch):
    model = other_normalization(weights, **change)
    model.loss(*batch())

    def compare(*args):
        raise AssertionError('compared anew')

    monkeypatch.setattr(renormalize.torch, 'equal', compare)
    model.loss(*batch(seed=1))
    model.to('cpu')
    model.loss(*batch((2, ), (96, 64)))


@pytest.mark.parametrize('side', ['student', 'teacher'])
def test_another_preprocessor_is_another_decision(model, weights, side):
    inputs, samples = batch()
    assert teacher_sees(model, inputs, samples) is inputs
    other = other_normalization(weights).teacher.detector.data_preprocessor
    if side == 'student':
        model.data_preprocessor = other
    else:
        model.teacher.detector.data_preprocessor = other
    seen = teacher_sees(model, inputs, samples)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (
        [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]))
    expected = (
        (inputs * std + torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1)).flip(1)
        - mean) / std if side == 'student' else (
            (inputs * std + mean).flip(1)
            - torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1)) / std
    assert_close(seen, expected, rtol=1e-4, atol=1e-4)


def test_constants_of_the_normalisation_are_not_rounded(weights):
    """A teacher in half precision sees what one in float32 sees, rounded."""
    cfg = distiller_cfg('gfl', weights)
    cfg['teacher_config']['model']['data_preprocessor']['mean'] = [1, 2, 3]
    seen = [teacher_sees(build(dict(cfg, teacher_dtype=dtype)), *batch())
            for dtype in ('float32', 'bfloat16')]
    model = build(dict(cfg, teacher_dtype='bfloat16'))
    for _ in range(2):
        model.loss(*batch())
        model.to('cpu')
    seen.append(teacher_sees(model, *batch()))
    assert torch.equal(seen[1], seen[0].bfloat16())
    assert torch.equal(seen[2], seen[0].bfloat16())


class Traffic(TorchDispatchMode):
    """Ops that wait for the pretend device, or copy to it."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out, name = func(*args, **(kwargs or {})), func.__name__
        waits = ('equal.', '_local_scalar', 'nonzero', 'masked_select')
        given, made = ([isinstance(x, Elsewhere) for x in tree_flatten(y)[0]
                        if isinstance(x, torch.Tensor) and x.dim()]
                       for y in (args, out))
        if any(given) and name.startswith(waits) or (
                given and made and {*given, *made} == {True, False}):
            self.seen.append(name)
        return out


@pytest.mark.parametrize('dtype', [None, 'bfloat16'])
@pytest.mark.parametrize('change', [{}, dict(bgr_to_rgb=True)])
def test_a_pass_of_the_teacher_waits_for_nothing_and_copies_nothing(
        weights, change, dtype):
    cfg = distiller_cfg('gfl', weights)
    cfg['teacher_dtype'] = dtype
    cfg['teacher_config']['model']['data_preprocessor'].update(
        change or dict(mean=[1.0, 2.0, 3.0], bgr_to_rgb=False))
    model = build(cfg)
    inputs, samples = batch()
    samples[1].set_metainfo(dict(img_shape=(40, 60)))
    model.loss(inputs, samples)  # the pretend device casts no parameters
    with pretend_device():
        model.to(DEVICE)
        inputs = inputs.to(DEVICE)
        traffic = []
        for _ in range(2):
            with Traffic() as mode:
                model.teacher(inputs, samples, every_output(model, True))
            traffic.append(mode.seen)
    assert traffic[1] == []
    assert traffic[0]  # where the constants were sent and compared


def test_a_distilled_student_can_teach(tmp_path, weights):
    cfg = distiller_cfg('gfl')
    cfg['teacher_config'] = dict(
        model=dict(distiller_cfg('gfl', str(tmp_path / 'gone.pth')),
                   kd_cfg=kd_cfg('gfl')))
    build(cfg).loss(*batch())


# -- fused norms -------------------------------------------------------------


def run(model, detector=None, dtype=torch.float32):
    """Head outputs of the teacher, or of another detector in its place."""
    inputs, samples = batch()
    inputs = inputs.to(dtype)
    with torch.no_grad():
        if detector is not None:
            return detector.bbox_head(detector.extract_feat(inputs))
        return model.teacher(inputs, samples, every_output(model)).raw


def norms(module):
    return sum(isinstance(m, nn.BatchNorm2d) for m in module.modules())


@pytest.fixture(scope='module')
def lively_weights(tmp_path_factory):
    """A checkpoint of plain_cfg('gfl', 16) whose norms do something."""
    path = tmp_path_factory.mktemp('teacher') / 'lively.pth'
    model = lively(build(plain_cfg('gfl', 16), seed=5), 1.0).eval()
    torch.save(dict(state_dict=model.state_dict()), path)
    return str(path)


def alone(path):
    """The detector of that checkpoint, by itself."""
    detector = build(plain_cfg('gfl', 16)).eval()
    detector.load_state_dict(state(path))
    return detector


def test_norms_are_fused_and_nothing_changes(lively_weights, caplog):
    model = build(distiller_cfg('gfl', lively_weights))
    assert norms(model.teacher.detector) == 20
    outputs = run(model)
    assert norms(model.teacher.detector) == 0
    assert not any(p.requires_grad
                   for p in model.teacher.detector.parameters())
    assert not any(m.training for m in model.teacher.detector.modules())
    expected = run(model, alone(lively_weights))
    for ours, theirs in zip(sum(outputs, []), sum(expected, [])):
        error = (ours - theirs).norm() / (theirs - theirs.mean()).norm()
        assert error < 1e-5


@pytest.mark.parametrize('when', ['built', 'joined'])
def test_a_teacher_in_float64_is_not_fused(lively_weights, when):
    model = build(distiller_cfg('gfl', lively_weights),
                  joins=when == 'joined').double()
    model.join_teacher()
    outputs = run(model, dtype=torch.float64)
    assert norms(model.teacher.detector) == 20
    expected = run(model, alone(lively_weights).double(), torch.float64)
    assert_close(outputs, expected, rtol=1e-12, atol=1e-12)


def test_a_teacher_that_fusing_would_change_is_left_as_it_is(
        lively_weights, tmp_path):
    model = build(distiller_cfg('gfl', lively_weights))
    detector = model.teacher.detector
    for block in detector.backbone.layer2:  # conv1, conv2, bn1, bn2, …
        for name in ('bn1', 'bn2'):
            block._modules[name] = block._modules.pop(name)
    before = copy.deepcopy(detector.state_dict())
    outputs = run(model)
    assert_close(detector.state_dict(), before, rtol=0, atol=0)
    assert norms(detector) == 20
    assert_close(outputs, run(model, alone(lively_weights)))


@pytest.mark.parametrize('kind', KINDS)
def test_norms_of_a_head_are_fused_too(kind):
    cfg = distiller_cfg(kind)
    head = cfg['teacher_config']['model']['bbox_head']
    head['norm_cfg'] = dict(type='BN')
    model = build(cfg)
    expected = run(model, copy.deepcopy(model.teacher.detector))
    assert norms(model.teacher.detector) == 24
    assert_close(run(model), expected, rtol=1e-4, atol=1e-5)
    assert norms(model.teacher.detector) == 0


def test_a_copy_made_before_fusing_learns_the_same(lively_weights):
    model = build(distiller_cfg('gfl', lively_weights))
    clone = copy.deepcopy(model)
    ours = total(model.loss(*batch()))
    assert total(clone.loss(*batch())) == pytest.approx(ours, rel=1e-5)
    assert clone.teacher.detector is not model.teacher.detector
    late = copy.deepcopy(model)
    assert late.teacher.detector is model.teacher.detector
    assert total(late.loss(*batch())) == pytest.approx(ours, rel=1e-5)


@pytest.mark.parametrize('pixels', [float('nan'), float('inf'), 0.0, 1e30])
def test_the_first_pixels_decide_nothing(lively_weights, pixels):
    model, other = (build(distiller_cfg('gfl', lively_weights))
                    for _ in range(2))
    inputs, samples = batch()
    with torch.no_grad():
        model.teacher(torch.full_like(inputs, pixels), samples,
                      every_output(model, True))
    assert norms(model.teacher.detector) == 0
    assert_close(run(model), run(other), rtol=0, atol=0)


def test_hooks_on_the_teacher_are_called_once_a_step(lively_weights):
    model, calls = build(distiller_cfg('gfl', lively_weights)), []
    early, late = ('backbone.layer1.0.bn1', 'backbone.layer3.0.conv1')
    detector = model.teacher.detector
    for step, names in enumerate(((early, 'bbox_head'), (late, ), ())):
        for name in names:
            detector.get_submodule(name).register_forward_hook(
                lambda *_, name=name: calls.append(name))
        model.loss(*batch(seed=step))
        assert norms(detector) == min(step + 1, 2)
    assert [calls.count(x) for x in (early, 'bbox_head', late)] == [3, 3, 2]


# -- weights that are loaded again -------------------------------------------


def predictions(model):
    inputs, samples = batch()
    found = model.teacher(inputs, samples, every_output(model))
    return sum(found.raw, [])


@pytest.mark.parametrize('load', [
    lambda detector, path: detector.load_state_dict(state(path)),
    lambda detector, path: load_checkpoint(detector, path, strict=True),
    lambda detector, path: load_strictly(
        detector, dict(state_dict=state(path)), path)])
def test_a_fused_teacher_takes_its_own_checkpoint(lively_weights, load):
    """And fuses the norms that came with it."""
    model = build(distiller_cfg('gfl', lively_weights))
    detector = model.teacher.detector
    expected = predictions(model)
    for _ in range(2):
        for p in detector.parameters():
            p.data.zero_()
        load(detector, lively_weights)
        assert norms(detector) == 20
        for key, value in state(lively_weights).items():
            assert torch.equal(detector.state_dict()[key], value)
        for _ in range(2):
            assert_close(predictions(model), expected, rtol=1e-4, atol=1e-5)
        assert norms(detector) == 0
        assert not any(m.training for m in detector.modules())
        assert not any(p.requires_grad for p in detector.parameters())


def test_a_fused_teacher_takes_another_ones_checkpoint(weights,
                                                       lively_weights):
    model = build(distiller_cfg('gfl', lively_weights))
    other = predictions(build(distiller_cfg('gfl', weights)))
    run(model)
    model.teacher.detector.load_state_dict(state(weights))
    assert_close(predictions(model), other, rtol=1e-4, atol=1e-5)


def test_what_is_not_loaded_into_a_fused_teacher_stays(lively_weights):
    model = build(distiller_cfg('gfl', lively_weights))
    expected = predictions(model)
    detector = model.teacher.detector
    backbone = {k.removeprefix('backbone.'): v
                for k, v in state(lively_weights).items()
                if k.startswith('backbone.layer1')}
    detector.backbone.load_state_dict(backbone, strict=False)
    assert norms(detector) == 4
    assert_close(predictions(model), expected, rtol=1e-4, atol=1e-5)


def test_a_fused_teacher_takes_its_fused_state_again(lively_weights):
    model = build(distiller_cfg('gfl', lively_weights))
    expected = predictions(model)
    detector = model.teacher.detector
    detector.load_state_dict(copy.deepcopy(detector.state_dict()))
    assert norms(detector) == 0
    assert_close(predictions(model), expected, rtol=0, atol=0)


def test_a_copy_of_a_fused_teacher_takes_its_checkpoint(lively_weights):
    model = build(distiller_cfg('gfl', lively_weights))
    expected = predictions(model)
    detector = model.teacher.detector
    clone = copy.deepcopy(detector)
    clone.load_state_dict(state(lively_weights))
    assert norms(clone) == 20 and norms(detector) == 0
    assert_close(sum(run(model, clone), []), expected, rtol=1e-4, atol=1e-5)
    assert_close(predictions(model), expected, rtol=0, atol=0)


def test_a_teacher_in_half_precision_takes_its_own_checkpoint(
        lively_weights, caplog):
    cfg = dict(distiller_cfg('gfl', lively_weights), teacher_dtype='bfloat16')
    model = build(cfg)
    before = predictions(model)
    detector = model.teacher.detector
    detector.load_state_dict(state(lively_weights))
    for ours, theirs in zip(predictions(model), before):
        assert (ours - theirs).norm() < 0.05 * theirs.norm()
    assert all(p.dtype == torch.bfloat16 for p in detector.parameters())
