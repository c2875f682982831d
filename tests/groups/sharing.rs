//! One engine, one batch, and every frame back where it belongs.

use super::*;

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
