//! The compositor in Kubernetes: what it is made from, and what is seen of it.

mod manifest;
mod seen;

pub use manifest::{
    CONTAINER, GRACE_SECONDS, IMAGE_ANNOTATION, INCARNATION_LABEL, PodTemplate, SETTINGS_ANNOTATION,
    UID_LABEL, boot_secret, boots_earlier, is_boot_key, object_metadata, pod, pod_name, secret_name,
    settings_fingerprint, video,
};
pub use seen::{PodSeen, RecordedPod, boots_wrong, endpoint, in_use, kept_boot, pods_and_recorded, pods_of};
