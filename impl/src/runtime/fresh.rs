//! What is made of the stores of TLS, and made anew when their files change.

use crate::client::lock::lock;
use crate::codes::Code;
use crate::config::tls::{Context, Password};
use crate::error::ServerError;
use crate::error::panics::caught;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tokio::time::sleep;
use tracing::{error, info};

/// When a file changed last, and its length; `None` if it cannot be looked at.
type Stamp = Option<(SystemTime, u64)>;

/// How often it is looked whether the stores have changed (`client.certReload`, `sslQuorumReloadCertFiles`).
const LOOK: Duration = Duration::from_secs(2);

/// Makes it of what the files hold; the path is of the configuration, for errors.
type Make<T> = fn(&Path, &Context) -> Result<T, ServerError>;

/// What is made of the stores of TLS. Not `Debug`: there is a private key in it.
pub(super) struct Fresh<T> {
    /// Made of what the stores held when they were read last.
    current: Mutex<Arc<T>>,
    context: Context,
    zoo_cfg: PathBuf,
    seen: Vec<Stamp>,
    make: Make<T>,
}

impl<T: Send + Sync + 'static> Fresh<T> {
    /// Reads the stores.
    ///
    /// # Errors
    /// [`ServerError::Config`], which names the file and says what to do.
    pub(super) fn load(
        zoo_cfg: &Path,
        context: &Context,
        make: Make<T>,
    ) -> Result<Arc<Self>, ServerError> {
        // Before they are read, so that no change falls between.
        let seen = stamps(context);
        let made = make(zoo_cfg, context)?;
        Ok(Arc::new(Self {
            current: Mutex::new(Arc::new(made)),
            context: context.clone(),
            zoo_cfg: zoo_cfg.to_owned(),
            seen,
            make,
        }))
    }

    /// Made of the stores as they were read last.
    pub(super) fn current(&self) -> Arc<T> {
        Arc::clone(&lock(&self.current))
    }

    /// Reads the stores anew when they change: connections that come then are of the new ones. What cannot be used is told, and the old
    /// ones are kept.
    pub(super) fn watch(self: Arc<Self>) {
        tokio::spawn(async move {
            let mut seen = self.seen.clone();
            loop {
                sleep(LOOK).await;
                let stores = Arc::clone(&self);
                let before = seen.clone();
                let look = move || stores.look(before, stores.make);
                // Only the end of the process ends a look without a result.
                let Ok(now) = tokio::task::spawn_blocking(look).await else {
                    return;
                };
                seen = now;
            }
        });
    }

    fn look(&self, before: Vec<Stamp>, make: Make<T>) -> Vec<Stamp> {
        let now = stamps(&self.context);
        if now == before {
            return before;
        }
        let keys = format!("{}*", self.context.prefix);
        // The parsers are others', and the files may be anything.
        match caught(|| make(&self.zoo_cfg, &self.context)) {
            Ok(Ok(made)) => {
                *lock(&self.current) = Arc::new(made);
                info!(keys, "the stores of TLS have changed and are read anew");
            }
            // Both files may be on their way; what comes next changes them again.
            Ok(Err(why)) => {
                error!(code = %Code::StoresNotRead, keys, %why, "the stores of TLS have changed, and those before are kept");
            }
            Err(why) => {
                error!(code = %Code::StoresFault, keys, %why, "the stores of TLS have changed, reading them met a fault of this server, and those before are kept; write the stores in another format");
            }
        }
        now
    }
}

fn stamps(context: &Context) -> Vec<Stamp> {
    let stores = [Some(&context.key_store), context.trust_store.as_ref()];
    let files = stores.into_iter().flatten().flat_map(|store| {
        let password = match &store.password {
            Some(Password::File(path)) => Some(path),
            Some(Password::Text(_)) | None => None,
        };
        [Some(&store.path), password].into_iter().flatten()
    });
    files
        .map(|path| {
            let about = std::fs::metadata(path).ok()?;
            Some((about.modified().ok()?, about.len()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::tls_config::of_those_who_dial;
    use crate::tls_init::init;

    /// A fault of a parser ends neither the looking nor the server: the stores before are kept, and those that come later are read.
    #[test]
    fn a_panic_over_changed_stores_keeps_those_before_and_the_next_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let stores = dir.path().join("tls");
        init(&stores, &[]).unwrap();
        let files = stores.display();
        let text = format!(
            "dataDir=d\nsecureClientPort=0\nclient.certReload=true\nssl.keyStore.location={files}/server.pem\nssl.trustStore.location={files}/ca.pem\n"
        );
        let config = crate::config::check::read(Path::new("zoo.cfg"), &text).unwrap();
        let context = &config.tls.unwrap().context;
        let fresh = Fresh::load(&config.path, context, of_those_who_dial).unwrap();
        let first = fresh.current();
        let seen = fresh.look(vec![], |_, _| panic!("an index beyond the end"));
        assert_eq!(
            seen, fresh.seen,
            "it is not looked at again before it changes"
        );
        assert!(Arc::ptr_eq(&first, &fresh.current()));
        assert_eq!(fresh.look(vec![], of_those_who_dial), fresh.seen);
        assert!(!Arc::ptr_eq(&first, &fresh.current()));
    }
}
