//! A run of a stand-in for `nvruntime` that does as its `config` says.

use super::*;
use crate::log::Format;
use glib::subclass::prelude::*;
use gst::subclass::prelude::*;
use std::sync::{LazyLock, Mutex, Once};

mod stand_in {
    use super::*;

    #[derive(Default)]
    pub(crate) struct Runtime {
        config: Mutex<Option<String>>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for Runtime {
        const NAME: &'static str = "NvRuntimeStandIn";
        type Type = StandIn;
        type ParentType = gst::Bin;
    }

    impl Runtime {
        fn config(&self) -> String {
            self.config.lock().unwrap().clone().unwrap_or_default()
        }

        fn post_phase(&self, phase: &str) {
            let structure = gst::Structure::builder(PHASE_MESSAGE).field("phase", phase).build();
            let element = self.obj();
            element.post_message(gst::message::Element::builder(structure).src(&*element).build()).ok();
        }

        fn fail(&self) {
            let element = self.obj();
            let error = gst::message::Error::builder(gst::StreamError::Failed, "out of paper\nand ink");
            element.post_message(error.src(&*element).build()).ok();
        }

        fn ask(&self, what: &'static str) -> bool {
            match (self.config().as_str(), what) {
                ("hangs", "shutdown") => loop {
                    thread::park();
                },
                ("refuses", _) => false,
                _ => true,
            }
        }
    }

    impl ObjectImpl for Runtime {
        fn properties() -> &'static [glib::ParamSpec] {
            static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
                vec![
                    glib::ParamSpecString::builder("config").build(),
                    glib::ParamSpecString::builder("last-error").read_only().build(),
                    glib::ParamSpecUInt64::builder("drain-timeout").read_only().build(),
                ]
            });
            &PROPERTIES
        }

        fn set_property(&self, _: usize, value: &glib::Value, _: &glib::ParamSpec) {
            *self.config.lock().unwrap() = value.get().unwrap();
        }

        fn property(&self, _: usize, spec: &glib::ParamSpec) -> glib::Value {
            match spec.name() {
                "drain-timeout" => 0_u64.to_value(),
                "last-error" => Some("3 records are left").to_value(),
                _ => self.config().to_value(),
            }
        }

        fn signals() -> &'static [glib::subclass::Signal] {
            static SIGNALS: LazyLock<Vec<glib::subclass::Signal>> = LazyLock::new(|| {
                let action = |name: &'static str| {
                    let builder =
                        glib::subclass::Signal::builder(name).return_type::<bool>().run_last().action();
                    builder
                        .class_handler(move |values| {
                            let element = values[0].get::<StandIn>().unwrap();
                            Some(element.imp().ask(name).to_value())
                        })
                        .build()
                };
                vec![action("reload"), action("shutdown"), action("ping")]
            });
            &SIGNALS
        }
    }

    impl GstObjectImpl for Runtime {}
    impl BinImpl for Runtime {}

    impl ElementImpl for Runtime {
        fn change_state(
            &self,
            change: gst::StateChange,
        ) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
            if change == gst::StateChange::NullToReady && self.config() == "does-not-start" {
                self.fail();
                return Err(gst::StateChangeError);
            }
            let done = self.parent_change_state(change)?;
            if change == gst::StateChange::PausedToPlaying {
                self.post_phase("running");
                if self.config() == "fails" {
                    self.fail();
                }
            }
            Ok(done)
        }
    }
}

glib::wrapper! {
    pub(crate) struct StandIn(ObjectSubclass<stand_in::Runtime>) @extends gst::Bin, gst::Element, gst::Object,
        @implements gst::ChildProxy;
}

/// The run of a stand-in that is configured so, and what it is to hear when it plays.
fn run_of(config: &str, then: impl IntoIterator<Item = Happening> + Send + 'static) -> End {
    static REGISTERED: Once = Once::new();
    gst::init().unwrap();
    REGISTERED.call_once(|| {
        gst::Element::register(None, RUNTIME, gst::Rank::NONE, StandIn::static_type()).unwrap();
    });
    let arguments = crate::Run {
        site: config.into(),
        log: None,
        log_format: Format::Text,
        metrics_address: None,
        gst_debug: None,
    };
    let (tell, happenings) = mpsc::channel();
    // What is on the bus goes through here, so that the test knows when it plays.
    let (to_run, for_run) = mpsc::channel();
    let relay = move || {
        let mut then = Some(then);
        for happening in happenings {
            let plays = happening == Happening::Running;
            if to_run.send(happening).is_err() {
                return;
            }
            for next in then.take_if(|_| plays).into_iter().flatten() {
                to_run.send(next).ok();
            }
        }
    };
    let run = Run::new(&arguments, Duration::from_secs(600), tell).unwrap();
    thread::Builder::new().name("relay".to_owned()).spawn(relay).unwrap();
    run.conduct(&for_run)
}

const STOP: Happening = Happening::Signal(Signal::Stop(15));

fn failure(end: End) -> (Option<String>, bool) {
    match end {
        End::Over { failure, hangs } => (failure, hangs),
        End::Wrong(problems) => panic!("{problems:?}"),
    }
}

#[test]
fn a_signal_ends_a_run_well() {
    assert_eq!(failure(run_of("well", [STOP])), (None, false));
}

#[test]
fn a_run_that_does_not_deliver_all_says_what_the_runtime_says() {
    let reason = "not everything was delivered: 3 records are left".to_owned();
    assert_eq!(failure(run_of("refuses", [STOP])), (Some(reason), false));
}

#[test]
fn an_error_on_the_bus_is_the_reason() {
    for config in ["fails", "does-not-start"] {
        let (reason, hangs) = failure(run_of(config, []));
        let reason = reason.unwrap();
        assert!(reason.ends_with(": out of paper\nand ink") && !hangs, "{config}: {reason}");
    }
}

#[test]
fn a_drain_that_hangs_is_given_up_when_what_the_runtime_allows_is_over() {
    // Asked for after the start: ten minutes from the file, none from the element.
    let (reason, hangs) = failure(run_of("hangs", [STOP]));
    assert_eq!(
        reason.as_deref(),
        Some("the runtime has not delivered all records within 5 s; it was left as it is")
    );
    assert!(hangs);
}

#[test]
fn a_reload_that_is_refused_is_no_end() {
    assert_eq!(
        failure(run_of("refuses", [Happening::Signal(Signal::Reload), Happening::Ended])),
        (None, false)
    );
}

#[test]
fn what_an_element_says_behind_its_place_in_the_code_is_part_of_the_reason() {
    let debug = "src/a.rs(3): open (): /GstPipeline:nextvision/engine-1:\nproperty model: expected a file, found none";
    let told = "engine-1: Resource not found: property model: expected a file, found none";
    assert_eq!(reason("engine-1", "Resource not found.", debug), told);
    assert_eq!(reason("a", "no such file", "a.c(1): open (): /a"), "a: no such file");
    assert_eq!(reason("a", "out of paper", "a.c(1): open (): /a:\nout of paper"), "a: out of paper");
}
