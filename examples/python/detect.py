#!/usr/bin/env python3
"""Detections and tracks in a Python program: nvsink's signal for every frame, and the metas on it.

    ./dev run python3 examples/python/detect.py [CLIP]

Needs the Debian packages in examples/python/requirements and nothing else beside the plugin.
"""

import os
import pathlib
import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstVideo", "1.0")
from gi.repository import Gst, GstVideo  # noqa: E402

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]

# meta=roi: all regions have the number 0, see regions().
PIPELINE = (
    "filesrc name=file ! decodebin ! nvinference name=i meta=roi ! nvtrack ! nvsink name=s overflow=block"
)


def on_output(_sink, sample, record):
    """Called for each frame, on a thread of the sink; docs/records.md has every field of the record."""
    _, seq = record.get_uint64("seq")
    for region in regions(sample.get_buffer()):
        detection, track = region.get_param("detection"), region.get_param("object_id")
        _, confidence = detection.get_double("confidence")
        line = f"frame {seq}: {detection.get_string('label')} {confidence:.2f}"
        if track:
            line += f" #{track.get_int('id').value}"
        print(f"{line} at {region.x},{region.y} {region.w}x{region.h}")


def regions(buffer):
    """The regions on a frame, one at a time: each is good until the next.

    PyGObject finds the first region that has a number, and has no way to the second: so those that are done with are
    taken off a copy, which has no pixels.
    """
    copy = buffer.copy_region(Gst.BufferCopyFlags.META, 0, buffer.get_size())
    while region := GstVideo.buffer_get_video_region_of_interest_meta_id(copy, 0):
        yield region
        copy.remove_meta(region.meta)


def main():
    clips = os.environ.get("NV_CLIPS", REPOSITORY / ".cache/clips")
    clip = sys.argv[1] if len(sys.argv) > 1 else f"{clips}/carphone_pristine.mp4"
    Gst.init(None)
    pipeline = Gst.parse_launch(PIPELINE)
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
