"""SDD once more, as loops over one cell at a time, in float64.

Written from the formulas (docs/mathematics.md), not from the package.
"""
import math

import torch


def softmax(v, temperature=1.0):
    top = max(v)
    e = [math.exp((x - top) / temperature) for x in v]
    return [x / sum(e) for x in e]


def kl(p, q):
    return sum(a * (math.log(a) - math.log(b)) for a, b in zip(p, q) if a > 0)


def cell_loss(base, s, t, target, temperature, alpha, beta, gamma):
    square = temperature**2
    q, p = softmax(s, temperature), softmax(t, temperature)
    if base == 'kd':
        return square * kl(p, q)
    if base == 'dkd':
        rest = [k for k in range(len(s)) if k != target]
        first = kl([p[target], 1 - p[target]], [q[target], 1 - q[target]])
        second = kl(
            softmax([t[k] for k in rest], temperature),
            softmax([s[k] for k in rest], temperature))
        return square * (alpha * first + beta * second)
    if base == 'nkd':
        first = -softmax(t)[target] * math.log(softmax(s)[target])
        return first - gamma * square * sum(
            a * math.log(b) for a, b in zip(p, q))
    q = [1 / (1 + math.exp(-x / temperature)) for x in s]
    p = [1 / (1 + math.exp(-x / temperature)) for x in t]
    if base == 'bernoulli':
        return square * sum(
            kl([a, 1 - a], [b, 1 - b]) for a, b in zip(p, q))
    return square * sum(
        abs(a - b) * (-a * math.log(b) - (1 - a) * math.log(1 - b))
        for a, b in zip(p, q))


def bins(positions, m):
    """Those of adaptive pooling, over the extent of what is used."""
    if not positions:
        return [[] for _ in range(m)]
    start, length = min(positions), max(positions) + 1 - min(positions)
    return [
        range(start + math.floor(i * length / m),
              start + math.ceil((i + 1) * length / m)) for i in range(m)
    ]


def grid(maps, mask, m):
    """m² cells of one image: a vector of means, or None with nothing in it."""
    height, width = len(mask), len(mask[0])
    if m < 4 and 4 % m == 0:
        fine, step, cells = grid(maps, mask, 4), 4 // m, []
        for i in range(m):
            for j in range(m):
                inside = [
                    fine[(i * step + a) * 4 + j * step + b]
                    for a in range(step) for b in range(step)
                ]
                cells.append(mean([c for c in inside if c is not None]))
        return cells
    rows = bins([y for y in range(height) if any(mask[y])], m)
    columns = bins(
        [x for x in range(width) if any(row[x] for row in mask)], m)
    return [
        mean([[channel[y][x] for channel in maps] for y in r for x in c
              if mask[y][x]]) for r in rows for c in columns
    ]


def mean(vectors):
    if not vectors:
        return None
    return [sum(v) / len(vectors) for v in zip(*vectors)]


def inside(maps, extents):
    """(B, H, W), bool: a mask of the extents of (B, K, H, W) maps."""
    mask = torch.zeros_like(maps[:, 0], dtype=torch.bool)
    for m, (h, w) in zip(mask, extents, strict=True):
        m[:h, :w] = True
    return mask


def oracle_sdd(student, teacher, labels=None, base='kd', scales=(1, 2, 4),
             temperature=4.0, alpha=1.0, beta=8.0, gamma=1.5,
             complementary_weight=2.0, label_free=False, weight=None,
             mask=None):
    b, classes, height, width = student.shape
    total = count = 0.0
    for i in range(b):
        inside = ([[True] * width] * height
                  if mask is None else mask[i].tolist())
        important = ([[1.0] * width] * height
                     if weight is None else weight[i].tolist())
        stack = student[i].tolist() + teacher[i].tolist() + [important]
        whole = grid(stack, inside, 1)[0]
        if whole is None:
            continue
        t = whole[classes:-1]
        global_class = t.index(max(t))
        used = [[y for y in range(height) if any(inside[y])],
                [x for x in range(width) if any(row[x] for row in inside)]]
        side = min(max(u) + 1 - min(u) for u in used)
        for m in scales:
            for cell in grid(stack, inside, m):
                if cell is None or side < m:
                    continue
                s, t, w = cell[:classes], cell[classes:-1], cell[-1]
                own = t.index(max(t))
                label = None if labels is None else int(labels[i])
                if label is None or label_free:
                    complementary = own != global_class
                else:
                    complementary = (own == label) != (global_class == label)
                target = global_class if label is None else label
                factor = complementary_weight if complementary else 1.0
                total += w * factor * cell_loss(base, s, t, target,
                                                temperature, alpha, beta,
                                                gamma)
                count += w
    return total / count if count else 0.0
