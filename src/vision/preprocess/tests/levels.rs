//! Every set of instructions against the reference, and the parts of the plan that choose between kernels.

use super::reference::{BT601, TestFrame, is_yuv};
use super::*;

/// What each kind of processor that this one can stand in for has, nothing at all first.
fn levels() -> Vec<Level> {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    let older = {
        let best = Level::new();
        let sse2 = best.as_sse2().map(Simd::level);
        let sse4 = best.as_sse4_2().map(Simd::level);
        let avx2 = best.as_avx2().map(Simd::level);
        [sse2, sse4, avx2].into_iter().flatten()
    };
    #[cfg(not(any(target_arch = "x86", target_arch = "x86_64")))]
    let older = std::iter::empty();
    std::iter::once(Level::fallback()).chain(older).chain([Level::new()]).collect()
}

/// A half has 11 significant bits, so a level below 256 is off by at most a sixteenth.
const HALF_TOLERANCE: f64 = 1.0 / 16.0 + LEVEL_TOLERANCE;

fn assert_level_equals_reference(level: Level, frame: &TestFrame, model: Size, layout: Layout) {
    let spec = levels_spec(model, layout);
    let mut preprocessor = Preprocessor::with_level(spec, level).unwrap();
    let mut floats = vec![f32::NAN; 3 * area(model)];
    let mut halves = vec![f16::NAN; 3 * area(model)];
    let mut bytes = vec![0; 3 * area(model)];
    preprocessor.fill(&frame.view(), Slot::F32(&mut floats)).unwrap();
    preprocessor.fill(&frame.view(), Slot::F16(&mut halves)).unwrap();
    preprocessor.fill(&frame.view(), Slot::U8(&mut bytes)).unwrap();
    assert_matches(frame, model, &pixels(&floats, layout), LEVEL_TOLERANCE);
    assert_matches(frame, model, &pixels(&halves, layout), HALF_TOLERANCE);
    assert_matches(frame, model, &pixels(&bytes, layout), BYTE_TOLERANCE);
}

#[test]
fn every_format_matches_the_reference_at_every_level() {
    // Down by more than a window holds, down, by a half, by nothing, and up.
    for (frame, model) in [
        ((333, 21), (40, 30)),
        ((90, 33), (37, 37)),
        ((64, 32), (32, 32)),
        ((21, 13), (21, 13)),
        ((9, 7), (40, 40)),
    ] {
        let (frame, model) = (Size::new(frame.0, frame.1), Size::new(model.0, model.1));
        for (turn, format) in PixelFormat::ALL.into_iter().enumerate() {
            let frame = TestFrame::noise(format, frame, 5, turn as u32);
            for level in levels() {
                for layout in [Layout::Nchw, Layout::Nhwc] {
                    assert_level_equals_reference(level, &frame, model, layout);
                }
            }
        }
    }
}

/// Frames as wide as it takes for all ways to get at the taps.
fn wide_frames() -> impl Strategy<Value = TestFrame> {
    let colorimetry =
        (prop::sample::select(&MATRICES), prop::sample::select(&RANGES), prop::sample::select(&SITES))
            .prop_map(|(matrix, range, chroma)| Colorimetry { matrix, range, chroma });
    let format = prop::sample::select(&PixelFormat::ALL);
    (format, 1u32..500, 1u32..30, 0usize..70, any::<u32>(), colorimetry).prop_map(
        |(format, width, height, slack, seed, colorimetry)| {
            TestFrame::noise(format, Size::new(width, height), slack, seed).with_colorimetry(colorimetry)
        },
    )
}

proptest! {
    #[test]
    fn any_wide_frame_matches_the_reference_at_any_level(
        frame in wide_frames(),
        (width, height) in (1u32..70, 1u32..40),
        layout in prop::sample::select(&[Layout::Nchw, Layout::Nhwc]),
        level in prop::sample::select(levels()),
    ) {
        assert_level_equals_reference(level, &frame, Size::new(width, height), layout);
    }
}

/// Black and white columns and rows, the worst case for every weight that is rounded.
#[test]
fn the_sharpest_edges_match_the_reference_at_every_level() {
    for format in PixelFormat::ALL {
        for (width, height) in [(101, 47), (64, 64), (13, 9)] {
            let mut frame = TestFrame::noise(format, Size::new(width, height), 0, 1);
            for (bytes, _) in &mut frame.planes {
                for byte in bytes.iter_mut() {
                    *byte = if *byte < 128 { 0 } else { 255 };
                }
            }
            for matrix in MATRICES.into_iter().take(if is_yuv(format) { 3 } else { 1 }) {
                let frame = frame.clone().with_colorimetry(Colorimetry { matrix, ..BT601 });
                for level in levels() {
                    assert_level_equals_reference(level, &frame, Size::new(31, 31), Layout::Nchw);
                }
            }
        }
    }
}

#[test]
fn a_negative_deviation_turns_the_bounds_round() {
    let normalize = Normalize { order: ChannelOrder::Rgb, mean: [255.0; 3], std: [-255.0; 3] };
    let frame = TestFrame::solid(PixelFormat::I420, Size::new(8, 8), [16, 128, 128]);
    for level in levels() {
        let mut image = vec![f32::NAN; 3 * 16];
        let spec = spec(Size::new(4, 4), Layout::Nchw, normalize);
        let mut preprocessor = Preprocessor::with_level(spec, level).unwrap();
        preprocessor.fill(&frame.view(), Slot::F32(&mut image)).unwrap();
        assert!(image.iter().all(|value| (value - 1.0).abs() < 1e-5), "{level:?}: {image:?}");
    }
}

#[test]
fn a_preprocessor_may_work_on_any_thread() {
    fn assert_send<T: Send>() {}
    assert_send::<Preprocessor>();
}
