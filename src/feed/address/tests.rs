use super::*;
use proptest::prelude::*;

/// A word that is in every part of the passwords of these tests.
const CANARY: &str = "Kanari7";

#[track_caller]
fn address(text: &str) -> Address {
    parsed(text).0
}

#[track_caller]
fn parsed(text: &str) -> (Address, Option<Credentials>) {
    let (address, credentials) = Address::parse(text).unwrap_or_else(|error| panic!("{text:?}: {error}"));
    assert_eq!(
        Address::parse(address.as_str()),
        Ok((address.clone(), None)),
        "{text:?} is not the same when read again"
    );
    (address, credentials)
}

#[track_caller]
fn refused(text: &str) -> String {
    match Address::parse(text) {
        Ok((address, _)) => panic!("{text:?} was taken for {}", address.as_str()),
        Err(error) => error.to_string(),
    }
}

#[track_caller]
fn assert_taken_apart(text: &str, stored: &str, user: &str, password: &str) {
    let (address, credentials) = parsed(text);
    let expected = Credentials { user: user.to_owned(), password: password.to_owned() };
    assert_eq!((address.as_str(), credentials), (stored, Some(expected)));
}

#[test]
fn the_users_own_text_is_kept_but_for_scheme_case_and_blanks_around() {
    for (text, stored) in [
        ("rtsp://cam/x", "rtsp://cam/x"),
        (
            "RtSp://Cam:8554/A//b/../c/./%2e?Channel=1&&x==2#Y",
            "rtsp://Cam:8554/A//b/../c/./%2e?Channel=1&&x==2#Y",
        ),
        ("rtsp://cam", "rtsp://cam"),
        ("rtsp://cam?x", "rtsp://cam?x"),
        (" \t\r\n\0\u{feff}RTSP://cam/x\u{a0}\n\0", "rtsp://cam/x"),
        ("HTTPS://host/@name", "https://host/@name"),
        ("https://host/x?mail=a@b", "https://host/x?mail=a@b"),
        ("rtsp://cam/a\\b|c\u{e9}", "rtsp://cam/a\\b|c\u{e9}"),
        ("udp://@239.0.0.1:5000", "udp://239.0.0.1:5000"),
        ("file:///a%20b.mp4", "file:///a%20b.mp4"),
        ("FILE://localhost/a b@c:d.mp4", "file://localhost/a b@c:d.mp4"),
        ("v4l2:///dev/video0", "v4l2:///dev/video0"),
        ("testbin://video,pattern=ball", "testbin://video,pattern=ball"),
    ] {
        let (address, credentials) = parsed(text);
        assert_eq!((address.as_str(), credentials), (stored, None));
    }
}

#[test]
fn credentials_are_decoded_and_leave_the_uri() {
    assert_taken_apart("rtsp://admin:pw@cam/x?y", "rtsp://cam/x?y", "admin", "pw");
    assert_taken_apart("rtsp://ad%40min:p%2Fw%3a%C3%A9@cam", "rtsp://cam", "ad@min", "p/w:\u{e9}");
    assert_taken_apart("rtsp://admin:p:w@cam/x", "rtsp://cam/x", "admin", "p:w");
    assert_taken_apart("rtsp://admin:p@w@cam/x", "rtsp://cam/x", "admin", "p@w");
    assert_taken_apart("rtsp://admin:my pass@cam/x", "rtsp://cam/x", "admin", "my pass");
    assert_taken_apart("rtsp://admin:p\\w[+@cam/x", "rtsp://cam/x", "admin", "p\\w[+");
    assert_taken_apart("http://good\\:80@evil/x", "http://evil/x", "good\\", "80");
    assert_taken_apart("rtsp://:pw@cam/x", "rtsp://cam/x", "", "pw");
    assert_taken_apart("rtsp://admin@cam/x", "rtsp://cam/x", "admin", "");
    assert_taken_apart("rtsp://admin:@cam/x", "rtsp://cam/x", "admin", "");
    assert_taken_apart("rtsps://a:b@[::1]:322/x", "rtsps://[::1]:322/x", "a", "b");
    assert_taken_apart("srt://a:b@:9000?mode=listener", "srt://:9000?mode=listener", "a", "b");
    for empty in ["rtsp://@cam/x", "rtsp://:@cam/x"] {
        let (address, credentials) = parsed(empty);
        assert_eq!((address.as_str(), credentials), ("rtsp://cam/x", None));
    }
}

#[test]
fn passwords_that_end_the_host_are_refused_with_advice() {
    for text in [
        "rtsp://admin:p/w@cam/x",
        "rtsp://admin:12/34@cam/x",
        "rtsp://admin:p?w@cam/x",
        "rtsp://admin:p#w@cam/x",
        "rtsp://admin:12#w@cam/x",
        "rtsp://admin:p@w/x@cam/y",
        "rtsp://token@w/x@cam/y",
        "rtsp://ad/min:pw@cam",
        "rtsp://camera:554/a@b",
        "srt:///user@cam",
        "rtsp://cam#x@b",
        "rtsp://cam?x@b",
    ] {
        let error = refused(text);
        assert!(error.contains("percent-encode") && error.contains("user-id and user-pw"), "{text}: {error}");
        assert!(!error.contains("cam/"), "{error}");
    }
    let error = refused("rtsp://admin:hunter2/x");
    assert!(error.contains("expected a port from 1 to 65535") && !error.contains("hunter2"), "{error}");
}

#[test]
fn credentials_that_cannot_be_sent_are_refused() {
    for (text, found) in [
        ("rtsp://admin:100%sure@cam", "a % without two hexadecimal digits"),
        ("rtsp://admin:100%@cam", "a % without two hexadecimal digits"),
        ("rtsp://admin:%+1@cam", "a % without two hexadecimal digits"),
        ("rtsp://admin:%FF@cam", "another encoding"),
        ("rtsp://admin:a%00b@cam", "a NUL or a line break"),
        ("rtsp://a%0d%0ab:c@cam", "a NUL or a line break"),
    ] {
        let error = refused(text);
        assert!(error.contains(found) && error.contains("user-pw"), "{text}: {error}");
    }
}

#[test]
fn text_that_is_no_uri_is_refused_and_said_what_it_is() {
    let expected = "expected a URI such as rtsp://camera/stream or file:///videos/a.mp4, found";
    for (text, found) in [
        ("", "an empty text"),
        (" \n\0", "an empty text"),
        ("cam/stream", "\"cam/stream\""),
        ("/videos/a.mp4", "\"/videos/a.mp4\""),
        ("C:\\videos\\a.mp4", "\"C:\\\\videos\\\\a.mp4\""),
        ("C://videos/a.mp4", "\"C://videos/a.mp4\""),
        ("rtsp:cam", "\"rtsp:cam\""),
        ("rtsp:/cam/x", "\"rtsp:/cam/x\""),
        ("rtsp :// cam", "\"rtsp :// cam\""),
        ("://cam", "\"://cam\""),
        ("admin:pw@cam", "\"***\""),
        ("rtsp%3A%2F%2Fadmin%3Apw%40cam", "\"***\""),
        ("cam/x?token=ab cd", "\"cam/x\""),
    ] {
        assert_eq!(refused(text), format!("{expected} {found}"));
    }
    assert_eq!(refused(&"x".repeat(100)), format!("{expected} \"{}…\"", "x".repeat(64)));
}

#[test]
fn control_characters_inside_are_refused_wherever_they_are() {
    for text in [
        "rt\tsp://cam",
        "rtsp:/\n/cam",
        "rtsp://c\0am",
        "rtsp://u:p\tw@cam",
        "rtsp://cam/\u{85}x",
        "file:///\0a",
    ] {
        assert!(refused(text).starts_with("expected a URI without control characters, found U+"), "{text:?}");
    }
    assert_eq!(
        refused("  rtsp://c\0am"),
        "expected a URI without control characters, found U+0000 at byte 8: percent-encode it"
    );
}

#[test]
fn the_length_is_bounded() {
    let fits = format!("rtsp://cam/{}", "x".repeat(LONGEST_ADDRESS - 11));
    assert_eq!(address(&fits).as_str(), fits);
    assert_eq!(refused(&format!("{fits}x")), "expected a URI of at most 8192 bytes, found 8193 bytes");
    let error = refused(&"rtsp://a:b@".repeat(100_000));
    assert_eq!(error, "expected a URI of at most 8192 bytes, found 1100000 bytes");
}

#[test]
fn hosts_and_ports_are_told_apart() {
    for (text, host, port) in [
        ("rtsp://cam/x", Some("cam"), None),
        ("rtsp://u:1@192.0.2.1:8554/x", Some("192.0.2.1"), Some(8554)),
        ("rtsp://[2001:db8::1]:554/x", Some("2001:db8::1"), Some(554)),
        ("rtsps://[fe80::1%25eth0]", Some("fe80::1%25eth0"), None),
        ("http://k\u{e4}mera.example:65535?x", Some("k\u{e4}mera.example"), Some(65535)),
        ("srt://:9000?mode=listener", None, Some(9000)),
        ("file:///a.mp4", None, None),
        ("v4l2:///dev/video0", None, None),
    ] {
        let address = address(text);
        assert_eq!((address.host(), address.port()), (host, port), "{text}");
    }
}

#[test]
fn hosts_and_ports_that_are_none_are_refused() {
    for (texts, said) in [
        (
            &["rtsp://", "rtsp:///x", "rtsp://:554/x", "http://?x", "rtsp://u:p@/x", "srt://?x"][..],
            "found none",
        ),
        (
            &[
                "rtsp://c am/x",
                "rtsp://c%2fam/x",
                "rtsp://[::1",
                "rtsp://[cam]/x",
                "rtsp://[::1]x",
                "rtsps://cam#.example/x",
                "rtsp://a\\b/x",
            ],
            "expected a host name",
        ),
        (
            &["rtsp://cam:/x", "rtsp://cam:0", "rtsp://cam:65536", "rtsp://cam:+1", "rtsp://fe80::1/x"],
            "expected a port",
        ),
        (&["rtsp://cam/a b", "http://cam?a b"], "write it as %20"),
        (
            &[
                "file://C:\\a.mp4",
                "file://C:/a.mp4",
                "file://a.mp4",
                "file://u:p@nas/a",
                "v4l2://u:p@cam",
                "v4l2://u:p/w@cam",
            ],
            ":///path",
        ),
        (&["file://", "file:///", "file://localhost"], "expected a path"),
    ] {
        for text in texts {
            let error = refused(text);
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}

#[test]
fn schemes_say_how_safe_and_how_live_a_source_is() {
    for (text, security, is_rtsp, is_live) in [
        ("RTSP://cam", Security::Clear, true, true),
        ("rtspu://cam", Security::Clear, true, true),
        ("rtspt://cam", Security::Clear, true, true),
        ("rtsph://cam", Security::Clear, true, true),
        ("rtsp-sdp://cam", Security::Clear, true, true),
        ("RTSPS://cam", Security::Encrypted, true, true),
        ("rtspsu://cam", Security::Encrypted, true, true),
        ("rtspst://cam", Security::Encrypted, true, true),
        ("rtspsh://cam", Security::Encrypted, true, true),
        ("http://cam", Security::Clear, false, false),
        ("https://cam", Security::Encrypted, false, false),
        ("rtmp://cam", Security::Clear, false, true),
        ("rtmps://cam", Security::Encrypted, false, true),
        ("srt://cam", Security::Clear, false, true),
        ("unknown://cam", Security::Clear, false, false),
        ("rtspsx://cam", Security::Clear, false, false),
        ("file:///a", Security::Local, false, false),
        ("v4l2:///dev/video0", Security::Local, false, true),
    ] {
        let address = address(text);
        let found = (address.security(), address.is_rtsp(), address.is_live_scheme());
        assert_eq!(found, (security, is_rtsp, is_live), "{text}");
    }
}

#[test]
fn rtsp_has_the_same_address_over_tls() {
    for (text, tls) in [
        ("rtsp://cam/x//y?z#w", Some("rtsps://cam/x//y?z#w")),
        ("RTSPT://[::1]:8554/x", Some("rtspst://[::1]:8554/x")),
        ("rtspu://cam", Some("rtspsu://cam")),
        ("rtsph://cam", Some("rtspsh://cam")),
        ("rtsp-sdp://cam", None),
        ("rtsps://cam", None),
        ("http://cam", None),
        ("file:///a", None),
    ] {
        let address = address(text);
        let found = address.with_tls();
        assert_eq!(found.as_ref().map(Address::as_str), tls);
        if let Some(found) = found {
            assert_eq!(found, self::address(found.as_str()), "its parts are those of its text");
            assert_eq!((found.host(), found.port()), (address.host(), address.port()));
        }
    }
}

#[test]
fn what_is_shown_has_no_secret_of_the_query() {
    let (address, credentials) = parsed("rtsp://admin:hunter2@cam/x?token=Kanari7&y=1");
    assert_eq!(address.to_string(), "rtsp://cam/x?token=***&y=1");
    assert_eq!(format!("{address:?}"), "Address(rtsp://cam/x?token=***&y=1)");
    assert_eq!(format!("{credentials:?}"), "Some(Credentials(***))");
    assert!(address.as_str().contains("token=Kanari7"), "but it is connected to");
}

/// Everything that may be seen of what was made of a text.
fn all_shown(text: &str) -> String {
    match Address::parse(text) {
        Ok((address, credentials)) => {
            let tls = address.with_tls();
            format!("{} {address} {address:?} {credentials:?} {tls:?}", address.as_str())
        }
        Err(error) => format!("{error} {error:?}"),
    }
}

fn scheme() -> impl Strategy<Value = &'static str> {
    const SCHEMES: &[&str] = &[
        "rtsp", "RTSP", "rtsps", "rtspt", "http", "Https", "srt", "rtmp", "udp", "file", "v4l2", "x-y", "1",
    ];
    prop::sample::select(SCHEMES)
}

/// A password of which every part has the canary in it.
fn password() -> impl Strategy<Value = String> {
    let between = prop_oneof![
        prop::sample::select(
            &["/", "@", "#", "?", "%", ":", " ", "\t", "\0", "\\", "[", "]", "&", "=", "\"", "://"][..]
        )
        .prop_map(str::to_owned),
        "\\PC{0,3}",
    ];
    prop::collection::vec(between, 0..5).prop_map(|between| {
        let parts = between.iter().flat_map(|between| [between.as_str(), CANARY]);
        std::iter::once(CANARY).chain(parts).collect()
    })
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

proptest! {
    #[test]
    fn no_password_is_in_what_is_stored_or_shown(
        scheme in scheme(),
        marker in prop::sample::select(&["://", ":", ":/", "", " ://", "%3A%2F%2F"][..]),
        user in "[a-z]{0,3}",
        password in password(),
        tail in "(cam|[::1]|)(:[0-9]{1,6})?(/[a-z/]{0,5})?",
    ) {
        let text = format!("{scheme}{marker}{user}:{password}@{tail}");
        let shown = all_shown(&text);
        prop_assert!(!shown.contains(CANARY), "{text:?} is shown as {shown:?}");
        if let Ok((_, credentials)) = Address::parse(&text) {
            // Percent signs in it are refused: no digit follows.
            let expected = Credentials { user, password };
            prop_assert_eq!(credentials, Some(expected), "{:?} was taken apart wrongly", text);
        }
    }

    #[test]
    fn encoded_credentials_come_back_whole(user in "[^\0\r\n]{1,8}", password in "[^\0\r\n]{0,12}") {
        let text = format!("rtsp://{}:{}@cam/x", encoded(&user), encoded(&password));
        let (address, credentials) = Address::parse(&text).unwrap();
        prop_assert_eq!(address.as_str(), "rtsp://cam/x");
        prop_assert_eq!(credentials, Some(Credentials { user, password }));
    }

    #[test]
    fn another_parser_finds_no_credentials_in_what_is_stored(
        scheme in scheme(),
        rest in "([a-z:@/?#%\\\\ .0-9\\[\\]]|\\PC){0,24}",
    ) {
        let Ok((address, _)) = Address::parse(&format!("{scheme}://{rest}")) else { return Ok(()) };
        prop_assert_eq!(Address::parse(address.as_str()), Ok((address.clone(), None)));
        let Ok(url) = url::Url::parse(address.as_str()) else { return Ok(()) };
        prop_assert_eq!((url.username(), url.password()), ("", None), "{}", address.as_str());
        prop_assert_eq!(url.scheme(), address.scheme());
        if address.security() != Security::Local {
            prop_assert_eq!(url.host().is_some(), address.host().is_some(), "{}", address.as_str());
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in any::<String>()) {
        let _ = all_shown(&text);
        let _ = text.parse::<Schemes>();
    }
}
