//! From a frame in memory to what is painted on.

use crate::elements::video;
use crate::overlay::{Canvas, Channel, Component, Piece};
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
    let (size, (matrix, range)) = (video::size(info), video::matrix_and_range(info));
    let mut canvas = Canvas::new(&mut memory, size, &components, matrix, range).map_err(|e| e.to_string())?;
    canvas.paint(pieces);
    Ok(())
}

/// Where the samples lie. It is checked against the memory there is when the canvas is made.
fn components(buffer: &gst::BufferRef, info: &VideoInfo) -> Result<SmallVec<[Component; 4]>, String> {
    let places = video::plane_places(buffer, info)?;
    let component = |at: usize| -> Option<Component> {
        let format = info.format_info();
        let place = places.get(usize::try_from(*format.plane().get(at)?).ok()?)?;
        let within = usize::try_from(*format.poffset().get(at)?).ok()?;
        Some(Component {
            channel: channel(format, at)?,
            offset: place.offset.checked_add(within)?,
            stride: usize::try_from(place.stride).ok()?,
            pixel_stride: usize::try_from(*format.pixel_stride().get(at)?).ok()?,
            shift_x: *format.w_sub().get(at)?,
            shift_y: *format.h_sub().get(at)?,
        })
    };
    let count = info.format_info().n_components() as usize;
    let found: Option<SmallVec<[Component; 4]>> = (0..count).map(component).collect();
    found.ok_or_else(|| {
        let strides: SmallVec<[i32; 4]> = places.iter().map(|place| place.stride).collect();
        format!("expected planes with strides of 0 or more, found {strides:?}")
    })
}

fn channel(format: gst_video::VideoFormatInfo, at: usize) -> Option<Channel> {
    let channels = if format.is_rgb() {
        [Channel::Red, Channel::Green, Channel::Blue, Channel::Alpha]
    } else {
        [Channel::Luma, Channel::Cb, Channel::Cr, Channel::Alpha]
    };
    channels.get(at).copied()
}
