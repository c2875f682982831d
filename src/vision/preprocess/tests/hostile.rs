//! Input that is wrong: refused with both numbers, or handled, and never a panic.

use super::reference::{BT601, TestFrame, plane_shapes};
use super::*;

fn view<'a>(
    format: PixelFormat,
    size: Size,
    planes: &[(&'a [u8], usize)],
) -> Result<FrameView<'a>, FrameError> {
    let planes: Vec<_> = planes.iter().map(|&(data, stride)| Plane { data, stride }).collect();
    FrameView::new(format, size, &planes, BT601)
}

#[test]
fn frames_without_pixels_or_with_absurd_sides_are_refused() {
    for (width, height) in [(0, 0), (0, 4), (4, 0), (32_769, 1), (1, 65_535), (u32::MAX, u32::MAX)] {
        let size = Size::new(width, height);
        for format in PixelFormat::ALL {
            assert_eq!(view(format, size, &[]).unwrap_err(), FrameError::Size(size));
        }
    }
}

#[test]
fn a_wrong_number_of_planes_is_refused() {
    let plane: (&[u8], usize) = (&[0; 64], 8);
    for format in PixelFormat::ALL {
        let expected = format.plane_count();
        for found in (0..5).filter(|&found| found != expected) {
            let error = view(format, Size::new(4, 4), &vec![plane; found]).unwrap_err();
            assert_eq!(error, FrameError::PlaneCount { format, expected, found });
        }
    }
    let error = view(PixelFormat::Nv12, Size::new(4, 4), &[plane]).unwrap_err();
    assert_eq!(error.to_string(), "Nv12 frame: expected 2 planes, found 1");
}

#[test]
fn memory_that_ends_one_byte_early_is_refused_in_every_plane() {
    for format in PixelFormat::ALL {
        for size in [Size::new(6, 4), Size::new(5, 3), Size::new(1, 1)] {
            let frame = TestFrame::noise(format, size, 3, 1);
            for plane in 0..frame.planes.len() {
                let mut planes: Vec<_> =
                    frame.planes.iter().map(|(data, stride)| (data.as_slice(), *stride)).collect();
                let expected = planes[plane].0.len();
                planes[plane].0 = &planes[plane].0[..expected - 1];
                let error = view(format, size, &planes).unwrap_err();
                assert_eq!(error, FrameError::Length { format, plane, expected, found: expected - 1 });
            }
        }
    }
}

#[test]
fn a_stride_shorter_than_a_row_is_refused() {
    for format in PixelFormat::ALL {
        let size = Size::new(5, 3);
        let memory = vec![0; 1000];
        let shapes = plane_shapes(format, size);
        for (plane, &(expected, _)) in shapes.iter().enumerate() {
            let mut planes: Vec<_> = shapes.iter().map(|&(bytes, _)| (memory.as_slice(), bytes)).collect();
            planes[plane].1 = expected - 1;
            let error = view(format, size, &planes).unwrap_err();
            assert_eq!(error, FrameError::Stride { format, plane, expected, found: expected - 1 });
        }
    }
}

#[test]
fn a_stride_that_overflows_is_refused() {
    let error = view(PixelFormat::Gray8, Size::new(4, 4), &[(&[0; 64], usize::MAX)]).unwrap_err();
    let expected = usize::MAX;
    assert_eq!(error, FrameError::Length { format: PixelFormat::Gray8, plane: 0, expected, found: 64 });
    // One row needs no stride, however odd it is.
    assert!(view(PixelFormat::Gray8, Size::new(4, 1), &[(&[0; 4], usize::MAX)]).is_ok());
}

#[test]
fn a_slot_of_another_length_is_refused_and_left_alone() {
    let frame = TestFrame::noise(PixelFormat::I420, Size::new(8, 8), 0, 1);
    let size = Size::new(4, 6);
    let mut preprocessor = Preprocessor::new(levels_spec(size, Layout::Nchw)).unwrap();
    for found in [0, 71, 73, 144] {
        let (mut bytes, mut floats) = (vec![7; found], vec![7.0; found]);
        let expected = Err(PreprocessError::SlotLength { expected: 72, found, size });
        assert_eq!(preprocessor.fill(&frame.view(), Slot::U8(&mut bytes)), expected);
        assert_eq!(preprocessor.fill(&frame.view(), Slot::F32(&mut floats)), expected);
        assert!(bytes.iter().all(|&byte| byte == 7) && floats.iter().all(|&value| value == 7.0));
    }
    let error = preprocessor.fill(&frame.view(), Slot::F16(&mut [])).unwrap_err();
    assert_eq!(error.to_string(), "tensor slot: expected 72 elements for 3x6x4, found 0");
}

#[test]
fn a_model_image_without_pixels_or_with_absurd_sides_is_refused() {
    for (width, height) in [(0, 0), (0, 320), (320, 0), (u32::MAX, u32::MAX)] {
        let size = Size::new(width, height);
        let error = Preprocessor::new(levels_spec(size, Layout::Nchw)).unwrap_err();
        assert_eq!(error, PreprocessError::Letterbox(LetterboxError::ModelSize(size)));
    }
}

#[test]
fn a_normalisation_that_makes_no_number_is_refused() {
    for (mean, std) in [
        (0.0, 0.0),
        (0.0, -0.0),
        (0.0, f32::NAN),
        (0.0, f32::INFINITY),
        (0.0, f32::from_bits(1)),
        (f32::NAN, 1.0),
        (f32::NEG_INFINITY, 1.0),
    ] {
        let mut normalize = Normalize::UNIT_RGB;
        normalize.mean[1] = mean;
        normalize.std[1] = std;
        let error = Preprocessor::new(spec(Size::new(4, 4), Layout::Nchw, normalize)).unwrap_err();
        assert!(matches!(error, PreprocessError::Normalize { channel: 1, .. }), "{error}");
    }
}

#[test]
fn a_fill_touches_its_slot_only_and_all_of_it() {
    let size = Size::new(7, 9);
    let image_len = 3 * area(size);
    for format in PixelFormat::ALL {
        for frame_size in [Size::new(20, 10), Size::new(10, 20), Size::new(7, 9)] {
            for layout in [Layout::Nchw, Layout::Nhwc] {
                let frame = TestFrame::noise(format, frame_size, 1, 2);
                let mut preprocessor = Preprocessor::new(levels_spec(size, layout)).unwrap();
                let mut batch = vec![f32::NAN; 3 * image_len];
                let slot = &mut batch[image_len..2 * image_len];
                preprocessor.fill(&frame.view(), Slot::F32(slot)).unwrap();
                for (index, value) in batch.iter().enumerate() {
                    let is_ours = (image_len..2 * image_len).contains(&index);
                    assert_eq!(is_ours, !value.is_nan(), "element {index}, {format:?}, {layout:?}");
                }
            }
        }
    }
}

#[test]
fn bytes_between_the_rows_are_never_seen() {
    let size = Size::new(13, 9);
    for format in PixelFormat::ALL {
        let color = [130, 140, 150];
        let frame = TestFrame::solid(format, size, color);
        // `solid` leaves noise between the rows: it would show in a solid image.
        let image = filled_u8(levels_spec(Size::new(32, 32), Layout::Nhwc), &frame);
        let first = 3 * 32 * 16;
        for pixel in image[first..first + 3 * 32].chunks(3) {
            assert_eq!(pixel, &image[first..first + 3], "{format:?}");
        }
    }
}
