//! Pictures on disk, served by URL.
//!
//! A file's name is random, 122 bits of it: who has the URL may see the picture, nobody can guess it, and what it names
//! never changes. Refuses to serve a name it did not make.

mod drafts;

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::io::AsyncWriteExt as _;
use uuid::Uuid;

pub use self::drafts::Draft;

/// After how long a draft, or a file that nobody has finished, is what a crash has left: longer than anything is being made.
const UNFINISHED_AFTER: Duration = Duration::from_hours(1);

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
        let name = format!("{}.{}", Uuid::new_v4().simple(), kind.extension());
        self.write(&name, bytes).await?;
        Ok(format!("{URL_PREFIX}{name}"))
    }

    async fn write(&self, name: &str, bytes: &Bytes) -> io::Result<()> {
        let unfinished = self.folder.join(format!("{name}.part"));
        let written = async {
            let mut file = tokio::fs::File::create(&unfinished).await?;
            file.write_all(bytes).await?;
            file.sync_all().await?;
            tokio::fs::rename(&unfinished, self.folder.join(name)).await
        };
        if let Err(error) = written.await {
            // Whether or not this succeeds, the error that matters is the first one.
            let _ = tokio::fs::remove_file(&unfinished).await;
            return Err(error);
        }
        Ok(())
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

    /// Takes away what is older than `age`, where one is given, and what a crash has left unfinished.
    ///
    /// # Errors
    /// Where the folder can't be read; a file that can't be removed is logged and left.
    pub async fn forget(&self, age: Option<Duration>) -> io::Result<()> {
        let mut entries = tokio::fs::read_dir(&*self.folder).await?;
        while let Some(entry) = entries.next_entry().await? {
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let whole = name.strip_suffix(".part").unwrap_or(name);
            let is_unfinished = whole != name || whole.starts_with(drafts::PREFIX);
            let keeps = if is_unfinished { Some(UNFINISHED_AFTER) } else { age }.filter(|_| own_name(whole).is_some());
            let is_old = async |keeps| io::Result::Ok(entry.metadata().await?.modified()?.elapsed().unwrap_or_default() >= keeps);
            if let Some(keeps) = keeps
                && is_old(keeps).await.unwrap_or(false)
                && let Err(error) = tokio::fs::remove_file(entry.path()).await
            {
                log::warn!("{} can't be removed: {error}", entry.path().display());
            }
        }
        Ok(())
    }
}

fn own_name(name: &str) -> Option<ImageType> {
    let (stem, extension) = name.strip_prefix(drafts::PREFIX).unwrap_or(name).split_once('.')?;
    let made_here = stem.len() == 32 && stem.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if made_here { ImageType::of_extension(extension) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_old_is_forgotten_and_what_is_not_ours_is_left_alone() {
        let made = tempfile::tempdir().unwrap();
        let folder = made.path();
        let media = MediaStore::open(folder.to_owned()).unwrap();
        let name = |url: String| folder.join(url.strip_prefix(URL_PREFIX).unwrap());
        let (old, new) =
            (name(media.put(ImageType::Png, &Bytes::new()).await.unwrap()), name(media.put(ImageType::Png, &Bytes::new()).await.unwrap()));
        let (cut, foreign) = (old.with_extension("png.part"), folder.join("notes.txt"));
        let (draft, left) = (media.put_draft(ImageType::Png, &Bytes::new()).await.unwrap(), folder.join(format!("draft-{}.png", "0".repeat(32))));
        for path in [&old, &cut, &foreign, &left] {
            let file = std::fs::File::create(path).unwrap();
            file.set_modified(std::time::SystemTime::now() - Duration::from_hours(48)).unwrap();
        }
        media.forget(None).await.unwrap();
        assert_eq!([&old, &new, &cut, &foreign, &left].map(|path| path.exists()), [true, true, false, true, false]);
        let shown = name(draft.url.clone());
        assert!(shown.exists());
        drop(draft);
        assert!(!shown.exists());
        media.forget(Some(Duration::from_hours(24))).await.unwrap();
        assert_eq!([&old, &new, &foreign].map(|path| path.exists()), [false, true, true]);
    }

    #[test]
    fn only_names_of_its_own_making_are_looked_up() {
        let stem = Uuid::new_v4().simple().to_string();
        assert_eq!(own_name(&format!("{stem}.png")), Some(ImageType::Png));
        for name in ["", "../persona.sqlite", "secret", &format!("{stem}.svg"), &format!("{stem}.png.part"), &format!("../{stem}.png")] {
            assert_eq!(own_name(name), None, "{name}");
        }
    }
}
