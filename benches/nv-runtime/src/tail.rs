//! The end of its media pipeline, without pacing and without drops: else as it builds it itself.

use nv_core::error::MediaError;
use nv_core::id::FeedId;
use nv_core::metadata::TypedMetadata;
use nv_frame::{FrameEnvelope, PixelFormat};
use nv_media::{GpuPipelineProvider, GpuPipelineTail, PtzTelemetry, SampleInfo};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

pub struct Unpaced;

impl GpuPipelineProvider for Unpaced {
    fn name(&self) -> &str {
        "unpaced"
    }

    fn build_pipeline_tail(&self, _: PixelFormat) -> Result<GpuPipelineTail, MediaError> {
        let convert = gst::ElementFactory::make("videoconvert")
            .build()
            .map_err(|error| MediaError::Unsupported { detail: error.to_string() })?;
        let caps = gst::Caps::builder("video/x-raw").field("format", "RGB").build();
        let appsink = gst_app::AppSink::builder().caps(&caps).max_buffers(2).drop(false).sync(false).build();
        Ok(GpuPipelineTail { elements: vec![convert], appsink })
    }

    fn bridge_sample(
        &self,
        feed_id: FeedId,
        seq: &Arc<AtomicU64>,
        _: PixelFormat,
        sample: &gst::Sample,
        _: Option<PtzTelemetry>,
    ) -> Result<FrameEnvelope, MediaError> {
        let info = SampleInfo::extract(sample, seq)?;
        let refused = |_| MediaError::DecodeFailed { detail: "a buffer cannot be mapped".to_owned() };
        let map = info.buffer.copy().into_mapped_buffer_readable().map_err(refused)?;
        let (data, len) = (map.as_slice().as_ptr(), map.size());
        // SAFETY: the bytes belong to the mapped buffer, which the frame keeps and nobody writes to.
        Ok(unsafe {
            FrameEnvelope::new_mapped(
                feed_id,
                info.frame_seq,
                info.ts,
                info.wall_ts,
                info.width,
                info.height,
                PixelFormat::Rgb8,
                info.stride,
                data,
                len,
                Box::new(map),
                TypedMetadata::new(),
            )
        })
    }
}
