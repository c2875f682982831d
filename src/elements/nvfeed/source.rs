//! One inner source: a pipeline of its own, and the thread that starts, rewinds and ends it.
//!
//! Starting and ending may take as long as a dead connection or disk does. Only this thread waits for that: a source that
//! is let go of ends on its own, and [`Endings`] knows how many have not yet.

use super::core::Note;
use super::front::{self, Context};
use super::verdict;
use crate::elements::lock;
use crate::elements::signal::Signal;
use crate::elements::thread::{Step, StepThread};
use crate::feed::{Failure, Happening, Kind};
use gst::prelude::*;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Sources that have not ended: the one that stands, and those that have been let go of.
#[derive(Default)]
pub(super) struct Endings {
    open: AtomicUsize,
    signal: Signal,
}

impl Endings {
    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// Waits until all have ended, at most `within`; whether they have.
    pub(super) fn wait(&self, within: Duration) -> bool {
        self.signal.wait_until(within, || self.open() == 0)
    }
}

/// Raised when the thread of a source ends, also by a panic.
struct Ending(Arc<Endings>, Arc<super::core::Core>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::AcqRel);
        self.0.signal.raise();
        // Another attempt may have waited for it.
        self.1.work.raise();
    }
}

#[derive(Clone, Copy)]
enum Order {
    Play,
    Rewind,
    End,
}

#[derive(Default)]
struct Orders {
    waiting: Mutex<VecDeque<Order>>,
    signal: Signal,
}

impl Orders {
    fn give(&self, order: Order) {
        lock(&self.waiting).push_back(order);
        self.signal.raise();
    }

    fn next(&self) -> Order {
        loop {
            let seen = self.signal.seen();
            if let Some(order) = lock(&self.waiting).pop_front() {
                return order;
            }
            self.signal.wait(seen, None);
        }
    }
}

/// A source; dropping it lets go of it.
pub(super) struct Source {
    pub(super) pad: gst::Pad,
    orders: Arc<Orders>,
}

impl Drop for Source {
    fn drop(&mut self) {
        self.orders.give(Order::End);
    }
}

impl Source {
    /// Makes a source and starts it.
    ///
    /// # Errors
    /// When it cannot be put together, or the system has no thread to give.
    pub(super) fn start(
        context: Context,
        element: &super::NvFeed,
        endings: &Arc<Endings>,
    ) -> Result<Self, Failure> {
        let context = Arc::new(context);
        let failed = |detail: String| Failure::new(Kind::Other, detail);
        let pad = context.inlet.pad().map_err(|error| failed(error.to_string()))?;
        let pipeline = gst::Pipeline::new();
        share_time(&pipeline, element);
        listen(&pipeline, &context);
        front::build(&context, &pipeline, &pad)?;
        let orders = Arc::new(Orders::default());
        endings.open.fetch_add(1, Ordering::AcqRel);
        let ending = Ending(Arc::clone(endings), Arc::clone(&context.inlet.core));
        let thread = StepThread::spawn("nv-source", {
            let (orders, context, pad) = (Arc::clone(&orders), Arc::clone(&context), pad.clone());
            move || {
                let _ = &ending;
                carry_out(orders.next(), &pipeline, &pad, &context)
            }
        });
        // The thread ends by itself.
        drop(thread.map_err(|error| failed(format!("cannot start a thread: {error}")))?);
        orders.give(Order::Play);
        Ok(Self { pad, orders })
    }

    pub(super) fn rewind(&self) {
        self.orders.give(Order::Rewind);
    }
}

/// The clock and the running time of the pipeline around the element, as far as there is one.
fn share_time(pipeline: &gst::Pipeline, element: &super::NvFeed) {
    if let (Some(clock), Some(base)) = (element.clock(), element.base_time()) {
        pipeline.use_clock(Some(&clock));
        pipeline.set_start_time(gst::ClockTime::NONE);
        pipeline.set_base_time(base);
    }
}

fn carry_out(order: Order, pipeline: &gst::Pipeline, pad: &gst::Pad, context: &Context) -> Step {
    let inlet = &context.inlet;
    match order {
        Order::Play => {
            if play(pipeline, pad).is_err() {
                // What an element says of it has come before, and counts.
                inlet.fail(Failure::new(Kind::Other, "the source does not start"));
            }
        }
        Order::Rewind => {
            let flags = gst::SeekFlags::FLUSH | gst::SeekFlags::KEY_UNIT;
            let seek = gst::event::Seek::new(
                1.0,
                flags,
                gst::SeekType::Set,
                gst::ClockTime::ZERO,
                gst::SeekType::None,
                gst::ClockTime::NONE,
            );
            if !pad.push_event(seek) {
                inlet.core.tell(Note::Source(inlet.source, Happening::CannotRewind));
            }
        }
        Order::End => {
            pad.set_active(false).ok();
            pipeline.set_state(gst::State::Null).ok();
            if let Some(bus) = pipeline.bus() {
                bus.unset_sync_handler();
            }
            return Step::Stop;
        }
    }
    Step::Again
}

/// Starts the inner elements. What ends in `pad` comes first: decodebin links to it only when it knows the stream, and a
/// frame that comes to an element that is not there yet ends the stream.
fn play(pipeline: &gst::Pipeline, pad: &gst::Pad) -> Result<(), gst::StateChangeError> {
    pipeline.set_state(gst::State::Ready)?;
    if let Some(last) = pad.peer().and_then(|peer| peer.parent_element()) {
        last.set_state(gst::State::Paused)?;
    }
    pipeline.set_state(gst::State::Playing).map(drop)
}

/// Takes every message of the inner elements, so that none reaches the application.
fn listen(pipeline: &gst::Pipeline, context: &Arc<Context>) {
    let Some(bus) = pipeline.bus() else { return };
    let context = Arc::downgrade(context);
    bus.set_sync_handler(move |_, message| {
        if let Some(context) = context.upgrade() {
            heard(&context, message);
        }
        gst::BusSyncReply::Drop
    });
}

fn heard(context: &Context, message: &gst::Message) {
    let inlet = &context.inlet;
    match message.view() {
        // What comes after the first is not looked at, and need not be looked into.
        gst::MessageView::Error(error) if !inlet.has_failed() => {
            context.look_for_redirect(message.src());
            let hints = lock(&context.hints).clone();
            let failure = verdict::failure_of(&error.error(), error.debug().as_deref(), &hints);
            inlet.fail(context.look_closer(failure));
        }
        gst::MessageView::Warning(warning) => {
            inlet.warn(verdict::detail_of(&warning.error(), warning.debug().as_deref()));
        }
        gst::MessageView::Element(element) => {
            let headers = element.structure().filter(|structure| structure.name() == "http-headers");
            if let Some(status) = headers.and_then(|headers| headers.get::<u32>("http-status-code").ok()) {
                context.answered(status);
            }
        }
        gst::MessageView::Latency(_) => inlet.latency_changed(),
        _ => {}
    }
}
