//! What one feed does reaches that feed and no other: flushes, queries, ends and new beginnings, odd timestamps,
//! formats nobody reads.

use crate::support::frames::Painter;
use crate::support::rig::Rig;
use crate::support::{PATIENCE, assert_ledger, eventually, facts, health, stat, wait_for_health};
use gst::prelude::*;
use gst_video::VideoFormat;
use gstnextvision::health::Event;
use gstnextvision::output::Status;

const SECOND: gst::ClockTime = gst::ClockTime::SECOND;

fn grey() -> Painter {
    Painter::new(VideoFormat::Gray8, 64, 64)
}

/// A rig with `feeds` feeds, playing.
fn rig(feeds: usize) -> Rig {
    let mut rig = Rig::new();
    for _ in 0..feeds {
        rig.add_feed(&grey().caps(), false);
    }
    rig.play();
    rig
}

fn push(rig: &Rig, feed: usize, number: u64) {
    rig.push(feed, grey().paint(number, 255), number * gst::ClockTime::MSECOND);
}

/// Sends what a pad without an upstream element would get.
fn send(rig: &Rig, feed: usize, event: gst::Event) {
    if matches!(event.type_(), gst::EventType::FlushStart | gst::EventType::FlushStop) {
        // Not past the source: one that sees its own pad flush as it goes on to its next frame stops for good.
        rig.feeds[feed].sink_pad.send_event(event);
        return;
    }
    let pad = rig.feeds[feed].source.static_pad("src").expect("a pad");
    pad.push_event(event);
}

/// Counts the events of a kind that reach the sink of a feed.
fn count_events(rig: &Rig, feed: usize, kind: gst::EventType) -> std::sync::mpsc::Receiver<gst::Seqnum> {
    let (sender, receiver) = std::sync::mpsc::channel();
    let pad = rig.feeds[feed].sink.static_pad("sink").expect("a pad");
    let types = gst::PadProbeType::EVENT_DOWNSTREAM | gst::PadProbeType::EVENT_FLUSH;
    pad.add_probe(types, move |_, info| {
        if let Some(event) = info.event().filter(|event| event.type_() == kind) {
            sender.send(event.seqnum()).ok();
        }
        gst::PadProbeReturn::Ok
    });
    receiver
}

#[test]
fn a_flush_of_one_feed_reaches_its_own_src_pad_only() {
    let rig = rig(2);
    for feed in [0, 1] {
        push(&rig, feed, 0);
        rig.pull(feed);
    }
    let (flushed, others) = (
        [count_events(&rig, 0, gst::EventType::FlushStart), count_events(&rig, 0, gst::EventType::FlushStop)],
        [count_events(&rig, 1, gst::EventType::FlushStart), count_events(&rig, 1, gst::EventType::FlushStop)],
    );
    let start = gst::event::FlushStart::new();
    let seqnum = start.seqnum();
    send(&rig, 0, start);
    send(&rig, 0, gst::event::FlushStop::builder(false).seqnum(seqnum).build());
    for kind in &flushed {
        assert_eq!(kind.recv_timeout(PATIENCE.into()), Ok(seqnum));
    }
    send(&rig, 0, gst::event::Segment::new(&gst::FormattedSegment::<gst::ClockTime>::new()));
    for feed in [0, 1] {
        push(&rig, feed, 1);
        assert_eq!(facts(&rig.pull(feed)).seq, 1);
    }
    assert!(others.iter().all(|kind| kind.try_recv().is_err()), "the other feed saw a flush");
    rig.stop();
    assert_ledger(&rig.batcher);
}

#[test]
fn frames_of_before_a_flush_never_come_out_after_it() {
    let rig = rig(1);
    push(&rig, 0, 0);
    rig.pull(0);
    let held = rig.hold_batches();
    for number in 1..4 {
        push(&rig, 0, number);
    }
    eventually("a batch waits at the src pad", || stat(&rig.batcher, "in-flight"), |count| *count >= 3);
    send(&rig, 0, gst::event::FlushStart::new());
    send(&rig, 0, gst::event::FlushStop::new(false));
    send(&rig, 0, gst::event::Segment::new(&gst::FormattedSegment::<gst::ClockTime>::new()));
    push(&rig, 0, 9);
    held.release();
    let sample = rig.pull(0);
    assert_eq!(sample.buffer().and_then(gst::BufferRef::pts), Some(9 * gst::ClockTime::MSECOND));
    rig.end(0);
    rig.assert_ended(0);
    rig.stop();
    assert_ledger(&rig.batcher);
    assert_eq!(stat(&rig.batcher, "received"), stat(&rig.batcher, "delivered") + 3);
}

#[test]
fn position_duration_and_seeking_are_answered_by_the_feed_itself() {
    let rig = rig(2);
    for feed in [0, 1] {
        let pad = rig.feeds[feed].source.static_pad("src").expect("a pad");
        let own = (feed as u64 + 1) * SECOND;
        pad.add_probe(gst::PadProbeType::QUERY_UPSTREAM | gst::PadProbeType::PUSH, move |_, info| {
            match info.query_mut().map(|query| query.view_mut()) {
                Some(gst::QueryViewMut::Position(query)) => query.set(own),
                Some(gst::QueryViewMut::Duration(query)) => query.set(10 * own),
                Some(gst::QueryViewMut::Seeking(query)) => query.set(true, own, 10 * own),
                _ => return gst::PadProbeReturn::Ok,
            }
            gst::PadProbeReturn::Handled
        });
    }
    for feed in [0, 1] {
        let sink = rig.feeds[feed].sink.static_pad("sink").expect("a pad");
        let own = (feed as u64 + 1) * SECOND;
        assert_eq!(sink.peer_query_position::<gst::ClockTime>(), Some(own));
        assert_eq!(sink.peer_query_duration::<gst::ClockTime>(), Some(10 * own));
        let mut seeking = gst::query::Seeking::new(gst::Format::Time);
        assert!(sink.peer_query(&mut seeking));
        assert_eq!(seeking.result(), (true, own.into(), (10 * own).into()));
    }
}

#[test]
fn a_feed_is_negotiated_with_its_own_consumer() {
    let rig = rig(2);
    let rgb = Painter::new(VideoFormat::Rgb, 64, 64).caps();
    rig.feeds[1].sink.set_caps(Some(&rgb));
    let takes = |feed: usize| rig.feeds[feed].sink_pad.query_caps(None);
    assert!(takes(0).can_intersect(&grey().caps()));
    assert!(!takes(1).can_intersect(&grey().caps()));
    assert!(takes(1).can_intersect(&rgb));
}

#[test]
fn upstream_events_reach_their_own_feed_only() {
    let rig = rig(2);
    let (sender, seen) = std::sync::mpsc::channel();
    for feed in [0, 1] {
        let pad = rig.feeds[feed].source.static_pad("src").expect("a pad");
        let sender = sender.clone();
        pad.add_probe(gst::PadProbeType::EVENT_UPSTREAM, move |_, info| {
            if let Some(event) = info.event() {
                sender.send((feed, event.type_())).ok();
            }
            gst::PadProbeReturn::Ok
        });
    }
    let qos = gst::event::Qos::new(gst::QOSType::Throttle, 0.5, 1, gst::ClockTime::ZERO);
    let seek = gst::event::Seek::new(
        1.0,
        gst::SeekFlags::FLUSH,
        gst::SeekType::Set,
        SECOND,
        gst::SeekType::None,
        gst::ClockTime::NONE,
    );
    let custom = gst::event::CustomUpstream::new(gst::Structure::new_empty("theirs"));
    for event in [qos, seek, custom, gst::event::Reconfigure::new()] {
        let kind = event.type_();
        rig.feeds[1].sink.static_pad("sink").expect("a pad").push_event(event);
        assert_eq!(seen.recv_timeout(PATIENCE.into()), Ok((1, kind)));
    }
    assert!(seen.try_recv().is_err());
}

#[test]
fn a_released_pad_ends_its_feed_and_a_new_one_of_the_number_is_its_next_session() {
    let mut rig = rig(2);
    for number in 0..3 {
        push(&rig, 0, number);
        push(&rig, 1, number);
        assert_eq!(facts(&rig.pull(0)).seq, number);
        rig.pull(1);
    }
    let old = rig.feeds[0].source.clone();
    old.set_state(gst::State::Null).expect("it stops");
    rig.batcher.release_request_pad(&rig.feeds[0].sink_pad);
    rig.assert_ended(0);
    rig.replace_source(0, &grey().caps());
    push(&rig, 0, 7);
    await_new_stream(&rig, 0);
    let first = facts(&rig.pull(0));
    assert_eq!((first.session, first.seq), (1, 3));
    push(&rig, 1, 7);
    assert_eq!(facts(&rig.pull(1)).session, 0);
    rig.stop();
    assert_ledger(&rig.batcher);
}

#[test]
fn a_new_stream_after_the_end_of_all_flows_again() {
    let rig = rig(2);
    // Pads of our own take the place of the sources, so that every event is ours.
    let pads = [0, 1].map(|feed| {
        let own = rig.feeds[feed].source.static_pad("src").expect("a pad");
        own.unlink(&rig.feeds[feed].sink_pad).expect("they were linked");
        let pad = gst::Pad::builder(gst::PadDirection::Src).build();
        pad.set_active(true).expect("it activates");
        pad.link(&rig.feeds[feed].sink_pad).expect("they link");
        pad
    });
    let mut before = None;
    for round in 0..3_u32 {
        for (feed, pad) in pads.iter().enumerate() {
            pad.push_event(gst::event::StreamStart::new(&format!("{feed}/{round}")));
            pad.push_event(gst::event::Caps::new(&grey().caps()));
            pad.push_event(gst::event::Segment::new(&gst::FormattedSegment::<gst::ClockTime>::new()));
            let mut frame = grey().paint(0, 255);
            frame.get_mut().expect("one owner").set_pts(SECOND);
            pad.push(frame).expect("it flows");
            await_new_stream(&rig, feed);
            let facts = facts(&rig.pull(feed));
            assert_eq!(facts.seq, u64::from(round));
            assert!(before < Some((facts.session, feed)) || feed == 1, "the session does not rise");
            before = Some((facts.session, feed));
        }
        for (feed, pad) in pads.iter().enumerate() {
            pad.push_event(gst::event::Eos::new());
            rig.assert_ended(feed);
        }
    }
}

/// A sink that has ended gives nothing and says so at once, until the new stream is there.
fn await_new_stream(rig: &Rig, feed: usize) {
    eventually("the sink takes the new stream", || rig.feeds[feed].sink.is_eos(), |is_eos| !is_eos);
}

#[test]
fn odd_timestamps_are_taken_and_counted_and_only_a_frame_outside_of_its_segment_is_dropped() {
    let rig = rig(1);
    let mut segment = gst::FormattedSegment::<gst::ClockTime>::new();
    segment.set_start(SECOND);
    let taken = [Some(2), Some(2), None, Some(1), Some(3600)];
    rig.feeds[0].source.set_property("handle-segment-change", true);
    let push = |pts: Option<u64>| {
        let mut frame = grey().paint(0, 255);
        frame.get_mut().expect("one owner").set_pts(pts.map(gst::ClockTime::from_seconds));
        let sample = gst::Sample::builder().buffer(&frame).caps(&grey().caps()).segment(&segment).build();
        rig.feeds[0].source.push_sample(&sample).expect("the feed takes it");
    };
    for (seq, pts) in taken.into_iter().enumerate() {
        push(pts);
        let sample = rig.pull(0);
        assert_eq!(sample.buffer().and_then(gst::BufferRef::pts), pts.map(gst::ClockTime::from_seconds));
        assert_eq!(facts(&sample).seq, seq as u64);
    }
    push(Some(0));
    let message = wait_for_health(&rig.pipeline);
    let Event::StageError(event) = message.event else { panic!("{message:?}") };
    assert_eq!((event.stage.as_str(), message.feed_id.as_deref()), ("timestamp", Some("sink_0")));
    push(Some(4000));
    assert_eq!(facts(&rig.pull(0)).seq, 6, "the dropped frame keeps its number");
    let pad = &rig.feeds[0].sink_pad;
    let counts =
        ["without-pts", "duplicate-pts", "backward-pts", "out-of-segment"].map(|name| stat(pad, name));
    assert_eq!(counts, [1, 1, 1, 1]);
    assert_ledger(pad);
}

#[test]
fn a_short_frame_fails_alone() {
    let rig = rig(2);
    for feed in [0, 1] {
        push(&rig, feed, 0);
        rig.pull(feed);
    }
    rig.push(0, gst::Buffer::with_size(7).expect("memory"), SECOND);
    push(&rig, 1, 1);
    let failed = facts(&rig.pull(0));
    assert_eq!(failed.status, Status::Failed);
    assert!(failed.error.is_some_and(|error| error.contains('7')), "what was found is not said");
    assert_eq!(facts(&rig.pull(1)).status, Status::Inferred);
    push(&rig, 0, 2);
    assert_eq!(facts(&rig.pull(0)).status, Status::Inferred);
    rig.stop();
    assert_ledger(&rig.batcher);
}

#[test]
fn drops_are_said_at_once_and_their_counts_add_up() {
    let rig = rig(2);
    push(&rig, 0, 0);
    rig.pull(0);
    let pad = &rig.feeds[0].sink_pad;
    pad.set_property_from_str("overload", "drop-oldest");
    pad.set_property("feed-id", "gate");
    let held = rig.hold_batches();
    for number in 1..40 {
        push(&rig, 0, number);
    }
    let first = wait_for_health(&rig.pipeline);
    assert_eq!((first.event.name(), first.feed_id.as_deref()), ("backpressure-drop", Some("gate")));
    assert_eq!(first.burst.count, first.burst.total);
    eventually("all are in", || stat(pad, "received"), |count| *count == 40);
    held.release();
    // Not NULL, which throws away what is on the bus.
    rig.pipeline.set_state(gst::State::Ready).expect("it stops");
    let dropped = pad.property::<gst::Structure>("stats").get::<gst::Structure>("dropped-by-reason");
    let dropped = dropped.expect("reasons").get::<u64>("overload").expect("a count");
    let rest: Vec<_> = health(&rig.pipeline);
    assert!(rest.iter().all(|message| message.event.name() == "backpressure-drop"), "{rest:?}");
    let said = first.burst.count + rest.iter().map(|message| message.burst.count).sum::<u64>();
    assert_eq!(said, dropped);
}

#[test]
fn a_padded_frame_is_unpadded_for_a_consumer_that_reads_no_video_meta() {
    let rig = rig(1);
    let pad = rig.feeds[0].sink.static_pad("sink").expect("a pad");
    pad.add_probe(gst::PadProbeType::QUERY_DOWNSTREAM | gst::PadProbeType::PUSH, |_, info| {
        let is_allocation = |query: &gst::QueryRef| query.type_() == gst::QueryType::Allocation;
        if info.query().is_some_and(is_allocation) {
            gst::PadProbeReturn::Drop
        } else {
            gst::PadProbeReturn::Ok
        }
    });
    // 64 x 64 grey with 80 bytes a row.
    let mut frame = gst::Buffer::from_mut_slice(vec![7_u8; 80 * 64]);
    let writable = frame.get_mut().expect("one owner");
    let flags = gst_video::VideoFrameFlags::empty();
    gst_video::VideoMeta::add_full(writable, flags, VideoFormat::Gray8, 64, 64, &[0], &[80]).expect("a meta");
    rig.push(0, frame, SECOND);
    let sample = rig.pull(0);
    let buffer = sample.buffer().expect("a frame");
    assert_eq!((buffer.size(), buffer.meta::<gst_video::VideoMeta>().is_some()), (64 * 64, false));
    assert_eq!(facts(&sample).status, Status::Inferred);
    assert_eq!(buffer.pts(), Some(SECOND));
}

#[test]
fn a_feed_can_be_renamed_while_it_plays() {
    let rig = rig(1);
    push(&rig, 0, 0);
    assert_eq!(facts(&rig.pull(0)).feed_id, "sink_0");
    rig.feeds[0].sink_pad.set_property("feed-id", "gate");
    push(&rig, 0, 1);
    assert_eq!(facts(&rig.pull(0)).feed_id, "gate");
}

/// Begins a stream on a feed that names the feed, or does not.
fn begin_stream(rig: &Rig, feed: usize, name: Option<&str>) {
    let start = gst::event::StreamStart::builder("another");
    let start = match name {
        Some(name) => start.other_field("nv-feed-id", name),
        None => start,
    };
    send(rig, feed, start.build());
    send(rig, feed, gst::event::Caps::new(&grey().caps()));
    send(rig, feed, gst::event::Segment::new(&gst::FormattedSegment::<gst::ClockTime>::new()));
}

#[test]
fn a_stream_can_name_its_feed() {
    let rig = rig(1);
    let pad = rig.feeds[0].sink_pad.clone();
    let name_of = |number: u64| {
        push(&rig, 0, number);
        facts(&rig.pull(0)).feed_id
    };
    assert_eq!(name_of(0), "sink_0");
    begin_stream(&rig, 0, Some("gate"));
    assert_eq!((name_of(1).as_str(), pad.property::<String>("feed-id").as_str()), ("gate", "gate"));
    pad.set_property("feed-id", "door");
    assert_eq!(name_of(2), "door", "what is set goes before what the stream says");
    begin_stream(&rig, 0, Some("yard"));
    assert_eq!(name_of(3), "door");
    pad.set_property("feed-id", None::<String>);
    assert_eq!(name_of(4), "yard");
    begin_stream(&rig, 0, None);
    assert_eq!(name_of(5), "sink_0");
}

#[test]
fn frames_keep_the_name_that_their_stream_gave_the_feed_and_messages_have_the_latest() {
    let rig = rig(1);
    push(&rig, 0, 0);
    rig.pull(0);
    rig.feeds[0].sink_pad.set_property_from_str("overload", "drop-newest");
    let held = rig.hold_batches();
    begin_stream(&rig, 0, Some("gate"));
    push(&rig, 0, 1);
    eventually("it waits", || stat(&rig.batcher, "received"), |count| *count == 2);
    begin_stream(&rig, 0, Some("yard"));
    for number in 2..40 {
        push(&rig, 0, number);
    }
    let dropped = wait_for_health(&rig.pipeline);
    assert_eq!((dropped.event.name(), dropped.feed_id.as_deref()), ("backpressure-drop", Some("yard")));
    held.release();
    for name in ["gate", "yard"] {
        assert_eq!(facts(&rig.pull(0)).feed_id, name);
    }
}

#[test]
fn a_change_of_latency_is_told_to_the_pipeline() {
    let rig = rig(1);
    push(&rig, 0, 0);
    rig.pull(0);
    rig.pipeline.state(PATIENCE).0.expect("it plays");
    let mut query = gst::query::Latency::new();
    assert!(rig.pipeline.query(&mut query));
    let bus = rig.pipeline.bus().expect("a bus");
    while bus.pop().is_some() {}
    rig.batcher.set_property("max-latency", 20_000_000_u64);
    let message = bus.timed_pop_filtered(PATIENCE, &[gst::MessageType::Latency]).expect("a latency message");
    assert_eq!(message.src().map(|source| source.name()), Some(rig.batcher.name()));
}

#[test]
fn a_pad_can_be_released_while_its_consumer_is_stuck() {
    let rig = rig(2);
    let pad = rig.unbatcher.static_pad("src_0").expect("a pad");
    // Nobody pulls: the sink holds one frame and blocks on the next.
    rig.feeds[0].sink.set_max_buffers(1);
    for number in 0..3 {
        push(&rig, 0, number);
    }
    rig.unbatcher.release_request_pad(&pad);
    for number in 0..5 {
        push(&rig, 1, number);
        assert_eq!(facts(&rig.pull(1)).seq, number);
    }
    rig.stop();
    assert_ledger(&rig.batcher);
}
