#!/usr/bin/env python3
"""Runs `nextvision run` as an operator would, for minutes, and checks what it promises. Not part of the gate.

    site_trial.py churn   16 looped files and 2 RTSP cameras play while 200 more feeds come and go by SIGHUP: the records of
                          those that stay must be complete and in order, the ledger exact at every look, and memory and
                          threads must return to where they were.
    site_trial.py drain   SIGTERM under load, 20 times: it must end in time and with 0, and every file must end in a
                          complete line and hold a record for every delivered frame. Then a drain that cannot end: a
                          second signal must end it at once.

    site_trial.py alerts  a Prometheus with the alert rules of docs/ scrapes it for minutes: when the cameras die, `/health` must
                          be 503 within 2 s and the alert fire; when they are back, both must clear.
    site_trial.py page    one camera is well, one freezes, one never was: a browser must show each as what it is; screenshots of a
                          wide window and of a phone are left to be looked at.

The last line is `site trial passed: …`, or `site trial FAILED: …` with exit status 1. `./dev site` sets it up.
"""

import argparse
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 60.0
DRAIN = 10


class Failure(Exception):
    """What was promised does not hold."""


def check(holds, text):
    if not holds:
        raise Failure(text)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Site:
    """A site file, and the program that runs it."""

    def __init__(self, options, folder, outputs):
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "site.toml"
        self.port = free_port()
        self.runner = options.runner
        self.feeds = {}
        self.head = f"""
[runtime]
max-feeds = 256
drain-timeout = "{DRAIN}s"
metrics-address = "127.0.0.1:{self.port}"

[[models]]
name = "detector"
path = "{options.model}"

[[groups]]
name = "all"
models = ["detector"]
max-latency = "50ms"
tracker = {{ algorithm = "sort" }}

[defaults]
interval = 29
{outputs}
"""
        self.process = None
        self.log = None

    def write(self):
        """Writes the file, as a whole: a half of one is a wrong one."""
        tables = [f'[[feeds]]\nid = "{name}"\n{text}\n' for name, text in self.feeds.items()]
        fresh = self.path.with_suffix(".new")
        fresh.write_text(self.head + "\n".join(tables))
        fresh.rename(self.path)

    def start(self):
        self.write()
        self.log = open(self.folder / "log.jsonl", "w", encoding="utf-8")
        command = [self.runner, "run", str(self.path), "--log-format", "json"]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self.log)

    def status(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/status.json", timeout=10) as answer:
            return json.load(answer)

    def wait(self, what, holds, patience=PATIENCE):
        """Looks until `holds`, each time with the ledger; returns the last look."""
        deadline = time.monotonic() + patience
        status = None
        while time.monotonic() < deadline:
            check(self.process.poll() is None, f"{what}: the program has ended with {self.process.returncode}")
            try:
                status = self.status()
            except OSError:
                status = None
            if status is not None:
                look(status)
                if holds(status):
                    return status
            time.sleep(0.1)
        raise Failure(f"{what}: not within {patience:.0f} s; last seen: {summary(status)}")

    def end(self, patience):
        """SIGTERM; returns exit status and seconds."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(patience)
        except subprocess.TimeoutExpired as error:
            raise Failure(f"did not end within {patience} s of SIGTERM") from error
        finally:
            self.log.flush()
        return status, time.monotonic() - began

    def totals(self):
        """What the program said of each feed when it ended."""
        totals = {}
        for line in (self.folder / "log.jsonl").read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            if entry["message"] == "feed totals":
                totals[entry["fields"]["feed"]] = entry["fields"]
        return totals

    def kill(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def summary(status):
    if status is None:
        return "nothing"
    return {feed["feed-id"]: (feed["state"], feed["ledger"]["received"]) for feed in status["feeds"]}


def look(status):
    """The ledger of every feed, and of those that are gone."""
    ledgers = [(feed["feed-id"], feed["ledger"]) for feed in status["feeds"]] + [("removed feeds", status["removed"])]
    for name, ledger in ledgers:
        out = ledger["delivered"] + ledger["dropped"] + ledger["failed"] + ledger["in-flight"]
        check(ledger["received"] == out, f"{name}: received {ledger['received']}, accounted for {out}")
        for sum_of in ("dropped", "failed"):
            parts = sum(ledger[f"{sum_of}-by-reason"].values())
            check(ledger[sum_of] == parts, f"{name}: {sum_of} {ledger[sum_of]}, by reason {parts}")


def records(path):
    """The records of a file of complete lines, in the order of the file."""
    text = path.read_bytes()
    check(text.endswith(b"\n"), f"{path.name} does not end in a complete line")
    return [json.loads(line) for line in text.splitlines()]


def check_records(path, may_skip):
    """In order, none twice, and none missing unless it `may_skip` some; returns how many."""
    found = records(path)
    for before, after in zip(found, found[1:]):
        step = after["seq"] - before["seq"]
        check(step >= 1, f"{path.name}: seq {after['seq']} after {before['seq']}")
        check(may_skip or step == 1, f"{path.name}: seq {after['seq']} after {before['seq']}")
    check(found, f"{path.name} has no record")
    check(may_skip or found[0]["seq"] == 0, f"{path.name}: begins with {found[0]['seq']}")
    return len(found)


def looped(clip):
    return f'uri = "{clip}"\nloop = true\nrealtime = true'


def rtsp_server(mounts):
    python = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else "python3"
    command = [python, str(ROOT / "tests/support/rtsp_server.py"), *mounts]
    environment = {key: value for key, value in os.environ.items() if key not in ("G_DEBUG", "GST_DEBUG")}
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    line = server.stdout.readline()
    check(line.startswith("PORT "), f"the RTSP server said {line!r}")
    return server, int(line.split()[1])


def all_running(count):
    return lambda status: sum(feed["state"] == "running" for feed in status["feeds"]) >= count


OUTPUT = """
[[outputs]]
name = "records"
type = "file"
path = "records/{feed}.jsonl"
overflow = "block"
"""


def churn(options, folder):
    clips = [Path(options.clips) / name for name in ("carphone_pristine.mp4", "bikes.mp4")]
    server, port = rtsp_server(["--mount", "/one=jpeg", "--mount", "/two=jpeg"])
    site = Site(options, folder, OUTPUT)
    dice = random.Random(options.seed)
    try:
        for number in range(16):
            site.feeds[f"wall-{number:02}"] = looped(clips[number % 8 == 7])
        for name in ("one", "two"):
            site.feeds[f"camera-{name}"] = f'uri = "rtsp://127.0.0.1:{port}/{name}"\ntls-policy = "allow-insecure"'
        stay = list(site.feeds)
        site.start()
        site.wait("all feeds run", all_running(len(stay)))
        # What is loaded once is loaded now, and the heap has holes where guests of every kind have been.
        baseline = visit(site, dice, clips, port, changes=60, pause=0.5)
        print(f"before: {baseline['threads']} threads, {baseline['resident'] / 1e6:.0f} MB", flush=True)
        pause = options.seconds / options.changes
        after = visit(site, dice, clips, port, options.changes, pause)
        print(f"after: {after['threads']} threads, {after['resident'] / 1e6:.0f} MB, "
              f"{after['removed-feeds']} feeds came and went", flush=True)
        check(after["threads"] <= baseline["threads"] + 2, "threads have not returned to where they were")
        check(after["resident"] <= baseline["resident"] * 1.1 + 20e6, "memory has not returned to where it was")
        check(after["detached-threads"] == 0, f"{after['detached-threads']} threads were let go of")
        status, seconds = site.end(DRAIN + 10)
        check(status == 0, f"ended with {status}")
        totals, lines = site.totals(), 0
        for name in stay:
            found = check_records(folder / f"records/{name}.jsonl", may_skip=name.startswith("camera"))
            delivered = totals[name]["delivered"]
            check(found == delivered, f"{name}: {found} records of {delivered} delivered frames")
            lines += found
        return f"{options.changes} feeds came and went in {options.seconds:.0f} s; {lines} records of the {len(stay)} " \
               f"that stayed are complete and in order; drained in {seconds:.1f} s"
    finally:
        site.kill()
        server.stdin.close()
        server.wait()


def visit(site, dice, clips, port, changes, pause):
    """So many guests come and go, one change a reload; returns a look at the end, without guests."""
    stay = set(site.feeds)
    guests, came = [], 0
    reloads = site.status()["reloads"]
    while came < changes or guests:
        if came < changes and (len(guests) < 2 or (len(guests) < 6 and dice.random() < 0.5)):
            visit.count = getattr(visit, "count", 0) + 1
            name = f"guest-{visit.count}"
            kind = dice.randrange(4)
            site.feeds[name] = [
                looped(clips[0]),
                f'uri = "{clips[0]}"',
                f'uri = "rtsp://127.0.0.1:{port}/one"\ntls-policy = "allow-insecure"',
                'uri = "rtsp://127.0.0.1:1/nobody"\ntls-policy = "allow-insecure"',
            ][kind]
            guests.append(name)
            came += 1
        else:
            del site.feeds[guests.pop(dice.randrange(len(guests)))]
        site.write()
        site.process.send_signal(signal.SIGHUP)
        reloads += 1
        site.wait("the file is read again", lambda status: status["reloads"] >= reloads)
        deadline = time.monotonic() + pause / 2
        while time.monotonic() < deadline:
            look(site.status())
            time.sleep(0.1)
    names = lambda status: {feed["feed-id"] for feed in status["feeds"]}
    site.wait("the guests are gone", lambda status: names(status) == stay)
    return at_rest(site)


def at_rest(site):
    """The fewest threads and bytes of half a minute: pools of GLib let go of threads only after 15 s without work, and each
    loop of a clip takes some for a moment."""
    threads, resident, begins = [], [], time.monotonic()
    while time.monotonic() - begins < 30:
        status = site.status()
        look(status)
        threads.append(status["threads"])
        resident.append(status["resident"])
        time.sleep(0.1)
    return {**status, "threads": min(threads), "resident": min(resident)}


def drain(options, folder):
    dice = random.Random(options.seed)
    slowest = 0.0
    for number in range(options.times):
        site = Site(options, folder / f"drain-{number}", OUTPUT)
        try:
            for feed in range(8):
                site.feeds[f"feed-{feed}"] = f'uri = "{options.clips}/carphone_pristine.mp4"\nloop = true'
            site.start()
            site.wait("all feeds deliver", lambda status: len(status["feeds"]) == 8 and all(
                feed["ledger"]["delivered"] > 0 for feed in status["feeds"]))
            time.sleep(dice.random())
            status, seconds = site.end(DRAIN + 10)
            check(status == 0, f"run {number} ended with {status}")
            check(seconds <= DRAIN, f"run {number} took {seconds:.1f} s")
            totals = site.totals()
            check(len(totals) == 8, f"run {number}: totals of {len(totals)} feeds")
            for name, total in totals.items():
                found = check_records(site.folder / f"records/{name}.jsonl", may_skip=False)
                check(found == total["delivered"], f"{name}: {found} records of {total['delivered']} delivered frames")
            slowest = max(slowest, seconds)
            print(f"run {number}: drained in {seconds:.2f} s", flush=True)
        finally:
            site.kill()
    return f"{options.times} drains, the slowest in {slowest:.2f} s; {wedged(options, folder / 'wedged')}"


def wedged(options, folder):
    """The reader of the records reads nothing: nothing can be drained."""
    (folder / "records").mkdir(parents=True, exist_ok=True)
    fifo = folder / "records/all"
    fifo.unlink(missing_ok=True)
    os.mkfifo(fifo)
    said = []
    for second, expected in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
        site = Site(options, folder, '\n[[outputs]]\nname = "all"\ntype = "file"\npath = "records/all"\noverflow = "block"\n')
        try:
            site.feeds["feed"] = f'uri = "{options.clips}/carphone_pristine.mp4"\nloop = true\ninterval = 1000'
            site.start()
            stuck = lambda status: status["feeds"] and status["feeds"][0]["queues"][2]["level"] >= 16
            site.wait("the output is stuck", stuck)
            site.process.send_signal(signal.SIGTERM)
            site.wait("the drain begins", lambda status: status["phase"] == "draining")
            began = time.monotonic()
            site.process.send_signal(second)
            status = site.process.wait(PATIENCE)
            seconds = time.monotonic() - began
            check(status == expected, f"a second signal ended it with {status}, expected {expected}")
            check(seconds < 2, f"a second signal took {seconds:.1f} s")
            said.append(f"{expected} after {seconds:.2f} s")
        finally:
            site.kill()
    return "a second signal in a drain that cannot end: " + ", ".join(said)


def health(site):
    """The status of /health, and how long it took to be asked."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{site.port}/health", timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def until(what, holds, patience):
    """Seconds until `holds`."""
    began = time.monotonic()
    while time.monotonic() - began < patience:
        if holds():
            return time.monotonic() - began
        time.sleep(0.05)
    raise Failure(f"{what}: not within {patience:.0f} s")


def alerts(options, folder):
    server, port = rtsp_server(["--mount", "/one=jpeg", "--mount", "/two=jpeg"])
    site = Site(options, folder, "")
    prometheus = None
    try:
        for name in ("one", "two"):
            site.feeds[name] = f'uri = "rtsp://127.0.0.1:{port}/{name}"\ntls-policy = "allow-insecure"\n' \
                               'reconnect-max-delay = "1s"'
        site.start()
        site.wait("both cameras run", all_running(2))
        listen = free_port()
        (folder / "prometheus.yml").write_text(f"""
global: {{ scrape_interval: 1s, evaluation_interval: 1s }}
rule_files: [{ROOT / 'docs/nextvision.rules.yml'}]
scrape_configs:
  - job_name: nextvision
    static_configs: [{{ targets: ["127.0.0.1:{site.port}"] }}]
""")
        with open(folder / "prometheus.log", "w", encoding="utf-8") as log:
            prometheus = subprocess.Popen(
                ["prometheus", f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'tsdb'}",
                 f"--web.listen-address=127.0.0.1:{listen}"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)

        def ask(path):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{listen}/api/v1/{path}", timeout=10) as answer:
                    return json.load(answer)["data"]
            except OSError:
                return None

        def firing(alert):
            data = ask("alerts")
            found = data["alerts"] if data else []
            return any(entry["labels"]["alertname"] == alert and entry["state"] == "firing" for entry in found)

        def scrapes():
            data = ask("query?query=count_over_time(up%7Bjob%3D%22nextvision%22%7D%5B5m%5D)")
            return int(data["result"][0]["value"][1]) if data and data["result"] else 0

        until("a minute of scrapes", lambda: scrapes() >= 60, 120)
        check(health(site) == 200, "/health is not 200 while both cameras run")
        server.kill()
        server.wait()
        bad = until("/health is 503", lambda: health(site) == 503, 30)
        check(bad <= 2, f"/health was 503 after {bad:.1f} s")
        fired = until("the alert fires", lambda: firing("NextVisionAllFeedsDown"), 120)
        server, _ = rtsp_server(["--port", str(port), "--mount", "/one=jpeg", "--mount", "/two=jpeg"])
        site.wait("a camera runs", all_running(1))
        good = until("/health is 200", lambda: health(site) == 200, 30)
        check(good <= 2, f"/health was 200 after {good:.1f} s")
        cleared = until("the alert clears", lambda: not firing("NextVisionAllFeedsDown"), 120)
        status, _ = site.end(DRAIN + 10)
        check(status == 0, f"ended with {status}")
        return f"/health 503 after {bad:.1f} s and 200 after {good:.1f} s; the alert fired after {fired:.0f} s and cleared " \
               f"after {cleared:.0f} s"
    finally:
        site.kill()
        if prometheus is not None:
            prometheus.terminate()
            prometheus.wait()
        server.stdin.close()
        server.wait()


def browse(site, width, height, *arguments):
    """Opens the page in a window of that size; returns what the browser prints."""
    with tempfile.TemporaryDirectory() as profile:
        command = ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-extensions",
                   "--disable-background-networking", "--disable-dev-shm-usage", "--hide-scrollbars", "--virtual-time-budget=6000",
                   f"--user-data-dir={profile}", f"--window-size={width},{height}", *arguments, f"http://127.0.0.1:{site.port}/"]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
    check(done.returncode == 0, f"the browser ended with {done.returncode}: {done.stderr}")
    return done.stdout


def page(options, folder):
    servers = []
    site = Site(options, folder, "")
    try:
        for name in ("healthy", "frozen"):
            server, port = rtsp_server(["--mount", "/camera=jpeg"])
            servers.append(server)
            site.feeds[name] = f'uri = "rtsp://127.0.0.1:{port}/camera"\ntls-policy = "allow-insecure"'
        site.feeds["looped"] = looped(Path(options.clips) / "carphone_pristine.mp4")
        site.feeds["no-such-file"] = f'uri = "{folder}/no-such-file.mp4"'
        site.start()
        site.wait("three feeds run", all_running(3))
        # A history that is worth a look.
        until("half a minute of frames", lambda: site.status()["uptime"] > 30e9, PATIENCE)
        servers[1].send_signal(signal.SIGSTOP)
        expected = {"healthy": "running", "frozen": "stalled", "looped": "running", "no-such-file": "failed"}
        site.wait("each feed is seen as what it is", lambda status: expected == {
            feed["feed-id"]: feed["state"] for feed in status["feeds"]})
        shown = browse(site, 1280, 900, "--dump-dom")
        for name, state in expected.items():
            card = re.search(f'data-state="([a-z-]*)"[^>]*>(?:(?!data-state=).)*?<h3 title="{name}"', shown, re.DOTALL)
            check(card is not None and card[1] == state, f"the page shows {name} as {card and card[1]}, expected {state}")
        for name, width, height in (("wide", 1280, 1500), ("phone", 390, 2600)):
            browse(site, width, height, f"--screenshot={folder / name}.png")
        return f"a browser shows {', '.join(f'{name} {state}' for name, state in expected.items())}; look at {folder}/wide.png " \
               "and phone.png"
    finally:
        site.kill()
        for server in servers:
            server.kill()
            server.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trial", choices=["churn", "drain", "alerts", "page"])
    parser.add_argument("--runner", required=True, help="the program nextvision")
    parser.add_argument("--model", required=True)
    parser.add_argument("--clips", required=True, help="folder of the clips")
    parser.add_argument("--output", required=True, type=Path, help="folder for site files, logs and records")
    parser.add_argument("--seconds", type=float, default=300.0, help="of the churn")
    parser.add_argument("--changes", type=int, default=200, help="feeds that come and go")
    parser.add_argument("--times", type=int, default=20, help="drains")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    trial = {"churn": churn, "drain": drain, "alerts": alerts, "page": page}[options.trial]
    folder = options.output / options.trial
    # Records of the last trial would be gone on with.
    shutil.rmtree(folder, ignore_errors=True)
    try:
        print("site trial passed:", trial(options, folder))
    except Failure as failure:
        print("site trial FAILED:", failure)
        sys.exit(1)


if __name__ == "__main__":
    main()
