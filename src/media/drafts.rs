//! Drafts of pictures: shown by URL while the picture is being made, and gone with whoever makes it.
//!
//! Who is killed leaves its drafts behind; they are known by their names, and [`MediaStore::forget`] takes them away once
//! nobody can be at them any more.

use std::{io, path::PathBuf};

use bytes::Bytes;
use uuid::Uuid;

use super::{ImageType, MediaStore, URL_PREFIX};

/// How the names of drafts begin.
pub(super) const PREFIX: &str = "draft-";

/// A stored picture that goes with this.
#[derive(Debug)]
pub struct Draft {
    /// Where clients find it meanwhile.
    pub url: String,
    path: PathBuf,
}

impl Drop for Draft {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            log::warn!("{} is left behind: {error}", self.path.display());
        }
    }
}

impl MediaStore {
    /// Stores a picture for as long as the draft is held.
    ///
    /// # Errors
    /// Where the disk refuses.
    pub async fn put_draft(&self, kind: ImageType, bytes: &Bytes) -> io::Result<Draft> {
        let name = format!("{PREFIX}{}.{}", Uuid::new_v4().simple(), kind.extension());
        self.write(&name, bytes).await?;
        Ok(Draft { url: format!("{URL_PREFIX}{name}"), path: self.folder.join(name) })
    }
}
