//! What a video frame in memory looks like: pixel formats, planes, colorimetry.
//!
//! A [`FrameView`] borrows mapped memory whose lengths and strides it has checked, so the pixel loops may
//! slice rows without looking again. It says nothing about where the memory comes from.

use crate::vision::Size;
use crate::vision::letterbox::{MAX_SIDE, is_valid};

/// How the samples of a frame lie in memory; the names and byte orders are those of `GstVideoFormat`.
///
/// Everything is 8 bits a sample. Alpha and padding bytes are not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PixelFormat {
    /// Planar 4:2:0: Y, U, V.
    I420,
    /// Planar 4:2:0: Y, V, U.
    Yv12,
    /// Y plane and interleaved UV plane, 4:2:0.
    Nv12,
    /// Y plane and interleaved VU plane, 4:2:0.
    Nv21,
    /// Packed 4:2:2: Y0 U Y1 V.
    Yuy2,
    /// Packed 4:2:2: U Y0 V Y1.
    Uyvy,
    /// Packed, 3 bytes: R G B.
    Rgb,
    /// Packed, 3 bytes: B G R.
    Bgr,
    /// Packed, 4 bytes: R G B A.
    Rgba,
    /// Packed, 4 bytes: B G R A.
    Bgra,
    /// Packed, 4 bytes: R G B and one unused.
    Rgbx,
    /// Packed, 4 bytes: B G R and one unused.
    Bgrx,
    /// Packed, 4 bytes: A R G B.
    Argb,
    /// Packed, 4 bytes: one unused and R G B.
    Xrgb,
    /// Packed, 4 bytes: A B G R.
    Abgr,
    /// Packed, 4 bytes: one unused and B G R.
    Xbgr,
    /// One plane of luma.
    Gray8,
}

/// Colour components that lie side by side in one plane, at the same resolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SampleGroup {
    /// Index of the plane.
    pub(super) plane: usize,
    /// Byte of the first sample in a row.
    pub(super) offset: usize,
    /// Bytes from one sample to the next of the same component.
    pub(super) step: usize,
    /// The components in memory order, each by its index in the colour model (R, G, B or Y, U, V). In RGB
    /// and semi-planar formats they are adjacent bytes, in packed YUV every second one.
    pub(super) channels: &'static [usize],
    /// Horizontal and vertical resolution.
    pub(super) sampling: Sampling,
}

/// Resolution of a component against the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sampling {
    /// One sample a pixel.
    Full,
    /// One sample for two columns (4:2:2).
    HalfWidth,
    /// One sample for two columns and two rows (4:2:0).
    HalfBoth,
}

impl Sampling {
    /// Samples of a component in a frame of `size`; half of an odd side is rounded up.
    pub(super) fn samples(self, size: Size) -> Size {
        match self {
            Self::Full => size,
            Self::HalfWidth => Size::new(size.width.div_ceil(2), size.height),
            Self::HalfBoth => Size::new(size.width.div_ceil(2), size.height.div_ceil(2)),
        }
    }
}

/// What the components of a format are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ColorModel {
    /// R, G, B.
    Rgb,
    /// Y, U, V.
    Yuv,
    /// Y.
    Gray,
}

impl PixelFormat {
    /// Every format, in the order they are declared.
    pub const ALL: [Self; 17] = [
        Self::I420,
        Self::Yv12,
        Self::Nv12,
        Self::Nv21,
        Self::Yuy2,
        Self::Uyvy,
        Self::Rgb,
        Self::Bgr,
        Self::Rgba,
        Self::Bgra,
        Self::Rgbx,
        Self::Bgrx,
        Self::Argb,
        Self::Xrgb,
        Self::Abgr,
        Self::Xbgr,
        Self::Gray8,
    ];

    /// Number of planes a frame of this format has.
    #[must_use]
    pub const fn plane_count(self) -> usize {
        match self {
            Self::I420 | Self::Yv12 => 3,
            Self::Nv12 | Self::Nv21 => 2,
            _ => 1,
        }
    }

    pub(super) const fn color_model(self) -> ColorModel {
        match self {
            Self::I420 | Self::Yv12 | Self::Nv12 | Self::Nv21 | Self::Yuy2 | Self::Uyvy => ColorModel::Yuv,
            Self::Gray8 => ColorModel::Gray,
            _ => ColorModel::Rgb,
        }
    }

    /// Where the components lie.
    pub(super) const fn groups(self) -> &'static [SampleGroup] {
        const RGB: &[usize] = &[0, 1, 2];
        const BGR: &[usize] = &[2, 1, 0];
        match self {
            Self::I420 => const { &[luma(0, 1), planar(1, &[1]), planar(2, &[2])] },
            Self::Yv12 => const { &[luma(0, 1), planar(1, &[2]), planar(2, &[1])] },
            Self::Nv12 => const { &[luma(0, 1), semi_planar(&[1, 2])] },
            Self::Nv21 => const { &[luma(0, 1), semi_planar(&[2, 1])] },
            Self::Yuy2 => const { &[luma(0, 2), packed_chroma(1)] },
            Self::Uyvy => const { &[luma(1, 2), packed_chroma(0)] },
            Self::Rgb => const { &[packed_rgb(0, 3, RGB)] },
            Self::Bgr => const { &[packed_rgb(0, 3, BGR)] },
            Self::Rgba | Self::Rgbx => const { &[packed_rgb(0, 4, RGB)] },
            Self::Bgra | Self::Bgrx => const { &[packed_rgb(0, 4, BGR)] },
            Self::Argb | Self::Xrgb => const { &[packed_rgb(1, 4, RGB)] },
            Self::Abgr | Self::Xbgr => const { &[packed_rgb(1, 4, BGR)] },
            Self::Gray8 => const { &[luma(0, 1)] },
        }
    }

    /// Bytes of pixels in a row of `plane`.
    pub(super) fn row_bytes(self, plane: usize, size: Size) -> usize {
        self.plane_extent(plane, size).0
    }

    /// Bytes of pixels in a row of `plane`, and its rows.
    fn plane_extent(self, plane: usize, size: Size) -> (usize, usize) {
        self.groups().iter().filter(|group| group.plane == plane).fold((0, 0), |extent, one| {
            let samples = one.sampling.samples(size);
            // At most 4 * MAX_SIDE, checked by the caller before.
            let row_bytes = samples.width as usize * one.step;
            (extent.0.max(row_bytes), extent.1.max(samples.height as usize))
        })
    }
}

const fn luma(offset: usize, step: usize) -> SampleGroup {
    SampleGroup { plane: 0, offset, step, channels: &[0], sampling: Sampling::Full }
}

const fn planar(plane: usize, channels: &'static [usize]) -> SampleGroup {
    SampleGroup { plane, offset: 0, step: 1, channels, sampling: Sampling::HalfBoth }
}

const fn semi_planar(channels: &'static [usize]) -> SampleGroup {
    SampleGroup { plane: 1, offset: 0, step: 2, channels, sampling: Sampling::HalfBoth }
}

const fn packed_chroma(offset: usize) -> SampleGroup {
    SampleGroup { plane: 0, offset, step: 4, channels: &[1, 2], sampling: Sampling::HalfWidth }
}

const fn packed_rgb(offset: usize, step: usize, channels: &'static [usize]) -> SampleGroup {
    SampleGroup { plane: 0, offset, step, channels, sampling: Sampling::Full }
}

/// Which luma weights turn YUV into RGB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Matrix {
    /// ITU-R BT.601: standard definition, JPEG.
    Bt601,
    /// ITU-R BT.709: high definition.
    Bt709,
    /// ITU-R BT.2020, non-constant luminance: ultra high definition.
    Bt2020,
}

/// Which levels black and white have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Range {
    /// 0 to 255; chroma swings over all 256 levels.
    Full,
    /// 16 to 235; chroma 16 to 240.
    Limited,
}

/// Where subsampled chroma samples lie between the luma samples. Only subsampled formats look at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ChromaSite {
    /// Chroma lies on every second luma column; otherwise in the middle between two.
    pub horizontal_cosited: bool,
    /// Chroma lies on every second luma row; otherwise in the middle between two.
    pub vertical_cosited: bool,
}

impl ChromaSite {
    /// MPEG-1 and JPEG: in the middle both ways (`GST_VIDEO_CHROMA_SITE_JPEG`).
    pub const JPEG: Self = Self { horizontal_cosited: false, vertical_cosited: false };
    /// MPEG-2, H.264, H.265: on the column, between the rows (`GST_VIDEO_CHROMA_SITE_MPEG2`).
    pub const MPEG2: Self = Self { horizontal_cosited: true, vertical_cosited: false };
    /// On the luma sample both ways (`GST_VIDEO_CHROMA_SITE_COSITED`).
    pub const COSITED: Self = Self { horizontal_cosited: true, vertical_cosited: true };
}

/// How the levels of a frame are to be read.
///
/// RGB and grey frames use only the range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Colorimetry {
    /// Luma weights.
    pub matrix: Matrix,
    /// Levels of black and white.
    pub range: Range,
    /// Place of the chroma samples.
    pub chroma: ChromaSite,
}

/// One plane of a frame as it was mapped.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plane<'a> {
    /// The memory from the first pixel on; the last row may end with its last pixel.
    pub data: &'a [u8],
    /// Bytes from one row to the next.
    pub stride: usize,
}

/// Why memory does not hold the frame it is said to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A side is zero or longer than [`MAX_SIDE`].
    #[error("frame size: expected 1 to {MAX_SIDE} pixels a side, found {}x{}", .0.width, .0.height)]
    Size(Size),
    /// There are too few or too many planes.
    #[error("{format:?} frame: expected {expected} planes, found {found}")]
    PlaneCount {
        /// Format of the frame.
        format: PixelFormat,
        /// Planes the format has.
        expected: usize,
        /// Planes passed.
        found: usize,
    },
    /// A row does not fit in the stride.
    #[error("{format:?} frame, plane {plane}: expected a stride of at least {expected} bytes, found {found}")]
    Stride {
        /// Format of the frame.
        format: PixelFormat,
        /// Index of the plane.
        plane: usize,
        /// Bytes of one row.
        expected: usize,
        /// Stride passed.
        found: usize,
    },
    /// The memory ends before the last pixel.
    #[error("{format:?} frame, plane {plane}: expected at least {expected} bytes, found {found}")]
    Length {
        /// Format of the frame.
        format: PixelFormat,
        /// Index of the plane.
        plane: usize,
        /// Bytes up to the last pixel; `usize::MAX` if that is beyond what memory can hold.
        expected: usize,
        /// Bytes passed.
        found: usize,
    },
}

/// A frame in borrowed memory, checked to hold all its pixels.
#[derive(Clone, Copy, Debug)]
pub struct FrameView<'a> {
    format: PixelFormat,
    size: Size,
    planes: [Plane<'a>; 3],
    colorimetry: Colorimetry,
}

impl<'a> FrameView<'a> {
    /// The frame of `format` and `size` in `planes`, which are in the order of `GstVideoFormat`.
    ///
    /// # Errors
    ///
    /// A side outside `1..=`[`MAX_SIDE`], a wrong number of planes, a stride shorter than a row, memory
    /// shorter than the frame. A stride of a one-row plane is checked, too: it is as wrong as any other.
    pub fn new(
        format: PixelFormat,
        size: Size,
        planes: &[Plane<'a>],
        colorimetry: Colorimetry,
    ) -> Result<Self, FrameError> {
        if !is_valid(size) {
            return Err(FrameError::Size(size));
        }
        let (expected, found) = (format.plane_count(), planes.len());
        if expected != found {
            return Err(FrameError::PlaneCount { format, expected, found });
        }
        let mut checked = [Plane::default(); 3];
        for (index, (slot, plane)) in checked.iter_mut().zip(planes).enumerate() {
            check_plane(format, size, index, plane)?;
            *slot = *plane;
        }
        Ok(Self { format, size, planes: checked, colorimetry })
    }

    /// How the samples lie in memory.
    #[must_use]
    pub const fn format(&self) -> PixelFormat {
        self.format
    }

    /// Columns and rows of pixels.
    #[must_use]
    pub const fn size(&self) -> Size {
        self.size
    }

    /// How the levels are to be read.
    #[must_use]
    pub const fn colorimetry(&self) -> Colorimetry {
        self.colorimetry
    }

    /// Bytes from one row of `plane` to the next.
    pub(super) const fn stride(&self, plane: usize) -> usize {
        self.planes[plane].stride
    }

    /// The memory of `plane` from the first byte of row `row` on. Both are within what `new` checked.
    pub(super) fn row(&self, plane: usize, row: usize) -> &'a [u8] {
        let plane = &self.planes[plane];
        &plane.data[row * plane.stride..]
    }
}

fn check_plane(format: PixelFormat, size: Size, index: usize, plane: &Plane<'_>) -> Result<(), FrameError> {
    let (row_bytes, rows) = format.plane_extent(index, size);
    if plane.stride < row_bytes {
        return Err(FrameError::Stride { format, plane: index, expected: row_bytes, found: plane.stride });
    }
    let expected = plane
        .stride
        .checked_mul(rows.saturating_sub(1))
        .and_then(|bytes| bytes.checked_add(row_bytes))
        .unwrap_or(usize::MAX);
    // No slice is usize::MAX long, so an overflow is always refused.
    if plane.data.len() < expected {
        return Err(FrameError::Length { format, plane: index, expected, found: plane.data.len() });
    }
    Ok(())
}
