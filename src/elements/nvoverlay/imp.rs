//! The element: properties, pads, and the way of a frame.

use super::compose::{self, Composer};
use super::settings::{DEFAULT_TAIL_LENGTH, MAX_LINE_WIDTH, MAX_TAIL_LENGTH, Palette, Settings, Style};
use super::{canvas, negotiate, regions};
use crate::clock;
use crate::elements::stats::Stats;
use crate::elements::{self, lock, video};
use crate::health::Redacted;
use crate::meta::{frame, text};
use crate::overlay::{Artist, Note, Options, Scene};
use crate::vision::Size;
use glib::subclass::prelude::*;
use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_video::VideoInfo;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{LazyLock, Mutex};

pub(super) static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new("nvoverlay", gst::DebugColorFlags::empty(), Some("NextVision overlay"))
});

/// What became of the frames, and of what stands on them.
#[derive(Clone, Copy, Debug, Default)]
struct Counters {
    frames: u64,
    painted: u64,
    attached: u64,
    untouched: u64,
    failed: u64,
    regions: u64,
    left_out: u64,
}

/// The stream at hand.
#[derive(Default)]
struct Stream {
    /// `None` before the first caps.
    format: Option<(gst::Caps, VideoInfo)>,
    /// Whether downstream draws.
    attaches: bool,
    artist: Artist,
    composer: Composer,
    /// Of the last frame; kept for its memory.
    scene: Scene,
}

#[derive(glib::Properties)]
#[properties(wrapper_type = super::NvOverlay)]
pub struct NvOverlay {
    #[property(
        name = "style", get, set, type = Style, member = style,
        blurb = "The parts that are drawn, joined by a plus.", mutable_playing, default = Style::default()
    )]
    #[property(
        name = "palette", get, set, type = Palette, member = palette,
        blurb = "What colours stand for.", mutable_playing, builder(Palette::default())
    )]
    #[property(
        name = "scale", get, set, type = f64, member = scale, minimum = 0.25, maximum = 4.0, default = 1.0,
        blurb = "Multiplies the sizes of text and lines that fit the frame.", mutable_playing
    )]
    #[property(
        name = "line-width", get, set, type = u32, member = line_width, maximum = MAX_LINE_WIDTH, default = 0,
        blurb = "Width of boxes and tails in pixels. 0 is a width that fits the frame.", mutable_playing
    )]
    #[property(
        name = "min-confidence", get, set, type = f64, member = min_confidence,
        minimum = 0.0, maximum = 1.0, default = 0.0,
        blurb = "Regions of a lower confidence are not drawn. 0 draws all.", mutable_playing
    )]
    #[property(
        name = "tail-length", get, set, type = u32, member = tail_length,
        maximum = MAX_TAIL_LENGTH, default = DEFAULT_TAIL_LENGTH,
        blurb = "Frames after which a tail ends. 0 draws none.", mutable_playing
    )]
    settings: Mutex<Settings>,
    stream: Mutex<Stream>,
    #[property(
        name = "stats", get = Self::stats, type = Stats,
        blurb = "Counters since the element was made, all uint64: frames, of these painted on, attached to, untouched and failed; regions drawn and left-out."
    )]
    counters: Mutex<Counters>,
    pub(super) sinkpad: gst::Pad,
    pub(super) srcpad: gst::Pad,
}

#[glib::object_subclass]
impl ObjectSubclass for NvOverlay {
    const NAME: &'static str = "GstNvOverlay";
    type Type = super::NvOverlay;
    type ParentType = gst::Element;

    fn with_class(klass: &Self::Class) -> Self {
        let template = klass.pad_template("sink").expect("the template is declared below");
        let sinkpad = gst::Pad::builder_from_template(&template)
            .chain_function(|_pad, parent, buffer| {
                Self::catch_panic_pad_function(
                    parent,
                    || Err(gst::FlowError::Error),
                    |imp| imp.sink_chain(buffer),
                )
            })
            .event_function(|pad, parent, event| {
                Self::catch_panic_pad_function(parent, || false, |imp| imp.sink_event(pad, event))
            })
            .query_function(|pad, parent, query| {
                Self::catch_panic_pad_function(parent, || false, |imp| imp.query(pad, query))
            })
            .flags(gst::PadFlags::PROXY_ALLOCATION)
            .build();
        let template = klass.pad_template("src").expect("the template is declared below");
        let srcpad = gst::Pad::builder_from_template(&template)
            .query_function(|pad, parent, query| {
                Self::catch_panic_pad_function(parent, || false, |imp| imp.query(pad, query))
            })
            .build();
        Self {
            settings: Mutex::default(),
            stream: Mutex::default(),
            counters: Mutex::default(),
            sinkpad,
            srcpad,
        }
    }
}

#[glib::derived_properties]
impl ObjectImpl for NvOverlay {
    fn constructed(&self) {
        self.parent_constructed();
        let element = self.obj();
        element.add_pad(&self.sinkpad).expect("a new element has no pad of that name");
        element.add_pad(&self.srcpad).expect("a new element has no pad of that name");
    }
}

impl GstObjectImpl for NvOverlay {}

impl ElementImpl for NvOverlay {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "NextVision overlay",
                "Filter/Editor/Video",
                "Draws detections, tracks and the name and status of the feed onto the video",
                elements::AUTHOR,
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let (always, caps) = (gst::PadPresence::Always, negotiate::template());
            let sink = gst::PadTemplate::new("sink", gst::PadDirection::Sink, always, &caps);
            let src = gst::PadTemplate::new("src", gst::PadDirection::Src, always, &caps);
            vec![sink.expect("valid template"), src.expect("valid template")]
        });
        &TEMPLATES
    }

    fn change_state(
        &self,
        transition: gst::StateChange,
    ) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        let done = self.parent_change_state(transition)?;
        if transition == gst::StateChange::PausedToReady {
            *lock(&self.stream) = Stream::default();
        }
        Ok(done)
    }
}

/// The stream.
impl NvOverlay {
    fn sink_event(&self, pad: &gst::Pad, event: gst::Event) -> bool {
        gst::log!(CAT, obj = pad, "{:?}", Redacted(&event));
        match event.view() {
            gst::EventView::Caps(caps) => return self.set_caps(caps.caps_owned()),
            gst::EventView::FlushStop(_) => lock(&self.stream).artist.forget(),
            _ => {}
        }
        gst::Pad::event_default(pad, Some(&*self.obj()), event)
    }

    fn query(&self, pad: &gst::Pad, query: &mut gst::QueryRef) -> bool {
        if let gst::QueryViewMut::Caps(query) = query.view_mut() {
            self.answer_caps(pad, query);
            return true;
        }
        gst::Pad::query_default(pad, Some(&*self.obj()), query)
    }

    fn set_caps(&self, caps: gst::Caps) -> bool {
        let info = match VideoInfo::from_caps(&caps) {
            Ok(info) if canvas::FORMATS.contains(&info.format()) => info,
            _ => {
                gst::warning!(CAT, imp = self, "Expected {}, found {caps}", negotiate::template());
                return false;
            }
        };
        lock(&self.stream).format = Some((caps.clone(), info));
        // What was to be agreed anew is, now.
        self.srcpad.check_reconfigure();
        self.agree(&caps)
    }

    fn agree(&self, caps: &gst::Caps) -> bool {
        let (agreed, attaches) = self.negotiate(caps);
        let attaches = agreed && attaches;
        gst::debug!(CAT, imp = self, "Agreed: {agreed}; attaching: {attaches}");
        lock(&self.stream).attaches = attaches;
        agreed
    }

    fn sink_chain(&self, buffer: gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
        let Some(caps) = lock(&self.stream).format.as_ref().map(|(caps, _)| caps.clone()) else {
            return Err(gst::FlowError::NotNegotiated);
        };
        if self.srcpad.check_reconfigure() && !self.agree(&caps) {
            self.srcpad.mark_reconfigure();
            let is_flushing = self.srcpad.pad_flags().contains(gst::PadFlags::FLUSHING);
            return Err(if is_flushing { gst::FlowError::Flushing } else { gst::FlowError::NotNegotiated });
        }
        self.srcpad.push(self.drawn(buffer))
    }

    /// The frame with its overlay. One that cannot be drawn on comes back as it was.
    fn drawn(&self, mut buffer: gst::Buffer) -> gst::Buffer {
        let options = lock(&self.settings).options();
        let mut counters = *lock(&self.counters);
        let mut stream = lock(&self.stream);
        let stream = &mut *stream;
        // A panic here would end the element for good, for the sake of a picture.
        let drawing = catch_unwind(AssertUnwindSafe(|| stream.draw(&mut buffer, &options, &mut counters)));
        let result = drawing.unwrap_or_else(|_| {
            (stream.artist, stream.composer) = Default::default();
            Err("drawing panicked".to_owned())
        });
        counters.frames += 1;
        if let Err(reason) = result {
            counters.failed += 1;
            gst::warning!(CAT, imp = self, "A frame goes on undrawn: {reason}");
        }
        *lock(&self.counters) = counters;
        buffer
    }

    fn stats(&self) -> Stats {
        let counters = *lock(&self.counters);
        gst::Structure::builder("nv-overlay-stats")
            .field("frames", counters.frames)
            .field("painted", counters.painted)
            .field("attached", counters.attached)
            .field("untouched", counters.untouched)
            .field("failed", counters.failed)
            .field("regions", counters.regions)
            .field("left-out", counters.left_out)
            .build()
            .into()
    }
}

impl Stream {
    fn draw(
        &mut self,
        buffer: &mut gst::Buffer,
        options: &Options,
        counters: &mut Counters,
    ) -> Result<(), String> {
        let Some((_, info)) = self.format.clone() else { return Ok(()) };
        self.compose(buffer, video::size(&info), options);
        let Scene { pieces, drawn, left_out } = &self.scene;
        counters.regions += drawn;
        counters.left_out += left_out;
        if pieces.is_empty() {
            counters.untouched += 1;
        } else if self.attaches {
            let composition = self.composer.compose(pieces).map_err(|error| error.to_string())?;
            compose::attach(buffer.make_mut(), &composition);
            counters.attached += 1;
        } else {
            canvas::paint(buffer.make_mut(), &info, pieces)?;
            counters.painted += 1;
        }
        Ok(())
    }

    fn compose(&mut self, buffer: &gst::BufferRef, size: Size, options: &Options) {
        let metas = regions::metas(buffer);
        let kinds: Vec<_> = metas.iter().map(text::roi_type).collect();
        let regions: Vec<_> =
            metas.iter().zip(&kinds).map(|(meta, kind)| regions::region(meta, kind, size)).collect();
        let Self { artist, scene, .. } = self;
        let now = clock::now();
        let with_note = frame::with_facts(buffer, |facts| {
            let note = Note { feed_id: facts.feed_id, status: facts.status, session: facts.session };
            artist.draw(size, &regions, Some(note), now, options, scene);
        });
        if with_note.is_none() {
            artist.draw(size, &regions, None, now, options, scene);
        }
    }
}
