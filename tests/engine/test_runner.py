"""Our Runner in the place of mmengine's, with models and data of any kind."""
import copy
from pathlib import Path

import mmdet.registry
import mmengine.registry
import pytest
import torch
from helpers import build, plain_cfg
from mmdet.models.detectors import BaseDetector
from mmengine.config import Config
from mmengine.dataset import DefaultSampler
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.model import BaseDataPreprocessor, BaseModel
from mmengine.optim import LinearLR, MultiStepLR, OptimWrapper
from mmengine.registry import (
    DATASETS,
    HOOKS,
    LOOPS,
    METRICS,
    MODELS,
    DefaultScope,
)
from mmengine.runner import EpochBasedTrainLoop, ValLoop
from mmengine.runner import Runner as MMEngineRunner
from torch import nn
from torch.utils.data import BatchSampler, DataLoader, Dataset

import crosskd.registry
from crosskd.compat.mmengine_logging import quiet
from crosskd.engine.run_checks import warn_of_frozen
from crosskd.engine.runner import DistillationRunner


@MODELS.register_module()
class ToyModel(BaseModel):

    def __init__(self, data_preprocessor=None):
        super().__init__(data_preprocessor=data_preprocessor)
        self.linear = nn.Linear(2, 1)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        inputs = torch.stack(list(inputs))
        outputs = self.linear(inputs)
        if mode == 'loss':
            return dict(loss=outputs.square().sum())
        return [outputs] if mode == 'predict' else outputs


@MODELS.register_module()
class ToyDetector(BaseDetector):
    """One that finds nothing; what it sees are no images."""

    def __init__(self, data_preprocessor=None):
        super().__init__(data_preprocessor=dict(type='BaseDataPreprocessor'))
        self.linear = nn.Linear(2, 1)

    def loss(self, inputs, samples):
        return dict(loss=self.linear(torch.stack(list(inputs))).sum())

    def predict(self, inputs, samples):
        return [inputs]

    def _forward(self, inputs, samples=None):
        return inputs

    def extract_feat(self, inputs):
        return inputs


@DATASETS.register_module()
class ToyDataset(Dataset):
    METAINFO = dict()
    built = 0

    def __init__(self):
        type(self).built += 1
        self.metainfo = dict(toy=True)

    def __len__(self):
        return 12

    def __getitem__(self, index):
        return dict(inputs=torch.full((2, ), float(index)),
                    data_samples=torch.ones(1))


@METRICS.register_module()
class ToyMetric(BaseMetric):

    def process(self, data_batch, data_samples):
        self.results += [1]

    def compute_metrics(self, results):
        return dict(acc=float(len(results)))


@LOOPS.register_module()
class ToyLoop(EpochBasedTrainLoop):
    pass


@HOOKS.register_module()
class ToyHook(Hook):
    trained = 0

    def after_train_iter(self, runner, *args, **kwargs):
        ToyHook.trained += 1


def loader(**kwargs):
    return dict(dataset=dict(type='ToyDataset'), batch_size=3, num_workers=0,
                sampler=dict(type='DefaultSampler', shuffle=False), **kwargs)


TRAIN = dict(
    train_dataloader=loader(),
    train_cfg=dict(by_epoch=True, max_epochs=2, val_interval=1),
    optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01)),
    param_scheduler=dict(type='MultiStepLR', milestones=[1]))
VAL = dict(val_dataloader=loader(), val_cfg=dict(),
           val_evaluator=dict(type='ToyMetric'))
TEST = dict(test_dataloader=loader(), test_cfg=dict(),
            test_evaluator=[dict(type='ToyMetric')])


@pytest.fixture(autouse=True)
def default_scope():
    """Left as it was: every Runner sets its own."""
    before = copy.copy(DefaultScope._instance_dict)
    yield
    DefaultScope._instance_dict = before


@pytest.fixture
def make(tmp_path):
    """Builds our Runner of parts that are configs or objects."""
    made = []

    def make_runner(*parts, **kwargs):
        arguments = dict(
            model=dict(type='ToyModel'), work_dir=str(tmp_path),
            default_scope='mmengine', randomness=dict(seed=0),
            experiment_name=f'{tmp_path.name}_{len(made)}')
        for part in parts:
            arguments.update(copy.deepcopy(part))
        made.append(DistillationRunner(**{**arguments, **kwargs}))
        return made[-1]

    return make_runner


def test_a_built_model_without_a_config(make):
    model = ToyModel()
    runner = make(TRAIN, VAL, TEST, model=model)
    assert runner.model is model and not runner.cfg
    assert runner.model_name == 'ToyModel'
    runner.train()
    assert runner.epoch == 2 and runner.iter == 8


def test_arguments_by_position(tmp_path):
    DistillationRunner(
        dict(type='ToyModel'), str(tmp_path), loader(), None, None,
        *[TRAIN['train_cfg'], None, None, None],
        dict(optimizer=dict(type='SGD', lr=0.01)), default_scope='mmengine',
        experiment_name='by_position').train()


def test_parts_are_configs_until_they_are_used(make):
    runner = make(TRAIN, VAL, TEST)
    for name in ('_train_dataloader', '_val_dataloader', '_test_dataloader',
                 '_train_loop', '_val_loop', '_test_loop', 'optim_wrapper',
                 'param_schedulers'):
        assert isinstance(getattr(runner, name), dict), name
    assert runner._train_dataloader['batch_size'] == 3
    assert runner._train_dataloader['sampler']['type'] == 'DefaultSampler'
    runner.train()
    assert isinstance(runner.train_loop, EpochBasedTrainLoop)
    assert isinstance(runner.train_dataloader, DataLoader)
    assert isinstance(runner.val_loop, ValLoop)
    assert isinstance(runner._test_loop, dict)
    assert isinstance(runner.optim_wrapper, OptimWrapper)


def test_a_data_set_is_built_once_a_loader(make):
    before = ToyDataset.built
    runner = make(TRAIN, VAL)
    runner.train()
    assert ToyDataset.built == before + 2


def test_built_objects_are_used_as_they_are(make):
    model = ToyModel()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    wrapper = OptimWrapper(optimizer)
    scheduler = MultiStepLR(wrapper, milestones=[1])
    data = DataLoader(ToyDataset(), batch_size=4,
                      sampler=DefaultSampler(ToyDataset(), shuffle=False))
    evaluator = Evaluator(ToyMetric())
    runner = make(
        model=model, train_dataloader=data, optim_wrapper=wrapper,
        param_scheduler=scheduler, val_dataloader=data,
        val_evaluator=evaluator, train_cfg=dict(by_epoch=True, max_epochs=1),
        val_cfg=dict(), custom_hooks=[ToyHook()])
    ToyHook.trained = 0
    runner.train()
    assert runner.train_dataloader is data and runner.optim_wrapper is wrapper
    assert runner.param_schedulers == [scheduler]
    assert runner.val_evaluator is evaluator
    assert ToyHook.trained == 3


@pytest.mark.parametrize('what', ['val', 'test'])
def test_validation_and_test_alone(make, what):
    runner = make(dict(val=VAL, test=TEST)[what])
    metrics = getattr(runner, what)()
    assert metrics == dict(acc=4.0)
    with pytest.raises(RuntimeError):
        runner.train()


def test_parts_that_belong_together(make):
    with pytest.raises(ValueError, match='train_dataloader, train_cfg, and'):
        make(train_cfg=dict(by_epoch=True, max_epochs=1))
    with pytest.raises(ValueError, match='val_dataloader, val_cfg, and'):
        make(val_cfg=dict())


def test_build_model_builds_what_it_is_given(make):
    runner = make(TRAIN)
    model = ToyModel()
    assert runner.build_model(model) is model
    assert isinstance(runner.build_model(dict(type='ToyModel')), ToyModel)
    assert runner.build_model(dict(type='ToyModel')) is not runner.model
    with pytest.raises(TypeError):
        runner.build_model('ToyModel')


def test_build_dataloader_is_mmengines(make):
    build_dataloader = DistillationRunner.build_dataloader
    assert build_dataloader is MMEngineRunner.build_dataloader
    built = build_dataloader(loader(), seed=1)
    assert isinstance(built.dataset, ToyDataset)
    assert build_dataloader(built) is built
    with pytest.raises((TypeError, ValueError)):
        build_dataloader(dict(loader(), batch_size='x'))


def test_a_data_preprocessor_beside_the_model(make):
    runner = make(TRAIN, data_preprocessor=dict(type='BaseDataPreprocessor'))
    assert isinstance(runner.model.data_preprocessor, BaseDataPreprocessor)
    assert runner.model.data_preprocessor._non_blocking is False
    runner = make(TRAIN, data_preprocessor=dict(
        type='BaseDataPreprocessor', non_blocking=True))
    assert runner.model.data_preprocessor._non_blocking is True


@MODELS.register_module()
class Batches(BatchSampler):
    pass


@pytest.mark.parametrize('batches', [None, 'built', 'config', 'of built data'])
def test_scale_lr(make, batches):
    """Twelve images, three a step, for a rate that is meant for six."""
    from mmengine.registry import DATA_SAMPLERS
    if 'Batches' not in DATA_SAMPLERS.module_dict:
        DATA_SAMPLERS.register_module(module=Batches)
    data = loader()
    if batches == 'config':  # as COCO's configs have it
        data['batch_sampler'] = dict(type='Batches', drop_last=False)
    elif batches == 'of built data':
        data['dataset'] = ToyDataset()
    elif batches == 'built':
        data = DataLoader(ToyDataset(), batch_size=3)
    runner = make(TRAIN, train_dataloader=data, param_scheduler=None,
                  auto_scale_lr=dict(enable=True, base_batch_size=6))
    runner.train()
    assert runner.optim_wrapper.optimizer.param_groups[0]['lr'] == 0.005


def test_from_cfg_writes_the_config(tmp_path):
    file = tmp_path / 'toy.py'
    file.write_text('\n'.join(
        f'{key} = {value!r}' for key, value in dict(
            model=dict(type='ToyModel'), work_dir=str(tmp_path / 'run'),
            default_scope='mmengine', experiment_name=tmp_path.name,
            **TRAIN, **VAL, **TEST).items()))
    runner = DistillationRunner.from_cfg(Config.fromfile(file))
    assert (tmp_path / 'run/toy.py').is_file()
    assert Config.fromfile(tmp_path / 'run/toy.py').train_dataloader == (
        TRAIN['train_dataloader'])
    runner.train()
    runner.test()
    resumed = DistillationRunner.from_cfg(Config(dict(
        Config.fromfile(file), resume=True, experiment_name=f'{tmp_path}2',
        train_cfg=dict(by_epoch=True, max_epochs=3))))
    resumed.train()
    assert resumed.epoch == 3
    assert Path(resumed.work_dir, 'epoch_3.pth').is_file()


@pytest.mark.parametrize('loop, steps', [
    (dict(type='ToyLoop', max_epochs=1), 4),
    (dict(type='IterBasedTrainLoop', max_iters=5), 5),
    (dict(by_epoch=False, max_iters=6, val_interval=3), 6)])
def test_loops_and_hooks_of_a_projects_own(make, loop, steps):
    ToyHook.trained = 0
    runner = make(TRAIN, VAL, train_cfg=loop, param_scheduler=None,
                  custom_hooks=[dict(type='ToyHook', priority=0)])
    assert isinstance(runner.hooks[0], ToyHook)
    runner.train()
    assert runner.iter == steps == ToyHook.trained


def test_several_optimizers_and_schedulers(make):

    class Two(ToyModel):

        def __init__(self):
            super().__init__()
            self.other = nn.Linear(2, 1)

        def train_step(self, data, optim_wrapper):
            data = self.data_preprocessor(data)
            loss = self(data['inputs'], mode='loss')['loss']
            loss = loss + self.other(torch.stack(data['inputs'])).sum()
            optim_wrapper['a'].zero_grad()
            optim_wrapper['b'].zero_grad()
            loss.backward()
            optim_wrapper['a'].step()
            optim_wrapper['b'].step()
            return dict(loss=loss)

    model = Two()
    runner = make(
        TRAIN, model=model,
        optim_wrapper=dict(
            a=OptimWrapper(torch.optim.SGD(model.linear.parameters(), 1e-3)),
            b=OptimWrapper(torch.optim.SGD(model.other.parameters(), 1e-3))),
        param_scheduler=dict(a=[dict(type='LinearLR')],
                             b=[dict(type='LinearLR')]))
    runner.train()
    assert isinstance(runner.param_schedulers['a'][0], LinearLR)


def test_what_cannot_be_built_is_named_before_the_config_is_written(
        make, tmp_path):
    for change, words in (
        (dict(train_dataloader=loader(persistent_workers=True)),
         'train_dataloader: persistent_workers'),
        (dict(train_dataloader=dict(loader(), sampler=dict(type='No'))),
         'train_dataloader: .*No is not in'),
        (dict(optim_wrapper=dict(type='AmpOptimWrapper', optimizer=dict(
            type='SGD', lr=1.0))), r"optim_wrapper.type='Amp.* \(--amp\) "),
        (dict(optim_wrapper=dict(optimizer=dict(type='SGD', rl=1.0))),
         'optim_wrapper.*rl'),
        (dict(optim_wrapper=dict(optimizer=dict(type='SDG', lr=1.0))),
         "optim_wrapper.* with optimizer.type='SDG'"),
        (dict(load_from='gone.pth'), "load_from='gone.pth': no such"),
        (dict(custom_hooks=[dict(type='EMAHok')]),
         r"custom_hooks\[0\].type='EMAHok' is not in .*mean 'EMAHook'"),
        (dict(default_hooks=dict(logger=dict(type='Loger'))),
         "default_hooks.logger.type='Loger' is not in"),
        (dict(param_scheduler=[dict(type='MultiStep', milestones=[1])]),
         r"param_scheduler\[0\].type='MultiStep' is not in"),
            ):
        if torch.cuda.is_available() and '--amp' in words:
            continue
        with pytest.raises((ValueError, FileNotFoundError), match=words):
            make(TRAIN, cfg=dict(model=1), model=dict(type='ToyDetector'),
                 **change).train()
    assert not list(tmp_path.rglob('*.py'))
    runner = make(TRAIN, VAL, cfg=dict(model=1),
                  model=dict(type='ToyDetector'))
    assert not list(tmp_path.rglob('*.py'))
    runner.train()
    assert {p.parent.name for p in tmp_path.rglob('*.py')} == {
        tmp_path.name, 'vis_data'}


@pytest.mark.parametrize('run', ['val', 'test'])
def test_a_detector_is_tested_without_what_only_training_needs(
        make, tmp_path, run):
    """mmdet's test tool gives the Runner the whole config."""
    lost = dict(loader(), dataset=dict(type='NoSuchDataset'))
    runner = make(TRAIN, VAL, TEST, cfg=dict(model=1),
                  model=dict(type='ToyDetector'), train_dataloader=lost)
    assert getattr(runner, run)() == dict(acc=4.0)
    assert {p.parent.name for p in tmp_path.rglob('*.py')} == {
        tmp_path.name, 'vis_data'}
    with pytest.raises(ValueError, match='NoSuchDataset'):
        runner.train()


def test_another_model_has_its_config_written_at_once(make, tmp_path):
    """As mmengine's Runner does."""
    make(TRAIN, cfg=dict(model=1))
    assert {p.parent.name for p in tmp_path.rglob('*.py')} == {
        tmp_path.name, 'vis_data'}


def test_the_registries_of_mmengine_and_mmdet_have_it(tmp_path):
    """mmdet's train tool asks mmengine's, its test tool mmdet's own."""
    cfg = dict(model=dict(type='ToyModel'), default_scope='mmengine',
               runner_type='DistillationRunner', work_dir=str(tmp_path),
               **TRAIN)
    for index, registry in enumerate((
            mmengine.registry.RUNNERS, mmdet.registry.RUNNERS,
            crosskd.registry.RUNNERS)):
        runner = registry.build(Config(dict(
            copy.deepcopy(cfg), experiment_name=f'{tmp_path}{index}')))
        assert type(runner) is DistillationRunner


def test_a_strategy_is_one_error(tmp_path):
    """mmengine's Runner would not read it, and say nothing."""
    with pytest.raises(ValueError, match='strategy=.*DDPStrategy.*--launcher'):
        DistillationRunner.from_cfg(Config(dict(
            model=dict(type='ToyModel'), work_dir=str(tmp_path / 'run'),
            strategy=dict(type='DDPStrategy'), **TRAIN)))
    assert not (tmp_path / 'run').exists()


def test_what_is_tried_is_silent_and_silences_nothing_else(tmp_path):
    """mmengine's loggers remember what is enabled, and logging forgets it."""
    logger = MMLogger(tmp_path.name, log_file=str(tmp_path / 'log'))
    MMLogger._instance_dict[tmp_path.name] = logger  # as get_instance() does
    try:
        logger.info('first')
        with quiet():
            logger.info('attempt')
            logger.warning('attempt')
            logger.error('an error')
        logger.info('second')
        logger.warning('a warning')
    finally:
        del MMLogger._instance_dict[tmp_path.name]
    said = (tmp_path / 'log').read_text()
    assert 'attempt' not in said
    for words in ('first', 'an error', 'second', 'a warning'):
        assert words in said


def frozen_cfg(**backbone):
    model = plain_cfg('gfl')
    model['backbone'].update(frozen_stages=1, norm_eval=True)
    model['backbone'].update(backbone)
    return model


WEIGHTS = dict(type='Pretrained', checkpoint='resnet18.pth')


@pytest.mark.parametrize('given, words', [
    (dict(model=frozen_cfg()),
     'model.backbone: its frozen layers (frozen_stages=1 and norm_eval=True) '
     'have random weights (no init_cfg, no load_from) and will never train; '
     'set frozen_stages=-1 and norm_eval=False'),
    (dict(model=frozen_cfg(norm_eval=False)), 'set frozen_stages=-1\n'),
    (dict(model=frozen_cfg(frozen_stages=-1)), 'set norm_eval=False\n'),
    (dict(model={**frozen_cfg(), 'init_cfg': WEIGHTS}), ''),
    (dict(model=frozen_cfg(init_cfg=WEIGHTS)), ''),
    (dict(model=frozen_cfg(frozen_stages=-1, norm_eval=False)), ''),
    (dict(model=frozen_cfg(), load_from='a.pth'), ''),
    (dict(model=frozen_cfg(), resume=True), ''),
])
def test_frozen_random_layers_are_warned_of(given, words, monkeypatch):
    said = []
    monkeypatch.setattr('crosskd.engine.run_checks.print_log',
                        lambda text, *args: said.append(f'{text}\n'))
    warn_of_frozen(build(given['model']), given)
    assert len(said) == bool(words)
    assert words in ''.join(said)
