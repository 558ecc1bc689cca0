"""The teacher: finding its config, building, loading and freezing it."""
import copy
import inspect
import sys
from collections import OrderedDict
from pathlib import Path

import mmdet
import torch
from mmdet.models.detectors import SingleStageDetector
from mmdet.registry import MODELS
from mmdet.structures import SampleList
from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log
from mmengine.model import BaseDataPreprocessor
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from .checkpoints.loading import load_checkpoint
from .heads import HeadFamily, HeadTrace, family_of, trace
from .randomness import untouched_randomness
from .renormalize import renormalize

RANDOM = 'random'


class Teacher:
    """A frozen detector that a student learns from.

    It is no ``nn.Module`` on purpose: as a plain attribute of the student it
    stays out of ``parameters()``, ``state_dict()``, optimizers and DDP.
    Copies of the student (EMA) share it until they train themselves.

    Config and checkpoint are opened when training begins (:meth:`join`), so
    that testing and inference need neither.

    Args:
        config: dict or Config with a ``model``, path of a config file, or
            ``'mmdet::gfl/….py'``.  A relative path is looked up from the
            working directory, then beside the config file that the running
            command names, then among mmdet's installed configs.  It is built
            in the registry scope that its own ``default_scope`` names, else
            in the student's.
        ckpt: path or URL of its checkpoint; ``'random'`` for a teacher with
            random weights.
        trust_ckpt: unpickle the checkpoint without restriction.

    Attributes:
        classes: names of the classes that its checkpoint was trained on;
            None if the checkpoint does not say.
    """

    def __init__(self, config: str | Path | dict | Config | None,
                 ckpt: str | Path | None, trust_ckpt: bool) -> None:
        self.config = config
        self.ckpt = ckpt
        self.trust_ckpt = trust_ckpt
        self._detector: SingleStageDetector | None = None
        self.classes: tuple[str, ...] | None = None
        self._follows = False
        self._shared = False
        scope = DefaultScope.get_current_instance()
        self._scope = scope.scope_name if scope else None

    @property
    def is_read(self) -> bool:
        """Whether the detector is there with its weights."""
        return self._detector is not None

    @property
    def detector(self) -> SingleStageDetector:
        """The frozen detector.

        Raises:
            RuntimeError: it has not been read yet.
        """
        if self._detector is None:
            raise RuntimeError(
                f'teacher_ckpt={self.ckpt!r}: not read yet; that happens when '
                'training begins (Teacher.join)')
        return self._detector

    @property
    def head(self) -> HeadFamily:
        """The teacher's head, wrapped in its family."""
        return family_of(self.detector.bbox_head, teaches=True)

    def _read(self) -> SingleStageDetector:
        if not isinstance(self.config, (str, Path, dict, Config)):
            raise TypeError(
                'teacher_config must be the path of a config file, a dict or '
                f'a Config, found {self.config!r}')
        if not isinstance(self.ckpt, (str, Path)):
            raise ValueError(
                f'teacher_ckpt={self.ckpt!r}: a teacher needs weights. '
                f"Expected the path or URL of a checkpoint, or '{RANDOM}' for "
                'a teacher with random weights')
        ckpt = str(self.ckpt)
        # the same seed is the same student, with a teacher and without; and a
        # student may be built without values
        with untouched_randomness(), torch.device('cpu'):
            detector = _build(_model_config(self.config, self._scope))
        if ckpt == RANDOM:
            print_log(
                "teacher_ckpt='random': the teacher has random weights",
                logger='current')
        else:
            checkpoint = load_checkpoint(
                ckpt, 'teacher_ckpt', 'If you trust the file, set '
                'trust_teacher_ckpt=True in the model', self.trust_ckpt)
            self.classes = _classes(checkpoint)
            _load_strictly(detector, checkpoint, f'teacher_ckpt={ckpt!r}')
        return detector.requires_grad_(False).eval()

    def join(self, student: nn.Module) -> None:
        """Read the teacher, unless that has happened, and move it.

        Called when training begins.  From then on the teacher follows the
        student's device and data type.

        Args:
            student: the detector that will learn from this teacher.

        Raises:
            FileNotFoundError: config or checkpoint do not exist.
            TypeError: ``teacher_config`` is no config, or one of another
                detector than a single-stage one with a head that is known.
            ValueError: no checkpoint is named, or its weights do not fit.
        """
        if self._detector is None:
            self._detector = self._read()
        if not self._follows:
            self._follows = True
            if self._shared:  # with a student that may train elsewhere
                self._shared = False
                self._detector = copy.deepcopy(self.detector)
            self.follow(student)

    @torch.no_grad()
    def __call__(self, inputs: Tensor, samples: SampleList,
                 preprocessor: BaseDataPreprocessor,
                 split: int | None) -> tuple[tuple[Tensor], HeadTrace]:
        """Run the teacher on a batch that was preprocessed for the student.

        Args:
            inputs: (N, 3, H, W).
            samples: of the N images; their ``img_shape`` says where the
                padding begins.
            preprocessor: the student's data preprocessor.
            split: record the head's intermediate features after so many tower
                layers; None for none.

        Returns:
            tuple: per level (N, C, H, W) features that the head is given, and
            the record of the pass through the head.
        """
        inputs = renormalize(inputs, samples, preprocessor,
                             self.detector.data_preprocessor)
        features = self.detector.extract_feat(inputs)
        with trace(self.head, split) as seen:
            self.detector.bbox_head(features)
        return features, seen

    def follow(self, student: nn.Module) -> None:
        """Move to the student's device, data type and memory layout.

        Does nothing before training begins.  The student's own ``_apply`` is
        not repeated here, because some of what it does leaves tensors without
        values (``to_empty``, the meta device).
        """
        like = next(student.parameters())
        if self._follows and not like.is_meta:
            layout = torch.contiguous_format
            if any(_is_channels_last(p) for p in student.parameters()):
                layout = torch.channels_last
            self.detector.to(like.device, like.dtype)
            self.detector.to(memory_format=layout)

    def __deepcopy__(self, memo: dict) -> 'Teacher':
        # the same detector, until the copy of the student trains, too
        shared = copy.copy(self)
        shared._follows = False
        shared._shared = self.is_read
        return shared


def _is_channels_last(x: Tensor) -> bool:
    return (x.dim() == 4 and not x.is_contiguous()
            and x.is_contiguous(memory_format=torch.channels_last))


def find_config(name: str) -> str:
    """The file that ``teacher_config`` names.

    Args:
        name: a path, or ``'package::….py'`` for a config of a package.  For
            where a relative path is looked up see :class:`Teacher`.

    Raises:
        FileNotFoundError: the file is in none of these places, or the package
            is not known to mmengine or not installed.
    """
    if '::' in name:
        try:
            return Config._get_cfg_path(name, '')[0]
        except (AssertionError, ImportError, OSError, ValueError) as e:
            raise FileNotFoundError(f'teacher_config={name!r}: {e}') from None
    path = Path(name).expanduser()
    installed = Path(mmdet.__file__).parent / '.mim'
    beside = [
        Path(arg).parent for arg in sys.argv[1:]
        if arg.endswith('.py') and Path(arg).is_file()
    ]
    places = [Path.cwd(), *beside[:1], installed, installed / 'configs']
    for place in places:  # an absolute path is itself whatever the place
        if (place / path).is_file():
            return str(place / path)
    looked = [str(place / path) for place in places]
    raise FileNotFoundError(
        f'teacher_config={name!r}: no such config file; looked for '
        f'{" and ".join(dict.fromkeys(looked))}')


def _model_config(config: str | Path | dict | Config,
                  scope: str | None) -> ConfigDict:
    """The ``model`` of a teacher config, whatever form it came in.

    Args:
        config: as for :class:`Teacher`.
        scope: the registry scope it is built in, if it has no
            ``default_scope`` of its own.
    """
    if isinstance(config, (str, Path)):
        file = find_config(str(config))
        try:
            config = Config.fromfile(file)
        except Exception as e:  # a config is a program of its own
            raise ValueError(f'teacher_config={file!r}: cannot be read: '
                             f'{type(e).__name__}: {e}') from None
    model = config.get('model')
    if not isinstance(model, dict) or 'type' not in model:
        raise ValueError("teacher_config: expected a config with a 'model', "
                         f'found the keys {sorted(config)}')
    model = ConfigDict(copy.deepcopy(dict(model)))
    if config.get('data_preprocessor') is not None:  # as the Runner merges it
        model.setdefault('data_preprocessor',
                         copy.deepcopy(config.get('data_preprocessor')))
    scope = config.get('default_scope') or scope
    if scope is not None:
        model.setdefault('_scope_', scope)
    if any(str(key).startswith('teacher_') for key in model):
        _leave_out_teacher(model)
    return model


def _leave_out_teacher(model: ConfigDict) -> None:
    """Turn a distilled student into the plain detector that it is."""
    known = inspect.signature(SingleStageDetector.__init__).parameters
    for key in set(model) - set(known) - {'_scope_'}:
        del model[key]
    model.type = SingleStageDetector


def _build(model: ConfigDict) -> SingleStageDetector:
    try:
        detector = MODELS.build(model)
    except (AssertionError, KeyError, RuntimeError, TypeError,
            ValueError) as e:
        raise ValueError(f'teacher_config: {e}') from None
    if not isinstance(detector, SingleStageDetector):
        raise TypeError(
            f'teacher_config: {type(detector).__name__} is no single-stage '
            'detector; expected one with a dense bbox_head')
    try:
        family_of(detector.bbox_head, teaches=True)
    except TypeError as e:
        raise TypeError(f'teacher_config.model.{e}') from None
    return detector


def _classes(checkpoint: dict) -> tuple[str, ...] | None:
    """Names of the classes a checkpoint was trained on, where it says so."""
    meta = checkpoint.get('meta')
    if not isinstance(meta, dict):
        return None
    # mmdet 2 kept them in the meta itself
    dataset = {**meta, **(meta.get('dataset_meta') or {})}
    classes = dataset.get('classes', dataset.get('CLASSES'))
    return tuple(classes) if isinstance(classes, (list, tuple)) else None


def _load_strictly(detector: nn.Module, checkpoint: dict, found: str) -> None:
    """Load weights; missing, unexpected and misshapen keys are errors."""
    saved = checkpoint.get('state_dict', checkpoint)
    weights = OrderedDict(
        (str(k).removeprefix('module.'), v) for k, v in saved.items()
        if isinstance(v, Tensor)) if isinstance(saved, dict) else {}
    if not weights:
        raise ValueError(f'{found}: holds no weights (its keys: '
                         f'{sorted(map(str, checkpoint))[:8]})')
    own = detector.state_dict()
    misshapen = [
        f'{k} {tuple(v.shape)}, expected {tuple(own[k].shape)}'
        for k, v in weights.items() if k in own and v.shape != own[k].shape
    ]
    fitting = OrderedDict(
        (k, v) for k, v in weights.items()
        if k not in own or v.shape == own[k].shape)
    # layers decide by the version in it whether to rename old keys
    vars(fitting)['_metadata'] = getattr(saved, '_metadata', None)
    result = detector.load_state_dict(fitting, strict=False)
    # mmengine's own loader looks over these, too
    missing = [k for k in result.missing_keys
               if 'num_batches_tracked' not in k and k not in weights]
    problems = [
        _first_few(kind, keys) for kind, keys in (
            ('missing', missing),
            ('unexpected', result.unexpected_keys),
            ('misshapen', misshapen)) if keys
    ]
    if problems:
        raise ValueError(
            f'{found} does not fit the model of teacher_config '
            f'({type(detector).__name__}): ' + '; '.join(problems))


def _first_few(kind: str, keys: list[str], few: int = 3) -> str:
    more = f', … ({len(keys)} in all)' if len(keys) > few else ''
    return f'{len(keys)} {kind}: ' + ', '.join(keys[:few]) + more
