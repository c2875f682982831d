//! Pieces as a `GstVideoOverlayComposition`, for elements downstream that draw it themselves.

use crate::overlay::{Cover, Piece, Rgb};
use gst_video::{
    VideoFormat, VideoFrameFlags, VideoMeta, VideoOverlayComposition, VideoOverlayCompositionMeta,
    VideoOverlayFormatFlags, VideoOverlayRectangle,
};

/// The one RGB format of overlays; the letters of its name are in the order of the bytes.
#[cfg(target_endian = "little")]
const FORMAT: VideoFormat = VideoFormat::Bgra;
#[cfg(target_endian = "big")]
const FORMAT: VideoFormat = VideoFormat::Argb;

/// Makes compositions, and keeps the last: while the picture is steady, what downstream has made of it stays good.
#[derive(Debug, Default)]
pub(super) struct Composer {
    last: Option<(Vec<Piece>, VideoOverlayComposition)>,
}

impl Composer {
    /// The composition of these pieces, of which there is one at least.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub(super) fn compose(&mut self, pieces: &[Piece]) -> Result<VideoOverlayComposition, glib::BoolError> {
        if let Some((_, composition)) = self.last.as_ref().filter(|(of, _)| of == pieces) {
            return Ok(composition.clone());
        }
        let rectangles = pieces.iter().map(rectangle).collect::<Result<Vec<_>, _>>()?;
        let composition = VideoOverlayComposition::new(&rectangles)?;
        self.last = Some((pieces.to_vec(), composition.clone()));
        Ok(composition)
    }
}

fn rectangle(piece: &Piece) -> Result<VideoOverlayRectangle, glib::BoolError> {
    let pixels = match &piece.cover {
        Cover::Full => {
            let count = piece.width as usize * piece.height as usize;
            pixel(piece, u8::MAX).repeat(count)
        }
        Cover::Mask(mask) => mask.coverage.iter().flat_map(|level| pixel(piece, *level)).collect(),
    };
    let mut buffer = gst::Buffer::from_mut_slice(pixels);
    let writable = buffer.get_mut().ok_or_else(|| glib::bool_error!("expected a buffer of its own"))?;
    VideoMeta::add(writable, VideoFrameFlags::empty(), FORMAT, piece.width, piece.height)?;
    let side = |pixels: u32| i32::try_from(pixels).unwrap_or(i32::MAX);
    Ok(VideoOverlayRectangle::new_raw(
        &buffer,
        side(piece.x),
        side(piece.y),
        piece.width,
        piece.height,
        VideoOverlayFormatFlags::empty(),
    ))
}

fn pixel(piece: &Piece, level: u8) -> [u8; 4] {
    let (Rgb(red, green, blue), alpha) = piece.pixel(level);
    if FORMAT == VideoFormat::Bgra { [blue, green, red, alpha] } else { [alpha, red, green, blue] }
}

/// Puts the composition on the frame, over one that is there already.
pub(super) fn attach(buffer: &mut gst::BufferRef, composition: &VideoOverlayComposition) {
    if let Some(mut meta) = buffer.meta_mut::<VideoOverlayCompositionMeta>() {
        // Readers look at the first of these metas only.
        let both: Vec<_> = meta.overlay().iter().chain(composition.iter()).collect();
        if let Ok(both) = VideoOverlayComposition::new(&both) {
            meta.set_overlay(&both);
        }
        return;
    }
    VideoOverlayCompositionMeta::add(buffer, composition);
}
