//! The failure ladder of the engine, with models that fail, hang and lie on command: frames go on, messages say
//! once what is wrong, and whatever works again is used again.

use crate::support::frames::Painter;
use crate::support::rig::Rig;
use crate::support::{PATIENCE, assert_ledger, eventually, facts, launch, stat};
use gst::prelude::*;
use gst_video::VideoFormat;
use gstnextvision::elements::message::health_of;
use gstnextvision::health::{Event, Message};
use gstnextvision::infer::OutputTensor;
use gstnextvision::infer::script::{Action, Call, Gate, LoadAction, Script, ScriptOptions, install};
use gstnextvision::meta::detections;
use gstnextvision::output::{FrameFacts, Status};
use gstnextvision::vision::Size;
use std::time::Duration;

/// Long enough for a run that is not parked on a busy machine, short enough to be waited for.
const RESPONSE: u64 = 500_000_000;

fn painter() -> Painter {
    Painter::new(VideoFormat::Gray8, 64, 64)
}

fn always(name: &str, on_call: impl FnMut(&Call<'_>) -> Action + Send + 'static) -> Script {
    install(name, ScriptOptions::default(), on_call)
}

/// A rig of `feeds` feeds with the model of the script.
fn rig(script: &Script, feeds: usize) -> Rig {
    rig_with(script, feeds, 30_000_000_000)
}

/// The same, for a script that hangs.
fn impatient_rig(script: &Script) -> Rig {
    rig_with(script, 1, RESPONSE)
}

fn rig_with(script: &Script, feeds: usize, response_timeout: u64) -> Rig {
    let mut rig = Rig::with_model(&script.model());
    rig.inference.set_property("response-timeout", response_timeout);
    for _ in 0..feeds {
        rig.add_feed(&painter().caps(), false);
    }
    rig.play();
    rig
}

/// The bright cell of a frame, which no other frame has that may be in the same batch.
fn cell(feed: usize, number: u64) -> u64 {
    number * 5 + feed as u64 * 17
}

fn push(rig: &Rig, feed: usize, number: u64) {
    rig.push(feed, painter().paint(cell(feed, number), 250), number * gst::ClockTime::MSECOND);
}

/// Sends a frame through; what it says of itself. What was found in it, if anything, is its own bright cell.
fn send(rig: &Rig, feed: usize, number: u64) -> FrameFacts {
    push(rig, feed, number);
    pull(rig, feed, number)
}

fn pull(rig: &Rig, feed: usize, number: u64) -> FrameFacts {
    let sample = rig.pull(feed);
    let facts = facts(&sample);
    assert_eq!((facts.feed, facts.seq), (feed as u32, number));
    let found = detections::read(sample.buffer().expect("a frame"), Size::new(64, 64)).detections;
    assert_eq!(found.len(), usize::from(facts.status == Status::Inferred), "{facts:?}");
    for one in found {
        let wanted = painter().box_in_frame(cell(feed, number));
        assert!((one.box_in_frame.x - f64::from(wanted.x_min)).abs() < 0.01, "{one:?}");
        assert!((one.box_in_frame.y - f64::from(wanted.y_min)).abs() < 0.01, "{one:?}");
    }
    facts
}

fn status(rig: &Rig, number: u64) -> Status {
    send(rig, 0, number).status
}

/// The health messages on the bus until one of the kind `until`.
fn messages_until(pipeline: &gst::Pipeline, until: &str) -> Vec<Message> {
    let bus = pipeline.bus().expect("a bus");
    let mut messages = Vec::new();
    loop {
        let message = bus
            .timed_pop_filtered(PATIENCE, &[gst::MessageType::Element, gst::MessageType::Error])
            .unwrap_or_else(|| panic!("no {until} among {messages:?}"));
        assert_ne!(message.type_(), gst::MessageType::Error, "{message:?}");
        messages.extend(health_of(&message).map(|health| health.expect("a message that can be read")));
        if messages.last().is_some_and(|message| message.event.name() == until) {
            return messages;
        }
    }
}

/// Ends the feeds and stops; all health messages of the run, also those held back till then.
fn finish(rig: &Rig) -> Vec<Message> {
    for feed in 0..rig.feeds.len() {
        rig.end(feed);
    }
    for feed in 0..rig.feeds.len() {
        rig.assert_ended(feed);
    }
    assert_ledger(&rig.batcher);
    assert_eq!(stat(&rig.batcher, "queued"), 0);
    rig.pipeline.set_state(gst::State::Ready).expect("it stops");
    rest(&rig.pipeline)
}

fn rest(pipeline: &gst::Pipeline) -> Vec<Message> {
    let bus = pipeline.bus().expect("a bus");
    let messages = bus.iter_filtered(&[gst::MessageType::Element, gst::MessageType::Error]);
    messages
        .filter_map(|message| {
            assert_ne!(message.type_(), gst::MessageType::Error, "{message:?}");
            Some(health_of(&message)?.expect("a message that can be read"))
        })
        .collect()
}

/// How often it happened, by the messages about it.
fn count(messages: &[Message], event: &str) -> u64 {
    messages.iter().filter(|message| message.event.name() == event).map(|message| message.burst.count).sum()
}

fn state(rig: &Rig) -> String {
    rig.inference.property::<gst::Structure>("stats").get("state").expect("a state")
}

/// Sends frames until one is inferred; returns the number of the next.
fn send_until_inferred(rig: &Rig, from: u64) -> u64 {
    for number in from..from + 10_000 {
        if status(rig, number) == Status::Inferred {
            return number + 1;
        }
    }
    panic!("no frame is inferred");
}

/// The state change to NULL, which must not depend on what is stuck.
fn assert_stops_in_time(rig: &Rig) {
    let began = gstnextvision::clock::now();
    rig.stop();
    let took = gstnextvision::clock::now().since(began);
    assert!(took < Duration::from_secs(2) + Duration::from_nanos(RESPONSE), "{took:?}");
}

#[test]
fn a_model_that_fails_now_and_then_costs_those_frames_only() {
    let script = always("seventh", |call| match call.number % 7 {
        6 => Action::Error("as scripted".to_owned()),
        _ => Action::Detect,
    });
    let rig = rig(&script, 1);
    for number in 0..30 {
        let facts = send(&rig, 0, number);
        assert_eq!(facts.status == Status::Failed, number % 7 == 6, "{facts:?}");
        assert_eq!(facts.error.is_some_and(|error| error.contains("as scripted")), number % 7 == 6);
    }
    let messages = finish(&rig);
    assert_eq!((count(&messages, "batch-error"), count(&messages, "engine-degraded")), (4, 0));
    assert_eq!(stat(&rig.batcher, "failed"), 4);
    assert_eq!((stat(&rig.inference, "errors"), stat(&rig.inference, "consecutive-errors")), (4, 0));
}

#[test]
fn a_model_that_always_fails_degrades_the_engine_once_and_does_not_flood_the_bus() {
    let script = always("never", |_| Action::Error("as scripted".to_owned()));
    let rig = rig(&script, 1);
    let began = gstnextvision::clock::now();
    for number in 0..50 {
        assert_eq!(status(&rig, number), Status::Failed);
    }
    assert_eq!((state(&rig).as_str(), stat(&rig.inference, "consecutive-errors")), ("degraded", 50));
    let messages = finish(&rig);
    let seconds = gstnextvision::clock::now().since(began).as_secs();
    assert_eq!((count(&messages, "batch-error"), count(&messages, "engine-degraded")), (50, 1));
    let said = messages.iter().filter(|message| message.event.name() == "batch-error").count();
    assert!(said as u64 <= seconds + 3, "{said} messages in {seconds} s");
}

#[test]
fn a_degraded_engine_recovers_with_the_first_batch_that_succeeds() {
    let script = always("degraded", |call| match call.number {
        0..3 => Action::Error("as scripted".to_owned()),
        _ => Action::Detect,
    });
    let rig = rig(&script, 1);
    (0..3).for_each(|number| assert_eq!(status(&rig, number), Status::Failed));
    let messages = messages_until(&rig.pipeline, "engine-degraded");
    let Some(Event::EngineDegraded(event)) = messages.last().map(|message| &message.event) else { panic!() };
    assert_eq!((event.state.as_str(), event.consecutive), ("degraded", 3));
    assert_eq!(status(&rig, 3), Status::Inferred);
    messages_until(&rig.pipeline, "engine-recovered");
    assert_eq!(state(&rig), "ok");
}

#[test]
fn a_model_that_panics_fails_its_batch_and_nothing_is_poisoned() {
    let script = always("panics", |call| match call.number {
        1 => Action::Panic("as scripted".to_owned()),
        _ => Action::Detect,
    });
    let rig = rig(&script, 1);
    let statuses: Vec<_> = (0..4).map(|number| status(&rig, number)).collect();
    assert_eq!(statuses, [Status::Inferred, Status::Failed, Status::Inferred, Status::Inferred]);
    assert_eq!(count(&finish(&rig), "batch-error"), 1);
}

/// A rig whose batches wait for all feeds; feed 0 has already sent its frame 0.
fn batch_rig(script: &Script, feeds: usize) -> Rig {
    let mut rig = Rig::with_model(&script.model());
    rig.batcher.set_property("max-latency", 3_600_000_000_000_u64);
    for _ in 0..feeds {
        rig.add_feed(&painter().caps(), false);
    }
    rig.inference.set_property("response-timeout", 30_000_000_000_u64);
    rig.play();
    send(&rig, 0, 0);
    rig
}

/// One frame of each feed, all in one batch: feed 0, which the others wait for, comes last.
fn send_batch(rig: &Rig, number: u64) -> Vec<FrameFacts> {
    let numbers: Vec<_> =
        (0..rig.feeds.len()).map(|feed| if feed == 0 { number + 1 } else { number }).collect();
    numbers.iter().enumerate().skip(1).for_each(|(feed, number)| push(rig, feed, *number));
    let others = rig.feeds.len() as u64 - 1;
    eventually("the others have arrived", || stat(&rig.batcher, "queued"), |queued| *queued == others);
    push(rig, 0, number + 1);
    let facts: Vec<_> = numbers.iter().enumerate().map(|(feed, number)| pull(rig, feed, *number)).collect();
    assert!(facts.iter().all(|facts| facts.batch_size as usize == rig.feeds.len()), "{facts:?}");
    facts
}

#[test]
fn a_batch_too_large_for_the_device_is_saved_by_its_halves() {
    let script = always("oom", |call| match call.images.len() {
        0..=2 => Action::Detect,
        _ => Action::Error("out of memory".to_owned()),
    });
    let rig = batch_rig(&script, 4);
    for number in 0..3 {
        assert!(send_batch(&rig, number).iter().all(|facts| facts.status == Status::Inferred));
    }
    assert_eq!((stat(&rig.inference, "errors"), stat(&rig.inference, "failed")), (0, 0));
    assert_eq!(count(&finish(&rig), "batch-error"), 0);
}

#[test]
fn only_the_half_that_fails_again_is_lost() {
    // The bright cell of feed 3's first frame, in rows and columns of eight pixels.
    let at = usize::try_from(cell(3, 0)).expect("small");
    let poison =
        move |call: &Call<'_>| call.images.iter().any(|image| image[at / 8 * 8 * 64 + at % 8 * 8] > 0.5);
    let script = always("poison", move |call| match poison(call) {
        true => Action::Error("as scripted".to_owned()),
        false => Action::Detect,
    });
    let rig = batch_rig(&script, 4);
    let facts = send_batch(&rig, 0);
    let lost: Vec<_> = facts.iter().filter(|facts| facts.status == Status::Failed).collect();
    assert!(lost.iter().any(|facts| facts.feed == 3) && lost.len() == 2, "{facts:?}");
    let messages = finish(&rig);
    let error = messages.iter().find_map(|message| match &message.event {
        Event::BatchError(error) => Some(error),
        _ => None,
    });
    let error = error.expect("a message");
    assert_eq!((error.batch_size as usize, error.feeds.len()), (lost.len(), lost.len()));
    assert!(lost.iter().all(|facts| error.feeds.contains(&facts.feed_id)), "{error:?} {lost:?}");
}

#[test]
fn an_answer_that_comes_too_late_is_thrown_away() {
    let gate = Gate::new();
    let script = always("late", {
        let gate = gate.clone();
        move |call| if call.number == 0 { Action::Park(gate.clone()) } else { Action::Detect }
    });
    // So long that the engine is not held to be wedged before the gate is open.
    let rig = rig_with(&script, 1, 2_000_000_000);
    push(&rig, 0, 0);
    assert!(gate.wait_entered(1, PATIENCE.into()));
    assert_eq!(pull(&rig, 0, 0).status, Status::Timeout);
    assert!(messages_until(&rig.pipeline, "batch-timeout").iter().all(|message| message.burst.count == 1));
    gate.open();
    for number in 1..5 {
        // `pull` compares what was found with what this very frame shows.
        assert_eq!(status(&rig, number), Status::Inferred);
    }
    assert_eq!((stat(&rig.inference, "timeouts"), stat(&rig.inference, "rebuilds")), (1, 0));
    finish(&rig);
    assert_eq!(stat(&rig.batcher, "failed"), 1);
}

#[test]
fn a_frame_that_timed_out_keeps_its_ticket_until_the_engine_lets_go_of_it() {
    let gate = Gate::new();
    let script = always("ticket", {
        let gate = gate.clone();
        move |call| if call.number == 0 { Action::Park(gate.clone()) } else { Action::Detect }
    });
    // So long that the engine is not held to be wedged before the test is through.
    let rig = rig_with(&script, 1, 2_000_000_000);
    rig.feeds[0].sink_pad.set_property("max-in-flight", 1_u32);
    push(&rig, 0, 0);
    assert_eq!(pull(&rig, 0, 0).status, Status::Timeout);
    push(&rig, 0, 1);
    let stats = rig.feeds[0].sink_pad.property::<gst::Structure>("stats");
    assert_eq!(script.calls(), 1, "the feed has no credit: {stats}");
    gate.open();
    assert_eq!(pull(&rig, 0, 1).status, Status::Inferred);
}

/// A script whose engines of the numbers in `wedged` hang in their first run, behind the gate.
fn wedging(name: &str, gate: &Gate, wedged: std::ops::Range<u64>) -> Script {
    let gate = gate.clone();
    always(
        name,
        move |call| {
            if wedged.contains(&call.load) { Action::Park(gate.clone()) } else { Action::Detect }
        },
    )
}

#[test]
fn an_engine_that_does_not_answer_is_rebuilt_and_recovers() {
    let gate = Gate::new();
    let script = wedging("rebuilt", &gate, 0..1);
    let rig = impatient_rig(&script);
    push(&rig, 0, 0);
    push(&rig, 0, 1);
    assert_eq!([pull(&rig, 0, 0).status, pull(&rig, 0, 1).status], [Status::Timeout; 2]);
    send_until_inferred(&rig, 2);
    assert_eq!((state(&rig).as_str(), stat(&rig.inference, "rebuilds"), script.loads()), ("ok", 1, 2));
    eventually("one thread is left behind", || stat(&rig.inference, "detached-threads"), |count| *count == 1);
    let messages = finish(&rig);
    assert_eq!(count(&messages, "batch-timeout"), 2);
    for event in ["engine-rebuilt", "engine-recovered"] {
        assert_eq!(count(&messages, event), 1, "{event}");
    }
    assert_eq!(count(&messages, "engine-degraded"), 0);
    gate.open();
    eventually("its thread ends", || stat(&rig.inference, "detached-threads"), |count| *count == 0);
    assert_eq!((gate.inside(), script.released()), (0, 1));
}

#[test]
fn a_feed_with_one_frame_in_flight_is_not_starved_by_a_wedged_run() {
    let gate = Gate::new();
    let script = wedging("credit", &gate, 0..1);
    let rig = impatient_rig(&script);
    rig.feeds[0].sink_pad.set_property("max-in-flight", 1_u32);
    assert_eq!(status(&rig, 0), Status::Timeout);
    send_until_inferred(&rig, 1);
    finish(&rig);
    assert_eq!(stat(&rig.inference, "rebuilds"), 1);
}

#[test]
fn a_rebuilt_engine_that_does_not_answer_is_given_up_until_the_element_restarts() {
    let gate = Gate::new();
    let script = wedging("given-up", &gate, 0..2);
    let rig = impatient_rig(&script);
    let mut number = 0;
    while state(&rig) != "failed" {
        assert_ne!(status(&rig, number), Status::Inferred);
        number += 1;
    }
    let calls = script.calls();
    for _ in 0..20 {
        let facts = send(&rig, 0, number);
        assert_eq!(facts.status, Status::Failed);
        assert!(facts.error.expect("a reason").contains("the engine has failed"));
        number += 1;
    }
    assert_eq!(script.calls(), calls, "none is tried");
    rig.pipeline.set_state(gst::State::Ready).expect("it stops");
    let messages = rest(&rig.pipeline);
    let failed: Vec<_> = messages
        .iter()
        .filter(|message| matches!(&message.event, Event::EngineDegraded(event) if event.state == "failed"))
        .collect();
    assert_eq!(failed.len(), 1, "{messages:?}");
    assert!(count(&messages, "batch-rejected") >= 20);
    rig.play();
    push(&rig, 0, number);
    assert_eq!(facts(&rig.pull(0)).status, Status::Inferred);
    assert_eq!((state(&rig).as_str(), script.loads()), ("ok", 3));
}

#[test]
fn an_engine_that_cannot_be_opened_again_is_given_up() {
    let gate = Gate::new();
    let script = wedging("no-second", &gate, 0..1);
    script.on_load(|load| match load {
        0 => LoadAction::Ready,
        _ => LoadAction::Error("as scripted".to_owned()),
    });
    let rig = impatient_rig(&script);
    let mut number = 0;
    while state(&rig) != "failed" {
        assert_ne!(status(&rig, number), Status::Inferred);
        number += 1;
    }
    let messages = messages_until(&rig.pipeline, "engine-degraded");
    assert_eq!(count(&messages, "engine-rebuilt"), 0);
    let Some(Event::EngineDegraded(event)) = messages.last().map(|message| &message.event) else { panic!() };
    assert!(event.detail.contains("as scripted"), "{event:?}");
}

#[test]
fn stopping_does_not_wait_for_a_run_that_never_returns() {
    let gate = Gate::new();
    let script = wedging("null", &gate, 0..1);
    let rig = impatient_rig(&script);
    push(&rig, 0, 0);
    assert!(gate.wait_entered(1, PATIENCE.into()));
    assert_stops_in_time(&rig);
    assert_ledger(&rig.batcher);
    gate.open();
    eventually("the session is released", || script.released(), |released| *released == 1);
}

#[test]
fn frames_fail_at_once_while_the_model_loads_again_and_stopping_does_not_wait_for_that() {
    let (gate, loading) = (Gate::new(), Gate::new());
    let script = wedging("slow-load", &gate, 0..1);
    script.on_load({
        let loading = loading.clone();
        move |load| if load == 0 { LoadAction::Ready } else { LoadAction::Park(loading.clone()) }
    });
    let rig = impatient_rig(&script);
    push(&rig, 0, 0);
    push(&rig, 0, 1);
    (0..2).for_each(|number| drop(pull(&rig, 0, number)));
    assert!(loading.wait_entered(1, PATIENCE.into()));
    assert_eq!(state(&rig), "rebuilding");
    for number in 2..40 {
        let facts = send(&rig, 0, number);
        assert_eq!(facts.status, Status::Failed);
        assert!(facts.error.expect("a reason").contains("being rebuilt"));
    }
    assert_eq!(stat(&rig.batcher, "in-flight"), 0);
    assert_ledger(&rig.batcher);
    assert_stops_in_time(&rig);
    gate.open();
    loading.open();
    eventually("both sessions are released", || script.released(), |released| *released == 2);
}

#[test]
fn elements_that_share_a_wedged_engine_share_the_rebuilt_one() {
    let gate = Gate::new();
    let script = wedging("shared-wedge", &gate, 0..1);
    let rigs = [impatient_rig(&script), impatient_rig(&script)];
    assert_eq!(script.loads(), 1);
    for rig in &rigs {
        push(rig, 0, 0);
        push(rig, 0, 1);
    }
    for rig in &rigs {
        (0..2).for_each(|number| assert_ne!(pull(rig, 0, number).status, Status::Inferred));
        send_until_inferred(rig, 2);
    }
    assert_eq!(script.loads(), 2, "one engine for both, again");
    for rig in &rigs {
        finish(rig);
        assert_eq!(stat(&rig.inference, "rebuilds"), 1);
    }
}

#[test]
fn stopping_one_pipeline_leaves_the_engine_to_the_other() {
    let gate = Gate::new();
    let script = always("shared-stop", {
        let gate = gate.clone();
        move |call| if call.number == 0 { Action::Park(gate.clone()) } else { Action::Detect }
    });
    let (first, second) = (rig(&script, 1), rig(&script, 1));
    push(&first, 0, 0);
    assert!(gate.wait_entered(1, PATIENCE.into()));
    assert_stops_in_time(&first);
    gate.open();
    for number in 0..5 {
        assert_eq!(status(&second, number), Status::Inferred);
    }
    assert_eq!((script.loads(), script.released()), (1, 0));
    finish(&second);
    second.stop();
    eventually("the last user releases it", || script.released(), |released| *released == 1);
}

#[test]
fn the_same_model_with_other_options_is_another_engine() {
    let script = always("options", |_| Action::Detect);
    let first = rig(&script, 1);
    let mut second = Rig::with_model(&script.model());
    second.inference.set_property("threads", 3_u32);
    second.add_feed(&painter().caps(), false);
    second.play();
    assert_eq!([status(&first, 0), status(&second, 0)], [Status::Inferred; 2]);
    assert_eq!(script.loads(), 2);
}

/// The outputs of a run with the shape and the numbers changed.
fn changed(call: &Call<'_>, change: impl FnOnce(&mut OutputTensor)) -> Action {
    let mut output = call.detect();
    change(&mut output);
    Action::Outputs(vec![output])
}

#[test]
fn outputs_that_make_no_sense_fail_their_frames_by_a_message_per_feed() {
    let script = always("nonsense", |call| match call.number {
        0 => Action::Outputs(Vec::new()),
        1 => changed(call, |output| output.name = "other".to_owned()),
        // Fewer rows than frames, more of them, and rows in another dimension.
        2 => changed(call, |output| (output.shape[0], output.data) = (0, Vec::new())),
        3 => changed(call, |output| {
            output.shape[0] *= 2;
            output.data.extend(output.data.clone());
        }),
        4 => changed(call, |output| output.shape.rotate_left(1)),
        5 => changed(call, |output| output.data.truncate(7)),
        6 => changed(call, |output| output.data.fill(f32::NAN)),
        7 => changed(call, |output| output.data.fill(f32::INFINITY)),
        8 => changed(call, |output| output.shape = vec![usize::MAX, usize::MAX, 2]),
        _ => Action::Detect,
    });
    let rig = rig(&script, 1);
    for number in 0..9 {
        let facts = send(&rig, 0, number);
        assert_eq!(facts.status, Status::Failed, "{number}");
        assert!(facts.error.is_some());
    }
    assert_eq!(status(&rig, 9), Status::Inferred);
    let messages = finish(&rig);
    assert_eq!((count(&messages, "stage-error"), count(&messages, "batch-error")), (9, 0));
    for message in messages.iter().filter(|message| message.event.name() == "stage-error") {
        assert_eq!(message.feed_id.as_deref(), Some("sink_0"));
        assert!(matches!(&message.event, Event::StageError(event) if event.stage == "decode"));
    }
    assert_eq!(stat(&rig.batcher, "failed"), 9);
}

#[test]
fn a_million_boxes_are_cut_down_to_what_was_asked_for() {
    let script = always("million", |call| {
        let anchors = 1_000_000;
        let data = (0..5 * anchors).map(|at| if at < 4 * anchors { 8.0 } else { 0.9 }).collect();
        let output = OutputTensor { name: "output0".to_owned(), shape: vec![1, 5, anchors], data };
        if call.number == 0 { Action::Outputs(vec![output]) } else { Action::Detect }
    });
    let rig = rig(&script, 1);
    rig.push(0, painter().paint(0, 250), gst::ClockTime::ZERO);
    let sample = rig.pull(0);
    assert_eq!(facts(&sample).status, Status::Inferred);
    let found = detections::read(sample.buffer().expect("a frame"), Size::new(64, 64)).detections;
    assert!(!found.is_empty() && found.len() <= 300, "{}", found.len());
    assert_eq!(status(&rig, 1), Status::Inferred);
}

#[test]
fn rows_that_are_missing_fail_the_whole_batch_and_reach_no_other_frame() {
    let script = always("rows", |call| match call.number {
        1 => changed(call, |output| {
            output.shape[0] -= 1;
            output.data.drain(..5 * 64);
        }),
        _ => Action::Detect,
    });
    let rig = batch_rig(&script, 3);
    assert!(send_batch(&rig, 0).iter().all(|facts| facts.status == Status::Failed));
    assert!(send_batch(&rig, 1).iter().all(|facts| facts.status == Status::Inferred));
    finish(&rig);
}

#[test]
fn a_short_frame_of_a_plain_stream_fails_alone() {
    let script = always("short", |_| Action::Detect);
    let caps = "video/x-raw,format=GRAY8,width=64,height=64,framerate=30/1";
    let pipeline = launch(&format!(
        "appsrc name=a caps={caps} format=time ! nvinference name=i model={} \
         ! appsink name=s sync=false async=false",
        script.model()
    ));
    let source = pipeline.by_name("a").and_downcast::<gst_app::AppSrc>().expect("an appsrc");
    let sink = pipeline.by_name("s").and_downcast::<gst_app::AppSink>().expect("an appsink");
    pipeline.set_state(gst::State::Playing).expect("it plays");
    for buffer in [gst::Buffer::with_size(7).expect("memory"), painter().paint(0, 250)] {
        source.push_buffer(buffer).expect("it is taken");
    }
    source.end_of_stream().expect("it ends");
    let statuses = [(); 2].map(|()| facts(&sink.try_pull_sample(PATIENCE).expect("a frame")));
    assert_eq!(statuses.each_ref().map(|facts| facts.status), [Status::Failed, Status::Inferred]);
    assert!(statuses[0].error.as_deref().is_some_and(|error| error.contains("4096") && error.contains('7')));
    let messages = messages_until(&pipeline, "stage-error");
    let message = messages.last().expect("just found");
    assert_eq!(message.feed_id.as_deref(), Some("i"));
    assert!(matches!(&message.event, Event::StageError(event) if event.stage == "format"));
    pipeline.set_state(gst::State::Null).expect("it stops");
}

#[test]
fn loading_a_model_is_told_with_what_was_loaded() {
    let script = always("told", |_| Action::Detect);
    let rig = rig(&script, 1);
    let messages = messages_until(&rig.pipeline, "model-ready");
    let Some(Event::ModelLoading(loading)) = messages.first().map(|message| &message.event) else { panic!() };
    assert_eq!(loading.model, script.model());
    let Some(Event::ModelReady(ready)) = messages.last().map(|message| &message.event) else { panic!() };
    assert_eq!(
        (ready.model.as_str(), ready.decoder.as_str(), ready.provider.as_str()),
        ("told", "yolov8", "cpu")
    );
}

#[test]
fn a_frame_lost_to_the_engine_is_dropped_if_asked() {
    let gate = Gate::new();
    let script = wedging("drop", &gate, 0..1);
    let mut rig = Rig::with_model(&script.model());
    rig.inference.set_property("response-timeout", RESPONSE);
    rig.inference.set_property_from_str("on-error", "drop");
    rig.add_feed(&painter().caps(), false);
    rig.play();
    push(&rig, 0, 0);
    push(&rig, 0, 1);
    eventually("the engine is rebuilt", || stat(&rig.inference, "rebuilds"), |rebuilds| *rebuilds == 1);
    push(&rig, 0, 2);
    assert_eq!(pull(&rig, 0, 2).status, Status::Inferred);
    finish(&rig);
    assert_eq!(stat(&rig.batcher, "failed"), 2);
}

#[test]
fn the_last_message_about_an_engine_is_how_it_fares() {
    // Degraded, recovered, and so on, faster than messages come; degraded at last.
    let script = always("flapping", |call| match call.number % 4 {
        3 => Action::Detect,
        _ => Action::Error("as scripted".to_owned()),
    });
    let rig = rig(&script, 1);
    (0..11).for_each(|number| drop(send(&rig, 0, number)));
    assert_eq!(state(&rig), "degraded");
    let messages = finish(&rig);
    assert_eq!((count(&messages, "engine-degraded"), count(&messages, "engine-recovered")), (3, 2));
    let last = messages.iter().rfind(|message| message.event.name().starts_with("engine-"));
    assert_eq!(last.map(|message| message.event.name()), Some("engine-degraded"));
}

#[test]
fn what_is_folded_is_said_though_no_frame_follows() {
    let script = always("tail", |_| Action::Error("as scripted".to_owned()));
    let rig = rig(&script, 1);
    (0..4).for_each(|number| assert_eq!(status(&rig, number), Status::Failed));
    let mut messages = messages_until(&rig.pipeline, "batch-error");
    while count(&messages, "batch-error") < 4 {
        messages.extend(messages_until(&rig.pipeline, "batch-error"));
    }
    assert_eq!(messages.last().map(|message| message.burst.total), Some(4));
}

#[test]
fn a_rebuilt_engine_is_announced_before_it_recovers() {
    let gate = Gate::new();
    let script = wedging("announced", &gate, 0..1);
    let rig = impatient_rig(&script);
    let (tell, told) = std::sync::mpsc::channel();
    // Whoever hears of the new latency takes its time; frames come all the while.
    rig.pipeline.bus().expect("a bus").set_sync_handler(move |_, message| {
        if message.type_() == gst::MessageType::Latency {
            tell.send(()).ok();
            std::thread::park_timeout(Duration::from_millis(300));
        }
        gst::BusSyncReply::Pass
    });
    send_until_inferred(&rig, 0);
    let messages = messages_until(&rig.pipeline, "engine-recovered");
    assert!(told.try_recv().is_ok(), "no new latency: this shows nothing");
    assert_eq!(count(&messages, "engine-rebuilt"), 1, "{messages:?}");
    gate.open();
}
