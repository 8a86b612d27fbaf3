//! Free ports, chosen once at start.

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

/// Below the range from which kernels take ports for outgoing connections (32768 and up) and for node ports
/// (30000 and up), so that a port stays free while its process is stopped and started again.
const FIRST: u16 = 21_000;
const LAST: u16 = 29_999;
/// Each participant of a room takes two.
const MEDIA_PORTS: u16 = 200;

/// The ports of one lab.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ports {
    /// etcd's clients.
    pub etcd: u16,
    /// etcd's peers.
    pub etcd_peer: u16,
    /// kube-apiserver.
    pub api_server: u16,
    /// kube-controller-manager.
    pub controller_manager: u16,
    /// kube-scheduler.
    pub scheduler: u16,
    /// The kubelet.
    pub kubelet: u16,
    /// The kubelet's health.
    pub kubelet_health: u16,
    /// kube-proxy's health.
    pub kube_proxy_health: u16,
    /// kube-proxy's metrics.
    pub kube_proxy_metrics: u16,
    /// redis.
    pub redis: u16,
    /// LiveKit's API and signalling.
    pub livekit: u16,
    /// LiveKit's own figures.
    pub livekit_metrics: u16,
    /// LiveKit's media over TCP.
    pub livekit_rtc_tcp: u16,
    /// The first of `MEDIA_PORTS` UDP ports.
    pub livekit_rtc_udp_first: u16,
    /// The last of them.
    pub livekit_rtc_udp_last: u16,
    /// The egress service's health.
    pub egress_health: u16,
    /// The egress service's templates.
    pub egress_template: u16,
    /// The RTMP ingest.
    pub rtmp: u16,
    /// nginx-rtmp's orders and figures.
    pub rtmp_control: u16,
    /// The Mux simulator.
    pub mux: u16,
    /// What nginx-rtmp asks the Mux simulator.
    pub mux_callbacks: u16,
}

impl Ports {
    /// Chooses ports that nothing listens on now.
    ///
    /// # Errors
    /// When there are not enough.
    pub fn choose() -> Result<Ports> {
        let mut free = (FIRST..=LAST).filter(|port| tcp_is_free(*port));
        let mut next = || free.next().ok_or_else(|| anyhow::anyhow!("no free TCP port in {FIRST}–{LAST}"));
        let udp_first = free_udp_block(udp_is_free)?;
        Ok(Ports {
            etcd: next()?,
            etcd_peer: next()?,
            api_server: next()?,
            controller_manager: next()?,
            scheduler: next()?,
            kubelet: next()?,
            kubelet_health: next()?,
            kube_proxy_health: next()?,
            kube_proxy_metrics: next()?,
            redis: next()?,
            livekit: next()?,
            livekit_metrics: next()?,
            livekit_rtc_tcp: next()?,
            livekit_rtc_udp_first: udp_first,
            livekit_rtc_udp_last: udp_first + MEDIA_PORTS - 1,
            egress_health: next()?,
            egress_template: next()?,
            rtmp: next()?,
            rtmp_control: next()?,
            mux: next()?,
            mux_callbacks: next()?,
        })
    }
}

fn tcp_is_free(port: u16) -> bool {
    TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))).is_ok()
}

fn udp_is_free(port: u16) -> bool {
    UdpSocket::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))).is_ok()
}

fn free_udp_block(is_free: impl Fn(u16) -> bool) -> Result<u16> {
    let mut first = FIRST;
    while first <= LAST - MEDIA_PORTS {
        match (first..first + MEDIA_PORTS).rev().find(|port| !is_free(*port)) {
            None => return Ok(first),
            Some(taken) => first = taken + 1,
        }
    }
    bail!("no {MEDIA_PORTS} free UDP ports in a row in {FIRST}–{LAST}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_of_media_ports_goes_round_a_taken_one() {
        assert_eq!(free_udp_block(|_| true).expect("all free"), FIRST);
        assert_eq!(free_udp_block(|port| port != FIRST + 7).expect("one taken"), FIRST + 8);
        assert!(free_udp_block(|port| port % 100 != 0).is_err());
    }

    #[test]
    fn all_ports_differ() {
        let ports = serde_json::to_value(Ports::choose().expect("free ports")).expect("JSON");
        let mut numbers: Vec<u64> =
            ports.as_object().expect("a map").values().filter_map(serde_json::Value::as_u64).collect();
        let media = numbers.len();
        numbers.sort_unstable();
        numbers.dedup();
        // TCP and UDP may share one number.
        assert!(media - numbers.len() <= 2, "{numbers:?}");
    }
}
