"""Base class of the head adapters."""
import copy
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn

from ..numerics.precision import at_least_float32
from .layout import Geometry, HeadRecord, Targets

KEPT_SIZES = 8  # of batches, whose priors are kept


class HeadAdapter:
    """What distillation knows of one family of mmdet heads.

    An adapter wraps a head without owning it: it gives its layers by branch
    and level, continues its forward from intermediate features, names its
    outputs, decodes them, and reads what the head's own methods said about
    targets.  A new family is a subclass, registered::

        @HEAD_ADAPTERS.register_module()
        class MyHeadAdapter(HeadAdapter):
            head_type = MyHead

    It is responsible for heads of that type and of subclasses, and says at
    least how they :meth:`predict` and what their :meth:`targets` are; for
    SDD also :attr:`offset`, and :meth:`level_of` for its box regions.

    Args:
        head: the mmdet head.

    Raises:
        TypeError: the head lacks layers of its family, or predicts softmax
            scores.
    """

    #: short name of the family: ``'GFL'``, ``'FCOS'``, …
    name = ''
    #: the mmdet head that the family is about
    head_type: type[BaseModule]
    #: the branches whose layers can be split, and the head's attribute that
    #: holds the layers of each
    towers: Mapping[str, str] = dict(cls='cls_convs', reg='reg_convs')
    #: names of what the head's forward returns, in that order
    outputs: tuple[str, ...] = ('cls', 'reg')
    #: names of the head's layers that follow those of the branches
    predictors: tuple[str, ...] = ()
    #: the head's own methods that tell the targets, in the order of calls
    target_methods: tuple[str, ...] = ('get_targets', )

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.name = cls.__name__.removesuffix('HeadAdapter')

    def __init__(self, head: BaseModule) -> None:
        self.head = head
        self._geometries: OrderedDict[tuple, Geometry] = OrderedDict()
        name = type(head).__name__
        missing = [p for p in self.needed_layers() if not hasattr(head, p)]
        if missing:
            raise TypeError(
                f'bbox_head: {name} is taken for a {self.name} head but has '
                f'no {", ".join(missing)}')
        if not getattr(head, 'use_sigmoid_cls', True):
            raise TypeError(f'bbox_head: {name} predicts softmax scores; '
                            'distillation needs sigmoid scores '
                            '(loss_cls.use_sigmoid=True)')

    def __deepcopy__(self, memo: dict) -> 'HeadAdapter':
        # a copy of a detector needs no copy of the priors
        return type(self)(copy.deepcopy(self.head, memo))

    # -- layers ------------------------------------------------------------

    def needed_layers(self) -> tuple[str, ...]:
        """Names of the head's attributes that the adapter uses."""
        return (*self.towers.values(), *self.predictors)

    @property
    def branches(self) -> tuple[str, ...]:
        """Names of the branches."""
        return tuple(self.towers)

    def layers(self, branch: str, level: int) -> Sequence[nn.Module]:
        """The layers of a branch that features of a level go through."""
        return getattr(self.head, self.towers[branch])

    @property
    def depth(self) -> int:
        """How many layers the shortest branch has."""
        return min(len(self.layers(branch, 0)) for branch in self.branches)

    def channels(self, branch: str, split: int) -> int:
        """Channels of the features after ``split`` layers of a branch."""
        if split == 0:
            return self.head.in_channels
        layer: Any = self.layers(branch, 0)[split - 1]
        return layer.out_channels

    def activation(self, branch: str, level: int,
                   split: int) -> nn.Module | None:
        """The activation that features left, after ``split`` > 0 layers.

        A head whose layers are no ``ConvModule`` overrides it, and
        :meth:`channels`.
        """
        layer = self.layers(branch, level)[split - 1]
        if isinstance(layer, ConvModule) and layer.with_activation:
            return layer.activate
        return None

    @property
    def strides(self) -> list[tuple[int, int]]:
        """Stride of every level, in x and y, in pixels."""
        return [tuple(s) for s in self.head.prior_generator.strides]

    @property
    def num_priors(self) -> int:
        """Priors per location, the same on all levels."""
        return self.head.prior_generator.num_base_priors[0]

    @property
    def num_classes(self) -> int:
        """Classes that the head predicts."""
        return self.head.cls_out_channels

    @property
    def num_bins(self) -> int | None:
        """Bins per side where boxes are predicted as distributions."""
        return None

    # -- forward -----------------------------------------------------------

    def named(self, outputs: Sequence[Sequence[Tensor]]
              ) -> dict[str, list[Tensor]]:
        """What the head's forward returned, by name: maps per level."""
        return dict(zip(self.outputs, map(list, outputs), strict=True))

    def check_outputs(self, outputs: Sequence[Sequence[Tensor]]) -> None:
        """Check that the head's forward returned what its family expects.

        Args:
            outputs: what it returned: maps per branch and level.

        Raises:
            TypeError: another number of branches, levels or channels.
        """
        channels = dict.fromkeys(self.outputs, 1)
        channels.update(cls=self.num_classes, reg=4 * (self.num_bins or 1))
        wanted = [[n * self.num_priors] * len(self.strides)
                  for n in channels.values()]
        found = [[x.size(1) if isinstance(x, Tensor) else type(x).__name__
                  for x in levels] if isinstance(levels, (list, tuple)) else
                 type(levels).__name__ for levels in outputs]
        if found != wanted:
            raise TypeError(
                f'bbox_head: the forward of {type(self.head).__name__} must '
                f'return maps of {", ".join(channels)} with {wanted} channels '
                f'per level, as {self.name} heads do; found {found}')

    def forward_from(self, features: Mapping[str, Sequence[Tensor]],
                     split: int, levels: Sequence[int]
                     ) -> dict[str, list[Tensor]]:
        """Continue the head's forward from intermediate features.

        The features are left as they are.

        Args:
            features: by branch, for each of ``levels`` (N, C, H, W), features
                after ``split`` layers, aligned to the statistics of this
                head's.
            split: how many layers they have been through.
            levels: indices of the levels.

        Returns:
            dict: maps by name, one for each of ``levels``.
        """
        maps = [
            self.predict({
                branch: self._rest_of_branch(branch, level,
                                             features[branch][i], split)
                for branch in self.branches
            }, level) for i, level in enumerate(levels)
        ]
        return self.named(list(zip(*maps)))

    def _rest_of_branch(self, branch: str, level: int, features: Tensor,
                        split: int) -> Tensor:
        # Aligned features have negative values again, which the next layer
        # never saw in training: the activation that they left is applied anew.
        layers = self.layers(branch, level)
        activation: Any = None
        if split > 0:
            activation = copy.copy(self.activation(branch, level, split))
        if activation is not None:
            if hasattr(activation, 'inplace'):  # the input is not ours
                activation.inplace = False
            features = activation(features)
        elif layers[split:] and not isinstance(layers[split], nn.Conv2d) and (
                getattr(layers[split], 'order', ' ')[0] != 'conv'):
            features = features.clone()  # that layer may begin in place
        for layer in layers[split:]:
            features = layer(features)
        return features

    def predict(self, features: dict[str, Tensor],
                level: int) -> tuple[Tensor, ...]:
        """Run the predictors and the output transform of one level.

        Args:
            features: by branch (N, C, H, W), what its layers return.
            level: index of the level.

        Returns:
            tuple: maps of this level, in the order of :attr:`outputs`.
        """
        raise NotImplementedError(type(self).__name__)

    def flatten(self, name: str, maps: Sequence[Tensor],
                geometry: Geometry) -> Tensor:
        """Bring the maps of an output into one tensor.

        Args:
            name: of the output.
            maps: per level (N, A * K, H, W), of A priors a location.
            geometry: the priors of these levels.

        Returns:
            Tensor: (N, P, K), in float32 at least.  Regression outputs are as
            the head's ``predict`` would have them.
        """
        flat = at_least_float32(torch.cat([x.flatten(2) for x in maps], 2))
        return flat.transpose(1, 2).reshape(
            len(flat), sum(geometry.counts), -1)

    # -- priors and boxes --------------------------------------------------

    def geometry(self, sizes: Sequence[Sequence[int]], levels: Sequence[int],
                 device: torch.device) -> Geometry:
        """The priors of some levels; kept for the next batch of this size.

        Args:
            sizes: height and width of the maps of every level of the head.
            levels: indices of the levels that are asked for.
            device: where the priors shall be.
        """
        key = (tuple(map(tuple, sizes)), tuple(levels), device)
        if key not in self._geometries:
            while len(self._geometries) >= KEPT_SIZES:
                self._geometries.popitem(last=False)
            priors = self.head.prior_generator.grid_priors(
                sizes, device=device)
            strides = [p.new_full((len(p), 1), stride[0])
                       for p, stride in zip(priors, self.strides)]
            self._geometries[key] = Geometry(
                torch.cat([priors[i] for i in levels]),
                torch.cat([strides[i] for i in levels]),
                [len(priors[i]) for i in levels])
        return self._geometries[key]

    def same_priors(self, levels: Sequence[int], other: 'HeadAdapter',
                    others_levels: Sequence[int]) -> bool:
        """Whether the priors of two heads are equal, in number and value."""
        ours, theirs = (
            a.geometry([(2, 2)] * len(a.strides), which,
                       torch.device('cpu')).priors
            for a, which in ((self, levels), (other, others_levels)))
        return ours.shape == theirs.shape and torch.equal(ours, theirs)

    @property
    def forms(self) -> dict[str, Callable[[Tensor, Geometry], Tensor]]:
        """In which forms regression outputs can be compared.

        Each takes (N, P, R) outputs and the geometry of the P priors.
        """
        return dict(boxes=self.boxes, encoded=self.encoded)

    def encoded(self, reg: Tensor, geometry: Geometry) -> Tensor:
        """(N, P, R) regression outputs as (N * P, 4) encoded boxes.

        Deltas where the head predicts deltas; where it predicts distances,
        distances in units of the level's stride, so that those of all levels
        are of similar size.
        """
        return reg.flatten(0, 1)

    def boxes(self, reg: Tensor, geometry: Geometry) -> Tensor:
        """(N, P, R) regression outputs as (N * P, 4) boxes, xyxy in pixels."""
        return self.head.bbox_coder.decode(
            geometry.priors.repeat(len(reg), 1), reg.flatten(0, 1))

    # -- places on the feature maps ----------------------------------------

    @property
    def offset(self) -> float:
        """Where the centre of the first prior is, in units of the stride."""
        raise NotImplementedError(type(self).__name__)

    def level_of(self, boxes: Tensor) -> Tensor:
        """The level that detects boxes of such a size.

        Args:
            boxes: (n, 4), xyxy in pixels.

        Returns:
            Tensor: (n, ) indices of levels.
        """
        raise NotImplementedError(type(self).__name__)

    # -- targets -----------------------------------------------------------

    def targets(self, seen: HeadRecord, num_images: int) -> Targets:
        """Read what the head's own methods said about the targets.

        Args:
            seen: record of a training pass, whose ``returned`` has by the
                names in :attr:`target_methods` what each call returned.
            num_images: N.
        """
        raise NotImplementedError(type(self).__name__)

    def valid_priors(self, sizes: Sequence[Sequence[int]],
                     levels: Sequence[int], metas: Sequence[dict],
                     device: torch.device) -> Tensor:
        """(N, P) float: 1 for priors inside the padded image.

        They are the weights where student and teacher have different priors.
        Arguments as those of :meth:`geometry`, and the meta information of
        the N images.
        """
        flags = [
            self.head.prior_generator.valid_flags(
                sizes, meta['pad_shape'], device=device) for meta in metas
        ]
        return torch.stack([
            torch.cat([image[i] for i in levels]) for image in flags
        ]).float()

    def class_or_none(self, labels: Tensor) -> Tensor:
        """mmdet's labels with -1 for what is no class."""
        known = (labels >= 0) & (labels < self.head.num_classes)
        return torch.where(known, labels, -1)
