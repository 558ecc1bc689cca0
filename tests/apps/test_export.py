"""Students for those who do not have this package: plain mmdet, and ONNX."""
import importlib
import json
import os
import re
import runpy
from pathlib import Path

import pytest
import torch
from experiments import CLASSES, experiment, model_cfg, weights, write
from families import FAMILY, as_params
from helpers import (
    build,
    distiller_cfg,
    plain_cfg,
    wide_teacher,
)
from mmengine.config import Config
from onnx_students import needs_onnx, of_two_levels
from practitioners import results_of_plain_mmdet
from processes import python
from tool_output import metrics
from tool_server import run as tool
from torch import nn
from unknown_heads import distilled, unknown_cfg

from conftest import REPO
from crosskd.apps.commands.export_student import (
    MIB,
    SAID,
    run_export_command,
)
from crosskd.apps.export.onnx import TOLERANCE, write_onnx
from crosskd.apps.export.student import FILES
from crosskd.compat.mmcv_ext import is_installed

PROG = 'python -m crosskd export'
# a project with a backbone, a detector and a hook of its own
MY_PROJECT = '''
from mmdet.models.detectors import GFL
from mmdet.registry import HOOKS, MODELS
from mmengine.hooks import Hook
from torch import nn


@MODELS.register_module(force=True)
class FewConvs(nn.Module):
    def __init__(self, maps=3):
        super().__init__()
        self.convs = nn.ModuleList([
            nn.Conv2d(3, 8, 3, 8, 1), nn.Conv2d(8, 8, 3, 2, 1),
            nn.Conv2d(8, 8, 3, 2, 1)][:maps])

    def forward(self, x):
        maps = []
        for conv in self.convs:
            x = conv(x).relu()
            maps.append(x)
        return maps


@MODELS.register_module('TheirGFL', force=True)
class MyGFL(GFL):
    pass


@HOOKS.register_module(force=True)
class MyHook(Hook):
    pass
'''
MY_STUDENT = '''
from mmdet.registry import MODELS

from crosskd.detectors import DistillationMixin
from my_project import MyGFL


@MODELS.register_module(force=True)
class MyDistilledGFL(DistillationMixin, MyGFL):
    required = ('loss_cls_kd', )

    def __init__(self, *args, note='', **kwargs):
        super().__init__(*args, **kwargs)
'''


def export(*args):
    run_export_command([str(a) for a in args], PROG)


def own(cfg, **kwargs):
    """The same detector with the project's backbone, and no neck."""
    cfg.update(backbone=dict(type='FewConvs', **kwargs), neck=None)
    return cfg


@pytest.fixture(scope='module')
def trained(shapes_root, tmp_path_factory):
    """A student with channel adapter, averaged weights and parts of its own.

    Returns:
        tuple: its folder, and what its training printed.
    """
    folder = tmp_path_factory.mktemp('trained')
    (folder / 'data').symlink_to(shapes_root / 'data')
    (folder / 'my_project.py').write_text(MY_PROJECT)
    (folder / 'my_student.py').write_text(MY_STUDENT)
    model = own(model_cfg(wide_teacher(distiller_cfg('gfl'))))
    teacher = model['teacher_config']
    model.update(type='MyDistilledGFL', note='theirs')
    cfg = experiment(model, epochs=1, teacher=teacher, custom_hooks=[
        dict(type='EMAHook', momentum=0.5), dict(type='MyHook'),
        dict(type='SkipNonFiniteHook')])
    cfg['custom_imports']['imports'] = ['crosskd', 'my_project', 'my_student']
    cfg['default_hooks']['checkpoint']['save_optimizer'] = True
    cfg['runner_type'] = 'DistillationRunner'
    write(folder / 'mine.py', cfg)
    out = tool('train.py', 'mine.py', '--cfg-options',
               f'val_evaluator.outfile_prefix={folder}/ours', cwd=folder,
               env=dict(PYTHONPATH=str(folder)))
    assert 'loss_reg_kd' in out
    return folder, out


@pytest.fixture(scope='module')
def exported(trained):
    """The folder of the student, with an export of it in ``out/``."""
    folder, _ = trained
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(str(folder))
        export('mine.py', 'work_dirs/mine/epoch_1.pth', 'out')
    return folder


def found_by_our_tool(config, checkpoint, folder):
    """What our test tool prints and detects."""
    out = tool('test.py', config, checkpoint, '--work-dir', folder / 'tested',
               '--cfg-options', f'test_evaluator.outfile_prefix={folder}/test',
               cwd=folder, env=dict(PYTHONPATH=str(folder)))
    return metrics(out), json.loads((folder / 'test.bbox.json').read_text())


def test_the_export_is_the_plain_student(trained, exported):
    """With its own detector, hook and backbone, and the averaged weights."""
    folder, out = trained
    text = (folder / 'out/student.py').read_text()
    assert not re.search(
        'crosskd|teacher|kd_cfg|note|SkipNonFinite|runner_type', text)
    cfg = Config.fromfile(folder / 'out/student.py')
    assert cfg.model.type == 'TheirGFL'
    assert cfg.custom_imports.imports == ['my_project']
    assert [h.type for h in cfg.custom_hooks] == ['EMAHook', 'MyHook']
    trained_with = Config.fromfile(folder / 'mine.py')
    for key in ('train_dataloader', 'val_evaluator', 'optim_wrapper'):
        assert cfg[key] == trained_with[key]
    before, after = (torch.load(folder / name, weights_only=False)
                     for name in ('work_dirs/mine/epoch_1.pth',
                                  'out/student.pth'))
    assert {'optimizer', 'distillation_state_dict'} < set(before)
    assert set(after) == {'meta', 'state_dict'}
    assert after['state_dict'].keys() == build(own(model_cfg(
        plain_cfg('gfl')))).state_dict().keys()
    assert after['meta']['dataset_meta'] == before['meta']['dataset_meta']
    assert Config.fromstring(after['meta']['cfg'], '.py').model == cfg.model
    ours = json.loads((folder / 'ours.bbox.json').read_text())
    assert ours and found_by_our_tool(
        'out/student.py', 'out/student.pth', folder) == (metrics(out), ours)


def test_weights_are_the_averaged_ones_or_those_that_were_trained(
        exported, monkeypatch, capsys):
    monkeypatch.chdir(exported)
    file = Path('work_dirs/mine/epoch_1.pth')
    saved = torch.load(file, weights_only=False)
    kinds = dict(ema=saved['state_dict'], raw={
        k.removeprefix('module.'): v
        for k, v in saved['ema_state_dict'].items()})
    name = 'bbox_head.gfl_reg.weight'
    assert not torch.equal(kinds['ema'][name], kinds['raw'][name])
    for kind, expected in kinds.items():
        export('mine.py', file, kind, '--weights', kind)
        found = weights(Path(kind, 'student.pth'))
        assert all(torch.equal(v, expected[k]) for k, v in found.items())
        out = capsys.readouterr().out
        assert SAID[kind] in out
        sizes = (f'{f.stat().st_size / MIB:.1f} MiB'
                 for f in (Path(kind, 'student.pth'), file))
        assert '{} (the training checkpoint had {})'.format(*sizes) in out


def test_an_exported_student_teaches(exported, tmp_path):
    """Of other channels than its own student, for one step."""
    model = model_cfg(distiller_cfg('gfl'))
    model['neck']['out_channels'] = 4
    model['bbox_head'].update(in_channels=4, feat_channels=4)
    model.update(teacher_config='out/student.py',
                 teacher_ckpt='out/student.pth')
    cfg = experiment(model, epochs=1)
    cfg['train_dataloader']['batch_size'] = 12
    write(exported / 'next.py', cfg)
    out = tool('train.py', 'next.py', '--work-dir', tmp_path, cwd=exported,
               env=dict(PYTHONPATH=str(exported)))
    assert re.search(r'Epoch\(train\) +\[1\]\[1/1\].* loss_cls_kd: \d', out)
    assert '4 channels and the teacher 8' in out


@pytest.mark.skipif(is_installed(), reason='needs compiled ops of mmcv')
def test_plain_mmdet_finds_what_our_validation_found(trained, exported,
                                                     monkeypatch):
    """Where crosskd cannot be imported: the same AP, the same boxes."""
    folder, out = trained
    monkeypatch.setenv('PYTHONPATH', os.pathsep.join(
        [str(folder), os.environ.get('PYTHONPATH', '')]))
    ours = json.loads((folder / 'ours.bbox.json').read_text())
    assert results_of_plain_mmdet(
        'out/student.py', 'out/student.pth', folder / 'plain', folder) == (
            metrics(out), ours)


def test_a_detector_without_a_teacher_is_exported_as_it_is(project, tmp_path):
    """Smaller, too: without optimizer and message hub."""
    file = project / 'work_dirs/teacher/epoch_1.pth'
    export(project / 'teacher.py', file, tmp_path)
    whole, plain = (Config.fromfile(f) for f in (
        project / 'teacher.py', tmp_path / 'student.py'))
    assert plain.model == whole.model and 'custom_imports' not in plain
    old, new = weights(file), weights(tmp_path / 'student.pth')
    assert old.keys() == new.keys() and all(
        torch.equal(old[k], new[k]) for k in old)


def saved(folder, model):
    """Config and checkpoint of a distilled student that was not trained."""
    write(folder / 'distilled.py', experiment(model))
    torch.save(dict(state_dict=build(model, joins=False).state_dict(),
                    meta=dict(dataset_meta=dict(classes=CLASSES))),
               folder / 'distilled.pth')
    return folder / 'distilled.py', folder / 'distilled.pth'


def any_detector(name):
    return distilled(*[unknown_cfg(name, len(CLASSES))] * 2)


STUDENTS = [
    pytest.param(lambda: model_cfg(distiller_cfg(
        'gfl', inherit=('neck', 'bbox_head'))), 'GFL', id='gfl'),
    *(pytest.param(
        lambda name=name: any_detector(name), kind, id=name)
      for name, kind in (('faster_rcnn', 'FasterRCNN'), ('detr', 'DETR'),
                         ('ssd', 'SingleStageDetector')))]


@pytest.mark.parametrize('make, kind', STUDENTS)
def test_students_are_exported_as_their_plain_class(make, kind, tmp_path):
    model = make()
    export(*saved(tmp_path, model), tmp_path / 'out')
    text = (tmp_path / 'out/student.py').read_text()
    assert not re.search('crosskd|teacher|kd_cfg|Distilled|detector=', text)
    plain = Config.fromfile(tmp_path / 'out/student.py').model
    assert plain.type == kind
    assert {k: v for k, v in plain.items() if k != 'type'} == {
        k: v for k, v in model.items() if k not in (
            'type', 'detector', 'teacher_config', 'teacher_ckpt', 'kd_cfg')}
    build(plain).load_state_dict(weights(tmp_path / 'out/student.pth'))


@pytest.mark.skipif(is_installed(), reason='needs compiled ops of mmcv')
@pytest.mark.parametrize('make, kind', STUDENTS)
def test_students_load_without_this_package(make, kind, tmp_path):
    export(*saved(tmp_path, make()), tmp_path / 'out')
    found = python('-c', (
        "import sys; sys.modules['crosskd'] = None\n"
        'from mmdet.apis import init_detector\n'
        "model = init_detector('student.py', 'student.pth', device='cpu')\n"
        "print('it is', type(model).__name__, model.dataset_meta)"
    ), cwd=tmp_path / 'out')
    assert f'it is {kind} ' in found and CLASSES[0] in found
    assert 'unexpected key' not in found and 'missing key' not in found


@pytest.mark.parametrize('name, said', [
    ('faster_rcnn', 'FasterRCNN'), ('fovea', 'FOVEA with FoveaHead')])
def test_onnx_is_of_known_heads(name, said, tmp_path):
    """One error that says what there is for others."""
    detector = build(unknown_cfg(name)).eval()
    with pytest.raises(TypeError, match=(
            f'^--onnx: .* found {said}; see mmdeploy for others$')):
        write_onnx(detector, tmp_path / 'x.onnx')
    assert not list(tmp_path.iterdir())


def test_a_module_that_needs_this_package_is_named(exported, tmp_path,
                                                   monkeypatch, capsys):
    """Which the plain student needs; else it is left out."""
    (tmp_path / 'mixed.py').write_text(
        'import crosskd\nfrom mmdet.registry import MODELS\n'
        'from my_project import FewConvs\n\n\n'
        '@MODELS.register_module(force=True)\n'
        'class MixedConvs(FewConvs):\n    pass\n')
    for folder in (exported, tmp_path):
        monkeypatch.syspath_prepend(str(folder))
    monkeypatch.chdir(exported)
    (tmp_path / 'mixed_student.py').write_text(
        f"_base_ = '{exported}/mine.py'\n"
        "custom_imports = dict(imports=['crosskd', 'mixed', 'my_project', "
        "'my_student'])\n"
        "model = dict(backbone=dict(type='MixedConvs'))\n")
    export(tmp_path / 'mixed_student.py', 'work_dirs/mine/epoch_1.pth',
           tmp_path)
    assert 'CONFIG needs mixed, which imports' in capsys.readouterr().out
    assert Config.fromfile(tmp_path / 'student.py').custom_imports.imports == [
        'mixed', 'my_project']


@pytest.mark.parametrize('args, said', [
    (['gone.py', 'CKPT', 'out'], r"CONFIG='gone.py': no such config file"),
    (['CKPT', 'distilled.py', 'out'], "CONFIG='CKPT': cannot be read: "),
    (['data.py', 'CKPT', 'out'], "CONFIG: expected .* with a 'model'"),
    (['distilled.py', 'gone.pth', 'out'], "CHECKPOINT='gone.pth': no such fi"),
    (['distilled.py', 'data.py', 'out'], "CHECKPOINT='data.py': not a checkp"),
    (['teacher.py', 'CKPT', 'out'],
     "CHECKPOINT='CKPT' does not fit the model of CONFIG.*misshapen"),
    (['distilled.py', 'CKPT', 'data.py'],
     "OUT='data.py': cannot be written: data.py is a file"),
    (['distilled.py', 'CKPT', 'data.py/out'],
     "OUT='data.py/out': cannot be written: data.py is a file"),
    (['distilled.py', 'CKPT', '/proc/out'], "OUT='/proc/out': cannot be wri"),
    (['distilled.py', 'CKPT', 'out', '--weights', 'raw'],
     '--weights raw: .* not written by a training with EMAHook'),
    (['distilled.py', 'CKPT', 'out', '--cfg-options',
      'model.bbox_head.loss_cls.type=KDQualityFocalLoss'],
     'CONFIG: model.bbox_head.loss_cls.type=.KDQualityFocalLoss. is a class'),
])
def test_what_cannot_be_exported_is_one_error(project, tmp_path, monkeypatch,
                                              args, said):
    ckpt = str(project / 'work_dirs/distilled/epoch_2.pth')
    monkeypatch.chdir(tmp_path)
    for name in ('distilled.py', 'teacher.py'):
        (tmp_path / name).write_bytes((project / name).read_bytes())
    (tmp_path / 'data.py').write_text("data_root = 'data/'\n")
    with pytest.raises(SystemExit) as ended:
        export(*(ckpt if a == 'CKPT' else a for a in args))
    message = ended.value.code
    assert re.match(f'{PROG}: {said.replace("CKPT", re.escape(ckpt))}',
                    message), message
    assert len(message.splitlines()) == 1
    assert sorted(os.listdir()) == ['data.py', 'distilled.py', 'teacher.py']


def test_an_export_that_is_interrupted_leaves_the_one_before(
        exported, tmp_path, monkeypatch, capsys):
    before = dict.fromkeys(FILES, 'before')
    for name, text in before.items():
        (tmp_path / name).write_text(text)

    def interrupt(*args):
        raise KeyboardInterrupt

    args = exported / 'out/student.py', exported / 'out/student.pth', tmp_path
    monkeypatch.syspath_prepend(str(exported))
    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr('torch.save', interrupt)
        export(*args)
    assert 'interrupted; nothing was written' in capsys.readouterr().err
    assert {f.name: f.read_text() for f in tmp_path.iterdir()} == before
    export(*args)
    # not one of other weights beside the new ones
    assert sorted(f.name for f in tmp_path.iterdir()) == [
        'student.pth', 'student.py']


def test_what_onnx_needs_is_said(exported, tmp_path, monkeypatch):
    args = ['out/student.py', 'out/student.pth', tmp_path, '--onnx']
    monkeypatch.chdir(exported)
    monkeypatch.syspath_prepend(str(exported))
    monkeypatch.setattr('torch.__version__', '2.1.2+cpu')
    with pytest.raises(SystemExit, match='torch 2.8 or newer, found 2.1'):
        export(*args)
    monkeypatch.setattr('torch.__version__', '2.13.0')
    monkeypatch.setattr('crosskd.apps.export.onnx.find_spec',
                        lambda name: None)
    with pytest.raises(SystemExit, match='pip install onnx onnxscript onn'):
        export(*args)
    assert not list(tmp_path.iterdir())


@needs_onnx
def test_onnx_detects_what_mmdet_detects(exported, tmp_path, monkeypatch,
                                         capsys):
    """With the page's script, which has neither torch nor mmdet."""
    from mmdet.apis import inference_detector, init_detector
    monkeypatch.chdir(exported)
    monkeypatch.syspath_prepend(str(exported))
    export('out/student.py', 'out/student.pth', tmp_path, '--onnx')
    said = re.search(r'student.onnx: .* differ .* by at most (\S+)\n',
                     capsys.readouterr().out)
    assert float(said[1]) <= TOLERANCE
    import onnx
    (given, ) = onnx.load(tmp_path / 'student.onnx').graph.input
    batch, channels, *sides = given.type.tensor_type.shape.dim
    assert batch.dim_param and channels.dim_value == 3
    assert all(side.dim_param for side in sides)
    image, score = 'data/shapes/val/00000.png', 0.01
    cfg = Config.fromfile('out/student.py')
    cfg.model.test_cfg.update(score_thr=score, nms_pre=10**4, max_per_img=10)
    found = inference_detector(
        init_detector(cfg, 'out/student.pth', device='cpu'),
        image).pred_instances
    assert len(found) == 10
    lines = python(REPO / 'docs/export/detect.py', tmp_path / 'student.onnx',
                   image, '--score', score, cwd=exported).splitlines()[:10]
    scores, *boxes = torch.tensor(
        [[float(x) for x in line.split()[:5]] for line in lines]).T
    assert [line.split()[5] for line in lines] == [
        CLASSES[label] for label in found.labels]
    torch.testing.assert_close(scores, found.scores, atol=1e-4, rtol=0)
    torch.testing.assert_close(torch.stack(boxes, 1), found.bboxes,
                               atol=1e-2, rtol=0)


def test_the_script_of_the_page_finds_what_mmdet_finds(exported, tmp_path,
                                                       monkeypatch):
    """In a folder of images, and in each frame of a video."""
    import cv2
    from mmdet.apis import inference_detector, init_detector
    monkeypatch.chdir(exported)
    monkeypatch.syspath_prepend(str(exported))
    images = sorted(Path('data/shapes/val').iterdir())
    frames = [cv2.imread(str(image)) for image in images]
    video = cv2.VideoWriter(str(tmp_path / 'video.mp4'),
                            cv2.VideoWriter.fourcc(*'mp4v'), 5,
                            frames[0].shape[1::-1])
    for frame in frames:
        video.write(frame)
    video.release()
    for given in ('data/shapes/val', tmp_path / 'video.mp4'):
        monkeypatch.setattr('sys.argv', [
            'predict.py', 'out/student.py', 'out/student.pth', str(given),
            '--out', str(tmp_path / 'found'), '--score', '0', '--device',
            'cpu'])
        runpy.run_path(str(REPO / 'docs/export/predict.py'),
                       run_name='__main__')
    found = inference_detector(
        init_detector('out/student.py', 'out/student.pth', device='cpu'),
        str(images[0])).pred_instances
    told = json.loads((tmp_path / f'found/preds/{images[0].stem}.json')
                      .read_text())
    assert told['labels'] == found.labels.tolist()
    assert told['scores'] == pytest.approx(found.scores.tolist())
    assert len(list((tmp_path / 'found/vis').glob('*.png'))) == len(images)
    video = cv2.VideoCapture(str(tmp_path / 'found/vis/video.mp4'))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == len(frames)
    # boxes are drawn
    assert abs(video.read()[1].astype(int) - frames[0]).max() > 100


@needs_onnx
@pytest.mark.slow
@pytest.mark.parametrize('kind', [
    *as_params(kind for kind in FAMILY if kind != 'gfl'), pytest.param(
        'ddod', id='ddod with dcn', marks=pytest.mark.skipif(
            is_installed(), reason='needs compiled ops of mmcv'))])
def test_onnx_of_every_head(kind, request, tmp_path, monkeypatch):
    """In another batch and size than it was exported with."""
    (tmp_path / 'my_project.py').write_text(MY_PROJECT)
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.import_module('my_project')
    dcn = dict(use_dcn=True) if 'dcn' in request.node.name else {}
    detector = build(of_two_levels(
        own(plain_cfg(kind, **dcn), maps=2))).eval()
    for name, weight in detector.named_parameters():
        if 'conv_offset' in name:  # which are zeros at first
            nn.init.normal_(weight, std=0.3)
    assert 0 < write_onnx(detector, tmp_path / 'x.onnx') <= TOLERANCE
