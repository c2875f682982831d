//! From a mapped GStreamer frame to its slot of the input tensor.

use super::runs::{Place, Placed};
use crate::elements::video::{self, PlanePlace};
use crate::meta::batch::Format;
use crate::vision::Rect;
use crate::vision::preprocess::{ChromaSite, Colorimetry, FrameView, PixelFormat, Plane, Preprocessor, Slot};
use gst_video::VideoFormat;

/// Most planes a `GstVideoFrame` has.
const MOST_PLANES: usize = 4;

/// Prepares one frame, or `part` of it, in pixels.
///
/// # Errors
/// A sentence that says what was expected and found.
pub(super) fn prepare(
    preprocessor: &mut Preprocessor,
    buffer: &gst::BufferRef,
    format: &Format,
    part: Option<&Rect>,
    slot: Slot<'_>,
) -> Placed {
    let memory = buffer
        .map_readable()
        .map_err(|_| format!("expected a frame as in {}, found memory that cannot be read", format.caps))?;
    let planes = planes(buffer, &format.info, &memory)?;
    let planes = planes.get(..format.info.n_planes() as usize).unwrap_or_default();
    let size = video::size(&format.info);
    let pixel_format = pixel_format(format.info.format())?;
    let view = FrameView::new(pixel_format, size, planes, colorimetry(&format.info))
        .map_err(|error| error.to_string())?;
    let (view, origin) = match part {
        Some(part) => view.crop(part).ok_or_else(|| {
            format!("expected an object inside the frame of {}x{}, found {part:?}", size.width, size.height)
        })?,
        None => (view, [0, 0]),
    };
    let letterbox = preprocessor.fill(&view, slot).map_err(|error| error.to_string())?;
    Ok(Place { letterbox, origin })
}

/// The planes, checked against the memory there is, which mapping a `VideoFrame` would not do.
fn planes<'a>(
    buffer: &gst::BufferRef,
    info: &gst_video::VideoInfo,
    memory: &'a [u8],
) -> Result<[Plane<'a>; MOST_PLANES], String> {
    let mut planes = [Plane::default(); MOST_PLANES];
    let places = video::plane_places(buffer, info)?;
    for (index, (plane, PlanePlace { offset, stride })) in planes.iter_mut().zip(places).enumerate() {
        plane.data = memory.get(offset..).ok_or_else(|| {
            format!("plane {index}: expected an offset up to {}, found {offset}", memory.len())
        })?;
        plane.stride = usize::try_from(stride)
            .map_err(|_| format!("plane {index}: expected a stride of 0 or more, found {stride}"))?;
    }
    Ok(planes)
}

fn pixel_format(format: VideoFormat) -> Result<PixelFormat, String> {
    Ok(match format {
        VideoFormat::I420 => PixelFormat::I420,
        VideoFormat::Nv12 => PixelFormat::Nv12,
        VideoFormat::Yuy2 => PixelFormat::Yuy2,
        VideoFormat::Rgb => PixelFormat::Rgb,
        VideoFormat::Bgr => PixelFormat::Bgr,
        VideoFormat::Rgba => PixelFormat::Rgba,
        VideoFormat::Bgra => PixelFormat::Bgra,
        VideoFormat::Rgbx => PixelFormat::Rgbx,
        VideoFormat::Bgrx => PixelFormat::Bgrx,
        VideoFormat::Argb => PixelFormat::Argb,
        VideoFormat::Xrgb => PixelFormat::Xrgb,
        VideoFormat::Gray8 => PixelFormat::Gray8,
        other => return Err(format!("expected one of {:?}, found {other}", video::FORMATS)),
    })
}

fn colorimetry(info: &gst_video::VideoInfo) -> Colorimetry {
    let (matrix, range) = video::matrix_and_range(info);
    let site = info.chroma_site();
    let chroma = ChromaSite {
        horizontal_cosited: site.contains(gst_video::VideoChromaSite::H_COSITED),
        vertical_cosited: site.contains(gst_video::VideoChromaSite::V_COSITED),
    };
    Colorimetry { matrix, range, chroma }
}
