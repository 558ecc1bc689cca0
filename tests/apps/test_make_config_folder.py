"""A folder of configs for one's own data: make_config --data."""
import re
from pathlib import Path

import pytest
from coco_folders import coco, names, ours, put
from experiments import experiment, model_cfg, write
from helpers import build, plain_cfg
from mmengine.config import Config
from tool_server import MAIN
from tool_server import run as tool
from unknown_heads import unknown_cfg

from crosskd.apps.commands import main
from crosskd.apps.recipes import make_config, write_configs
from crosskd.apps.recipes.detector_config import DetectorConfig
from crosskd.apps.recipes.folder import DISTILLED, STUDENT, TEACHER
from crosskd.apps.recipes.own_data import read_data
from crosskd.apps.recipes.published import published_weights
from crosskd.apps.recipes.python_text import Code, python_text
from crosskd.configs import read_config

FILES = ['data.py', DISTILLED, STUDENT, TEACHER]
RETINA = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with data/own, and small configs of two detectors."""
    monkeypatch.chdir(tmp_path)
    ours(tmp_path / 'data/own')
    for name, width in (('small', 8), ('wide', 16)):
        write(tmp_path / f'{name}.py', experiment(
            model_cfg(plain_cfg('gfl', width)), param_scheduler=[
                dict(type='MultiStepLR', begin=0, end=2, milestones=[1])],
            auto_scale_lr=dict(enable=False, base_batch_size=3)))
    return tmp_path


def make(*options, student='small.py', teacher='wide.py'):
    main(['make_config', '--data', 'data/own', '--out', 'own', '--student',
          student, '--teacher', teacher, *options])


def test_four_configs_and_the_next_commands(folder, capsys):
    before = sorted(folder.iterdir())
    make()
    said = capsys.readouterr().out
    assert said.startswith(f'Written to own: {", ".join(FILES)}\n- classes: '
                           'cat, dog; 6 images for training, 2 images for ')
    assert said.endswith(
        '  python -m crosskd distil own --alone\n'
        'Or train one detector at a time, the teacher first:\n'
        '  python -m crosskd train own/teacher.py\n'
        '  python -m crosskd train own/distilled.py\n')
    assert sorted(folder.iterdir()) == sorted([*before, folder / 'own'])
    assert sorted(p.name for p in (folder / 'own').iterdir()) == FILES
    for file in (folder / 'own').iterdir():
        assert all(len(line) < 80 or str(folder) in line
                   for line in file.read_text().splitlines()), file
    cfg = Config.fromfile('own/distilled.py')
    assert cfg.model.type == 'CrossKDGFL'
    assert cfg.runner_type == 'DistillationRunner'
    assert cfg.model.teacher_config == f'{folder}/own/teacher.py'
    assert cfg.model.teacher_ckpt == (
        f'{folder}/own/work_dirs/teacher/epoch_2.pth')
    for name in (TEACHER, STUDENT, DISTILLED):
        cfg = Config.fromfile(f'own/{name}')
        assert cfg.work_dir == f'{folder}/own/work_dirs/{name[:-3]}'
        assert cfg.model.bbox_head.num_classes == 2
        assert cfg.auto_scale_lr.enable
        train, val = cfg.train_dataloader.dataset, cfg.val_dataloader.dataset
        assert train.data_root == f'{folder}/data/own'
        assert (train.ann_file, val.ann_file) == ('train.json', 'val.json')
        assert train.data_prefix == val.data_prefix == dict(img='images')
        assert train.metainfo.classes == ('cat', 'dog')
        assert cfg.test_evaluator.ann_file == f'{folder}/data/own/val.json'
    # the same again changes nothing
    make()
    assert capsys.readouterr().out == said


def test_what_data_py_says_holds_everywhere(folder):
    make()
    file = folder / 'own/data.py'
    text = file.read_text()
    for old, new in (('BATCH_SIZE = 3', 'BATCH_SIZE = 5'),
                     ('EPOCHS = 2', 'EPOCHS = 20'),
                     ("('cat', 'dog')", "('cat', )"),
                     ("VAL_ANNOTATIONS = 'val.json'",
                      "VAL_ANNOTATIONS = '/else/val.json'"),
                     ("TRAIN_IMAGES = 'images'", "TRAIN_IMAGES = 'others'")):
        assert old in text, old
        text = text.replace(old, new)
    file.write_text(text)
    for name in (TEACHER, STUDENT, DISTILLED):
        cfg = Config.fromfile(f'own/{name}')
        assert cfg.train_dataloader.batch_size == 5
        assert cfg.train_cfg.max_epochs == 20
        assert cfg.model.bbox_head.num_classes == 1
        assert cfg.val_evaluator.ann_file == '/else/val.json'
        assert cfg.train_dataloader.dataset.data_prefix.img == 'others'
        assert len(cfg.val_dataloader.dataset.metainfo.palette) == 1
    assert cfg.model.teacher_ckpt.endswith('/work_dirs/teacher/epoch_20.pth')


def test_it_trains_from_any_folder(project, tmp_path, monkeypatch):
    """With a teacher that is trained already; no teacher.py then."""
    monkeypatch.chdir(project)
    made = write_configs('data/shapes', tmp_path / 'own', 'plain.py',
                         'teacher.py', 'work_dirs/teacher/epoch_1.pth', True)
    assert made.files == [f for f in FILES if f != TEACHER]
    (tmp_path / 'else').mkdir()
    out = tool('train.py', tmp_path / 'own/distilled.py',
               cwd=tmp_path / 'else')
    assert re.search(r'Epoch\(train\) +\[1\]\[4/4\].* loss_cls_kd: [\d.]+ ',
                     out)
    assert (tmp_path / 'own/work_dirs/distilled/epoch_1.pth').is_file()
    assert not list((tmp_path / 'else').iterdir())


@pytest.mark.slow
def test_the_whole_road(project, tmp_path):
    """Teacher, student, and the student with that teacher."""
    tool(MAIN, 'make_config', '--data', 'data/shapes', '--out',
         tmp_path / 'own', '--student', 'plain.py', '--teacher', 'teacher.py',
         '--trial', cwd=project)
    for name in ('teacher', 'student', 'distilled'):
        tool(MAIN, 'train', f'own/{name}.py', cwd=tmp_path)
        assert (tmp_path / f'own/work_dirs/{name}/epoch_1.pth').is_file()


def test_the_default_pair(folder):
    """A GFL with a ResNet-18 learns from one with a ResNet-50."""
    made = write_configs('data/own', 'own')
    assert any('starts from the published weights of mmdet::gfl/' in line
               for line in made.said)
    cfg = Config.fromfile('own/distilled.py')
    assert cfg.model.backbone.depth == 18
    assert cfg.model.neck.in_channels == [64, 128, 256, 512]
    teacher = Config.fromfile('own/teacher.py')
    assert teacher.model.backbone.depth == 50
    assert teacher.load_from.endswith('.pth') and '://' in teacher.load_from
    for part in (cfg, teacher):
        steps = [step for which in ('train', 'val', 'test')
                 for step in part[f'{which}_dataloader'].dataset.pipeline
                 if step['type'] == 'Resize']
        assert [step['scale'] for step in steps] == [(64, 48)] * 3
        assert part.train_cfg.max_epochs == 12
        warm_up, decay = part.param_scheduler
        assert warm_up.end == 12  # a third of 12 epochs of 3 steps
        assert decay.milestones == [8, 11] and decay.end == 12


def test_a_trial_is_one_epoch_on_few_images(folder):
    put(folder / 'data/own/train.json', coco(names(90)),
        folder / 'data/own/images')
    make('--trial')
    cfg = Config.fromfile('own/student.py')
    assert cfg.train_cfg.max_epochs == cfg.train_cfg.val_interval == 1
    assert cfg.train_dataloader.dataset.ann_file == f'{folder}/own/train.json'
    assert cfg.val_dataloader.dataset.ann_file == 'val.json'
    distilled = Config.fromfile('own/distilled.py')
    assert distilled.model.teacher_ckpt.endswith('teacher/epoch_1.pth')


# -- any two configs ----------------------------------------------------------


def detector(name, tmp_path, trial=False, has_masks=False):
    """The config of a detector on small data, as it is read."""
    content = dict(segmentation=[[1, 1, 9, 1, 9, 9]]) if has_masks else {}
    for part in ('train', 'val'):
        put(tmp_path / f'{part}.json', coco(names(6), **content),
            tmp_path / 'images')
    data = read_data(tmp_path, "--data='x'", tmp_path / 'own', trial)
    made = DetectorConfig(STUDENT, name, read_config(name, '--student'), data,
                          2, trial=trial)
    (tmp_path / 'data.py').write_text('\n'.join([
        'CLASSES, SCALE, BATCH_SIZE, EPOCHS = ("a", "b"), (64, 48), 2, 6',
        'TRAIN = dict(type="CocoDataset", ann_file="train.json")',
        'VAL = dict(type="CocoDataset", ann_file="val.json")',
        'EVALUATOR = dict(type="CocoMetric", ann_file="val.json")']))
    (tmp_path / STUDENT).write_text(made.text())
    return made, Config.fromfile(tmp_path / STUDENT)


def counts(model):
    if isinstance(model, dict):
        own = model.get('num_classes')
        yield from [own] if own is not None else []
        model = model.values()
    for one in model:
        if isinstance(one, (dict, list, tuple)):
            yield from counts(one)


@pytest.mark.parametrize('name, heads', [
    ('mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py', 1),
    ('mmdet::cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py', 3),
    ('mmdet::sparse_rcnn/sparse-rcnn_r50_fpn_1x_coco.py', 6),
    ('mmdet::detr/detr_r50_8xb2-150e_coco.py', 1),
    ('mmdet::dino/dino-4scale_r50_8xb2-12e_coco.py', 1),
    ('mmdet::yolox/yolox_tiny_8xb8-300e_coco.py', 1),
    ('mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py', 1),
    ('mmdet::ssd/ssd300_coco.py', 1),
    ('mmdet::pascal_voc/faster-rcnn_r50_fpn_1x_voc0712.py', 1), (RETINA, 1)])
def test_classes_and_data_of_any_config(tmp_path, name, heads):
    _, cfg = detector(name, tmp_path)
    assert list(counts(cfg.model)) == [2] * heads
    for part in ('train', 'val', 'test'):
        dataset = cfg[f'{part}_dataloader'].dataset
        while 'dataset' in dataset:  # YOLOX's and SSD's are wrapped
            dataset = dataset.dataset
        assert dataset.type == 'CocoDataset'
        assert dataset.ann_file == ('train.json' if part == 'train'
                                    else 'val.json')
        assert dataset.pipeline[0].type.startswith('LoadImage')
        assert '_delete_' not in dataset and 'datasets' not in dataset
        if part != 'train':
            evaluator = cfg[f'{part}_evaluator']
            assert evaluator.type == 'CocoMetric'
            assert evaluator.metric == 'bbox'
    assert cfg.train_dataloader.batch_size == 2


@pytest.mark.parametrize('name, says', [
    (RETINA, []),
    ('mmdet::ssd/ssd300_coco.py', ['keeps the image sizes of']),
    ('mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py',
     ['keeps the image sizes of', 'keeps the schedule of']),
    ('mmdet::yolox/yolox_tiny_8xb8-300e_coco.py',
     ['keeps the image sizes of', 'keeps the schedule of'])])
def test_sizes_and_schedules_that_a_config_keeps(tmp_path, name, says):
    made, cfg = detector(name, tmp_path, trial=True)
    own = read_config(name, 'x')
    assert made.kept == [f'{STUDENT} {what} {name}' for what in says]
    assert cfg.train_cfg.val_interval == 1
    if 'keeps the schedule of' in says:
        assert cfg.train_cfg.max_epochs == 1
        assert made.last_checkpoint == "'epoch_1.pth'"
        assert [one.get('end') for one in cfg.param_scheduler] == [
            one.get('end') for one in own.param_scheduler]
        assert not detector(name, tmp_path)[1].train_cfg.max_epochs == 1
    else:
        assert cfg.train_cfg.max_epochs == 6
        # the warm-up follows what is changed in data.py: at most a third
        file = tmp_path / 'data.py'
        text = file.read_text()
        longest = read_config(name, 'x').param_scheduler[0].end
        for epochs, end in ((6000, longest), (1, 1)):
            file.write_text(text.replace('2, 6\n', f'2, {epochs}\n'))
            found = Config.fromfile(tmp_path / STUDENT)
            assert found.param_scheduler[0].end == end


def test_masks_need_segmentations(tmp_path):
    name = 'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py'
    with pytest.raises(ValueError, match='learns masks, but not every box'):
        detector(name, tmp_path)
    _, cfg = detector(name, tmp_path, has_masks=True)
    assert list(counts(cfg.model)) == [2, 2]
    assert cfg.val_evaluator.metric == ['bbox', 'segm']


def test_a_config_that_counts_steps(tmp_path):
    config = experiment(model_cfg(plain_cfg('gfl')), train_cfg=dict(
        type='IterBasedTrainLoop', max_iters=500, val_interval=50))
    write(tmp_path / 'steps.py', config)
    made, cfg = detector(str(tmp_path / 'steps.py'), tmp_path)
    assert made.last_checkpoint == "'iter_500.pth'"
    assert cfg.train_cfg.max_iters == 500
    made, cfg = detector(str(tmp_path / 'steps.py'), tmp_path, trial=True)
    assert made.last_checkpoint == "'iter_6.pth'"
    assert (cfg.train_cfg.max_iters, cfg.train_cfg.val_interval) == (6, 6)


def test_a_teacher_keeps_another_batch_size_and_schedule(folder):
    text = (folder / 'wide.py').read_text()
    (folder / 'own.py').write_text(
        f"{text}\ntrain_dataloader['batch_size'] = 4\n"
        "train_cfg['max_epochs'] = param_scheduler[0]['end'] = 7\n")
    made = write_configs('data/own', 'made', 'small.py', 'own.py')
    for what in ('batch size', 'schedule'):
        assert f'teacher.py keeps the {what} of ../own.py' in made.said
    teacher, student = (Config.fromfile(f'made/{name}')
                        for name in (TEACHER, DISTILLED))
    assert [one.train_dataloader.batch_size for one in (teacher, student)] == [
        4, 3]
    assert [one.train_cfg.max_epochs for one in (teacher, student)] == [7, 2]
    assert student.model.teacher_ckpt.endswith('/teacher/epoch_7.pth')


def test_features_are_distilled_where_there_is_no_adapter(folder):
    write(folder / 'two_stage.py', experiment(unknown_cfg('faster_rcnn')))
    text = (folder / 'two_stage.py').read_text()
    (folder / 'two_stage.py').write_text(
        re.sub("'num_classes': 3", "'num_classes': 5", text))
    make(student='two_stage.py', teacher='two_stage.py')
    cfg = Config.fromfile('own/distilled.py')
    assert cfg.model.type == 'DistilledDetector'
    assert cfg.model.roi_head.bbox_head.num_classes == 2
    cfg.model.update(teacher_ckpt='random')
    assert build(cfg.model).pair.is_joined


# -- weights ------------------------------------------------------------------


def test_published_weights():
    assert re.match(r'https://.*/retinanet_r50_fpn_1x_coco_\w+-\w+\.pth',
                    published_weights(RETINA))
    assert published_weights(RETINA.replace('r50', 'r77')) is None
    assert published_weights('configs/mine.py') is None


def test_a_checkpoint_need_not_be_named_if_it_is_published(folder,
                                                           monkeypatch):
    monkeypatch.setattr('crosskd.apps.recipes.config_text.published_weights',
                        lambda name: 'random' if name == RETINA else None)
    text = make_config('small.py', RETINA, None, None,
                       teacher_classes=[f'c{n}' for n in range(79)]
                       + ['circle'])
    assert "teacher_ckpt='random'" in text
    with pytest.raises(ValueError, match='TEACHER_CKPT is missing, and there '
                       "are no published weights .*'wide.py'"):
        make_config('small.py', 'wide.py')


# -- refusals -----------------------------------------------------------------


def has_other_files(folder):
    (folder / 'own').mkdir()
    (folder / 'own/data.py').write_text('mine')


def has_a_teacher_of_before(folder):
    make()


def is_a_file(folder):
    (folder / 'own').touch()


def nothing(folder):
    pass


def is_made(folder):
    make()
    (folder / 'own').rename(folder / 'before')


REFUSED = [
    (has_other_files, {},
     r"--out='own': this folder already has data.py, with"),
    (has_a_teacher_of_before,
     dict(options=['--teacher-ckpt', 'random', '--classes', 'cat=circle']),
     r"--out='own': this folder already has distilled.py, teacher.py"),
    (is_a_file, {}, "--out='own': is a file; expected a folder"),
    (nothing, dict(student='gone.py'), "--student='gone.py': no such config"),
    (nothing, dict(teacher='gone.py'), "--teacher='gone.py': no such config"),
    (nothing, dict(options=['--teacher-ckpt', 'gone.pth']),
     r"teacher_ckpt='.*/gone.pth': no such file"),
    (is_made, dict(student='before/distilled.py'),
     '--student=.* is already distilled'),
    (is_made, dict(student='before/student.py'), '--student=.*: '
     'this config has BATCH_SIZE, CLASSES, .* which data.py also has'),
]


@pytest.mark.parametrize('before, given, said', REFUSED)
def test_nothing_is_written_if_it_is_refused(folder, before, given, said):
    before(folder)
    found = {p: p.is_file() and p.read_bytes()
             for p in folder.rglob('*') if p.is_file()}
    with pytest.raises(SystemExit) as ended:
        make(*given.pop('options', ()), **given)
    message = str(ended.value.code)
    assert re.search(said, message), message
    assert '.own.' not in message
    assert {p: p.read_bytes() for p in folder.rglob('*')
            if p.is_file()} == found
    assert not list(folder.glob('.own*'))


@pytest.mark.parametrize('words, said', [
    (['--data', 'x'], '--data needs --out FOLDER'),
    (['--data', 'x', '--out', 'y', 'a.py'],
     "found 'a.py' together with --data"),
    (['--trial', 'a.py', 'b.py'], '--trial needs --data'),
    (['a.py', 'b.py', '--student', 'c.py'], '--student needs --data'),
    (['--data', 'x', '--out', 'y', '--classes', 'a=b'],
     '--classes and --teacher-classes need --teacher-ckpt'),
    ([], 'expected --data DATA, or STUDENT_CONFIG and TEACHER_CONFIG')])
def test_arguments_that_belong_together(capsys, words, said):
    with pytest.raises(SystemExit) as ended:
        main(['make_config', *words])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_a_checkpoint_needs_its_config(tmp_path):
    with pytest.raises(ValueError, match='--teacher-ckpt: expected --teacher'):
        write_configs('data', tmp_path / 'own', teacher_ckpt='a.pth')


# -- text ---------------------------------------------------------------------


def test_values_are_written_as_python():
    value = dict(a=[1, (2, ), {}], b=dict(c='x' * 60), d=Code('len(e)'),
                 f=Code('[\n    one\n]'))
    text = python_text(value)
    assert eval(text, dict(e='12', one=1)) == dict(  # noqa: S307
        a=[1, (2, ), {}], b=dict(c='x' * 60), d=2, f=[1])
    assert text.splitlines()[-4:] == ['    f=[', '        one', '    ],', ')']


def test_the_twin_for_notebooks(folder):
    made = write_configs('data/own', Path('deep/own'), 'small.py', 'wide.py')
    assert made.folder == folder / 'deep/own' and made.files == FILES
