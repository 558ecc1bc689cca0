"""The text of teacher.py and student.py, which use the data of data.py."""
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from mmengine.config import Config

from ...errors import ConfigValueError
from .num_classes import all_counts, replaced_counts
from .own_data import Data
from .plain import class_names
from .python_text import SPREAD, Code, python_text

EPOCHS = '_base_.EPOCHS'
BATCH_SIZE = '_base_.BATCH_SIZE'
# transforms that change the size of an image, other than Resize
SIZING = re.compile('Affine|Choice|Crop|Expand|MixUp|Mosaic|Pad|Resize')
KEPT = 2  # checkpoints; by default all are kept
LOADERS = ('train', 'val', 'test')
WHAT = dict(teacher='The teacher', student='The student without a teacher')


@dataclass
class DetectorConfig:
    """A config of one detector on a user's data.

    Attributes:
        name: the file name, such as ``'student.py'``.
        base: the config that it inherits, as written in ``_base_``.
        cfg: that config, with ``changes``.
        data: the data set.
        batch_size: images per GPU in a step.
        changes: the differences in ``model``, apart from the classes.
        weights: the weights to start from; None for those of ``base``.
        trial: whether it trains for one epoch only.
        shares_batch_size, shares_epochs: whether it uses those of data.py, if
            it can.
    """
    name: str
    base: str
    cfg: Config
    data: Data
    batch_size: int
    changes: Mapping[str, Any] = field(default_factory=dict)
    weights: str | None = None
    trial: bool = False
    shares_batch_size: bool = True
    shares_epochs: bool = True

    def share_with(self, student: 'DetectorConfig') -> None:
        """Use the values of data.py that both configs have in common."""
        self.shares_batch_size = self.batch_size == student.batch_size
        self.shares_epochs = (student.goes_by_epochs
                              and self.own_epochs == student.own_epochs)

    @property
    def scales(self) -> bool:
        """Whether its images are resized by ``SCALE``.

        They are if only Resize changes their size, and keeps the ratio of
        their sides.
        """
        steps = [step for part in ('train', 'val')
                 for step in _all_steps(self._loader(part)['dataset'])]
        resizes = [step for step in steps if _kind(step) == 'Resize']
        return bool(resizes) and all(
            step.get('keep_ratio') and 'scale' in step
            for step in resizes) and not any(
                SIZING.search(_kind(step)) for step in steps
                if _kind(step) != 'Resize')

    @property
    def own_epochs(self) -> int | None:
        """The epochs of the config; None if it counts iterations."""
        return (self.cfg.get('train_cfg') or {}).get('max_epochs')

    @property
    def epochs(self) -> int | None:
        """The epochs of a training on the user's data."""
        return 1 if self.trial else self.own_epochs

    @property
    def goes_by_epochs(self) -> bool:
        """Whether its schedule can be adapted to any number of epochs.

        It cannot if a hook acts in a certain epoch.
        """
        return (self.shares_epochs and self.own_epochs is not None
                and 'epoch' not in str(self.cfg.get('custom_hooks')) and all(
                    _fits_any_length(one, self.own_epochs)
                    for one in self._schedulers))

    @property
    def kept(self) -> list[str]:
        """Settings that it keeps although data.py has others, as sentences."""
        said = []
        if not self.scales:
            said.append(f'{self.name} keeps the image sizes of {self.base}')
        if not self.goes_by_epochs:
            said.append(f'{self.name} keeps the schedule of {self.base}')
        if not self.shares_batch_size:
            said.append(f'{self.name} keeps the batch size of {self.base}')
        if not (self.cfg.get('auto_scale_lr') or {}).get('base_batch_size'):
            said.append(f'{self.name} keeps the learning rate of {self.base}: '
                        'this config has no auto_scale_lr.base_batch_size')
        return said

    @property
    def last_checkpoint(self) -> str:
        """The name of its last checkpoint, as an expression in a config."""
        if self.goes_by_epochs:
            return f"f'epoch_{{{EPOCHS}}}.pth'"
        if self.own_epochs is not None:
            return f"'epoch_{self.epochs}.pth'"
        return f"'iter_{self._iterations}.pth'"

    @property
    def _iterations(self) -> int:
        own = self.cfg.train_cfg.get('max_iters')
        if own is None:
            raise ConfigValueError(
                f'{self.base}: train_cfg has neither max_epochs nor '
                'max_iters')
        return min(own, len(self.data.train.content['images'])
                   ) if self.trial else own

    @property
    def _schedulers(self) -> list[dict]:
        found = self.cfg.get('param_scheduler') or []
        return [found] if isinstance(found, dict) else found

    def text(self) -> str:
        """Write the config.

        Raises:
            ValueError: its classes, data or length cannot be found in the
                config.
        """
        stem = self.name.removesuffix('.py')
        lines = [f'"""{WHAT[stem]}, trained on the data of data.py."""',
                 f"_base_ = [{self.base!r}, './data.py']",
                 f"work_dir = '{{{{ fileDirname }}}}/work_dirs/{stem}'"]
        if self.weights:
            lines += ['# start from the published weights; layers that depend '
                      'on the classes start random',
                      f'load_from = {self.weights!r}']
        values = dict(model=_merged(self.changes, self._counts()))
        for part in LOADERS:
            if self.cfg.get(f'{part}_dataloader'):
                values |= self._part(part)
        values |= self._schedule()
        lines += [f'{key} = {python_text(value, used=len(key) + 3)}'
                  for key, value in values.items()]
        return '\n'.join(lines) + '\n'

    def _counts(self) -> dict[str, Any]:
        """The number of classes, in every part of the model that has it."""
        model = self.cfg.model
        every = Counter(all_counts(model))
        names = class_names(self.cfg, 'train_dataloader')
        count = len(names) if names and len(names) in every else None
        if count is None and len(every) == 1:
            count, = every
        if count is None:
            raise ConfigValueError(
                f'{self.base}: expected num_classes in its model, equal to '
                f'the {len(names or ())} classes of its data, found '
                f'{sorted(every)}')
        return replaced_counts(model, count, '_base_.model')

    def _loader(self, part: str) -> dict:
        loader = self.cfg.get(f'{part}_dataloader')
        if not isinstance(loader, dict) or not isinstance(
                loader.get('dataset'), dict):
            raise ConfigValueError(
                f'{self.base}: expected a {part}_dataloader with a dataset, '
                f'found {loader!r}')
        return loader

    def _part(self, part: str) -> dict[str, Any]:
        """Data loader and evaluator for the user's data."""
        at, wrappers = _leaf(self._loader(part)['dataset'],
                             f'_base_.{part}_dataloader.dataset')
        name = 'TRAIN' if part == 'train' else 'VAL'
        pipeline = f'{at}.pipeline'
        dataset: dict[str, Any] = {
            '_delete_': True, SPREAD: Code(f'_base_.{name}'),
            'pipeline': Code(pipeline if not self.scales else
                             '[\n    dict(step, scale=_base_.SCALE) if '
                             "step['type'].endswith('Resize') else step\n    "
                             f'for step in {pipeline}\n]')}
        values: dict[str, Any] = {}
        if self.scales:
            as_val = part == 'test' and self.cfg.test_dataloader.get(
                'dataset') == self.cfg.val_dataloader.get('dataset')
            if not as_val:
                values[f'{part}_pipeline'] = dataset['pipeline']
            dataset['pipeline'] = Code(
                f'{"val" if as_val else part}_pipeline')
        for _ in range(wrappers):
            dataset = dict(dataset=dataset)
        own = (dict(batch_size=Code(self._batch_size)) if part == 'train'
               else {})
        values[f'{part}_dataloader'] = dict(**own, dataset=dataset)
        if part != 'train':
            values[f'{part}_evaluator'] = {
                '_delete_': True, SPREAD: Code('_base_.EVALUATOR'),
                'metric': ['bbox', 'segm'] if self._masks() else 'bbox'}
        return values

    @property
    def _batch_size(self) -> str:
        """Its batch size, as an expression in a config."""
        return BATCH_SIZE if self.shares_batch_size else str(self.batch_size)

    def _masks(self) -> bool:
        """Whether it learns masks.

        Raises:
            ValueError: the data has none.
        """
        wants = any(step.get('with_mask') for step in _all_steps(
            self._loader('train')['dataset']))
        if wants and not self.data.has_masks:
            raise ConfigValueError(
                f'{self.base}: this detector learns masks, but not every box '
                'of the data has a segmentation; expected the config of a '
                'detector without masks')
        return wants

    def _schedule(self) -> dict[str, Any]:
        cfg, values = self.cfg, dict[str, Any]()
        length: dict[str, Any] = {}
        images = len(self.data.train.content['images'])
        steps = -(-images // self.batch_size)
        if self.goes_by_epochs:
            length = dict(max_epochs=Code(EPOCHS))
            third = f'{EPOCHS} * {images} // (3 * {self._batch_size})'
            values['param_scheduler'] = [
                _scheduler(one, self.own_epochs or 1, third)
                for one in self._schedulers]
        elif self.own_epochs is not None and self.trial:
            length = dict(max_epochs=1)
        elif self.trial:
            length = dict(max_iters=self._iterations)
        if self.trial:
            length['val_interval'] = (self._iterations
                                      if self.own_epochs is None else 1)
        hooks: dict[str, Any] = {}
        own = cfg.get('default_hooks') or {}
        if 'logger' in own:
            hooks['logger'] = dict(interval=max(min(
                own['logger'].get('interval', 10), steps // 4), 1))
        if 'checkpoint' in own and 'max_keep_ckpts' not in own['checkpoint']:
            hooks['checkpoint'] = dict(max_keep_ckpts=KEPT)
        if length:
            values['train_cfg'] = length
        if hooks:
            values['default_hooks'] = hooks
        if (cfg.get('auto_scale_lr') or {}).get('base_batch_size'):
            values['auto_scale_lr'] = dict(enable=True)
        return values


def _kind(step: Mapping[str, Any]) -> str:
    kind = step.get('type', '')
    return kind.rpartition('.')[2] if isinstance(kind, str) else kind.__name__


def _all_steps(dataset: Mapping[str, Any]) -> Iterator[dict]:
    """The transforms of a data set and of the data sets inside it."""
    yield from dataset.get('pipeline') or []
    inner = [dataset.get('dataset'), *(dataset.get('datasets') or [])]
    for one in inner:
        if isinstance(one, dict):
            yield from _all_steps(one)


def _leaf(dataset: Mapping[str, Any], at: str) -> tuple[str, int]:
    """The innermost data set, and the number of wrappers around it.

    Several data sets in one wrapper are replaced together.
    """
    wrappers, joined = 0, False
    while True:
        inner = dataset.get('dataset')
        several = dataset.get('datasets')
        if isinstance(inner, dict):
            dataset, at = inner, f'{at}.dataset'
            wrappers += not joined
        elif several:
            dataset, at, joined = several[0], f'{at}.datasets[0]', True
        elif dataset.get('pipeline'):
            return at, wrappers
        else:
            raise ConfigValueError(
                f'{at.removeprefix("_base_.")}: expected a data set with a '
                f'pipeline, found {dict(dataset)}')


def _merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict:
    both = dict(one)
    for key, value in other.items():
        both[key] = _merged(both[key], value) if isinstance(
            both.get(key), dict) and isinstance(value, dict) else value
    return both


def _fits_any_length(scheduler: Mapping[str, Any], epochs: int) -> bool:
    """Whether it is a warm-up of some steps, or a decay over all epochs."""
    if not scheduler.get('by_epoch', True):
        return True
    whole = (not scheduler.get('begin')
             and scheduler.get('end', epochs) == epochs)
    return whole and (_kind(scheduler) == 'MultiStepLR' or
                      scheduler.get('T_max') == epochs)


def _scheduler(own: Mapping[str, Any], epochs: int, third: str) -> dict:
    """The schedule, adapted to a number of epochs or steps.

    Args:
        own: the schedule of the config.
        epochs: the epochs that it was written for.
        third: a third of the steps of the training, as an expression.
    """
    written = {key: value for key, value in own.items() if key != '_scope_'}
    if not own.get('by_epoch', True):
        # at most a third of the training, which may be short
        if isinstance(own.get('end'), int):
            written['end'] = Code(f'min({own["end"]}, max({third}, 1))')
        return written
    written |= {key: Code(EPOCHS) for key in ('end', 'T_max') if key in own}
    if 'milestones' in own:
        written['milestones'] = [Code(f'round({EPOCHS} * {at} / {epochs})')
                                 for at in own['milestones']]
    return written
