//! TLS to servers: whom to trust, and why a server is not trusted, in words.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::danger::ServerCertVerifier as _;
use tokio_rustls::rustls::client::{Resumption, WebPkiServerVerifier};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{CertificateError, ClientConfig, Error, RootCertStore};

use super::clock::wall_seconds;
use super::foreign_file::read_regular;

/// A longer file of authorities is not read.
const MAX_FILE_BYTES: u64 = 4 << 20;
const DAY: Duration = Duration::from_secs(24 * 3600);

/// The authorities whose certificates are believed.
pub struct Trust {
    verifier: Arc<WebPkiServerVerifier>,
    connector: TlsConnector,
}

impl Trust {
    /// Reads the authorities of this file, or those of the machine. This may wait for a disk.
    ///
    /// # Errors
    /// A text for an administrator.
    pub fn load(file: Option<&Path>) -> Result<Trust, String> {
        let certificates = match file {
            Some(file) => read_authorities(file)?,
            None => machine_authorities()?,
        };
        let mut roots = RootCertStore::empty();
        let (usable, _) = roots.add_parsable_certificates(certificates);
        if usable == 0 {
            let file = file.map_or("the machine's list".to_owned(), |f| f.display().to_string());
            return Err(format!("{file} has no usable certificate of an authority"));
        }
        let verifier = WebPkiServerVerifier::builder(Arc::new(roots))
            .build()
            .map_err(|e| e.to_string())?;
        let mut config = ClientConfig::builder()
            .with_webpki_verifier(Arc::clone(&verifier))
            .with_no_client_auth();
        // A session that is taken up again shows no certificate: nobody would notice that it has expired.
        config.resumption = Resumption::disabled();
        let connector = TlsConnector::from(Arc::new(config));
        Ok(Trust {
            verifier,
            connector,
        })
    }

    /// Makes a connection secret. The server must prove that it has this name, or this address.
    ///
    /// # Errors
    /// A text for an administrator.
    pub async fn connect(
        &self,
        stream: TcpStream,
        name: &str,
    ) -> Result<TlsStream<TcpStream>, String> {
        let connected = self.connector.connect(server_name(name)?, stream).await;
        connected.map_err(|error| describe_failure(&error, name))
    }

    /// Checks that no certificate of a connection ends within so many days.
    ///
    /// # Errors
    /// A text for an administrator.
    pub fn check_days(
        &self,
        stream: &TlsStream<TcpStream>,
        name: &str,
        days: u32,
    ) -> Result<(), String> {
        let (_, connection) = stream.get_ref();
        let Some([own, chain @ ..]) = connection.peer_certificates() else {
            return Err("the server shows no certificate".to_owned());
        };
        // Certificates know no other clock.
        let now = Duration::from_secs(wall_seconds());
        let then = UnixTime::since_unix_epoch(now + DAY * days);
        let judged = self
            .verifier
            .verify_server_cert(own, chain, &server_name(name)?, &[], then);
        match judged {
            Ok(_) => Ok(()),
            Err(Error::InvalidCertificate(CertificateError::ExpiredContext {
                not_after, ..
            })) => {
                let left = Duration::from_secs(not_after.as_secs()).saturating_sub(now);
                let left = left.as_secs() / DAY.as_secs();
                Err(format!(
                    "its certificate, or one that this needs, ends in {left} days, wanted {days}"
                ))
            }
            Err(error) => Err(describe(&error, name)),
        }
    }
}

/// The name as TLS knows it: a host name, or an address.
fn server_name(name: &str) -> Result<ServerName<'static>, String> {
    let bare = name.strip_prefix('[').and_then(|n| n.strip_suffix(']'));
    ServerName::try_from(bare.unwrap_or(name).to_owned())
        .map_err(|_| format!("{name} is no host name"))
}

/// The certificates of a PEM file.
fn read_authorities(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let shown = file.display();
    let pem =
        read_regular(file, MAX_FILE_BYTES).map_err(|e| format!("cannot read {shown}: {e}"))?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    certificates.map_err(|e| format!("{shown} is no PEM file: {e}"))
}

fn machine_authorities() -> Result<Vec<CertificateDer<'static>>, String> {
    let found = rustls_native_certs::load_native_certs();
    // Single files may be broken.
    if !found.certs.is_empty() {
        return Ok(found.certs);
    }
    let errors: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
    let why = match errors.as_slice() {
        [] => String::new(),
        errors => format!(": {}", errors.join("; ")),
    };
    Err(format!(
        "this machine has no certificates of authorities (package ca-certificates){why}"
    ))
}

fn describe_failure(error: &io::Error, name: &str) -> String {
    let inner = error.get_ref().and_then(|e| e.downcast_ref::<Error>());
    match inner {
        Some(error) => describe(error, name),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            "it closed the connection before TLS was ready".to_owned()
        }
        None => error.to_string(),
    }
}

fn describe(error: &Error, name: &str) -> String {
    use CertificateError as Bad;
    let Error::InvalidCertificate(bad) = error else {
        return match error {
            Error::InvalidMessage(_) => "it does not speak TLS".to_owned(),
            error => format!("no TLS connection: {error}"),
        };
    };
    match bad {
        Bad::Expired | Bad::ExpiredContext { .. } => "its certificate has expired".to_owned(),
        Bad::NotValidYet | Bad::NotValidYetContext { .. } => {
            "its certificate is not valid yet".to_owned()
        }
        Bad::NotValidForName | Bad::NotValidForNameContext { .. } => {
            format!("its certificate is not for {name}")
        }
        Bad::UnknownIssuer => "its certificate is from an unknown authority".to_owned(),
        other => format!("its certificate is not accepted: {other}"),
    }
}
