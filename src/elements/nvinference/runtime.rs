//! An opened model, ready to run: engine, decoder, labels.

use super::objects::Rule;
use super::settings::{DEFAULT_IOU_THRESHOLD, DEFAULT_SCORE_THRESHOLD, Settings};
use crate::elements::lock;
use crate::health::{ModelReady, redact};
use crate::infer::{Engine, EngineOptions, InferError, Interrupt, Provider, buckets};
use crate::meta::objects::MetaOptions;
use crate::time::nanos;
use crate::vision::Detection;
use crate::vision::decode::{self, DecodeError, Decoder, DecoderChoice, Hints, OutputShape, Params};
use crate::vision::preprocess::InputSpec;
use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Why a model cannot be used as asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    #[error("property model: expected the path of an ONNX model, found none")]
    NoModel,
    #[error("property model: {0}")]
    Model(InferError),
    #[error("property ort-library: {0}")]
    Library(InferError),
    #[error("property provider: {0}")]
    Provider(InferError),
    #[error("property labels: {0}")]
    Labels(String),
    #[error("property decoder: {0}")]
    Decoder(String),
    #[error("property meta: {0}")]
    Meta(&'static str),
    #[error("property startup-timeout: {0}")]
    Startup(InferError),
    /// Several properties, which it names.
    #[error("{0}")]
    Settings(InferError),
}

impl From<InferError> for OpenError {
    fn from(error: InferError) -> Self {
        match error {
            InferError::LibraryNotFound { .. } | InferError::LibraryUnusable { .. } => Self::Library(error),
            InferError::ProviderUnavailable { .. } => Self::Provider(error),
            InferError::StartupTimeout { .. } => Self::Startup(error),
            InferError::Settings { .. } => Self::Settings(error),
            _ => Self::Model(error),
        }
    }
}

/// An opened model.
pub(super) struct Runtime {
    pub(super) engine: Arc<Engine>,
    pub(super) decoder: Box<dyn Decoder>,
    pub(super) params: Params,
    pub(super) spec: InputSpec,
    pub(super) model: Arc<str>,
    pub(super) provider: Arc<str>,
    /// Why the CPU runs it, if something else was asked for.
    pub(super) fallback: Option<InferError>,
    /// Which objects it is asked about, if it is not about frames.
    pub(super) objects: Option<Rule>,
    /// What it was opened with.
    pub(super) settings: Settings,
    /// As what objects are attached.
    pub(super) meta: MetaOptions,
    labels: Vec<String>,
    /// The largest batch that was run, and how long it takes.
    warm: Mutex<Option<(usize, Duration)>>,
}

impl Runtime {
    /// Opens what the settings name, and runs it once. Broken off when `interrupt` is set.
    ///
    /// # Errors
    /// Names the property, what was expected and what was found.
    pub(super) fn open(
        settings: &Settings,
        plugin_folder: Option<&Path>,
        interrupt: &Interrupt,
    ) -> Result<Self, OpenError> {
        let meta = settings.meta_options().map_err(OpenError::Meta)?;
        let (engine, fallback) = open_engine(settings, options(settings, plugin_folder)?, interrupt)?;
        let model = engine.model();
        let outputs: Vec<_> = model
            .outputs
            .iter()
            .map(|output| OutputShape { name: output.name.clone(), dims: output.dims.clone() })
            .collect();
        let known = model.labels.as_ref().map(Vec::len);
        let params = Params {
            score_threshold: threshold(
                settings.score_threshold,
                model.score_threshold,
                DEFAULT_SCORE_THRESHOLD,
            ),
            iou_threshold: threshold(settings.iou_threshold, model.iou_threshold, DEFAULT_IOU_THRESHOLD),
            max_detections: settings.max_detections as usize,
            model: model.size,
            classes: known,
        };
        let hints = Hints { task: model.task.clone(), names: known, model: model.size };
        let described = |error: DecodeError| OpenError::Decoder(error.to_string());
        let kind =
            choice(settings, model.decoder.as_deref())?.resolve(&outputs, &hints).map_err(described)?;
        let decoder = decode::check(kind, &outputs, &params)
            .map_err(|error| OpenError::Decoder(format!("{kind}: {error}")))?;
        if let (Some(known), Some(classes)) = (known, decoder.classes())
            && known < classes
        {
            return Err(OpenError::Labels(format!(
                "expected a name for each of the model's {classes} classes, found {known}"
            )));
        }
        let runtime = Self {
            spec: model.input_spec(),
            model: Arc::from(&*redact(&model.name)),
            provider: Arc::from(model.provider.as_str()),
            fallback,
            labels: model.labels.clone().unwrap_or_default(),
            objects: Rule::of(settings, kind),
            settings: settings.clone(),
            meta,
            warm: Mutex::default(),
            decoder,
            params,
            engine,
        };
        runtime.warm_up(1, interrupt)?;
        Ok(runtime)
    }

    /// Runs every batch size that will be padded to on the way to `max_batch`, and returns how long a full batch
    /// takes.
    ///
    /// # Errors
    /// As the engine says.
    pub(super) fn warm_up(&self, max_batch: usize, interrupt: &Interrupt) -> Result<Duration, InferError> {
        let largest = self.engine.max_batch().map_or(max_batch, |most| most.min(max_batch)).max(1);
        let timings = self.engine.warm_up(&buckets::up_to(largest), interrupt)?;
        let slowest = timings.iter().map(|(_, time)| *time).max().unwrap_or_default();
        let runs = u32::try_from(max_batch.div_ceil(largest)).unwrap_or(u32::MAX);
        let time = slowest.saturating_mul(runs);
        *lock(&self.warm) = Some((max_batch, time));
        Ok(time)
    }

    /// Most rows that one run is asked about: frames, as many as the model takes, or objects.
    pub(super) fn most_rows(&self) -> usize {
        let most = self.engine.max_batch().unwrap_or(usize::MAX);
        self.most_objects().map_or(most, |objects| most.min(objects)).max(1)
    }

    /// Most objects in a run; `None` for frames.
    pub(super) fn most_objects(&self) -> Option<usize> {
        self.objects.as_ref().map(|_| self.settings.max_batch_size as usize)
    }

    /// What the last [`Self::warm_up`] returned, if it was for batches of this size.
    pub(super) fn warm_time(&self, max_batch: usize) -> Option<Duration> {
        lock(&self.warm).filter(|(size, _)| *size == max_batch).map(|(_, time)| time)
    }

    /// What the last [`Self::warm_up`] returned.
    pub(super) fn last_warm_time(&self) -> Duration {
        lock(&self.warm).map(|(_, time)| time).unwrap_or_default()
    }

    /// What messages say of it when it is ready, `load_time` after it was asked for.
    pub(super) fn ready(&self, load_time: Duration) -> ModelReady {
        ModelReady {
            model: self.model.to_string(),
            provider: self.provider.to_string(),
            providers: self.engine.model().providers(),
            decoder: self.decoder.kind().as_str().to_owned(),
            load_time: nanos(load_time),
        }
    }

    /// The name of a detection's class.
    pub(super) fn label(&self, detection: &Detection) -> Cow<'_, str> {
        match self.labels.get(detection.class as usize) {
            Some(label) => Cow::Borrowed(label),
            None => Cow::Owned(format!("class-{}", detection.class)),
        }
    }
}

/// Opens the engine, or the CPU's if the provider is not there and that is allowed; then says why.
fn open_engine(
    settings: &Settings,
    options: EngineOptions,
    interrupt: &Interrupt,
) -> Result<(Arc<Engine>, Option<InferError>), InferError> {
    match Engine::open_unless(&options, interrupt) {
        Err(error @ InferError::ProviderUnavailable { .. }) if settings.allow_fallback => {
            let provider = Provider::Cpu;
            let tuning = options.tuning.for_provider(provider);
            let engine = Engine::open_unless(&EngineOptions { provider, tuning, ..options }, interrupt)?;
            Ok((engine, Some(error)))
        }
        opened => Ok((opened?, None)),
    }
}

fn options(settings: &Settings, plugin_folder: Option<&Path>) -> Result<EngineOptions, OpenError> {
    let path = |value: &Option<String>| value.as_deref().filter(|path| !path.is_empty()).map(PathBuf::from);
    Ok(EngineOptions {
        model: path(&settings.model).ok_or(OpenError::NoModel)?,
        labels: path(&settings.labels),
        library: path(&settings.ort_library),
        library_beside: plugin_folder.map(Path::to_path_buf),
        provider: settings.provider.into(),
        device_id: settings.device_id,
        threads: settings.threads,
        tuning: settings.tuning(),
        cache_dir: path(&settings.cache_dir),
        startup_timeout: Duration::from_nanos(settings.startup_timeout),
    })
}

/// The property if it was set, else what came with the model, else the default.
fn threshold(property: Option<f64>, model: Option<f32>, default: f64) -> f32 {
    property.map_or_else(|| model.unwrap_or(default as f32), |value| value as f32)
}

fn choice(settings: &Settings, model: Option<&str>) -> Result<DecoderChoice, OpenError> {
    match (settings.decoder.into(), model) {
        (DecoderChoice::Auto, Some(name)) => {
            name.parse().map_err(|error: decode::UnknownDecoder| OpenError::Decoder(error.to_string()))
        }
        (choice, _) => Ok(choice),
    }
}
