"""CrossKD once more, as loops over one location at a time, in float64.

Written from the formulas (docs/mathematics.md), not from the package: it
shares nothing with it but the mmdet heads themselves.
"""
import math

import torch
from families import FAMILY


def held(head, features, split):
    """Outputs of layer ``split`` of both towers, per level."""
    levels = []
    for x in features:
        pair = []
        for tower in (head.cls_convs, head.reg_convs):
            h = x
            for layer in tower[:split]:
                h = layer(h)
            pair.append(h)
        levels.append(pair)
    return levels


def predict(head, family, cls, reg, level):
    """Logits, boxes as the head has them, logits of the centerness."""
    logits, boxes = (getattr(head, layer)(x)
                     for layer, x in zip(family.layers, (cls, reg)))
    if hasattr(head, 'scales'):
        boxes = head.scales[level](boxes)
    if family.boxes == 'distances':
        boxes = boxes.exp()
    center = None
    if 'loss_center_kd' in family.kd_cfg:
        center = head.atss_centerness(reg)
    return logits, boxes, center


def align(s, t):
    out = torch.empty_like(s)
    for c in range(s.size(1)):
        a, b = s[:, c].flatten(), t[:, c].flatten()
        mean_a, mean_b = sum(a) / len(a), sum(b) / len(b)
        std_a = (sum((a - mean_a)**2) / (len(a) - 1)).sqrt()
        std_b = (sum((b - mean_b)**2) / (len(b) - 1)).sqrt()
        out[:, c] = (s[:, c] - mean_a) / (std_a + 1e-6) * std_b + mean_b
    return out


def sigmoid(v):
    return 1 / (1 + math.exp(-v))


def iou_loss(p, q, giou):
    """1 - GIoU, or -log IoU as mmdet's IoULoss."""
    area = lambda b: max(b[2] - b[0], 0) * max(b[3] - b[1], 0)  # noqa: E731
    inter = area([max(p[0], q[0]), max(p[1], q[1]),
                  min(p[2], q[2]), min(p[3], q[3])])
    union = area(p) + area(q) - inter
    iou = inter / max(union, 1e-6)
    if not giou:
        return -math.log(max(iou, 1e-6))
    hull = area([min(p[0], q[0]), min(p[1], q[1]),
                 max(p[2], q[2]), max(p[3], q[3])])
    return 1 - (iou - (hull - union) / max(hull, 1e-6))


def decode(family, reg, prior, coder):
    """One box in pixels from one prior and its regression output."""
    if family.boxes == 'distances':
        x, y = prior
        return [x - reg[0], y - reg[1], x + reg[2], y + reg[3]]
    m, s = coder.means, coder.stds
    dx, dy, dw, dh = (r * si + mi for r, si, mi in zip(reg, s, m))
    w, h = prior[2] - prior[0], prior[3] - prior[1]
    limit = abs(math.log(coder.__dict__.get('wh_ratio_clip', 16 / 1000)))
    cx = (prior[0] + prior[2]) / 2 + dx * w
    cy = (prior[1] + prior[3]) / 2 + dy * h
    w *= math.exp(min(max(dw, -limit), limit))
    h *= math.exp(min(max(dh, -limit), limit))
    return [cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2]


def at(tensor, place, size):
    """The numbers that image i predicts for prior k of the location (y, x)."""
    i, k, y, x = place
    return tensor[i, k * size:(k + 1) * size, y, x].tolist()


def crosskd_losses(kind, student, teacher, s_features, t_features, split,
                   label_weights, positives, normalizer):
    """Losses of a batch, with all weights 1.

    Args:
        student, teacher: mmdet heads in float64, the teacher in eval mode.
        label_weights, positives: per level (N, P), from the caller; None
            for weights of 1.
        normalizer: from the caller.
    """
    family = FAMILY[kind]
    s_held = held(student, s_features, split)
    t_held = held(teacher, t_features, split)
    t_full = held(teacher, t_features, len(teacher.cls_convs))
    sizes = [f.shape[-2:] for f in s_features]
    priors = teacher.prior_generator.grid_priors(
        sizes, dtype=torch.float64, device='cpu')
    count = teacher.prior_generator.num_base_priors[0]
    cls_loss = reg_loss = center_loss = weight_sum = 0.0
    for level in range(len(s_features)):
        t_cls, t_reg, t_center = predict(
            teacher, family, *t_full[level], level)
        towers = []
        for h_s, h_t, tower in zip(s_held[level], t_held[level],
                                   (teacher.cls_convs, teacher.reg_convs)):
            a = align(h_s, h_t)
            if split:
                a = a.clamp(min=0)
            for layer in tower[split:]:
                a = layer(a)
            towers.append(a)
        x_cls, x_reg, x_center = predict(teacher, family, *towers, level)
        n, _, height, width = t_cls.shape
        for i in range(n):
            for y in range(height):
                for x in range(width):
                    for k in range(count):
                        p = (y * width + x) * count + k
                        lw = (1.0 if label_weights is None else
                              float(label_weights[level][i, p]))
                        classes = t_cls.size(1) // count
                        place = (i, k, y, x)
                        a = at(x_cls, place, classes)
                        b = at(t_cls, place, classes)
                        for u, v in zip(a, b):
                            u, v = sigmoid(u), sigmoid(v)
                            bce = -v * math.log(u) - (1 - v) * math.log(1 - u)
                            cls_loss += lw * abs(u - v) * bce
                        w = lw * max(sigmoid(v) for v in b)
                        size = t_reg.size(1) // count
                        a = at(x_reg, place, size)
                        b = at(t_reg, place, size)
                        if family.boxes == 'bins':
                            bins = size // 4
                            for side in range(4):
                                reg_loss += w * kl(
                                    a[side * bins:(side + 1) * bins],
                                    b[side * bins:(side + 1) * bins]) / 4
                            weight_sum += w
                        else:
                            prior = priors[level][p].tolist()
                            reg_loss += w * iou_loss(
                                decode(family, a, prior, teacher.bbox_coder),
                                decode(family, b, prior, teacher.bbox_coder),
                                family.boxes != 'distances')
                        if t_center is not None and positives[level][i, p]:
                            u = sigmoid(at(x_center, place, 1)[0])
                            v = sigmoid(at(t_center, place, 1)[0])
                            center_loss += -v * math.log(u) - (
                                1 - v) * math.log(1 - u)
    losses = dict(
        loss_cls_kd=cls_loss / normalizer,
        loss_reg_kd=reg_loss / (
            weight_sum if family.boxes == 'bins' else normalizer))
    if t_center is not None:
        losses['loss_center_kd'] = center_loss / normalizer
    return losses


def kl(a, b):
    za, zb = (math.log(sum(map(math.exp, v))) for v in (a, b))
    return sum(
        math.exp(v - zb) * ((v - zb) - (u - za)) for u, v in zip(a, b))
