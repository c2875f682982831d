//! Frames with one bright cell, for the brightest-cell models: which cell, and how bright, says which frame it is.

use gst_video::prelude::*;
use gst_video::{VideoFormat, VideoFrameRef, VideoInfo};
use gstnextvision::vision::letterbox::Letterbox;
use gstnextvision::vision::{Rect, Size};

/// Side of the models' input image and of a cell of it, in pixels.
pub(crate) const MODEL: Size = Size::new(64, 64);
const CELL: u32 = 8;

/// Every format the elements take.
pub(crate) const FORMATS: [VideoFormat; 12] = [
    VideoFormat::I420,
    VideoFormat::Nv12,
    VideoFormat::Yuy2,
    VideoFormat::Rgb,
    VideoFormat::Bgr,
    VideoFormat::Rgba,
    VideoFormat::Bgra,
    VideoFormat::Rgbx,
    VideoFormat::Bgrx,
    VideoFormat::Argb,
    VideoFormat::Xrgb,
    VideoFormat::Gray8,
];

/// Paints and reads frames of one size and format.
#[derive(Clone, Debug)]
pub(crate) struct Painter {
    pub(crate) info: VideoInfo,
    letterbox: Letterbox,
    /// The cells, in the model's image, that lie in the frame with a margin.
    cells: Vec<Rect>,
}

impl Painter {
    pub(crate) fn new(format: VideoFormat, width: u32, height: u32) -> Self {
        // Full range, so that a grey level is the same number in every format.
        let colorimetry = "1:4:0:0".parse().expect("colorimetry");
        let mut builder = VideoInfo::builder(format, width, height).fps(gst::Fraction::new(30, 1));
        if !matches!(format, VideoFormat::I420 | VideoFormat::Nv12 | VideoFormat::Yuy2) {
            builder = builder.colorimetry_if_some(None);
        } else {
            builder = builder.colorimetry(&colorimetry);
        }
        let info = builder.build().expect("a valid format");
        let letterbox = Letterbox::new(Size::new(width, height), MODEL).expect("a valid size");
        let inside = letterbox.model_from_frame(&Rect::from_corners(0.0, 0.0, width as f32, height as f32));
        let cells = (0..MODEL.height / CELL)
            .flat_map(|row| (0..MODEL.width / CELL).map(move |column| cell(column, row)))
            .filter(|cell| {
                cell.x_min >= inside.x_min.floor()
                    && cell.y_min >= inside.y_min.floor()
                    && cell.x_max <= inside.x_max.ceil()
                    && cell.y_max <= inside.y_max.ceil()
            })
            .collect();
        Self { info, letterbox, cells }
    }

    pub(crate) fn caps(&self) -> gst::Caps {
        self.info.to_caps().expect("valid caps")
    }

    /// A frame with the cell of number `at` (modulo the cells there are) at `level`, dark elsewhere.
    pub(crate) fn paint(&self, at: u64, level: u8) -> gst::Buffer {
        let bright = self.box_in_frame(at);
        let mut buffer = gst::Buffer::with_size(self.info.size()).expect("memory");
        let writable = buffer.get_mut().expect("one owner");
        let mut frame = VideoFrameRef::from_buffer_ref_writable(writable, &self.info).expect("a frame");
        // Two source pixels of margin, so that interpolation at the edge of the cell sees its level only.
        let margin = 2.0_f32.max(2.0 * bright.width() / CELL as f32);
        let area = Rect::from_corners(
            bright.x_min - margin,
            bright.y_min - margin,
            bright.x_max + margin,
            bright.y_max + margin,
        );
        for plane in 0..frame.n_planes() {
            fill_plane(&mut frame, plane, &area, level);
        }
        drop(frame);
        buffer
    }

    /// How many cells there are to tell frames apart.
    pub(crate) fn cell_count(&self) -> u64 {
        self.cells.len() as u64
    }

    /// Where the model must find it, in frame pixels.
    pub(crate) fn box_in_frame(&self, at: u64) -> Rect {
        let cell = &self.cells[usize::try_from(at % self.cells.len() as u64).expect("small")];
        self.letterbox.frame_from_model(cell)
    }
}

fn cell(column: u32, row: u32) -> Rect {
    let (x, y) = ((column * CELL) as f32, (row * CELL) as f32);
    Rect::from_corners(x, y, x + CELL as f32, y + CELL as f32)
}

/// What one sample of a plane is: grey (bright in the area), chroma (neutral) or alpha.
#[derive(Clone, Copy)]
enum Sample {
    Grey,
    Neutral,
    Opaque,
}

/// The samples of one group of pixels in memory, and how many columns and rows of the frame a group covers.
fn layout(format: VideoFormat, plane: u32) -> (&'static [Sample], u32, u32) {
    use Sample::{Grey, Neutral, Opaque};
    match (format, plane) {
        (VideoFormat::I420, 1 | 2) => (&[Neutral], 2, 2),
        (VideoFormat::Nv12, 1) => (&[Neutral, Neutral], 2, 2),
        (VideoFormat::Yuy2, _) => (&[Grey, Neutral, Grey, Neutral], 2, 1),
        (VideoFormat::Rgb | VideoFormat::Bgr, _) => (&[Grey, Grey, Grey], 1, 1),
        (VideoFormat::Argb | VideoFormat::Xrgb, _) => (&[Opaque, Grey, Grey, Grey], 1, 1),
        (VideoFormat::Rgba | VideoFormat::Bgra | VideoFormat::Rgbx | VideoFormat::Bgrx, _) => {
            (&[Grey, Grey, Grey, Opaque], 1, 1)
        }
        _ => (&[Grey], 1, 1),
    }
}

fn fill_plane(frame: &mut VideoFrameRef<&mut gst::BufferRef>, plane: u32, area: &Rect, level: u8) {
    let (samples, columns, rows) = layout(frame.format(), plane);
    let (width, height) = (frame.width(), frame.height());
    let stride = usize::try_from(frame.plane_stride()[plane as usize]).expect("positive");
    let data = frame.plane_data_mut(plane).expect("a plane");
    for (row, line) in data.chunks_mut(stride).enumerate().take(height.div_ceil(rows) as usize) {
        let y = row as f32 * rows as f32 + 0.5;
        let groups = line.chunks_mut(samples.len()).take(width.div_ceil(columns) as usize);
        for (group, bytes) in groups.enumerate() {
            for (index, (byte, sample)) in bytes.iter_mut().zip(samples).enumerate() {
                let step = if columns == 2 { (index / 2) as f32 } else { 0.0 };
                let x = group as f32 * columns as f32 + step + 0.5;
                let inside = x >= area.x_min && x < area.x_max && y >= area.y_min && y < area.y_max;
                *byte = match sample {
                    Sample::Grey => {
                        if inside {
                            level
                        } else {
                            0
                        }
                    }
                    Sample::Neutral => 128,
                    Sample::Opaque => 255,
                };
            }
        }
    }
}
