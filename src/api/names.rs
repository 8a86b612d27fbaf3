//! Names and keys that people, other tools and the providers see.

/// The API group.
pub const GROUP: &str = "tributestream.com";
/// Keeps the object until everything paid is gone.
pub const FINALIZER: &str = "tributestream.com/cleanup";
/// `"true"` stops provider changes, never TAKE, End, limits or deletion.
pub const PAUSED: &str = "tributestream.com/paused";
/// `"true"` lets a deletion go on although a provider does not answer; what was abandoned is recorded.
pub const ABANDON: &str = "tributestream.com/abandon";
/// On the copies of credentials in use, in the operator's own namespace.
pub const CREDENTIALS_COPY_LABEL: &str = "tributestream.com/credentials-copy";
/// On the records of what was abandoned, in the operator's own namespace.
pub const ABANDONED_LABEL: &str = "tributestream.com/abandoned";
/// On everything that we make in Kubernetes, with [`OPERATOR_MANAGER`].
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
/// Any new value forces a pass; its first 64 letters count.
pub const RECONCILE_REQUESTED_AT: &str = "tributestream.com/reconcile-requested-at";
/// Field manager of the life-cycle lane's status.
pub const LIFE_CYCLE_MANAGER: &str = "memorialstream-operator-life-cycle";
/// Field manager of the fast lane's status.
pub const PROGRAM_MANAGER: &str = "memorialstream-operator-program";
/// Field manager of what is said about objects that cannot be read.
pub const UNREADABLE_MANAGER: &str = "memorialstream-operator-unreadable";
/// Field manager of pods, Secrets and finalizers.
pub const OPERATOR_MANAGER: &str = "memorialstream-operator";
/// LiveKit identity under which Program is published.
pub const PROGRAM_IDENTITY: &str = "program";

/// The LiveKit identity of a declared camera.
pub fn camera_identity(camera: &str) -> String {
    format!("camera-{camera}")
}

/// The LiveKit identity under which the compositor watches a declared camera.
pub fn source_identity(camera: &str) -> String {
    format!("source-{camera}")
}

/// The room of a MemorialStream. The epoch rises only after our own DeleteRoom, so a name never means two rooms.
pub fn room_name(uid: &str, epoch: i64) -> String {
    format!("{}{epoch}", room_prefix(uid))
}

/// What the names of all rooms of a MemorialStream begin with.
pub fn room_prefix(uid: &str) -> String {
    format!("memorial-{uid}-")
}

/// The marker that every paid or visible thing carries: by it a lost create is found again.
pub fn marker(cluster_id: &str, uid: &str) -> String {
    format!("{}{uid}", marker_prefix(cluster_id))
}

/// What all markers begin with.
const MARKERS: &str = "memorialstream/";

/// What all markers of one cluster begin with.
pub fn marker_prefix(cluster_id: &str) -> String {
    format!("{MARKERS}{cluster_id}/")
}

/// Whether `text` is the marker of another object than the one whose marker this is.
pub fn is_of_another(text: &str, marker: &str) -> bool {
    let uid = |text: &str| text.strip_prefix(MARKERS)?.rsplit_once('/').map(|(_, uid)| uid.to_owned());
    uid(text).is_some_and(|theirs| uid(marker) != Some(theirs))
}

/// Whether an operator of this kind made it, in whatever cluster.
pub fn is_marker(text: &str) -> bool {
    text.starts_with(MARKERS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_fits_a_mux_passthrough_and_a_room_name_fits_livekit() {
        let uid = "5e0d86a4-13a5-4a4f-9d6b-0f3a4e7c1b2d";
        assert!(marker(uid, uid).len() <= 255);
        assert!(room_name(uid, i64::MAX).len() <= 256);
    }

    #[test]
    fn a_marker_of_another_object_names_another_uid() {
        let ours = marker("c", "u");
        assert!(is_of_another(&marker("c", "v"), &ours));
        for text in [&*ours, &marker("d", "u"), "a product's own", "", "memorialstream/"] {
            assert!(!is_of_another(text, &ours), "{text}");
        }
    }
}
