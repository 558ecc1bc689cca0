"""The teacher: found, loaded strictly, frozen, out of the way."""
import copy
import sys

import pytest
import torch
from mmengine.config import Config

from crosskd.teacher import Teacher, find_config
from helpers import batch, build, distiller_cfg, kd_cfg, plain_cfg


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
    joined.join(torch.nn.Linear(1, 1))
    return joined


# -- where it comes from ----------------------------------------------------


def test_config_as_dict_config_path_and_package(weights, tmp_path):
    cfg = dict(model=plain_cfg('gfl', 16))
    path = tmp_path / 'teacher.py'
    Config(cfg).dump(str(path))
    for config in (cfg, Config(copy.deepcopy(cfg)), str(path), path):
        loaded = teacher(config, weights)
        for key, value in loaded.detector.state_dict().items():
            assert torch.equal(value, state(weights)[key])
    random = teacher('mmdet::gfl/gfl_r50_fpn_1x_coco.py', 'random')
    assert random.detector.backbone.depth == 50


def test_relative_config_is_looked_up_in_three_places(tmp_path, monkeypatch):
    here, beside = tmp_path / 'here', tmp_path / 'beside'
    here.mkdir()
    beside.mkdir()
    monkeypatch.chdir(here)
    (beside / 'student.py').write_text('')
    (beside / 'teacher.py').write_text('')
    monkeypatch.setattr(sys, 'argv',
                        ['train.py', '--resume', str(beside / 'student.py')])
    assert find_config('teacher.py') == str(beside / 'teacher.py')
    (here / 'teacher.py').write_text('')
    assert find_config('teacher.py') == str(here / 'teacher.py')
    for name in ('gfl/gfl_r50_fpn_1x_coco.py',
                 'configs/gfl/gfl_r50_fpn_1x_coco.py'):
        assert find_config(name).endswith('gfl_r50_fpn_1x_coco.py')
    with pytest.raises(FileNotFoundError, match='teacher_config=.*::gfl'):
        find_config('mmdet::gfl/nothing.py')
    with pytest.raises(FileNotFoundError, match='teacher_config=.*nopack'):
        find_config('nopackage::gfl/nothing.py')
    with pytest.raises(FileNotFoundError, match='looked for') as error:
        find_config('nowhere.py')
    assert str(here) in str(error.value) and str(beside) in str(error.value)


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
     'ResNet is no single-stage detector'),
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
                 lambda w: w.update(surplus=torch.ones(1)),
                 '1 unexpected: surplus')
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
    return seen[0]


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


def test_a_distilled_student_can_teach(tmp_path, weights):
    cfg = distiller_cfg('gfl')
    cfg['teacher_config'] = dict(
        model=dict(distiller_cfg('gfl', str(tmp_path / 'gone.pth')),
                   kd_cfg=kd_cfg('gfl')))
    build(cfg).loss(*batch())
