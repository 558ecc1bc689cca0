"""Detect in an image with an exported GFL student: no torch, no mmdet.

Needs numpy, OpenCV and onnxruntime.  Prints score, box (x1, y1, x2, y2 in
pixels) and class of each detection.
"""
import argparse
import json
import sys

import cv2
import numpy as np
import onnxruntime

DIVISOR = 32
IOU_THRESHOLD = 0.6  # model.test_cfg of the config
READ = dict(color=cv2.IMREAD_COLOR, grayscale=cv2.IMREAD_GRAYSCALE,
            unchanged=cv2.IMREAD_UNCHANGED)


def describe(session):
    """What the exported file says of itself."""
    return {key: json.loads(value) for key, value in
            session.get_modelmeta().custom_metadata_map.items()}


def size_of(model_input):
    """(height, width) that a model takes; None if it takes any."""
    sides = model_input.shape[2:]
    return sides if all(isinstance(side, int) for side in sides) else None


def resized(height, width, about, size):
    """Height and width of an image after the pipeline's Resize."""
    across = down = 1
    if 'scale_factor' in about:
        across, down = about['scale_factor']
    scale = about.get('scale', (int(width * across + 0.5),
                                int(height * down + 0.5)))
    if about.get('keep_ratio'):
        factor = min(max(scale) / max(height, width),
                     min(scale) / min(height, width))
        scale = int(width * factor + 0.5), int(height * factor + 0.5)
    if size:  # what is larger than the only size is made to fit
        factor = min(1, size[0] / scale[1], size[1] / scale[0])
        scale = [int(side * factor + 0.5) for side in scale]
    return scale[1], scale[0]


def padded(image, height, width, value):
    """An image with more at the bottom and on the right."""
    if height < image.shape[0] or width < image.shape[1]:
        raise ValueError(f'an image of {image.shape[:2]} does not fit into '
                         f'{height} x {width}')
    whole = np.empty((height, width, image.shape[2]), image.dtype)
    whole[:] = value
    whole[:image.shape[0], :image.shape[1]] = image
    return whole


def prepare(image, about, size=None):
    """An image as the pipeline and the preprocessor make it.

    Returns (1, C, H, W); by how much it was scaled in x and y; and width and
    height of what boxes may lie in.
    """
    old = image.shape[:2]
    new = resized(*old, about, size)
    image = cv2.resize(image, new[::-1]).reshape(*new, -1)
    if 'pad' in about:
        pad, sides = about['pad'], np.array(new)
        if pad['square']:
            sides[:] = sides.max()
        if pad['divisor']:
            sides += -sides % pad['divisor']
        elif pad['size']:
            sides = pad['size'][::-1]
        image = padded(image, *sides, pad['value'])
    inside = image.shape[1::-1]
    if about.get('bgr_to_rgb'):
        image = image[..., ::-1]
    image = (image.astype(np.float32) - about.get('mean', 0)) / about.get(
        'std', 1)
    divisor = np.lcm(DIVISOR, about.get('pad_size_divisor', 1))
    height, width = size or (side + -side % divisor
                             for side in image.shape[:2])
    image = padded(image, height, width, about.get('pad_value', 0))
    return (image.transpose(2, 0, 1)[None].astype(np.float32),
            np.array([new[1] / old[1], new[0] / old[0]]), inside)


def boxes_of(reg, stride):
    """(H * W, 4): a side is a distribution over 0, 1, … strides."""
    bins = np.exp(reg - reg.max()).reshape(4, -1, reg[0].size)
    bins /= bins.sum(1, keepdims=True)
    left, top, right, bottom = stride * (
        bins * np.arange(bins.shape[1])[:, None]).sum(1)
    y, x = stride * np.indices(reg.shape[1:]).reshape(2, -1)
    return np.stack([x - left, y - top, x + right, y + bottom], 1)


def detect(session, image, about, score):
    """Boxes (N, 4) in pixels of the image, scores and classes."""
    inputs, factor, inside = prepare(image, about,
                                     size_of(session.get_inputs()[0]))
    names = [output.name for output in session.get_outputs()]
    maps = dict(zip(names, session.run(None, {'images': inputs})))
    strides = [int(n.removeprefix('cls_')) for n in names if 'cls_' in n]
    boxes = np.concatenate([boxes_of(maps[f'reg_{s}'][0], s)
                            for s in strides])
    scores = 1 / (1 + np.exp(-np.concatenate([
        maps[f'cls_{s}'][0].reshape(len(maps[f'cls_{s}'][0]), -1).T
        for s in strides])))
    at, classes = np.nonzero(scores > score)
    boxes = boxes[at].clip(0, inside * 2) / np.tile(factor, 2)
    scores = scores[at, classes]
    sizes = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1)
    kept = np.array(cv2.dnn.NMSBoxesBatched(
        sizes.tolist(), scores.tolist(), classes.tolist(), score,
        IOU_THRESHOLD), int).reshape(-1)
    kept = kept[scores[kept].argsort(kind='stable')[::-1]]
    return boxes[kept], scores[kept], classes[kept]


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('model', help='student.onnx')
    parser.add_argument('image')
    parser.add_argument('--score', type=float, default=0.3)
    args = parser.parse_args()
    session = onnxruntime.InferenceSession(
        args.model, providers=['CPUExecutionProvider'])
    about = describe(session)
    if 'not_described' in about:
        print('not done here, but in the test pipeline:',
              *about['not_described'], file=sys.stderr)
    image = cv2.imread(args.image, READ[about.get('color_type', 'color')])
    for box, score, label in zip(*detect(
            session, image, about, args.score)):
        print(f'{score:.4f}', *(f'{side:.2f}' for side in box),
              about['classes'][label])
