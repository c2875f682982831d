#!/usr/bin/env python3
"""Writes the tiny ONNX models the tests run: `python3 make_models.py [FOLDER]`.

Needs only `onnx` and `numpy`. The bytes depend on nothing but this file and the version of `onnx`, so a
second run changes nothing. Opset 13 and IR version 8, so that old runtimes load them. README.md beside
this file says what each computes.
"""

import sys
from pathlib import Path

import numpy as np
from onnx import TensorProto as T
from onnx import checker, helper, numpy_helper

OPSET = 13
IR_VERSION = 8


class Graph:
    """Nodes and constants of one model, in the order they were added."""

    def __init__(self):
        self.nodes, self.constants, self.count = [], [], 0

    def constant(self, array):
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def add(self, op, *inputs, out=None, **attributes):
        out = out or f"t{self.count}"
        self.count += 1
        self.nodes.append(helper.make_node(op, list(inputs), [out], **attributes))
        return out


def value(name, dtype, shape):
    return helper.make_tensor_value_info(name, dtype, shape)


def save(folder, name, graph, inputs, outputs, metadata=None, check=True):
    proto = helper.make_graph(graph.nodes, name, inputs, outputs, graph.constants)
    model = helper.make_model(
        proto,
        producer_name="make_models",
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
    )
    for key, text in (metadata or {}).items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, text
    if check:
        checker.check_model(model, full_check=True)
    data = model.SerializeToString(deterministic=True)
    assert len(data) < 20_000, (name, len(data))
    (folder / f"{name}.onnx").write_bytes(data)


def cells(side, cell=8):
    """The boxes of all cells, row by row: [1, 4, cells] f32 of cx, cy, w, h in model pixels."""
    n = side // cell
    rows, columns = np.divmod(np.arange(n * n), n)
    centers = np.stack([columns * cell + cell / 2, rows * cell + cell / 2])
    return np.concatenate([centers, np.full((2, n * n), cell)])[None].astype(np.float32)


def brightness(g, images, count):
    """[N, 3, S, S] 0..1 -> [N, 1, cells]: mean of the 8 x 8 pixels and three channels of every cell."""
    grey = g.add("ReduceMean", images, axes=[1], keepdims=1)
    mean = g.add("AveragePool", grey, kernel_shape=[8, 8], strides=[8, 8])
    return g.add("Reshape", mean, g.constant(np.array([0, 1, count], np.int64)))


def peak(g, levels, first, last):
    """[N, 1, cells] -> the same with all but the (first) brightest cell of first..last set to zero."""
    count = last - first
    part = g.add(
        "Slice", levels, *(g.constant(np.array([v], np.int64)) for v in (first, last, 2))
    )
    index = g.add("ArgMax", part, axis=2, keepdims=1)
    places = g.constant(np.arange(count, dtype=np.int64).reshape(1, 1, count))
    hot = g.add("Cast", g.add("Equal", index, places), to=T.FLOAT)
    return g.add("Mul", part, hot)


def with_boxes(g, images, boxes, scores, out=None):
    """[1, 4, K] boxes and [N, C, K] scores -> [N, 4 + C, K], the rows of YOLOv8."""
    n = g.add("Slice", g.add("Shape", images), *(g.constant(np.array([v], np.int64)) for v in (0, 1)))
    shape = g.add("Concat", n, g.constant(np.array(boxes.shape[1:], np.int64)), axis=0)
    every = g.add("Expand", g.constant(boxes), shape)
    return g.add("Concat", every, scores, axis=1, out=out)


def brightest(g, images, out=None):
    return with_boxes(g, images, cells(64), peak(g, brightness(g, images, 64), 0, 64), out)


def spin(g, images, turns):
    """A [1, 1, 1] zero that takes `turns` products of 128 x 128 matrices to compute."""
    body = Graph()
    body.add("Identity", "go", out="go_out")
    body.add("MatMul", "state", "eye", out="state_out")
    loop = helper.make_graph(
        body.nodes,
        "turn",
        [value("i", T.INT64, []), value("go", T.BOOL, []), value("state", T.FLOAT, [128, 128])],
        [value("go_out", T.BOOL, []), value("state_out", T.FLOAT, [128, 128])],
    )
    size = g.constant(np.array([128, 128], np.int64))
    g.add("EyeLike", g.add("ConstantOfShape", size), dtype=T.FLOAT, out="eye")
    start = g.add("Expand", g.add("ReduceMean", images, keepdims=0), size)
    end = g.add("Loop", g.constant(np.int64(turns)), g.constant(np.bool_(True)), start, body=loop)
    mean = g.add("ReduceMean", end, axes=[0, 1], keepdims=1)
    flat = g.add("Reshape", mean, g.constant(np.array([1, 1, 1], np.int64)))
    return g.add("Mul", flat, g.constant(np.float32(0)))


IMAGES = [value("images", T.FLOAT, ["N", 3, 64, 64])]
OUTPUT = [value("output0", T.FLOAT, ["N", 5, 64])]
BRIGHT = {"names": "{0: 'bright'}", "stride": "8", "task": "detect", "imgsz": "[64, 64]"}


def detectors(folder):
    g = Graph()
    brightest(g, "images", "output0")
    save(folder, "brightest", g, IMAGES, OUTPUT, BRIGHT)

    g = Graph()
    brightest(g, "images", "output0")
    fixed = [value("images", T.FLOAT, [4, 3, 64, 64])]
    save(folder, "fixed4", g, fixed, [value("output0", T.FLOAT, [4, 5, 64])], BRIGHT)

    g = Graph()
    unit = g.add("Div", g.add("Cast", "images", to=T.FLOAT), g.constant(np.float32(255)))
    brightest(g, g.add("Transpose", unit, perm=[0, 3, 1, 2]), "output0")
    save(folder, "u8_nhwc", g, [value("images", T.UINT8, ["N", 64, 64, 3])], OUTPUT, BRIGHT)

    g = Graph()
    g.add("Cast", brightest(g, g.add("Cast", "images", to=T.FLOAT)), to=T.FLOAT16, out="output0")
    half = [value("images", T.FLOAT16, ["N", 3, 64, 64])]
    save(folder, "f16", g, half, [value("output0", T.FLOAT16, ["N", 5, 64])], BRIGHT)

    g = Graph()
    levels = brightness(g, "images", 256)
    dark = g.add("Mul", peak(g, levels, 0, 128), g.constant(np.float32(0)))
    top = g.add("Concat", peak(g, levels, 0, 128), dark, axis=2)
    bottom = g.add("Concat", dark, peak(g, levels, 128, 256), axis=2)
    with_boxes(g, "images", cells(128), g.add("Concat", top, bottom, axis=1), "output0")
    save(
        folder,
        "cell_code",
        g,
        [value("images", T.FLOAT, ["N", 3, 128, 128])],
        [value("output0", T.FLOAT, ["N", 6, 256])],
        {"names": "{0: 'top', 1: 'bottom'}", "stride": "8", "task": "detect", "imgsz": "[128, 128]"},
    )

    for name, turns in (("slow_1ms", 12), ("slow_50ms", 600)):
        g = Graph()
        g.add("Add", brightest(g, "images"), spin(g, "images", turns), out="output0")
        save(folder, name, g, IMAGES, OUTPUT, BRIGHT)


def hostile_outputs(folder):
    g = Graph()
    levels = brightness(g, "images", 64)
    zero = g.add("Sub", levels, levels)
    with_boxes(g, "images", cells(64), g.add("Div", zero, zero), "output0")
    save(folder, "nan", g, IMAGES, OUTPUT, BRIGHT)

    g = Graph()
    mean = g.add("ReduceMean", "images", axes=[1, 2, 3], keepdims=1)
    g.add("Tile", mean, g.constant(np.array([1, 7, 3, 2], np.int64)), out="output0")
    save(folder, "wrong_outputs", g, IMAGES, [value("output0", T.FLOAT, ["N", 7, 3, 2])])

    g = Graph()
    worst = g.add("ReduceMax", "images", keepdims=0)
    index = g.add("Cast", g.add("Mul", worst, g.constant(np.float32(100))), to=T.INT64)
    only = g.add("Gather", g.constant(np.zeros(1, np.float32)), index, axis=0)
    g.add("Add", brightest(g, "images"), only, out="output0")
    save(folder, "error", g, IMAGES, OUTPUT, BRIGHT)

    g = Graph()
    limits = [g.constant(np.float32(v)) for v in (0, 100_000, 1)]
    i = g.add("Reshape", g.add("Range", *limits), g.constant(np.array([1, 1, -1], np.int64)))
    side, half = g.constant(np.float32(64)), g.constant(np.float32(0.5))
    row = g.add("Floor", g.add("Div", i, side))
    x = g.add("Add", g.add("Sub", i, g.add("Mul", row, side)), half)
    turn = g.add("Floor", g.add("Div", row, side))
    y = g.add("Add", g.add("Sub", row, g.add("Mul", turn, side)), half)
    none = g.add("Mul", i, g.constant(np.float32(0)))
    one = g.add("Add", none, g.constant(np.float32(1)))
    score = g.add("Add", none, g.constant(np.float32(0.9)))
    boxes = g.add("Concat", x, y, one, one, score, axis=1)
    n = g.add("Slice", g.add("Shape", "images"), *(g.constant(np.array([v], np.int64)) for v in (0, 1)))
    shape = g.add("Concat", n, g.constant(np.array([5, 100_000], np.int64)), axis=0)
    g.add("Expand", boxes, shape, out="output0")
    save(folder, "many_boxes", g, IMAGES, [value("output0", T.FLOAT, ["N", 5, 100_000])], BRIGHT)


def plain(folder):
    eight = ["N", 3, 8, 8]
    g = Graph()
    g.add("Identity", "images", out="output0")
    save(folder, "identity", g, [value("images", T.FLOAT, eight)], [value("output0", T.FLOAT, eight)])

    free = ["N", 3, "H", "W"]
    save(folder, "dynamic_size", g, [value("images", T.FLOAT, free)], [value("output0", T.FLOAT, free)])

    g = Graph()
    kinds = (("f16", T.FLOAT16), ("f64", T.DOUBLE), ("i32", T.INT32), ("i64", T.INT64), ("u8", T.UINT8), ("bool", T.BOOL))
    for name, dtype in kinds:
        g.add("Cast", "images", to=dtype, out=name)
    outputs = [value(name, dtype, eight) for name, dtype in kinds]
    save(folder, "types", g, [value("images", T.FLOAT, eight)], outputs)


def refused(folder):
    eight = ["N", 3, 8, 8]
    g = Graph()
    g.add("Add", "images", "other", out="output0")
    both = [value("images", T.FLOAT, eight), value("other", T.FLOAT, eight)]
    save(folder, "two_inputs", g, both, [value("output0", T.FLOAT, eight)])

    g = Graph()
    g.add("Identity", "images", out="output0")
    flat = ["N", 64, 64]
    save(folder, "rank3", g, [value("images", T.FLOAT, flat)], [value("output0", T.FLOAT, flat)])

    g = Graph()
    g.add("Add", "images", g.constant(np.zeros(1, np.float32)), out="output0")
    weight = g.constants[0]
    weight.ClearField("raw_data")
    weight.data_location = T.EXTERNAL
    entry = weight.external_data.add()
    entry.key, entry.value = "location", "../../../../etc/passwd"
    io = [value("images", T.FLOAT, eight)], [value("output0", T.FLOAT, eight)]
    save(folder, "external_outside", g, *io, check=False)


def main():
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    detectors(folder)
    hostile_outputs(folder)
    plain(folder)
    refused(folder)


if __name__ == "__main__":
    main()
