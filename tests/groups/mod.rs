//! `batch-group`: elements in pipelines of their own that share one engine and its batches, and nothing else.

mod apart;
mod joining;
mod membership;
mod sharing;

use crate::support::frames::Painter;
use crate::support::{PATIENCE, eventually, facts, init, tiny_model, wait_for_error};
use gst::prelude::*;
use gst_app::{AppSink, AppSrc};
use gst_video::VideoFormat;
use gstnextvision::elements::message::health_of;
use gstnextvision::health::Message;
use gstnextvision::infer::engines;
use gstnextvision::infer::script::{Action, Gate, Script, ScriptOptions, install};
use gstnextvision::meta::detections;
use gstnextvision::output::{FrameFacts, Status};
use gstnextvision::vision::Size;

/// Long enough that a batch closes for another reason.
const LONG: u64 = 2_000_000_000;
/// For members that others would wait for in vain.
const SHORT: u64 = 5_000_000;

fn painter() -> Painter {
    Painter::new(VideoFormat::Gray8, 64, 64)
}

fn script(name: &str) -> Script {
    install(name, ScriptOptions::default(), |_| Action::Detect)
}

/// A pipeline with one element of a group.
struct Member {
    pipeline: gst::Pipeline,
    source: AppSrc,
    inference: gst::Element,
    sink: AppSink,
    /// Tells its frames from those of the others.
    salt: u64,
}

impl Member {
    fn new(group: &str, model: &str, salt: u64) -> Self {
        Self::with_latency(group, model, salt, SHORT)
    }

    fn with_latency(group: &str, model: &str, salt: u64, max_latency: u64) -> Self {
        init();
        let source = AppSrc::builder()
            .caps(&painter().caps())
            .format(gst::Format::Time)
            .block(true)
            .max_buffers(2)
            .max_bytes(0)
            .build();
        let inference = gst::ElementFactory::make("nvinference")
            .name(format!("member{salt}"))
            .property("model", model)
            .property("batch-group", group)
            .property("max-latency", max_latency)
            .build()
            .expect("a registered element");
        let sink = AppSink::builder().sync(false).async_(false).build();
        let pipeline = gst::Pipeline::new();
        let elements = [source.upcast_ref::<gst::Element>(), &inference, sink.upcast_ref()];
        pipeline.add_many(elements).expect("new elements");
        gst::Element::link_many(elements).expect("they link");
        Self { pipeline, source, inference, sink, salt }
    }

    fn play(self) -> Self {
        self.pipeline.set_state(gst::State::Playing).expect("the pipeline plays");
        self
    }

    fn cell(&self, number: u64) -> u64 {
        number * 5 + self.salt * 17
    }

    fn push(&self, number: u64) {
        let mut buffer = painter().paint(self.cell(number), 250);
        buffer.get_mut().expect("one owner").set_pts(number * gst::ClockTime::MSECOND);
        self.source.push_buffer(buffer).expect("the member takes it");
    }

    /// The next frame, which must be that of this number.
    fn pull(&self, number: u64) -> FrameFacts {
        let sample = self
            .sink
            .try_pull_sample(PATIENCE)
            .unwrap_or_else(|| panic!("member {} gives frame {number}", self.salt));
        let buffer = sample.buffer().expect("a frame");
        let facts = facts(&sample);
        assert_eq!(facts.seq, number, "member {}: {facts:?}", self.salt);
        assert_eq!(buffer.pts(), Some(number * gst::ClockTime::MSECOND));
        let found = detections::read(buffer, Size::new(64, 64)).detections;
        assert_eq!(found.len(), usize::from(facts.status == Status::Inferred), "{facts:?}");
        for one in found {
            let wanted = painter().box_in_frame(self.cell(number));
            assert!((one.box_in_frame.x - f64::from(wanted.x_min)).abs() < 0.01, "{one:?}");
            assert!((one.box_in_frame.y - f64::from(wanted.y_min)).abs() < 0.01, "{one:?}");
        }
        facts
    }

    /// The next frame after a restart, whichever it is. A sink says that it has ended till another segment comes.
    fn pull_again(&self) -> gst::Sample {
        eventually("another run begins", || self.sink.is_eos(), |ended| !ended);
        self.sink.try_pull_sample(PATIENCE).unwrap_or_else(|| panic!("member {} gives a frame", self.salt))
    }

    fn end(&self) {
        self.source.end_of_stream().expect("the member ends");
    }

    fn assert_ended(&self) {
        assert!(self.sink.try_pull_sample(PATIENCE).is_none(), "member {} gives too much", self.salt);
        assert!(self.sink.is_eos(), "member {} does not end", self.salt);
    }

    fn stop(&self) {
        self.pipeline.set_state(gst::State::Null).expect("the pipeline stops");
    }

    fn stats(&self) -> gst::Structure {
        self.inference.property("stats")
    }

    fn batches(&self) -> gst::Structure {
        self.stats().get("batches").expect("the statistics of the batches")
    }

    fn health(&self) -> Vec<Message> {
        let bus = self.pipeline.bus().expect("a bus");
        let messages = std::iter::from_fn(|| bus.pop_filtered(&[gst::MessageType::Element]));
        messages.filter_map(|message| health_of(&message)).map(|health| health.expect("readable")).collect()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.pipeline.set_state(gst::State::Null).ok();
    }
}

fn members(group: &str, model: &str, count: u64) -> Vec<Member> {
    (0..count).map(|salt| Member::new(group, model, salt).play()).collect()
}

/// Members whose batches close when all of them have given a frame.
fn patient_members(group: &str, model: &str, count: u64) -> Vec<Member> {
    (0..count).map(|salt| Member::with_latency(group, model, salt, LONG).play()).collect()
}

/// Rounds of a frame of each member: pushed from threads of their own, and pulled in order.
fn run_rounds(members: &[Member], numbers: std::ops::Range<u64>) {
    std::thread::scope(|scope| {
        for member in members {
            let numbers = numbers.clone();
            scope.spawn(move || {
                for number in numbers.clone() {
                    member.push(number);
                    assert_eq!(member.pull(number).status, Status::Inferred);
                }
            });
        }
    });
}
