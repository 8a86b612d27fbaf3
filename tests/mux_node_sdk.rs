//! Mux's own Node SDK, unchanged, against the simulator of the running lab.

use memorialstream_lab::{MuxAdmin, MuxSettings, RateLimits};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

#[tokio::test]
async fn the_official_sdk_works_with_the_simulator() {
    let folder = installed_sdk();
    let lab = memorialstream_lab::attach().expect("a lab");
    let admin = MuxAdmin::new(&lab);
    admin.clear_faults().await.expect("clear the faults");
    let before = admin.settings().await.expect("the settings");
    let unlimited = MuxSettings { rate_limits: RateLimits::UNLIMITED, ..before.clone() };
    admin.set_settings(&unlimited).await.expect("lift the limits");
    let output = Command::new("node")
        .args(["--test", "test.mjs"])
        .current_dir(&folder)
        .env("MUX_BASE_URL", &lab.mux.url)
        .env("MUX_TOKEN_ID", &lab.mux.token_id)
        .env("MUX_TOKEN_SECRET", lab.mux.token_secret.reveal())
        .env("SIMULATOR_URL", &lab.mux.admin_url)
        .output()
        .expect("run node");
    admin.clear_faults().await.expect("clear the faults");
    admin.set_settings(&before).await.expect("restore the limits");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    assert!(told.contains("pass 5"), "all five tests must run:\n{told}");
}

/// A folder with the SDK that the lock file names, kept between runs, and the test beside it.
#[cfg(test)]
fn installed_sdk() -> PathBuf {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mux-node-sdk");
    let lock = fs::read(sources.join("package-lock.json")).expect("the lock file");
    let mut hasher = DefaultHasher::new();
    lock.hash(&mut hasher);
    let folder =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("mux-node-sdk-{:016x}", hasher.finish()));
    if !folder.exists() {
        let building = folder.with_extension("building");
        fs::create_dir_all(&building).expect("make the folder");
        for name in ["package.json", "package-lock.json", ".npmrc"] {
            fs::copy(sources.join(name), building.join(name)).expect("copy");
        }
        let npm = Command::new("npm").args(["ci", "--ignore-scripts"]).current_dir(&building).output();
        let npm = npm.expect("run npm");
        assert!(npm.status.success(), "npm ci: {}", String::from_utf8_lossy(&npm.stderr));
        fs::rename(&building, &folder).expect("the folder is complete");
    }
    fs::copy(sources.join("test.mjs"), folder.join("test.mjs")).expect("copy the test");
    folder
}
