//! What requests may say. Unknown: whether Mux ignores fields that it does not know; here they are refused, because
//! they are mistakes of the sender. Simulcast targets and subtitles are not simulated and refused likewise.

use crate::answer::Refusal;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

const LONGEST_PASSTHROUGH: usize = 255;
const LONGEST_TITLE: usize = 512;
const LONGEST_ASSET_META: usize = 128;
const LONGEST_WINDOW: u32 = 1800;
/// Also the default.
pub(crate) const LONGEST_DURATION: u32 = 43_200;
const SHORTEST_DURATION: u32 = 60;

/// How far viewers are behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "Mux's own words")]
pub enum LatencyMode {
    Low,
    Reduced,
    Standard,
}

impl LatencyMode {
    /// The default of `reconnect_window` (mux.com/docs/guides/handle-live-stream-disconnects).
    pub(crate) fn default_window(self) -> u32 {
        if self == Self::Standard { 60 } else { 0 }
    }
}

/// Who may watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "Mux's own words")]
pub enum Policy {
    Public,
    Signed,
    Drm,
}

/// A policy with what `drm` needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FullPolicy {
    pub policy: Policy,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drm_configuration_id: Option<String>,
}

impl FullPolicy {
    fn check(&self) -> Result<(), Refusal> {
        match (self.policy, &self.drm_configuration_id) {
            (Policy::Drm, None) => Err(Refusal::invalid("drm_configuration_id is required for policy drm")),
            (Policy::Public | Policy::Signed, Some(_)) => {
                Err(Refusal::invalid("drm_configuration_id is only for policy drm"))
            }
            _ => Ok(()),
        }
    }
}

/// One policy or a list of them: Mux takes both.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(Policy),
    Many(Vec<Policy>),
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StreamMeta {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
}

impl StreamMeta {
    fn check(&self) -> Result<(), Refusal> {
        at_most("meta.title", self.title.as_deref(), LONGEST_TITLE)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AssetMeta {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    creator_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    external_id: Option<String>,
}

impl AssetMeta {
    fn check(&self) -> Result<(), Refusal> {
        at_most("meta.title", self.title.as_deref(), LONGEST_TITLE)?;
        at_most("meta.creator_id", self.creator_id.as_deref(), LONGEST_ASSET_META)?;
        at_most("meta.external_id", self.external_id.as_deref(), LONGEST_ASSET_META)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MasterAccess {
    None,
    Temporary,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum VideoQuality {
    Basic,
    Plus,
    Premium,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Mp4Support {
    #[serde(rename = "none")]
    None,
    #[serde(rename = "standard")]
    Standard,
    #[serde(rename = "capped-1080p")]
    Capped,
    #[serde(rename = "audio-only")]
    AudioOnly,
    #[serde(rename = "audio-only,capped-1080p")]
    AudioOnlyAndCapped,
}

/// The three spellings of who may watch.
#[derive(Clone, Debug, Default)]
struct Policies {
    plain: Option<OneOrMany>,
    deprecated: Option<OneOrMany>,
    advanced: Option<Vec<FullPolicy>>,
}

impl Policies {
    /// All of them as one list. None at all is an empty list: nobody may watch.
    fn resolve(self) -> Result<Vec<FullPolicy>, Refusal> {
        let plain = match self.plain.or(self.deprecated) {
            None => Vec::new(),
            Some(OneOrMany::One(policy)) => vec![policy],
            Some(OneOrMany::Many(policies)) => policies,
        };
        let plain = plain.into_iter().map(|policy| FullPolicy { policy, drm_configuration_id: None });
        let all: Vec<FullPolicy> = plain.chain(self.advanced.unwrap_or_default()).collect();
        all.iter().try_for_each(FullPolicy::check)?;
        Ok(all)
    }
}

/// The settings of recordings, as a stream's creator says them.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct NewAssetSettings {
    playback_policies: Option<OneOrMany>,
    playback_policy: Option<OneOrMany>,
    advanced_playback_policies: Option<Vec<FullPolicy>>,
    passthrough: Option<String>,
    meta: Option<AssetMeta>,
    master_access: Option<MasterAccess>,
    video_quality: Option<VideoQuality>,
    mp4_support: Option<Mp4Support>,
}

/// The same, checked, as it is kept and shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AssetSettings {
    #[serde(rename = "advanced_playback_policies")]
    pub policies: Vec<FullPolicy>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passthrough: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meta: Option<AssetMeta>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub master_access: Option<MasterAccess>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub video_quality: Option<VideoQuality>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mp4_support: Option<Mp4Support>,
}

impl NewAssetSettings {
    fn check(self) -> Result<AssetSettings, Refusal> {
        at_most("new_asset_settings.passthrough", self.passthrough.as_deref(), LONGEST_PASSTHROUGH)?;
        self.meta.as_ref().map_or(Ok(()), AssetMeta::check)?;
        let policies = Policies {
            plain: self.playback_policies,
            deprecated: self.playback_policy,
            advanced: self.advanced_playback_policies,
        };
        Ok(AssetSettings {
            policies: policies.resolve()?,
            passthrough: self.passthrough,
            meta: self.meta,
            master_access: self.master_access,
            video_quality: self.video_quality,
            mp4_support: self.mp4_support,
        })
    }
}

/// `POST /video/v1/live-streams`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct NewLiveStream {
    playback_policies: Option<OneOrMany>,
    playback_policy: Option<OneOrMany>,
    advanced_playback_policies: Option<Vec<FullPolicy>>,
    latency_mode: Option<LatencyMode>,
    low_latency: Option<bool>,
    reduced_latency: Option<bool>,
    reconnect_window: Option<u32>,
    use_slate_for_standard_latency: Option<bool>,
    reconnect_slate_url: Option<String>,
    max_continuous_duration: Option<u32>,
    new_asset_settings: Option<NewAssetSettings>,
    passthrough: Option<String>,
    meta: Option<StreamMeta>,
    audio_only: Option<bool>,
    test: Option<bool>,
}

/// The settings of a live stream, checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StreamSettings {
    pub policies: Vec<FullPolicy>,
    pub latency_mode: LatencyMode,
    pub reconnect_window: u32,
    pub use_slate_for_standard_latency: bool,
    pub reconnect_slate_url: Option<String>,
    pub max_continuous_duration: u32,
    pub asset: Option<AssetSettings>,
    pub passthrough: Option<String>,
    pub meta: Option<StreamMeta>,
    pub audio_only: bool,
    pub test: bool,
}

impl StreamSettings {
    /// Whether Mux plays its own picture while it waits for an encoder
    /// (mux.com/docs/guides/handle-live-stream-disconnects).
    pub fn plays_slate(&self) -> bool {
        self.reconnect_window > 0
            && (self.latency_mode != LatencyMode::Standard || self.use_slate_for_standard_latency)
    }

    /// Reads and checks the body of a create.
    pub fn of_new(body: &[u8]) -> Result<Self, Refusal> {
        let new: NewLiveStream = parse(body)?;
        let test = new.test.unwrap_or(false);
        check_common(
            new.reconnect_window,
            new.max_continuous_duration,
            test,
            new.passthrough.as_deref(),
            new.meta.as_ref(),
        )?;
        let latency_mode = match (new.latency_mode, new.low_latency, new.reduced_latency) {
            (_, Some(true), Some(true)) => {
                return Err(Refusal::invalid("low_latency and reduced_latency exclude each other"));
            }
            (Some(mode), ..) => mode,
            (None, Some(true), _) => LatencyMode::Low,
            (None, _, Some(true)) => LatencyMode::Reduced,
            (None, ..) => LatencyMode::Standard,
        };
        let policies = Policies {
            plain: new.playback_policies,
            deprecated: new.playback_policy,
            advanced: new.advanced_playback_policies,
        };
        Ok(Self {
            policies: policies.resolve()?,
            latency_mode,
            reconnect_window: new.reconnect_window.unwrap_or(latency_mode.default_window()),
            use_slate_for_standard_latency: new.use_slate_for_standard_latency.unwrap_or(false),
            reconnect_slate_url: filled(new.reconnect_slate_url),
            max_continuous_duration: new.max_continuous_duration.unwrap_or(LONGEST_DURATION),
            asset: new.new_asset_settings.map(NewAssetSettings::check).transpose()?,
            passthrough: filled(new.passthrough),
            meta: new.meta,
            audio_only: new.audio_only.unwrap_or(false),
            test,
        })
    }
}

/// `PATCH /video/v1/live-streams/{id}`: only this can be changed.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LiveStreamUpdate {
    passthrough: Option<String>,
    pub latency_mode: Option<LatencyMode>,
    reconnect_window: Option<u32>,
    use_slate_for_standard_latency: Option<bool>,
    reconnect_slate_url: Option<String>,
    max_continuous_duration: Option<u32>,
    meta: Option<StreamMeta>,
    new_asset_settings: Option<AssetSettingsUpdate>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct AssetSettingsUpdate {
    mp4_support: Option<Mp4Support>,
    master_access: Option<MasterAccess>,
    video_quality: Option<VideoQuality>,
    meta: Option<AssetMeta>,
}

impl LiveStreamUpdate {
    /// Reads and checks the body of an update of a stream with these settings.
    pub fn of(body: &[u8], settings: &StreamSettings) -> Result<Self, Refusal> {
        let update: Self = parse(body)?;
        check_common(
            update.reconnect_window,
            update.max_continuous_duration,
            settings.test,
            update.passthrough.as_deref(),
            update.meta.as_ref(),
        )?;
        if let Some(meta) = update.new_asset_settings.as_ref().and_then(|asset| asset.meta.as_ref()) {
            meta.check()?;
        }
        Ok(update)
    }

    /// Changes what it names. A blank text clears.
    pub fn apply(self, settings: &mut StreamSettings) {
        if let Some(passthrough) = self.passthrough {
            settings.passthrough = filled(Some(passthrough));
        }
        if let Some(url) = self.reconnect_slate_url {
            settings.reconnect_slate_url = filled(Some(url));
        }
        settings.latency_mode = self.latency_mode.unwrap_or(settings.latency_mode);
        settings.reconnect_window = self.reconnect_window.unwrap_or(settings.reconnect_window);
        settings.use_slate_for_standard_latency =
            self.use_slate_for_standard_latency.unwrap_or(settings.use_slate_for_standard_latency);
        settings.max_continuous_duration =
            self.max_continuous_duration.unwrap_or(settings.max_continuous_duration);
        settings.meta = self.meta.or_else(|| settings.meta.take());
        if let Some(update) = self.new_asset_settings {
            let asset = settings.asset.get_or_insert_default();
            asset.mp4_support = update.mp4_support.or(asset.mp4_support);
            asset.master_access = update.master_access.or(asset.master_access);
            asset.video_quality = update.video_quality.or(asset.video_quality);
            asset.meta = update.meta.or_else(|| asset.meta.take());
        }
    }
}

/// `POST …/playback-ids`.
pub(crate) fn playback_policy(body: &[u8]) -> Result<FullPolicy, Refusal> {
    let policy: FullPolicy = parse(body)?;
    policy.check()?;
    Ok(policy)
}

fn check_common(
    window: Option<u32>,
    duration: Option<u32>,
    test: bool,
    passthrough: Option<&str>,
    meta: Option<&StreamMeta>,
) -> Result<(), Refusal> {
    if window.is_some_and(|window| window > LONGEST_WINDOW) {
        return Err(Refusal::invalid(format!("reconnect_window must be from 0 to {LONGEST_WINDOW}")));
    }
    if test && duration.is_some() {
        return Err(Refusal::invalid("Cannot use max continuous duration with test live streams"));
    }
    if duration.is_some_and(|duration| !(SHORTEST_DURATION..=LONGEST_DURATION).contains(&duration)) {
        let message =
            format!("max_continuous_duration must be from {SHORTEST_DURATION} to {LONGEST_DURATION}");
        return Err(Refusal::invalid(message));
    }
    at_most("passthrough", passthrough, LONGEST_PASSTHROUGH)?;
    meta.map_or(Ok(()), StreamMeta::check)
}

fn at_most(field: &str, text: Option<&str>, characters: usize) -> Result<(), Refusal> {
    match text {
        Some(text) if text.chars().count() > characters => {
            Err(Refusal::invalid(format!("{field} may have at most {characters} characters")))
        }
        _ => Ok(()),
    }
}

fn filled(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.trim().is_empty())
}

/// An empty body counts as an empty object.
fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    let body = if body.is_empty() { b"{}" } else { body };
    // Serde would take a list for an object.
    let object: Result<Map<String, Value>, _> = serde_json::from_slice(body);
    let parsed = object.and_then(|object| serde_json::from_value(Value::Object(object)));
    parsed.map_err(|error| Refusal::invalid(error.to_string()))
}
