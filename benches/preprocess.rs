//! Benchmark part (d): how long a frame takes into the tensor, against two other ways of doing the same.
//!
//! `cargo bench --bench preprocess`: for each format and size, one frame into a 320x320 planar `f32` image with
//! borders, on one core, three ways in turn, so that whatever else the machine does hits all of them:
//!
//! * *fused*: [`Preprocessor::fill`];
//! * *two passes*: the whole frame to RGB, then resize and normalise, in plain loops;
//! * *convert*: the element `videoconvertscale` as it is by default (bilinear, borders, one thread), called in
//!   this thread, then a plain loop from its RGB to normalised planes.
//!
//! Prints a table and leaves it in `target/bench/parts/d.json`. Nothing is asserted: machines differ.

use anyhow::{Context as _, Result};
use gstnextvision::vision::Size;
use gstnextvision::vision::letterbox::Letterbox;
use gstnextvision::vision::preprocess::{
    ChromaSite, Colorimetry, FrameView, InputSpec, Layout, Matrix, Normalize, PAD_LEVEL, PixelFormat, Plane,
    Preprocessor, Range, Slot,
};
use serde_json::json;
use std::hint::black_box;
use std::time::{Duration, Instant};

const SIZES: [Size; 3] = [Size::new(640, 480), Size::new(1280, 720), Size::new(1920, 1080)];
/// With the name GStreamer has for each.
const FORMATS: [(PixelFormat, &str); 6] = [
    (PixelFormat::I420, "I420"),
    (PixelFormat::Nv12, "NV12"),
    (PixelFormat::Yuy2, "YUY2"),
    (PixelFormat::Rgb, "RGB"),
    (PixelFormat::Bgrx, "BGRx"),
    (PixelFormat::Gray8, "GRAY8"),
];
const MODEL: Size = Size::new(320, 320);
const COLORIMETRY: Colorimetry =
    Colorimetry { matrix: Matrix::Bt709, range: Range::Limited, chroma: ChromaSite::MPEG2 };
/// Rounds counted, after one that is not; every tenth has the two passes, which take long.
const ROUNDS: usize = 60;

/// A frame in memory of its own.
struct Frame {
    format: PixelFormat,
    size: Size,
    bytes: Vec<u8>,
    /// Bytes of a row and rows of each plane.
    shapes: Vec<(usize, usize)>,
}

impl Frame {
    /// A frame of noise. All strides of these sizes are those GStreamer takes by default.
    fn new(format: PixelFormat, size: Size) -> Self {
        let (width, height) = (size.width as usize, size.height as usize);
        let shapes = match format {
            PixelFormat::I420 => vec![(width, height), (width / 2, height / 2), (width / 2, height / 2)],
            PixelFormat::Nv12 => vec![(width, height), (width, height / 2)],
            PixelFormat::Yuy2 => vec![(2 * width, height)],
            PixelFormat::Gray8 => vec![(width, height)],
            PixelFormat::Rgb => vec![(3 * width, height)],
            _ => vec![(4 * width, height)],
        };
        let len = shapes.iter().map(|(row, rows)| row * rows).sum();
        let mut state = 1_u32;
        let mut noise = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        Self { format, size, bytes: (0..len).map(|_| noise()).collect(), shapes }
    }

    fn planes(&self) -> Vec<Plane<'_>> {
        let mut rest = self.bytes.as_slice();
        let mut planes = Vec::new();
        for &(stride, rows) in &self.shapes {
            let (data, behind) = rest.split_at(stride * rows);
            planes.push(Plane { data, stride });
            rest = behind;
        }
        planes
    }
}

/// The components of one pixel: Y, U, V for I420, NV12 and YUY2, the first three bytes otherwise.
fn components(format: PixelFormat, planes: &[Plane<'_>], x: usize, y: usize) -> [f32; 3] {
    let at = |plane: usize, row: usize, byte: usize| {
        f32::from(planes[plane].data[row * planes[plane].stride + byte])
    };
    match format {
        PixelFormat::I420 => [at(0, y, x), at(1, y / 2, x / 2), at(2, y / 2, x / 2)],
        PixelFormat::Nv12 => [at(0, y, x), at(1, y / 2, x / 2 * 2), at(1, y / 2, x / 2 * 2 + 1)],
        PixelFormat::Yuy2 => [at(0, y, 2 * x), at(0, y, x / 2 * 4 + 1), at(0, y, x / 2 * 4 + 3)],
        PixelFormat::Gray8 => [at(0, y, x); 3],
        PixelFormat::Rgb => [at(0, y, 3 * x), at(0, y, 3 * x + 1), at(0, y, 3 * x + 2)],
        _ => [at(0, y, 4 * x), at(0, y, 4 * x + 1), at(0, y, 4 * x + 2)],
    }
}

/// The usual way: the whole frame to RGB, then resize and normalise what comes out.
fn two_passes(frame: &Frame, rgb: &mut [f32], tensor: &mut [f32]) {
    let (width, height) = (frame.size.width as usize, frame.size.height as usize);
    let (format, planes) = (frame.format, frame.planes());
    let is_yuv = matches!(format, PixelFormat::I420 | PixelFormat::Nv12 | PixelFormat::Yuy2);
    for (index, pixel) in rgb.chunks_exact_mut(3).enumerate() {
        let [a, b, c] = components(format, &planes, index % width, index / width);
        let (y, u, v) = ((a - 16.0) * 1.164_384, b - 128.0, c - 128.0);
        let levels = if is_yuv {
            [y + 1.792_741 * v, y - 0.213_249 * u - 0.532_909 * v, y + 2.112_402 * u]
        } else {
            [a, b, c]
        };
        pixel.copy_from_slice(&levels.map(|level| level.clamp(0.0, 255.0).round()));
    }
    let placed = Letterbox::new(frame.size, MODEL).expect("both sizes are valid");
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

/// `videoconvertscale` and what a program does with its RGB.
struct Converter {
    harness: gst_check::Harness,
    frame: gst::Buffer,
}

impl Converter {
    fn new(frame: &Frame, name: &str) -> Self {
        let caps = |format: &str, size: Size| {
            gst::Caps::builder("video/x-raw")
                .field("format", format)
                .field("width", size.width as i32)
                .field("height", size.height as i32)
                .field("framerate", gst::Fraction::new(30, 1))
                .field("pixel-aspect-ratio", gst::Fraction::new(1, 1))
        };
        let mut input = caps(name, frame.size);
        if frame.shapes.len() > 1 || frame.format == PixelFormat::Yuy2 {
            input = input.field("colorimetry", "bt709").field("chroma-site", "mpeg2");
        }
        let mut harness = gst_check::Harness::new("videoconvertscale");
        harness.set_caps(input.build(), caps("RGB", MODEL).build());
        Self { harness, frame: gst::Buffer::from_slice(frame.bytes.clone()) }
    }

    fn convert(&mut self, tensor: &mut [f32]) -> Result<()> {
        let frame =
            self.harness.push_and_pull(self.frame.clone()).context("videoconvertscale gave no frame")?;
        let rgb = frame.map_readable().context("its frame cannot be read")?;
        let area = (MODEL.width * MODEL.height) as usize;
        let (red, rest) = tensor.split_at_mut(area);
        let (green, blue) = rest.split_at_mut(area);
        for (index, pixel) in rgb.chunks_exact(3).take(area).enumerate() {
            red[index] = f32::from(pixel[0]) / 255.0;
            green[index] = f32::from(pixel[1]) / 255.0;
            blue[index] = f32::from(pixel[2]) / 255.0;
        }
        Ok(())
    }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures the time it takes itself")]
fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

/// Medians of the three ways.
struct Found {
    fused: Duration,
    two_passes: Duration,
    convert: Duration,
    /// How many times `fused` is faster than `convert`: the median over the rounds, in which both saw the same load.
    gain: f64,
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn measure(format: PixelFormat, name: &str, size: Size) -> Result<Found> {
    let frame = Frame::new(format, size);
    let planes = frame.planes();
    let view = FrameView::new(format, size, &planes, COLORIMETRY)?;
    let spec =
        InputSpec { layout: Layout::Nchw, size: MODEL, normalize: Normalize::UNIT_RGB, pad: PAD_LEVEL };
    let mut preprocessor = Preprocessor::new(spec)?;
    let mut converter = Converter::new(&frame, name);
    let mut tensor = vec![0.0; 3 * (MODEL.width * MODEL.height) as usize];
    let mut rgb = vec![0.0; 3 * (size.width * size.height) as usize];
    let (mut fused, mut passes, mut convert) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let mut result = Ok(());
        let ours = timed(|| {
            result = preprocessor.fill(black_box(&view), Slot::F32(black_box(&mut tensor))).map(|_| ());
        });
        result?;
        let mut result = Ok(());
        let theirs = timed(|| result = converter.convert(black_box(&mut tensor)));
        result?;
        if round == 0 {
            continue; // Tables, pools and caches are made in it.
        }
        fused.push(ours);
        convert.push(theirs);
        if round % 10 == 0 {
            passes.push(timed(|| two_passes(black_box(&frame), &mut rgb, black_box(&mut tensor))));
        }
    }
    let mut gains: Vec<_> =
        fused.iter().zip(&convert).map(|(ours, theirs)| theirs.as_secs_f64() / ours.as_secs_f64()).collect();
    gains.sort_by(f64::total_cmp);
    let gain = gains.get(gains.len() / 2).copied().unwrap_or_default();
    Ok(Found { fused: median(fused), two_passes: median(passes), convert: median(convert), gain })
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The promises of this part, for the sizes that have one.
fn checks(name: &str, size: Size, found: &Found) -> Vec<serde_json::Value> {
    let most = match (name, size.width) {
        ("I420", 1920) => 0.6,
        ("I420", 640) => 0.3,
        _ => return Vec::new(),
    };
    let (fused, ratio) = (milliseconds(found.fused), found.gain);
    let what = format!("{name} {}x{}", size.width, size.height);
    let time = json!({
        "name": format!("{what}, fused"), "expected": format!("<= {most} ms"),
        "found": format!("{fused:.3} ms"), "holds": fused <= most,
    });
    let gain = json!({
        "name": format!("{what}, against videoconvertscale"), "expected": ">= 4 times faster",
        "found": format!("{ratio:.1} times"), "holds": ratio >= 4.0,
    });
    if size.width == 1920 { vec![time, gain] } else { vec![time] }
}

const COLUMNS: [&str; 7] = [
    "format",
    "size",
    "fused ms",
    "two passes ms",
    "videoconvertscale ms",
    "x two passes",
    "x videoconvertscale",
];

fn main() -> Result<()> {
    gst::init()?;
    let (mut rows, mut all_checks) = (Vec::new(), Vec::new());
    println!("(d) one frame into f32 [1, 3, {}, {}], one core, medians", MODEL.height, MODEL.width);
    println!("{}", COLUMNS.map(|name| format!("{name:>20}")).join(" "));
    for (format, name) in FORMATS {
        for size in SIZES {
            let found = measure(format, name, size)?;
            let row = [
                name.to_owned(),
                format!("{}x{}", size.width, size.height),
                format!("{:.3}", milliseconds(found.fused)),
                format!("{:.3}", milliseconds(found.two_passes)),
                format!("{:.3}", milliseconds(found.convert)),
                format!("{:.1}", found.two_passes.as_secs_f64() / found.fused.as_secs_f64()),
                format!("{:.1}", found.gain),
            ];
            println!("{}", row.each_ref().map(|cell| format!("{cell:>20}")).join(" "));
            rows.push(row);
            all_checks.extend(checks(name, size, &found));
        }
    }
    for check in &all_checks {
        println!("{check}");
    }
    let part = json!({
        "part": "d",
        "title": "Pre-processing: one frame into a 320x320 planar f32 image, one core",
        "columns": COLUMNS,
        "rows": rows,
        "notes": [
            format!("medians of {ROUNDS} rounds, the ways in turn, and of their ratios; two passes: of {}", ROUNDS / 10),
            "videoconvertscale: as it is by default, in this thread, and a plain loop to normalised planes",
        ],
        "checks": all_checks,
    });
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/target/bench/parts");
    std::fs::create_dir_all(folder)?;
    std::fs::write(format!("{folder}/d.json"), format!("{part:#}\n"))?;
    Ok(())
}
