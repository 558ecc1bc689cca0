"""``python -m crosskd benchmark`` and tools/benchmark.py: what they print.

Nothing here depends on a time, except that it is one.
"""
import json
import os
import re
import shlex
from statistics import median

import pytest
import torch
from experiments import CLASSES, experiment, model_cfg, write
from helpers import (
    KINDS,
    SDD,
    build,
    distiller_cfg,
    kd_cfg,
    plain_cfg,
    sdd_cfg,
)
from tool_server import MAIN
from tool_server import run as tool
from unknown_heads import distilled, heads_of, unknown_cfg

from conftest import REPO
from crosskd.apps.benchmark import Setting, draw, format_table, run_benchmark
from crosskd.apps.benchmark.detectors import (
    build_distilled,
    build_plain,
    build_teacher,
    random_batch,
)
from crosskd.apps.benchmark.parts import OPEN, watch_distilled
from crosskd.apps.benchmark.setting import image_size, read
from crosskd.apps.benchmark.timeline import Timeline
from crosskd.pairs import PairedPass

pytestmark = pytest.mark.torch_only

DEMO = 'crosskd::demo/crosskd_gfl_r18w8_r18w24_shapes.py'
STEP = ['student', 'backward', 'optimizer', 'rest']
FORWARD = ['backbone', 'neck', 'head', 'rest']


def config(folder, model, **kwargs) -> str:
    path = folder / 'config.py'
    write(path, experiment(model, **kwargs))
    return str(path)


def measured(path: str, **kwargs) -> dict:
    cfg = dict(size=(64, 64), batch=2, repeats=1, warm_up=0)
    return run_benchmark(Setting(path, **{**cfg, **kwargs}), memory=False)


def losses_of(result: dict) -> list[str]:
    return [p for p in result['distilled']['parts'] if p.startswith('loss_')]


@pytest.mark.parametrize('kind', KINDS)
def test_every_part_of_every_head_is_there(tmp_path, kind):
    result = measured(config(tmp_path, model_cfg(distiller_cfg(kind))))
    losses = [key for key in kd_cfg(kind) if key.startswith('loss')]
    assert list(result['student']['parts']) == STEP
    assert list(result['teacher']['parts']) == FORWARD
    assert list(result['distilled']['parts']) == [
        'teacher', 'student', 'cross_head', *losses, 'backward', 'optimizer',
        'rest']
    for name in ('student', 'teacher', 'distilled'):
        parts = result[name]['parts'].values()
        assert all(0 < times['median'] for times in parts)


def test_features_and_regions_are_parts_by_the_names_of_their_losses(
        tmp_path):
    model = model_cfg(distiller_cfg(
        'gfl', loss_feat_kd=dict(type='PKDLoss', loss_weight=1.0),
        loss_sdd=SDD))
    assert losses_of(measured(config(tmp_path, model))) == [
        'loss_cls_kd', 'loss_reg_kd', 'loss_sdd_map', 'loss_sdd_box',
        'loss_feat_kd'
    ]


def test_what_is_not_computed_is_no_part(tmp_path):
    """Such as cross-head predictions, of SDD."""
    result = measured(config(tmp_path, model_cfg(sdd_cfg('retina'))))
    assert list(result['distilled']['parts']) == [
        'teacher', 'student', 'loss_sdd_map', 'loss_sdd_box', 'backward',
        'optimizer', 'rest']


def test_a_teacher_that_weighs_features_by_its_scores_runs_its_head(
        tmp_path):
    cfg = distilled(plain_cfg('gfl'), plain_cfg('gfl'))
    cfg['kd_cfg'] = dict(loss_feat_kd=dict(type='ScoreWeightedL2Loss'))
    result = measured(config(tmp_path, model_cfg(cfg)))
    assert list(result['teacher']['parts']) == FORWARD


@pytest.mark.parametrize('student, teacher', [
    ('fovea', 'fovea'), ('ssd', 'detr'), ('detr', 'yolof')])
def test_detectors_that_only_share_features(tmp_path, student, teacher):
    """Of the teacher's forward there is what these features need."""
    cfg = distilled(*(unknown_cfg(name, len(CLASSES))
                      for name in (student, teacher)))
    if 'detr' in (student, teacher):  # which have stride 32 alone
        cfg['kd_cfg'] = dict(distillers=[dict(
            type='FeatureDistiller', student='backbone', teacher='backbone',
            loss_feat_kd=dict(type='PKDLoss'))])
    result = measured(config(tmp_path, cfg))
    assert list(result['student']['parts']) == STEP
    assert list(result['teacher']['parts']) == ['backbone', 'neck', 'rest']
    assert list(result['distilled']['parts']) == [
        'teacher', 'student', 'loss_feat_kd', 'backward', 'optimizer', 'rest']
    assert "teacher's forward" in format_table(result)
    draw(result, tmp_path / 'parts.png')


def test_a_teacher_of_known_heads_runs_no_head_for_features_alone(tmp_path):
    plain = model_cfg(plain_cfg('gfl'))
    result = measured(config(tmp_path, distilled(plain, plain)))
    assert list(result['teacher']['parts']) == ['backbone', 'neck', 'rest']


@pytest.mark.parametrize('name, masks', [
    ('faster_rcnn', False), ('cascade_rcnn', False), ('mask_rcnn', True),
    ('detr', True)])
def test_random_objects_of_other_detectors(name, masks):
    """Have classes that all heads know, and masks for those that learn them.

    A preprocessor that pads masks needs some, too.
    """
    cfg = unknown_cfg(name, num_classes=4)
    cfg['data_preprocessor']['pad_mask'] = masks
    heads_of(cfg)[-1]['num_classes'] = 2
    _, samples = random_batch(build(cfg), 2, (64, 96))
    objects = samples[0].gt_instances
    assert set(objects.labels.tolist()) == {0, 1}
    assert ('masks' in objects) == masks
    if masks:
        assert objects.masks.masks.shape == (len(objects), 64, 96)


def test_parts_are_counted_once_and_nothing_is_left_out(tmp_path):
    """Pieces follow each other, so that they add up to the step."""
    ticks = iter(range(10000))
    timeline = Timeline(torch.device('cpu'))
    timeline._marks, mark = [], timeline.mark

    def tick():
        mark()
        timeline._marks[-1] = next(ticks) * 1e-3

    timeline.mark = tick
    cfg = read(Setting(config(tmp_path, model_cfg(distiller_cfg('gfl')))))
    model = build_distilled(cfg)
    data = dict(inputs=torch.randn(2, 3, 64, 64), data_samples=samples(model))
    with watch_distilled(timeline, model):
        timeline.mark()
        model.loss(data['inputs'], data['data_samples'])
        timeline.mark()
    assert sum(timeline.parts().values()) == pytest.approx(
        len(timeline.labels) - 1)
    assert OPEN not in timeline.parts()


def samples(model):
    return random_batch(model, 2, (64, 64))[1]


def test_watching_leaves_everything_as_it_was(tmp_path):
    cfg = read(Setting(config(tmp_path, model_cfg(distiller_cfg('gfl')))))
    model = build_distilled(cfg)
    places = [type(model.teacher), PairedPass, *type(model).__mro__]
    before = [dict(vars(place)) for place in places]
    own = [dict(vars(m)) for m in model.distillers.modules()]
    with watch_distilled(Timeline(torch.device('cpu')), model):
        assert [dict(vars(place)) for place in places] != before
    assert [dict(vars(place)) for place in places] == before
    assert [set(vars(m)) for m in model.distillers.modules()] == [
        set(names) for names in own]


def test_the_student_alone_is_the_same_detector_without_distillation(
        tmp_path):
    cfg = read(Setting(config(tmp_path, model_cfg(distiller_cfg('fcos')))))
    distilled, plain = build_distilled(cfg), build_plain(cfg)
    assert not hasattr(plain, 'teacher')
    ours, theirs = distilled.state_dict(), plain.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[k], theirs[k]) for k in ours)


def test_no_round_changes_a_weight(tmp_path, monkeypatch):
    from crosskd.apps.benchmark import steps
    built = []
    for name in ('build_plain', 'build_distilled'):
        make = getattr(steps, name)

        def keep(cfg, make=make):
            model = make(cfg)
            built.append((model, [p.clone() for p in model.parameters()]))
            return model
        monkeypatch.setattr(steps, name, keep)
    measured(config(tmp_path, model_cfg(distiller_cfg('gfl'))))
    assert len(built) == 2
    for model, before in built:
        assert model.backbone.bn1.num_batches_tracked == 1
        assert all(map(torch.equal, before, model.parameters()))


def test_ratios_are_of_medians(tmp_path):
    result = measured(config(tmp_path, model_cfg(distiller_cfg('gfl'))),
                      repeats=3)
    student, teacher, distilled = (
        result[name]['total']['median']
        for name in ('student', 'teacher', 'distilled'))
    assert result['ratios'] == {
        'distilled / (student + teacher)': distilled / (student + teacher),
        'distilled / student': distilled / student}
    assert result['student']['images_per_second'] == 2000 / student
    assert result['repeats'] == 3


def test_spread_is_that_of_the_counted_rounds(tmp_path, monkeypatch):
    from crosskd.apps.benchmark import run
    given = [9.0, 1.0, 5.0, 2.0]
    times = iter(x for x in given for _ in run.NAMES)

    class Fake(Timeline):
        milliseconds = property(lambda self: self.__dict__['ms'],
                                lambda self, _: self.__dict__.update(
                                    ms=next(times)))
    monkeypatch.setattr('crosskd.apps.benchmark.steps.Timeline', Fake)
    result = measured(config(tmp_path, model_cfg(distiller_cfg('gfl'))),
                      repeats=3, warm_up=1)
    for name in run.NAMES:
        assert result[name]['total'] == dict(
            median=median(given[1:]), min=1.0, max=5.0)


def test_pretrained_weights_are_not_opened(tmp_path):
    model = model_cfg(distiller_cfg('gfl', teacher='gone.pth'))
    gone = dict(type='Pretrained', checkpoint='https://localhost/gone.pth')
    for one in (model, model['teacher_config']['model']):
        one['backbone']['init_cfg'] = gone
    assert losses_of(measured(config(tmp_path, model)))


@pytest.mark.parametrize('channels', [1, 2, 5])
def test_images_have_the_channels_of_the_detector(tmp_path, channels):
    model = model_cfg(distiller_cfg('gfl'))
    for one in (model, model['teacher_config']['model']):
        one['backbone']['in_channels'] = channels
        one['data_preprocessor'] = dict(
            type='DetDataPreprocessor', pad_size_divisor=32)
    result = measured(config(tmp_path, model), options=dict(
        default_scope=None))
    assert losses_of(result) == ['loss_cls_kd', 'loss_reg_kd']


def test_a_teacher_of_other_classes_shares_as_many_as_there_are(tmp_path):
    model = model_cfg(distiller_cfg(
        'gfl', classes=dict(circle='ring'), teacher_classes=['ring'] * 7))
    model['teacher_config']['model']['bbox_head']['num_classes'] = 7
    assert losses_of(measured(config(tmp_path, model))) == [
        'loss_cls_kd', 'loss_reg_kd']


@pytest.mark.parametrize('resize, size', [
    (dict(type='Resize', scale=(1333, 800), keep_ratio=True), (800, 1333)),
    (dict(type='RandomResize', scale=[(1333, 640), (1333, 800)]),
     (800, 1333)),
    (dict(type='RandomChoiceResize', scales=[(640, 480), (320, 320)]),
     (480, 640))])
def test_the_size_is_the_largest_of_the_pipeline(tmp_path, resize, size):
    path = config(tmp_path, model_cfg(distiller_cfg('gfl')))
    with open(path, 'a') as file:
        file.write("\ntrain_dataloader['dataset'] = dict(type='Repeat', "
                   f"dataset=dict(pipeline=[{resize!r}]))")
    assert image_size(Setting(path), read(Setting(path)), 32) == size


@pytest.mark.parametrize('changes, error, said', [
    (dict(size=(63, 64)), ValueError, 'size 63×64: expected sides of at '
     'least 64 pixels'),
    (dict(batch=0), ValueError, 'batch must be at least 1, found 0'),
    (dict(repeats=0), ValueError, 'repeats must be at least 1, found 0'),
    (dict(threads=-1), ValueError, 'threads must be at least 1, found -1'),
    (dict(device='gpu'), ValueError, "device 'gpu': "),
    (dict(amp=True), ValueError, r"\(--amp\)"),
    (dict(options={'model.type': 'GFL'}), ValueError,
     "model.type='GFL' is not a distilled detector"),
    (dict(options={'model': 3}), ValueError,
     "CONFIG=.*: expected a config with a 'model'"),
    (dict(options={'train_dataloader.dataset.pipeline': [], 'x': 1},
          size=None), ValueError, 'has a scale; give --size H W'),
    (dict(options={'train_dataloader.batch_size': None}, batch=None),
     ValueError, 'give --batch N')])
def test_what_cannot_be_measured_is_said(tmp_path, changes, error, said):
    path = config(tmp_path, model_cfg(distiller_cfg('gfl')))
    with pytest.raises(error, match=said):
        measured(path, **changes)


def test_a_teacher_is_found_beside_the_config(tmp_path, monkeypatch):
    student = model_cfg(distiller_cfg('gfl'))
    write(tmp_path / 'its_teacher.py', student['teacher_config'])
    path = config(tmp_path, dict(student, teacher_config='its_teacher.py'))
    monkeypatch.chdir('/')
    cfg = read(Setting(path))
    distilled = build_distilled(cfg)
    assert type(build_teacher(cfg)) is type(distilled.teacher.detector)
    # the same student, which the MRO has behind what distils
    assert isinstance(distilled, type(build_plain(cfg)))


@pytest.mark.parametrize('args, said', [
    (['gone.py'], "CONFIG='gone.py': no such config file"),
    (['plain.py'],
     r"CONFIG='plain\.py': model\.type='GFL' is not a distilled"),
    (['broken.py'],
     r"CONFIG='broken\.py': cannot be read: SyntaxError"),
    ([DEMO, '--size', '16', '16'], 'size 16×16: expected sides of at least'),
    ([DEMO, '--cfg-options', 'model.kd_cfg.reused_teacher_head_idx=9'],
     'kd_cfg.reused_teacher_head_idx must be between 0 and')])
def test_an_error_is_one_line_of_the_command(tmp_path, args, said):
    write(tmp_path / 'plain.py', experiment(model_cfg(plain_cfg('gfl'))))
    (tmp_path / 'broken.py').write_text('model = dict(')
    out = tool(MAIN, 'benchmark', *args, cwd=tmp_path, ok=False)
    assert 'Traceback' not in out
    assert re.match(f'python -m crosskd benchmark: .*{said}',
                    out.strip().splitlines()[-1])


def test_the_table_and_the_picture_have_all_of_it(tmp_path):
    result = measured(config(tmp_path, model_cfg(distiller_cfg('gfl'))))
    result['student']['peak_mb'] = 123.4
    table = format_table(result)
    for word in ("student's step", "teacher's forward", 'distilled step',
                 'cross-head predictions', 'loss_cls_kd', 'loss_reg_kd',
                 'images per second', 'distilled / student', 'backbone',
                 'torch ' + torch.__version__, '2 images of 64×64'):
        assert word in table, word
    assert re.search(r'^peak memory, MB +123$', table, re.M)
    draw(result, tmp_path / 'parts.png')
    assert (tmp_path / 'parts.png').read_bytes().startswith(b'\x89PNG')


def documented() -> list[list[str]]:
    """The commands of docs/costs.md that call the tool."""
    text = (REPO / 'docs/costs.md').read_text()
    found = re.findall(r'^python -m crosskd benchmark.*',
                       text.replace('\\\n', ' '), re.M)
    return [shlex.split(line, comments=True) for line in found]


def json_of(out: str) -> dict:
    """What was printed, if it is JSON; imports may say what they lack."""
    said, begin, text = out.partition('{')
    assert all('Could not import' in line for line in said.splitlines())
    return json.loads(begin + text)


@pytest.mark.parametrize('memory', [
    False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_command_of_the_installed_package_prints_json(tmp_path, memory):
    """Word for word as documented, but smaller."""
    words = next(w for w in documented() if '--json' in w)
    small = ['--size', 64, 64, '--batch', 1, '--repeats', 1]
    result = json_of(tool(
        MAIN, *words[3:], *small, *([] if memory else ['--no-memory']),
        cwd=tmp_path, env=dict(OMP_NUM_THREADS='1')))
    assert result['machine']['torch'] == torch.__version__
    assert losses_of(result) == ['loss_cls_kd', 'loss_reg_kd']
    assert [name for name in ('student', 'teacher', 'distilled')
            if result[name].get('peak_mb', 0) > 50] == (
        ['student', 'distilled'] if memory else [])


@pytest.mark.slow
def test_the_script_is_the_command(tmp_path):
    words = next(w for w in documented() if '--png' in w)
    out = tool('benchmark.py', *words[4:], '--size', 256, 256,
               '--no-memory', '--repeats', 1, '--batch', 1, cwd=tmp_path)
    assert re.search(r'^distilled / \(student \+ teacher\) +\d\.\d+$', out,
                     re.M)
    assert os.path.getsize(tmp_path / words[words.index('--png') + 1])
