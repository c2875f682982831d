//! How long fused pre-processing takes, against a straightforward two-pass one in the same run.
//!
//! `cargo bench --bench preprocess` prints, per format, the median time of one 1280x720 frame into a
//! 320x320 `f32` tensor. Nothing is asserted: machines differ, the ratio is what to look at.

use gstnextvision::vision::Size;
use gstnextvision::vision::letterbox::Letterbox;
use gstnextvision::vision::preprocess::{
    ChromaSite, Colorimetry, FrameView, InputSpec, Layout, Matrix, Normalize, PAD_LEVEL, PixelFormat, Plane,
    Preprocessor, Range, Slot,
};
use std::hint::black_box;
use std::time::{Duration, Instant};

const FRAME: Size = Size::new(1280, 720);
const MODEL: Size = Size::new(320, 320);
const COLORIMETRY: Colorimetry =
    Colorimetry { matrix: Matrix::Bt709, range: Range::Limited, chroma: ChromaSite::MPEG2 };

/// Bytes of a row and rows of each plane of a frame of even size.
fn plane_shapes(format: PixelFormat) -> Vec<(usize, usize)> {
    let (width, height) = (FRAME.width as usize, FRAME.height as usize);
    match format {
        PixelFormat::I420 | PixelFormat::Yv12 => {
            vec![(width, height), (width / 2, height / 2), (width / 2, height / 2)]
        }
        PixelFormat::Nv12 | PixelFormat::Nv21 => vec![(width, height), (width, height / 2)],
        PixelFormat::Yuy2 | PixelFormat::Uyvy => vec![(2 * width, height)],
        PixelFormat::Gray8 => vec![(width, height)],
        PixelFormat::Rgb | PixelFormat::Bgr => vec![(3 * width, height)],
        _ => vec![(4 * width, height)],
    }
}

/// The components of one pixel: Y, U, V for I420 and NV12, the first three bytes otherwise.
fn components(format: PixelFormat, planes: &[Plane<'_>], x: usize, y: usize) -> [f32; 3] {
    let at = |plane: usize, row: usize, byte: usize| {
        f32::from(planes[plane].data[row * planes[plane].stride + byte])
    };
    match format {
        PixelFormat::I420 => [at(0, y, x), at(1, y / 2, x / 2), at(2, y / 2, x / 2)],
        PixelFormat::Nv12 => [at(0, y, x), at(1, y / 2, x / 2 * 2), at(1, y / 2, x / 2 * 2 + 1)],
        PixelFormat::Yuy2 => [at(0, y, 2 * x), at(0, y, x / 2 * 4 + 1), at(0, y, x / 2 * 4 + 3)],
        PixelFormat::Gray8 => [at(0, y, x); 3],
        PixelFormat::Rgb | PixelFormat::Bgr => [at(0, y, 3 * x), at(0, y, 3 * x + 1), at(0, y, 3 * x + 2)],
        _ => [at(0, y, 4 * x), at(0, y, 4 * x + 1), at(0, y, 4 * x + 2)],
    }
}

/// The usual way: the whole frame to RGB, then resize and normalise what comes out.
fn two_pass(format: PixelFormat, planes: &[Plane<'_>], rgb: &mut [f32], tensor: &mut [f32]) {
    let (width, height) = (FRAME.width as usize, FRAME.height as usize);
    let is_yuv = matches!(format, PixelFormat::I420 | PixelFormat::Nv12 | PixelFormat::Yuy2);
    for (index, pixel) in rgb.chunks_exact_mut(3).enumerate() {
        let [a, b, c] = components(format, planes, index % width, index / width);
        let (y, u, v) = ((a - 16.0) * 1.164_384, b - 128.0, c - 128.0);
        let levels = if is_yuv {
            [y + 1.792_741 * v, y - 0.213_249 * u - 0.532_909 * v, y + 2.112_402 * u]
        } else {
            [a, b, c]
        };
        pixel.copy_from_slice(&levels.map(|level| level.clamp(0.0, 255.0).round()));
    }
    let placed = Letterbox::new(FRAME, MODEL).expect("both sizes are valid");
    tensor.fill(f32::from(PAD_LEVEL) / 255.0);
    let (scaled, area) = (placed.scaled(), (MODEL.width * MODEL.height) as usize);
    for y in 0..scaled.height {
        for x in 0..scaled.width {
            let sx = ((x as f32 + 0.5) * width as f32 / scaled.width as f32 - 0.5).max(0.0);
            let sy = ((y as f32 + 0.5) * height as f32 / scaled.height as f32 - 0.5).max(0.0);
            let (x0, y0) = (sx as usize, sy as usize);
            let (x1, y1) = ((x0 + 1).min(width - 1), (y0 + 1).min(height - 1));
            let (fx, fy) = (sx - x0 as f32, sy - y0 as f32);
            let pixel = ((y + placed.top()) * MODEL.width + x + placed.left()) as usize;
            for channel in 0..3 {
                let at = |x: usize, y: usize| rgb[3 * (y * width + x) + channel];
                let above = at(x0, y0) * (1.0 - fx) + at(x1, y0) * fx;
                let below = at(x0, y1) * (1.0 - fx) + at(x1, y1) * fx;
                tensor[channel * area + pixel] = (above * (1.0 - fy) + below * fy) / 255.0;
            }
        }
    }
}

/// Median time of `runs` calls, after one that is not counted.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures the time it takes itself")]
fn median(runs: usize, mut work: impl FnMut()) -> Duration {
    work();
    let mut times: Vec<_> = (0..runs)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[runs / 2]
}

fn measure(format: PixelFormat) -> (Duration, Duration) {
    let memory: Vec<(Vec<u8>, usize)> = plane_shapes(format)
        .into_iter()
        .map(|(row, rows)| ((0..row * rows).map(|i| (i * 31 + i / row * 17) as u8).collect(), row))
        .collect();
    let planes: Vec<_> = memory.iter().map(|(data, stride)| Plane { data, stride: *stride }).collect();
    let frame =
        FrameView::new(format, FRAME, &planes, COLORIMETRY).expect("the planes have the frame's size");
    let spec =
        InputSpec { layout: Layout::Nchw, size: MODEL, normalize: Normalize::UNIT_RGB, pad: PAD_LEVEL };
    let mut preprocessor = Preprocessor::new(spec).expect("the specification is valid");
    let mut tensor = vec![0.0; 3 * (MODEL.width * MODEL.height) as usize];
    let fused = median(301, || {
        preprocessor
            .fill(black_box(&frame), Slot::F32(black_box(&mut tensor)))
            .expect("the slot has the size of the image");
    });
    let mut rgb = vec![0.0; 3 * (FRAME.width * FRAME.height) as usize];
    let reference = median(9, || two_pass(format, black_box(&planes), &mut rgb, black_box(&mut tensor)));
    (fused, reference)
}

fn main() {
    println!("{FRAME:?} into f32 [1, 3, {}, {}], median per frame", MODEL.height, MODEL.width);
    println!("{:<8} {:>12} {:>14} {:>7}", "format", "fused ns", "two-pass ns", "ratio");
    for format in [
        PixelFormat::I420,
        PixelFormat::Nv12,
        PixelFormat::Yuy2,
        PixelFormat::Rgb,
        PixelFormat::Bgrx,
        PixelFormat::Gray8,
    ] {
        let (fused, reference) = measure(format);
        let ratio = reference.as_secs_f64() / fused.as_secs_f64();
        let name = format!("{format:?}");
        println!("{name:<8} {:>12} {:>14} {ratio:>7.1}", fused.as_nanos(), reference.as_nanos());
    }
}
