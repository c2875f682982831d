//! A group: the feeds that share a chain of models, and the elements that they share.

use super::imp::NvRuntime;
use super::props::{made, set, set_nick, set_time};
use super::refusal::Refusal;
use crate::config::{self, OperateOn, Site};
use crate::elements::nvbatcher::{MOST_FEEDS, NvBatcher};
use crate::elements::nvinference::NvInference;
use crate::elements::nvtrack::NvTrack;
use crate::elements::nvunbatcher::NvUnbatcher;
use glib::prelude::*;
use gst::prelude::*;
use gst::subclass::prelude::*;

/// The most feeds that have ended or failed and are still known.
pub(super) const MOST_DEAD: u32 = 64;

/// `nvbatcher ! nvinference ! nvunbatcher`, and what each branch has besides.
pub(super) struct Group {
    pub(super) config: config::Group,
    /// Those that are asked about objects, in the branch of each feed.
    seconds: Vec<config::Model>,
    /// What the names of its elements end in; no other group of the runtime ever has it.
    tag: String,
    pub(super) batcher: NvBatcher,
    pub(super) engine: NvInference,
    pub(super) unbatcher: NvUnbatcher,
}

impl Group {
    /// Makes the elements, in NULL and in no bin.
    pub(super) fn new(site: &Site, config: &config::Group, tag: u32) -> Result<Self, Refusal> {
        let model = |name: &String| {
            site.model(name).cloned().ok_or_else(|| Refusal::failed(format!("no model {name:?}")))
        };
        let mut models = config.models.iter().map(model).collect::<Result<Vec<_>, _>>()?.into_iter();
        let first =
            models.next().ok_or_else(|| Refusal::failed(format!("no model in group {}", config.name)))?;
        let seconds = models.collect();
        let tag = format!("-{tag}");
        let batcher = made::<NvBatcher>(&format!("batcher{tag}"));
        // The runtime counts its feeds itself, by a limit that may change.
        batcher.set_property("max-feeds", MOST_FEEDS);
        set(&batcher, "max-batch-size", config.max_batch_size);
        set_time(&batcher, "max-latency", config.max_latency);
        let engine = engine(&format!("engine{tag}"), &first);
        let unbatcher = made::<NvUnbatcher>(&format!("unbatcher{tag}"));
        Ok(Self { config: config.clone(), seconds, tag, batcher, engine, unbatcher })
    }

    fn elements(&self) -> [&gst::Element; 3] {
        [self.batcher.upcast_ref(), self.engine.upcast_ref(), self.unbatcher.upcast_ref()]
    }

    /// What the names of its elements end in.
    pub(super) fn suffix(&self) -> &str {
        &self.tag
    }

    /// Puts the elements into the runtime; they follow its state from here on.
    pub(super) fn join(&self, runtime: &NvRuntime) -> Result<(), Refusal> {
        let bin = runtime.obj();
        bin.add_many(self.elements()).map_err(Refusal::failed)?;
        gst::Element::link_many(self.elements()).map_err(Refusal::failed)
    }

    /// Brings the elements where the runtime is, sinks first. An error leaves them in the bin.
    pub(super) fn follow(&self) -> Result<(), Refusal> {
        for element in self.elements().into_iter().rev() {
            element
                .sync_state_with_parent()
                .map_err(|_| Refusal::failed(format!("{} does not start", element.name())))?;
        }
        Ok(())
    }

    /// Takes the elements out of the runtime.
    pub(super) fn leave(&self, bin: &gst::Bin) {
        for element in self.elements() {
            element.set_locked_state(true);
            if element.set_state(gst::State::Null).is_err() {
                gst::warning!(super::imp::CAT, obj = bin, "{} does not stop", element.name());
            }
        }
        bin.remove_many(self.elements()).ok();
    }

    /// What stands between `nvunbatcher` and the outputs of a feed: the tracker, and the second models with their names.
    pub(super) fn stages(&self, runtime: &str, id: u32) -> (Option<NvTrack>, Vec<(String, NvInference)>) {
        let tracker = self.config.tracker.as_ref().map(|tracker| track(&format!("track-{id}"), tracker));
        let second = |(place, model): (usize, &config::Model)| {
            let element = engine(&format!("second-{id}-{place}"), model);
            // One engine for all feeds of the group.
            element
                .set_property("batch-group", format!("{runtime}/{}{}/{place}", self.config.name, self.tag));
            set(&element, "max-batch-size", self.config.max_batch_size);
            (model.name.clone(), element)
        };
        (tracker, self.seconds.iter().enumerate().map(second).collect())
    }

    /// The name of the model that is asked about frames.
    pub(super) fn first_model(&self) -> &str {
        self.config.models.first().map_or("", String::as_str)
    }
}

fn engine(name: &str, model: &config::Model) -> NvInference {
    let element = made::<NvInference>(name);
    element.set_property("model", model.path.to_string_lossy().as_ref());
    set_nick(&element, "operate-on", Some(model.operate_on.as_str()));
    set_nick(&element, "decoder", model.decoder.map(config::Decoder::as_str));
    set_nick(&element, "provider", model.provider.map(config::Provider::as_str));
    set_nick(&element, "precision", model.precision.map(config::Precision::as_str));
    set_nick(&element, "on-error", model.on_error.map(config::OnError::as_str));
    set(&element, "allow-fallback", model.allow_fallback);
    set(&element, "device-id", model.device_id);
    set(&element, "threads", model.threads);
    set(&element, "score-threshold", model.score_threshold);
    set(&element, "iou-threshold", model.iou_threshold);
    set(&element, "max-detections", model.max_detections);
    set(&element, "labels", path(model.labels.as_ref()));
    set(&element, "cache-dir", path(model.cache_dir.as_ref()));
    set_time(&element, "response-timeout", model.response_timeout);
    set_time(&element, "startup-timeout", model.startup_timeout);
    if model.operate_on == OperateOn::Objects {
        set(&element, "object-labels", model.object_labels.as_ref().map(|labels| labels.join(",")));
        set(&element, "object-min-size", model.object_min_size);
        set(&element, "reinfer-interval", model.reinfer_interval);
    }
    element
}

fn track(name: &str, tracker: &config::Tracker) -> NvTrack {
    let element = made::<NvTrack>(name);
    set_nick(&element, "algorithm", tracker.algorithm.map(config::Algorithm::as_str));
    set(&element, "max-age", tracker.max_age);
    set(&element, "min-hits", tracker.min_hits);
    set(&element, "coast-frames", tracker.coast_frames);
    set(&element, "max-tracks", tracker.max_tracks);
    set(&element, "class-aware", tracker.class_aware);
    set(&element, "iou-threshold", tracker.iou_threshold);
    set(&element, "high-threshold", tracker.high_threshold);
    set(&element, "low-threshold", tracker.low_threshold);
    set(&element, "appearance-weight", tracker.appearance_weight);
    element
}

fn path(path: Option<&std::path::PathBuf>) -> Option<String> {
    path.map(|path| path.to_string_lossy().into_owned())
}
