//! The element as a member: joining and leaving in its state changes, and what its pads then do.

use super::lane::Lane;
use super::{GROUPS, Group};
use crate::clock;
use crate::elements::nvinference::imp::{CAT, NvInference};
use crate::elements::nvinference::settings::{self, Settings};
use crate::elements::{lock, video};
use crate::health::{EngineState, Redacted};
use crate::infer::InferError;
use crate::time::Monotonic;
use gst::prelude::*;
use gst::subclass::prelude::*;
use std::sync::Arc;
use std::time::Duration;

/// What an element has of the group it is in, from READY on.
#[derive(Clone)]
pub(in crate::elements::nvinference) struct Membership {
    pub(super) group: Arc<Group>,
    pub(super) number: u32,
}

impl NvInference {
    /// The group the element is in.
    pub(in crate::elements::nvinference) fn membership(&self) -> Option<Membership> {
        lock(&self.membership).clone()
    }

    /// The way through the group, while there is one.
    pub(in crate::elements::nvinference) fn lane(&self) -> Option<Arc<Lane>> {
        lock(&self.lane).clone()
    }

    /// Joins the group that the settings name, which opens the model if the element is the first.
    pub(in crate::elements::nvinference) fn join_group(
        &self,
        name: &str,
    ) -> Result<(), gst::StateChangeError> {
        let began = clock::now();
        let (settings, element) = (lock(&self.settings).clone(), self.obj().clone());
        let limit = Duration::from_nanos(settings.startup_timeout);
        let membership = loop {
            let mut is_first = false;
            let found = GROUPS.get_or_open(&name.to_owned(), limit, || {
                is_first = true;
                Group::open(name, &settings, &element)
            });
            let group = match found {
                Ok(group) => group,
                // Its own attempt, which has said on the bus what is wrong.
                Err(_) if is_first => return Err(gst::StateChangeError),
                Err(error @ InferError::StartupTimeout { .. }) => {
                    return Err(self.refuse_group(&format!("batch-group {name:?}: {error}")));
                }
                // Somebody else's attempt: whether this one fares better is for it to find out.
                Err(_) => continue,
            };
            if is_first {
                break Membership { group, number: 0 };
            }
            if let Some(conflict) = group.conflict(&element) {
                return Err(self.refuse_group(&conflict));
            }
            if let Some(number) = group.members.join(&element) {
                self.report_ready(&group, began);
                break Membership { group, number };
            }
            // The last member left in this very moment, or the group is of no use any more: another one takes its name.
            GROUPS.forget(&name.to_owned(), &*group);
        };
        *lock(&self.membership) = Some(membership);
        Ok(())
    }

    fn refuse_group(&self, why: &str) -> gst::StateChangeError {
        gst::element_imp_error!(self, gst::ResourceError::Settings, ["{}", Redacted(why)]);
        gst::StateChangeError
    }

    /// The engine is there already; a member that joins it hears what it is all the same.
    fn report_ready(&self, group: &Group, began: Monotonic) {
        let Some(runtime) = group.inference.imp().service.runtime() else { return };
        self.health.report(&*self.obj(), None, runtime.ready(clock::now().since(began)), 1);
    }

    /// Joins again if the settings were changed, and gives an engine that has failed its second chance.
    pub(in crate::elements::nvinference) fn rejoin_group(
        &self,
        name: &str,
    ) -> Result<(), gst::StateChangeError> {
        let current = self.membership().filter(|membership| membership.group.name == name);
        if let Some(Membership { group, .. }) = current
            && group.conflict(&self.obj()).is_none()
            && !group.members.has_failed()
        {
            let engine = group.inference.imp();
            // One that is being rebuilt is left to that.
            let has_failed = engine.service.health().state == EngineState::Failed;
            return if has_failed { engine.reopen_if_needed() } else { Ok(()) };
        }
        self.leave_group();
        self.join_group(name)
    }

    /// Leaves the group; the last one out ends it.
    pub(in crate::elements::nvinference) fn leave_group(&self) {
        let Some(Membership { group, number }) = lock(&self.membership).take() else { return };
        if group.members.leave(number) {
            GROUPS.forget(&group.name, &*group);
            group.close();
        }
    }

    /// Opens the way through the group, before the pads are active.
    pub(in crate::elements::nvinference) fn open_lane(&self) -> Result<(), gst::StateChangeError> {
        let Some(membership) = self.membership() else { return Ok(()) };
        let lane = Lane::open(membership, &self.obj()).map_err(|error| {
            gst::element_imp_error!(self, gst::CoreError::Pad, ["batch-group: {}", Redacted(&error)]);
            gst::StateChangeError
        })?;
        *lock(&self.lane) = Some(Arc::new(lane));
        Ok(())
    }

    /// Closes it, after the pads are inactive.
    pub(in crate::elements::nvinference) fn close_lane(&self) {
        let lane = lock(&self.lane).take();
        if let Some(lane) = lane {
            lane.close_in();
            lane.close_back();
        }
    }

    // --- Pads --------------------------------------------------------------------------------------------------

    pub(in crate::elements::nvinference) fn lane_event(
        &self,
        lane: &Lane,
        pad: &gst::Pad,
        event: gst::Event,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        let refuse = |why: String| {
            gst::element_imp_error!(self, gst::StreamError::WrongType, ["{}: {}", pad.name(), Redacted(why)]);
            gst::FlowError::NotNegotiated
        };
        match event.view() {
            gst::EventView::StreamStart(_) => lane.begin_stream(&event, &self.obj().name()),
            gst::EventView::Caps(caps) => {
                video::parse_format(caps.caps())
                    .map_err(|refusal| refuse(format!("batch-group is for plain video: {refusal}")))?;
                lane.retry();
            }
            gst::EventView::Segment(segment) if segment.segment().format() != gst::Format::Time => {
                let found = segment.segment().format();
                return Err(refuse(format!("expected a segment in time, found one in {found:?}")));
            }
            gst::EventView::FlushStart(_) | gst::EventView::FlushStop(_) => lane.retry(),
            // What nothing waits for does not wait for the batches either.
            _ if !event.is_serialized() => {
                gst::Pad::event_default(pad, Some(&*self.obj()), event);
                return Ok(gst::FlowSuccess::Ok);
            }
            _ => {}
        }
        gst::log!(CAT, obj = pad, "{:?} into the group", Redacted(&event));
        lane.push_event(event)
    }

    // --- Figures -----------------------------------------------------------------------------------------------

    /// How much later a frame comes out than it came in: the wait for its batch, then the engine.
    pub(in crate::elements::nvinference) fn group_latency(&self) -> Option<gst::ClockTime> {
        let group = self.membership()?.group;
        let settings = lock(&self.settings).clone();
        let engine = match settings.processing_latency {
            settings::AUTO_LATENCY => group.inference.imp().processing_latency(),
            set => gst::ClockTime::from_nseconds(set),
        };
        Some(engine.saturating_add(gst::ClockTime::from_nseconds(settings.max_latency)))
    }

    /// The statistics of the group's engine, with those of its batches and of this member's frames.
    pub(in crate::elements::nvinference) fn group_stats(&self) -> Option<gst::Structure> {
        let Membership { group, number } = self.membership()?;
        let mut stats = group.inference.imp().own_stats();
        stats.set("processing-latency", self.processing_latency().nseconds());
        stats.set("batch-group", &group.name);
        stats.set("members", group.members.count() as u64);
        let of = |object: &glib::Object| object.property::<Option<gst::Structure>>("stats");
        stats.set_if_some("batches", of(group.batcher.upcast_ref()));
        let pad = group.batcher.static_pad(&format!("sink_{number}"));
        stats.set_if_some("feed", pad.and_then(|pad| of(pad.upcast_ref())));
        Some(stats)
    }
}

impl Settings {
    /// The settings of the group that an element with these joins.
    pub(super) fn of_group(&self) -> Self {
        Self { batch_group: None, processing_latency: settings::AUTO_LATENCY, ..self.clone() }
    }
}
