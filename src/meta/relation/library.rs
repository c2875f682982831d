//! libgstanalytics, opened when it is first wanted: linked with it, the plugin would not load on GStreamer 1.22.
//!
//! The functions and structures are those that every version since 1.24 has, with these signatures.

#![expect(unsafe_code, reason = "the functions of a C library that is opened at run time")]

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use std::ffi::{c_int, c_uint, c_void};
use std::ptr;
use std::sync::LazyLock;

/// The name that the library has had since it is there.
const FILE: &str = "libgstanalytics-1.0.so.0";

/// What to say when it is not there, before what was found.
const WANTED: &str = "expected GStreamer 1.24 or newer with libgstanalytics-1.0.so.0 \
                      (in Debian: libgstreamer-plugins-bad1.0-0)";

/// `GstAnalyticsRelationMeta`, only ever behind a pointer.
#[repr(C)]
pub(super) struct RawRelations {
    _opaque: [u8; 0],
}

/// `GstAnalyticsMtd`: an entry of the meta.
#[repr(C)]
pub(super) struct RawEntry {
    pub(super) id: c_uint,
    pub(super) meta: *mut RawRelations,
}

impl RawEntry {
    pub(super) const EMPTY: Self = Self { id: 0, meta: ptr::null_mut() };
}

/// `GstAnalyticsRelationMetaInitParams`.
#[repr(C)]
pub(super) struct RawRoom {
    /// Entries; the meta grows by as many at a time, so never 0.
    pub(super) entries: usize,
    pub(super) bytes: usize,
}

/// `GstAnalyticsMtdType`.
pub(super) type RawKind = usize;

type Quark = glib::ffi::GQuark;
type Bool = glib::ffi::gboolean;
type Buffer = *mut gst::ffi::GstBuffer;
type Relations = *mut RawRelations;
type Out = *mut RawEntry;
type Entry = *const RawEntry;

/// `GST_ANALYTICS_REL_TYPE_RELATE_TO`.
pub(super) const RELATE_TO: c_int = 1 << 3;

/// What is used of the library.
pub(super) struct Api {
    pub(super) add: unsafe extern "C" fn(Buffer, *mut RawRoom) -> Relations,
    pub(super) get: unsafe extern "C" fn(Buffer) -> Relations,
    pub(super) len: unsafe extern "C" fn(Relations) -> usize,
    pub(super) entry: unsafe extern "C" fn(Relations, c_uint, RawKind, Out) -> Bool,
    pub(super) relate: unsafe extern "C" fn(Relations, c_int, c_uint, c_uint) -> Bool,
    pub(super) related:
        unsafe extern "C" fn(Relations, c_uint, c_int, RawKind, *mut *mut c_void, Out) -> Bool,
    pub(super) object_kind: unsafe extern "C" fn() -> RawKind,
    pub(super) add_object:
        unsafe extern "C" fn(Relations, Quark, c_int, c_int, c_int, c_int, f32, Out) -> Bool,
    pub(super) object_place:
        unsafe extern "C" fn(Entry, *mut c_int, *mut c_int, *mut c_int, *mut c_int, *mut f32) -> Bool,
    pub(super) object_type: unsafe extern "C" fn(Entry) -> Quark,
    pub(super) track_kind: unsafe extern "C" fn() -> RawKind,
    pub(super) add_track: unsafe extern "C" fn(Relations, u64, u64, Out) -> Bool,
    pub(super) track_seen: unsafe extern "C" fn(Out, u64) -> Bool,
    pub(super) track_lost: unsafe extern "C" fn(Out) -> Bool,
    pub(super) track_info: unsafe extern "C" fn(Entry, *mut u64, *mut u64, *mut u64, *mut Bool) -> Bool,
    pub(super) class_kind: unsafe extern "C" fn() -> RawKind,
    pub(super) add_class: unsafe extern "C" fn(Relations, f32, Quark, Out) -> Bool,
    pub(super) class_len: unsafe extern "C" fn(Entry) -> usize,
    pub(super) class_level: unsafe extern "C" fn(Entry, usize) -> f32,
    pub(super) class_quark: unsafe extern "C" fn(Entry, usize) -> Quark,
}

/// The library, or what to install. Looked for once in the life of the process.
pub(super) fn api() -> Result<&'static Api, &'static str> {
    static API: LazyLock<Result<Api, String>> = LazyLock::new(open);
    API.as_ref().map_err(String::as_str)
}

fn open() -> Result<Api, String> {
    let (major, minor, micro, _) = gst::version();
    // A library of a newer GStreamer would not find in this one what it needs.
    if (major, minor) < (1, 24) {
        return Err(format!("{WANTED}, found GStreamer {major}.{minor}.{micro}"));
    }
    // SAFETY: what the library does when it is loaded is what GLib libraries do: nothing but get ready. It is never
    // closed, because of the types it registers.
    let library = unsafe { Library::open(Some(FILE), RTLD_NOW | RTLD_LOCAL) };
    let library = library.map_err(|error| format!("{WANTED}, found {error}"))?;
    // SAFETY: these are the names and signatures of the library's headers; see `Api`.
    let api = unsafe { functions(&library) }.map_err(|error| format!("{WANTED}, found {error}"));
    let _ = library.into_raw();
    api
}

/// # Safety
/// `library` must be libgstanalytics.
unsafe fn functions(library: &Library) -> Result<Api, libloading::Error> {
    macro_rules! function {
        ($name:literal) => {
            // SAFETY: the type is that of the field it goes to, which is that of the header.
            *unsafe { library.get($name) }?
        };
    }
    Ok(Api {
        add: function!("gst_buffer_add_analytics_relation_meta_full"),
        get: function!("gst_buffer_get_analytics_relation_meta"),
        len: function!("gst_analytics_relation_get_length"),
        entry: function!("gst_analytics_relation_meta_get_mtd"),
        relate: function!("gst_analytics_relation_meta_set_relation"),
        related: function!("gst_analytics_relation_meta_get_direct_related"),
        object_kind: function!("gst_analytics_od_mtd_get_mtd_type"),
        add_object: function!("gst_analytics_relation_meta_add_od_mtd"),
        object_place: function!("gst_analytics_od_mtd_get_location"),
        object_type: function!("gst_analytics_od_mtd_get_obj_type"),
        track_kind: function!("gst_analytics_tracking_mtd_get_mtd_type"),
        add_track: function!("gst_analytics_relation_meta_add_tracking_mtd"),
        track_seen: function!("gst_analytics_tracking_mtd_update_last_seen"),
        track_lost: function!("gst_analytics_tracking_mtd_set_lost"),
        track_info: function!("gst_analytics_tracking_mtd_get_info"),
        class_kind: function!("gst_analytics_cls_mtd_get_mtd_type"),
        add_class: function!("gst_analytics_relation_meta_add_one_cls_mtd"),
        class_len: function!("gst_analytics_cls_mtd_get_length"),
        class_level: function!("gst_analytics_cls_mtd_get_level"),
        class_quark: function!("gst_analytics_cls_mtd_get_quark"),
    })
}
