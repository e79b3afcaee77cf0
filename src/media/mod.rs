//! Pictures on disk, served by URL.
//!
//! A file's name is random, 122 bits of it: who has the URL may see the picture, nobody can guess it, and what it names
//! never changes. Refuses to serve a name it did not make.

use std::{io, path::PathBuf, sync::Arc};

use bytes::Bytes;
use tokio::io::AsyncWriteExt as _;
use uuid::Uuid;

/// Where clients find what is stored.
pub const URL_PREFIX: &str = "/media/";

/// A kind of file that may be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageType {
    Png,
    Jpeg,
    Webp,
}

impl ImageType {
    /// The media type, as headers have it.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::Webp => "image/webp",
        }
    }

    fn extension(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpeg => "jpg",
            Self::Webp => "webp",
        }
    }

    fn of_extension(extension: &str) -> Option<Self> {
        [Self::Png, Self::Jpeg, Self::Webp].into_iter().find(|kind| kind.extension() == extension)
    }
}

/// The pictures of this product. Cheap to clone.
#[derive(Debug, Clone)]
pub struct MediaStore {
    folder: Arc<PathBuf>,
}

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
    /// The pictures in `folder`, which is made where it is missing.
    ///
    /// # Errors
    /// Where it can't be made.
    pub fn open(folder: PathBuf) -> io::Result<Self> {
        std::fs::create_dir_all(&folder)?;
        Ok(Self { folder: Arc::new(folder) })
    }

    /// Stores a picture and gives its URL. Durable when this returns; never half there.
    ///
    /// # Errors
    /// Where the disk refuses.
    pub async fn put(&self, kind: ImageType, bytes: &Bytes) -> io::Result<String> {
        Ok(format!("{URL_PREFIX}{}", self.write(kind, bytes).await?))
    }

    /// Stores a picture for as long as the draft is held.
    ///
    /// # Errors
    /// Where the disk refuses.
    pub async fn put_draft(&self, kind: ImageType, bytes: &Bytes) -> io::Result<Draft> {
        let name = self.write(kind, bytes).await?;
        Ok(Draft { url: format!("{URL_PREFIX}{name}"), path: self.folder.join(name) })
    }

    async fn write(&self, kind: ImageType, bytes: &Bytes) -> io::Result<String> {
        let name = format!("{}.{}", Uuid::new_v4().simple(), kind.extension());
        let unfinished = self.folder.join(format!("{name}.part"));
        let written = async {
            let mut file = tokio::fs::File::create(&unfinished).await?;
            file.write_all(bytes).await?;
            file.sync_all().await?;
            tokio::fs::rename(&unfinished, self.folder.join(&name)).await
        };
        if let Err(error) = written.await {
            // Whether or not this succeeds, the error that matters is the first one.
            let _ = tokio::fs::remove_file(&unfinished).await;
            return Err(error);
        }
        Ok(name)
    }

    /// The picture of that name, where there is one.
    ///
    /// # Errors
    /// Where the disk refuses.
    pub async fn get(&self, name: &str) -> io::Result<Option<(ImageType, Bytes)>> {
        let Some(kind) = own_name(name) else { return Ok(None) };
        match tokio::fs::read(self.folder.join(name)).await {
            Ok(bytes) => Ok(Some((kind, bytes.into()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn own_name(name: &str) -> Option<ImageType> {
    let (stem, extension) = name.split_once('.')?;
    let made_here = stem.len() == 32 && stem.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if made_here { ImageType::of_extension(extension) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_its_own_making_are_looked_up() {
        let stem = Uuid::new_v4().simple().to_string();
        assert_eq!(own_name(&format!("{stem}.png")), Some(ImageType::Png));
        for name in ["", "../persona.sqlite", "secret", &format!("{stem}.svg"), &format!("{stem}.png.part"), &format!("../{stem}.png")] {
            assert_eq!(own_name(name), None, "{name}");
        }
    }
}
