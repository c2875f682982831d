//! `batch-group`: elements in pipelines of their own that share one engine and its batches, and nothing else.

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

#[test]
fn four_pipelines_share_one_engine_and_its_batches() {
    let before = engines();
    let members = patient_members("four", &tiny_model("brightest"), 4);
    run_rounds(&members, 0..50);
    for member in &members {
        let stats = member.stats();
        assert_eq!(stats.get("batch-group"), Ok("four"));
        assert_eq!(stats.get("members"), Ok(4_u64));
        assert_eq!(stats.get("engines"), Ok(before as u64 + 1), "{stats}");
        let batches = member.batches();
        assert_eq!(batches.get("frames-to-infer"), Ok(200_u64));
        assert!(batches.get::<f64>("mean-size").expect("a mean") > 2.0, "{batches}");
        let feed = stats.get::<gst::Structure>("feed").expect("the ledger of the member");
        assert_eq!(feed.get("received"), Ok(50_u64), "{feed}");
    }
    for member in &members {
        member.end();
        member.assert_ended();
    }
}

#[test]
fn frames_are_those_of_their_own_pipeline_and_unchanged() {
    let members = patient_members("own", &tiny_model("brightest"), 3);
    run_rounds(&members, 0..20);
    for member in &members {
        member.push(20);
    }
    for member in &members {
        let facts = member.pull(20);
        assert_eq!(facts.feed_id, format!("member{}", member.salt));
        assert!((1..=3).contains(&facts.batch_size), "{facts:?}");
    }
}

#[test]
fn a_pipeline_that_goes_away_leaves_the_others_as_they_were() {
    let script = script("leaver");
    let mut members = members("leaver", &script.model(), 4);
    run_rounds(&members, 0..10);
    let leaver = members.remove(1);
    // In the middle: a frame of it is on its way.
    leaver.push(10);
    leaver.stop();
    run_rounds(&members, 10..30);
    for member in &members {
        assert_eq!(member.stats().get("members"), Ok(3_u64));
        assert!(member.health().iter().all(|message| message.event.severity().as_str() == "info"));
        member.end();
        member.assert_ended();
    }
    assert_eq!(script.released(), 0);
}

#[test]
fn a_pipeline_that_comes_back_goes_on_counting() {
    let members = members("back", &tiny_model("brightest"), 2);
    run_rounds(&members, 0..5);
    members[0].pipeline.set_state(gst::State::Ready).expect("it stops");
    members[1].push(5);
    assert_eq!(members[1].pull(5).status, Status::Inferred);
    members[0].pipeline.set_state(gst::State::Playing).expect("it plays again");
    members[0].push(0);
    let sample = members[0].sink.try_pull_sample(PATIENCE).expect("a frame");
    assert_eq!((facts(&sample).seq, facts(&sample).session), (5, 1));
}

#[test]
fn the_last_one_out_releases_the_engine_and_the_next_one_in_opens_it() {
    let script = script("last-out");
    let members = members("last-out", &script.model(), 3);
    run_rounds(&members, 0..3);
    assert_eq!(script.loads(), 1);
    members[0].stop();
    members[2].stop();
    assert_eq!(script.released(), 0);
    members[1].stop();
    eventually("the model is released", || script.released(), |released| *released == 1);
    let again = Member::new("last-out", &script.model(), 7).play();
    again.push(0);
    again.end();
    assert_eq!(again.pull(0).status, Status::Inferred);
    assert_eq!(script.loads(), 2);
}

/// Sets a property to something else.
type Change = fn(&gst::Element);

#[test]
fn options_that_differ_are_an_error_that_names_both() {
    let model = tiny_model("brightest");
    let first = Member::new("strict", &model, 0).play();
    let cases: [(&str, Change, &str, &str); 4] = [
        ("max-batch-size", |element| element.set_property("max-batch-size", 8_u32), "has 4", "found 8"),
        ("max-latency", |element| element.set_property("max-latency", 7_u64), "has 5000000", "found 7"),
        ("on-error", |element| element.set_property_from_str("on-error", "drop"), "has pass", "found drop"),
        ("model", |element| element.set_property("model", tiny_model("f16")), "brightest.onnx", "f16.onnx"),
    ];
    for (property, change, of_group, found) in cases {
        let other = Member::new("strict", &model, 1);
        change(&other.inference);
        assert!(other.pipeline.set_state(gst::State::Playing).is_err(), "{property}");
        let (source, text) = wait_for_error(&other.pipeline);
        assert_eq!(source, "member1");
        for part in [property, of_group, found, "\"strict\"", "member0"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
    first.push(0);
    first.end();
    assert_eq!(first.pull(0).status, Status::Inferred);
}

#[test]
fn groups_of_other_names_and_elements_without_one_are_apart() {
    let model = tiny_model("brightest");
    let (one, other, none) =
        (Member::new("a", &model, 0), Member::new("b", &model, 1), Member::new("", &model, 2));
    let all = [one.play(), other.play(), none.play()];
    for member in &all {
        member.push(0);
        member.end();
        let facts = member.pull(0);
        assert_eq!((facts.status, facts.batch_size.max(1)), (Status::Inferred, 1));
    }
    assert_eq!(all[0].stats().get("members"), Ok(1_u64));
    assert!(!all[2].stats().has_field("batch-group"));
}

#[test]
fn every_member_hears_that_the_model_cannot_be_opened() {
    for salt in 0..2 {
        let member = Member::new("broken", &tiny_model("no-such-model"), salt);
        assert!(member.pipeline.set_state(gst::State::Playing).is_err());
        let (source, text) = wait_for_error(&member.pipeline);
        assert_eq!(source, format!("member{salt}"));
        assert!(text.contains("no-such-model"), "{text}");
    }
}

#[test]
fn what_is_wrong_downstream_of_one_member_is_its_own_affair() {
    let members = members("downstream", &tiny_model("brightest"), 3);
    run_rounds(&members, 0..3);
    let pad = members[0].sink.static_pad("sink").expect("a pad");
    pad.add_probe(gst::PadProbeType::BUFFER, |_, info| {
        info.flow_res = Err(gst::FlowError::Error);
        gst::PadProbeReturn::Handled
    });
    let bus = members[0].pipeline.bus().expect("a bus");
    let look = || {
        // A frame is answered with what became of an earlier one.
        if members[0].source.current_level_buffers() == 0 {
            let mut buffer = painter().paint(0, 250);
            buffer.get_mut().expect("one owner").set_pts(gst::ClockTime::SECOND);
            members[0].source.push_buffer(buffer).ok();
        }
        bus.pop_filtered(&[gst::MessageType::Error]).map(|error| format!("{error:?}"))
    };
    let is_told = |error: &Option<String>| error.as_ref().is_some_and(|text| text.contains("reason error"));
    eventually("the source hears of it", look, is_told);
    run_rounds(&members[1..], 3..20);
}

#[test]
fn a_member_that_is_blocked_downstream_delays_nobody() {
    let model = tiny_model("brightest");
    let blocked = Member::new("blocked", &model, 0);
    blocked.sink.set_max_buffers(1);
    let members = [blocked.play(), Member::new("blocked", &model, 1).play()];
    for number in 0..4 {
        members[0].push(number);
    }
    for number in 0..30 {
        members[1].push(number);
        assert_eq!(members[1].pull(number).status, Status::Inferred);
    }
    for number in 0..4 {
        members[0].pull(number);
    }
}

#[test]
fn a_flush_of_one_member_ends_with_that_member() {
    let members = members("flush", &tiny_model("brightest"), 2);
    run_rounds(&members, 0..3);
    let upstream = members[0].source.static_pad("src").expect("a pad");
    assert!(upstream.push_event(gst::event::FlushStart::new()));
    members[1].push(3);
    assert_eq!(members[1].pull(3).status, Status::Inferred);
    assert!(upstream.push_event(gst::event::FlushStop::new(true)));
    let again = Member::new("flush", &tiny_model("brightest"), 5).play();
    again.push(0);
    members[1].push(4);
    again.pull(0);
    members[1].pull(4);
}

#[test]
fn what_comes_too_fast_from_a_live_source_goes_on_without_inference() {
    let gate = Gate::new();
    let script = install("live", ScriptOptions::default(), {
        let gate = gate.clone();
        move |call| if call.number == 0 { Action::Park(gate.clone()) } else { Action::Detect }
    });
    let member = Member::with_latency("live", &script.model(), 0, 0);
    member.source.set_is_live(true);
    let member = member.play();
    member.push(0);
    assert!(gate.wait_entered(1, PATIENCE.into()));
    for number in 1..8 {
        member.push(number);
    }
    gate.open();
    let passed = (0..8).filter(|number| member.pull(*number).status != Status::Inferred).count();
    assert!(passed > 0, "eight frames met a queue of four");
    assert_eq!(member.stats().get::<gst::Structure>("feed").expect("a ledger").get("dropped"), Ok(0_u64));
}

#[test]
fn batches_do_not_enter_a_group() {
    init();
    let pipeline = crate::support::launch(&format!(
        "videotestsrc num-buffers=3 ! video/x-raw,format=RGB ! nvbatcher name=b ! nvinference batch-group=no model={} ! fakesink",
        tiny_model("brightest")
    ));
    pipeline.set_state(gst::State::Playing).ok();
    let (_, text) = wait_for_error(&pipeline);
    pipeline.set_state(gst::State::Null).expect("it stops");
    assert!(
        text.contains("batch-group is for plain video") && text.contains("multistream/x-nv-batch"),
        "{text}"
    );
}

#[test]
fn a_member_says_how_late_its_frames_are_whatever_the_others_are() {
    let model = tiny_model("brightest");
    let live = Member::with_latency("late", &model, 0, 40_000_000);
    live.source.set_is_live(true);
    live.source.set_latency(gst::ClockTime::from_mseconds(200), gst::ClockTime::NONE);
    live.inference.set_property("processing-latency", 5_000_000_u64);
    let file = Member::with_latency("late", &model, 1, 40_000_000);
    let (live, file) = (live.play(), file.play());
    let latency = |member: &Member| {
        let mut query = gst::query::Latency::new();
        assert!(member.sink.static_pad("sink").expect("a pad").peer_query(&mut query));
        query.result()
    };
    let (is_live, min, _) = latency(&live);
    assert_eq!((is_live, min), (true, gst::ClockTime::from_mseconds(245)));
    assert!(!latency(&file).0);
}

#[test]
fn the_engines_messages_reach_every_member_and_those_of_a_feed_only_its_own() {
    let script = install("news", ScriptOptions::default(), |call| {
        if call.number < 9 { Action::Error("as told".to_owned()) } else { Action::Detect }
    });
    let members = members("news", &script.model(), 2);
    for member in &members {
        member.push(0);
    }
    for member in &members {
        assert_eq!(member.pull(0).status, Status::Failed);
    }
    for member in &members {
        let health = member.health();
        let of = |name: &str| health.iter().filter(|message| message.event.name() == name).count();
        assert_eq!(of("model-ready"), 1, "{health:?}");
        assert!(of("batch-error") >= 1, "{health:?}");
        let own = format!("member{}", member.salt);
        assert!(health.iter().all(|message| message.element == own), "{health:?}");
        let sequence: Vec<_> = health.iter().map(|message| message.sequence).collect();
        assert_eq!(sequence, (0..health.len() as u64).collect::<Vec<_>>());
    }
}

#[test]
fn members_that_come_and_go_leave_nothing_behind_and_nobody_stuck() {
    let script = script("churn");
    let steady = Member::with_latency("churn", &script.model(), 0, 1_000_000).play();
    std::thread::scope(|scope| {
        for salt in 1..3 {
            let model = script.model();
            scope.spawn(move || {
                for _ in 0..15 {
                    let member = Member::with_latency("churn", &model, salt, 1_000_000).play();
                    member.push(0);
                    member.push(1);
                    member.pull(0);
                    member.stop();
                }
            });
        }
        for number in 0..100 {
            steady.push(number);
            assert_eq!(steady.pull(number).status, Status::Inferred);
        }
    });
    assert_eq!(steady.stats().get("members"), Ok(1_u64));
    let batcher = steady.batches();
    assert_eq!(batcher.get("feeds"), Ok(1_u64), "{batcher}");
    steady.stop();
    eventually("the model is released", || script.released(), |released| *released == 1);
}

#[test]
fn the_ledger_of_the_group_is_balanced_after_everything() {
    let script = script("balance");
    let members = members("balance", &script.model(), 3);
    run_rounds(&members, 0..10);
    members[0].stop();
    for member in &members[1..] {
        member.end();
        member.assert_ended();
    }
    let stats = members[1].batches();
    let get = |field: &str| stats.get::<u64>(field).expect("a ledger");
    assert_eq!(
        get("received"),
        get("delivered") + get("dropped") + get("failed") + get("in-flight"),
        "{stats}"
    );
    assert_eq!(get("in-flight"), 0);
}

#[test]
fn what_a_member_left_in_the_group_does_not_reach_its_next_run() {
    let gate = Gate::new();
    let script = install("left-behind", ScriptOptions::default(), {
        let gate = gate.clone();
        move |call| if call.number == 0 { Action::Park(gate.clone()) } else { Action::Detect }
    });
    let members = members("left-behind", &script.model(), 2);
    for number in 0..3 {
        members[0].push(number);
    }
    members[0].end();
    assert!(gate.wait_entered(1, PATIENCE.into()));
    let pad = members[0].inference.static_pad("sink").expect("a pad");
    eventually("the end is in the group", || pad.pad_flags(), |flags| flags.contains(gst::PadFlags::EOS));
    members[0].pipeline.set_state(gst::State::Ready).expect("it stops");
    members[0].pipeline.set_state(gst::State::Playing).expect("it plays again");
    gate.open();
    for number in 50..53 {
        members[0].push(number);
        let sample = members[0].pull_again();
        assert_eq!(sample.buffer().and_then(gst::BufferRef::pts), Some(number * gst::ClockTime::MSECOND));
        assert_eq!(facts(&sample).status, Status::Inferred);
    }
    members[1].push(0);
    assert_eq!(members[1].pull(0).status, Status::Inferred);
}

#[test]
fn the_end_of_one_run_does_not_end_the_next() {
    let script = script("ends");
    for alone in [true, false] {
        let other = (!alone).then(|| Member::new("ends", &script.model(), 1).play());
        let member = Member::new("ends", &script.model(), 0).play();
        for round in 0..40 {
            for number in 0..2 {
                member.push(round * 10 + number);
                let sample = member.pull_again();
                let pts = sample.buffer().and_then(gst::BufferRef::pts);
                assert_eq!(pts, Some((round * 10 + number) * gst::ClockTime::MSECOND));
            }
            if let Some(other) = &other {
                other.push(round);
                other.pull(round);
            }
            member.end();
            member.assert_ended();
            member.pipeline.set_state(gst::State::Ready).expect("it stops");
            member.pipeline.set_state(gst::State::Playing).expect("it plays again");
        }
    }
}
