//! Wrong site files, made from a right one: what is to be said of each, for the tests of all who read site files.

/// A right site file. It needs `clip.mp4` and `model.onnx` beside it to run, and none of them to be checked.
pub const RIGHT: &str = r#"[runtime]
max-feeds = 8
on-feed-exit = "isolate"
drain-timeout = "10s"
metrics-address = "127.0.0.1:0"

[health]
stall-timeout = "2s"
fps-min = 0.5

[previews]
width = 320

[[models]]
name = "detector"
path = "model.onnx"
provider = "cpu"
score-threshold = 0.5

[[models]]
name = "attributes"
path = "attributes.onnx"
operate-on = "objects"
object-labels = ["person"]

[[groups]]
name = "default"
models = ["detector", "attributes"]
max-batch-size = 4
max-latency = "50ms"
tracker = { algorithm = "bytetrack", low-threshold = 0.3, high-threshold = 0.4 }

[[groups]]
name = "plain"
models = ["detector"]

[defaults]
group = "default"
on-end = "eos"

[[feeds]]
id = "door"
uri = "rtsp://camera.example/stream"
user = "viewer"
password = { env = "DOOR_PASSWORD" }
health = { stall-timeout = "5s" }
reconnect-base-delay = "1s"
reconnect-max-delay = "30s"

[[feeds]]
id = "clip"
uri = "clip.mp4"
loop = true
max-in-flight = 2

[[outputs]]
name = "records"
type = "file"
path = "records/{feed}.jsonl"
rotate-size = "100MB"
keep = 10
feeds = ["door", "clip"]

[[outputs]]
name = "console"
type = "stdout"
"#;

/// A wrong site file, and the first of what is to be said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongSite {
    /// What is wrong with it; unique.
    pub name: &'static str,
    /// The file.
    pub text: String,
    /// The line, from 1.
    pub line: Option<u32>,
    /// The key by its path.
    pub key: &'static str,
    /// What the message has in it.
    pub words: &'static [&'static str],
}

/// Name, what is replaced in [`RIGHT`], by what, how many lines below its start the problem is, key, words.
type Row = (&'static str, &'static str, &'static str, i32, &'static str, &'static [&'static str]);

/// The secret in those files that have one; it must be in no message.
pub const SECRET: &str = "hunter2";

/// Values of a wrong type or out of range.
#[rustfmt::skip]
const VALUES: &[Row] = &[
    ("zero", "max-feeds = 8", "max-feeds = 0", 0, "runtime.max-feeds", &["from 1 to 4096", "found 0"]),
    ("too many", "max-feeds = 8", "max-feeds = 4097", 0, "runtime.max-feeds", &["4096", "found 4097"]),
    ("negative", "max-in-flight = 2", "max-in-flight = -2", 0, "feeds[1].max-in-flight", &["found -2"]),
    ("fraction", "max-feeds = 8", "max-feeds = 8.5", 0, "runtime.max-feeds", &["whole number", "found 8.5"]),
    ("huge", "max-feeds = 8", "max-feeds = 99999999999999999999999999999999999999999", 0, "runtime.max-feeds", &["expected", "found 9999"]),
    ("number in quotes", "max-feeds = 8", "max-feeds = \"8\"", 0, "runtime.max-feeds", &["whole", "found \"8\""]),
    ("nan", "fps-min = 0.5", "fps-min = nan", 0, "health.fps-min", &["number from 0", "found nan"]),
    ("percent", "score-threshold = 0.5", "score-threshold = 50", 0, "models[0].score-threshold", &["0 to 1", "50"]),
    ("time as number", "\"10s\"", "10", 0, "runtime.drain-timeout", &["such as \"10s\"", "found 10"]),
    ("time without unit", "\"10s\"", "\"10\"", 0, "runtime.drain-timeout", &["found \"10\"", "unit"]),
    ("time of no kind", "\"10s\"", "\"soon\"", 0, "runtime.drain-timeout", &["a time", "found \"soon\""]),
    ("negative time", "\"10s\"", "\"-1s\"", 0, "runtime.drain-timeout", &["found \"-1s\""]),
    ("long wait", "\"50ms\"", "\"2h\"", 0, "groups[0].max-latency", &["1h", "found \"2h\""]),
    ("short delay", "\"1s\"", "\"1ms\"", 0, "feeds[0].reconnect-base-delay", &["100ms", "found \"1ms\""]),
    ("size as number", "\"100MB\"", "100", 0, "outputs[0].rotate-size", &["\"100MB\"", "found 100"]),
    ("size of no unit", "\"100MB\"", "\"100\"", 0, "outputs[0].rotate-size", &["MiB", "found \"100\""]),
    ("tiny size", "\"100MB\"", "\"0MB\"", 0, "outputs[0].rotate-size", &["from 1kB", "found \"0MB\""]),
    ("yes", "loop = true", "loop = \"yes\"", 0, "feeds[1].loop", &["true or false", "found \"yes\""]),
    ("choice", "\"isolate\"", "\"isolated\"", 0, "runtime.on-feed-exit", &["isolate, teardown", "did you mean isolate?"]),
    ("choice as number", "\"isolate\"", "1", 0, "runtime.on-feed-exit", &["isolate, teardown", "found 1"]),
    ("no address", "\"127.0.0.1:0\"", "\"localhost:9464\"", 0, "runtime.metrics-address", &["127.0.0.1:9464", "localhost"]),
    ("no port", "\"127.0.0.1:0\"", "\"127.0.0.1\"", 0, "runtime.metrics-address", &["a port"]),
    ("empty id", "id = \"clip\"", "id = \"\"", 0, "feeds[1].id", &["1 to 128 bytes"]),
    ("bell in id", "id = \"clip\"", "id = \"\\u0007\"", 0, "feeds[1].id", &["control", "\\u{7}"]),
    ("blank id", "id = \"clip\"", "id = \" clip\"", 0, "feeds[1].id", &["blanks"]),
    ("date for a table", "{ stall-timeout = \"5s\" }", "1979-05-27", 0, "feeds[0].health", &["a table", "1979"]),
    ("list for a table", "{ stall-timeout = \"5s\" }", "[\"5s\"]", 0, "feeds[0].health", &["a table", "a list"]),
];

/// Keys that are not known, missing, there twice, or in the wrong place.
#[rustfmt::skip]
const KEYS: &[Row] = &[
    ("unknown table", "[previews]", "[preview]", 0, "preview", &["previews", "did you mean previews?"]),
    ("unknown key", "uri = \"clip.mp4\"", "url = \"clip.mp4\"", 0, "feeds[1].url", &["custom-pipeline", "did you mean uri?"]),
    ("underscore", "max-in-flight = 2", "max_in_flight = 2", 0, "feeds[1].max_in_flight", &["did you mean max-in-flight?"]),
    ("unknown key inside", "{ stall-timeout = \"5s\" }", "{ stall = \"5s\" }", 0, "feeds[0].health.stall", &["stall-timeout, lag-threshold, fps-min"]),
    ("id in defaults", "on-end = \"eos\"", "id = \"x\"", 0, "defaults.id", &["one of the keys user"]),
    ("one bracket", "[[models]]\nname = \"detector\"", "[models]\nname = \"detector\"", 6, "models[0]", &["duplicate"]),
    ("two brackets", "[health]", "[[health]]", 0, "health", &["a table", "one bracket"]),
    ("no id", "id = \"clip\"\n", "", -1, "feeds[1].id", &["the id of the feed", "found nothing"]),
    ("no uri", "uri = \"clip.mp4\"\n", "", -2, "feeds[1].uri", &["a URI or the path of a file", "found nothing"]),
    ("no type", "type = \"stdout\"\n", "", -2, "outputs[1].type", &["file, stdout or appsink"]),
    ("no model", "models = [\"detector\"]\n", "", -2, "groups[1].models", &["found nothing"]),
    ("no file", "path = \"model.onnx\"\n", "", -2, "models[0].path", &["ONNX", "found nothing"]),
    ("twice", "max-feeds = 8", "max-feeds = 8\nmax-feeds = 9", 1, "runtime.max-feeds", &["TOML", "duplicate"]),
    ("no quotes", "\"rtsp://camera.example/stream\"", "rtsp://camera.example/stream", 0, "feeds[0].uri", &["TOML"]),
    ("open quotes", "\"clip.mp4\"", "\"clip.mp4", 0, "feeds[1].uri", &["TOML"]),
    ("no value", "max-feeds = 8", "max-feeds =", 0, "runtime.max-feeds", &["TOML"]),
    ("open header", "[health]", "[health", 0, "health", &["TOML"]),
];

/// Names that lead nowhere, keys that do not go together, secrets where they must not be.
#[rustfmt::skip]
const MEANINGS: &[Row] = &[
    ("two feeds", "id = \"clip\"", "id = \"door\"", 0, "feeds[1].id", &["no other id \"door\"", "feeds[0] in line 42"]),
    ("two models", "name = \"attributes\"", "name = \"detector\"", 0, "models[1].name", &["no other name", "models[0]"]),
    ("two groups", "name = \"plain\"", "name = \"default\"", 0, "groups[1].name", &["no other name", "groups[0]"]),
    ("two outputs", "name = \"console\"", "name = \"records\"", 0, "outputs[1].name", &["no other name", "outputs[0]"]),
    ("no such model", "[\"detector\", \"att", "[\"detectr\", \"att", 0, "groups[0].models[0]", &["\"detector\"", "found \"detectr\"", "did you mean detector?"]),
    ("no such group", "group = \"default\"", "group = \"others\"", 0, "defaults.group", &["\"default\", \"plain\" of the groups", "found \"others\""]),
    ("no group said", "group = \"default\"\n", "", 2, "feeds[0].group", &["one of the groups default, plain", "found nothing"]),
    ("no such feed", "[\"door\", \"clip\"]", "[\"door\", \"clap\"]", 0, "outputs[0].feeds[1]", &["\"door\", \"clip\" of the feeds", "did you mean clip?"]),
    ("feed twice", "[\"door\", \"clip\"]", "[\"door\", \"door\"]", 0, "outputs[0].feeds[1]", &["each feed once"]),
    ("no feed at all", "[\"door\", \"clip\"]", "[]", 0, "outputs[0].feeds", &["one feed at least"]),
    ("empty chain", "models = [\"detector\"]", "models = []", 0, "groups[1].models", &["one model at least"]),
    ("objects first", "models = [\"detector\"]", "models = [\"attributes\"]", 0, "groups[1].models[0]", &["operate-on = \"frame\"", "the first model"]),
    ("frames behind", "operate-on = \"objects\"\nobject-labels = [\"person\"]\n", "", 3, "groups[0].models[1]", &["operate-on = \"objects\"", "behind the first"]),
    ("model twice", "\"detector\", \"attributes\"", "\"detector\", \"detector\"", 0, "groups[0].models[1]", &["each model once"]),
    ("objects of a frame model", "operate-on = \"objects\"\n", "", 0, "models[1].object-labels", &["operate-on = \"objects\" only"]),
    ("comma in a label", "[\"person\"]", "[\"person,car\"]", 0, "models[1].object-labels[0]", &["without a comma"]),
    ("thresholds", "low-threshold = 0.3", "low-threshold = 0.5", 0, "groups[0].tracker.low-threshold", &["at most high-threshold", "0.4"]),
    ("delays", "reconnect-base-delay = \"1s\"", "reconnect-base-delay = \"1m\"", 0, "feeds[0].reconnect-base-delay", &["reconnect-max-delay", "30s", "found \"1m\""]),
    ("too many feeds", "max-feeds = 8", "max-feeds = 1", 48, "feeds[1]", &["1 feeds at most", "max-feeds"]),
    ("scheme", "\"rtsp://camera.example/stream\"", "\"gopher://camera.example/\"", 0, "feeds[0].uri", &["rtsp,rtsps,http,https,file,v4l2", "gopher://"]),
    ("one slash", "\"rtsp://camera.example/stream\"", "\"rtsp:/camera.example/stream\"", 0, "feeds[0].uri", &["scheme://host/path"]),
    ("no host", "\"rtsp://camera.example/stream\"", "\"rtsp:///stream\"", 0, "feeds[0].uri", &["a host"]),
    ("port", "camera.example/stream", "camera.example:99999/stream", 0, "feeds[0].uri", &["a port from 1 to 65535"]),
    ("credentials in clear", "\"rtsp://camera.example/stream\"", "\"http://camera.example/stream\"", 0, "feeds[0].uri", &["encrypted", "tls-policy"]),
    ("password in uri", "rtsp://camera", "rtsp://viewer:hunter2@camera", 0, "feeds[0].uri", &["no password in uri", "password = { env = … }"]),
    ("password without scheme", "rtsp://camera", "viewer:hunter2@camera", 0, "feeds[0].uri", &["scheme://host/path"]),
    ("slash in password", "rtsp://camera", "rtsp://viewer:/hunter2@camera", 0, "feeds[0].uri", &["no password in uri"]),
    ("plain password", "{ env = \"DOOR_PASSWORD\" }", "\"hunter2\"", 0, "feeds[0].password", &["{ env = ", "{ file = "]),
    ("password as number", "{ env = \"DOOR_PASSWORD\" }", "4711", 0, "feeds[0].password", &["{ env = ", "***"]),
    ("password in env", "\"DOOR_PASSWORD\"", "\"hunter2!\"", 0, "feeds[0].password", &["name of the variable"]),
    ("plain password in a table", "{ env = \"DOOR_PASSWORD\" }", "{ value = \"hunter2\" }", 0, "feeds[0].password.value", &["keys env, file"]),
    ("both passwords", "{ env = \"DOOR_PASSWORD\" }", "{ env = \"A\", file = \"b\" }", 0, "feeds[0].password", &["found both"]),
    ("password in user", "user = \"viewer\"", "user = \"viewer:hunter2\"", 0, "feeds[0].user", &["password = { env = … }"]),
    ("no user", "user = \"viewer\"\n", "", 0, "feeds[0].password", &["expected user"]),
    ("custom pipeline", "uri = \"clip.mp4\"", "custom-pipeline = \"fakesrc password=hunter2\"", 0, "feeds[1].custom-pipeline", &["allow-custom-pipeline = true"]),
    ("two sources", "uri = \"clip.mp4\"", "uri = \"clip.mp4\"\ncustom-pipeline = \"fakesrc\"", 1, "feeds[1].custom-pipeline", &["found both"]),
    ("path of stdout", "type = \"stdout\"", "type = \"stdout\"\npath = \"x\"", 1, "outputs[1].path", &["type = \"file\" only", "stdout"]),
    ("file without path", "type = \"stdout\"", "type = \"file\"", -2, "outputs[1].path", &["the path of a file", "found nothing"]),
    ("same file", "type = \"stdout\"", "type = \"file\"\npath = \"./records/x/../door.jsonl\"", 1, "outputs[1].path", &["a file of its own", "outputs[0].path"]),
    ("file that is read", "type = \"stdout\"", "type = \"file\"\npath = \"clip.mp4\"", 1, "outputs[1].path", &["a file of its own", "feeds[1].uri"]),
    ("folder", "records/{feed}.jsonl", "records/", 0, "outputs[0].path", &["not of a folder"]),
    ("braces", "{feed}.jsonl", "{id}.jsonl", 0, "outputs[0].path", &["braces", "{feed}"]),
    ("keep of nothing", "rotate-size = \"100MB\"\n", "", 0, "outputs[0].keep", &["rotate-size"]),
    ("two of stdout", "type = \"file\"\npath = \"records/{feed}.jsonl\"\nrotate-size = \"100MB\"\nkeep = 10\n", "type = \"stdout\"\n", 5, "outputs[1].type", &["one output of type stdout"]),
];

/// Wrong site files, each with one thing that is wrong in [`RIGHT`].
#[must_use]
pub fn wrong_sites() -> Vec<WrongSite> {
    [VALUES, KEYS, MEANINGS].into_iter().flatten().map(|row| wrong_site(*row)).collect()
}

fn wrong_site((name, old, new, below, key, words): Row) -> WrongSite {
    let start = RIGHT.find(old).unwrap_or_else(|| panic!("{name}: {old:?} is in the right site"));
    let (before, after) = (&RIGHT[..start], &RIGHT[start + old.len()..]);
    let line = before.matches('\n').count() + 1;
    let line = u32::try_from(line).ok().and_then(|line| line.checked_add_signed(below));
    WrongSite { name, text: format!("{before}{new}{after}"), line, key, words }
}
