//! The model behind the batch handle.

use anyhow::{Context as _, Result};
use gstnextvision::vision::Size;
use gstnextvision::vision::decode::{self, Decoder, DecoderKind, OutputShape, Params, TensorView, Workspace};
use gstnextvision::vision::letterbox::Letterbox;
use gstnextvision::vision::preprocess::{
    ChromaSite, Colorimetry, FrameView, InputSpec, Layout, Matrix, Normalize, PAD_LEVEL, PixelFormat, Plane,
    Preprocessor, Range, Slot,
};
use nv_core::error::StageError;
use nv_core::id::StageId;
use nv_core::{BBox, DetectionId};
use nv_frame::FrameEnvelope;
use nv_perception::batch::{BatchEntry, BatchProcessor};
use nv_perception::{Detection, DetectionSet, StageOutput};
use ort::environment::Environment;
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::TensorRef;

const MODEL: Size = Size::new(320, 320);
const ROW: usize = 3 * 320 * 320;
const ID: StageId = StageId("detector");

/// NanoDet-g 320, whose output is `[N, 84, 2100]`.
pub struct Detector {
    session: Session,
    decoder: Box<dyn Decoder>,
    params: Params,
    preprocessor: Preprocessor,
    workspace: Workspace,
    tensor: Vec<f32>,
    _environment: Environment,
}

impl Detector {
    pub fn new(model: &str) -> Result<Self> {
        let library = std::env::var_os("ORT_DYLIB_PATH").context("ORT_DYLIB_PATH")?;
        let environment = ort::init_from(std::path::PathBuf::from(library))?.with_telemetry(false).build()?;
        // Those of our engine.
        let threads = std::thread::available_parallelism()?.get();
        let session = session(&environment, model, threads).map_err(|error| anyhow::anyhow!("{error}"))?;
        let params = Params {
            score_threshold: 0.4,
            iou_threshold: 0.5,
            max_detections: 300,
            model: MODEL,
            classes: Some(80),
        };
        let outputs = [OutputShape { name: "output0".to_owned(), dims: vec![None, Some(84), Some(2100)] }];
        let decoder = decode::check(DecoderKind::YoloV8, &outputs, &params)?;
        let spec =
            InputSpec { layout: Layout::Nchw, size: MODEL, normalize: Normalize::UNIT_RGB, pad: PAD_LEVEL };
        let preprocessor = Preprocessor::new(spec)?;
        Ok(Self {
            session,
            decoder,
            params,
            preprocessor,
            workspace: Workspace::default(),
            tensor: Vec::new(),
            _environment: environment,
        })
    }

    fn run(&mut self, items: &mut [BatchEntry]) -> Result<()> {
        self.tensor.resize(items.len() * ROW, 0.0);
        let mut placed = Vec::new();
        for (item, row) in items.iter().zip(self.tensor.chunks_exact_mut(ROW)) {
            placed.push(prepare(&mut self.preprocessor, &item.frame, row)?);
        }
        let shape = [items.len(), 3, 320, 320];
        let tensor = TensorRef::from_array_view((shape, &*self.tensor))?;
        let outputs = self.session.run([tensor.into()])?;
        let (dims, data) = outputs[0].try_extract_tensor::<f32>()?;
        let shape: Vec<usize> = dims.iter().flat_map(|dim| usize::try_from(*dim)).collect();
        let view = TensorView { name: "output0", shape: &shape, data };
        self.decoder.decode(&[view], items.len(), &self.params, &mut self.workspace)?;
        for (at, (item, placed)) in items.iter_mut().zip(&placed).enumerate() {
            let (width, height) = (item.frame.width() as f32, item.frame.height() as f32);
            let found = self.workspace.image(at).context("a result for each image")?;
            let detections: Vec<_> = found
                .map_err(Clone::clone)?
                .iter()
                .enumerate()
                .map(|(at, one)| {
                    let place = placed.frame_from_model(&one.bbox).clamped(placed.frame());
                    let bbox = BBox::new(
                        place.x_min / width,
                        place.y_min / height,
                        place.x_max / width,
                        place.y_max / height,
                    );
                    Detection::builder(DetectionId::new(at as u64), one.class, one.confidence, bbox).build()
                })
                .collect();
            item.output = Some(StageOutput::with_detections(DetectionSet::from(detections)));
        }
        Ok(())
    }
}

impl BatchProcessor for Detector {
    fn id(&self) -> StageId {
        ID
    }

    fn process(&mut self, items: &mut [BatchEntry]) -> Result<(), StageError> {
        self.run(items)
            .map_err(|error| StageError::ProcessingFailed { stage_id: ID, detail: format!("{error:#}") })
    }
}

fn session(environment: &Environment, model: &str, threads: usize) -> ort::Result<Session> {
    Session::builder(environment)?
        .with_no_environment_execution_providers()?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_parallel_execution(false)?
        .with_intra_threads(threads)?
        .with_inter_threads(1)?
        .with_intra_op_spinning(false)?
        .with_inter_op_spinning(false)?
        .with_memory_pattern(false)?
        .commit_from_file(model)
}

fn prepare(preprocessor: &mut Preprocessor, frame: &FrameEnvelope, row: &mut [f32]) -> Result<Letterbox> {
    let pixels = frame.require_host_data()?;
    let planes = [Plane { data: &pixels, stride: frame.stride() as usize }];
    let colorimetry = Colorimetry { matrix: Matrix::Bt601, range: Range::Full, chroma: ChromaSite::MPEG2 };
    let size = Size::new(frame.width(), frame.height());
    let view = FrameView::new(PixelFormat::Rgb, size, &planes, colorimetry)?;
    Ok(preprocessor.fill(&view, Slot::F32(row))?)
}
