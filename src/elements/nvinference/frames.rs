//! From a mapped GStreamer frame to its slot of the input tensor.

use super::runs::{Place, Placed};
use crate::meta::batch::Format;
use crate::vision::preprocess::{
    ChromaSite, Colorimetry, FrameView, Matrix, PixelFormat, Plane, Preprocessor, Range, Slot,
};
use crate::vision::{Rect, Size};
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
    let size = Size::new(format.info.width(), format.info.height());
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

/// Where the planes lie. A video meta comes from whoever made the buffer: nothing it says is relied on before
/// it is checked against the memory there is, which mapping a `VideoFrame` would not do.
fn planes<'a>(
    buffer: &gst::BufferRef,
    info: &gst_video::VideoInfo,
    memory: &'a [u8],
) -> Result<[Plane<'a>; MOST_PLANES], String> {
    let meta = buffer.meta::<gst_video::VideoMeta>();
    if let Some(meta) = &meta {
        check_meta(meta, info)?;
    }
    let (offsets, strides) = match &meta {
        Some(meta) => (meta.offset(), meta.stride()),
        None => (info.offset(), info.stride()),
    };
    let mut planes = [Plane::default(); MOST_PLANES];
    let places = offsets.iter().zip(strides).take(info.n_planes() as usize);
    for (index, (plane, (offset, stride))) in planes.iter_mut().zip(places).enumerate() {
        plane.data = memory.get(*offset..).ok_or_else(|| {
            format!("plane {index}: expected an offset up to {}, found {offset}", memory.len())
        })?;
        plane.stride = usize::try_from(*stride)
            .map_err(|_| format!("plane {index}: expected a stride of 0 or more, found {stride}"))?;
    }
    Ok(planes)
}

fn check_meta(meta: &gst_video::VideoMeta, info: &gst_video::VideoInfo) -> Result<(), String> {
    if meta.format() == info.format() && meta.width() >= info.width() && meta.height() >= info.height() {
        return Ok(());
    }
    Err(format!(
        "expected a video meta of at least {} {}x{}, as the caps say, found {} {}x{}",
        info.format(),
        info.width(),
        info.height(),
        meta.format(),
        meta.width(),
        meta.height()
    ))
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
        other => return Err(format!("expected one of {:?}, found {other}", crate::elements::video::FORMATS)),
    })
}

fn colorimetry(info: &gst_video::VideoInfo) -> Colorimetry {
    let matrix = match info.colorimetry().matrix() {
        gst_video::VideoColorMatrix::Bt709 => Matrix::Bt709,
        gst_video::VideoColorMatrix::Bt2020 => Matrix::Bt2020,
        _ => Matrix::Bt601,
    };
    let range = match info.colorimetry().range() {
        gst_video::VideoColorRange::Range0_255 => Range::Full,
        _ => Range::Limited,
    };
    let site = info.chroma_site();
    let chroma = ChromaSite {
        horizontal_cosited: site.contains(gst_video::VideoChromaSite::H_COSITED),
        vertical_cosited: site.contains(gst_video::VideoChromaSite::V_COSITED),
    };
    Colorimetry { matrix, range, chroma }
}
