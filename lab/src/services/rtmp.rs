//! nginx-rtmp: the RTMP ingest of the Mux simulator.

use crate::folders::{RunFolder, make_private_folder, write_private};
use crate::ports::Ports;
use crate::process::{Ready, Specification};
use anyhow::Result;
use std::net::Ipv4Addr;

const MODULE: &str = "/usr/lib/nginx/modules/ngx_rtmp_module.so";

/// Where HLS is written, below the run folder.
pub const HLS_FOLDER: &str = "hls";

/// Writes nginx's configuration and makes its folders.
///
/// # Errors
/// When something cannot be written.
pub fn write_configuration(folder: &RunFolder, ports: &Ports) -> Result<()> {
    make_private_folder(&folder.at(HLS_FOLDER))?;
    make_private_folder(&folder.at("nginx-temporary"))?;
    write_private(&folder.at("nginx.conf"), configuration(folder, ports))
}

/// Nothing is logged that could hold a stream key, and nobody can watch over RTMP. All segments are kept: recordings are
/// made of them.
fn configuration(folder: &RunFolder, ports: &Ports) -> String {
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("    {kind}_temp_path {};\n", folder.text(&format!("nginx-temporary/{kind}"))))
        .concat();
    format!(
        "load_module {MODULE};
user root;
daemon off;
worker_processes 1;
pid {pid};
error_log stderr warn;
events {{ worker_connections 512; }}
rtmp {{
    access_log off;
    server {{
        listen 0.0.0.0:{rtmp};
        chunk_size 4096;
        # An encoder that vanished is noticed.
        ping 10s;
        ping_timeout 5s;
        application app {{
            live on;
            deny play all;
            on_publish http://127.0.0.1:{callbacks}/publish;
            on_publish_done http://127.0.0.1:{callbacks}/publish_done;
            push rtmp://127.0.0.1:{rtmp}/renamed;
        }}
        # HLS knows a stream by the name with which it was published, not by the one that on_publish gave it. So it
        # is published once more, under its new name: the first one is the stream key.
        application renamed {{
            live on;
            allow publish 127.0.0.1;
            deny publish all;
            deny play all;
            hls on;
            hls_path {hls};
            hls_fragment 1s;
            hls_playlist_length 12h;
            hls_cleanup off;
        }}
    }}
}}
http {{
    access_log off;
{temporary}    server {{
        listen 127.0.0.1:{control};
        location /control {{ rtmp_control all; }}
        location /stat {{ rtmp_stat all; }}
    }}
}}
",
        pid = folder.text("nginx.pid"),
        rtmp = ports.rtmp,
        callbacks = ports.mux_callbacks,
        control = ports.rtmp_control,
        hls = folder.text(HLS_FOLDER),
    )
}

/// nginx with its RTMP module.
pub fn nginx(folder: &RunFolder, ports: &Ports) -> Specification {
    let arguments =
        ["-e", "stderr", "-p", &folder.root().display().to_string(), "-c", &folder.text("nginx.conf")];
    let ready = Ready::Tcp((Ipv4Addr::LOCALHOST, ports.rtmp).into());
    Specification::new("nginx-rtmp", "nginx", arguments.map(str::to_owned).to_vec(), ready)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_logged_and_the_control_port_is_on_loopback() {
        let ports = Ports::choose().expect("free ports");
        let text = configuration(&RunFolder::new("/run-folder"), &ports);
        assert_eq!(text.matches("access_log off;").count(), 2);
        assert!(text.contains(&format!("listen 127.0.0.1:{};", ports.rtmp_control)), "{text}");
        assert!(text.contains("hls_path /run-folder/hls;"), "{text}");
        assert_eq!(text.matches('{').count(), text.matches('}').count());
    }
}
