//! From a service that is on air to nothing at all.

use crate::broadcast::{Live, patch, show, wait};
use crate::service::SERVICE;
use crate::telling::{Telling, keep_pod_logs};
use anyhow::{Context, Result, bail};
use livekit_api::services::egress::{EgressClient, EgressListFilter, EgressListOptions};
use livekit_api::services::room::RoomClient;
use memorialstream_lab::{Kubectl, LabDescription, RunFolder, attach, http_client, lab, leftovers};
use serde::Deserialize;
use std::time::{Duration, Instant};

const TIMEOUT: Duration = Duration::from_secs(60);
/// Mux answers no more than one such question a second for long.
const PAUSE: Duration = Duration::from_secs(2);

/// Ends the service. Its devices leave afterwards, as people put their phones away.
pub async fn end(telling: &mut Telling, lab: &LabDescription, live: Live) -> Result<()> {
    telling.step("Ended");
    patch(telling, lab, r#"{"spec":{"state":"Ended"}}"#)?;
    wait(telling, lab, "jsonpath={.status.state}=Ended", 180)?;
    show(telling, lab)?;
    let status = live.viewer.status().await?;
    telling.say(format!("{} answers {status}", live.playback_url));
    if status == 200 {
        bail!("the service has ended, but {} still plays", live.playback_url);
    }
    stop_cameras(lab)?;
    telling.done();
    Ok(())
}

fn stop_cameras(lab: &LabDescription) -> Result<()> {
    for process in lab.processes()? {
        if process.name.starts_with("camera-") {
            lab.stop_process(&process.name)?;
        }
    }
    Ok(())
}

/// Deletes the object; its finalizer waits until the providers are clean.
pub fn delete(telling: &mut Telling, lab: &LabDescription) -> Result<()> {
    telling.step("Deleted");
    telling.kubectl(lab, &["delete", "mstream", SERVICE, "--timeout=180s"])?;
    telling.done();
    Ok(())
}

/// Asks Mux, LiveKit and the cluster themselves.
pub async fn nothing_is_left(telling: &mut Telling, lab: &LabDescription) -> Result<()> {
    telling.step("Nothing is left at the providers");
    let began = Instant::now();
    loop {
        let left = left_at_providers(lab).await?;
        if left.is_empty() {
            break;
        }
        if began.elapsed() > TIMEOUT {
            bail!("after {} s this is left:\n  {}", TIMEOUT.as_secs(), left.join("\n  "));
        }
        tokio::time::sleep(PAUSE).await;
    }
    telling.say("no Mux live stream, no LiveKit room, no egress, no compositor pod");
    telling.done();
    Ok(())
}

/// Mux's own list (docs.mux.com, "List live streams"). A demo never has as many as a page holds.
#[derive(Deserialize)]
struct LiveStreams {
    data: Vec<LiveStream>,
}

#[derive(Deserialize)]
struct LiveStream {
    id: String,
}

async fn mux_live_streams(lab: &LabDescription) -> Result<LiveStreams> {
    let url = format!("{}/video/v1/live-streams?limit=100", lab.mux.url);
    let request = http_client()?.get(url).basic_auth(&lab.mux.token_id, Some(lab.mux.token_secret.reveal()));
    Ok(request.send().await?.error_for_status()?.json().await?)
}

async fn left_at_providers(lab: &LabDescription) -> Result<Vec<String>> {
    let streams = mux_live_streams(lab).await.context("list Mux's live streams")?;
    let mut left: Vec<String> =
        streams.data.into_iter().map(|stream| format!("Mux live stream {}", stream.id)).collect();
    let (url, key) = (&lab.livekit.url, &lab.livekit.api_key);
    let secret = lab.livekit.api_secret.reveal();
    let rooms = RoomClient::with_api_key(url, key, secret).list_rooms(Vec::new()).await;
    left.extend(rooms.context("list LiveKit's rooms")?.into_iter().map(|room| format!("room {}", room.name)));
    if lab.egress.is_some() {
        let active = EgressListOptions { filter: EgressListFilter::All, active: true, page_token: None };
        let egresses = EgressClient::with_api_key(url, key, secret).list_egress(active).await;
        let egresses = egresses.context("list LiveKit's egresses")?;
        left.extend(egresses.into_iter().map(|egress| format!("egress {}", egress.egress_id)));
    }
    let selector = "--selector=app.kubernetes.io/name=memorialstream-compositor";
    let pods = Kubectl::new(lab).run(&["get", "pods", "--all-namespaces", "--output=name", selector])?;
    left.extend(pods.lines().map(str::to_owned));
    Ok(left)
}

/// Stops the lab; no process, network device or mount may remain.
pub fn stop_lab(telling: &mut Telling) -> Result<()> {
    telling.step("The lab stops");
    lab::down()?;
    let left = leftovers(&RunFolder::fixed())?;
    if !left.is_empty() {
        bail!("the lab left something behind:\n  {}", left.join("\n  "));
    }
    telling.say("no process, no network device, no mount");
    telling.done();
    Ok(())
}

/// Ends whatever a demo left running.
pub async fn down(telling: &mut Telling) -> Result<()> {
    let clean = match attach() {
        Ok(lab) => give_back(telling, &lab).await,
        Err(error) => {
            telling.say(format!("{error:#}"));
            Ok(())
        }
    };
    let stopped = stop_lab(telling);
    clean.and(stopped)
}

/// The operator gives back what is paid for, while it still can.
async fn give_back(telling: &mut Telling, lab: &LabDescription) -> Result<()> {
    let kubectl = Kubectl::new(lab);
    let known = kubectl.run(&["api-resources", "--api-group=tributestream.com", "--output=name"])?;
    if known.is_empty() {
        return Ok(());
    }
    telling.step("Every MemorialStream is deleted");
    if let Err(error) = keep_pod_logs(lab) {
        telling.say(format!("(the pods' logs are not kept: {error:#})"));
    }
    telling
        .shown(lab, "kubectl delete mstream --all --all-namespaces --timeout=180s")
        .inspect_err(|_| telling.explain(lab))?;
    stop_cameras(lab)?;
    telling.done();
    nothing_is_left(telling, lab).await
}
