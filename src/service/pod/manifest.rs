//! What a compositor looks like in Kubernetes: one Secret and one Pod. Pure.

use crate::api::MemorialStream;
use crate::api::names::{MANAGED_BY_LABEL, OPERATOR_MANAGER};
use crate::api::spec::{MemorialStreamSpec, Video};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{
    Capabilities, Container, ContainerPort, EmptyDirVolumeSource, EnvVar, HTTPGetAction, Pod,
    PodSecurityContext, PodSpec, Probe, ResourceRequirements, SeccompProfile, Secret, SecretVolumeSource,
    SecurityContext, Toleration, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::Resource;
use memorialstream_compositor_protocol as protocol;
use std::collections::BTreeMap;

/// Label with the object's UID, by which its pods are found.
pub const UID_LABEL: &str = "tributestream.com/memorialstream-uid";
/// Label with the number in a pod's name.
pub const INCARNATION_LABEL: &str = "tributestream.com/incarnation";
/// Annotation with the settings that a pod was made with.
pub const SETTINGS_ANNOTATION: &str = "tributestream.com/settings";
/// Annotation with the image that a pod was made with: admission may put another in its place, such as a mirror's.
pub const IMAGE_ANNOTATION: &str = "tributestream.com/image";
/// The name of the compositor's container: admission may put others beside it.
pub const CONTAINER: &str = "compositor";

/// What a pod has to end by itself once it is deleted, in seconds.
pub const GRACE_SECONDS: i64 = 10;

/// The key of the boot Secret that says for which incarnation it was written.
pub(super) const INCARNATION_KEY: &str = "incarnation";

/// Whether the boot Secret is read for this key.
pub fn is_boot_key(name: &str) -> bool {
    [protocol::BOOT_FILE, protocol::BEARER_TOKEN_FILE, INCARNATION_KEY].contains(&name)
}

/// What the operator's installation decides about compositor pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodTemplate {
    /// The compositor's image.
    pub image: String,
    /// `Always`, `IfNotPresent` or `Never`.
    pub image_pull_policy: String,
}

/// A pod's name: short enough for a host name, whatever the object is called.
pub fn pod_name(object: &str, incarnation: i64) -> String {
    let suffix = format!("-compositor-{incarnation}");
    let kept: String = object.chars().take(63 - suffix.len()).collect();
    format!("{}{suffix}", kept.trim_end_matches(['-', '.']).replace('.', "-"))
}

/// The name of the Secret that the pod boots from.
pub fn secret_name(object: &str) -> String {
    format!("{object}-compositor")
}

/// The settings that need a new pod when they change.
pub fn settings_fingerprint(spec: &MemorialStreamSpec) -> String {
    let video = video(spec);
    let compositor = spec.compositor.clone().unwrap_or_default();
    let placement = serde_json::to_string(&compositor).unwrap_or_else(|error| error.to_string());
    format!(
        "{}x{}@{} {}kbps hold {}ms {placement}",
        video.width, video.height, video.frames_per_second, video.bitrate_kbps, video.stall_hold_milliseconds
    )
}

/// The Program's size, rate and bitrate, with the defaults filled in.
pub fn video(spec: &MemorialStreamSpec) -> protocol::Video {
    let Video { width, height, frames_per_second, bitrate_kbps, stall_hold_milliseconds } =
        spec.video.clone().unwrap_or_default();
    let or =
        |value: Option<i64>, default| value.and_then(|value| u32::try_from(value).ok()).unwrap_or(default);
    protocol::Video {
        width: or(width, 1280),
        height: or(height, 720),
        frames_per_second: or(frames_per_second, 30),
        bitrate_kbps: or(bitrate_kbps, 3000),
        stall_hold_milliseconds: or(stall_hold_milliseconds, 500),
    }
}

/// The Secret from which the pod boots.
pub fn boot_secret(
    object: &MemorialStream,
    boot_json: Vec<u8>,
    bearer_token: &protocol::Secret,
    incarnation: i64,
) -> Secret {
    Secret {
        metadata: object_metadata(object, secret_name(object.metadata.name.as_deref().unwrap_or(""))),
        data: Some(BTreeMap::from([
            (protocol::BOOT_FILE.to_owned(), ByteString(boot_json)),
            (protocol::BEARER_TOKEN_FILE.to_owned(), ByteString(bearer_token.reveal().as_bytes().to_vec())),
            (INCARNATION_KEY.to_owned(), ByteString(incarnation.to_string().into_bytes())),
        ])),
        ..Secret::default()
    }
}

/// Whether `next` is of an earlier pod than the boot Secret in whose place it would come: what was on its way when the pod
/// was replaced must not become what the next one boots from, and is asked with.
pub fn boots_earlier(next: &Secret, existing: &Secret) -> bool {
    let incarnation = |secret: &Secret| {
        let kept = secret.data.as_ref()?.get(INCARNATION_KEY)?;
        std::str::from_utf8(&kept.0).ok()?.parse::<i64>().ok()
    };
    incarnation(next).zip(incarnation(existing)).is_some_and(|(next, existing)| next < existing)
}

/// The compositor's pod. It parses hostile media in C, so it gets no Kubernetes token, no API secret, no root, no
/// capability and a read-only file system.
pub fn pod(object: &MemorialStream, name: &str, incarnation: i64, template: &PodTemplate) -> Pod {
    let settings = object.spec.compositor.clone().unwrap_or_default();
    let mut metadata = object_metadata(object, name.to_owned());
    metadata.labels.get_or_insert_default().insert(INCARNATION_LABEL.to_owned(), incarnation.to_string());
    metadata.annotations = Some(BTreeMap::from([
        (SETTINGS_ANNOTATION.to_owned(), settings_fingerprint(&object.spec)),
        (IMAGE_ANNOTATION.to_owned(), template.image.clone()),
    ]));
    let mut tolerations = settings.tolerations;
    tolerations.extend(["not-ready", "unreachable"].map(|taint| Toleration {
        key: Some(format!("node.kubernetes.io/{taint}")),
        operator: Some("Exists".into()),
        effect: Some("NoExecute".into()),
        toleration_seconds: Some(15),
        ..Toleration::default()
    }));
    Pod {
        metadata,
        spec: Some(PodSpec {
            automount_service_account_token: Some(false),
            enable_service_links: Some(false),
            containers: vec![container(settings.resources, template)],
            node_selector: Some(settings.node_selector).filter(|labels| !labels.is_empty()),
            restart_policy: Some("Always".into()),
            security_context: Some(PodSecurityContext {
                run_as_non_root: Some(true),
                run_as_user: Some(65532),
                run_as_group: Some(65532),
                fs_group: Some(65532),
                seccomp_profile: Some(SeccompProfile {
                    type_: "RuntimeDefault".into(),
                    ..SeccompProfile::default()
                }),
                ..PodSecurityContext::default()
            }),
            termination_grace_period_seconds: Some(GRACE_SECONDS),
            tolerations: Some(tolerations),
            volumes: Some(vec![
                Volume {
                    name: "boot".into(),
                    secret: Some(SecretVolumeSource {
                        secret_name: Some(secret_name(object.metadata.name.as_deref().unwrap_or(""))),
                        default_mode: Some(0o440),
                        ..SecretVolumeSource::default()
                    }),
                    ..Volume::default()
                },
                Volume {
                    name: "scratch".into(),
                    empty_dir: Some(EmptyDirVolumeSource {
                        size_limit: Some(Quantity("64Mi".into())),
                        ..EmptyDirVolumeSource::default()
                    }),
                    ..Volume::default()
                },
            ]),
            ..PodSpec::default()
        }),
        status: None,
    }
}

fn container(resources: Option<ResourceRequirements>, template: &PodTemplate) -> Container {
    let quantities = |pairs: &[(&str, &str)]| {
        Some(
            pairs.iter().map(|(name, amount)| ((*name).to_owned(), Quantity((*amount).to_owned()))).collect(),
        )
    };
    let default = ResourceRequirements {
        requests: quantities(&[("cpu", "1"), ("memory", "512Mi")]),
        limits: quantities(&[("memory", "1Gi")]),
        ..ResourceRequirements::default()
    };
    let probe = |path: &str, period, failures| {
        Some(Probe {
            http_get: Some(HTTPGetAction {
                path: Some(path.into()),
                port: IntOrString::String("control".into()),
                ..HTTPGetAction::default()
            }),
            period_seconds: Some(period),
            failure_threshold: Some(failures),
            timeout_seconds: Some(2),
            ..Probe::default()
        })
    };
    let port = |name: &str, number: u16| ContainerPort {
        name: Some(name.into()),
        container_port: i32::from(number),
        ..ContainerPort::default()
    };
    let mount = |name: &str, path: &str, read_only| VolumeMount {
        name: name.into(),
        mount_path: path.into(),
        read_only: Some(read_only),
        ..VolumeMount::default()
    };
    Container {
        name: CONTAINER.into(),
        image: Some(template.image.clone()),
        image_pull_policy: Some(template.image_pull_policy.clone()),
        env: Some(vec![EnvVar {
            name: "XDG_CACHE_HOME".into(),
            value: Some("/tmp".into()),
            ..EnvVar::default()
        }]),
        ports: Some(vec![port("control", protocol::CONTROL_PORT), port("metrics", protocol::METRICS_PORT)]),
        liveness_probe: probe("/healthz", 5, 3),
        readiness_probe: probe("/readyz", 1, 2),
        resources: Some(resources.unwrap_or(default)),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".into()]), add: None }),
            read_only_root_filesystem: Some(true),
            ..SecurityContext::default()
        }),
        termination_message_policy: Some("FallbackToLogsOnError".into()),
        volume_mounts: Some(vec![
            mount("boot", protocol::BOOT_FOLDER, true),
            mount("scratch", "/tmp", false),
        ]),
        ..Container::default()
    }
}

/// The metadata of what is made for an object: labels, and the object as owner.
pub fn object_metadata(object: &MemorialStream, name: String) -> ObjectMeta {
    let uid = object.metadata.uid.clone().unwrap_or_default();
    ObjectMeta {
        name: Some(name),
        namespace: object.metadata.namespace.clone(),
        labels: Some(BTreeMap::from([
            ("app.kubernetes.io/name".to_owned(), "memorialstream-compositor".to_owned()),
            (MANAGED_BY_LABEL.to_owned(), OPERATOR_MANAGER.to_owned()),
            (UID_LABEL.to_owned(), uid),
        ])),
        owner_references: object.controller_owner_ref(&()).map(|owner: OwnerReference| vec![owner]),
        ..ObjectMeta::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template() -> PodTemplate {
        PodTemplate { image: "compositor:1".into(), image_pull_policy: "Never".into() }
    }

    #[test]
    fn names_fit_a_host_name() {
        assert_eq!(pod_name("jane-doe", 3), "jane-doe-compositor-3");
        let long = pod_name(&"a.".repeat(120), 1234);
        assert!(long.len() <= 63 && !long.contains('.') && !long.contains("--"), "{long}");
    }

    #[test]
    fn the_pod_is_locked_down_and_holds_no_secret() {
        let object = MemorialStream::new("jane-doe", MemorialStreamSpec::default());
        let pod = pod(&object, "jane-doe-compositor-1", 1, &template());
        let spec = pod.spec.unwrap();
        assert_eq!(spec.automount_service_account_token, Some(false));
        let container = &spec.containers[0];
        assert!(container.args.is_none() && container.command.is_none());
        let security = container.security_context.as_ref().unwrap();
        assert_eq!(security.read_only_root_filesystem, Some(true));
        assert_eq!(security.capabilities.as_ref().unwrap().drop, Some(vec!["ALL".to_owned()]));
        assert_eq!(spec.security_context.unwrap().run_as_non_root, Some(true));
    }

    #[test]
    fn only_what_needs_a_new_pod_changes_the_fingerprint() {
        let spec = MemorialStreamSpec::default();
        let cameras = MemorialStreamSpec { cameras: vec![Default::default()], ..spec.clone() };
        assert_eq!(settings_fingerprint(&spec), settings_fingerprint(&cameras));
        let wider = Video { width: Some(1920), ..Video::default() };
        let video = MemorialStreamSpec { video: Some(wider), ..spec.clone() };
        assert_ne!(settings_fingerprint(&spec), settings_fingerprint(&video));
    }
}
