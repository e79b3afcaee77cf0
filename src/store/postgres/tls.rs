//! Encrypted connections to the database, verified always.

use std::{path::Path, sync::Arc};

use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_rustls::rustls::{
    ClientConfig, Error, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject as _},
};

use super::settings::TlsFiles;

/// Why connections can't be encrypted.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("can't read {0}: {1}")]
    Unreadable(String, pem::Error),
    #[error("sslcert and sslkey: expected both or none")]
    HalfIdentity,
    #[error("this system has no certificate authorities; name one by sslrootcert")]
    NoAuthorities,
    #[error(transparent)]
    Wrong(#[from] Error),
}

/// What encrypts and verifies.
pub(super) fn connector(files: &TlsFiles) -> Result<MakeRustlsConnect, TlsError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(authorities(files.authority.as_deref())?);
    let config = match (&files.certificate, &files.key) {
        (Some(certificate), Some(key)) => {
            let key = PrivateKeyDer::from_pem_file(key).map_err(|error| TlsError::Unreadable(key.display().to_string(), error))?;
            builder.with_client_auth_cert(read(certificate)?, key)?
        }
        (None, None) => builder.with_no_client_auth(),
        _ => return Err(TlsError::HalfIdentity),
    };
    Ok(MakeRustlsConnect::new(config))
}

fn authorities(file: Option<&Path>) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    let certificates = match file {
        Some(file) => read(file)?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    // A system may have some that are no good.
    store.add_parsable_certificates(certificates);
    if store.is_empty() { Err(TlsError::NoAuthorities) } else { Ok(store) }
}

fn read(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    read.map_err(|error| TlsError::Unreadable(path.display().to_string(), error))
}
