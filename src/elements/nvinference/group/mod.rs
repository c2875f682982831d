//! `batch-group`: elements of one process, in whatever pipelines, that share one engine and its batches.
//!
//! A group is a private pipeline of the same three elements that a user would write, and every element that has joined
//! it is one of its feeds:
//!
//! ```text
//! pipeline A: … ─▶ nvinference batch-group=g ─▶ …          (the pads of a Lane belong to no element)
//!                    │ sink            src ▲
//!                    ▼                     │
//!                  out ─▶ sink_0         src_0 ─▶ back
//!                         nvbatcher ─▶ nvinference ─▶ nvunbatcher       private pipeline of group g
//!                  out ─▶ sink_1         src_1 ─▶ back
//!                    ▲                     │
//! pipeline B: … ─▶ nvinference batch-group=g ─▶ …
//! ```
//!
//! So batches close by the rules of `nvbatcher`, results come back by those of `nvunbatcher`, and what keeps feeds apart
//! there keeps pipelines apart here: a member that errors, blocks, seeks or goes away is a feed that does.
//!
//! * [`Group`]: the private pipeline, from the first member that opens to the last that closes.
//! * [`Members`]: who is in, and who hears which message of the private pipeline.
//! * [`Lane`]: the pads of one member while it is in PAUSED or PLAYING.
//!
//! Not guaranteed: that all members see the same batch ids without gaps; they are the group's.

mod element;
mod lane;
mod members;

pub(super) use element::Membership;
pub(super) use lane::Lane;

use super::settings::{OperateOn, Settings};
use crate::elements::lock;
use crate::elements::nvbatcher::NvBatcher;
use crate::elements::nvunbatcher::NvUnbatcher;
use crate::infer::{InferError, Registry};
use glib::subclass::prelude::*;
use gst::prelude::*;
use members::Members;
use std::sync::Arc;

/// All groups of the process, by name.
static GROUPS: Registry<String, Group> = Registry::new();

/// Most members of a group: what the batcher takes.
const MOST_MEMBERS: u32 = 4096;

/// One group.
pub(super) struct Group {
    name: String,
    /// Name of the element that opened it: whose settings it has.
    opened_by: String,
    pipeline: gst::Pipeline,
    batcher: NvBatcher,
    inference: super::NvInference,
    unbatcher: NvUnbatcher,
    members: Arc<Members>,
}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Group").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Group {
    /// Opens the group with `first` as its member 0, whose bus hears what is wrong.
    ///
    /// # Errors
    /// When the model cannot be opened.
    fn open(name: &str, settings: &Settings, first: &super::NvInference) -> Result<Arc<Self>, InferError> {
        let named = |part: &str| format!("nv-group-{name}-{part}");
        let batcher = glib::Object::builder::<NvBatcher>()
            .property("name", named("batcher"))
            .property("max-batch-size", settings.max_batch_size)
            .property("max-latency", settings.max_latency)
            .property("max-feeds", MOST_MEMBERS)
            .build();
        let inference =
            glib::Object::builder::<super::NvInference>().property("name", named("inference")).build();
        *lock(&inference.imp().settings) = settings.of_group();
        let unbatcher = glib::Object::builder::<NvUnbatcher>().property("name", named("unbatcher")).build();
        unbatcher.imp().keep_facts(settings.operate_on == OperateOn::Objects);
        let pipeline = gst::Pipeline::with_name(&format!("nv-group-{name}"));
        let group = Self {
            name: name.to_owned(),
            opened_by: first.name().into(),
            members: Arc::new(Members::new(first)),
            pipeline,
            batcher,
            inference,
            unbatcher,
        };
        match group.start() {
            Ok(()) => Ok(Arc::new(group)),
            Err(error) => {
                group.close();
                // What it was has been on the bus of the member.
                Err(InferError::Settings { detail: format!("batch-group {name:?}: {error}") })
            }
        }
    }

    fn start(&self) -> Result<(), glib::BoolError> {
        let elements = [
            self.batcher.upcast_ref::<gst::Element>(),
            self.inference.upcast_ref(),
            self.unbatcher.upcast_ref(),
        ];
        self.pipeline.add_many(elements)?;
        gst::Element::link_many(elements)?;
        if let Some(bus) = self.pipeline.bus() {
            let members = Arc::clone(&self.members);
            bus.set_sync_handler(move |_, message| {
                members.relay(message);
                gst::BusSyncReply::Drop
            });
        }
        let started = self.pipeline.set_state(gst::State::Playing);
        started.map(drop).map_err(|_| glib::bool_error!("the model could not be opened"))
    }

    /// Ends the private pipeline, and with it the use of the engine.
    fn close(&self) {
        self.pipeline.set_state(gst::State::Null).ok();
        if let Some(bus) = self.pipeline.bus() {
            bus.unset_sync_handler();
        }
    }

    /// Says how the settings of `element` differ from those of the group, if they do.
    fn conflict(&self, element: &super::NvInference) -> Option<String> {
        const OWN: [&str; 5] = ["name", "parent", "stats", "batch-group", "processing-latency"];
        let (name, first) = (&self.name, &self.opened_by);
        let says = |property: &str, of_group: &str, found: &str| {
            format!(
                "property {property}: batch-group {name:?} has {of_group}, as {first} opened it; expected the same, found {found}"
            )
        };
        let settings = lock(&element.imp().settings).clone();
        let of_group = lock(&self.inference.imp().settings).clone();
        if settings.of_group() == of_group {
            return None;
        }
        let shown = |element: &super::NvInference, property: &str| {
            let value = element.property_value(property);
            value.serialize().map_or_else(|_| "nothing".to_owned(), String::from)
        };
        let differing = element.list_properties().iter().find_map(|property| {
            let property = property.name();
            let (ours, theirs) = (shown(&self.inference, property), shown(element, property));
            (!OWN.contains(&property) && ours != theirs).then(|| says(property, &ours, &theirs))
        });
        // A credential, which is not shown, or a threshold that is set on one and left to the model on the other.
        Some(differing.unwrap_or_else(|| says("model or thresholds", "others", "these")))
    }
}
