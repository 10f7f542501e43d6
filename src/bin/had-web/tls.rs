//! HTTPS.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::private_file::read_private;

/// What makes the connections of clients secret, from a certificate with its chain and a key.
pub fn acceptor(certificate: &Path, key: &Path) -> Result<TlsAcceptor, String> {
    let shown = certificate.display();
    let pem = fs::read(certificate).map_err(|error| format!("cannot read {shown}: {error}"))?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let chain = chain.map_err(|error| format!("{shown} is no PEM file: {error}"))?;
    if chain.is_empty() {
        return Err(format!("{shown} has no certificate"));
    }
    let private = PrivateKeyDer::from_pem_slice(&read_private(key)?)
        .map_err(|error| format!("{} has no usable key: {error}", key.display()))?;
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|error| format!("{shown} and {} do not fit: {error}", key.display()))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
