"""What cannot be trained: one error, at once, and nothing is written."""
import copy
import hashlib
import http.server
import json
import re
import shutil
import threading
from functools import partial

import pytest
import torch
from experiments import CLASSES, experiment, model_cfg, write
from helpers import Writes, distiller_cfg, head_cfg, plain_cfg, sdd_cfg
from tool_output import errors, written
from tool_server import run as tool

GONE = object()
KD = 'model.kd_cfg'
TEACHER = 'model.teacher_config'
CKPT = 'model.teacher_ckpt'
SPLIT = f'{KD}.reused_teacher_head_idx'
TRAIN = 'train_dataloader.dataset'
VAL = 'val_dataloader.dataset'
FOCAL = dict(type='FocalLoss')
QFL = dict(type='KDQualityFocalLoss')
KL = dict(type='KnowledgeDistillationKLDivLoss', class_reduction='sum')
SDD = dict(type='SDDLoss', base='bernoulli')


def teacher(**head):
    """A teacher with random weights whose head differs from the student's."""
    head = {**head_cfg('gfl', len(CLASSES)), **head}
    return {TEACHER: dict(model=dict(plain_cfg('gfl', 16), bbox_head=head)),
            CKPT: 'random'}


def square(strides):
    return dict(
        type='AnchorGenerator', ratios=[1.0], octave_base_scale=4,
        scales_per_octave=1, strides=strides)


def data(name, where=TRAIN):
    return {f'{where}.ann_file': f'../../bad/{name}.json'}


UNREACHABLE = dict(
    type='Pretrained', checkpoint='https://127.0.0.1:9/t-12345678.pth')
OTHERS = tuple(f'{name}s' for name in CLASSES)
# name: what is changed, and what the error must say
CASES = dict(
    teacher_config_missing=(
        {TEACHER: 'gone.py'},
        r"FileNotFoundError: teacher_config='gone.py': no such config file"),
    teacher_config_not_python=(
        {TEACHER: 'bad/syntax.py'}, 'ValueError: teacher_config=.*syntax.py'),
    teacher_config_without_model=(
        {TEACHER: 'bad/nothing.py'},
        "ValueError: teacher_config: expected a config with a 'model'"),
    teacher_config_of_unknown_package=(
        {TEACHER: 'nowhere::gfl.py'},
        "FileNotFoundError: teacher_config='nowhere::gfl.py'"),
    teacher_config_a_number=(
        {TEACHER: 3}, 'TypeError: teacher_config must be the path.*found 3'),
    teacher_config_not_given=(
        {TEACHER: GONE}, 'TypeError: teacher_config must be.*found None'),
    teacher_not_a_detector=(
        {TEACHER: dict(model=dict(type='ResNet', depth=18))},
        'TypeError: teacher_config: ResNet is not an mmdet detector'),
    teacher_of_unknown_type=(
        {TEACHER: dict(model=dict(type='GFLL'))},
        "ValueError: teacher_config: .*'GFLL' is not registered.*mean 'GFL'"),
    teacher_two_stage=(
        {TEACHER: 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'},
        'TypeError: teacher_config.model.bbox_head: FasterRCNN has no'),
    teacher_with_an_unknown_head=(
        {TEACHER: 'mmdet::fsaf/fsaf_r50_fpn_1x_coco.py'},
        'TypeError: teacher_config.model.bbox_head: FSAFHead cannot be'),
    schedule_of_epochs_in_a_run_of_iterations=(
        {f'{KD}.schedule': dict(loss_cls_kd=[
            dict(type='StopWeight', begin=280)]),
         'train_cfg': dict(by_epoch=False, max_iters=6)},
        r'ValueError: kd_cfg.schedule.loss_cls_kd: StopWeight counts epochs'),
    checkpoint_missing=(
        {CKPT: 'gone.pth'},
        "FileNotFoundError: teacher_ckpt='gone.pth': no such file"),
    checkpoint_of_an_epoch_that_is_not_there=(
        {CKPT: 'work_dirs/teacher/epoch_9.pth'},
        "no such file .*newest checkpoint in that folder is 'epoch_1.pth': "
        'name it, or .*: python -m crosskd train teacher.py --resume$'),
    checkpoint_not_given=(
        {CKPT: GONE}, 'ValueError: teacher_ckpt=None: a teacher needs'),
    checkpoint_truncated=(
        {CKPT: 'bad/truncated.pth'}, r'truncated.pth.*truncated one \(\d+ by'),
    checkpoint_empty=(
        {CKPT: 'bad/empty.pth'}, r'truncated one \(0 bytes'),
    checkpoint_html=(
        {CKPT: 'bad/page.pth'}, "not a checkpoint.*beginning with b'<!DOCTY"),
    checkpoint_a_list=(
        {CKPT: 'bad/list.pth'}, 'expected a dict with a state_dict, found a'),
    checkpoint_with_code=(
        {CKPT: 'bad/code.pth'}, 'ValueError: .*code.pth.*not on the allow'),
    checkpoint_of_another_architecture=(
        {CKPT: 'bad/fcos.pth'}, 'does not fit the model.*unexpected'),
    checkpoint_of_another_width=(
        {CKPT: 'bad/narrow.pth'}, 'does not fit the model.*misshapen'),
    checkpoint_with_half_the_keys=(
        {CKPT: 'bad/half.pth'}, r'does not fit the model.*: \d+ missing'),
    checkpoint_of_other_classes=(
        {CKPT: 'bad/classes.pth'},
        r'misshapen: bbox_head.gfl_cls.weight \(2, .*expected \(5, '),
    checkpoint_of_the_optimizer=(
        {CKPT: 'bad/optimizer.pth'},
        r"ValueError: .*holds no weights \(its keys: .*'optimizer'"),
    checkpoint_unreachable=(
        {CKPT: 'https://127.0.0.1:9/t-12345678.pth'},
        'FileNotFoundError: .*127.0.0.1:9.*cannot be downloaded'),
    pretrained_unreachable=(
        {'model.backbone.init_cfg': UNREACHABLE},
        'FileNotFoundError: model.backbone.init_cfg.checkpoint=.*cannot be '
        'downloaded .*, or start with random weights: '
        r'model.backbone.init_cfg=None \(in the config, or after '
        r'--cfg-options\)$'),
    pretrained_unreachable_and_annotations_missing=(
        {'model.backbone.init_cfg': UNREACHABLE, **data('gone')},
        'FileNotFoundError: train_dataloader.dataset.ann_file'),
    checkpoint_unreachable_and_annotations_missing=(
        {CKPT: UNREACHABLE['checkpoint'], **data('gone')},
        'FileNotFoundError: train_dataloader.dataset.ann_file'),
    checkpoint_over_http=(
        {CKPT: 'http://127.0.0.1:9/t-12345678.pth'},
        'ValueError: .*use https, or set.*CROSSKD_ALLOW_HTTP=1'),
    split_negative=(
        {SPLIT: -1}, 'ValueError: .*reused_teacher_head_idx must be .*und -1'),
    split_too_large=(
        {SPLIT: 3}, r'between 0 and .*layers \(2 in the student.*found 3'),
    split_not_an_integer=(
        {SPLIT: 1.5}, 'TypeError: .*reused_teacher_head_idx must be an .*1.5'),
    split_not_given=(
        {SPLIT: GONE}, 'TypeError: .*reused_teacher_head_idx must .*None'),
    kd_cfg_missing=({KD: GONE}, 'TypeError: kd_cfg must be a dict, fou'),
    loss_unknown=(
        {f'{KD}.loss_cls_kd': dict(type='KDQualityLoss')},
        'ValueError: kd_cfg.loss_cls_kd: .*KDQualityLoss is not in'),
    loss_of_another_kind=(
        {f'{KD}.loss_cls_kd': FOCAL},
        'TypeError: kd_cfg.loss_cls_kd: expected .*KDQual.*; found FocalLoss'),
    loss_with_an_unknown_key=(
        {f'{KD}.loss_cls_kd': dict(QFL, gamma=2)},
        "TypeError: kd_cfg.loss_cls_kd: .*'gamma'"),
    key_unknown=(
        {f'{KD}.loss_cls_dk': QFL},
        "unknown key 'loss_cls_dk'.*did you mean 'loss_cls_kd'"),
    required_loss_missing=(
        {f'{KD}.loss_reg_kd': GONE}, 'ValueError: kd_cfg: loss_reg_kd is m'),
    weight_negative=(
        {f'{KD}.loss_cls_kd': dict(QFL, loss_weight=-1.0)},
        'loss_cls_kd: .*loss_weight must be finite and >= 0, found -1.0'),
    weight_nan=(
        {f'{KD}.loss_cls_kd': dict(QFL, loss_weight='NAN')},
        'loss_cls_kd: .*loss_weight must be finite and >= 0, found nan'),
    weight_of_mmdets_own_loss_nan=(
        {f'{KD}.loss_reg_kd': dict(type='GIoULoss', loss_weight='NAN')},
        'loss_reg_kd: .*loss_weight must be finite and >= 0, found nan'),
    temperature_zero=(
        {f'{KD}.loss_reg_kd': dict(KL, T=0)},
        'kd_cfg.loss_reg_kd: .*T must be finite and > 0, found 0'),
    sdd_temperature_zero=(
        {f'{KD}.loss_sdd': dict(SDD, temperature=0.0)},
        'kd_cfg.loss_sdd: .*temperature must be finite and > 0, found 0'),
    sdd_scale_zero=(
        {f'{KD}.loss_sdd': dict(SDD, scales=[0])},
        r'kd_cfg.loss_sdd: .*scales must be different positive.*\[0\]'),
    sdd_region_unknown=(
        {f'{KD}.loss_sdd': SDD, f'{KD}.sdd_regions': dict(boxes=dict())},
        "sdd_regions: unknown key 'boxes'.*did you mean 'box'"),
    reduction_sum=(
        {f'{KD}.loss_cls_kd': dict(QFL, reduction='sum')},
        "loss_cls_kd: reduction must be 'mean', found 'sum'"),
    strides_differ=(
        teacher(anchor_generator=square([4, 64, 128])),
        r'no level of the teacher has a stride of the student. Strides: \[\(8'
        r', 8\), .*\(student\) and \[\(4, 4\), .*\(teacher\)'),
    bins_differ=(
        {**teacher(reg_max=16), f'{KD}.prediction': 'student'},
        r'reg_max \+ 1 must be equal, found 9 .* and 17'),
    adapter_unknown=(
        {**teacher(feat_channels=16), f'{KD}.adapter': dict(type='Adaptr')},
        'kd_cfg.adapter: .*Adaptr'),
    adapter_with_an_unknown_key=(
        {**teacher(feat_channels=16),
         f'{KD}.adapter': dict(type='ChannelAdapter', bias=False)},
        'kd_cfg.adapter: .*bias'),
    adapter_a_number=(
        {f'{KD}.adapter': 5}, "kd_cfg.adapter must be a dict with a 'type', "),
    split_of_three_numbers=(
        {SPLIT: (1, 1, 1)}, r'or two integers .* differ .*found \(1, 1, 1\)'),
    split_beyond_the_teachers_layers=(
        {SPLIT: (1, 3)}, "2 in the teacher's head.*found 3"),
    classes_a_list=(
        {f'{KD}.classes': ['circle']}, 'kd_cfg.classes must be a dict from '),
    classes_of_nobody=(
        {f'{KD}.classes': dict(disc='circle')},
        "kd_cfg.classes: 'disc' is not a class of the student, which has ci"),
    classes_that_the_teacher_has_not=(
        {f'{KD}.classes': dict(circle='disc')},
        "kd_cfg.classes: 'disc' is not a class of the teacher, which has ci"),
    teacher_classes_too_few=(
        {f'{KD}.teacher_classes': ('circle', )},
        'kd_cfg.teacher_classes .*: expected 5 names, .* found 1: circle'),
    teacher_classes_a_number=(
        {f'{KD}.teacher_classes': 5},
        'kd_cfg.teacher_classes must be a tuple of names, found 5'),
    distillers_a_dict=(
        {f'{KD}.distillers': dict(type='FeatureDistiller')},
        'kd_cfg.distillers must be a list of configs'),
    distiller_unknown=(
        {f'{KD}.distillers': [dict(type='FeatureDistilled')]},
        r"kd_cfg.distillers\[0\]: no distiller 'FeatureDistilled' is regist"),
    distiller_without_its_loss=(
        {f'{KD}.distillers': [dict(type='FeatureDistiller')]},
        r'kd_cfg.distillers\[0\].*loss_feat_kd'),
    distillers_of_one_loss=(
        {f'{KD}.distillers': [dict(type='PredictionDistiller',
                                   loss_cls_kd=QFL)]},
        "kd_cfg: two distillers return a loss 'loss_cls_kd'"),
    student_of_unknown_type=(
        {'model.type': 'CrosKDGFL'},
        "ValueError: model.type='CrosKDGFL' is not .*; did you mean 'CrossKD"),
    backbone_of_unknown_type=(
        {'model.backbone.type': 'ResNett'},
        "ValueError: model.backbone.type='ResNett' is not .*mean 'ResNet'"),
    student_of_another_family=(
        {'model.type': 'CrossKDFCOS'},
        'TypeError: bbox_head: CrossKDFCOS distils FCOS heads, found GFLHead'),
    student_with_an_unknown_key=(
        {'model.teacher_checkpoint': 'a.pth'},
        "TypeError: model: unknown key 'teacher_checkpoint', CrossKDGFL takes "
        "teacher_config, .*; did you mean 'teacher_ckpt'"),
    neck_with_an_unknown_key=(
        {'model.neck.out_chanels': 8},
        "model.neck: unknown key 'out_chanels', FPN .*mean 'out_channels'"),
    classes_of_student_and_teacher_differ=(
        {**teacher(num_classes=7)},
        'kd_cfg.classes: the student has 5 classes and the teacher 7, so they '
        "are matched by name, but the teacher's checkpoint has no class name"),
    classes_of_head_and_data_differ=(
        {'model.bbox_head.num_classes': 2, **teacher(num_classes=2)},
        'model.bbox_head.num_classes=2: train_dataloader.dataset has 5 class'),
    classes_of_teacher_and_data_differ=(
        {f'{KD}.teacher_classes': OTHERS},
        'kd_cfg.classes: student and teacher have no class in common. The '
        'student has circle, .*, the teacher circles, '),
    classes_misspelt=(
        {f'{TRAIN}.metainfo': dict(classes=('cirle', *CLASSES[1:]))},
        "metainfo.classes: 'cirle' is not a category.*did you mean 'circle'"),
    classes_in_capitals=(
        {f'{TRAIN}.metainfo': dict(classes=('CIRCLE', *CLASSES[1:]))},
        "metainfo.classes: 'CIRCLE' is not a category.*did you mean 'circle'"),
    classes_in_another_order=(
        {f'{TRAIN}.metainfo': dict(classes=CLASSES[::-1])},
        "expected the order of the categories in ann_file, 'circle', "),
    annotations_missing=(
        data('gone'), 'FileNotFoundError: train_dataloader.dataset.ann_file'),
    annotations_truncated=(
        data('truncated'), 'truncated.json.: not JSON, or truncated'),
    annotations_without_categories=(
        data('no_categories'),
        'expected COCO annotations with categories, found none'),
    annotations_without_images=(
        data('no_images'), 'expected COCO annotations with images, found'),
    annotations_of_empty_images=(
        data('no_boxes'), 'no image has a box of the classes'),
    annotations_without_area=(
        data('no_area'), r"annotations\[0\]: .* has no 'area'"),
    annotations_of_no_area=(
        data('zero_area'), r'0 of \d+ boxes are left: \d+ with an area of 0'),
    classes_a_string=(
        {f'{TRAIN}.metainfo': dict(classes='cat')},
        "TypeError: train_dataloader.dataset.metainfo.classes='cat': expec"),
    annotations_of_other_classes=(
        data('other_boxes'), 'no image has a box of the classes'),
    annotations_of_a_list=(
        data('list'), 'ValueError: .*expected COCO annotations'),
    validation_without_categories=(
        data('no_categories', VAL), 'ValueError: val_dataloader.dataset.ann_'),
    images_elsewhere=(
        {f'{TRAIN}.data_prefix': dict(img='gone/')},
        'FileNotFoundError: .*12 of 12 images are not there, .*gone/'),
    evaluator_of_nothing=(
        {'val_evaluator.ann_file': 'gone.json'},
        "FileNotFoundError: val_evaluator.ann_file='gone.json': no such file"),
    load_from_missing=(
        {'load_from': 'gone.pth'}, "FileNotFoundError: load_from='gone.pth'"),
)


@pytest.fixture(scope='module')
def bad(project):
    """The folder ``bad`` of the project, full of it."""
    folder = project / 'bad'
    folder.mkdir()
    (folder / 'syntax.py').write_text('model = dict(')
    (folder / 'nothing.py').write_text('x = 1')
    good = project / 'work_dirs/teacher/epoch_1.pth'
    content = good.read_bytes()
    (folder / 'truncated.pth').write_bytes(content[:len(content) // 2])
    (folder / 'empty.pth').write_bytes(b'')
    (folder / 'page.pth').write_text('<!DOCTYPE html><title>404</title>')
    torch.save([1, 2], folder / 'list.pth')
    torch.save(dict(meta=Writes(folder / 'ran')), folder / 'code.pth')
    checkpoint = torch.load(good, weights_only=False)
    weights = checkpoint.pop('state_dict')
    torch.save(dict(state_dict=dict(list(weights.items())[::2])),
               folder / 'half.pth')
    torch.save(checkpoint, folder / 'optimizer.pth')
    student = project / 'work_dirs/distilled/epoch_2.pth'
    shutil.copy(student, folder / 'narrow.pth')
    head = 'bbox_head.gfl_cls.'
    torch.save({k: v[:2] if k.startswith(head) else v
                for k, v in weights.items()}, folder / 'classes.pth')
    torch.save({k.replace('gfl_', 'conv_'): v for k, v in weights.items()},
               folder / 'fcos.pth')
    _annotations(project, folder)
    return folder


def _annotations(project, folder):
    good = json.loads((project / 'data/shapes/train.json').read_text())

    def save(name, **change):
        (folder / f'{name}.json').write_text(json.dumps({**good, **change}))

    (folder / 'truncated.json').write_text(json.dumps(good)[:-50])
    (folder / 'list.json').write_text('[]')
    save('no_categories', categories=[])
    save('no_images', images=[])
    save('no_boxes', annotations=[])
    save('renamed', categories=[dict(c, name=c['name'] + 's')
                                for c in good['categories']])
    save('other_boxes',
         categories=[*good['categories'], dict(id=99, name='blob')],
         annotations=[dict(a, category_id=99) for a in good['annotations']])
    save('zero_area', annotations=[
        dict(a, area=0) for a in good['annotations']])
    save('no_area', annotations=[
        {k: v for k, v in a.items() if k != 'area'}
        for a in good['annotations']])


def base_cfg():
    model = model_cfg(distiller_cfg('gfl'))
    model.update(teacher_config='teacher.py',
                 teacher_ckpt='work_dirs/teacher/epoch_1.pth')
    return experiment(model, epochs=1)


def changed(cfg, changes):
    cfg = copy.deepcopy(cfg)
    for key, value in changes.items():
        *path, last = key.split('.')
        owner = cfg
        for part in path:
            owner = owner[part]
        if value is GONE:
            del owner[last]
        else:
            owner[last] = copy.deepcopy(value)
    return cfg


@pytest.mark.parametrize('name', CASES)
def test_one_error_and_nothing_written(bad, tmp_path, name):
    changes, words = CASES[name]
    config = bad / f'{name}.py'
    cfg = changed(base_cfg(), changes)
    write(config, cfg)
    # a config cannot spell it otherwise
    config.write_text(config.read_text().replace("'NAN'", "float('nan')"))
    out = tool('train.py', config, '--work-dir', tmp_path, cwd=bad.parent,
               ok=False)
    said = errors(out)
    assert len(said) == 1, out[-3000:]
    assert 'Traceback' not in out
    assert re.search(words, said[0]), said[0]
    assert re.match(r'(ValueError|TypeError|FileNotFoundError|'
                    r'CheckpointError): ', said[0])
    assert not written(tmp_path)
    assert not (bad / 'ran').exists()


def test_there_are_at_least_forty():
    assert len(CASES) >= 40


def test_a_published_hash_is_checked(bad, tmp_path):
    content = (bad.parent / 'work_dirs/teacher/epoch_1.pth').read_bytes()
    right = hashlib.sha256(content).hexdigest()[:8]
    served = tmp_path / 'served'
    served.mkdir()
    for digits in (right, '0badc0de'):
        (served / f't-{digits}.pth').write_bytes(content)
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=served)
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        for digits in (right, '0badc0de'):
            url = f'http://127.0.0.1:{httpd.server_port}/t-{digits}.pth'
            write(bad / 'url.py', changed(base_cfg(), {CKPT: url}))
            out = tool('train.py', bad / 'url.py', '--work-dir', tmp_path,
                       cwd=bad.parent, ok=digits == right,
                       env=dict(TORCH_HOME=str(tmp_path / 'hub'),
                                CROSSKD_ALLOW_HTTP='1'))
        httpd.shutdown()
    assert f'has the hash {right}, expected 0badc0de' in errors(out)[0]


def test_nan_in_an_image_is_named(bad, tmp_path):
    """It is known when the image is read; the step before is kept."""
    (bad / 'spoil.py').write_text('\n'.join([
        'from mmdet.registry import TRANSFORMS',
        '@TRANSFORMS.register_module()',
        'class Spoil:',
        '    def __call__(self, results):',
        "        if results['img_path'].endswith('00007.png'):",
        "            results['img'] = results['img'].astype('float32')",
        "            results['img'][3, 4] = float('nan')",
        '        return results']))
    cfg = base_cfg()
    cfg['custom_imports']['imports'].append('spoil')
    cfg['train_dataloader']['dataset']['pipeline'].insert(
        1, dict(type='Spoil'))
    write(bad / 'nan_image.py', cfg)
    out = tool('train.py', bad / 'nan_image.py', '--work-dir', tmp_path,
               cwd=bad.parent, ok=False, env=dict(PYTHONPATH=str(bad)))
    assert re.match('ValueError: image .*00007.png.* NaN', errors(out)[0])


def test_what_is_only_odd_trains_on(bad, tmp_path):
    """Images without boxes, crowds, tiny and overhanging boxes, and all that
    mmdet does not read: boxes of other images, of other classes, ignored.
    """
    good = json.loads((bad.parent / 'data/shapes/train.json').read_text())
    first = good['images'][0]['id']
    boxes = [a for a in good['annotations'] if a['image_id'] != first]
    boxes[0]['iscrowd'] = 1
    boxes[1]['bbox'] = [60, 60, 30, 30]
    boxes[2]['bbox'] = [5, 5, 0.4, 0.4]
    boxes[3].update(bbox=[0, 0, 0, 0], ignore=True)
    boxes += [dict(boxes[4], id=10**6, image_id=10**6),
              dict(boxes[4], id=10**7, category_id=99, bbox=[0, 0, 0, 0])]
    categories = [*good['categories'], dict(id=99, name='blob')]
    (bad / 'odd.json').write_text(json.dumps(
        {**good, 'annotations': boxes, 'categories': categories}))
    cfg = changed(base_cfg(), data('odd'))
    cfg['train_dataloader']['dataset']['filter_cfg'] = dict(
        filter_empty_gt=False)
    write(bad / 'odd.py', cfg)
    out = tool('train.py', bad / 'odd.py', '--work-dir', tmp_path,
               cwd=bad.parent)
    assert not errors(out)
    assert (tmp_path / 'epoch_1.pth').is_file()


def test_one_bad_box_of_many_is_left_out_and_said(bad, tmp_path):
    """Large published data sets have such boxes."""
    good = json.loads((bad.parent / 'data/shapes/train.json').read_text())
    box = good['annotations'][0]
    boxes = [dict(box, id=n, bbox=[1 + n % 40, 1, 9, 9]) for n in range(500)]
    boxes[7]['bbox'] = [1, 1, 9, 0]
    (bad / 'many.json').write_text(json.dumps({**good, 'annotations': boxes}))
    cfg = changed(base_cfg(), data('many'))
    cfg['train_cfg'].update(val_interval=9)
    write(bad / 'many.py', cfg)
    out = tool('train.py', bad / 'many.py', '--work-dir', tmp_path,
               cwd=bad.parent)
    assert '1 of 500 boxes cannot be used: 1 without size (such as ann' in out
    assert (tmp_path / 'epoch_1.pth').is_file()


def test_sdd_is_checked_alike(bad, tmp_path):
    cfg = experiment(model_cfg(sdd_cfg('gfl', loss=dict(warmup_iters=-1))))
    write(bad / 'sdd.py', cfg)
    out = tool('train.py', bad / 'sdd.py', '--work-dir', tmp_path,
               cwd=bad.parent, ok=False)
    assert 'kd_cfg.loss_sdd: SDDLoss: warmup_iters' in errors(out)[0]
    assert not written(tmp_path)
