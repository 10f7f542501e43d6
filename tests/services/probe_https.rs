//! The probe `https` with a real nginx, and certificates of an authority of its own.

use std::fs;
use std::path::Path;

use had::model::health::{HttpProbe, Probe, TlsWishes};
use tempfile::TempDir;

use crate::common::{Process, alone, folder, path, sh, wait};
use crate::probes::{own_network, run};

/// The ports of nginx, and the certificate behind each.
const SITES: [(u16, &str); 3] = [(443, "good"), (444, "old"), (445, "address")];

/// An authority, and what it signed: `good` for www.example.org and 30 days, `old` until yesterday, `address` for an address.
fn authority() -> TempDir {
    let folder = folder();
    let script = "umask 077; cd $1
        new='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'
        openssl req -x509 $new -subj /CN=authority -days 3650 -keyout ca.key -out ca.pem
        openssl req -x509 $new -subj /CN=stranger -days 3650 -keyout stranger.key -out stranger.pem
        sign() {
            openssl req $new -subj /CN=server -addext subjectAltName=$2 -keyout $1.key -out $1.csr
            openssl x509 -req -in $1.csr -CA ca.pem -CAkey ca.key -copy_extensions copy -days $3 -out $1.pem
        }
        sign good DNS:www.example.org 30
        sign old DNS:www.example.org -1
        sign address IP:127.0.0.1 30";
    let script = format!("set -e; set -- {}; {script}", path(folder.path()));
    sh(&format!("exec 2>&1; {script}"));
    folder
}

/// nginx with all sites, until this is dropped.
fn serve(folder: &Path) -> Process {
    let shown = path(folder);
    let sites = SITES.map(|(port, name)| {
        format!(
            "server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {shown}/{name}.pem; ssl_certificate_key {shown}/{name}.key; \
             location / {{ return 200 \"I am fine on $host\"; }} }}"
        )
    });
    let config = folder.join("nginx.conf");
    let text = format!(
        "user root; daemon off; master_process off; pid {shown}/pid; error_log {shown}/error.log; events {{}}\n\
         http {{ access_log off; {}\nserver {{ listen 127.0.0.1:80; return 200 plain; }} }}\n",
        sites.join("\n")
    );
    fs::write(&config, text).unwrap();
    let process = Process::start(&format!("exec nginx -c {}", config.display()));
    wait("nginx", || {
        std::net::TcpStream::connect(("127.0.0.1", 445)).is_ok()
    });
    process
}

fn site(port: u16, name: &str, wishes: TlsWishes) -> Probe {
    Probe::Http(HttpProbe {
        server: ([127, 0, 0, 1], port).into(),
        at: true,
        host: name.to_owned(),
        path: "/".to_owned(),
        status: None,
        contains: Some(format!("fine on {name}")),
        tls: Some(TlsWishes {
            name: name.to_owned(),
            ..wishes
        }),
    })
}

#[test]
fn a_server_must_prove_its_name_with_a_certificate_that_lasts() {
    alone(async {
        own_network();
        let folder = authority();
        let _server = serve(folder.path());
        let believes = |file: &str, days| TlsWishes {
            ca: Some(folder.path().join(file)),
            days,
            ..TlsWishes::default()
        };
        let www = "www.example.org";
        let good = Ok("status 200".to_owned());
        let bad = |port: u16, why: &str| Err(format!("127.0.0.1:{port}: {why}"));
        for (probe, wanted) in [
            (site(443, www, believes("ca.pem", None)), good.clone()),
            (site(443, www, believes("ca.pem", Some(29))), good.clone()),
            (
                site(443, www, believes("ca.pem", Some(31))),
                bad(
                    443,
                    "its certificate, or one that this needs, ends in 29 days, wanted 31",
                ),
            ),
            (site(445, "127.0.0.1", believes("ca.pem", None)), good),
            (
                site(445, www, believes("ca.pem", None)),
                bad(445, "its certificate is not for www.example.org"),
            ),
            (
                site(443, "shop.example.org", believes("ca.pem", None)),
                bad(443, "its certificate is not for shop.example.org"),
            ),
            (
                site(444, www, believes("ca.pem", None)),
                bad(444, "its certificate has expired"),
            ),
            (
                site(443, www, believes("stranger.pem", None)),
                bad(443, "its certificate is from an unknown authority"),
            ),
            // The machine's own authorities did not sign it.
            (
                site(443, www, TlsWishes::default()),
                bad(443, "its certificate is from an unknown authority"),
            ),
            (
                site(80, www, believes("ca.pem", None)),
                bad(80, "it does not speak TLS"),
            ),
            (
                site(446, www, believes("ca.pem", None)),
                bad(446, "Connection refused"),
            ),
        ] {
            // Within the second in which it was made, thirty whole days are left.
            let seen = run(&probe).await;
            let seen = seen.map_err(|e| e.replace("in 30 days", "in 29 days"));
            assert_eq!(seen, wanted, "{probe}");
        }
    });
}

#[test]
fn what_is_no_file_of_authorities_is_refused_before_it_is_used() {
    let folder = folder();
    let file = folder.path().join("ca.pem");
    let refused = || {
        let ca = Some(file.clone());
        let wishes = TlsWishes {
            ca,
            ..TlsWishes::default()
        };
        let probe = site(443, "www.example.org", wishes);
        had::probe::validate(&probe).unwrap_err().message
    };
    let shown = file.display().to_string();
    assert!(refused().starts_with(&format!("cannot read {shown}: No such file")));
    sh(&format!("mkfifo {shown}"));
    assert_eq!(
        refused(),
        format!("cannot read {shown}: it is not a regular file")
    );
    fs::remove_file(&file).unwrap();
    fs::write(&file, "hello\n").unwrap();
    assert_eq!(
        refused(),
        format!("{shown} has no usable certificate of an authority")
    );
}
