//! `docs/metrics.md`, the alert rules and the dashboard, held against the table of metrics; and Prometheus' own checks,
//! if there is a `promtool`. With `NV_PROMETHEUS=required` there must be.

use super::made_up::{empty, everything, many};
use super::{FAMILIES, Kind, PREFIX, exposition, table};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const PAGE: &str = "docs/metrics.md";

/// What stands before the table.
const BEGINNING: &str = "# Metrics

What `/metrics` gives, in Prometheus text form 0.0.4: everything an operator may want to draw or be woken up by. Written
by `src/metrics/docs_tests.rs` from the table that the program itself uses; do not edit it by hand, but say

    NV_UPDATE=1 cargo test --no-default-features --features http --lib metrics::

- Units are seconds and bytes. A counter (`_total`) begins at zero with the runtime, only rises, and lives on when a
  feed is restarted; take `rate()` of it for frames a second.
- `feed` is the name of a feed and `group` its group; `model`, `output`, `queue` and `provider` are names, too. `reason`
  and `state` are words of a fixed set. No label holds an address or a number that counts up. Only feeds that are there
  have series; the frames of the others are in `nextvision_removed_*`.
- For each feed, `received = delivered + dropped + failed + in flight`, at any moment.
- A state is a set of series, 1 for the one that is and 0 for the others.
- A reason has a series when it has happened once.

[nextvision.rules.yml](nextvision.rules.yml) has alert rules, with [tests](nextvision.test.yml);
[grafana-dashboard.json](grafana-dashboard.json) is a dashboard for Grafana 10 or newer. To scrape:

```yaml
rule_files: [nextvision.rules.yml]
scrape_configs:
  - job_name: nextvision
    scrape_interval: 5s
    static_configs:
      - targets: [\"127.0.0.1:9464\"]
```

";

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(repository(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn the_page_of_metrics_is_what_the_table_says() {
    let expected = format!("{BEGINNING}{}", table());
    if std::env::var_os("NV_UPDATE").is_some() {
        fs::write(repository(PAGE), &expected).unwrap();
    }
    let found = fs::read_to_string(repository(PAGE)).unwrap_or_default();
    let differs = expected.lines().zip(found.lines()).find(|(expected, found)| expected != found);
    assert!(found == expected, "{PAGE} is out of date ({differs:?}); its beginning says how to write it");
}

/// Every name in `text` that begins as ours do, but for words that are not names of metrics.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c| !is_part(c));
    words.filter(|word| word.starts_with(PREFIX)).map(str::to_owned).collect()
}

fn is_known(name: &str) -> bool {
    FAMILIES.iter().any(|family| {
        let rest = name.strip_prefix(PREFIX).and_then(|name| name.strip_prefix(family.name));
        let is_histogram = family.kind == Kind::Histogram;
        rest == Some("") || is_histogram && matches!(rest, Some("_bucket" | "_sum" | "_count"))
    })
}

fn assert_all_known(names: &BTreeSet<String>, whose: &str) {
    let unknown: Vec<_> = names.iter().filter(|name| !is_known(name)).collect();
    assert!(unknown.is_empty() && !names.is_empty(), "{whose} uses {unknown:?}");
}

#[test]
fn the_rules_use_only_metrics_that_there_are() {
    for file in ["docs/nextvision.rules.yml", "docs/nextvision.test.yml"] {
        assert_all_known(&metrics_in(&read(file)), file);
    }
    assert!(
        !is_known("nextvision_feed_upp") && !is_known("nextvision_feed_up_count") && !is_known("nextvision_")
    );
}

/// Every value of `key` in `json`, at any depth.
fn values_of<'a>(json: &'a Value, key: &str, found: &mut Vec<&'a str>) {
    match json {
        Value::Object(map) => {
            found.extend(map.get(key).and_then(Value::as_str));
            map.values().for_each(|value| values_of(value, key, found));
        }
        Value::Array(all) => all.iter().for_each(|value| values_of(value, key, found)),
        _ => {}
    }
}

fn dashboard() -> Value {
    serde_json::from_str(&read("docs/grafana-dashboard.json")).expect("the dashboard is JSON")
}

#[test]
fn the_dashboard_asks_only_for_metrics_that_there_are() {
    let dashboard = dashboard();
    let mut expressions = Vec::new();
    values_of(&dashboard, "expr", &mut expressions);
    values_of(&dashboard, "definition", &mut expressions);
    assert!(expressions.len() > 25, "{} expressions", expressions.len());
    for expression in expressions {
        assert_all_known(&metrics_in(expression), expression);
    }
    let panels = dashboard["panels"].as_array().expect("panels");
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64().expect("an id")).collect();
    assert_eq!(ids.len(), panels.len(), "every panel has an id of its own");
    for panel in panels {
        let place = |key: &str| panel["gridPos"][key].as_u64().expect("a place");
        assert!(place("x") + place("w") <= 24 && place("h") > 0, "{panel}");
    }
}

/// Whether there is a `promtool`; says so if there is not.
fn there_is_promtool() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|folder| folder.join("promtool").is_file());
    let required = std::env::var_os("NV_PROMETHEUS").is_some_and(|value| value == "required");
    assert!(found || !required, "NV_PROMETHEUS=required, and there is no promtool in PATH");
    if !found {
        eprintln!("SKIPPED: there is no promtool in PATH, so Prometheus did not check metrics and rules");
    }
    found
}

/// Runs `promtool` with `input`; panics with what it says unless it finds nothing.
fn promtool(arguments: &[&str], input: &str) {
    let mut command = Command::new("promtool");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("promtool starts");
    // Unless it reads nothing.
    drop(child.stdin.take().expect("a pipe").write_all(input.as_bytes()));
    let output = child.wait_with_output().expect("promtool ends");
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success(), "promtool {arguments:?}: {said:?}");
}

#[test]
fn prometheus_finds_nothing_wrong_with_the_text() {
    if !there_is_promtool() {
        return;
    }
    for snapshot in [empty(), everything(), many(64)] {
        promtool(&["check", "metrics"], &exposition(&snapshot));
    }
}

#[test]
fn prometheus_takes_the_rules_and_they_fire_and_clear() {
    if !there_is_promtool() {
        return;
    }
    let [rules, tests] = ["docs/nextvision.rules.yml", "docs/nextvision.test.yml"].map(repository);
    promtool(&["check", "rules", rules.to_str().unwrap()], "");
    promtool(&["test", "rules", tests.to_str().unwrap()], "");
}

#[test]
fn prometheus_takes_every_expression_of_the_dashboard() {
    if !there_is_promtool() {
        return;
    }
    let dashboard = dashboard();
    let mut expressions = Vec::new();
    values_of(&dashboard, "expr", &mut expressions);
    let rule = |(index, expression): (usize, &&str)| {
        let filled = expression.replace("$__rate_interval", "1m");
        serde_json::json!({"record": format!("panel:{index}"), "expr": filled})
    };
    let rules: Vec<Value> = expressions.iter().enumerate().map(rule).collect();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rules.yml");
    // JSON is YAML.
    let groups = serde_json::json!({"groups": [{"name": "dashboard", "rules": rules}]});
    fs::write(&file, groups.to_string()).unwrap();
    promtool(&["check", "rules", file.to_str().unwrap()], "");
}
