//! The contact sheet: a row of pictures for each feed, spread over its time, in one PNG.
//!
//! Nobody knows how long a feed is before it has ended: so pictures are kept all along, and every other one is let go
//! of when there are too many.

use anyhow::{Context as _, Result, bail};
use gst::prelude::*;
use gst_video::prelude::*;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Pictures of a row.
const COLUMNS: usize = 3;

/// Pictures kept of a feed while it plays.
const KEPT: usize = 16;

/// Pixels between pictures.
const GAP: usize = 4;

/// Pixels of RGB, without padding.
struct Picture {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

/// Items of a sequence, evenly spread over what has come of it so far.
struct Spread<T> {
    every: usize,
    seen: usize,
    kept: Vec<T>,
}

impl<T> Spread<T> {
    const fn new() -> Self {
        Self { every: 1, seen: 0, kept: Vec::new() }
    }

    /// The next item; it is made if it is to be kept.
    fn offer(&mut self, make: impl FnOnce() -> Option<T>) {
        if self.seen.is_multiple_of(self.every) {
            self.kept.extend(make());
            if self.kept.len() > KEPT {
                let mut at = 0;
                self.kept.retain(|_| {
                    at += 1;
                    at % 2 == 1
                });
                self.every *= 2;
            }
        }
        self.seen += 1;
    }

    /// So many of them, from the middles of equal parts.
    fn chosen(&self, count: usize) -> impl Iterator<Item = &T> {
        (0..count).filter_map(move |part| self.kept.get((2 * part + 1) * self.kept.len() / (2 * count)))
    }
}

/// The pictures of one feed.
#[derive(Clone)]
pub(crate) struct Row(Arc<Mutex<Spread<Picture>>>);

impl Row {
    /// Takes the pictures, in RGB, that come to an `appsink`.
    pub(crate) fn of(appsink: &gst_app::AppSink) -> Self {
        let row = Self(Arc::new(Mutex::new(Spread::new())));
        let taken = row.clone();
        let new_sample = move |appsink: &gst_app::AppSink| {
            let sample = appsink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
            taken.0.lock().unwrap_or_else(PoisonError::into_inner).offer(|| picture(&sample));
            Ok(gst::FlowSuccess::Ok)
        };
        appsink.set_callbacks(gst_app::AppSinkCallbacks::builder().new_sample(new_sample).build());
        row
    }
}

fn picture(sample: &gst::Sample) -> Option<Picture> {
    let info = gst_video::VideoInfo::from_caps(sample.caps()?).ok()?;
    let frame = gst_video::VideoFrameRef::from_buffer_ref_readable(sample.buffer()?, &info).ok()?;
    let (width, height) = (frame.width() as usize, frame.height() as usize);
    let stride = usize::try_from(*frame.plane_stride().first()?).ok()?;
    let rows = frame.plane_data(0).ok()?.chunks(stride).take(height);
    let pixels: Vec<u8> = rows.flat_map(|row| row.iter().take(3 * width)).copied().collect();
    (pixels.len() == 3 * width * height).then_some(Picture { width, height, pixels })
}

/// Writes the sheet, in which the rows stand in this order.
pub(crate) fn write(rows: &[Row], file: &Path) -> Result<()> {
    let rows: Vec<_> = rows.iter().map(|row| row.0.lock().unwrap_or_else(PoisonError::into_inner)).collect();
    let rows: Vec<Vec<&Picture>> = rows.iter().map(|row| row.chosen(COLUMNS).collect()).collect();
    let sheet = compose(&rows).context("no feed has given a picture")?;
    encode(sheet, file)
}

/// The rows below each other, pictures beside each other, on black.
fn compose(rows: &[Vec<&Picture>]) -> Option<Picture> {
    let row_width = |row: &Vec<&Picture>| row.iter().map(|picture| picture.width + GAP).sum::<usize>();
    let row_height =
        |row: &Vec<&Picture>| row.iter().map(|picture| picture.height).max().map(|most| most + GAP);
    let width = rows.iter().map(row_width).max()?.checked_sub(GAP)?;
    let height = rows.iter().filter_map(row_height).sum::<usize>().checked_sub(GAP)?;
    let mut pixels = vec![0; 3 * width * height];
    let mut top = 0;
    for row in rows {
        let mut left = 0;
        for picture in row {
            let lines = pixels.chunks_mut(3 * width).skip(top);
            for (line, from) in lines.zip(picture.pixels.chunks(3 * picture.width)) {
                line[3 * left..][..from.len()].copy_from_slice(from);
            }
            left += picture.width + GAP;
        }
        top += row_height(row).unwrap_or(0);
    }
    Some(Picture { width, height, pixels })
}

fn encode(sheet: Picture, file: &Path) -> Result<()> {
    let format = gst_video::VideoFormat::Rgb;
    let info = gst_video::VideoInfo::builder(format, sheet.width as u32, sheet.height as u32).build()?;
    let stride = usize::try_from(info.stride()[0])?;
    let mut padded = vec![0; stride * sheet.height];
    for (line, from) in padded.chunks_mut(stride).zip(sheet.pixels.chunks(3 * sheet.width)) {
        line[..from.len()].copy_from_slice(from);
    }

    let source = gst_app::AppSrc::builder().caps(&info.to_caps()?).format(gst::Format::Time).build();
    let encoder = gst::ElementFactory::make("pngenc").build()?;
    let sink = gst::ElementFactory::make("filesink").property("location", file).build()?;
    let pipeline = gst::Pipeline::new();
    pipeline.add_many([source.upcast_ref(), &encoder, &sink])?;
    gst::Element::link_many([source.upcast_ref(), &encoder, &sink])?;
    let mut buffer = gst::Buffer::from_mut_slice(padded);
    buffer.make_mut().set_pts(gst::ClockTime::ZERO);
    pipeline.set_state(gst::State::Playing).ok();
    source.push_buffer(buffer).ok();
    source.end_of_stream().ok();
    let bus = pipeline.bus().context("a pipeline has a bus")?;
    let ended =
        bus.timed_pop_filtered(gst::ClockTime::NONE, &[gst::MessageType::Eos, gst::MessageType::Error]);
    pipeline.set_state(gst::State::Null)?;
    if let Some(gst::MessageView::Error(error)) = ended.as_deref().map(gst::MessageRef::view) {
        bail!("{}: {}", file.display(), error.error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_chosen_is_spread_over_the_whole_sequence() {
        for length in [1, 3, 16, 17, 100, 1000] {
            let mut spread = Spread::new();
            (0..length).for_each(|item| spread.offer(|| Some(item)));
            assert!(spread.kept.len() <= KEPT);
            let chosen: Vec<_> = spread.chosen(COLUMNS).copied().collect();
            assert_eq!(chosen.len(), COLUMNS, "{length}");
            let near = |item: usize, part: usize| item.abs_diff(part * length / 6) <= length / 6;
            assert!(
                chosen.iter().zip([1, 3, 5]).all(|(item, part)| near(*item, part)),
                "{length}: {chosen:?}"
            );
        }
    }

    #[test]
    fn pictures_of_different_sizes_keep_to_their_place() {
        let flat = |width, height, level| Picture { width, height, pixels: vec![level; 3 * width * height] };
        let (small, large) = (flat(2, 1, 50), flat(5, 3, 90));
        let sheet = compose(&[vec![&small, &small], vec![&large]]).expect("there are pictures");
        assert_eq!((sheet.width, sheet.height), (2 + GAP + 2, 1 + GAP + 3));
        let level = |x: usize, y: usize| sheet.pixels[3 * (y * sheet.width + x)];
        assert_eq!([level(0, 0), level(2, 0), level(2 + GAP, 0), level(0, 1)], [50, 0, 50, 0]);
        assert_eq!([level(0, 1 + GAP), level(4, 3 + GAP), level(5, 3 + GAP)], [90, 90, 0]);
        assert!(compose(&[vec![]]).is_none());
    }
}
