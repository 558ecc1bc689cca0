"""Base class of the head adapters."""
import copy
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn

from ..errors import ConfigTypeError
from ..numerics.precision import at_least_float32
from .boxes import HeadBoxes
from .level_pass import LevelPass
from .records import Geometry, HeadRecord, Targets
from .saving_memory import run_saving_memory

#: activations that do not change their own output
IDEMPOTENT = (nn.ReLU, nn.ReLU6)


class HeadAdapter(HeadBoxes):
    """Everything that distillation knows about one family of mmdet heads.

    An adapter wraps a head without owning it.  It gives the head's layers by
    branch and level, continues its forward from intermediate features, names
    and decodes its outputs, and reads the targets from the results of the
    head's own methods.  To add a family, register a subclass::

        @HEAD_ADAPTERS.register_module()
        class MyHeadAdapter(HeadAdapter):
            head_type = MyHead

    It is used for heads of that type and its subclasses.  A subclass defines
    at least :meth:`predict` and :meth:`targets`.

    Args:
        head: the mmdet head.

    Raises:
        TypeError: the head lacks layers of its family, or predicts softmax
            scores.
    """

    #: short name of the family: ``'GFL'``, ``'FCOS'``, …
    name = ''
    #: the mmdet head of the family
    head_type: type[BaseModule]
    #: the branches that can be split, and for each the head's attribute that
    #: holds its layers
    towers: Mapping[str, str] = dict(cls='cls_convs', reg='reg_convs')
    #: whether that attribute holds separate layers for each level
    layers_by_level = False
    #: names of what the head predicts, in the order of its forward
    outputs: tuple[str, ...] = ('cls', 'reg')
    #: names of the head's layers that follow the branches
    predictors: tuple[str, ...] = ()
    #: the head's own methods that return targets, in the order of calls
    target_methods: tuple[str, ...] = ('get_targets', )
    #: whether it calls mmcv's own ops, which do not support bfloat16
    calls_mmcv_ops = False
    #: whether its forward loops over images, so that an exported graph has a
    #: fixed batch size
    loops_over_images = False
    #: for messages: why branches cannot be split behind their :attr:`depth`
    why_no_deeper = ''

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.name = cls.__name__.removesuffix('HeadAdapter')

    def __init__(self, head: BaseModule) -> None:
        super().__init__(head)
        name = type(head).__name__
        missing = [p for p in self.needed_layers() if not hasattr(head, p)]
        if missing:
            raise ConfigTypeError(
                f'bbox_head: {name} is treated as a {self.name} head, but '
                f'has no {", ".join(missing)}')
        if not getattr(head, 'use_sigmoid_cls', True):
            raise ConfigTypeError(
                f'bbox_head: {name} predicts softmax scores; '
                'distillation needs sigmoid scores '
                '(loss_cls.use_sigmoid=True)')

    def __deepcopy__(self, memo: dict) -> 'HeadAdapter':
        # copies of a detector do not need the cached priors
        return type(self)(copy.deepcopy(self.head, memo))

    def check_learns(self) -> None:
        """Check that the packages needed by the head's own loss are installed.

        Raises:
            ValueError: one is missing.
        """

    # -- layers ------------------------------------------------------------

    def needed_layers(self) -> tuple[str, ...]:
        """Names of the head's attributes that the adapter uses."""
        return (*self.towers.values(), *self.predictors)

    @property
    def branches(self) -> tuple[str, ...]:
        """Names of the branches."""
        return tuple(self.towers)

    def layers(self, branch: str, level: int) -> Sequence[nn.Module]:
        """The layers of a branch that features of a level pass through."""
        layers = getattr(self.head, self.towers[branch])
        return layers[level] if self.layers_by_level else layers

    @property
    def depth(self) -> int:
        """The number of layers of the shortest branch."""
        return min(len(self.layers(branch, 0)) for branch in self.branches)

    def channels(self, branch: str, split: int) -> int:
        """Channels of the features after ``split`` layers of a branch."""
        if split == 0:
            return self.head.in_channels
        return _last_of(self.layers(branch, 0)[split - 1]).out_channels

    def activation(self, branch: str, level: int,
                   split: int) -> nn.Module | None:
        """The last activation that ran before the split, for ``split`` > 0.

        Override it and :meth:`channels` if the head's layers are not
        ``ConvModule``.
        """
        layer = _last_of(self.layers(branch, level)[split - 1])
        if isinstance(layer, ConvModule) and layer.with_activation:
            return layer.activate
        return None

    @property
    def num_classes(self) -> int:
        """The number of classes that the head predicts."""
        return self.head.cls_out_channels

    def branches_of(self, output: str) -> tuple[str, ...]:
        """The branches that an output is made from; all if not known."""
        return (output, ) if output in self.branches else self.branches

    # -- forward -----------------------------------------------------------

    def output_channels(self, name: str) -> int:
        """The channels of an output for each prior of a location."""
        return dict(cls=self.num_classes,
                    reg=4 * (self.num_bins or 1)).get(name, 1)

    def forward_outputs(self, training: bool) -> tuple[str, ...]:
        """Names of the outputs that the head's forward returns, in order.

        Args:
            training: whether in training mode; some heads then return more
                outputs.
        """
        return self.outputs

    def named(self, outputs: Sequence[Sequence[Tensor]], training: bool
              ) -> dict[str, list[Tensor]]:
        """The outputs of the head's forward by name: maps per level.

        ``cls`` holds logits; if a head returns something else, override this
        method to convert it.

        Args:
            outputs: the result of its forward: maps per branch and level.
            training: whether it ran in training mode.
        """
        return dict(zip(self.forward_outputs(training), map(list, outputs)))

    def unnamed(self, maps: Mapping[str, list[Tensor]]) -> list[list[Tensor]]:
        """The inverse of :meth:`named`: the input of ``predict_by_feat``.

        Args:
            maps: outputs by name, in prediction mode.
        """
        return [maps[name] for name in self.outputs]

    def check_outputs(self, outputs: Sequence[Sequence[Tensor]],
                      training: bool) -> None:
        """Check that the head's forward returned what its family expects.

        Args:
            outputs, training: as for :meth:`named`.

        Raises:
            TypeError: the number of branches, levels or channels differs.
        """
        names = self.forward_outputs(training)
        wanted = [[self.output_channels(name) * self.num_priors] *
                  len(self.strides) for name in names]
        found = [[x.size(1) if isinstance(x, Tensor) else type(x).__name__
                  for x in levels] if isinstance(levels, (list, tuple)) else
                 type(levels).__name__ for levels in outputs]
        if found != wanted:
            raise ConfigTypeError(
                f'bbox_head: the forward of {type(self.head).__name__} must '
                f'return maps of {", ".join(names)} with {wanted} '
                f'channels per level, as {self.name} heads do; found {found}')

    def forward_from(self, features: Mapping[str, Sequence[Tensor]],
                     split: int, levels: Sequence[int],
                     outputs: Collection[str] | None = None
                     ) -> dict[str, list[Tensor]]:
        """Continue the head's forward from intermediate features.

        The results are the head's predictions, not what it returns for its
        loss.  The features are not changed.  Layers that do not train keep
        little memory for the backward pass.

        Args:
            features: by branch, for each of ``levels`` (N, C, H, W), features
                after ``split`` layers, aligned to the statistics of this
                head's features.
            split: how many layers they have passed through.
            levels: indices of the levels.
            outputs: names of the outputs to make; by default all.  Layers that
                none of them needs do not run.

        Returns:
            dict: maps by name, one for each of ``levels``.
        """
        wanted = [name for name in self.outputs
                  if outputs is None or name in outputs]
        maps: dict[str, list[Tensor]] = {name: [] for name in wanted}

        def run() -> None:
            for i, index in enumerate(levels):
                rest = partial(
                    self._rest_of_branch, features, i, index, split)
                level = LevelPass(index, rest, self.predict)
                for name in wanted:
                    maps[name].append(level.output(name))

        run_saving_memory(run)
        return maps

    def _rest_of_branch(self, given: Mapping[str, Sequence[Tensor]], i: int,
                        level: int, split: int, branch: str) -> Tensor:
        features = given[branch][i]
        # Aligned features have negative values again, which the next layer
        # never saw in training.  So the last activation is applied again, if
        # that does not change its own output.
        layers = self.layers(branch, level)
        activation: Any = None
        if split > 0:
            activation = copy.copy(self.activation(branch, level, split))
        if isinstance(activation, IDEMPOTENT):
            activation.inplace = False  # the input belongs to the caller
            features = activation(features)
        elif layers[split:] and not isinstance(layers[split], nn.Conv2d) and (
                getattr(layers[split], 'order', ' ')[0] != 'conv'):
            features = features.clone()  # the next layer may work in place
        for layer in layers[split:]:
            features = layer(features)
        return features

    def predict(self, name: str, level: LevelPass) -> Tensor:
        """Run the predictor and the output transform of one output and level.

        Args:
            name: of the output, one of :attr:`outputs`.
            level: gives the features after the layers of each branch, the
                other outputs of this level, and what they share.

        Returns:
            Tensor: (N, A * K, H, W), as :meth:`named` gives it in prediction
            mode.
        """
        raise NotImplementedError(type(self).__name__)

    def flatten(self, name: str, maps: Sequence[Tensor], geometry: Geometry,
                training: bool) -> Tensor:
        """Flatten the maps of an output into one tensor.

        Args:
            name: of the output.
            maps: per level (N, A * K, H, W), with A priors per location.
            geometry: the priors of these levels.
            training: whether the head made them in training mode; some heads
                then use other units.

        Returns:
            Tensor: (N, P, K), in float32 at least.  Regression outputs have
            the units of prediction mode.
        """
        # one copy only: the joined tensors are views
        rows = torch.cat([x.flatten(2).transpose(1, 2) for x in maps], 1)
        return at_least_float32(rows).view(
            len(rows), sum(geometry.counts), -1)

    # -- targets -----------------------------------------------------------

    def targets(self, seen: HeadRecord, num_images: int) -> Targets:
        """Read the targets from the results of the head's own methods.

        Args:
            seen: record of a training pass; its ``returned`` has the result of
                each call, by the names in :attr:`target_methods`.
            num_images: N.
        """
        raise NotImplementedError(type(self).__name__)

    def is_class(self, labels: Tensor) -> Tensor:
        """Whether each of mmdet's labels is a class, not background: bool."""
        return (labels >= 0) & (labels < self.head.num_classes)


def _last_of(layer: Any) -> Any:
    """The last part of a layer; depthwise separable layers have two."""
    return getattr(layer, 'pointwise_conv', layer)
