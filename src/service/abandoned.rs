//! The record of what was abandoned: a ConfigMap in the operator's own namespace, by which a person ends by hand what
//! could not be ended. Pure.

use super::Identity;
use crate::api::MemorialStreamStatus;
use crate::api::names::{ABANDONED_LABEL, MANAGED_BY_LABEL, OPERATOR_MANAGER};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::jiff::Timestamp;
use kube::api::ObjectMeta;
use std::collections::{BTreeMap, BTreeSet};

/// What may be left of one object, as the record tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Abandoned(BTreeMap<&'static str, String>);

impl Abandoned {
    /// What `status` names, and what could not be ended because of `hindrance`.
    pub fn new(
        identity: &Identity,
        cluster_id: &str,
        status: &MemorialStreamStatus,
        open_rooms: &[String],
        hindrance: &str,
        now: Timestamp,
    ) -> Self {
        let mux = status.mux.clone().unwrap_or_default();
        let room = status.room.clone().unwrap_or_default();
        let egress = status.egress.clone().unwrap_or_default();
        let rooms: BTreeSet<String> = room.name.into_iter().chain(open_rooms.iter().cloned()).collect();
        let rooms: Vec<String> = rooms.into_iter().collect();
        let mut egresses: Vec<String> = egress.id.into_iter().collect();
        egresses.extend(egress.lost);
        let told = [
            ("memorialStream", Some(identity.to_string())),
            ("uid", Some(identity.uid.clone())),
            ("at", Some(now.to_string())),
            ("hindrance", Some(hindrance.to_owned())),
            ("muxEnvironment", mux.environment_id),
            ("muxLiveStream", mux.stream_id),
            // What was created and never answered carries it too.
            ("muxPassthrough", Some(identity.marker(cluster_id))),
            ("liveKitUrl", room.url),
            ("liveKitRooms", Some(rooms.join(", ")).filter(|rooms| !rooms.is_empty())),
            ("liveKitEgresses", Some(egresses.join(", ")).filter(|all| !all.is_empty())),
        ];
        Self(told.into_iter().filter_map(|(key, value)| Some((key, value?))).collect())
    }

    /// The ConfigMap that keeps it, in this namespace.
    pub fn record(&self, identity: &Identity, namespace: &str) -> ConfigMap {
        let labels = [(MANAGED_BY_LABEL, OPERATOR_MANAGER), (ABANDONED_LABEL, "true")];
        let owned = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
        ConfigMap {
            metadata: ObjectMeta {
                name: Some(format!("abandoned-{}", identity.uid)),
                namespace: Some(namespace.to_owned()),
                labels: Some(labels.map(owned).into()),
                ..ObjectMeta::default()
            },
            data: Some(self.0.iter().map(|(key, value)| owned((key, value))).collect()),
            ..ConfigMap::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::status::{EgressStatus, MuxStatus};

    #[test]
    fn the_record_names_everything_that_may_be_left() {
        let identity = Identity {
            namespace: "family".into(),
            name: "jane-doe".into(),
            uid: "uid-1".into(),
            generation: 1,
        };
        let status = MemorialStreamStatus {
            mux: Some(MuxStatus { stream_id: Some("S1".into()), ..MuxStatus::default() }),
            egress: Some(Box::new(EgressStatus {
                id: Some("EG_2".into()),
                lost: vec!["EG_1".into()],
                ..EgressStatus::default()
            })),
            ..MemorialStreamStatus::default()
        };
        let open = ["memorial-uid-1-0".to_owned()];
        let abandoned =
            Abandoned::new(&identity, "c1", &status, &open, "Mux cannot be reached", Timestamp::UNIX_EPOCH);
        let record = abandoned.record(&identity, "system");
        assert_eq!(record.metadata.name.as_deref(), Some("abandoned-uid-1"));
        let data = record.data.unwrap();
        assert_eq!(data["memorialStream"], "family/jane-doe");
        assert_eq!(data["muxLiveStream"], "S1");
        assert_eq!(data["muxPassthrough"], "memorialstream/c1/uid-1");
        assert_eq!(data["liveKitRooms"], "memorial-uid-1-0");
        assert_eq!(data["liveKitEgresses"], "EG_2, EG_1");
        assert_eq!(data["hindrance"], "Mux cannot be reached");
        assert!(!data.contains_key("liveKitUrl"));
    }
}
