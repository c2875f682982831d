#!/usr/bin/env python3
"""Detections in a Python program: a pipeline with nvinference, and nvsink's signal for every frame.

    ./dev run python3 examples/detect.py [CLIP]

Needs PyGObject (Debian: python3-gi) and nothing else beside the plugin.
"""

import os
import pathlib
import sys
import warnings

import gi

gi.require_version("Gst", "1.0")
from gi.repository import Gst  # noqa: E402

# GObject.ValueArray is deprecated, and the one kind of array PyGObject can read out of a structure.
warnings.simplefilter("ignore", DeprecationWarning)
REPOSITORY = pathlib.Path(__file__).resolve().parent.parent


def on_output(_sink, sample, record):
    """Called for each frame, on a thread of the sink; docs/records.md has every field of the record."""
    _, seq = record.get_uint64("seq")
    _, detections = record.get_array("detections")
    for at in range(detections.n_values):
        detection = detections.get_nth(at)
        _, confidence = detection.get_double("confidence")
        print(f"frame {seq}: {detection.get_string('label')} {confidence:.2f}")


def main():
    clips = os.environ.get("NV_CLIPS", REPOSITORY / ".cache/clips")
    clip = sys.argv[1] if len(sys.argv) > 1 else f"{clips}/carphone_pristine.mp4"
    Gst.init(None)
    pipeline = Gst.parse_launch("filesrc name=file ! decodebin ! nvinference name=i ! nvsink name=s overflow=block")
    pipeline.get_by_name("file").set_property("location", clip)
    pipeline.get_by_name("i").set_property("model", str(REPOSITORY / "models/nanodet-g-320.onnx"))
    pipeline.get_by_name("s").connect("new-output", on_output)

    pipeline.set_state(Gst.State.PLAYING)
    message = pipeline.get_bus().timed_pop_filtered(
        Gst.CLOCK_TIME_NONE, Gst.MessageType.EOS | Gst.MessageType.ERROR
    )
    pipeline.set_state(Gst.State.NULL)
    if message.type == Gst.MessageType.ERROR:
        error, _ = message.parse_error()
        sys.exit(f"{message.src.get_name()}: {error.message}")


if __name__ == "__main__":
    main()
