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

/// The fields, so that a name is looked up once and not for every frame.
struct Fields {
    feed_id: Quark,
    feed: Quark,
    seq: Quark,
    session: Quark,
    status: Quark,
    error: Quark,
    batch_id: Quark,
    batch_size: Quark,
    batch_slot: Quark,
    close_reason: Quark,
    model: Quark,
    provider: Quark,
    arrival: Quark,
    batched: Quark,
    inference_start: Quark,
    inference_end: Quark,
    delivered: Quark,
    wall_time_us: Quark,
    wall_time_source: Quark,
}

static FIELDS: LazyLock<Fields> = LazyLock::new(|| Fields {
    feed_id: Quark::from_str("feed-id"),
    feed: Quark::from_str("feed"),
    seq: Quark::from_str("seq"),
    session: Quark::from_str("session"),
    status: Quark::from_str("status"),
    error: Quark::from_str("error"),
    batch_id: Quark::from_str("batch-id"),
    batch_size: Quark::from_str("batch-size"),
    batch_slot: Quark::from_str("batch-slot"),
    close_reason: Quark::from_str("close-reason"),
    model: Quark::from_str("model"),
    provider: Quark::from_str("provider"),
    arrival: Quark::from_str("arrival"),
    batched: Quark::from_str("batched"),
    inference_start: Quark::from_str("inference-start"),
    inference_end: Quark::from_str("inference-end"),
    delivered: Quark::from_str("delivered"),
    wall_time_us: Quark::from_str("wall-time-us"),
    wall_time_source: Quark::from_str("wall-time-source"),
});

#[expect(deprecated, reason = "what replaces it is not in the oldest GStreamer there is to be run with")]
fn set(structure: &mut gst::StructureRef, field: Quark, value: impl Into<glib::Value> + Send) {
    structure.set_by_quark(field, value);
}

#[expect(deprecated, reason = "see `set`")]
fn get<'a, T: glib::value::FromValue<'a>>(structure: &'a gst::StructureRef, field: Quark) -> Option<T> {
    structure.get_by_quark(field).ok()
}

#[expect(deprecated, reason = "see `set`")]
fn has(structure: &gst::StructureRef, field: Quark) -> bool {
    structure.has_field_by_quark(field)
}

fn fill<T: AsRef<str>>(structure: &mut gst::StructureRef, facts: &FrameFacts<T>) {
    let fields = &*FIELDS;
    let mut text = |field: Quark, text: &str| set(structure, field, &*without_nul(text));
    text(fields.feed_id, facts.feed_id.as_ref());
    text(fields.status, facts.status.as_str());
    text(fields.close_reason, facts.close_reason.as_ref());
    text(fields.model, facts.model.as_ref());
    text(fields.provider, facts.provider.as_ref());
    text(fields.wall_time_source, facts.wall_time_source.as_str());
    if let Some(error) = &facts.error {
        text(fields.error, error.as_ref());
    } else if has(structure, fields.error) {
        structure.remove_field("error");
    }
    let numbers = [
        (fields.feed, facts.feed),
        (fields.session, facts.session),
        (fields.batch_size, facts.batch_size),
        (fields.batch_slot, facts.batch_slot),
    ];
    numbers.into_iter().for_each(|(field, number)| set(structure, field, number));
    // Zero means "did not happen", so a time at the very origin moves by a nanosecond.
    let time = |time: Option<u64>| time.map_or(0, |nanos| nanos.max(1));
    let numbers = [
        (fields.seq, facts.seq),
        (fields.batch_id, facts.batch_id),
        (fields.arrival, time(facts.arrival)),
        (fields.batched, time(facts.batched)),
        (fields.inference_start, time(facts.inference_start)),
        (fields.inference_end, time(facts.inference_end)),
        (fields.delivered, time(facts.delivered)),
        (fields.wall_time_us, time(facts.wall_time_us)),
    ];
    numbers.into_iter().for_each(|(field, number)| set(structure, field, number));
}

fn parse<'a, T: From<&'a str>>(structure: &'a gst::StructureRef) -> FrameFacts<T> {
    let fields = &*FIELDS;
    // Asked first: an error that a field is missing is allocated, and nearly every frame lacks one.
    let borrowed = |field: Quark| {
        has(structure, field).then(|| get::<Option<&'a str>>(structure, field)).flatten().flatten()
    };
    let plain = |field: Quark| borrowed(field).unwrap_or_default();
    let text = |field: Quark| T::from(plain(field));
    let small = |field: Quark| get::<u32>(structure, field).unwrap_or_default();
    let large = |field: Quark| get::<u64>(structure, field).unwrap_or_default();
    let time = |field: Quark| Some(large(field)).filter(|nanos| *nanos != 0);
    FrameFacts {
        feed_id: text(fields.feed_id),
        feed: small(fields.feed),
        seq: large(fields.seq),
        session: small(fields.session),
        status: Status::parse(plain(fields.status)).unwrap_or_default(),
        error: borrowed(fields.error).map(T::from),
        batch_id: large(fields.batch_id),
        batch_size: small(fields.batch_size),
        batch_slot: small(fields.batch_slot),
        close_reason: text(fields.close_reason),
        model: text(fields.model),
        provider: text(fields.provider),
        arrival: time(fields.arrival),
        batched: time(fields.batched),
        inference_start: time(fields.inference_start),
        inference_end: time(fields.inference_end),
        delivered: time(fields.delivered),
        wall_time_us: time(fields.wall_time_us),
        wall_time_source: WallTimeSource::parse(plain(fields.wall_time_source)).unwrap_or_default(),
    }
}

/// The structure of the meta. The bindings allocate a copy of its name for each look, several times a frame.
#[expect(unsafe_code, reason = "GStreamer's own functions take the name as it is")]
mod raw {
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
