//! What the compositor starts from: the folder that is mounted from its Secret.

use crate::wire::{Read, read_from};
use anyhow::{Context, ensure};
use memorialstream_compositor_protocol::{BEARER_TOKEN_FILE, BOOT_FILE, ControlDocument, Secret, Video};
use serde_json::Value;
use std::path::Path;

/// The boot folder's contents.
#[derive(Clone, Debug)]
pub struct Boot {
    /// Size, rate and bitrate of Program.
    pub video: Video,
    /// The first control document, or what is wrong with it. A pod without one waits for the operator to send one.
    pub control: Result<ControlDocument, String>,
    /// Guards `/v1`.
    pub bearer_token: Secret,
}

/// Reads the boot folder. It fails without the bearer token, without which nobody could send a better document, and
/// without video settings, which are fixed for the life of the pod: there the way out is a new pod.
pub fn read(folder: &Path) -> anyhow::Result<Boot> {
    let file = folder.join(BEARER_TOKEN_FILE);
    let token =
        std::fs::read_to_string(&file).with_context(|| format!("{} cannot be read", file.display()))?;
    let token = token.trim();
    ensure!(!token.is_empty(), "{} is empty; it has to hold the bearer token", file.display());
    let file = folder.join(BOOT_FILE);
    let (video, control) =
        documents(&file).with_context(|| format!("{}: this needs a new pod", file.display()))?;
    Ok(Boot { video, control, bearer_token: Secret::new(token) })
}

fn documents(file: &Path) -> anyhow::Result<(Video, Result<ControlDocument, String>)> {
    let text = std::fs::read_to_string(file).context("it cannot be read")?;
    let boot: Value = serde_json::from_str(&text).context("it is no boot document")?;
    let video: Read<Video> = read_from(&boot["video"]).context("video cannot be read")?;
    check(&video.value).context("video")?;
    let control = read_from(&boot["control"]).map(|Read { value, unknown_fields }: Read<ControlDocument>| {
        if !unknown_fields.is_empty() {
            tracing::warn!(
                fields = unknown_fields.join(", "),
                "the boot document has fields that are not known"
            );
        }
        value
    });
    let wrong = |error: serde_json::Error| {
        crate::redact::redact(&format!("{}: control cannot be read: {error}", file.display()))
    };
    Ok((video.value, control.map_err(wrong)))
}

/// The bounds within which the encoder works at all. Those of the MemorialStream are narrower.
fn check(video: &Video) -> anyhow::Result<()> {
    let Video { width, height, frames_per_second, bitrate_kbps, stall_hold_milliseconds } = *video;
    for (name, size) in [("width", width), ("height", height)] {
        ensure!(
            (16..=4096).contains(&size) && size % 2 == 0,
            "{name} is {size}; it has to be even, 16 to 4096"
        );
    }
    ensure!(
        (1..=120).contains(&frames_per_second),
        "framesPerSecond is {frames_per_second}; it has to be 1 to 120"
    );
    ensure!(
        (50..=100_000).contains(&bitrate_kbps),
        "bitrateKbps is {bitrate_kbps}; it has to be 50 to 100000"
    );
    ensure!(stall_hold_milliseconds > 0, "stallHoldMilliseconds is 0; it has to be positive");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use memorialstream_compositor_protocol::BootDocument;

    fn folder(name: &str, boot: &str, token: &str) -> std::path::PathBuf {
        let folder = std::env::temp_dir().join(format!("memorialstream-boot-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(BOOT_FILE), boot).unwrap();
        std::fs::write(folder.join(BEARER_TOKEN_FILE), token).unwrap();
        folder
    }

    fn boot(width: u32) -> String {
        let control = crate::document::fixture::document(1, 0, &["a"], |_| {});
        let video = Video {
            width,
            height: 360,
            frames_per_second: 15,
            bitrate_kbps: 500,
            stall_hold_milliseconds: 500,
        };
        serde_json::to_string(&BootDocument { video, control }).unwrap()
    }

    fn read_folder(name: &str, boot: &str, token: &str) -> anyhow::Result<Boot> {
        let folder = folder(name, boot, token);
        let boot = read(&folder);
        std::fs::remove_dir_all(folder).unwrap();
        boot
    }

    #[test]
    fn a_folder_is_read() {
        let boot = read_folder("good", &boot(640), "bearer\n").unwrap();
        assert_eq!(boot.bearer_token.reveal(), "bearer");
        assert_eq!(boot.control.unwrap().cameras[0].name, "a");
    }

    #[test]
    fn a_wrong_control_document_is_no_reason_not_to_start() {
        let wrong = |change: fn(&mut Value)| {
            let mut boot = serde_json::from_str(&boot(640)).unwrap();
            change(&mut boot);
            read_folder("control", &boot.to_string(), "bearer").unwrap().control.unwrap_err()
        };
        for (error, expected) in [
            (wrong(|boot| boot["control"] = Value::Null), "control cannot be read"),
            (wrong(|boot| boot["control"]["generation"] = "7".into()), "invalid type"),
            (wrong(|boot| boot["control"]["program"]["layout"] = "Grid".into()), "unknown variant `Grid`"),
        ] {
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_newer_operators_boot_document_is_read() {
        let mut newer: Value = serde_json::from_str(&boot(640)).unwrap();
        newer["video"]["codec"] = "H265".into();
        newer["control"]["lowerThird"] = "x".into();
        newer["recording"] = true.into();
        let boot = read_folder("newer", &newer.to_string(), "bearer").unwrap();
        assert!(boot.control.is_ok());
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (name, boot, token, expected) in [
            ("odd", boot(641), "bearer", "needs a new pod: video: width is 641; it has to be even"),
            ("json", "{".into(), "bearer", "is no boot document"),
            ("video", r#"{"control":{}}"#.into(), "bearer", "video cannot be read"),
            ("token", boot(640), " \n", "is empty; it has to hold the bearer token"),
        ] {
            let error = format!("{:#}", read_folder(name, &boot, token).unwrap_err());
            assert!(error.contains(expected), "{name}: {error}");
        }
        let error = format!("{:#}", read(Path::new("/nowhere")).unwrap_err());
        assert!(error.contains("/nowhere/bearer-token cannot be read"), "{error}");
    }
}
