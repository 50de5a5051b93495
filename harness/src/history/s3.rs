//! A bucket of an object store that speaks S3, by the usual `AWS_*` variables. Files of a history never change: each is
//! fetched once into the cache folder and read there. Writing is "put if absent", which the store decides.

use super::worker::Worker;
use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::{
    ClientOptions, Error, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder},
    path::Path as ObjectPath,
};
use protocol::Sha256Hex;
use reports::history::{FileEntry, Files, MAX_FILES};
use std::{
    collections::BTreeSet,
    env,
    fs::{self, File},
    io::{self, ErrorKind, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// Files that are fetched at once.
const FETCHES: usize = 8;
/// How often, and how long in all, a request is tried again.
const RETRIES: usize = 4;
const RETRY_TIME: Duration = Duration::from_secs(30);
/// Without an answer for so long, a request has failed.
const REQUEST_TIME: Duration = Duration::from_secs(60);
const CONNECT_TIME: Duration = Duration::from_secs(10);
/// Digits of the hash that names a place's folder in the cache.
const CACHE_DIGITS: usize = 16;

/// The files below a prefix of a bucket.
pub(super) struct Bucket {
    place: String,
    store: Arc<AmazonS3>,
    prefix: ObjectPath,
    cache: PathBuf,
    worker: Worker,
}

impl Bucket {
    /// `place`: `s3://bucket/prefix`. Asks the store nothing yet.
    pub(super) fn open(place: &str, cache: &Path) -> anyhow::Result<Self> {
        let rest = place.strip_prefix(super::S3).unwrap_or(place);
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        if bucket.is_empty() || !bucket.chars().all(plain) {
            anyhow::bail!("the history {place}: name a bucket, as in s3://bucket/prefix");
        }
        let prefix = ObjectPath::parse(prefix.trim_matches('/'))
            .map_err(|e| anyhow::anyhow!("the history {place}: {e}"))?;
        let client = ClientOptions::new().with_timeout(REQUEST_TIME).with_connect_timeout(CONNECT_TIME);
        let retry = RetryConfig { max_retries: RETRIES, retry_timeout: RETRY_TIME, ..RetryConfig::default() };
        let endpoint = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"].map(env::var).into_iter();
        let endpoint = endpoint.flatten().next().unwrap_or_default();
        // a store on this very machine needs no TLS; for others AWS_ALLOW_HTTP=true says so
        let local = ["http://127.0.0.1", "http://localhost", "http://[::1]"]
            .iter()
            .any(|at| endpoint.starts_with(at));
        let mut store = AmazonS3Builder::from_env()
            .with_client_options(client)
            .with_bucket_name(bucket)
            .with_retry(retry);
        if local {
            store = store.with_allow_http(true);
        }
        let store = store.build().map_err(|e| anyhow::anyhow!("the history {place}: {}", said(&e)))?;
        let of_place = Sha256Hex::of_bytes(format!("{endpoint} {place}").as_bytes());
        let folder: String = of_place.as_str().chars().take(CACHE_DIGITS).collect();
        Ok(Self {
            place: place.to_owned(),
            store: Arc::new(store),
            prefix,
            cache: cache.join(folder),
            worker: Worker::start()?,
        })
    }

    fn object(&self, path: &str) -> ObjectPath {
        path.split('/').filter(|part| !part.is_empty()).fold(self.prefix.clone(), |at, part| at.join(part))
    }

    /// The file's place in the cache, where it is whole.
    fn cached(&self, entry: &FileEntry) -> Option<PathBuf> {
        let path = self.cache.join(&entry.path);
        fs::metadata(&path).is_ok_and(|about| about.is_file() && about.len() == entry.bytes).then_some(path)
    }

    /// Brings a file into the cache.
    fn fetch(&self, entry: &FileEntry) -> io::Result<PathBuf> {
        let (store, object) = (self.store.clone(), self.object(&entry.path));
        let bytes = self.worker.run(async move {
            let found = store.get(&object).await.map_err(failed)?;
            found.bytes().await.map_err(failed)
        })?;
        self.keep(&entry.path, &bytes)
    }

    fn keep(&self, path: &str, bytes: &[u8]) -> io::Result<PathBuf> {
        let path = self.cache.join(path);
        let folder = path.parent().unwrap_or(&self.cache);
        fs::create_dir_all(folder)?;
        let mut part = tempfile::NamedTempFile::new_in(folder)?;
        part.write_all(bytes)?;
        part.persist(&path).map_err(|error| error.error)?;
        Ok(path)
    }

    /// Removes what the store has no more: it was compacted, or had its time.
    fn forget(&self, listed: &[FileEntry]) {
        let listed: BTreeSet<&str> = listed.iter().map(|entry| entry.path.as_str()).collect();
        let cached = reports::history::Folder::new(&self.cache).list("").unwrap_or_default();
        for entry in cached.iter().filter(|entry| !listed.contains(entry.path.as_str())) {
            fs::remove_file(self.cache.join(&entry.path)).unwrap_or_default();
        }
    }
}

impl Files for Bucket {
    fn place(&self) -> String {
        self.place.clone()
    }

    fn list(&self, folder: &str) -> io::Result<Vec<FileEntry>> {
        let (store, object) = (self.store.clone(), self.object(folder));
        let objects = self.worker.run(async move {
            let all = store.list(Some(&object)).take(MAX_FILES);
            all.try_collect::<Vec<ObjectMeta>>().await.map_err(failed)
        })?;
        let mut found: Vec<FileEntry> = objects
            .into_iter()
            .filter_map(|object| {
                let parts = object.location.prefix_match(&self.prefix)?;
                let path = parts.map(|part| part.as_ref().to_owned()).collect::<Vec<_>>().join("/");
                // what could lead out of the cache folder is none of ours
                let safe = path.split('/').all(|part| !matches!(part, "" | "." | ".."));
                safe.then_some(FileEntry { path, bytes: object.size })
            })
            .collect();
        found.sort_unstable();
        if folder.is_empty() {
            self.forget(&found);
        }
        Ok(found)
    }

    fn prepare(&self, entries: &[FileEntry]) -> io::Result<()> {
        let missing: Vec<&FileEntry> = entries.iter().filter(|entry| self.cached(entry).is_none()).collect();
        for some in missing.chunks(FETCHES) {
            let objects: Vec<(String, ObjectPath)> =
                some.iter().map(|entry| (entry.path.clone(), self.object(&entry.path))).collect();
            let store = self.store.clone();
            let fetched = self.worker.run(async move {
                let fetch = |(path, object): (String, ObjectPath)| {
                    let store = store.clone();
                    async move {
                        match store.get(&object).await {
                            // it is asked for once more by whoever reads it, and then told
                            Err(Error::NotFound { .. }) => Ok(None),
                            Err(error) => Err(failed(error)),
                            Ok(found) => Ok(Some((path, found.bytes().await.map_err(failed)?))),
                        }
                    }
                };
                stream::iter(objects).map(fetch).buffer_unordered(FETCHES).try_collect::<Vec<_>>().await
            })?;
            for (path, bytes) in fetched.into_iter().flatten() {
                self.keep(&path, &bytes)?;
            }
        }
        Ok(())
    }

    fn open(&self, entry: &FileEntry) -> io::Result<File> {
        match self.cached(entry) {
            Some(path) => File::open(path),
            None => File::open(self.fetch(entry)?),
        }
    }

    fn put_if_absent(&self, path: &str, bytes: &[u8]) -> io::Result<bool> {
        let (store, object, bytes) = (self.store.clone(), self.object(path), bytes.to_vec());
        self.worker.run(async move {
            let create = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
            match store.put_opts(&object, bytes.into(), create).await {
                Ok(_) => Ok(true),
                Err(Error::AlreadyExists { .. }) => Ok(false),
                Err(error) => Err(failed(error)),
            }
        })
    }

    fn delete(&self, path: &str) -> io::Result<()> {
        let (store, object) = (self.store.clone(), self.object(path));
        self.worker.run(async move {
            match store.delete(&object).await {
                Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
                Err(error) => Err(failed(error)),
            }
        })
    }
}

fn failed(error: Error) -> io::Error {
    let kind = match error {
        Error::NotFound { .. } => ErrorKind::NotFound,
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => ErrorKind::PermissionDenied,
        _ => ErrorKind::Other,
    };
    io::Error::new(kind, said(&error))
}

/// What the store said, and what to do.
fn said(error: &Error) -> String {
    let advice = match error {
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
            "; check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and the rights on the bucket"
        }
        Error::NotFound { .. } => "; does the bucket exist?",
        _ => "; check AWS_ENDPOINT_URL, AWS_REGION and AWS_ACCESS_KEY_ID",
    };
    format!("{error}{advice}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_names_a_bucket() {
        let cache = tempfile::tempdir().unwrap();
        for place in ["s3://", "s3:///prefix", "s3://a b/x"] {
            let error = Bucket::open(place, cache.path()).err().unwrap().to_string();
            assert!(error.contains("s3://bucket/prefix"), "{error}");
        }
        let bucket = Bucket::open("s3://farm/deep/er/", cache.path()).unwrap();
        assert_eq!(
            bucket.object("schema=1/month=2026-12/x.parquet").as_ref(),
            "deep/er/schema=1/month=2026-12/x.parquet"
        );
        assert_eq!(bucket.object("").as_ref(), "deep/er");
    }

    #[test]
    fn what_the_store_has_no_more_leaves_the_cache() {
        let cache = tempfile::tempdir().unwrap();
        let bucket = Bucket::open("s3://farm", cache.path()).unwrap();
        let entry = |path: &str, bytes| FileEntry { path: path.into(), bytes };
        for name in ["a/1", "a/2"] {
            bucket.keep(name, b"xyz").unwrap();
        }
        assert!(bucket.cached(&entry("a/1", 3)).is_some());
        assert!(bucket.cached(&entry("a/1", 4)).is_none(), "cut short");
        bucket.forget(&[entry("a/1", 3)]);
        assert!(bucket.cached(&entry("a/1", 3)).is_some() && bucket.cached(&entry("a/2", 3)).is_none());
    }
}
