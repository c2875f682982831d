//! Objects, tracks and classes on a buffer, as upstream's `GstAnalyticsRelationMeta`: what its overlays, trackers and
//! converters read.
//!
//! There is one such meta on a buffer, whoever added it; its entries are numbered from 0 in the order in which they
//! came. An object (`GstAnalyticsODMtd`) is related to its track (`GstAnalyticsTrackingMtd`) and to its classes
//! (`GstAnalyticsClsMtd`). The library is opened at run time, see [`available`]; without it, nothing here does
//! anything.
//!
//! Our own elements read the regions ([`super::detections`]), which are always complete, and never this meta, so
//! that nothing counts twice. The `id` of a region is the number of its object here, as DL Streamer has it.
//!
//! Not guaranteed: room. At most [`MAX_ENTRIES`] entries are added, for the meta keeps a byte for each pair of them;
//! objects beyond that are regions only. Nor that a meta somebody made without room for any entry can be added to:
//! the library does not survive that.

#![expect(unsafe_code, reason = "the functions of libgstanalytics are C")]

mod library;

use super::detections::PixelRect;
use super::text::{quark_text, without_nul};
use crate::output::{MAX_LABEL_BYTES, bounded_text};
use gst_video::VideoRegionOfInterestMeta;
use library::{Api, RELATE_TO, RawEntry, RawKind, RawRelations, RawRoom, api};
use std::ffi::{c_int, c_uint};
use std::marker::PhantomData;
use std::ptr::{self, NonNull};

/// Most entries on one buffer, objects, tracks and classes together.
pub const MAX_ENTRIES: usize = 1024;

/// What an entry takes, at most: a head and what upstream's kinds need. A wrong guess costs an allocation.
const ENTRY_BYTES: usize = 80;

/// Pixels by which a region and its object may differ, for scalers round each for itself.
const TOLERANCE: i64 = 2;

/// Whether this process can attach and read the meta.
///
/// # Errors
/// Says what to install, and what was found. The answer stays the same for the life of the process.
pub fn available() -> Result<(), &'static str> {
    api().map(drop)
}

/// Number of an object on its buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectId(u32);

impl ObjectId {
    /// As the `id` of a region has it.
    #[must_use]
    pub fn region_id(self) -> i32 {
        i32::try_from(self.0).unwrap_or(i32::MAX)
    }
}

/// A track as the meta has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Track {
    /// The number of the track.
    pub id: u64,
    /// Time of the frame it was first seen on.
    pub first_seen: Option<gst::ClockTime>,
    /// Time of the frame it was last seen on.
    pub last_seen: Option<gst::ClockTime>,
    /// Whether it is given up.
    pub is_lost: bool,
}

/// One class of an object and how sure that is, 0 to 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Class {
    /// Its name.
    pub label: String,
    /// How sure it is, as it was written.
    pub confidence: f32,
}

/// An object as [`read`] finds it.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// Its number.
    pub id: ObjectId,
    /// Its type; empty if it has none.
    pub label: String,
    /// x, y, width and height in pixels.
    pub rect: [i32; 4],
    /// How sure it is, as it was written.
    pub confidence: f32,
    /// What it is related to.
    pub tracks: Vec<Track>,
    /// What it is related to.
    pub classes: Vec<Class>,
}

/// Where to find the object of a region: taken from the region before the buffer is written to.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    id: i32,
    label: glib::ffi::GQuark,
    rect: PixelRect,
}

impl Place {
    /// That of `region`.
    #[must_use]
    pub fn of(region: &gst::MetaRef<'_, VideoRegionOfInterestMeta>) -> Self {
        // SAFETY: the reference keeps the meta alive. The safe getter needs a type that is there.
        let label = unsafe { (*region.as_ptr()).roi_type };
        Self { id: region.id(), label, rect: region.rect() }
    }
}

/// The meta on a buffer that can be written to.
pub struct Relations<'a> {
    api: &'static Api,
    meta: NonNull<RawRelations>,
    buffer: PhantomData<&'a mut gst::BufferRef>,
}

impl std::fmt::Debug for Relations<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Relations").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl<'a> Relations<'a> {
    /// The meta on `buffer`; a new one with room for `expected` entries if there is none. `None` without the library.
    pub fn on(buffer: &'a mut gst::BufferRef, expected: usize) -> Option<Self> {
        let api = api().ok()?;
        let entries = expected.clamp(4, MAX_ENTRIES);
        let mut room = RawRoom { entries, bytes: entries * ENTRY_BYTES };
        // SAFETY: the buffer is writable (`&mut`), and `room` is read during the call.
        let meta = unsafe { (api.add)(buffer.as_mut_ptr(), &raw mut room) };
        NonNull::new(meta).map(|meta| Self { api, meta, buffer: PhantomData })
    }

    /// The meta on `buffer`, if there is one.
    pub fn existing(buffer: &'a mut gst::BufferRef) -> Option<Self> {
        let api = api().ok()?;
        // SAFETY: the buffer is there for the call; what is returned lives as long as the buffer is borrowed.
        let meta = unsafe { (api.get)(buffer.as_mut_ptr()) };
        NonNull::new(meta).map(|meta| Self { api, meta, buffer: PhantomData })
    }

    /// Entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        // SAFETY: `meta` is that of the buffer, which is borrowed.
        unsafe { (self.api.len)(self.meta.as_ptr()) }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds an object; `None` if there is no room, or a number is not finite. The confidence is clamped to 0..1.
    /// Labels must come from a fixed list, see [`super::detections`].
    pub fn add_object(&mut self, label: &str, rect: PixelRect, confidence: f32) -> Option<ObjectId> {
        let label = quark(label);
        let [x, y, width, height] =
            [rect.0, rect.1, rect.2, rect.3].map(|side| c_int::try_from(side).unwrap_or(c_int::MAX));
        let confidence = usable(confidence)?;
        self.add(|api, meta, entry| {
            // SAFETY: `meta` and `entry` are valid for the call, see `add`.
            unsafe { (api.add_object)(meta, label, x, y, width, height, confidence, entry) }
        })
        .map(|entry| ObjectId(entry.id))
    }

    /// Adds the track of `object`; whether there was room.
    pub fn add_track(&mut self, object: ObjectId, track: &Track) -> bool {
        let none = gst::ffi::GST_CLOCK_TIME_NONE;
        let first = track.first_seen.map_or(none, gst::ClockTime::nseconds);
        let added = self.add(|api, meta, entry| {
            // SAFETY: as in `add_object`.
            unsafe { (api.add_track)(meta, track.id, first, entry) }
        });
        let Some(mut entry) = added else { return false };
        if let Some(last) = track.last_seen {
            // SAFETY: the entry has just been added to this meta.
            unsafe { (self.api.track_seen)(&raw mut entry, last.nseconds()) };
        }
        if track.is_lost {
            // SAFETY: as above.
            unsafe { (self.api.track_lost)(&raw mut entry) };
        }
        self.relate(object, &entry)
    }

    /// Adds a class of `object`; whether there was room and the confidence is a number.
    pub fn add_class(&mut self, object: ObjectId, label: &str, confidence: f32) -> bool {
        let Some(confidence) = usable(confidence) else { return false };
        let label = quark(label);
        let added = self.add(|api, meta, entry| {
            // SAFETY: as in `add_object`.
            unsafe { (api.add_class)(meta, confidence, label, entry) }
        });
        added.is_some_and(|entry| self.relate(object, &entry))
    }

    /// The object of a region: the one whose number it has, if type and place are the same.
    #[must_use]
    pub fn object(&self, place: &Place) -> Option<ObjectId> {
        let id = u32::try_from(place.id).ok()?;
        // SAFETY: takes nothing.
        let entry = self.entry(id, unsafe { (self.api.object_kind)() })?;
        // SAFETY: `entry` is an object of this meta.
        let label = unsafe { (self.api.object_type)(&raw const entry) };
        let ([x, y, width, height], _) = self.place(&entry)?;
        let near = |ours: c_int, theirs: u32| (i64::from(ours) - i64::from(theirs)).abs() <= TOLERANCE;
        let rect = place.rect;
        let is_same = near(x, rect.0) && near(y, rect.1) && near(width, rect.2) && near(height, rect.3);
        (label == place.label && is_same).then_some(ObjectId(id))
    }

    fn add(
        &mut self,
        add: impl FnOnce(&Api, *mut RawRelations, *mut RawEntry) -> glib::ffi::gboolean,
    ) -> Option<RawEntry> {
        if self.len() >= MAX_ENTRIES {
            return None;
        }
        let mut entry = RawEntry::EMPTY;
        let added = add(self.api, self.meta.as_ptr(), &raw mut entry);
        (added != glib::ffi::GFALSE).then_some(entry)
    }

    fn relate(&mut self, object: ObjectId, entry: &RawEntry) -> bool {
        if object.0 as usize >= self.len() {
            return false;
        }
        // SAFETY: both are numbers of entries of this meta.
        let related = unsafe { (self.api.relate)(self.meta.as_ptr(), RELATE_TO, object.0, entry.id) };
        related != glib::ffi::GFALSE
    }

    /// The entry of this number, if there is one and it is of that kind.
    fn entry(&self, id: c_uint, kind: RawKind) -> Option<RawEntry> {
        if id as usize >= self.len() {
            return None;
        }
        let mut entry = RawEntry::EMPTY;
        // SAFETY: `meta` is that of the buffer, which is borrowed, and `entry` is ours.
        let found = unsafe { (self.api.entry)(self.meta.as_ptr(), id, kind, &raw mut entry) };
        (found != glib::ffi::GFALSE).then_some(entry)
    }

    fn place(&self, entry: &RawEntry) -> Option<([c_int; 4], f32)> {
        let (mut x, mut y, mut width, mut height, mut confidence) = (0, 0, 0, 0, 0.0);
        // SAFETY: `entry` is an object of this meta, and the rest is ours.
        let found = unsafe {
            (self.api.object_place)(
                entry,
                &raw mut x,
                &raw mut y,
                &raw mut width,
                &raw mut height,
                &raw mut confidence,
            )
        };
        (found != glib::ffi::GFALSE).then_some(([x, y, width, height], confidence))
    }

    fn describe(&self, entry: &RawEntry) -> Option<Object> {
        let (rect, confidence) = self.place(entry)?;
        // SAFETY: `entry` is an object of this meta.
        let label = quark_text(unsafe { (self.api.object_type)(entry) });
        // SAFETY: these take nothing.
        let (track, class) = unsafe { ((self.api.track_kind)(), (self.api.class_kind)()) };
        let tracks = self.related(entry.id, track).filter_map(|entry| self.track(&entry)).collect();
        let classes = self.related(entry.id, class).flat_map(|entry| self.classes(&entry)).collect();
        Some(Object { id: ObjectId(entry.id), label, rect, confidence, tracks, classes })
    }

    fn related(&self, object: c_uint, kind: RawKind) -> impl Iterator<Item = RawEntry> {
        let mut state = ptr::null_mut();
        let next = move || {
            let mut entry = RawEntry::EMPTY;
            let (meta, to) = (self.meta.as_ptr(), &raw mut entry);
            // SAFETY: the object is one of this meta, `state` is what the last call left, and the rest is ours.
            let found = unsafe { (self.api.related)(meta, object, RELATE_TO, kind, &raw mut state, to) };
            (found != glib::ffi::GFALSE).then_some(entry)
        };
        std::iter::from_fn(next).take(MAX_ENTRIES)
    }

    fn track(&self, entry: &RawEntry) -> Option<Track> {
        let (mut id, mut first, mut last, mut lost) = (0, 0, 0, glib::ffi::GFALSE);
        // SAFETY: `entry` is a track of this meta, and the rest is ours.
        let found = unsafe {
            (self.api.track_info)(entry, &raw mut id, &raw mut first, &raw mut last, &raw mut lost)
        };
        let time =
            |nanos| (nanos != gst::ffi::GST_CLOCK_TIME_NONE).then(|| gst::ClockTime::from_nseconds(nanos));
        (found != glib::ffi::GFALSE).then(|| Track {
            id,
            first_seen: time(first),
            last_seen: time(last),
            is_lost: lost != glib::ffi::GFALSE,
        })
    }

    fn classes(&self, entry: &RawEntry) -> Vec<Class> {
        // SAFETY: `entry` is a classification of this meta.
        let len = unsafe { (self.api.class_len)(entry) }.min(MAX_ENTRIES);
        let class = |at| {
            // SAFETY: as above, and `at` is below its length.
            let (quark, confidence) =
                unsafe { ((self.api.class_quark)(entry, at), (self.api.class_level)(entry, at)) };
            Class { label: quark_text(quark), confidence }
        };
        (0..len).map(class).collect()
    }
}

/// The objects on `buffer`, whoever added them, at most [`MAX_ENTRIES`]; none without the library.
#[must_use]
pub fn read(buffer: &gst::BufferRef) -> Vec<Object> {
    let Ok(api) = api() else { return Vec::new() };
    // SAFETY: the function only looks for the meta; C does not know that.
    let meta = unsafe { (api.get)(buffer.as_ptr().cast_mut()) };
    let Some(meta) = NonNull::new(meta) else { return Vec::new() };
    // Only its reading half is used from here.
    let relations = Relations { api, meta, buffer: PhantomData };
    // SAFETY: takes nothing.
    let kind = unsafe { (api.object_kind)() };
    let most = c_uint::try_from(relations.len().min(MAX_ENTRIES)).unwrap_or(c_uint::MAX);
    let entries = (0..most).filter_map(|id| relations.entry(id, kind));
    entries.filter_map(|entry| relations.describe(&entry)).collect()
}

/// A number from 0 to 1, if it is one at all.
fn usable(confidence: f32) -> Option<f32> {
    confidence.is_finite().then(|| confidence.clamp(0.0, 1.0))
}

fn quark(label: &str) -> glib::ffi::GQuark {
    use glib::translate::IntoGlib as _;
    let bounded = bounded_text(label, MAX_LABEL_BYTES);
    glib::Quark::from_str(&*without_nul(&bounded)).into_glib()
}

#[cfg(test)]
mod tests;
