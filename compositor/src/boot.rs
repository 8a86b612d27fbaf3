//! What the compositor starts from: the folder that is mounted from its Secret.

use anyhow::{Context, ensure};
use memorialstream_compositor_protocol::{BEARER_TOKEN_FILE, BOOT_FILE, BootDocument, Secret, Video};
use std::path::Path;

/// The boot folder's contents.
#[derive(Clone, Debug)]
pub struct Boot {
    /// Video settings and the first control document.
    pub document: BootDocument,
    /// Guards `/v1`.
    pub bearer_token: Secret,
}

/// Reads the boot folder. It fails when a file is missing, unreadable or out of bounds.
pub fn read(folder: &Path) -> anyhow::Result<Boot> {
    let file = folder.join(BOOT_FILE);
    let text =
        std::fs::read_to_string(&file).with_context(|| format!("{} cannot be read", file.display()))?;
    let document: BootDocument =
        serde_json::from_str(&text).with_context(|| format!("{} is no boot document", file.display()))?;
    check(&document.video).with_context(|| format!("{}: video", file.display()))?;
    let file = folder.join(BEARER_TOKEN_FILE);
    let token =
        std::fs::read_to_string(&file).with_context(|| format!("{} cannot be read", file.display()))?;
    let token = token.trim();
    ensure!(!token.is_empty(), "{} is empty; it has to hold the bearer token", file.display());
    Ok(Boot { document, bearer_token: Secret::new(token) })
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

    #[test]
    fn a_folder_is_read() {
        let folder = folder("good", &boot(640), "bearer\n");
        let boot = read(&folder).unwrap();
        std::fs::remove_dir_all(folder).unwrap();
        assert_eq!(boot.bearer_token.reveal(), "bearer");
        assert_eq!(boot.document.control.cameras[0].name, "a");
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (name, boot, token, expected) in [
            ("odd", boot(641), "bearer", "width is 641; it has to be even"),
            ("json", "{".into(), "bearer", "is no boot document"),
            ("token", boot(640), " \n", "is empty; it has to hold the bearer token"),
        ] {
            let folder = folder(name, &boot, token);
            let error = format!("{:#}", read(&folder).unwrap_err());
            std::fs::remove_dir_all(folder).unwrap();
            assert!(error.contains(expected), "{name}: {error}");
        }
        let error = format!("{:#}", read(Path::new("/nowhere")).unwrap_err());
        assert!(error.contains("/nowhere/boot.json cannot be read"), "{error}");
    }
}
