//! The batch meta: frames and events of many feeds, in order, on one buffer without memory.
//!
//! A batch is a value: copying the buffer (a `tee` does) copies the list, and the frames in it stay shared.
//! Whoever needs the frames for itself takes the whole list out with [`take`]. A frame's ticket is part of
//! it, so a batch that is thrown away anywhere gives every feed its credit back.
//!
//! Not guaranteed: the meta does not survive a transformation of the buffer other than a full copy.

#![expect(unsafe_code, reason = "GStreamer keeps metas as C structures and frees them through callbacks")]

use crate::batch::{CloseReason, FeedId, Ticket};
use crate::output::Status;
use crate::time::Monotonic;
use parking_lot::Mutex;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

/// Caps of the stream of batches.
pub const CAPS_NAME: &str = "multistream/x-nv-batch";

/// Field of those caps: most frames to infer in one batch, an int.
pub const CAPS_MAX_BATCH_SIZE: &str = "max-batch-size";

/// A feed as messages, metas and records name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feed {
    /// Number of the pad.
    pub id: FeedId,
    /// The pad property `feed-id`.
    pub name: Arc<str>,
    /// Rises with every new stream on the pad.
    pub session: u32,
    /// How often the feed was flushed before.
    pub epoch: u32,
}

/// The format of one feed's frames, shared by all frames between two caps events.
#[derive(Debug)]
pub struct Format {
    /// The caps as they arrived.
    pub caps: gst::Caps,
    /// The same, parsed.
    pub info: gst_video::VideoInfo,
}

/// Wall-clock time of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WallTime {
    /// Microseconds since the Unix epoch.
    pub micros: u64,
    /// Whether the source said so; otherwise it is the time of arrival.
    pub from_reference: bool,
}

/// What inference made of a frame.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// How it went.
    pub status: Status,
    /// Why it failed, if it did.
    pub error: Option<Arc<str>>,
    /// Name of the model.
    pub model: Arc<str>,
    /// Execution provider that ran it.
    pub provider: Arc<str>,
    /// When the run began and ended; `None` if there was none.
    pub ran: Option<(Monotonic, Monotonic)>,
}

/// One frame on its way from its feed's sink pad to its feed's src pad.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Whose it is.
    pub feed: Feed,
    /// Counts the frames the feed has received, from 0, never restarting.
    pub seq: u64,
    /// The pixels and their timestamps, untouched.
    pub buffer: gst::Buffer,
    /// What the pixels are.
    pub format: Arc<Format>,
    /// The feed's segment at this frame.
    pub segment: Arc<gst::FormattedSegment<gst::ClockTime>>,
    /// When it was taken into the feed's queue.
    pub arrival: Monotonic,
    /// Its wall-clock time.
    pub wall: WallTime,
    /// Whether it is to be inferred, or rides along to keep its place.
    pub infer: bool,
    /// Position among the frames of the batch that are to be inferred.
    pub slot: u32,
    /// The feed's claim on the queues behind the batcher.
    pub ticket: Ticket,
    /// Filled in by inference.
    pub verdict: Option<Verdict>,
}

/// What a batch holds: frames, and events in their place between the frames of their feed.
#[derive(Clone, Debug)]
pub enum Item {
    /// A frame.
    Frame(Frame),
    /// A serialized event of a feed.
    Event {
        /// Whose it is.
        feed: Feed,
        /// The event as it came in.
        event: gst::Event,
    },
}

impl Item {
    /// The frame, unless it is an event.
    #[must_use]
    pub const fn frame(&self) -> Option<&Frame> {
        match self {
            Self::Frame(frame) => Some(frame),
            Self::Event { .. } => None,
        }
    }
}

/// Which batch frames travelled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    /// Counts the batches of a batcher.
    pub id: u64,
    /// Frames to infer.
    pub size: u32,
    /// Why it closed.
    pub reason: CloseReason,
    /// When it closed.
    pub closed: Monotonic,
}

/// A closed batch.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Which one it is; `None` for a list of events alone.
    pub label: Option<Label>,
    /// Its content, in order.
    pub items: Items,
}

/// The items of a batch: a list that goes back, empty, to the [`Shelf`] it is from.
#[derive(Debug, Default)]
pub struct Items {
    list: Vec<Item>,
    shelf: Option<Arc<Shelf>>,
}

/// Lists for the items of batches to come, so that none is allocated for each.
#[derive(Debug, Default)]
pub struct Shelf(Mutex<Vec<Vec<Item>>>);

impl Shelf {
    /// As many batches as are on their way at a time, and some.
    const MOST: usize = 8;

    /// An empty list, which comes back here.
    #[must_use]
    pub fn take(self: &Arc<Self>) -> Items {
        let list = self.0.lock().pop().unwrap_or_default();
        Items { list, shelf: Some(Arc::clone(self)) }
    }
}

impl Drop for Items {
    fn drop(&mut self) {
        let Some(shelf) = self.shelf.take() else { return };
        let mut list = std::mem::take(&mut self.list);
        // Before the lock: what a ticket wakes may be anything.
        list.clear();
        let mut lists = shelf.0.lock();
        if lists.len() < Shelf::MOST {
            lists.push(list);
        }
    }
}

impl Clone for Items {
    fn clone(&self) -> Self {
        Self { list: self.list.clone(), shelf: None }
    }
}

impl Deref for Items {
    type Target = Vec<Item>;

    fn deref(&self) -> &Vec<Item> {
        &self.list
    }
}

impl DerefMut for Items {
    fn deref_mut(&mut self) -> &mut Vec<Item> {
        &mut self.list
    }
}

impl FromIterator<Item> for Items {
    fn from_iter<T: IntoIterator<Item = Item>>(items: T) -> Self {
        Self { list: items.into_iter().collect(), shelf: None }
    }
}

/// Puts `batch` on `buffer`.
pub fn attach(buffer: &mut gst::BufferRef, batch: Batch) {
    imp::add(buffer, batch);
}

/// Takes the batch off `buffer`; `None` if it carries none.
pub fn take(buffer: &mut gst::BufferRef) -> Option<Batch> {
    let mut meta = buffer.meta_mut::<BatchMeta>()?;
    let batch = std::mem::replace(meta.batch_mut(), Batch { label: None, items: Items::default() });
    // A meta is locked only by whoever made it so, and this one never is.
    meta.remove().ok();
    Some(batch)
}

/// The batch on `buffer`, if it carries one.
#[must_use]
pub fn peek(buffer: &gst::BufferRef) -> Option<Batch> {
    buffer.meta::<BatchMeta>().map(|meta| meta.batch().clone())
}

/// The meta as it lies in a buffer.
#[repr(transparent)]
struct BatchMeta(imp::RawBatchMeta);

impl BatchMeta {
    fn batch(&self) -> &Batch {
        &self.0.batch
    }

    fn batch_mut(&mut self) -> &mut Batch {
        &mut self.0.batch
    }
}

// SAFETY: `Batch` is Send, and a meta is only reached through its buffer, whose mutability GStreamer guards.
unsafe impl Send for BatchMeta {}
// SAFETY: shared access gives out `&Batch`, which is Sync: every type in it is.
unsafe impl Sync for BatchMeta {}

// SAFETY: `GstType` is the structure registered for the API below, and `BatchMeta` is transparent over it.
unsafe impl gst::MetaAPI for BatchMeta {
    type GstType = imp::RawBatchMeta;

    fn meta_api() -> glib::Type {
        imp::api_type()
    }
}

mod imp {
    use super::{Batch, BatchMeta};
    use glib::translate::{FromGlib as _, IntoGlib as _};
    use std::mem::ManuallyDrop;
    use std::ptr;
    use std::sync::LazyLock;

    /// What `gst_buffer_add_meta` allocates: the header GStreamer knows, then our value.
    #[repr(C)]
    pub(super) struct RawBatchMeta {
        parent: gst::ffi::GstMeta,
        pub(super) batch: Batch,
    }

    pub(super) fn add(buffer: &mut gst::BufferRef, batch: Batch) {
        let mut params = ManuallyDrop::new(batch);
        // SAFETY: the buffer is writable (`&mut`); `init` moves the batch out of `params` exactly once during
        // the call, and `ManuallyDrop` keeps it from being dropped a second time here.
        unsafe {
            gst::ffi::gst_buffer_add_meta(
                buffer.as_mut_ptr(),
                info(),
                ptr::from_mut::<Batch>(&mut params).cast(),
            );
        }
    }

    pub(super) fn api_type() -> glib::Type {
        static TYPE: LazyLock<glib::Type> = LazyLock::new(|| {
            // SAFETY: the name is a NUL-terminated string and the list of tags ends with a null pointer; both
            // are read during the call only.
            unsafe {
                let no_tags: [*const std::ffi::c_char; 1] = [ptr::null()];
                glib::Type::from_glib(gst::ffi::gst_meta_api_type_register(
                    c"GstNvBatchMetaAPI".as_ptr(),
                    no_tags.as_ptr().cast_mut(),
                ))
            }
        });
        *TYPE
    }

    fn info() -> *const gst::ffi::GstMetaInfo {
        struct Registered(*const gst::ffi::GstMetaInfo);
        // SAFETY: the pointed-to registration is immutable and lives as long as the process.
        unsafe impl Send for Registered {}
        // SAFETY: as above.
        unsafe impl Sync for Registered {}

        static INFO: LazyLock<Registered> = LazyLock::new(|| {
            // SAFETY: the size is that of the structure the three callbacks work on.
            Registered(unsafe {
                gst::ffi::gst_meta_register(
                    api_type().into_glib(),
                    c"GstNvBatchMeta".as_ptr(),
                    size_of::<RawBatchMeta>(),
                    Some(init),
                    Some(free),
                    Some(transform),
                )
            })
        });
        INFO.0
    }

    unsafe extern "C" fn init(
        meta: *mut gst::ffi::GstMeta,
        params: glib::ffi::gpointer,
        _buffer: *mut gst::ffi::GstBuffer,
    ) -> glib::ffi::gboolean {
        // SAFETY: GStreamer hands in uninitialised memory of `RawBatchMeta`'s size, and `params` is the batch
        // that `add` gives away.
        unsafe {
            let meta = meta.cast::<RawBatchMeta>();
            ptr::write(&raw mut (*meta).batch, ptr::read(params.cast::<Batch>()));
        }
        glib::ffi::GTRUE
    }

    unsafe extern "C" fn free(meta: *mut gst::ffi::GstMeta, _buffer: *mut gst::ffi::GstBuffer) {
        // SAFETY: `init` filled the batch in, and GStreamer frees a meta once.
        unsafe { ptr::drop_in_place(&raw mut (*meta.cast::<RawBatchMeta>()).batch) };
    }

    unsafe extern "C" fn transform(
        dest: *mut gst::ffi::GstBuffer,
        meta: *mut gst::ffi::GstMeta,
        _buffer: *mut gst::ffi::GstBuffer,
        kind: glib::ffi::GQuark,
        data: glib::ffi::gpointer,
    ) -> glib::ffi::gboolean {
        // SAFETY: the quark of a copy says that `data` is a GstMetaTransformCopy; `dest` is writable and the
        // meta is the one `init` filled in.
        unsafe {
            if kind != copy_quark()
                || (*data.cast::<gst::ffi::GstMetaTransformCopy>()).region != glib::ffi::GFALSE
            {
                return glib::ffi::GFALSE;
            }
            let batch = (*meta.cast::<RawBatchMeta>()).batch.clone();
            add(gst::BufferRef::from_mut_ptr(dest), batch);
        }
        glib::ffi::GTRUE
    }

    /// The kind of transformation that is a copy: what `gst_buffer_copy_into` passes.
    fn copy_quark() -> glib::ffi::GQuark {
        static QUARK: LazyLock<glib::Quark> = LazyLock::new(|| glib::Quark::from_str("gst-copy"));
        QUARK.into_glib()
    }

    #[expect(dead_code, reason = "compile-time check that the meta may cross threads")]
    fn batches_are_send_and_sync() {
        fn check<T: Send + Sync>() {}
        check::<Batch>();
        check::<BatchMeta>();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(count: usize) -> Batch {
        let feed = Feed { id: FeedId(1), name: "one".into(), session: 0, epoch: 0 };
        let item = || Item::Event { feed: feed.clone(), event: gst::event::Eos::new() };
        Batch { label: None, items: (0..count).map(|_| item()).collect() }
    }

    fn carrier(count: usize) -> gst::Buffer {
        gst::init().unwrap();
        let mut buffer = gst::Buffer::new();
        attach(buffer.get_mut().unwrap(), events(count));
        buffer
    }

    #[test]
    fn what_was_attached_is_taken_once() {
        let mut buffer = carrier(3);
        let buffer = buffer.get_mut().unwrap();
        assert_eq!(take(buffer).unwrap().items.len(), 3);
        assert!(take(buffer).is_none());
    }

    #[test]
    fn a_batch_that_was_taken_off_can_be_replaced() {
        let mut buffer = carrier(3);
        let buffer = buffer.get_mut().unwrap();
        take(buffer).unwrap();
        attach(buffer, events(2));
        assert_eq!(take(buffer).unwrap().items.len(), 2);
    }

    #[test]
    fn a_list_comes_back_to_its_shelf_empty_with_its_memory() {
        gst::init().unwrap();
        let shelf = Arc::<Shelf>::default();
        let mut items = shelf.take();
        items.append(&mut events(3).items);
        let capacity = items.capacity();
        let copy = items.clone();
        drop(items);
        let items = shelf.take();
        assert!(items.is_empty() && items.capacity() == capacity);
        drop(copy);
        assert_eq!(shelf.take().capacity(), 0, "a copy has no shelf");
    }

    #[test]
    fn a_copy_of_the_buffer_has_the_batch_too() {
        let first = carrier(2);
        let mut second = first.copy();
        drop(first);
        assert_eq!(peek(&second).unwrap().items.len(), 2);
        assert_eq!(take(second.get_mut().unwrap()).unwrap().items.len(), 2);
    }

    #[test]
    fn dropping_the_buffer_drops_what_it_carries() {
        gst::init().unwrap();
        let event = gst::event::Eos::new();
        let feed = Feed { id: FeedId(1), name: "one".into(), session: 0, epoch: 0 };
        let batch =
            Batch { label: None, items: Items::from_iter([Item::Event { feed, event: event.clone() }]) };
        let mut buffer = gst::Buffer::new();
        attach(buffer.get_mut().unwrap(), batch);
        drop(buffer.copy());
        assert!(!event.is_writable());
        drop(buffer);
        assert!(event.is_writable());
    }
}
