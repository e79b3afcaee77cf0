//! The secret that signs tokens: given, or kept in the data folder.

use std::{
    fs::File,
    io::{ErrorKind, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use anyhow::{Context as _, Result};

use crate::{
    config::{Config, Secret},
    token::Signer,
};

/// Who signs and verifies tokens under these settings. Where no secret is given and none is kept, one is made.
///
/// # Errors
/// Where the data folder can't be used.
pub fn signer(config: &Config) -> Result<Signer> {
    let secret = match known(config)? {
        Some(secret) => secret,
        None => make(&config.storage.data_dir.join("secret"))?,
    };
    Ok(Signer::new(&secret.0))
}

/// Who signs tokens that a server with these settings takes.
///
/// # Errors
/// Where no secret is given, and no server has made one yet.
pub fn known_signer(config: &Config) -> Result<Signer> {
    let secret = known(config)?.context("there is no secret yet: set PERSONA_SECRET, or start the server once")?;
    Ok(Signer::new(&secret.0))
}

fn known(config: &Config) -> Result<Option<Secret>> {
    if let Some(secret) = &config.storage.secret {
        return Ok(Some(secret.clone()));
    }
    let path = config.storage.data_dir.join("secret");
    match std::fs::read(&path) {
        Ok(secret) if secret.len() >= 32 => Ok(Some(Secret(secret))),
        Ok(_) => anyhow::bail!("{} is too short to be a secret; remove it to have a new one made", path.display()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("can't read {}", path.display())),
    }
}

fn make(path: &Path) -> Result<Secret> {
    let secret: [u8; 32] = rand::random();
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(path).with_context(|| format!("can't make {}", path.display()))?;
    file.write_all(&secret).and_then(|()| file.sync_all()).with_context(|| format!("can't write {}", path.display()))?;
    Ok(Secret(secret.to_vec()))
}
