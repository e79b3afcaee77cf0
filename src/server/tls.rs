//! HTTPS: the certificate given, or one made on the spot for trying things out.

use std::{path::Path, sync::Arc};

use anyhow::{Context as _, Result};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    },
};

use crate::config::Tls;

/// What accepts encrypted connections, where the settings ask for it.
///
/// # Errors
/// Where the certificate or its key can't be read, or don't belong together.
pub fn acceptor(tls: &Tls) -> Result<Option<TlsAcceptor>> {
    let (chain, key) = match tls {
        Tls::Off => return Ok(None),
        Tls::Dev => self_signed()?,
        Tls::Files { cert, key } => (read_chain(cert)?, read_key(key)?),
    };
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .context("the certificate and its key don't belong together")?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Some(TlsAcceptor::from(Arc::new(config))))
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn self_signed() -> Result<Identity> {
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
    let made = rcgen::generate_simple_self_signed(names).context("can't make a certificate")?;
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    Ok((vec![made.cert.der().clone()], key))
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read = || CertificateDer::pem_file_iter(path)?.collect::<Result<Vec<_>, _>>();
    let chain = read().with_context(|| format!("PERSONA_TLS_CERT: can't read {}", path.display()))?;
    anyhow::ensure!(!chain.is_empty(), "PERSONA_TLS_CERT: {} has no certificate", path.display());
    Ok(chain)
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_file(path).with_context(|| format!("PERSONA_TLS_KEY: can't read {}", path.display()))
}
