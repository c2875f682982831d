//! What happens to one member stays with it.

use super::*;

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
    let received = || {
        let feed = member.stats().get::<gst::Structure>("feed").expect("a ledger");
        feed.get::<u64>("received").expect("a count")
    };
    eventually("the engine's element has seen all of them", received, |received| *received == 8);
    gate.open();
    let passed = (0..8).filter(|number| member.pull(*number).status != Status::Inferred).count();
    assert!(passed > 0, "eight frames met a queue of four");
    assert_eq!(member.stats().get::<gst::Structure>("feed").expect("a ledger").get("dropped"), Ok(0_u64));
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
