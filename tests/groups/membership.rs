//! Members that leave, and members that come back.

use super::*;

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
