//! Whole sites.

use super::*;

pub(super) const EXAMPLE: &str = include_str!("../../docs/site.example.toml");

fn parse(text: &str) -> Result<Site, Vec<Problem>> {
    Site::parse(text, Path::new("/etc/site"))
}

#[test]
fn the_example_is_right() {
    println!("{}", plan(&parse(EXAMPLE).unwrap()));
}

/// All of them at once: the first to fail hides nothing.
#[test]
fn every_wrong_site_is_refused_with_line_key_and_reason() {
    let mut names = std::collections::HashSet::new();
    let mut failures = Vec::new();
    for wrong in wrong::wrong_sites() {
        assert!(names.insert(wrong.name), "{}", wrong.name);
        let problems = parse(&wrong.text).err().unwrap_or_default();
        let shown: Vec<String> = problems.iter().map(ToString::to_string).collect();
        let is_right = problems.first().is_some_and(|first| {
            let is_said = wrong.words.iter().all(|word| first.text.contains(word));
            (first.line, first.key.as_str()) == (wrong.line, wrong.key) && is_said
        });
        // Each feed without a group is named.
        let is_alone = problems.len() == 1 || wrong.name == "no group said";
        if !is_right || !is_alone || shown.concat().contains(wrong::SECRET) {
            failures.push(format!(
                "{}: expected line {:?}, {}, {:?}, found {shown:#?}",
                wrong.name, wrong.line, wrong.key, wrong.words
            ));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(names.len() >= 40);
}

#[test]
fn the_right_site_is_right() {
    assert_eq!(parse(wrong::RIGHT).err(), None);
}

/// Texts that hurt parsers.
#[test]
fn deep_and_long_texts_are_refused_in_one_piece() {
    let bomb = "a.".repeat(400_000);
    for text in [
        format!("{bomb}a = 1"),
        format!("[{bomb}a]"),
        format!("a = {}", "[".repeat(500_000)),
        format!("a = {}", "{a=".repeat(300_000)),
        format!("a = {}", "9".repeat(1_000_000)),
        format!("[runtime]\n{} = 1", "k".repeat(1_000_000)),
    ] {
        let problems = parse(&text).unwrap_err();
        assert!(problems.iter().all(|problem| problem.text.len() < 1000), "{}", &text[..40]);
    }
}

#[test]
fn too_much_is_refused() {
    let large = format!("#{}", " ".repeat(LARGEST_FILE));
    let problems = parse(&large).unwrap_err();
    assert!(problems[0].text.starts_with("expected a file of 1048576 bytes at most"), "{problems:?}");
    for (list, most) in
        [("models", MOST_OTHERS), ("groups", MOST_OTHERS), ("feeds", MOST_FEEDS), ("outputs", MOST_OTHERS)]
    {
        let text = format!("[[{list}]]\n").repeat(most + 1);
        let problems = parse(&text).unwrap_err();
        assert_eq!(problems[0].text, format!("expected {most} {list} at most, found {}", most + 1));
        assert_eq!((problems.len(), problems[0].key.as_str()), (1, list));
    }
}

#[test]
fn thousands_of_problems_are_cut_to_a_hundred() {
    let group = "[[models]]\nname = 'm'\npath = 'm'\n[[groups]]\nname = 'g'\nmodels = ['m']\n";
    let feeds: String = (0..4000).map(|_| "[[feeds]]\nid = 'a'\nuri = 'rtsp://a:b@c'\n").collect();
    let ids: Vec<String> = (0..4000).map(|id| format!("'unknown-{id}'")).collect();
    let output = format!("[[outputs]]\nname = 'o'\ntype = 'stdout'\nfeeds = [{}]\n", ids.join(","));
    assert_eq!(parse(&format!("{group}{feeds}{output}")).unwrap_err().len(), MOST_PROBLEMS);
}

#[test]
fn all_problems_of_a_file_are_said_by_line() {
    let text = "[runtime]\nmax-feeds = 0\ndrain = 1\n[[models]]\nname = 'm'\nthreads = 'x'\n[[groups]]\nname = 'g'\n\
                models = ['n', 5]\n[[feeds]]\nid = 'a'\nuri = 'rtsp://a:b@c'\n[[feeds]]\nid = 'a'\nloop = 1\n";
    let problems = parse(text).unwrap_err();
    let places: Vec<_> =
        problems.iter().map(|problem| (problem.line.unwrap(), problem.key.as_str())).collect();
    let expected = [
        (2, "runtime.max-feeds"),
        (3, "runtime.drain"),
        (4, "models[0].path"),
        (6, "models[0].threads"),
        (9, "groups[0].models[1]"),
        (12, "feeds[0].uri"),
        (13, "feeds[1].uri"),
        (14, "feeds[1].id"),
        (15, "feeds[1].loop"),
    ];
    assert_eq!(places, expected);
    assert_eq!(problems[0].column, Some(1));
    let shown = problems[0].to_string();
    assert_eq!(shown, "line 2: runtime.max-feeds: expected a whole number from 1 to 4096, found 0");
}

#[test]
fn a_table_is_no_list_and_a_list_no_table() {
    for (text, key, words) in [
        ("[feeds]\nid = 'a'", "feeds", "expected a list, found a table: write [[feeds]], with two brackets"),
        (
            "[[runtime]]\nmax-feeds = 1",
            "runtime",
            "expected a table, found a list: write [runtime], with one bracket",
        ),
        ("runtime = [64, 'isolate']", "runtime", "expected a table, found a list"),
        ("feeds = [1]", "feeds[0]", "expected a table, found 1"),
        ("runtime = 1979-05-27", "runtime", "expected a table, found 1979-05-27"),
        ("[[groups]]\nname = 'g'\ntracker = []", "groups[0].tracker", "expected a table, found a list"),
    ] {
        let problems = parse(text).unwrap_err();
        let found = problems.iter().any(|problem| problem.key == key && problem.text.starts_with(words));
        assert!(found, "{text}: {problems:#?}");
    }
}

#[test]
fn an_empty_file_is_an_idle_site() {
    let site = parse("").unwrap();
    assert_eq!((site.runtime.max_feeds, site.feeds.len(), site.runtime.metrics_address), (64, 0, None));
    assert_eq!(site.runtime.drain_timeout, Duration::from_secs(10));
    assert!(site.previews.enabled && site.runtime.on_feed_exit == OnFeedExit::Isolate);
    assert!(diff(&site, &parse("\n# nothing\n").unwrap()).is_empty());
}

#[test]
fn feeds_have_the_keys_of_the_defaults_and_limits_key_by_key() {
    let site = parse(
        "health = { stall-timeout = '1s', lag-threshold = '2s', fps-min = 3 }\n\
         [[models]]\nname = 'm'\npath = 'm.onnx'\n[[groups]]\nname = 'g'\nmodels = ['m']\n\
         [defaults]\ninterval = 5\non-end = 'stop'\nhealth = { stall-timeout = '4s', lag-threshold = '5s' }\n\
         [[feeds]]\nid = 'a'\nuri = 'a b#.mp4'\ninterval = 6\nhealth = { lag-threshold = '9s' }\n",
    )
    .unwrap();
    let feed = site.feed("a").unwrap();
    assert_eq!((feed.interval, feed.on_end, feed.group.as_str()), (Some(6), Some(OnEnd::Stop), "g"));
    let limits = HealthLimits {
        stall_timeout: Some(Duration::from_secs(4)),
        lag_threshold: Some(Duration::from_secs(9)),
        fps_min: Some(3.0),
    };
    assert_eq!(feed.health, limits);
    let Source::Uri(address) = &feed.source else { panic!("{feed:?}") };
    assert_eq!(address.as_str(), "file:///etc/site/a%20b%23.mp4");
    assert_eq!(site.models[0].path, Path::new("/etc/site/m.onnx"));
}

#[test]
fn a_feed_that_is_added_has_what_the_site_gives_its_feeds() {
    let site = parse(EXAMPLE).unwrap();
    let feed = site.feed_from_toml("uri = 'x.mp4'\npassword = { file = 'pw' }\nuser = 'u'").unwrap();
    assert_eq!((feed.id.as_str(), feed.group.as_str(), feed.max_in_flight), ("", "default", Some(2)));
    assert_eq!(feed.password, Some(Secret::File("/etc/site/pw".into())));
    assert_eq!(feed.health, site.health);
    let problems = site.feed_from_toml("id = 'x'\nurl = 'x.mp4'\ngroup = 'y'\nlatency = 5").unwrap_err();
    let keys: Vec<&str> = problems.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(keys, ["url", "group", "latency"]);
}

#[test]
fn nothing_shows_a_secret() {
    let text = EXAMPLE
        .replace("rtsp://camera.example/stream", "rtsp://camera.example/stream?token=hunter2")
        .replace("user = \"viewer\"", "user = \"hunter2\"")
        .replace("videotestsrc is-live=true", "souphttpsrc user-pw=hunter2");
    let site = parse(&text).unwrap();
    for shown in [format!("{site:?}"), plan(&site), format!("{:?}", diff(&parse("").unwrap(), &site))] {
        assert!(!shown.contains("hunter2"), "{shown}");
    }
    for value in [
        "'hunter2'",
        "['hunter2']",
        "4711",
        "1979-05-27",
        "true",
        "{ env = 4711 }",
        "{ hunter = '4711' }",
        "{ env = '4711' }",
    ] {
        let problems = parse(&EXAMPLE.replace("{ env = \"DOOR_PASSWORD\" }", value)).unwrap_err();
        let shown = problems.iter().map(ToString::to_string).collect::<String>();
        assert!(!shown.contains("4711") && !shown.contains("hunter2") && !shown.contains("1979"), "{shown}");
        assert!(problems[0].key.starts_with("feeds[0].password"), "{problems:?}");
    }
}

#[test]
fn file_names_are_safe_and_differ() {
    for (id, name) in
        [("door", "door"), ("a/b", "a%2Fb"), ("..", "%2E."), ("é", "%C3%A9"), ("a%2Fb", "a%252Fb"), ("", "")]
    {
        assert_eq!(file_name(id), name);
    }
    let (one, other) = ("é".repeat(64), "é".repeat(63) + "è");
    assert!(file_name(&one) != file_name(&other) && file_name(&one).len() <= 160);
}

#[test]
fn an_output_has_the_feeds_it_names_in_files_by_their_names() {
    let site = parse(EXAMPLE).unwrap();
    let records = &site.outputs[0];
    assert_eq!(records.path("a/b"), Some("/etc/site/records/a%2Fb.jsonl".into()));
    assert!(records.is_per_feed() && records.takes("door") && !records.takes("test"));
    let names: Vec<_> = site.outputs_of("test").map(|output| output.name.as_str()).collect();
    assert_eq!(names, ["console"]);
}

#[test]
fn what_differs_is_found() {
    let old = parse(wrong::RIGHT).unwrap();
    let change = |from: &str, to: &str| {
        assert!(wrong::RIGHT.contains(from), "{from}");
        diff(&old, &parse(&wrong::RIGHT.replace(from, to)).unwrap())
    };
    let changed = |changes: &Changes| -> Vec<(String, FeedChange)> {
        changes.changed.iter().map(|(feed, change)| (feed.id.clone(), *change)).collect()
    };
    let (door, clip) = ("door".to_owned(), "clip".to_owned());
    assert!(change("[runtime]", "# nothing\n[runtime]").is_empty());
    let changes = change("\"5s\"", "\"6s\"");
    assert_eq!(changed(&changes), [(door.clone(), FeedChange::Live)]);
    assert!(!changes.health && changes.groups.is_empty());
    let changes = change("fps-min = 0.5", "fps-min = 1");
    assert_eq!(changed(&changes), [(door.clone(), FeedChange::Live), (clip.clone(), FeedChange::Live)]);
    assert!(changes.health);
    assert_eq!(changed(&change("loop = true", "loop = false")), [(clip.clone(), FeedChange::Replace)]);
    assert_eq!(changed(&change("loop = true", "enabled = false")), [(clip.clone(), FeedChange::Replace)]);
    let changes = change("object-labels = [\"person\"]", "object-labels = [\"car\"]");
    assert_eq!(changes.groups, ["default"]);
    assert_eq!(changed(&changes), [(door, FeedChange::Replace), (clip, FeedChange::Replace)]);
    assert_eq!(change("score-threshold = 0.5", "score-threshold = 0.6").groups, ["default", "plain"]);
    let changes = change("name = \"plain\"", "name = \"other\"");
    assert_eq!(
        (changes.groups.as_slice(), changes.changed.len()),
        (["other".to_owned(), "plain".to_owned()].as_slice(), 0)
    );
    let changes = change("\"clip\"", "\"film\"");
    assert_eq!(
        (changes.added[0].id.as_str(), changes.removed.as_slice()),
        ("film", ["clip".to_owned()].as_slice())
    );
    assert!(changes.outputs && !changes.runtime);
    assert!(change("max-feeds = 8", "max-feeds = 9").runtime);
    assert!(change("width = 320", "width = 321").previews);
}

#[test]
fn the_plan_says_what_would_run() {
    let plan = plan(&parse(EXAMPLE).unwrap());
    for words in [
        "when a feed ends  isolate: the others go on",
        "http://127.0.0.1:9464/ (from this machine only)",
        "/etc/site/models/nanodet-g-320.onnx",
        "detector → tracker bytetrack → attributes",
        "batches of up to 4 frames, waiting 50ms at most",
        "user ***, password *** from $DOOR_PASSWORD",
        "custom pipeline ***",
        "not started",
        "to records, console",
        "/etc/site/records/{feed}.jsonl, rotated at 100000000 bytes, 10 kept",
    ] {
        assert!(plan.contains(words), "{words}: {plan}");
    }
}

mod random {
    use super::*;
    use proptest::prelude::*;

    /// Whether all is as it must be, whatever the text is.
    fn check(text: &str) {
        let lines = u32::try_from(text.split('\n').count()).unwrap();
        let Err(problems) = parse(text) else { return };
        assert!(!problems.is_empty() && problems.len() <= MOST_PROBLEMS);
        for problem in &problems {
            assert!(problem.line.is_none_or(|line| (1..=lines).contains(&line)), "{problem:?}");
            assert_eq!(problem.line.is_some(), problem.column.is_some());
            assert!(!problem.to_string().contains(char::is_control), "{problem:?}");
        }
        assert!(problems.is_sorted_by_key(|problem| problem.line));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

        #[test]
        fn any_text_is_a_site_or_has_problems_inside_it(text in any::<String>()) {
            check(&text);
        }

        /// A part of the example is left out, twice there, or replaced.
        #[test]
        fn a_changed_site_is_a_site_or_has_problems_inside_it(
            from in 0..EXAMPLE.len(),
            length in 0_usize..200,
            with in prop_oneof![Just(String::new()), ".*", "[a-z0-9\"=\\[\\]{}. \n-]{0,40}"],
            again in any::<bool>(),
        ) {
            let text = EXAMPLE.replace(|c: char| !c.is_ascii(), "?");
            let to = (from + length).min(text.len());
            let from = from.min(to);
            let middle = if again { &text[from..to] } else { "" };
            check(&format!("{}{middle}{with}{middle}{}", &text[..from], &text[to..]));
        }

        /// A line of the example has another value.
        #[test]
        fn a_value_of_another_type_is_refused_or_taken(
            line in 0..EXAMPLE.lines().count(),
            value in prop_oneof![
                Just("1"), Just("-1"), Just("0.5"), Just("inf"), Just("true"), Just("''"), Just("'x'"), Just("[]"), Just("{}"),
                Just("[[1]]"), Just("{ a = { b = 1 } }"), Just("1979-05-27T07:32:00Z"), Just("'\\u0000'"), Just("\"\\u0000\""),
                Just("1e400"), Just("0xffffffffffffffffffffffffffffffffffff"), Just("'a@b:c'"), Just("'://'"),
            ],
        ) {
            let change = |(index, row): (usize, &str)| match row.split_once('=') {
                Some((key, _)) if index == line => format!("{key}= {value}"),
                _ => row.to_owned(),
            };
            check(&EXAMPLE.lines().enumerate().map(change).collect::<Vec<_>>().join("\n"));
        }
    }
}
