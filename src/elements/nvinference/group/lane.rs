//! The way of one member's stream through the private pipeline, and back.
//!
//! Its two pads belong to no element: what goes in at `out` comes from the sink pad of the member, what comes back at
//! `back` goes to its src pad. What downstream of the member says stays with the member: the group only ever hears that
//! all is well.

use super::Membership;
use crate::elements::nvinference::NvInference;
use crate::elements::nvinference::imp;
use crate::elements::{link, lock};
use glib::subclass::prelude::*;
use gst::prelude::*;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// The pads of a member that is in PAUSED or PLAYING.
pub(in crate::elements::nvinference) struct Lane {
    membership: Membership,
    element: glib::WeakRef<NvInference>,
    out: gst::Pad,
    back: gst::Pad,
    sink: gst::Pad,
    source: gst::Pad,
    passage: Arc<Passage>,
    /// What a full queue does has been chosen for this stream.
    is_chosen: AtomicBool,
}

/// What the pads of a lane share.
#[derive(Default)]
struct Passage {
    downstream: Mutex<Downstream>,
    /// A stream has come back: it may end, too.
    has_begun: AtomicBool,
    /// Nothing goes in or comes back any more.
    is_closed: AtomicBool,
}

/// What downstream of the member said last, and which downstream that was.
struct Downstream {
    flow: Result<gst::FlowSuccess, gst::FlowError>,
    links: u64,
}

impl Default for Downstream {
    fn default() -> Self {
        Self { flow: Ok(gst::FlowSuccess::Ok), links: 0 }
    }
}

impl Passage {
    fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    /// Whether an event that has come back goes on. The end of a group whose members have all ended reaches one that has
    /// not begun, too, and is not meant for it.
    fn admits(&self, event: &gst::EventRef) -> bool {
        match event.type_() {
            _ if self.is_closed() => false,
            gst::EventType::StreamStart => {
                self.has_begun.store(true, Ordering::Release);
                true
            }
            gst::EventType::Eos => self.has_begun.load(Ordering::Acquire),
            _ => true,
        }
    }
}

impl Lane {
    /// Requests the pads of the member and links them.
    ///
    /// # Errors
    /// When the group has no pad to give, or the pads do not link.
    pub(super) fn open(membership: Membership, element: &NvInference) -> Result<Self, glib::BoolError> {
        let Membership { group, number } = &membership;
        let request = |element: &gst::Element, name: String| {
            element
                .request_pad_simple(&name)
                .ok_or_else(|| glib::bool_error!("expected a pad {name}, found none to be had"))
        };
        let source = request(group.unbatcher.upcast_ref(), format!("src_{number}"))?;
        let sink = request(group.batcher.upcast_ref(), format!("sink_{number}")).inspect_err(|_| {
            group.unbatcher.release_request_pad(&source);
        })?;
        let passage = Arc::<Passage>::default();
        let lane = Self {
            element: element.downgrade(),
            out: out_pad(element),
            back: back_pad(element, &passage),
            is_chosen: AtomicBool::new(false),
            passage,
            membership,
            sink,
            source,
        };
        match lane.link() {
            Ok(()) => Ok(lane),
            Err(error) => {
                lane.close_in();
                lane.close_back();
                Err(error)
            }
        }
    }

    fn link(&self) -> Result<(), glib::BoolError> {
        self.out.set_active(true)?;
        self.back.set_active(true)?;
        let failed = |error: gst::PadLinkError| glib::bool_error!("the pads do not link: {error}");
        // What the caps are is refused by the caps event, with a reason.
        let unchecked = gst::PadLinkCheck::empty();
        self.source.link_full(&self.back, unchecked).map_err(failed)?;
        self.out.link_full(&self.sink, unchecked).map_err(failed)?;
        Ok(())
    }

    /// Takes nothing more in, and frees whoever waits to put something in.
    pub(in crate::elements::nvinference) fn close_in(&self) {
        if !self.passage.is_closed.swap(true, Ordering::AcqRel) {
            // A feed that has ended may have its end still on its way; one that is flushed leaves nothing behind that could
            // reach the next stream of this member.
            self.out.push_event(gst::event::FlushStart::new());
            self.membership.group.batcher.release_request_pad(&self.sink);
            self.out.set_active(false).ok();
        }
    }

    /// Gives nothing more out.
    pub(in crate::elements::nvinference) fn close_back(&self) {
        self.membership.group.unbatcher.release_request_pad(&self.source);
        self.back.set_active(false).ok();
    }

    /// Puts a frame in. Downstream's last answer comes back.
    pub(in crate::elements::nvinference) fn chain(
        &self,
        buffer: gst::Buffer,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        lock(&self.passage.downstream).flow?;
        if !self.is_chosen.swap(true, Ordering::AcqRel) {
            self.choose_overload();
        }
        self.out.push(buffer)?;
        lock(&self.passage.downstream).flow
    }

    /// The member is in the path of the video: what comes too fast to be inferred is not lost, and a source that can
    /// wait does.
    fn choose_overload(&self) {
        let mut latency = gst::query::Latency::new();
        let is_live = self.ask_upstream(&mut latency) && latency.result().0;
        self.sink.set_property_from_str("overload", if is_live { "pass-through" } else { "block" });
    }

    /// Puts an event in.
    pub(super) fn push_event(&self, event: gst::Event) -> Result<gst::FlowSuccess, gst::FlowError> {
        let taken = self.out.push_event(event);
        let is_flushing = self.out.pad_flags().contains(gst::PadFlags::FLUSHING);
        if taken || !is_flushing { Ok(gst::FlowSuccess::Ok) } else { Err(gst::FlowError::Flushing) }
    }

    /// Asks the batcher.
    pub(in crate::elements::nvinference) fn ask(&self, query: &mut gst::QueryRef) -> bool {
        self.out.peer_query(query)
    }

    /// Another stream begins: it may bring another name, be live or not, and be wanted downstream.
    pub(super) fn begin_stream(&self, start: &gst::EventRef, element: &str) {
        let Membership { group, number } = &self.membership;
        let wanted = link::feed_id(start).unwrap_or_else(|| element.to_owned());
        self.sink.set_property("feed-id", group.members.rename(*number, &wanted));
        self.is_chosen.store(false, Ordering::Release);
        self.retry();
    }

    /// There may be another downstream.
    pub(in crate::elements::nvinference) fn retry(&self) {
        let mut downstream = lock(&self.passage.downstream);
        downstream.links += 1;
        downstream.flow = Ok(gst::FlowSuccess::Ok);
    }

    fn ask_upstream(&self, query: &mut gst::QueryRef) -> bool {
        self.element.upgrade().is_some_and(|element| element.imp().sinkpad.peer_query(query))
    }
}

impl Passage {
    /// A frame has come back.
    fn give(&self, srcpad: &gst::Pad, buffer: gst::Buffer) {
        if self.is_closed() {
            return;
        }
        let links = lock(&self.downstream).links;
        let flow = srcpad.push(buffer);
        let mut downstream = lock(&self.downstream);
        if downstream.links == links {
            downstream.flow = flow;
        }
    }
}

/// Where the member's stream leaves for the batcher; what comes the other way goes on upstream of the member.
fn out_pad(element: &NvInference) -> gst::Pad {
    let (events, queries) = (element.downgrade(), element.downgrade());
    gst::Pad::builder(gst::PadDirection::Src)
        .name("out")
        .event_function(move |_, _, event| {
            guarded(&events, |element| element.sinkpad.push_event(event)).unwrap_or(false)
        })
        .query_function(move |_, _, query| {
            guarded(&queries, |element| element.sinkpad.peer_query(query)).unwrap_or(false)
        })
        .build()
}

/// Where it comes back from the un-batcher, to go on downstream of the member.
fn back_pad(element: &NvInference, passage: &Arc<Passage>) -> gst::Pad {
    let (frames, events, queries) = (element.downgrade(), element.downgrade(), element.downgrade());
    let (giving, admitting) = (Arc::clone(passage), Arc::clone(passage));
    gst::Pad::builder(gst::PadDirection::Sink)
        .name("back")
        .chain_function(move |_, _, buffer| {
            guarded(&frames, |imp| giving.give(&imp.srcpad, buffer));
            // The group has no part in what is downstream of a member.
            Ok(gst::FlowSuccess::Ok)
        })
        .event_function(move |_, _, event| {
            guarded(&events, |imp| {
                if !admitting.admits(&event) {
                    return true;
                }
                if event.type_() == gst::EventType::Eos {
                    imp.health.flush(&*imp.obj());
                }
                imp.srcpad.push_event(event)
            })
            .unwrap_or(false)
        })
        .query_function(move |_, _, query| {
            guarded(&queries, |imp| imp.srcpad.peer_query(query)).unwrap_or(false)
        })
        .build()
}

/// Runs `run` on the member if it still is there. A panic in it is the member's, and ends here: the threads of the group
/// serve others, too.
fn guarded<T>(element: &glib::WeakRef<NvInference>, run: impl FnOnce(&imp::NvInference) -> T) -> Option<T> {
    let element = element.upgrade()?;
    match catch_unwind(AssertUnwindSafe(|| run(element.imp()))) {
        Ok(value) => Some(value),
        Err(_) => {
            gst::element_error!(
                element,
                gst::CoreError::Failed,
                ["panicked behind the batches of the group"]
            );
            None
        }
    }
}
