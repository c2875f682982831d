//! Frames of a batch become rows of the input tensor: on this thread, or on several if cores have nothing to do.

use super::frames;
use super::runs::{Placed, Row};
use crate::clock;
use crate::elements::{lock, video};
use crate::infer::{InputData, cores};
use crate::meta::batch::{Format, Item};
use crate::vision::preprocess::{InputSpec, PreprocessError, Preprocessor, Slot};
use rayon::prelude::*;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

/// Work that takes less, in all, is not worth waking other threads for: that takes some ten microseconds each.
const WORTH_SHARING: Duration = Duration::from_micros(200);
/// Most threads that help, in all elements of the process together.
const MOST_HELPERS: usize = 16;
/// Kinds of frames whose plans are kept. With more, all begin anew.
const MOST_KINDS: usize = 64;

/// The frames a batch is made of.
#[derive(Clone, Copy)]
pub(super) enum Subjects<'a> {
    Batch(&'a [Item]),
    Plain(&'a gst::BufferRef, &'a Format),
}

/// One frame to prepare.
struct Subject<'a> {
    buffer: &'a gst::BufferRef,
    format: &'a Format,
}

impl<'a> Subjects<'a> {
    /// What the batch is made of; plain frames are of none.
    pub(super) const fn items(self) -> &'a [Item] {
        match self {
            Self::Batch(items) => items,
            Self::Plain(..) => &[],
        }
    }

    fn get(self, at: usize) -> Option<Subject<'a>> {
        match self {
            Self::Batch(items) => {
                let frame = items.get(at)?.frame()?;
                Some(Subject { buffer: &frame.buffer, format: &frame.format })
            }
            Self::Plain(buffer, format) => Some(Subject { buffer, format }),
        }
    }
}

/// Prepares batches, one after the other.
#[derive(Default)]
pub(super) struct Preparer {
    plans: Option<Plans>,
    /// How long each frame of the batch at hand took.
    times: Vec<Duration>,
    /// How long a frame takes, over the last batches.
    pace: Duration,
    helpers: Option<Arc<Helpers>>,
}

/// What was worked out for frames of one format, size and place of chroma. Feeds with the same camera share it: it is
/// in the caches for all of them, and there is no more of it than threads that work.
struct Plans {
    spec: InputSpec,
    idle: Mutex<HashMap<Kind, Vec<Preprocessor>>>,
}

/// Of frames that can be prepared with the same tables.
type Kind = (gst_video::VideoFormat, u32, u32, gst_video::VideoChromaSite);

impl Plans {
    fn new(spec: InputSpec) -> Result<Self, PreprocessError> {
        // Here it shows whether the model's input can be filled.
        Preprocessor::new(spec).map(|_| Self { spec, idle: Mutex::default() })
    }

    /// Lends a plan for that kind of frame.
    fn with<T>(&self, kind: Kind, work: impl FnOnce(&mut Preprocessor) -> T) -> Result<T, PreprocessError> {
        let idle = lock(&self.idle).get_mut(&kind).and_then(Vec::pop);
        let mut plan = idle.map_or_else(|| Preprocessor::new(self.spec), Ok)?;
        let done = work(&mut plan);
        let mut idle = lock(&self.idle);
        if idle.len() >= MOST_KINDS && !idle.contains_key(&kind) {
            idle.clear();
        }
        idle.entry(kind).or_default().push(plan);
        Ok(done)
    }
}

impl Preparer {
    /// Fills a row for each of `asked` and says, in `placed`, what came of each. `free` cores have nothing to do.
    ///
    /// # Errors
    /// When the model's input is none that can be filled.
    pub(super) fn prepare(
        &mut self,
        spec: InputSpec,
        subjects: Subjects<'_>,
        asked: &[Row],
        input: &mut InputData,
        placed: &mut Vec<Placed>,
        free: usize,
    ) -> Result<(), String> {
        let known = self.plans.take().filter(|plans| plans.spec == spec);
        // A rebuilt engine may have found another model in the file.
        let made = known.map_or_else(|| Plans::new(spec), Ok).map_err(|error| error.to_string())?;
        self.plans = Some(made);
        placed.clear();
        placed.resize_with(asked.len(), || Err(String::new()));
        let threads = threads(asked.len(), self.pace, free);
        let helpers = (threads > 1).then(|| self.helpers()).flatten();
        let row_len = 3 * spec.size.width as usize * spec.size.height as usize;
        self.times.clear();
        self.times.resize(asked.len(), Duration::ZERO);
        let Self { plans: Some(plans), times, .. } = self else { return Ok(()) };
        let rows = Rows { subjects, asked, plans, row_len, threads, helpers: helpers.as_deref() };
        match input {
            InputData::F32(data) => rows.fill(data, placed, times, |row| Slot::F32(row)),
            InputData::F16(data) => rows.fill(data, placed, times, |row| Slot::F16(row)),
            InputData::U8(data) => rows.fill(data, placed, times, |row| Slot::U8(row)),
        }
        self.keep_pace();
        Ok(())
    }

    /// Learns from the times of the batch. The middle one counts: where there is more to do than cores, some frames are
    /// interrupted, and these are no reason to wake still more threads.
    fn keep_pace(&mut self) {
        let middle = self.times.len() / 2;
        if middle >= self.times.len() {
            return;
        }
        let (_, each, _) = self.times.select_nth_unstable(middle);
        // Soon right, and not thrown off by one batch.
        self.pace = if self.pace.is_zero() { *each } else { (self.pace * 7 + *each) / 8 };
    }

    fn helpers(&mut self) -> Option<Arc<Helpers>> {
        if self.helpers.is_none() {
            self.helpers = Helpers::shared();
        }
        self.helpers.clone()
    }
}

/// How many threads are to prepare `frames` frames that take `each`, where `free` cores have nothing to do.
fn threads(frames: usize, each: Duration, free: usize) -> usize {
    let rest = each.saturating_mul(u32::try_from(frames.saturating_sub(1)).unwrap_or(u32::MAX));
    if rest < WORTH_SHARING { 1 } else { frames.min(free).clamp(1, MOST_HELPERS) }
}

/// The rows of one batch.
struct Rows<'a> {
    subjects: Subjects<'a>,
    asked: &'a [Row],
    plans: &'a Plans,
    row_len: usize,
    threads: usize,
    helpers: Option<&'a Helpers>,
}

impl Rows<'_> {
    fn fill<T: Send>(
        &self,
        data: &mut [T],
        placed: &mut [Placed],
        times: &mut [Duration],
        slot: impl Fn(&mut [T]) -> Slot<'_> + Sync,
    ) {
        let row_len = self.row_len.max(1);
        let one = |data: &mut [T], placed: &mut Placed, time: &mut Duration, row: &Row| {
            let began = clock::now();
            *placed = self.prepare_one(row, slot(data));
            *time = clock::now().since(began);
        };
        let Some(helpers) = self.helpers else {
            let rows = data.chunks_exact_mut(row_len).zip(placed).zip(times).zip(self.asked);
            rows.for_each(|(((data, placed), time), row)| one(data, placed, time, row));
            return;
        };
        let each = self.asked.len().div_ceil(self.threads);
        helpers.pool.install(|| {
            data.par_chunks_exact_mut(row_len)
                .zip(placed)
                .zip(times)
                .zip(self.asked)
                .with_min_len(each)
                .for_each(|(((data, placed), time), row)| one(data, placed, time, row));
        });
    }

    fn prepare_one(&self, row: &Row, slot: Slot<'_>) -> Placed {
        let item = row.item;
        let subject = self.subjects.get(item).ok_or_else(|| format!("there is no frame {item}"))?;
        video::check_frame(subject.buffer, subject.format)?;
        let part = row.object.as_ref().map(|object| &object.rect);
        let info = &subject.format.info;
        let kind = (info.format(), info.width(), info.height(), info.chroma_site());
        let work = |plan: &mut _| frames::prepare(plan, subject.buffer, subject.format, part, slot);
        self.plans.with(kind, work).unwrap_or_else(|error| Err(error.to_string()))
    }
}

/// Threads that prepare frames when cores have nothing to do, for all elements of the process. They sleep when there is
/// nothing to do, and end with the last element that has used them.
struct Helpers {
    pool: rayon::ThreadPool,
}

static HELPERS: Mutex<Weak<Helpers>> = Mutex::new(Weak::new());

impl Helpers {
    /// Those there are, or new ones; `None` if the system has no threads to give.
    fn shared() -> Option<Arc<Self>> {
        let mut shared = lock(&HELPERS);
        if let Some(helpers) = shared.upgrade() {
            return Some(helpers);
        }
        let threads = cores().min(MOST_HELPERS);
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|number| format!("nv-prepare-{number}"))
            .build()
            .ok()?;
        let helpers = Arc::new(Self { pool });
        *shared = Arc::downgrade(&helpers);
        Some(helpers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vision::Size;
    use crate::vision::preprocess::{Layout, Normalize, PAD_LEVEL};

    #[test]
    fn little_work_is_done_on_one_thread_and_much_on_as_many_as_are_free() {
        let each = Duration::from_micros(150);
        assert_eq!(threads(1, Duration::from_secs(1), 8), 1);
        assert_eq!(threads(2, each, 8), 1);
        assert_eq!(threads(4, each, 8), 4);
        assert_eq!(threads(16, each, 8), 8);
        assert_eq!(threads(16, each, 0), 1);
        assert_eq!(threads(1000, each, 1000), MOST_HELPERS);
        assert_eq!(threads(usize::MAX, Duration::MAX, 2), 2);
    }

    fn frame(width: u32, height: u32) -> (gst::Buffer, Format) {
        gst::init().unwrap();
        let info =
            gst_video::VideoInfo::builder(gst_video::VideoFormat::I420, width, height).build().unwrap();
        let format = Format { caps: info.to_caps().unwrap(), info };
        let pixels = (0..format.info.size()).map(|at| (at * 7 % 251) as u8).collect::<Vec<_>>();
        (gst::Buffer::from_slice(pixels), format)
    }

    fn spec() -> InputSpec {
        let (layout, size) = (Layout::Nchw, Size::new(64, 64));
        InputSpec { layout, size, normalize: Normalize::UNIT_RGB, pad: PAD_LEVEL }
    }

    #[test]
    fn frames_of_one_kind_share_a_plan_and_kinds_are_not_kept_without_bound() {
        let mut preparer = Preparer::default();
        let mut input = InputData::F32(vec![0.0; 4 * 3 * 64 * 64]);
        let mut seen = Vec::new();
        for width in (16..16 + 2 * MOST_KINDS as u32).chain([16]) {
            let (buffer, format) = frame(width, 16);
            let mut placed = Vec::new();
            let subjects = Subjects::Plain(&buffer, &format);
            preparer.prepare(spec(), subjects, &[Row::frame(0); 4], &mut input, &mut placed, 1).unwrap();
            assert!(placed.len() == 4 && placed.iter().all(Result::is_ok), "{placed:?}");
            let idle =
                lock(&preparer.plans.as_ref().unwrap().idle).values().map(Vec::len).collect::<Vec<_>>();
            assert!(idle.len() <= MOST_KINDS && idle.iter().all(|plans| *plans == 1), "{idle:?}");
            seen.push(idle.len());
        }
        assert_eq!(seen.iter().max(), Some(&MOST_KINDS));
    }

    /// Four rows of the same frame, with `free` cores; whether others have helped.
    fn rows(free: usize) -> (Vec<f32>, bool) {
        let (buffer, format) = frame(100, 60);
        let mut input = InputData::F32(vec![-1.0; 4 * 3 * 64 * 64]);
        // As if a frame took long.
        let mut preparer = Preparer { pace: Duration::from_secs(1), ..Preparer::default() };
        let (mut placed, subjects) = (Vec::new(), Subjects::Plain(&buffer, &format));
        preparer.prepare(spec(), subjects, &[Row::frame(0); 4], &mut input, &mut placed, free).unwrap();
        assert!(placed.len() == 4 && placed.iter().all(Result::is_ok), "{placed:?}");
        let InputData::F32(rows) = input else { panic!("it was f32") };
        (rows, preparer.helpers.is_some())
    }

    #[test]
    fn free_cores_help_and_what_comes_out_is_the_same() {
        let ((alone, nobody), (together, helped)) = (rows(1), rows(4));
        assert!(!nobody && helped);
        assert_eq!(alone, together);
        let row = 3 * 64 * 64;
        assert!(alone.chunks_exact(row).all(|one| one == &alone[..row]), "each row is that frame");
        assert!(alone.iter().all(|value| (0.0..=1.0).contains(value)), "every number was written");
    }

    #[test]
    fn the_pace_follows_slowly_and_frames_that_were_interrupted_do_not_count() {
        let mut preparer = Preparer::default();
        let mut batch = |times: &[u64]| {
            preparer.times = times.iter().map(|micros| Duration::from_micros(*micros)).collect();
            preparer.keep_pace();
            preparer.pace.as_micros()
        };
        assert_eq!(batch(&[]), 0);
        assert_eq!(batch(&[100, 90_000, 100, 99, 101]), 100);
        assert_eq!(batch(&[900]), 200);
    }
}
