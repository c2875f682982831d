//! The preparation of frames alone, on one thread: letterbox, colours, normalisation, as `nvinference` does it.

use super::frames::Clip;
use super::measure::Moment;
use super::raw::Runs;
use anyhow::{Context as _, Result};
use gstnextvision::clock;
use gstnextvision::vision::Size;
use gstnextvision::vision::preprocess::{
    ChromaSite, Colorimetry, FrameView, InputSpec, Matrix, PixelFormat, Plane, Preprocessor, Range, Slot,
};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

/// A plan and a tensor of one row.
pub(crate) struct Preparation {
    preprocessor: Preprocessor,
    tensor: Vec<f32>,
}

impl Preparation {
    pub(crate) fn new(spec: InputSpec) -> Result<Self> {
        let row_len = 3 * usize::try_from(spec.size.width)? * usize::try_from(spec.size.height)?;
        Ok(Self { preprocessor: Preprocessor::new(spec)?, tensor: vec![0.0; row_len] })
    }

    /// Prepares all frames of the clips, over and over, for about as long as `time`.
    pub(crate) fn run(&mut self, clips: &[Arc<Clip>], time: Duration) -> Result<Runs> {
        let (began, mut frames) = (Moment::now(), 0);
        let end = began.clock.saturating_add(time);
        while !clock::until(end).is_zero() {
            frames += self.once(clips)?;
        }
        Ok(Runs::new(frames, began.elapsed()))
    }

    /// Prepares every frame once, and says how many there are.
    pub(crate) fn once(&mut self, clips: &[Arc<Clip>]) -> Result<u64> {
        let mut frames = 0;
        for clip in clips {
            for frame in &clip.frames {
                self.prepare(frame, &clip.info)?;
                frames += 1;
            }
        }
        Ok(frames)
    }

    /// As the element does: the memory is mapped, and the planes lie where the format says.
    fn prepare(&mut self, frame: &gst::BufferRef, info: &gst_video::VideoInfo) -> Result<()> {
        let memory = frame.map_readable()?;
        let planes: Vec<_> = (info.offset().iter().zip(info.stride()).take(info.n_planes() as usize))
            .map(|(offset, stride)| {
                let data = memory.get(*offset..).context("a plane lies in its frame")?;
                Ok(Plane { data, stride: usize::try_from(*stride)? })
            })
            .collect::<Result<_>>()?;
        let size = Size::new(info.width(), info.height());
        let colorimetry =
            Colorimetry { matrix: Matrix::Bt601, range: Range::Limited, chroma: ChromaSite::MPEG2 };
        let view = FrameView::new(PixelFormat::I420, size, &planes, colorimetry)?;
        black_box(self.preprocessor.fill(&view, Slot::F32(&mut self.tensor))?);
        Ok(())
    }
}
