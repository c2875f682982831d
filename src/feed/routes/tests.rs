use super::*;
use proptest::prelude::*;

const LIVENESS: Duration = Duration::from_secs(10);
const POLICIES: &[TlsPolicy] = &[TlsPolicy::Prefer, TlsPolicy::Require, TlsPolicy::AllowInsecure];

fn at(seconds: u64) -> Monotonic {
    Monotonic::ZERO.saturating_add(Duration::from_secs(seconds))
}

fn schemes() -> Schemes {
    "rtsp,rtsps,rtspt,rtspst,rtsp-sdp,http,https,srt,file,v4l2".parse().unwrap()
}

/// Routes to `uri`, as an element makes them.
fn try_routes(uri: &str, policy: TlsPolicy, schemes: &Schemes) -> Result<Routes, Refusal> {
    let (address, credentials) = Address::parse(uri).unwrap();
    Routes::new(address, policy, credentials.is_some(), schemes)
}

#[track_caller]
fn routes(uri: &str, policy: TlsPolicy) -> Routes {
    try_routes(uri, policy, &schemes()).unwrap_or_else(|refusal| panic!("{uri}: {refusal}"))
}

#[track_caller]
fn refused(uri: &str, policy: TlsPolicy) -> Refusal {
    try_routes(uri, policy, &schemes()).err().unwrap_or_else(|| panic!("{uri} was let through"))
}

#[track_caller]
fn assert_route(route: &Route, uri: &str, flags: &str) {
    let found = [
        (route.sends_credentials, "credentials"),
        (route.is_fallback, "fallback"),
        (route.is_clear, "clear"),
    ];
    let found: Vec<&str> = found.into_iter().filter(|(is, _)| *is).map(|(_, name)| name).collect();
    assert_eq!((route.address.as_str(), found.join(" ").as_str()), (uri, flags));
}

#[test]
fn addresses_without_a_choice_are_taken_as_they_are() {
    use TlsPolicy::{AllowInsecure, Prefer, Require};
    for (uri, policy, stored, flags) in [
        ("rtsp://cam/x", AllowInsecure, "rtsp://cam/x", "clear"),
        ("rtsp://u:p@cam/x", AllowInsecure, "rtsp://cam/x", "credentials clear"),
        ("http://u:p@cam/x", AllowInsecure, "http://cam/x", "credentials clear"),
        ("rtsps://u:p@cam/x", AllowInsecure, "rtsps://cam/x", "credentials"),
        ("rtsps://u:p@cam/x", Prefer, "rtsps://cam/x", "credentials"),
        ("rtsps://u:p@cam/x", Require, "rtsps://cam/x", "credentials"),
        ("https://cam/x", Require, "https://cam/x", ""),
        ("http://cam/x", Prefer, "http://cam/x", "clear"),
        ("rtsp-sdp://cam", Prefer, "rtsp-sdp://cam", "clear"),
        ("file:///a.mp4", Prefer, "file:///a.mp4", ""),
        ("v4l2:///dev/video0", Require, "v4l2:///dev/video0", ""),
    ] {
        let mut routes = routes(uri, policy);
        for second in 0..3 {
            assert_route(&routes.next(at(second)), stored, flags);
            assert_eq!(routes.time_limit(LIVENESS), LIVENESS);
            assert_eq!(routes.failed(at(second)), Ok(None), "{uri}");
        }
    }
}

#[test]
fn credentials_are_not_given_to_local_sources() {
    let (address, _) = Address::parse("file:///a.mp4").unwrap();
    let mut routes = Routes::new(address, TlsPolicy::AllowInsecure, true, &schemes()).unwrap();
    assert_route(&routes.next(at(0)), "file:///a.mp4", "");
}

#[test]
fn require_refuses_clear_addresses_in_any_spelling() {
    for uri in [
        "rtsp://cam/x",
        "RTSP://cam/x",
        " \n\trTsP://u:p@cam/x",
        "rtspt://cam",
        "rtsp-sdp://cam",
        "HTTP://cam",
        "srt://cam:9000",
    ] {
        let refusal = refused(uri, TlsPolicy::Require);
        assert!(matches!(refusal, Refusal::NotEncrypted { .. }), "{uri}: {refusal}");
    }
    assert_eq!(
        refused("RTSP://u:p@cam/x?token=hunter2", TlsPolicy::Require).to_string(),
        "expected an encrypted address such as rtsps:// or https:// because of tls-policy=require, found \
         rtsp://cam/x?token=***: tls-policy=prefer or tls-policy=allow-insecure would connect in clear"
    );
}

#[test]
fn prefer_refuses_credentials_where_there_can_be_no_tls() {
    for uri in ["http://u:p@cam/x", "srt://u:p@cam:9000", "rtsp-sdp://u:p@cam"] {
        let refusal = refused(uri, TlsPolicy::Prefer);
        assert!(matches!(refusal, Refusal::CredentialsInClear { .. }), "{uri}: {refusal}");
        assert!(refusal.to_string().contains("tls-policy=allow-insecure"), "{refusal}");
    }
}

#[test]
fn schemes_off_the_list_are_refused_and_not_tried() {
    let only_clear: Schemes = "rtsp".parse().unwrap();
    assert_eq!(
        try_routes("srt://cam:9000", TlsPolicy::AllowInsecure, &Schemes::default()).unwrap_err().to_string(),
        "expected a URI with one of the schemes rtsp,rtsps,http,https,file,v4l2, found srt://: allowed-schemes \
         changes the list"
    );
    let mut routes = try_routes("rtsp://cam", TlsPolicy::Prefer, &only_clear).unwrap();
    assert_route(&routes.next(at(0)), "rtsp://cam", "clear");
    let refusal = try_routes("rtsp://u:p@cam", TlsPolicy::Prefer, &only_clear).unwrap_err();
    assert!(matches!(refusal, Refusal::CredentialsInClear { .. }), "{refusal}");
    assert!(refusal.to_string().contains("allowed-schemes"), "{refusal}");
}

#[test]
fn prefer_tries_tls_first_and_then_at_once_in_clear() {
    let mut routes = routes("rtsp://cam:8554/x?y", TlsPolicy::Prefer);
    assert_route(&routes.next(at(0)), "rtsps://cam:8554/x?y", "");
    assert!(!routes.insecure());
    assert_eq!(routes.time_limit(LIVENESS), TLS_TRY);
    assert_eq!(routes.time_limit(Duration::from_secs(1)), Duration::from_secs(1));
    let clear = routes.failed(at(1)).unwrap().unwrap();
    assert_route(&clear, "rtsp://cam:8554/x?y", "fallback clear");
    assert!(routes.insecure());
    assert_eq!(routes.time_limit(LIVENESS), LIVENESS);
    assert_eq!(routes.failed(at(2)), Ok(None));
    assert_route(&routes.next(at(3)), "rtsps://cam:8554/x?y", "");
}

#[test]
fn the_way_in_clear_that_worked_is_taken_at_once_until_tls_is_due_again() {
    let mut routes = routes("rtsp://cam/x", TlsPolicy::Prefer);
    let due = 5 + TLS_AGAIN.as_secs();
    routes.next(at(0));
    routes.failed(at(4)).unwrap();
    routes.connected(at(5));
    for second in [6, 100, due - 1] {
        assert_route(&routes.next(at(second)), "rtsp://cam/x", "fallback clear");
        assert_eq!(routes.time_limit(LIVENESS), LIVENESS);
        assert_eq!(routes.failed(at(second)), Ok(None), "TLS is not due");
        routes.next(at(second));
        routes.connected(at(second));
        routes.connected(at(second));
    }
    assert_route(&routes.next(at(due)), "rtsps://cam/x", "");
    routes.connected(at(due));
    assert_route(&routes.next(at(due + 1)), "rtsps://cam/x", "");
}

#[test]
fn tls_that_works_makes_the_way_in_clear_forgotten() {
    let mut routes = routes("rtsp://cam/x", TlsPolicy::Prefer);
    routes.next(at(0));
    routes.failed(at(0)).unwrap();
    routes.connected(at(0));
    let due = TLS_AGAIN.as_secs();
    routes.next(at(due));
    routes.connected(at(due));
    assert_eq!(routes.failed(at(due)), Ok(None), "what worked does not fall back");
    // A clock that went back would bring back what is only out of date.
    assert_route(&routes.next(at(1)), "rtsps://cam/x", "");
}

#[test]
fn a_source_that_answered_over_tls_does_not_fall_back() {
    let mut routes = routes("rtsp://cam/x", TlsPolicy::Prefer);
    routes.next(at(0));
    routes.answered();
    assert_eq!(routes.time_limit(LIVENESS), LIVENESS);
    assert_eq!(routes.failed(at(9)), Ok(None));
    routes.next(at(10));
    assert_eq!(routes.time_limit(LIVENESS), TLS_TRY, "the next attempt begins anew");
    routes.connected(at(11));
    routes.answered();
    assert_eq!(routes.failed(at(12)), Ok(None));
}

#[test]
fn credentials_stay_here_when_tls_fails() {
    let mut routes = routes("rtsp://admin:hunter2@cam/x?token=hunter2", TlsPolicy::Prefer);
    for second in 0..3 {
        assert_route(&routes.next(at(second)), "rtsps://cam/x?token=hunter2", "credentials");
        assert_eq!(routes.time_limit(LIVENESS), LIVENESS, "there is no other way to hurry to");
        let refusal = routes.failed(at(second)).unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "expected rtsps://cam/x?token=*** to answer over TLS, found that it failed; credentials are not sent in \
             clear: tls-policy=allow-insecure would send them"
        );
        assert!(!routes.insecure());
    }
    routes.next(at(4));
    routes.answered();
    assert_eq!(routes.failed(at(4)), Ok(None), "TLS is not what failed");
}

#[test]
fn insecure_is_rtsp_in_clear_alone() {
    for (uri, is_insecure) in [
        ("rtsp://cam", true),
        ("RTSPT://u:p@cam", true),
        ("rtsps://cam", false),
        ("http://cam", false),
        ("file:///a", false),
    ] {
        let mut routes = routes(uri, TlsPolicy::AllowInsecure);
        assert_eq!(routes.insecure(), is_insecure, "{uri} before the first attempt");
        routes.next(at(0));
        assert_eq!(routes.insecure(), is_insecure, "{uri}");
    }
}

#[test]
fn redirects_must_be_readable_allowed_and_on_the_network() {
    let routes = routes("rtsp://cam/x", TlsPolicy::AllowInsecure);
    assert_eq!(routes.check_redirect("RTSP://other:8554/y"), Ok(()));
    assert_eq!(routes.check_redirect("https://other/y"), Ok(()));
    for (to, said) in [
        ("/y", "the source redirects to what cannot be read: expected a URI"),
        (
            "rtsp://a:12/b@c",
            "the source redirects to what cannot be read: expected rtsp://user:password@host/path",
        ),
        ("rtsp://u:hunter2@cam/y", "expected a redirect without credentials, found them for rtsp://cam/y"),
        ("rtmp://cam/y", "expected a redirect to one of the schemes"),
        ("file:///etc/passwd", "which is local"),
        ("v4l2:///dev/video0", "which is local"),
    ] {
        let refusal = routes.check_redirect(to).unwrap_err().to_string();
        assert!(refusal.contains(said) && !refusal.contains("hunter2"), "{to}: {refusal}");
    }
    let local = self::routes("file:///list.m3u8", TlsPolicy::Require);
    assert_eq!(local.check_redirect("file:///a.mp4"), Ok(()));
    assert_eq!(local.check_redirect("https://cam/a.mp4"), Ok(()));
    let refusal = local.check_redirect("http://cam/a.mp4").unwrap_err();
    assert!(matches!(refusal, Refusal::RedirectToClear { .. }), "{refusal}");
}

#[test]
fn who_asks_nobody_is_redirected_only_where_everywhere_is_allowed() {
    let may = |uri, policy| routes(uri, policy).may_follow_unasked();
    assert!(may("http://cam/x", TlsPolicy::Prefer) && may("https://cam/x", TlsPolicy::AllowInsecure));
    assert!(!may("https://cam/x", TlsPolicy::Prefer), "it could leave TLS");
    assert!(!may("https://cam/x", TlsPolicy::Require));
    assert!(!may("https://admin:pw@cam/x", TlsPolicy::AllowInsecure), "others would get the password");
    let only = |list: &str| try_routes("http://cam/x", TlsPolicy::Prefer, &list.parse().unwrap()).unwrap();
    assert!(!only("http").may_follow_unasked());
}

#[test]
fn redirects_do_not_leave_tls() {
    let required = routes("rtsps://cam/x", TlsPolicy::Require);
    let mut preferred = routes("rtsp://cam/x", TlsPolicy::Prefer);
    preferred.next(at(0));
    for routes in [&required, &preferred] {
        assert_eq!(routes.check_redirect("rtsps://other/y"), Ok(()));
        for to in ["rtsp://cam/x", "RTSP://cam/x", "http://cam/x", "srt://cam:9000"] {
            let refusal = routes.check_redirect(to).unwrap_err();
            assert!(matches!(refusal, Refusal::RedirectToClear { .. }), "{to}: {refusal}");
        }
    }
    preferred.failed(at(1)).unwrap();
    assert_eq!(preferred.check_redirect("rtsp://other/x"), Ok(()), "it was in clear already");
    assert_eq!(preferred.check_redirect("rtsps://other/x"), Ok(()));
    let insecure = routes("rtsps://cam/x", TlsPolicy::AllowInsecure);
    assert_eq!(insecure.check_redirect("rtsp://other/x"), Ok(()));
}

#[test]
fn credentials_are_not_redirected_to_another_host_or_port() {
    for (uri, policy, same, others) in [
        (
            "rtsps://u:p@cam/x",
            TlsPolicy::Prefer,
            &["rtsps://CAM/y", "rtsps://cam:554/y", "https://cam/y"][..],
            &["rtsps://cam2/x", "rtsps://cam:322/x", "rtsps://cam.evil/x", "https://cam:8443/x"][..],
        ),
        (
            "rtsp://u:p@cam:8554/x",
            TlsPolicy::AllowInsecure,
            &["rtsp://cam:8554/", "rtsps://cam:8554/y"],
            &["rtsp://cam/x", "rtsp://cam:8555/x", "rtsps://cam/x", "srt://:8554"],
        ),
        ("http://u:p@[::1]/x", TlsPolicy::AllowInsecure, &["https://[::1]:443/"], &["http://[::2]/x"]),
    ] {
        let routes = routes(uri, policy);
        for to in same {
            assert_eq!(routes.check_redirect(to), Ok(()), "{to}");
        }
        for to in others {
            let refusal = routes.check_redirect(to).unwrap_err();
            assert!(matches!(refusal, Refusal::RedirectElsewhere { .. }), "{to}: {refusal}");
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Happening {
    Next,
    Answered,
    Connected,
    Failed,
}

fn happenings() -> impl Strategy<Value = Vec<(Happening, u64)>> {
    use Happening::{Answered, Connected, Failed, Next};
    prop::collection::vec((prop::sample::select(&[Next, Answered, Connected, Failed][..]), 0..900_u64), 0..40)
}

fn uri() -> impl Strategy<Value = String> {
    let scheme = prop::sample::select(
        &["rtsp", "RTSP", "Rtspt", "rtsps", "rtsp-sdp", "http", "https", "srt", "file"][..],
    );
    (scheme, "(Kanari7:Kanari7@)?", "(cam|cam2)(:[1-9][0-9]{0,3})?/x(\\?token=Kanari7)?").prop_map(
        |(scheme, credentials, rest)| match scheme {
            "file" => "file:///a.mp4".to_owned(),
            _ => format!("{scheme}://{credentials}{rest}"),
        },
    )
}

/// Fails if what is shown has a credential.
#[track_caller]
fn assert_shows_nothing(shown: &str) {
    assert!(!shown.contains("Kanari7"), "{shown}");
}

#[track_caller]
fn assert_refuses_silently(refusal: &Refusal) {
    assert_shows_nothing(&format!("{refusal} {refusal:?}"));
}

/// Lets it happen, and checks the route that comes of it.
fn happen(routes: &mut Routes, happening: Happening, now: Monotonic) {
    let (policy, has_credentials) = (routes.policy, routes.has_credentials);
    let route = match happening {
        Happening::Next => Some(routes.next(now)),
        Happening::Failed => routes.failed(now).unwrap_or_else(|refusal| {
            assert!(has_credentials && policy == TlsPolicy::Prefer, "{refusal}");
            assert_refuses_silently(&refusal);
            None
        }),
        Happening::Answered => {
            routes.answered();
            None
        }
        Happening::Connected => {
            routes.connected(now);
            None
        }
    };
    assert!(routes.time_limit(LIVENESS) <= LIVENESS);
    let Some(route) = route else { return };
    assert_eq!(route.is_clear, route.address.security() == Security::Clear);
    assert_eq!(routes.insecure(), route.is_clear && route.address.is_rtsp());
    assert!(has_credentials || !route.sends_credentials);
    assert_shows_nothing(&format!("{route:?}"));
    if route.is_clear {
        assert_ne!(policy, TlsPolicy::Require, "{route:?}");
        assert!(!has_credentials || policy == TlsPolicy::AllowInsecure, "{route:?}");
    }
}

fn check_redirect(routes: &Routes, to: &str) {
    match routes.check_redirect(to) {
        Err(refusal) => assert_refuses_silently(&refusal),
        Ok(()) => {
            let (target, credentials) = Address::parse(to).unwrap();
            assert_eq!(credentials, None);
            if target.security() == Security::Clear {
                assert_ne!(routes.policy, TlsPolicy::Require, "{target}");
                assert!(!routes.has_credentials || routes.policy == TlsPolicy::AllowInsecure, "{target}");
            }
        }
    }
}

proptest! {
    #[test]
    fn no_sequence_of_happenings_breaks_the_policy(
        uri in uri(),
        to in uri(),
        policy in prop::sample::select(POLICIES),
        has_credentials in any::<bool>(),
        happenings in happenings(),
    ) {
        let (address, credentials) = Address::parse(&uri).unwrap();
        match Routes::new(address, policy, has_credentials || credentials.is_some(), &schemes()) {
            Err(refusal) => assert_refuses_silently(&refusal),
            Ok(mut routes) => {
                let mut second = 0;
                for (happening, later) in happenings {
                    second += later;
                    happen(&mut routes, happening, at(second));
                }
                check_redirect(&routes, &to);
                assert_shows_nothing(&format!("{routes:?}"));
            }
        }
    }
}
