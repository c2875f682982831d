//! The fused path against the plain reference, known colours, and hostile input.

mod hostile;
mod levels;
mod reference;

use super::*;
use proptest::prelude::*;
use reference::{BT601, TestFrame, is_yuv};

/// How far a level may be off; one is promised. A component is off by at most 1/128 by the blend of the rows and
/// 1/100 by the rounded weights, and the colour matrix adds up to 1.2 times luma and 2.2 times chroma. Bytes may be
/// off by their rounding on top.
const LEVEL_TOLERANCE: f64 = 0.06;
const BYTE_TOLERANCE: f64 = 0.5 + LEVEL_TOLERANCE;

const SITES: [ChromaSite; 3] = [ChromaSite::MPEG2, ChromaSite::JPEG, ChromaSite::COSITED];
const MATRICES: [Matrix; 3] = [Matrix::Bt601, Matrix::Bt709, Matrix::Bt2020];
const RANGES: [Range; 2] = [Range::Limited, Range::Full];

fn spec(size: Size, layout: Layout, normalize: Normalize) -> InputSpec {
    InputSpec { layout, size, normalize, pad: PAD_LEVEL }
}

fn levels_spec(size: Size, layout: Layout) -> InputSpec {
    spec(size, layout, Normalize::LEVELS_RGB)
}

fn area(size: Size) -> usize {
    size.width as usize * size.height as usize
}

fn filled_f32(spec: InputSpec, frame: &TestFrame) -> Vec<f32> {
    let mut image = vec![f32::NAN; 3 * area(spec.size)];
    Preprocessor::new(spec).unwrap().fill(&frame.view(), Slot::F32(&mut image)).unwrap();
    image
}

fn filled_f16(spec: InputSpec, frame: &TestFrame) -> Vec<f16> {
    let mut image = vec![f16::NAN; 3 * area(spec.size)];
    Preprocessor::new(spec).unwrap().fill(&frame.view(), Slot::F16(&mut image)).unwrap();
    image
}

fn filled_u8(spec: InputSpec, frame: &TestFrame) -> Vec<u8> {
    let mut image = vec![0; 3 * area(spec.size)];
    Preprocessor::new(spec).unwrap().fill(&frame.view(), Slot::U8(&mut image)).unwrap();
    image
}

/// The channels of each pixel of an image.
fn pixels<T: Copy>(image: &[T], layout: Layout) -> Vec<[T; 3]> {
    let area = image.len() / 3;
    (0..area)
        .map(|pixel| match layout {
            Layout::Nchw => [image[pixel], image[area + pixel], image[2 * area + pixel]],
            Layout::Nhwc => [image[3 * pixel], image[3 * pixel + 1], image[3 * pixel + 2]],
        })
        .collect()
}

/// Panics unless `image` is the reference's picture of `frame`, padding exact.
fn assert_matches<T: Copy + Into<f64>>(frame: &TestFrame, model: Size, image: &[[T; 3]], tolerance: f64) {
    let expected = frame.letterboxed(model);
    assert_eq!(expected.len(), image.len());
    for (index, (expected, found)) in expected.iter().zip(image).enumerate() {
        let found = found.map(Into::into);
        let (expected, tolerance) =
            expected.map_or(([f64::from(PAD_LEVEL); 3], 0.0), |levels| (levels, tolerance));
        let off = expected.iter().zip(found).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(
            off <= tolerance,
            "pixel {index} of {model:?} from {:?} {:?} {:?}: expected {expected:?}, found {found:?}",
            frame.format,
            frame.size,
            frame.colorimetry,
        );
    }
}

fn assert_fused_equals_reference(frame: &TestFrame, model: Size, layout: Layout) {
    let spec = levels_spec(model, layout);
    assert_matches(frame, model, &pixels(&filled_f32(spec, frame), layout), LEVEL_TOLERANCE);
    assert_matches(frame, model, &pixels(&filled_u8(spec, frame), layout), BYTE_TOLERANCE);
}

/// Every format at one frame and model size, colorimetries and strides taken in turn.
fn assert_every_format_matches(frame: (u32, u32), model: (u32, u32)) {
    let (frame, model) = (Size::new(frame.0, frame.1), Size::new(model.0, model.1));
    for (turn, format) in PixelFormat::ALL.into_iter().enumerate() {
        let sites = if is_yuv(format) { &SITES[..] } else { &SITES[..1] };
        for (site, &chroma) in sites.iter().enumerate() {
            let turn = turn + site;
            let colorimetry = Colorimetry { matrix: MATRICES[turn % 3], range: RANGES[turn % 2], chroma };
            let layout = if turn % 2 == 0 { Layout::Nchw } else { Layout::Nhwc };
            let noise = TestFrame::noise(format, frame, 13 * (turn % 3), turn as u32);
            assert_fused_equals_reference(&noise.with_colorimetry(colorimetry), model, layout);
        }
    }
}

#[test]
fn every_format_scaled_down_matches_the_reference() {
    assert_every_format_matches((128, 72), (32, 32));
    assert_every_format_matches((70, 50), (64, 40));
}

#[test]
fn every_format_scaled_up_matches_the_reference() {
    assert_every_format_matches((16, 12), (50, 40));
}

#[test]
fn every_format_unscaled_matches_the_reference() {
    assert_every_format_matches((24, 18), (24, 18));
    assert_every_format_matches((24, 18), (24, 24));
}

#[test]
fn every_format_of_odd_size_matches_the_reference() {
    assert_every_format_matches((33, 17), (20, 20));
    assert_every_format_matches((7, 5), (21, 18));
}

#[test]
fn every_format_of_thin_frames_matches_the_reference() {
    assert_every_format_matches((301, 3), (32, 32));
    assert_every_format_matches((3, 301), (32, 32));
    assert_every_format_matches((1, 9), (8, 8));
    assert_every_format_matches((9, 1), (8, 8));
    assert_every_format_matches((1000, 1), (16, 16));
}

#[test]
fn every_format_of_tiny_frames_matches_the_reference() {
    assert_every_format_matches((1, 1), (8, 6));
    assert_every_format_matches((2, 2), (5, 5));
    assert_every_format_matches((64, 64), (1, 1));
}

fn frames() -> impl Strategy<Value = TestFrame> {
    let colorimetry =
        (prop::sample::select(&MATRICES), prop::sample::select(&RANGES), prop::sample::select(&SITES))
            .prop_map(|(matrix, range, chroma)| Colorimetry { matrix, range, chroma });
    let format = prop::sample::select(&PixelFormat::ALL);
    (format, 1u32..40, 1u32..40, 0usize..9, any::<u32>(), colorimetry).prop_map(
        |(format, width, height, slack, seed, colorimetry)| {
            TestFrame::noise(format, Size::new(width, height), slack, seed).with_colorimetry(colorimetry)
        },
    )
}

proptest! {
    #[test]
    fn any_frame_matches_the_reference(
        frame in frames(),
        (width, height) in (1u32..24, 1u32..24),
        layout in prop::sample::select(&[Layout::Nchw, Layout::Nhwc]),
    ) {
        assert_fused_equals_reference(&frame, Size::new(width, height), layout);
    }
}

#[test]
fn unscaled_rgb_is_copied_exactly() {
    let size = Size::new(19, 13);
    let frame = TestFrame::noise(PixelFormat::Rgb, size, 3, 7)
        .with_colorimetry(Colorimetry { range: Range::Full, ..BT601 });
    let image = filled_u8(levels_spec(size, Layout::Nhwc), &frame);
    let (bytes, stride) = &frame.planes[0];
    let packed: Vec<u8> = bytes.chunks(*stride).flat_map(|row| &row[..19 * 3]).copied().collect();
    assert_eq!(image, packed);
}

/// Colours as R, G, B with their levels in a colorimetry (Y, Cb, Cr from the standards, rounded).
type KnownColors = [([u8; 3], [u8; 3]); 5];

const KNOWN_BT601_LIMITED: KnownColors = [
    ([255, 0, 0], [81, 90, 240]),
    ([0, 255, 0], [145, 54, 34]),
    ([0, 0, 255], [41, 240, 110]),
    ([255, 255, 255], [235, 128, 128]),
    ([0, 0, 0], [16, 128, 128]),
];
const KNOWN_BT709_LIMITED: KnownColors = [
    ([255, 0, 0], [63, 102, 240]),
    ([0, 255, 0], [173, 42, 26]),
    ([0, 0, 255], [32, 240, 118]),
    ([255, 255, 255], [235, 128, 128]),
    ([0, 0, 0], [16, 128, 128]),
];
const KNOWN_BT601_FULL: KnownColors = [
    ([255, 0, 0], [76, 85, 255]),
    ([0, 255, 0], [150, 44, 21]),
    ([0, 0, 255], [29, 255, 107]),
    ([255, 255, 255], [255, 128, 128]),
    ([0, 0, 0], [0, 128, 128]),
];
const KNOWN_BT709_FULL: KnownColors = [
    ([255, 0, 0], [54, 99, 255]),
    ([0, 255, 0], [182, 30, 12]),
    ([0, 0, 255], [18, 255, 116]),
    ([255, 255, 255], [255, 128, 128]),
    ([0, 0, 0], [0, 128, 128]),
];

#[test]
fn pure_colours_come_out_pure() {
    for (matrix, range, known) in [
        (Matrix::Bt601, Range::Limited, KNOWN_BT601_LIMITED),
        (Matrix::Bt709, Range::Limited, KNOWN_BT709_LIMITED),
        (Matrix::Bt601, Range::Full, KNOWN_BT601_FULL),
        (Matrix::Bt709, Range::Full, KNOWN_BT709_FULL),
    ] {
        for (rgb, yuv) in known {
            for format in PixelFormat::ALL.into_iter().filter(|&format| is_yuv(format)) {
                let frame = TestFrame::solid(format, Size::new(12, 8), yuv).with_colorimetry(Colorimetry {
                    matrix,
                    range,
                    ..BT601
                });
                let image = filled_u8(levels_spec(Size::new(6, 4), Layout::Nhwc), &frame);
                for (found, expected) in image.iter().zip(rgb.iter().cycle()) {
                    assert!(
                        found.abs_diff(*expected) <= 2,
                        "{rgb:?} as {yuv:?} in {format:?} {matrix:?} {range:?} came out as {:?}",
                        &image[..3],
                    );
                }
            }
        }
    }
}

#[test]
fn limited_range_grey_and_rgb_are_expanded_to_full() {
    for format in [PixelFormat::Gray8, PixelFormat::Rgb, PixelFormat::Xbgr] {
        for (level, expected) in [(16, 0), (235, 255), (0, 0), (255, 255)] {
            let frame = TestFrame::solid(format, Size::new(4, 4), [level; 3]);
            let image = filled_u8(levels_spec(Size::new(2, 2), Layout::Nchw), &frame);
            assert_eq!(image, [expected; 12], "{format:?} level {level}");
        }
    }
}

#[test]
fn solid_frame_gives_a_solid_image_and_exact_padding() {
    let normalize =
        Normalize { order: ChannelOrder::Bgr, mean: [103.53, 116.28, 123.675], std: [57.375, 57.12, 58.395] };
    let model = Size::new(20, 20);
    let color = [200, 100, 50];
    for format in [PixelFormat::Rgb, PixelFormat::Bgrx, PixelFormat::Argb] {
        let frame = TestFrame::solid(format, Size::new(30, 15), color)
            .with_colorimetry(Colorimetry { range: Range::Full, ..BT601 });
        let image = pixels(&filled_f32(spec(model, Layout::Nchw, normalize), &frame), Layout::Nchw);
        let values = |levels: [f32; 3]| -> [f32; 3] {
            std::array::from_fn(|i| (levels[i] - normalize.mean[i]) / normalize.std[i])
        };
        let (padding, solid) = (values([114.0; 3]), values([50.0, 100.0, 200.0]));
        for (index, pixel) in image.iter().enumerate() {
            let expected = if (5..15).contains(&(index / 20)) { solid } else { padding };
            let off = pixel.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(off < 1e-5, "pixel {index}: expected {expected:?}, found {pixel:?}");
        }
    }
}

#[test]
fn unit_rgb_puts_black_at_zero_and_white_at_one() {
    for (level, expected) in [(16, 0.0), (235, 1.0)] {
        let frame = TestFrame::solid(PixelFormat::I420, Size::new(8, 8), [level, 128, 128]);
        let image = filled_f32(spec(Size::new(4, 4), Layout::Nchw, Normalize::UNIT_RGB), &frame);
        assert!(image.iter().all(|value| (value - expected).abs() < 1e-5), "{image:?}");
    }
}

#[test]
fn layouts_hold_the_same_values() {
    let model = Size::new(17, 14);
    let normalize = Normalize { order: ChannelOrder::Bgr, mean: [1.0, 2.0, 3.0], std: [50.0, 60.0, 70.0] };
    for format in PixelFormat::ALL {
        let frame = TestFrame::noise(format, Size::new(31, 11), 2, 3);
        let [nchw, nhwc] = [Layout::Nchw, Layout::Nhwc].map(|layout| {
            let spec = spec(model, layout, normalize);
            let halves: Vec<f32> = filled_f16(spec, &frame).into_iter().map(f32::from).collect();
            (
                pixels(&filled_f32(spec, &frame), layout),
                pixels(&halves, layout),
                pixels(&filled_u8(spec, &frame), layout),
            )
        });
        assert!(nchw == nhwc, "{format:?}");
    }
}

#[test]
fn half_precision_is_the_rounded_single_precision() {
    for format in PixelFormat::ALL {
        let frame = TestFrame::noise(format, Size::new(23, 31), 0, 9);
        let spec = spec(Size::new(18, 18), Layout::Nchw, Normalize::UNIT_RGB);
        let rounded: Vec<f16> = filled_f32(spec, &frame).into_iter().map(f16::from_f32).collect();
        assert!(filled_f16(spec, &frame) == rounded, "{format:?}");
    }
}

#[test]
fn byte_slots_ignore_the_normalisation_but_not_the_channel_order() {
    let frame = TestFrame::solid(PixelFormat::Rgb, Size::new(4, 4), [10, 20, 30])
        .with_colorimetry(Colorimetry { range: Range::Full, ..BT601 });
    let normalize = Normalize { order: ChannelOrder::Bgr, mean: [9.0; 3], std: [3.0; 3] };
    let image = filled_u8(spec(Size::new(2, 2), Layout::Nhwc, normalize), &frame);
    assert_eq!(image, [30, 20, 10].repeat(4));
}

#[test]
fn a_fill_depends_on_nothing_that_was_filled_before() {
    let model = Size::new(20, 16);
    let spec = levels_spec(model, Layout::Nhwc);
    let mut reused = Preprocessor::new(spec).unwrap();
    let frames = [
        TestFrame::noise(PixelFormat::I420, Size::new(40, 30), 0, 1),
        // The same kind of frame with other pixels: nothing gathered before may be used again.
        TestFrame::noise(PixelFormat::I420, Size::new(40, 30), 8, 2),
        TestFrame::noise(PixelFormat::I420, Size::new(40, 30), 8, 2)
            .with_colorimetry(Colorimetry { chroma: ChromaSite::COSITED, ..BT601 }),
        TestFrame::noise(PixelFormat::Nv12, Size::new(40, 30), 0, 3),
        TestFrame::noise(PixelFormat::Nv12, Size::new(30, 40), 0, 4),
        TestFrame::noise(PixelFormat::Gray8, Size::new(9, 2), 0, 5),
        TestFrame::noise(PixelFormat::Bgra, Size::new(9, 2), 0, 6),
        // One source row enlarged: upper and lower tap are the same row.
        TestFrame::noise(PixelFormat::Bgra, Size::new(9, 1), 0, 7),
        TestFrame::noise(PixelFormat::Bgra, Size::new(9, 1), 0, 8),
    ];
    for frame in &frames {
        let mut image = vec![f32::NAN; 3 * area(model)];
        let placed = reused.fill(&frame.view(), Slot::F32(&mut image)).unwrap();
        assert_eq!(placed, Letterbox::new(frame.size, model).unwrap());
        assert_eq!(image, filled_f32(spec, frame));
    }
}
