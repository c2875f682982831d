#!/usr/bin/env python3
"""Tests of the scripts in this folder."""

import contextlib
import io
import json
import os
import subprocess
import tempfile
import unittest
import xml.etree.ElementTree as xml

import accuracy
import bench_report
import compare_records
import fault_table
import records

BOX = [10.0, 20.0, 110.0, 220.0]


def record(seq, *detections):
    """A record as nvsink writes it, reduced to what the scripts read."""
    return {"seq": seq, "detections": [found(*detection) for detection in detections]}


def found(label, confidence, box):
    x1, y1, x2, y2 = box
    return {
        "label": label,
        "confidence": confidence,
        "box": {"x": x1, "y": y1, "width": x2 - x1, "height": y2 - y1},
    }


def moved(box, pixels):
    return [edge + pixels for edge in box]


class Files(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def lines(self, name, *all_records):
        return self.write(name, "".join(json.dumps(each) + "\n" for each in all_records))

    def reference(self, frames):
        listed = {
            frame: [{"label": label, "confidence": confidence, "box": box} for label, confidence, box in detections]
            for frame, detections in frames.items()
        }
        return self.write("reference.json", json.dumps({"detections": listed}))

    def run_main(self, module, *arguments):
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            return module.main(list(arguments)), out.getvalue()


class Accuracy(Files):
    def check(self, ours, theirs):
        return self.run_main(accuracy, self.lines("ours.jsonl", *ours), self.reference(theirs))

    def test_equal_detections_pass(self):
        status, text = self.check([record(0, ("person", 0.9, BOX))], {"0": [("person", 0.85, BOX)]})
        self.assertEqual(status, 0, text)
        self.assertIn("found 1 of 1 = 100.00%, invented 0 of 1 = 0.00%", text)

    def test_a_missed_detection_fails(self):
        status, text = self.check([record(0)], {"0": [("person", 0.9, BOX)]})
        self.assertEqual(status, 1, text)
        self.assertIn("found 0 of 1", text)

    def test_a_weak_detection_of_the_reference_is_not_asked_for(self):
        status, text = self.check([record(0)], {"0": [("person", 0.44, BOX)]})
        self.assertEqual(status, 0, text)

    def test_an_invented_detection_fails(self):
        status, text = self.check([record(0, ("dog", 0.5, BOX))], {"0": []})
        self.assertEqual(status, 1, text)
        self.assertIn("invented 1 of 1", text)

    def test_a_weak_detection_of_ours_is_not_invented(self):
        self.assertEqual(self.check([record(0, ("dog", 0.49, BOX))], {"0": []})[0], 0)

    def test_another_label_box_or_confidence_is_no_match(self):
        theirs = {"0": [("person", 0.9, BOX)]}
        for label, confidence, box in [("dog", 0.9, BOX), ("person", 0.81, BOX), ("person", 0.9, moved(BOX, 20))]:
            status, text = self.check([record(0, (label, confidence, box))], theirs)
            self.assertEqual(status, 1, text)
            self.assertIn("found 0 of 1", text)

    def test_one_detection_answers_for_one_only(self):
        ours = [record(0, ("person", 0.9, BOX))]
        status, text = self.check(ours, {"0": [("person", 0.9, BOX), ("person", 0.9, moved(BOX, 1))]})
        self.assertIn("found 1 of 2", text)
        self.assertEqual(status, 1, text)

    def test_frames_that_are_not_listed_do_not_count(self):
        ours = [record(0), record(1, ("dog", 0.9, BOX))]
        self.assertEqual(self.check(ours, {"0": []})[0], 0)

    def test_a_listed_frame_without_a_record_is_told(self):
        status, text = self.check([record(0)], {"0": [], "5": [("person", 0.9, BOX)]})
        self.assertEqual(status, 1)
        self.assertIn("1 listed frames without a record", text)

    def test_figures_are_taken_over_all_clips(self):
        good = [self.lines("good.jsonl", *(record(i, ("person", 0.9, BOX)) for i in range(99)))]
        good.append(self.reference({str(i): [("person", 0.9, BOX)] for i in range(99)}))
        bad = [self.lines("bad.jsonl", record(0))]
        bad.append(self.write("bad.json", json.dumps({"detections": {"0": [found_in_reference("person", 0.9)]}})))
        status, text = self.run_main(accuracy, *good, *bad)
        self.assertEqual(status, 0, text)
        self.assertIn("found 99 of 100 = 99.00%", text)

    def test_unreadable_files_are_an_error_of_their_own(self):
        reference = self.reference({})
        for text in ["not json\n", '{"seq": 1}\n', '{"seq": 1, "detections": 3}\n', "[]\n"]:
            self.assertEqual(self.run_main(accuracy, self.write("bad.jsonl", text), reference)[0], 2, text)
        self.assertEqual(self.run_main(accuracy, os.path.join(self.folder, "none"), reference)[0], 2)
        self.assertEqual(self.run_main(accuracy, reference)[0], 2)


def found_in_reference(label, confidence):
    return {"label": label, "confidence": confidence, "box": BOX}


class CompareRecords(Files):
    def check(self, one, other):
        paths = self.lines("one.jsonl", *one), self.lines("other.jsonl", *other)
        return self.run_main(compare_records, *paths)

    def test_nearly_equal_records_in_another_order_are_equal(self):
        one = [record(0, ("person", 0.9, BOX), ("dog", 0.5, BOX)), record(1)]
        other = [record(1), record(0, ("dog", 0.505, BOX), ("person", 0.9, moved(BOX, 0.4)))]
        status, text = self.check(one, other)
        self.assertEqual(status, 0, text)
        self.assertIn("0 frames differ", text)

    def test_any_difference_is_found(self):
        one = [record(0, ("person", 0.9, BOX))]
        for other in (
            [record(0)],
            [record(0, ("dog", 0.9, BOX))],
            [record(0, ("person", 0.88, BOX))],
            [record(0, ("person", 0.9, moved(BOX, 0.6)))],
            [record(0, ("person", 0.9, BOX), ("person", 0.9, BOX))],
            [record(1, ("person", 0.9, BOX))],
            [record(0, ("person", 0.9, BOX)), record(1)],
        ):
            self.assertEqual(self.check(one, other)[0], 1, other)

    def test_two_records_of_one_frame_are_an_error(self):
        status, text = self.check([record(0), record(0)], [record(0)])
        self.assertEqual(status, 2)
        self.assertIn("a second record of frame 0", text)


class Overlap(unittest.TestCase):
    def test_iou_by_hand(self):
        self.assertAlmostEqual(records.iou([0, 0, 2, 2], [1, 0, 3, 2]), 1 / 3)
        self.assertEqual(records.iou([0, 0, 1, 1], [1, 0, 2, 1]), 0.0)
        self.assertEqual(records.iou([0, 0, 0, 0], [0, 0, 0, 0]), 0.0)


class FaultTable(unittest.TestCase):
    TABLE = """| | fault | tests | outcome |
|---|---|---|---|
| F01 | silence | `sources::one` | fine |
| F02 | noise | `two`, `sources::three` | fine |
| F03 | nothing | - | why |
| F04 | elsewhere | `other::four` | fine |
"""
    RESULT = """<testsuites><testsuite><testcase name="faults::sources::one"/><testcase name="a::two"/>
<testcase name="faults::sources::three">{}</testcase></testsuite></testsuites>"""

    def table(self, *thirds):
        with tempfile.TemporaryDirectory() as folder:
            paths = [os.path.join(folder, "README.md")]
            with open(paths[0], "w", encoding="utf-8") as file:
                file.write(self.TABLE)
            for number, third in enumerate(thirds):
                paths.append(os.path.join(folder, f"{number}.xml"))
                with open(paths[-1], "w", encoding="utf-8") as file:
                    file.write(self.RESULT.format(third))
            output = io.StringIO()
            with contextlib.redirect_stdout(output):
                status = fault_table.main(paths)
            return status, output.getvalue().splitlines()

    def test_every_fault_has_a_line_with_its_outcome(self):
        status, lines = self.table("", "")
        self.assertEqual(status, 0)
        self.assertEqual([line.split("  ")[1] for line in lines], ["passed 2/2", "passed 4/4", "no test", "in the gate"])

    def test_one_failure_in_any_run_fails_the_table(self):
        status, lines = self.table("", "<failure/>")
        self.assertEqual(status, 1)
        self.assertIn("FAILED 3/4", lines[1])


class GpuCheck(Files):
    def check(self, smi, *arguments):
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "gpu-check")
        environment = {**os.environ, "GPU_CHECK_SMI": smi}
        done = subprocess.run(
            [script, *arguments], env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        return done.returncode, done.stdout + done.stderr

    def program(self, text):
        path = self.write("smi", f"#!/bin/sh\n{text}\n")
        os.chmod(path, 0o755)
        return path

    def test_without_a_driver_it_is_skipped_with_one_line(self):
        status, text = self.check("no-such-program-anywhere")
        self.assertEqual(status, 77, text)
        self.assertRegex(text, r"\Agpu-check: no NVIDIA GPU here: there is no nvidia-smi[^\n]*\n\Z")

    def test_with_a_driver_and_no_gpu_it_says_what_the_driver_says(self):
        status, text = self.check(self.program("echo 'No devices were found'; echo more; exit 6"))
        self.assertEqual(status, 77, text)
        self.assertEqual(text, "gpu-check: no NVIDIA GPU here: nvidia-smi says: No devices were found\n")

    def test_wrong_options_are_told_before_anything_is_looked_for(self):
        for arguments in [
            ["--provider", "cpu"],
            ["--feeds", "1,x"],
            ["--feeds", "0"],
            ["--seconds", "0"],
            ["--carry", os.path.join(self.folder, "none")],
            ["--carry"],
            ["--fast"],
        ]:
            status, text = self.check("no-such-program-anywhere", *arguments)
            self.assertEqual(status, 2, text)
            self.assertIn(arguments[0], text)

    def test_help_is_no_error(self):
        self.assertEqual(self.check("no-such-program-anywhere", "--help")[0], 0)


class BenchReport(Files):
    PART = {
        "part": "b",
        "title": "Ours | theirs",
        "columns": ["feeds", "frames/s", "limit"],
        "rows": [["1", "99.5 [98.0, 101.0]", "110.0"], ["4", "not present", ""]],
        "notes": ["a note"],
        "checks": [
            {"name": "ratio", "expected": ">= 0.9", "found": "0.904", "holds": True},
            {"name": "growth", "expected": "< 1.5", "found": "1.7", "holds": False},
        ],
    }
    DOCUMENT = f"before\n\n{bench_report.BEGIN}\nstale\n{bench_report.END}\nafter\n"

    def target(self):
        os.mkdir(os.path.join(self.folder, "parts"))
        self.write(os.path.join("parts", "b.json"), json.dumps(self.PART))
        self.write("environment.json", json.dumps({"cores": "2"}))
        return self.folder

    def test_the_parts_become_a_table_json_and_a_picture(self):
        target = self.target()
        status, out = self.run_main(bench_report, "report", target)
        self.assertEqual(status, 0)
        self.assertIn("99.5 [98.0, 101.0]", out)
        self.assertIn("(b) DOES NOT HOLD: growth: expected < 1.5, found 1.7", out)
        with open(os.path.join(target, "report.json"), encoding="utf-8") as file:
            self.assertEqual(json.load(file), {"environment": {"cores": "2"}, "parts": [self.PART]})
        root = xml.parse(os.path.join(target, "report.svg")).getroot()
        # The background, and the row that has numbers.
        self.assertEqual(len([each for each in root if each.tag.endswith("rect")]), 3)

    def test_the_figures_replace_those_between_the_markers(self):
        target, document = self.target(), self.write("doc.md", self.DOCUMENT)
        for _ in range(2):
            self.assertEqual(self.run_main(bench_report, "report", target, document)[0], 0)
        with open(document, encoding="utf-8") as file:
            text = file.read()
        self.assertTrue(text.startswith("before\n") and text.endswith("\nafter\n"))
        self.assertNotIn("stale", text)
        self.assertEqual(text.count("### (b) Ours"), 1)
        self.assertIn("| growth | < 1.5 | 1.7 | **does not hold** |", text)

    def test_a_document_without_markers_is_refused(self):
        with self.assertRaises(ValueError):
            bench_report.with_figures("text", "figures")

    def test_the_environment_has_no_holes(self):
        self.assertEqual(self.run_main(bench_report, "environment", self.folder)[0], 0)
        with open(os.path.join(self.folder, "environment.json"), encoding="utf-8") as file:
            self.assertTrue(all(isinstance(value, str) and value for value in json.load(file).values()))


if __name__ == "__main__":
    unittest.main()
