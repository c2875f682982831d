//! From a frame in memory to what is painted on.

use crate::overlay::{Canvas, Channel, Component, Piece};
use crate::vision::Size;
use crate::vision::preprocess::{Matrix, Range};
use gst_video::{VideoFormat, VideoInfo};
use smallvec::SmallVec;

/// The formats that can be painted on: all of eight bits a sample that GStreamer's own overlays take, but those
/// packed in a way that has no stride from one sample to the next.
pub(super) const FORMATS: [VideoFormat; 24] = [
    VideoFormat::I420,
    VideoFormat::Nv12,
    VideoFormat::Nv21,
    VideoFormat::Yv12,
    VideoFormat::Yuy2,
    VideoFormat::Uyvy,
    VideoFormat::Rgb,
    VideoFormat::Bgr,
    VideoFormat::Rgba,
    VideoFormat::Bgra,
    VideoFormat::Argb,
    VideoFormat::Abgr,
    VideoFormat::Rgbx,
    VideoFormat::Bgrx,
    VideoFormat::Xrgb,
    VideoFormat::Xbgr,
    VideoFormat::Gray8,
    VideoFormat::Y42b,
    VideoFormat::Y444,
    VideoFormat::Y41b,
    VideoFormat::Yuv9,
    VideoFormat::A420,
    VideoFormat::Ayuv,
    VideoFormat::V308,
];

/// Paints the pieces into the frame.
///
/// # Errors
/// A sentence that says what was expected and found; the frame is as it was.
pub(super) fn paint(buffer: &mut gst::BufferRef, info: &VideoInfo, pieces: &[Piece]) -> Result<(), String> {
    let components = components(buffer, info)?;
    let mut memory = buffer
        .map_writable()
        .map_err(|_| "expected memory that can be written, or copied, found another".to_owned())?;
    let size = Size::new(info.width(), info.height());
    let (matrix, range) = colors(info);
    let mut canvas = Canvas::new(&mut memory, size, &components, matrix, range).map_err(|e| e.to_string())?;
    canvas.paint(pieces);
    Ok(())
}

/// Where the samples lie. A video meta comes from whoever made the buffer: what it says is checked against the memory
/// there is when the canvas is made.
fn components(buffer: &gst::BufferRef, info: &VideoInfo) -> Result<SmallVec<[Component; 4]>, String> {
    let meta = buffer.meta::<gst_video::VideoMeta>();
    if let Some(meta) = &meta {
        let is_as_said =
            meta.format() == info.format() && meta.width() >= info.width() && meta.height() >= info.height();
        if !is_as_said {
            let (width, height) = (info.width(), info.height());
            let found = format!("{} {}x{}", meta.format(), meta.width(), meta.height());
            return Err(format!(
                "expected a video meta of {} {width}x{height}, found {found}",
                info.format()
            ));
        }
    }
    let (offsets, strides) = match &meta {
        Some(meta) => (meta.offset(), meta.stride()),
        None => (info.offset(), info.stride()),
    };
    let component = |at: usize| -> Option<Component> {
        let format = info.format_info();
        let plane = usize::try_from(*format.plane().get(at)?).ok()?;
        let within = usize::try_from(*format.poffset().get(at)?).ok()?;
        Some(Component {
            channel: channel(format, at)?,
            offset: offsets.get(plane)?.checked_add(within)?,
            stride: usize::try_from(*strides.get(plane)?).ok()?,
            pixel_stride: usize::try_from(*format.pixel_stride().get(at)?).ok()?,
            shift_x: *format.w_sub().get(at)?,
            shift_y: *format.h_sub().get(at)?,
        })
    };
    let count = info.format_info().n_components() as usize;
    let found: Option<SmallVec<[Component; 4]>> = (0..count).map(component).collect();
    found.ok_or_else(|| format!("expected planes with strides of 0 or more, found {strides:?}"))
}

fn channel(format: gst_video::VideoFormatInfo, at: usize) -> Option<Channel> {
    let channels = if format.is_rgb() {
        [Channel::Red, Channel::Green, Channel::Blue, Channel::Alpha]
    } else {
        [Channel::Luma, Channel::Cb, Channel::Cr, Channel::Alpha]
    };
    channels.get(at).copied()
}

fn colors(info: &VideoInfo) -> (Matrix, Range) {
    let matrix = match info.colorimetry().matrix() {
        gst_video::VideoColorMatrix::Bt709 => Matrix::Bt709,
        gst_video::VideoColorMatrix::Bt2020 => Matrix::Bt2020,
        _ => Matrix::Bt601,
    };
    let range = match info.colorimetry().range() {
        gst_video::VideoColorRange::Range0_255 => Range::Full,
        _ => Range::Limited,
    };
    (matrix, range)
}
