//! Decoded frames of real clips, kept in memory.

use anyhow::{Context as _, Result, ensure};
use gst::prelude::*;
use std::path::PathBuf;
use std::sync::Arc;

/// Frames of one clip, all of one size and format.
#[derive(Debug)]
pub(crate) struct Clip {
    pub(crate) caps: gst::Caps,
    pub(crate) info: gst_video::VideoInfo,
    pub(crate) frames: Vec<gst::Buffer>,
}

/// The clips that `./dev` fetches, the two of them twice: four files.
pub(crate) fn files() -> Result<Vec<PathBuf>> {
    let folder = std::env::var_os("NV_CLIPS")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(".cache/clips"), PathBuf::from);
    let names = ["bikes.mp4", "carphone_pristine.mp4", "bikes.mp4", "carphone_pristine.mp4"];
    let files: Vec<_> = names.iter().map(|name| folder.join(name)).collect();
    for file in &files {
        ensure!(file.is_file(), "{}: no such clip; ./dev setup fetches it", file.display());
    }
    Ok(files)
}

/// Decodes the first `most` frames of each of the two clips to I420 of that size.
pub(crate) fn decoded(width: u32, height: u32, most: usize) -> Result<Vec<Arc<Clip>>> {
    let files = files()?;
    files.iter().take(2).map(|file| decode(file, (width, height), most).map(Arc::new)).collect()
}

fn decode(file: &std::path::Path, (width, height): (u32, u32), most: usize) -> Result<Clip> {
    let description = format!(
        "filesrc location=\"{}\" ! decodebin ! videoconvert ! videoscale ! \
         video/x-raw,format=I420,width={width},height={height},pixel-aspect-ratio=1/1 ! \
         appsink name=frames sync=false max-buffers=2",
        file.display()
    );
    let pipeline =
        gst::parse::launch(&description)?.downcast::<gst::Pipeline>().ok().context("a pipeline")?;
    let sink = pipeline.by_name("frames").and_downcast::<gst_app::AppSink>().context("an appsink")?;
    pipeline.set_state(gst::State::Playing)?;
    let (mut caps, mut frames) = (None, Vec::new());
    while frames.len() < most {
        let Some(sample) = sink.try_pull_sample(gst::ClockTime::from_seconds(20)) else { break };
        caps = caps.or_else(|| sample.caps_owned());
        // The decoder's pool goes with the pipeline.
        frames.push(sample.buffer().context("a sample has a buffer")?.copy_deep()?);
    }
    pipeline.set_state(gst::State::Null)?;
    ensure!(!frames.is_empty(), "{}: expected video, found no frame", file.display());
    let caps = caps.context("a sample has caps")?;
    Ok(Clip { info: gst_video::VideoInfo::from_caps(&caps)?, caps, frames })
}

/// One grey frame of that size.
pub(crate) fn grey(width: u32, height: u32) -> Result<Arc<Clip>> {
    let format = gst_video::VideoFormat::I420;
    let info = gst_video::VideoInfo::builder(format, width, height).fps((30, 1)).build()?;
    let frame = gst::Buffer::from_mut_slice(vec![128_u8; info.size()]);
    Ok(Arc::new(Clip { caps: info.to_caps()?, info, frames: vec![frame] }))
}
