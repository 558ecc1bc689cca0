"""Detect objects in an image, a folder of images or a video, with mmdet.

Images go to OUT/vis, boxes to OUT/preds as JSON, a video to OUT/vis/NAME.mp4.
"""
import argparse
from contextlib import suppress
from pathlib import Path

with suppress(ImportError):  # it stands in for ops that mmcv was built without
    import crosskd  # noqa: F401

# isort: split
import cv2
from mmdet.apis import DetInferencer

VIDEOS = ('.mp4', '.avi', '.mov', '.mkv', '.webm')


def predict_video(inferencer, file, out, score):
    """Write the video with the boxes that are found in each frame."""
    video = cv2.VideoCapture(str(file))
    size = [int(video.get(side)) for side in (
        cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)]
    out.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(out), cv2.VideoWriter.fourcc(*'mp4v'),
                             video.get(cv2.CAP_PROP_FPS), size)
    while True:
        there, frame = video.read()
        if not there:
            break
        found = inferencer(frame, return_vis=True, pred_score_thr=score)
        writer.write(found['visualization'][0])
    writer.release()


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='exported/student.py')
    parser.add_argument('checkpoint', help='exported/student.pth')
    parser.add_argument('input', type=Path,
                        help='an image, a folder of images or a video')
    parser.add_argument('--out', type=Path, default='predictions',
                        help='folder for the results (default: predictions)')
    parser.add_argument('--score', type=float, default=0.3, help='detections '
                        'with a lower score are not drawn (default: 0.3)')
    parser.add_argument('--device', help="such as 'cpu' or 'cuda:0' "
                        '(default: a GPU if there is one)')
    args = parser.parse_args()
    inferencer = DetInferencer(args.config, args.checkpoint, args.device,
                               show_progress=False)
    if args.input.suffix.lower() in VIDEOS:
        predict_video(inferencer, args.input,
                      args.out / 'vis' / f'{args.input.stem}.mp4', args.score)
    else:
        inferencer(str(args.input), pred_score_thr=args.score,
                   no_save_pred=False, out_dir=str(args.out))
    print(f'Results: {args.out}')
