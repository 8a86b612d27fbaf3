//! From nothing to a service that is on air, and a TAKE.

use crate::service::{MANIFEST, NAMESPACE, SERVICE};
use crate::telling::{Telling, keep_pod_logs, patch_line};
use anyhow::{Context, Result, bail};
use memorialstream_lab::footage::{self, Footage, Recognition};
use memorialstream_lab::lab::{self, Part};
use memorialstream_lab::viewer::Picture;
use memorialstream_lab::{
    Cache, Camera, Kubectl, LabDescription, Show, Viewer, built_program, checkout, installation,
};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Its cameras, in the order in which they get the clips.
const CAMERAS: [&str; 3] = ["lectern", "wide", "family"];
/// The size of the pictures that are kept: the Program's own.
const SIZE: (usize, usize) = (1280, 720);
/// How long it may take until viewers see what is on Program.
const TIMEOUT: Duration = Duration::from_secs(90);
/// Segments are about as long: looking more often would only take processor time from what is looked at.
const PAUSE: Duration = Duration::from_secs(1);
/// Enough to tell clips apart.
const SMALL: (usize, usize) = (320, 180);

/// A service that is on air.
pub struct Live {
    /// Where mourners watch.
    pub playback_url: String,
    /// What is seen there.
    pub viewer: Viewer,
}

/// Starts all parts.
pub fn start_lab(telling: &mut Telling) -> Result<LabDescription> {
    telling.step("A cluster of one node, LiveKit, and a stand-in for Mux");
    let lab = lab::up(&Part::ALL)?;
    telling.done();
    Ok(lab)
}

/// Everything up to the second camera on air.
pub async fn go_live(telling: &mut Telling, lab: &LabDescription) -> Result<Live> {
    install(telling, lab)?;
    apply(telling, lab)?;
    telling.step("Standby: the room and the compositor, a rehearsal");
    patch(telling, lab, r#"{"spec":{"state":"Standby"}}"#)?;
    wait(telling, lab, "jsonpath={.status.state}=Standby", 120)?;
    show(telling, lab)?;
    telling.done();
    let clips = start_cameras(telling, lab)?;
    let recognition = Recognition::of(&clips).await?;

    telling.step(format!("TAKE {}", CAMERAS[0]));
    take(telling, lab, CAMERAS[0])?;
    telling.done();

    telling.step("Live");
    patch(telling, lab, r#"{"spec":{"state":"Live"}}"#)?;
    wait(telling, lab, "condition=OnAir", 120)?;
    show(telling, lab)?;
    telling.done();

    telling.step("What a mourner sees");
    let playback_url = playback_url(lab)?;
    let viewer = Viewer::new(&playback_url)?;
    keep_picture(telling, &viewer, &recognition, clips[0].title, &format!("1-{}.png", CAMERAS[0])).await?;
    telling.done();

    telling.step(format!("TAKE {}: the same broadcast, another camera", CAMERAS[1]));
    take(telling, lab, CAMERAS[1])?;
    keep_picture(telling, &viewer, &recognition, clips[1].title, &format!("2-{}.png", CAMERAS[1])).await?;
    telling.kubectl(lab, &["get", "mstream", SERVICE, "-o", "wide"])?;
    keep_pod_logs(lab)?;
    telling.done();
    Ok(Live { playback_url, viewer })
}

fn install(telling: &mut Telling, lab: &LabDescription) -> Result<()> {
    telling.step("The operator: both images, the chart, and a Secret with credentials");
    let compositor = installation::compositor_image(lab)?;
    let operator = installation::operator_image(lab)?;
    installation::install_chart(lab, Some(&operator), &compositor)?;
    telling.kubectl(lab, &["get", "pods", "--namespace", installation::NAMESPACE])?;
    telling.done();
    Ok(())
}

/// Applies the example. Without an egress service the compositor has to send by itself.
fn apply(telling: &mut Telling, lab: &LabDescription) -> Result<()> {
    telling.step("A MemorialStream: one camera list, no state, no program");
    let manifest = checkout().join(MANIFEST);
    let manifest = shortest(&manifest);
    match &lab.egress {
        Some(program) => {
            telling.say(format!("LiveKit's egress sends to Mux ({}).", program.display()));
            telling.shown(lab, &format!("kubectl apply --server-side -f {manifest}"))?;
        }
        None => {
            telling.say(
                "No egress service is here (LIVEKIT_EGRESS_BIN, or `egress` on PATH): the compositor sends.",
            );
            let via = r#"{"spec":{"egress":{"via":"Compositor"}}}"#;
            telling.shown(
                lab,
                &format!(
                    "kubectl patch --local -f {manifest} --type merge -p '{via}' -o yaml \
                     | kubectl apply --server-side -f -"
                ),
            )?;
        }
    }
    wait(telling, lab, "jsonpath={.status.state}=Idle", 60)?;
    show(telling, lab)?;
    telling.done();
    Ok(())
}

/// Relative to where the demo runs, if it lies below.
fn shortest(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_else(|_| PathBuf::new());
    path.strip_prefix(here).unwrap_or(path).display().to_string()
}

fn start_cameras(telling: &mut Telling, lab: &LabDescription) -> Result<[Footage; 3]> {
    telling.step("Three cameras join by WebRTC, with real footage");
    let clips = footage::clips(&Cache::open()?)?;
    let operator = built_program("memorialstream-operator", "memorialstream-operator")?;
    let mut cameras = Vec::new();
    for (name, clip) in CAMERAS.into_iter().zip(&clips) {
        telling.say(format!("$ memorialstream-operator token --camera {name} {SERVICE}"));
        let show = Show::Footage { file: clip.file.clone(), sound: clip.has_sound };
        cameras.push((name, clip, Camera::start(lab, &operator, NAMESPACE, SERVICE, name, &show)?));
    }
    for (name, clip, camera) in cameras {
        camera.wait_live()?;
        let sound = if clip.has_sound { "with sound" } else { "without sound" };
        telling.say(format!("{name} sends: {}, {sound}", clip.title));
        // It belongs to the lab now, and goes on when the demo has gone live.
        camera.detach();
    }
    telling.done();
    Ok(clips)
}

fn take(telling: &Telling, lab: &LabDescription, camera: &str) -> Result<()> {
    patch(telling, lab, &format!(r#"{{"spec":{{"program":{{"sources":["{camera}"]}}}}}}"#))?;
    // A list that is still empty would make kubectl give up: the summary is always there.
    wait(telling, lab, &format!("jsonpath={{.status.program.summary}}={camera}"), 30)?;
    show(telling, lab)
}

/// Changes the spec as the director does.
pub fn patch(telling: &Telling, lab: &LabDescription, spec: &str) -> Result<()> {
    telling.shown(lab, &patch_line(spec)).map(|_| ())
}

/// Waits with kubectl, at most so many seconds.
pub fn wait(telling: &Telling, lab: &LabDescription, condition: &str, seconds: u32) -> Result<()> {
    let (condition, timeout) = (format!("--for={condition}"), format!("--timeout={seconds}s"));
    telling.kubectl(lab, &["wait", "mstream", SERVICE, &condition, &timeout]).map(|_| ())
}

/// Shows the object.
pub fn show(telling: &Telling, lab: &LabDescription) -> Result<()> {
    telling.kubectl(lab, &["get", "mstream", SERVICE]).map(|_| ())
}

fn playback_url(lab: &LabDescription) -> Result<String> {
    let url = Kubectl::new(lab).run(&["get", "mstream", SERVICE, "-o", "jsonpath={.status.playbackUrl}"])?;
    if url.is_empty() { bail!("{SERVICE} is on air, but its status has no playbackUrl") } else { Ok(url) }
}

/// Waits until the newest picture is from the wanted clip, and saves it.
async fn keep_picture(
    telling: &Telling,
    viewer: &Viewer,
    recognition: &Recognition,
    wanted: &str,
    name: &str,
) -> Result<()> {
    let began = Instant::now();
    let picture = loop {
        let seen = match viewer.picture(SMALL.0, SMALL.1).await {
            Ok(picture) => match recognition.title(&picture)? {
                Some(title) if title == wanted => break viewer.picture(SIZE.0, SIZE.1).await?,
                Some(title) => title.to_owned(),
                None => format!("none of the clips ({picture:?})"),
            },
            Err(error) => format!("{error:#}"),
        };
        if began.elapsed() > TIMEOUT {
            let path = save(&viewer.picture(SIZE.0, SIZE.1).await?, "unexpected.png").await?;
            let seconds = TIMEOUT.as_secs();
            bail!("after {seconds} s viewers do not see {wanted}; they see: {seen} ({})", shortest(&path));
        }
        tokio::time::sleep(PAUSE).await;
    };
    let path = save(&picture, name).await?;
    telling.say(format!("{} shows: {wanted} (after {:.1} s)", viewer.url(), began.elapsed().as_secs_f64()));
    telling.say(format!("picture: {}", shortest(&path)));
    Ok(())
}

async fn save(picture: &Picture, name: &str) -> Result<PathBuf> {
    let folder = checkout().join("demo-pictures");
    fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    let path = folder.join(name);
    picture.save_png(&path).await?;
    Ok(path)
}
