//! Which decoders an attempt may use: by what the user prefers, by what there is, and by what has failed.
//!
//! A decoder is known by the name and the class of its element factory only. Whether hardware of that name really
//! decodes a stream shows when it is tried: a [`Choice`] that prefers hardware goes without it for a while when it
//! has failed several times in a row.

use crate::time::Monotonic;
use std::time::Duration;

/// Failures in a row after which hardware is not preferred for a while.
pub const DEMOTED_AFTER: u32 = 3;

/// How long it is not preferred.
pub const DEMOTED_FOR: Duration = Duration::from_secs(60);

/// What the user wants of decoders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Preference {
    /// Any, in the order of the ranks of GStreamer.
    #[default]
    Auto,
    /// No hardware.
    Cpu,
    /// Hardware where there is any for the stream and it works.
    PreferHardware,
    /// Hardware, or none.
    RequireHardware,
}

impl Preference {
    /// The value of the property, and the name in messages.
    #[must_use]
    pub const fn nick(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Cpu => "cpu",
            Self::PreferHardware => "prefer-hardware",
            Self::RequireHardware => "require-hardware",
        }
    }
}

/// What a decoder decodes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Decoder {
    /// Hardware made for it.
    Hardware,
    /// The CPU.
    Software,
    /// Either, as the system decides: it is nobody's who wants to be sure.
    Either,
}

impl Decoder {
    /// The name in messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hardware => "hardware",
            Self::Software => "software",
            Self::Either => "either",
        }
    }
}

/// What names of factories begin with whose decoders are hardware, also where their class does not say so.
const HARDWARE_PREFIXES: &[&str] = &[
    // Linux: V4L2 (stateful and stateless), VA-API (`va`, `vaapi`), Vulkan, OpenMAX.
    "v4l2",
    "va",
    "vulkan",
    "omx",
    // Vendors: NVIDIA, Intel, AMD, Rockchip, NXP, Amlogic, Broadcom.
    "nv",
    "msdk",
    "qsv",
    "amf",
    "mpp",
    "imxvpu",
    "vpudec",
    "aml",
    "mmal",
    // Windows, Apple, Android.
    "d3d11",
    "d3d12",
    "vtdec_hw",
    "amcviddec-",
];

/// Decoders of Android that its makers wrote for the CPU.
const ANDROID_SOFTWARE: [&str; 3] = ["amcviddec-omxgoogle", "amcviddec-c2android", "amcviddec-omxffmpeg"];

/// Decoders of libav that only hand on to hardware, by the end of their name.
const LIBAV_HARDWARE: [&str; 8] =
    ["_cuvid", "_qsv", "_v4l2m2m", "_mmal", "_mediacodec", "_rkmpp", "_vdpau", "_amf"];

/// What the element factory `factory` of the class `klass` decodes with; `None` if it decodes no pictures.
#[must_use]
pub fn classify(factory: &str, klass: &str) -> Option<Decoder> {
    let is = |word: &str| klass.split('/').any(|part| part.eq_ignore_ascii_case(word));
    // Cameras that send JPEG: some decoders of it are of the class of pictures, not of video.
    if !is("Decoder") || !(is("Video") || is("Image")) {
        return None;
    }
    let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| factory.starts_with(prefix));
    if factory == "vtdec" {
        return Some(Decoder::Either);
    }
    let is_software = starts(&ANDROID_SOFTWARE);
    let is_hardware = is("Hardware")
        || starts(HARDWARE_PREFIXES)
        || factory.starts_with("avdec_") && LIBAV_HARDWARE.iter().any(|suffix| factory.ends_with(suffix));
    Some(if is_hardware && !is_software { Decoder::Hardware } else { Decoder::Software })
}

/// Which sorts of decoders there are for a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Decoders {
    /// One that is hardware.
    pub hardware: bool,
    /// One that is not.
    pub other: bool,
}

impl FromIterator<Decoder> for Decoders {
    fn from_iter<I: IntoIterator<Item = Decoder>>(decoders: I) -> Self {
        decoders.into_iter().fold(Self::default(), |found, decoder| match decoder {
            Decoder::Hardware => Self { hardware: true, ..found },
            Decoder::Software | Decoder::Either => Self { other: true, ..found },
        })
    }
}

/// What ended a session, as far as it bears on decoders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeFailure {
    /// A decoder of this sort, before the first frame of the session.
    BeforeFirstFrame(Decoder),
    /// A decoder that had given frames in this session: a bad stream more likely than a bad decoder.
    AfterFirstFrame,
    /// Anything else: the network, the address, the credentials, the container.
    Elsewhere,
}

/// Why a session may not go on with its decoder, or not begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeRefused {
    /// There is none on this machine.
    #[error("decode-preference is require-hardware: expected a hardware decoder, found none installed")]
    NoHardware,
    /// It is not known to be hardware.
    #[error("decode-preference is require-hardware: expected a hardware decoder, found one that is {}", .0.as_str())]
    NotHardware(Decoder),
    /// It was not seen.
    #[error("decode-preference is require-hardware: expected a hardware decoder, found none that is known")]
    Unknown,
}

/// Chooses the decoders of one feed, over all its sessions.
#[derive(Clone, Debug)]
pub struct Choice {
    preference: Preference,
    hardware_available: bool,
    /// Failures of hardware since a session with hardware gave a frame.
    failures: u32,
    demoted_until: Option<Monotonic>,
}

impl Choice {
    /// `hardware_available`: whether the machine has a hardware decoder of any kind.
    #[must_use]
    pub const fn new(preference: Preference, hardware_available: bool) -> Self {
        Self { preference, hardware_available, failures: 0, demoted_until: None }
    }

    /// Whether an attempt can succeed at all.
    ///
    /// # Errors
    /// If hardware is required and the machine has none: no attempt is to be made.
    pub const fn check(&self) -> Result<(), DecodeRefused> {
        match self.preference {
            Preference::RequireHardware if !self.hardware_available => Err(DecodeRefused::NoHardware),
            _ => Ok(()),
        }
    }

    /// Whether `decoder` may decode a stream for which there are the decoders `present`, at `now`.
    #[must_use]
    pub fn may_use(&self, now: Monotonic, decoder: Decoder, present: Decoders) -> bool {
        let is_hardware = decoder == Decoder::Hardware;
        match self.preference {
            Preference::Auto => true,
            Preference::Cpu => decoder == Decoder::Software,
            Preference::RequireHardware => is_hardware,
            // By the ranks alone the hardware that has failed would come first again.
            Preference::PreferHardware if self.is_demoted(now) => !is_hardware || !present.other,
            Preference::PreferHardware => is_hardware || !present.hardware,
        }
    }

    /// A session has ended. Hardware that fails before the first frame several times in a row is not preferred
    /// for a while; when it is tried again after that, one failure is enough until it has given a frame.
    pub fn failed(&mut self, now: Monotonic, failure: DecodeFailure) {
        if self.preference != Preference::PreferHardware
            || failure != DecodeFailure::BeforeFirstFrame(Decoder::Hardware)
        {
            return;
        }
        self.failures = self.failures.saturating_add(1);
        if self.failures >= DEMOTED_AFTER {
            self.demoted_until = Some(now.saturating_add(DEMOTED_FOR));
        }
    }

    /// A session has given its first frame, from `decoder`: the hardware works, if it is that.
    pub fn connected(&mut self, decoder: Option<Decoder>) {
        if decoder == Some(Decoder::Hardware) {
            self.failures = 0;
            self.demoted_until = None;
        }
    }

    /// Whether hardware is not preferred at `now` because it has failed.
    #[must_use]
    pub fn is_demoted(&self, now: Monotonic) -> bool {
        self.demoted_until.is_some_and(|until| now < until)
    }

    /// Whether a session may go on with the decoder it has got; `None` if that was not seen.
    ///
    /// # Errors
    /// If hardware is required and this is not known to be hardware.
    pub const fn verdict(&self, used: Option<Decoder>) -> Result<(), DecodeRefused> {
        match (self.preference, used) {
            (Preference::RequireHardware, None) => Err(DecodeRefused::Unknown),
            (Preference::RequireHardware, Some(used @ (Decoder::Software | Decoder::Either))) => {
                Err(DecodeRefused::NotHardware(used))
            }
            _ => Ok(()),
        }
    }

    /// Why a session that was to have hardware has got `used` at `now`; `None` if it has what was preferred.
    #[must_use]
    pub fn fallback_reason(&self, now: Monotonic, used: Decoder) -> Option<&'static str> {
        if self.preference != Preference::PreferHardware || used == Decoder::Hardware {
            None
        } else if !self.hardware_available {
            Some("no hardware decoder is installed")
        } else if self.is_demoted(now) {
            Some("hardware decoders failed before their first frame several times in a row")
        } else {
            Some("no hardware decoder takes this stream")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIDEO: &str = "Codec/Decoder/Video";
    const HARDWARE: &str = "Codec/Decoder/Video/Hardware";
    const BOTH: Decoders = Decoders { hardware: true, other: true };
    const START: Monotonic = Monotonic::from_nanos(7);

    fn after(seconds: u64) -> Monotonic {
        START.saturating_add(Duration::from_secs(seconds))
    }

    fn fail(choice: &mut Choice, times: u32) {
        for _ in 0..times {
            choice.failed(START, DecodeFailure::BeforeFirstFrame(Decoder::Hardware));
        }
    }

    /// A choice that has gone off hardware.
    fn demoted() -> Choice {
        let mut choice = Choice::new(Preference::PreferHardware, true);
        fail(&mut choice, DEMOTED_AFTER);
        choice
    }

    /// Which decoders may be used where there are hardware and others.
    fn allowed(choice: &Choice, now: Monotonic) -> Vec<Decoder> {
        let all = [Decoder::Hardware, Decoder::Software, Decoder::Either];
        all.into_iter().filter(|decoder| choice.may_use(now, *decoder, BOTH)).collect()
    }

    #[test]
    fn hardware_is_known_by_its_class_or_by_its_name() {
        let by_class = [
            "v4l2h264dec",
            "v4l2slh264dec",
            "vah264dec",
            "vaapih265dec",
            "nvh264dec",
            "msdkvp9dec",
            "qsvh264dec",
            "amfh264dec",
            "d3d11h264dec",
            "d3d12h265dec",
            "vulkanh264dec",
            "vtdec_hw",
            "amcviddec-omxqcomvideodecoderavc",
            "omxh264dec",
            "somebodysdec",
        ];
        for factory in by_class {
            assert_eq!(classify(factory, HARDWARE), Some(Decoder::Hardware), "{factory}");
            let by_name = if factory == "somebodysdec" { Decoder::Software } else { Decoder::Hardware };
            assert_eq!(classify(factory, VIDEO), Some(by_name), "{factory}");
        }
        for factory in ["nvv4l2decoder", "mppvideodec", "imxvpudec_h264", "avdec_h264_v4l2m2m"] {
            assert_eq!(classify(factory, VIDEO), Some(Decoder::Hardware), "{factory}");
        }
        assert_eq!(classify("vajpegdec", "Codec/Decoder/Image/Hardware"), Some(Decoder::Hardware));
    }

    #[test]
    fn what_the_cpu_decodes_is_software_whatever_its_class_says() {
        for factory in ["avdec_h264", "avdec_mjpeg", "openh264dec", "vp9dec", "dav1ddec", "libde265dec"] {
            assert_eq!(classify(factory, VIDEO), Some(Decoder::Software), "{factory}");
        }
        assert_eq!(classify("openh264dec", "Decoder/Video"), Some(Decoder::Software));
        assert_eq!(classify("jpegdec", "Codec/Decoder/Image"), Some(Decoder::Software));
        for factory in ["amcviddec-omxgoogleh264decoder", "amcviddec-c2androidavcdecoder"] {
            assert_eq!(classify(factory, HARDWARE), Some(Decoder::Software), "{factory}");
        }
    }

    #[test]
    fn what_may_be_either_is_nobodys_who_wants_to_be_sure() {
        assert_eq!(classify("vtdec", VIDEO), Some(Decoder::Either));
        for preference in [Preference::Cpu, Preference::RequireHardware] {
            assert!(!Choice::new(preference, true).may_use(START, Decoder::Either, BOTH));
        }
    }

    #[test]
    fn what_decodes_no_pictures_is_no_decoder() {
        let others = [
            ("nvbatcher", "Generic/Video/Batch"),
            ("nvfeed", "Source/Video"),
            ("nvhealth", "Filter/Analyzer/Video"),
            ("nvvideoconvert", "Filter/Converter/Video/Scaler/Hardware"),
            ("nvh264enc", "Codec/Encoder/Video/Hardware"),
            ("avdec_aac", "Codec/Decoder/Audio"),
            ("h264parse", "Codec/Parser/Converter/Video"),
            ("rtph264depay", "Codec/Depayloader/Network/RTP"),
            ("decodebin", "Generic/Bin/Decoder"),
            ("", ""),
        ];
        for (factory, klass) in others {
            assert_eq!(classify(factory, klass), None, "{factory}");
        }
    }

    #[test]
    fn each_preference_allows_its_decoders() {
        let expected = [
            (Preference::Auto, vec![Decoder::Hardware, Decoder::Software, Decoder::Either]),
            (Preference::Cpu, vec![Decoder::Software]),
            (Preference::PreferHardware, vec![Decoder::Hardware]),
            (Preference::RequireHardware, vec![Decoder::Hardware]),
        ];
        for (preference, decoders) in expected {
            assert_eq!(allowed(&Choice::new(preference, true), START), decoders, "{}", preference.nick());
        }
        assert_eq!(Preference::default(), Preference::Auto);
    }

    #[test]
    fn preferred_hardware_that_is_not_there_is_not_waited_for() {
        let software: Decoders = [Decoder::Software].into_iter().collect();
        assert_eq!(software, Decoders { hardware: false, other: true });
        for (available, why) in
            [(false, "no hardware decoder is installed"), (true, "no hardware decoder takes this stream")]
        {
            let choice = Choice::new(Preference::PreferHardware, available);
            assert!(choice.check().is_ok() && choice.may_use(START, Decoder::Software, software));
            assert_eq!(choice.fallback_reason(START, Decoder::Software), Some(why));
        }
    }

    #[test]
    fn hardware_that_fails_three_times_in_a_row_is_left_out_for_a_minute() {
        let mut choice = Choice::new(Preference::PreferHardware, true);
        fail(&mut choice, 2);
        assert_eq!(allowed(&choice, START), [Decoder::Hardware]);
        fail(&mut choice, 1);
        assert_eq!(allowed(&choice, after(59)), [Decoder::Software, Decoder::Either]);
        let why = choice.fallback_reason(after(59), Decoder::Software);
        assert!(why.is_some_and(|why| why.contains("failed")), "{why:?}");
        assert_eq!(allowed(&choice, after(60)), [Decoder::Hardware]);
    }

    #[test]
    fn hardware_is_used_although_it_failed_if_there_is_nothing_else() {
        let hardware: Decoders = [Decoder::Hardware].into_iter().collect();
        assert!(demoted().may_use(START, Decoder::Hardware, hardware));
    }

    #[test]
    fn after_its_minute_hardware_has_one_try_until_it_gives_a_frame() {
        let mut choice = demoted();
        choice.connected(Some(Decoder::Software));
        assert!(choice.is_demoted(after(59)), "that software works says nothing of hardware");
        choice.failed(after(60), DecodeFailure::BeforeFirstFrame(Decoder::Hardware));
        assert!(choice.is_demoted(after(119)));
        choice.connected(Some(Decoder::Hardware));
        assert!(!choice.is_demoted(after(61)));
        fail(&mut choice, 2);
        assert!(!choice.is_demoted(START));
    }

    #[test]
    fn only_hardware_that_gave_no_frame_is_held_to_have_failed() {
        let mut choice = Choice::new(Preference::PreferHardware, true);
        for failure in [
            DecodeFailure::Elsewhere,
            DecodeFailure::AfterFirstFrame,
            DecodeFailure::BeforeFirstFrame(Decoder::Software),
        ] {
            (0..100).for_each(|_| choice.failed(START, failure));
        }
        assert!(!choice.is_demoted(START));
        for preference in [Preference::Auto, Preference::Cpu, Preference::RequireHardware] {
            let mut choice = Choice::new(preference, true);
            fail(&mut choice, 100);
            assert!(!choice.is_demoted(START), "{}", preference.nick());
            assert_eq!(choice.fallback_reason(START, Decoder::Software), None);
        }
    }

    #[test]
    fn required_hardware_must_be_there_and_must_be_used() {
        let text = |result: Result<(), DecodeRefused>| result.unwrap_err().to_string();
        let choice = Choice::new(Preference::RequireHardware, false);
        assert!(text(choice.check()).contains("require-hardware"));
        let choice = Choice::new(Preference::RequireHardware, true);
        assert!(choice.check().is_ok() && choice.verdict(Some(Decoder::Hardware)).is_ok());
        assert!(text(choice.verdict(Some(Decoder::Software))).ends_with("found one that is software"));
        assert!(choice.verdict(Some(Decoder::Either)).is_err());
        assert!(text(choice.verdict(None)).ends_with("found none that is known"));
        assert!(Choice::new(Preference::Auto, false).verdict(None).is_ok());
    }
}
