"""A teacher that is no detector: it has features only."""
from typing import Any

from mmdet.models.detectors import BaseDetector
from mmdet.registry import MODELS
from mmdet.structures import SampleList
from torch import Tensor, nn

from ..errors import ConfigValueError
from .maps import Maps


class FeatureTeacher(BaseDetector):
    """A model that maps images to features, in the place of a detector.

    All that a teacher does (normalisation, precision, taps) works on it.  It
    has no predictions, so only features can be distilled from it.

    Example config: ``teacher_config=dict(type='ResNet', depth=50)``, which
    makes one of any class that is registered in mmdet's ``MODELS`` and is no
    detector.

    Args:
        backbone: the model's config, or a module that runs it.
        data_preprocessor: config of its normalisation; by default its images
            are normalised as the student's.

    Raises:
        ValueError: the model has no parameters.
    """

    def __init__(self, backbone: dict | Maps,
                 data_preprocessor: dict | nn.Module | None = None) -> None:
        super().__init__(data_preprocessor=data_preprocessor)
        self.backbone = (backbone if isinstance(backbone, Maps) else
                         Maps(MODELS.build(backbone)))
        if next(self.parameters(), None) is None:
            raise ConfigValueError(
                f'{self.title} has no parameters, so it '
                'cannot be a teacher')

    @property
    def model(self) -> nn.Module:
        """The model itself, whose names of weights a checkpoint has."""
        return self.backbone.model

    @property
    def title(self) -> str:
        """What the log calls it."""
        return type(self.model).__name__

    def extract_feat(self, batch_inputs: Tensor) -> list[Tensor]:
        """Feature maps (N, C, h, w) of normalised images (N, 3, H, W)."""
        return self.backbone(batch_inputs)

    def predict(self, batch_inputs: Tensor, batch_data_samples: SampleList,
                **kwargs: Any) -> SampleList:
        """The samples as they are: it detects nothing."""
        return batch_data_samples

    def loss(self, batch_inputs: Tensor, batch_data_samples: SampleList
             ) -> dict:
        """It does not train."""
        raise TypeError(f'{self.title} is no detector, so it has no loss; it '
                        "can only be a student's teacher_config")

    def _forward(self, batch_inputs: Tensor,
                 batch_data_samples: SampleList | None = None
                 ) -> list[Tensor]:
        return self.extract_feat(batch_inputs)
