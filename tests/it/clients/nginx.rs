//! nginx, as it stands in front of services: TLS and HTTP/2 end there.

use std::{fs, path::PathBuf};

use tempfile::TempDir;
use tokio::process::Command;

use super::output;
use crate::{program::Program, servers::free_ports};

/// A reverse proxy, which ends when this is dropped.
#[derive(Debug)]
pub struct Nginx {
    _program: Program,
    directory: TempDir,
    tls: u16,
    plain: u16,
}

impl Nginx {
    /// One in front of a service of HTTP/1.1, or of gRPC.
    pub async fn before(service: &str) -> Self {
        let directory = TempDir::new().unwrap();
        output(
            Command::new("openssl")
                .current_dir(&directory)
                .args(
                    "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
                        .split(' '),
                )
                .args("-keyout key.pem -out certificate.pem -subj /CN=nginx".split(' '))
                .args(["-addext", "subjectAltName=IP:127.0.0.1"]),
        )
        .await;
        let [tls, plain] = free_ports();
        fs::write(directory.path().join("nginx.conf"), configuration(service, tls, plain)).unwrap();
        let set_up = |command: &mut Command| {
            // Where Debian has it.
            command.env("PATH", format!("{}:/usr/sbin", std::env::var("PATH").unwrap()));
            command.arg("-p").arg(directory.path()).args(["-c", "nginx.conf", "-e", "/dev/stdout"]);
        };
        // Said when the ports are open.
        let find = |line: &str| line.contains(" OS: ").then(String::new);
        let (program, _) = Program::start("nginx", set_up, find).await;
        Self { _program: program, directory, tls, plain }
    }

    /// Its address, for HTTP/1.1 and HTTP/2 over TLS.
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.tls)
    }

    /// Its address for HTTP/2 without TLS.
    pub fn plain_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.plain)
    }

    /// What its certificate is verified by.
    pub fn certificate(&self) -> PathBuf {
        self.directory.path().join("certificate.pem")
    }
}

/// One process, so that nothing is left when that is killed.
fn configuration(service: &str, tls: u16, plain: u16) -> String {
    format!(
        "daemon off;
        master_process off;
        pid nginx.pid;
        error_log /dev/stdout notice;
        events {{}}
        http {{
            access_log off;
            client_body_temp_path body;
            proxy_temp_path proxy;
            fastcgi_temp_path fastcgi;
            uwsgi_temp_path uwsgi;
            scgi_temp_path scgi;
            ssl_certificate certificate.pem;
            ssl_certificate_key key.pem;
            server {{
                listen 127.0.0.1:{tls} ssl http2;
                location / {{
                    proxy_pass http://{service};
                    proxy_http_version 1.1;
                    proxy_set_header Host $http_host;
                }}
            }}
            server {{
                listen 127.0.0.1:{plain} http2;
                location / {{ grpc_pass grpc://{service}; }}
            }}
        }}"
    )
}
