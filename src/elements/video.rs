//! The raw video the elements take: formats, limits, and reading caps with a clear refusal.

use crate::meta::batch::Format;
use crate::vision::Size;
use crate::vision::preprocess::{Matrix, Range};
use gst_video::{VideoFormat, VideoInfo};
use smallvec::SmallVec;
use std::sync::Arc;

/// Widest and tallest frame taken, in pixels: above every camera, and far below sizes whose frame would not fit
/// into memory. Caps beyond it are refused before anything is allocated.
pub(super) const MAX_SIDE: i32 = 16_384;

/// The formats pre-processing reads.
pub(super) const FORMATS: [VideoFormat; 12] = [
    VideoFormat::I420,
    VideoFormat::Nv12,
    VideoFormat::Yuy2,
    VideoFormat::Rgb,
    VideoFormat::Bgr,
    VideoFormat::Rgba,
    VideoFormat::Bgra,
    VideoFormat::Rgbx,
    VideoFormat::Bgrx,
    VideoFormat::Argb,
    VideoFormat::Xrgb,
    VideoFormat::Gray8,
];

/// What a pad for one feed's video takes.
pub(super) fn caps() -> gst::Caps {
    gst_video::VideoCapsBuilder::new()
        .format_list(FORMATS)
        .width_range(1..=MAX_SIDE)
        .height_range(1..=MAX_SIDE)
        .build()
}

/// Reads the caps of a feed.
///
/// # Errors
/// A sentence that says what was expected and what was found.
pub(super) fn parse_format(caps: &gst::CapsRef) -> Result<Arc<Format>, String> {
    let expected = || format!("expected {}", self::caps());
    let structure = caps.structure(0).ok_or_else(|| format!("{}, found empty caps", expected()))?;
    if structure.name() != "video/x-raw" {
        return Err(format!("{}, found {caps}", expected()));
    }
    let side = |name: &str| structure.get::<i32>(name).unwrap_or(0);
    let (width, height) = (side("width"), side("height"));
    if !(1..=MAX_SIDE).contains(&width) || !(1..=MAX_SIDE).contains(&height) {
        return Err(format!(
            "expected a width and a height of 1 to {MAX_SIDE} pixels, found {width}x{height}"
        ));
    }
    let info = VideoInfo::from_caps(caps)
        .map_err(|_| format!("{}, found {caps}, which is not valid raw video", expected()))?;
    if !FORMATS.contains(&info.format()) || !in_system_memory(caps) {
        return Err(format!("{}, found {caps}", expected()));
    }
    Ok(Arc::new(Format { caps: caps.to_owned(), info }))
}

fn in_system_memory(caps: &gst::CapsRef) -> bool {
    caps.features(0).is_none_or(|features| {
        !features.is_any() && features.is_equal(gst::CAPS_FEATURES_MEMORY_SYSTEM_MEMORY.as_ref())
    })
}

/// Checks that `buffer` can hold a frame of `format`.
///
/// # Errors
/// A sentence that says what was expected and what was found.
pub(super) fn check_frame(buffer: &gst::BufferRef, format: &Format) -> Result<(), String> {
    // A video meta carries its own offsets and strides; mapping the frame checks them.
    if buffer.meta::<gst_video::VideoMeta>().is_some() || buffer.size() >= format.info.size() {
        return Ok(());
    }
    Err(format!(
        "expected at least {} bytes for a frame of {} {}x{}, found {}",
        format.info.size(),
        format.info.format(),
        format.info.width(),
        format.info.height(),
        buffer.size()
    ))
}

/// Where a plane lies in the memory of its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PlanePlace {
    /// Its first byte.
    pub(super) offset: usize,
    /// Bytes from a row to the next.
    pub(super) stride: i32,
}

/// Where the planes of a frame lie: as its video meta says, else as its caps do. A video meta comes from whoever made the
/// buffer: nothing it says is to be relied on before it is checked against the memory there is.
///
/// # Errors
/// A sentence that says what was expected and what was found.
pub(super) fn plane_places(
    buffer: &gst::BufferRef,
    info: &VideoInfo,
) -> Result<SmallVec<[PlanePlace; 4]>, String> {
    let places = |offsets: &[usize], strides: &[i32]| {
        let both = offsets.iter().zip(strides).take(info.n_planes() as usize);
        both.map(|(offset, stride)| PlanePlace { offset: *offset, stride: *stride }).collect()
    };
    let Some(meta) = buffer.meta::<gst_video::VideoMeta>() else {
        return Ok(places(info.offset(), info.stride()));
    };
    if meta.format() == info.format() && meta.width() >= info.width() && meta.height() >= info.height() {
        return Ok(places(meta.offset(), meta.stride()));
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

/// How the levels of a frame are to be read.
pub(super) fn matrix_and_range(info: &VideoInfo) -> (Matrix, Range) {
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

/// Columns and rows of the frames.
pub(super) fn size(info: &VideoInfo) -> Size {
    Size::new(info.width(), info.height())
}

/// A side that caps say, in pixels; `None` if they do not.
pub(super) fn side(caps: &gst::StructureRef, name: &str) -> Option<u32> {
    caps.get::<i32>(name).ok().and_then(|side| u32::try_from(side).ok())
}

/// The running time of a frame; `None` without a timestamp, outside of the segment, or if there is none.
pub(super) fn running_time(
    segment: &gst::FormattedSegment<gst::ClockTime>,
    pts: Option<gst::ClockTime>,
) -> Option<gst::ClockTime> {
    // Backwards from an end that is not known: GStreamer says that as a CRITICAL.
    let has_origin = segment.rate() > 0.0 || segment.stop().is_some();
    if has_origin { segment.to_running_time(pts) } else { None }
}

/// Answers a caps query of a pad that takes or gives `caps`.
pub(super) fn answer_caps(query: &mut gst::query::Caps, caps: &gst::Caps) {
    let answer = query.filter().map(|filter| filter.intersect_with_mode(caps, gst::CapsIntersectMode::First));
    query.set_result(answer.as_ref().unwrap_or(caps));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::str::FromStr as _;

    fn refusal(caps: &str) -> String {
        gst::init().unwrap();
        parse_format(&gst::Caps::from_str(caps).unwrap()).unwrap_err()
    }

    #[test]
    fn every_listed_format_is_taken() {
        gst::init().unwrap();
        for format in FORMATS {
            let caps = format!("video/x-raw,format={format},width=5,height=3,framerate=0/1");
            parse_format(&gst::Caps::from_str(&caps).unwrap()).unwrap();
        }
    }

    #[test]
    fn a_refusal_says_what_was_expected_and_found() {
        assert!(refusal("audio/x-raw,rate=8000").contains("found audio/x-raw"));
        assert!(refusal("video/x-raw,format=I420,width=0,height=0,framerate=30/1").contains("found 0x0"));
        assert!(
            refusal("video/x-raw,format=I420,width=65535,height=65535,framerate=30/1")
                .contains("found 65535x65535")
        );
        assert!(refusal("video/x-raw,format=NV16,width=64,height=64,framerate=30/1").contains("NV16"));
        let gl = "video/x-raw(memory:GLMemory),format=RGBA,width=64,height=64,framerate=30/1";
        assert!(refusal(gl).contains("GLMemory"));
    }

    #[test]
    fn a_short_buffer_is_refused() {
        gst::init().unwrap();
        let caps = gst::Caps::from_str("video/x-raw,format=GRAY8,width=4,height=4,framerate=30/1").unwrap();
        let format = parse_format(&caps).unwrap();
        let buffer = gst::Buffer::with_size(15).unwrap();
        let refusal = check_frame(&buffer, &format).unwrap_err();
        assert!(refusal.contains("16 bytes") && refusal.contains("found 15"), "{refusal}");
        check_frame(&gst::Buffer::with_size(16).unwrap(), &format).unwrap();
    }

    #[test]
    fn backwards_without_an_end_there_is_no_running_time() {
        gst::init().unwrap();
        let mut segment = gst::FormattedSegment::new();
        let pts = Some(3 * gst::ClockTime::SECOND);
        assert_eq!(running_time(&segment, pts), pts);
        segment.set_rate(-1.0);
        assert_eq!(running_time(&segment, pts), None);
        segment.set_stop(gst::ClockTime::from_seconds(5));
        assert_eq!(running_time(&segment, pts), Some(2 * gst::ClockTime::SECOND));
    }
}
