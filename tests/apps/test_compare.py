"""``compare``: the table, the curves, and the page in a real browser."""
import json
import re
import shutil
import subprocess

import cv2
import pytest
from mmengine.config import Config
from tool_output import metrics
from tool_server import run as tool

from conftest import REPO
from crosskd.apps.compare.curves import panels
from crosskd.apps.compare.data import read_test_sets
from crosskd.apps.compare.judging import (
    disputed,
    found_objects,
    judge,
)
from crosskd.apps.compare.work_dirs import (
    WorkDir,
    group,
    named,
    read_work_dir,
)

BROWSER = next(filter(None, map(shutil.which, (
    'chromium', 'google-chrome', 'chromium-browser'))), None)
CLASS = '<b>circle & co</b>'
# wider than a telephone
PUBLISHED = 'gfl_r18_fpn_1x_coco_with_a_name_that_is_very_long'
# looks into the page as it is shown, in frames of two widths
PROBE = '''<!doctype html><body><script>
const look = async frame => {
  const page = frame.contentDocument, seen = frame.contentWindow;
  const photos = [...page.querySelectorAll('image')];
  const wide = await Promise.all(photos.map(async photo => {
    const image = new Image(); image.src = photo.href.baseVal;
    await image.decode(); return image.naturalWidth }));
  const width = e => e.getBoundingClientRect().width;
  return {
    photos: wide, shown: [
      ...photos, ...page.querySelectorAll('.photo use')].map(width),
    curves: [...page.querySelectorAll('.curves path')].map(
      width).filter(w => w > 50).length,
    labels: [...page.querySelectorAll('svg[role=img]')].map(
      e => e.getAttribute('aria-label')),
    heads: [...page.querySelectorAll('h1, h2')].map(e => e.innerText),
    rows: [...page.querySelectorAll('table')].map(table => [
      ...table.querySelectorAll('tr')].map(row => [...row.children].map(
      cell => cell.textContent))),
    texts: [...page.querySelectorAll('.photo text')].map(e => e.textContent),
    captions: [...page.querySelectorAll('figcaption')].map(e => e.innerText),
    overflow: page.documentElement.scrollWidth - seen.innerWidth,
    ground: seen.getComputedStyle(page.body).backgroundColor,
    fetched: seen.performance.getEntriesByType('resource').map(e => e.name)
      .filter(name => !name.startsWith('data:')) } };
const frames = [390, 1280].map(width => {
  const frame = document.createElement('iframe');
  frame.width = width; frame.height = 900; frame.srcdoc = TEXT;
  document.body.append(frame);
  return new Promise(done => { frame.onload = () => done(look(frame)) }) });
Promise.all(frames).then(found => {
  document.body.innerHTML = ''; document.body.append(JSON.stringify(found)) })
</script>'''


@pytest.fixture(scope='module')
def folder(project, tmp_path_factory):
    """Trained detectors of a class whose name HTML would swallow.

    Besides those of ``project``: another seed, and a detector without a log
    that detects nothing.
    """
    folder = tmp_path_factory.mktemp('compare') / 'project'
    shutil.copytree(project, folder)
    runs = folder / 'work_dirs'
    for file in (*runs.rglob('*.py'), folder / 'data/shapes/val.json'):
        text = file.read_text()
        quote = '"' if file.suffix == '.json' else "'"
        file.write_text(text.replace(f'{quote}circle{quote}',
                                     f'{quote}{CLASS}{quote}'))
    shutil.copytree(runs / 'distilled', runs / 'distilled_again')
    for file in (runs / 'distilled_again').rglob('*.py'):
        file.write_text(file.read_text().replace('seed=0', 'seed=1'))
    published = folder / PUBLISHED
    published.mkdir()
    text = (runs / 'teacher/teacher.py').read_text()
    assert 'score_thr=0.0' in text
    (published / 'teacher.py').write_text(
        text.replace('score_thr=0.0', 'score_thr=1.0'))
    shutil.copy(runs / 'teacher/epoch_1.pth', published / 'teacher-1.pth')
    return folder


def compared(folder, *args):
    return tool(
        'compare.py', 'work_dirs/teacher', 'work_dirs/distilled',
        'work_dirs/distilled_again', PUBLISHED, '--score', '0.02',
        '--images', '3', *args, cwd=folder)


@pytest.fixture(scope='module')
def output(folder):
    return compared(folder, '--classes')


def table(text, head):
    """Markdown tables of this head: the cells of a line by its first."""
    found = {}
    for part in text.split('\n\n'):
        lines = [[c.strip() for c in line.strip('|').split(' | ')]
                 for line in part.splitlines() if line.startswith('| ')]
        if lines and lines[0][0] == head:
            for first, *rest in lines[2:]:
                found.setdefault(first, {}).update(zip(lines[0][1:], rest))
    return found


def test_the_table_has_what_the_test_tool_measures(folder, output):
    rows = table(output, 'detector')
    assert list(rows) == ['teacher', 'distilled', PUBLISHED]
    measured = metrics(tool('test.py', 'work_dirs/distilled/distilled.py',
                            'work_dirs/distilled/epoch_2.pth', cwd=folder))
    saved = json.loads((folder / 'compare/compare.json').read_text())
    teacher, student, silent = saved['detectors']
    assert student['metrics']['AP']['values'] == [
        pytest.approx(100 * float(measured.split()[0]))] * 2
    # the copy has another seed only
    assert student['seeds'] == [0, 1] and student['metrics']['AP']['std'] == 0
    assert rows['distilled']['AP'].endswith(' ± 0.0')
    assert rows['distilled']['trained'] == '2 times'
    assert silent['metrics']['AP']['mean'] == 0
    assert rows[PUBLISHED]['training step'] == '–'
    assert teacher['step_time'] > 0
    assert silent['parameters'] == teacher['parameters'] > student[
        'parameters'] > 10000
    by_class = table(output, 'class')
    assert list(by_class) == saved['classes']
    assert CLASS in saved['classes'] and len(saved['classes']) == 5


def test_speed_errors_and_verdict_are_in_all_that_is_written(folder, output):
    saved = json.loads((folder / 'compare/compare.json').read_text())
    teacher, student, silent = saved['detectors']
    rows = table(output, 'detector')
    assert (teacher['distilled'], student['distilled']) == (False, True)
    assert student['teacher'] == 'teacher' and student['gain'] is None
    verdict, = saved['verdict']
    assert verdict in ' '.join(output.split())
    assert 'There is no gain to show' in verdict
    assert '% of the AP of its teacher (teacher, ' in verdict
    for row in saved['detectors']:
        assert row['inference'].keys() == {'seconds', 'images', 'device'}
        assert row['inference']['seconds'] > 0
        assert row['inference']['device'] == 'CPU, 1 thread'
        assert rows[row['detector']]['time per image'].endswith(' ms')
        assert row['flops']['size'] == [64, 64]
    # of the same images, once for each
    assert silent['flops'] == teacher['flops']
    assert 1e6 < student['flops']['count'] < teacher['flops']['count'] < 1e9
    # every object is found or missed
    numbers = {row['objects']['found'] + row['objects']['missed']
               for row in saved['detectors']}
    truth = json.loads((folder / 'data/shapes/val.json').read_text())
    assert numbers == {len(truth['annotations'])}
    assert silent['objects']['found'] == 0
    assert not any(silent['objects']['wrong'].values())


def test_a_baseline_that_is_not_there_is_one_line(folder, output):
    out = tool('compare.py', 'work_dirs/teacher', 'work_dirs/distilled',
               '--baseline', 'techer', cwd=folder, ok=False)
    assert ("--baseline='techer': expected one of the compared work "
            'directories, or one of their names, which are teacher, '
            "distilled; did you mean 'teacher'?\n") in out


@pytest.mark.skipif(BROWSER is None, reason='no Chromium or Chrome here')
def test_the_page_in_a_browser(folder, output, tmp_path):
    text = (folder / 'compare/compare.html').read_text()
    links = re.findall(r'(?:href|src|url)\s*[=(]\s*"?([^">)]*)', text)
    assert links and all(re.match('#|data:image/jpeg', a) for a in links)
    probe = tmp_path / 'probe.html'
    probe.write_text(PROBE.replace('TEXT', json.dumps(text).replace(
        '</', r'<\/')))
    grounds = []
    for options in [], ['--force-dark-mode']:
        done = subprocess.run(
            [BROWSER, '--headless', '--no-sandbox', '--disable-gpu',
             '--enable-logging=stderr', '--virtual-time-budget=9000',
             f'--user-data-dir={tmp_path / "profile"}', *options,
             '--dump-dom', probe.as_uri()],
            text=True, check=True, capture_output=True, timeout=120)
        assert 'CONSOLE' not in done.stderr
        found = re.search(r'<body>(\[.*\])</body>', done.stdout, re.S)
        assert found, done.stdout[-2000:]
        pages = json.loads(
            found[1].replace('&lt;', '<').replace('&gt;', '>').replace(
                '&amp;', '&'))
        grounds += [page['ground'] for page in pages]
        for page in pages:
            assert page['overflow'] <= 0 and not page['fetched']
            assert page['photos'] == [64] * 3
            assert len(page['shown']) == 12 and min(page['shown']) > 100
            assert page['curves'] >= 4
            assert all(page['labels'])
            assert page['heads'][0] == f'teacher · distilled · {PUBLISHED}'
            *tables, classes = page['rows']
            assert len(tables) == 3
            for rows in tables:
                assert [row[0] for row in rows] == [
                    'detector', 'teacher', 'distilled', PUBLISHED]
            assert tables[0][0][1:3] == ['AP', 'AP50']
            assert CLASS in [row[0] for row in classes]
            assert any(t.startswith(CLASS) for t in page['texts'])
            assert len(page['captions']) == 12
            assert re.fullmatch(r'ground truth\n\d+ objects?',
                                page['captions'][0])
    light, dark = set(grounds[:2]), set(grounds[2:])
    assert light == {'rgb(255, 255, 255)'} and len(dark) == 1 != light & dark


def test_curves_and_pictures_are_drawn(folder, output):
    for name in ('curves', 'pictures'):
        pixels = cv2.imread(str(folder / f'compare/{name}.png'))
        assert pixels.std() > 10
    training = [dict(lr=0.1, step=s, epoch=1, loss=4 / s, loss_cls_kd=1 / s,
                     grad_norm=1.0) for s in (2, 1)]
    history = [*training, {'step': 1, 'coco/bbox_mAP': 0.25}]
    ap, kd = panels([[history], [[]]])  # no sum of losses
    assert ap.lines == {0: [[(1, 25.0)]], 1: [[]]} and ap.x == 'epoch'
    assert kd.title == 'loss_cls_kd'
    assert kd.lines == {0: [[(1, 1.0), (2, 0.5)]], 1: []}


def test_what_cannot_be_compared_is_one_line(folder):
    out = tool('compare.py', 'work_dirs/teacher', 'gone', cwd=folder, ok=False)
    assert re.search(r'^python tools/compare.py: gone: no such folder '
                     r'\(looked from .*\); expected the work directory .*\n\Z',
                     out, re.M)
    assert not (folder / 'gone').exists()
    out = tool('compare.py', 'gone', '--score', '30', cwd=folder, ok=False)
    assert 'error: expected --images of 0 or more and --score of 0 to 1' in out


@pytest.mark.slow
def test_it_continues_where_it_was(folder, output):
    assert output.count(': evaluating ') == 4
    kept = folder / 'work_dirs/distilled/compare/predictions.json'
    before = kept.read_text()
    (folder / 'work_dirs/distilled_again/compare/result.json').write_text('{')
    shutil.copy(folder / 'work_dirs/distilled/epoch_1.pth',
                folder / 'work_dirs/distilled/epoch_2.pth')
    again = compared(folder)
    assert again.count('is already evaluated\n') == 2
    assert 'distilled: evaluating epoch_2.pth\n' in again
    assert kept.read_text() != before
    assert {f.name for f in kept.parent.iterdir()} == {
        'predictions.json', 'result.json'}


def box(x, y, w, h, label=1, **more):
    return dict(bbox=[x, y, w, h], category_id=label, **more)


OBJECTS = [box(0, 0, 10, 10), box(20, 0, 10, 10)]


@pytest.mark.parametrize('boxes, found', [
    ([box(0, 0, 10, 10)], [0]),
    ([box(0, 0, 10, 10, label=2)], [-1]),
    ([box(0, 0, 10, 4)], [-1]),  # IoU 0.4
    ([box(0, 0, 10, 5)], [0]),
    ([box(0, 0, 10, 10), box(0, 0, 10, 10)], [0, -1]),  # found before
    ([box(50, 50, 10, 10), box(21, 0, 10, 10)], [-1, 1]),
    ([], []),
])
def test_a_box_is_right_once_for_an_object(boxes, found):
    assert found_objects(boxes, OBJECTS) == found
    assert found_objects(boxes, []) == [-1] * len(boxes)


def test_detectors_differ_by_what_they_find():
    right, wrong = box(0, 0, 10, 10, score=0.5), box(50, 50, 9, 9, score=0.9)
    crowd = box(45, 45, 30, 30)
    one = judge([right, wrong], OBJECTS, [])
    assert one.boxes == (wrong, right) and one.found == (-1, 0)
    assert (one.right, one.wrong, one.missed) == ({0}, 1, 1)
    none, crowded = judge([], OBJECTS, []), judge([wrong], OBJECTS, [crowd])
    assert crowded == none
    assert disputed([one, none]) == [0] and disputed([one, one]) == []


def work_dir(name, checkpoint='last.pth', **changes):
    cfg = Config(dict(
        model=dict(type='GFL', teacher_ckpt=f'{name}/teacher.pth'),
        randomness=dict(seed=0), work_dir=name, resume=False, load_from=None,
        lr=1))
    cfg.merge_from_dict(changes)
    return WorkDir(cfg.work_dir, cfg, checkpoint)


@pytest.mark.parametrize('changes, together', [
    ({'randomness.seed': 1}, True),
    ({'randomness.seed': 1, 'lr': 2}, False),
    ({'randomness.seed': 1, 'model.type': 'ATSS'}, False),
    # another teacher of the same config may be the seed's own
    ({}, False),
    ({'model.teacher_ckpt': 'a/teacher.pth'}, True),
    ({'randomness.seed': 1, 'resume': True, 'load_from': 'epoch_1.pth'}, True),
    ({'randomness.seed': 1, 'load_from': 'coco.pth'}, False),
], ids=str)
def test_what_differs_by_seed_only_is_one_row(changes, together):
    found = group([work_dir('a'), work_dir('b', **changes)])
    assert len(found) == 2 - together


def test_rows_have_names_that_tell_them_apart(tmp_path):
    def names(*groups):
        return [g.name for g in named([
            [WorkDir(tmp_path / f, None, None) for f in one]
            for one in groups])]

    assert names(['x/gfl'], ['x/atss']) == ['gfl', 'atss']
    assert names(['x/0/gfl', 'x/1/gfl'], ['y/0/gfl']) == [
        'x/0/gfl', 'y/0/gfl']
    assert names(['x/gfl_seed0', 'x/gfl_seed1']) == ['gfl_seed']
    with pytest.raises(ValueError, match='1 given for 2 detectors'):
        named([[work_dir('a')], [work_dir('b')]], ['a'])


@pytest.mark.parametrize('files, which, chosen', [
    (['epoch_2.pth', 'epoch_10.pth'], 'last', 'epoch_10.pth'),
    (['best_coco_bbox_mAP_epoch_1.pth', 'iter_9.pth'], 'last', 'iter_9.pth'),
    (['best_coco_bbox_mAP_epoch_1.pth', 'iter_9.pth'], 'best',
     'best_coco_bbox_mAP_epoch_1.pth'),
    (['gfl_r50-1234abcd.pth'], 'last', 'gfl_r50-1234abcd.pth'),
    (['a.pth', 'b.pth'], 'last', r'choose a checkp.* found a\.pth, b\.pth'),
    ([], 'last', 'choose a checkpoint; .* found none'),
    (['epoch_1.pth'], 'best', r'no best_\*\.pth; .*save_best'),
])
def test_a_checkpoint_is_chosen_or_missed(tmp_path, files, which, chosen):
    config = 'model = test_dataloader = test_evaluator = dict(a=1)'
    (tmp_path / 'gfl.py').write_text(config)
    for name in files:
        (tmp_path / name).touch()
    if chosen in files:
        assert read_work_dir(tmp_path, which).checkpoint.name == chosen
        # written by mmengine before the folder was moved
        (tmp_path / 'last_checkpoint').write_text('/moved/epoch_2.pth')
        last = read_work_dir(tmp_path, which).checkpoint.name
        assert last == ('epoch_2.pth' if 'epoch_2.pth' in files else chosen)
    else:
        with pytest.raises(FileNotFoundError, match=chosen):
            read_work_dir(tmp_path, which)


def test_checkpoints_may_be_elsewhere(tmp_path):
    """As with ``default_hooks.checkpoint.out_dir``; here is before there."""
    folder, other = tmp_path / 'w', tmp_path / 'disk/w'
    folder.mkdir()
    other.mkdir(parents=True)
    (folder / 'gfl.py').write_text(
        'model = test_dataloader = test_evaluator = dict(a=1)')
    note = folder / 'last_checkpoint'
    note.write_text(str(other / 'epoch_3.pth'))
    with pytest.raises(FileNotFoundError, match=r'w and .*disk/w: cannot ch'):
        read_work_dir(folder)
    for name in ('epoch_3.pth', 'epoch_4.pth', 'best_epoch_2.pth'):
        (other / name).touch()
    assert read_work_dir(folder).checkpoint == other / 'epoch_3.pth'
    assert read_work_dir(folder, 'best').checkpoint == (
        other / 'best_epoch_2.pth')
    note.write_text(str(other / 'epoch_9.pth'))
    assert read_work_dir(folder).checkpoint == other / 'epoch_4.pth'
    (folder / 'epoch_9.pth').touch()
    assert read_work_dir(folder).checkpoint == folder / 'epoch_9.pth'


@pytest.mark.parametrize('files, said', [
    ({}, 'no config found; expected'),
    ({'a.py': '', 'b.py': ''}, r'several configs, .*: a\.py, b\.py'),
    ({'a.py': 'model ='},
     r": config='/.*/a\.py': cannot be read: SyntaxError"),
    ({'a.py': 'model = dict()'},
     'but it has no test_dataloader, test_evaluator')])
def test_a_folder_without_a_config_is_an_error(tmp_path, files, said):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises((FileNotFoundError, ValueError), match=said):
        read_work_dir(tmp_path)


@pytest.mark.parametrize('change, said', [
    ({'test_evaluator.ann_file': 'data/shapes/train.json'},
     'a and b have different test sets: .*val.json and .*train.json'),
    ({'test_dataloader.dataset.metainfo.classes': ('star', 'heart')},
     "different classes in .*: 'circle', .* in the first, 'heart' only"),
    ({'test_dataloader.dataset.metainfo.classes': ('star', 'circle'),
      'test_evaluator.ann_file': 'data/shapes/val.json'},
     "different classes .* 'square', .* none only in the s"),
    ({'test_evaluator.ann_file': 'gone.json'}, "b: .*'gone.json' does not"),
    ({'test_evaluator.type': 'VOCMetric'}, 'b: no CocoMetric in'),
    ({'test_evaluator.format_only': True}, 'b: its .* is format_only')])
def test_test_sets_must_be_the_same(shapes_root, monkeypatch, change, said):
    monkeypatch.chdir(shapes_root)
    cfg = Config.fromfile(
        REPO / 'configs/demo/gfl_r18w8_shapes.py')
    other = Config.fromfile(cfg.filename)
    other.merge_from_dict(change)
    with pytest.raises((FileNotFoundError, ValueError), match=said):
        read_test_sets([WorkDir('a', cfg, 'x'), WorkDir('b', other, 'x')])


def test_classes_must_be_in_the_annotations(shapes_root, monkeypatch):
    monkeypatch.chdir(shapes_root)
    cfg = Config.fromfile(REPO / 'configs/demo/gfl_r18w8_shapes.py')
    cfg.test_dataloader.dataset.metainfo.classes = ('star', 'heart')
    with pytest.raises(ValueError, match="^a: .*val.json has no 'heart';.*"
                       "'circle', 'square'"):
        read_test_sets([WorkDir('a', cfg, 'x')])
