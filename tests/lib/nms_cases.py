"""Inputs for NMS: random and adversarial."""
import torch


def nms_cases():
    """Yield (name, boxes, scores, threshold, offset)."""
    rng = torch.Generator().manual_seed(0)

    def rand(*shape):
        return torch.rand(*shape, generator=rng)

    for count in (0, 1, 5, 50, 1500):
        for offset in (0, 1):
            for threshold in (0.3, 0.5, 0.6):
                corner, side = rand(count, 2) * 100, rand(count, 2) * 60
                grid = torch.cat([(corner / 10).round() * 5,
                                  (side / 10).round() * 5], 1)
                # sides of 0, and overlaps that hit a threshold exactly
                grid = torch.cat([grid[:, :2], grid[:, :2] + grid[:, 2:]], 1)
                free = torch.cat([corner, corner + side], 1)
                scores = rand(count)
                ties = (scores * 4).round() / 4
                # mmcv moves every class by the largest coordinate
                apart = (rand(count) * 80).floor()[:, None] * 1333
                inverted = grid - torch.tensor([0, 0, 10, 10])
                for name, boxes, s in (
                    ('random', free, scores), ('tied scores', free, ties),
                    ('zero area', grid, ties), ('inverted', inverted, ties),
                    ('80 classes', free + apart, scores),
                    ('80 classes on a grid', grid + apart, ties),
                    ('equal boxes', free[:1].expand(count, 4), scores)):
                    yield name, boxes, s, threshold, offset
