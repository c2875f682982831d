//! The meta `nv-frame`: what is known about one frame, readable from any language.
//!
//! A `GstCustomMeta` whose structure has the fields of [`FrameFacts`] in kebab-case. Copies of the buffer
//! and elements that keep untagged metas carry it along. Reading is tolerant: a missing or mistyped field
//! reads as its default.

use super::text::without_nul;
use crate::output::{FrameFacts, Status, WallTimeSource};
use glib::Quark;
use gst::meta::CustomMeta;
use std::sync::{LazyLock, OnceLock};

/// Name of the meta.
pub const NAME: &str = "nv-frame";

fn register() {
    static REGISTERED: OnceLock<()> = OnceLock::new();
    REGISTERED.get_or_init(|| {
        // A second copy of the library in the process may have been faster.
        if !CustomMeta::is_registered(NAME) {
            CustomMeta::register_simple(NAME);
        }
    });
}

/// Puts `facts` on the buffer, in place of what an earlier call put there.
///
/// Times that did not happen are written as 0. A `batch_size` of 0 says that the frame was in no batch.
pub fn write(buffer: &mut gst::BufferRef, facts: &FrameFacts) {
    write_as(buffer, facts);
}

/// The same, of facts that are borrowed: nothing is copied but into the structure itself.
pub(crate) fn write_as<T: AsRef<str>>(buffer: &mut gst::BufferRef, facts: &FrameFacts<T>) {
    register();
    // Fails only if another element has registered a meta of this name that is no custom meta.
    if let Some(structure) = raw::structure_for_writing(buffer) {
        fill(structure, facts);
    }
}

/// What an earlier [`write()`] put on the buffer; `None` if there is no such meta.
#[must_use]
pub fn read(buffer: &gst::BufferRef) -> Option<FrameFacts> {
    register();
    raw::structure(buffer).map(parse)
}

/// Calls `look` with what an earlier [`write()`] put on the buffer; `None` if there is no such meta. Nothing is copied.
pub(crate) fn with_facts<R>(buffer: &gst::BufferRef, look: impl FnOnce(&FrameFacts<&str>) -> R) -> Option<R> {
    register();
    raw::structure(buffer).map(|structure| look(&parse(structure)))
}

/// Calls `look` with the name of the feed, the number of its session and the number of the frame in it, as an
/// earlier [`write()`] put them on the buffer; `None` if there is no such meta. Nothing is copied.
pub(crate) fn with_origin<T>(buffer: &gst::BufferRef, look: impl FnOnce(&str, u32, u64) -> T) -> Option<T> {
    register();
    let structure = raw::structure(buffer)?;
    let feed_id = structure.get::<&str>("feed-id").unwrap_or_default();
    let session = structure.get::<u32>("session").unwrap_or_default();
    let seq = structure.get::<u64>("seq").unwrap_or_default();
    Some(look(feed_id, session, seq))
}

/// What became of the frame, as an earlier [`write()`] put it on the buffer; `None` if there is no such meta.
pub(crate) fn status(buffer: &gst::BufferRef) -> Option<Status> {
    register();
    let status = raw::structure(buffer)?.get::<&str>("status").unwrap_or_default();
    Some(Status::parse(status).unwrap_or_default())
}

/// Wall clock of the frame as its source gave it, in microseconds since the Unix epoch.
///
/// Reads the `GstReferenceTimestampMeta`s whose reference is `timestamp/x-unix` or `timestamp/x-ntp`.
/// `None` without one, or if it lies before 1970.
#[must_use]
pub fn reference_wall_micros(buffer: &gst::BufferRef) -> Option<u64> {
    /// From 1900, where NTP counts from, to 1970 (RFC 5905, figure 4).
    const UNIX_AFTER_NTP_SECONDS: u64 = 2_208_988_800;
    buffer.iter_meta::<gst::ReferenceTimestampMeta>().find_map(|meta| {
        let reference = meta.reference().structure(0)?;
        let micros = meta.timestamp().useconds();
        if reference.has_name("timestamp/x-unix") {
            Some(micros)
        } else if reference.has_name("timestamp/x-ntp") {
            micros.checked_sub(UNIX_AFTER_NTP_SECONDS * 1_000_000)
        } else {
            None
        }
    })
}

/// The fields, in the order in which they are written.
#[derive(Clone, Copy)]
enum Field {
    FeedId,
    Status,
    CloseReason,
    Model,
    Provider,
    WallTimeSource,
    Error,
    Feed,
    Session,
    BatchSize,
    BatchSlot,
    Seq,
    BatchId,
    Arrival,
    Batched,
    InferenceStart,
    InferenceEnd,
    Delivered,
    WallTimeUs,
}

const FIELDS: [(Field, &str); 19] = [
    (Field::FeedId, "feed-id"),
    (Field::Status, "status"),
    (Field::CloseReason, "close-reason"),
    (Field::Model, "model"),
    (Field::Provider, "provider"),
    (Field::WallTimeSource, "wall-time-source"),
    (Field::Error, "error"),
    (Field::Feed, "feed"),
    (Field::Session, "session"),
    (Field::BatchSize, "batch-size"),
    (Field::BatchSlot, "batch-slot"),
    (Field::Seq, "seq"),
    (Field::BatchId, "batch-id"),
    (Field::Arrival, "arrival"),
    (Field::Batched, "batched"),
    (Field::InferenceStart, "inference-start"),
    (Field::InferenceEnd, "inference-end"),
    (Field::Delivered, "delivered"),
    (Field::WallTimeUs, "wall-time-us"),
];

/// Their names, each looked up once and not for every frame.
static QUARKS: LazyLock<[Quark; FIELDS.len()]> =
    LazyLock::new(|| FIELDS.map(|(_, name)| Quark::from_str(name)));

fn fill<T: AsRef<str>>(structure: &mut gst::StructureRef, facts: &FrameFacts<T>) {
    // Zero means "did not happen", so a time at the very origin moves by a nanosecond.
    let time = |time: Option<u64>| time.map_or(0, |nanos| nanos.max(1));
    for ((field, name), quark) in FIELDS.into_iter().zip(*QUARKS) {
        let mut text = |text: &str| set(structure, quark, &*without_nul(text));
        match field {
            Field::FeedId => text(facts.feed_id.as_ref()),
            Field::Status => text(facts.status.as_str()),
            Field::CloseReason => text(facts.close_reason.as_ref()),
            Field::Model => text(facts.model.as_ref()),
            Field::Provider => text(facts.provider.as_ref()),
            Field::WallTimeSource => text(facts.wall_time_source.as_str()),
            Field::Error => match &facts.error {
                Some(error) => text(error.as_ref()),
                None if has(structure, quark) => structure.remove_field(name),
                None => {}
            },
            Field::Feed => set(structure, quark, facts.feed),
            Field::Session => set(structure, quark, facts.session),
            Field::BatchSize => set(structure, quark, facts.batch_size),
            Field::BatchSlot => set(structure, quark, facts.batch_slot),
            Field::Seq => set(structure, quark, facts.seq),
            Field::BatchId => set(structure, quark, facts.batch_id),
            Field::Arrival => set(structure, quark, time(facts.arrival)),
            Field::Batched => set(structure, quark, time(facts.batched)),
            Field::InferenceStart => set(structure, quark, time(facts.inference_start)),
            Field::InferenceEnd => set(structure, quark, time(facts.inference_end)),
            Field::Delivered => set(structure, quark, time(facts.delivered)),
            Field::WallTimeUs => set(structure, quark, time(facts.wall_time_us)),
        }
    }
}

#[expect(deprecated, reason = "what replaces it is not in the oldest GStreamer there is to be run with")]
fn set(structure: &mut gst::StructureRef, field: Quark, value: impl Into<glib::Value> + Send) {
    structure.set_by_quark(field, value);
}

#[expect(deprecated, reason = "see `set`")]
fn has(structure: &gst::StructureRef, field: Quark) -> bool {
    structure.has_field_by_quark(field)
}

/// Goes through the structure once: to ask it for each field would be to go through it as often as it has fields.
fn parse<'a, T: From<&'a str> + Default>(structure: &'a gst::StructureRef) -> FrameFacts<T> {
    let mut facts = FrameFacts::default();
    // Whoever wrote it most probably wrote the fields in our order.
    let mut likely = 0;
    raw::for_each(structure, |quark, value| {
        let places = (likely..FIELDS.len()).chain(0..likely);
        let Some(at) = { places }.find(|at| QUARKS.get(*at) == Some(&quark)) else { return };
        likely = at + 1;
        if let Some((field, _)) = FIELDS.get(at) {
            read_field(&mut facts, *field, value);
        }
    });
    facts
}

fn read_field<'a, T: From<&'a str> + Default>(
    facts: &mut FrameFacts<T>,
    field: Field,
    value: &'a glib::Value,
) {
    let borrowed = || value.get::<Option<&'a str>>().ok().flatten();
    let plain = || borrowed().unwrap_or_default();
    let text = || T::from(plain());
    let small = || value.get::<u32>().unwrap_or_default();
    let large = || value.get::<u64>().unwrap_or_default();
    let time = || Some(large()).filter(|nanos| *nanos != 0);
    match field {
        Field::FeedId => facts.feed_id = text(),
        Field::Status => facts.status = Status::parse(plain()).unwrap_or_default(),
        Field::CloseReason => facts.close_reason = text(),
        Field::Model => facts.model = text(),
        Field::Provider => facts.provider = text(),
        Field::WallTimeSource => {
            facts.wall_time_source = WallTimeSource::parse(plain()).unwrap_or_default();
        }
        Field::Error => facts.error = borrowed().map(T::from),
        Field::Feed => facts.feed = small(),
        Field::Session => facts.session = small(),
        Field::BatchSize => facts.batch_size = small(),
        Field::BatchSlot => facts.batch_slot = small(),
        Field::Seq => facts.seq = large(),
        Field::BatchId => facts.batch_id = large(),
        Field::Arrival => facts.arrival = time(),
        Field::Batched => facts.batched = time(),
        Field::InferenceStart => facts.inference_start = time(),
        Field::InferenceEnd => facts.inference_end = time(),
        Field::Delivered => facts.delivered = time(),
        Field::WallTimeUs => facts.wall_time_us = time(),
    }
}

/// The structure of the meta. The bindings allocate a copy of its name for each look, several times a frame.
#[expect(unsafe_code, reason = "GStreamer's own functions take the name as it is")]
mod raw {
    use glib::Quark;
    use glib::translate::{IntoGlib as _, from_glib};
    use std::ffi::CStr;

    /// [`super::NAME`].
    const NAME: &CStr = c"nv-frame";

    pub(super) fn structure(buffer: &gst::BufferRef) -> Option<&gst::StructureRef> {
        // SAFETY: the buffer is alive, the name ends in NUL. The function reads, though its argument is not const.
        let meta = unsafe { gst::ffi::gst_buffer_get_custom_meta(buffer.as_mut_ptr(), NAME.as_ptr()) };
        if meta.is_null() {
            return None;
        }
        // SAFETY: a custom meta has a structure, and both live as long as the buffer is not written, which the borrow
        // sees to.
        Some(unsafe {
            gst::StructureRef::from_glib_borrow(gst::ffi::gst_custom_meta_get_structure(meta).cast_const())
        })
    }

    /// Calls `visit` with each field of `structure`.
    pub(super) fn for_each<'a, F: FnMut(Quark, &'a glib::Value)>(
        structure: &'a gst::StructureRef,
        mut visit: F,
    ) {
        unsafe extern "C" fn one<'a, F: FnMut(Quark, &'a glib::Value)>(
            field: glib::ffi::GQuark,
            value: *const glib::gobject_ffi::GValue,
            visit: glib::ffi::gpointer,
        ) -> glib::ffi::gboolean {
            // SAFETY: `visit` is the one of the call below, which nobody else has while that lasts. The value is a
            // field's, and `Value` is transparent over `GValue`.
            let (visit, value) = unsafe { (&mut *visit.cast::<F>(), &*value.cast::<glib::Value>()) };
            // SAFETY: the names of fields are quarks.
            visit(unsafe { from_glib(field) }, value);
            true.into_glib()
        }
        let visit = (&raw mut visit).cast();
        // SAFETY: the structure is alive and, being borrowed, not written; `one` keeps nothing but what it may: values
        // for as long as that borrow lasts.
        unsafe { gst::ffi::gst_structure_foreach(structure.as_ptr(), Some(one::<'a, F>), visit) };
    }

    /// That of the meta there is, or of one that is added.
    pub(super) fn structure_for_writing(buffer: &mut gst::BufferRef) -> Option<&mut gst::StructureRef> {
        // SAFETY: the buffer is alive, and writable (`&mut`); the name ends in NUL.
        let meta = unsafe {
            let there = gst::ffi::gst_buffer_get_custom_meta(buffer.as_mut_ptr(), NAME.as_ptr());
            if there.is_null() {
                gst::ffi::gst_buffer_add_custom_meta(buffer.as_mut_ptr(), NAME.as_ptr())
            } else {
                there
            }
        };
        if meta.is_null() {
            return None;
        }
        // SAFETY: a custom meta has a structure; nobody else has the buffer while it is borrowed.
        Some(unsafe {
            gst::StructureRef::from_glib_borrow_mut(gst::ffi::gst_custom_meta_get_structure(meta))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn facts() -> FrameFacts {
        FrameFacts {
            feed_id: "gate".to_owned(),
            feed: 3,
            seq: u64::MAX,
            session: 2,
            status: Status::Failed,
            error: Some("no answer".to_owned()),
            batch_id: 9,
            batch_size: 4,
            batch_slot: 1,
            close_reason: "all-ready".to_owned(),
            model: "m".to_owned(),
            provider: "cpu".to_owned(),
            arrival: Some(1),
            batched: Some(2),
            inference_start: Some(3),
            inference_end: None,
            delivered: Some(5),
            wall_time_us: Some(6),
            wall_time_source: WallTimeSource::Reference,
        }
    }

    fn buffer_with(facts: &FrameFacts) -> gst::Buffer {
        gst::init().unwrap();
        let mut buffer = gst::Buffer::new();
        write(buffer.get_mut().unwrap(), facts);
        buffer
    }

    #[test]
    fn what_was_written_is_read_back_also_from_a_copy() {
        let buffer = buffer_with(&facts());
        assert_eq!(read(&buffer), Some(facts()));
        let copy = buffer.copy();
        drop(buffer);
        assert_eq!(read(&copy), Some(facts()));
    }

    #[test]
    fn where_a_frame_is_from_is_read_without_the_rest() {
        let origin = |feed_id: &str, session, seq| (feed_id.to_owned(), session, seq);
        assert_eq!(with_origin(&buffer_with(&facts()), origin), Some(("gate".to_owned(), 2, u64::MAX)));
        assert_eq!(with_origin(&gst::Buffer::new(), origin), None);
    }

    #[test]
    fn writing_again_replaces_everything_the_error_too() {
        let mut buffer = buffer_with(&facts());
        let second = FrameFacts { seq: 1, ..FrameFacts::default() };
        write(buffer.get_mut().unwrap(), &second);
        assert_eq!(read(&buffer), Some(second));
        assert_eq!(buffer.iter_meta::<gst::Meta>().count(), 1);
    }

    #[test]
    fn a_buffer_without_the_meta_has_no_facts() {
        gst::init().unwrap();
        assert_eq!(read(&gst::Buffer::new()), None);
    }

    #[test]
    fn missing_and_mistyped_fields_read_as_defaults() {
        let mut buffer = buffer_with(&facts());
        let mut meta = CustomMeta::from_mut_buffer(buffer.get_mut().unwrap(), NAME).unwrap();
        let structure = meta.mut_structure();
        structure.remove_all_fields();
        structure.set("seq", "seven");
        structure.set("status", "surprised");
        structure.set("feed-id", None::<&str>);
        assert_eq!(read(&buffer), Some(FrameFacts::default()));
    }

    #[test]
    fn the_wall_clock_comes_from_unix_and_ntp_references() {
        gst::init().unwrap();
        let with = |reference: &str, seconds: u64| {
            let mut buffer = gst::Buffer::new();
            let caps = gst::Caps::new_empty_simple(reference);
            let stamp = gst::ClockTime::from_seconds(seconds);
            gst::ReferenceTimestampMeta::add(buffer.get_mut().unwrap(), &caps, stamp, None);
            reference_wall_micros(&buffer)
        };
        assert_eq!(with("timestamp/x-unix", 5), Some(5_000_000));
        assert_eq!(with("timestamp/x-ntp", 2_208_988_801), Some(1_000_000));
        assert_eq!(with("timestamp/x-ntp", 1), None);
        assert_eq!(with("timestamp/x-ptp", 5), None);
        assert_eq!(reference_wall_micros(&gst::Buffer::new()), None);
    }

    proptest! {
        #[test]
        fn any_text_survives_but_for_nul(feed_id in any::<String>(), error in any::<String>()) {
            let written = FrameFacts { feed_id, error: Some(error), ..FrameFacts::default() };
            let back = read(&buffer_with(&written)).unwrap();
            prop_assert_eq!(back.feed_id, written.feed_id.replace('\0', "\u{fffd}"));
            prop_assert_eq!(back.error, written.error.map(|error| error.replace('\0', "\u{fffd}")));
        }
    }
}
