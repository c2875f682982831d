//! What the element says of itself: the property `stats`, and what came of opening the model.

use super::imp::NvInference;
use super::runtime::Runtime;
use crate::elements::lock;
use crate::elements::stats::Stats;
use crate::health::{ProviderFallback, Redacted, redact};
use crate::infer;
use crate::time::nanos;
use gst::subclass::prelude::*;

impl NvInference {
    pub(super) fn stats(&self) -> Stats {
        self.group_stats().unwrap_or_else(|| self.own_stats()).into()
    }

    /// What the element itself has done, and the engine it has opened.
    pub(super) fn own_stats(&self) -> gst::Structure {
        let counts = *lock(&self.counts);
        let health = self.service.health();
        let counters = health.counters;
        let mut stats = gst::Structure::builder("nv-inference-stats")
            .field("inferred", counts.inferred)
            .field("failed", counts.failed)
            .field("objects-left-out", self.memory.left_out())
            .field("processing-latency", self.processing_latency().nseconds())
            .field("state", health.state.as_str())
            .field("errors", counters.errors)
            .field("timeouts", counters.timeouts)
            .field("consecutive-errors", u64::from(counters.consecutive))
            .field("rebuilds", u64::from(counters.rebuilds))
            .field("engines", infer::engines() as u64)
            .field("detached-threads", infer::detached_threads() as u64)
            .field_if_some("last-error", counters.last_error.map(|error| redact(&error).into_owned()));
        if let Some(runtime) = self.service.runtime() {
            let (model, engine) = (runtime.engine.model(), runtime.engine.stats());
            stats = stats
                .field("model", &*redact(&model.name))
                .field("decoder", runtime.decoder.kind().as_str())
                .field("provider", &model.provider)
                .field("providers", model.providers())
                .field("cache", model.opened.cache.as_str())
                .field("runtime-version", &model.runtime_version)
                .field("warm-up-time", nanos(runtime.last_warm_time()))
                .field("runs", engine.runs)
                .field("busy-time", nanos(engine.busy));
        }
        stats.build()
    }

    /// Says what was not as asked for when `runtime` was opened.
    pub(super) fn report_opening(&self, runtime: &Runtime) {
        if let Some(error) = &runtime.fallback {
            let requested = infer::Provider::from(runtime.settings.provider).name().to_owned();
            let fallback = ProviderFallback {
                requested,
                provider: runtime.provider.to_string(),
                detail: error.to_string(),
            };
            self.health.report(&*self.obj(), None, fallback, 1);
        }
        let asked = runtime.settings.cache_dir.as_deref().is_some_and(|folder| !folder.is_empty());
        if let infer::CacheUse::Unusable(detail) = &runtime.engine.model().opened.cache
            && asked
        {
            gst::element_imp_warning!(
                self,
                gst::ResourceError::Write,
                ["property cache-dir: {}; going on without", Redacted(detail)]
            );
        }
    }
}
