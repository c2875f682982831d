//! `operate-on=objects`: which objects of a frame a second model is asked about, and what is known of their tracks.
//!
//! An object becomes a row of the tensor as a frame does; so the objects of all frames of a batch, and of a group, share
//! its runs. One whose track was asked about less than `reinfer-interval` frames ago gets what is known of the track.
//!
//! Not guaranteed: that nothing is asked twice. Of more than [`MOST_TRACKS`] tracks the ones not seen for longest are
//! forgotten, and one that failed is asked about again on its next frame.

use super::decode::{Failure, Outcome};
use super::runs::Row;
use super::runtime::Runtime;
use super::settings::{OperateOn, Settings};
use crate::elements::video;
use crate::meta::attributes::{self, Spot};
use crate::meta::batch::Format;
use crate::meta::objects;
use crate::output::AttributeRecord;
use crate::vision::decode::DecoderKind;
use crate::vision::{Detection, Rect, Size};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Tracks of all feeds of which something is known.
const MOST_TRACKS: usize = 4096;

/// A feed: its number, its session, and how often it was flushed. A tracker may begin anew with each.
type Stream = (u32, u32, u32);

/// A track: the stream, and its number there.
type Key = (Stream, i64);

/// An object that is asked about, or known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Object {
    /// Its number among the regions of its frame.
    pub(super) place: usize,
    /// Where it is, in pixels of the frame.
    pub(super) rect: Rect,
    /// Its track, if it has one.
    key: Option<Key>,
}

/// Which objects are asked about.
#[derive(Debug)]
pub(super) struct Rule {
    /// None: those of every label.
    labels: Vec<String>,
    /// Least width and height, in pixels.
    min_size: f32,
    /// Least number of frames from one time to the next for the same track.
    interval: u64,
    /// Most objects of a frame.
    most: usize,
}

impl Rule {
    /// `None` if whole frames are.
    pub(super) fn of(settings: &Settings, kind: DecoderKind) -> Option<Self> {
        (settings.operate_on == OperateOn::Objects).then(|| Self {
            labels: split(settings.object_labels.as_deref().unwrap_or_default()),
            min_size: settings.object_min_size as f32,
            // What a detector has found is somewhere else on the next frame: there is no last answer to give.
            interval: if is_kept(kind) { u64::from(settings.reinfer_interval) } else { 1 },
            most: settings.max_detections as usize,
        })
    }

    fn admits(&self, spot: &Spot<'_>, frame: Size) -> bool {
        let visible = spot.rect.clamped(frame);
        let least = self.min_size.max(1.0);
        let is_named = self.labels.is_empty() || self.labels.iter().any(|label| label == spot.label);
        is_named && visible.width() >= least && visible.height() >= least
    }
}

/// Whether an answer is still true when the object has moved.
const fn is_kept(kind: DecoderKind) -> bool {
    matches!(kind, DecoderKind::Classifier | DecoderKind::Embedding)
}

/// The names in a list with commas between them.
fn split(list: &str) -> Vec<String> {
    list.split(',').map(str::trim).filter(|name| !name.is_empty()).map(ToOwned::to_owned).collect()
}

/// A frame whose objects are looked at.
pub(super) struct Scene<'a> {
    /// Index into the items of the work.
    pub(super) item: usize,
    pub(super) feed: Stream,
    pub(super) seq: u64,
    pub(super) buffer: &'a gst::BufferRef,
    pub(super) format: &'a Format,
    /// Whether its objects were found on it. Those of a frame that was left out are guesses: nobody is asked about them.
    pub(super) is_inferred: bool,
}

/// What there is to do about the objects of the frames of a work.
#[derive(Default)]
pub(super) struct Chosen {
    /// To ask about.
    pub(super) rows: Vec<Row>,
    /// To say again what is known of, each with the item it is on.
    pub(super) known: Vec<(usize, Object)>,
}

/// What a model said about an object.
#[derive(Clone, Debug)]
enum Finding {
    Class(AttributeRecord),
    /// Of the model of that name.
    Vector(Arc<str>, Arc<[f32]>),
}

struct Track {
    /// Number of the frame on which it was asked about last.
    asked: u64,
    finding: Option<Finding>,
    /// When it was seen last, in frames of all feeds.
    seen: u64,
}

/// What is known of the tracks of all feeds.
#[derive(Default)]
pub(super) struct Memory(Mutex<Tracks>);

#[derive(Default)]
struct Tracks {
    known: HashMap<Key, Track>,
    frames: u64,
    /// Objects beyond the most of a frame.
    left_out: u64,
}

impl Memory {
    /// Looks at the objects of one frame.
    pub(super) fn choose(&self, rule: &Rule, scene: &Scene<'_>, chosen: &mut Chosen) {
        let size = video::size(&scene.format.info);
        let mut tracks = self.0.lock();
        tracks.frames += 1;
        let mut admitted = 0;
        attributes::each_object(scene.buffer, size, |spot| {
            if !rule.admits(&spot, size) {
                return;
            }
            admitted += 1;
            if admitted > rule.most {
                tracks.left_out += 1;
                return;
            }
            let key = spot.track.map(|track| (scene.feed, track));
            let object = Object { place: spot.place, rect: spot.rect, key };
            let is_due =
                scene.is_inferred && key.is_none_or(|key| tracks.is_due(key, scene.seq, rule.interval));
            if is_due {
                chosen.rows.push(Row { item: scene.item, object: Some(object) });
            } else if key.is_some() {
                chosen.known.push((scene.item, object));
            }
        });
        tracks.forget();
    }

    /// Writes what is known of its track onto an object.
    pub(super) fn repeat(&self, buffer: &mut gst::BufferRef, object: &Object) {
        let finding = object.key.and_then(|key| self.0.lock().known.get(&key)?.finding.clone());
        if let Some(finding) = finding {
            finding.write(buffer, object.place);
        }
    }

    /// Another model, or other streams: nothing is known.
    pub(super) fn clear(&self) {
        self.0.lock().known.clear();
    }

    /// Answers that were on their way are not to come.
    pub(super) fn forget_unanswered(&self) {
        self.0.lock().known.retain(|_, track| track.finding.is_some());
    }

    /// Objects that nobody was asked about because there were too many on their frame, since the element was made.
    pub(super) fn left_out(&self) -> u64 {
        self.0.lock().left_out
    }

    /// Writes the answer about one object onto it. A panic in that makes the outcome a failure.
    pub(super) fn settle(
        &self,
        runtime: &Runtime,
        (buffer, format): (&mut gst::BufferRef, &Format),
        object: &Object,
        outcome: &mut Outcome,
        (found, vectors): (&[Detection], &[f32]),
    ) {
        let Ok(range) = &outcome.found else { return self.forget(object) };
        let found = found.get(range.clone()).unwrap_or_default();
        let vector = vectors.get(outcome.vector.clone()).unwrap_or_default();
        let written = catch_unwind(AssertUnwindSafe(|| {
            if is_kept(runtime.decoder.kind()) {
                let finding = finding(runtime, found, vector);
                if let Some(finding) = &finding {
                    finding.write(buffer, object.place);
                }
                self.remember(object, finding);
            } else {
                let label = |detection: &Detection| runtime.label(detection);
                let size = video::size(&format.info);
                objects::attach_within(buffer, size, object.place, found, label, &runtime.meta);
            }
        }));
        if let Err(panic) = written {
            outcome.found = Err(Failure::panic(&*panic));
            self.forget(object);
        }
    }

    fn remember(&self, object: &Object, finding: Option<Finding>) {
        let mut tracks = self.0.lock();
        if let Some(track) = object.key.and_then(|key| tracks.known.get_mut(&key)) {
            track.finding = finding;
        }
    }

    /// The next frame asks again.
    fn forget(&self, object: &Object) {
        if let Some(key) = object.key {
            self.0.lock().known.remove(&key);
        }
    }
}

impl Tracks {
    /// Whether a track is to be asked about on the frame `seq` of its feed; it then counts as asked.
    fn is_due(&mut self, key: Key, seq: u64, interval: u64) -> bool {
        let seen = self.frames;
        match self.known.get_mut(&key) {
            // A feed whose numbers begin anew is another one.
            Some(track) if seq >= track.asked && seq - track.asked < interval => {
                track.seen = seen;
                false
            }
            Some(track) => {
                (track.asked, track.seen) = (seq, seen);
                true
            }
            None => {
                self.known.insert(key, Track { asked: seq, finding: None, seen });
                true
            }
        }
    }

    /// Forgets the half that was not seen for longest, if there are too many.
    fn forget(&mut self) {
        if self.known.len() <= MOST_TRACKS {
            return;
        }
        let mut seen: Vec<u64> = self.known.values().map(|track| track.seen).collect();
        let (_, middle, _) = seen.select_nth_unstable(MOST_TRACKS / 2);
        let middle = *middle;
        self.known.retain(|_, track| track.seen > middle);
    }
}

impl Finding {
    fn write(&self, buffer: &mut gst::BufferRef, place: usize) {
        match self {
            Self::Class(class) => attributes::classify(buffer, place, class),
            Self::Vector(model, vector) => attributes::embed(buffer, place, model, vector),
        };
    }
}

/// What an answer says: the most probable class, if it is probable enough, or the vector.
fn finding(runtime: &Runtime, found: &[Detection], vector: &[f32]) -> Option<Finding> {
    if let Some(best) = found.first() {
        let (model, label) = (runtime.model.to_string(), runtime.label(best).into_owned());
        let class = AttributeRecord::new(model, label, best.class, f64::from(best.confidence));
        return Some(Finding::Class(class));
    }
    (!vector.is_empty()).then(|| Finding::Vector(Arc::clone(&runtime.model), vector.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_track_is_asked_about_again_after_the_interval_and_others_at_once() {
        let mut tracks = Tracks::default();
        let due: Vec<_> = (0..7).map(|seq| tracks.is_due(((0, 0, 0), 1), seq, 3)).collect();
        assert_eq!(due, [true, false, false, true, false, false, true]);
        assert!(tracks.is_due(((1, 0, 0), 1), 6, 3), "the same number on another feed is another track");
        assert!(tracks.is_due(((0, 0, 0), 1), 0, 3), "the numbers of the feed began anew");
        assert!((0..3).all(|seq| tracks.is_due(((0, 0, 0), 2), seq, 1)), "1 asks every time");
    }

    #[test]
    fn what_is_known_is_bounded_and_the_tracks_seen_last_stay() {
        let mut tracks = Tracks::default();
        for number in 0..3 * MOST_TRACKS as i64 {
            tracks.frames += 1;
            tracks.is_due(((0, 0, 0), number), 0, 10);
            tracks.forget();
            assert!(tracks.known.len() <= MOST_TRACKS);
            assert!(tracks.known.contains_key(&((0, 0, 0), number)));
        }
    }

    #[test]
    fn tracks_that_were_all_seen_on_one_frame_are_bounded_too() {
        let mut tracks = Tracks::default();
        for number in 0..2 * MOST_TRACKS as i64 {
            tracks.is_due(((0, 0, 0), number), 0, 10);
        }
        tracks.forget();
        assert!(tracks.known.len() <= MOST_TRACKS);
    }

    #[test]
    fn objects_are_chosen_by_label_and_by_what_is_visible_of_them() {
        let rule = Rule { labels: split(" person, ,car"), min_size: 10.0, interval: 1, most: 1 };
        let spot = |label: &'static str, x_min: f32, x_max: f32| {
            let spot =
                Spot { place: 0, label, rect: Rect::from_corners(x_min, 0.0, x_max, 50.0), track: None };
            rule.admits(&spot, Size::new(100, 100))
        };
        assert!(spot("person", 0.0, 10.0) && spot("car", 0.0, 10.0));
        assert!(!spot("dog", 0.0, 10.0) && !spot("", 0.0, 10.0));
        assert!(!spot("person", 0.0, 9.0) && !spot("person", 95.0, 200.0) && !spot("person", 200.0, 300.0));
    }
}
