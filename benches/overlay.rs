//! Benchmark part (j): how long `nvtrack` and `nvoverlay` take for a frame, the latter against GStreamer's own blending
//! of the same overlay.
//!
//! `cargo bench --bench overlay`: ten regions with labels move over frames of I420; each frame is pushed through the
//! elements, in this thread. *tracked*: `nvtrack`; *painted*: `nvoverlay` with labels, identities and tails, in front of
//! somebody who takes any caps; *attached*: in front of somebody who draws; *gst blend*:
//! `gst_video_overlay_composition_blend` of what was attached.
//!
//! Prints a table and leaves it in `target/bench/parts/j.json`. Nothing is asserted: machines differ.

use anyhow::{Context as _, Result};
use gst::prelude::*;
use gst_check::Harness;
use gst_video::{VideoFormat, VideoInfo, VideoOverlayCompositionMeta, VideoRegionOfInterestMeta};
use serde_json::json;
use std::time::{Duration, Instant};

const SIZES: [(u32, u32); 3] = [(640, 480), (1280, 720), (1920, 1080)];
const REGIONS: u32 = 10;
const ROUNDS: u32 = 300;
/// Milliseconds for a frame of 640x480, tracked and painted.
const PROMISE: f64 = 1.0;

/// A grey frame with regions, each a little further on each frame.
fn frame(info: &VideoInfo, round: u32) -> gst::Buffer {
    let mut buffer = gst::Buffer::from_mut_slice(vec![128_u8; info.size()]);
    let frame = buffer.make_mut();
    let (width, height) = (info.width(), info.height());
    for at in 0..REGIONS {
        let (x, y) = ((at % 5) * width / 5 + round % (width / 10), (at / 5) * height / 2 + height / 10);
        let rect = (x, y, width / 10, height / 3);
        let mut region = VideoRegionOfInterestMeta::add(frame, "person", rect);
        let part = |pixels: u32, of: u32| f64::from(pixels) / f64::from(of);
        let confidence = f64::from(40 + (round + 5 * at) % 60) / 100.0;
        let detection = gst::Structure::builder("detection").field("label_id", 0).field("label", "person");
        let detection = detection.field("confidence", confidence);
        let detection = detection.field("x_min", part(rect.0, width)).field("y_min", part(rect.1, height));
        let detection = detection.field("x_max", part(rect.0 + rect.2, width));
        region.add_param(detection.field("y_max", part(rect.1 + rect.3, height)).build());
    }
    frame.set_pts(u64::from(round) * gst::ClockTime::from_mseconds(33));
    buffer
}

fn harness(element: &str, info: &VideoInfo, draws: bool) -> Result<Harness> {
    let mut harness = Harness::new(element);
    if draws {
        harness.add_propose_allocation_meta(VideoOverlayCompositionMeta::meta_api(), None);
        harness.set_sink_caps_str("video/x-raw(meta:GstVideoOverlayComposition)");
    }
    harness.set_src_caps(info.to_caps()?);
    Ok(harness)
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures the time it takes itself")]
fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let result = work();
    (result, start.elapsed())
}

/// Least and median, in milliseconds.
fn summary(mut times: Vec<Duration>) -> (f64, f64) {
    times.sort_unstable();
    let at = |index: usize| times.get(index).map_or(0.0, |time| time.as_secs_f64() * 1e3);
    (at(0), at(times.len() / 2))
}

fn measure(info: &VideoInfo) -> Result<[(f64, f64); 4]> {
    let mut tracking = harness("nvtrack", info, false)?;
    let (mut painting, mut attaching) =
        (harness("nvoverlay", info, false)?, harness("nvoverlay", info, true)?);
    let mut times = [const { Vec::new() }; 4];
    for round in 0..ROUNDS {
        let made = frame(info, round);
        let (result, tracked) = timed(|| tracking.push_and_pull(made));
        let one = result.context("no frame")?;
        let other = one.copy_deep()?;
        let (result, painted) = timed(|| painting.push_and_pull(one));
        result.context("no frame")?;
        let (result, attached) = timed(|| attaching.push_and_pull(other));
        let mut result = result.context("no frame")?;
        let overlay =
            result.meta::<VideoOverlayCompositionMeta>().context("nothing attached")?.overlay_owned();
        let frame = result.make_mut();
        let mut frame = gst_video::VideoFrameRef::from_buffer_ref_writable(frame, info)?;
        let (result, blended) = timed(|| overlay.blend(&mut frame));
        result?;
        // Tails are short at first.
        if round >= ROUNDS / 3 {
            times.iter_mut().zip([tracked, painted, attached, blended]).for_each(|(all, one)| all.push(one));
        }
    }
    Ok(times.map(summary))
}

const COLUMNS: [&str; 5] = ["size", "tracked ms", "painted ms", "attached ms", "gst blend ms"];

fn main() -> Result<()> {
    gst::init()?;
    gstnextvision::plugin_register_static()?;
    println!(
        "(j) nvtrack and nvoverlay: {REGIONS} regions with labels and tails on I420, one core, least (median)"
    );
    println!("{}", COLUMNS.map(|name| format!("{name:>20}")).join(" "));
    let (mut rows, mut checks) = (Vec::new(), Vec::new());
    for (width, height) in SIZES {
        let info =
            VideoInfo::builder(VideoFormat::I420, width, height).fps(gst::Fraction::new(30, 1)).build()?;
        let found = measure(&info)?;
        let [tracked, painted, attached, blended] =
            found.map(|(least, median)| format!("{least:.3} ({median:.3})"));
        let row = [format!("{width}x{height}"), tracked, painted, attached, blended];
        println!("{}", row.each_ref().map(|cell| format!("{cell:>20}")).join(" "));
        if width == 640 {
            let median = found[0].1 + found[1].1;
            checks.push(json!({
                "name": "640x480, tracked and painted, medians", "expected": format!("<= {PROMISE} ms"),
                "found": format!("{median:.3} ms"), "holds": median <= PROMISE,
            }));
        }
        rows.push(row);
    }
    let part = json!({
        "part": "j",
        "title": "Tracking and overlay: ten regions with labels and tails, I420, one core",
        "columns": COLUMNS,
        "rows": rows,
        "notes": [format!("least (median) of {} frames, the ways in turn", ROUNDS - ROUNDS / 3)],
        "checks": checks,
    });
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/target/bench/parts");
    std::fs::create_dir_all(folder)?;
    std::fs::write(format!("{folder}/j.json"), format!("{part:#}\n"))?;
    Ok(())
}
