"""A distillation config for any two plain ones, from the command line."""
import re
import shutil
from pathlib import Path

import mmdet
import pytest
import torch
from experiments import experiment, model_cfg, write
from families import FAMILY
from helpers import (
    ALL,
    Writes,
    build,
    distiller_cfg,
    plain_cfg,
    wide_teacher,
)
from mmdet.models.detectors import GFL
from mmdet.registry import MODELS
from mmengine.config import Config
from python_style import python_style
from tool_server import run as tool
from unknown_heads import distilled, unknown_cfg

from conftest import REPO
from crosskd import detectors
from crosskd.apps.commands import main
from crosskd.apps.recipes import make_config
from crosskd.apps.recipes.choosing import (
    losses_for,
    recipe_of,
    split_for,
)
from crosskd.apps.recipes.inheriting import module_of
from crosskd.configs import find_config
from crosskd.detectors import CrossKDGFL
from crosskd.engine.runner import DistillationRunner
from crosskd.heads import adapter_of

RECIPES = sorted((REPO / 'configs/crosskd').glob('*.py'))
KEYS = ('loss_cls_kd', 'loss_reg_kd', 'loss_center_kd', 'loss_obj_kd')
SPLIT = 'reused_teacher_head_idx'
OTHER_CLASSES = ('Square', 'light, ' + 'red or green ' * 4, 'circle')


def save(path, model, classes=None):
    """The checkpoint of a model with random weights."""
    meta = dict(dataset_meta=dict(classes=classes)) if classes else {}
    torch.save(dict(state_dict=build(model).state_dict(), meta=meta), path)


@pytest.fixture
def pair(shapes_root, tmp_path, monkeypatch):
    """A folder with a plain student and a teacher of another family.

    The teacher is wider, deeper, and knows two of the student's classes.
    """
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'data').symlink_to(shapes_root / 'data')
    write(tmp_path / 'student.py', experiment(model_cfg(plain_cfg('retina')),
                                              epochs=1))
    teacher = wide_teacher(distiller_cfg(
        'retina', teacher_kind='yolox'), stacked_convs=3,
        num_classes=3)['teacher_config']
    write(tmp_path / 'teacher.py', teacher)
    save(tmp_path / 'teacher.pth', teacher['model'], OTHER_CLASSES)
    return tmp_path


def test_what_it_writes_trains(project, tmp_path, monkeypatch, capsys):
    """Wherever it lies, from the directory where it was called."""
    monkeypatch.chdir(project)
    folder = project / 'my_configs'
    folder.mkdir()
    main(['make_config', 'plain.py', 'teacher.py',
          'work_dirs/teacher/epoch_1.pth', '-o', 'my_configs/made.py'])
    assert capsys.readouterr().out == (
        'Written to my_configs/made.py. Train it from this directory:\n  '
        'python -m crosskd train my_configs/made.py\n')
    text = (folder / 'made.py').read_text()
    code = [line for line in text.splitlines() if line.strip()[0] != '#']
    assert len(code) <= 16 and max(map(len, text.splitlines())) < 80
    cfg = Config.fromfile(folder / 'made.py')
    assert cfg.model.type == 'CrossKDGFL'
    assert cfg.model.kd_cfg.loss_reg_kd.loss_weight == 4
    assert cfg.model.kd_cfg.reused_teacher_head_idx == 1
    out = tool('train.py', 'my_configs/made.py', '--work-dir', tmp_path,
               cwd=project)
    assert re.search(r'loss_cls_kd: [\d.]+ .*loss_reg_kd: [\d.]+', out)
    assert (tmp_path / 'epoch_2.pth').is_file()


def test_another_family_width_depth_and_other_classes(pair):
    text = make_config('student.py', 'teacher.py', 'teacher.pth')
    comments = ' '.join(line.strip(' #') for line in text.splitlines()
                        if line.strip().startswith('#'))
    for words in ('student (Retina) learns from teacher (YOLOX)',
                  '2 of 5 classes are distilled: circle, square',
                  'has 8 channels and the teacher 16',
                  'paper has no YOLOX head', 'the teacher predicts objectness',
                  "the first 1 of the student's 2 layers, then the last 1 of "
                  "the teacher's 3"):
        assert words in comments, words
    (pair / 'made.py').write_text(text)
    cfg = Config.fromfile('made.py')
    assert cfg.model.kd_cfg.reused_teacher_head_idx == (1, 2)
    assert cfg.model.kd_cfg.adapter == dict(type='ChannelAdapter')
    out = tool('train.py', 'made.py', cwd=pair)
    assert '2 of 5 classes are distilled: circle, square' in out
    assert re.search(r'loss_reg_kd: [\d.]+ .*loss_obj_kd: [\d.]+', out)
    # moved, it says which file it misses
    (pair / 'moved').mkdir()
    shutil.move('made.py', 'moved')
    out = tool('train.py', 'moved/made.py', cwd=pair, ok=False)
    assert re.search(r'_base_ .*moved/student\.py. does not exist', out)


def test_classes_that_no_checkpoint_names(pair):
    """Are those of the teacher's data, in its config."""
    teacher = Config.fromfile('teacher.py').to_dict()
    write(pair / 'teacher.py', dict(teacher, train_dataloader=dict(
        dataset=dict(type='CocoDataset', metainfo=dict(
            classes=OTHER_CLASSES)))))
    save(pair / 'teacher.pth', teacher['model'])
    text = make_config('student.py', 'teacher.py', 'teacher.pth')
    kd_cfg = Config.fromstring(text.replace(
        "_base_ = '", f"_base_ = '{pair}/"), '.py').model.kd_cfg
    assert kd_cfg.teacher_classes == OTHER_CLASSES
    assert '2 of 5 classes are distilled' in text


def test_paths_are_those_of_the_folder_or_whole(pair, monkeypatch):
    work = pair / 'work'
    work.mkdir()
    shutil.move('student.py', 'work/student.py')
    monkeypatch.chdir(work)
    texts = [make_config('student.py', '../teacher.py', '../teacher.pth',
                         folder)
             for folder in (None, work / 'inner', pair)]
    bases = [re.search("_base_ = '(.*)'", text)[1] for text in texts]
    assert bases == ['student.py', '../student.py', f'{work}/student.py']
    for text in texts:
        assert f"teacher_config='{pair}/teacher.py'" in text
        assert "teacher_ckpt='../teacher.pth'" in text


def base(text):
    return re.search("_base_ = '(.*)'", text)[1]


def test_on_standard_output_the_base_is_seen_from_where_it_runs(
        pair, capsys, monkeypatch):
    """It is not looked up where a shell sends the output to."""
    words = ['make_config', 'student.py', 'teacher.py', 'teacher.pth']
    main(words)
    text = capsys.readouterr().out
    assert base(text) == 'student.py'
    (pair / 'made.py').write_text(text)
    assert Config.fromfile('made.py').model.type == 'CrossKDRetinaNet'
    inner = pair / 'inner'
    inner.mkdir()
    monkeypatch.chdir(inner)
    main(['make_config', *(f'../{word}' for word in words[1:])])
    assert base(capsys.readouterr().out) == f'{pair}/student.py'


@pytest.mark.parametrize('out, expected', [
    ('made.py', 'student.py'), ('inner/made.py', '../student.py'),
    ('{pair}/inner/made.py', '../student.py'),
    ('{pair}/../made.py', '{pair}/student.py'),
    ('~/inner/made.py', '../student.py')])
def test_in_a_file_the_base_is_seen_from_there(pair, capsys, monkeypatch,
                                               out, expected):
    monkeypatch.setenv('HOME', str(pair))
    (pair / 'inner').mkdir()
    file = out.format(pair=pair)
    main(['make_config', 'student.py', 'teacher.py', 'teacher.pth',
          '--out', file])
    assert capsys.readouterr().out.startswith(f'Written to {file}. ')
    file = Path(file).expanduser()
    assert base(file.read_text()) == expected.format(pair=pair)
    assert Config.fromfile(file).model.type == 'CrossKDRetinaNet'
    assert file.stat().st_mode == (pair / 'student.py').stat().st_mode
    file.unlink()


def test_a_file_is_written_whole_or_not_at_all(pair, monkeypatch, capsys):
    """What was there before stays, and nothing else appears."""
    words = ['make_config', 'student.py', 'teacher.py', 'teacher.pth', '-o']
    (pair / 'made.py').write_text('before')

    def fails(self, *args):
        raise OSError(28, 'No space left on device')

    before = sorted(pair.iterdir())
    monkeypatch.setattr(Path, 'replace', fails)
    with pytest.raises(SystemExit, match=r"-o='made.py': .*No space left"):
        main([*words, 'made.py'])
    monkeypatch.undo()
    monkeypatch.chdir(pair)
    with pytest.raises(SystemExit, match="teacher_ckpt='gone.pth'"):
        main(['make_config', 'student.py', 'teacher.py', 'gone.pth', '-o',
              'made.py'])
    assert sorted(pair.iterdir()) == before
    assert (pair / 'made.py').read_text() == 'before'
    main([*words, 'made.py'])
    assert base((pair / 'made.py').read_text()) == 'student.py'
    assert sorted(pair.iterdir()) == before


@pytest.mark.parametrize('out, said', [
    ('student.py', 'this is STUDENT_CONFIG, which the new config inherits'),
    ('./teacher.py', 'this is TEACHER_CONFIG, which the new config names'),
    ('link.py', 'this is STUDENT_CONFIG'),
    ('made.txt', r'expected a name that ends with \.py'),
    ('gone/made.py', 'there is no folder gone'),
    ('data.py', 'this is a folder')])
def test_where_no_config_can_be_written(pair, out, said):
    """Nothing is read before that is known."""
    (pair / 'data.py').mkdir()
    (pair / 'link.py').symlink_to('student.py')
    before = (pair / 'student.py').read_text()
    with pytest.raises(SystemExit, match=f"-o='{re.escape(out)}': {said}"):
        main(['make_config', 'student.py', 'teacher.py', 'gone.pth', '-o',
              out])
    assert (pair / 'student.py').read_text() == before
    assert (pair / 'link.py').is_symlink()


def test_a_teacher_is_found_beside_the_student(pair):
    (pair / 'work').mkdir()
    shutil.move('student.py', 'work/student.py')
    shutil.move('teacher.py', 'work/beside.py')
    text = make_config('work/student.py', 'beside.py', 'teacher.pth')
    assert "teacher_config='work/beside.py'" in text


@pytest.mark.parametrize('kind', ALL)
def test_all_families_teach_and_learn(kind, tmp_path, monkeypatch):
    """A family is joined with the next one as its teacher."""
    monkeypatch.chdir(tmp_path)
    following = ALL[(ALL.index(kind) + 1) % len(ALL)]
    for name in (kind, following):
        write(tmp_path / f'{name}.py', dict(model=plain_cfg(name)))
    (tmp_path / 'made.py').write_text(
        make_config(f'{kind}.py', f'{following}.py', 'random'))
    cfg = Config.fromfile('made.py')
    assert cfg.model.type == FAMILY[kind].own_distiller
    # which a student of the pure Python style imports
    assert cfg.model.type in detectors.__all__
    assert build(cfg.model).pair.is_joined


@pytest.mark.parametrize('student, teacher, reason', [
    ('faster_rcnn', 'mask_rcnn', 'the student (FasterRCNN) has no dense head '
     'and the teacher (MaskRCNN) has no dense head'),
    ('gfl', 'faster_rcnn', 'the teacher (FasterRCNN) has no dense head'),
    ('faster_rcnn', 'gfl', 'the student (FasterRCNN) has no dense head'),
    ('gfl', 'detr', "crosskd cannot distil the predictions of the teacher's "
     'DETRHead'),
    ('fovea', 'gfl', "crosskd cannot distil the predictions of the "
     "student's FoveaHead"),
    ('detr', 'yolof', "crosskd cannot distil the predictions of the student's "
     'DETRHead and crosskd cannot distil the predictions of the '
     "teacher's YOLOFHead")])
def test_features_of_detectors_without_a_known_head(tmp_path, monkeypatch,
                                                    student, teacher, reason):
    monkeypatch.chdir(tmp_path)
    for name in (student, teacher):
        write(tmp_path / f'{name}.py', dict(model=(
            plain_cfg if name == 'gfl' else unknown_cfg)(name)))
    main(['make_config', f'{student}.py', f'{teacher}.py', 'random', '-o',
          'made.py'])
    text = (tmp_path / 'made.py').read_text()
    plain, cfg = (Config.fromfile(f'{name}.py') for name in (student, 'made'))
    assert cfg.model.type == 'DistilledDetector'
    assert cfg.model.detector == plain.model.type
    assert cfg.model.kd_cfg == dict(
        loss_feat_kd=dict(type='PKDLoss', loss_weight=6.0))
    comments = ' '.join(line.strip(' #') for line in text.splitlines()
                        if line.strip().startswith('#'))
    assert f'only features (PKD), because {reason}' in comments
    taps = dict(gfl='input of bbox_head')
    assert (f"the student's features ({taps.get(student, 'neck')}) are trained"
            f" to match the teacher's ({taps.get(teacher, 'neck')}) at "
            ) in comments
    assert re.match(rf'{student} \(\w+\) learns from {teacher} \(\w+\), by '
                    'PKD. ', comments)
    assert max(map(len, text.splitlines())) < 80
    model = build(cfg.model)
    assert model.pair.is_joined and isinstance(
        model, MODELS.get(plain.model.type))


def test_what_is_bridged_between_features_is_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / 'student.py', dict(model=unknown_cfg('fovea')))
    teacher = unknown_cfg('faster_rcnn')
    teacher['neck'].update(out_channels=16)
    teacher['rpn_head'].update(in_channels=16)
    write(tmp_path / 'teacher.py', dict(model=teacher))
    text = make_config('student.py', 'teacher.py', 'random')
    (tmp_path / 'made.py').write_text(text)
    kd_cfg = Config.fromfile('made.py').model.kd_cfg
    assert kd_cfg.adapter == dict(type='ChannelAdapter')
    assert 'only the teacher has levels of stride 4, 64; they' in text
    assert 'has 8 channels and the teacher 16' in text.replace('\n#  ', '')


# -- configs of mmengine's pure Python style ---------------------------------

WIDER = dict(model=dict(backbone=dict(base_channels=16),
                        neck=dict(in_channels=[16, 32, 64, 128])))


@pytest.fixture
def pure(shapes_root, tmp_path, monkeypatch):
    """A folder with such configs in ``own``, which import each other.

    The teacher has another backbone; ``two_stages.py`` is a teacher, too.
    """
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'data').symlink_to(shapes_root / 'data')
    (tmp_path / 'own').mkdir()
    write(tmp_path / 'ordinary.py', experiment(
        model_cfg(plain_cfg('gfl')), epochs=1))
    whole = Config.fromfile('ordinary.py').to_dict()
    del whole['custom_imports']
    for name, cfg, base in (
            ('base', whole, None), ('student', {}, '.base'),
            ('teacher', WIDER, '.base'),
            ('two_stages', dict(model=unknown_cfg('faster_rcnn')), None)):
        (tmp_path / f'own/{name}.py').write_text(python_style(cfg, base))
    return tmp_path


def test_both_of_the_python_style(pure):
    main(['make_config', 'own/student.py', 'own/teacher.py', 'random', '-o',
          'made.py'])
    text = (pure / 'made.py').read_text()
    assert 'from .own.student import *' in text and '_base_' not in text
    cfg = Config.fromfile('made.py')
    assert cfg.model.type is CrossKDGFL
    assert cfg.model.kd_cfg.reused_teacher_head_idx == 1
    assert cfg.runner_type is DistillationRunner
    assert cfg.model.backbone.base_channels == 8
    assert cfg.train_cfg.max_epochs == 1  # the rest is the student's
    model = build(cfg.model)
    assert model.pair.is_joined
    assert max(map(len, text.splitlines())) < 80


def test_one_of_the_python_style_by_features(pure):
    """From its training to its export, and mmengine's copies of it."""
    main(['make_config', 'own/student.py', 'own/two_stages.py', 'random',
          '-o', 'own/made.py'])
    assert 'from .student import *' in (pure / 'own/made.py').read_text()
    cfg = Config.fromfile('own/made.py')
    assert cfg.model.detector is GFL
    assert isinstance(build(cfg.model), GFL)
    out = tool('train.py', 'own/made.py', cwd=pure)
    assert re.search(r'loss_feat_kd: [\d.]+', out)
    tool('export_student.py', 'work_dirs/made/made.py',
         'work_dirs/made/epoch_1.pth', 'exported', cwd=pure)
    plain = Config.fromfile('exported/student.py')
    assert 'kd_cfg' not in plain.model
    assert type(build(plain.model)) is GFL


def test_a_teacher_of_the_python_style(pure):
    main(['make_config', 'ordinary.py', 'own/two_stages.py', 'random', '-o',
          'made.py'])
    cfg = Config.fromfile('made.py')
    assert cfg.model.detector == 'GFL'
    assert build(cfg.model).pair.is_joined


def test_mmdets_own_configs_of_the_python_style_are_imported_whole():
    package = Path(mmdet.__file__).parent
    assert module_of('STUDENT_CONFIG', str(
        package / 'configs/rtmdet/rtmdet_s_8xb32_300e_coco.py'),
        package / 'no-such folder') == (
            'mmdet.configs.rtmdet.rtmdet_s_8xb32_300e_coco')


@pytest.mark.parametrize('folder, module', [
    ('work', '.student'), ('work/below', '..student'),
    ('', '.work.student'), ('beside-it', '..work.student')])
def test_a_module_is_named_from_the_folder_of_the_new_config(
        tmp_path, folder, module):
    assert module_of('STUDENT_CONFIG', str(tmp_path / 'work/student.py'),
                     tmp_path / folder) == module


def test_own_data_needs_the_other_style(pure, capsys):
    with pytest.raises(SystemExit) as ended:
        main(['make_config', '--data', 'data/shapes', '--out', 'made',
              '--student', 'own/student.py'])
    assert re.search(r"--student='own/student.py': .*pure Python style.*"
                     'expected one of the style with _base_',
                     str(ended.value.code))
    assert not (pure / 'made').exists()


def config_value(text):
    return Config.fromstring(f'value = {text}', '.py').value


@pytest.mark.parametrize('recipe', RECIPES, ids=lambda path: path.stem)
def test_recipes_are_those_of_the_configs(recipe):
    cfg = Config.fromfile(recipe)
    student, teacher = (
        adapter_of(MODELS.build(dict(
            model.bbox_head, in_channels=32, feat_channels=32,
            train_cfg=model.get('train_cfg'))))
        for model in (cfg.model, Config.fromfile(
            find_config(cfg.model.teacher_config)).model))
    choices = [*losses_for(teacher), split_for(student, teacher)]
    assert {c.key: config_value(c.text) for c in choices} == cfg.model.kd_cfg


def adapter(kind, **head):
    return adapter_of(build(plain_cfg(kind, **head)).bbox_head)


@pytest.mark.parametrize('kind', ALL)
def test_every_family_has_a_recipe(kind):
    """Of which nothing is left out."""
    recipe = recipe_of(adapter(kind).name)
    found = {c.key: config_value(c.text) for c in losses_for(adapter(kind))}
    assert recipe == {**found, SPLIT: recipe[SPLIT]}


@pytest.mark.parametrize('kind, expected', [
    ('yolox', ('ATSS', 'ATSS', None, 'YOLOX')), ('gfl', ('GFL', 'GFL')),
    ('fcos', ('ATSS', 'ATSS', 'ATSS')), ('retina', ('ATSS', 'ATSS'))])
def test_a_family_without_recipe_is_compared_output_by_output(kind, expected):
    """As those that have such an output, in another package's adapter."""
    known = adapter(kind)
    own = type('TheirHeadAdapter', (type(known), ), {})(known.head)
    found = {c.key: config_value(c.text) for c in losses_for(own)}
    assert found == {key: recipe_of(family)[key]
                     for key, family in zip(KEYS, expected) if family}


def test_the_config_for_own_data_shows_the_recipe():
    """It is copied, and so inherits nothing from beside its folder."""
    cfg = Config.fromfile(
        REPO / 'configs/own_data/crosskd_r18_r50_own_data.py')
    assert cfg.model.kd_cfg == recipe_of('GFL')


class MyGFL(GFL):
    """A student of a project's own."""

    def loss(self, *args):
        return super().loss(*args)


REFUSED = {
    'no detector': (
        ['backbone.py', 'teacher.py', 'teacher.pth'],
        "STUDENT_CONFIG='backbone.py': model.type='ResNet' is not an mmdet "),
    'a distilled detector': (
        ['any.py', 'teacher.py', 'teacher.pth'],
        "'DistilledDetector' is already distilled; expected the config of"),
    'features have no classes': (
        ['fovea.py', 'teacher.py', 'teacher.pth', '--classes', 'star=ring'],
        "no classes are distilled, .* the student's FoveaHead. Remove these"),
    'a class of its own': (
        ['own.py', 'teacher.py', 'teacher.pth'],
        r"'MyGFL' has methods of its own \(loss\).*DistillationMixin, MyGFL"),
    'distilled already': (
        ['distilled.py', 'teacher.py', 'teacher.pth'],
        "'CrossKDGFL' is already distilled; expected the config of the plain"),
    'an unknown type': (
        ['unknown.py', 'teacher.py', 'teacher.pth'],
        "'NoSuchDetector' is not registered"),
    'no config': (
        ['gone.py', 'teacher.py', 'teacher.pth'],
        "STUDENT_CONFIG='gone.py': no such config file; looked for "),
    'no config of the teacher': (
        ['student.py', 'gone.py', 'teacher.pth'], "TEACHER_CONFIG='gone.py'"),
    'no model': (
        ['empty.py', 'teacher.py', 'teacher.pth'],
        "STUDENT_CONFIG='empty.py': expected a config with a 'model'"),
    'no Python': (
        ['broken.py', 'teacher.py', 'teacher.pth'],
        "STUDENT_CONFIG='broken.py': cannot be read: SyntaxError"),
    'a config that no import can name': (
        ['pure-style.py', 'student.py', 'random'],
        "STUDENT_CONFIG='pure-style.py': .* pure Python style, so .* import "
        'it from .*digits and _ only, found pure-style. Rename it, or'),
    'no checkpoint': (
        ['student.py', 'teacher.py', 'gone.pth'],
        "teacher_ckpt='gone.pth': no such file"),
    'an unreadable checkpoint': (
        ['student.py', 'teacher.py', 'garbage.pth'],
        "teacher_ckpt='garbage.pth': not a checkpoint that torch can read"),
    'a checkpoint that runs code': (
        ['student.py', 'teacher.py', 'code.pth'],
        'refused, because it contains'),
    "another detector's checkpoint": (
        ['student.py', 'student.py', 'teacher.pth'],
        'teacher.pth.* does not fit the model of teacher_config'),
    'no class in common': (
        ['student.py', 'teacher.py', 'others.pth'],
        'student and teacher have no class in common'),
    'no level in common': (
        ['student.py', 'far.py', 'random'],
        'no level of the teacher has a stride of the student'),
    'data of other classes': (
        ['unlike.py', 'teacher.py', 'teacher.pth'],
        'expected 3 names, one for each class of the head, found 5'),
}


@pytest.mark.parametrize('case', REFUSED)
def test_what_cannot_work_is_refused(pair, capsys, case):
    teacher = Config.fromfile('teacher.py').to_dict()['model']
    write(pair / 'distilled.py', dict(model=distiller_cfg('gfl')))
    write(pair / 'any.py', dict(model=distilled(*[plain_cfg('gfl')] * 2)))
    write(pair / 'backbone.py', dict(model=dict(type='ResNet', depth=18)))
    write(pair / 'fovea.py', dict(model=unknown_cfg('fovea')))
    write(pair / 'unlike.py', experiment(plain_cfg('retina')))
    write(pair / 'empty.py', dict(data='data/'))
    write(pair / 'unknown.py', dict(model=dict(type='NoSuchDetector')))
    (pair / 'pure-style.py').write_text(python_style(dict(
        model=model_cfg(plain_cfg('gfl')))))
    (pair / 'broken.py').write_text('model = dict(')
    MODELS.register_module(module=MyGFL, force=True)
    write(pair / 'own.py', dict(model=dict(plain_cfg('gfl'), type='MyGFL')))
    write(pair / 'far.py', dict(model=dict(plain_cfg(
        'gfl', num_classes=5, anchor_generator=dict(
            type='AnchorGenerator', ratios=[1.0], octave_base_scale=4,
            scales_per_octave=1, strides=[4, 128, 256])))))
    (pair / 'garbage.pth').write_bytes(b'no checkpoint')
    torch.save(dict(state_dict=Writes('ran')), 'code.pth')
    save(pair / 'others.pth', teacher, ('a', 'b', 'c'))
    words, said = REFUSED[case]
    with pytest.raises(SystemExit) as ended:
        main(['make_config', *words])
    message = ended.value.code  # on stderr; Python's exit code is 1 then
    assert isinstance(message, str) and re.search(said, message), message
    assert message.startswith('python -m crosskd make_config: ')
    assert not capsys.readouterr().out
    assert not (pair / 'ran').exists()


OURS = ('circle', 'square', 'red light')
BOTH_QUOTES = """ a 12" ' """ + 'wide  screen ' * 6


@pytest.mark.parametrize('names, options, key, value', [
    (('0', '1', 'a = b'), ['--classes', 'circle=0', 'star=a = b'], 'classes',
     dict(circle='0', star='a = b')),
    (('0', '1', BOTH_QUOTES),
     ['--classes', 'circle=0', '--classes', f'star={BOTH_QUOTES}'], 'classes',
     dict(circle='0', star=BOTH_QUOTES)),
    (tuple('012'), ['--teacher-classes', *OURS], 'teacher_classes', OURS),
    # as many as COCO has, beside a head of three
    (tuple(map(str, range(80))), ['--teacher-classes', *OURS],
     'teacher_classes', OURS)])
def test_names_can_be_given(pair, capsys, names, options, key, value):
    """Where checkpoint and data call classes otherwise."""
    words = ['make_config', 'student.py', 'teacher.py', 'others.pth']
    save(pair / 'others.pth', Config.fromfile('teacher.py').model, names)
    with pytest.raises(SystemExit) as ended:
        main(words)
    for option in ('--classes STUDENT=TEACHER', '--teacher-classes NAME'):
        assert option in str(ended.value.code)
    main([*words, *options])
    made = capsys.readouterr().out
    (pair / 'made.py').write_text(made)
    assert Config.fromfile('made.py').model.kd_cfg[key] == value
    assert '2 of 5 classes are distilled: circle' in made


@pytest.mark.parametrize('words, said', [
    (['circle'], "expected STUDENT=TEACHER, found 'circle'"),
    (['circle=0', 'circle=1'], "two names for 'circle': '0' and '1'"),
    (['circle=0', '--classes', 'circle=1'],
     "two names for 'circle': '0' and '1'")])
def test_a_synonym_is_two_names(pair, capsys, words, said):
    with pytest.raises(SystemExit):
        main(['make_config', 'student.py', 'teacher.py', 'teacher.pth',
              '--classes', *words])
    assert f'--classes: {said}' in capsys.readouterr().err


def test_refused_by_the_tool(tmp_path):
    """Exit code 1, and no traceback."""
    out = tool('make_config.py', 'a.py', 'b.py', 'c.pth', cwd=tmp_path,
               ok=False)
    assert "make_config.py: STUDENT_CONFIG='a.py': no such config" in out
    assert 'Traceback' not in out


def test_the_student_keeps_its_imports(pair):
    text = (pair / 'student.py').read_text().replace(
        "['crosskd']", "['json', 'crosskd']")
    (pair / 'student.py').write_text(text)
    made = make_config('student.py', 'teacher.py', 'teacher.pth')
    assert "imports=['json', 'crosskd']," in made
