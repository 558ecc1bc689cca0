"""Detect in an image with an exported GFL student: no torch, no mmdet.

Needs numpy, OpenCV and onnxruntime.  Prints score, box (x1, y1, x2, y2 in
pixels) and class of each detection.
"""
import argparse
import json

import cv2
import numpy as np
import onnxruntime

DIVISOR = 32
IOU_THRESHOLD = 0.6  # model.test_cfg of the config


def describe(session):
    """What the exported file says of itself."""
    return {key: json.loads(value) for key, value in
            session.get_modelmeta().custom_metadata_map.items()}


def prepare(image, about):
    """(1, 3, H, W), resized into a scale and padded, and by how much."""
    scale = about['scale']
    height, width = image.shape[:2]
    factor = min(max(scale) / max(height, width),
                 min(scale) / min(height, width))
    image = cv2.resize(image, (int(width * factor + 0.5),
                               int(height * factor + 0.5)))
    if about['bgr_to_rgb']:
        image = image[..., ::-1]
    image = (image.astype(np.float32) - about['mean']) / about['std']
    pad = [(0, -side % DIVISOR) for side in image.shape[:2]]
    image = np.pad(image, (*pad, (0, 0))).transpose(2, 0, 1)
    return image[None].astype(np.float32), factor


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
    inputs, factor = prepare(image, about)
    names = [output.name for output in session.get_outputs()]
    maps = dict(zip(names, session.run(None, {'images': inputs})))
    strides = [int(n.removeprefix('cls_')) for n in names if 'cls_' in n]
    boxes = np.concatenate([boxes_of(maps[f'reg_{s}'][0], s)
                            for s in strides]) / factor
    scores = 1 / (1 + np.exp(-np.concatenate([
        maps[f'cls_{s}'][0].reshape(len(maps[f'cls_{s}'][0]), -1).T
        for s in strides])))
    at, classes = np.nonzero(scores > score)
    height, width = image.shape[:2]
    boxes = boxes[at].clip(0, (width, height) * 2)
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
    for box, score, label in zip(*detect(
            session, cv2.imread(args.image), about, args.score)):
        print(f'{score:.4f}', *(f'{side:.2f}' for side in box),
              about['classes'][label])
