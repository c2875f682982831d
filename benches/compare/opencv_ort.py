"""What a user would write in Python: files, a letterbox, ONNX Runtime, boxes.

    opencv_ort.py each|together MODEL FILE...

each: a thread and a session per file, a run per frame. together: one loop over all files, one session, a run for a
frame of each of them. OpenCV reads, scales and suppresses; both libraries have the threads they choose by default.
Prints one line of JSON.
"""

import json
import sys
import threading
import time

import cv2
import numpy as np
import onnxruntime

SIDE = 320
GREY = 114
SCORE = 0.4
IOU = 0.5


def session(model):
    """A session as its documentation shows it."""
    return onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])


def letterbox(frame, row):
    """Writes the frame into [3, 320, 320], RGB, 0..1; returns scale, left and top."""
    height, width = frame.shape[:2]
    scale = min(SIDE / width, SIDE / height)
    wide, high = round(width * scale), round(height * scale)
    left, top = (SIDE - wide) // 2, (SIDE - high) // 2
    canvas = np.full((SIDE, SIDE, 3), GREY, np.uint8)
    canvas[top:top + high, left:left + wide] = cv2.resize(frame, (wide, high), interpolation=cv2.INTER_LINEAR)
    row[:] = cv2.dnn.blobFromImage(canvas, 1 / 255, swapRB=True)[0]
    return scale, left, top


def boxes(output, placed):
    """The detections of one image: output is [84, 2100]."""
    scale, left, top = placed
    scores = output[4:]
    best = scores.argmax(axis=0)
    score = scores[best, np.arange(scores.shape[1])]
    keep = score >= SCORE
    if not keep.any():
        return []
    x, y, width, height = output[:4, keep]
    corners = np.stack(((x - width / 2 - left) / scale, (y - height / 2 - top) / scale, width / scale, height / scale), 1)
    chosen = cv2.dnn.NMSBoxesBatched(corners.tolist(), score[keep].tolist(), best[keep].tolist(), SCORE, IOU)
    return [(int(best[keep][at]), float(score[keep][at]), corners[at].tolist()) for at in chosen]


def each(model, files):
    """One thread per file."""
    counts = [[0, 0] for _ in files]

    def work(file, count):
        run = session(model)
        name = run.get_inputs()[0].name
        video = cv2.VideoCapture(file)
        tensor = np.empty((1, 3, SIDE, SIDE), np.float32)
        while True:
            there, frame = video.read()
            if not there:
                return
            placed = letterbox(frame, tensor[0])
            output = run.run(None, {name: tensor})[0]
            count[0] += 1
            count[1] += len(boxes(output[0], placed))

    threads = [threading.Thread(target=work, args=pair) for pair in zip(files, counts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [sum(column) for column in zip(*counts)]


def together(model, files):
    """One loop, a batch of a frame of each file."""
    run = session(model)
    name = run.get_inputs()[0].name
    videos = [cv2.VideoCapture(file) for file in files]
    tensor = np.empty((len(files), 3, SIDE, SIDE), np.float32)
    frames = found = 0
    while videos:
        read = [(video, *video.read()) for video in videos]
        videos = [video for video, there, _ in read if there]
        images = [frame for _, there, frame in read if there]
        if not images:
            break
        placed = [letterbox(frame, row) for frame, row in zip(images, tensor)]
        outputs = run.run(None, {name: tensor[:len(images)]})[0]
        frames += len(images)
        found += sum(len(boxes(output, place)) for output, place in zip(outputs, placed))
    return frames, found


def main(arguments):
    """Runs one of the two and says how many frames and detections there were."""
    mode, model, *files = arguments
    began = time.monotonic()
    frames, found = {"each": each, "together": together}[mode](model, files)
    seconds = time.monotonic() - began
    versions = {"opencv": cv2.__version__, "numpy": np.__version__, "onnxruntime": onnxruntime.__version__}
    print(json.dumps({"frames": frames, "detections": found, "seconds": round(seconds, 3), **versions}))


if __name__ == "__main__":
    main(sys.argv[1:])
