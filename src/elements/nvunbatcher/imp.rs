//! The element: pads, events, queries, and the task of every src pad.

use super::outlets::{Effects, Outlets};
use crate::elements::message::HealthReporter;
use crate::elements::pool::Next;
use crate::elements::stats::Stats;
use crate::elements::thread::JOIN_TIMEOUT;
use crate::elements::{link, lock, video};
use crate::health::Redacted;
use crate::meta::batch as meta;
use crate::{clock, elements};
use glib::subclass::prelude::*;
use gst::prelude::*;
use gst::subclass::prelude::*;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, LazyLock, Mutex};

pub(super) static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new("nvunbatcher", gst::DebugColorFlags::empty(), Some("NextVision un-batcher"))
});

#[derive(glib::Properties)]
#[properties(wrapper_type = super::NvUnbatcher)]
pub struct NvUnbatcher {
    #[property(
        name = "stats", get = Self::stats, type = Stats,
        blurb = "Counters since the element was made, all uint64 frames: unlinked (frames of feeds without a pad) and per pad delivered and queued."
    )]
    pub(super) outlets: Arc<Outlets>,
    /// For the batch that is being distributed; kept for its memory.
    effects: Mutex<Effects>,
    pub(super) health: HealthReporter,
    /// `nv-frame` stays on a frame that has one.
    pub(super) keeps_facts: AtomicBool,
    pub(super) sinkpad: gst::Pad,
}

#[glib::object_subclass]
impl ObjectSubclass for NvUnbatcher {
    const NAME: &'static str = "GstNvUnbatcher";
    type Type = super::NvUnbatcher;
    type ParentType = gst::Element;

    fn with_class(klass: &Self::Class) -> Self {
        let template = klass.pad_template("sink").expect("the template is declared below");
        let sinkpad = gst::Pad::builder_from_template(&template)
            .chain_function(|_pad, parent, buffer| {
                Self::catch_panic_pad_function(
                    parent,
                    || Err(gst::FlowError::Error),
                    |imp| imp.sink_chain(buffer),
                )
            })
            .event_function(|pad, parent, event| {
                Self::catch_panic_pad_function(parent, || false, |imp| imp.sink_event(pad, event))
            })
            .query_function(|pad, parent, query| {
                Self::catch_panic_pad_function(parent, || false, |imp| imp.sink_query(pad, query))
            })
            .build();
        Self {
            outlets: Arc::default(),
            effects: Mutex::default(),
            keeps_facts: AtomicBool::new(false),
            health: HealthReporter::with_tails(),
            sinkpad,
        }
    }
}

#[glib::derived_properties]
impl ObjectImpl for NvUnbatcher {
    fn constructed(&self) {
        self.parent_constructed();
        self.obj().add_pad(&self.sinkpad).expect("a new element has no pad of that name");
    }
}

impl GstObjectImpl for NvUnbatcher {}

impl ElementImpl for NvUnbatcher {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "NextVision un-batcher",
                "Filter/Video/Demuxer",
                "Gives every frame of a batch back to its feed; no feed waits for another",
                elements::AUTHOR,
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let sink = gst::PadTemplate::new(
                "sink",
                gst::PadDirection::Sink,
                gst::PadPresence::Always,
                &gst::Caps::new_empty_simple(meta::CAPS_NAME),
            );
            let src = gst::PadTemplate::new(
                "src_%u",
                gst::PadDirection::Src,
                gst::PadPresence::Request,
                &video::caps(),
            );
            vec![sink.expect("valid template"), src.expect("valid template")]
        });
        &TEMPLATES
    }

    fn change_state(
        &self,
        transition: gst::StateChange,
    ) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        let done = self.parent_change_state(transition)?;
        if transition == gst::StateChange::PausedToReady {
            self.outlets.reset();
            self.health.flush(&*self.obj());
        }
        Ok(done)
    }

    fn request_new_pad(
        &self,
        template: &gst::PadTemplate,
        name: Option<&str>,
        _caps: Option<&gst::Caps>,
    ) -> Option<gst::Pad> {
        match self.add_outlet(template, name) {
            Ok(pad) => Some(pad),
            Err(refusal) => {
                // No error: the feeds there are go on.
                gst::element_imp_warning!(self, gst::CoreError::Pad, ["{}", Redacted(refusal)]);
                None
            }
        }
    }

    fn release_pad(&self, pad: &gst::Pad) {
        if let Some(feed) = elements::pad_number(&pad.name(), "src_") {
            self.stop_pushing(pad, feed);
        }
        pad.set_active(false).ok();
        self.obj().remove_pad(pad).ok();
        if let Some(feed) = elements::pad_number(&pad.name(), "src_") {
            self.outlets.remove(feed);
        }
        self.sinkpad.push_event(link::feeds_changed());
    }
}

impl NvUnbatcher {
    fn add_outlet(&self, template: &gst::PadTemplate, name: Option<&str>) -> Result<gst::Pad, String> {
        let feed = match name {
            None => self.outlets.vacancy(),
            Some(name) => elements::pad_number(name, "src_")
                .ok_or_else(|| format!("pad {name:?}: expected src_N with N of 0 to {}", u32::MAX - 1))?,
        };
        if !self.outlets.add(feed) {
            return Err(format!("pad src_{feed} exists already: expected another number"));
        }
        let pad = gst::Pad::builder_from_template(template)
            .name(format!("src_{feed}"))
            .activatemode_function(move |pad, parent, _mode, active| {
                Self::catch_panic_pad_function(
                    parent,
                    || Err(gst::loggable_error!(CAT, "Panic while activating a src pad")),
                    |imp| imp.src_activate(pad, feed, active),
                )
            })
            .event_function(move |_pad, parent, event| {
                Self::catch_panic_pad_function(parent, || false, |imp| imp.src_event(feed, event))
            })
            .query_function(move |pad, parent, query| {
                Self::catch_panic_pad_function(parent, || false, |imp| imp.src_query(pad, feed, query))
            })
            .build();
        let this = self.obj().downgrade();
        pad.connect_linked(move |_pad, _peer| {
            if let Some(element) = this.upgrade() {
                element.imp().outlets.reopen(feed);
                element.imp().sinkpad.push_event(link::feeds_changed());
            }
        });
        let this = self.obj().downgrade();
        pad.connect_unlinked(move |_pad, _peer| {
            if let Some(element) = this.upgrade() {
                element.imp().sinkpad.push_event(link::feeds_changed());
            }
        });
        if let Err(error) = self.obj().add_pad(&pad) {
            self.outlets.remove(feed);
            return Err(format!("pad src_{feed}: {error}"));
        }
        Ok(pad)
    }

    /// Ends the task of a pad that is to go. One that is stuck downstream is freed by a flush: deactivating the pad
    /// would wait for it for ever.
    fn stop_pushing(&self, pad: &gst::Pad, feed: u32) {
        if self.stop_task(feed) {
            return;
        }
        gst::warning!(CAT, obj = pad, "The thread is blocked downstream; flushing to free it");
        let start = gst::event::FlushStart::new();
        let stop = gst::event::FlushStop::builder(false).seqnum(start.seqnum()).build();
        pad.push_event(start);
        pad.push_event(stop);
    }

    fn sink_chain(&self, mut buffer: gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
        let Some(batch) = meta::take(buffer.make_mut()) else {
            gst::element_imp_error!(
                self,
                gst::StreamError::Format,
                ["expected buffers with a batch from nvbatcher, found one without"]
            );
            return Err(gst::FlowError::Error);
        };
        let mut effects = std::mem::take(&mut *lock(&self.effects));
        let reopened = self.outlets.distribute(batch, clock::now(), &mut effects);
        *lock(&self.effects) = effects;
        if reopened {
            // Upstream may have heard that nobody wants anything.
            self.sinkpad.push_event(link::feeds_changed());
        }
        self.outlets.flow()
    }

    fn src_activate(&self, pad: &gst::Pad, feed: u32, active: bool) -> Result<(), gst::LoggableError> {
        if !active {
            if !self.stop_task(feed) {
                gst::warning!(CAT, obj = pad, "The thread is blocked downstream; letting go of it");
            }
            return Ok(());
        }
        let Some(tap) = self.outlets.start(feed) else { return Ok(()) };
        let (element, srcpad, outlets) = (self.obj().downgrade(), pad.clone(), Arc::clone(&self.outlets));
        let of_task = Arc::clone(&tap);
        let step = move || {
            // Taken with the lock, so that who holds it knows that nothing from before is on its way.
            let _streaming = srcpad.stream_lock();
            let (parcel, next) = outlets.take(feed, clock::now());
            let Some(parcel) = parcel else { return next };
            let Some(element) = element.upgrade() else { return Next::Stop };
            element.imp().catch_panic(
                || Next::Stop,
                |imp| {
                    imp.push(&srcpad, feed, &of_task, parcel);
                    next
                },
            )
        };
        let task = self.outlets.pool.add(&self.obj().name(), step);
        let task = task.map_err(|error| gst::loggable_error!(CAT, "No thread to push with: {error}"))?;
        tap.set_task(task);
        self.outlets.pool.wake([task]);
        Ok(())
    }

    /// Ends the task of a pad. False if it is blocked downstream: it is let go of.
    fn stop_task(&self, feed: u32) -> bool {
        let task = self.outlets.stop(feed);
        self.outlets.pool.stop(task, JOIN_TIMEOUT)
    }

    fn stats(&self) -> Stats {
        let (counters, unlinked) = self.outlets.counters();
        let feeds = counters.iter().map(|counters| {
            gst::Structure::builder("nv-outlet-stats")
                .field("feed", counters.feed)
                .field("delivered", counters.delivered)
                .field("queued", counters.queued)
                .build()
                .to_send_value()
        });
        gst::Structure::builder("nv-unbatcher-stats")
            .field("unlinked", unlinked)
            .field("pads", gst::Array::from_values(feeds))
            .build()
            .into()
    }
}
