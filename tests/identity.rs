//! Every result is that of its own frame: the pixels of each frame say which feed and which number it is.

use crate::support::frames::{FORMATS, Painter};
use crate::support::rig::Rig;
use crate::support::{assert_ledger, stat};
use gst::prelude::*;
use gstnextvision::meta::{detections, frame};
use gstnextvision::output::Status;
use gstnextvision::vision::Size;

const FEEDS: usize = 16;
const FRAMES: u64 = 2_000;

/// Sizes that letterbox on all sides, odd ones among them.
const SIZES: [(u32, u32); 8] =
    [(64, 64), (128, 128), (129, 97), (160, 90), (90, 160), (333, 251), (48, 48), (200, 64)];

/// Brightness names the feed: brighter than the padding (114), seven levels apart.
fn level(feed: usize) -> u8 {
    130 + 7 * u8::try_from(feed).expect("few feeds")
}

/// The cell names the frame: neighbours in time and in feed number are far apart.
fn place(feed: usize, seq: u64) -> u64 {
    seq * 7 + feed as u64 * 13
}

fn painter(feed: usize) -> Painter {
    let (width, height) = SIZES[feed % SIZES.len()];
    Painter::new(FORMATS[feed % FORMATS.len()], width, height)
}

fn check(sample: &gst::Sample, painter: &Painter, feed: usize, seq: u64) {
    let buffer = sample.buffer().expect("a frame");
    let facts = frame::read(buffer).expect("the facts of the frame");
    assert_eq!((facts.feed as usize, facts.seq), (feed, seq));
    assert_eq!(facts.status, Status::Inferred, "feed {feed} frame {seq}: {:?}", facts.error);
    assert_eq!(buffer.pts(), Some(seq * gst::ClockTime::MSECOND));
    let size = Size::new(painter.info.width(), painter.info.height());
    let found = detections::read(buffer, size).detections;
    assert_eq!(found.len(), 1, "feed {feed} frame {seq}: {found:?}");
    let (bounds, wanted) = (&found[0].box_in_frame, painter.box_in_frame(place(feed, seq)));
    let off = (bounds.x - f64::from(wanted.x_min.max(0.0)))
        .abs()
        .max((bounds.y - f64::from(wanted.y_min.max(0.0))).abs());
    assert!(off < 0.01, "feed {feed} frame {seq}: expected {wanted:?}, found {bounds:?}");
    let brightness = found[0].confidence.expect("a confidence") * 255.0;
    assert!((brightness - f64::from(level(feed))).abs() < 3.0, "feed {feed} frame {seq}: {brightness}");
}

#[test]
fn every_record_belongs_to_its_own_frame_over_sixteen_feeds_of_all_formats() {
    let mut rig = Rig::new();
    rig.batcher.set_property("max-batch-size", 8_u32);
    let painters: Vec<_> = (0..FEEDS).map(painter).collect();
    for painter in &painters {
        rig.add_feed(&painter.caps(), false);
    }
    rig.play();
    std::thread::scope(|scope| {
        for (feed, painter) in painters.iter().enumerate() {
            let (rig, name) = (&rig, format!("push-{feed}"));
            let push = move || {
                // A cell has the same pixels whenever it comes: paint each once.
                let frames: Vec<_> = (0..64).map(|at| painter.paint(at, level(feed))).collect();
                for seq in 0..FRAMES {
                    let cells = painter.cell_count();
                    let at = usize::try_from(place(feed, seq) % cells).expect("small");
                    let mut buffer = gst::Buffer::new();
                    frames[at]
                        .copy_into(buffer.get_mut().expect("one owner"), gst::BufferCopyFlags::MEMORY, ..)
                        .expect("a copy");
                    rig.push(feed, buffer, seq * gst::ClockTime::MSECOND);
                }
                rig.end(feed);
            };
            std::thread::Builder::new().name(name).spawn_scoped(scope, push).expect("a thread");
            let (rig, name) = (rig, format!("pull-{feed}"));
            let pull = move || {
                for seq in 0..FRAMES {
                    check(&rig.pull(feed), painter, feed, seq);
                }
                rig.assert_ended(feed);
            };
            std::thread::Builder::new().name(name).spawn_scoped(scope, pull).expect("a thread");
        }
    });
    assert_eq!(stat(&rig.batcher, "delivered"), FEEDS as u64 * FRAMES);
    assert_ledger(&rig.batcher);
    rig.stop();
}
