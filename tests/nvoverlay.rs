//! What `nvoverlay` draws, where, and what it leaves alone.

use crate::support::{init, launch, run_to_eos, stat, tiny_model};
use gst::prelude::*;
use gst_check::Harness;
use gst_video::prelude::*;
use gst_video::{
    VideoFormat, VideoFrameRef, VideoInfo, VideoMeta, VideoOverlayCompositionMeta, VideoRegionOfInterestMeta,
};
use std::collections::BTreeSet;

/// Every format the element takes.
const FORMATS: &str = "I420 NV12 NV21 YV12 YUY2 UYVY RGB BGR RGBA BGRA ARGB ABGR RGBx BGRx xRGB xBGR GRAY8 Y42B Y444 \
    Y41B YUV9 A420 AYUV v308";
const BOXES: &str = "boxes";
const FEATURE: &str = "meta:GstVideoOverlayComposition";

fn info(format: &str, width: u32, height: u32) -> VideoInfo {
    init();
    let format = VideoFormat::from_string(format);
    VideoInfo::builder(format, width, height).fps(gst::Fraction::new(30, 1)).build().expect("a format")
}

/// A dark frame; every byte is 1.
fn frame(info: &VideoInfo) -> gst::Buffer {
    gst::Buffer::from_mut_slice(vec![1; info.size()])
}

fn with_region(mut buffer: gst::Buffer, rect: (u32, u32, u32, u32)) -> gst::Buffer {
    VideoRegionOfInterestMeta::add(buffer.make_mut(), "person", rect);
    buffer
}

/// The element in front of somebody who takes any caps, as a file or an encoder would.
fn harness(info: &VideoInfo, style: &str) -> Harness {
    init();
    let mut harness = Harness::new("nvoverlay");
    let element = harness.element().expect("it has one");
    element.set_property_from_str("style", style);
    harness.set_src_caps(info.to_caps().expect("caps"));
    harness
}

/// The same, in front of somebody who draws overlays.
fn harness_that_draws(info: &VideoInfo, style: &str) -> Harness {
    init();
    let mut harness = Harness::new("nvoverlay");
    harness.element().expect("it has one").set_property_from_str("style", style);
    harness.add_propose_allocation_meta(VideoOverlayCompositionMeta::meta_api(), None);
    harness.set_sink_caps_str(&format!("video/x-raw({FEATURE}); video/x-raw"));
    harness.set_src_caps(info.to_caps().expect("caps"));
    harness
}

fn push(harness: &mut Harness, buffer: gst::Buffer) -> gst::Buffer {
    harness.push_and_pull(buffer).expect("a frame goes through")
}

/// The pixels whose first component is not 1.
fn changed(buffer: &gst::BufferRef, info: &VideoInfo) -> BTreeSet<(u32, u32)> {
    let frame = VideoFrameRef::from_buffer_ref_readable(buffer, info).expect("a frame");
    let format = info.format_info();
    let plane = format.plane()[0];
    let (first, step) = (format.poffset()[0] as usize, format.pixel_stride()[0] as usize);
    let stride = frame.plane_stride()[plane as usize] as usize;
    let data = frame.plane_data(plane).expect("a plane");
    let pixels = (0..info.height()).flat_map(|y| (0..info.width()).map(move |x| (x, y)));
    pixels.filter(|(x, y)| data[*y as usize * stride + *x as usize * step + first] != 1).collect()
}

fn outline((x, y, width, height): (u32, u32, u32, u32), line: u32) -> BTreeSet<(u32, u32)> {
    let inside = |at: u32, from: u32, length: u32| at >= from + line && at < from + length - line;
    let pixels = (y..y + height).flat_map(|row| (x..x + width).map(move |column| (column, row)));
    pixels.filter(|(column, row)| !(inside(*column, x, width) && inside(*row, y, height))).collect()
}

#[test]
fn pixels_change_on_the_box_and_nowhere_else_in_every_format() {
    for format in FORMATS.split_whitespace() {
        for (width, height) in [(64, 48), (65, 49)] {
            let info = info(format, width, height);
            let mut harness = harness(&info, BOXES);
            harness.element().expect("it has one").set_property("line-width", 2_u32);
            let rect = (8, 12, 24, 20);
            let drawn = push(&mut harness, with_region(frame(&info), rect));
            assert_eq!(changed(&drawn, &info), outline(rect, 2), "{format} {width}x{height}");
            assert_eq!(stat(&harness.element().expect("it has one"), "painted"), 1);
        }
    }
}

#[test]
fn colours_are_those_that_gstreamer_would_blend() {
    // It blends with one matrix, whatever the frame says.
    for format in ["I420", "NV12", "YUY2", "AYUV", "RGB", "BGRx", "ARGB"] {
        let mut info = info(format, 64, 48);
        if info.is_yuv() {
            let colorimetry = "bt709".parse().expect("a colorimetry");
            let builder = VideoInfo::builder(info.format(), 64, 48).colorimetry(&colorimetry);
            info = builder.fps(gst::Fraction::new(30, 1)).build().expect("a format");
        }
        // Where chroma is shared by several pixels, text has pixels of both colours in one sample.
        let style = if info.is_rgb() { "boxes+labels" } else { BOXES };
        let rect = (8, 12, 24, 20);
        let drawn = |mut harness: Harness| {
            harness.element().expect("it has one").set_property("line-width", 2_u32);
            push(&mut harness, with_region(frame(&info), rect))
        };
        let (ours, attached) = (drawn(harness(&info, style)), drawn(harness_that_draws(&info, style)));
        let overlay = attached.meta::<VideoOverlayCompositionMeta>().expect("an overlay").overlay_owned();
        let mut theirs = frame(&info);
        {
            let theirs = theirs.get_mut().expect("one owner");
            let mut theirs = VideoFrameRef::from_buffer_ref_writable(theirs, &info).expect("a frame");
            overlay.blend(&mut theirs).expect("it blends");
        }
        let (ours, theirs) = (ours.map_readable().expect("memory"), theirs.map_readable().expect("memory"));
        // The fourth byte of a pixel means nothing there.
        let is_shown = |at: usize| format != "BGRx" || at % 4 != 3;
        let differ =
            |(at, (ours, theirs)): &(usize, (&u8, &u8))| is_shown(*at) && ours.abs_diff(**theirs) > 6;
        let count = ours.iter().zip(theirs.iter()).enumerate().filter(differ).count();
        assert!(count * 200 <= ours.len(), "{format}: {count} of {} bytes", ours.len());
    }
}

#[test]
fn somebody_who_draws_overlays_gets_one_and_the_picture_stays() {
    let info = info("I420", 320, 240);
    let mut harness = harness_that_draws(&info, "boxes+labels");
    let frame = with_region(frame(&info), (100, 100, 50, 60));
    let drawn = push(&mut harness, frame);
    assert!(changed(&drawn, &info).is_empty());
    let overlay = drawn.meta::<VideoOverlayCompositionMeta>().expect("an overlay").overlay_owned();
    assert_eq!(overlay.n_rectangles(), 5, "four sides and a plate");
    let (x, y, width, _) = overlay.rectangle(0).expect("the first side").render_rectangle();
    assert_eq!((x, y, width), (100, 100, 50));
    let caps = harness.sinkpad().expect("a pad").current_caps().expect("caps");
    assert!(caps.features(0).expect("features").contains(FEATURE), "{caps}");
    assert_eq!(stat(&harness.element().expect("it has one"), "attached"), 1);
}

#[test]
fn a_steady_picture_is_one_overlay() {
    let info = info("I420", 320, 240);
    let mut harness = harness_that_draws(&info, "boxes+labels");
    let mut seqnum = || {
        let drawn = push(&mut harness, with_region(frame(&info), (100, 100, 50, 60)));
        drawn.meta::<VideoOverlayCompositionMeta>().expect("an overlay").overlay().seqnum()
    };
    assert_eq!(seqnum(), seqnum());
}

#[test]
fn an_overlay_of_somebody_else_stays_under_ours() {
    let info = info("I420", 320, 240);
    let mut harness = harness_that_draws(&info, BOXES);
    let first = push(&mut harness, with_region(frame(&info), (100, 100, 50, 60)));
    let again = push(&mut harness, first);
    let metas: Vec<_> = again.iter_meta::<VideoOverlayCompositionMeta>().collect();
    assert_eq!(metas.len(), 1);
    assert_eq!(metas[0].overlay().n_rectangles(), 8);
}

#[test]
fn somebody_who_only_says_so_in_caps_gets_a_painted_frame() {
    init();
    let info = info("I420", 64, 48);
    let mut harness = Harness::new("nvoverlay");
    harness.set_sink_caps_str(&format!("video/x-raw({FEATURE}); video/x-raw"));
    harness.set_src_caps(info.to_caps().expect("caps"));
    let drawn = push(&mut harness, with_region(frame(&info), (8, 12, 24, 20)));
    assert!(drawn.meta::<VideoOverlayCompositionMeta>().is_none());
    assert!(!changed(&drawn, &info).is_empty());
    let caps = harness.sinkpad().expect("a pad").current_caps().expect("caps");
    assert!(!caps.features(0).expect("features").contains(FEATURE), "{caps}");
}

#[test]
fn a_frame_without_regions_passes_untouched() {
    let info = info("NV12", 64, 48);
    for mut harness in [harness(&info, "boxes+labels+tails"), harness_that_draws(&info, "boxes+labels+tails")]
    {
        let frame = frame(&info);
        let before = frame.as_ptr();
        let passed = push(&mut harness, frame);
        assert_eq!(passed.as_ptr(), before, "the same buffer");
        assert!(changed(&passed, &info).is_empty());
        assert_eq!(stat(&harness.element().expect("it has one"), "untouched"), 1);
    }
}

#[test]
fn a_frame_that_somebody_else_holds_is_copied() {
    let info = info("RGB", 64, 48);
    let mut harness = harness(&info, BOXES);
    let held = with_region(frame(&info), (8, 12, 24, 20));
    let drawn = push(&mut harness, held.clone());
    assert!(changed(&held, &info).is_empty() && !changed(&drawn, &info).is_empty());
}

#[test]
fn small_frames_have_boxes() {
    for format in ["I420", "GRAY8", "BGRx"] {
        for side in [1, 2, 3, 16] {
            let info = info(format, side, side);
            let mut harness = harness(&info, "boxes+labels+ids+tails+attributes+status");
            let drawn = push(&mut harness, with_region(frame(&info), (0, 0, side, side)));
            assert!(!changed(&drawn, &info).is_empty(), "{format} {side}");
        }
    }
}

#[test]
fn a_frame_that_cannot_be_drawn_on_goes_on() {
    let info = info("I420", 64, 48);
    let mut harness = harness(&info, BOXES);
    let short = gst::Buffer::from_mut_slice(vec![1_u8; 100]);
    let passed = push(&mut harness, with_region(short, (8, 12, 24, 20)));
    assert_eq!(passed.size(), 100);
    let mut lying = frame(&info);
    let (far, strides) = ([0, 1 << 40, 1 << 41], [64, 32, 32]);
    // Its planes lie outside of its memory, or its rows run backwards.
    VideoMeta::add_full(
        lying.make_mut(),
        gst_video::VideoFrameFlags::empty(),
        VideoFormat::I420,
        64,
        48,
        &far,
        &strides,
    )
    .ok();
    let lies = lying.meta::<VideoMeta>().is_some();
    push(&mut harness, with_region(lying, (8, 12, 24, 20)));
    let mut other = frame(&info);
    let flags = gst_video::VideoFrameFlags::empty();
    VideoMeta::add(other.make_mut(), flags, VideoFormat::Gray8, 64, 48).expect("a meta");
    push(&mut harness, with_region(other, (8, 12, 24, 20)));
    assert_eq!(stat(&harness.element().expect("it has one"), "failed"), 2 + u64::from(lies));
}

#[test]
fn padded_rows_are_followed() {
    let info = info("GRAY8", 10, 10);
    let mut harness = harness(&info, BOXES);
    harness.element().expect("it has one").set_property("line-width", 1_u32);
    let mut padded = gst::Buffer::from_mut_slice(vec![1_u8; 7 + 32 * 10]);
    let flags = gst_video::VideoFrameFlags::empty();
    VideoMeta::add_full(padded.make_mut(), flags, VideoFormat::Gray8, 10, 10, &[7], &[32]).expect("a meta");
    let drawn = push(&mut harness, with_region(padded, (2, 2, 5, 5)));
    assert_eq!(changed(&drawn, &info), outline((2, 2, 5, 5), 1));
    let memory = drawn.map_readable().expect("memory");
    assert_eq!(memory.iter().filter(|level| **level != 1).count(), 16, "nothing between the rows");
}

#[test]
fn whatever_stands_on_a_frame_is_survived() {
    let info = info("NV12", 64, 48);
    let mut harness = harness(&info, "boxes+labels+ids+tails+attributes+status");
    for number in [f64::NAN, f64::INFINITY, -1e300, 1e300] {
        let mut buffer = frame(&info);
        for rect in [(0, 0, 0, 0), (u32::MAX, u32::MAX, u32::MAX, u32::MAX), (10, 10, 20, 20)] {
            let mut region = VideoRegionOfInterestMeta::add(buffer.make_mut(), "", rect);
            let detection = gst::Structure::builder("detection").field("confidence", number);
            let detection = detection.field("x_min", number).field("y_min", 0.1).field("x_max", 0.5);
            region.add_param(detection.field("y_max", 0.5).field("label", 7).field("label_id", -3).build());
            region.add_param(gst::Structure::builder("object_id").field("id", "seven").build());
            region.add_param(gst::Structure::builder("classification").field("confidence", number).build());
        }
        push(&mut harness, buffer);
    }
    let mut crowd = frame(&info);
    for _ in 0..5000 {
        VideoRegionOfInterestMeta::add(crowd.make_mut(), "person", (1, 1, 30, 30));
    }
    push(&mut harness, crowd);
    assert!(stat(&harness.element().expect("it has one"), "left-out") > 3000);
    assert_eq!(stat(&harness.element().expect("it has one"), "failed"), 0);
}

#[test]
fn the_style_may_change_while_playing() {
    let info = info("I420", 64, 48);
    let mut harness = harness(&info, BOXES);
    let region = (8, 12, 24, 20);
    assert!(!changed(&push(&mut harness, with_region(frame(&info), region)), &info).is_empty());
    harness.element().expect("it has one").set_property_from_str("style", "status");
    assert!(changed(&push(&mut harness, with_region(frame(&info), region)), &info).is_empty());
}

#[test]
fn a_track_that_moves_leaves_a_tail() {
    let info = info("GRAY8", 320, 240);
    let mut harness = harness(&info, "tails");
    let mut last = 0;
    for step in 0..4 {
        let mut buffer = frame(&info);
        let rect = (50 + 20 * step, 50, 40, 80);
        let mut region = VideoRegionOfInterestMeta::add(buffer.make_mut(), "person", rect);
        region.add_param(gst::Structure::builder("object_id").field("id", 7).build());
        let drawn = changed(&push(&mut harness, buffer), &info);
        assert!(drawn.len() >= last, "{step}");
        assert!(drawn.iter().all(|(_, y)| (125..135).contains(y)), "at the feet");
        last = drawn.len();
    }
    assert!(last > 60, "{last}");
}

#[test]
fn frames_of_a_batch_get_the_name_of_their_feed() {
    let model = tiny_model("brightest");
    let pipeline = launch(&format!(
        "nvbatcher name=b sink_0::feed-id=door ! nvinference model={model} ! nvunbatcher name=u \
         videotestsrc num-buffers=5 ! video/x-raw,format=GRAY8,width=320,height=240 ! b.sink_0 \
         u.src_0 ! nvoverlay name=o style=status ! fakesink"
    ));
    let overlay = pipeline.by_name("o").expect("it is there");
    run_to_eos(&pipeline);
    assert_eq!((stat(&overlay, "frames"), stat(&overlay, "painted")), (5, 5));
}

#[test]
fn caps_of_another_kind_are_refused() {
    let pipeline = launch("videotestsrc num-buffers=1 ! video/x-raw,format=NV12 ! nvoverlay ! fakesink");
    run_to_eos(&pipeline);
    init();
    let wrong = "videotestsrc ! video/x-raw,format=GRAY16_LE ! nvoverlay ! fakesink";
    assert!(gst::parse::launch_full(wrong, None, gst::ParseFlags::FATAL_ERRORS).is_err());
}

#[test]
fn every_format_of_the_template_is_tested() {
    init();
    let factory = gst::ElementFactory::find("nvoverlay").expect("it is registered");
    let template = factory.static_pad_templates().iter().next().expect("a pad").caps();
    let formats = template.structure(0).expect("a structure").get::<gst::List>("format").expect("a list");
    let formats: BTreeSet<_> = formats.iter().map(|format| format.get::<String>().expect("a name")).collect();
    assert_eq!(formats, FORMATS.split_whitespace().map(str::to_owned).collect());
}
