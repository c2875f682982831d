//! Follows the detections of a file of records (docs/records.md), without GStreamer, and writes the tracks in the format
//! of the MOT challenge. `scripts/mot.py` measures them.
//!
//! ```text
//! cargo run --release --no-default-features --example track -- bytetrack records.jsonl tracks.txt min-hits=2
//! ```

use anyhow::{Context as _, bail};
use gstnextvision::track::{Algorithm, Mark, Observation, Params, State, Step, Tracker};
use gstnextvision::vision::Rect;
use serde_json::Value;
use std::fmt::Write as _;
use std::time::Duration;

/// One line of the file.
struct Frame {
    pts: Duration,
    /// Boxes of persons with their confidence.
    seen: Vec<(Rect, f32)>,
}

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [algorithm, input, output, settings @ ..] = arguments.as_slice() else {
        bail!("usage: track iou|sort|bytetrack RECORDS.jsonl TRACKS.txt [SETTING=VALUE...]");
    };
    let mut params = Params { algorithm: parse_algorithm(algorithm)?, ..Params::default() };
    for setting in settings {
        set(&mut params, setting)?;
    }
    let text = std::fs::read_to_string(input).with_context(|| input.clone())?;
    let frames: Vec<_> = text.lines().map(parse).collect::<Result<_, _>>().context("a record")?;
    std::fs::write(output, follow(params, &frames)).with_context(|| output.clone())?;
    Ok(())
}

fn parse_algorithm(name: &str) -> anyhow::Result<Algorithm> {
    Ok(match name {
        "iou" => Algorithm::Iou,
        "sort" => Algorithm::Sort,
        "bytetrack" => Algorithm::ByteTrack,
        other => bail!("expected iou, sort or bytetrack, found {other}"),
    })
}

fn set(params: &mut Params, setting: &str) -> anyhow::Result<()> {
    let (name, value) = setting.split_once('=').context("expected SETTING=VALUE")?;
    match name {
        "max-age" => params.max_age = value.parse()?,
        "min-hits" => params.min_hits = value.parse()?,
        "iou-threshold" => params.iou_threshold = value.parse()?,
        "high-threshold" => params.high_threshold = value.parse()?,
        "low-threshold" => params.low_threshold = value.parse()?,
        "max-tracks" => params.max_tracks = value.parse()?,
        other => bail!("no setting {other}"),
    }
    Ok(())
}

fn parse(line: &str) -> anyhow::Result<Frame> {
    let record: Value = serde_json::from_str(line)?;
    let detections = record["detections"].as_array().context("no detections")?;
    let persons = detections.iter().filter(|found| found["label"] == "person");
    let one = |found: &Value| {
        let side = |name: &str| found["box"][name].as_f64().unwrap_or(f64::NAN) as f32;
        let (x, y) = (side("x"), side("y"));
        let confidence = found["confidence"].as_f64().unwrap_or(1.0) as f32;
        (Rect::from_corners(x, y, x + side("width"), y + side("height")), confidence)
    };
    let pts = Duration::from_nanos(record["pts"].as_u64().unwrap_or(0));
    Ok(Frame { pts, seen: persons.map(one).collect() })
}

/// `frame,id,x,y,width,height,confidence,-1,-1,-1`, frames from 1.
fn follow(params: Params, frames: &[Frame]) -> String {
    let mut tracker = Tracker::new(params);
    let (mut last_id, mut lines, mut last_pts) = (0, String::new(), Duration::ZERO);
    for (number, frame) in (1..).zip(frames) {
        let observation = |&(box_in_frame, confidence): &(Rect, f32)| Observation {
            box_in_frame,
            class: 0,
            confidence,
            embedding: None,
        };
        let seen: Vec<_> = frame.seen.iter().map(observation).collect();
        let step = Step { frames: 1, elapsed: frame.pts.saturating_sub(last_pts) };
        last_pts = frame.pts;
        let mut next_id = || {
            last_id += 1;
            last_id
        };
        let marks = tracker.update(step, &seen, &mut next_id);
        for (mark, (rect, confidence)) in marks.iter().zip(&frame.seen) {
            if let Some(Mark { id, state: State::Confirmed, .. }) = mark {
                let (x, y, width, height) = (rect.x_min, rect.y_min, rect.width(), rect.height());
                writeln!(
                    lines,
                    "{number},{id},{x:.2},{y:.2},{width:.2},{height:.2},{confidence:.4},-1,-1,-1"
                )
                .expect("a string takes everything");
            }
        }
    }
    lines
}
