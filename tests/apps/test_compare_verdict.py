"""What ``compare`` says: verdict, tables, kinds of errors, groups."""
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from experiments import model_cfg
from helpers import distiller_cfg, plain_cfg
from mmengine.config import Config

from crosskd.apps.compare import format_report
from crosskd.apps.compare.errors_by_kind import counted, kinds
from crosskd.apps.compare.figures import rows as figures
from crosskd.apps.compare.gains import gains
from crosskd.apps.compare.judging import judge
from crosskd.apps.compare.page_pictures import Example, pictures
from crosskd.apps.compare.picture_groups import picture_groups
from crosskd.apps.compare.roles import Role, chosen, roles
from crosskd.apps.compare.table import class_table, format_table
from crosskd.apps.compare.texts import gain, milliseconds, short
from crosskd.apps.compare.verdict import verdict
from crosskd.apps.compare.work_dirs import Group, WorkDir

pytestmark = pytest.mark.torch_only


# -- kinds of errors ----------------------------------------------------------


def box(x, y, w, h, label=1, **more):
    return dict(bbox=[x, y, w, h], category_id=label, **more)


OBJECTS = [box(0, 0, 10, 10), box(100, 0, 10, 10, label=2)]


@pytest.mark.parametrize('wrong, kind', [
    (box(0, 0, 10, 9), 'twice'),  # of the object that is found already
    (box(100, 0, 10, 5), 'other class'),  # IoU 0.5 with the second object
    (box(0, 0, 10, 4), 'misplaced'),  # IoU 0.4
    (box(100, 0, 10, 4), 'background'),  # near an object of another class
    (box(0, 0, 1, 9), 'background'),  # IoU 0.09
    (box(50, 50, 9, 9), 'background')])
def test_a_wrong_box_has_one_kind(wrong, kind):
    right = box(0, 0, 10, 10, score=0.9)
    judged = judge([right, dict(wrong, score=0.5)], OBJECTS, [])
    assert kinds(judged, OBJECTS) == [None, kind]
    found = counted({7: judged, 8: judge([], OBJECTS, [])},
                    {7: OBJECTS, 8: OBJECTS}, 0.3)
    assert found == dict(
        score=0.3, found=1, missed=3,
        wrong={**dict.fromkeys(('twice', 'other class', 'misplaced',
                                'background'), 0), kind: 1})


def test_in_an_image_without_objects_every_box_is_background():
    judged = judge([box(0, 0, 9, 9, score=0.5)], [], [])
    assert kinds(judged, []) == ['background']
    assert kinds(judge([], OBJECTS, []), OBJECTS) == []


# -- roles --------------------------------------------------------------------


def detector(name, model, ckpt='epoch_1.pth', seeds=(0, ), **changes):
    cfg = Config(dict(model=model_cfg(model), default_scope='mmdet'))
    cfg.merge_from_dict(changes)
    members = []
    for seed in seeds:
        one = Config(dict(cfg.to_dict(), randomness=dict(seed=seed)))
        folder = name / f'seed{seed}' if len(seeds) > 1 else name
        members.append(WorkDir(folder, one, folder / ckpt))
    return Group(name.name, tuple(members))


@pytest.fixture
def three(tmp_path):
    """A teacher, a student alone, and a distilled one."""
    return [
        detector(tmp_path / 'teacher', plain_cfg('gfl', 16)),
        detector(tmp_path / 'alone', plain_cfg('gfl')),
        detector(tmp_path / 'distilled', distiller_cfg('gfl'), **{
            'model.teacher_ckpt': str(tmp_path / 'teacher/epoch_9.pth')})]


def test_roles_are_read_from_the_configs(three):
    assert roles(three, [9, 4, 4]) == [
        Role(False, None, None), Role(False, None, None), Role(True, 0, 1)]
    assert roles(three[::2], [9, 4])[1] == Role(True, 0, None)
    assert roles(three[1:], [4, 4])[1] == Role(True, None, 0)
    assert roles(three[2:], [4]) == [Role(True, None, None)]
    # of another size or class
    assert roles(three, [9, 5, 4])[2].baseline is None
    other = Group('fcos', (detector(three[1].members[0].folder,
                                    plain_cfg('fcos')).members))
    assert roles([three[0], other, three[2]], [9, 4, 4])[2].baseline is None


def test_a_teacher_of_the_same_size_is_no_baseline(three):
    assert roles(three[::2], [4, 4])[1] == Role(True, 0, None)
    assert roles(three, [4, 4, 4])[2] == Role(True, 0, 1)


def test_of_several_the_one_with_the_same_config_is_the_baseline(
        three, tmp_path):
    other = detector(tmp_path / 'x', plain_cfg('gfl'), **{
        'model.test_cfg.score_thr': 0.7})
    assert roles([other, *three], [4, 9, 4, 4])[3].baseline == 2
    assert roles([other, three[2]], [4, 4])[1].baseline == 0


def test_a_baseline_can_be_named(three, tmp_path):
    for name in ('teacher', tmp_path / 'teacher'):
        assert chosen(name, three) == 0
    found = roles(three, [9, 4, 4], 0)
    assert [role.baseline for role in found] == [None, 0, 0]
    with pytest.raises(ValueError, match=(
            "^--baseline='alon': expected one of .*, which are teacher, "
            "alone, distilled; did you mean 'alone'")):
        chosen('alon', three)


def test_a_teacher_is_found_where_its_folder_went(three, tmp_path):
    moved = detector(tmp_path / 'moved', plain_cfg('gfl', 16))
    student = three[2].members[0]
    assert roles([moved, three[2]], [9, 4])[1].teacher is None
    (tmp_path / 'moved').mkdir()
    (tmp_path / 'moved/epoch_9.pth').touch()
    student.cfg.model.teacher_config = dict(
        model=moved.members[0].cfg.model.to_dict())
    assert roles([moved, three[2]], [9, 4])[1].teacher == 0
    student.cfg.model.teacher_config.model.backbone.depth = 50
    assert roles([moved, three[2]], [9, 4])[1].teacher is None


# -- gains --------------------------------------------------------------------


def result(ap, boxes=(), seconds=0.0123, parameters=4_200_000, **flops):
    metrics = {key: ap for key in ('AP', 'AP50', 'AP75', 'AP small',
                                   'AP medium', 'AP large')}
    return SimpleNamespace(
        metrics=metrics, classes=dict(cat=ap, dog=None), boxes=None,
        parameters=parameters, every_box=lambda: list(boxes),
        inference=dict(seconds=seconds, images=30, device='CPU, 1 thread'),
        flops=dict(dict(count=1_230_000_000, reason=None, size=[96, 64],
                        not_counted=['aten::mul', 'aten::mul_']), **flops))


def data(images=4):
    """One cat in each image."""
    content = dict(
        images=[dict(id=i, width=99, height=99) for i in range(images)],
        categories=[dict(id=1, name='cat'), dict(id=2, name='dog')],
        annotations=[dict(box(0, 0, 10, 10), id=i + 1, image_id=i, area=100,
                          iscrowd=0) for i in range(images)])
    return SimpleNamespace(content=content, names={1: 'cat', 2: 'dog'},
                           sizes=dict.fromkeys(range(images)))


def finds(images):
    return [dict(box(0, 0, 10, 10), image_id=i, score=0.9) for i in images]


def rows_of(groups, results, found):
    truth = data()
    judged = [{i: judge([b for b in members[0].every_box()
                         if b['image_id'] == i], [box(0, 0, 10, 10)], [])
               for i in range(4)} for members in results]
    return figures(
        groups, results, [[] for _ in groups], found,
        gains(groups, results, found, judged, truth),
        [counted(one, {i: [box(0, 0, 10, 10)] for i in range(4)}, 0.3)
         for one in judged])


@pytest.fixture
def compared(three):
    """The teacher finds all four cats, the others 2 and 3 of them."""
    return rows_of(
        three, [[result(40.0, finds(range(4)), 0.05, 21_000_000)],
                [result(30.0, finds([0, 1]))],
                [result(36.0, finds([1, 2, 3]))]],
        [Role(False, None, None), Role(False, None, None), Role(True, 0, 1)])


def test_the_gain_is_over_the_student_alone(compared):
    teacher, alone, distilled = compared
    assert teacher['gain'] is None and alone['gain'] is None
    found = dict(distilled['gain'])
    low, high = found.pop('interval')
    assert found == dict(
        over='alone', AP=6.0, by_seed=None, std=None, images=4,
        resamples=1000, coverage=95, unlike=[], gained=2, lost=1,
        classes=dict(cat=6.0, dog=None))
    # one image counts 25, and a draw may have only what one of them finds
    assert -101 < low <= -25 and 75 <= high < 101
    assert distilled['objects']['found'] == 3


def test_the_verdict_is_one_paragraph(compared):
    low, high = compared[2]['gain']['interval']
    text, = verdict(compared)
    assert text == (
        'distilled has 36.0 AP, 6.0 more than alone (30.0), the same detector '
        'trained without a teacher. With other test images of the same kind, '
        f'the gain would be between {low:+.1f} and {high:+.1f} (95 % interval '
        'from 1000 resamples of the 4 test images); this includes 0, so the '
        'two may be equally good. Each was trained once; another seed may '
        'change the gain by more than that. It reaches 90 % of the AP of its '
        "teacher (teacher, 40.0) with 20 % of the teacher's parameters (4.20 "
        'M instead of 21.00 M), and takes 12 ms per image instead of 50 ms.')


def test_a_student_may_be_ahead_of_its_teacher(compared):
    compared[0]['metrics']['AP']['mean'] = 20.0
    text, = verdict(compared)
    assert 'a higher AP than its teacher (teacher, 20.0), with 20 %' in text
    assert '180 %' not in text


def test_what_else_differs_is_said(compared, three, tmp_path):
    _, _, distilled = compared
    distilled['gain'].update(unlike=['train_cfg'], interval=(1.5, 9.0), AP=-2)
    text, = verdict(compared)
    assert ' 2.0 less than alone (30.0)' in text
    assert 'Their configs also differ in train_cfg, so distillation' in text
    assert 'between +1.5 and +9.0 (' in text and 'includes 0' not in text
    longer = detector(tmp_path / 'longer', plain_cfg('gfl'),
                      train_cfg=dict(max_epochs=24))
    found = rows_of([longer, three[2]], [[result(30.0)], [result(31.0)]],
                    [Role(False, None, None), Role(True, None, 0)])
    assert found[1]['gain']['unlike'] == ['train_cfg']


def test_without_a_baseline_no_gain_is_claimed(three, compared):
    teacher, alone, distilled = compared
    text, = verdict([teacher, dict(distilled, gain=None)])
    assert text.startswith(
        'distilled has 36.0 AP. There is no gain to show, because no ')
    assert 'more than' not in text and '90 % of the AP' in text
    assert 'None of' not in text
    text, = verdict([teacher, alone])
    assert text.startswith('There is no gain to show, because none of')
    text, = verdict([alone])
    assert text.startswith('alone has 30.0 AP. To see a gain, add')
    text, = verdict([dict(distilled, gain=None, teacher=None)])
    assert text.endswith('It has 4.20 M parameters and takes 12 ms per image.')


def test_with_several_seeds_the_gain_is_seed_by_seed(tmp_path):
    def rows(*seeds):
        groups = [detector(tmp_path / name, model, seeds=some)
                  for name, model, some in zip(
                      ('alone', 'distilled'),
                      (plain_cfg('gfl'), distiller_cfg('gfl')), seeds)]
        ap = [{0: 30.0, 1: 32.0, 2: 28.0}, {0: 35.0, 1: 36.0, 2: 34.5}]
        return rows_of(groups, [
            [result(values[m.seed], finds([0])) for m in group.members]
            for group, values in zip(groups, ap)],
            [Role(False, None, None), Role(True, None, 0)])

    found = rows((0, 1, 2), (2, 1, 0))
    assert found[1]['gain']['by_seed'] == [6.5, 4.0, 5.0]
    assert found[1]['gain']['AP'] == 5.2  # 35.17 - 30.00
    assert found[1]['gain']['std'] == 1.26
    assert 'Over 3 seeds the gain is +5.2 ± 1.3 (mean ± standard' in verdict(
        found)[0]
    found = rows((0, 1), (0, ))
    assert found[1]['gain']['std'] is None
    assert ('distilled was trained once, alone 2 times, with different '
            'seeds, so there is no ±') in verdict(found)[0]
    assert found[1]['gain']['interval'] == (0.0, 0.0)


# -- tables -------------------------------------------------------------------


def test_the_terminal_has_aligned_tables_and_the_verdict(compared):
    compared[0]['detector'] = compared[2]['teacher'] = 'a|b'
    report = format_report(compared)
    assert max(map(len, report.split('\n\n')[0].splitlines())) <= 88
    text = ' '.join(report.split())
    assert text.startswith('distilled has 36.0 AP, 6.0 more than alone (30.0)')
    main, _, objects = format_table(compared).split('\n\n')
    lines = main.splitlines()
    assert len({len(line.replace(r'\|', '||')) for line in lines}) == 1
    assert lines[0].split(' | ')[0] == '| detector '
    assert re.fullmatch(r'\| -+ \|( -+: \|)+', lines[1])
    cells = [[c.strip() for c in re.split(r'(?<!\\)\|', line)[1:-1]]
             for line in lines]
    assert cells[0] == ['detector', 'AP', 'gain', 'AP50', 'AP75',
                        'parameters', 'FLOPs', 'time per image']
    assert cells[2] == [r'a\|b', '40.0', '–', '40.0', '40.0', '21.00 M',
                        '1.23 G', '50 ms']
    assert cells[4] == ['distilled', '36.0', '+6.0', '36.0', '36.0', '4.20 M',
                        '1.23 G', '12 ms']
    rows = [line.replace(' ', '').split('|')[1:-1]
            for line in objects.splitlines()]
    assert rows[0] == ['detector', 'found', 'gained', 'lost', 'missed',
                       'wrong', 'twice', 'otherclass', 'misplaced',
                       'background']
    assert rows[4] == ['distilled', '3', '2', '1', '1', *'00000']
    assert '- Gain: over alone.' in text
    assert 'median over 30 test images' in text and 'CPU, 1 thread' in text
    assert '96 × 64 pixels' in text
    assert 'alone and distilled are the same network, so any ' in text
    assert 'mmengine does not count these operations: mul.' in text


def test_classes_are_sorted_by_their_gain(compared):
    change = compared[2]['gain']['classes']
    for row in compared:
        for name in ('owl', 'bee'):
            row['classes'][name] = row['classes']['cat']
    change.update(owl=-1.0, bee=8.0)
    table = class_table(compared)
    assert table.heads == ['class', 'teacher', 'alone', 'distilled', 'gain']
    assert [(line[0], line[-1]) for line in table.lines] == [
        ('bee', '+8.0'), ('cat', '+6.0'), ('owl', '-1.0'), ('dog', '–')]
    assert '| class ' in format_table(compared, classes=True)


def test_what_cannot_be_counted_is_said(three):
    rows = rows_of(three[:1], [[result(
        1.0, count=None, reason='RuntimeError: no trace')]],
        [Role(False, None, None)])
    text = ' '.join(format_report(rows).split())
    assert '| 4.20 M | – | 12 ms' in text
    assert ('The FLOPs of teacher could not be counted: RuntimeError: no '
            'trace.') in text
    assert 'gain' not in format_table(rows)


def test_numbers_as_texts():
    assert short(999) == '999' and short(999_500) == '1.00 M'
    assert short(11_240_000) == '11.2 M' and short(205_400_000_000) == '205 G'
    assert milliseconds(0.00512) == '5.1 ms'
    assert milliseconds(1.2345) == '1234 ms'
    assert gain(dict(AP=-0.1, std=0.25)) == '-0.1 ± 0.2'
    assert gain(dict(AP=0.0, std=None)) == '0.0'


# -- groups of pictures -------------------------------------------------------


def seen(*found, num=3):
    """An image in which each detector finds some of the objects."""
    truth = [box(20 * i, 0, 10, 10, image_id=0) for i in range(num)]
    return [judge([dict(truth[i], score=0.5) for i in some], truth, [])
            for some in found]


def test_images_are_in_groups_of_what_they_show():
    examples = [
        seen([0, 1, 2], [0, 1, 2]),  # no difference, nothing missed
        seen([0], [0]),  # two that nobody finds
        seen([0, 1], [2]),  # the first finds more; one the other way round
        seen([], [0, 1, 2]),
        seen([0, 1], [0, 1, 2]),
        seen([1], [2])]  # as many of each
    pair = (1, 0)
    names = ['alone', 'distilled']
    lost, gained, nobody = picture_groups(examples, names, pair, 30)
    assert lost.title == 'Objects found by alone, missed by distilled'
    assert (lost.number, lost.images, lost.chosen) == (3, 2, [2, 5])
    assert gained.title == 'Objects found by distilled, missed by alone'
    assert (gained.number, gained.images, gained.chosen) == (6, 4, [3, 4])
    # nobody finds one object of the last image, which is elsewhere
    assert (nobody.number, nobody.images, nobody.chosen) == (3, 2, [1])
    # from the groups in turn
    assert [g.chosen for g in picture_groups(examples, names, pair, 4)] == [
        [2, 5], [3], [1]]
    assert not any(g.chosen for g in picture_groups(
        examples, names, pair, 0))


def test_groups_without_a_baseline_or_with_one_detector():
    examples = [seen([0], [0]), seen([0], [0, 1]), seen([0, 1, 2], [0, 1, 2])]
    some, nobody = picture_groups(examples, ['a', 'b'], None, 30)
    assert (some.chosen, some.number) == ([1], 1)
    assert (nobody.chosen, nobody.number) == ([0], 3)
    wrong = [judge([box(50, 50, 9, 9, score=0.5)], [], [])]
    missed, boxes = picture_groups([[e[0]] for e in examples] + [wrong],
                                   ['a'], None, 30)
    assert (missed.chosen, missed.number) == ([0, 1], 4)
    assert (boxes.chosen, boxes.number) == ([3], 1)


@pytest.mark.parametrize('images, shown, folded', [
    (30, 8, 4), (9, 8, 1), (8, 8, 0), (0, 0, 0)])
def test_a_group_shows_eight_pictures_and_folds_the_rest(
        three, images, shown, folded):
    truth = [dict(box(20 * i, 0, 10, 10), image_id=0) for i in range(2)]
    examples = [Example(i, Path(f'{i}.png'), seen([0], [0, 1], num=2))
                for i in range(12)]
    data = SimpleNamespace(
        boxes=dict.fromkeys(range(12), truth), names={1: 'a<b'},
        sizes={0: (50, 40)}, picture=lambda number: np.zeros((40, 50, 3)))
    rows = [dict(detector='alone', gain=None),
            dict(detector='distilled', gain=dict(over='alone'))]
    text = '\n'.join(pictures(three[1:], rows, examples, data, images))
    before, *after = text.split('<details>')
    assert before.count('<section') == shown
    assert sum(part.count('<section') for part in after) == folded
    if images:
        lost, gained, nobody = text.split('<h3>')[1:]
        assert '<p>None.</p>' in lost and '<p>None.</p>' in nobody
        found = re.search('<p>12 in 12 images(.*?).</p>', gained)[1]
        assert found == ('' if images > 12 else
                         f'; {images} of these images are shown here')
        assert gained.count('<b>a&lt;b</b> found by distilled, missed by '
                            'alone.') == min(images, 12)
    assert f'{folded} more</summary>' in text or not folded
