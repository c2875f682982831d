//! Text to and from GLib, where any element may have written anything.
//!
//! The safe bindings panic on text with a NUL, and trust that the type of a region is there and is UTF-8.
//! Regions come from other vendors' elements, so here nothing is trusted. (Text in the fields of a
//! structure needs no care: GStreamer refuses to store any that is not UTF-8.)

use std::borrow::Cow;
use std::ffi::CStr;

/// `text` as GLib can hold it: NUL ends a C string, so it becomes the replacement character.
pub(crate) fn without_nul(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(text) }
}

/// The type of a region; empty if it was attached without one.
pub(crate) fn roi_type(region: &gst::MetaRef<'_, gst_video::VideoRegionOfInterestMeta>) -> String {
    #[expect(unsafe_code, reason = "the safe getter reads through NULL for a region without a type")]
    // SAFETY: the reference keeps the meta alive.
    let quark = unsafe { (*region.as_ptr()).roi_type };
    quark_text(quark)
}

/// The text of a quark; empty if there is none of this number.
pub(crate) fn quark_text(quark: glib::ffi::GQuark) -> String {
    #[expect(unsafe_code, reason = "the safe getter reads through NULL for a number without a text")]
    // SAFETY: takes any number; returns NULL or a C string that lives as long as the process.
    let text = unsafe { glib::ffi::g_quark_to_string(quark) };
    if text.is_null() {
        return String::new();
    }
    #[expect(unsafe_code, reason = "the same")]
    // SAFETY: not NULL, so a C string, see above.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}
