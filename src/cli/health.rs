//! `persona health`: asks a running server whether it is alive, as a container's health check does.
//!
//! Refuses to judge the server's certificate: the question goes to this machine alone, and is whether anybody answers.

use std::{
    io::{BufRead as _, BufReader, Read, Write},
    net::{Ipv4Addr, Ipv6Addr, TcpStream},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme, StreamOwned,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::ring,
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use crate::config::{Settings, Tls};

/// How long the server may take to connect, and for each piece of its answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// Asks the server that these settings describe for `GET /healthz`.
///
/// # Errors
/// Where it does not answer that it is alive.
pub fn ask(settings: &Settings) -> Result<()> {
    let config = settings.read()?;
    let mut address = config.listen;
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
    }
    let socket = TcpStream::connect_timeout(&address, PATIENCE).with_context(|| format!("nobody listens on {address}"))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    let status = match config.tls {
        Tls::Off => status(socket),
        Tls::Dev | Tls::Files { .. } => status(encrypted(socket)?),
    };
    let status = status.with_context(|| format!("{address} does not answer"))?;
    ensure!(status.contains(" 200 "), "{address} answers {:?}", status.trim_end());
    Ok(())
}

/// The first line of the answer.
fn status(mut server: impl Read + Write) -> std::io::Result<String> {
    server.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut line = String::new();
    BufReader::new(server).read_line(&mut line)?;
    Ok(line)
}

fn encrypted(socket: TcpStream) -> Result<StreamOwned<ClientConnection, TcpStream>> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").context("localhost is no name")?;
    Ok(StreamOwned::new(ClientConnection::new(Arc::new(config), name)?, socket))
}

/// Takes whoever answers.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(&self, _: &[u8], _: &CertificateDer<'_>, _: &DigitallySignedStruct) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(&self, _: &[u8], _: &CertificateDer<'_>, _: &DigitallySignedStruct) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
