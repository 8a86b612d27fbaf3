//! redis, livekit-server and the egress service.

use crate::cluster::network::HOST_ADDRESS;
use crate::description::LiveKit;
use crate::folders::{Cache, RunFolder, write_private};
use crate::parts::egress_environment;
use crate::ports::Ports;
use crate::process::{Ready, Signal, Specification, Stop};
use anyhow::Result;
use serde_json::json;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// Writes the configuration files of livekit-server and egress; both are JSON, which is YAML as well.
///
/// # Errors
/// When a file cannot be written.
pub fn write_configuration(folder: &RunFolder, ports: &Ports, livekit: &LiveKit) -> Result<()> {
    write_private(&folder.at("livekit.yaml"), livekit_configuration(ports, livekit))?;
    write_private(&folder.at("egress.yaml"), egress_configuration(ports, livekit))
}

fn livekit_configuration(ports: &Ports, livekit: &LiveKit) -> String {
    let keys = BTreeMap::from([(livekit.api_key.clone(), livekit.api_secret.reveal().to_owned())]);
    let document = json!({
        "port": ports.livekit,
        "bind_addresses": [HOST_ADDRESS, Ipv4Addr::LOCALHOST],
        // Without redis every egress call is refused.
        "redis": {"address": loopback(ports.redis)},
        "rtc": {
            "node_ip": HOST_ADDRESS,
            "use_external_ip": false,
            "enable_loopback_candidate": true,
            "tcp_port": ports.livekit_rtc_tcp,
            "port_range_start": ports.livekit_rtc_udp_first,
            "port_range_end": ports.livekit_rtc_udp_last,
        },
        "keys": keys,
        "prometheus": {"port": ports.livekit_metrics},
        "logging": {"level": "info", "json": false},
    });
    format!("{document:#}\n")
}

fn egress_configuration(ports: &Ports, livekit: &LiveKit) -> String {
    // A machine of 2 cores would otherwise take one egress only.
    let kinds = [
        "room_composite_cpu_cost",
        "audio_room_composite_cpu_cost",
        "web_cpu_cost",
        "audio_web_cpu_cost",
        "participant_cpu_cost",
        "track_composite_cpu_cost",
        "track_cpu_cost",
    ];
    let mut cost: BTreeMap<&str, f64> = kinds.into_iter().map(|kind| (kind, 0.5)).collect();
    // Of two or more egresses it would end one once the machine, whoever uses it, was at more than 95 % for 10 s.
    cost.insert("max_cpu_utilization", 1.0);
    let document = json!({
        "api_key": livekit.api_key,
        "api_secret": livekit.api_secret.reveal(),
        "ws_url": livekit.url,
        "insecure": true,
        "redis": {"address": loopback(ports.redis)},
        "health_port": ports.egress_health,
        "template_port": ports.egress_template,
        "cpu_cost": cost,
        "logging": {"level": "info"},
    });
    format!("{document:#}\n")
}

/// redis, in memory only.
pub fn redis(folder: &RunFolder, ports: &Ports) -> Specification {
    let arguments = vec![
        "--bind".to_owned(),
        "127.0.0.1".to_owned(),
        "--port".to_owned(),
        ports.redis.to_string(),
        "--save".to_owned(),
        String::new(),
        "--appendonly".to_owned(),
        "no".to_owned(),
        "--dir".to_owned(),
        folder.root().display().to_string(),
    ];
    Specification::new("redis", "redis-server", arguments, Ready::Tcp(loopback(ports.redis)))
}

/// livekit-server.
pub fn livekit(folder: &RunFolder, ports: &Ports) -> Specification {
    let arguments = vec!["--config".to_owned(), folder.text("livekit.yaml")];
    let ready = Ready::Http(loopback(ports.livekit), "/".to_owned());
    Specification::new("livekit-server", "livekit-server", arguments, ready)
}

/// The egress service. It drains on SIGTERM for as long as streams run; SIGINT stops it.
pub fn egress(folder: &RunFolder, cache: &Cache, ports: &Ports) -> Specification {
    let health = loopback(ports.egress_health);
    let mut egress = Specification::new("egress", "egress", Vec::new(), Ready::Http(health, "/".to_owned()));
    egress.environment = egress_environment(cache);
    egress.environment.insert("EGRESS_CONFIG_FILE".to_owned(), folder.text("egress.yaml"));
    egress.stop = Stop { signal: Signal::Interrupt, timeout_seconds: 15 };
    egress
}
