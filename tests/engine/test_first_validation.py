"""What would fail in the first validation is one error before training."""
import copy
import gc
import random
import textwrap
import threading
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from experiments import CLASSES, experiment, model_cfg, same_weights, write
from helpers import plain_cfg
from mmdet.engine.hooks import DetVisualizationHook
from mmdet.evaluation import CocoMetric
from mmdet.registry import METRICS
from mmengine.config import Config
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.hooks import CheckpointHook, Hook
from mmengine.registry import DATASETS, DefaultScope
from mmengine.structures import InstanceData
from tool_output import metrics
from tool_server import run as tool

from crosskd.engine.first_validation import try_validation
from crosskd.engine.runner import DistillationRunner

COCO = dict(type='CocoMetric', ann_file='data/shapes/val.json', metric='bbox')
VOC = dict(type='VOCMetric', metric='mAP')
KEYS = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')


@METRICS.register_module()
class OwnMetric(BaseMetric):
    """Counts; what it computes of all images cannot be had of a few."""
    seen = 0

    def __init__(self, wants='pred_instances', files=()):
        super().__init__()
        self.wants, self.files, self.counts = wants, list(files), []

    def process(self, batch, samples):
        self.counts.append(len(samples))
        self.results += [sample[self.wants] for sample in samples]

    def compute_metrics(self, results):
        raise RuntimeError('these are not all images')


@METRICS.register_module()
class OwnsAFolder(OwnMetric):
    """As CityScapesMetric and CocoPanopticMetric: it goes with the folder."""

    def __init__(self):
        super().__init__()
        self.tmp_dir = TemporaryDirectory()

    def __del__(self):
        self.tmp_dir.cleanup()


@METRICS.register_module()
class OwnResults(CocoMetric):
    """Its results are of another form than those of its base."""

    def process(self, batch, samples):
        self.results += [sample['img_id'] for sample in samples]


class AddsFigures(Hook):
    """A project's, of which a checkpoint may be the best."""

    def after_val_epoch(self, runner, metrics=None):
        """It would."""


class DrawsElsewhere(DetVisualizationHook):
    """A project's: nobody knows where its pictures go."""

    def after_val_iter(self, *args, **kwargs):
        raise RuntimeError('drawn')


class Deploys(Hook):
    """A project's, that makes of the model what can predict."""

    def before_val(self, runner):
        """It would."""


@pytest.fixture(scope='module')
def prepared(shapes_root, tmp_path_factory):
    """A Runner that is about to train, with a hook that draws."""
    scopes = copy.copy(DefaultScope._instance_dict)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(shapes_root)
        cfg = Config(experiment(
            model_cfg(plain_cfg('gfl')), default_scope='mmdet',
            work_dir=str(tmp_path_factory.mktemp('prepared'))))
        cfg.default_hooks['visualization'] = dict(
            type='DetVisualizationHook', draw=True, interval=7)
        cfg.visualizer = dict(type='DetLocalVisualizer', vis_backends=[
            dict(type='LocalVisBackend')])
        run = DistillationRunner.from_cfg(cfg)
        run.prepare_training()
    yield run
    DefaultScope._instance_dict = scopes


@pytest.fixture
def run(prepared, in_shapes_root):
    """The same one, as it was, for each test."""
    kept = {key: getattr(prepared, key) for key in (
        '_val_evaluator', '_val_loop', '_val_dataloader')}
    prepared._val_evaluator = dict(COCO)
    yield prepared
    vars(prepared).update(kept)


def trial(run, **changes):
    vars(run).update(changes)
    try_validation(run, run.model, run._val_dataloader.dataset)


# -- the evaluator -----------------------------------------------------------


@pytest.mark.parametrize('evaluator', [
    COCO, dict(COCO, classwise=True),
    dict(COCO, metric='proposal_fast'), [COCO, VOC, dict(type='OwnMetric')],
    dict(type='Evaluator', metrics=[COCO]), dict(type='OwnMetric'),
    dict(type='DumpDetResults', out_file_path='gone.pkl'),
    dict(COCO, outfile_prefix='gone/results')])
def test_an_evaluator_that_works_is_the_runs_without_results(
        run, evaluator, shapes_root):
    trial(run, _val_evaluator=copy.deepcopy(evaluator))
    assert type(run._val_evaluator) is Evaluator
    for metric in run._val_evaluator.metrics:
        assert metric.results == []
        assert not getattr(metric, 'counts', None)
        assert getattr(metric, 'img_ids', None) is None
    assert not list(shapes_root.glob('gone*'))


def test_an_evaluator_that_was_built_stays_the_one(run):
    """Whoever built it may read it after the training; and it holds what
    cannot be copied.
    """
    metric = OwnMetric()
    metric.lock = threading.Lock()
    built = Evaluator([metric])
    trial(run, _val_evaluator=built)
    assert run._val_evaluator is built and built.metrics == [metric]
    trial(run, _val_evaluator=[metric, COCO])
    assert run._val_evaluator.metrics[0] is metric
    assert not metric.results and not metric.counts


def test_a_metric_keeps_the_folder_that_it_would_remove(run):
    trial(run, _val_evaluator=[dict(type='OwnsAFolder'), COCO])
    gc.collect()
    metric = run._val_evaluator.metrics[0]
    assert Path(metric.tmp_dir.name).is_dir()


def test_results_of_another_form_are_not_computed(run):
    trial(run, _val_evaluator=dict(COCO, type='OwnResults'))


@pytest.mark.parametrize('evaluator, words', [
    (dict(COCO, metric='bbx'), r"^val_evaluator.metric='bbx': cannot be built:"
     " KeyError: .metric should be one of 'bbox', .* got bbx"),
    (dict(COCO, metric='segm'),
     r"^val_evaluator.metric='segm': .*segm is not in results"),
    (dict(COCO, metric_items=['mAPP']),
     r"^val_evaluator.metric_items=\['mAPP'\]: CocoMetric cannot evaluate the "
     'first validation images: KeyError: .*"mAPP" is not supported'),
    (dict(COCO, proposal_nums=(100, )), '^val_evaluator: .*list index out of'),
    (dict(COCO, metrik='bbox'),
     "^val_evaluator.metrik='bbox': cannot be built: TypeError"),
    (dict(COCO, ann_file='gone.json'), "^val_evaluator.ann_file='gone.json': "
     'cannot be built: FileNotFoundError'),
    (dict(type='CocoMetrik'), r"^val_evaluator.type='CocoMetrik' is not .*did "
     "you mean 'CocoMetric'"),
    (dict(COCO, ann_file='teacher.txt'),
     r"^val_evaluator.ann_file='teacher.txt': cannot be built: JSONDecodeErr"),
    ([COCO, dict(VOC, metric='AP')], r"^val_evaluator\[1\].metric='AP': "),
    (dict(metrics=[dict(VOC, iou_thrs=(0.5, ))]),
     r'^val_evaluator.metrics\[0\].*: VOCMetric cannot evaluate'),
    (dict(type='OwnMetric', wants='pred_masks'),
     '^val_evaluator.wants=.*OwnMetric cannot take the predictions .*KeyErr'),
])
def test_an_evaluator_that_fails_names_its_key(run, evaluator, words,
                                               shapes_root):
    (shapes_root / 'teacher.txt').write_text('{} no JSON')
    with pytest.raises(ValueError, match=words):
        trial(run, _val_evaluator=evaluator)


@pytest.mark.parametrize('name, words', [
    ('coco/bbox_mAP_50', None), ('auto', None),
    ('coco/bbox_mAP50', "save_best='coco/bbox_mAP50': .*mean 'coco/bbox_mAP_5"
     r"0'\?; expected 'auto' or one of coco/bbox_mAP, ")])
def test_the_best_checkpoint_goes_by_a_figure_that_is_there(
        run, monkeypatch, name, words):
    hook = next(h for h in run.hooks if isinstance(h, CheckpointHook))
    monkeypatch.setattr(hook, 'save_best', name)
    monkeypatch.setattr(hook, 'key_indicators', [name], raising=False)
    # figures of other metrics may be anything
    trial(run, _val_evaluator=[COCO, dict(type='OwnMetric')])
    # mmengine keeps no best one then
    trial(run, _val_evaluator=dict(COCO, format_only=True,
                                   outfile_prefix='gone/results'))
    if words is None:
        trial(run, _val_evaluator=COCO)
        return
    with pytest.raises(ValueError, match=words):
        trial(run, _val_evaluator=COCO)
    monkeypatch.setattr(run, '_hooks', [*run.hooks, AddsFigures()])
    trial(run, _val_evaluator=COCO)


# -- data, model, pictures ---------------------------------------------------


def with_pipeline(run, change):
    """A data set of the run's images whose pipeline is another one."""
    cfg = copy.deepcopy(run.cfg.val_dataloader.dataset)
    change(cfg.pipeline)
    return DATASETS.build(cfg)


@pytest.mark.parametrize('key', KEYS)
def test_a_pipeline_that_packs_too_little_is_named(run, key):
    dataset = with_pipeline(run, lambda steps: steps[-1].update(
        meta_keys=[k for k in KEYS if k != key]))
    with pytest.raises(ValueError, match='^val_dataloader.dataset.pipeline: '
                       f'its images have no {key} .*Expected .*PackDetInput'):
        try_validation(run, run.model, dataset)


def test_a_pipeline_without_annotations_is_named(run):
    dataset = with_pipeline(run, lambda steps: steps.pop(2))
    run._val_evaluator = dict(VOC)
    with pytest.raises(ValueError, match='^val_dataloader.dataset.pipeline: '
                       'its images have no labels .VOCMetric cannot'):
        try_validation(run, run.model, dataset)


def test_images_that_cannot_be_joined_are_an_error(run, monkeypatch):
    def stack(items):
        raise RuntimeError('stack expects each tensor to be equal size')

    monkeypatch.setattr(run._val_dataloader, 'collate_fn', stack)
    with pytest.raises(ValueError, match='^val_dataloader.collate_fn: cannot '
                       'make a batch of the first validation '):
        trial(run)


def test_a_prediction_that_fails_names_the_part(run, monkeypatch):
    def breaks(*args, **kwargs):
        raise RuntimeError('no such op')

    monkeypatch.setattr(run.model.bbox_head.gfl_cls, 'forward', breaks)
    with pytest.raises(ValueError, match='^model.bbox_head.gfl_cls: cannot '
                       'predict on .*: RuntimeError: no such op'):
        trial(run)
    monkeypatch.setattr(run, '_hooks', [*run.hooks, Deploys()])
    said = []
    monkeypatch.setattr(run.logger, 'warning', said.append)
    trial(run)
    assert len(said) == 1 and said[0].endswith(
        'no such op. Training continues, because Deploys may prepare the '
        'model')


@pytest.mark.parametrize('bad', [float('nan'), None])
def test_without_a_prediction_the_evaluator_is_tried_all_the_same(
        run, monkeypatch, bad):
    """Weights are those that memory held, and scores may be below any."""
    def predict(outs, batch_img_metas, **kwargs):
        count = 0 if bad is None else 3
        return [InstanceData(
            bboxes=torch.full((count, 4), bad or 0.0),
            scores=torch.ones(count), labels=torch.zeros(count).long())
            for _ in batch_img_metas]

    monkeypatch.setattr(run.model.bbox_head, 'predict_by_feat',
                        lambda *outs, **kwargs: predict(outs, **kwargs))
    trial(run)
    with pytest.raises(ValueError, match='mAPP'):
        trial(run, _val_evaluator=dict(COCO, metric_items=['mAPP']))


def test_pictures_that_cannot_be_drawn_are_an_error(run, monkeypatch):
    dataset = with_pipeline(run, lambda steps: None)
    dataset._metainfo['palette'] = [(1, 2, 3)]
    with pytest.raises(ValueError, match='^default_hooks.visualization: '
                       'draw=True: DetLocalVisualizer .visualizer. cannot '
                       'draw .*palette'):
        try_validation(run, run.model, dataset)
    hook = next(h for h in run.hooks if isinstance(h, DetVisualizationHook))
    monkeypatch.setattr(hook, 'draw', False)
    monkeypatch.setattr(run, '_hooks', [*run.hooks, DrawsElsewhere(draw=True)])
    run._val_evaluator = dict(COCO)
    try_validation(run, run.model, dataset)


@pytest.mark.parametrize('shape', [(0, 5), (0, 4)])
def test_boxes_of_another_form_are_left_as_they_are(run, monkeypatch, shape):
    """Rotated ones have five numbers, and scores may be of all classes."""
    scores = torch.zeros(0, 3) if shape[1] == 4 else torch.zeros(0)
    monkeypatch.setattr(
        run.model.bbox_head, 'predict_by_feat', lambda *outs, batch_img_metas,
        **kwargs: [InstanceData(bboxes=torch.zeros(shape), scores=scores,
                                labels=torch.zeros(0).long())
                   for _ in batch_img_metas])
    hook = next(h for h in run.hooks if isinstance(h, DetVisualizationHook))
    monkeypatch.setattr(hook, 'draw', False)
    trial(run, _val_evaluator=dict(type='OwnMetric'))


@pytest.mark.parametrize('loop', [dict(type='OwnLoop'), None])
def test_another_validation_loop_is_left_alone(run, loop):
    broken = dict(COCO, metric='bbx')
    trial(run, _val_evaluator=broken, _val_loop=loop)
    assert run._val_evaluator is broken


# -- nothing changes ---------------------------------------------------------


def state(run):
    hook = next(h for h in run.hooks if isinstance(h, DetVisualizationHook))
    return dict(
        python=random.getstate(), numpy=str(np.random.get_state()),
        torch=torch.get_rng_state().tolist(),
        training=[m.training for m in run.model.modules()],
        gradients=[p.grad for p in run.model.parameters()],
        scalars=sorted(run.message_hub.log_scalars),
        info=sorted(run.message_hub.runtime_info),
        hook={k: v for k, v in vars(hook).items() if k != '_visualizer'},
        meta=run.visualizer.dataset_meta,
        backends=list(run.visualizer._vis_backends),
        files=[p.name for p in Path(run.work_dir).rglob('*')
               if p.is_file() and p.suffix != '.log'])


def test_nothing_is_said(run, recwarn, capsys, log):
    """Such as that a box of weights that are not trained is out of bounds."""
    trial(run)
    assert not recwarn.list and not log.messages
    assert capsys.readouterr() == ('', '')


def test_nothing_changes(run):
    weights = copy.deepcopy(run.model.state_dict())
    run.model.train()
    before = state(run)
    assert before['backends'] and not before['files']
    trial(run)
    assert state(run) == before
    assert weights.keys() == run.model.state_dict().keys()
    assert all(torch.equal(v, weights[k])
               for k, v in run.model.state_dict().items())


def test_a_training_is_the_same_without(project, tmp_path):
    """Its weights, and what its validation finds, to the last bit."""
    (tmp_path / 'untried.py').write_text(textwrap.dedent('''
        from crosskd.engine import before_training
        before_training.try_validation = lambda *args: print('not tried')
    '''))
    cfg = Config.fromfile(project / 'distilled.py')
    cfg.custom_imports.imports.append('untried')
    cfg.dump(tmp_path / 'untried_distilled.py')
    out = tool('train.py', tmp_path / 'untried_distilled.py', '--work-dir',
               tmp_path / 'run', cwd=project,
               env=dict(PYTHONPATH=str(tmp_path)))
    assert out.count('not tried') == 1
    tried = project / 'work_dirs/distilled'
    assert same_weights(tried / 'epoch_2.pth', tmp_path / 'run/epoch_2.pth')
    assert metrics(out) in {metrics(log.read_text())
                            for log in tried.rglob('*.log')}
    _check_terminal(out, tmp_path / 'run')


def _check_terminal(out, work_dir):
    """Overviews are in the log file alone; what is distilled, and what was
    reached, are on both.
    """
    log, = work_dir.rglob('*.log')
    text = log.read_text()
    for said in ('System environment:', 'Config:\n', 'Hooks will be executed'):
        assert said in text and said not in out
    for said in ('Distilling with CrossKD: GFLHead (ResNet-18) teaches',
                 'last checkpoint: ', '  python -m crosskd export '):
        assert text.count(said) == out.count(said) == 1
    assert out.index('Distilling') < out.index('Epoch(train)')
    assert 'OneDL' not in out and 'faster_coco_eval' not in out


def test_an_evaluator_that_fails_is_told_before_anything_is_written(
        project, tmp_path):
    cfg = experiment(model_cfg(plain_cfg('gfl')), val_evaluator=dict(
        COCO, metric='bbx'))
    assert cfg['val_dataloader']['dataset']['metainfo']['classes'] == CLASSES
    write(tmp_path / 'bbx.py', cfg)
    out = tool('train.py', tmp_path / 'bbx.py', '--work-dir', tmp_path / 'run',
               cwd=project, ok=False)
    assert "ValueError: val_evaluator.metric='bbx'" in out
    assert [p.suffix for p in (tmp_path / 'run').rglob('*')
            if p.is_file()] == ['.log']
